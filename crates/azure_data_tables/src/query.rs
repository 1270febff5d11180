//! Queries, page by page.

use azure_core::http::headers::{HeaderName, Headers};
use serde_json::{Map, Value};

use crate::{
    client::TableClient,
    entity::Entity,
    error::{Error, Result},
    filter::Filter,
    rules::MAX_PAGE_ENTITIES,
};

/// What to ask for. The default is every entity of the table, with all properties.
#[derive(Clone, Debug, Default)]
pub struct QueryEntitiesOptions {
    /// Which entities. Only conditions on the partition key and the row key are served from the index.
    pub filter: Option<Filter>,
    /// Which properties, the keys included; all when empty.
    pub select: Vec<String>,
    /// Most entities in one page, 1 to [`MAX_PAGE_ENTITIES`]; the service's maximum when absent.
    pub top: Option<u32>,
    /// Where to go on.
    pub continuation: Option<Continuation>,
}

/// Where the next page begins; opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continuation {
    next_partition_key: String,
    next_row_key: Option<String>,
}

/// One page. An empty page with a continuation is legal: the service stops after 5 s of looking, or at the end of a
/// partition range.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityPage {
    /// In the order of partition key and row key.
    pub entities: Vec<Entity>,
    /// Where the next page begins; `None` after the last page.
    pub continuation: Option<Continuation>,
}

/// The pages of one query, one request each.
#[derive(Debug)]
pub struct EntityPager {
    client: TableClient,
    options: QueryEntitiesOptions,
    done: bool,
}

impl EntityPager {
    pub(crate) fn new(client: TableClient, options: QueryEntitiesOptions) -> Self {
        Self {
            client,
            options,
            done: false,
        }
    }

    /// The next page; `None` after the last. After an error the same page can be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<EntityPage>> {
        if self.done {
            return Ok(None);
        }
        let page = self.client.query_page(&self.options).await?;
        self.options.continuation.clone_from(&page.continuation);
        self.done = page.continuation.is_none();
        Ok(Some(page))
    }
}

impl QueryEntitiesOptions {
    /// The query's parts, not yet percent-encoded.
    pub(crate) fn to_pairs(&self) -> Result<Vec<(&'static str, String)>> {
        let mut pairs = Vec::new();
        if let Some(filter) = &self.filter {
            pairs.push(("$filter", filter.to_string()));
        }
        if !self.select.is_empty() {
            pairs.push(("$select", self.select.join(",")));
        }
        if let Some(top) = self.top {
            if !(1..=MAX_PAGE_ENTITIES).contains(&top) {
                return Err(Error::invalid(format!(
                    "a page of {top} entities, 1 to {MAX_PAGE_ENTITIES} are allowed"
                )));
            }
            pairs.push(("$top", top.to_string()));
        }
        if let Some(continuation) = &self.continuation {
            pairs.push(("NextPartitionKey", continuation.next_partition_key.clone()));
            if let Some(row_key) = &continuation.next_row_key {
                pairs.push(("NextRowKey", row_key.clone()));
            }
        }
        Ok(pairs)
    }
}

impl EntityPage {
    pub(crate) fn read(headers: &Headers, body: &[u8]) -> Result<Self> {
        let Ok(Value::Object(mut json)) = serde_json::from_slice(body) else {
            return Err(Error::response("a page that is no JSON object"));
        };
        let Some(Value::Array(values)) = json.remove("value") else {
            return Err(Error::response("a page without values"));
        };
        let entities = values.into_iter().map(read_entity).collect::<Result<_>>()?;
        Ok(Self {
            entities,
            continuation: Continuation::read(headers),
        })
    }
}

impl Continuation {
    fn read(headers: &Headers) -> Option<Self> {
        const NEXT_PARTITION_KEY: HeaderName = HeaderName::from_static("x-ms-continuation-nextpartitionkey");
        const NEXT_ROW_KEY: HeaderName = HeaderName::from_static("x-ms-continuation-nextrowkey");
        let some = |name| headers.get_optional_string(name).filter(|value| !value.is_empty());
        Some(Self {
            next_partition_key: some(&NEXT_PARTITION_KEY)?,
            next_row_key: some(&NEXT_ROW_KEY),
        })
    }
}

/// The body of a point read.
pub(crate) fn read_body(body: &[u8]) -> Result<Entity> {
    match serde_json::from_slice::<Map<String, Value>>(body) {
        Ok(json) => Entity::from_json(json),
        Err(_) => Err(Error::response("an entity that is no JSON object")),
    }
}

fn read_entity(value: Value) -> Result<Entity> {
    match value {
        Value::Object(json) => Entity::from_json(json),
        _ => Err(Error::response("an entity that is no JSON object")),
    }
}
