//! Users and groups by the thousand, written as rows: what as many requests would have left behind, but for the events.

use serde_json::json;

use super::World;
use crate::{
    directory::{
        edges::{self, Edge},
        index,
        journal::{gate, gate_stamp},
    },
    rows::{self, FORMAT, IndexBody, Operation, ResourceBody, Stamp},
    scim::{
        attributes::{self, Attributes},
        members::Kind,
        normalize::Trace,
        schema::ResourceType,
    },
    store::{Change, MAX_CHANGES, Write},
    totals,
};

impl World {
    /// Makes users; gives their ids in the order of their keys.
    pub(in crate::directory) async fn many_users(&self, number: usize) -> Vec<String> {
        let ids: Vec<String> = (0..number)
            .map(|_| self.directory.ambient.new_id().to_string())
            .collect();
        let rows = ids
            .iter()
            .flat_map(|id| self.resource(&self.users, id, &json!({ "userName": format!("u{id}") })));
        self.write(rows.collect()).await;
        self.count("u", number).await;
        ids
    }

    /// Makes a group of these users; gives its id.
    pub(super) async fn group_of(&self, members: &[String]) -> String {
        self.group_of_kind(Kind::User, members).await
    }

    /// The same for members of any kind.
    pub(super) async fn group_of_kind(&self, kind: Kind, members: &[String]) -> String {
        let id = self.directory.ambient.new_id().to_string();
        let name = format!("group {id}");
        let mut rows = self.resource(&self.groups, &id, &json!({ "displayName": name }));
        let stamp: Stamp = serde_json::from_slice(&rows[0].stamp).unwrap();
        rows.push(Write {
            stamp: gate_stamp(&stamp.members),
            ..gate(&id, None)
        });
        for member in members {
            let edge = Edge {
                group: id.clone(),
                member: member.clone(),
                kind,
            };
            let keys = [rows::member_key(&id, member), rows::membership_key(member, &id)];
            rows.extend(keys.map(|key| rows::write(key, &edges::body(&edge))));
        }
        self.write(rows).await;
        self.count("g", 1).await;
        id
    }

    async fn count(&self, kind: &str, number: usize) {
        let operation = Operation::new(self.directory.ambient.now(), 0, self.directory.ambient.secret());
        let count = totals::count(kind, &operation, number.try_into().unwrap());
        let partition = &self.directory.access.tenant.id;
        self.rows.commit(partition, &[count]).await.unwrap();
    }

    /// A group of so many members, of whom nothing but their membership is there.
    pub(super) async fn group_of_many(&self, number: usize) -> String {
        let members: Vec<String> = (0..number)
            .map(|_| self.directory.ambient.new_id().to_string())
            .collect();
        self.group_of(&members).await
    }

    /// The rows of a resource: its own, and those of its indexed values.
    fn resource(&self, of: &ResourceType, id: &str, attributes: &serde_json::Value) -> Vec<Write> {
        let mut document = attributes.clone();
        document["schemas"] = json!([of.schema.id]);
        let attributes: Attributes = attributes::accept(of, document, &mut Trace::default())
            .unwrap()
            .attributes;
        let operation = Operation::new(self.directory.ambient.now(), 0, self.directory.ambient.secret());
        let stamp = Stamp::of(&operation, operation.to_string());
        let body = ResourceBody {
            format: FORMAT,
            id: id.to_owned(),
            created: operation.time(),
            attributes: attributes.as_map().clone(),
            unknown: serde_json::Map::new(),
        };
        let own = Write {
            key: rows::resource_key(index::kind(of), id),
            stamp: rows::encode(&stamp),
            body: rows::encode(&body),
        };
        let entries = index::entries(of, &self.directory.access.tenant, id, &attributes);
        let indexed = entries.into_iter().map(|(key, entry)| {
            let body = IndexBody {
                format: FORMAT,
                id: id.to_owned(),
                value: entry.value,
            };
            rows::write(key, &body)
        });
        std::iter::once(own).chain(indexed).collect()
    }

    pub(super) async fn write(&self, rows: Vec<Write>) {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let changes: Vec<Change> = rows.by_ref().take(MAX_CHANGES).map(Change::Insert).collect();
            self.rows
                .commit(&self.directory.access.tenant.id, &changes)
                .await
                .unwrap();
        }
    }
}
