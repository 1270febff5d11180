//! Schemas and resource types (RFC 7643 §6 and §7): the data that everything else in this room is driven by.

pub mod check;
mod json;

use std::sync::{Arc, LazyLock};

pub use self::json::SchemaError;

/// URN of the enterprise extension as older Entra versions write it, without the last colon.
const TYPO_ENTERPRISE_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User";
/// URN of the enterprise extension (RFC 7643 §4.3).
pub const ENTERPRISE_USER_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// URN of the core Group schema (RFC 7643 §4.2).
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
/// URN of the core User schema (RFC 7643 §4.1).
pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

macro_rules! keywords {
    ($(#[doc = $doc:literal])+ $name:ident {
        $($(#[doc = $variant_doc:literal])+ $variant:ident $keyword:literal,)+
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $variant_doc])+ $variant,)+ }

        impl $name {
            /// All of the RFC's keywords.
            const KEYWORDS: &[&str] = &[$($keyword,)+];

            /// The RFC's keyword.
            pub fn keyword(self) -> &'static str {
                match self { $($name::$variant => $keyword,)+ }
            }

            fn from_keyword(keyword: &str) -> Option<Self> {
                match keyword { $($keyword => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

keywords! {
    /// Data type of an attribute (RFC 7643 §2.3).
    Type {
        /// Text.
        String "string",
        /// `true` or `false`.
        Boolean "boolean",
        /// A real number.
        Decimal "decimal",
        /// A whole number.
        Integer "integer",
        /// An `xsd:dateTime`.
        DateTime "dateTime",
        /// base64; always case-exact.
        Binary "binary",
        /// A URI; always case-exact.
        Reference "reference",
        /// An object with sub-attributes.
        Complex "complex",
    }
}

keywords! {
    /// Who may change an attribute (RFC 7643 §7).
    Mutability {
        /// The service only.
        ReadOnly "readOnly",
        /// Anyone.
        ReadWrite "readWrite",
        /// Anyone, once.
        Immutable "immutable",
        /// Anyone, and no one sees it.
        WriteOnly "writeOnly",
    }
}

keywords! {
    /// When an attribute is in an answer (RFC 7643 §7).
    Returned {
        /// Whatever the client asked for.
        Always "always",
        /// Never.
        Never "never",
        /// Unless the client's selection leaves it out.
        Default "default",
        /// Only if the client names it.
        Request "request",
    }
}

keywords! {
    /// Where a value may appear once only (RFC 7643 §7).
    Uniqueness {
        /// Nowhere.
        None "none",
        /// In the tenant.
        Server "server",
        /// Everywhere.
        Global "global",
    }
}

/// An attribute or sub-attribute, and its characteristics (RFC 7643 §7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// Its name in canonical spelling.
    pub name: String,
    /// Its data type.
    pub kind: Type,
    /// Whether it holds an array.
    pub multi_valued: bool,
    /// For people.
    pub description: String,
    /// Whether a resource must have it.
    pub required: bool,
    /// Suggested values; others are fine.
    pub canonical_values: Vec<String>,
    /// Whether strings differ that differ in case only.
    pub case_exact: bool,
    /// Who may change it.
    pub mutability: Mutability,
    /// When it is in an answer.
    pub returned: Returned,
    /// Where a value may appear once only.
    pub uniqueness: Uniqueness,
    /// What a reference may point to: names of resource types, `external` or `uri`.
    pub reference_types: Vec<String>,
    /// Parts of a complex attribute.
    pub sub_attributes: Vec<Attribute>,
}

/// A schema: the core one of a resource type, or an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// Its URN.
    pub id: String,
    /// Its name, such as `User`.
    pub name: String,
    /// For people.
    pub description: String,
    /// Its attributes, in the order in which answers have them.
    pub attributes: Vec<Attribute>,
}

/// An extension of a resource type.
#[derive(Clone, Debug)]
pub struct Extension {
    /// Its schema.
    pub schema: Arc<Schema>,
    /// Whether a resource must have it.
    pub required: bool,
}

/// A resource type (RFC 7643 §6).
#[derive(Clone, Debug)]
pub struct ResourceType {
    /// Its name and id, such as `User`.
    pub name: String,
    /// Its endpoint behind the base URL, such as `/Users`.
    pub endpoint: String,
    /// For people.
    pub description: String,
    /// The core schema.
    pub schema: Arc<Schema>,
    /// The extensions.
    pub extensions: Vec<Extension>,
}

/// The resource types of a tenant, with its extensions.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// In the order in which discovery lists them.
    pub resource_types: Vec<Arc<ResourceType>>,
}

impl Catalog {
    /// The resource types every tenant has.
    pub fn standard() -> Catalog {
        static STANDARD: LazyLock<[Arc<ResourceType>; 2]> = LazyLock::new(|| {
            let user = ResourceType {
                name: "User".into(),
                endpoint: "/Users".into(),
                description: "User accounts".into(),
                schema: bundled(include_str!("../schemas/user.json")),
                extensions: vec![Extension {
                    schema: bundled(include_str!("../schemas/enterprise_user.json")),
                    required: false,
                }],
            };
            let group = ResourceType {
                name: "Group".into(),
                endpoint: "/Groups".into(),
                description: "Groups of users and groups".into(),
                schema: bundled(include_str!("../schemas/group.json")),
                extensions: Vec::new(),
            };
            [user.into(), group.into()]
        });
        Catalog {
            resource_types: STANDARD.to_vec(),
        }
    }

    /// These resource types with more extensions, each behind the name of its resource type. One of a type that is not
    /// here extends nothing.
    #[must_use]
    pub fn extended(mut self, extensions: impl IntoIterator<Item = (String, Extension)>) -> Catalog {
        for (name, extension) in extensions {
            if let Some(rt) = self.resource_types.iter_mut().find(|rt| rt.name == name) {
                Arc::make_mut(rt).extensions.push(extension);
            }
        }
        self
    }

    /// The resource type of that name, whatever the case.
    pub fn resource_type(&self, name: &str) -> Option<&Arc<ResourceType>> {
        self.resource_types.iter().find(|rt| rt.name.eq_ignore_ascii_case(name))
    }

    /// The resource type at that endpoint (`/Users`), whatever the case.
    pub fn by_endpoint(&self, endpoint: &str) -> Option<&Arc<ResourceType>> {
        self.resource_types
            .iter()
            .find(|rt| rt.endpoint.eq_ignore_ascii_case(endpoint))
    }

    /// Every schema once: each type's core schema and its extensions.
    pub fn schemas(&self) -> Vec<&Arc<Schema>> {
        let mut schemas: Vec<&Arc<Schema>> = Vec::new();
        for rt in &self.resource_types {
            for schema in std::iter::once(&rt.schema).chain(rt.extensions.iter().map(|extension| &extension.schema)) {
                if !schemas.iter().any(|known| known.id == schema.id) {
                    schemas.push(schema);
                }
            }
        }
        schemas
    }
}

impl ResourceType {
    /// The attribute of that name, whatever the case: the core schema's, and the common ones `schemas`, `id`,
    /// `externalId` and `meta` (RFC 7643 §3.1).
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(common(), name).or_else(|| self.schema.attribute(name))
    }

    /// The attribute whose values are other resources of this service and the client's to set: `members` of a group. It
    /// is never one of a resource's stored attributes; see [`members`](super::members).
    pub fn members(&self) -> Option<&Attribute> {
        self.schema.attributes.iter().find(|attribute| {
            let reference = attribute.sub_attribute("$ref");
            attribute.multi_valued
                && attribute.mutability != Mutability::ReadOnly
                && reference.is_some_and(Attribute::refers_to_resources)
        })
    }

    /// The extension with that URN, whatever the case; also by the URN older Entra versions write for the enterprise
    /// one.
    pub fn extension(&self, urn: &str) -> Option<&Extension> {
        let urn = if urn.eq_ignore_ascii_case(TYPO_ENTERPRISE_URN) {
            ENTERPRISE_USER_URN
        } else {
            urn
        };
        self.extensions
            .iter()
            .find(|extension| extension.schema.id.eq_ignore_ascii_case(urn))
    }

    /// The extension's attribute that is meant by a name without URN (Entra: `manager`), if the core has none of that
    /// name, and exactly one extension has, or the enterprise one: what it means must not change with a tenant's schemas.
    pub fn extension_of(&self, name: &str) -> Option<(&Extension, &Attribute)> {
        if self.attribute(name).is_some() {
            return None;
        }
        if let Some(enterprise) = self.extension(ENTERPRISE_USER_URN)
            && let Some(attribute) = enterprise.schema.attribute(name)
        {
            return Some((enterprise, attribute));
        }
        let mut found = self
            .extensions
            .iter()
            .filter_map(|e| Some((e, e.schema.attribute(name)?)));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Takes the URN of one of this type's schemas off a qualified name, `urn:…:User:name.givenName`: the extension
    /// (none for the core schema) and what stands behind the colon.
    pub fn split_urn<'n>(&self, name: &'n str) -> Option<(Option<&Extension>, &'n str)> {
        let behind = |urn: &str| -> Option<&'n str> {
            let (head, tail) = name.split_at_checked(urn.len())?;
            if head.eq_ignore_ascii_case(urn) {
                tail.strip_prefix(':')
            } else {
                None
            }
        };
        if let Some(rest) = behind(&self.schema.id) {
            return Some((None, rest));
        }
        for extension in &self.extensions {
            if let Some(rest) = behind(&extension.schema.id) {
                return Some((Some(extension), rest));
            }
        }
        Some((Some(self.extension(TYPO_ENTERPRISE_URN)?), behind(TYPO_ENTERPRISE_URN)?))
    }
}

