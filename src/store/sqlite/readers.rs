//! A few connections for reads, each read on a snapshot of its own.

use std::sync::{Arc, MutexGuard, TryLockError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Error, Shared, file, lock};

pub(super) struct Readers {
    /// At least one.
    connections: Vec<Shared>,
    /// As many as there are connections, so that whoever holds one finds a connection.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Shared>) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(connections.len())),
            connections,
        }
    }

    /// Runs a query on a snapshot of the store; again when another process is in the way.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl Fn(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let readers = Arc::clone(self);
        let read = move || {
            // Held to the end of the read, also when the caller stops waiting for it.
            let _permit = permit;
            let db = readers.free();
            file::patiently(|| snapshot(&db, &query))
        };
        let done = tokio::task::spawn_blocking(read).await;
        done.unwrap_or_else(|error| Err(Error::Unavailable(error.into())))
    }

    /// A connection that nobody uses; in memory, where the writer uses the only one too, after the writer.
    fn free(&self) -> MutexGuard<'_, Connection> {
        let free = self
            .connections
            .iter()
            .find_map(|connection| match connection.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            });
        free.unwrap_or_else(|| lock(&self.connections[0]))
    }
}

fn snapshot<T>(db: &Connection, query: impl Fn(&Connection) -> Result<T, Error>) -> Result<T, Error> {
    // Rolled back at its end, whatever comes.
    let transaction = db.unchecked_transaction()?;
    file::check_format(&transaction)?;
    query(&transaction)
}
