//! What clients were told, as things that each happened at one moment.

use std::collections::HashMap;

use super::{
    History, Record,
    check::{SeenGroup, Step, View, What},
    model::{ANY, Ask, Deed, FIRST_GROUPS, FIRST_USERS, GROUPS, Group, RESOURCES, Set, State, USERS, User},
    world::{self, Listed, Told},
};
use crate::{
    rows::{self, EventBody},
    store::{Row, settle::BARRED},
};

/// The events, by their versions, in the order of their stamps.
pub(super) fn events(all: &[Row]) -> Vec<(String, EventBody)> {
    let own = all.iter().filter_map(|row| Some((row.key.strip_prefix("o~")?, row)));
    own.filter(|(version, row)| !version.contains('~') && row.stamp != BARRED)
        .map(|(version, row)| (version.to_owned(), rows::body(row).unwrap()))
        .collect()
}

/// The group that an operation is about.
pub(super) fn group_of(ask: &Ask) -> Option<usize> {
    match *ask {
        Ask::Read { resource } => resource.checked_sub(USERS),
        Ask::Rename { group, .. }
        | Ask::Change { group, .. }
        | Ask::Set { group, .. }
        | Ask::RemoveUsers { group }
        | Ask::Put { group, .. } => Some(group),
        _ => None,
    }
}

/// Stands for whoever made what there is from the start.
const SET: u8 = u8::MAX;

/// What there is from the start.
pub(super) fn first(history: &History) -> State {
    let mut state = State::default();
    for (user, name) in (0..FIRST_USERS).zip(0..) {
        state.users[user] = Some(User { name, version: SET });
    }
    for ((group, name), members) in (0..FIRST_GROUPS).zip(0..).zip(history.members) {
        state.groups[group] = Some(Group {
            name,
            members: members.without(Set::one(USERS + group)),
            version: SET,
        });
    }
    state
}

/// A history as the search wants it.
pub(super) struct Past<'a> {
    pub(super) steps: Vec<Step<'a>>,
    /// Groups whose members are of one moment wherever they are seen. Of a scan that takes several answers each
    /// membership is of a moment of its own, unless all changes are spread.
    whole: Set,
    /// Versions tell something.
    pub(super) versions: bool,
    /// Members that each group may have or not.
    doubtful: [Set; GROUPS],
}

impl<'a> Past<'a> {
    pub(super) fn of(
        records: &'a [Record],
        events: &[(String, EventBody)],
        history: &History,
        end: usize,
    ) -> Result<Self, String> {
        let small = history.small;
        let Log { made, versions } = Log::of(records, events)?;
        let deletes = |record: &Record| match record.ask {
            Ask::Delete { resource } if !matches!(record.told, Some((_, Told::NotFound))) => Some(resource),
            Ask::Restore { resource } | Ask::Erase { user: resource } => Some(resource),
            _ => None,
        };
        // The groups of what is deleted are stamped later if they are many, or if it is a group that joins meanwhile, and
        // not at all where it was decided, but not spread, that it joins.
        let few = !small && !events.iter().any(|(_, event)| event.parts > 0);
        let is_stamped = |record: &Record| match deletes(record) {
            None => true,
            Some(resource) => {
                let joins = |other: &Record| record.meets(other) && other.ask.named().has(resource);
                few && (resource < USERS || !records.iter().any(joins))
            }
        };
        let is_small = |group: &usize| {
            let mut events = events.iter().filter(|(_, event)| event.id == world::id(USERS + *group));
            events.any(|(_, event)| event.actor != world::SETTER && event.members.is_some())
        };
        let whole = world::all_groups().filter(|group| history.page == 0 || !is_small(group));
        let mut past = Self {
            steps: Vec::new(),
            whole: whole.collect(),
            versions: records.iter().all(is_stamped),
            doubtful: doubtful(records, small),
        };
        for (record, number) in records.iter().zip(0..) {
            let vague: Set = records
                .iter()
                .filter(|other| record.meets(other) || (other.is_left_to_others() && !record.is_after_all()))
                .filter_map(deletes)
                .collect();
            let version = |text: &str| versions.get(text).copied().unwrap_or(ANY);
            let named = if small { vague } else { Set::default() };
            let met = records
                .iter()
                .zip(0..)
                .any(|(other, at)| at != number && record.meets(other) && other.is_write());
            let vague = Vague {
                named,
                seen: vague,
                met,
            };
            past.add(
                record,
                Made {
                    number,
                    kinds: made.get(&number).map_or(&[], Vec::as_slice),
                },
                vague,
                &version,
                end,
            );
        }
        Ok(past)
    }

