//! Credentials and removal under a clock that moves only when told.

use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering},
};

use time::{Duration, OffsetDateTime};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Expiry, NewTenant, Progress, Refusal, Tenants, Terms,
    authenticate::{MAX_LOOK_UPS, MAX_LOOK_UPS_OF_ONE},
    parse_name,
};
use crate::{
    ambient::Ambient,
    store::{
        Change, Store, Write,
        counting::CountingStore,
        faults::{Call, Fault, FaultStore},
        sqlite::SqliteStore,
    },
};

#[derive(Debug, Default)]
pub(super) struct Clock {
    seconds: AtomicI64,
    secrets: AtomicU64,
}

impl Clock {
    pub(super) fn pass(&self, time: Duration) {
        self.seconds.fetch_add(time.whole_seconds(), Ordering::Relaxed);
    }
}

impl Ambient for Clock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::seconds(1_800_000_000 + self.seconds.load(Ordering::Relaxed))
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(self.secrets.fetch_add(1, Ordering::Relaxed).into())
    }

    fn secret(&self) -> [u8; 32] {
        let mut secret = [0; 32];
        secret[..8].copy_from_slice(&self.secrets.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        secret
    }
}

pub(super) struct World {
    pub(super) clock: Arc<Clock>,
    pub(super) store: Arc<dyn Store>,
    pub(super) tenants: Tenants,
}

impl World {
    pub(super) fn new() -> Self {
        Self::on(Arc::new(SqliteStore::memory().unwrap()))
    }

    pub(super) fn on(store: Arc<dyn Store>) -> Self {
        let clock = Arc::new(Clock::default());
        let tenants = Tenants::new(Arc::clone(&store), Arc::clone(&clock) as Arc<dyn Ambient>);
        Self { clock, store, tenants }
    }

    /// The same tenants as another process sees them: with a memory of its own.
    pub(super) fn elsewhere(&self) -> Tenants {
        Tenants::new(Arc::clone(&self.store), Arc::clone(&self.clock) as Arc<dyn Ambient>)
    }

    pub(super) async fn tenant(&self, name: &str, expires: Option<Expiry>) -> (String, String) {
        let new = NewTenant {
            name: name.to_owned(),
            ..NewTenant::default()
        };
        let terms = Terms {
            expires,
            ..Terms::default()
        };
        let (_, issued) = self.tenants.create(&new, None, &terms, "test", soon()).await.unwrap();
        (issued.credential.id, issued.secret)
    }
}

pub(super) fn soon() -> Instant {
    Instant::now() + std::time::Duration::from_secs(10)
}

pub(super) async fn outcome(tenants: &Tenants, name: Option<&str>, secret: &str) -> &'static str {
    match tenants.authenticate(name, secret, soon()).await {
        Ok(_) => "let in",
        Err(Refusal::Unknown) => "unknown",
        Err(Refusal::Expired(..)) => "expired",
        Err(Refusal::Revoked(..)) => "revoked",
        Err(Refusal::Paused(..)) => "paused",
        Err(Refusal::TooMany) => "too many",
        Err(Refusal::Full) => "full",
        Err(Refusal::Store(error)) => panic!("{error}"),
        Err(Refusal::Format(error)) => panic!("{error}"),
    }
}

/// R-GEN-19: the three that must not be told apart are one answer already here.
#[tokio::test]
async fn wrong_tokens_other_tenants_and_unknown_tenants_look_alike() {
    let world = World::new();
    let (_, acme) = world.tenant("acme", None).await;
    let (_, globex) = world.tenant("globex", None).await;
    for (name, secret, expected) in [
        (Some("acme"), acme.as_str(), "let in"),
        (Some("AcMe"), &acme, "let in"),
        (None, &acme, "let in"),
        (None, "wrong", "unknown"),
        (Some("acme"), "wrong", "unknown"),
        (Some("acme"), &globex, "unknown"),
        (Some("nobody"), &acme, "unknown"),
        (Some("no/body"), &acme, "unknown"),
        (Some(""), &acme, "unknown"),
    ] {
        assert_eq!(outcome(&world.tenants, name, secret).await, expected, "{name:?}");
    }
}

#[tokio::test]
async fn an_expiry_is_in_force_to_the_second_although_the_credential_is_remembered() {
    let world = World::new();
    let at = world.clock.now() + Duration::seconds(30);
    let (_, secret) = world.tenant("acme", Some(Expiry::At(at))).await;
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "let in");
    world.clock.pass(Duration::seconds(29));
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "let in");
    world.clock.pass(Duration::seconds(1));
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "expired");
    assert_eq!(
        outcome(&world.tenants, Some("globex"), &secret).await,
        "unknown",
        "another tenant learns nothing"
    );
}

