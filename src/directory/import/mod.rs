//! Resources that another service had, from a file of JSON lines, in any order.
//!
//! The file is read twice. First each line is judged: by the schemas, by the other lines, by what the tenant has. Only if
//! nothing is in the way, or what is may be left out, it is read again and written: users, then groups, then memberships. A
//! line that describes what is there changes nothing, so whoever was cut off begins again, and the result is the same.
//!
//! Each resource is written as a request would write it ([`Directory::prepare`](super::Directory)), only that several share
//! a commit and that their events say `import`.
//!
//! Reading order: this file, `lines`, `shape` (files that have none), `parse` (what a line describes), `conflict`, `ledger` (what is remembered of each),
//! `look` (what the tenant has), `survey` (the first reading), `make` (the second), `members`, `pulse` (when it gives up).

use std::{
    fmt,
    io::{self, Read, Seek},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use self::{
    ledger::{Entry, Fate, Ledger},
    lines::{Line, Lines},
};
use super::{Directory, Error};
use crate::{
    scim::{members::Kind, schema::Catalog},
    store,
};

mod conflict;
mod ledger;
mod lines;
mod look;
mod make;
mod members;
mod parse;
mod pulse;
mod shape;
mod survey;
#[cfg(test)]
mod tests;

pub use conflict::{Conflict, MAX_LISTED, Why};
pub use lines::MAX_LINE_BYTES;
pub use pulse::Pulse;
pub use shape::Shape;

/// Lines that are worked on together, and the bytes of them that are enough: [`MAX_PARALLEL`](super::MAX_PARALLEL) times as many are in memory.
const PORTION: usize = 400;
const PORTION_BYTES: usize = 2 * 1024 * 1024;
/// How often somebody may come in between before it is an error.
const TRIES: usize = 5;

/// How a file is imported.
#[derive(Clone, Copy, Debug, Default)]
pub struct How {
    /// Nothing is written.
    pub dry_run: bool,
    /// What can be imported is, although other lines cannot.
    pub skip_conflicts: bool,
    /// The resources are new to the application: their events are like those of creates.
    pub as_new: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// So many lines are read.
    Read(u64),
    /// The others are looked up whom so many lines name, and there are so many such lines.
    LookedUp(u64, u64),
    /// So many lines of those that describe users or groups are written, and there are so many.
    Written(u64, u64),
    /// The members of so many groups are written, and there are so many such groups.
    Filled(u64, u64),
}

/// What was made, or would be, and what is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// What was not there.
    pub made: u64,
    /// What was.
    pub same: u64,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing was to be written.
    Planned,
    /// Because of conflicts nothing was written.
    Refused,
    /// Somebody asked to stop; the rest is imported when it is done again.
    Stopped,
    /// Everything that can be imported is.
    Done,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// Lines that are not empty.
    pub lines: u64,
    /// Users.
    pub users: Count,
    /// Groups.
    pub groups: Count,
    /// Memberships.
    pub memberships: Count,
    /// What could not be imported, by line.
    pub conflicts: Vec<Conflict>,
    /// Conflicts beyond [`MAX_LISTED`].
    pub unlisted: usize,
    /// What is imported although it is perhaps not what is meant, by line.
    pub notices: Vec<Conflict>,
    /// Notices beyond [`MAX_LISTED`].
    pub unlisted_notices: usize,
    /// How it ended.
    pub end: End,
}

/// Why a file could not be imported to its end.
#[derive(Debug)]
pub enum Failed {
    /// The file cannot be read.
    File(io::Error),
    /// No line of it describes anything.
    Empty,
    /// Its resources do not stand on lines of their own.
    Shape(Shape),
    /// A line is not what it was when it was read first.
    FileChanged(u32),
    /// The store failed, or a row cannot be read.
    Directory(Error),
    /// That, at this line or one soon behind it.
    Line(u32, Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(error) => write!(f, "the file can't be read: {error}"),
            Self::Empty => f.write_str("the file has no line, so there is nothing to import"),
            Self::Shape(shape) => shape.fmt(f),
            Self::FileChanged(line) => write!(f, "line {line} was changed while the file was read"),
            Self::Directory(error) => error.fmt(f),
            Self::Line(line, error) => write!(f, "line {line}: {error}"),
        }
    }
}

impl std::error::Error for Failed {}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl<E: Into<Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Directory(error.into())
    }
}

/// An import into one tenant.
#[derive(Clone)]
pub struct Import {
    /// The tenant's resources.
    pub directory: Directory,
    /// The schemas by which lines are read: the tenant's own among them.
    pub catalog: Arc<Catalog>,
    /// How long one commit may take.
    pub step: Duration,
    /// How it is done.
    pub how: How,
    /// Somebody asks to stop: what is under way is finished first.
    pub stop: Arc<AtomicBool>,
    /// Whether it still comes on: while it does, whatever the store fails is tried again.
    pub pulse: Pulse,
}

