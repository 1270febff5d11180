//! The limits of what a client may send or ask for. What the protocol can advertise, `discovery` advertises.

/// Bytes of a filter, or of a PATCH path.
pub const MAX_FILTER_BYTES: usize = 10_000;

/// Depth of a filter: parentheses, `not` and brackets inside one another.
pub const MAX_FILTER_DEPTH: usize = 50;

/// Operations in one PATCH. Entra sends one per changed attribute or member, a few hundred at most.
pub const MAX_PATCH_OPERATIONS: usize = 1_000;

/// Bytes of a JSON request body.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Bytes of memory that a request body takes as JSON ([`super::json::memory`]): ten thousand members with three attributes each
/// take 20 MiB.
pub const MAX_BODY_MEMORY: usize = 64 * 1024 * 1024;

/// Operations in one bulk request; advertised as `bulk.maxOperations`.
pub const MAX_BULK_OPERATIONS: usize = 100;

/// Bytes of a bulk request: those of any other; advertised as `bulk.maxPayloadSize`.
pub const MAX_BULK_BYTES: usize = MAX_BODY_BYTES;

/// Bytes of one string value, in UTF-8: room for a photo's URL or a certificate, not for the photo.
pub const MAX_STRING_BYTES: usize = 32 * 1024;

/// Values of a multi-valued attribute.
pub const MAX_VALUES: usize = 1_000;

/// Members that one request may name, by whatever operations: what one journal row holds. A group itself may have more.
pub const MAX_MEMBERS: usize = 10_000;

/// Members that a PATCH path such as `members[type eq "User"]` is put to, counted once for each of its conditions and for
/// each operation: below a second of work.
pub const MAX_MEMBER_WORK: usize = 5_000_000;

/// Memberships that a list of groups shows, or that a filter on them looks at; advised against by `excludedAttributes=members`.
pub const MAX_LISTED_MEMBERS: usize = 10_000;

/// Memberships that a list of users shows as their `groups`, or that a filter on them looks at.
pub const MAX_LISTED_GROUPS: usize = 100_000;

/// Levels of groups in groups that `indirect` groups of a user are looked for in, the direct ones included.
pub const MAX_GROUP_LEVELS: usize = 5;

/// Values of `emails`: each is an indexed row in the commit that writes the user.
pub const MAX_EMAILS: usize = 40;

/// Bytes of a resource's attributes as JSON: what a row's body holds, with room for its format.
pub const MAX_RESOURCE_BYTES: usize = 500 * 1024;

/// Resources on a page when the client names no `count`.
pub const DEFAULT_PAGE: usize = 100;

/// Resources on a page, whatever the client asks for, unless [`MAX_PAGE_BYTES`] ends it earlier; advertised as
/// `filter.maxResults` and `pagination.maxPageSize`.
pub const MAX_PAGE: usize = 1_000;

/// Bytes of the stored resources on a page; it ends before the resource that goes beyond, but holds at least one. RFC 7644
/// §3.4.2.4 lets a page be shorter than `count`; `itemsPerPage` tells.
pub const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Bytes of the stored resources that a filter looks at, and of the memberships, counted once for each of its conditions. Ten thousand users of
/// 2 KiB may be put to six conditions, one user of 300 KiB to four hundred.
pub const MAX_FILTER_WORK: usize = 128 * 1024 * 1024;

/// Names in `attributes` or `excludedAttributes`.
pub const MAX_SELECTED_NAMES: usize = 200;

/// Seconds that a cursor can be used (RFC 9865 §4); advertised as `pagination.cursorTimeout`.
pub const CURSOR_SECONDS: u64 = 3_600;

/// Bytes of a cursor, so that no long one is decoded; ours have 375 at most.
pub const MAX_CURSOR_BYTES: usize = 512;

/// Bytes of the resources, as JSON, that are held to sort them, and of the values by which they are sorted: ten thousand
/// users of 6 KiB.
pub const MAX_SORT_BYTES: usize = 64 * 1024 * 1024;

/// Extensions that a tenant may have beside the standard ones.
pub const MAX_EXTENSIONS: usize = 10;

/// Bytes of an extension's schema as JSON. All of a tenant's stand in one row, which is read with each credential.
pub const MAX_SCHEMA_BYTES: usize = 32 * 1024;

/// Attributes of an extension, sub-attributes counted too.
pub const MAX_SCHEMA_ATTRIBUTES: usize = 200;

/// Levels of attributes: those of a schema, and the sub-attributes of the complex ones (RFC 7643 §2.3.8).
pub const MAX_ATTRIBUTE_DEPTH: usize = 2;

/// Bytes of an extension's URN.
pub const MAX_URN_BYTES: usize = 100;

/// Bytes of an attribute's name.
pub const MAX_NAME_BYTES: usize = 60;