/// R-GEN-18.
#[tokio::test]
async fn a_token_is_valid_for_a_year_unless_told() {
    let world = World::new();
    let (_, year) = world.tenant("acme", None).await;
    let (_, forever) = world.tenant("globex", Some(Expiry::Never)).await;
    world.clock.pass(Duration::days(365) - Duration::seconds(1));
    assert_eq!(outcome(&world.tenants, Some("acme"), &year).await, "let in");
    world.clock.pass(Duration::seconds(1));
    assert_eq!(outcome(&world.tenants, Some("acme"), &year).await, "expired");
    assert_eq!(outcome(&world.tenants, Some("globex"), &forever).await, "let in");
}

/// design §4: cached for at most 60 s, so a revocation is in force everywhere by then.
#[tokio::test]
async fn a_revocation_is_in_force_here_at_once_and_elsewhere_after_60_s() {
    let world = World::new();
    let (id, secret) = world.tenant("acme", None).await;
    let elsewhere = world.elsewhere();
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "let in");
    world.tenants.revoke("acme", &id, "test", soon()).await.unwrap();
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "revoked");
    world.clock.pass(Duration::seconds(59));
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "let in");
    world.clock.pass(Duration::seconds(1));
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "revoked");
}

/// Storage is asked once for all who show the same secret; twice where nobody knows it, as all but one came before the second
/// time.
#[tokio::test(start_paused = true)]
async fn of_five_hundred_who_come_at_once_after_a_start_nobody_is_turned_away() {
    let (world, faults, counting) = slow();
    let secrets = ["acme", "globex", "initech", "hooli"].map(async |name| (name, world.tenant(name, None).await.1));
    let mut secrets = futures::future::join_all(secrets).await;
    faults.inject(Call::Get, .., Fault::Delay(std::time::Duration::from_millis(20)));
    for (expected, gets) in [("let in", 4), ("unknown", 8)] {
        counting.take();
        let asked = (0..500).map(|number| {
            let (name, secret) = &secrets[number % 4];
            outcome(&world.tenants, Some(name), secret)
        });
        assert_eq!(futures::future::join_all(asked).await, vec![expected; 500]);
        assert_eq!(counting.counts().gets, gets);
        for (_, secret) in &mut secrets {
            secret.push('x');
        }
    }
}

/// Nobody has to pay for a secret that he makes up. As long as storage is slow, all of them wait; who is known is let in, and who
/// was known a minute ago, whatever they do.
#[tokio::test(start_paused = true)]
async fn who_makes_secrets_up_keeps_nobody_out_who_is_known() {
    let (world, faults, _) = slow();
    let (_, secret) = world.tenant("acme", None).await;
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "let in");
    faults.inject(Call::Get, .., Fault::Delay(std::time::Duration::from_secs(3)));
    let made_up: Vec<_> = (0..MAX_LOOK_UPS).map(|number| format!("made up {number}")).collect();
    let asked = made_up
        .iter()
        .map(|secret| outcome(&world.tenants, Some("acme"), secret));
    let mut strangers = std::pin::pin!(futures::future::join_all(asked));
    assert!(futures::poll!(&mut strangers).is_pending());
    assert_eq!(outcome(&world.tenants, Some("acme"), "one more").await, "full");
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "let in");
    world.clock.pass(Duration::seconds(60));
    let asked = (0..=MAX_LOOK_UPS_OF_ONE).map(|_| outcome(&world.tenants, Some("acme"), &secret));
    let mut expected = vec!["let in"; MAX_LOOK_UPS_OF_ONE];
    expected.push("too many");
    assert_eq!(futures::future::join_all(asked).await, expected);
    assert_eq!(strangers.await, vec!["unknown"; MAX_LOOK_UPS]);
}