impl Import {
    /// Imports a file.
    ///
    /// # Errors
    ///
    /// Any of [`Failed`]. What was written until then stays; done again, the import goes on.
    pub async fn run(&self, file: impl Read + Seek, progress: impl Fn(Progress)) -> Result<Report, Failed> {
        self.pulse.beat();
        let mut lines = Lines::new(file);
        shape::check(&mut lines)?;
        let mut survey = self.survey(&mut lines, &progress).await?;
        let has_conflicts = survey.ledger.conflicting() > 0;
        let end = if self.is_stopped() {
            End::Stopped
        } else if self.how.dry_run {
            End::Planned
        } else if has_conflicts && !self.how.skip_conflicts {
            End::Refused
        } else {
            End::Done
        };
        if matches!(end, End::Stopped | End::Done) {
            survey.forget_plan();
        }
        if end != End::Done {
            return Ok(survey.report(end));
        }
        self.make(&mut lines, &mut survey, &progress).await?;
        if !self.is_stopped() {
            self.fill(&mut lines, &mut survey, &progress).await?;
        }
        Ok(survey.report(if self.is_stopped() { End::Stopped } else { End::Done }))
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// The directory, with time for one step.
    fn directory(&self) -> Directory {
        Directory {
            deadline: Instant::now() + self.step,
            ..self.directory.clone()
        }
    }
}

/// What the first reading has found, and what the second has done.
struct Survey {
    ledger: Ledger,
    users: Count,
    groups: Count,
    memberships: Count,
}

impl Survey {
    fn count(&mut self, kind: Kind) -> &mut Count {
        match kind {
            Kind::User => &mut self.users,
            Kind::Group => &mut self.groups,
        }
    }

    /// What would be made is not made yet.
    fn forget_plan(&mut self) {
        for count in [&mut self.users, &mut self.groups, &mut self.memberships] {
            count.made = 0;
        }
    }

    fn report(mut self, end: End) -> Report {
        let [mut conflicts, mut notices] = [&mut self.ledger.conflicts, &mut self.ledger.notices].map(std::mem::take);
        conflicts.sort_by_key(|conflict| conflict.line);
        notices.sort_by_key(|notice| notice.line);
        Report {
            lines: self.ledger.entries.len() as u64,
            users: self.users,
            groups: self.groups,
            memberships: self.memberships,
            conflicts,
            unlisted: self.ledger.unlisted,
            notices,
            unlisted_notices: self.ledger.unlisted_notices,
            end,
        }
    }
}

/// Lines that are worked on together.
struct Portion(Vec<Line>);

impl Portion {
    /// Of these entries of a ledger, as many as are worked on together, from this place on; moves the place on.
    fn read<R: Read + Seek>(
        lines: &mut Lines<R>,
        entries: &[Entry],
        place: &mut usize,
        is_wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Self>, Failed> {
        let mut portion = Vec::new();
        let mut bytes = 0;
        while portion.len() < PORTION && bytes < PORTION_BYTES {
            let Some(entry) = entries.get(*place) else { break };
            *place += 1;
            if !is_wanted(entry) {
                continue;
            }
            lines.go_to(entry.number, entry.offset)?;
            let line = lines.next()?.filter(|line| line.offset == entry.offset);
            let line = line.ok_or(Failed::FileChanged(entry.number))?;
            bytes += line.bytes();
            portion.push(line);
        }
        Ok((!portion.is_empty()).then_some(Self(portion)))
    }

    /// It takes so much memory that nothing else is worked on meanwhile.
    fn is_large(&self) -> bool {
        self.0.iter().map(Line::bytes).sum::<usize>() > 2 * PORTION_BYTES
    }
}

/// Work on several portions at once, each on any processor.
struct Flight<T> {
    under_way: JoinSet<Result<T, Failed>>,
    at_once: usize,
}

impl<T: Send + 'static> Flight<T> {
    fn new(at_once: usize) -> Self {
        Self {
            under_way: JoinSet::new(),
            at_once,
        }
    }

    /// Begins with one more when there is room for it; gives what the others came to that made it. What is large has all the
    /// room, and is done then.
    async fn take_on(
        &mut self,
        is_large: bool,
        work: impl Future<Output = Result<T, Failed>> + Send + 'static,
    ) -> Result<Vec<T>, Failed> {
        let mut done = Vec::new();
        self.leave(if is_large { 0 } else { self.at_once - 1 }, &mut done)
            .await?;
        self.under_way.spawn(work);
        self.leave(if is_large { 0 } else { self.at_once }, &mut done).await?;
        Ok(done)
    }

    /// Waits until no more than so many are under way.
    async fn leave(&mut self, most: usize, done: &mut Vec<T>) -> Result<(), Failed> {
        while self.under_way.len() > most
            && let Some(one) = self.next().await?
        {
            done.push(one);
        }
        Ok(())
    }

    /// What the work came to that ends next.
    async fn next(&mut self) -> Result<Option<T>, Failed> {
        match self.under_way.join_next().await {
            None => Ok(None),
            Some(Ok(done)) => done.map(Some),
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Failed::File(io::Error::other(error))),
            },
        }
    }
}

/// Whether somebody came in between, so that it is worth looking again.
fn is_between(error: &Error) -> bool {
    use store::Error::{Changed, Exists, Missing};

    matches!(error, Error::Store(Changed(_) | Missing(_) | Exists(_)))
}

/// Before looking again.
async fn pause(tries: usize) {
    sleep(Duration::from_millis(5 << tries.min(6))).await;
}

/// Whether a line's fate is to be made.
fn is_made(entry: &Entry) -> bool {
    entry.fate == Fate::Make
}
