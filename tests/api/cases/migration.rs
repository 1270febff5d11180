//! A customer whose vendor has moved here: the same URL, the same secret, the same ids, and nobody touched Entra (design §1).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    answer::Answer,
    case::cases,
    moving::{self, earlier_id},
    tenant::{ENTERPRISE_URN, Tenant, USER_URN, encoded, patch_op, user},
    world::{Setup, Way, unique},
};

cases![
    a_thousand_users_go_on_by_the_ids_they_had
        .with(Setup::BasePaths)
        .only(Way::Direct, "it takes long, and only the store makes a difference"),
    every_earlier_place_takes_an_imported_token.with(Setup::BasePaths),
    what_is_imported_is_what_the_file_says_in_every_store.only(Way::Direct, "only the store makes a difference"),
];

const USERS: usize = 1_000;
const GROUPS: usize = 30;
/// Has all users.
const EVERYBODY: usize = 2;
const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const CREATED: &str = "2019-03-04T05:06:07.089Z";
/// As the earlier endpoint called its tenant; no name that one could have here.
const BASE: &str = "/tenants/Acme_Inc./scim";

/// The customer's Entra, which has its URL, its secret, and the ids of 1,000 users and 30 groups.
struct Entra {
    tenant: Tenant,
}

impl Entra {
    async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {}", self.tenant.secret);
        let headers = [
            ("Authorization", bearer.as_str()),
            ("Content-Type", "application/scim+json"),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.tenant.at(method, &format!("{BASE}{path}"), &headers, body).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null).await.is(200)
    }

    async fn find(&self, endpoint: &str, filter: &str) -> Answer {
        self.get(&format!("{endpoint}?filter={}", encoded(filter))).await
    }

    async fn patch(&self, place: &str, operation: &Value) -> Answer {
        self.send("PATCH", place, &patch_op(json!([operation]))).await.is(200)
    }

    async fn is_member(&self, group: &str, member: &str) -> bool {
        let filter = format!("id eq \"{group}\" and members eq \"{member}\"");
        self.find("/Groups", &filter).await.total() == 1
    }
}

fn group_id(n: usize) -> String {
    earlier_id(USERS + n)
}

/// Ids that are numbers come as numbers, as some endpoints have them.
fn id(text: String) -> Value {
    text.parse::<u64>().map_or(text.into(), Value::from)
}

fn user_line(n: usize) -> Value {
    json!({
        "schemas": [USER_URN, ENTERPRISE_URN],
        "id": id(earlier_id(n)),
        "externalId": format!("x{n}"),
        "userName": format!("user{n}@example.com"),
        "name": { "givenName": "Barbara", "familyName": "Jensen" },
        "active": n % 10 != 9,
        "emails": [{ "value": format!("user{n}@example.com"), "type": "work", "primary": true }],
        ENTERPRISE_URN: { "manager": { "value": earlier_id(n / 10) } },
        "meta": { "resourceType": "User", "created": CREATED },
    })
}

fn group_line(n: usize) -> Value {
    let is_in = |user: &usize| n == EVERYBODY || user % GROUPS == n;
    let mut members: Vec<Value> = (0..USERS)
        .filter(is_in)
        .map(|user| json!({ "value": earlier_id(user) }))
        .collect();
    if n == 0 {
        members.push(json!({ "value": group_id(1), "type": "Group" }));
    }
    json!({ "schemas": [GROUP_URN], "id": id(group_id(n)), "displayName": format!("Group {n}"), "members": members })
}

/// Everything, groups before their members.
fn lines() -> String {
    let lines = (0..GROUPS).map(group_line).chain((0..USERS).map(user_line));
    lines.map(|line| line.to_string()).collect::<Vec<_>>().join("\n")
}

/// What the customer has had for long.
fn earlier_tenant(t: &Tenant) -> Tenant {
    Tenant {
        world: Arc::clone(&t.world),
        name: format!("m{}", unique()),
        secret: moving::earlier_secret(),
    }
}

