//! One writer at a time: takes what waits, and makes it durable with one fsync.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OptionalExtension};
use tokio::sync::oneshot;

use super::{
    super::{Change, ETag, Write},
    Error, Shared, file, lock, log,
};

/// Most commits in one transaction.
const MAX_BATCH: usize = 16;
/// Most commits that wait; whoever comes later is asked to come back.
const MAX_WAITING: usize = 1024;
/// What whoever comes too late is asked to wait: about what it takes to work off the queue.
const COME_BACK: Duration = Duration::from_millis(200);

type Answer = Result<(), Error>;

pub(super) struct Writer {
    pub(super) db: Shared,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Job>,
    /// Somebody works the queue off, and will see what is put there.
    served: bool,
}

struct Job {
    partition: String,
    changes: Vec<Change>,
    answer: oneshot::Sender<Answer>,
}

impl Writer {
    pub(super) fn new(db: Shared) -> Self {
        Self {
            db,
            queue: Mutex::default(),
        }
    }

    /// Puts a commit into the queue. It takes place also when nobody waits for the answer.
    pub(super) fn submit(
        self: &Arc<Self>,
        partition: &str,
        changes: &[Change],
    ) -> Result<oneshot::Receiver<Answer>, Error> {
        let (answer, answered) = oneshot::channel();
        let job = Job {
            partition: partition.to_owned(),
            changes: changes.to_owned(),
            answer,
        };
        let mut queue = lock(&self.queue);
        if queue.waiting.len() >= MAX_WAITING {
            return Err(Error::Busy(Some(COME_BACK)));
        }
        queue.waiting.push_back(job);
        if !queue.served {
            queue.served = true;
            drop(queue);
            let shift = Shift {
                writer: Arc::clone(self),
                over: false,
            };
            tokio::task::spawn_blocking(move || shift.work());
        }
        Ok(answered)
    }
}

/// Works the queue off until it is empty. There is one at a time.
struct Shift {
    writer: Arc<Writer>,
    over: bool,
}

impl Shift {
    fn work(mut self) {
        while let Some(batch) = self.next_batch() {
            let mut db = lock(&self.writer.db);
            write(&db, batch);
            // After the answers: nobody waits for it but whoever comes next.
            log::keep_short(&mut db);
        }
    }

    /// Sees that nothing waits and ends the shift in one step, so that no commit is overlooked.
    fn next_batch(&mut self) -> Option<Vec<Job>> {
        let mut queue = lock(&self.writer.queue);
        let size = queue.waiting.len().min(MAX_BATCH);
        self.over = size == 0;
        queue.served = !self.over;
        (!self.over).then(|| queue.waiting.drain(..size).collect())
    }
}

impl Drop for Shift {
    /// A shift that ends early, by a panic or because the runtime shuts down, leaves nobody waiting for ever.
    fn drop(&mut self) {
        if !self.over {
            let mut queue = lock(&self.writer.queue);
            queue.served = false;
            queue.waiting.clear();
        }
    }
}

/// Writes a batch and answers everyone, only after the transaction is durable.
fn write(db: &Connection, batch: Vec<Job>) {
    match transact(db, &batch) {
        Ok(answers) => {
            for (job, answer) in batch.into_iter().zip(answers) {
                // Nobody may be waiting any more.
                let _ = job.answer.send(answer);
            }
        }
        // What one commit brought about, such as a full disk, its neighbours may be spared.
        Err(Error::Unavailable(_)) if batch.len() > 1 => {
            for job in batch {
                write(db, vec![job]);
            }
        }
        Err(error) => {
            for job in batch {
                let _ = job.answer.send(Err(again(&error)));
            }
        }
    }
}

/// All of a batch in one transaction. An error is everyone's: nothing was written, or for [`Error::Unknown`] perhaps.
fn transact(db: &Connection, batch: &[Job]) -> Result<Vec<Answer>, Error> {
    rollback(db)?;
    file::patiently(|| run(db, "BEGIN IMMEDIATE"))?;
    let outcome = apply_each(db, batch).and_then(|answers| {
        if answers.iter().any(Result::is_ok) {
            commit(db)?;
        }
        Ok(answers)
    });
    // Should this fail, the next batch tries again.
    let ended = rollback(db);
    outcome.and_then(|answers| ended.map(|()| answers))
}

