//! What rows hold. Each names its format.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{FORMAT, Operation};

/// The small part of a resource row: what changes with every change of the resource or of its memberships.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// The row's format.
    pub format: u32,
    /// The operation that wrote last; the resource's version.
    pub version: String,
    /// That operation's stamp, for the hybrid clock.
    pub stamp: u64,
    /// `meta.lastModified`.
    #[serde(with = "time::serde::rfc3339")]
    pub modified: OffsetDateTime,
    /// Of a group: the operation that changed its memberships last. Its gate tells the same, so that whoever reads both
    /// knows whether they are of one moment. Empty after a member was deleted, which leaves the gate alone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub members: String,
}

impl Stamp {
    /// What `operation` leaves on a resource whose memberships `members` changed last.
    #[must_use]
    pub fn of(operation: &Operation, members: String) -> Self {
        Self {
            format: FORMAT,
            version: operation.to_string(),
            stamp: operation.stamp,
            modified: operation.time(),
            members,
        }
    }
}

/// The small part of a tombstone: the deletion's own stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneStamp {
    /// As that of a resource.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The Functions host's id of the DELETE, which it may send again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocation: Option<String>,
    /// Nothing of the resource is kept but its id and times.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
}

/// The body of a resource row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ResourceBody {
    /// The row's format.
    pub format: u32,
    /// The resource's id, which the key may only hint at.
    pub id: String,
    /// `meta.created`.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// The attributes as they were accepted.
    pub attributes: Map<String, Value>,
    /// What a later version wrote beside them.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// The body of an index row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexBody {
    /// The row's format.
    pub format: u32,
    /// Whose value it is.
    pub id: String,
    /// The value as it was given; the key holds only its keyed hash.
    pub value: String,
}

/// The body of both rows of a membership.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeBody {
    /// The row's format.
    pub format: u32,
    /// The group.
    pub group: String,
    /// Its member.
    pub member: String,
    /// The member's resource type: `User` or `Group`.
    #[serde(rename = "type")]
    pub resource_type: String,
}

/// The small part of a group's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateStamp {
    /// The row's format.
    pub format: u32,
    /// The operation that changed the group's memberships last.
    pub members: String,
}

/// The body of a group's gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateBody {
    /// The row's format.
    pub format: u32,
    /// The operation that is being spread; none while the gate is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Of an open gate: the operation that was spread last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<String>,
}

/// A change of a group's memberships; in the event row itself when it is small, else in parts behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersBody {
    /// The row's format.
    pub format: u32,
    /// Who is not named in `users` and `groups` is no member any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
    /// Users that become members, or stay members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups that do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Who is no member afterwards; empty if `whole`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave: Vec<String>,
    /// Of a part of a tombstone: the operation that deleted the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub deletion: String,
}

impl MembersBody {
    /// Whether this part of a tombstone was written for this deletion; earlier versions did not say.
    pub fn is_of(&self, deletion: &str) -> bool {
        self.deletion.is_empty() || self.deletion == deletion
    }
}

/// Groups that a restored resource is to join still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinsBody {
    /// The row's format.
    pub format: u32,
    /// The resource.
    pub member: String,
    /// Its type: `User` or `Group`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// The groups.
    pub groups: Vec<String>,
    /// When some were joined last.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

/// What is decided and not spread over a group's edges yet: which operation's event parts say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalBody {
    /// The row's format.
    pub format: u32,
    /// The operation that decided it.
    pub operation: String,
    /// The group.
    pub group: String,
    /// How many parts there are.
    pub parts: usize,
}

/// The body of a row that says what happened a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceBody {
    /// The row's format.
    pub format: u32,
    /// What it happened to: an operation, or the id of a deleted resource.
    pub id: String,
    /// The operation that deleted the resource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The deleted resource's type.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_type: String,
}

impl TraceBody {
    /// The key of the row that says that the edges of this deleted resource still stand.
    pub fn edges_left_key(&self) -> String {
        super::edges_left_key(&self.id, &self.operation)
    }
}

/// The small part of the row that says that a deleted resource's edges still stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStamp {
    /// The row's format.
    pub format: u32,
    /// When an edge was removed last.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

/// The body of a row that counts one change of a total.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumBody {
    /// The row's format.
    pub format: u32,
    /// Resources more, or fewer.
    pub n: i64,
}

/// The body of a total's base and of its seal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SumBaseBody {
    /// The row's format.
    pub format: u32,
    /// What the folded rows add up to; 0 in a seal.
    #[serde(default)]
    pub n: i64,
    /// How many resources the folded rows made or removed; the same in base and seal.
    pub changes: u64,
}

/// The body of a mark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarkBody {
    /// The row's format.
    pub format: u32,
    /// How many resources there are up to `key`.
    pub position: usize,
    /// The last of them.
    pub key: String,
    /// How many changes of the total that was true after; none if it was never quite true.
    pub changes: Option<u64>,
    /// When it was written.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

/// The body of an event row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBody {
    /// The row's format.
    pub format: u32,
    /// What was done: `create`, `replace`, `patch`, `delete`; by operators `import`, `restore`, `erase`, `tenant-create` and the like;
    /// `refuse` for what was not done.
    pub kind: String,
    /// The resource type, or `Tenant`, `Token` or `Schema`.
    pub resource_type: String,
    /// The resource's id; a schema's URN.
    pub id: String,
    /// The credential that did it, or the operator.
    pub actor: String,
    /// Which attributes changed; paths only, no values.
    pub paths: Vec<String>,
    /// The memberships that changed with it, if they are few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<MembersBody>,
    /// How many parts behind this row hold the memberships that changed with it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub parts: usize,
    /// Of who was restored: groups that it is a member of again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Whom it is about: keyed hashes of the names that the resource had before and has now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<String>,
    /// The request that did it, as its client was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Of an operator's deed among those of all tenants: the tenant's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of what was refused: why and how often.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<RefusedBody>,
    /// Of an `import`: what it made is new to the application, as what a client creates is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_new: bool,
    /// When; of what was refused, the hour.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
}

impl EventBody {
    /// What `actor` did to a resource, given as its type and id, and nothing more to tell of it.
    pub fn new(kind: &str, (resource_type, id): (&str, &str), actor: &str, time: OffsetDateTime) -> Self {
        Self {
            format: FORMAT,
            kind: kind.to_owned(),
            resource_type: resource_type.to_owned(),
            id: id.to_owned(),
            actor: actor.to_owned(),
            paths: Vec::new(),
            members: None,
            parts: 0,
            groups: Vec::new(),
            subjects: Vec::new(),
            reference: None,
            tenant: None,
            refused: None,
            is_new: false,
            time,
        }
    }
}

/// Requests of one hour that were refused alike; in the event that tells of them. What the event's `reference`, `paths` and
/// `actor` say is of the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedBody {
    /// The rule's name.
    pub rule: String,
    /// Method and route, without ids.
    pub request: String,
    /// How many.
    pub count: u64,
    /// When the first one was refused.
    #[serde(with = "time::serde::rfc3339")]
    pub first: OffsetDateTime,
    /// When the last one was.
    #[serde(with = "time::serde::rfc3339")]
    pub last: OffsetDateTime,
    /// The write of each process that added to it last, so that none does twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub writes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
