//! What is left of deleted resources: it is brought back, erased, or goes when its time is over.
//!
//! Reading order: this file (what there is of one, and of all), `restore` (with `joins` and `rejoin`, its groups, and `members`, of a
//! group that has laid down its own), `erase`, `purge`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use futures::future::try_join;
use time::{Duration, OffsetDateTime};

use super::{
    Directory, Error, Stored,
    edges::{Edge, Side},
    pending::Gone,
    sift::SCAN_STEP,
};
use crate::{
    rows::{self, EdgeBody, EventBody, FormatError, Key, MembersBody},
    scim::{error::Rule, members::Kind, schema::ResourceType},
    store::{ETag, Page, Row, settle},
};

mod erase;
mod joins;
mod members;
mod purge;
pub(super) mod rejoin;
mod restore;

pub use erase::Erased;
pub use purge::{Kept, Purged};
pub use restore::Restored;

/// Looks for what is neither there nor deleted, before that is told.
const MAX_LOOKS: usize = 5;

/// Why somebody is not restored or erased.
#[derive(Debug)]
pub enum Denied {
    /// There is no such resource, live or deleted.
    Unknown,
    /// It is not deleted.
    There(Kind),
    /// It was deleted at this time, and could be restored until that.
    Past(OffsetDateTime, OffsetDateTime),
    /// It was deleted at this time, and erased.
    Erased(OffsetDateTime),
    /// Only persons are erased.
    Group,
    /// A value that is unique, of this attribute, is this resource's by now.
    Taken(String, String),
    /// The store failed.
    Failed(Error),
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("this tenant has no user or group of that id, and has not deleted one that is still kept")
            }
            Self::There(kind) => write!(f, "this {} is not deleted", kind.keyword()),
            Self::Past(deleted, until) => write!(
                f,
                "it was deleted on {}, and could be restored until {}",
                deleted.date(),
                until.date()
            ),
            Self::Erased(deleted) => write!(
                f,
                "it was deleted on {}, and erased: nothing of it is kept",
                deleted.date()
            ),
            Self::Group => f.write_str("this is a group; only users are erased"),
            Self::Taken(attribute, id) => write!(
                f,
                "409: its {attribute} was taken meanwhile by {id}; give that one another {attribute}, or delete it, and restore then"
            ),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Denied {}

impl<E: Into<Error>> From<E> for Denied {
    fn from(error: E) -> Self {
        match error.into() {
            Error::Refused(refused) if matches!(refused.rule(), Rule::UniqueTaken | Rule::GroupTaken) => {
                let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
                Self::Taken(text(refused.attribute()), text(refused.text("id")))
            }
            error => Self::Failed(error),
        }
    }
}

/// A deleted resource that can be restored.
#[derive(Debug)]
pub struct Restorable {
    /// Its id.
    pub id: String,
    /// Its type.
    pub kind: Kind,
    /// When it was deleted.
    pub deleted: OffsetDateTime,
    /// By which credential, or operator; nothing if the event is gone.
    pub by: Option<String>,
    /// Until when it is kept.
    pub until: OffsetDateTime,
    /// Its `userName` or `displayName`: personal data.
    pub name: String,
}

/// Everything that is left of a deleted resource.
struct Remains {
    /// As it was; its version is the deletion.
    was: Stored,
    kind: Kind,
    erased: bool,
    /// The groups it was in.
    groups: BTreeSet<String>,
    /// Of a group: members that are to have their edges again before it comes back.
    members: BTreeMap<String, Kind>,
    /// Whether these are all that it had: they were laid down.
    laid_down: bool,
    /// Memberships whose other end is there again, by their rows.
    waiting: Vec<(String, Edge)>,
    /// The rows that hold all these.
    parts: Vec<(String, ETag)>,
    /// The row that hides its edges.
    hidden: Option<Gone>,
    /// All rows that do: one that was to hide them after an earlier deletion may have landed late.
    hiding: Vec<(String, ETag)>,
    /// Its own memberships that still stand.
    standing: Vec<Edge>,
}

