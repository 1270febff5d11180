//! Tenants that move: a backup of one store, loaded into another kind of store, and what clients notice of it.

use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
    time::Duration,
};

use scimgate::{
    ambient::System,
    backup::{Exporter, Loaded, Loader, Target},
    store::Store,
    tenants::Tenants,
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::{
    conversation::{self, Named},
    idp,
    tenant::{Tenant, patch_op, user},
    world::{KINDS, Kind, Setup, Way, World, Worlds},
};

/// How long one call to a store may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn exporter(store: Arc<dyn Store>) -> Exporter {
    Exporter {
        tenants: Tenants::new(Arc::clone(&store), Arc::new(System)),
        store,
        ambient: Arc::new(System),
        patience: PATIENCE,
        progress: |_, _| {},
    }
}

/// Loads a tenant of a backup; it must be sound.
pub(crate) async fn load(file: &std::path::Path, name: &str, world: &World) -> Result<Loaded, String> {
    let loader = Loader {
        tenants: Tenants::new(world.store(), Arc::new(System)),
        store: world.store(),
        ambient: Arc::new(System),
        patience: PATIENCE,
        by: "test".to_owned(),
        progress: |_, _, _| {},
        discards: false,
    };
    let opened = std::fs::File::open(file).map_err(|error| error.to_string())?;
    let back = loader
        .load(opened, Some(name))
        .await
        .map_err(|error| error.to_string())?;
    let back = back.into_iter().next().ok_or("nothing was loaded")?;
    match &back.report {
        Some(report) if report.is_sound() => Ok(back),
        report => Err(format!("not sound: {report:?}")),
    }
}

impl Tenant {
    /// The same tenant in another world, beside a server that has never heard of it.
    async fn moved_to(&self, world: &Arc<World>) -> Result<Tenant, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let file = folder.path().join("backup.jsonl");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let tenant = self.world.tenants.find(&self.name, deadline).await;
        let tenant = tenant.map_err(|error| error.to_string())?;
        let target = Target::file(&file).map_err(|error| error.to_string())?;
        let exported = exporter(self.world.store()).write(Some(&tenant), target).await;
        exported.map_err(|error| error.to_string())?;
        load(&file, &self.name, world).await?;
        Ok(Tenant {
            world: Arc::clone(world),
            name: self.name.clone(),
            secret: self.secret.clone(),
        })
    }
}

/// What is asked of both worlds: from where to where.
type Trial = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// Every conversation with Entra, and what else clients keep between two requests.
pub(crate) fn trials(runtime: &Arc<Runtime>, worlds: &Arc<Worlds>) -> Vec<(String, Trial)> {
    let mut trials: Vec<(String, Trial)> = Vec::new();
    let entra = idp::providers().into_iter().find(|folder| folder.ends_with("entra"));
    let conversations: Vec<Arc<Named>> = conversation::all(&entra.expect("there is Entra"))
        .into_iter()
        .map(Arc::new)
        .collect();
    for (parity, [from, to]) in [[KINDS[0], KINDS[1]], [KINDS[1], KINDS[0]]].into_iter().enumerate() {
        // Each of them one way, as two loads take a while.
        for conversation in conversations.iter().skip(parity).step_by(2) {
            let (runtime, worlds, held) = (Arc::clone(runtime), Arc::clone(worlds), Arc::clone(conversation));
            let name = format!("moved/{from}-to-{to}/{}", conversation.name);
            trials.push((
                name,
                Box::new(move || runtime.block_on(async { go_on(&held, &both(&worlds, from, to).await?).await })),
            ));
        }
        let (runtime, worlds) = (Arc::clone(runtime), Arc::clone(worlds));
        trials.push((
            format!("moved/{from}-to-{to}/cursors_and_versions_outlast_a_move"),
            Box::new(move || runtime.block_on(async { keep(&both(&worlds, from, to).await?).await })),
        ));
    }
    trials
}

