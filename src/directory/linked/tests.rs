//! Memberships in lists and filters: how many may be shown, and what it costs to look at them.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::super::{
    Error, Found, MAX_SCANNED,
    edges::{self, Edge},
    tests::{World, refusal, shown},
};
use crate::{
    rows,
    scim::{
        limits::MAX_LISTED_MEMBERS,
        list::{ListQuery, Paging},
        members::Kind,
        normalize::Trace,
        schema::{Catalog, ResourceType},
    },
    store::{Change, MAX_CHANGES, Store},
};

fn id(number: usize) -> String {
    format!("id-{number:06}")
}

fn groups() -> Arc<ResourceType> {
    Arc::clone(Catalog::standard().resource_type("Group").unwrap())
}

impl World {
    /// Users and groups with names, and these memberships: numbers of group and user.
    async fn linked(users: usize, groups: usize, memberships: impl Iterator<Item = (usize, usize)>) -> Self {
        let mut world = Self::new().await;
        world.directory.deadline = Instant::now() + Duration::from_mins(10);
        let user = |number: usize| (id(number), json!({ "userName": format!("u{number}") }));
        world.fill("u", (0..users).map(user)).await;
        let group = |number: usize| (id(number), json!({ "displayName": format!("G{number}") }));
        world.fill("g", (0..groups).map(group)).await;
        world.join(memberships.map(|(group, user)| (id(group), id(user)))).await;
        world
    }

    /// Makes the second of each two a member of the first.
    async fn join(&self, memberships: impl Iterator<Item = (String, String)>) {
        let edge = |(group, member)| Edge {
            group,
            member,
            kind: Kind::User,
        };
        let rows = memberships.map(edge).flat_map(|edge| {
            let body = edges::body(&edge);
            [
                Change::Insert(rows::write(rows::member_key(&edge.group, &edge.member), &body)),
                Change::Insert(rows::write(rows::membership_key(&edge.member, &edge.group), &body)),
            ]
        });
        let partition = &self.directory.access.tenant.id;
        for part in rows.collect::<Vec<_>>().chunks(MAX_CHANGES) {
            self.store.commit(partition, part).await.unwrap();
        }
    }

    async fn ask(&self, types: &[Arc<ResourceType>], query: &ListQuery) -> Result<Found, Error> {
        let shown: Vec<_> = types.iter().map(|of| shown(of)).collect();
        let base_url = "https://example.com/scim/acme";
        self.directory
            .query(types, query, &shown, base_url, &mut Trace::default())
            .await
    }
}

fn query(filter: Option<&str>, count: usize) -> ListQuery {
    ListQuery {
        filter: filter.map(str::to_owned),
        count,
        ..ListQuery::default()
    }
}

/// How many values each resource of a page has, wherever they are.
fn values(found: &Found, attribute: &str) -> Vec<usize> {
    let values = found.resources.iter().map(|listed| match listed.many_members() {
        Some((_, members)) => members.len(),
        None => listed.values(attribute),
    });
    values.collect()
}

/// Issue: "a list that would return more than 10,000 membership rows answers 400 tooMany", but whoever looks for one group
/// is shown it, as by its id: some clients (`OneLogin`, Logic Apps) cannot leave out the members.
#[tokio::test]
async fn a_large_group_is_shown_alone() {
    const LARGE: usize = MAX_LISTED_MEMBERS + 500;
    let memberships = (0..LARGE).map(|user| (0, user)).chain((0..20).map(|user| (1, user)));
    let world = World::linked(0, 2, memberships).await;
    let groups = [groups()];
    for filter in [
        "displayName eq \"G0\"",
        "displayName sw \"g0\"",
        "id eq \"id-000000\"",
        "displayName eq \"g0\" and members eq \"id-000007\"",
        "members eq \"id-009999\"",
    ] {
        let found = world.ask(&groups, &query(Some(filter), 100)).await.unwrap();
        assert_eq!(values(&found, "members"), [LARGE], "{filter}");
        assert!(
            found.resources[0].values("members") <= 1,
            "{filter}: a placeholder is in the document"
        );
    }
    let by_cursor = ListQuery {
        paging: Paging::Cursor(None),
        ..query(None, 1)
    };
    for query in [query(None, 1), query(Some("displayName pr"), 1), by_cursor] {
        let found = world.ask(&groups, &query).await.unwrap();
        assert_eq!(values(&found, "members"), [LARGE], "one on a page");
    }
    for filter in [None, Some("displayName pr"), Some("members eq \"id-000007\"")] {
        let refused = world.ask(&groups, &query(filter, 100)).await.unwrap_err();
        assert_eq!(refusal(&refused), "too-many-memberships", "{filter:?}");
        let told = refused.to_string();
        assert!(
            told.contains("excludedAttributes=members") && told.contains("count=1"),
            "{told}"
        );
    }
    let both = [Arc::clone(&world.users), Arc::clone(&groups[0])];
    let found = world
        .ask(&both, &query(Some("displayName eq \"G0\""), 100))
        .await
        .unwrap();
    assert_eq!(values(&found, "members"), [LARGE]);
}

/// What a filter must look at is bounded too, and it is the filter that is refused: leaving members out would not help.
#[tokio::test]
async fn a_filter_looks_at_so_many_memberships() {
    let memberships = (0..=MAX_LISTED_MEMBERS).map(|user| (user % 3, user));
    let world = World::linked(0, 3, memberships).await;
    let groups = [groups()];
    for filter in ["members.type eq \"Group\"", "not (members.type eq \"User\")"] {
        let refused = world.ask(&groups, &query(Some(filter), 1)).await.unwrap_err();
        assert_eq!(refusal(&refused), "too-many", "{filter}");
        assert!(refused.to_string().contains("10000 memberships"), "{refused}");
    }
}

