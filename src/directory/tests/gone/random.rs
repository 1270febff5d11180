//! Whatever is deleted and comes back in whatever order, cut off or not: a membership is there when both its ends are.

use std::collections::{BTreeMap, BTreeSet};

use super::{Denied, MONTH, World, costs, set};
use crate::{
    directory::{Error, linear::SIZES, memberships::Sizes},
    scim::members::Kind,
    store::faults::{Call, Fault},
};

const SEEDS: u64 = 60;
const STEPS: usize = 30;

/// What there should be.
struct Model {
    /// All that there ever was, and whether it is a user.
    all: Vec<(String, Kind)>,
    groups: Vec<String>,
    live: BTreeSet<String>,
    erased: BTreeSet<String>,
    /// Who is in each group whenever both are there.
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Model {
    async fn new(world: &World) -> Self {
        let users = world.many_users(4).await;
        let mut groups = Vec::new();
        for _ in 0..4 {
            groups.push(world.group_of(&[]).await);
        }
        let users = users.into_iter().map(|id| (id, Kind::User));
        let all: Vec<_> = users.chain(groups.iter().map(|id| (id.clone(), Kind::Group))).collect();
        Self {
            live: all.iter().map(|(id, _)| id.clone()).collect(),
            members: groups.iter().map(|id| (id.clone(), BTreeSet::new())).collect(),
            erased: BTreeSet::new(),
            all,
            groups,
        }
    }

    fn one(&self) -> (String, Kind) {
        self.all[fastrand::usize(..self.all.len())].clone()
    }

    async fn step(&mut self, world: &World) -> String {
        let (id, kind) = self.one();
        let group = self.groups[fastrand::usize(..self.groups.len())].clone();
        let is_live = self.live.contains(&id);
        let both = is_live && self.live.contains(&group) && id != group;
        let one = std::slice::from_ref(&id);
        match fastrand::usize(..12) {
            0..5 if both => {
                let joins = self.members.get_mut(&group).unwrap().insert(id.clone());
                let operations = if joins { costs::add(one) } else { costs::remove(one) };
                if !joins {
                    self.members.get_mut(&group).unwrap().remove(&id);
                }
                world.directory.change(&world.groups, &group, operations).await.unwrap();
                format!("{group} {} {id}", if joins { "+" } else { "-" })
            }
            0..8 if is_live => {
                let of = if kind == Kind::User {
                    &world.users
                } else {
                    &world.groups
                };
                world.remove(of, &id).await.unwrap();
                self.live.remove(&id);
                format!("delete {id}")
            }
            8 if kind == Kind::User && fastrand::bool() => {
                world.directory.erase(&id).await.unwrap();
                self.live.remove(&id);
                self.erased.insert(id.clone());
                format!("erase {id}")
            }
            9 => {
                world.finish().await;
                "finish".to_owned()
            }
            10 => {
                if let Some(gone) = world.directory.pending().await.unwrap().gone.get(&group) {
                    world.directory.lay_down_members(gone).await.unwrap();
                }
                format!("lay down {group}")
            }
            11 if !is_live => self.restore_cut_off(world, &id).await,
            _ => {
                let restored = world.restore(&id).await;
                match restored {
                    Ok(_) => _ = self.live.insert(id.clone()),
                    Err(Denied::There(_)) => assert!(is_live),
                    Err(Denied::Erased(_)) => assert!(self.erased.contains(&id)),
                    Err(denied) => panic!("{denied:?}"),
                }
                format!("restore {id}")
            }
        }
    }

    async fn restore_cut_off(&mut self, world: &World, id: &str) -> String {
        let commit = fastrand::usize(1..6);
        world.faults.inject(Call::Commit, commit.., Fault::Unavailable);
        let restored = world.hasty().restore(id, MONTH, false).await;
        world.faults.heal();
        let is_there = matches!(world.directory.restore(id, MONTH, true).await, Err(Denied::There(_)));
        match restored {
            Ok(_) => assert!(is_there),
            Err(Denied::Erased(_)) => assert!(self.erased.contains(id)),
            Err(Denied::Failed(Error::Store(_))) => {}
            Err(denied) => panic!("{denied:?}"),
        }
        if is_there {
            self.live.insert(id.to_owned());
            if fastrand::bool() {
                world.finish().await;
            }
        }
        format!("restore {id}, cut off before commit {commit}")
    }

    async fn check(&self, world: &World, done: &[String]) {
        for group in self.groups.iter().filter(|group| self.live.contains(*group)) {
            let members: BTreeSet<String> = self.members[group].intersection(&self.live).cloned().collect();
            assert_eq!(world.members(group).await, members, "{group}\n{}", done.join("\n"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn memberships_are_there_when_both_ends_are_whatever_happened() {
    for seed in 0..SEEDS {
        fastrand::seed(seed);
        SIZES.set((seed % 2 == 0).then_some(Sizes {
            at_once: 2,
            changes: 15,
        }));
        let world = World::new().await;
        let mut model = Model::new(&world).await;
        let mut done = vec![format!("seed {seed}")];
        for _ in 0..STEPS {
            done.push(model.step(&world).await);
            if !done.last().unwrap().contains("cut off") {
                continue;
            }
            // Some joins may be left to do.
            world.finish().await;
            model.check(&world, &done).await;
        }
        let all: Vec<String> = model.all.iter().map(|(id, _)| id.clone()).collect();
        for id in set(&all).difference(&model.live.clone()) {
            if !model.erased.contains(id) {
                world.restore(id).await.unwrap();
                model.live.insert(id.clone());
                done.push(format!("restore {id} at the end"));
            }
        }
        world.finish().await;
        model.check(&world, &done).await;
        world.is_sound().await;
    }
    SIZES.set(None);
}
