//! Counting what a change of schemas would not fit.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::Survey;
use crate::{
    rows::{self, FORMAT, ResourceBody, Stamp},
    scim::{
        attributes::Misfit,
        schema::{Catalog, Extension, ResourceType, Schema},
    },
    store::{Change, Store, Write, counting::CountingStore, sqlite::SqliteStore},
};

const BADGE: &str = "urn:example:2.0:Badge";

fn users(attributes: &Value) -> ResourceType {
    let mut users = ResourceType::clone(Catalog::standard().resource_type("User").unwrap());
    users.extensions.push(Extension {
        schema: Schema::from_json(&json!({ "id": BADGE, "attributes": attributes }))
            .unwrap()
            .into(),
        required: false,
    });
    users
}

async fn store(values: impl Iterator<Item = Value>) -> Arc<CountingStore> {
    let store = Arc::new(CountingStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let rows: Vec<Change> = values.enumerate().map(|(n, value)| row(n, value)).collect();
    for rows in rows.chunks(100) {
        store.commit("acme", rows).await.unwrap();
    }
    store.take();
    store
}

fn row(number: usize, badge: Value) -> Change {
    let mut attributes = Map::from_iter([("userName".to_owned(), json!(format!("u{number}")))]);
    if !badge.is_null() {
        attributes.insert(BADGE.to_owned(), badge);
    }
    let body = ResourceBody {
        format: FORMAT,
        id: number.to_string(),
        created: OffsetDateTime::UNIX_EPOCH,
        attributes,
        unknown: Map::new(),
    };
    let stamp = Stamp {
        format: FORMAT,
        version: "v".to_owned(),
        stamp: 1,
        modified: OffsetDateTime::UNIX_EPOCH,
        members: String::new(),
    };
    Change::Insert(Write {
        key: rows::resource_key("u", &format!("{number:05}")),
        stamp: rows::encode(&stamp),
        body: rows::encode(&body),
    })
}

/// Each resource once, however many of its values do not fit; and the rows of a page a round trip.
#[tokio::test]
async fn resources_are_counted_by_attribute_and_reason() {
    let values = (0..2_500).map(|n| match n % 5 {
        0 => Value::Null,
        1 => json!({ "level": "3" }),
        2 => json!({ "serial": "17", "level": "3" }),
        _ => json!({ "serial": "17" }),
    });
    let store = store(values).await;
    let now = users(&json!([{ "name": "serial" }, { "name": "level" }]));
    let then = users(&json!([{ "name": "level", "type": "integer" }]));
    let seen = Mutex::new(Vec::new());
    let deadline = || Instant::now() + std::time::Duration::from_secs(10);
    let progress = |resources| seen.lock().unwrap().push(resources);
    let survey = Survey::of(&*store, "acme", (&now, &then), deadline, progress)
        .await
        .unwrap();
    let reason = |name: &str, misfit| (format!("{BADGE}:{name}"), misfit);
    let expected = Survey {
        resources: 2_500,
        misfits: 2_000,
        reasons: [
            (reason("level", Misfit::OtherType), 1_000),
            (reason("serial", Misfit::Removed), 1_500),
        ]
        .into(),
    };
    assert_eq!(survey, expected);
    assert_eq!(*seen.lock().unwrap(), [1_000, 2_000, 2_500]);
    assert_eq!((store.counts().round_trips, store.counts().commits), (3, 0));
}