    fn add(&mut self, record: &'a Record, events: Made<'_>, vague: Vague, version: &dyn Fn(&str) -> u8, end: usize) {
        let told = record.told.as_ref().map(|(_, told)| told);
        let is_write = record.is_write();
        let failed = matches!(told, None | Some(Told::Failed(_)));
        let succeeded = matches!(told, Some(Told::Group { .. } | Told::User { .. } | Told::Done));
        let made = (!events.kinds.is_empty()).then_some(events.number);
        let doubtful = group_of(&record.ask).map_or(Set::default(), |group| self.doubtful[group]);
        let deed = Deed {
            ask: &record.ask,
            version: made,
            expected: record.expected.as_deref().map(version),
            vague: Set(record.ask.named().0 & vague.named.0),
            leaving: vague.seen.and(doubtful),
            met: vague.met || doubtful != Set::default(),
            deletes: false,
        };
        let deeds = match record.ask {
            // What another one has done, or goes on with, is only seen.
            Ask::Restore { .. } if made.is_none() => vec![],
            Ask::Erase { .. } => {
                let deed = |kind: &&str| Deed {
                    deletes: *kind == "delete",
                    ..deed
                };
                events.kinds.iter().map(deed).collect()
            }
            _ if is_write && (succeeded || (failed && made.is_some())) => vec![deed],
            _ => vec![],
        };
        for (at, deed) in deeds.into_iter().enumerate() {
            let after = (at > 0).then(|| self.steps.len() - 1);
            self.steps.push(Step {
                what: What::Do(deed),
                from: record.from,
                until: Some(if failed { end } else { record.until() }),
                after,
            });
        }
        let outdated = match (told, group_of(&record.ask), &record.expected) {
            (Some(Told::Outdated), Some(group), Some(expected)) => {
                let expected = version(expected);
                Some(View::Outdated { group, expected })
            }
            _ => None,
        };
        let is_done = is_write && succeeded && !is_by_operator(&record.ask);
        let after = is_done.then(|| self.steps.len() - 1);
        for view in views(&record.ask, told, made.is_some(), version)
            .into_iter()
            .chain(outdated)
        {
            // A user's groups are no part of its version: what was read with the old one stands beside the new one.
            let after = after.filter(|_| !matches!(view, View::Link { .. }));
            self.see(record, view, vague.seen, after);
        }
    }

    fn see(&mut self, record: &Record, mut view: View, vague: Set, after: Option<usize>) {
        let mut parts = Vec::new();
        let vague = match view {
            View::Link { group, .. } | View::Group { group, .. } | View::Members { group, .. } => {
                vague.and(self.doubtful[group])
            }
            _ => vague,
        };
        match &mut view {
            View::Group {
                group,
                seen: Some(seen),
            } if !self.whole.has(*group) => {
                // No member may be older than the version.
                parts = seen
                    .members
                    .take()
                    .map_or_else(Vec::new, |members| links(*group, members));
            }
            View::Members { group, seen } if !self.whole.has(*group) => {
                for link in links(*group, *seen) {
                    self.see(record, link, vague, after);
                }
                return;
            }
            _ => {}
        }
        self.steps.push(Step {
            what: What::See { view, vague },
            from: record.from,
            until: Some(record.until()),
            after,
        });
        let after = Some(self.steps.len() - 1);
        for part in parts {
            self.see(record, part, vague, after);
        }
    }
}

