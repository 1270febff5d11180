//! What a key says of its row.

/// A key of a tenant's partition, taken apart. What stands in it for an id is not the id: see [`super::id_part`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key<'k> {
    /// A resource: the letter of its type, and what stands for its id.
    Resource(&'k str, &'k str),
    /// Who has a value: the index's letter.
    Index(&'k str),
    /// An open gate, and of which group.
    Gate(&'k str),
    /// A closed gate, and of which group.
    ClosedGate(&'k str),
    /// A membership, seen from the group.
    Member,
    /// A membership, seen from the member.
    Membership,
    /// What an operation changed.
    Event(&'k str),
    /// A part of that.
    EventPart(&'k str, &'k str),
    /// A decided change of memberships, and which operation's.
    Journal(&'k str),
    /// That such a change was spread.
    Spread,
    /// That a deleted resource's edges still stand.
    EdgesLeft,
    /// A deleted resource, and what stands for its id.
    Tombstone(&'k str),
    /// A part of it: groups it was in.
    TombstonePart(&'k str),
    /// A part of it: members it had.
    TombstoneMembers(&'k str),
    /// A part of it: a membership whose other end is there.
    TombstoneEdge(&'k str),
    /// Groups that a restored resource is to join still.
    Joins,
    /// A total's base or seal: the letter of the resource type.
    SumEnd(&'k str),
    /// A change of a total.
    Sum,
    /// Where a page of a resource type begins.
    Mark(&'k str),
}

impl<'k> Key<'k> {
    /// Takes a key apart; nothing if this version knows no such row.
    pub fn parse(key: &'k str) -> Option<Self> {
        let parts: Vec<&str> = key.split('~').collect();
        Some(match parts[..] {
            [kind @ ("u" | "g"), id] => Self::Resource(kind, id),
            [index @ ("n" | "q"), _] | [index @ ("x" | "e" | "d" | "y"), _, _] => Self::Index(index),
            ["m", group, "-"] => Self::Gate(group),
            ["m", group, "."] => Self::ClosedGate(group),
            ["m", _, _] => Self::Member,
            ["r", _, _] => Self::Membership,
            ["o", operation] => Self::Event(operation),
            ["o", operation, part] => Self::EventPart(operation, part),
            ["pend", "journal", operation] => Self::Journal(operation),
            ["pend", "done", _] => Self::Spread,
            ["pend", "gone", _, _] => Self::EdgesLeft,
            ["gone", id] => Self::Tombstone(id),
            ["gone", id, part] if part.bytes().all(|b| b.is_ascii_digit()) => Self::TombstonePart(id),
            ["gone", id, "members", _] => Self::TombstoneMembers(id),
            ["gone", id, "edge", _] => Self::TombstoneEdge(id),
            ["pend", "join", _, _] => Self::Joins,
            ["sum", kind @ ("u" | "g"), ".base" | "seal"] => Self::SumEnd(kind),
            ["sum", "u" | "g", _] => Self::Sum,
            ["mark", kind @ ("u" | "g"), _] => Self::Mark(kind),
            _ => return None,
        })
    }
}

/// The keys of a group, of its open and of its closed gate, by what stands for its id in any of them.
pub fn gate_keys(part: &str) -> [String; 3] {
    [format!("g~{part}"), format!("m~{part}~-"), format!("m~{part}~.")]
}

/// The key of a tombstone, by what stands for the id in it and in its parts.
pub fn tombstone_key(part: &str) -> String {
    format!("gone~{part}")
}

/// The key of the row with which the list of the members is whole that a deleted group had, by what stands for its id.
pub fn whole_list_key(part: &str) -> String {
    format!("gone~{part}~members~000")
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    /// Whatever id an identity provider chose.
    #[test]
    fn every_key_that_is_spelled_is_taken_apart() {
        let operation = Operation::new(OffsetDateTime::UNIX_EPOCH, 0, [7; 32]);
        let name = operation.to_string();
        for id in ["a", "members", "001", "A.b-c", "@~_", "-", ".", ""] {
            let part = id_part(id);
            let [group, open, closed] = gate_keys(&part);
            for (key, spelled, parsed) in [
                (resource_key("g", id), group, Key::Resource("g", &part)),
                (gate_key(id), open, Key::Gate(&part)),
                (closed_gate_key(id), closed, Key::ClosedGate(&part)),
                (gone_key(id), tombstone_key(&part), Key::Tombstone(&part)),
                (
                    gone_members_key(id, 0),
                    whole_list_key(&part),
                    Key::TombstoneMembers(&part),
                ),
            ] {
                assert_eq!(key, spelled);
                assert_eq!(Key::parse(&key), Some(parsed), "{key}");
            }
            for (key, parsed) in [
                (resource_key("u", id), Key::Resource("u", &part)),
                (member_key(id, id), Key::Member),
                (membership_key(id, id), Key::Membership),
                (edges_left_key(id, &name), Key::EdgesLeft),
                (gone_part_key(id, 7), Key::TombstonePart(&part)),
                (gone_members_key(id, 7), Key::TombstoneMembers(&part)),
                (gone_edge_key(id, id), Key::TombstoneEdge(&part)),
                (joins_key(id, 7), Key::Joins),
                (event_key(&operation), Key::Event(&name)),
                (event_part_key(&name, 7), Key::EventPart(&name, "007")),
                (journal_key(&name), Key::Journal(&name)),
                (spread_key(&name), Key::Spread),
            ] {
                assert_eq!(Key::parse(&key), Some(parsed), "{key}");
            }
        }
        for (key, parsed) in [
            (sum_base_key("u"), Key::SumEnd("u")),
            (sum_seal_key("g"), Key::SumEnd("g")),
            (sum_key("g", &operation), Key::Sum),
            (mark_key("u", 7), Key::Mark("u")),
        ] {
            assert_eq!(Key::parse(&key), Some(parsed), "{key}");
        }
        for key in [
            "",
            "u",
            "u~a~b",
            "z~a",
            "n~a~b",
            "pend~a",
            "gone~a~members~0~1",
            "gone~a~b",
        ] {
            assert_eq!(Key::parse(key), None, "{key}");
        }
    }
}
