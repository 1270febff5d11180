//! A tenant of its own for each case, and the verbs a client has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use scimgate::tenants::{self, Issued, NewExtension, NewTenant, SchemaChange, Schemas, Terms};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    answer::{Answer, Asked},
    wire,
    world::{Way, World, unique},
};

/// The media type of SCIM bodies (RFC 7644 §3.1).
pub(crate) const SCIM_JSON: &str = "application/scim+json";

/// RFC 7643 §4.1.
pub(crate) const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// RFC 7643 §4.3.
pub(crate) const ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

/// How long a request may take before a case fails.
const PATIENCE: Duration = Duration::from_mins(1);

/// A tenant and its first credential.
pub(crate) struct Tenant {
    pub(crate) world: Arc<World>,
    pub(crate) name: String,
    pub(crate) secret: String,
}

impl Tenant {
    /// A tenant that nobody used before, made through the library.
    pub(crate) async fn create(world: Arc<World>) -> Tenant {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        let name = format!("t{}-{}", NUMBER.fetch_add(1, Ordering::Relaxed), &unique()[..6]);
        let new = NewTenant {
            name: name.clone(),
            ..NewTenant::default()
        };
        let created = world
            .tenants
            .create(&new, None, &Terms::default(), "test", deadline())
            .await;
        let (_, issued) = created.unwrap_or_else(|error| panic!("a tenant can't be made: {error}"));
        Tenant {
            world,
            name,
            secret: issued.secret,
        }
    }

    /// Another tenant of the same service.
    pub(crate) async fn neighbour(&self) -> Tenant {
        Tenant::create(Arc::clone(&self.world)).await
    }

    /// One more credential for this tenant.
    pub(crate) async fn issue(&self, secret: Option<String>, terms: &Terms) -> Issued {
        let issued = self
            .world
            .tenants
            .add_credential(&self.name, secret, terms, "test", deadline())
            .await;
        issued.unwrap_or_else(|error| panic!("a credential can't be made: {error}"))
    }