fn apply_each(db: &Connection, batch: &[Job]) -> Result<Vec<Answer>, Error> {
    file::check_format(db)?;
    let one = |job: &Job| {
        run(db, "SAVEPOINT one")?;
        let answer = apply(db, &job.partition, &job.changes);
        if db.is_autocommit() {
            // The failure took the whole transaction with it.
            return Err(answer.err().unwrap_or_else(|| Error::Busy(None)));
        }
        if answer.is_err() {
            run(db, "ROLLBACK TO one")?;
        }
        run(db, "RELEASE one")?;
        Ok(answer)
    };
    batch.iter().map(one).collect()
}

/// A commit that fails on a full disk was not written: its last page is missing. After any other failure, as of fsync,
/// it may be whole in the log and come to life when the log is read after a crash.
fn commit(db: &Connection) -> Result<(), Error> {
    let committed = db.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    committed.map(drop).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::SystemIoFailure) => Error::Unknown(error.into()),
        _ => error.into(),
    })
}

fn rollback(db: &Connection) -> Result<(), Error> {
    if db.is_autocommit() {
        Ok(())
    } else {
        run(db, "ROLLBACK")
    }
}

fn run(db: &Connection, sql: &str) -> Result<(), Error> {
    db.prepare_cached(sql)?.execute([])?;
    Ok(())
}

fn apply(db: &Connection, partition: &str, changes: &[Change]) -> Answer {
    changes.iter().try_for_each(|change| apply_one(db, partition, change))
}

fn apply_one(db: &Connection, partition: &str, change: &Change) -> Answer {
    let key = change.key();
    let rows = match change {
        Change::Insert(Write { stamp, body, .. }) => db.prepare_cached(INSERT)?.execute((partition, key, stamp, body)),
        Change::Replace(Write { stamp, body, .. }, ETag(etag)) => {
            db.prepare_cached(REPLACE)?.execute((partition, key, stamp, body, etag))
        }
        Change::Stamp(_, stamp, None) => db.prepare_cached(STAMP)?.execute((partition, key, stamp)),
        Change::Stamp(_, stamp, Some(ETag(etag))) => {
            db.prepare_cached(STAMP_IF)?.execute((partition, key, stamp, etag))
        }
        Change::Touch(_) => db.prepare_cached(TOUCH)?.execute((partition, key)),
        Change::Upsert(Write { stamp, body, .. }) => db.prepare_cached(UPSERT)?.execute((partition, key, stamp, body)),
        Change::Delete(_, None) => db.prepare_cached(DELETE)?.execute((partition, key)),
        Change::Delete(_, Some(ETag(etag))) => db.prepare_cached(DELETE_IF)?.execute((partition, key, etag)),
    }?;
    if rows == 1 {
        return Ok(());
    }
    Err(match change {
        Change::Insert(_) => Error::Exists(key.to_owned()),
        Change::Replace(..) => Error::Changed(key.to_owned()),
        Change::Stamp(_, _, Some(_)) | Change::Delete(_, Some(_)) if exists(db, partition, key)? => {
            Error::Changed(key.to_owned())
        }
        _ => Error::Missing(key.to_owned()),
    })
}

fn exists(db: &Connection, partition: &str, key: &str) -> Result<bool, Error> {
    let mut select = db.prepare_cached("SELECT 1 FROM rows WHERE partition = ?1 AND key = ?2")?;
    Ok(select.query_row((partition, key), |_| Ok(())).optional()?.is_some())
}

/// The same error for one more commit of the batch.
fn again(error: &Error) -> Error {
    match error {
        Error::Busy(after) => Error::Busy(*after),
        Error::Unknown(source) => Error::Unknown(source.to_string().into()),
        Error::Unavailable(source) => Error::Unavailable(source.to_string().into()),
        other => Error::Unavailable(other.to_string().into()),
    }
}

// Etags are random, so that none comes again: not after a delete and an insert, not from another process.
const INSERT: &str = "INSERT INTO rows (partition, key, etag, stamp, body)
    VALUES (?1, ?2, hex(randomblob(12)), ?3, ?4) ON CONFLICT DO NOTHING";
const UPSERT: &str = "INSERT INTO rows (partition, key, etag, stamp, body)
    VALUES (?1, ?2, hex(randomblob(12)), ?3, ?4)
    ON CONFLICT DO UPDATE SET etag = excluded.etag, stamp = excluded.stamp, body = excluded.body";
const REPLACE: &str = "UPDATE rows SET etag = hex(randomblob(12)), stamp = ?3, body = ?4
    WHERE partition = ?1 AND key = ?2 AND etag = ?5";
