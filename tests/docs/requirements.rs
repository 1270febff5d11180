//! What a SCIM service provider must do, and what identity providers do to one: the ids that tests name.

/// One requirement.
pub(crate) struct Requirement {
    pub(crate) id: &'static str,
    /// In one or two sentences, with its source.
    pub(crate) what: &'static str,
    /// Why it is no matter of this service, if it is none.
    pub(crate) not_here: Option<&'static str>,
}

const fn must(id: &'static str, what: &'static str) -> Requirement {
    Requirement {
        id,
        what,
        not_here: None,
    }
}

const fn not_here(id: &'static str, what: &'static str, why: &'static str) -> Requirement {
    Requirement {
        id,
        what,
        not_here: Some(why),
    }
}

/// Requirements by subject; `R-` comes from the RFCs, `E-` from Microsoft Entra's documentation, validators and bug reports.
pub(crate) const SUBJECTS: &[(&str, &[Requirement])] = &[
    ("Protocol", PROTOCOL),
    ("Schemas and resource types", SCHEMAS),
    ("Discovery", DISCOVERY),
    ("Filters", FILTERS),
    ("Sorting, paging, searching, projection, /Me", LISTS),
    ("PUT", PUT),
    ("PATCH", PATCH),
    ("Versions", VERSIONS),
    ("Bulk", BULK),
    ("Entra: connection and credentials", CONNECTION),
    ("Entra: Test Connection and schema discovery", TEST_CONNECTION),
    ("Entra: users", USERS),
    ("Entra: groups", GROUPS),
    ("Entra: cycles and quarantine", CYCLES),
];

const PROTOCOL: &[Requirement] = &[
    must(
        "R-GEN-01",
        "Bodies go out as `application/scim+json`; `application/json` comes in too, with any charset parameter. Another media \
         type is 415 with a SCIM error (RFC 7644 §3.1, §3.8).",
    ),
    must(
        "R-GEN-02",
        "The base URL may carry `/v2` and a slash at its end. An unknown endpoint is 404, a method that an endpoint lacks 405 \
         with `Allow` (RFC 7644 §3.2, §3.13).",
    ),
    must(
        "R-GEN-03",
        "Attributes, URNs, operators and PATCH's own words are read in any case and written in the schema's (RFC 7643 §2.1; \
         RFC 7644 §3.10).",
    ),
    must(
        "R-GEN-04",
        "Null, an empty array and nothing at all mean the same: unassigned. They clear, and are never sent (RFC 7643 §2.5).",
    ),
    must(
        "R-GEN-05",
        "An attribute's characteristics have the defaults of RFC 7643 §2.2.",
    ),
    must(
        "R-GEN-06",
        "Each value has its attribute's type; booleans and numbers that come as strings are stored as what they are (RFC 7643 \
         §2.3; Entra).",
    ),
    must(
        "R-GEN-07",
        "Of several values one is primary at most, and no type and value come twice (RFC 7643 §2.4).",
    ),
    must(
        "R-GEN-08",
        "`schemas` names URNs of the resource's type; Entra's own URNs beside them are dropped (RFC 7643 §3).",
    ),
    must(
        "R-GEN-09",
        "`id` is the service's, opaque, compared with case, never given twice; `externalId` is the client's and need not be \
         unique (RFC 7643 §3.1).",
    ),
    must(
        "R-GEN-10",
        "`meta` is the service's; what a client sends of it is ignored (RFC 7643 §3.1).",
    ),
    must(
        "R-GEN-11",
        "Every failure is a SCIM error: status as a string, `scimType` where RFC 7644 table 9 has one, a detail; 401 names the \
         scheme (RFC 7644 §3.12; RFC 6750 §3).",
    ),
    must(
        "R-GEN-12",
        "Unknown query parameters are ignored, such as Entra's flag (RFC 7644 §3.4.2).",
    ),
    must(
        "R-GEN-13",
        "POST answers 201 with `Location` and the resource, ignores what is read-only, and refuses a taken name with 409 (RFC \
         7644 §3.3).",
    ),
    must(
        "R-GEN-14",
        "`attributes` and `excludedAttributes` work on every answer with a resource, and exclude each other (RFC 7644 §3.9).",
    ),
    must(
        "R-GEN-15",
        "DELETE answers 204; afterwards the resource is 404, in no list, and in nobody's way (RFC 7644 §3.6).",
    ),
    must(
        "R-GEN-16",
        "A password is never returned, searched or logged (RFC 7643 §4.1.1; RFC 7644 §7.5). Here none is taken: it is dropped \
         and named, and `/Schemas` has none.",
    ),
    must(
        "R-GEN-17",
        "What stands in a URL's query is personal data: it is in no log (RFC 7644 §7.5.2).",
    ),
    must(
        "R-GEN-18",
        "Tokens cannot be guessed and do not live for ever (RFC 7644 §7.4). TLS ends in the front end.",
    ),
    must(
        "R-GEN-19",
        "Tenants are told apart by the URL, and nothing of one is reachable from another (RFC 7644 §6).",
    ),
];

