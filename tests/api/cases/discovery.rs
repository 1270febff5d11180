//! What the service tells about itself (RFC 7644 §4, RFC 7643 §5 to §7), and whether it is true.

use serde_json::json;

use crate::{
    case::cases,
    tenant::{ENTERPRISE_URN, SCIM_JSON, Tenant, USER_URN, patch_op, user, user_with},
};

cases![
    the_configuration_says_what_every_client_asks,
    what_is_said_to_be_supported_works,
    what_is_said_not_to_be_supported_does_not,
    every_endpoint_needs_the_credential,
    a_filter_is_forbidden,
    paging_and_sorting_are_ignored,
    discovery_takes_no_writes,
    head_is_answered,
    schemas_are_found_in_any_case,
    what_is_not_there_is_not_found,
    every_location_leads_to_what_it_is_of,
    resource_types_name_what_is_there,
];

const CONFIG: &str = "/ServiceProviderConfig";
const LISTS: [&str; 2] = ["/ResourceTypes", "/Schemas"];

/// All five kinds of paths.
fn paths() -> Vec<String> {
    vec![
        CONFIG.to_owned(),
        "/ResourceTypes".to_owned(),
        "/ResourceTypes/User".to_owned(),
        "/Schemas".to_owned(),
        format!("/Schemas/{USER_URN}"),
    ]
}

/// R-DISC-01: what RFC 7643 §5 requires.
async fn the_configuration_says_what_every_client_asks(t: &Tenant) {
    let config = t.get(CONFIG).await.is(200);
    let urn = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
    assert_eq!(config.body["schemas"], json!([urn]));
    for feature in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
        assert!(config.body[feature]["supported"].is_boolean(), "{feature}: {config}");
    }
    for (feature, limit) in [
        ("bulk", "maxOperations"),
        ("bulk", "maxPayloadSize"),
        ("filter", "maxResults"),
        ("pagination", "defaultPageSize"),
        ("pagination", "maxPageSize"),
        ("pagination", "cursorTimeout"),
    ] {
        assert!(config.body[feature][limit].is_u64(), "{feature}.{limit}: {config}");
    }
    let schemes = config.body["authenticationSchemes"]
        .as_array()
        .expect("there are schemes");
    for scheme in schemes {
        let types = ["oauth", "oauth2", "oauthbearertoken", "httpbasic", "httpdigest"];
        assert!(
            scheme["type"].as_str().is_some_and(|name| types.contains(&name)),
            "{scheme}"
        );
        assert!(
            scheme["name"].is_string() && scheme["description"].is_string(),
            "{scheme}"
        );
    }
    assert_eq!(
        schemes.iter().filter(|scheme| scheme["primary"] == true).count(),
        1,
        "{config}"
    );
    assert_eq!(config.text("/meta/resourceType"), "ServiceProviderConfig");
    assert_eq!(config.text("/meta/location"), format!("{}{CONFIG}", t.url()));
}

