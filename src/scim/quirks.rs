//! The table of everything that is tolerated. `docs/dialects.md` is generated from it.

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The quirk.
    pub quirk: Quirk,
    /// Its stable kebab-case name, for headers, telemetry and documentation.
    pub name: &'static str,
    /// What came and what was made of it.
    pub meaning: &'static str,
    /// Who is known to send it; nobody in particular when empty.
    pub clients: &'static [Client],
    /// A request that is noted.
    pub example: Example,
}

/// A request with one quirk in it.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    /// What kind of request it is.
    pub request: Request,
    /// The part that matters, as JSON, or a filter as it is before percent-encoding. `{id}` is the id of the resource,
    /// `{user}` that of some user.
    pub sent: &'static str,
    /// The path that the note names.
    pub noted: &'static str,
}

/// What an [`Example`] is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Attributes of a user that is created.
    CreateUser,
    /// Attributes of a group that is created.
    CreateGroup,
    /// One operation on a user that has a name, and a primary work e-mail address.
    PatchUser,
    /// One operation on a group that has a member.
    PatchGroup,
    /// The filter of a query for users.
    FindUsers,
    /// Members of a bulk request that has an operation.
    Bulk,
}

/// Who sends requests, as far as it matters for what they look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Microsoft Entra ID as it is configured at first.
    EntraFlagOff,
    /// Microsoft Entra ID with the flag that makes its PATCH follow the RFC more closely.
    EntraFlagOn,
    /// Microsoft's validators.
    Validators,
    /// Okta.
    Okta,
    /// authentik.
    Authentik,
    /// Keycloak, with one of its SCIM extensions.
    Keycloak,
    /// `PingFederate` and `PingOne`.
    Ping,
    /// Google Workspace.
    GoogleWorkspace,
    /// `JumpCloud`.
    JumpCloud,
    /// `OneLogin`.
    OneLogin,
}

impl Client {
    /// Every client.
    pub const ALL: &[Client] = &[
        Client::EntraFlagOff,
        Client::EntraFlagOn,
        Client::Validators,
        Client::Okta,
        Client::Authentik,
        Client::Keycloak,
        Client::Ping,
        Client::GoogleWorkspace,
        Client::JumpCloud,
        Client::OneLogin,
    ];

    /// Its name, for documentation.
    pub fn name(self) -> &'static str {
        match self {
            Client::EntraFlagOff => "Microsoft Entra ID",
            Client::EntraFlagOn => "Microsoft Entra ID with `aadOptscim062020` in the Tenant URL",
            Client::Validators => "Microsoft's validators (Logic App template, scimvalidator)",
            Client::Okta => "Okta",
            Client::Authentik => "authentik",
            Client::Keycloak => "Keycloak",
            Client::Ping => "Ping",
            Client::GoogleWorkspace => "Google Workspace, as others report",
            Client::JumpCloud => "JumpCloud, as others report",
            Client::OneLogin => "OneLogin, as others report",
        }
    }
}