const SCHEMAS: &[Requirement] = &[
    must(
        "R-SCHEMA-01",
        "Users have all attributes of RFC 7643 §4.1 and §8.7.1 but the password.",
    ),
    must(
        "R-SCHEMA-02",
        "Groups have a required `displayName`, and members with value, `$ref`, type and display (RFC 7643 §4.2).",
    ),
    must(
        "R-SCHEMA-03",
        "Users have the enterprise extension with its manager (RFC 7643 §4.3).",
    ),
    must(
        "R-SCHEMA-04",
        "Extension schemas of a tenant's own are honoured everywhere; an extension's URN comes and goes with its attributes \
         (RFC 7643 §3.3; RFC 7644 §3.5.2).",
    ),
    not_here(
        "R-SCHEMA-05",
        "Resource types beside users and groups (RFC 7643 §6).",
        "identity providers provision users and groups; extension schemas are what they need beside them.",
    ),
    must(
        "R-SCHEMA-06",
        "Who is deleted is a member of no group any more, and in no `groups` (RFC 7643 §4.1.2).",
    ),
];

const DISCOVERY: &[Requirement] = &[
    must(
        "R-DISC-01",
        "`/ServiceProviderConfig` has what RFC 7643 §5 requires, and is true.",
    ),
    must(
        "R-DISC-02",
        "`/ResourceTypes` lists the types, each found under its name (RFC 7643 §6).",
    ),
    must(
        "R-DISC-03",
        "`/Schemas` lists the resources' schemas, no messages', each found under its URN in any case, without nulls (RFC 7644 \
         §4; Entra reads it).",
    ),
    must(
        "R-DISC-04",
        "Discovery ignores paging and sorting, and refuses a filter with 403 (RFC 7644 §4).",
    ),
    must(
        "R-DISC-05",
        "Discovery takes no writes. It might be open to everybody (RFC 7643 §5); here it needs the credential, or it would tell \
         which tenants there are.",
    ),
];

const FILTERS: &[Requirement] = &[
    must("R-FILTER-01", "All operators and their precedence (RFC 7644 §3.4.2.2)."),
    must(
        "R-FILTER-02",
        "Values are compared as their type and `caseExact` say, times as instants; an order among booleans or binaries is \
         refused (RFC 7644 §3.4.2.2).",
    ),
    must(
        "R-FILTER-03",
        "A value is a JSON literal and may hold anything; `eq null` means not present (RFC 7644 §3.4.2.2).",
    ),
    must(
        "R-FILTER-04",
        "An attribute may be qualified by its schema's URN, which has dots and colons itself (RFC 7644 §3.10).",
    ),
    must(
        "R-FILTER-05",
        "Brackets mean one and the same value, no brackets any; a sub-attribute may follow the brackets (RFC 7644 §3.4.2.2; \
         Entra).",
    ),
    must(
        "R-FILTER-06",
        "A complex attribute without a sub-attribute is compared by its `value` (Entra: `manager eq`, `members eq`).",
    ),
    must(
        "R-FILTER-07",
        "What cannot be read is 400 `invalidFilter`, and so is an attribute that nobody has (RFC 7644 §3.4.2.2).",
    ),
    must(
        "R-FILTER-08",
        "`id`, `externalId`, `schemas` and `meta` can be searched too (RFC 7643 §3.1).",
    ),
    must(
        "R-FILTER-09",
        "A filter with unbounded work is 400 `tooMany`; what is never returned cannot be searched (RFC 7644 §3.12, §7.5.2).",
    ),
    must(
        "R-FILTER-10",
        "Text without quotation marks, quoted booleans and `+` for a space are understood (Entra, authentik).",
    ),
    must(
        "R-FILTER-11",
        "Nothing found is an empty list, not 404 (RFC 7644 §3.4.2).",
    ),
];

