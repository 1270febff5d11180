//! Twenty customers at once, behind an imitated Functions host.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use functions_test_host::{Host, Mode, Options};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    Desk,
    client::{Client, Scene},
};

pub(crate) const CLIENTS: usize = 20;
/// After this a test gives up.
pub(crate) const LONG: Duration = Duration::from_mins(3);

pub(crate) async fn host(desk: &Desk, mode: Mode) -> Host {
    let program = "AzureFunctionsJobHost__customHandler__description__defaultExecutablePath";
    let settings = desk.settings.iter().map(|(name, value)| (*name, value.as_str()));
    let environment = settings.chain([(program, env!("CARGO_BIN_EXE_scimgate"))]);
    let owned = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let options = Options {
        mode: Some(mode),
        environment: owned.collect::<BTreeMap<_, _>>(),
        ..Options::new(env!("CARGO_MANIFEST_DIR"))
    };
    let host = Host::start(options).await.unwrap();
    // Then the first tenant is there.
    while !host.log().iter().any(|line| line.text.contains("scimgate listens")) {
        sleep(Duration::from_millis(20)).await;
    }
    host
}

/// What they do, until it ends.
pub(crate) struct Load {
    pub(crate) scene: Arc<Scene>,
    clients: JoinSet<Client>,
}

impl Load {
    pub(crate) async fn start(host: &Host) -> Self {
        let scene = Scene::new(origin(host));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            clients.spawn(Client::new(&scene, &format!("c{number}")).await.run());
        }
        Self { scene, clients }
    }

    /// From now on they ask this host.
    pub(crate) fn moves_to(&self, host: &Host) {
        *self.scene.origin.lock().unwrap() = origin(host);
    }

    /// Waits until so many more writes were answered; no client ends before.
    pub(crate) async fn goes_on(&mut self, writes: usize) {
        let until = self.scene.acknowledged() + writes;
        while self.scene.acknowledged() < until {
            if let Some(ended) = self.clients.try_join_next() {
                panic!("a client ended: {:?}", ended.err());
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// All that was answered is there, and nothing else; how many writes without an answer are done, and are not.
    pub(crate) async fn ends(self, desk: &Desk, host: Host) -> [usize; 2] {
        let clients = self.scene.stop(self.clients).await;
        let mut kept = 0;
        for client in &clients {
            client.finds_everything().await;
            kept += client.users.len();
        }
        assert_eq!(self.scene.total("Users").await, kept as u64);
        assert_eq!(self.scene.total("Groups").await, CLIENTS as u64);
        host.stop().await;
        desk.is_sound();
        self.scene.unanswered()
    }
}

fn origin(host: &Host) -> String {
    format!("http://{}", host.address())
}