macro_rules! quirks {
    ($($(#[doc = $doc:literal])+ $quirk:ident $name:literal [$($client:ident),*]
        $request:ident $sent:literal $noted:expr;)+) => {
        /// A tolerance that was applied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Quirk { $($(#[doc = $doc])+ $quirk,)+ }

        /// The table, in the order of [`Quirk`].
        pub const QUIRKS: &[Entry] = &[$(Entry {
            quirk: Quirk::$quirk,
            name: $name,
            meaning: concat!($($doc),+).trim_ascii(),
            clients: &[$(Client::$client),*],
            example: Example { request: Request::$request, sent: $sent, noted: $noted },
        },)+];
    };
}

const ENTERPRISE_USER: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

quirks! {
    /// An attribute the schema does not have was left out.
    UnknownAttribute "unknown-attribute" [EntraFlagOff, EntraFlagOn, Validators, Okta]
        CreateUser r#"{"badgeColour": "red"}"# "badgeColour";
    /// A member that messages of its kind do not have was left out.
    UnknownMember "unknown-member" []
        PatchUser r#"{"op": "replace", "path": "title", "value": "Tour Guide", "note": "new"}"# "Operations.note";
    /// A boolean came as `"True"` or `"false"`.
    BooleanString "boolean-string" [EntraFlagOff, Validators]
        PatchUser r#"{"op": "Replace", "path": "active", "value": "False"}"# "active";
    /// A number came as a string: Entra's mappings have no numbers.
    NumberString "number-string" [EntraFlagOff, EntraFlagOn]
        Bulk r#"{"failOnErrors": "1"}"# "failOnErrors";
    /// A member's `type` was not what the member is, and was put right; its id decides.
    MemberType "member-type" []
        CreateGroup r#"{"members": [{"value": "{user}", "type": "Group"}]}"# "members.type";
    /// A number or a boolean came where the schema has a string; its text was kept.
    TextFromLiteral "text-from-literal" []
        CreateUser r#"{"externalId": 701984}"# "externalId";
    /// An empty string cleared the attribute.
    EmptyStringCleared "empty-string-cleared" [EntraFlagOff, EntraFlagOn, Validators, OneLogin]
        PatchUser r#"{"op": "replace", "path": "title", "value": ""}"# "title";
    /// `active` was cleared or removed and keeps its value, as it has no third state.
    ActiveKept "active-kept" [Validators]
        PatchUser r#"{"op": "replace", "path": "active", "value": null}"# "active";
    /// A value with nothing but a `type` or `primary` was left out: what remains when `emails[…].value` is cleared.
    EmptyValueDropped "empty-value-dropped" [EntraFlagOff, EntraFlagOn, Validators]
        CreateUser r#"{"phoneNumbers": [{"type": "work", "primary": true}]}"# "phoneNumbers";
    /// A `replace` whose filter matched nothing made the value it describes; RFC 7644 §3.5.2.3 has `noTarget`.
    CreatedOnMiss "created-on-miss" [EntraFlagOff, EntraFlagOn, Validators]
        PatchUser r#"{"op": "Replace", "path": "phoneNumbers[type eq \"work\"].value", "value": "555-0100"}"#
        "phoneNumbers.value";
    /// A path such as `name.givenName` stood as a key in an operation without path.
    DottedKey "dotted-key" [EntraFlagOn, Validators]
        PatchUser r#"{"op": "replace", "value": {"name.givenName": "Barbara"}}"# "name.givenName";
    /// A path with a filter stood as a key in an operation without path.
    FilteredKey "filtered-key" [EntraFlagOn]
        PatchUser r#"{"op": "replace", "value": {"emails[type eq \"work\"].value": "babs@example.com"}}"# "emails.value";
    /// A key was qualified by its schema's URN, which RFC 7644 §3.10 has in paths and parameters only.
    QualifiedKey "qualified-key" [EntraFlagOn, Validators]
        PatchUser
        r#"{"op": "replace", "value": {"urn:ietf:params:scim:schemas:core:2.0:User:nickName": "Babs"}}"# "nickName";
    /// An extension's attribute was named without its URN.
    UnqualifiedKey "unqualified-key" [EntraFlagOff, Validators]
        PatchUser r#"{"op": "Add", "path": "manager", "value": {"value": "26118915"}}"#
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    /// `manager` came as the plain id.
    ManagerString "manager-string" [EntraFlagOff, EntraFlagOn, Validators]
        CreateUser r#"{"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User": {"manager": "26118915"}}"#
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager";
    /// A plain string came in place of an object and became its `value`.
    PlainValue "plain-value" [EntraFlagOff]
        PatchUser r#"{"op": "Add", "path": "roles", "value": ["guide"]}"# "roles";
    /// One value came without its array.
    SingleForArray "single-for-array" [EntraFlagOff]
        CreateUser r#"{"emails": {"value": "babs@example.com"}}"# "emails";
    /// An array of one came for an attribute with one value, such as `manager`.
    ArrayForSingle "array-for-single" [EntraFlagOff]
        CreateUser r#"{"name": [{"givenName": "Barbara"}]}"# "name";
    /// A `remove` listed the values to remove in `value` instead of in the path's filter. Only those were removed.
    RemoveWithValue "remove-with-value" [EntraFlagOff, Authentik, JumpCloud]
        PatchGroup r#"{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": "{user}"}]}"# "members";
    /// The enterprise extension's URN came without its last colon, as earlier versions of Entra spelled it.
    TypoUrn "typo-urn" [EntraFlagOff]
        PatchUser
        r#"{"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0User:division", "value": "Parks"}"#
        ENTERPRISE_USER;
    /// A schema URN of Entra's own in `schemas` was left out.
    ForeignSchema "foreign-schema" [EntraFlagOff, EntraFlagOn]
        CreateGroup
        r#"{"schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"]}"#
        "schemas";
    /// `schemas` did not name the core schema.
    CoreSchemaMissing "core-schema-missing" []
        CreateUser r#"{"schemas": ["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"]}"# "schemas";
    /// The same type and value came twice and became one (RFC 7643 §2.4).
    DuplicateValue "duplicate-value" [EntraFlagOff]
        CreateUser r#"{"roles": [{"value": "guide"}, {"value": "guide"}]}"# "roles";
    /// `primary` was taken from the earlier value because a later one got it (RFC 7644 §3.5.2).
    PrimaryMoved "primary-moved" [EntraFlagOff]
        PatchUser
        r#"{"op": "add", "path": "emails", "value": [{"type": "home", "value": "babs@example.com", "primary": true}]}"#
        "emails";
    /// A value that is no base64 was kept as it came.
    NotBase64 "not-base64" [Validators]
        CreateUser r#"{"x509Certificates": [{"value": "UYISMEDOXUZY?"}]}"# "x509Certificates.value";
    /// A value that is no absolute URI was kept as it came.
    NotUri "not-uri" [Validators]
        CreateUser r#"{"profileUrl": "bjensen"}"# "profileUrl";
    /// A `$ref` came without `value`; its last segment was taken for it.
    ValueFromReference "value-from-reference" []
        CreateGroup r#"{"members": [{"$ref": "https://scim.example.com/scim/acme/Users/{user}"}]}"# "members";
    /// A filter compared a boolean or a number with a quoted value.
    QuotedLiteral "quoted-literal" [EntraFlagOff, Validators]
        FindUsers r#"roles[primary eq "True"]"# "primary";
    /// A filter's text value came without quotation marks.
    UnquotedString "unquoted-string" [Authentik, EntraFlagOff]
        FindUsers "externalId eq 701984" "externalId";
    /// The service's own attribute in an operation was left out.
    ReadOnlyIgnored "read-only-ignored" [Okta, Authentik]
        PatchUser r#"{"op": "replace", "value": {"id": "{id}", "displayName": "Babs"}}"# "id";
}
