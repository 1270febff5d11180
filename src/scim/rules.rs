//! The table of everything that is refused. `docs/errors.md` is generated from it.

mod advice;

use advice::{LARGE, MAPPING, MATCHING, PAUSE, PROTOCOL, REPORT, RETRY, TOKEN, TOKEN_OVER, URL};

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The rule.
    pub rule: Rule,
    /// Its stable name, for telemetry, tests and documentation.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// `scimType` of RFC 7644 §3.12, table 9.
    pub scim_type: Option<&'static str>,
    /// What the client is told: what is wrong and what to change, with `{placeholders}` for names, positions and
    /// limits.
    pub sentence: &'static str,
    /// What a person in front of Entra's portal does about it.
    pub advice: &'static str,
}

macro_rules! scim_type {
    (-) => {
        None
    };
    ($scim_type:ident) => {
        Some(stringify!($scim_type))
    };
}

macro_rules! rules {
    ($($rule:ident $name:literal $status:literal $scim_type:tt $sentence:literal $advice:expr;)+) => {
        /// A reason to refuse a request.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Rule { $(#[doc = concat!("`", $name, "`, status ", $status)] $rule,)+ }

        /// The table, in the order of [`Rule`].
        pub const RULES: &[Entry] = &[$(Entry {
            rule: Rule::$rule,
            name: $name,
            status: $status,
            scim_type: scim_type!($scim_type),
            sentence: $sentence,
            advice: $advice,
        },)+];
    };
}