impl Schema {
    /// The attribute of that name, whatever the case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.attributes, name)
    }
}

impl Attribute {
    /// The sub-attribute of that name, whatever the case.
    pub fn sub_attribute(&self, name: &str) -> Option<&Attribute> {
        find(&self.sub_attributes, name)
    }

    /// The part that shows the name of the resource of this service that a value refers to: `display`, or `displayName` of a
    /// manager (RFC 7643 §4.3). It is never stored but looked up when the value is shown, so nothing can be found by it.
    pub fn name_of_other(&self) -> Option<&Attribute> {
        let refers = self.sub_attribute("$ref").is_some_and(Attribute::refers_to_resources);
        let is_name = |part: &&Attribute| {
            part.mutability == Mutability::ReadOnly && ["display", "displayName"].contains(&part.name.as_str())
        };
        self.sub_attributes.iter().filter(|_| refers).find(is_name)
    }

    /// Whether it is the `$ref` to the resource of this service that `value` names (RFC 7643 §2.4), which follows from it,
    /// and not an address that a client gives (§7, `referenceTypes`).
    pub fn refers_to_resources(&self) -> bool {
        let elsewhere = |reference_type: &String| reference_type == "external" || reference_type == "uri";
        self.kind == Type::Reference
            && self.name == "$ref"
            && !self.reference_types.is_empty()
            && !self.reference_types.iter().any(elsewhere)
    }
}

