//! Rows of a kind that a newer version has thought of.

use super::{Denied, MONTH, World, shown};
use crate::{
    directory::Error,
    rows::{self, FormatError, TraceBody},
    store::Write,
};

impl World {
    /// A row that could be read as another kind's.
    async fn newer_row(&self, key: &str, id: &str) {
        let body = TraceBody {
            format: rows::FORMAT,
            id: id.to_owned(),
            operation: "1".to_owned(),
            time: self.directory.ambient.now(),
            resource_type: "User".to_owned(),
        };
        let row: Write = rows::write(key.to_owned(), &body);
        self.write(vec![row]).await;
    }
}

fn is_newer(error: &Error) -> bool {
    matches!(error, Error::Format(FormatError::Newer { .. })) && error.to_string().contains("upgrade scimgate")
}

/// To take it for one that hides memberships would hide this user's, and end them a minute later.
#[tokio::test]
async fn what_is_pending_of_a_kind_that_nobody_knows_is_not_guessed() {
    let world = World::new().await;
    let id = world.user_named("bjensen").await;
    let group = world.group_of(std::slice::from_ref(&id)).await;
    world.newer_row("pend~novel~1", &id).await;
    assert!(is_newer(&world.directory.pending().await.unwrap_err()));
    assert!(is_newer(&world.directory.finish_pending().await.unwrap_err()));
    let read = world.directory.read(&world.users, &id, shown(&world.users)).await;
    assert!(read.is_err_and(|error| is_newer(&error)));
    assert_eq!(world.rows_of(&rows::member_key(&group, &id)).await.len(), 1);
}

#[tokio::test]
async fn what_stands_beside_a_tombstone_of_a_kind_that_nobody_knows_is_not_guessed() {
    for kind in ["novel", "novel~1"] {
        let world = World::new().await;
        let id = world.user_named("bjensen").await;
        world.delete(&id).await;
        let key = format!("{}{kind}", rows::gone_parts_prefix(&id));
        world.newer_row(&key, &id).await;
        let before = world.rows_of("").await;
        for dry_run in [false, true] {
            let denied = world.directory.restore(&id, MONTH, dry_run).await.unwrap_err();
            assert!(matches!(&denied, Denied::Failed(error) if is_newer(error)), "{denied}");
        }
        let denied = world.directory.erase(&id).await.unwrap_err();
        assert!(matches!(&denied, Denied::Failed(error) if is_newer(error)), "{denied}");
        assert_eq!(world.rows_of("").await, before);
    }
}