/// R-DISC-01, "truthful".
async fn what_is_said_to_be_supported_works(t: &Tenant) {
    let config = t.get(CONFIG).await.is(200);
    let supported = |feature: &str| assert_eq!(config.body[feature]["supported"], true, "{feature}");
    let user = t.user("bjensen@example.com").await;
    supported("patch");
    let message = patch_op(json!([{ "op": "add", "path": "title", "value": "Guide" }]));
    let patched = t.patch(&user.place(), message).await.is(200);
    assert_eq!(patched.text("/title"), "Guide");
    supported("filter");
    assert_eq!(t.find("title eq \"Guide\"").await.is(200).listed("/id"), [user.id()]);
    assert_eq!(t.find("title eq \"Tour Guide\"").await.is(200).total(), 0);
    supported("etag");
    t.raw("GET", &user.place(), &[("If-None-Match", &patched.etag())], "")
        .await
        .is(304);
    t.raw("DELETE", &user.place(), &[("If-Match", &user.etag())], "")
        .await
        .is(412);
    assert_eq!(config.body["authenticationSchemes"][0]["type"], "oauthbearertoken");
    let pagination = &config.body["pagination"];
    assert_eq!(
        (&pagination["cursor"], &pagination["index"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(pagination["defaultPaginationMethod"], "index");
    assert_eq!(t.get("/Users").await.is(200).body["startIndex"], 1);
    assert!(t.get("/Users?cursor").await.is(200).body.get("startIndex").is_none());
    let most = pagination["maxPageSize"].as_u64().expect("a number");
    t.get(&format!("/Users?cursor&count={most}")).await.is(200);
    let beyond = t.get(&format!("/Users?cursor&count={}", most + 1)).await;
    beyond.refused(400, "invalidCount", &[&most.to_string()]);
}

/// R-DISC-01, "truthful"; the day one of them is supported, this says so too.
async fn what_is_said_not_to_be_supported_does_not(t: &Tenant) {
    let config = t.get(CONFIG).await.is(200);
    let supported = |feature: &str| config.body[feature]["supported"] == true;
    let message = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{ "method": "POST", "path": "/Users", "bulkId": "1", "data": user("bjensen@example.com") }],
    });
    let bulk = t.post("/Bulk", message).await;
    assert_eq!(bulk.status == 200, supported("bulk"), "{bulk}");
    assert!(supported("bulk") || matches!(bulk.status, 404 | 501), "{bulk}");
    assert_eq!(t.users().await == 1, supported("bulk"));
    for name in ["b@example.com", "c@example.com", "a@example.com"] {
        t.user(name).await;
    }
    let sorted = async |order: &str| {
        let list = t
            .get(&format!("/Users?sortBy=userName&sortOrder={order}"))
            .await
            .is(200);
        list.listed("/userName")
    };
    let differs = sorted("ascending").await != sorted("descending").await;
    assert_eq!(differs, supported("sort"));
    let sent = user_with("jsmith@example.com", json!({ "password": "t1meMa$heen" }));
    let created = t.post("/Users", sent).await.is(201);
    let notes = created.header("scimgate-normalized").unwrap_or_default();
    assert_eq!(
        notes == "unknown-attribute password",
        !supported("changePassword"),
        "{created}"
    );
    let shown = t.get(&format!("{}?attributes=password", created.place())).await.is(200);
    assert_eq!((created.body.get("password"), shown.body.get("password")), (None, None));
}

/// R-DISC-05; design §6: without it, it would tell which tenants there are.
async fn every_endpoint_needs_the_credential(t: &Tenant) {
    let other = t.neighbour().await;
    let wrong = format!("Bearer {}", other.secret);
    for path in paths() {
        for method in ["GET", "HEAD", "POST"] {
            t.anonymous(method, &path).await.is(401);
            t.raw(method, &path, &[("Authorization", &wrong)], "").await.is(401);
        }
        t.get(&path).await.is(200);
    }
}

/// R-DISC-04: RFC 7644 §4 says so of all three endpoints: nobody may think that the filter was applied.
async fn a_filter_is_forbidden(t: &Tenant) {
    for path in paths() {
        for query in ["filter=name+eq+%22User%22", "FILTER=id+pr", "startIndex=1&filter=x"] {
            let answer = t.get(&format!("{path}?{query}")).await;
            assert_eq!(answer.status, 403, "{answer}");
            answer.refused(403, "", &["filter"]);
        }
    }
}

/// R-DISC-04.
async fn paging_and_sorting_are_ignored(t: &Tenant) {
    for path in paths() {
        let plain = t.get(&path).await.is(200);
        for query in [
            "startIndex=2&count=1",
            "count=0",
            "sortBy=name&sortOrder=descending",
            "aadOptscim062020",
            "shoeSize=43",
            "count=many",
        ] {
            let answer = t.get(&format!("{path}?{query}")).await.is(200);
            assert_eq!(answer.body, plain.body, "{path}?{query}");
        }
    }
}

/// R-DISC-05.
async fn discovery_takes_no_writes(t: &Tenant) {
    for path in paths() {
        let before = t.get(&path).await.is(200);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let body = if method == "DELETE" {
                String::new()
            } else {
                before.body.to_string()
            };
            let refused = t.raw(method, &path, &[("Content-Type", SCIM_JSON)], body).await;
            let allowed = refused.header("allow").unwrap_or_default();
            assert!(
                allowed.contains("GET") && !allowed.contains(method),
                "{allowed}: {refused}"
            );
            refused.refused(405, "", &[method, "GET"]);
        }
        assert_eq!(t.get(&path).await.is(200).body, before.body);
    }
}

