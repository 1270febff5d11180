//! Never the cause of the 502: the service behind a real Envoy, with HTTP/1.1 and with HTTP/2, and what makes sure that
//! this would notice: the same behind upstreams that are wrong on purpose.
//!
//! `SCIMGATE_ENVOY` names the program (`./test envoy` installs and names it), `SCIMGATE_ENVOY_REQUESTS` how many requests
//! each of the two versions gets.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scimgate::{
    ambient::System,
    doctor::{self, Pace, Plan, endpoint::Endpoint},
};
use tokio::{
    runtime::Runtime,
    sync::Notify,
    task::{JoinSet, spawn},
};

mod broken;
mod load;
mod proxy;

use broken::{FAULTS, Fault};
use load::Service;
use proxy::{Envoy, Findings, Version};

/// Requests of a run of one HTTP version, unless more are asked for.
const REQUESTS: usize = 20_000;

/// How often one of two services is restarted.
const RESTARTS: usize = 2;

/// Envoy closes an idle HTTP/2 connection as soon as it is told that the upstream goes away (RFC 9113 §6.8), in the middle of
/// what it has read, and counts the rest as a protocol error. It has no request on such a connection: every one is answered,
/// none has a flag, and no connection is destroyed with one.
const IDLE_GOAWAY: &str = "upstream_cx_protocol_error";

/// Connections that Envoy closed with a request on them. It does so by itself where an answer comes before the end of its
/// request, such as a 413; no load has one.
const CUT_SHORT: &str = "upstream_cx_destroy_local_with_active_rq";

/// How long a counter-proof may look for the text.
const LOOKING: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each of them is a load of its own.
    arguments.test_threads.get_or_insert(1);
    let runtime = Arc::new(Runtime::new().expect("a runtime starts"));
    let mut trials = Vec::new();
    for version in [Version::Http1, Version::Http2] {
        trials.push(trial(&runtime, format!("clean::{version}"), move || clean(version)));
        trials.push(trial(&runtime, format!("doctor::{version}"), move || examined(version)));
        trials.push(trial(&runtime, format!("restarted::{version}"), move || {
            restarted(version)
        }));
    }
    // None, one that hardly any header fits into, and the usual one.
    for table in [0, 100, 4096] {
        let name = format!("malformed::h2_with_a_table_of_{table}");
        trials.push(trial(&runtime, name, move || malformed(table)));
    }
    for fault in FAULTS {
        for retries in [false, true] {
            let name = format!("noticed::{fault}{}", if retries { "_and_retried" } else { "" });
            trials.push(trial(&runtime, name, move || noticed(fault, retries)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial<F: Future<Output = Result<(), String>>>(
    runtime: &Arc<Runtime>,
    name: String,
    run: impl FnOnce() -> F + Send + 'static,
) -> Trial {
    let runtime = Arc::clone(runtime);
    Trial::ignorable_test(name, move || {
        if proxy::program().is_none() {
            return Ok(Completion::ignored_with("SCIMGATE_ENVOY is not set"));
        }
        runtime
            .block_on(run())
            .map(|()| Completion::Completed)
            .map_err(Failed::from)
    })
}

fn requests() -> usize {
    let asked = functions_test_host::process_environment().remove("SCIMGATE_ENVOY_REQUESTS");
    asked.map_or(REQUESTS, |text| {
        text.parse().expect("SCIMGATE_ENVOY_REQUESTS is a number")
    })
}

/// The service gives Envoy nothing to complain of.
async fn clean(version: Version) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let service = Service::start(folder.path(), 0)?;
    let envoy = Envoy::start(&[service.address], version, false).await?;
    let client = scimgate::app::http_client().map_err(|error| error.to_string())?;
    let (began, requests) = (Instant::now(), requests());
    let sent = load::run(&client, envoy.address, move |sent| sent < requests).await;
    let findings = unfaulted(envoy, sent, &[]).await?;
    let took = began.elapsed().as_secs_f64();
    println!(
        "clean::{version}: {} clients, each answer with the status it must have, {took:.1} s: {findings}",
        load::CLIENTS,
    );
    Ok(())
}

/// Neither the doctor, who looks at Envoy and the service behind it, finds anything, nor Envoy while it does so.
async fn examined(version: Version) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let service = Service::start(folder.path(), 0)?;
    let envoy = Envoy::start(&[service.address], version, false).await?;
    let plan = Plan {
        endpoint: Endpoint::parse(&format!("http://{}/scim/acme", envoy.address))?,
        token: Some(load::SECRET.to_owned()),
        proxy: None,
        authorities: Vec::new(),
        may_write: true,
        pace: Pace::quick(),
    };
    let report = doctor::run(plan, Arc::new(System), &|_| (), &Notify::new()).await?;
    let findings = envoy.stop().await;
    if !report.is_clean() || !report.is_complete || !report.left.is_empty() || !findings.faults().is_empty() {
        return Err(format!("{report:#?}\n{}", findings.faults().join("\n")));
    }
    println!(
        "doctor::{version}: nothing is wrong in {} requests: {findings}",
        report.requests
    );
    Ok(())
}

/// Requests that Envoy passes on and HTTP/2 calls malformed are answered in the compression that Envoy has asked for, the first
/// of a connection, too, which nobody else notices.
async fn malformed(table: u32) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let service = Service::start(folder.path(), 0)?;
    let envoy = Envoy::start_with_table(&[service.address], Version::Http2, false, table).await?;
    let (bare, sound) = ("userName%20eq%20\"bjensen\"", "userName%20eq%20%22bjensen%22");
    let asked = [bare, sound, bare, bare, sound];
    for filter in asked {
        let said = load::ask_bare(envoy.address, filter).await?;
        let expected = if filter == bare {
            "HTTP/1.1 400 "
        } else {
            "HTTP/1.1 200 "
        };
        if !said.starts_with(expected) {
            return Err(format!("{filter}: {said}\n{}", envoy.stop().await.faults().join("\n")));
        }
    }
    let findings = unfaulted(envoy, Ok(asked.len()), &[]).await?;
    if findings.stat("upstream_cx_total") != 1 {
        return Err(format!("they were not on one connection: {findings}"));
    }
    println!("malformed::h2_with_a_table_of_{table}: {findings}");
    Ok(())
}

/// Two services on one file are restarted, one after the other, and no client notices.
async fn restarted(version: Version) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut services = [Service::start(folder.path(), 0)?, Service::start(folder.path(), 0)?];
    let envoy = Envoy::start(&services.each_ref().map(|service| service.address), version, false).await?;
    let client = scimgate::app::http_client().map_err(|error| error.to_string())?;
    let goes_on = Arc::new(AtomicBool::new(true));
    let (address, more) = (envoy.address, Arc::clone(&goes_on));
    let load = spawn(async move { load::run(&client, address, move |_| more.load(Ordering::Relaxed)).await });
    for round in 0..RESTARTS {
        let service = &mut services[round % 2];
        service.terminate()?;
        envoy.until_ready(1).await?;
        let code = service.ended().await?;
        if code != Some(143) {
            return Err(format!("it ended with {code:?}"));
        }
        *service = Service::start(folder.path(), service.address.port())?;
        envoy.until_ready(2).await?;
    }
    goes_on.store(false, Ordering::Relaxed);
    let sent = load.await.map_err(|error| error.to_string())?;
    let harmless: &[&str] = if version == Version::Http2 { &[IDLE_GOAWAY] } else { &[] };
    let findings = unfaulted(envoy, sent, harmless).await?;
    println!(
        "restarted::{version}: {RESTARTS} restarts under {} clients, each answer with the status it must have: {findings}",
        load::CLIENTS,
    );
    Ok(())
}

