//! What users and groups are, and what the operations do to them: the least that explains a client's view.

/// Users there can be: three from the start, the others by a client.
pub(super) const USERS: usize = 5;
/// Groups there can be: two from the start.
pub(super) const GROUPS: usize = 4;
/// Users and groups: a resource is named by its number, groups behind users.
pub(super) const RESOURCES: usize = USERS + GROUPS;

/// Users there are from the start.
pub(super) const FIRST_USERS: usize = 3;
/// Groups there are from the start.
pub(super) const FIRST_GROUPS: usize = 2;

/// Some users and groups: a bit for each.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Set(pub(super) u16);

impl Set {
    pub(super) fn one(resource: usize) -> Self {
        Self(1 << resource)
    }

    pub(super) fn has(self, resource: usize) -> bool {
        self.0 >> resource & 1 == 1
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = usize> {
        (0..RESOURCES).filter(move |resource| self.has(*resource))
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(resources: I) -> Self {
        resources.into_iter().map(Self::one).fold(Self::default(), Self::and)
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(name)).finish()
    }
}

/// What a resource is called in a failed test.
pub(super) fn name(resource: usize) -> String {
    match resource.checked_sub(USERS) {
        None => format!("u{resource}"),
        Some(group) => format!("g{group}"),
    }
}

/// What a client asks for. Names are numbers.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    CreateUser {
        user: usize,
        name: u8,
    },
    CreateGroup {
        group: usize,
        name: u8,
        members: Set,
    },
    RenameUser {
        user: usize,
        name: u8,
    },
    Rename {
        group: usize,
        name: u8,
    },
    /// One PATCH: first these come, then those go.
    Change {
        group: usize,
        add: Set,
        remove: Set,
        name: Option<u8>,
    },
    /// PATCH: these, and no others.
    Set {
        group: usize,
        members: Set,
    },
    /// PATCH: all users go.
    RemoveUsers {
        group: usize,
    },
    /// PUT; may expect the version that this client saw last.
    Put {
        group: usize,
        name: u8,
        members: Set,
        if_match: bool,
    },
    Delete {
        resource: usize,
    },
    /// An operator brings it back.
    Restore {
        resource: usize,
    },
    /// An operator deletes a user, if it is there, and what is kept of it.
    Erase {
        user: usize,
    },
    Read {
        resource: usize,
    },
    /// All groups, or those of one name.
    List {
        name: Option<u8>,
    },
    /// The groups that have this member.
    With {
        member: usize,
    },
    /// What a process does beside its requests.
    Finish,
}

/// A version: the number of the operation that made it.
pub(super) type Version = u8;

/// A version that no operation of a client made: the end of a membership, some time after the member's own.
pub(super) const ANY: Version = u8::MAX - 1;

/// A user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct User {
    pub(super) name: u8,
    pub(super) version: Version,
}

/// A group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub(super) name: u8,
    pub(super) members: Set,
    pub(super) version: Version,
}

/// Everything there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) users: [Option<User>; USERS],
    pub(super) groups: [Option<Group>; GROUPS],
    /// The names of those who are deleted and may come back.
    pub(super) gone: [Option<u8>; RESOURCES],
    /// Of each group who is its member as soon as both are there again.
    pub(super) kept: [Set; GROUPS],
    pub(super) erased: Set,
}

/// What an operation did, as its client was told or as the change log says.
pub(super) struct Deed<'a> {
    pub(super) ask: &'a Ask,
    /// What it made; nothing if it changed nothing.
    pub(super) version: Option<Version>,
    /// The version that it expected.
    pub(super) expected: Option<Version>,
    /// Members that it names, of which nobody can tell whether they were there still.
    pub(super) vague: Set,
    /// Resources of which nobody can tell whether they were members still.
    pub(super) leaving: Set,
    /// Somebody else changed something meanwhile.
    pub(super) met: bool,
    /// Of an erasure: that it deleted the user, before it erased what was kept.
    pub(super) deletes: bool,
}

impl State {
    pub(super) fn has(&self, resource: usize) -> bool {
        match resource.checked_sub(USERS) {
            None => self.users[resource].is_some(),
            Some(group) => self.groups[group].is_some(),
        }
    }

    /// Whether a group other than this one has the name; no group here has an externalId.
    pub(super) fn is_taken(&self, group: usize, name: u8) -> bool {
        let mut others = self.groups.iter().enumerate().filter(|(other, _)| *other != group);
        others.any(|(_, other)| other.is_some_and(|other| other.name == name))
    }

    /// The same for users.
    pub(super) fn is_user_taken(&self, user: usize, name: u8) -> bool {
        let mut others = self.users.iter().enumerate().filter(|(other, _)| *other != user);
        others.any(|(_, other)| other.is_some_and(|other| other.name == name))
    }

