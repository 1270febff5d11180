//! What the service tells about itself (RFC 7644 §4). Everything here is derived from what the code does: the limits
//! from `limits`, the schemas from the same data that requests are checked against.

use serde_json::{Map, Value, json};

use super::limits::{CURSOR_SECONDS, DEFAULT_PAGE, MAX_BULK_BYTES, MAX_BULK_OPERATIONS, MAX_PAGE};
use super::list::list_response;
use super::schema::{Catalog, ResourceType, Schema};

const CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
const RESOURCE_TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// `/ServiceProviderConfig` (RFC 7643 §5, RFC 9865 §4).
pub fn service_provider_config(base_url: &str) -> Value {
    json!({
        "schemas": [CONFIG_URN],
        "patch": { "supported": true },
        "bulk": { "supported": true, "maxOperations": MAX_BULK_OPERATIONS, "maxPayloadSize": MAX_BULK_BYTES },
        "filter": { "supported": true, "maxResults": MAX_PAGE },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "pagination": {
            "cursor": true,
            "index": true,
            "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_PAGE,
            "maxPageSize": MAX_PAGE,
            "cursorTimeout": CURSOR_SECONDS,
        },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The tenant's secret token, as Authorization: Bearer.",
            "specUri": "https://www.rfc-editor.org/rfc/rfc6750",
            "primary": true,
        }],
        "meta": meta("ServiceProviderConfig", &format!("{base_url}/ServiceProviderConfig")),
    })
}

/// `/ResourceTypes`.
pub fn resource_types(catalog: &Catalog, base_url: &str) -> Value {
    list_all(
        catalog
            .resource_types
            .iter()
            .map(|rt| resource_type_document(rt, base_url))
            .collect(),
    )
}

/// `/ResourceTypes/{name}`, whatever the case.
pub fn resource_type(catalog: &Catalog, name: &str, base_url: &str) -> Option<Value> {
    Some(Value::Object(resource_type_document(
        catalog.resource_type(name)?,
        base_url,
    )))
}

/// `/Schemas`: those of resources and extensions, not those of messages.
pub fn schemas(catalog: &Catalog, base_url: &str) -> Value {
    list_all(
        catalog
            .schemas()
            .into_iter()
            .map(|schema| schema_document(schema, base_url))
            .collect(),
    )
}

/// `/Schemas/{urn}`, whatever the case.
pub fn schema(catalog: &Catalog, urn: &str, base_url: &str) -> Option<Value> {
    let schema = catalog
        .schemas()
        .into_iter()
        .find(|schema| schema.id.eq_ignore_ascii_case(urn))?;
    Some(Value::Object(schema_document(schema, base_url)))
}

fn list_all(resources: Vec<Map<String, Value>>) -> Value {
    json!(list_response(resources.len(), 1, resources))
}

fn resource_type_document(rt: &ResourceType, base_url: &str) -> Map<String, Value> {
    let extensions = rt
        .extensions
        .iter()
        .map(|e| json!({ "schema": e.schema.id, "required": e.required }));
    let mut document = Map::new();
    document.insert("schemas".into(), json!([RESOURCE_TYPE_URN]));
    document.insert("id".into(), rt.name.clone().into());
    document.insert("name".into(), rt.name.clone().into());
    document.insert("endpoint".into(), rt.endpoint.clone().into());
    document.insert("description".into(), rt.description.clone().into());
    document.insert("schema".into(), rt.schema.id.clone().into());
    if !rt.extensions.is_empty() {
        document.insert("schemaExtensions".into(), extensions.collect());
    }
    document.insert(
        "meta".into(),
        meta("ResourceType", &format!("{base_url}/ResourceTypes/{}", rt.name)),
    );
    document
}

fn schema_document(schema: &Schema, base_url: &str) -> Map<String, Value> {
    let mut document = Map::new();
    document.insert("schemas".into(), json!([SCHEMA_URN]));
    document.extend(schema.document());
    document.insert(
        "meta".into(),
        meta("Schema", &format!("{base_url}/Schemas/{}", schema.id)),
    );
    document
}

fn meta(resource_type: &str, location: &str) -> Value {
    json!({ "resourceType": resource_type, "location": location })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::schema::{Catalog, ENTERPRISE_USER_URN, USER_URN};
    use super::{resource_type, resource_types, schema, schemas, service_provider_config};

    const BASE: &str = "https://example.com/scim/demo";

    /// Entra's schema discovery fails on nulls.
    #[track_caller]
    fn check_without_nulls(value: &Value) {
        match value {
            Value::Null => panic!("a null"),
            Value::Array(values) => values.iter().for_each(check_without_nulls),
            Value::Object(members) => members.values().for_each(check_without_nulls),
            _ => {}
        }
    }

    /// R-DISC-01.
    #[test]
    fn the_configuration_has_what_the_rfc_requires() {
        let config = service_provider_config(BASE);
        check_without_nulls(&config);
        for feature in ["patch", "bulk", "filter", "changePassword", "sort", "etag"] {
            assert!(config[feature]["supported"].is_boolean(), "{feature}");
        }
        assert_eq!(config["filter"], json!({ "supported": true, "maxResults": 1000 }));
        assert_eq!(
            config["pagination"],
            json!({ "cursor": true, "index": true, "defaultPaginationMethod": "index", "defaultPageSize": 100,
                    "maxPageSize": 1000, "cursorTimeout": 3600 })
        );
        assert_eq!(
            config["bulk"],
            json!({ "supported": true, "maxOperations": 100, "maxPayloadSize": 1_048_576 })
        );
        assert_eq!(config["authenticationSchemes"][0]["type"], "oauthbearertoken");
        assert_eq!(
            config["meta"]["location"],
            "https://example.com/scim/demo/ServiceProviderConfig"
        );
    }

    #[test]
    fn resource_types_name_their_schemas() {
        let catalog = Catalog::standard();
        let list = resource_types(&catalog, BASE);
        check_without_nulls(&list);
        assert_eq!(list["totalResults"], catalog.resource_types.len());
        assert_eq!(
            list["Resources"][0],
            json!({
                "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
                "id": "User",
                "name": "User",
                "endpoint": "/Users",
                "description": "User accounts",
                "schema": USER_URN,
                "schemaExtensions": [{ "schema": ENTERPRISE_USER_URN, "required": false }],
                "meta": { "resourceType": "ResourceType", "location": format!("{BASE}/ResourceTypes/User") },
            })
        );
        assert_eq!(
            resource_type(&catalog, "user", BASE).as_ref(),
            Some(&list["Resources"][0])
        );
        assert_eq!(resource_type(&catalog, "Printer", BASE), None);
    }

    #[test]
    fn schemas_are_listed_and_found_in_any_case() {
        let catalog = Catalog::standard();
        let list = schemas(&catalog, BASE);
        check_without_nulls(&list);
        let ids: Vec<&Value> = list["Resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|schema| &schema["id"])
            .collect();
        assert!(ids.contains(&&json!(USER_URN)) && ids.contains(&&json!(ENTERPRISE_USER_URN)));
        let user = schema(&catalog, &USER_URN.to_uppercase(), BASE).unwrap();
        assert_eq!(user, list["Resources"][0]);
        assert_eq!(user["schemas"], json!(["urn:ietf:params:scim:schemas:core:2.0:Schema"]));
        assert_eq!(user["meta"]["location"], format!("{BASE}/Schemas/{USER_URN}"));
        assert_eq!(
            schema(&catalog, "urn:ietf:params:scim:api:messages:2.0:Error", BASE),
            None
        );
    }
}