/// Both believe that they are reached at the same address.
async fn both(worlds: &Worlds, from: Kind, to: Kind) -> Result<[Arc<World>; 2], String> {
    let world = |kind| worlds.world(kind, Way::Direct, Setup::PublicUrl);
    Ok([world(from).await?, world(to).await?])
}

/// Half of the conversation is held in one store and the rest in the other, and each answer is the one expected.
async fn go_on(conversation: &Named, [from, to]: &[Arc<World>; 2]) -> Result<(), String> {
    let counting = Moving::new(Tenant::create(Arc::clone(from)).await, to, usize::MAX);
    conversation.held_by(&counting).await?;
    let half = counting.sent.get() / 2;
    let moving = Moving::new(Tenant::create(Arc::clone(from)).await, to, half);
    conversation.held_by(&moving).await?;
    match moving.moved.get() {
        Some(_) => Ok(()),
        None => Err("it never moved".to_owned()),
    }
}

/// A client whose tenant moves before a request.
struct Moving<'w> {
    tenant: Tenant,
    to: &'w Arc<World>,
    before: usize,
    sent: Cell<usize>,
    moved: OnceCell<Tenant>,
}

impl<'w> Moving<'w> {
    fn new(tenant: Tenant, to: &'w Arc<World>, before: usize) -> Self {
        Self {
            tenant,
            to,
            before,
            sent: Cell::new(0),
            moved: OnceCell::new(),
        }
    }
}

impl idp::Client for Moving<'_> {
    fn base(&self) -> String {
        self.tenant.url()
    }

    async fn send(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(String, String)],
        body: Option<Vec<u8>>,
    ) -> idp::Answer {
        if self.sent.replace(self.sent.get() + 1) == self.before {
            let moved = self.tenant.moved_to(self.to).await;
            let moved = moved.unwrap_or_else(|error| panic!("the tenant can't move: {error}"));
            assert!(self.moved.set(moved).is_ok());
        }
        let tenant = self.moved.get().unwrap_or(&self.tenant);
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let answer = tenant
            .raw(method, path_and_query, &headers, body.unwrap_or_default())
            .await;
        idp::Answer {
            status: answer.status,
            headers: answer.headers,
            body: answer.bytes,
        }
    }
}

/// A cursor goes on where the last page ended, and a version is the one that the client knows.
async fn keep([from, to]: &[Arc<World>; 2]) -> Result<(), String> {
    let tenant = Tenant::create(Arc::clone(from)).await;
    let mut ids = Vec::new();
    for number in 0..25 {
        ids.push(tenant.user(&format!("user{number:02}")).await.id().to_owned());
    }
    ids.sort();
    let page = tenant.get("/Users?count=10&cursor").await.is(200);
    let version = tenant.get(&format!("/Users/{}", ids[0])).await.is(200).header("etag");
    let version = version.ok_or("a user has a version")?;
    let moved = tenant.moved_to(to).await?;
    let mut found = page.listed("/id");
    let mut cursor = page.text("/nextCursor").to_owned();
    for size in [10, 5] {
        let page = moved.get(&format!("/Users?count=10&cursor={cursor}")).await.is(200);
        assert_eq!(page.listed("/id").len(), size, "{page}");
        assert_eq!(page.total(), 25);
        found.extend(page.listed("/id"));
        page.body["nextCursor"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut cursor);
    }
    assert_eq!(found, ids);
    let path = format!("/Users/{}", ids[0]);
    let asked = moved.raw("GET", &path, &[("If-None-Match", &version)], "").await;
    assert_eq!(asked.status, 304, "{asked}");
    let rename = patch_op(json!([{ "op": "replace", "path": "title", "value": "Tour Guide" }]));
    let headers = [("If-Match", &*version), ("Content-Type", crate::tenant::SCIM_JSON)];
    moved.raw("PATCH", &path, &headers, rename.to_string()).await.is(200);
    let taken = moved.post("/Users", user("user07")).await;
    assert_eq!(taken.status, 409, "{taken}");
    Ok(())
}