/// The change log, by operations.
#[derive(Default)]
struct Log<'e> {
    /// The kinds of events that each has made.
    made: HashMap<u8, Vec<&'e str>>,
    /// Whose version each is.
    versions: HashMap<&'e str, u8>,
}

impl<'e> Log<'e> {
    fn of(records: &[Record], events: &'e [(String, EventBody)]) -> Result<Self, String> {
        let numbers: HashMap<&str, u8> = records.iter().map(|record| record.name.as_str()).zip(0..).collect();
        let mut log = Self::default();
        for (version, event) in events.iter().filter(|(_, event)| !is_rejoining(event)) {
            let number = numbers.get(event.actor.as_str()).copied().unwrap_or(SET);
            log.versions.insert(version, number);
            let made = log.made.entry(number).or_default();
            // A user that is restored meanwhile is deleted once more before it is erased.
            let erases = |record: &Record| matches!(record.ask, Ask::Erase { .. });
            let may_again = event.kind == "delete" && records.get(usize::from(number)).is_some_and(erases);
            if number != SET && !may_again && made.contains(&event.kind.as_str()) {
                return Err(format!("{} took effect twice", event.actor));
            }
            made.push(&event.kind);
        }
        Ok(log)
    }
}

/// What an operation did, as the change log says.
#[derive(Clone, Copy)]
struct Made<'e> {
    /// The operation's own.
    number: u8,
    kinds: &'e [&'e str],
}

/// What is being deleted meanwhile.
#[derive(Clone, Copy)]
struct Vague {
    /// Who is named as a member: only if it takes more than one commit, else it must be there to the end.
    named: Set,
    /// Who is seen as a member: users and groups are not read at one moment with their members.
    seen: Set,
    /// Somebody changes something at the same time.
    met: bool,
}

/// Whether it tells of groups that a restored resource joins later.
fn is_rejoining(event: &EventBody) -> bool {
    event.kind == "restore" && event.paths == ["groups"]
}

fn is_by_operator(ask: &Ask) -> bool {
    matches!(ask, Ask::Restore { .. } | Ask::Erase { .. })
}

/// Of each group the members of whom nobody can tell: they, or it, came back by several commits while somebody changed its
/// members.
fn doubtful(records: &[Record], small: bool) -> [Set; GROUPS] {
    let mut doubtful = [Set::default(); GROUPS];
    let is_restored = |wanted: usize| {
        let is_it = |record: &Record| matches!(record.ask, Ask::Restore { resource } if resource == wanted);
        records.iter().any(is_it)
    };
    let all: Set = (0..RESOURCES).collect();
    for record in records {
        let (Ask::Delete { resource } | Ask::Restore { resource } | Ask::Erase { user: resource }) = record.ask else {
            continue;
        };
        for other in records {
            let Some(group) = group_of(&other.ask).filter(|_| other.is_write()) else {
                continue;
            };
            let meets = record.meets(other) || record.is_left_to_others();
            if small && meets && (is_restored(resource) || is_restored(USERS + group)) {
                let who = if resource == USERS + group {
                    all
                } else {
                    Set::one(resource)
                };
                doubtful[group] = doubtful[group].and(who);
            }
        }
    }
    doubtful
}

/// Whether each is a member of a group, one by one.
fn links(group: usize, members: Set) -> Vec<View> {
    let link = |member| View::Link {
        member,
        group,
        seen: members.has(member),
    };
    (0..RESOURCES).map(link).collect()
}