/// The attributes every resource has (RFC 7643 §3.1).
pub fn common() -> &'static [Attribute] {
    static COMMON: LazyLock<Arc<Schema>> = LazyLock::new(|| bundled(include_str!("../schemas/common.json")));
    &COMMON.attributes
}

fn find<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    attributes
        .iter()
        .find(|attribute| attribute.name.eq_ignore_ascii_case(name))
}

fn bundled(text: &str) -> Arc<Schema> {
    let document = serde_json::from_str(text).expect("the bundled schemas are JSON");
    Arc::new(Schema::from_json(&document).expect("the bundled schemas are schemas"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        Attribute, Catalog, ENTERPRISE_USER_URN, Mutability, Returned, Schema, Type, USER_URN, Uniqueness, common,
    };

    fn every(attributes: &[Attribute]) -> Vec<&Attribute> {
        attributes
            .iter()
            .flat_map(|a| std::iter::once(a).chain(every(&a.sub_attributes)))
            .collect()
    }

    /// What discovery tells is what requests are checked against.
    #[test]
    fn a_schema_survives_json() {
        for (text, schema) in [
            include_str!("../schemas/user.json"),
            include_str!("../schemas/enterprise_user.json"),
            include_str!("../schemas/group.json"),
        ]
        .iter()
        .zip(Catalog::standard().schemas())
        {
            let bundled: Value = serde_json::from_str(text).unwrap();
            assert_eq!(Value::Object(schema.document()), bundled);
        }
    }

    /// R-GEN-05.
    #[test]
    fn characteristics_have_the_rfcs_defaults() {
        let schema = Schema::from_json(&json!({ "id": "urn:example:a", "attributes": [{ "name": "badge" }] })).unwrap();
        let badge = schema.attribute("BADGE").unwrap();
        assert_eq!(
            (badge.kind, badge.mutability, badge.returned, badge.uniqueness),
            (Type::String, Mutability::ReadWrite, Returned::Default, Uniqueness::None)
        );
        assert!(!badge.required && !badge.case_exact && !badge.multi_valued);
    }

    #[test]
    fn a_schema_with_an_unknown_keyword_is_refused() {
        for attribute in [
            json!({ "name": "a", "type": "text" }),
            json!({ "name": "a", "mutability": "readwrite" }),
            json!({ "name": "a", "returned": "sometimes" }),
            json!({ "name": "a", "uniqueness": "tenant" }),
            json!({ "type": "string" }),
        ] {
            assert!(
                Schema::from_json(&json!({ "id": "urn:example:a", "attributes": [attribute] })).is_err(),
                "{attribute}"
            );
        }
        assert!(Schema::from_json(&json!({ "attributes": [] })).is_err());
    }

    /// R-SCHEMA-01; RFC 7643 §8.7.1, in the characteristics that decide something.
    #[test]
    fn the_user_schema_is_the_rfcs() {
        let catalog = Catalog::standard();
        let user = catalog.resource_type("user").unwrap();
        let names: Vec<&str> = user.schema.attributes.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "userName",
                "name",
                "displayName",
                "nickName",
                "profileUrl",
                "title",
                "userType",
                "preferredLanguage",
                "locale",
                "timezone",
                "active",
                "emails",
                "phoneNumbers",
                "ims",
                "photos",
                "addresses",
                "groups",
                "entitlements",
                "roles",
                "x509Certificates",
            ]
        );
        let user_name = user.attribute("USERNAME").unwrap();
        assert!(user_name.required && !user_name.case_exact && user_name.uniqueness == Uniqueness::Server);
        assert_eq!(user.attribute("groups").unwrap().mutability, Mutability::ReadOnly);
        let enterprise = user.extension(&ENTERPRISE_USER_URN.to_uppercase()).unwrap();
        let manager = enterprise.schema.attribute("manager").unwrap();
        assert_eq!(
            manager.sub_attribute("displayName").unwrap().mutability,
            Mutability::ReadOnly
        );
        assert!(manager.sub_attribute("$ref").unwrap().refers_to_resources());
        assert!(!user.attribute("profileUrl").unwrap().refers_to_resources());
        for attribute in [common(), &user.schema.attributes, &enterprise.schema.attributes]
            .into_iter()
            .flat_map(every)
        {
            let name = &attribute.name;
            assert_eq!(
                attribute.kind == Type::Complex,
                !attribute.sub_attributes.is_empty(),
                "{name}"
            );
            assert_eq!(
                attribute.kind == Type::Reference,
                !attribute.reference_types.is_empty(),
                "{name}"
            );
            assert!(attribute.description.ends_with('.'), "{name}");
        }
    }

    /// R-SCHEMA-02; RFC 7643 §4.2, §8.7.1.
    #[test]
    fn the_group_schema_is_the_rfcs() {
        let catalog = Catalog::standard();
        let group = catalog.by_endpoint("/groups").unwrap();
        let display_name = group.attribute("displayName").unwrap();
        assert!(display_name.required && display_name.uniqueness == Uniqueness::None);
        let members = group.attribute("members").unwrap();
        let parts: Vec<_> = members
            .sub_attributes
            .iter()
            .map(|part| (part.name.as_str(), part.mutability))
            .collect();
        assert_eq!(
            parts,
            [
                ("value", Mutability::Immutable),
                ("$ref", Mutability::Immutable),
                ("display", Mutability::ReadOnly),
                ("type", Mutability::Immutable),
            ]
        );
        assert!(members.sub_attribute("value").unwrap().case_exact);
        assert_eq!(
            members.sub_attribute("type").unwrap().canonical_values,
            ["User", "Group"]
        );
        assert_eq!(group.members(), Some(members));
        assert_eq!(catalog.resource_type("User").unwrap().members(), None);
    }

    /// R-GEN-09, R-GEN-10.
    #[test]
    fn common_attributes_are_every_types() {
        let catalog = Catalog::standard();
        let user = catalog.by_endpoint("/users").unwrap();
        let id = user.attribute("ID").unwrap();
        assert!(id.case_exact && id.returned == Returned::Always && id.mutability == Mutability::ReadOnly);
        assert!(user.attribute("externalid").unwrap().case_exact);
        assert_eq!(
            user.attribute("meta")
                .unwrap()
                .sub_attribute("LASTMODIFIED")
                .unwrap()
                .kind,
            Type::DateTime
        );
        assert_eq!(user.attribute("schemas").unwrap().returned, Returned::Always);
    }

    /// R-FILTER-04, R-PATCH-02.
    #[test]
    fn a_qualified_name_is_split_at_a_known_urn() {
        let catalog = Catalog::standard();
        let user = catalog.resource_type("User").unwrap();
        let check = |name: &str, expected: Option<(Option<&str>, &str)>| {
            let split = user
                .split_urn(name)
                .map(|(e, rest)| (e.map(|e| e.schema.id.as_str()), rest));
            assert_eq!(split, expected, "{name}");
        };
        check(&format!("{USER_URN}:name.givenName"), Some((None, "name.givenName")));
        check(
            &format!("{}:nickName", USER_URN.to_uppercase()),
            Some((None, "nickName")),
        );
        check(
            &format!("{ENTERPRISE_USER_URN}:manager"),
            Some((Some(ENTERPRISE_USER_URN), "manager")),
        );
        let typo = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User:department";
        check(typo, Some((Some(ENTERPRISE_USER_URN), "department")));
        check(ENTERPRISE_USER_URN, None);
        check("urn:example:2.0:User:department", None);
        check("userName", None);
        check("urn:ietf:params:scim:schemas:core:2.0:Üser:x", None);
    }

    /// Entra: `path: "manager"`, `filter=manager eq "…"`.
    #[test]
    fn an_extensions_attribute_is_found_without_its_urn() {
        let catalog = Catalog::standard();
        let user = catalog.resource_type("User").unwrap();
        let (extension, manager) = user.extension_of("Manager").unwrap();
        assert_eq!(
            (extension.schema.id.as_str(), manager.name.as_str()),
            (ENTERPRISE_USER_URN, "manager")
        );
        assert!(user.extension_of("userName").is_none() && user.extension_of("shoeSize").is_none());
    }
}