/// Whom a filter names is asked, when asking each resource for each of them would take too long.
#[tokio::test]
async fn a_filter_that_names_many_looks_from_their_end() {
    const MANY: usize = 1_000;
    let memberships = (0..MANY).flat_map(|number| [(number, number), (number, (number + 1) % MANY)]);
    let world = World::linked(MANY, MANY, memberships).await;
    for (of, attribute) in [(groups(), "members"), (Arc::clone(&world.users), "groups")] {
        for (named, negated, expected) in [
            (1, false, 2),
            (1, true, MANY - 2),
            (60, false, 61),
            (60, true, MANY - 61),
        ] {
            let terms: Vec<String> = (100..100 + named)
                .map(|number| format!("{attribute} eq \"{}\"", id(number)))
                .collect();
            let any = terms.join(" or ");
            let filter = if negated {
                format!("not ({any})")
            } else {
                format!("id pr and ({any})")
            };
            world.store.take();
            let found = world.ask(&[Arc::clone(&of)], &query(Some(&filter), 0)).await.unwrap();
            let counts = world.store.take();
            assert_eq!(found.total, Some(expected), "{filter}");
            assert!(counts.calls() <= 2 * named + 10, "{filter}: {counts:?}");
        }
    }
}

/// Each type has its own limit: users are in more groups than a group has members.
#[tokio::test]
async fn what_users_show_is_not_counted_for_groups() {
    let of_users = (0..900).flat_map(|user| (0..20).map(move |group| (10_000 + group, user)));
    let world = World::linked(900, 100, of_users.chain((0..100).map(|group| (group, 5_000)))).await;
    let types = [Arc::clone(&world.users), groups()];
    let found = world.ask(&types, &query(None, 1_000)).await.unwrap();
    assert_eq!(values(&found, "groups"), [vec![20; 900], vec![0; 100]].concat());
    assert_eq!(values(&found, "members"), [vec![0; 900], vec![1; 100]].concat());
    let filter = "groups pr or members pr";
    let found = world.ask(&types, &query(Some(filter), 1_000)).await.unwrap();
    assert_eq!(found.total, Some(1_000));
}

/// An imported id may begin with another one: the edges of the two are in the other order than the two.
#[tokio::test]
async fn ids_that_begin_with_others_have_their_memberships() {
    let world = World::new().await;
    let ids: Vec<String> = std::iter::once("x".to_owned())
        .chain((1..10).map(|number| format!("x-{number}")))
        .chain(["xa".to_owned(), "y".to_owned()])
        .collect();
    let group = |id: &String| (id.clone(), json!({ "displayName": id }));
    world.fill("g", ids.iter().map(group)).await;
    let groups = [groups()];
    let joins = |id: &String, members: usize| {
        let id = id.clone();
        (0..members).map(move |number| (id.clone(), format!("u{number}")))
    };
    world
        .join(
            ids[..11]
                .iter()
                .enumerate()
                .flat_map(|(number, id)| joins(id, number + 1)),
        )
        .await;
    for count in [9, 10, 11, 12] {
        let found = world.ask(&groups, &query(None, count)).await.unwrap();
        let expected: Vec<usize> = (1..=11).chain([0]).take(count).collect();
        assert_eq!(values(&found, "members"), expected, "{count} on a page");
    }
    // Whose many members lie between those of the page.
    world
        .join((100..MAX_LISTED_MEMBERS + 100).map(|number| ("xa".to_owned(), format!("u{number}"))))
        .await;
    let found = world.ask(&groups, &query(None, 10)).await.unwrap();
    assert_eq!(values(&found, "members"), (1..=10).collect::<Vec<_>>());
    let refused = world.ask(&groups, &query(None, 11)).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many-memberships");
}

/// R-PAGE-02: the members of a group so large that they are not looked up one by one.
#[tokio::test]
async fn a_filter_on_a_large_group_is_walked_by_cursor() {
    const LARGE: usize = MAX_SCANNED + 100;
    let world = World::linked(LARGE + 50, 1, (0..LARGE).map(|user| (0, user))).await;
    let users = [Arc::clone(&world.users)];
    let filter = "groups eq \"id-000000\"";
    let refused = world.ask(&users, &query(Some(filter), 10)).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many");
    let (mut cursor, mut seen) = (None, 0);
    loop {
        let query = ListQuery {
            paging: Paging::Cursor(cursor),
            ..query(Some(filter), 1_000)
        };
        let found = world.ask(&users, &query).await.unwrap();
        seen += found.resources.len();
        cursor = found.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, LARGE);
}

/// Memberships are work as resources are: by cursor the page ends, else the filter is refused.
#[tokio::test]
async fn a_filter_of_many_conditions_looks_at_few_memberships() {
    const USERS: usize = 60;
    let memberships = (0..USERS).flat_map(|user| (0..100).map(move |group| (1_000 + group, user)));
    let world = World::linked(USERS, 0, memberships).await;
    let users = [Arc::clone(&world.users)];
    let filter = vec!["groups.type ne \"x\""; 400].join(" and ");
    let refused = world.ask(&users, &query(Some(&filter), 10)).await.unwrap_err();
    assert_eq!(refusal(&refused), "too-many");
    let (mut cursor, mut pages) = (None, Vec::new());
    loop {
        let query = ListQuery {
            paging: Paging::Cursor(cursor),
            ..query(Some(&filter), 1_000)
        };
        let found = world.ask(&users, &query).await.unwrap();
        pages.push(found.resources.len());
        cursor = found.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((pages.iter().sum::<usize>(), pages.len()), (USERS, 3), "{pages:?}");
}
