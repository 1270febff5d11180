//! What is made is removed, however the visit ends.

use serde_json::Value;

use super::{body, path};
use crate::doctor::{
    request::Ask,
    visit::{Made, Visit, lock},
    wire::Response,
};

/// Tries to remove what was made.
const TRIES: usize = 3;

/// Removes what is left of test users; what could not be removed. Beyond the bounds of time and requests, too.
pub(in crate::doctor) async fn clean_up(visit: &Visit) -> Vec<String> {
    let all = lock(&visit.made).clone();
    let mut left = Vec::new();
    for made in all {
        if is_removed(visit, &made).await {
            lock(&visit.made).retain(|other| *other != made);
        } else {
            left.push(made.describe());
        }
    }
    left
}

async fn is_removed(visit: &Visit, made: &Made) -> bool {
    let mut is_absent = false;
    for attempt in 0..TRIES {
        if attempt > 0 {
            tokio::time::sleep(visit.pace.silence).await;
        }
        let paths = paths_of(visit, made).await;
        // Not to be found yet: its create may be under way still, so it is looked for again.
        is_absent = made.path.is_none() && paths.as_ref().is_some_and(Vec::is_empty);
        let Some(paths) = paths.filter(|_| !is_absent) else {
            continue;
        };
        let mut gone = 0;
        for path in &paths {
            let response = once(visit, &Ask::new("DELETE", path)).await;
            gone += usize::from(response.is_some_and(|response| matches!(response.status, 200..=299 | 404)));
        }
        if gone == paths.len() {
            return true;
        }
    }
    is_absent
}

/// Where the user is, perhaps nowhere; none where that can't be told.
async fn paths_of(visit: &Visit, made: &Made) -> Option<Vec<String>> {
    if let Some(path) = &made.path {
        return Some(vec![path.clone()]);
    }
    let ask = Ask::filter("Users", &format!("userName eq \"{}\"", made.user_name));
    let response = once(visit, &ask).await?;
    match response.status {
        200 => Some(paths_named(&body(&response), &made.user_name)),
        // Nothing can be made with a token that is refused.
        401 | 403 => Some(Vec::new()),
        _ => None,
    }
}

async fn once(visit: &Visit, ask: &Ask) -> Option<Response> {
    let mut connection = visit.connect().await.ok()?;
    visit.exchange(&mut connection, ask).await.response
}

/// Of a list, those of this name: an endpoint that ignores filters lists everybody, and nobody else may be deleted.
fn paths_named(list: &Value, user_name: &str) -> Vec<String> {
    let resources = list["Resources"].as_array().into_iter().flatten();
    let is_named = |resource: &&Value| {
        let name = resource["userName"].as_str();
        name.is_some_and(|name| name.eq_ignore_ascii_case(user_name))
    };
    resources.filter(is_named).filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::path_of_created, paths_named};

    #[test]
    fn only_the_test_user_is_ever_deleted() {
        let (ours, other) = (
            json!({ "id": "1", "userName": "Doctor" }),
            json!({ "id": "2", "userName": "bjensen" }),
        );
        let list = json!({ "totalResults": 3, "Resources": [other, ours, { "id": "3" }] });
        assert_eq!(paths_named(&list, "doctor"), ["/Users/1"]);
        assert_eq!(path_of_created(&ours, "doctor").as_deref(), Some("/Users/1"));
        assert_eq!(
            path_of_created(&json!({ "id": "3" }), "doctor").as_deref(),
            Some("/Users/3")
        );
        assert_eq!(path_of_created(&other, "doctor"), None);
    }
}