/// RFC 9110 §9.3.2.
async fn head_is_answered(t: &Tenant) {
    for path in paths() {
        t.raw("HEAD", &path, &[], "").await.is(200);
    }
    t.raw("HEAD", "/Schemas/urn:example:badge", &[], "").await.is(404);
}

/// R-DISC-03.
async fn schemas_are_found_in_any_case(t: &Tenant) {
    for urn in [USER_URN, ENTERPRISE_URN] {
        let schema = t.get(&format!("/Schemas/{urn}")).await.is(200);
        assert_eq!(schema.id(), urn);
        for spelled in [
            urn.to_uppercase(),
            urn.to_lowercase(),
            urn.replace(':', "%3A"),
            format!("{urn}/"),
        ] {
            let found = t.get(&format!("/Schemas/{spelled}")).await.is(200);
            assert_eq!(found.body, schema.body, "{spelled}");
        }
    }
}

/// RFC 7644 §3.12.
async fn what_is_not_there_is_not_found(t: &Tenant) {
    for path in [
        "/Schemas/urn:example:badge",
        "/Schemas/User",
        "/Schemas/urn:ietf:params:scim:api:messages:2.0:PatchOp",
        "/ResourceTypes/Device",
        "/ResourceTypes/Users",
        "/ServiceProviderConfig/1",
        "/ServiceProviderConfigs",
        "/Schemas/urn:ietf:params:scim:schemas:core:2.0:User/attributes",
    ] {
        t.get(path).await.refused(404, "", &[]);
    }
}

/// R-DISC-02, R-DISC-03: lists hold what is found under each location, and nothing twice.
async fn every_location_leads_to_what_it_is_of(t: &Tenant) {
    let config = t.get(CONFIG).await.is(200);
    let mut documents = vec![config.body];
    for list in LISTS {
        let list = t.get(list).await.is(200);
        let found = list.body["Resources"].as_array().expect("a list").clone();
        assert_eq!(list.total(), found.len() as u64);
        assert_eq!(list.body["startIndex"], 1);
        assert!(!found.is_empty(), "{list}");
        documents.extend(found);
    }
    let mut locations = Vec::new();
    for document in documents {
        let location = document["meta"]["location"].as_str().unwrap_or_default().to_owned();
        let place = location.strip_prefix(&t.url());
        let place = place.unwrap_or_else(|| panic!("'{location}' is not below {}", t.url()));
        assert_eq!(t.get(place).await.is(200).body, document, "{location}");
        assert!(!locations.contains(&location), "{location} stands twice");
        locations.push(location);
    }
}

/// R-DISC-02; RFC 7643 §6.
async fn resource_types_name_what_is_there(t: &Tenant) {
    let types = t.get("/ResourceTypes").await.is(200);
    let mut named = Vec::new();
    for of in types.body["Resources"].as_array().expect("a list") {
        assert_eq!(of["id"], of["name"]);
        assert_eq!(
            of["schemas"],
            json!(["urn:ietf:params:scim:schemas:core:2.0:ResourceType"])
        );
        let endpoint = of["endpoint"].as_str().expect("an endpoint");
        t.get(endpoint).await.is(200);
        named.push(of["schema"].as_str().expect("a schema").to_owned());
        for extension in of["schemaExtensions"].as_array().into_iter().flatten() {
            assert!(extension["required"].is_boolean(), "{extension}");
            named.push(extension["schema"].as_str().expect("a schema").to_owned());
        }
    }
    for urn in &named {
        assert_eq!(t.get(&format!("/Schemas/{urn}")).await.is(200).id(), urn);
    }
    let mut listed = t.get("/Schemas").await.is(200).listed("/id");
    assert!(listed.iter().all(|urn| !urn.contains(":messages:")), "{listed:?}");
    listed.sort();
    named.sort();
    assert_eq!(listed, named);
    let user = t.get("/ResourceTypes/User").await.is(200);
    assert_eq!(user.text("/endpoint"), "/Users");
    assert_eq!(user.text("/schema"), USER_URN);
    assert_eq!(
        user.body["schemaExtensions"],
        json!([{ "schema": ENTERPRISE_URN, "required": false }])
    );
}