/// Stops an Envoy that must have nothing to complain of after a load, but for these statistics.
async fn unfaulted(envoy: Envoy, sent: Result<usize, String>, harmless: &[&str]) -> Result<Findings, String> {
    let findings = envoy.stop().await;
    let mut faults = findings.faults();
    let sent = sent.map_err(|error| format!("{error}\n{}", faults.join("\n")))?;
    faults.retain(|fault| !harmless.iter().any(|statistic| fault.starts_with(statistic)));
    if findings.stat(CUT_SHORT) > 0 {
        faults.push(format!("{CUT_SHORT}: {}", findings.stat(CUT_SHORT)));
    }
    if findings.requests != sent || findings.stat("upstream_rq_total") != sent as u64 {
        return Err(format!("{sent} requests were sent, Envoy saw {}", findings.requests));
    }
    if !faults.is_empty() {
        return Err(faults.join("\n"));
    }
    Ok(findings)
}

/// What the question that this project began with quotes, and the same where nothing was retried.
fn text(retries: bool) -> String {
    let before = if retries { "retried and the latest " } else { "" };
    format!("upstream connect error or disconnect/reset before headers. {before}reset reason: protocol error")
}

/// The same kind of run finds what is wrong with an upstream that is, and its client reads the text.
async fn noticed(fault: Fault, retries: bool) -> Result<(), String> {
    let (upstream, serving) = fault.serve().await.map_err(|error| error.to_string())?;
    let envoy = Envoy::start(&[upstream], fault.version(), retries).await?;
    let (sent, hits) = look_for(&text(retries), envoy.address).await?;
    let findings: Findings = envoy.stop().await;
    serving.abort();
    if hits == 0 {
        return Err(format!("in {sent} requests nobody read: {}", text(retries)));
    }
    let faults = findings.faults();
    let flag = if retries { "URX,UPE 502 " } else { "UPE 502 " };
    if findings.stat("upstream_cx_protocol_error") == 0 || !faults.iter().any(|fault| fault.starts_with(flag)) {
        return Err(format!("a client read the text, and what was found is {faults:#?}"));
    }
    println!("noticed::{fault}: {hits} of {sent} requests got: {}", text(retries));
    Ok(())
}

/// Asks until somebody got a 502 with this text: requests sent, and texts read.
async fn look_for(text: &str, proxy: SocketAddr) -> Result<(usize, usize), String> {
    let client = scimgate::app::http_client().map_err(|error| error.to_string())?;
    let (until, url) = (Instant::now() + LOOKING, format!("http://{proxy}/"));
    let (mut sent, mut hits) = (0, 0);
    while hits == 0 && Instant::now() < until {
        let mut clients = JoinSet::new();
        for number in 0..load::CLIENTS {
            let (client, url, text) = (client.clone(), url.clone(), text.to_owned());
            clients.spawn(async move {
                let mut hits = 0;
                for round in 0..20 {
                    let method = if (number + round) % 4 == 0 { "DELETE" } else { "GET" };
                    let request = client.request(method.parse().expect("a method"), &url);
                    let answer = request.send().await.map_err(|error| error.to_string())?;
                    let status = answer.status().as_u16();
                    let said = answer.text().await.map_err(|error| error.to_string())?;
                    hits += usize::from(status == 502 && said == text);
                }
                Ok::<_, String>(hits)
            });
        }
        while let Some(ended) = clients.join_next().await {
            hits += ended.map_err(|error| error.to_string())??;
            sent += 20;
        }
    }
    Ok((sent, hits))
}
