//! Changes of memberships that take many commits: from the first one on every reader sees all of it, whatever becomes of
//! the others.

use std::{collections::BTreeSet, sync::Arc, time::Duration as Span};

use serde_json::{Value, json};
use time::Duration;
use tokio::time::Instant;

use super::{Error, Fixed, Precondition, Shown, Stored, World, costs, patch_op, shown};
use crate::{
    directory::{
        Directory,
        edges::{READ_AT_ONCE, Side},
    },
    rows,
    scim::normalize::Trace,
    store::faults::{Call, Fault},
};

/// After this a decision counts as left behind.
const HALF_A_MINUTE: Duration = Duration::seconds(30);
/// Members of a change that takes two commits between the first and the last.
const SMALL: usize = 40;
/// Users whom a query looks at that goes on by cursor.
const FIRST: usize = 5;
/// Users whom a query may look at one by one in a test.
const FEW: usize = 100;
/// Edges in a commit that spreads.
const CHUNK: usize = 33;

/// What a request does to a group; all of them change as many memberships as they are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Add,
    Remove,
    Replace,
    Clear,
    Create,
}

const REQUESTS: [Request; 5] = [
    Request::Add,
    Request::Remove,
    Request::Replace,
    Request::Clear,
    Request::Create,
];

impl World {
    /// Every way to ask whether a user is a member of the only group gets the same answer.
    async fn finds(&self, group: &str, user: &str, expected: usize, moment: &str) {
        for (of, filter) in [
            (&self.groups, format!("members eq \"{user}\"")),
            (
                &self.groups,
                format!("members[value eq \"{user}\" and type eq \"User\"]"),
            ),
            (&self.groups, format!("id eq \"{group}\" and members eq \"{user}\"")),
            (&self.users, format!("id eq \"{user}\" and groups.value eq \"{group}\"")),
        ] {
            let found = self.found(of, &filter).await;
            assert_eq!(found.len(), expected, "{moment}: {filter}");
        }
    }
}

/// A request, and what it finds and makes.
struct Scene {
    world: World,
    /// Everybody there is.
    users: Vec<String>,
    /// The group; none is there before it is created.
    group: Option<String>,
    before: BTreeSet<String>,
    after: BTreeSet<String>,
    /// What the client sends: operations, or members of a new group.
    sent: Value,
}

impl Scene {
    async fn new(request: Request, size: usize) -> Self {
        let mut world = World::with(Fixed {
            stopped: true,
            ..Fixed::default()
        })
        .await;
        // Other tests may keep the machine busy.
        world.directory.deadline = Instant::now() + Span::from_mins(10);
        let users = world.many_users(size + 10).await;
        let (few, many, all) = (&users[..10], &users[10..], &users[..]);
        // Ten stay.
        let (half, most) = (&users[..size / 2], &users[size / 2 - 10..]);
        let (before, after, sent) = match request {
            Request::Add => (few, all, costs::add(many)),
            Request::Remove => (all, few, costs::remove(many)),
            Request::Replace => {
                let mut operations = costs::add(most);
                operations[0]["op"] = json!("replace");
                (half, most, operations)
            }
            Request::Clear => (many, &[][..], json!([{ "op": "remove", "path": "members" }])),
            Request::Create => (&[][..], many, costs::add(many)[0]["value"].clone()),
        };
        let (before, after) = [before, after].map(|ids| ids.iter().cloned().collect()).into();
        let mut scene = Self {
            group: None,
            before,
            after,
            sent,
            users,
            world,
        };
        if request != Request::Create {
            let members: Vec<String> = scene.before.iter().cloned().collect();
            scene.group = Some(scene.world.group_of(&members).await);
        }
        scene
    }

    /// How many commits it takes: the decision, the edges, the gate.
    fn commits(size: usize) -> usize {
        1 + size.div_ceil(CHUNK) + 1
    }

    async fn copy(&self) -> Self {
        Self {
            world: self.world.copy().await,
            users: self.users.clone(),
            group: self.group.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
            sent: self.sent.clone(),
        }
    }