/// Nor whom this process has never met: it has learned which credentials there are.
#[tokio::test(start_paused = true)]
async fn who_makes_secrets_up_keeps_nobody_out_who_is_listed() {
    let (world, faults, _) = slow();
    let (_, acme) = world.tenant("acme", None).await;
    let (_, globex) = world.tenant("globex", None).await;
    let elsewhere = world.elsewhere();
    let learn = async || {
        let tenants = elsewhere.all(soon()).await.unwrap();
        elsewhere.learn(&tenants, soon()).await.unwrap();
    };
    learn().await;
    let (_, later) = world.tenant("later", None).await;
    let made_up: Vec<_> = (0..MAX_LOOK_UPS).map(|number| format!("made up {number}")).collect();
    for (later_is, learned) in [("full", false), ("let in", true)] {
        if learned {
            learn().await;
        }
        faults.inject(Call::Get, .., Fault::Delay(std::time::Duration::from_secs(3)));
        // At whosever URL.
        let asked = made_up.iter().map(|secret| outcome(&elsewhere, Some("acme"), secret));
        let mut strangers = std::pin::pin!(futures::future::join_all(asked));
        assert!(futures::poll!(&mut strangers).is_pending());
        for (name, secret, expected) in [
            (Some("acme"), &acme, "let in"),
            (None, &globex, "let in"),
            (Some("acme"), &globex, "full"),
            (Some("later"), &later, later_is),
        ] {
            assert_eq!(outcome(&elsewhere, name, secret).await, expected, "{name:?}");
        }
        world.clock.pass(Duration::seconds(60));
        faults.heal();
    }
    // Who is listed and unknown all the same is a stranger.
    world.tenants.rename("later", "initech", "test", soon()).await.unwrap();
    let elsewhere = world.elsewhere();
    let tenants = world.tenants.all(soon()).await.unwrap();
    elsewhere.learn(&tenants, soon()).await.unwrap();
    world.tenants.rename("initech", "hooli", "test", soon()).await.unwrap();
    assert_eq!(outcome(&elsewhere, Some("initech"), &later).await, "unknown");
    faults.inject(Call::Get, .., Fault::Delay(std::time::Duration::from_secs(3)));
    let asked = made_up.iter().map(|secret| outcome(&elsewhere, Some("acme"), secret));
    let mut strangers = std::pin::pin!(futures::future::join_all(asked));
    assert!(futures::poll!(&mut strangers).is_pending());
    assert_eq!(outcome(&elsewhere, Some("initech"), &later).await, "full");
}

/// Who was known and is no longer is a stranger.
#[tokio::test(start_paused = true)]
async fn who_is_known_no_longer_takes_the_room_of_strangers() {
    let (world, faults, _) = slow();
    let (_, secret) = world.tenant("acme", None).await;
    let elsewhere = world.elsewhere();
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "let in");
    world.tenants.rename("acme", "globex", "test", soon()).await.unwrap();
    world.clock.pass(Duration::seconds(60));
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "unknown");
    faults.inject(Call::Get, .., Fault::Delay(std::time::Duration::from_secs(3)));
    let made_up: Vec<_> = (0..MAX_LOOK_UPS).map(|number| format!("made up {number}")).collect();
    let asked = made_up.iter().map(|secret| outcome(&elsewhere, Some("acme"), secret));
    let mut strangers = std::pin::pin!(futures::future::join_all(asked));
    assert!(futures::poll!(&mut strangers).is_pending());
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "full");
}

/// A world whose storage can be made slow.
fn slow() -> (World, Arc<FaultStore>, Arc<CountingStore>) {
    let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let counting = Arc::new(CountingStore::new(Arc::clone(&faults) as Arc<dyn Store>));
    (World::on(Arc::clone(&counting) as Arc<dyn Store>), faults, counting)
}

/// A vendor moves: its customers send their secrets already, before they are imported.
#[tokio::test]
async fn a_secret_that_was_tried_too_early_works_as_soon_as_it_is_added() {
    let world = World::new();
    world.tenant("acme", None).await;
    let elsewhere = world.elsewhere();
    assert_eq!(outcome(&elsewhere, Some("acme"), "brought-along").await, "unknown");
    let secret = Some("brought-along".to_owned());
    world
        .tenants
        .add_credential("acme", secret, &Terms::default(), "test", soon())
        .await
        .unwrap();
    assert_eq!(outcome(&elsewhere, Some("acme"), "brought-along").await, "let in");
}

/// Whoever loses the race for a row reads it again.
#[tokio::test]
async fn operators_at_once_do_not_get_in_each_others_way() {
    let world = World::new();
    let (first, _) = world.tenant("acme", None).await;
    let terms = Terms::default();
    let tokens = (0..4).map(|_| world.tenants.add_credential("acme", None, &terms, "test", soon()));
    let revocations = (0..4).map(|_| world.tenants.revoke("acme", &first, "test", soon()));
    let (issued, revoked) = futures::join!(
        futures::future::join_all(tokens),
        futures::future::join_all(revocations)
    );
    assert!(issued.iter().all(Result::is_ok));
    assert!(
        revoked
            .iter()
            .flatten()
            .filter(|credential| credential.revoked.is_some())
            .count()
            == 4
    );
    assert_eq!(world.tenants.credentials("acme", soon()).await.unwrap().len(), 5);
}

