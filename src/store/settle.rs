//! Calls carried to their end: what heals within the deadline, no caller sees.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Change, Error, Page, Row, Store, Write, behind};

/// The first pause between two tries, at most; each further one may be twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause, unless the store asks for more.
const MAX_PAUSE: Duration = Duration::from_millis(640);

/// The stamp of a row that stands where an event would stand, so that its operation never takes effect.
pub const BARRED: &[u8] = b"barred";

tokio::task_local! {
    static DEADLINE: Instant;
}

/// For stores, inside [`Store::commit`]: from when on nothing may be sent that has not been sent; the deadline of the
/// [`settle`] that calls, if one does.
pub(super) fn deadline() -> Option<Instant> {
    DEADLINE.try_with(|deadline| *deadline).ok()
}

/// Commits; sends the identical commit again while the store is busy, unavailable or loses its answer.
///
/// Change 0 must insert a row whose key is this operation's own: its event. A later try that meets this row tells that
/// an earlier one took effect. Reading back would prove nothing: an earlier try may still be running in the service.
/// For the same reason a try that fails for good after an answer was lost bars the way for the lost one, with a row in
/// the event's place ([`BARRED`]), before the caller is told.
///
/// No try starts after the deadline, and one that waits for a connection to the service then is given up unsent, as the
/// caller has been told that it failed and may have tried again. A request under way is awaited, as cutting it off would
/// not take it back; stores bound their requests.
///
/// # Errors
///
/// At once what no further try heals: [`Error::Exists`] (of the event too when it is the first try's answer),
/// [`Error::Changed`], [`Error::Missing`], [`Error::TooLarge`]; none of the tries takes effect then. When time runs out,
/// [`Error::Unknown`] if any answer was lost, else the last [`Error::Busy`] or [`Error::Unavailable`].
pub async fn settle(store: &dyn Store, partition: &str, changes: &[Change], deadline: Instant) -> Result<(), Error> {
    debug_assert!(
        matches!(changes.first(), Some(Change::Insert(_))),
        "change 0 inserts the operation's event"
    );
    let event = changes.first().map_or("", Change::key);
    let mut tries = Tries::until(deadline)?;
    let mut first = true;
    loop {
        let error = match DEADLINE.scope(deadline, store.commit(partition, changes)).await {
            Err(Error::Exists(key)) if !first && key == event => return Ok(()),
            Err(error) if may_heal(&error) => error,
            Err(error) if tries.lost.is_some() => {
                return match bar(store, partition, event, tries).await? {
                    Barred::InTime => Err(error),
                    Barred::TooLate => Ok(()),
                };
            }
            settled => return settled,
        };
        first = false;
        tries.pause_after(error).await?;
    }
}

/// Which came first.
enum Barred {
    /// The bar.
    InTime,
    /// The commit that it was to stop.
    TooLate,
}

/// Stops a commit that may still be under way from taking effect.
async fn bar(store: &dyn Store, partition: &str, event: &str, mut tries: Tries) -> Result<Barred, Error> {
    let bar = [Change::Insert(Write {
        key: event.to_owned(),
        stamp: BARRED.to_vec(),
        body: Vec::new(),
    })];
    loop {
        let error = match DEADLINE.scope(tries.deadline, store.commit(partition, &bar)).await {
            Ok(()) => return Ok(Barred::InTime),
            // The commit's own row, or that of a bar whose answer was lost.
            Err(Error::Exists(_)) => {
                let row = patient_get(store, partition, &[event], tries.deadline)
                    .await?
                    .pop()
                    .flatten();
                return Ok(match row {
                    Some(row) if row.stamp == BARRED => Barred::InTime,
                    _ => Barred::TooLate,
                });
            }
            Err(error) => error,
        };
        tries.pause_after(error).await?;
    }
}

/// [`Store::get`], again while the store is busy or unavailable; cut off at the deadline.
///
/// # Errors
///
/// [`Error::TooLarge`] at once; when time runs out, the last [`Error::Busy`] or [`Error::Unavailable`].
pub async fn patient_get(
    store: &dyn Store,
    partition: &str,
    keys: &[&str],
    deadline: Instant,
) -> Result<Vec<Option<Row>>, Error> {
    patiently(deadline, || store.get(partition, keys)).await
}

