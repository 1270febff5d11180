//! What docs/dialects.md says: each example is understood and noted.

use futures::future::join_all;
use scimgate::scim::normalize::{Entry, QUIRKS, Request};
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    case::cases,
    tenant::{Tenant, patch_op, user_with},
};

/// RFC 7644 §3.7.
const BULK_URN: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

cases![each_example_is_noted_under_its_name, a_member_is_what_its_id_says];

/// design §6, "never silently accept".
async fn each_example_is_noted_under_its_name(t: &Tenant) {
    let answers = join_all(QUIRKS.iter().map(|entry| send(t, entry))).await;
    for (entry, answer) in QUIRKS.iter().zip(answers) {
        let noted = format!("{} {}", entry.name, entry.example.noted);
        assert!(answer.status < 300, "{}: {answer}", entry.name);
        assert_eq!(answer.header("scimgate-normalized"), Some(noted), "{answer}");
    }
}

/// RFC 7643 §4.2: a client that has a user for a group would have its members nowhere.
async fn a_member_is_what_its_id_says(t: &Tenant) {
    let user = t.user("bjensen@example.com").await;
    let members = json!({ "members": [{ "value": user.id(), "type": "Group" }] });
    let group = t.post("/Groups", group_with("Tour Guides", members)).await.is(201);
    for answer in [&group, &t.get(&group.place()).await.is(200)] {
        assert_eq!(answer.text("/members/0/type"), "User", "{answer}");
        assert_eq!(
            answer.text("/members/0/$ref"),
            format!("{}{}", t.url(), user.place()),
            "{answer}"
        );
    }
}

/// An entry's example, in a world as docs/dialects.md describes it.
async fn send(t: &Tenant, entry: &Entry) -> Answer {
    let emails = json!([{ "value": "bjensen@example.com", "type": "work", "primary": true }]);
    let name = format!("{}@example.com", entry.name);
    let subject = t
        .post("/Users", user_with(&name, json!({ "emails": emails })))
        .await
        .is(201);
    let fill = |id: &str| {
        let text = entry.example.sent.replace("{id}", id).replace("{user}", subject.id());
        serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text))
    };
    let new_user = format!("new-{name}");
    match entry.example.request {
        Request::CreateUser => t.post("/Users", user_with(&new_user, fill(""))).await,
        Request::CreateGroup => t.post("/Groups", group_with(entry.name, fill(""))).await,
        Request::PatchUser => t.patch(&subject.place(), patch_op(json!([fill(subject.id())]))).await,
        Request::PatchGroup => {
            let members = json!({ "members": [{ "value": subject.id() }] });
            let group = t.post("/Groups", group_with(entry.name, members)).await.is(201);
            let place = format!("/Groups/{}", group.id());
            t.patch(&place, patch_op(json!([fill(group.id())]))).await
        }
        Request::Bulk => {
            let data = user_with(&new_user, json!({}));
            let create = json!({ "method": "POST", "path": "/Users", "bulkId": "new", "data": data });
            let message = json!({ "schemas": [BULK_URN], "Operations": [create] });
            t.post("/Bulk", with(message, fill(""))).await
        }
        Request::FindUsers => t.find(fill("").as_str().unwrap_or_default()).await,
    }
}

fn group_with(name: &str, attributes: Value) -> Value {
    let group = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": name });
    with(group, attributes)
}

/// A document with these members too.
fn with(mut document: Value, more: Value) -> Value {
    let (Some(members), Value::Object(more)) = (document.as_object_mut(), more) else {
        panic!("documents are objects")
    };
    members.extend(more);
    document
}
