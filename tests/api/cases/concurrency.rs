//! Requests that meet: nothing is lost, nobody is refused for a reason that is none, and a name has one holder.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    answer::Answer,
    case::cases,
    tenant::{SCIM_JSON, Tenant, patch_op, user},
};

cases![
    of_twenty_who_create_one_name_one_gets_it,
    twenty_patches_of_one_user_lose_nothing,
    twenty_patches_of_one_group_lose_nothing,
    of_ten_who_expect_one_version_one_writes,
    of_two_who_delete_one_succeeds,
    a_patch_beside_a_delete_brings_nobody_back,
    a_rename_beside_a_create_leaves_one_holder,
    of_ten_who_rename_to_one_name_one_gets_it,
    two_who_swap_names_never_share_one,
    a_name_is_free_as_soon_as_it_is_given_up,
    a_burst_is_not_throttled,
];

async fn find(t: &Tenant, name: &str) -> Vec<String> {
    let listed = t
        .get(&format!("/Users?filter=userName%20eq%20%22{name}%22"))
        .await
        .is(200);
    listed.listed("/id")
}

fn statuses(answers: &[Answer]) -> Vec<u16> {
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    statuses
}

async fn rename(t: &Tenant, place: &str, name: &str) -> Answer {
    t.patch(
        place,
        patch_op(json!([{ "op": "replace", "path": "userName", "value": name }])),
    )
    .await
}

/// E-NET-03, R-GEN-13; pain 9. The refusal names the one that was faster, in whatever spelling it came.
async fn of_twenty_who_create_one_name_one_gets_it(t: &Tenant) {
    let create = |number: usize| {
        let name = if number.is_multiple_of(2) { "bjensen" } else { "BJensen" };
        t.post("/Users", user(name))
    };
    let answers = join_all((0..20).map(create)).await;
    let mut expected = vec![201];
    expected.extend([409; 19]);
    assert_eq!(statuses(&answers), expected);
    let found = find(t, "bjensen").await;
    assert_eq!((t.users().await, found.len()), (1, 1));
    for answer in answers {
        match answer.status {
            201 => assert_eq!(answer.id(), found[0]),
            _ => _ = answer.refused(409, "uniqueness", &["userName", &found[0]]),
        }
    }
}

/// What twenty clients change, each its own attribute: path and value.
fn attributes() -> Vec<(String, Value)> {
    let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let core = [
        "title",
        "nickName",
        "displayName",
        "userType",
        "preferredLanguage",
        "locale",
        "timezone",
        "externalId",
    ];
    let name = [
        "formatted",
        "familyName",
        "givenName",
        "middleName",
        "honorificPrefix",
        "honorificSuffix",
    ];
    let extension = ["employeeNumber", "costCenter", "organization", "division", "department"];
    let core = core.into_iter().map(str::to_owned);
    let name = name.into_iter().map(|part| format!("name.{part}"));
    let extension = extension.into_iter().map(|part| format!("{enterprise}:{part}"));
    let paths = core.chain(name).chain(extension);
    let mut all: Vec<_> = paths
        .enumerate()
        .map(|(number, path)| (path, json!(format!("value {number}"))))
        .collect();
    all.push(("active".to_owned(), json!(false)));
    all
}

/// Where a PATCH path leads in the JSON document.
fn pointer(path: &str) -> String {
    match path.rsplit_once(':') {
        Some((urn, attribute)) => format!("/{urn}/{attribute}"),
        None => format!("/{}", path.replace('.', "/")),
    }
}

/// Design §4: without If-Match a write that meets another is applied again, until the deadline.
async fn twenty_patches_of_one_user_lose_nothing(t: &Tenant) {
    let place = t.user("bjensen").await.place();
    let attributes = attributes();
    assert_eq!(attributes.len(), 20);
    let patch = |(path, value): &(String, Value)| {
        t.patch(
            &place,
            patch_op(json!([{ "op": "replace", "path": path, "value": value }])),
        )
    };
    // Built before they are sent: a future borrows its arguments.
    let messages: Vec<_> = attributes.iter().map(patch).map(Box::pin).collect();
    for answer in join_all(messages).await {
        answer.is(200);
    }
    let found = t.get(&place).await.is(200);
    for (path, value) in &attributes {
        assert_eq!(found.body.pointer(&pointer(path)), Some(value), "{path} in {found}");
    }
}

/// E-GROUP-06: Entra sends several at once; half of them take away what was there.
async fn twenty_patches_of_one_group_lose_nothing(t: &Tenant) {
    let users =
        join_all((0..20).map(async |number| t.user(&format!("user{number}@example.com")).await.id().to_owned()));
    let users = users.await;
    let (there, new) = users.split_at(10);
    let members: Vec<Value> = there.iter().map(|id| json!({ "value": id })).collect();
    let group = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Tour Guides", "members": members,
    });
    let place = t.post("/Groups", group).await.is(201).place();
    let patch = |operation: Value| t.patch(&place, patch_op(json!([operation])));
    let add = |id| patch(json!({ "op": "Add", "path": "members", "value": [{ "$ref": null, "value": id }] }));
    let remove = |id| patch(json!({ "op": "Remove", "path": "members", "value": [{ "$ref": null, "value": id }] }));
    for answer in join_all(new.iter().map(add).chain(there.iter().map(remove))).await {
        answer.is(200);
    }
    let found = t.get(&place).await.is(200);
    let mut left: Vec<&str> = found.body["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|it| it["value"].as_str())
        .collect();
    left.sort_unstable();
    let mut expected: Vec<&str> = new.iter().map(String::as_str).collect();
    expected.sort_unstable();
    assert_eq!(left, expected, "{found}");
}

