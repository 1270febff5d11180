//! The doctor finds and names what is wrong with upstreams that are wrong on purpose, and nothing else; and finds nothing
//! wrong with the service itself.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use functions_test_host::Mode;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scimgate::{
    ambient::System,
    doctor::{
        self, Pace, Plan,
        endpoint::Endpoint,
        fault::Severity,
        report::{Finding, Report},
    },
};
use tokio::{runtime::Runtime, sync::Notify};

mod clean;
mod http1;
mod http2;
mod life;
mod restart;
mod sloppy;
#[cfg(unix)]
mod stopped;
#[cfg(unix)]
mod terminal;
mod tls;
mod upstream;

use clean::{FOREIGN, Service};
use upstream::SECRET;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(8);
    let runtime = Arc::new(Runtime::new().expect("a runtime starts"));
    let service = Service::start();
    let address = service.address;
    let mut trials = vec![
        trial(&runtime, "clean::scimgate".to_owned(), move || clean::directly(address)),
        trial(&runtime, "clean::functions_proxy".to_owned(), || {
            clean::behind_host(Mode::Proxy)
        }),
        trial(&runtime, "clean::functions_forward".to_owned(), || {
            clean::behind_host(Mode::Forward)
        }),
        #[cfg(unix)]
        trial(&runtime, "clean::without_a_trace".to_owned(), clean::without_a_trace),
    ];
    trials.extend(removals(&runtime));
    trials.extend(connections(&runtime, address));
    trials.extend(restarts(&runtime, address));
    for foreign in FOREIGN {
        let name = format!("foreign::{}", foreign.server);
        trials.push(with_python(&runtime, name, move |python| foreign.examine(python)));
    }
    #[cfg(unix)]
    for row in terminal::ROWS {
        let name = format!("terminal::{}", row.name);
        trials.push(with_python(&runtime, name, |python| terminal::answered(row, python)));
    }
    for (group, may_write, rows) in [
        ("http1", false, http1::rows()),
        ("life", true, life::rows()),
        ("condition", true, http1::conditions()),
    ] {
        for row in rows {
            let name = format!("{group}::{}", row.name);
            trials.push(trial(&runtime, name, move || async move {
                let upstream = upstream::serve(row.wrong, address).await;
                named(&visit(plan(&format!("http://{upstream}"), may_write)).await, row.finds)
            }));
        }
    }
    for row in http2::rows() {
        let name = format!("http2::{}", row.name);
        trials.push(trial(&runtime, name, move || async move {
            let upstream = http2::serve(row.act, address).await;
            named(&visit(plan(&format!("http://{upstream}"), false)).await, row.finds)
        }));
    }
    for front in tls::fronts() {
        let name = format!("tls::{}", front.name);
        trials.push(trial(&runtime, name, move || async move {
            let finds = front.finds;
            let (upstream, authorities) = tls::serve(front, address).await;
            let mut plan = plan(&format!("https://localhost:{}", upstream.port()), true);
            plan.authorities = authorities;
            named(&visit(plan).await, finds)
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// However the visit ends, and whatever it meets.
fn removals(runtime: &Arc<Runtime>) -> Vec<Trial> {
    let mut trials = vec![trial(
        runtime,
        "sloppy::stopped_while_a_create_is_under_way".to_owned(),
        sloppy::stopped_while_a_create_is_under_way,
    )];
    for row in sloppy::ROWS {
        trials.push(trial(runtime, format!("sloppy::{}", row.name), || sloppy::examine(row)));
    }
    #[cfg(unix)]
    for row in stopped::ROWS {
        let name = format!("stopped::{}", row.name);
        trials.push(trial(runtime, name, || stopped::nothing_is_left(row)));
    }
    trials
}

fn restarts(runtime: &Arc<Runtime>, address: SocketAddr) -> Vec<Trial> {
    let mut trials = vec![
        trial(runtime, "restart::behind_tls".to_owned(), move || {
            restart::behind_tls(address)
        }),
        trial(
            runtime,
            "restart::scimgate_is_killed".to_owned(),
            restart::service_is_killed,
        ),
        #[cfg(unix)]
        trial(
            runtime,
            "restart::scimgate_is_replaced".to_owned(),
            restart::service_is_replaced,
        ),
    ];
    for row in restart::ROWS {
        trials.push(trial(runtime, format!("restart::{}", row.name), || {
            restart::watched(row)
        }));
    }
    trials
}

/// A service that is not there, or not asked as it wants to be.
fn connections(runtime: &Arc<Runtime>, address: SocketAddr) -> [Trial; 8] {
    [
        trial(runtime, "tenant_url::is_unknown".to_owned(), move || async move {
            named(
                &visit(plan_of(&format!("http://{address}/api/scim"), true)).await,
                &["tenant-url"],
            )
        }),
        trial(runtime, "tenant_url::is_paused".to_owned(), clean::paused),
        trial(runtime, "tenant_url::has_an_endpoint".to_owned(), move || async move {
            let report = visit(plan_of(&format!("http://{address}/scim/acme/Users"), true)).await;
            named(&report, &["tenant-url"])?;
            is_said(&report, "tenant-url", &format!("meant is http://{address}/scim/acme"))
        }),
        trial(runtime, "proxy::makes_a_tunnel".to_owned(), move || async move {
            let report = tls::through_a_proxy("HTTP/1.1 200 OK\r\n\r\n", address).await;
            named(&report, &[])?;
            is_said(&report, "through-proxy", "CONNECT through 127.0.0.1:")
        }),
        trial(runtime, "proxy::wants_a_password".to_owned(), move || async move {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
            let report = tls::through_a_proxy(refusal, address).await;
            is_said(
                &report,
                "no-connection",
                ": it answers CONNECT with HTTP/1.1 407 Proxy Authentication Required",
            )
        }),
        trial(runtime, "no_listener".to_owned(), unreachable),
        trial(runtime, "http1::without_token".to_owned(), move || {
            http1::without_token(address)
        }),
        trial(runtime, "tls::plain_h1_vs_tls".to_owned(), move || async move {
            named(
                &visit(plan(&format!("https://{address}"), false)).await,
                &["plain-port"],
            )
        }),
    ]
}

fn trial<F: Future<Output = Result<(), String>>>(
    runtime: &Arc<Runtime>,
    name: String,
    run: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let runtime = Arc::clone(runtime);
    Trial::test(name, move || runtime.block_on(run()).map_err(Failed::from))
}

fn with_python<F: Future<Output = Result<(), String>>>(
    runtime: &Arc<Runtime>,
    name: String,
    run: impl FnOnce(String) -> F + Send + 'static,
) -> Trial {
    let runtime = Arc::clone(runtime);
    Trial::ignorable_test(name, move || {
        let Some(python) = clean::python() else {
            return Ok(Completion::ignored_with("SCIMGATE_DOCTOR_PYTHON is not set"));
        };
        runtime.block_on(run(python))?;
        Ok(Completion::Completed)
    })
}

/// Everything is looked at, in little time.
fn pace() -> Pace {
    Pace {
        silence: Duration::from_millis(250),
        patience: Duration::from_secs(5),
        spacing: Duration::from_millis(2),
        idle: vec![Duration::from_millis(400)],
        burst: Duration::from_millis(400),
        unread: 1,
        ..Pace::standard()
    }
}

fn plan(origin: &str, may_write: bool) -> Plan {
    plan_of(&format!("{origin}/scim/acme"), may_write)
}

fn plan_of(url: &str, may_write: bool) -> Plan {
    Plan {
        endpoint: Endpoint::parse(url).expect("it is a URL"),
        token: Some(SECRET.to_owned()),
        proxy: None,
        authorities: Vec::new(),
        may_write,
        pace: pace(),
    }
}

async fn visit(plan: Plan) -> Report {
    let report = doctor::run(plan, Arc::new(System), &|_| (), &Notify::new()).await;
    report.expect("a visit can be made")
}

async fn unreachable() -> Result<(), String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    drop(listener);
    let report = visit(plan(&format!("http://{address}"), true)).await;
    named(&report, &["no-connection"])?;
    if report.is_reached || !report.left.is_empty() {
        return Err(format!("{report:#?}"));
    }
    Ok(())
}

/// What is worse than a note.
fn wrong(report: &Report) -> impl Iterator<Item = &Finding> {
    let is_wrong = |finding: &&Finding| finding.fault.entry().severity > Severity::Note;
    report.findings.iter().filter(is_wrong)
}

fn ids(report: &Report) -> Vec<&'static str> {
    wrong(report).map(|finding| finding.fault.entry().id).collect()
}

fn is_said(report: &Report, id: &str, words: &str) -> Result<(), String> {
    let mut findings = report.findings.iter();
    if findings.any(|finding| finding.fault.entry().id == id && finding.seen.contains(words)) {
        return Ok(());
    }
    Err(format!("expected {id} and {words:?}: {report:#?}"))
}

/// The first of these is found, and nothing worse than a note but these; nothing where there are none. `a|b` is either of the
/// two, where it depends on how busy the machine is which one it is.
fn named(report: &Report, finds: &[&str]) -> Result<(), String> {
    let ids = ids(report);
    let is = |find: &str, id: &str| find.split('|').any(|find| find == id);
    let is_first = |first: &&str| ids.iter().any(|id| is(first, id));
    if finds.first().is_none_or(is_first) && ids.iter().all(|id| finds.iter().any(|find| is(find, id))) {
        return Ok(());
    }
    let found: Vec<_> = wrong(report).collect();
    Err(format!("expected {finds:?}, found {ids:?}: {found:#?}"))
}
