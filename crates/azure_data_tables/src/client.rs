//! The clients: one for a storage account's tables, one for a table.

use std::{fmt, sync::Arc};

use azure_core::{
    Bytes,
    credentials::TokenCredential,
    http::{
        Context, Etag, Method, Pipeline, PipelineStreamOptions, Request, RetryOptions, Url,
        headers::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, Headers, IF_MATCH, PREFER, VERSION},
        policies::Policy,
    },
};

use crate::{
    attempt::AttemptPolicy,
    auth::{SasPolicy, SharedKeyCredential, SharedKeyPolicy, TokenPolicy},
    connection_string::{Access, ConnectionString, parse_endpoint},
    entity::Entity,
    error::{Error, Result, error_code},
    options::{Clock, TableClientOptions},
    query::{EntityPage, EntityPager, QueryEntitiesOptions, read_body},
    rules::{MAX_RESPONSE_BYTES, check_key, check_table_name},
    token::TokenCache,
    transaction::{
        ActionRequest, IfMatch, TransactionAction, UpdateMode, content_type, encode, entity_path, percent_encode,
    },
};

/// The first version of the service that takes tokens.
const API_VERSION: &str = "2020-12-06";
const JSON: &str = "application/json";
/// The least that tells an entity's etag and the types of its properties.
const MINIMAL_METADATA: &str = "application/json;odata=minimalmetadata";

/// The tables of one storage account. Cheap to clone; clones share connections and token.
#[derive(Clone)]
pub struct TableServiceClient(Arc<Service>);

struct Service {
    endpoint: Url,
    pipeline: Pipeline,
    clock: Clock,
}

/// One table. Cheap to clone; clones share connections and token.
#[derive(Clone)]
pub struct TableClient {
    service: TableServiceClient,
    name: Arc<str>,
}

/// An answer with a success status.
struct Answer {
    headers: Headers,
    body: Bytes,
}

impl TableServiceClient {
    /// A client that comes in with an identity, over https only. Tokens are renewed in the background.
    pub fn new(
        endpoint: &str,
        credential: Arc<dyn TokenCredential>,
        options: Option<TableClientOptions>,
    ) -> Result<Self> {
        let endpoint = parse_endpoint(endpoint)?;
        if endpoint.scheme() != "https" {
            return Err(Error::invalid("tokens are sent over https only"));
        }
        let options = options.unwrap_or_default();
        let cache = TokenCache::new(credential, options.clock.clone());
        let timeout = options.try_timeout;
        Ok(Self::build(endpoint, Arc::new(TokenPolicy { cache, timeout }), options))
    }

    /// A client that comes in with one of the account's keys.
    pub fn with_shared_key(
        endpoint: &str,
        credential: SharedKeyCredential,
        options: Option<TableClientOptions>,
    ) -> Result<Self> {
        let options = options.unwrap_or_default();
        let clock = options.clock.clone();
        let policy = Arc::new(SharedKeyPolicy { credential, clock });
        Ok(Self::build(parse_endpoint(endpoint)?, policy, options))
    }

    /// A client from a storage connection string: with `AccountKey` or `SharedAccessSignature`, or
    /// `UseDevelopmentStorage=true`. An error names the setting that is wrong, never its value.
    pub fn from_connection_string(text: &str, options: Option<TableClientOptions>) -> Result<Self> {
        let ConnectionString { endpoint, access } = ConnectionString::parse(text)?;
        let options = options.unwrap_or_default();
        let clock = options.clock.clone();
        let policy: Arc<dyn Policy> = match access {
            Access::SharedKey(credential) => Arc::new(SharedKeyPolicy { credential, clock }),
            Access::Sas(signature) => Arc::new(SasPolicy { signature }),
        };
        Ok(Self::build(endpoint, policy, options))
    }

