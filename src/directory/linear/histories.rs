//! Random histories.

use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    sample,
};

use super::{
    Client, History, Trouble,
    model::{Ask, FIRST_GROUPS, FIRST_USERS, GROUPS, Set, USERS},
    stage::Fate,
};
use crate::store::faults::Fault;

/// Who asks for something.
#[derive(Clone, Copy)]
pub(super) enum Asks {
    OfClients,
    /// Many are deleted, and come back.
    OfOperatorsToo,
}

pub(super) fn histories(asks: Asks) -> impl Strategy<Value = History> {
    let set = || {
        let member = sample::select((0..=FIRST_USERS).chain(USERS..USERS + FIRST_GROUPS).collect::<Vec<_>>());
        vec(member, 0..4).prop_map(|members| members.into_iter().collect::<Set>())
    };
    let client = (
        vec(any_ask(asks, set), 1..6),
        prop_oneof![
            8 => Just(Fate::Lives),
            1 => (1..12_usize).prop_map(Fate::DiesBefore),
            1 => (1..12_usize).prop_map(Fate::DiesAfter),
        ],
        sample::select(vec![0_u64, 0, 3_000, 25_000]),
        sample::select(vec![15_000_u64, 15_000, 15_000, 30]),
    );
    let client = client.prop_map(|(asks, fate, skew, patience)| Client {
        asks,
        fate,
        skew,
        patience,
    });
    let fault = prop_oneof![
        2 => Just(Fault::LoseAnswer),
        1 => Just(Fault::LoseRequest),
        3 => (1..40_usize).prop_map(Fault::LandBefore),
        1 => Just(Fault::Busy(None)),
        1 => Just(Fault::Unavailable),
    ];
    let trouble = (1..20_usize, fault).prop_map(|(commit, fault)| Trouble { commit, fault });
    (
        [set(), set()],
        vec(client, 2..5),
        vec(any::<u8>(), 0..240),
        prop_oneof![2 => Just(Vec::new()), 1 => vec(trouble, 1..3)],
        sample::select(vec![0, 0, 2]),
        any::<bool>(),
    )
        .prop_map(|(members, mut clients, choices, troubles, page, small)| {
            number_creates(&mut clients);
            let first: Set = (0..FIRST_USERS).chain(USERS..USERS + FIRST_GROUPS).collect();
            let members = members.map(|members| Set(members.0 & first.0));
            let holds = Vec::new();
            History {
                members,
                clients,
                choices,
                troubles,
                page,
                small,
                holds,
            }
        })
}

/// Each that is made has a number of its own.
fn number_creates(clients: &mut [Client]) {
    let (mut users, mut groups) = (FIRST_USERS, FIRST_GROUPS);
    for ask in clients.iter_mut().flat_map(|client| &mut client.asks) {
        match ask {
            Ask::CreateUser { user, .. } if users < USERS => {
                *user = users;
                users += 1;
            }
            Ask::CreateGroup { group, members, .. } if groups < GROUPS => {
                *group = groups;
                *members = members.without(Set::one(USERS + groups));
                groups += 1;
            }
            Ask::CreateUser { .. } | Ask::CreateGroup { .. } => *ask = Ask::List { name: None },
            _ => {}
        }
    }
}

fn any_ask<S: Strategy<Value = Set> + 'static>(asks: Asks, set: impl Fn() -> S + 'static) -> BoxedStrategy<Ask> {
    let resource = || sample::select(vec![0_usize, 0, 1, 2, USERS, USERS, USERS + 1]);
    match asks {
        Asks::OfClients => ask(set).boxed(),
        Asks::OfOperatorsToo => prop_oneof![
            6 => ask(set),
            2 => resource().prop_map(|resource| Ask::Delete { resource }),
            4 => resource().prop_map(|resource| Ask::Restore { resource }),
            1 => (0..3_usize).prop_map(|user| Ask::Erase { user }),
        ]
        .boxed(),
    }
}

fn ask<S: Strategy<Value = Set> + 'static>(set: impl Fn() -> S) -> impl Strategy<Value = Ask> {
    // The first group is asked for most.
    let group = || sample::select(vec![0_usize, 0, 0, 1, 1, 2]);
    let user = || sample::select(vec![0_usize, 0, 1, 2, 3]);
    let name = || 0..4_u8;
    let change = (group(), set(), set(), proptest::option::weighted(0.2, name()));
    let others = |group: usize, members: Set| members.without(Set::one(USERS + group));
    prop_oneof![
        8 => change.prop_map(move |(group, add, remove, name)| {
            let (add, remove) = (others(group, add), remove);
            if (add, remove, name) == (Set::default(), Set::default(), None) {
                Ask::Change { group, add: Set::one(0), remove, name }
            } else {
                Ask::Change { group, add, remove, name }
            }
        }),
        3 => (group(), user()).prop_map(|(group, user)| {
            Ask::Change { group, add: Set::one(user), remove: Set::default(), name: None }
        }),
        3 => (group(), user()).prop_map(|(group, user)| {
            Ask::Change { group, add: Set::default(), remove: Set::one(user), name: None }
        }),
        2 => (group(), set()).prop_map(move |(group, members)| Ask::Set { group, members: others(group, members) }),
        1 => group().prop_map(|group| Ask::RemoveUsers { group }),
        3 => (group(), name(), set(), any::<bool>()).prop_map(move |(group, name, members, if_match)| {
            Ask::Put { group, name, members: others(group, members), if_match }
        }),
        2 => (group(), name()).prop_map(|(group, name)| Ask::Rename { group, name }),
        1 => (user(), name()).prop_map(|(user, name)| Ask::RenameUser { user, name }),
        2 => user().prop_map(|resource| Ask::Delete { resource }),
        2 => group().prop_map(|group| Ask::Delete { resource: USERS + group }),
        1 => name().prop_map(|name| Ask::CreateUser { user: 0, name }),
        2 => (name(), set()).prop_map(|(name, members)| Ask::CreateGroup { group: 0, name, members }),
        6 => group().prop_map(|group| Ask::Read { resource: USERS + group }),
        3 => user().prop_map(|resource| Ask::Read { resource }),
        2 => proptest::option::of(name()).prop_map(|name| Ask::List { name }),
        2 => user().prop_map(|member| Ask::With { member }),
        1 => Just(Ask::Finish),
    ]
}