    /// What there is after a success; nothing if there can be none.
    pub(super) fn after(&self, deed: &Deed<'_>) -> Option<Self> {
        let mut state = *self;
        match (deed.ask, deed.version) {
            (&Ask::CreateUser { user, name }, Some(version)) => {
                let fits = state.users[user].is_none() && !state.is_user_taken(user, name);
                state.users[user] = Some(User { name, version });
                fits.then_some(state)
            }
            (&Ask::CreateGroup { group, name, members }, Some(version)) => {
                let members = state.those_there(members, deed.vague)?;
                let fits = state.groups[group].is_none() && !state.is_taken(group, name);
                state.groups[group] = Some(Group { name, members, version });
                fits.then_some(state)
            }
            (&Ask::Delete { resource }, Some(version)) => state.without(resource, version),
            (&Ask::Erase { user }, Some(version)) if deed.deletes => state.without(user, version),
            (&Ask::Erase { user }, Some(_)) => state.erased(user),
            (&Ask::Restore { resource }, Some(version)) => state.restored(resource, version),
            (&Ask::RenameUser { user, name }, made) => {
                let before = state.users[user]?;
                let version = made.unwrap_or(before.version);
                state.users[user] = Some(User { name, version });
                let fits = !state.is_user_taken(user, name) && (before.name != name) == made.is_some();
                fits.then_some(state)
            }
            (
                Ask::CreateUser { .. }
                | Ask::CreateGroup { .. }
                | Ask::Delete { .. }
                | Ask::Restore { .. }
                | Ask::Erase { .. },
                None,
            )
            | (Ask::Read { .. } | Ask::List { .. } | Ask::With { .. } | Ask::Finish, _) => None,
            (_, made) => {
                let (group, after) = state.changed(deed)?;
                let before = state.groups[group]?;
                let differ = Set(before.members.0 ^ after.members.0);
                let tells = match made {
                    // What another did meanwhile may have been done once more, which is no harm.
                    Some(_) => deed.met || before.name != after.name || differ != Set::default(),
                    // Who was to go may have been gone already.
                    None => before.name == after.name && differ.without(deed.leaving) == Set::default(),
                };
                if let Some(version) = made {
                    state.groups[group] = Some(Group { version, ..after });
                }
                let expected = deed
                    .expected
                    .is_none_or(|expected| expected == before.version || expected == ANY);
                (expected && tells && !state.is_taken(group, after.name)).then_some(state)
            }
        }
    }

    /// A group as an operation on its name and members leaves it.
    fn changed(&self, deed: &Deed<'_>) -> Option<(usize, Group)> {
        let there = |set| self.those_there(set, deed.vague);
        let (group, name, members) = match *deed.ask {
            Ask::Rename { group, name } => (group, Some(name), self.groups[group]?.members),
            Ask::Change {
                group,
                add,
                remove,
                name,
            } => {
                let members = self.groups[group]?.members.and(there(add.without(remove))?);
                (group, name, members.without(remove))
            }
            Ask::Set { group, members } => (group, None, there(members)?),
            Ask::RemoveUsers { group } => {
                let users = (0..USERS).collect();
                (group, None, self.groups[group]?.members.without(users))
            }
            Ask::Put {
                group, name, members, ..
            } => (group, Some(name), there(members)?),
            _ => return None,
        };
        let before = self.groups[group]?;
        let name = name.unwrap_or(before.name);
        Some((
            group,
            Group {
                name,
                members,
                ..before
            },
        ))
    }

    /// Of these, those that there are; nothing if one is missing that should be there.
    fn those_there(&self, members: Set, vague: Set) -> Option<Set> {
        let missing: Set = members.iter().filter(|member| !self.has(*member)).collect();
        (missing.without(vague) == Set::default()).then_some(members.without(missing))
    }

    fn without(mut self, resource: usize, version: Version) -> Option<Self> {
        let name = match resource.checked_sub(USERS) {
            None => self.users[resource].take()?.name,
            Some(at) => {
                let group = self.groups[at].take()?;
                self.kept[at] = self.kept[at].and(group.members);
                group.name
            }
        };
        self.gone[resource] = Some(name);
        for (group, kept) in self.groups.iter_mut().zip(&mut self.kept) {
            if let Some(group) = group
                && group.members.has(resource)
            {
                group.members = group.members.without(Set::one(resource));
                group.version = version;
                *kept = kept.and(Set::one(resource));
            }
        }
        Some(self)
    }

    fn restored(mut self, resource: usize, version: Version) -> Option<Self> {
        let name = self.gone[resource].take()?;
        let is_taken = match resource.checked_sub(USERS) {
            None => {
                self.users[resource] = Some(User { name, version });
                self.is_user_taken(resource, name)
            }
            Some(at) => {
                let members = Set::default();
                self.groups[at] = Some(Group { name, members, version });
                self.is_taken(at, name)
            }
        };
        for at in 0..GROUPS {
            let both = |member: &usize| (*member == resource || USERS + at == resource) && self.has(*member);
            let back: Set = self.kept[at].iter().filter(both).collect();
            if let Some(group) = self.groups[at].as_mut().filter(|_| back != Set::default()) {
                group.members = group.members.and(back);
                group.version = version;
                self.kept[at] = self.kept[at].without(back);
            }
        }
        (!is_taken).then_some(self)
    }

    fn erased(mut self, user: usize) -> Option<Self> {
        self.gone[user].take()?;
        self.erased = self.erased.and(Set::one(user));
        for kept in &mut self.kept {
            *kept = kept.without(Set::one(user));
        }
        Some(self)
    }

    /// Whether nothing is known of it.
    pub(super) fn is_unknown(&self, resource: usize) -> bool {
        !self.has(resource) && self.gone[resource].is_none() && !self.erased.has(resource)
    }

    /// Whether somebody else has the name of one who is deleted.
    pub(super) fn is_gone_taken(&self, resource: usize) -> bool {
        self.gone[resource].is_some_and(|name| match resource.checked_sub(USERS) {
            None => self.is_user_taken(resource, name),
            Some(group) => self.is_taken(group, name),
        })
    }
}

impl Ask {
    /// Those that are to become members.
    pub(super) fn named(&self) -> Set {
        match *self {
            Self::CreateGroup { members, .. } | Self::Set { members, .. } | Self::Put { members, .. } => members,
            Self::Change { add, remove, .. } => add.without(remove),
            _ => Set::default(),
        }
    }
}
