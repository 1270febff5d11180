//! POST (RFC 7644 §3.3).

use crate::{
    case::cases,
    tenant::{Tenant, user},
};

cases![a_created_user_is_found];

/// R-GEN-13.
async fn a_created_user_is_found(t: &Tenant) {
    let created = t.post("/Users", user("bjensen@example.com")).await.is(201);
    let found = t.get(&created.place()).await.is(200);
    assert_eq!(found.body, created.body);
}