    async fn send(&self, directory: &Directory) -> Result<Stored, Error> {
        let of = &self.world.groups;
        if let Some(group) = &self.group {
            return directory.change(of, group, self.sent.clone()).await;
        }
        let group = json!({ "displayName": "A", "members": self.sent });
        directory.make_one(of, group).await
    }

    /// The group's id, if there is a group.
    async fn group(&self) -> Option<String> {
        let rows = self.world.rows_of("g~").await;
        assert!(rows.len() < 2);
        rows.first().map(|row| row.key[2..].to_owned())
    }

    /// Reads in every way there is: they agree that these are the members.
    async fn shows(&self, members: &BTreeSet<String>, moment: &str) {
        let (world, group) = (self.world.elsewhere(), self.group().await);
        if let Some(group) = &group {
            let (of, directory) = (&world.groups, &world.directory);
            let read = directory.read(of, group, shown(of)).await.unwrap();
            assert!(read.ids(of) == *members, "{moment}: GET");
            let without = directory.read(of, group, Shown::default()).await.unwrap();
            assert_eq!(without.ids(of), BTreeSet::new(), "{moment}");
            assert_eq!(
                without.envelope.version, read.envelope.version,
                "{moment}: conditional GET"
            );
            let listed = world.found(of, "displayName pr").await;
            assert!(listed == [members.clone()], "{moment}: a list of groups");
            let filter = format!("groups.value eq \"{group}\"");
            let first: Vec<_> = members.iter().take(FIRST).cloned().collect();
            assert!(world.first(&filter, FIRST).await == first, "{moment}: {filter}");
        }
        let (last, quarter) = (self.users.len() - 1, self.users.len() / 4);
        for at in [0, 1, quarter, 2 * quarter, 3 * quarter, last] {
            let user = &self.users[at];
            let expected = group.iter().filter(|_| members.contains(user)).cloned();
            let expected: BTreeSet<String> = expected.collect();
            assert_eq!(world.groups_of(user).await, expected, "{moment}: groups of {user}");
            if let Some(group) = group.as_ref().filter(|_| [1, last].contains(&at)) {
                world.finds(group, user, expected.len(), moment).await;
            }
        }
    }

    /// A page of the group's users, each with its groups, costs no reads of the change for each of them.
    async fn lists_users_in_few_calls(&self, moment: &str) {
        let (world, group) = (self.world.elsewhere(), self.group().await.unwrap());
        world.store.take();
        world.first(&format!("groups.value eq \"{group}\""), 100).await;
        let calls = world.store.take().calls();
        // Whether they are there is read of a few at a time.
        let most = 60 + self.users.len().div_ceil(READ_AT_ONCE);
        assert!(calls < most, "{moment}: {calls} calls");
        // As a PATCH looks at the members: a few, however many join.
        let world = self.world.elsewhere();
        world.store.take();
        world.directory.edges(&Side::Members.of(&group), 132).await.unwrap();
        let calls = world.store.take().calls();
        assert!(
            calls < 8 + 132_usize.div_ceil(READ_AT_ONCE),
            "{moment}: {calls} calls for a few members"
        );
    }

    /// As [`Self::shows`], when nothing is under way any more.
    async fn has_ended_as(&self, members: &BTreeSet<String>, moment: &str) {
        self.world.finish().await;
        self.shows(members, moment).await;
        if let Some(group) = self.group().await.filter(|_| self.users.len() <= FEW) {
            let users = format!("groups.value eq \"{group}\"");
            let users = self.world.found(&self.world.users, &users).await;
            assert_eq!(users.len(), members.len(), "{moment}: users of a group");
        }
        self.world.is_sound().await;
    }

    /// Two other processes finish what a dead one left behind.
    async fn is_finished_by_others(&self, moment: &str) {
        let copy = self.copy().await;
        let (one, other) = (copy.world.later(HALF_A_MINUTE), copy.world.later(HALF_A_MINUTE));
        let (one, other) = tokio::join!(one.directory.finish_pending(), other.directory.finish_pending());
        assert!(
            one.unwrap() + other.unwrap() >= 1,
            "{moment}: there was something to do"
        );
        copy.has_ended_as(&copy.after, moment).await;
    }

