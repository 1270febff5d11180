//! Many writes in one request (RFC 7644 §3.7), one after another, each as if it had come by itself.
//!
//! Whatever happens, what was done is reported as done: once something may have been written there is no answer but 200
//! with a status for each operation. Those that time or storage left undone say 503 there, and `Retry-After` says when
//! to send them again.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::time::{Instant, timeout_at};

use super::{
    answer::{self, Answer},
    body::Body,
    call::{Failure, Visit, condition},
    reference::Reference,
    resources::to_its_end,
    tally,
};
use crate::{
    directory::Shown,
    scim::{
        bulk::{Job, Task},
        error::Rule,
        normalize::Trace,
        resource::Envelope,
    },
};

#[cfg(test)]
mod tests;

/// Of the time there is for a request, the part after which no further write is begun: a tenth is kept back, so that
/// what is under way then can end, and a half of that for the answer.
const RESERVE: u32 = 10;

/// What whoever writes and whoever answers both look at.
struct Progress {
    job: Job,
    /// The longest time that the store asked to be left alone.
    retry_after: Option<Duration>,
}

/// POST of a `BulkRequest`.
pub(super) async fn perform(mut visit: Visit, rate: u32, body: Body<'_>) -> Result<Answer, Failure> {
    let (app, reference) = (body.app, Reference::of(body.request));
    let message = body.object().await?;
    let job = Job::read(&visit.catalog, message)?;
    // The request itself is one.
    visit.admitted.charge(rate, job.operations().saturating_sub(1));
    let progress = Arc::new(Mutex::new(Progress { job, retry_after: None }));
    let base_url = visit.base_url.clone();
    let reserve = visit.directory.deadline.saturating_duration_since(Instant::now()) / RESERVE;
    let answer_by = visit.directory.deadline - reserve / 2;
    visit.directory.deadline -= reserve;
    let held = Arc::clone(&visit.directory.held);
    let all = write_all(visit, Arc::clone(&progress), reference);
    let in_time = timeout_at(answer_by, to_its_end(all)).await.is_ok();
    let mut progress = lock(&progress);
    if !in_time {
        progress.job.abandon();
    }
    let job = &progress.job;
    let response = job.response(&base_url, |error| answer::error_body(app, error, reference));
    let answer = Answer::ok(response).normalized(&job.trace);
    if !in_time {
        // What the request holds, the write needs that is under way.
        held.add_anyway(answer.len());
    }
    let comes_again = job.errors().any(|error| error.status() == 503);
    Ok(if comes_again {
        tracing::warn!(
            reference = reference.map(tracing::field::display),
            "a part of a bulk request was left undone"
        );
        answer.retry_after(progress.retry_after)
    } else {
        answer
    })
}

/// Does what is to be done, one write after another, until time is up.
async fn write_all(visit: Visit, progress: Arc<Mutex<Progress>>, reference: Option<Reference>) {
    loop {
        let task = {
            let mut progress = lock(&progress);
            if Instant::now() >= visit.directory.deadline {
                progress.job.abandon();
            }
            progress.job.next_task()
        };
        let Some(task) = task else { return };
        let mut trace = Trace::default();
        let part = tally::part(&visit, &task, reference);
        // A panic is one operation's, not that of those which are done.
        let written = AssertUnwindSafe(write(&visit, task, &mut trace)).catch_unwind().await;
        let written = written.unwrap_or_else(|_| Err(Rule::Internal.error().into()));
        let written = written.map_err(|failure| answer::refused(&failure, reference));
        let mut progress = lock(&progress);
        progress.job.trace.absorb(&trace);
        if let Err((error, retry_after)) = &written {
            progress.retry_after = progress.retry_after.max(*retry_after);
            tally::refuse(&visit.tenants, part, error);
        }
        progress.job.finish(written.map_err(|(error, _)| error));
    }
}

async fn write(visit: &Visit, task: Task, trace: &mut Trace) -> Result<Option<Envelope>, Failure> {
    let expected = condition(task.version.as_deref());
    let held = visit.directory.held.bytes();
    let written = visit
        .directory
        .perform(&task.of, task.write, &expected, Shown::default(), trace)
        .await;
    visit.directory.held.keep(held);
    let written = written?;
    visit.count_dropped(trace);
    Ok(written.map(|stored| stored.envelope))
}

fn lock(progress: &Mutex<Progress>) -> MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}
