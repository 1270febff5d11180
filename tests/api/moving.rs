//! What a customer of an earlier endpoint brings along.

use std::sync::Arc;

use scimgate::tenants::Terms;
use serde_json::Value;

use crate::{
    tenant::Tenant,
    world::{World, unique},
};

/// The base path of an earlier endpoint that knows its tenants by their tokens.
pub(crate) const EARLIER: &str = "/api/scim";

/// The id that an earlier endpoint gave its n-th resource: a number, a UUID of version 4, or something like an address.
pub(crate) fn earlier_id(n: usize) -> String {
    match n % 3 {
        0 => (4_711 + n).to_string(),
        1 => format!("{n:08x}-5f0c-4b1a-9d3e-6f1f0f3c2b1a"),
        _ => format!("bjensen.{n}@example.com"),
    }
}

/// A secret as earlier endpoints gave them.
pub(crate) fn earlier_secret() -> String {
    format!("from-an-earlier-endpoint/{}==", unique())
}

/// A tenant with the secret that its customer has had for long, and with what these lines describe.
pub(crate) async fn import(world: &Arc<World>, lines: &str) -> (Tenant, Value) {
    let tenant = Tenant::create(Arc::clone(world)).await;
    let issued = tenant.issue(Some(earlier_secret()), &Terms::default()).await;
    let report = world.command(&["import", &tenant.name, "-"], lines).await;
    let tenant = Tenant {
        secret: issued.secret,
        ..tenant
    };
    (tenant, report)
}

/// All of a tenant's users and groups, one a line.
pub(crate) async fn export(tenant: &Tenant) -> Vec<Value> {
    let mut resources = Vec::new();
    for endpoint in ["/Users", "/Groups"] {
        let listed = tenant.get(&format!("{endpoint}?count=1000")).await.is(200);
        resources.extend(listed.body["Resources"].as_array().cloned().unwrap_or_default());
    }
    resources
}
