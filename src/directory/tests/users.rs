//! What writes leave behind.

use serde_json::json;

use super::{Error, Fixed, Precondition, World, refusal, shown};
use crate::{
    rows::{self, CONTROL},
    store::{Change, Store},
};

#[tokio::test]
async fn no_personal_data_stands_in_a_key() {
    let world = World::new().await;
    let secrets = ["bjensen@example.com", "Babs", "ext-4711"];
    world
        .create(
            json!({ "userName": secrets[0], "displayName": secrets[1], "externalId": secrets[2],
                        "emails": [{ "value": secrets[0] }] }),
        )
        .await
        .unwrap();
    let keys = world.keys().await;
    assert_eq!(
        keys.len(),
        6,
        "event, user, three indexed values, one in the total: {keys:?}"
    );
    for key in &keys {
        for secret in secrets {
            assert!(!key.to_lowercase().contains(&secret.to_lowercase()), "{key}");
        }
    }
}

#[tokio::test]
async fn every_change_writes_one_event_and_a_no_op_none() {
    let world = World::new().await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "Boss" }]))
        .await
        .unwrap();
    world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "Boss" }]))
        .await
        .unwrap();
    world
        .directory
        .delete(&world.users, &id, &Precondition::None)
        .await
        .unwrap();
    let events: Vec<_> = world
        .events()
        .await
        .into_iter()
        .map(|event| (event.kind, event.paths))
        .collect();
    let paths = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        events,
        [
            ("create".to_owned(), paths(&["active", "userName"])),
            ("patch".to_owned(), paths(&["title"])),
            ("delete".to_owned(), paths(&["active", "title", "userName"])),
        ]
    );
}

/// A clock that stands still, or runs behind another instance's, must not mix up the order of a resource's events.
#[tokio::test]
async fn versions_grow_although_the_clock_stands_still() {
    let world = World::with(Fixed {
        stopped: true,
        ..Fixed::default()
    })
    .await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    let mut versions = vec![
        world
            .directory
            .read(&world.users, &id, shown(&world.users))
            .await
            .unwrap()
            .envelope
            .version,
    ];
    for title in ["b", "c", "d"] {
        let stored = world
            .patch(&id, json!([{ "op": "replace", "path": "title", "value": title }]))
            .await
            .unwrap();
        versions.push(stored.envelope.version);
    }
    assert!(versions.is_sorted(), "{versions:?}");
    let kinds: Vec<_> = world.events().await.into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["create", "patch", "patch", "patch"]);
}

/// What a user no longer has must not be found by, nor be in the way of others.
#[tokio::test]
async fn a_changed_value_leaves_no_index_row_behind() {
    let world = World::new().await;
    let user = json!({ "userName": "a", "externalId": "x", "emails": [{ "value": "a@example.com", "type": "work" }] });
    let id = world.create(user).await.unwrap();
    let before = world.keys().await;
    let changes = json!([
        { "op": "replace", "path": "userName", "value": "b" },
        { "op": "replace", "path": "externalId", "value": "y" },
        { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "b@example.com" },
    ]);
    world.patch(&id, changes).await.unwrap();
    let after = world.keys().await;
    for prefix in ["n~", "x~", "e~"] {
        let of = |keys: &[String]| {
            keys.iter()
                .filter(|key| key.starts_with(prefix))
                .cloned()
                .collect::<Vec<_>>()
        };
        assert_eq!(of(&after).len(), 1, "{prefix}: {after:?}");
        assert_ne!(of(&before), of(&after), "{prefix}");
    }
}

/// R-GEN-15: a deleted user's name is free, and its rows are gone but for the tombstone and the events.
#[tokio::test]
async fn a_deleted_user_leaves_a_tombstone_only() {
    let world = World::new().await;
    let user = json!({ "userName": "a", "externalId": "x", "emails": [{ "value": "a@example.com" }] });
    let id = world.create(user.clone()).await.unwrap();
    world
        .directory
        .delete(&world.users, &id, &Precondition::None)
        .await
        .unwrap();
    let keys: Vec<_> = world
        .keys()
        .await
        .into_iter()
        .filter(|key| !key.starts_with("o~") && !key.starts_with("sum~"))
        .collect();
    assert_eq!(keys, [rows::gone_key(&id)]);
    assert!(world.create(user).await.is_ok());
}

/// The issue of identity providers that rename people: case, width, composition are no difference; dotless i is.
#[tokio::test]
async fn a_name_is_taken_whatever_its_spelling() {
    let world = World::new().await;
    for (held, asked, taken) in [
        ("Straße", "STRASSE", true),
        ("Bob", "bOB", true),
        ("e\u{301}mile", "\u{c9}mile", true),
        ("\u{ff21}da", "ada", true),
        ("\u{131}rmak", "irmak", false),
    ] {
        let holder = world.create(json!({ "userName": held })).await.unwrap();
        match world.create(json!({ "userName": asked })).await {
            Ok(_) => assert!(!taken, "{held} and {asked}"),
            Err(error) => {
                assert!(taken, "{held} and {asked}: {error}");
                assert_eq!(refusal(&error), "unique-taken");
                assert!(error.to_string().contains(&holder), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn a_row_of_a_newer_format_is_neither_read_nor_overwritten() {
    let world = World::new().await;
    let id = world.create(json!({ "userName": "a" })).await.unwrap();
    let partition = &world.directory.access.tenant.id;
    let key = rows::resource_key("u", &id);
    let row = world
        .store
        .get(partition, &[&key])
        .await
        .unwrap()
        .pop()
        .flatten()
        .unwrap();
    let newer = String::from_utf8(row.body)
        .unwrap()
        .replace("\"format\":1", "\"format\":2")
        .into_bytes();
    let write = crate::store::Write {
        key: key.clone(),
        stamp: row.stamp,
        body: newer.clone(),
    };
    world.store.commit(partition, &[Change::Upsert(write)]).await.unwrap();

    let patch = world
        .patch(&id, json!([{ "op": "replace", "path": "title", "value": "b" }]))
        .await;
    assert!(matches!(patch, Err(Error::Format(_))), "{patch:?}");
    assert!(matches!(world.query(None, 10).await, Err(Error::Format(_))));
    let row = world
        .store
        .get(partition, &[&key])
        .await
        .unwrap()
        .pop()
        .flatten()
        .unwrap();
    assert_eq!(row.body, newer);
    assert!(world.store.get(CONTROL, &["x"]).await.is_ok());
    assert_eq!(world.tenants.list(world.directory.deadline).await.unwrap().len(), 1);
}
