//! Parses the command line and dispatches.

use std::{process::ExitCode, sync::Arc, time::Duration};

use actix_web::rt::System;
use scimgate::{cli, telemetry};
use tokio::runtime::Builder;

/// How long the end waits for threads that can't be interrupted, such as those of a write to a file. One that asks for the
/// addresses of a name may take without end.
const THREAD_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let command = cli::Cli::read();
    telemetry::start(command.telemetry());
    let code = run(cli::run(command)).unwrap_or_else(|error| {
        eprintln!("scimgate: {error:#}");
        1
    });
    run(telemetry::stop());
    ExitCode::from(code)
}

/// Runs this to its end, and not much longer.
fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = Arc::new(runtime.expect("a process without threads and sockets is of no use"));
    let done = System::with_tokio_rt(|| Arc::clone(&runtime)).block_on(work);
    if let Some(runtime) = Arc::into_inner(runtime) {
        runtime.shutdown_timeout(THREAD_TIME);
    }
    done
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use tokio::task::spawn_blocking;

    use super::{THREAD_TIME, run};

    #[test]
    fn a_thread_that_hangs_does_not_keep_the_process() {
        let (end, hangs) = channel::<()>();
        let (tell, told) = channel();
        thread::spawn(move || {
            run(async { drop(spawn_blocking(move || hangs.recv())) });
            tell.send(())
        });
        assert!(told.recv_timeout(10 * THREAD_TIME).is_ok(), "it waits for the thread");
        drop(end);
    }
}