const LISTS: &[Requirement] = &[
    must(
        "R-SORT-01",
        "`sortBy` any attribute, by its case rule, what has no value last (RFC 7644 §3.4.2.3).",
    ),
    must(
        "R-PAGE-01",
        "`startIndex` and `count` with their edge values; order and totals hold over all pages (RFC 7644 §3.4.2.4).",
    ),
    must(
        "R-PAGE-02",
        "Cursors: opaque, bound to tenant and query, refused when forged or old (RFC 9865).",
    ),
    must(
        "R-SEARCH-01",
        "POST `/.search` at the root and of each type (RFC 7644 §3.4.3).",
    ),
    must(
        "R-PROJ-01",
        "What is returned follows `returned` and the two parameters, down to sub-attributes (RFC 7643 §7; RFC 7644 §3.9).",
    ),
    must(
        "R-PROJ-02",
        "`excludedAttributes=members` reads no members, however many there are (Entra asks so each time).",
    ),
    must("R-ME-01", "`/Me` is 501 for clients that are no user (RFC 7644 §3.11)."),
];

const PUT: &[Requirement] = &[
    must(
        "R-PUT-01",
        "PUT replaces: what is left out is cleared, what is read-only ignored, what is required demanded; an unknown id is 404 \
         (RFC 7644 §3.5.1).",
    ),
    must("R-PUT-02", "A PUT without `active` leaves it as it is (Okta)."),
];

const PATCH: &[Requirement] = &[
    must(
        "R-PATCH-01",
        "Operations take effect one after another, all or none; `op` in any case (RFC 7644 §3.5.2).",
    ),
    must(
        "R-PATCH-02",
        "A path is an attribute, a filtered value or a part of either, with or without URN; a malformed one is `invalidPath` \
         (RFC 7644 §3.5.2).",
    ),
    must(
        "R-PATCH-03",
        "`add` makes, replaces, merges or appends by the kind of attribute; what is there already changes nothing (RFC 7644 \
         §3.5.2.1).",
    ),
    must(
        "R-PATCH-04",
        "An operation without path merges its value attribute by attribute, extensions included (RFC 7644 §3.5.2.1).",
    ),
    must(
        "R-PATCH-05",
        "`remove` takes all, the chosen, or a part; no path is `noTarget`, what is required stays, what is absent is no failure \
         (RFC 7644 §3.5.2.2).",
    ),
    must(
        "R-PATCH-06",
        "`replace` makes, merges or replaces by the kind of attribute (RFC 7644 §3.5.2.3); for a filter that finds nothing see \
         E-USER-10.",
    ),
    must(
        "R-PATCH-07",
        "A new primary value takes it from the earlier one (RFC 7644 §3.5.2).",
    ),
    must("R-PATCH-08", "Each refusal has the `scimType` of RFC 7644 §3.5.2."),
    must(
        "R-PATCH-09",
        "The answer is 200 with the resource, projected as asked (RFC 7644 §3.5.2; Entra takes it for users and groups).",
    ),
    must(
        "R-PATCH-10",
        "What is immutable is set once and not changed in place, such as a member's `value` (RFC 7643 §7).",
    ),
];

const VERSIONS: &[Requirement] = &[must(
    "R-ETAG-01",
    "`ETag` and `meta.version` on every answer; `If-Match` is 412 when it fails, `If-None-Match` 304 when it matches; `*`, \
     lists, weak comparison; what changes nothing is no new version (RFC 7644 §3.14).",
)];

const BULK: &[Requirement] = &[
    must(
        "R-BULK-01",
        "POST `/Bulk` with every writing method, each operation answered for itself (RFC 7644 §3.7).",
    ),
    must(
        "R-BULK-02",
        "A `bulkId` may be referred to anywhere, before it is made, and in circles (RFC 7644 §3.7.1, §3.7.2).",
    ),
    must(
        "R-BULK-03",
        "`failOnErrors` ends the work after so many failures (RFC 7644 §3.7.3).",
    ),
    must(
        "R-BULK-04",
        "Too many operations or bytes are 413 naming the limit (RFC 7644 §3.7.4).",
    ),
];

const CONNECTION: &[Requirement] = &[
    must(
        "E-AUTH-01",
        "An app outside Entra's gallery goes on with a long-lived bearer token. (The gallery now wants OAuth: E-AUTH-03, \
         E-AUTH-04.)",
    ),
    must(
        "E-AUTH-02",
        "The token is short and opaque, pasted without `Bearer`; several are valid at once, so that it can be changed without a \
         gap.",
    ),
    not_here(
        "E-AUTH-03",
        "OAuth 2 client credentials.",
        "not built yet; a long-lived token does it outside the gallery.",
    ),
    not_here("E-AUTH-04", "Workload identity federation.", "as E-AUTH-03."),
    not_here(
        "E-AUTH-05",
        "Entra's own token when the secret is left blank.",
        "documented by Microsoft for testing only.",
    ),
    must(
        "E-AUTH-06",
        "Entra can be given no headers: the URL names the tenant. A caller's trace is gone on with, and every refusal names the \
         request.",
    ),
    not_here(
        "E-NET-01",
        "TLS 1.2 with a public certificate.",
        "TLS ends in the front end (Azure Functions, a gateway).",
    ),
    must("E-NET-02", "A tenant's 25 requests a second are never throttled."),
    must(
        "E-NET-03",
        "A create that is sent twice is one user: the second is 409, and a search finds the first at once.",
    ),
];

