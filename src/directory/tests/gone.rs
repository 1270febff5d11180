//! What is deleted comes back, is erased, or goes when its time is over.

use std::{collections::BTreeSet, time::Duration as Span};

use serde_json::json;
use time::Duration;
use tokio::time::Instant;

use super::{Directory, World, costs, groups::moments, refusal, shown};
use crate::{
    directory::{Denied, Kept, Purged, Restored},
    rows,
    scim::members::Kind,
};

mod both;
mod erase;
mod laid_down;
mod newer;
mod purge;
mod random;
mod restore;

const MONTH: Duration = Duration::days(30);
const KEPT: Kept = Kept {
    deleted: MONTH,
    events: std::time::Duration::from_hours(365 * 24),
};

impl World {
    /// For who has no time: what the store does not take at once, it does not take.
    fn hasty(&self) -> Directory {
        Directory {
            deadline: Instant::now() + Span::from_millis(1_050),
            ..self.directory.clone()
        }
    }

    async fn restore(&self, id: &str) -> Result<Restored, Denied> {
        self.directory.restore(id, MONTH, false).await
    }

    async fn user_named(&self, name: &str) -> String {
        let emails = json!([{ "value": format!("{name}@example.com"), "type": "work" }]);
        let user = json!({ "userName": name, "externalId": name, "emails": emails });
        self.create(user).await.unwrap()
    }

    /// So many groups that have this member.
    async fn groups_with(&self, kind: Kind, member: &str, groups: usize) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        for _ in 0..groups {
            all.insert(self.group_of_kind(kind, &[member.to_owned()]).await);
        }
        all
    }

    /// Deletes so many groups that the first ones lay their members down.
    async fn bury(&self, group: &str) {
        self.remove(&self.groups, group).await.unwrap();
        for _ in 0..101 {
            let other = self.group_of(&[]).await;
            self.remove(&self.groups, &other).await.unwrap();
        }
        self.finish().await;
        assert_eq!(self.rows_of(&rows::gone_members_key(group, 0)).await.len(), 1);
        assert_eq!(self.rows_of(&rows::members_prefix(group)).await, []);
    }

    /// All steps of a purge.
    async fn purge(&self) -> Purged {
        let (mut all, mut place) = (Purged::default(), None);
        loop {
            let (purged, next) = self.directory.purge(KEPT, place.as_deref()).await.unwrap();
            all += purged;
            place = next;
            if place.is_none() {
                return all;
            }
        }
    }
}

fn set(ids: &[String]) -> BTreeSet<String> {
    ids.iter().cloned().collect()
}