/// Of what is listed, what a line says of it too.
fn said_by_lines(resource: &Value) -> Value {
    let mut said = resource.clone();
    let attributes = said.as_object_mut().expect("a resource");
    attributes.remove("groups");
    if let Some(manager) = attributes
        .get_mut(ENTERPRISE_URN)
        .and_then(|user| user.get_mut("manager"))
    {
        *manager = json!({ "value": manager["value"] });
    }
    if let Some(members) = attributes.get_mut("members").and_then(Value::as_array_mut) {
        let mut ids: Vec<Value> = members.iter().map(|member| member["value"].clone()).collect();
        ids.sort_by_key(Value::to_string);
        *members = ids;
    }
    let meta = &attributes["meta"];
    attributes["meta"] = json!({ "created": meta["created"], "lastModified": meta["lastModified"] });
    said
}

/// 300 users and 10 groups: what the store makes of a file is what the file says, so it is the same in all of them, and so it
/// is after a second time.
async fn what_is_imported_is_what_the_file_says_in_every_store(t: &Tenant) {
    let meta = json!({ "created": CREATED, "lastModified": "2021-02-03T04:05:06.007Z" });
    let line = |mut line: Value| {
        line["id"] = line["id"]
            .as_u64()
            .map_or(line["id"].clone(), |id| id.to_string().into());
        line["meta"] = meta.clone();
        line
    };
    let users = (0..300).map(user_line);
    let groups = (0..10).map(|group| {
        let members = (0..300).filter(|user| group == 0 || user % 10 == group);
        let members: Vec<Value> = members.map(|user| json!({ "value": earlier_id(user) })).collect();
        let name = format!("Group {group}");
        json!({ "schemas": [GROUP_URN], "id": group_id(group), "displayName": name, "members": members })
    });
    let lines: Vec<Value> = groups.chain(users).map(line).collect();
    let text = lines.iter().map(Value::to_string).collect::<Vec<_>>().join("\n");
    let (tenant, report) = moving::import(&t.world, &text).await;
    assert_eq!(
        report["memberships"],
        json!({ "made": 300 + 9 * 30, "unchanged": 0 }),
        "{report:#}"
    );
    let sorted = |resources: &[Value]| {
        let mut said: Vec<Value> = resources.iter().map(said_by_lines).collect();
        said.sort_by_key(|resource| resource["id"].to_string());
        said
    };
    let first = moving::export(&tenant).await;
    assert_eq!(sorted(&first), sorted(&lines));
    let again = t.world.command(&["import", &tenant.name, "-"], &text).await;
    for what in ["users", "groups", "memberships"] {
        assert_eq!(again[what]["made"], 0, "{again:#}");
    }
    assert_eq!(moving::export(&tenant).await, first, "with its versions");
}

