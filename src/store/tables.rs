//! Rows in Azure Table Storage: a row is an entity, a commit an entity group transaction.

use async_trait::async_trait;
use azure_data_tables::{
    Comparison, Entity, EntityPage, ErrorKind, Filter, IfMatch, MAX_PAGE_ENTITIES, MAX_PROPERTY_BYTES, Property,
    QueryEntitiesOptions, Retry, TableClient, TransactionAction, UpdateMode, error_code, heals,
};
use futures::{StreamExt, TryStreamExt, stream};

use super::{
    Change, ETag, Error, MAX_BODY_BYTES, MAX_SCAN_BYTES, MAX_STAMP_BYTES, Page, Row, Store, Waits, Write, check_commit,
    check_get, check_scan,
    turns::{MAX_REQUESTS_OF_ONE, Turns},
};

/// The property that holds the stamp. The body is in `b0`, `b1` and so on, 64 KiB each.
const STAMP: &str = "stamp";

/// A store in one table. Retries nothing.
///
/// A call that finds all connections in use waits for one, and the answer is [`Error::Busy`] when none comes free
/// within 2 s, or by the deadline of the [`settle`](super::settle::settle) that calls, or when too many wait already.
/// Nothing was sent then, nor is it later.
#[derive(Debug)]
pub struct TablesStore {
    table: TableClient,
    turns: Turns,
}

impl TablesStore {
    /// A store in this table; [`Self::create_table`] makes it when it is missing.
    pub fn new(table: TableClient) -> Self {
        Self {
            table,
            turns: Turns::default(),
        }
    }

    /// Makes the table; one that exists is fine.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] and [`Error::Unavailable`]; the latter's source is an [`azure_data_tables::Error`], whose code
    /// tells a missing role from a wrong key.
    pub async fn create_table(&self) -> Result<(), Error> {
        self.turns.send(self.table.create_table()).await?.map_err(unavailable)
    }

    async fn read(&self, partition: &str, key: &str) -> Result<Option<Row>, Error> {
        match self.turns.send(self.table.get_entity(partition, key)).await? {
            Ok(entity) => decode(entity).map(Some),
            Err(error) if error.code() == Some(error_code::RESOURCE_NOT_FOUND) => Ok(None),
            Err(error) => Err(self.refused(error).await),
        }
    }

    /// One page, with fewer rows when so many are larger than what the client reads at once.
    async fn page(&self, options: &mut QueryEntitiesOptions) -> Result<EntityPage, Error> {
        loop {
            let error = match self.turns.send(self.table.query_page(options)).await? {
                Ok(page) => return Ok(page),
                Err(error) => error,
            };
            let top = options.top.unwrap_or(MAX_PAGE_ENTITIES);
            if error.kind() != ErrorKind::ResponseTooLarge || top == 1 {
                return Err(self.refused(error).await);
            }
            options.top = Some(top / 2);
        }
    }

    /// What a failed read, or a commit that changed nothing, is for the caller.
    async fn refused(&self, error: azure_data_tables::Error) -> Error {
        if error.code() != Some(error_code::TABLE_NOT_FOUND) {
            return unavailable(error);
        }
        // Somebody deleted the table while this process runs.
        match self.create_table().await {
            Ok(()) => Error::Busy(None),
            Err(error) => error,
        }
    }
}

#[async_trait]
impl Store for TablesStore {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        check_get(partition, keys)?;
        let reads: Vec<_> = keys.iter().map(|key| self.read(partition, key)).collect();
        stream::iter(reads).buffered(MAX_REQUESTS_OF_ONE).try_collect().await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        check_scan(partition, from, until)?;
        let (mut rows, mut bytes) = (Vec::new(), 0);
        let mut options = QueryEntitiesOptions {
            filter: Some(range(partition, from, until)),
            ..QueryEntitiesOptions::default()
        };
        let mut most = MAX_PAGE_ENTITIES;
        let mut answers = 0;
        while from < until && rows.len() < limit && bytes < MAX_SCAN_BYTES {
            let wanted = u32::try_from(limit - rows.len()).unwrap_or(u32::MAX).min(most);
            options.top = Some(wanted);
            let page = self.page(&mut options).await?;
            answers += 1;
            if let Some(less) = options.top.filter(|top| *top < wanted) {
                most = less;
            }
            for entity in page.entities {
                let row = decode(entity)?;
                bytes += row.bytes();
                rows.push(row);
            }
            options.continuation = page.continuation;
            if options.continuation.is_none() {
                return Ok(Page {
                    rows,
                    more: false,
                    split: answers > 1,
                });
            }
        }
        Ok(Page {
            rows,
            more: from < until,
            split: answers > 1,
        })
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        check_commit(partition, changes)?;
        let actions: Vec<_> = changes.iter().map(|change| encode(partition, change)).collect();
        let outcome = match &actions[..] {
            [action] => self.turns.send(self.table.submit(action)).await?.map(drop),
            actions => self.turns.send(self.table.submit_transaction(actions)).await?.map(drop),
        };
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.is_ambiguous() => Err(Error::Unknown(Box::new(error))),
            Err(error) => match conflict(changes, &error) {
                Some(conflict) => Err(conflict),
                None => Err(self.refused(error).await),
            },
        }
    }

    fn take_waits(&self) -> Waits {
        self.turns.take_waits()
    }
}