impl Remains {
    /// A user who might not come in.
    fn is_inactive(&self) -> bool {
        let active = self.was.attributes.as_map().get("active");
        self.kind == Kind::User && active.is_some_and(|active| *active == false)
    }

    fn deleted(&self) -> OffsetDateTime {
        self.was.envelope.last_modified
    }

    fn read(row: &Row) -> Result<Self, Error> {
        let was = Stored::read(row)?;
        Ok(Self {
            kind: kind_of(&was),
            erased: rows::gone_stamp(row)?.erased,
            was,
            groups: BTreeSet::new(),
            members: BTreeMap::new(),
            laid_down: false,
            waiting: Vec::new(),
            parts: Vec::new(),
            hidden: None,
            hiding: Vec::new(),
            standing: Vec::new(),
        })
    }

    /// The rows that hide its edges.
    fn hide(&mut self, hiding: &[Row]) -> Result<(), FormatError> {
        for row in hiding {
            let gone = Gone::read(row)?;
            self.hiding.push((row.key.clone(), row.etag.clone()));
            self.hidden = Some(gone)
                .filter(|gone| gone.trace.operation == self.was.envelope.version)
                .or(self.hidden.take());
        }
        Ok(())
    }

    /// The rows beside its tombstone.
    fn add(&mut self, parts: &[Row]) -> Result<(), FormatError> {
        let first = rows::gone_members_key(&self.was.envelope.id, 0);
        let mut members = BTreeMap::new();
        for row in parts {
            self.parts.push((row.key.clone(), row.etag.clone()));
            match Key::parse(&row.key) {
                Some(Key::TombstoneEdge(_)) => {
                    let edge = Edge::from(rows::body::<EdgeBody>(row)?);
                    self.waiting.push((row.key.clone(), edge));
                    continue;
                }
                Some(Key::TombstonePart(_) | Key::TombstoneMembers(_)) => {}
                _ => return Err(rows::unknown(row)),
            }
            let body: MembersBody = rows::body(row)?;
            if !body.is_of(&self.was.envelope.version) {
                // Of an earlier deletion: it only has to go.
            } else if is_list(&row.key) {
                // The first one is written last: without it the list is not complete, and all edges stand.
                self.laid_down |= row.key == first;
                members.extend(body.users.into_iter().map(|id| (id, Kind::User)));
                members.extend(body.groups.into_iter().map(|id| (id, Kind::Group)));
            } else {
                self.groups.extend(body.groups);
            }
        }
        if self.laid_down {
            self.members = members;
        }
        for (_, edge) in &self.waiting {
            if edge.member == self.was.envelope.id {
                self.groups.insert(edge.group.clone());
            } else {
                self.members.insert(edge.member.clone(), edge.kind);
            }
        }
        Ok(())
    }
}

/// Whether members are listed there.
fn is_list(key: &str) -> bool {
    matches!(Key::parse(key), Some(Key::TombstoneMembers(_)))
}

/// A tombstone doesn't name its type, but every user has a `userName`, and no group.
fn kind_of(was: &Stored) -> Kind {
    if was.attributes.as_map().contains_key("userName") {
        Kind::User
    } else {
        Kind::Group
    }
}

impl Directory {
    /// What can be restored, in the order of ids.
    pub async fn restorable(&self, retention: Duration) -> Result<Vec<Restorable>, Error> {
        let mut all = Vec::new();
        let (mut from, until) = rows::range(rows::GONE_PREFIX);
        loop {
            let page = self.tombstones((&from, &until)).await?;
            let mut events = Vec::new();
            for row in &page.rows {
                if !matches!(Key::parse(&row.key), Some(Key::Tombstone(_))) {
                    continue;
                }
                let remains = Remains::read(row)?;
                if remains.erased || remains.deleted() + retention <= self.ambient.now() {
                    continue;
                }
                events.push(format!("o~{}", remains.was.envelope.version));
                all.push(restorable(&remains, retention));
            }
            let first = all.len() - events.len();
            for (one, event) in all[first..].iter_mut().zip(self.rows(&events).await?) {
                let event: Option<EventBody> = event.as_ref().map(rows::body).transpose()?;
                one.by = event.map(|event| event.actor);
            }
            match page.rows.last() {
                Some(last) if page.more => from = rows::behind(&last.key),
                _ => return Ok(all),
            }
        }
    }