fn views(ask: &Ask, told: Option<&Told>, made: bool, version: &dyn Fn(&str) -> u8) -> Vec<View> {
    let own = match *ask {
        Ask::Read { resource } | Ask::Delete { resource } | Ask::Restore { resource } => Some(resource),
        Ask::Erase { user } | Ask::CreateUser { user, .. } | Ask::RenameUser { user, .. } => Some(user),
        Ask::CreateGroup { group, .. } => Some(USERS + group),
        _ => group_of(ask).map(|group| USERS + group),
    };
    let user_or_group = |own: usize| own.checked_sub(USERS).ok_or(own);
    match (told, own.map(user_or_group), ask) {
        (Some(Told::Taken), _, &Ask::Restore { resource }) => vec![View::GoneTaken { resource }],
        (Some(Told::There), _, &Ask::Restore { resource }) => vec![View::There { resource }],
        (Some(Told::Done), _, &Ask::Restore { resource }) if !made => vec![View::There { resource }],
        (Some(Told::Erased), _, &Ask::Restore { resource }) => vec![View::Erased { resource }],
        (Some(Told::Done), _, &Ask::Erase { user }) => vec![View::Erased { resource: user }],
        (Some(Told::Unknown), _, &(Ask::Restore { resource } | Ask::Erase { user: resource })) => {
            vec![View::Unknown { resource }]
        }
        (
            Some(Told::Group {
                version: text,
                name,
                members,
            }),
            Some(Ok(group)),
            _,
        ) => {
            let (name, members) = (*name, *members);
            let version = version(text);
            let seen = Some(SeenGroup { name, version, members });
            vec![View::Group { group, seen }]
        }
        (
            Some(Told::User {
                version: text,
                name,
                groups,
            }),
            Some(Err(user)),
            _,
        ) => {
            let seen = Some((*name, version(text)));
            let links = groups.iter().flat_map(|groups| {
                world::all_groups().map(|group| View::Link {
                    member: user,
                    group,
                    seen: groups.has(USERS + group),
                })
            });
            std::iter::once(View::User { user, seen }).chain(links).collect()
        }
        (Some(Told::NotFound), Some(own), _) => vec![View::Nobody {
            resource: own.map_or_else(|user| user, |group| USERS + group),
        }],
        (Some(Told::BadMember(resource)), ..) => vec![View::Nobody { resource: *resource }],
        (Some(Told::Taken), Some(own), ask) => vec![taken(ask, own)],
        (Some(Told::List(found)), _, Ask::List { name: wanted }) => listed(found, *wanted, version),
        (Some(Told::List(found)), _, Ask::With { member }) => {
            let groups = world::all_groups().map(|group| View::Link {
                member: *member,
                group,
                seen: found.iter().any(|listed| listed.group == group),
            });
            groups.collect()
        }
        _ => Vec::new(),
    }
}

fn taken(ask: &Ask, own: Result<usize, usize>) -> View {
    let name = match *ask {
        Ask::CreateUser { name, .. }
        | Ask::CreateGroup { name, .. }
        | Ask::RenameUser { name, .. }
        | Ask::Rename { name, .. }
        | Ask::Put { name, .. } => Some(name),
        Ask::Change { name, .. } => name,
        _ => None,
    };
    let name = name.expect("what takes no name is not told that it is taken");
    match own {
        Ok(group) => View::Taken { group, name },
        Err(user) => View::UserTaken { user, name },
    }
}

fn listed(found: &[Listed], wanted: Option<u8>, version: &dyn Fn(&str) -> u8) -> Vec<View> {
    let view = |group: usize| {
        let seen = found.iter().find(|listed| listed.group == group);
        match (wanted, seen) {
            (Some(name), None) => vec![View::Named {
                group,
                name,
                seen: false,
            }],
            (_, None) => vec![View::Group { group, seen: None }],
            (_, Some(listed)) => {
                let members = None;
                let (name, version) = (listed.name, version(&listed.version));
                let seen = Some(SeenGroup { name, version, members });
                // Not of one moment with the group itself.
                let members = View::Members {
                    group,
                    seen: listed.members,
                };
                vec![View::Group { group, seen }, members]
            }
        }
    };
    (0..GROUPS).flat_map(view).collect()
}
