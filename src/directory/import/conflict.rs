//! Why a line is not imported.

use std::fmt;

use time::OffsetDateTime;

use super::lines::MAX_LINE_BYTES;
use crate::scim::{
    error::{Error as Refused, Rule},
    members::Kind,
    normalize::Trace,
};

/// Conflicts that are listed; further ones are counted.
pub const MAX_LISTED: usize = 100_000;

/// A line that cannot be imported, or not all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Its number in the file, from 1.
    pub line: u32,
    /// The reason.
    pub why: Why,
}

/// A reason; what it shows of the file are ids and names of attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It has more than [`MAX_LINE_BYTES`], or more parts than fit into memory.
    TooLong,
    /// It is no JSON from this column on.
    NotJson(usize),
    /// It does not say whether it is a user or a group.
    NoType,
    /// What stands as its id cannot be one.
    Id,
    /// What stands there is no time, or one that is still to come.
    Time(&'static str),
    /// The tenant's schemas have no such attributes, so that their values would be lost.
    Unknown(Vec<String>),
    /// So much of it would be rewritten that nobody can tell whether some of it would be lost.
    Unclear,
    /// A client would be refused for it.
    Refused(String),
    /// Another line has the same id, or the same of what only one may have.
    Twice(&'static str, u32),
    /// It names a member that neither the file nor the tenant has. The group is imported without it if conflicts are skipped.
    /// What cannot be an id is not shown.
    UnknownMember(Option<String>),
    /// It names a member whom this other line describes, of which nothing came. The group is imported without it likewise.
    LostMember(String, u32),
    /// It names a manager that neither the file nor the tenant has, and is imported with it, as clients may name anybody too.
    /// What could be a name is not shown.
    UnknownManager(Option<String>),
    /// A group of its own members.
    OwnMember,
    /// The id is that of a resource of this other type.
    OtherType(Kind),
    /// The tenant had this id, and deleted it then.
    Deleted(OffsetDateTime),
    /// The same, and nothing but the id is kept of it.
    Erased(OffsetDateTime),
    /// What only one may have is another resource's, of this id.
    Taken(&'static str, String),
    /// It is there already with other values of these attributes.
    Differs(Vec<String>),
}

impl Why {
    pub(super) fn refused(error: &Refused) -> Self {
        let says = match (error.rule(), error.text("subject")) {
            (Rule::UnknownSchema | Rule::OtherResourceType, Some(urn)) if !is_urn(urn) => {
                error.clone().with("subject", "what is no URN").to_string()
            }
            _ => error.to_string(),
        };
        Self::Refused(says)
    }

    /// Whether the rest of the line can be imported.
    pub(super) fn is_partial(&self) -> bool {
        matches!(self, Self::UnknownMember(_) | Self::LostMember(..))
    }

    /// For programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::TooLong => "too-long",
            Self::NotJson(_) => "not-json",
            Self::NoType => "no-type",
            Self::Id => "id",
            Self::Time(_) => "time",
            Self::Unknown(_) => "unknown-attribute",
            Self::Unclear => "unclear",
            Self::Refused(_) => "refused",
            Self::Twice(..) => "twice",
            Self::UnknownMember(_) => "unknown-member",
            Self::LostMember(..) => "lost-member",
            Self::UnknownManager(_) => "unknown-manager",
            Self::OwnMember => "own-member",
            Self::OtherType(_) => "other-type",
            Self::Deleted(_) => "deleted",
            Self::Erased(_) => "erased",
            Self::Taken(..) => "taken",
            Self::Differs(_) => "differs",
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "it has more than {} MiB, or too many parts", MAX_LINE_BYTES >> 20),
            Self::NotJson(column) => write!(f, "it is no JSON from column {column} on"),
            Self::NoType => f.write_str(
                "nothing says whether it is a user or a group: a user has a userName, a group a displayName; schemas or \
                 meta.resourceType say it too",
            ),
            Self::Id => f.write_str(
                "its id cannot be carried: it is a whole number that is not negative, or a string of 1 to 128 characters \
                 of A-Z, a-z, 0-9 and . _ ~ @ : + -, which stand in addresses as they are",
            ),
            Self::Time(attribute) => write!(f, "{attribute} is no time, or still to come"),
            Self::Unknown(paths) => write!(
                f,
                "the tenant's schemas have no attribute {}; 'schema set' gives it some",
                paths.join(", ")
            ),
            Self::Unclear => write!(
                f,
                "more than {} of its attributes are unknown or written in other ways than SCIM's, so that nobody can tell \
                 whether any would be lost: give it fewer of them",
                Trace::MAX_NOTES
            ),
            Self::Refused(says) => f.write_str(says),
            Self::Twice("userName", line) => {
                write!(f, "its userName is that of line {line}; upper and lower case make no difference")
            }
            Self::Twice(attribute, line) => write!(f, "its {attribute} is that of line {line}"),
            Self::UnknownMember(Some(id)) => write!(
                f,
                "its member {id} is not in the tenant, and no line of the file makes it"
            ),
            Self::UnknownMember(None) => {
                f.write_str("one of its members is named by what cannot be an id, so that it is nobody's")
            }
            Self::LostMember(id, line) => write!(
                f,
                "its member {id} is not in the tenant: line {line} describes it, and is not imported"
            ),
            Self::UnknownManager(id) => write!(
                f,
                "its manager {}is not in the tenant, and no line of the file makes it",
                id.as_ref().map_or_else(String::new, |id| format!("{id} "))
            ),
            Self::OwnMember => f.write_str("it is a member of itself"),
            Self::OtherType(kind) => write!(f, "the tenant has a {} of this id", kind.keyword()),
            Self::Deleted(time) => write!(
                f,
                "the tenant's resource of this id was deleted on {}; 'restore' brings it back",
                time.date()
            ),
            Self::Erased(time) => write!(
                f,
                "the tenant's resource of this id was deleted on {}, and then erased: give it another id, or none",
                time.date()
            ),
            Self::Taken(attribute, id) => write!(f, "its {attribute} is taken by {id}"),
            Self::Differs(paths) => write!(f, "it is there already, with another {}", paths.join(", ")),
        }
    }
}

/// Whether it is the name of a schema by its looks, rather than a value that came there by mistake.
fn is_urn(text: &str) -> bool {
    let head = text.get(..4).unwrap_or_default();
    head.eq_ignore_ascii_case("urn:")
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":._-".contains(&byte))
}
