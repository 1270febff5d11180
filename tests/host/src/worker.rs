//! One job host's dispatcher: starts the handler, probes it, restarts it, gives up.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use crate::log::Log;
use crate::pool::Pool;
use crate::probe;
use crate::process::Process;
use crate::settings::Settings;
use crate::{Error, Mode, Timing};

/// The exit code of an intentional restart, which is not counted.
const RESTART_CODE: i32 = 200;

/// The error event at which the host stops.
const MAX_ERRORS: usize = 3;

/// The dispatcher's state, as requests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Initializing,
    /// Also after an exit with code 0, which nothing follows.
    Initialized,
    Restarting,
    /// After the third error: the host stops.
    GivenUp,
}

/// A handler process and its successors on one port.
pub(crate) struct Worker {
    state: watch::Sender<State>,
    commands: mpsc::UnboundedSender<Command>,
    pid: Arc<AtomicU32>,
    pool: Pool,
    probe_pool: Pool,
    initialization_timeout: Duration,
}

enum Command {
    /// `kill -9` from outside.
    Crash,
    /// Kill the process with that id and start again, for a function that ran out of time.
    Restart(u32),
    /// Kill, and nothing after it; answered by dropping the sender.
    Stop(mpsc::Sender<()>),
}

impl Worker {
    /// Starts the handler without waiting for it.
    pub(crate) fn start(settings: Arc<Settings>, timing: &Timing, log: Log) -> Result<Arc<Self>, Error> {
        let port = choose_port(settings.port)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let pool = Pool::new(address, timing);
        // FORWARD shares the prober's HttpClient, YARP has its own.
        let probe_pool = if settings.mode == Mode::Forward {
            pool.clone()
        } else {
            Pool::new(address, timing)
        };
        let initialization_timeout = timing.initialization_timeout.unwrap_or(settings.initialization_timeout);
        let (commands, receiver) = mpsc::unbounded_channel();
        let worker = Arc::new(Self {
            state: watch::Sender::new(State::Initializing),
            commands,
            pid: Arc::default(),
            pool,
            probe_pool: probe_pool.clone(),
            initialization_timeout,
        });
        let dispatcher = Dispatcher {
            state: worker.state.clone(),
            pid: Arc::clone(&worker.pid),
            settings,
            port,
            probe_pool,
            initialization_timeout,
            probe_interval: timing.probe_interval,
            error_window: timing.error_window,
            errors: Vec::new(),
            log,
        };
        tokio::spawn(dispatcher.run(receiver));
        Ok(worker)
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn probe_pool(&self) -> &Pool {
        &self.probe_pool
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid != 0)
    }

    /// Holds an invocation until the handler is ready. False when the host gives up: after four times the
    /// initialization time-out, or because of the handler's third error. (The host polls every 25 ms.)
    pub(crate) async fn ready(&self, log: &Log) -> bool {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| matches!(state, State::Initialized | State::GivenUp));
        if let Ok(state) = timeout_at(Instant::now() + self.initialization_timeout * 4, settled).await {
            return state.is_ok_and(|state| *state == State::Initialized);
        }
        log.error("Initialization timed out and host is shutting down");
        self.state.send_replace(State::GivenUp);
        false
    }

    pub(crate) fn crash(&self) {
        // The dispatcher has ended only after `stop`.
        let _ = self.commands.send(Command::Crash);
    }

    /// Kills that process and starts it again, unless another has taken its place.
    pub(crate) fn restart(&self, pid: Option<u32>) {
        let _ = pid.map(|pid| self.commands.send(Command::Restart(pid)));
    }

    /// Kills the handler for good.
    pub(crate) async fn stop(&self) {
        let (done, mut wait) = mpsc::channel(1);
        let _ = self.commands.send(Command::Stop(done));
        wait.recv().await;
    }

    /// The same, without waiting.
    pub(crate) fn stop_soon(&self) {
        let _ = self.commands.send(Command::Stop(mpsc::channel(1).0));
    }

    /// Waits until the state changes to giving up.
    pub(crate) async fn gave_up(&self) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| *state == State::GivenUp).await;
    }
}

fn choose_port(fixed: Option<u16>) -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, fixed.unwrap_or(0)));
    bound
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| match fixed {
            Some(port) => Error::Port { port, source },
            None => Error::Listen {
                address: (Ipv4Addr::LOCALHOST, 0).into(),
                source,
            },
        })
}

struct Dispatcher {
    state: watch::Sender<State>,
    pid: Arc<AtomicU32>,
    settings: Arc<Settings>,
    port: u16,
    probe_pool: Pool,
    initialization_timeout: Duration,
    probe_interval: Duration,
    error_window: Duration,
    errors: Vec<Instant>,
    log: Log,
}

