//! The black box: scimgate over real HTTP, in every way in which it is run and on every store.
//!
//! A trial is a case in a world: `sqlite/proxy/create::a_created_user_is_found`. Reading order: this file, `world` (the
//! services), `tenant` (what a case works with), `answer` (what every answer must keep to), `case`, then `cases`.

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{Arc, OnceLock},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;

mod answer;
mod case;
mod cases;
mod conversation;
#[path = "../envoy/proxy.rs"]
mod envoy;
mod formats;
#[expect(
    dead_code,
    reason = "its own tests run in the target `api-unit`; here only what they are built of is left"
)]
mod idp;
mod moved;
mod moving;
mod no_store;
mod tenant;
mod wire;
mod world;

use case::Case;
use conversation::Named;
use tenant::Tenant;
use world::{KINDS, Kind, NO_AZURITE, WAYS, Way, Worlds};

/// More than there are processors: trials mostly wait.
const TRIALS_AT_ONCE: usize = 8;

/// Most cases that what stands in front may make impossible.
const MAX_LEFT_OUT: usize = 15;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(TRIALS_AT_ONCE);
    let runtime = Arc::new(Runtime::new().expect("a runtime starts"));
    let worlds = Arc::new(Worlds::default());
    let trials = trials(&runtime, &worlds);
    let conclusion = libtest_mimic::run(&arguments, trials);
    let worlds = Arc::into_inner(worlds).expect("no trial runs any more");
    let faults = runtime.block_on(worlds.stop());
    if !arguments.list {
        report(conclusion.num_ignored > 0);
    }
    if faults.is_empty() {
        return conclusion.exit_code();
    }
    println!("Envoy found fault with the service:\n{}", faults.join("\n"));
    ExitCode::FAILURE
}

/// The one HTTP client; it follows no redirects, and its connections are shared by all cases.
pub(crate) fn http_client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(|| scimgate::app::http_client().expect("a client can be made"))
}

fn trials(runtime: &Arc<Runtime>, worlds: &Arc<Worlds>) -> Vec<Trial> {
    let mut trials = vec![Trial::test(
        "suite::what_is_left_out_has_siblings_and_is_little",
        left_out_is_sound,
    )];
    trials.extend(no_store::trials(runtime));
    let by = Arc::clone(runtime);
    let make = move || formats::make(&by).map_err(Failed::from);
    trials.push(Trial::test("formats::make_the_fixture", make).with_ignored_flag(true));
    let formats = formats::trials(runtime, worlds).into_iter();
    trials.extend(formats.map(|(kind, name, run)| trial(kind, name, run)));
    let moved = moved::trials(runtime, worlds).into_iter();
    trials.extend(moved.map(|(name, run)| trial(Kind::Tables, name, run)));
    let conversations: Vec<_> = idp::providers()
        .iter()
        .flat_map(|folder| conversation::all(folder))
        .map(Arc::new)
        .collect();
    for (kind, way) in worlds_of_the_matrix() {
        for case in cases::all().into_iter().filter(|case| case.runs_in(way)) {
            let (runtime, worlds) = (Arc::clone(runtime), Arc::clone(worlds));
            let name = format!("{kind}/{way}/{}::{}", case.module, case.name);
            trials.push(trial(kind, name, move || {
                runtime.block_on(async {
                    let world = worlds.world(kind, way, case.setup).await?;
                    (case.run)(&Tenant::create(world).await).await;
                    Ok(())
                })
            }));
        }
        for (name, conversation) in conversations
            .iter()
            .map(|conversation| (&conversation.name, conversation))
        {
            let (runtime, worlds, held) = (Arc::clone(runtime), Arc::clone(worlds), Arc::clone(conversation));
            trials.push(trial(kind, format!("{kind}/{way}/{name}"), move || {
                runtime.block_on(async {
                    let world = worlds.world(kind, way, world::Setup::Standard).await?;
                    held.hold(&Tenant::create(world).await).await
                })
            }));
        }
    }
    trials.extend(moving_trials(runtime, worlds, &conversations));
    trials
}