    /// A process died, and a client adds one more member before anybody looks after what it left behind.
    async fn is_finished_by_the_next_patch(&self, moment: &str) {
        let copy = self.copy().await;
        let (world, group) = (&copy.world, copy.group().await.unwrap());
        let another = world.many_users(1).await;
        let patch = world
            .elsewhere()
            .directory
            .change(&world.groups, &group, costs::add(&another))
            .await;
        let all: BTreeSet<String> = copy.after.iter().chain(&another).cloned().collect();
        let shown = patch.unwrap().ids(&world.groups);
        assert!(shown.is_empty() || shown == all, "{moment}");
        assert!(world.rows_of("pend~journal~").await.is_empty());
        copy.shows(&all, moment).await;
        copy.has_ended_as(&all, moment).await;
    }

    /// Members are deleted: some who joined already, some who did not.
    async fn is_finished_without_who_is_deleted(&self, moment: &str) {
        let copy = self.copy().await;
        let (world, group) = (&copy.world, copy.group().await.unwrap());
        let edges = world.rows_of(&rows::members_prefix(&group)).await;
        let joined = |id: &&String| edges.iter().any(|row| row.key.ends_with(id.as_str()));
        let mut left = copy.after.clone();
        let gone: Vec<&String> = [
            copy.after.iter().find(joined),
            copy.after.iter().find(|id| !joined(id)),
            copy.before.difference(&copy.after).find(joined),
        ]
        .into_iter()
        .flatten()
        .collect();
        for id in gone {
            world.elsewhere().remove(&world.users, id).await.unwrap();
            left.remove(id);
            assert!(world.members(&group).await == left, "{moment}: {id} was deleted");
        }
        world.finish().await;
        assert!(world.members(&group).await == left, "{moment}");
        world.is_sound().await;
    }

    /// The group itself is deleted.
    async fn ends_with_the_group(&self, moment: &str) {
        let copy = self.copy().await;
        let (world, group) = (&copy.world, copy.group().await.unwrap());
        world.elsewhere().remove(&world.groups, &group).await.unwrap();
        for _ in 0..2 {
            let read = world
                .elsewhere()
                .directory
                .read(&world.groups, &group, Shown::default())
                .await;
            assert!(matches!(read, Err(Error::Refused(_))), "{moment}");
            copy.shows(&BTreeSet::new(), moment).await;
            world.finish().await;
        }
        assert!(world.rows_of("pend~journal~").await.is_empty(), "{moment}");
    }
}

/// Looks at a large change after each of its commits, not only after some; takes minutes.
const EVERY_COMMIT: &str = "SCIMGATE_TEST_EVERY_COMMIT";

/// After how many commits of a change to look at it: before the decision, after the first two, in the middle, and while the
/// last two are missing; or after each, if [`EVERY_COMMIT`] is set.
#[expect(
    clippy::disallowed_methods,
    reason = "tests have no configuration but the environment"
)]
fn freeze_points(commits: usize) -> Vec<usize> {
    if std::env::var_os(EVERY_COMMIT).is_some() {
        return (0..commits).collect();
    }
    vec![0, 1, 2, commits / 2, commits - 2, commits - 1]
}