/// [`Store::scan`], again while the store is busy or unavailable; cut off at the deadline.
///
/// # Errors
///
/// As [`patient_get`].
pub async fn patient_scan(
    store: &dyn Store,
    partition: &str,
    (from, until): (&str, &str),
    limit: usize,
    deadline: Instant,
) -> Result<Page, Error> {
    patiently(deadline, || store.scan(partition, from, until, limit)).await
}

/// All rows in a range, in as many scans as it takes. These may be of different moments.
///
/// # Errors
///
/// As [`patient_get`].
pub async fn patient_scan_all(
    store: &dyn Store,
    partition: &str,
    (from, until): &(String, String),
    deadline: Instant,
) -> Result<Vec<Row>, Error> {
    let mut rows: Vec<Row> = Vec::new();
    let mut from = from.clone();
    loop {
        let page = patient_scan(store, partition, (&from, until), usize::MAX, deadline).await?;
        rows.extend(page.rows);
        match rows.last() {
            Some(last) if page.more => from = behind(&last.key),
            _ => return Ok(rows),
        }
    }
}

/// [`Store::commit`] of what may be done twice, again while the store is busy, unavailable or loses its answer.
///
/// # Errors
///
/// What no further try heals, at once, and then an earlier try whose answer was lost may be the reason; else as
/// [`settle`].
pub async fn patient_commit(
    store: &dyn Store,
    partition: &str,
    changes: &[Change],
    deadline: Instant,
) -> Result<(), Error> {
    let mut tries = Tries::until(deadline)?;
    loop {
        match DEADLINE.scope(deadline, store.commit(partition, changes)).await {
            Err(error) if may_heal(&error) => tries.pause_after(error).await?,
            settled => return settled,
        }
    }
}

async fn patiently<T, F>(deadline: Instant, mut read: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = Tries::until(deadline)?;
    loop {
        let error = match timeout_at(deadline, read()).await {
            Ok(Err(error)) if may_heal(&error) => error,
            Ok(answer) => return answer,
            Err(elapsed) => return Err(Error::Unavailable(elapsed.into())),
        };
        tries.pause_after(error).await?;
    }
}

fn may_heal(error: &Error) -> bool {
    match error {
        Error::Busy(_) | Error::Unknown(_) | Error::Unavailable(_) => true,
        Error::Exists(_) | Error::Changed(_) | Error::Missing(_) | Error::TooLarge(_) => false,
    }
}

/// The pauses between the tries of one call: ever longer, and at random, so that callers who met don't meet again.
pub(crate) struct Tries {
    deadline: Instant,
    longest: Duration,
    lost: Option<Error>,
}

impl Tries {
    /// Fails when there is no time for a first try.
    pub(crate) fn until(deadline: Instant) -> Result<Self, Error> {
        if Instant::now() >= deadline {
            return Err(Error::Unavailable("no time was left for a first try".into()));
        }
        Ok(Self {
            deadline,
            longest: FIRST_PAUSE,
            lost: None,
        })
    }