const STAMP: &str = "UPDATE rows SET etag = hex(randomblob(12)), stamp = ?3 WHERE partition = ?1 AND key = ?2";
const STAMP_IF: &str = "UPDATE rows SET etag = hex(randomblob(12)), stamp = ?3
    WHERE partition = ?1 AND key = ?2 AND etag = ?4";
const TOUCH: &str = "UPDATE rows SET etag = hex(randomblob(12)) WHERE partition = ?1 AND key = ?2";
const DELETE: &str = "DELETE FROM rows WHERE partition = ?1 AND key = ?2";
const DELETE_IF: &str = "DELETE FROM rows WHERE partition = ?1 AND key = ?2 AND etag = ?3";

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(key: &str, bytes: usize) -> Vec<Change> {
        vec![Change::Insert(Write {
            key: key.to_owned(),
            stamp: Vec::new(),
            body: vec![7; bytes],
        })]
    }

    fn writer() -> Arc<Writer> {
        Arc::new(Writer::new(file::memory().unwrap()))
    }

    /// Submits all while the writer has to wait, so that they meet in one batch.
    async fn together(writer: &Arc<Writer>, commits: &[Vec<Change>]) -> Vec<String> {
        let answers: Vec<_> = {
            let _busy = lock(&writer.db);
            commits
                .iter()
                .map(|changes| writer.submit("p", changes).unwrap())
                .collect()
        };
        let mut outcomes = Vec::new();
        for answer in answers {
            let outcome = answer.await.unwrap();
            outcomes.push(outcome.err().map_or("done".to_owned(), |error| error.to_string()));
        }
        outcomes
    }

    fn keys(writer: &Writer) -> Vec<String> {
        let db = lock(&writer.db);
        let mut select = db.prepare("SELECT key FROM rows").unwrap();
        select
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[tokio::test]
    async fn a_failing_commit_does_not_fail_its_neighbours() {
        let writer = writer();
        let both = [insert("c", 1), insert("a", 1)].concat();
        let outcomes = together(&writer, &[insert("a", 1), both, insert("b", 1), insert("b", 1)]).await;
        assert_eq!(outcomes, ["done", "row a exists", "done", "row b exists"]);
        assert_eq!(keys(&writer), ["a", "b"]);
    }

    #[tokio::test]
    async fn on_a_full_disk_a_commit_fails_whole_and_alone() {
        let writer = writer();
        lock(&writer.db).pragma_update(None, "max_page_count", 20).unwrap();
        let large = [insert("b", 10_000), insert("c", 100_000)].concat();
        let outcomes = together(&writer, &[insert("a", 1), large.clone(), insert("d", 1)]).await;
        assert_eq!((&*outcomes[0], &*outcomes[2]), ("done", "done"));
        assert!(outcomes[1].contains("is full"), "{}", outcomes[1]);
        assert_eq!(keys(&writer), ["a", "d"]);
        lock(&writer.db).pragma_update(None, "max_page_count", 1000).unwrap();
        assert_eq!(together(&writer, &[large]).await, ["done"]);
    }

    #[tokio::test]
    async fn who_finds_the_queue_full_is_asked_to_come_back() {
        let writer = writer();
        let mut answers = Vec::new();
        let busy = lock(&writer.db);
        let refused = loop {
            match writer.submit("p", &insert(&format!("row-{}", answers.len()), 0)) {
                Ok(answer) => answers.push(answer),
                Err(error) => break error,
            }
        };
        drop(busy);
        assert!(matches!(refused, Error::Busy(Some(_))));
        // Besides those that wait, a batch is at work.
        assert!((MAX_WAITING..=MAX_WAITING + MAX_BATCH).contains(&answers.len()));
        for answer in answers {
            answer.await.unwrap().unwrap();
        }
    }

    #[test]
    fn a_runtime_that_has_ended_leaves_nobody_waiting() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let writer = writer();
        let (ended, other) = (runtime(), runtime());
        let handle = ended.handle().clone();
        ended.shutdown_background();
        let answer = {
            let _context = handle.enter();
            writer.submit("p", &insert("a", 1)).unwrap()
        };
        assert!(other.block_on(answer).is_err(), "there is no answer");
        other.block_on(async { writer.submit("p", &insert("b", 1)).unwrap().await.unwrap().unwrap() });
        assert_eq!(keys(&writer), ["b"]);
    }
}