/// `from <= key < until` in one partition: a range of the table's only index.
fn range(partition: &str, from: &str, until: &str) -> Filter {
    Filter::new("PartitionKey", Comparison::Eq, partition)
        .and(Filter::new("RowKey", Comparison::Ge, from))
        .and(Filter::new("RowKey", Comparison::Lt, until))
}

fn encode(partition: &str, change: &Change) -> TransactionAction {
    let row = |write: &Write| {
        let stamped = Entity::new(partition, &write.key).with(STAMP, write.stamp.clone());
        let parts = write.body.chunks(MAX_PROPERTY_BYTES).enumerate();
        parts.fold(stamped, |entity, (n, part)| entity.with(format!("b{n}"), part.to_vec()))
    };
    let if_match = |etag: Option<&ETag>| match etag {
        Some(ETag(etag)) => IfMatch::Etag(etag.as_str().into()),
        None => IfMatch::Any,
    };
    match change {
        Change::Insert(write) => TransactionAction::Insert(row(write)),
        Change::Replace(write, etag) => {
            TransactionAction::Update(row(write), UpdateMode::Replace, if_match(Some(etag)))
        }
        Change::Stamp(key, stamp, etag) => {
            let stamped = Entity::new(partition, key).with(STAMP, stamp.clone());
            TransactionAction::Update(stamped, UpdateMode::Merge, if_match(etag.as_ref()))
        }
        Change::Touch(key) => TransactionAction::Update(Entity::new(partition, key), UpdateMode::Merge, IfMatch::Any),
        Change::Upsert(write) => TransactionAction::Upsert(row(write), UpdateMode::Replace),
        Change::Delete(key, etag) => TransactionAction::Delete {
            partition_key: partition.to_owned(),
            row_key: key.clone(),
            if_match: if_match(etag.as_ref()),
        },
    }
}

fn decode(mut entity: Entity) -> Result<Row, Error> {
    let stamp = match entity.properties.remove(STAMP) {
        Some(Property::Binary(stamp)) if stamp.len() <= MAX_STAMP_BYTES => stamp,
        _ => return Err(foreign("without a stamp of this store")),
    };
    let mut body = Vec::new();
    for n in 0.. {
        match entity.properties.remove(&format!("b{n}")) {
            Some(Property::Binary(part)) if body.is_empty() => body = part,
            Some(Property::Binary(part)) => body.extend(part),
            Some(_) => return Err(foreign("with a body that is not binary")),
            None => break,
        }
    }
    if body.len() > MAX_BODY_BYTES {
        return Err(foreign("with a body beyond the limit"));
    }
    let Some(etag) = entity.etag else {
        return Err(foreign("without an etag"));
    };
    Ok(Row {
        key: entity.row_key,
        etag: ETag(etag.into()),
        stamp,
        body,
    })
}

/// Something else wrote into the table.
fn foreign(what: &str) -> Error {
    Error::Unavailable(format!("Table Storage holds a row {what}").into())
}

/// The change that failed and how, when it is a matter of rows and not of the service. Nothing was written.
fn conflict(changes: &[Change], error: &azure_data_tables::Error) -> Option<Error> {
    let index = error.failed_index().or((changes.len() == 1).then_some(0));
    let change = index.and_then(|index| changes.get(index));
    let conditional = matches!(
        change,
        Some(Change::Replace(..) | Change::Stamp(_, _, Some(_)) | Change::Delete(_, Some(_)))
    );
    match (error.code()?, change) {
        (error_code::ENTITY_ALREADY_EXISTS, Some(Change::Insert(write))) => Some(Error::Exists(write.key.clone())),
        (error_code::RESOURCE_NOT_FOUND, Some(Change::Replace(write, _))) => Some(Error::Changed(write.key.clone())),
        (
            error_code::RESOURCE_NOT_FOUND,
            Some(Change::Stamp(key, ..) | Change::Touch(key) | Change::Delete(key, _)),
        ) => Some(Error::Missing(key.clone())),
        (error_code::UPDATE_CONDITION_NOT_SATISFIED | error_code::CONDITION_NOT_MET, Some(change)) if conditional => {
            Some(Error::Changed(change.key().to_owned()))
        }
        // A concurrent write got in the way of an unconditional change, or the service doesn't say of which one.
        (
            error_code::ENTITY_ALREADY_EXISTS
            | error_code::UPDATE_CONDITION_NOT_SATISFIED
            | error_code::CONDITION_NOT_MET,
            _,
        ) => Some(Error::Busy(None)),
        _ => None,
    }
}

/// Nothing was written. Asking again heals what the service itself calls a matter of time.
fn unavailable(error: azure_data_tables::Error) -> Error {
    match (error.status(), heals(&error)) {
        (Some(_), Retry::Safe(after)) | (Some(503), Retry::Ambiguous(after)) => Error::Busy(after),
        _ => Error::Unavailable(Box::new(error)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