    /// Waits for the next try, or gives back what the caller is to know when there is no time for one.
    pub(crate) async fn pause_after(&mut self, error: Error) -> Result<(), Error> {
        let asked = match error {
            Error::Busy(Some(after)) => after,
            _ => Duration::ZERO,
        };
        let next = Instant::now() + asked + self.longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.longest = (self.longest * 2).min(MAX_PAUSE);
        // An answer once lost stays lost: a later "busy" says nothing about that try.
        let error = self.lost.take().unwrap_or(error);
        if next >= self.deadline {
            return Err(error);
        }
        sleep_until(next).await;
        if Instant::now() >= self.deadline {
            return Err(error);
        }
        if matches!(error, Error::Unknown(_)) {
            self.lost = Some(error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{
        super::{
            faults::{Call, Fault, FaultStore},
            sqlite::SqliteStore,
        },
        *,
    };

    fn insert(key: &str) -> Change {
        Change::Insert(Write {
            key: key.to_owned(),
            stamp: Vec::new(),
            body: Vec::new(),
        })
    }

    fn commit() -> [Change; 2] {
        [insert("event"), insert("row")]
    }

    fn store(faults: &[Fault]) -> FaultStore {
        let store = FaultStore::new(Arc::new(SqliteStore::memory().unwrap()));
        for (number, fault) in (1..).zip(faults) {
            store.inject(Call::Commit, number..=number, *fault);
        }
        store
    }

    fn in_seconds(seconds: u64) -> Instant {
        Instant::now() + Duration::from_secs(seconds)
    }

    /// What a caller is told when its tries meet these faults one after another; whether the rows are there then.
    async fn settled(faults: &[Fault]) -> (String, bool) {
        let store = store(faults);
        let answer = settle(&store, "p", &commit(), in_seconds(10)).await;
        store.heal();
        let rows = store.get("p", &["event", "row"]).await.unwrap();
        assert_eq!(rows[0].is_some(), rows[1].is_some());
        (spelled(&answer), rows[0].is_some())
    }

    fn spelled<T>(answer: &Result<T, Error>) -> String {
        match answer {
            Ok(_) => "done".to_owned(),
            Err(Error::Unknown(_)) => "unknown".to_owned(),
            Err(Error::Unavailable(_)) => "unavailable".to_owned(),
            Err(other) => other.to_string(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_happens_to_the_tries_the_commit_takes_effect_once() {
        let busy = Fault::Busy(Some(Duration::from_secs(1)));
        for faults in [
            &[][..],
            &[Fault::LoseAnswer],
            &[Fault::LoseRequest],
            &[Fault::LoseRequest, Fault::LoseAnswer],
            &[Fault::LoseAnswer, Fault::LoseAnswer, Fault::LoseAnswer],
            &[Fault::LandBefore(1)],
            &[Fault::LandBefore(2)],
            &[Fault::LandBefore(2), Fault::LoseRequest],
            &[Fault::LandLater],
            &[Fault::Unavailable],
            &[Fault::FailAfter],
            &[busy],
            &[Fault::Busy(None), Fault::LoseAnswer, Fault::Unavailable, busy],
            &[Fault::LoseAnswer, busy, Fault::LoseRequest],
        ] {
            assert_eq!(settled(faults).await, ("done".to_owned(), true), "{faults:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_try_that_lands_after_its_repetition_changes_nothing() {
        let store = store(&[Fault::LandLater]);
        settle(&store, "p", &commit(), in_seconds(10)).await.unwrap();
        let before = store.get("p", &["event", "row"]).await.unwrap();
        let landed = store.land().await;
        assert!(matches!(&landed[..], [Err(Error::Exists(key))] if key == "event"));
        assert_eq!(store.get("p", &["event", "row"]).await.unwrap(), before);
    }

    /// What is told when the first try lands in the end, the second one fails for good, and these faults come then;
    /// whether the first one took effect when it landed.
    async fn failed_after_a_lost_try(first: Fault, then: &[Fault]) -> (String, bool) {
        let store = store(&[first]);
        for (number, fault) in (3..).zip(then) {
            store.inject(Call::Commit, number..=number, *fault);
        }
        let commit = commit();
        let settling = settle(&store, "p", &commit, in_seconds(10));
        let other = async { store.inner().commit("p", &[insert("row")]).await.unwrap() };
        let (answer, ()) = futures::join!(settling, other);
        store.heal();
        let free = [Change::Delete("row".to_owned(), None)];
        store.commit("p", &free).await.unwrap();
        let landed = store.land().await;
        (spelled(&answer), landed.iter().any(Result::is_ok))
    }

    /// Else a client would be told 409, and find later that it was done.
    #[tokio::test(start_paused = true)]
    async fn what_failed_for_good_never_takes_effect() {
        for then in [
            &[][..],
            &[Fault::LoseAnswer],
            &[Fault::LoseRequest],
            &[Fault::Busy(None), Fault::LoseAnswer, Fault::LoseAnswer],
        ] {
            let told = failed_after_a_lost_try(Fault::LandLater, then).await;
            assert_eq!(told, ("row row exists".to_owned(), false), "{then:?}");
        }
        let (told, _) = failed_after_a_lost_try(Fault::LandLater, &[Fault::Unavailable; 99]).await;
        assert_eq!(told, "unknown");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_that_is_there_before_the_first_try_is_an_error() {
        let store = store(&[]);
        store.commit("p", &[insert("event")]).await.unwrap();
        let answer = settle(&store, "p", &commit(), in_seconds(10)).await;
        assert_eq!(spelled(&answer), "row event exists");
    }

    #[tokio::test(start_paused = true)]
    async fn what_no_further_try_heals_is_told_at_once() {
        let missing = Change::Touch("gone".to_owned());
        let large = Change::Stamp("row".to_owned(), vec![0; 2000], None);
        for (change, expected) in [
            (insert("taken"), "row taken exists"),
            (missing, "row gone is missing"),
            (
                large,
                "beyond a limit of the store: a stamp of 2000 bytes, 1024 are allowed",
            ),
        ] {
            for faults in [&[][..], &[Fault::LoseRequest, Fault::Busy(None)]] {
                let store = store(&[]);
                store.commit("p", &[insert("taken")]).await.unwrap();
                for (number, fault) in (1..).zip(faults) {
                    store.inject(Call::Commit, number..=number, *fault);
                }
                let start = Instant::now();
                let answer = settle(&store, "p", &[insert("event"), change.clone()], in_seconds(10)).await;
                assert_eq!(spelled(&answer), expected);
                assert!(start.elapsed() < Duration::from_millis(100));
            }
        }
    }

    /// What is told when every try meets this fault, after how many tries.
    async fn given_up(first: &[Fault], others: Fault, deadline: Duration) -> (String, usize) {
        let store = Arc::new(store(first));
        store.inject(Call::Commit, .., others);
        let counting = super::super::counting::CountingStore::new(store);
        let start = Instant::now();
        let answer = settle(&counting, "p", &commit(), start + deadline).await;
        assert!(start.elapsed() <= deadline);
        (spelled(&answer), counting.counts().commits)
    }

    #[tokio::test(start_paused = true)]
    async fn when_time_runs_out_the_caller_learns_what_is_known() {
        let seconds = Duration::from_secs;
        let (told, tries) = given_up(&[], Fault::LoseRequest, seconds(10)).await;
        assert_eq!(told, "unknown");
        // Pauses grow to 320..640 ms.
        assert!((15..=40).contains(&tries), "{tries} tries");
        let (told, tries) = given_up(&[], Fault::Unavailable, seconds(1)).await;
        assert_eq!(told, "unavailable");
        assert!((5..=9).contains(&tries), "{tries} tries");
        let (told, _) = given_up(&[], Fault::Busy(None), seconds(1)).await;
        assert_eq!(told, "the store is busy");
        // That it is busy now says nothing about the try whose answer was lost.
        let (told, _) = given_up(&[Fault::LoseRequest], Fault::Busy(None), seconds(1)).await;
        assert_eq!(told, "unknown");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_store_is_left_in_peace_as_long_as_it_asks() {
        let busy = Fault::Busy(Some(Duration::from_secs(3)));
        assert_eq!(given_up(&[], busy, Duration::from_secs(10)).await.1, 4);
        // No use in waiting for a try that would come too late.
        assert_eq!(given_up(&[], busy, Duration::from_secs(2)).await.1, 1);
        let store = store(&[busy]);
        let start = Instant::now();
        settle(&store, "p", &commit(), in_seconds(10)).await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(3));
        assert!(start.elapsed() <= Duration::from_millis(3_020));
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_deadline_nothing_starts() {
        let store = store(&[]);
        let now = Instant::now();
        assert_eq!(spelled(&settle(&store, "p", &commit(), now).await), "unavailable");
        assert_eq!(spelled(&patient_get(&store, "p", &["row"], now).await), "unavailable");
        assert_eq!(store.get("p", &["event"]).await.unwrap(), [None]);
    }

    #[tokio::test(start_paused = true)]
    async fn reads_are_repeated() {
        let store = store(&[]);
        settle(&store, "p", &commit(), in_seconds(1)).await.unwrap();
        for (number, fault) in [(1, Fault::Unavailable), (2, Fault::Busy(None)), (3, Fault::LoseAnswer)] {
            store.inject(Call::Get, number..=number, fault);
            store.inject(Call::Scan, number..=number, fault);
        }
        let rows = patient_get(&store, "p", &["row"], in_seconds(5)).await.unwrap();
        assert_eq!(rows[0].as_ref().unwrap().key, "row");
        let page = patient_scan(&store, "p", ("", "~"), 9, in_seconds(5)).await.unwrap();
        assert_eq!(page.rows.len(), 2);
        let refused = patient_get(&store, "p", &["a b"], in_seconds(5)).await;
        assert!(matches!(refused, Err(Error::TooLarge(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn reads_end_at_the_deadline() {
        let store = store(&[]);
        store.inject(Call::Get, .., Fault::Busy(None));
        store.inject(Call::Scan, .., Fault::Delay(Duration::from_secs(45)));
        let start = Instant::now();
        let answer = patient_get(&store, "p", &["row"], in_seconds(2)).await;
        assert_eq!(spelled(&answer), "the store is busy");
        let answer = patient_scan(&store, "p", ("", "~"), 9, in_seconds(2)).await;
        assert_eq!(spelled(&answer), "unavailable");
        assert!(start.elapsed() <= Duration::from_secs(4));
    }
}
