//! How keys are spelled and what rows hold. Every row names its format, so that versions of scimgate can overlap.
//!
//! A tenant's rows share one partition, named by a random id. `~` separates the parts of a key and is in no part:
//!
//! | key | row |
//! |---|---|
//! | `u~<id>` | a User |
//! | `n~<hmac>` | who holds this userName (unique) |
//! | `x~<hmac>~<id>`, `e~<hmac>~<id>` | who has this externalId, this e-mail address |
//! | `o~<operation>` | what the operation changed: change log, outbox and audit in one; with the stamp `barred`: nothing, ever |
//! | `o~<hour><hash>` | which requests were refused alike in an hour; sorts as an operation at the hour's beginning |
//! | `g~<id>` | a Group, without its members |
//! | `d~<hmac>~<id>`, `y~<hmac>~<id>` | which groups have this displayName, this externalId |
//! | `q~<hmac>` | which group has this displayName and externalId together (unique) |
//! | `m~<group>~<member>`, `r~<member>~<group>` | one membership, seen from either side; always written together |
//! | `m~<group>~-` | the group's gate: whoever changes memberships stamps it, unless they end with a member |
//! | `m~<group>~.` | instead of the gate, while a decided change is spread: which one |
//! | `o~<operation>~<part>` | the memberships that the operation changed, if they don't fit into its row |
//! | `pend~journal~<operation>` | a decided change of memberships, until it is spread over the edges |
//! | `pend~done~<operation>` | such a change was spread a moment ago |
//! | `pend~gone~<id>~<operation>` | a resource whose edges still stand, and which operation deleted it |
//! | `gone~<id>` | a deleted resource, kept for its retention time; of one that was erased only when |
//! | `gone~<id>~<part>`, `gone~<id>~members~<part>` | the groups it was in, and the members it had |
//! | `gone~<id>~edge~<other>` | a membership of it whose other end came back before it |
//! | `pend~join~<id>~<part>` | the groups that a restored resource is to join still |
//! | `sum~<kind>~<operation>` | that the operation made or removed a resource: +1 or -1 |
//! | `sum~<kind>~.base`, `sum~<kind>~seal` | the sum of those that are gone, see `totals`; first and last of their range |
//! | `mark~<kind>~<position>` | behind which key a page begins, see `directory` |
//!
//! The control partition holds tenants (`tenant~<name>`), where to find one by its id (`id~<tenant>`), credentials by
//! the hash of their secret (`token~<sha256>`), a tenant's credentials (`of~<tenant>~<credential>`), its extension schemas by
//! its name, as they are read with it (`schemas~<name>`), when it was last heard of (`seen~<tenant>`), which attributes it
//! sends in vain (`dropped~<tenant>`), how far the loading of a backup has come (`load~<tenant>`,
//! and `load~<tenant>~<run>` who is at it; in the tenant's own partition `load~<run>`, then `load~<run>~repairs`, until it is there), how long what is past is kept
//! (`kept`), and operators' events (`o~<operation>`).

use std::fmt;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::store::{Row, Write};

mod bodies;
mod error;
mod key;

pub use crate::store::behind;
pub use bodies::{
    EdgeBody, EventBody, GateBody, GateStamp, GoneStamp, IndexBody, JoinsBody, JournalBody, MarkBody, MembersBody,
    RefusedBody, ResourceBody, Stamp, SumBaseBody, SumBody, TraceBody, TraceStamp,
};
pub use error::{FormatError, unknown};
pub use key::{Key, gate_keys, tombstone_key, whole_list_key};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The partition of tenants and credentials.
pub const CONTROL: &str = "control";

/// Ids up to this length stand in keys as they are; longer ones as a hash, so that a key with two ids fits.
const MAX_PLAIN_ID_BYTES: usize = 100;

/// The part of a key that stands for an id, which may have any characters and length that an identity provider chose.
///
/// It is never parsed: the id itself stands in the row.
pub fn id_part(id: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    // One that begins otherwise could be taken for a group's gate.
    let begins = id.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if begins && id.len() <= MAX_PLAIN_ID_BYTES && id.bytes().all(plain) {
        return id.to_owned();
    }
    format!("_{}", &HEXLOWER.encode(&Sha256::digest(id))[..40])
}

/// What the keys of a resource type's resources begin with.
pub fn resource_key_prefix(kind: &str) -> String {
    format!("{kind}~")
}

/// The key of a resource, for example `u~<id>`; `kind` is the resource type's letter.
pub fn resource_key(kind: &str, id: &str) -> String {
    format!("{kind}~{}", id_part(id))
}

/// What the keys of tombstones and their parts begin with.
pub const GONE_PREFIX: &str = "gone~";