/// RFC 7644 §3.14.
async fn of_ten_who_expect_one_version_one_writes(t: &Tenant) {
    let created = t.user("bjensen").await;
    let (place, version) = (created.place(), created.etag());
    let write = async |number: usize| {
        let mut body = user("bjensen");
        body["title"] = json!(number.to_string());
        let headers = [("Content-Type", SCIM_JSON), ("If-Match", version.as_str())];
        t.raw("PUT", &place, &headers, body.to_string()).await
    };
    let answers = join_all((0..10).map(write)).await;
    let mut expected = vec![200];
    expected.extend([412; 9]);
    assert_eq!(statuses(&answers), expected);
    let won = answers
        .iter()
        .find(|answer| answer.status == 200)
        .map(|answer| &answer.body);
    assert_eq!(won, Some(&t.get(&place).await.body));
}

/// RFC 7644 §3.6.
async fn of_two_who_delete_one_succeeds(t: &Tenant) {
    let place = t.user("bjensen").await.place();
    let answers = join_all((0..5).map(|_| t.delete(&place))).await;
    assert_eq!(statuses(&answers), [204, 404, 404, 404, 404]);
    assert_eq!(t.users().await, 0);
}

/// Whatever came first, the one that was removed stays so, and its name is free.
async fn a_patch_beside_a_delete_brings_nobody_back(t: &Tenant) {
    for round in 0..4 {
        let name = format!("bjensen{round}");
        let place = t.user(&name).await.place();
        let patch = async |number: usize| {
            let operation = json!({ "op": "replace", "path": "title", "value": number.to_string() });
            t.patch(&place, patch_op(json!([operation]))).await
        };
        let (patched, deleted) = tokio::join!(join_all((0..6).map(patch)), t.delete(&place));
        deleted.is(204);
        for answer in patched {
            assert!(matches!(answer.status, 200 | 404), "{answer}");
        }
        t.get(&place).await.is(404);
        t.put(&place, user(&name)).await.is(404);
        assert_eq!((t.users().await, find(t, &name).await.len()), (0, 0));
        let again = t.user(&name).await.place();
        t.delete(&again).await.is(204);
    }
}

async fn a_rename_beside_a_create_leaves_one_holder(t: &Tenant) {
    for round in 0..5 {
        let (old, new) = (format!("old{round}"), format!("new{round}"));
        let place = t.user(&old).await.place();
        let (renamed, created) = tokio::join!(rename(t, &place, &new), t.post("/Users", user(&new)));
        let both = (renamed.status, created.status);
        assert!(matches!(both, (200, 409) | (409, 201)), "{both:?}: {renamed} {created}");
        assert_eq!(find(t, &new).await.len(), 1);
        let held = usize::from(renamed.status == 409);
        assert_eq!(find(t, &old).await.len(), held, "the old name");
        let holder = if renamed.status == 200 { renamed } else { created };
        assert_eq!(find(t, &new).await, [holder.id()]);
    }
}

async fn of_ten_who_rename_to_one_name_one_gets_it(t: &Tenant) {
    let mut places = Vec::new();
    for number in 0..10 {
        places.push(t.user(&format!("bjensen{number}")).await.place());
    }
    let answers = join_all(places.iter().map(|place| rename(t, place, "babs"))).await;
    let mut expected = vec![200];
    expected.extend([409; 9]);
    assert_eq!(statuses(&answers), expected);
    assert_eq!((t.users().await, find(t, "babs").await.len()), (10, 1));
}

/// Neither may get a name that the other has not given up.
async fn two_who_swap_names_never_share_one(t: &Tenant) {
    for round in 0..5 {
        let names = [format!("one{round}"), format!("two{round}")];
        let places = [t.user(&names[0]).await.place(), t.user(&names[1]).await.place()];
        let (one, two) = tokio::join!(rename(t, &places[0], &names[1]), rename(t, &places[1], &names[0]));
        for answer in [&one, &two] {
            assert!(matches!(answer.status, 200 | 409), "{answer}");
        }
        let held = [find(t, &names[0]).await, find(t, &names[1]).await].concat();
        let both: Vec<String> = [t.get(&places[0]).await, t.get(&places[1]).await]
            .map(|found| found.id().to_owned())
            .into();
        assert!(
            both.iter().all(|id| held.iter().filter(|one| *one == id).count() == 1),
            "{held:?}"
        );
        assert_eq!(held.len(), 2);
    }
}

/// A create that waits for a name in use by a user who is being removed: refused or done, never a name without holder.
async fn a_name_is_free_as_soon_as_it_is_given_up(t: &Tenant) {
    for round in 0..5 {
        let name = format!("bjensen{round}");
        let place = t.user(&name).await.place();
        let (deleted, created) = tokio::join!(t.delete(&place), t.post("/Users", user(&name)));
        deleted.is(204);
        let mut expected = Vec::new();
        if created.status == 201 {
            expected.push(created.id().to_owned());
        } else {
            created.refused(409, "uniqueness", &["userName"]);
        }
        assert_eq!(find(t, &name).await, expected);
        t.delete(&format!("/Users/{}", expected.first().map_or("none", String::as_str)))
            .await;
        t.user(&name).await;
    }
}

/// E-NET-02: Entra sends 25 requests a second; a burst of four times that is answered, all of it.
async fn a_burst_is_not_throttled(t: &Tenant) {
    let place = t.user("bjensen@example.com").await.place();
    let answers = join_all((0..100).map(|_| t.get(&place))).await;
    assert_eq!(statuses(&answers), vec![200; 100]);
}
