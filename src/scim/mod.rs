//! The protocol (RFC 7643, 7644), pure: no I/O, no async, no clock, and nothing imported from the other rooms.
//!
//! In reading order: [`json`] reads a client's bytes; a [`schema`] says what a resource may hold; [`attributes`] is the
//! one door through which a client's JSON becomes [`attributes::Attributes`]; [`resource`] makes the complete document of
//! it and [`projection`] the part a client asked for; [`members`] is what becomes of a group's members; [`path`],
//! [`filter`] and [`patch`] read SCIM's three small languages, [`sort`] puts resources in order; a [`write::Write`] comes
//! by itself, or with others in a [`bulk`] request; [`list`], [`search`] and [`discovery`] are the other message forms.
//! Every refusal is one of [`error::RULES`], every tolerance is noted in a [`normalize::Trace`], and every limit has its
//! name in [`limits`].

pub mod attributes;
pub mod bulk;
pub mod discovery;
pub mod error;
pub mod filter;
pub mod fold;
pub mod json;
pub mod limits;
pub mod list;
pub mod members;
mod message;
pub mod normalize;
pub mod patch;
pub mod path;
pub mod projection;
mod quirks;
pub mod resource;
mod rules;
pub mod schema;
pub mod search;
pub mod sort;
pub mod write;