    fn build(mut endpoint: Url, auth: Arc<dyn Policy>, options: TableClientOptions) -> Self {
        let path = endpoint.path().trim_end_matches('/').to_owned();
        endpoint.set_path(&path);
        let mut client_options = options.client_options;
        client_options.retry = RetryOptions::none();
        let attempt = AttemptPolicy {
            timeout: options.try_timeout,
            max_bytes: MAX_RESPONSE_BYTES,
        };
        let pipeline = Pipeline::new(
            option_env!("CARGO_PKG_NAME"),
            option_env!("CARGO_PKG_VERSION"),
            client_options,
            Vec::new(),
            vec![auth, Arc::new(attempt)],
            None,
        );
        Self(Arc::new(Service {
            endpoint,
            pipeline,
            clock: options.clock,
        }))
    }

    /// The URL of the account's tables, without any secret.
    pub fn endpoint(&self) -> &Url {
        &self.0.endpoint
    }

    /// A client for the table of this name: 3 to 63 ASCII letters and digits, a letter first.
    pub fn table_client(&self, name: &str) -> Result<TableClient> {
        check_table_name(name)?;
        Ok(TableClient {
            service: self.clone(),
            name: name.into(),
        })
    }

    fn url(&self, path: &str, query: &[(&'static str, String)]) -> Url {
        let mut url = self.0.endpoint.clone();
        url.set_path(&format!("{}/{path}", url.path().trim_end_matches('/')));
        if !query.is_empty() {
            let encode = |(name, value): &(&str, String)| format!("{name}={}", percent_encode(value));
            let query: Vec<String> = query.iter().map(encode).collect();
            url.set_query(Some(&query.join("&")));
        }
        url
    }

    async fn send(&self, mut request: Request) -> Result<Answer> {
        const DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("dataserviceversion");
        const MAX_DATA_SERVICE_VERSION: HeaderName = HeaderName::from_static("maxdataserviceversion");
        request.insert_header(VERSION, API_VERSION);
        request.insert_header(DATA_SERVICE_VERSION, "3.0");
        request.insert_header(MAX_DATA_SERVICE_VERSION, "3.0;NetFx");
        let unchecked = PipelineStreamOptions {
            skip_checks: true,
            ..PipelineStreamOptions::default()
        };
        let context = Context::new();
        let sent = self.0.pipeline.stream(&context, &mut request, Some(unchecked)).await;
        let (status, headers, body) = sent.map_err(|error| Error::from_pipeline(&error))?.deconstruct();
        let body = body.collect().await.map_err(|error| Error::from_pipeline(&error))?;
        if status.is_success() {
            return Ok(Answer { headers, body });
        }
        Err(Error::service(*status, &headers, &body, self.0.clock.now()))
    }
}

impl TableClient {
    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the table; one that exists is fine. Fails with 409 `TableBeingDeleted` while an earlier table of this
    /// name goes away, which takes 40 seconds and more.
    pub async fn create_table(&self) -> Result<()> {
        let mut request = self.request("Tables", &[], Method::Post);
        let body = format!("{{\"TableName\":\"{}\"}}", self.name);
        set_json(&mut request, body);
        match self.service.send(request).await {
            Err(error) if error.code() == Some(error_code::TABLE_ALREADY_EXISTS) => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    /// Removes the table and everything in it; fails with 404 `ResourceNotFound` when there is none.
    pub async fn delete_table(&self) -> Result<()> {
        let path = format!("Tables('{}')", self.name);
        self.service.send(self.request(&path, &[], Method::Delete)).await?;
        Ok(())
    }

    /// One entity; fails with 404 `ResourceNotFound` when there is none.
    pub async fn get_entity(&self, partition_key: &str, row_key: &str) -> Result<Entity> {
        check_key("partition key", partition_key)?;
        check_key("row key", row_key)?;
        let path = entity_path(&self.name, partition_key, row_key);
        let answer = self.service.send(self.request(&path, &[], Method::Get)).await?;
        let mut entity = read_body(&answer.body)?;
        entity.etag = entity.etag.or_else(|| answer.etag());
        Ok(entity)
    }

    /// Makes an entity; fails with 409 `EntityAlreadyExists` when there is one. Returns the new etag.
    pub async fn insert_entity(&self, entity: Entity) -> Result<Option<Etag>> {
        self.submit(&TransactionAction::Insert(entity)).await
    }

    /// Changes an entity; fails with 404 `ResourceNotFound` when there is none, with 412
    /// `UpdateConditionNotSatisfied` when it is another version. Returns the new etag.
    pub async fn update_entity(&self, entity: Entity, mode: UpdateMode, if_match: IfMatch) -> Result<Option<Etag>> {
        self.submit(&TransactionAction::Update(entity, mode, if_match)).await
    }

    /// Makes or changes an entity, whatever was there. Returns the new etag.
    pub async fn upsert_entity(&self, entity: Entity, mode: UpdateMode) -> Result<Option<Etag>> {
        self.submit(&TransactionAction::Upsert(entity, mode)).await
    }

    /// Removes an entity; fails like [`Self::update_entity`].
    pub async fn delete_entity(&self, partition_key: &str, row_key: &str, if_match: IfMatch) -> Result<()> {
        let action = TransactionAction::Delete {
            partition_key: partition_key.to_owned(),
            row_key: row_key.to_owned(),
            if_match,
        };
        self.submit(&action).await?;
        Ok(())
    }

    /// The entities that match, page by page.
    pub fn query_entities(&self, options: QueryEntitiesOptions) -> EntityPager {
        EntityPager::new(self.clone(), options)
    }

    /// One page of a query, from `options.continuation` on.
    pub async fn query_page(&self, options: &QueryEntitiesOptions) -> Result<EntityPage> {
        let request = self.request(&format!("{}()", self.name), &options.to_pairs()?, Method::Get);
        let answer = self.service.send(request).await?;
        EntityPage::read(&answer.headers, &answer.body)
    }

    /// One action as a request of its own; cheaper than a transaction of one. Returns the new etag.
    pub async fn submit(&self, action: &TransactionAction) -> Result<Option<Etag>> {
        let ActionRequest {
            method,
            path,
            if_match,
            body,
        } = action.to_request(&self.name)?;
        let mut request = self.request(&path, &[], method);
        if let Some(if_match) = if_match {
            request.insert_header(IF_MATCH, if_match);
        }
        if let Some(body) = body {
            set_json(&mut request, body);
        }
        Ok(self.service.send(request).await?.etag())
    }

    /// An entity group transaction: all actions, on different entities of one partition, or none. Returns the new
    /// etags in the order of the actions; an error names the first action that failed.
    pub async fn submit_transaction(&self, actions: &[TransactionAction]) -> Result<Vec<Option<Etag>>> {
        let body = encode(actions, &self.name, |path| self.service.url(path, &[]))?;
        let mut request = self.request("$batch", &[], Method::Post);
        // The parts say for themselves what they accept.
        request.insert_header(ACCEPT, JSON);
        request.insert_header(CONTENT_TYPE, content_type());
        request.set_body(body);
        let answer = self.service.send(request).await?;
        crate::transaction::decode(&answer.body, &answer.headers, self.service.0.clock.now(), actions.len())
    }

    fn request(&self, path: &str, query: &[(&'static str, String)], method: Method) -> Request {
        let mut request = Request::new(self.service.url(path, query), method);
        request.insert_header(ACCEPT, MINIMAL_METADATA);
        request
    }
}

impl Answer {
    fn etag(&self) -> Option<Etag> {
        self.headers.get_optional_string(&ETAG).map(Etag::from)
    }
}

fn set_json(request: &mut Request, body: String) {
    request.insert_header(CONTENT_TYPE, JSON);
    request.insert_header(PREFER, "return-no-content");
    request.set_body(body);
}

impl fmt::Debug for TableServiceClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableServiceClient")
            .field("endpoint", &self.0.endpoint.as_str())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for TableClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableClient")
            .field("service", &self.service)
            .field("name", &self.name)
            .finish()
    }
}
