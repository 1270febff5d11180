//! What is measured every 30 s: the process as the operating system sees it, its sockets by state, how late its threads
//! are, and the container around it. Read on the exporter's own thread; what a system does not tell is left out.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, global, metrics::Meter};

use super::{PIPELINE, container::Container, ingestion::Ingestion, scope::requests_under_way};

/// Units of `/proc/self/stat`'s times in a second (`USER_HZ`, 100 on every Linux that there is).
const TICKS: f64 = 100.0;
/// Bytes of a page, in which `/proc/self/statm` counts.
const PAGE: u64 = 4_096;
/// How long a task asks to sleep that measures how late it wakes.
const NAP: Duration = Duration::from_millis(100);

/// Longest time by which a task of the last interval woke too late, in microseconds.
static LAG: AtomicU64 = AtomicU64::new(0);
/// Longest time for which a request to storage waited for its turn in the last interval, in microseconds.
static WAIT: AtomicU64 = AtomicU64::new(0);
/// When the process began to be measured.
static SINCE: OnceLock<Instant> = OnceLock::new();

/// Measures how long tasks of this thread wait for their turn, as long as the future is polled; at once over where nobody is
/// to know.
pub async fn watch_scheduler() {
    if PIPELINE.get().is_none() {
        return;
    }
    loop {
        let due = tokio::time::Instant::now() + NAP;
        tokio::time::sleep_until(due).await;
        LAG.fetch_max(micros(due.elapsed()), Ordering::Relaxed);
    }
}

/// Requests to storage waited for their turn, at most so long.
pub fn storage_waited(longest: Duration) {
    WAIT.fetch_max(micros(longest), Ordering::Relaxed);
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Time since the process began to tell of itself.
pub fn uptime() -> Duration {
    SINCE.get_or_init(Instant::now).elapsed()
}

/// Registers everything that is measured.
pub(super) fn measure(ingestion: &Arc<Ingestion>) {
    let meter = global::meter("scimgate");
    // A gap in it, or a fall, is an instance that was dead, frozen or replaced.
    gauge(&meter, "process.uptime", "s", || Some(uptime().as_secs_f64()));
    gauge(&meter, "process.cpu.utilization", "1", share(cpu_seconds));
    gauge(&meter, "process.memory.usage", "By", || {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        Some(real(pages * PAGE))
    });
    gauge(&meter, "process.thread.count", "{thread}", || {
        stat()?.get(17)?.parse().ok()
    });
    gauge(&meter, "process.open_file_descriptors", "{descriptor}", || {
        Some(real(fs::read_dir("/proc/self/fd").ok()?.count() as u64))
    });
    for (name, longest) in [("tokio.scheduler.lag", &LAG), ("db.client.connection.wait_time", &WAIT)] {
        gauge(&meter, name, "s", || {
            Some(Duration::from_micros(longest.swap(0, Ordering::Relaxed)).as_secs_f64())
        });
    }
    gauge(&meter, "http.server.active_requests", "{request}", || {
        Some(real(requests_under_way() as u64))
    });
    meter
        .f64_observable_gauge("system.network.connections")
        .with_unit("{connection}")
        .with_callback(|observer| {
            for (state, number) in connections() {
                observer.observe(real(number), &[KeyValue::new("network.connection.state", state)]);
            }
        })
        .build();
    measure_container(&meter, Container::own());
    let ingestion = Arc::clone(ingestion);
    meter
        .u64_observable_counter("telemetry.export.failures")
        .with_callback(move |observer| observer.observe(ingestion.failures(), &[]))
        .build();
}

fn measure_container(meter: &Meter, container: Container) {
    let of = |read: fn(&Container) -> Option<f64>| {
        let container = container.clone();
        move || read(&container)
    };
    gauge(meter, "container.memory.usage", "By", of(Container::memory));
    gauge(meter, "container.memory.limit", "By", of(Container::memory_limit));
    gauge(meter, "container.cpu.limit", "{cpu}", of(Container::cpu_limit));
    gauge(
        meter,
        "container.cpu.utilization",
        "1",
        share(of(Container::cpu_seconds)),
    );
    gauge(
        meter,
        "container.cpu.throttled",
        "1",
        share(of(Container::throttled_seconds)),
    );
    meter
        .f64_observable_gauge("system.pressure")
        .with_unit("1")
        .with_callback(move |observer| {
            for (resource, share) in container.pressure() {
                observer.observe(share, &[KeyValue::new("system.pressure.resource", resource)]);
            }
        })
        .build();
}

/// Of a sum of seconds, how much it grew by since it was read last, as a share of the time that passed.
fn share(read: impl Fn() -> Option<f64> + Send + Sync) -> impl Fn() -> Option<f64> + Send + Sync {
    let before = Mutex::new((Instant::now(), read().unwrap_or_default()));
    move || {
        let sum = read()?;
        let mut before = before.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let (then, sum_then) = std::mem::replace(&mut *before, (now, sum));
        let passed = now.saturating_duration_since(then).as_secs_f64();
        (passed > 0.0).then(|| (sum - sum_then) / passed)
    }
}

fn gauge(
    meter: &Meter,
    name: &'static str,
    unit: &'static str,
    read: impl Fn() -> Option<f64> + Send + Sync + 'static,
) {
    meter
        .f64_observable_gauge(name)
        .with_unit(unit)
        .with_callback(move |observer| {
            if let Some(value) = read() {
                observer.observe(value, &[]);
            }
        })
        .build();
}

#[expect(clippy::cast_precision_loss, reason = "nobody reads a measurement to the 16th digit")]
fn real(number: u64) -> f64 {
    number as f64
}

/// The fields of `/proc/self/stat` behind the command, which may hold spaces: the third of proc(5) is the first here.
fn stat() -> Option<Vec<String>> {
    let text = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

/// Time on a processor since the start, of user and system.
fn cpu_seconds() -> Option<f64> {
    let stat = stat()?;
    let ticks = |field: usize| stat.get(field)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// This network namespace's TCP sockets by state. Many in `syn_sent` are connections that do not come about; many in
/// `time_wait` are connections that were not used again.
fn connections() -> BTreeMap<&'static str, u64> {
    let mut states: BTreeMap<&str, u64> = STATES.iter().map(|(_, name)| (*name, 0)).collect();
    for file in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let text = fs::read_to_string(file).unwrap_or_default();
        for code in text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)) {
            let name = STATES
                .iter()
                .find(|(known, _)| *known == code)
                .map_or("other", |(_, name)| name);
            *states.entry(name).or_default() += 1;
        }
    }
    states
}

/// States that tell something (`include/net/tcp_states.h`).
const STATES: [(&str, &str); 5] = [
    ("01", "established"),
    ("02", "syn_sent"),
    ("06", "time_wait"),
    ("08", "close_wait"),
    ("0A", "listen"),
];

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{connections, cpu_seconds, stat};

    /// proc(5): the 20th field is the number of threads, the 14th and 15th are times.
    #[test]
    fn the_process_is_measured_as_linux_spells_it() {
        let stat = stat().unwrap();
        assert!(stat[17].parse::<u64>().unwrap() >= 1);
        let before = cpu_seconds().unwrap();
        let mut sum = 0_u64;
        while cpu_seconds().unwrap() < before + 0.02 {
            sum = sum.wrapping_add(1);
        }
        let listening = connections()["listen"];
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(connections()["listen"] >= 1, "{listening}");
    }
}