    /// The same tenant after a change of its extensions, which is in force: with a credential that no instance has looked
    /// at before. Of several changes each has to be some minutes later: made fewer minutes ago.
    pub(crate) async fn reschemed(
        &self,
        minutes_ago: i64,
        change: impl for<'s> Fn(&'s Schemas) -> Result<SchemaChange<'s>, tenants::Error>,
    ) -> Tenant {
        let operator = self.world.operator(time::Duration::minutes(minutes_ago));
        let schemas = operator.schemas(&self.name, deadline()).await;
        let schemas = schemas.unwrap_or_else(|error| panic!("no schemas: {error}"));
        let change = change(&schemas).unwrap_or_else(|error| panic!("no change: {error}"));
        let announced = operator.announce(&change, "test", deadline()).await;
        announced.unwrap_or_else(|error| panic!("not announced: {error}"));
        Tenant {
            world: Arc::clone(&self.world),
            name: self.name.clone(),
            secret: self.issue(None, &Terms::default()).await.secret,
        }
    }

    /// The same tenant with an extension of these attributes.
    pub(crate) async fn extended(&self, resource_type: &str, urn: &str, attributes: Value) -> Tenant {
        let new = NewExtension {
            document: serde_json::json!({ "id": urn, "attributes": attributes }),
            resource_type: Some(resource_type.to_owned()),
            ..NewExtension::default()
        };
        self.reschemed(60, |schemas| schemas.set(&new)).await
    }

    /// The same for users, after other changes.
    pub(crate) async fn extended_again(&self, minutes_ago: i64, urn: &str, attributes: Value) -> Tenant {
        let new = NewExtension {
            document: serde_json::json!({ "id": urn, "attributes": attributes }),
            ..NewExtension::default()
        };
        self.reschemed(minutes_ago, |schemas| schemas.set(&new)).await
    }

    /// Refuses a credential from now on.
    pub(crate) async fn revoke(&self, credential: &str) {
        let revoked = self
            .world
            .tenants
            .revoke(&self.name, credential, "test", deadline())
            .await;
        revoked.unwrap_or_else(|error| panic!("a credential can't be revoked: {error}"));
    }

    pub(crate) fn way(&self) -> Way {
        self.world.way
    }

    /// What the customer pastes into its identity provider, without its origin.
    pub(crate) fn path(&self) -> String {
        format!("/scim/{}", self.name)
    }

    /// What the customer pastes into its identity provider.
    pub(crate) fn url(&self) -> String {
        format!("{}{}", self.world.origin, self.path())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.raw("GET", path, &[], "").await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.raw("DELETE", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body).await
    }

    pub(crate) async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, body).await
    }

    async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.raw(method, path, &[("Content-Type", SCIM_JSON)], body.to_string())
            .await
    }

    /// A request below the Tenant URL with the tenant's credential, unless `headers` has another, and else with nothing
    /// that is not named here.
    pub(crate) async fn raw(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let bearer = format!("Bearer {}", self.secret);
        let mut headers = headers.to_vec();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        {
            headers.push(("Authorization", &bearer));
        }
        self.at(method, &format!("{}{path}", self.path()), &headers, body).await
    }

    /// A request below the Tenant URL without a credential.
    pub(crate) async fn anonymous(&self, method: &str, path: &str) -> Answer {
        self.at(method, &format!("{}{path}", self.path()), &[], "").await
    }

    /// A request to any path of the service, with nothing that is not named here.
    pub(crate) async fn at(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.exchange(method, path, headers, body.into())
            .await
            .linted(&self.world.origin)
    }

    /// The same, whatever comes: for what the host answers itself, and for locations that are not the usual ones.
    pub(crate) async fn unlinted(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.exchange(method, path, headers, body.into()).await
    }

    async fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let url = format!("http://{}{path}", self.world.address);
        let asked = Asked::new(method, path);
        let method = method.parse().unwrap_or_else(|_| panic!("{method} is no method"));
        let mut request = crate::http_client().request(method, &url).timeout(PATIENCE);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let answer = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        let status = answer.status().as_u16();
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let headers = answer.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), text(value.as_bytes())))
            .collect();
        let body = answer
            .bytes()
            .await
            .unwrap_or_else(|error| panic!("{asked}: {error:?}"));
        Answer::new(asked, status, headers, body.to_vec())
    }

    /// Bytes as they are on a connection of their own, for requests that no client would send; what comes back.
    pub(crate) async fn wire(&self, bytes: impl AsRef<[u8]>) -> Answer {
        let mut connection = wire::Connection::open(self.world.address).await;
        connection.write(bytes.as_ref()).await;
        connection.answer("GET").await
    }

    /// A request's head below the Tenant URL with credential and `Host`, for [`Self::wire`]; without the empty line.
    pub(crate) fn head(&self, method: &str, path: &str) -> String {
        let (base, host, secret) = (self.path(), self.world.address, &self.secret);
        format!("{method} {base}{path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {secret}\r\n")
    }

    /// How many users there are.
    pub(crate) async fn users(&self) -> u64 {
        let listed = self.get("/Users?count=0").await.is(200);
        listed.body["totalResults"].as_u64().expect("a list has totalResults")
    }

    /// The users that a filter finds.
    pub(crate) async fn find(&self, filter: &str) -> Answer {
        self.get(&format!("/Users?filter={}", encoded(filter))).await
    }

    /// A user with this name, and nothing else.
    pub(crate) async fn user(&self, name: &str) -> Answer {
        self.post("/Users", user(name)).await.is(201)
    }
}

/// The smallest user there is.
pub(crate) fn user(name: &str) -> Value {
    serde_json::json!({ "schemas": [USER_URN], "userName": name })
}

/// The smallest user with these attributes too.
pub(crate) fn user_with(name: &str, attributes: Value) -> Value {
    let (mut user, Value::Object(attributes)) = (user(name), attributes) else {
        panic!("attributes are an object")
    };
    let members = user.as_object_mut().expect("a user is an object");
    members.extend(attributes);
    user
}

/// A user with something of every kind (after RFC 7643 §8.3).
pub(crate) fn bjensen() -> Value {
    serde_json::json!({
        "schemas": [USER_URN, ENTERPRISE_URN],
        "externalId": "701984",
        "userName": "bjensen@example.com",
        "name": { "formatted": "Ms. Barbara J Jensen, III", "familyName": "Jensen", "givenName": "Barbara" },
        "displayName": "Babs Jensen",
        "profileUrl": "https://login.example.com/bjensen",
        "title": "Tour Guide",
        "active": true,
        "emails": [
            { "value": "bjensen@example.com", "type": "work", "primary": true },
            { "value": "babs@jensen.example.org", "type": "home" },
        ],
        "addresses": [{ "streetAddress": "100 Universal City Plaza", "locality": "Hollywood", "type": "work" }],
        "x509Certificates": [{ "value": "MIIDQzCCAqygAwIBAgICEAAwDQYJKoZIhvcNAQEFBQA=" }],
        ENTERPRISE_URN: {
            "employeeNumber": "701984",
            "department": "Tour Operations",
            "manager": { "value": "26118915-6090-4610-87e4-49d8ca9f808d" },
        },
    })
}

/// A text as it stands in a query.
pub(crate) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// A PATCH message (RFC 7644 §3.5.2).
pub(crate) fn patch_op(operations: Value) -> Value {
    let mut message = serde_json::json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"] });
    message["Operations"] = operations;
    message
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(15)
}
