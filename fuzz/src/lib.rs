//! What the fuzz targets share: the protocol room itself, and one user to try everything on.

#[path = "../../src/scim/mod.rs"]
pub mod scim;

use std::sync::{Arc, LazyLock};

use scim::attributes::{Attributes, accept};
use scim::normalize::Trace;
use scim::schema::{Catalog, ENTERPRISE_USER_URN, Extension, GROUP_URN, ResourceType, Schema};
use serde_json::{Value, json};

/// URN of an extension that has what the standard schemas lack.
pub const EXTRA_URN: &str = "urn:example:2.0:Extra";

/// The type User with that extension.
pub fn user_type() -> &'static ResourceType {
    static TYPE: LazyLock<ResourceType> = LazyLock::new(|| {
        let mut rt = (**Catalog::standard()
            .resource_type("User")
            .expect("the catalog has users"))
        .clone();
        let schema = Schema::from_json(&json!({"id": EXTRA_URN, "attributes": [
            {"name": "level", "type": "integer"},
            {"name": "rate", "type": "decimal"},
            {"name": "hired", "type": "dateTime"},
            {"name": "photo", "type": "binary"},
            {"name": "tags", "type": "string", "multiValued": true},
            {"name": "badge", "type": "string", "mutability": "immutable"},
            {"name": "secret", "type": "string", "returned": "never"},
            {"name": "keys", "type": "complex", "multiValued": true, "subAttributes": [
                {"name": "value", "type": "string", "mutability": "immutable"},
                {"name": "door", "type": "string", "required": true},
            ]},
        ]}));
        rt.extensions.push(Extension {
            schema: schema.expect("a sound schema").into(),
            required: false,
        });
        rt
    });
    &TYPE
}

/// The type Group.
pub fn group_type() -> &'static ResourceType {
    static TYPE: LazyLock<Arc<ResourceType>> = LazyLock::new(|| {
        let catalog = Catalog::standard();
        let group = catalog.resource_type("Group");
        group.expect("the catalog has groups").clone()
    });
    &TYPE
}

/// A group as it is stored.
pub fn group() -> &'static Attributes {
    static GROUP: LazyLock<Attributes> = LazyLock::new(|| {
        let document = json!({"schemas": [GROUP_URN], "externalId": "8aa1a0c0", "displayName": "Tour Guides"});
        let accepted = accept(group_type(), document, &mut Trace::default());
        accepted.expect("a sound group").attributes
    });
    &GROUP
}

/// A user with something in every kind of attribute, as a client sends it.
pub fn document() -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE_USER_URN, EXTRA_URN],
        "externalId": "701984",
        "userName": "bjensen@example.com",
        "name": {"familyName": "Jensen", "givenName": "Barbara"},
        "active": true,
        "emails": [
            {"value": "bjensen@example.com", "type": "work", "primary": true},
            {"value": "babs@jensen.org", "type": "home"},
        ],
        "addresses": [{"type": "work", "locality": "Hollywood"}],
        "roles": [{"value": "guide"}],
        "x509Certificates": [{"value": "TUlJ"}],
        ENTERPRISE_USER_URN: {"employeeNumber": "701984", "manager": {"value": "26118915"}},
        EXTRA_URN: {
            "level": 7, "rate": 2.5, "hired": "2011-05-13T04:42:34Z", "tags": ["red"], "badge": "17",
            "keys": [{"value": "k1", "door": "front"}],
        },
    })
}

/// That user as it is stored.
pub fn user() -> &'static Attributes {
    static USER: LazyLock<Attributes> = LazyLock::new(|| {
        let accepted = accept(user_type(), document(), &mut Trace::default());
        accepted.expect("a sound user").attributes
    });
    &USER
}
