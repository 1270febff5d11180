//! Whether what clients were told is explained by some order of their operations (Wing and Gong, with Lowe's memory of
//! what was tried).

use std::collections::HashSet;

use super::model::{ANY, Deed, Set, State, USERS, Version};

/// What a client saw of one thing, at one moment of its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// A user, by its name and version.
    User { user: usize, seen: Option<(u8, Version)> },
    /// A group.
    Group { group: usize, seen: Option<SeenGroup> },
    /// The members of a group.
    Members { group: usize, seen: Set },
    /// Whether a member is in a group.
    Link { member: usize, group: usize, seen: bool },
    /// Whether a group is there and has this name.
    Named { group: usize, name: u8, seen: bool },
    /// There is none such.
    Nobody { resource: usize },
    /// There is one.
    There { resource: usize },
    /// There never was one.
    Unknown { resource: usize },
    /// It was erased.
    Erased { resource: usize },
    /// It is deleted, and another one has its name.
    GoneTaken { resource: usize },
    /// Another group than this one has the name.
    Taken { group: usize, name: u8 },
    /// The same for users.
    UserTaken { user: usize, name: u8 },
    /// The group is there and does not have this version.
    Outdated { group: usize, expected: Version },
}

/// What a client saw of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenGroup {
    pub(super) name: u8,
    pub(super) version: Version,
    /// None: they were not shown.
    pub(super) members: Option<Set>,
}

/// One thing that happens at one moment.
pub(super) enum What<'a> {
    Do(Deed<'a>),
    See {
        view: View,
        /// Of these nobody can tell whether they are members: they are being deleted.
        vague: Set,
    },
}

/// A thing, and when it can have happened.
pub(super) struct Step<'a> {
    pub(super) what: What<'a>,
    /// Not before this.
    pub(super) from: usize,
    /// Not after this; none if nobody was told.
    pub(super) until: Option<usize>,
    /// Not before the step with this number.
    pub(super) after: Option<usize>,
}

/// Most steps of a history.
const MAX_STEPS: usize = 256;

/// Which steps have happened.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Done([u128; MAX_STEPS / 128]);

impl Done {
    fn has(self, step: usize) -> bool {
        self.0[step / 128] >> (step % 128) & 1 == 1
    }

    fn and(mut self, step: usize) -> Self {
        self.0[step / 128] |= 1 << (step % 128);
        self
    }
}

struct Search<'a> {
    steps: &'a [Step<'a>],
    /// Versions tell something.
    versions: bool,
    tried: HashSet<(Done, State)>,
}

/// Looks for an order; none if there is none.
pub(super) fn is_explained(steps: &[Step<'_>], state: State, versions: bool) -> bool {
    assert!(steps.len() <= MAX_STEPS, "{} steps", steps.len());
    let mut search = Search {
        steps,
        versions,
        tried: HashSet::new(),
    };
    search.from(Done::default(), state)
}

impl Search<'_> {
    fn from(&mut self, mut done: Done, state: State) -> bool {
        // What is seen changes nothing, so it may as well happen as soon as it can.
        loop {
            let seen = self.next(done).find(|step| self.is_seen(*step, &state));
            match seen {
                Some(step) => done = done.and(step),
                None => break,
            }
        }
        if (0..self.steps.len()).all(|step| done.has(step)) {
            return true;
        }
        if !self.tried.insert((done, state)) {
            return false;
        }
        let next: Vec<usize> = self.next(done).collect();
        next.into_iter().any(|step| {
            let What::Do(deed) = &self.steps[step].what else {
                return false;
            };
            let expected = deed.expected.filter(|_| self.versions);
            let after = state.after(&Deed { expected, ..*deed });
            after.is_some_and(|after| self.from(done.and(step), after))
        })
    }

    /// The steps that can come next.
    fn next(&self, done: Done) -> impl Iterator<Item = usize> {
        let open = move |step: &usize| !done.has(*step);
        let steps = self.steps;
        let ends = (0..steps.len()).filter(open).filter_map(|step| steps[step].until);
        let first_end = ends.min().unwrap_or(usize::MAX);
        (0..steps.len())
            .filter(open)
            .filter(move |step| steps[*step].from < first_end)
            .filter(move |step| steps[*step].after.is_none_or(|before| !open(&before)))
    }

    fn is_seen(&self, step: usize, state: &State) -> bool {
        let What::See { view, vague } = &self.steps[step].what else {
            return false;
        };
        let same = |one: Version, other: Version| one == other || other == ANY || !self.versions;
        match *view {
            View::User { user, seen } => match (state.users[user], seen) {
                (Some(user), Some((name, version))) => user.name == name && same(user.version, version),
                (user, seen) => user.is_none() && seen.is_none(),
            },
            View::Group { group, seen } => match (state.groups[group], seen) {
                (Some(group), Some(seen)) => {
                    let members = |members: Set| members.without(*vague) == group.members.without(*vague);
                    group.name == seen.name && same(group.version, seen.version) && seen.members.is_none_or(members)
                }
                (group, seen) => group.is_none() && seen.is_none(),
            },
            View::Members { group, seen } => {
                state.groups[group].is_some_and(|group| group.members.without(*vague) == seen.without(*vague))
            }
            View::Link { member, group, seen } => {
                vague.has(member)
                    || vague.has(USERS + group)
                    || state.groups[group].is_some_and(|group| group.members.has(member)) == seen
            }
            View::Named { group, name, seen } => state.groups[group].is_some_and(|group| group.name == name) == seen,
            View::Nobody { resource } => !state.has(resource),
            View::There { resource } => state.has(resource),
            View::Unknown { resource } => state.is_unknown(resource),
            View::Erased { resource } => state.erased.has(resource),
            View::GoneTaken { resource } => state.is_gone_taken(resource),
            View::Taken { group, name } => state.is_taken(group, name),
            View::UserTaken { user, name } => state.is_user_taken(user, name),
            View::Outdated { group, expected } => {
                state.groups[group].is_some_and(|group| !self.versions || group.version != expected || expected == ANY)
            }
        }
    }
}