/// The conversations with Entra once more, with users and groups that are moved in their midst.
fn moving_trials(runtime: &Arc<Runtime>, worlds: &Arc<Worlds>, conversations: &[Arc<Named>]) -> Vec<Trial> {
    let movable = conversations.iter().filter(|conversation| conversation.may_move());
    let each = movable.flat_map(|conversation| KINDS.map(|kind| (kind, Arc::clone(conversation))));
    let trial = |(kind, held): (Kind, Arc<Named>)| {
        let (runtime, worlds) = (Arc::clone(runtime), Arc::clone(worlds));
        trial(kind, format!("{kind}/moving/{}", held.name), move || {
            runtime.block_on(async {
                let world = worlds.world(kind, Way::Direct, world::Setup::BasePaths).await?;
                held.hold_moving(&Tenant::create(world).await).await
            })
        })
    };
    each.map(trial).collect()
}

/// All ways on all stores; Envoy makes no difference to a store, and is there only when its program was named.
fn worlds_of_the_matrix() -> impl Iterator<Item = (Kind, Way)> {
    let is_run = |(kind, way): &(Kind, Way)| match way {
        Way::Envoy(_) => *kind == Kind::Sqlite && envoy::program().is_some(),
        _ => true,
    };
    KINDS
        .into_iter()
        .flat_map(|kind| WAYS.into_iter().map(move |way| (kind, way)))
        .filter(is_run)
}

fn trial(kind: Kind, name: String, run: impl FnOnce() -> Result<(), String> + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = skipped(kind) {
            return Ok(Completion::ignored_with(reason));
        }
        run().map(|()| Completion::Completed).map_err(Failed::from)
    })
}

fn skipped(kind: Kind) -> Option<&'static str> {
    (kind == Kind::Tables && world::azurite().is_none()).then_some(NO_AZURITE)
}

/// Says what did not run, and how much there is.
fn report(is_incomplete: bool) {
    for case in &cases::all() {
        for left_out in &case.left_out {
            let (Case { module, name, .. }, way) = (case, left_out.way);
            println!(
                "left out: {way}/{module}::{name} ({}; sibling {})",
                left_out.distortion, left_out.sibling
            );
        }
        if let Some((way, why)) = case.only {
            println!("only {way}: {}::{} ({why})", case.module, case.name);
        }
    }
    for way in WAYS {
        let cases = cases::all().iter().filter(|case| case.runs_in(way)).count();
        println!("{way}: {cases} cases");
    }
    let conversations: usize = idp::providers()
        .iter()
        .map(|folder| conversation::all(folder).len())
        .sum();
    let worlds = worlds_of_the_matrix()
        .filter(|(kind, _)| skipped(*kind).is_none())
        .count();
    println!(
        "{conversations} conversations in {worlds} worlds: {}",
        conversations * worlds
    );
    if let Some(reason) = skipped(Kind::Tables).filter(|_| is_incomplete) {
        println!("skipped: {reason}");
    }
}

/// A distortion may be no excuse: what is left out has a sibling that says what happens instead, in that way
/// only, and there is little of it.
fn left_out_is_sound() -> Result<(), Failed> {
    let all = cases::all();
    let names: BTreeSet<_> = all.iter().map(|case| (case.module, case.name)).collect();
    if names.len() != all.len() {
        return Err("two cases have the same name".into());
    }
    for way in WAYS {
        let left_out: Vec<_> = all
            .iter()
            .flat_map(|case| case.left_out.iter().map(move |left_out| (case, left_out)))
            .filter(|(_, left_out)| left_out.way.is_like(way))
            .collect();
        if left_out.len() > MAX_LEFT_OUT || way == Way::Direct && !left_out.is_empty() {
            return Err(format!("{} cases are left out with {way}", left_out.len()).into());
        }
        for (case, left_out) in left_out {
            let is_sibling = |other: &&Case| other.module == case.module && other.name == left_out.sibling;
            let only = all.iter().find(is_sibling).map(|sibling| sibling.only);
            if !matches!(only, Some(Some((only, _))) if only.is_like(way)) {
                return Err(format!(
                    "{}::{}: no case {} for {way} only",
                    case.module, case.name, left_out.sibling
                )
                .into());
            }
        }
    }
    Ok(())
}