/// What ends one process's part of the dispatcher's work.
enum End {
    /// Start again; true: count it as an error.
    Again(bool),
    Stopped(mpsc::Sender<()>),
}

impl Dispatcher {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            match self.one_process(&mut commands).await {
                Some(End::Again(is_error)) => {
                    if is_error && self.is_last_error() {
                        self.log
                            .error("Exceeded http worker restart retry count. Shutting down Functions Host");
                        self.state.send_replace(State::GivenUp);
                    }
                    if *self.state.borrow() == State::GivenUp {
                        return wait_for_stop(&mut commands).await;
                    }
                    self.state.send_replace(State::Restarting);
                }
                Some(End::Stopped(done)) => return drop(done),
                None => return,
            }
        }
    }

    /// Runs one process to its end. `None`: nobody holds the worker any more.
    async fn one_process(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) -> Option<End> {
        let mut process = match Process::spawn(&self.settings, self.port, &self.log) {
            Ok(process) => Some(process),
            Err(error) => {
                // The host swallows this: the state stays, and the first invocation hangs (inferred).
                self.log.error(format!(
                    "Failed to start '{}': {error}",
                    self.settings.program.display()
                ));
                None
            }
        };
        if let Some(process) = &process {
            self.pid.store(process.pid(), Ordering::Relaxed);
            self.log.information(format!(
                "Worker process {} started on port {}.",
                process.pid(),
                self.port
            ));
        }
        let mut readiness = Box::pin(self.readiness(process.is_some()));
        let mut is_probing = true;
        let end = loop {
            tokio::select! {
                command = commands.recv() => match command? {
                    Command::Crash => process.iter_mut().for_each(Process::crash),
                    Command::Restart(pid) if process.as_ref().is_some_and(|process| process.pid() == pid) => {
                        break End::Again(false);
                    }
                    Command::Restart(_) => {}
                    Command::Stop(done) => break End::Stopped(done),
                },
                exit = ended(&mut process) => {
                    process = None;
                    self.pid.store(0, Ordering::Relaxed);
                    match exit.code {
                        // Closed, not restarted; the state stays what it is.
                        Some(0) => self.log.information(exit.text),
                        Some(RESTART_CODE) => {
                            self.log.information(format!("Intentional restart. {}", exit.text));
                            break End::Again(false);
                        }
                        _ => {
                            self.log.error(exit.text);
                            break End::Again(true);
                        }
                    }
                }
                ready = &mut readiness, if is_probing => {
                    is_probing = false;
                    if !ready {
                        self.log.error("Readiness probe timed out.");
                        break End::Again(true);
                    }
                    self.log.information("Worker process started and initialized.");
                    self.state.send_if_modified(|state| {
                        let waits = *state != State::GivenUp;
                        *state = if waits { State::Initialized } else { *state };
                        waits
                    });
                }
            }
        };
        if let Some(process) = process {
            self.pid.store(0, Ordering::Relaxed);
            self.log
                .information(format!("Killing worker process {}.", process.pid()));
            process.kill().await;
        }
        Some(end)
    }

    /// True once `GET /` no longer fails with a socket error, false after the initialization time-out. Without a
    /// process the host never gets to probing.
    fn readiness(&self, has_process: bool) -> impl Future<Output = bool> + Send + 'static {
        let (pool, forwarding) = (self.probe_pool.clone(), self.settings.forwarding);
        let (timeout, interval) = (self.initialization_timeout, self.probe_interval);
        async move {
            if !has_process {
                std::future::pending::<()>().await;
            }
            let deadline = Instant::now() + timeout;
            // The probe itself is not cut off at the deadline: a handler that accepts but does not answer blocks.
            while !probe::answers(&pool, !forwarding).await {
                if Instant::now() >= deadline {
                    return false;
                }
                sleep(interval).await;
            }
            true
        }
    }

    /// Counts an error event; those more than the error window after their predecessor start a new count.
    fn is_last_error(&mut self) -> bool {
        let now = Instant::now();
        if self.errors.last().is_some_and(|last| now - *last > self.error_window) {
            self.errors.clear();
        }
        self.errors.push(now);
        self.errors.len() >= MAX_ERRORS
    }
}

async fn ended(process: &mut Option<Process>) -> crate::process::Exit {
    match process {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

async fn wait_for_stop(commands: &mut mpsc::UnboundedReceiver<Command>) {
    while let Some(command) = commands.recv().await {
        if matches!(command, Command::Stop(_)) {
            return;
        }
    }
}