/// Lets the commits go one by one, and looks around after some of them: as if the process had died there.
async fn frozen(request: Request) {
    const SIZE: usize = 5_000;
    let scene = Scene::new(request, SIZE).await;
    let commits = Scene::commits(SIZE);
    let (moments, middle) = (freeze_points(commits), commits / 2);
    let finished = match request {
        Request::Add => vec![1, middle, commits - 1],
        _ => vec![middle],
    };
    let world = &scene.world;
    world.held.hold(Call::Commit, 1..=usize::MAX);
    let send = async {
        let sent = scene.send(&world.directory).await;
        world.held.end();
        sent.unwrap()
    };
    let look_around = async {
        let (mut done, mut version) = (0, None);
        while world.held.settled().await > 0 {
            if moments.contains(&done) {
                let moment = format!("{request:?} after {done} commits");
                scene
                    .shows(if done == 0 { &scene.before } else { &scene.after }, &moment)
                    .await;
                if done == 1 {
                    let finished = world.elsewhere().directory.finish_pending().await.unwrap();
                    assert_eq!(finished, 0, "whoever decided may be at it");
                }
                if done > 0 {
                    let now = Some(world.elsewhere().version(&scene.group().await.unwrap()).await);
                    assert!(
                        version.is_none() || version == now,
                        "{moment}: one version for all of it"
                    );
                    version = now;
                }
                if finished.contains(&done) {
                    scene.is_finished_by_others(&moment).await;
                }
                if done == middle {
                    scene.lists_users_in_few_calls(&moment).await;
                    scene.is_finished_by_the_next_patch(&moment).await;
                    scene.is_finished_without_who_is_deleted(&moment).await;
                    scene.ends_with_the_group(&moment).await;
                }
            }
            world.held.let_go(1);
            done += 1;
        }
        (done, version)
    };
    let (answer, (done, version)) = tokio::join!(send, look_around);
    assert_eq!(done, commits);
    assert_eq!(Some(answer.envelope.version), version);
    scene.shows(&scene.after, "in the end").await;
    scene.has_ended_as(&scene.after, "in the end").await;
}

/// E-USER-12, R-FILTER-06 among others.
#[tokio::test]
async fn adding_five_thousand_is_seen_at_once() {
    frozen(Request::Add).await;
}

#[tokio::test]
async fn removing_five_thousand_is_seen_at_once() {
    frozen(Request::Remove).await;
}

#[tokio::test]
async fn replacing_five_thousand_is_seen_at_once() {
    frozen(Request::Replace).await;
}

#[tokio::test]
async fn clearing_five_thousand_is_seen_at_once() {
    frozen(Request::Clear).await;
}

#[tokio::test]
async fn creating_with_five_thousand_is_seen_at_once() {
    frozen(Request::Create).await;
}

/// What happens to one commit; the next ones pass.
const FAULTS: [Fault; 9] = [
    Fault::Unavailable,
    Fault::Busy(None),
    Fault::FailAfter,
    Fault::LoseAnswer,
    Fault::LoseRequest,
    Fault::LandBefore(1),
    Fault::LandBefore(2),
    Fault::LandBefore(7),
    Fault::LandLater,
];

/// Every commit in turn meets every fault, of one kind of request and once more of all the others: the client notices nothing, and what lands late changes nothing.
#[tokio::test]
async fn no_fault_of_one_commit_is_noticed() {
    for (turn, request) in REQUESTS.into_iter().enumerate() {
        let scene = Scene::new(request, SMALL).await;
        for number in 1..=Scene::commits(SMALL) {
            let others = REQUESTS.len() - 1;
            let (first, step) = if turn == 0 { (0, 1) } else { (turn - 1, others) };
            for fault in FAULTS.into_iter().skip(first).step_by(step) {
                let copy = scene.copy().await;
                let moment = format!("{request:?}, commit {number} meets {fault:?}");
                copy.world.faults.inject(Call::Commit, number..=number, fault);
                let sent = copy.send(&copy.world.directory).await;
                assert!(sent.is_ok(), "{moment}: {:?}", sent.err());
                copy.shows(&copy.after, &moment).await;
                lands_in_vain(&copy, &moment).await;
                copy.has_ended_as(&copy.after, &moment).await;
                lands_in_vain(&copy, &moment).await;
            }
        }
    }
}

/// Commits that arrive when all is done find nothing to do.
async fn lands_in_vain(scene: &Scene, moment: &str) {
    let before = scene.world.rows_of("").await;
    for landed in scene.world.faults.land().await {
        assert!(landed.is_err(), "{moment}: landed late");
    }
    assert!(scene.world.rows_of("").await == before, "{moment}: landed late");
}

/// The same for many commits of one large change at once.
#[tokio::test]
async fn no_faults_of_many_commits_are_noticed() {
    const SIZE: usize = 5_000;
    let scene = Scene::new(Request::Add, SIZE).await;
    for (number, fault) in (1..=Scene::commits(SIZE)).zip(FAULTS.into_iter().cycle()) {
        scene.world.faults.inject(Call::Commit, number..=number, fault);
    }
    scene.send(&scene.world.directory).await.unwrap();
    scene.shows(&scene.after, "after the answer").await;
    scene.world.faults.heal();
    lands_in_vain(&scene, "after the answer").await;
    scene.has_ended_as(&scene.after, "in the end").await;
    lands_in_vain(&scene, "in the end").await;
}

