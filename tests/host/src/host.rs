//! The host: loads, listens, restarts, stops.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::function::{self, Function};
use crate::log::{Line, Log};
use crate::server;
use crate::settings::Settings;
use crate::throttle::Throttle;
use crate::worker::Worker;
use crate::{Error, Options};

/// A running host. Dropping it kills the handler and closes every connection; when the process of the host itself is
/// killed, the handler stays behind.
pub struct Host {
    shared: Arc<Shared>,
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) log: Log,
    address: SocketAddr,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Running(Arc<JobHost>),
    Restarting,
    Stopped,
}

/// What a restart of the job host makes anew.
pub(crate) struct JobHost {
    pub(crate) settings: Arc<Settings>,
    pub(crate) functions: Vec<Function>,
    /// `None` without functions: then there is nothing to start.
    pub(crate) worker: Option<Arc<Worker>>,
    pub(crate) throttle: Throttle,
    in_flight: watch::Sender<usize>,
}

/// A request under way.
pub(crate) struct InFlight(watch::Sender<usize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Host {
    /// Loads the script root, listens, and starts the handler without waiting until it is ready: requests are held
    /// meanwhile.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let unusable = |source| Error::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(unusable)?;
        let address = listener.local_addr().map_err(unusable)?;
        let log = Log::new(options.log.clone());
        let shared = Arc::new(Shared {
            options,
            log,
            address,
            state: watch::Sender::new(State::Restarting),
        });
        shared.run(JobHost::load(&shared)?);
        let accepting = tokio::spawn(accept(Arc::clone(&shared), listener));
        Ok(Self {
            shared,
            address,
            accepting,
        })
    }

    /// Where the host listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handler's process id; `None` while there is no process.
    pub fn handler_pid(&self) -> Option<u32> {
        self.shared.worker()?.pid()
    }

    /// The functions that were loaded, in the order in which they are tried: name, methods (none: all), route.
    pub fn functions(&self) -> Vec<(String, Vec<String>, String)> {
        let State::Running(job_host) = self.shared.state() else {
            return Vec::new();
        };
        let describe = |function: &Function| {
            let methods = function.methods.clone().unwrap_or_default();
            (function.name.clone(), methods, function.template.text().to_owned())
        };
        job_host.functions.iter().map(describe).collect()
    }

    /// Kills the handler from outside, as `kill -9` does; the host sees a crash. Returns when the process is gone.
    pub async fn kill_handler(&self) {
        let Some(worker) = self.shared.worker() else { return };
        let before = worker.pid();
        worker.crash();
        while before.is_some() && worker.pid() == before {
            tokio::time::sleep(self.shared.options.timing.probe_interval).await;
        }
    }

    /// Restarts the job host as a changed host.json does: everything is read again, and a new handler process is
    /// started on a new port before the old one is killed; with a fixed port, after.
    pub async fn restart_job_host(&self) -> Result<(), Error> {
        let shared = &self.shared;
        let State::Running(old) = shared.state() else {
            return Ok(());
        };
        if old.settings.port.is_some() {
            shared.state.send_replace(State::Restarting);
            old.stop(shared).await;
            shared.run(JobHost::load(shared)?);
        } else {
            shared.run(JobHost::load(shared)?);
            old.stop(shared).await;
        }
        Ok(())
    }

    /// The newest lines of the log, oldest first; at most 10,000.
    pub fn log(&self) -> Vec<Line> {
        self.shared.log.lines()
    }

    /// Waits until the host gives up: after the handler's third error, or when the handler never got ready. The real
    /// host's process ends then; this one answers 503 until it is stopped.
    pub async fn gave_up(&self) {
        let mut state = self.shared.state.subscribe();
        // The sender lives as long as `self`.
        let _ = state.wait_for(|state| matches!(state, State::Stopped)).await;
    }

    /// Kills the handler with `SIGKILL`, as the host always does, and closes every connection.
    pub async fn stop(self) {
        self.accepting.abort();
        if let Some(worker) = self.shared.worker() {
            worker.stop().await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.accepting.abort();
        self.shared.worker().iter().for_each(|worker| worker.stop_soon());
    }
}

impl Shared {
    /// The job host, waited for while it restarts. `None`: 503.
    pub(crate) async fn running(&self) -> Option<Arc<JobHost>> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Restarting));
        match timeout(self.options.timing.availability_timeout, settled)
            .await
            .ok()?
            .ok()?
            .clone()
        {
            State::Running(job_host) => Some(job_host),
            State::Restarting | State::Stopped => None,
        }
    }

    fn state(&self) -> State {
        self.state.borrow().clone()
    }

    fn worker(&self) -> Option<Arc<Worker>> {
        match self.state() {
            State::Running(job_host) => job_host.worker.clone(),
            State::Restarting | State::Stopped => None,
        }
    }

    /// Makes this the job host that serves, and stops when its worker gives up.
    fn run(self: &Arc<Self>, job_host: JobHost) {
        let job_host = Arc::new(job_host);
        if let Some(worker) = job_host.worker.clone() {
            let (shared, this) = (Arc::downgrade(self), Arc::downgrade(&job_host));
            tokio::spawn(async move {
                worker.gave_up().await;
                let (Some(shared), Some(this)) = (shared.upgrade(), this.upgrade()) else {
                    return;
                };
                let is_current = matches!(shared.state(), State::Running(current) if Arc::ptr_eq(&current, &this));
                if is_current {
                    shared.state.send_replace(State::Stopped);
                    worker.stop().await;
                }
            });
        }
        self.state.send_replace(State::Running(job_host));
    }
}

impl JobHost {
    fn load(shared: &Shared) -> Result<Self, Error> {
        let options = &shared.options;
        let root = std::path::absolute(&options.root).map_err(|source| Error::Read {
            file: options.root.clone(),
            source,
        })?;
        let settings = Settings::load(&root, options.mode, &options.environment, shared.address)?;
        let settings = Arc::new(settings);
        let functions = function::load_all(&settings, &shared.log)?;
        let worker = if functions.is_empty() {
            shared.log.information("No job functions found.");
            None
        } else {
            Some(Worker::start(
                Arc::clone(&settings),
                &options.timing,
                shared.log.clone(),
            )?)
        };
        let throttle = Throttle::new(&settings);
        Ok(Self {
            settings,
            functions,
            worker,
            throttle,
            in_flight: watch::Sender::new(0),
        })
    }

    pub(crate) fn enter(&self) -> InFlight {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self.in_flight.clone())
    }

    /// Lets requests end for a while, then kills the handler.
    async fn stop(&self, shared: &Shared) {
        let mut in_flight = self.in_flight.subscribe();
        let idle = in_flight.wait_for(|count| *count == 0);
        // What is still under way after the grace dies with the process.
        let _ = timeout(shared.options.timing.stop_grace, idle).await;
        if let Some(worker) = &self.worker {
            worker.stop().await;
        }
    }
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // A failed accept concerns one connection (or too many open files, which passes).
                let Ok((stream, peer)) = accepted else { continue };
                // Without it answers are only slower.
                let _ = stream.set_nodelay(true);
                connections.spawn(server::serve(Arc::clone(&shared), stream, peer));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