const TEST_CONNECTION: &[Requirement] = &[
    must(
        "E-TEST-01",
        "Test Connection searches for somebody who does not exist, by whatever attribute is configured: 200 with an empty list.",
    ),
    must(
        "E-TEST-02",
        "Entra reads the schemas and finds the attributes that it maps, without nulls and in their case.",
    ),
];

const USERS: &[Requirement] = &[
    must(
        "E-USER-01",
        "Create, with `meta`, empty arrays, nulls, strings for booleans and misspelt URNs.",
    ),
    must("E-USER-02", "Read by a cached id; gone is 404."),
    must(
        "E-USER-03",
        "Search by `userName`, `externalId`, `displayName`, a work address, and by two of them; `+` and percent-encoding.",
    ),
    must(
        "E-USER-04",
        "PATCH without the flag: one operation an attribute, capitalised.",
    ),
    must(
        "E-USER-05",
        "Disable in every form, visible afterwards; never a success that did nothing.",
    ),
    must("E-USER-06", "Hard delete: 204, then 404."),
    must(
        "E-USER-07",
        "The flag `aadOptscim062020` in the URL: lower-case operations, real booleans, operations without path.",
    ),
    must("E-USER-08", "Filtered paths as keys of an operation without path."),
    must("E-USER-09", "The validators' large PATCH with made-up values."),
    must(
        "E-USER-10",
        "A `replace` whose filter finds nothing makes the value that the filter describes, where it describes one.",
    ),
    must(
        "E-USER-11",
        "Manager as text, object, array, without value, and cleared in five ways.",
    ),
    must(
        "E-USER-12",
        "A reference is checked by a filter on `id` and `manager` or `members`, in either order.",
    ),
    must(
        "E-USER-13",
        "Roles as text, object, JSON inside text, and by a quoted `primary`.",
    ),
    must(
        "E-USER-14",
        "Custom attributes qualified by the core schema's URN; unknown ones are dropped and named.",
    ),
    must("E-USER-15", "Empty text and null clear, in both verbosities."),
    must("E-USER-16", "One value of a type; values are kept as they were sent."),
    must("E-USER-17", "Who is inactive is still found and shown."),
    must("E-USER-18", "The parts of one value in separate operations."),
];

const GROUPS: &[Requirement] = &[
    must(
        "E-GROUP-01",
        "Create with Entra's own URN, `meta`, and no members or some.",
    ),
    must(
        "E-GROUP-02",
        "Read and search without members, by `displayName` and `externalId`.",
    ),
    must(
        "E-GROUP-03",
        "Add members: with `$ref: null`, as objects or plain ids, many at once.",
    ),
    must(
        "E-GROUP-04",
        "Remove members by a list or by a filter: those and no others; without either, all.",
    ),
    must("E-GROUP-05", "Rename; the answer has no members unless they are few."),
    must(
        "E-GROUP-06",
        "Delete; parallel PATCHes of one group lose nothing; add and remove in one PATCH.",
    ),
    must(
        "E-GROUP-07",
        "Nested groups are members; who is disabled stays a member; two groups may have one name.",
    ),
];

const CYCLES: &[Requirement] = &[
    must(
        "E-LIFE-01",
        "A restarted cycle sends everything again: what is as it was changes nothing.",
    ),
    must(
        "E-LIFE-02",
        "Out of scope is disabled, deleted is deleted, assigned again is enabled under the cached id.",
    ),
    must(
        "E-LIFE-03",
        "Who is disabled stays readable; who is deleted is 404, and the name is free.",
    ),
    must("E-LIFE-04", "A 409 has a holder that a search finds, and names it."),
    must(
        "E-LIFE-05",
        "Many failures put a job in quarantine: outages are 503, and failures are counted by tenant.",
    ),
    must(
        "E-LIFE-06",
        "Account discovery reads every user page by page, at a cost that does not grow with the page's number.",
    ),
    must(
        "E-LIFE-07",
        "Administrators see the detail of a refusal and nothing else: it says what to do.",
    ),
    must(
        "E-LIFE-08",
        "Matching values with special characters, which Entra puts into filters as they are.",
    ),
];