rules! {
    // Filters
    FilterSyntax "filter-syntax" 400 invalidFilter
        "The filter cannot be read at {subject}: expected {expected}."
        "Special characters in a matching attribute's value can break the filter Entra builds. Look at the user's \
         value of the matching attribute.";
    UnterminatedString "unterminated-string" 400 invalidFilter
        "The filter has a text at {subject} whose closing quotation mark is missing."
        "The user's value of the matching attribute probably holds a quotation mark or a backslash. Correct it, or \
         match by another attribute (Provisioning > Mappings).";
    UnknownOperator "unknown-operator" 400 invalidFilter
        "The filter has a word at {subject} that is no operator: use eq, ne, co, sw, ew, pr, gt, ge, lt or le."
        PROTOCOL;
    UnknownFilterAttribute "unknown-filter-attribute" 400 invalidFilter
        "The filter names {subject}, which is no attribute of this resource type: use one listed under /Schemas."
        MATCHING;
    FilterWrongType "filter-wrong-type" 400 invalidFilter
        "The filter compares {subject} with a value of another type: expected {expected}."
        MATCHING;
    OperatorNotForType "operator-not-for-type" 400 invalidFilter
        "The filter uses an operator on {subject} that its type does not have: use {expected}."
        MATCHING;
    FilterNeedsSubAttribute "filter-needs-sub-attribute" 400 invalidFilter
        "The filter compares {subject}, which has parts: name one of them, such as {expected}."
        MATCHING;
    FilterTooLong "filter-too-long" 400 invalidFilter
        "The filter is longer than {limit} bytes: ask for less at a time."
        PROTOCOL;
    FilterTooDeep "filter-too-deep" 400 invalidFilter
        "The filter is nested deeper than {limit} levels: write it with fewer parentheses."
        PROTOCOL;
    FilterSensitive "filter-sensitive" 403 sensitive
        "The filter names {subject}, which is never shown and cannot be searched."
        MATCHING;
    FilterOnDerived "filter-on-derived" 400 invalidFilter
        "The filter names {subject}, which is not stored but added when a resource is shown: compare {expected} instead."
        MATCHING;
    TooMany "too-many" 400 tooMany
        "The filter would have to look at more than {limit}: narrow it with an eq on userName, externalId, emails or (of \
         groups) displayName, give it fewer conditions, or page with cursor."
        "Open Provisioning > Mappings and match users by userName, externalId or an e-mail address, groups by displayName \
         or externalId: other attributes cannot be looked up where there are so many resources.";
    TooManyMemberships "too-many-memberships" 400 tooMany
        "The answer would hold more than {limit} values of {subject}: add excludedAttributes={subject}, or ask for one \
         resource at a time (count=1)."
        PROTOCOL;
    FilterOnDiscovery "filter-on-discovery" 403 -
        "This endpoint cannot be filtered (RFC 7644 section 4): ask without filter."
        PROTOCOL;

    // Paths and PATCH
    PathSyntax "path-syntax" 400 invalidPath
        "The path {subject} cannot be read: expected {expected}."
        MAPPING;
    PathFilter "path-filter" 400 invalidFilter
        "The brackets behind {subject} hold no filter that can be used ({expected})."
        MAPPING;
    PathFilterNotAllowed "path-filter-not-allowed" 400 invalidPath
        "The path {subject} has a filter in brackets on an attribute that holds a single value: leave the brackets out."
        MAPPING;
    PathTooLong "path-too-long" 400 invalidPath
        "The PATCH message has a path longer than {limit} bytes: use a shorter one."
        PROTOCOL;
    NotPatchOp "not-patch-op" 400 invalidSyntax
        "The body is no PATCH message: it needs schemas with urn:ietf:params:scim:api:messages:2.0:PatchOp."
        PROTOCOL;
    NoOperations "no-operations" 400 invalidSyntax
        "The message has no Operations: send an array with at least one."
        PROTOCOL;
    OperationSyntax "operation-syntax" 400 invalidSyntax
        "Operation {subject} of the PATCH message cannot be read: expected {expected}."
        PROTOCOL;
    UnknownOp "unknown-op" 400 invalidSyntax
        "Operation {subject} of the PATCH message has an op that is none of add, remove and replace."
        PROTOCOL;
    TooManyOperations "too-many-operations" 413 -
        "The message has more than {limit} Operations: send them in several requests."
        PROTOCOL;
    PatchTooCostly "patch-too-costly" 413 -
        "The PATCH message has too many operations for the many values of this resource: send them in several requests."
        PROTOCOL;
    ValueMissing "value-missing" 400 invalidValue
        "Operation {subject} of the PATCH message needs a value for {expected}."
        MAPPING;
    ValueNotObject "value-not-object" 400 invalidValue
        "Operation {subject} of the PATCH message has no path, so its value must be an object with attribute names."
        PROTOCOL;
    RemoveWithoutPath "remove-without-path" 400 noTarget
        "Operation {subject} of the PATCH message removes without saying what: it needs a path."
        PROTOCOL;
    NoTarget "no-target" 400 noTarget
        "The path {subject} matches no value of this resource, and its filter does not say how to make one."
        MAPPING;
    ReadOnly "read-only" 400 mutability
        "{subject} is set by this service and cannot be changed: leave it out."
        "Open Provisioning > Mappings and delete the row whose target attribute the message names.";
    Immutable "immutable" 400 mutability
        "{subject} cannot be changed once it has a value: leave it out, or make a new resource."
        "Open Provisioning > Mappings, edit the row whose target attribute the message names, and set Apply this \
         mapping to \"Only during object creation\".";
    MemberChanged "member-changed" 400 mutability
        "{subject} of a member cannot be changed: remove the member and add another."
        PROTOCOL;
    RequiredRemoved "required-removed" 400 mutability
        "{subject} is required and cannot be removed: replace its value instead."
        MAPPING;

    // Bulk
    NotBulkRequest "not-bulk-request" 400 invalidSyntax
        "The body is no bulk request: it needs schemas with urn:ietf:params:scim:api:messages:2.0:BulkRequest."
        PROTOCOL;
    BulkOperation "bulk-operation" 400 invalidSyntax
        "Operation {subject} of the bulk request cannot be read: expected {expected}."
        PROTOCOL;
    BulkIdTwice "bulk-id-twice" 400 invalidValue
        "The bulkId {subject} is given to two operations: give each one of its own."
        PROTOCOL;
    BulkIdUnknown "bulk-id-unknown" 400 invalidValue
        "The operation refers to the bulkId {subject}, which no POST of this bulk request has."
        PROTOCOL;
    BulkReferenceFailed "bulk-reference-failed" 409 -
        "The operation refers to the bulkId {subject}, whose own operation failed: correct that one, and send both again."
        PROTOCOL;
    BulkReferenceMissing "bulk-reference-missing" 409 -
        "The resource was created without its reference to the bulkId {subject}, whose own operation failed or was not \
         reached: correct that one, and add the reference with a PATCH."
        PROTOCOL;

    // Values
    RequiredMissing "required-missing" 400 invalidValue
        "{subject} is required, and is missing or empty: send a value."
        "The user has no value in the source attribute. Fill it in, or in Provisioning > Mappings give the row of \
         that target attribute a source that every user has (or a default value).";
    WrongType "wrong-type" 400 invalidValue
        "{subject} has a value of the wrong type: expected {expected}."
        MAPPING;
    ControlCharacter "control-character" 400 invalidValue
        "{subject} has a control character in its value: remove it."
        "The source attribute of that user holds an invisible character, often pasted from elsewhere. Type the value \
         anew.";
    ValueTooLong "value-too-long" 400 invalidValue
        "{subject} has a value longer than {limit} bytes: shorten it."
        MAPPING;
    TooManyValues "too-many-values" 400 invalidValue
        "{subject} has more than {limit} values: send fewer."
        MAPPING;
    SeveralPrimaries "several-primaries" 400 invalidValue
        "{subject} has more than one value with primary true: mark one only."
        "Open Provisioning > Mappings and let only one row of that target attribute set primary.";
    AttributeTwice "attribute-twice" 400 invalidSyntax
        "{subject} appears twice in the body, in one or in different spellings: send it once."
        "Open Provisioning > Mappings and delete one of the two rows with that target attribute.";
    MemberWithoutValue "member-without-value" 400 invalidValue
        "{subject} names nobody: send the id of a user or a group as value."
        "Nothing to set in Entra: the request itself is malformed. In another client, make sure that the member is \
         provisioned before the group.";
    UnknownMember "unknown-member" 400 invalidValue
        "There is no user and no group with the id {subject} to be a member: provision it first."
        "The member was deleted here, or belongs to another service. Use Provision on demand for that user (or nested \
         group), then for this group.";
    OwnMember "own-member" 400 invalidValue
        "The group {subject} can't be a member of itself."
        PROTOCOL;
    TooManyMembers "too-many-members" 413 -
        "The request names more than {limit} members: send them in several requests. The group may have more."
        PROTOCOL;
    ResourceTooLarge "resource-too-large" 413 -
        "The resource would be larger than {limit} bytes: send fewer or shorter values."
        LARGE;
    SchemasMissing "schemas-missing" 400 invalidSyntax
        "schemas is missing or empty: send an array with {expected}."
        PROTOCOL;
    UnknownSchema "unknown-schema" 400 invalidValue
        "schemas names {subject}, which this resource type does not have: use {expected} and the extensions listed \
         under /ResourceTypes."
        "Open Provisioning > Mappings > Show advanced options > Edit attribute list and delete attributes of a schema \
         this service does not list under /Schemas; or ask the vendor to add that schema to your tenant.";
    OtherResourceType "other-resource-type" 400 invalidSyntax
        "schemas names {subject}, which belongs to another endpoint: this one takes {expected}."
        PROTOCOL;
    UniqueTaken "unique-taken" 409 uniqueness
        "{subject} is already taken by the {state} resource {id}: use another value, or update that resource."
        "Another account holds this value, perhaps a deactivated one. Find it by the id in the message; rename or \
         delete it, or let Entra match it: Provisioning > Mappings, matching attribute, then Provision on demand.";
    GroupTaken "group-taken" 409 uniqueness
        "There is a group with this {subject} and externalId already, {id}: update that one."
        "Let Entra match the group: Provisioning > Mappings, matching attribute, then Provision on demand.";

    // Parameters
    ParameterNotNumber "parameter-not-number" 400 invalidValue
        "The parameter {subject} must be a whole number."
        PROTOCOL;
    InvalidCursor "invalid-cursor" 400 invalidCursor
        "The cursor is none that this service gave for this query: begin again with an empty cursor, and change nothing \
         but the cursor from page to page."
        PROTOCOL;
    ExpiredCursor "expired-cursor" 400 expiredCursor
        "The cursor is older than {limit} seconds: begin again with an empty cursor."
        PROTOCOL;
    InvalidCount "invalid-count" 400 invalidCount
        "With a cursor, the parameter count must be a whole number from 1 to {limit}."
        PROTOCOL;
    CursorAndIndex "cursor-and-index" 400 invalidValue
        "The parameters cursor and startIndex exclude each other: send one of them."
        PROTOCOL;
    UnknownSortAttribute "unknown-sort-attribute" 400 invalidPath
        "sortBy names {subject}, which is no attribute of this resource type: use one listed under /Schemas."
        PROTOCOL;
    SortNeedsSubAttribute "sort-needs-sub-attribute" 400 invalidPath
        "sortBy names {subject}, which has parts: name one of them, such as {expected}."
        PROTOCOL;
    SortByDerived "sort-by-derived" 400 invalidPath
        "sortBy names {subject}, which is not stored but added when a resource is shown: name {expected} instead."
        PROTOCOL;
    SortSensitive "sort-sensitive" 403 sensitive
        "sortBy names {subject}, which is never shown and cannot be sorted by."
        PROTOCOL;
    UnknownSortOrder "unknown-sort-order" 400 invalidValue
        "The parameter sortOrder must be ascending or descending."
        PROTOCOL;
    TooManyToSort "too-many-to-sort" 400 tooMany
        "There is more to sort than {limit}: narrow the query with a filter, or ask without sortBy."
        PROTOCOL;
    SelectionAmbiguous "selection-ambiguous" 400 invalidValue
        "The parameters attributes and excludedAttributes exclude each other: send one of them."
        PROTOCOL;
    TooManyNames "too-many-names" 400 invalidValue
        "The parameter {subject} has more than {limit} names: send fewer."
        PROTOCOL;

    // Addresses
    NotFound "not-found" 404 -
        "There is no {subject} with this id: it was deleted, or never existed here."
        "Entra finds or creates the user (or group) again by itself in the next cycle. To do it now, use Provision on demand; \
         if it persists, choose Restart provisioning.";
    UnknownEndpoint "unknown-endpoint" 404 -
        "There is no such endpoint: behind the Tenant URL come /Users, /Groups, /Bulk, /Schemas, /ResourceTypes or \
         /ServiceProviderConfig."
        URL;
    NoMe "no-me" 501 -
        "There is no /Me: the credential stands for a client, not for a person. Use /Users."
        PROTOCOL;
    NoTenantInPath "no-tenant-in-path" 404 -
        "The address names no tenant: a Tenant URL looks like {expected}."
        URL;
    TenantUrlHasResource "tenant-url-has-resource" 404 -
        "The Tenant URL ends in {subject}, and the client adds that itself: paste the Tenant URL without it."
        "Open Provisioning > Admin Credentials and remove everything behind the tenant's name from the Tenant URL.";
    TenantUrlBrowsed "tenant-url-browsed" 404 -
        "This is a Tenant URL: it is not to be opened but to be pasted into the identity provider, together with the \
         secret token."
        "Open Provisioning > Admin Credentials and paste this address as the Tenant URL.";
    MethodNotAllowed "method-not-allowed" 405 -
        "This endpoint does not take {subject}: use {expected}."
        PROTOCOL;
    BadHost "bad-host" 400 -
        "The Host header is no host name."
        URL;

    // Credentials
    NoCredential "no-credential" 401 -
        "The request has no credential of the kind Bearer: send Authorization: Bearer with the tenant's secret token."
        TOKEN;
    Unauthorized "unauthorized" 401 -
        "The credential is not valid for this tenant: check that Tenant URL and secret token were handed out together."
        "Open Provisioning > Admin Credentials and compare the Tenant URL with the one that was handed out, its last part above \
         all. Then paste the secret token again, without \"Bearer\", spaces or line breaks, choose Test Connection, then Save. If \
         it fails, ask the vendor for a new token.";
    TokenExpired "token-expired" 401 -
        "The secret token expired on {date}: ask for a new one."
        TOKEN_OVER;
    TokenRevoked "token-revoked" 401 -
        "The secret token was revoked on {date}: ask for a new one."
        TOKEN_OVER;
    BearerTwice "bearer-twice" 401 -
        "The credential begins with the word Bearer twice: paste the secret token alone."
        TOKEN;
    TokenWithSpaces "token-with-spaces" 401 -
        "The credential has spaces or line breaks in it: paste the secret token as one piece."
        TOKEN;

    // Bodies and preconditions
    BadMediaType "bad-media-type" 415 -
        "The body's Content-Type must be application/scim+json or application/json."
        PROTOCOL;
    BodyEncoded "body-encoded" 415 -
        "The body has a Content-Encoding: send it as it is, not compressed."
        PROTOCOL;
    BodyNotJson "body-not-json" 400 invalidSyntax
        "The body is not JSON: it cannot be read at {position}."
        PROTOCOL;
    BodyNotObject "body-not-object" 400 invalidSyntax
        "The body must be a JSON object."
        PROTOCOL;
    BodyTooLarge "body-too-large" 413 -
        "The body is larger than {limit} bytes: send less at a time."
        LARGE;
    BodyTooManyValues "body-too-many-values" 413 -
        "The body has too many values: in memory it would take more than {limit} MiB. Send less at a time."
        PROTOCOL;
    BodyLate "body-late" 408 -
        "The body did not arrive within {limit} seconds."
        RETRY;
    NotSearchRequest "not-search-request" 400 invalidSyntax
        "The body is no search message: it needs schemas with urn:ietf:params:scim:api:messages:2.0:SearchRequest."
        PROTOCOL;
    SearchWrongType "search-wrong-type" 400 invalidSyntax
        "The search message's {subject} has a value of the wrong type: expected {expected}."
        PROTOCOL;
    PreconditionFailed "precondition-failed" 412 -
        "The resource has changed since the version named in If-Match (in a bulk operation: version): read it again and \
         repeat the change."
        PROTOCOL;

    // Load and failures
    TooManyRequests "too-many-requests" 429 -
        "More requests come for this tenant than it may send at a time: repeat the request after the seconds that Retry-After \
         names."
        "Nothing to do: Entra waits and goes on by itself. If it happens in every cycle, ask the vendor to raise the limit.";
    TenantPaused "tenant-paused" 503 -
        "The operator of this service has paused the provisioning of this tenant, and nothing was changed. Nothing need be done: \
         the identity provider waits, and goes on by itself when the pause is over."
        PAUSE;
    Overloaded "overloaded" 503 -
        "The service has as much to do as it can hold: repeat the request."
        RETRY;
    Conflict "conflict" 503 -
        "The resource is being changed by other requests at the same time: repeat the request."
        RETRY;
    SchemasChanging "schemas-changing" 503 -
        "The schemas of this tenant are just being changed, and the request has a part that only one of the two knows: \
         repeat the request in a few seconds."
        RETRY;
    StorageUnavailable "storage-unavailable" 503 -
        "The service's storage does not answer: repeat the request."
        RETRY;
    Starting "starting" 503 -
        "The service is starting: repeat the request in a few seconds."
        RETRY;
    Stopping "stopping" 503 -
        "The service is about to stop: another instance answers."
        RETRY;
    DeadlineExceeded "deadline-exceeded" 503 -
        "The request could not be finished in time: repeat it."
        RETRY;
    Internal "internal" 500 -
        "The service failed. It is not the request's fault."
        REPORT;
}