/// R-GEN-18.
#[tokio::test]
async fn no_secret_is_stored() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    let page = world.store.scan("control", "", "~", 1_000).await.unwrap();
    assert!(page.rows.len() >= 5);
    for row in page.rows {
        let text = format!("{} {}", row.key, String::from_utf8_lossy(&row.body));
        assert!(!text.contains(&secret), "{text}");
    }
}

/// Removal in steps: refused at once, rows gone, and the name free only when no instance can still let anyone in.
#[tokio::test]
async fn a_removed_tenant_leaves_nothing_once_every_instance_has_noticed() {
    let world = World::new();
    let (_, secret) = world.tenant("acme", None).await;
    let tenant = world.tenants.find("acme", soon()).await.unwrap();
    let row = |key: usize| Write {
        key: format!("u~{key}"),
        stamp: Vec::new(),
        body: Vec::new(),
    };
    for key in 0..250 {
        world
            .store
            .commit(&tenant.id, &[Change::Insert(row(key))])
            .await
            .unwrap();
    }
    let elsewhere = world.elsewhere();
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "let in");
    let mut removal = world.tenants.remove("acme", "test", soon()).await.unwrap();
    assert_eq!(outcome(&world.tenants, Some("acme"), &secret).await, "unknown");
    // As long as another instance lets requests in, every user is still there for them.
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "let in");
    assert!(matches!(removal.step(soon()).await.unwrap(), Progress::Until(_)));
    let range = world.store.scan(&tenant.id, "u~", "u~~", 1_000).await.unwrap();
    assert_eq!(range.rows.len(), 250);
    world.clock.pass(Duration::seconds(60));
    assert_eq!(outcome(&elsewhere, Some("acme"), &secret).await, "unknown");
    for removed in [100, 200, 250] {
        assert_eq!(removal.step(soon()).await.unwrap(), Progress::Removed(removed));
    }
    assert!(matches!(removal.step(soon()).await.unwrap(), Progress::Until(_)));
    drop(removal);
    // A request that was let in elsewhere just before writes one more row.
    world
        .store
        .commit(&tenant.id, &[Change::Insert(row(999))])
        .await
        .unwrap();
    world.clock.pass(Duration::seconds(60));
    let mut removal = world.tenants.remove("acme", "test", soon()).await.unwrap();
    assert_eq!(removal.step(soon()).await.unwrap(), Progress::Removed(1));
    assert_eq!(removal.step(soon()).await.unwrap(), Progress::Done);
    let left = world.store.scan("control", "", "~", 1_000).await.unwrap().rows;
    assert!(left.iter().all(|row| row.key.starts_with("o~")), "{left:?}");
    assert!(world.store.scan(&tenant.id, "", "~", 10).await.unwrap().rows.is_empty());
    world.tenant("acme", None).await;
}

/// A busy store must not leave a credential behind: its secret could never be imported again.
#[tokio::test(start_paused = true)]
async fn a_removal_on_a_busy_store_leaves_nothing_either() {
    let faults = Arc::new(FaultStore::new(Arc::new(SqliteStore::memory().unwrap())));
    let world = World::on(Arc::clone(&faults) as Arc<dyn Store>);
    world.tenant("acme", None).await;
    let mut removal = world.tenants.remove("acme", "test", soon()).await.unwrap();
    world.clock.pass(Duration::seconds(120));
    for commit in (1..12).step_by(2) {
        faults.inject(
            Call::Commit,
            commit..=commit,
            if commit % 4 == 1 {
                Fault::Busy(None)
            } else {
                Fault::LoseAnswer
            },
        );
    }
    assert_eq!(removal.step(soon()).await.unwrap(), Progress::Done);
    let left = world.store.scan("control", "", "~", 1_000).await.unwrap().rows;
    assert!(left.iter().all(|row| row.key.starts_with("o~")), "{left:?}");
}

#[test]
fn a_name_is_checked() {
    let long = "a".repeat(63);
    for (text, name) in [
        ("acme", Some("acme")),
        ("ACME-2", Some("acme-2")),
        ("42", Some("42")),
        (&long, Some(long.as_str())),
        (&format!("{long}a"), None),
        ("a", None),
        ("", None),
        ("v2", None),
        ("Users", None),
        ("-acme", None),
        ("acme-", None),
        ("ac me", None),
        ("acmé", None),
        ("a/b", None),
        ("a~b", None),
    ] {
        assert_eq!(parse_name(text).ok().as_deref(), name, "{text}");
    }
}
