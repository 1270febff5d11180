//! What a client asks to have changed: the same whether it comes by itself or in a bulk request.

use serde_json::Value;

/// One write of one resource, as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// POST: a new resource (RFC 7644 §3.3).
    Create {
        /// The resource.
        document: Value,
    },
    /// PUT: a document in a resource's place (RFC 7644 §3.5.1).
    Replace {
        /// The resource's id.
        id: String,
        /// What takes its place.
        document: Value,
    },
    /// PATCH (RFC 7644 §3.5.2).
    Patch {
        /// The resource's id.
        id: String,
        /// The `PatchOp` message.
        message: Value,
    },
    /// DELETE (RFC 7644 §3.6).
    Delete {
        /// The resource's id.
        id: String,
    },
}
