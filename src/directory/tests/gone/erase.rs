//! Nothing of who is erased is kept.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use time::Duration;

use super::World;
use crate::{
    ambient::System,
    directory::Denied,
    rows,
    scim::members::Kind,
    store::{Store, tables},
};

/// Every value of this user is a marker.
fn canary() -> Value {
    let mark = |name: &str| Value::from(format!("CANARY-{name}"));
    json!({
        "userName": mark("userName"),
        "externalId": mark("externalId"),
        "displayName": mark("displayName"),
        "nickName": mark("nickName"),
        "title": mark("title"),
        "name": { "givenName": mark("givenName"), "familyName": mark("familyName"), "formatted": mark("formatted") },
        "emails": [{ "value": "CANARY-mail@example.com", "type": "work", "display": mark("mail") }],
        "phoneNumbers": [{ "value": "tel:+1-201-555-0123;ext=CANARY", "type": "work" }],
        "addresses": [{ "streetAddress": mark("street"), "type": "work" }],
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {
            "employeeNumber": mark("number"), "department": mark("department")
        }
    })
}

async fn has_canary(store: &dyn Store, partition: &str) -> bool {
    let mut found = false;
    let mut from = String::new();
    loop {
        let page = store.scan(partition, &from, "~~", 1_000).await.unwrap();
        found |= page.rows.iter().any(|row| {
            [row.key.as_bytes(), &row.stamp, &row.body]
                .iter()
                .any(|bytes| bytes.to_ascii_uppercase().windows(6).any(|six| six == b"CANARY"))
        });
        match page.rows.last() {
            Some(last) if page.more => from = rows::behind(&last.key),
            _ => return found,
        }
    }
}

/// No value of a person who was erased is in any row, on any store.
#[tokio::test]
async fn nothing_of_who_is_erased_is_left_in_any_row() {
    let world = World::with(System).await;
    let mut worlds = vec![world.copy().await];
    if let Some(store) = tables::tests::azurite().await {
        let store: Arc<dyn Store> = Arc::new(store);
        worlds.push(world.over(&store, Duration::ZERO));
    }
    for world in &worlds {
        let partition = world.directory.access.tenant.id.clone();
        for deleted_before in [false, true] {
            let id = world.create(canary()).await.unwrap();
            let groups = world.groups_with(Kind::User, &id, 40).await;
            let title = json!([{ "op": "replace", "path": "title", "value": "CANARY-other" }]);
            world.patch(&id, title).await.unwrap();
            if deleted_before {
                world.delete(&id).await;
            }
            assert!(has_canary(&*world.rows, &partition).await);
            let erased = world.directory.erase(&id).await.unwrap();
            assert_eq!(erased.was_there, !deleted_before);
            assert!(!has_canary(&*world.rows, &partition).await);
            let events = world.events().await;
            assert!(events.iter().any(|event| event.kind == "erase" && event.id == id));
            assert!(!world.directory.erase(&id).await.unwrap().was_there, "once more");
            for group in &groups {
                assert_eq!(world.members(group).await, BTreeSet::new());
            }
            world.finish().await;
            world.is_sound().await;
            assert!(matches!(world.directory.erase("nobody").await, Err(Denied::Unknown)));
            let group = groups.first().unwrap();
            assert!(matches!(world.directory.erase(group).await, Err(Denied::Group)));
        }
    }
}