/// E-USER-01, E-USER-06, E-GROUP-01, E-GROUP-03, E-GROUP-04, E-LIFE-02: what Entra knows somebody by is the id that it was told once.
async fn a_thousand_users_go_on_by_the_ids_they_had(t: &Tenant) {
    let (lines, tenant) = (lines(), earlier_tenant(t));
    let name = tenant.name.as_str();
    // As docs/migrate.md has it.
    t.world.command(&["tenant", "create", name], "").await;
    t.world.command(&["tenant", "pause", name, "--no-wait"], "").await;
    t.world.command(&["token", "import", name], &tenant.secret).await;
    let report = t.world.command(&["import", name, "-"], &lines).await;
    let memberships = USERS + USERS - USERS.div_ceil(GROUPS) + 1;
    let made = |count: usize| json!({ "made": count, "unchanged": 0 });
    assert_eq!(report["users"], made(USERS), "{report:#}");
    assert_eq!(report["groups"], made(GROUPS), "{report:#}");
    assert_eq!(report["memberships"], made(memberships), "{report:#}");
    let again = t.world.command(&["import", name, "-"], &lines).await;
    assert_eq!(again["users"], json!({ "made": 0, "unchanged": USERS }), "{again:#}");
    t.world.command(&["tenant", "resume", name], "").await;
    let entra = Entra { tenant };
    assert_eq!(entra.find("/Users", "userName eq \"e85bb0d8-2f91\"").await.total(), 0);
    assert_eq!(entra.get("/Users?count=0").await.total(), USERS as u64);
    assert_eq!(entra.get("/Groups?count=0").await.total(), GROUPS as u64);
    for n in (0..USERS).step_by(37).chain([1, 2]) {
        is_as_it_was(&entra, n).await;
    }
    for n in 30..33 {
        takes_every_change(&entra, n).await;
    }
    for group in [3, 4, 5, EVERYBODY] {
        for member in 33..36 {
            changes_its_members(&entra, group, member).await;
        }
    }
    goes_when_it_is_deleted(&entra).await;
    assert_eq!(entra.get("/Users?count=0").await.total(), USERS as u64 - 3);
    is_new_beside_those_who_were_there(&entra).await;
}

async fn is_as_it_was(entra: &Entra, n: usize) {
    let id = earlier_id(n);
    let location = format!("{}{BASE}/Users/{id}", entra.tenant.world.origin);
    // As it stands, and with what many clients encode.
    for place in [format!("/Users/{id}"), format!("/Users/{}", encoded(&id))] {
        let found = entra.get(&place).await;
        let found = found.has(&json!({
            "id": id,
            "userName": format!("user{n}@example.com"),
            "active": n % 10 != 9,
            "meta": { "created": CREATED, "location": location },
            ENTERPRISE_URN: { "manager": { "value": earlier_id(n / 10) } },
        }));
        let mut groups = vec![group_id(n % GROUPS), group_id(EVERYBODY)];
        groups.dedup();
        let listed = found.body["groups"].as_array().into_iter().flatten();
        let mut listed: Vec<_> = listed.filter_map(|group| group["value"].as_str()).collect();
        listed.sort_unstable();
        groups.sort_unstable();
        assert_eq!(listed, groups, "{found}");
    }
    for filter in [
        format!("userName eq \"USER{n}@example.com\""),
        format!("externalId eq \"x{n}\""),
        format!("emails[type eq \"work\"].value eq \"user{n}@example.com\""),
        format!("id eq \"{id}\""),
    ] {
        assert_eq!(
            entra.find("/Users", &filter).await.listed("/id"),
            [id.as_str()],
            "{filter}"
        );
    }
}

