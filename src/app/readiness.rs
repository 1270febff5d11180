//! Whether storage answers: asked at most once a second, however many ask us.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use crate::{
    rows::CONTROL,
    store::{Error, Store, settle::Tries},
};

/// How long the store may take to be called ready.
const READY_TIME: Duration = Duration::from_secs(3);
/// How long what it said is believed.
const BELIEVED: Duration = Duration::from_secs(1);

/// What storage said last, and when.
#[derive(Default)]
pub struct Readiness(Arc<Mutex<Option<(Instant, bool)>>>);

impl Readiness {
    /// Whether this store answers; in 3 s at the latest.
    pub async fn of(&self, store: &Arc<dyn Store>) -> bool {
        timeout(READY_TIME, self.ask(store)).await.unwrap_or(false)
    }

    /// Who comes while somebody asks waits for that answer.
    async fn ask(&self, store: &Arc<dyn Store>) -> bool {
        let mut last = Arc::clone(&self.0).lock_owned().await;
        if let Some((when, answers)) = *last
            && when.elapsed() < BELIEVED
        {
            return answers;
        }
        let store = Arc::clone(store);
        // To its end, so that who goes away at once is no reason to ask again at once.
        let asked = tokio::spawn(async move {
            let answers = timeout(READY_TIME, is_there(&*store)).await.unwrap_or(false);
            *last = Some((Instant::now(), answers));
            answers
        });
        asked.await.unwrap_or(false)
    }
}

/// Asked again while it fails, as a request would. Whoever says "later" is there, be it the service or our own queue: under
/// load all instances hear that at once, and there would be none to go to.
async fn is_there(store: &dyn Store) -> bool {
    let Ok(mut tries) = Tries::until(Instant::now() + READY_TIME) else {
        return false;
    };
    loop {
        let error = match store.get(CONTROL, &["ready"]).await {
            Ok(_) | Err(Error::Busy(_)) => return true,
            Err(error) => error,
        };
        if tries.pause_after(error).await.is_err() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, future::join_all};
    use tokio::time::advance;

    use super::*;
    use crate::store::{
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    };

    fn store() -> (Arc<FaultStore>, Arc<CountingStore>) {
        let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
        let counting = Arc::new(CountingStore::new(Arc::clone(&faults) as Arc<dyn Store>));
        (faults, counting)
    }

    /// What a thousand are told at the same time, and how often the store was asked.
    async fn a_thousand(readiness: &Readiness, counting: &Arc<CountingStore>) -> (bool, usize) {
        let store = Arc::clone(counting) as Arc<dyn Store>;
        let told = join_all((0..1_000).map(|_| readiness.of(&store))).await;
        assert!(told.iter().all(|one| *one == told[0]));
        (told[0], counting.take().gets)
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_ask_storage_is_asked_once_a_second() {
        let ((faults, counting), readiness) = (store(), Readiness::default());
        assert_eq!(a_thousand(&readiness, &counting).await, (true, 1));
        faults.inject(Call::Get, .., Fault::Unavailable);
        assert_eq!(a_thousand(&readiness, &counting).await, (true, 0));
        advance(BELIEVED).await;
        let (answers, tries) = a_thousand(&readiness, &counting).await;
        assert!(!answers && tries < 20, "{answers} after {tries} tries");
        faults.heal();
        advance(BELIEVED).await;
        assert_eq!(a_thousand(&readiness, &counting).await, (true, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_failure_and_a_storage_that_has_much_to_do_are_no_reason_to_go_elsewhere() {
        for (fault, times, asked) in [
            (Fault::Unavailable, 1, 2),
            (Fault::Busy(None), 99, 1),
            (Fault::Busy(Some(Duration::from_secs(30))), 99, 1),
        ] {
            let ((faults, counting), readiness) = (store(), Readiness::default());
            faults.inject(Call::Get, ..=times, fault);
            assert_eq!(a_thousand(&readiness, &counting).await, (true, asked), "{fault:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn storage_that_says_nothing_is_waited_for_for_3_s() {
        let ((faults, counting), readiness) = (store(), Readiness::default());
        faults.inject(Call::Get, .., Fault::Delay(Duration::from_secs(30)));
        let began = Instant::now();
        assert_eq!(a_thousand(&readiness, &counting).await, (false, 1));
        assert_eq!(began.elapsed(), READY_TIME);
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_is_no_reason_to_ask_again() {
        let ((_, counting), readiness) = (store(), Readiness::default());
        let asked = Arc::clone(&counting) as Arc<dyn Store>;
        for _ in 0..100 {
            assert!(readiness.of(&asked).now_or_never().is_none_or(|ready| ready));
        }
        assert_eq!(a_thousand(&readiness, &counting).await, (true, 1));
    }
}
