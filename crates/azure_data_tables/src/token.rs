//! A token that is renewed before anybody has to wait for it.
//!
//! `azure_identity` renews in line: shortly before the expiry every request waits, and a failed renewal fails requests
//! although the old token is still good. Here a renewal starts in the background at half to three quarters of the
//! token's life, one at a time, and the old token is served until it expires.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use azure_core::{
    credentials::{AccessToken, Secret, TokenCredential},
    error::ErrorKind,
    time::OffsetDateTime,
};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use crate::options::Clock;

/// The audience of Table Storage in every cloud.
const SCOPE: &str = "https://storage.azure.com/.default";
/// A token is not sent in its last seconds: it must still be good when it arrives.
const EXPIRY_MARGIN: Duration = Duration::from_secs(5);
/// The shortest time between two renewals: after a failed one, or one that brought the same token again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);
/// The longest that one request for a token may take; a hanging one must not block the next for ever.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(30);

/// Keeps one token fresh. Cheap to clone; clones share the token.
#[derive(Clone)]
pub(crate) struct TokenCache(Arc<Shelf>);

struct Shelf {
    credential: Arc<dyn TokenCredential>,
    clock: Clock,
    /// The part of a token's life after which it is renewed, 0.5 to 0.75; differs between processes, so that not all
    /// of them ask at the same time.
    renew_at: f64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    renewal: Option<Renewal>,
}

struct Held {
    token: AccessToken,
    renew_after: OffsetDateTime,
}

/// A renewal under way, which every caller without a good token awaits. The error is a text because it is shared.
type Renewal = Shared<BoxFuture<'static, Result<Secret, String>>>;

impl TokenCache {
    pub(crate) fn new(credential: Arc<dyn TokenCredential>, clock: Clock) -> Self {
        let dice = u8::try_from(RandomState::new().hash_one(()) % 100).unwrap_or_default();
        Self::renewing_at(credential, clock, 0.5 + f64::from(dice) / 400.0)
    }

    fn renewing_at(credential: Arc<dyn TokenCredential>, clock: Clock, renew_at: f64) -> Self {
        Self(Arc::new(Shelf {
            credential,
            clock,
            renew_at,
            state: Mutex::default(),
        }))
    }

    /// A token that is good for some seconds at least. Waits only when there is none.
    pub(crate) async fn token(&self) -> azure_core::Result<Secret> {
        let renewal = {
            let mut state = self.0.lock();
            let now = self.0.clock.now();
            let good = state
                .held
                .as_ref()
                .filter(|held| held.token.expires_on > now + EXPIRY_MARGIN);
            match good.map(|held| (held.token.token.clone(), held.renew_after)) {
                Some((token, renew_after)) => {
                    if now >= renew_after {
                        drop(self.renew(&mut state));
                    }
                    return Ok(token);
                }
                None => self.renew(&mut state),
            }
        };
        renewal
            .await
            .map_err(|text| azure_core::Error::with_message(ErrorKind::Credential, text))
    }

    /// The service refused this token: it is not served again.
    pub(crate) fn forget(&self, token: &Secret) {
        let mut state = self.0.lock();
        if state.held.as_ref().is_some_and(|held| held.token.token == *token) {
            state.held = None;
        }
    }

    /// Joins the renewal under way or starts one, in a task of its own: it goes on when the caller goes away.
    fn renew(&self, state: &mut State) -> Renewal {
        // A renewal that is done has removed itself; one that is done and still here has panicked.
        if let Some(renewal) = state.renewal.as_ref().filter(|renewal| renewal.peek().is_none()) {
            return renewal.clone();
        }
        let shared = Arc::clone(&self.0);
        let task = tokio::spawn(async move { shared.fetch().await });
        let renewal = async move {
            task.await
                .unwrap_or_else(|_| Err("asking for a token panicked".to_owned()))
        };
        let renewal = renewal.boxed().shared();
        state.renewal = Some(renewal.clone());
        renewal
    }
}

