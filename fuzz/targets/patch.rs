//! Any JSON as a PATCH message: it is refused, or makes a user that a create would have made too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use scimgate_fuzz::scim::attributes::accept_edited;
use scimgate_fuzz::scim::normalize::Trace;
use scimgate_fuzz::scim::patch;
use scimgate_fuzz::{user, user_type};
use serde_json::{Value, json};

fuzz_target!(|data: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(data) else {
        return;
    };
    // Most inputs are only the operations: the envelope has little to find.
    let body = if body.is_array() {
        json!({"schemas": [patch::PATCH_OP_URN], "Operations": body})
    } else {
        body
    };
    match patch::apply(user_type(), user(), body, &mut Trace::default()) {
        Ok(after) => {
            let again = accept_edited(user_type(), after.as_map().clone(), &mut Trace::default());
            assert_eq!(again.expect("what a PATCH makes is acceptable"), after);
            let nothing = json!({"schemas": [patch::PATCH_OP_URN], "Operations": [{"op": "add", "value": {}}]});
            let unchanged = patch::apply(user_type(), &after, nothing, &mut Trace::default());
            assert_eq!(unchanged.expect("nothing to refuse"), after);
        }
        Err(error) => assert!(error.detail().is_ascii()),
    }
});
