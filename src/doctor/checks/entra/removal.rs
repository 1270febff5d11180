//! What is made is removed, however the visit ends.

use std::mem;

use tokio::time::{Instant, sleep};

use super::{
    body,
    made::{Create, Made, Standing},
};
use crate::doctor::{
    request::Ask,
    session::retry_after,
    visit::{Visit, lock},
    wire::Response,
};

/// Tries to remove what was made, and of a request that is answered 429.
const TRIES: usize = 3;
/// The same where creates are waited for; what no endpoint that shows another account each time goes beyond.
const MAX_TRIES: usize = 100;

/// Removes what is left of test users; what could not be removed. Beyond the bounds of time and requests, too.
pub(in crate::doctor) async fn clean_up(visit: &Visit) -> Vec<String> {
    let all = lock(&visit.made).clone();
    let mut left = Vec::new();
    for made in all {
        let rest = removed(visit, made).await;
        let mut all = lock(&visit.made);
        all.retain(|made| !made.is_same(&rest));
        if !rest.is_gone() {
            left.push(rest.describe());
            all.push(rest);
        }
    }
    left
}

/// What is not proved to be gone of it. A path is, when a GET of it says 404, or can't tell and a search lists nobody. A create whose
/// answer is not known may take effect as long as an answer may take; one that was answered with success must be seen.
async fn removed(visit: &Visit, mut made: Made) -> Made {
    let until = Instant::now() + visit.pace.patience;
    let mut gone = Vec::new();
    for attempt in 1..=MAX_TRIES {
        let mut unsure = Vec::new();
        for path in mem::take(&mut made.paths) {
            match delete(visit, &made, &path).await {
                Standing::Gone => gone.push(path),
                Standing::Ours => made.paths.push(path),
                Standing::Unknown => unsure.push(path),
            }
        }
        let is_late = Instant::now() >= until;
        let listed = search(visit, &made).await;
        if listed.as_ref().is_none_or(|listed| !listed.is_empty()) {
            made.paths.append(&mut unsure);
        } else if is_late && made.create == Create::Open {
            made.create = Create::Known;
        }
        let mut is_new = false;
        for path in listed.into_iter().flatten() {
            if !gone.contains(&path) && !made.paths.contains(&path) {
                made.is_at(&path);
                is_new = true;
            }
        }
        if made.is_gone() {
            break;
        }
        if !is_new {
            if attempt >= TRIES && (is_late || made.create == Create::Known) {
                break;
            }
            sleep(visit.pace.silence).await;
        }
    }
    made
}

/// Deletes what a GET shows to be ours, and nobody else.
async fn delete(visit: &Visit, made: &Made, path: &str) -> Standing {
    let before = standing(visit, made, path).await;
    if before != Standing::Ours {
        return before;
    }
    once(visit, &Ask::new("DELETE", path)).await;
    standing(visit, made, path).await
}

async fn standing(visit: &Visit, made: &Made, path: &str) -> Standing {
    let response = once(visit, &Ask::get(path)).await;
    response.map_or(Standing::Unknown, |response| made.standing(&response))
}

/// Where a search shows it, perhaps nowhere; none where that can't be told.
async fn search(visit: &Visit, made: &Made) -> Option<Vec<String>> {
    let response = once(visit, &made.search()).await?;
    (response.status == 200)
        .then(|| made.listed(&body(&response)))
        .flatten()
}

async fn once(visit: &Visit, ask: &Ask) -> Option<Response> {
    let mut response = None;
    for _ in 0..TRIES {
        let mut connection = visit.connect().await.ok()?;
        response = visit.exchange(&mut connection, ask).await.response;
        match &response {
            Some(throttled) if throttled.status == 429 => sleep(retry_after(throttled)).await,
            _ => break,
        }
    }
    response
}
