//! Never the cause of the 502: the service behind a real Envoy, with HTTP/1.1 and with HTTP/2, and what makes sure that
//! this would notice: the same behind upstreams that are wrong on purpose.
//!
//! `SCIMGATE_ENVOY` names the program (`./test envoy` installs and names it), `SCIMGATE_ENVOY_REQUESTS` how many requests
//! each of the two versions gets.

use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use scimgate::{
    ambient::System,
    doctor::{self, Pace, Plan, endpoint::Endpoint},
};
use tokio::{runtime::Runtime, sync::Notify, task::JoinSet};

mod broken;
mod load;
mod proxy;

use broken::{FAULTS, Fault};
use proxy::{Envoy, Findings, Version};

/// Requests of a run of one HTTP version, unless more are asked for.
const REQUESTS: usize = 20_000;

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
    let service = load::Service::start()?;
    let envoy = Envoy::start(service.address, version, false).await?;
    let client = scimgate::app::http_client().map_err(|error| error.to_string())?;
    let began = Instant::now();
    let sent = load::run(&client, envoy.address, requests()).await;
    let took = began.elapsed().as_secs_f64();
    let findings = envoy.stop().await;
    let sent = sent.map_err(|error| format!("{error}\n{}", findings.faults().join("\n")))?;
    if findings.requests != sent || findings.stat("upstream_rq_total") != sent as u64 {
        return Err(format!("{sent} requests were sent, Envoy saw {}", findings.requests));
    }
    if !findings.faults().is_empty() {
        return Err(findings.faults().join("\n"));
    }
    println!(
        "clean::{version}: {} clients, each answer with the status it must have, {took:.1} s: {findings}",
        load::CLIENTS,
    );
    Ok(())
}

/// Neither the doctor, who looks at Envoy and the service behind it, finds anything, nor Envoy while it does so.
async fn examined(version: Version) -> Result<(), String> {
    let service = load::Service::start()?;
    let envoy = Envoy::start(service.address, version, false).await?;
    let plan = Plan {
        endpoint: Endpoint::parse(&format!("http://{}/scim/acme", envoy.address))?,
        token: Some(load::SECRET.to_owned()),
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

/// What the question that this project began with quotes, and the same where nothing was retried.
fn text(retries: bool) -> String {
    let before = if retries { "retried and the latest " } else { "" };
    format!("upstream connect error or disconnect/reset before headers. {before}reset reason: protocol error")
}

/// The same kind of run finds what is wrong with an upstream that is, and its client reads the text.
async fn noticed(fault: Fault, retries: bool) -> Result<(), String> {
    let (upstream, serving) = fault.serve().await.map_err(|error| error.to_string())?;
    let envoy = Envoy::start(upstream, fault.version(), retries).await?;
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