/// The key of a deleted resource's tombstone.
pub fn gone_key(id: &str) -> String {
    format!("gone~{}", id_part(id))
}

/// What the keys of a group's memberships begin with, and those of its gate.
pub fn members_prefix(group: &str) -> String {
    format!("m~{}~", id_part(group))
}

/// The key of a membership, seen from the group.
pub fn member_key(group: &str, member: &str) -> String {
    format!("m~{}~{}", id_part(group), id_part(member))
}

/// The key of a group's gate while it is open. No member's key stands before it or before [`closed_gate_key`].
pub fn gate_key(group: &str) -> String {
    format!("m~{}~-", id_part(group))
}

/// The key of a group's gate while a change of its memberships is being spread.
pub fn closed_gate_key(group: &str) -> String {
    format!("m~{}~.", id_part(group))
}

/// What the keys of a resource's own memberships begin with.
pub fn memberships_prefix(member: &str) -> String {
    format!("r~{}~", id_part(member))
}

/// The key of a membership, seen from the member.
pub fn membership_key(member: &str, group: &str) -> String {
    format!("r~{}~{}", id_part(member), id_part(group))
}

/// What the keys of everything begin with that is decided but not spread yet.
pub const PENDING_PREFIX: &str = "pend~";

/// The key that tells that an operation's change of memberships is decided and not spread yet.
pub fn journal_key(operation: &str) -> String {
    format!("pend~journal~{operation}")
}

/// The key that tells that a change was spread a moment ago.
pub fn spread_key(operation: &str) -> String {
    format!("pend~done~{operation}")
}

/// What the keys begin with that tell that a deleted resource's edges still stand.
pub fn edges_left_prefix(id: &str) -> String {
    format!("pend~gone~{}~", id_part(id))
}

/// The key that tells that the edges of a resource still stand, which this operation deleted. Each deletion has its own: what
/// was begun after one, and lands late, must do nothing after the next.
pub fn edges_left_key(id: &str, operation: &str) -> String {
    format!("{}{operation}", edges_left_prefix(id))
}

/// What the keys begin with that tell which groups restored resources are to join still.
pub const JOINS_PREFIX: &str = "pend~join~";

/// What the keys begin with that tell which groups this one is to join still.
pub fn joins_prefix(id: &str) -> String {
    format!("{JOINS_PREFIX}{}~", id_part(id))
}

/// The key of a part of these groups.
pub fn joins_key(id: &str, part: usize) -> String {
    format!("{}{part:03}", joins_prefix(id))
}

/// The key of an operation's event row.
pub fn event_key(operation: &Operation) -> String {
    format!("o~{operation}")
}

/// Where events of this time and later begin.
pub fn events_from(time: OffsetDateTime) -> String {
    format!("o~{:016x}", micros(time))
}

/// The key of the row that tells of requests which were refused alike in an hour, whichever process refused them.
pub fn refusal_key(hour: OffsetDateTime, alike: &[&str]) -> String {
    let hash = Sha256::digest(alike.join("\0"));
    format!("{}{}", events_from(hour), HEXLOWER.encode(&hash[..8]))
}

/// Most parts of one event: as many as their keys have numbers for.
pub const MAX_EVENT_PARTS: usize = 1_000;

/// The key of a part of an event that does not fit into one row; parts count from 0.
pub fn event_part_key(operation: &str, part: usize) -> String {
    format!("o~{operation}~{part:03}")
}

/// The bounds of a scan over an event and its parts.
pub fn event_keys(operation: &str) -> (String, String) {
    (format!("o~{operation}"), format!("o~{operation}~~"))
}

/// What the keys of the parts of a tombstone begin with.
pub fn gone_parts_prefix(id: &str) -> String {
    format!("gone~{}~", id_part(id))
}

/// The bounds of a scan over the parts of a tombstone that tell of groups it was in: they stand before the members it had.
pub fn gone_groups_range(id: &str) -> (String, String) {
    (gone_parts_prefix(id), gone_members_prefix(id))
}

/// The key of a part of a tombstone that does not fit into one row.
pub fn gone_part_key(id: &str, part: usize) -> String {
    format!("gone~{}~{part:03}", id_part(id))
}

/// What the keys of the parts of the list begin with of members that a deleted group had.
pub fn gone_members_prefix(id: &str) -> String {
    format!("gone~{}~members~", id_part(id))
}

/// The key of a part of this list.
pub fn gone_members_key(id: &str, part: usize) -> String {
    format!("{}{part:03}", gone_members_prefix(id))
}

/// The key of a membership of something that is deleted, whose other end came back before it.
pub fn gone_edge_key(id: &str, other: &str) -> String {
    format!("gone~{}~edge~{}", id_part(id), id_part(other))
}

/// What the keys of the rows begin with that add up to a resource type's total.
pub fn sum_key_prefix(kind: &str) -> String {
    format!("sum~{kind}~")
}