impl Shelf {
    async fn fetch(&self) -> Result<Secret, String> {
        let request = self.credential.get_token(&[SCOPE], None);
        let outcome = match tokio::time::timeout(RENEWAL_TIMEOUT, request).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", RENEWAL_TIMEOUT.as_secs())),
        };
        let now = self.clock.now();
        let mut state = self.lock();
        state.renewal = None;
        match outcome {
            Ok(token) => {
                let life = Duration::try_from(token.expires_on - now).unwrap_or_default();
                let renew_after = now + life.mul_f64(self.renew_at).max(RENEWAL_PAUSE);
                let secret = token.token.clone();
                state.held = Some(Held { token, renew_after });
                Ok(secret)
            }
            Err(text) => {
                if let Some(held) = &mut state.held {
                    held.renew_after = now + RENEWAL_PAUSE;
                }
                Err(text)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for TokenCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenCache")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::SeqCst};

    use async_trait::async_trait;
    use azure_core::credentials::TokenRequestOptions;
    use tokio::sync::Semaphore;

    use super::*;

    const LIFE_SECONDS: i64 = 3600;

    /// An identity endpoint that answers one request per permit, with `token-<n>`, or with an error.
    #[derive(Debug)]
    struct Endpoint {
        now: Arc<AtomicI64>,
        asked: AtomicUsize,
        permits: Semaphore,
        fails: std::sync::atomic::AtomicBool,
    }

    #[async_trait]
    impl TokenCredential for Endpoint {
        async fn get_token(
            &self,
            scopes: &[&str],
            _: Option<TokenRequestOptions<'_>>,
        ) -> azure_core::Result<AccessToken> {
            assert_eq!(scopes, ["https://storage.azure.com/.default"]);
            let n = self.asked.fetch_add(1, SeqCst) + 1;
            self.permits.acquire().await.unwrap().forget();
            if self.fails.load(SeqCst) {
                return Err(azure_core::Error::with_message(
                    ErrorKind::Credential,
                    "no identity here",
                ));
            }
            let expires_on = at(self.now.load(SeqCst) + LIFE_SECONDS);
            Ok(AccessToken::new(format!("token-{n}"), expires_on))
        }
    }

    struct World {
        endpoint: Arc<Endpoint>,
        cache: TokenCache,
    }

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(seconds).unwrap()
    }

    impl World {
        fn new(permits: usize) -> Self {
            let now = Arc::new(AtomicI64::new(1_000_000));
            let endpoint = Arc::new(Endpoint {
                now: Arc::clone(&now),
                asked: AtomicUsize::new(0),
                permits: Semaphore::new(permits),
                fails: false.into(),
            });
            let credential: Arc<dyn TokenCredential> = Arc::clone(&endpoint) as _;
            let cache = TokenCache::renewing_at(credential, Clock::new(move || at(now.load(SeqCst))), 0.5);
            Self { endpoint, cache }
        }

        async fn token(&self) -> Result<String, String> {
            let token = self.cache.token().await.map_err(|error| error.to_string())?;
            Ok(token.secret().to_owned())
        }

        fn pass(&self, seconds: i64) {
            self.endpoint.now.fetch_add(seconds, SeqCst);
        }

        /// Lets the background renewal run as far as it can.
        async fn settle(&self) {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }

        fn asked(&self) -> usize {
            self.endpoint.asked.load(SeqCst)
        }
    }

    #[tokio::test]
    async fn a_young_token_is_served_without_asking_again() {
        let world = World::new(9);
        for _ in 0..3 {
            assert_eq!(world.token().await.unwrap(), "token-1");
            world.pass(LIFE_SECONDS / 2 / 3);
        }
        world.settle().await;
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn at_half_its_life_it_is_renewed_once_while_the_old_one_is_served() {
        let world = World::new(1);
        assert_eq!(world.token().await.unwrap(), "token-1");
        world.pass(LIFE_SECONDS / 2);
        for _ in 0..5 {
            assert_eq!(world.token().await.unwrap(), "token-1");
            world.settle().await;
        }
        assert_eq!(world.asked(), 2);
        world.endpoint.permits.add_permits(1);
        world.settle().await;
        assert_eq!(world.token().await.unwrap(), "token-2");
        assert_eq!(world.asked(), 2);
    }

    #[tokio::test]
    async fn a_failed_renewal_is_repeated_after_a_pause_and_hurts_nobody_before_the_expiry() {
        let world = World::new(9);
        assert_eq!(world.token().await.unwrap(), "token-1");
        world.pass(LIFE_SECONDS / 2);
        world.endpoint.fails.store(true, SeqCst);
        for _ in 0..3 {
            assert_eq!(world.token().await.unwrap(), "token-1");
            world.settle().await;
        }
        assert_eq!(world.asked(), 2);
        world.pass(30);
        assert_eq!(world.token().await.unwrap(), "token-1");
        world.settle().await;
        assert_eq!(world.asked(), 3);
        world.pass(LIFE_SECONDS / 2 - 30 - 5);
        assert_eq!(world.token().await.unwrap_err(), "no identity here");
        world.endpoint.fails.store(false, SeqCst);
        assert_eq!(world.token().await.unwrap(), "token-5");
    }

    #[tokio::test]
    async fn callers_without_a_token_wait_for_one_request() {
        let world = World::new(0);
        let callers = futures::future::join_all((0..20).map(|_| world.token()));
        let release = async {
            world.settle().await;
            world.endpoint.permits.add_permits(1);
        };
        let (tokens, ()) = futures::future::join(callers, release).await;
        assert!(
            tokens.iter().all(|token| token.as_deref() == Ok("token-1")),
            "{tokens:?}"
        );
        assert_eq!(world.asked(), 1);
    }

    #[tokio::test]
    async fn a_refused_token_is_not_served_again() {
        let world = World::new(9);
        let first = world.cache.token().await.unwrap();
        world.cache.forget(&first);
        assert_eq!(world.token().await.unwrap(), "token-2");
        world.cache.forget(&first);
        assert_eq!(world.token().await.unwrap(), "token-2");
    }

    /// App Service answers from a cache of its own until shortly before the expiry.
    #[tokio::test]
    async fn a_renewal_that_brings_the_same_token_is_not_repeated_at_once() {
        let world = World::new(99);
        let token = AccessToken::new("cached", at(world.endpoint.now.load(SeqCst) + 40));
        let cached = Arc::new(Cached {
            token,
            asked: AtomicUsize::new(0),
        });
        let now = Arc::clone(&world.endpoint.now);
        let clock = Clock::new(move || at(now.load(SeqCst)));
        let cache = TokenCache::renewing_at(Arc::clone(&cached) as _, clock, 0.5);
        for _ in 0..30 {
            cache.token().await.unwrap();
            world.settle().await;
            world.pass(1);
        }
        assert_eq!(cached.asked.load(SeqCst), 1);
        cache.token().await.unwrap();
        world.settle().await;
        assert_eq!(cached.asked.load(SeqCst), 2);
    }

    #[derive(Debug)]
    struct Cached {
        token: AccessToken,
        asked: AtomicUsize,
    }

    #[async_trait]
    impl TokenCredential for Cached {
        async fn get_token(&self, _: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
            self.asked.fetch_add(1, SeqCst);
            Ok(self.token.clone())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_hangs_is_given_up_and_asked_again() {
        let world = World::new(0);
        assert_eq!(world.token().await.unwrap_err(), "no answer within 30 s");
        world.endpoint.permits.add_permits(1);
        assert_eq!(world.token().await.unwrap(), "token-2");
    }

    #[test]
    fn processes_renew_at_different_times() {
        let world = World::new(0);
        let new = |_| {
            TokenCache::new(Arc::clone(&world.endpoint) as _, Clock::default())
                .0
                .renew_at
        };
        let parts: Vec<f64> = (0..100).map(new).collect();
        assert!(parts.iter().all(|part| (0.5..0.75).contains(part)), "{parts:?}");
        assert!(parts.iter().any(|part| part.total_cmp(&parts[0]).is_ne()), "{parts:?}");
    }
}
