//! Histories of several clients at once: whatever they were told must be explained by some order of their operations.
//!
//! A history is played on a [`stage`], which decides whose call to the store is next, and comes out the same whenever it
//! is played. Clients run in processes of their own, which die; answers get lost, and commits land late. Reading order:
//! this file (histories, and how they are played), `histories` (how they are made), `world` (an operation and its answer),
//! `model` (what it should do), `past` (what was told, as things that happened at one moment each),
//! `check` (the search for an order), `stage`, `cases`.

use std::{
    cell::Cell,
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration as Span,
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime::Builder;

use super::memberships::Sizes;
use crate::{
    store::{
        Store, conformance,
        faults::{Call, Fault, FaultStore},
    },
    tenants::Catalogs,
};

mod cases;
mod check;
mod histories;
mod model;
mod past;
mod stage;
mod world;

use histories::{Asks, histories};
use model::{Ask, FIRST_GROUPS, FIRST_USERS, RESOURCES, Set, USERS};
use past::{Past, events, first, group_of};
use stage::{Fate, Hold, Process, Sabotage, Stage};
use world::{Caller, FINISHER, SETTER, Told, World};

thread_local! {
    static CATALOGS: Catalogs = Catalogs::standard();
    /// How much one commit does in this thread's tests.
    pub(super) static SIZES: Cell<Option<Sizes>> = const { Cell::new(None) };
}

/// What happens at the same time, and how.
#[derive(Clone, Debug)]
struct History {
    /// Who is in the groups that are there from the start.
    members: [Set; FIRST_GROUPS],
    clients: Vec<Client>,
    choices: Vec<u8>,
    troubles: Vec<Trouble>,
    /// Rows on a page of a scan; 0: all.
    page: usize,
    /// Two members are too many for one commit, two groups of a deleted user as well.
    small: bool,
    holds: Vec<Hold>,
}

#[derive(Clone, Debug)]
struct Client {
    asks: Vec<Ask>,
    fate: Fate,
    /// How far its clock is ahead, in milliseconds.
    skew: u64,
    /// How long it waits for an answer, in milliseconds.
    patience: u64,
}

/// What the store does to one of all commits.
#[derive(Clone, Copy, Debug)]
struct Trouble {
    commit: usize,
    fault: Fault,
}

/// One operation of a client, and what it was told, if anything.
struct Record {
    name: String,
    ask: Ask,
    expected: Option<String>,
    from: usize,
    told: Option<(usize, Told)>,
}

impl Record {
    fn until(&self) -> usize {
        self.told.as_ref().map_or(usize::MAX, |(until, _)| *until)
    }

    fn is_write(&self) -> bool {
        let asks = matches!(self.ask, Ask::Read { .. } | Ask::List { .. } | Ask::With { .. });
        !asks && !matches!(self.ask, Ask::Finish)
    }

    /// A restore that was cut off: the groups that are left to join, others join.
    fn is_left_to_others(&self) -> bool {
        let failed = matches!(&self.told, None | Some((_, Told::Failed(_))));
        failed && matches!(self.ask, Ask::Restore { .. })
    }

    /// Nothing is left to do.
    fn is_after_all(&self) -> bool {
        self.name.starts_with("end.")
    }

    /// Whether both may have been under way at the same time.
    fn meets(&self, other: &Self) -> bool {
        self.from < other.until() && other.from < self.until()
    }
}

const PATIENT: Span = Span::from_secs(15);

/// Plays a history: what was told, or what is wrong with it.
fn play(history: &History, sabotage: Sabotage) -> Result<String, String> {
    SIZES.set(history.small.then_some(Sizes { at_once: 1, changes: 9 }));
    fastrand::seed(7);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    // Whoever asks for the time outside is told the machine's.
    let played = runtime
        .unwrap()
        .block_on(async { Play::new(sabotage).play(history).await });
    SIZES.set(None);
    played
}

struct Play {
    world: World,
    stage: Arc<Stage>,
    faults: Arc<FaultStore>,
    sabotage: Sabotage,
    records: Mutex<Vec<Record>>,
}

impl Play {
    fn new(sabotage: Sabotage) -> Arc<Self> {
        let stage = Arc::new(Stage::default());
        Arc::new(Self {
            world: World::new(CATALOGS.with(Clone::clone)),
            faults: Arc::new(FaultStore::new(Arc::clone(&stage) as Arc<dyn Store>)),
            stage,
            sabotage,
            records: Mutex::default(),
        })
    }

    async fn play(self: Arc<Self>, history: &History) -> Result<String, String> {
        self.set(history).await;
        self.stage.close(&history.choices, history.page, &history.holds);
        for trouble in &history.troubles {
            self.faults
                .inject(Call::Commit, trouble.commit..=trouble.commit, trouble.fault);
        }
        let left = Arc::new(AtomicUsize::new(history.clients.len()));
        let mut processes = Vec::new();
        for (number, client) in history.clients.iter().enumerate() {
            let inner = Arc::clone(&self.faults) as Arc<dyn Store>;
            let process = Arc::new(Process::new(number, inner, client.fate, self.sabotage));
            processes.push(Arc::clone(&process));
            let (play, client, left) = (Arc::clone(&self), client.clone(), Arc::clone(&left));
            tokio::spawn(async move {
                play.ask_all(number, client, process).await;
                play.stage.is_told(number);
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        let is_over = || left.load(Ordering::Relaxed) <= processes.iter().filter(|process| process.is_dead()).count();
        self.stage.play(is_over).await;
        self.stage.open();
        self.faults.heal();
        self.faults.land().await;
        self.finish().await?;
        self.look_back(history).await
    }

    /// What there is from the start.
    async fn set(&self, history: &History) {
        let caller = self.caller(SETTER, Span::ZERO);
        let groups = || (0..FIRST_GROUPS).zip(0..).zip(&history.members);
        let users = (0..FIRST_USERS)
            .zip(0..)
            .map(|(user, name)| Ask::CreateUser { user, name });
        let mut asks: Vec<Ask> = users.collect();
        asks.extend(groups().map(|((group, name), _)| {
            let members = Set::default();
            Ask::CreateGroup { group, name, members }
        }));
        asks.extend(groups().map(|((group, _), members)| {
            let members = members.without(Set::one(USERS + group));
            Ask::Set { group, members }
        }));
        for ask in &asks {
            let told = self.world.ask(&caller, ask, None).await;
            assert!(
                matches!(told, Told::User { .. } | Told::Group { .. }),
                "{ask:?}: {told:?}"
            );
        }
        self.finish().await.unwrap();
    }

    fn caller(&self, name: &str, skew: Span) -> Caller {
        let inner = Arc::clone(&self.stage) as Arc<dyn Store>;
        Caller {
            store: Arc::new(Process::new(usize::MAX, inner, Fate::Lives, self.sabotage)),
            name: name.to_owned(),
            skew,
            patience: PATIENT,
        }
    }

    /// As the background task does it, often enough, and long enough afterwards.
    async fn finish(&self) -> Result<(), String> {
        for round in 1..6 {
            let caller = self.caller(FINISHER, Span::from_mins(2 * round));
            match self.world.ask(&caller, &Ask::Finish, None).await {
                Told::Done => {}
                told => return Err(format!("what was left behind can't be finished: {told:?}")),
            }
        }
        Ok(())
    }

    async fn ask_all(&self, number: usize, client: Client, process: Arc<Process>) {
        let mut seen: HashMap<usize, String> = HashMap::new();
        for (turn, ask) in client.asks.into_iter().enumerate() {
            let caller = Caller {
                store: Arc::clone(&process) as Arc<dyn Store>,
                name: format!("{number}.{turn}"),
                skew: Span::from_millis(client.skew),
                patience: Span::from_millis(client.patience),
            };
            let expected = match ask {
                Ask::Put {
                    group, if_match: true, ..
                } => seen.get(&group).cloned(),
                _ => None,
            };
            let at = {
                let mut records = self.records.lock().unwrap();
                records.push(Record {
                    name: caller.name.clone(),
                    ask: ask.clone(),
                    expected: expected.clone(),
                    from: self.world.tick(),
                    told: None,
                });
                records.len() - 1
            };
            let told = self.world.ask(&caller, &ask, expected).await;
            if let (Some(group), Told::Group { version, .. }) = (group_of(&ask), &told) {
                seen.insert(group, version.clone());
            }
            self.records.lock().unwrap()[at].told = Some((self.world.tick(), told));
        }
    }

    /// Whether everything is as somebody was told.
    async fn look_back(&self, history: &History) -> Result<String, String> {
        let end = self.world.tick();
        let caller = self.caller("end", Span::ZERO);
        let mut last = Vec::new();
        for resource in 0..RESOURCES {
            let ask = Ask::Read { resource };
            let from = self.world.tick();
            let told = self.world.ask(&caller, &ask, None).await;
            last.push(Record {
                name: format!("end.{resource}"),
                ask,
                expected: None,
                from,
                told: Some((self.world.tick(), told)),
            });
        }
        let rows = self.stage.rows(self.world.partition());
        self.world.check(&caller).await?;
        let mut records = self.records.lock().unwrap();
        records.append(&mut last);
        let told = |records: &[Record]| {
            let lines = records.iter().map(|record| {
                let until = record.until();
                let told = record.told.as_ref().map(|(_, told)| told);
                format!(
                    "{} {}..{until} {:?} {:?}: {told:?}",
                    record.name, record.from, record.ask, record.expected
                )
            });
            let told = lines.collect::<Vec<_>>().join("\n");
            let events = events(&rows);
            events
                .iter()
                .fold(told, |told, (version, event)| told.replace(version, &event.actor))
        };
        let quiet = history.troubles.is_empty();
        let failed = |record: &&Record| matches!(&record.told, Some((_, Told::Failed(_))));
        let patient = |record: &Record| {
            let client: Option<usize> = record.name.split('.').next().and_then(|client| client.parse().ok());
            client.is_none_or(|client| history.clients[client].patience >= 15_000)
        };
        if let Some(record) = records.iter().find(|record| quiet && failed(record) && patient(record)) {
            return Err(format!("{} failed without a reason\n{}", record.name, told(&records)));
        }
        let past = Past::of(&records, &events(&rows), history, end)?;
        let start = first(history);
        if check::is_explained(&past.steps, start, past.versions) {
            Ok(told(&records))
        } else {
            Err(format!("no order explains\n{}", told(&records)))
        }
    }
}

/// Most tries to make a history that fails shorter.
const MAX_SHRINKS: usize = 4_000;

/// The history with this number, which can be made shorter.
fn numbered(number: u64, asks: Asks) -> impl ValueTree<Value = History> {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    histories(asks)
        .new_tree(&mut runner)
        .expect("the strategy rejects nothing")
}

/// Plays the histories with the numbers below this one: the first that is not explained, as short as it gets.
fn search(end: u64, asks: Asks, sabotage: Sabotage) -> Option<String> {
    for number in 0..end {
        let mut tree = numbered(number, asks);
        let Err(mut failure) = play(&tree.current(), sabotage) else {
            continue;
        };
        if sabotage != Sabotage::None {
            return Some(failure);
        }
        let mut shortest = tree.current();
        let mut shorter = tree.simplify();
        for _ in 0..MAX_SHRINKS {
            if !shorter {
                break;
            }
            shorter = match play(&tree.current(), sabotage) {
                Ok(_) => tree.complicate(),
                Err(error) => {
                    (failure, shortest) = (error, tree.current());
                    tree.simplify()
                }
            };
        }
        return Some(format!("history {number}: {failure}\n{shortest:#?}"));
    }
    None
}

/// Histories that are always played; `SCIMGATE_HISTORIES` tells another number. They are the same each time.
const HISTORIES: u64 = 600;

#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration but the environment"
)]
fn all_are_explained(asks: Asks) {
    let histories = std::env::var("SCIMGATE_HISTORIES").ok();
    let histories = histories.map_or(HISTORIES, |number| {
        number.parse().expect("SCIMGATE_HISTORIES is a number")
    });
    if let Some(failure) = search(histories, asks, Sabotage::None) {
        panic!("{failure}");
    }
}

#[test]
fn every_answer_is_explained_by_some_order_of_the_operations() {
    all_are_explained(Asks::OfClients);
}

/// Restores and erasures among them.
#[test]
fn every_answer_is_explained_whoever_is_deleted_and_comes_back() {
    all_are_explained(Asks::OfOperatorsToo);
}

/// What nobody would find proves nothing.
#[test]
fn bugs_are_found() {
    for bug in [Sabotage::Gate, Sabotage::Overlay, Sabotage::Member] {
        assert!(search(HISTORIES, Asks::OfClients, bug).is_some(), "{bug:?}");
    }
    let bug = Sabotage::Beside;
    assert!(search(HISTORIES, Asks::OfOperatorsToo, bug).is_some(), "{bug:?}");
}

/// What fails once fails again, and each step towards a shorter history tells something.
#[test]
fn a_history_takes_the_same_course_whenever_it_is_played() {
    for number in 0..100 {
        let history = numbered(number, Asks::OfClients).current();
        let played = play(&history, Sabotage::None);
        assert!(played.is_ok(), "{played:?}");
        assert_eq!(play(&history, Sabotage::None), played, "history {number}");
    }
}

#[tokio::test]
async fn the_stage_is_a_store() {
    conformance::run(&Stage::default()).await;
}