/// The key of the row that counts what an operation made or removed.
pub fn sum_key(kind: &str, operation: &Operation) -> String {
    format!("sum~{kind}~{operation}")
}

/// The key of a total's base: before those of all operations.
pub fn sum_base_key(kind: &str) -> String {
    format!("sum~{kind}~.base")
}

/// The key of a total's seal: behind those of all operations.
pub fn sum_seal_key(kind: &str) -> String {
    format!("sum~{kind}~seal")
}

/// What the keys of a resource type's marks begin with.
pub fn mark_key_prefix(kind: &str) -> String {
    format!("mark~{kind}~")
}

/// The key of the mark at a position. The greatest comes first, so that a scan that begins at a wanted position meets the
/// nearest one before it.
pub fn mark_key(kind: &str, position: usize) -> String {
    let position = u64::try_from(position).unwrap_or(u64::MAX);
    format!("mark~{kind}~{:016x}", u64::MAX - position)
}

/// The bounds of a scan over all keys that begin with `prefix`, which ends in `~`.
pub fn range(prefix: &str) -> (String, String) {
    // `~` is the last character of the key alphabet and begins no part.
    (prefix.to_owned(), format!("{prefix}~"))
}

/// One write: its id is the event row's key and the version of what it wrote.
///
/// Spelled as 16 hex digits of time and 16 random ones, so that events sort in the order of their stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Microseconds since 1970 of a hybrid clock: later than everything this operation has read.
    pub stamp: u64,
    random: [u8; 8],
}

impl Operation {
    /// An operation after `newest_read`, the newest stamp that the request has seen.
    pub fn new(now: OffsetDateTime, newest_read: u64, secret: [u8; 32]) -> Self {
        let mut random = [0; 8];
        random.copy_from_slice(&secret[..8]);
        Self {
            stamp: micros(now).max(newest_read + 1),
            random,
        }
    }

    /// The time of the stamp, cut to milliseconds as SCIM shows it.
    pub fn time(&self) -> OffsetDateTime {
        time(self.stamp)
    }

    /// The time of the operation that is spelled so.
    pub fn time_of(text: &str) -> Option<OffsetDateTime> {
        u64::from_str_radix(text.get(..16)?, 16).ok().map(time)
    }
}

fn micros(time: OffsetDateTime) -> u64 {
    u64::try_from(time.unix_timestamp_nanos() / 1000).unwrap_or(0)
}

fn time(stamp: u64) -> OffsetDateTime {
    let nanos = i128::from(stamp / 1000) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

impl Operation {
    /// True for one operation in so many, at random.
    pub fn is_one_in(&self, many: u64) -> bool {
        u64::from_be_bytes(self.random).is_multiple_of(many)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{}", self.stamp, HEXLOWER.encode(&self.random))
    }
}

/// Reads a row's body.
pub fn body<T: DeserializeOwned>(row: &Row) -> Result<T, FormatError> {
    decode(&row.key, &row.body)
}

/// Reads a resource row's stamp.
pub fn stamp(row: &Row) -> Result<Stamp, FormatError> {
    decode(&row.key, &row.stamp)
}

/// Reads a tombstone's stamp.
pub fn gone_stamp(row: &Row) -> Result<GoneStamp, FormatError> {
    decode(&row.key, &row.stamp)
}

/// Reads when an edge of a deleted resource was removed last; nothing if none was.
pub fn trace_stamp(row: &Row) -> Result<Option<TraceStamp>, FormatError> {
    let stamped = !row.stamp.is_empty();
    stamped.then(|| decode(&row.key, &row.stamp)).transpose()
}

/// Reads a gate's stamp.
pub fn gate_stamp(row: &Row) -> Result<GateStamp, FormatError> {
    decode(&row.key, &row.stamp)
}

fn decode<T: DeserializeOwned>(key: &str, bytes: &[u8]) -> Result<T, FormatError> {
    #[derive(Deserialize)]
    struct Format {
        format: u64,
    }
    let broken = || FormatError::Broken { key: key.to_owned() };
    // A newer format may have another shape altogether, so its number is read by itself first.
    let Format { format } = serde_json::from_slice(bytes).map_err(|_| broken())?;
    if format > u64::from(FORMAT) {
        return Err(FormatError::Newer {
            key: key.to_owned(),
            format,
        });
    }
    serde_json::from_slice(bytes).map_err(|_| broken())
}

/// A row to write; `stamp` is empty for all but resources.
pub fn write<T: Serialize>(key: String, body: &T) -> Write {
    Write {
        key,
        stamp: Vec::new(),
        body: encode(body),
    }
}

/// The bytes of a stamp or body.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("rows are plain JSON with string keys")
}