    /// A page of tombstones and their parts.
    pub(super) async fn tombstones(&self, bounds: (&str, &str)) -> Result<Page, Error> {
        let partition = &self.access.tenant.id;
        Ok(settle::patient_scan(&*self.store, partition, bounds, SCAN_STEP, self.deadline).await?)
    }

    /// What is left of a deleted resource, in two round trips: first its tombstone and the rows that hide its edges, then the
    /// rows beside them. Whoever changes anything of it changes its tombstone or the row that hides its edges as well, so what
    /// was read afterwards is of that moment as long as these two are as they were; a commit asserts that.
    async fn remains(&self, id: &str) -> Result<Remains, Denied> {
        let hiding = rows::range(&rows::edges_left_prefix(id));
        loop {
            let (mut remains, hidden) =
                try_join(self.tombstone(id), async { Ok(self.all_rows(&hiding).await?) }).await?;
            remains.hide(&hidden)?;
            let parts = rows::range(&rows::gone_parts_prefix(id));
            let beside = try_join(self.all_rows(&parts), self.memberships_of(id));
            if remains.hidden.is_some() {
                let (parts, standing) = beside.await?;
                remains.add(&parts)?;
                remains.standing = standing;
                return Ok(remains);
            }
            // It may have been deleted between the look at the row that hides and the one at its tombstone.
            let ((parts, standing), again) = try_join(beside, self.all_rows(&hiding)).await?;
            if again == hidden {
                remains.add(&parts)?;
                remains.standing = standing;
                return Ok(remains);
            }
        }
    }

    /// A deleted resource, without what is beside its tombstone.
    async fn tombstone(&self, id: &str) -> Result<Remains, Denied> {
        let keys = ["u", "g"].map(|kind| rows::resource_key(kind, id));
        let keys = [&keys[..], &[rows::gone_key(id)]].concat();
        let mut found = Vec::new();
        // These are not of one moment: of what is deleted, or comes back, in between neither may be seen.
        for _ in 0..MAX_LOOKS {
            found = self.rows(&keys).await?;
            if found.iter().any(Option::is_some) {
                break;
            }
        }
        let mut found = found.into_iter();
        let [user, group, tombstone] = [(); 3].map(|()| found.next().flatten());
        for (row, kind) in [(user, Kind::User), (group, Kind::Group)] {
            if let Some(row) = row
                && Stored::read(&row)?.envelope.id == id
            {
                return Err(Denied::There(kind));
            }
        }
        let remains = Remains::read(&tombstone.ok_or(Denied::Unknown)?)?;
        (remains.was.envelope.id == id)
            .then_some(remains)
            .ok_or(Denied::Unknown)
    }

    async fn memberships_of(&self, id: &str) -> Result<Vec<Edge>, Error> {
        self.standing(&Side::Groups.of(id)).await
    }

    /// Ends memberships of a deleted resource that stand still; false if there are none.
    async fn ends_more(&self, remains: &Remains) -> Result<bool, Error> {
        let hidden = remains.hidden.as_ref().filter(|_| !remains.standing.is_empty());
        if let Some(hidden) = hidden {
            self.end_memberships(&hidden.trace).await?;
        }
        Ok(hidden.is_some())
    }

    fn type_of(&self, kind: Kind) -> Arc<ResourceType> {
        let catalog = self.access.catalogs.at(self.ambient.now());
        Arc::clone(
            catalog
                .resource_type(kind.keyword())
                .expect("every catalog has users and groups"),
        )
    }
}

fn restorable(remains: &Remains, retention: Duration) -> Restorable {
    let attributes = remains.was.attributes.as_map();
    let name = attributes.get("userName").or(attributes.get("displayName"));
    Restorable {
        id: remains.was.envelope.id.clone(),
        kind: remains.kind,
        deleted: remains.deleted(),
        by: None,
        until: remains.deleted() + retention,
        name: name.and_then(serde_json::Value::as_str).unwrap_or_default().to_owned(),
    }
}