/// The store fails for good after some commits: before the decision the client is told so, behind it the change is made,
/// and an ill store is left in peace.
#[tokio::test(start_paused = true)]
async fn an_outage_after_the_decision_is_not_the_clients() {
    for request in REQUESTS {
        let scene = Scene::new(request, SMALL).await;
        for number in 1..=Scene::commits(SMALL) {
            let all = [Fault::Unavailable, Fault::Busy(None), Fault::LoseRequest];
            let faults = if request == Request::Add { &all[..] } else { &all[..1] };
            for fault in faults {
                let copy = scene.copy().await;
                let moment = format!("{request:?}, commits from {number} on meet {fault:?}");
                copy.world.faults.inject(Call::Commit, number.., *fault);
                let directory = Directory {
                    deadline: Instant::now() + Span::from_secs(15),
                    ..copy.world.directory.clone()
                };
                copy.world.store.take();
                let sent = copy.send(&directory).await;
                assert_eq!(sent.is_ok(), number > 1, "{moment}: {:?}", sent.err());
                let tries = copy.world.store.take().commits;
                assert!(tries < 150, "{moment}: {tries} tries in 15 s");
                let expected = if number > 1 { &copy.after } else { &copy.before };
                copy.shows(expected, &moment).await;
                // As another process; this one is over.
                copy.copy().await.has_ended_as(expected, &moment).await;
            }
        }
    }
}

/// A message that names few changes little, whatever the journal of another group is at.
#[tokio::test]
async fn a_journal_concerns_its_own_group_only() {
    let world = Arc::new(World::new().await);
    let users = world.many_users(80).await;
    let [large, small] = [world.group_of(&[]).await, world.group_of(&users[..3]).await];
    world.held.hold(Call::Commit, 2..=usize::MAX);
    let message = patch_op(&costs::add(&users));
    let mut trace = Trace::default();
    let add = async {
        let of = &world.groups;
        let added = world
            .directory
            .patch(of, &large, &Precondition::None, Shown::default(), &message, &mut trace);
        added.await.unwrap();
        world.held.end();
    };
    let meanwhile = async {
        assert!(world.held.settled().await > 0);
        let elsewhere = world.elsewhere();
        let patch = elsewhere
            .directory
            .change(&world.groups, &small, costs::remove(&users[..1]));
        assert_eq!(patch.await.unwrap().ids(&world.groups).len(), 2);
        assert_eq!(world.groups_of(&users[0]).await, BTreeSet::from([large.clone()]));
        assert_eq!(
            world.groups_of(&users[1]).await,
            BTreeSet::from([large.clone(), small.clone()])
        );
        elsewhere.remove(&world.groups, &small).await.unwrap();
        assert_eq!(world.groups_of(&users[1]).await, BTreeSet::from([large.clone()]));
        world.held.let_go(1_000);
    };
    tokio::join!(add, meanwhile);
    assert_eq!(world.members(&large).await.len(), 80);
}

/// Of two processes that look after a deleted group, the slower one must not show again what the other has just ended: who
/// reads at that moment would see it.
#[tokio::test]
async fn what_is_gone_is_shown_by_nobody_who_looked_too_early() {
    let world = World::new().await;
    let users = world.many_users(2).await;
    let group = world.group_of(&users).await;
    world.remove(&world.groups, &group).await.unwrap();
    let hidden = async || world.rows_of("pend~gone~").await.len();
    let early = world.directory.pending().await.unwrap();
    let early = &early.gone[&group];
    world.directory.while_gone(&early.trace, Vec::new()).await.unwrap();
    world.directory.show_again(early).await.unwrap();
    assert_eq!(hidden().await, 1, "something happened to it since");
    let now = world.directory.pending().await.unwrap();
    world.directory.show_again(&now.gone[&group]).await.unwrap();
    assert_eq!(hidden().await, 0);
}
