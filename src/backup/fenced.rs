//! Rows of a tenant that is being loaded, as whoever mends them sees them.

use std::sync::Arc;

use async_trait::async_trait;

use super::hold::is_fence;
use crate::store::{Change, Error, MAX_CHANGES, Page, Row, Store, behind};

/// A store that is written as long as a fence stands among the tenant's rows, and shows no fence.
pub(super) struct Fenced {
    store: Arc<dyn Store>,
    fence: String,
}

impl Fenced {
    /// What is written asserts the row with this key.
    pub(super) fn by(store: &Arc<dyn Store>, fence: String) -> Arc<dyn Store> {
        Arc::new(Self {
            store: Arc::clone(store),
            fence,
        })
    }
}

#[async_trait]
impl Store for Fenced {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, Error> {
        self.store.get(partition, keys).await
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, Error> {
        let mut from = from.to_owned();
        loop {
            let mut page = self.store.scan(partition, &from, until, limit).await?;
            let next = page.rows.last().map(|row| behind(&row.key));
            page.rows.retain(|row| !is_fence(&row.key));
            match next {
                Some(next) if page.more && page.rows.is_empty() => from = next,
                _ => return Ok(page),
            }
        }
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        if changes.len() < MAX_CHANGES {
            // Behind the others: the first one names the operation.
            let fence = [Change::Touch(self.fence.clone())];
            return self.store.commit(partition, &[changes, &fence].concat()).await;
        }
        // A full one goes on with what was pending, and says itself what it rests on.
        match self.store.get(partition, &[&self.fence]).await?.pop().flatten() {
            Some(_) => self.store.commit(partition, changes).await,
            None => Err(Error::Missing(self.fence.clone())),
        }
    }
}