/// What Entra sends for a user, with the flag and without.
async fn takes_every_change(entra: &Entra, n: usize) {
    let place = format!("/Users/{}", earlier_id(n));
    let (manager, enterprise) = (earlier_id(1), format!("{ENTERPRISE_URN}:manager"));
    for (operation, becomes) in [
        (
            json!({ "op": "Replace", "path": "active", "value": "False" }),
            json!({ "active": false }),
        ),
        (
            json!({ "op": "replace", "path": "active", "value": true }),
            json!({ "active": true }),
        ),
        (
            json!({ "op": "replace", "value": { "active": false } }),
            json!({ "active": false }),
        ),
        (
            json!({ "op": "Add", "path": "displayName", "value": "Babs" }),
            json!({ "displayName": "Babs" }),
        ),
        (
            json!({ "op": "Replace", "value": { "name.givenName": "Babs" } }),
            json!({ "name": { "givenName": "Babs" } }),
        ),
        (
            json!({ "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "b@example.com" }),
            json!({ "emails": [{ "value": "b@example.com", "type": "work", "primary": true }] }),
        ),
        (
            json!({ "op": "Add", "path": enterprise, "value": manager }),
            json!({ ENTERPRISE_URN: { "manager": { "value": manager } } }),
        ),
        (
            json!({ "op": "Replace", "path": "userName", "value": format!("renamed{n}@example.com") }),
            json!({ "userName": format!("renamed{n}@example.com") }),
        ),
    ] {
        entra.patch(&place, &operation).await.has(&becomes);
        entra.get(&place).await.has(&becomes);
    }
}

async fn changes_its_members(entra: &Entra, group: usize, member: usize) {
    let (group, member) = (group_id(group), earlier_id(member));
    let place = format!("/Groups/{group}");
    let values = json!([{ "$ref": null, "value": member }]);
    let add = json!({ "op": "Add", "path": "members", "value": values });
    for remove in [
        json!({ "op": "Remove", "path": "members", "value": values }),
        json!({ "op": "remove", "path": format!("members[value eq \"{member}\"]") }),
    ] {
        entra.patch(&place, &add).await;
        assert!(entra.is_member(&group, &member).await, "{add}");
        entra.patch(&place, &remove).await;
        assert!(!entra.is_member(&group, &member).await, "{remove}");
    }
    let others = entra.get(&format!("{place}?attributes=members")).await;
    assert!(
        others.body["members"]
            .as_array()
            .is_some_and(|members| members.len() >= 30),
        "{others}"
    );
}

async fn goes_when_it_is_deleted(entra: &Entra) {
    for (n, group) in [(90, 0), (91, 1), (92, EVERYBODY)] {
        let place = format!("/Users/{}", earlier_id(n));
        assert!(entra.is_member(&group_id(group), &earlier_id(n)).await);
        entra.send("DELETE", &place, &Value::Null).await.is(204);
        entra.send("GET", &place, &Value::Null).await.is(404);
        assert!(!entra.is_member(&group_id(group), &earlier_id(n)).await);
        let place = format!("/Groups/{}", group_id(n % 3 + 6));
        entra.send("DELETE", &place, &Value::Null).await.is(204);
        entra.send("GET", &place, &Value::Null).await.is(404);
    }
}

async fn is_new_beside_those_who_were_there(entra: &Entra) {
    let taken = entra.send("POST", "/Users", &user("User1@example.com")).await;
    taken.refused(409, "uniqueness", &[&earlier_id(1)]);
    let created = entra.send("POST", "/Users", &user("new@example.com")).await.is(201);
    let value = json!([{ "value": created.id() }]);
    let add = json!({ "op": "add", "path": "members", "value": value });
    entra.patch(&format!("/Groups/{}", group_id(4)), &add).await;
    assert!(entra.is_member(&group_id(4), created.id()).await);
}

/// E-AUTH-06: the tenant's own name in the path, another one, or none: the token is what counts.
async fn every_earlier_place_takes_an_imported_token(t: &Tenant) {
    let (tenant, _) = moving::import(&t.world, &user_line(2).to_string()).await;
    let bearer = format!("Bearer {}", tenant.secret);
    for base in [
        "/api/scim".to_owned(),
        "/api/scim/v2".to_owned(),
        format!("/api/{}/scim/v2", tenant.name),
        BASE.to_owned(),
        "/tenants/7/scim/v2".to_owned(),
        String::new(),
        "/v2".to_owned(),
        tenant.path(),
    ] {
        let path = format!("{base}/Users/{}", earlier_id(2));
        let headers = [("Authorization", bearer.as_str())];
        let found = tenant.at("GET", &path, &headers, "").await.is(200);
        let location = format!("{}{path}", tenant.world.origin);
        assert_eq!(found.text("/meta/location"), location);
        let wrong = [("Authorization", "Bearer wrong")];
        tenant
            .at("GET", &path, &wrong, "")
            .await
            .refused(401, "", &["not valid"]);
    }
    let path = format!("/api/{}/scim/v2/Users", t.name);
    let headers = [("Authorization", bearer.as_str())];
    tenant
        .at("GET", &path, &headers, "")
        .await
        .refused(401, "", &["not valid"]);
}
