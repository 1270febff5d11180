//! What can be wrong with rows, and what is done about it: one table.

/// One kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Damage {
    /// The bytes of a row make no sense.
    Unreadable,
    /// A row's format is newer than this version.
    Newer,
    /// A row's key is of no known kind.
    Unknown,
    /// A row's key is not the one that belongs to what it holds.
    Misplaced,
    /// A membership's reverse row is missing.
    ReverseMissing,
    /// A membership's forward row is missing.
    ForwardMissing,
    /// The two rows of a membership differ, or are both wrong about what the member is.
    EdgeDiffers,
    /// A membership of, or in, what is not there.
    EndMissing,
    /// A group without a gate.
    GateMissing,
    /// A group with an open and a closed gate.
    GateDouble,
    /// A gate that was closed for a change that is not pending.
    GateStuck,
    /// A gate without a group.
    GateOrphan,
    /// A pending change of a group that is not there.
    JournalOrphan,
    /// A pending change for which the group's gate is not closed.
    JournalUngated,
    /// A pending change whose members are not written down any more.
    JournalLost,
    /// A row that hides the memberships of a resource that is there.
    HidesExisting,
    /// A row that hides the memberships of what was never deleted.
    HidesUnknown,
    /// A part of a tombstone that is not there.
    TombstonePart,
    /// A value without its index row.
    IndexMissing,
    /// An index row that says something else than the resource.
    IndexWrong,
    /// An index row for a value that its resource does not have.
    IndexOrphan,
    /// Two resources have a value that only one may have.
    UniqueTwice,
    /// The two ends of a total disagree.
    TotalTorn,
    /// A total is not the number of resources.
    TotalWrong,
    /// An event has fewer parts than it says.
    EventPartMissing,
    /// A part of an event that has no such part.
    EventPartOrphan,
}

/// What is to be said of a kind of damage.
pub struct Entry {
    /// Which.
    pub damage: Damage,
    /// Its name in reports.
    pub name: &'static str,
    /// What it means, in one line.
    pub says: &'static str,
    /// What repair does about it; nothing where a person has to decide.
    pub repair: Option<&'static str>,
}

impl Damage {
    /// What is to be said of it.
    pub fn entry(self) -> &'static Entry {
        let entry = DAMAGES.iter().find(|entry| entry.damage == self);
        entry.expect("the table has every damage, as a test says")
    }
}

const fn entry(damage: Damage, name: &'static str, says: &'static str, repair: &'static str) -> Entry {
    let repair = if repair.is_empty() { None } else { Some(repair) };
    Entry {
        damage,
        name,
        says,
        repair,
    }
}

/// All of them.
pub static DAMAGES: &[Entry] = &[
    entry(
        Damage::Unreadable,
        "unreadable",
        "the row's bytes make no sense; requests that need it are answered 500",
        "",
    ),
    entry(
        Damage::Newer,
        "newer-format",
        "a newer version of scimgate wrote the row: check with that version",
        "",
    ),
    entry(
        Damage::Unknown,
        "unknown-row",
        "this version knows no rows with such keys: check with the newest version",
        "",
    ),
    entry(
        Damage::Misplaced,
        "misplaced",
        "the row's key does not belong to what the row holds",
        "",
    ),
    entry(
        Damage::ReverseMissing,
        "membership-without-reverse",
        "the group shows the member, the member does not show the group",
        "writes the missing row",
    ),
    entry(
        Damage::ForwardMissing,
        "membership-without-forward",
        "the member shows the group, the group does not show the member",
        "removes the other row",
    ),
    entry(
        Damage::EdgeDiffers,
        "membership-differs",
        "the two rows of a membership differ, or take a user for a group",
        "writes both anew",
    ),
    entry(
        Damage::EndMissing,
        "membership-of-nobody",
        "the group or the member is not there",
        "removes the membership",
    ),
    entry(
        Damage::GateMissing,
        "gate-missing",
        "nobody can change the group's members",
        "opens the gate",
    ),
    entry(
        Damage::GateDouble,
        "gate-double",
        "the group's gate is open and closed",
        "leaves it closed while a change is pending, else open",
    ),
    entry(
        Damage::GateStuck,
        "gate-stuck",
        "the group's gate is closed for a change that is not pending",
        "opens the gate",
    ),
    entry(
        Damage::GateOrphan,
        "gate-without-group",
        "a gate of a group that is not there",
        "removes it",
    ),
    entry(
        Damage::JournalOrphan,
        "pending-without-group",
        "a change of members is pending for a group that is not there",
        "drops the change",
    ),
    entry(
        Damage::JournalUngated,
        "pending-without-gate",
        "a change of members is pending, and the group's gate is not closed for it",
        "closes the gate and finishes the change",
    ),
    entry(
        Damage::JournalLost,
        "pending-without-event",
        "a change of members is pending, and which one is lost: nobody can read memberships",
        "drops what was not done of it; restart provisioning for this group's members",
    ),
    entry(
        Damage::HidesExisting,
        "hides-existing",
        "the memberships of a resource that is there are hidden as if it were deleted",
        "shows them",
    ),
    entry(
        Damage::HidesUnknown,
        "hides-unknown",
        "memberships are hidden of a resource that was never deleted and is not there",
        "removes the row",
    ),
    entry(
        Damage::TombstonePart,
        "tombstone-part",
        "a part of a tombstone that is not there",
        "removes it",
    ),
    entry(
        Damage::IndexMissing,
        "index-missing",
        "a filter does not find the resource by this value",
        "writes the index row",
    ),
    entry(
        Damage::IndexWrong,
        "index-wrong",
        "the index row says something else than the resource",
        "writes the index row anew",
    ),
    entry(
        Damage::IndexOrphan,
        "index-orphan",
        "an index row for a value that the resource does not have",
        "removes it",
    ),
    entry(
        Damage::UniqueTwice,
        "unique-twice",
        "two resources have a value that only one may have: rename or delete one of them",
        "",
    ),
    entry(
        Damage::TotalTorn,
        "total-torn",
        "the two ends of a total disagree: lists are answered 503",
        "writes both anew",
    ),
    entry(
        Damage::TotalWrong,
        "total-wrong",
        "totalResults is not the number of resources",
        "puts it right, at a moment when nobody makes or deletes any",
    ),
    entry(
        Damage::EventPartMissing,
        "event-part-missing",
        "the log of changes does not say any more which members changed",
        "",
    ),
    entry(
        Damage::EventPartOrphan,
        "event-part-orphan",
        "a part of an event that has no such part",
        "",
    ),
];
