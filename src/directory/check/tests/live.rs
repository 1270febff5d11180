//! Others write meanwhile.

use async_trait::async_trait;
use tokio::task::yield_now;

use super::*;
use crate::store::{self, Page};

/// Between two rows of a read, and between two pages of few rows, somebody else may write: as in Table Storage.
struct Torn(SqliteStore);

#[async_trait]
impl Store for Torn {
    async fn get(&self, partition: &str, keys: &[&str]) -> Result<Vec<Option<Row>>, store::Error> {
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            yield_now().await;
            rows.extend(self.0.get(partition, &[key]).await?);
        }
        Ok(rows)
    }

    async fn scan(&self, partition: &str, from: &str, until: &str, limit: usize) -> Result<Page, store::Error> {
        let mut from = from.to_owned();
        let mut all = Page::default();
        loop {
            yield_now().await;
            let page = self
                .0
                .scan(partition, &from, until, 7.min(limit - all.rows.len()))
                .await?;
            all.rows.extend(page.rows);
            all.more = page.more;
            match all.rows.last() {
                Some(last) if all.more && all.rows.len() < limit => from = rows::behind(&last.key),
                _ => return Ok(all),
            }
        }
    }

    async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), store::Error> {
        self.0.commit(partition, changes).await
    }
}

/// Makes, changes and deletes at random, until told to stop.
pub(super) async fn write_at_random(world: &World, group: &str, stop: &AtomicBool) {
    let ours = world.group(&format!("g{}", fastrand::u64(..)), &[]).await;
    let mut users: Vec<String> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let change = |op: &str, ids: &[String]| {
            let members: Vec<_> = ids.iter().map(|id| json!({ "value": id })).collect();
            json!([{ "op": op, "path": "members", "value": members }])
        };
        let any = fastrand::choice(&users).cloned();
        match (fastrand::u8(..12), any) {
            (0..4, _) | (_, None) => {
                let user = world.user(&format!("u{}", fastrand::u64(..))).await;
                world
                    .patch(&world.groups, group, change("add", std::slice::from_ref(&user)))
                    .await
                    .unwrap();
                users.push(user);
            }
            (4, Some(user)) => {
                users.retain(|id| *id != user);
                world.delete(&world.users, &user).await;
            }
            (5, Some(user)) => {
                let rename =
                    json!([{ "op": "replace", "path": "userName", "value": format!("v{}", fastrand::u64(..)) }]);
                world.patch(&world.users, &user, rename).await.unwrap();
            }
            (6, Some(user)) => {
                let group = world.group(&format!("h{}", fastrand::u64(..)), &[user]).await;
                world.delete(&world.groups, &group).await;
            }
            // More than fit into one commit, when there are so many: decided first, then spread.
            (7..9, _) => world.patch(&world.groups, &ours, change("add", &users)).await.unwrap(),
            (9, _) => world
                .patch(&world.groups, &ours, change("remove", &users))
                .await
                .unwrap(),
            (_, Some(user)) => {
                let op = if fastrand::bool() { "add" } else { "remove" };
                world.patch(&world.groups, &ours, change(op, &[user])).await.unwrap();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_found_nor_mended_while_others_write() {
    let world = World::new(Arc::new(Torn(SqliteStore::memory().unwrap()))).await;
    let group = world.group("all", &[]).await;
    let stop = AtomicBool::new(false);
    let write = || write_at_random(&world, &group, &stop);
    let check = async {
        for _ in 0..4 {
            let report = world.inspection.check().await.unwrap();
            assert!(report.is_sound(), "{:?}", report.findings);
            let report = world.inspection.repair().await.unwrap();
            assert!(report.is_sound() && report.mended.is_empty(), "{report:?}");
        }
        stop.store(true, Ordering::Relaxed);
    };
    futures::join!(check, write(), write(), write(), write());
    let report = world.inspection.check().await.unwrap();
    assert!(report.is_sound(), "{:?}", report.findings);
    assert!(report.memberships > 20, "{report:?}");
}

/// What was certain a moment ago may have been put right since.
#[tokio::test(start_paused = true)]
async fn a_repair_undoes_no_write() {
    let (world, ids) = World::with_damages(Arc::new(SqliteStore::memory().unwrap())).await;
    let [user, membership] = [
        rows::resource_key("u", &ids.a),
        rows::membership_key(&ids.a, &ids.group),
    ];
    let before = world.rows().await;
    let name = before
        .keys()
        .find(|key| key.starts_with("n~") && before[*key].body.ends_with(b"\"a\"}"));
    let name = name.unwrap().clone();
    world
        .commit(
            [&name, &membership]
                .map(|key| Change::Delete(key.clone(), None))
                .to_vec(),
        )
        .await;
    let cases = BTreeSet::from([
        Case::Value {
            kind: "u",
            id: ids.a.clone(),
            key: name.clone(),
        },
        Case::Edge {
            group: ids.group.clone(),
            member: ids.a.clone(),
        },
    ]);
    let found = world.inspection.certain(cases).await.unwrap();
    assert_eq!(found.len(), 2);

    // The user is written, and so is the edge.
    let row = world.row(&user).await;
    world.commit(vec![Change::Stamp(user.clone(), row.stamp, None)]).await;
    world
        .commit(vec![Change::Touch(rows::member_key(&ids.group, &ids.a))])
        .await;
    let written = world.rows().await;
    let mut report = Report::default();
    world.inspection.mend(&found, &mut report).await.unwrap();
    assert!(report.mended.is_empty(), "{report:?}");
    assert_eq!(world.rows().await, written);

    let report = world.inspection.repair().await.unwrap();
    assert_eq!(report.mended.values().sum::<usize>(), 2);
    assert!(report.is_sound());
}

/// What one resource needs goes into commits of a hundred changes, each with an event that names the operator.
#[tokio::test(start_paused = true)]
async fn a_repair_is_written_down() {
    let (world, ids) = World::with_damages(Arc::new(SqliteStore::memory().unwrap())).await;
    let lost: Vec<String> = (0..120).map(|number| format!("none-{number}")).collect();
    for chunk in lost.chunks(40) {
        let edges = chunk.iter().flat_map(|member| {
            let body = edges::body(&edges::Edge {
                group: ids.group.clone(),
                member: member.clone(),
                kind: Kind::User,
            });
            let keys = [
                rows::member_key(&ids.group, member),
                rows::membership_key(member, &ids.group),
            ];
            keys.map(|key| Change::Insert(write(key, &body)))
        });
        world.commit(edges.collect()).await;
    }
    let group = rows::resource_key("g", &ids.group);
    let before = world.row(&group).await;
    let report = world.inspection.repair().await.unwrap();
    assert_eq!(report.mended, BTreeMap::from([(Damage::EndMissing, 120)]));
    assert!(report.is_sound());
    let (before, after) = (
        rows::stamp(&before).unwrap(),
        rows::stamp(&world.row(&group).await).unwrap(),
    );
    assert!(after.version > before.version, "the group is another one now");

    let (from, until) = rows::range("o~");
    let partition = &world.directory.access.tenant.id;
    let page = world.store.scan(partition, &from, &until, 1_000).await.unwrap();
    let events = page.rows.iter().filter_map(|row| rows::body::<EventBody>(row).ok());
    let repairs: Vec<EventBody> = events.filter(|event| event.kind == "repair").collect();
    assert_eq!(repairs.len(), 3, "49, 49 and 22 memberships: {repairs:?}");
    let mut left = Vec::new();
    for event in &repairs {
        assert_eq!((&*event.resource_type, &event.id), ("Group", &ids.group));
        assert_eq!(event.actor, world.directory.access.credential);
        left.extend(event.members.clone().unwrap().leave);
    }
    left.sort_unstable();
    let mut lost = lost;
    lost.sort_unstable();
    assert_eq!(left, lost);
}
