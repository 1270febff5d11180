//! Loading a backup: into a store that is empty, or the place of one tenant that is not there.
//!
//! A tenant's rows are written first, then looked at and mended as `scimgate repair` does, and last of all its control rows:
//! until then no request can reach it. How far it has come stands in a row of its own, so that loading goes on where it was
//! cut off; what was written since that row is written again, which changes nothing.

use std::{path::Path, sync::Arc, time::Duration};

use futures::future::try_join_all;
use tokio::time::Instant;

use super::{
    Error, Line, Named, Range,
    batch::Waiting,
    file::{Reader, Survey, survey},
    mark::{ALL, mark_key},
};
use crate::{
    ambient::Ambient,
    directory::{
        Directory,
        check::{Inspection, Progress, Report},
    },
    rows::{self, CONTROL},
    store::{self, Change, MAX_CHANGES, Row, Store, Write, settle},
    tenants::{Access, Catalogs, Tenant, Tenants, Unfit},
};

/// Commits under way at once.
const AT_ONCE: usize = 8;
/// Most bytes of one tenant's control rows, which are kept until the end.
const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// Damages of each kind that are shown.
const EXAMPLES: usize = 3;

/// Brings a backup into a store.
pub struct Loader {
    /// Where the rows go.
    pub store: Arc<dyn Store>,
    /// In the same store.
    pub tenants: Tenants,
    /// How long one call to the store may take, with all its tries.
    pub patience: Duration,
    /// The time.
    pub ambient: Arc<dyn Ambient>,
    /// Who loads it, for the log of what is mended.
    pub by: String,
    /// Is told which tenant is being loaded, and what of how many lines is done.
    pub progress: fn(&str, u64, u64),
    /// What an unfinished load of another file has left goes first.
    pub discards: bool,
}

/// What became of one tenant.
#[derive(Debug)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// What was found and mended; nothing if it was loaded before, by the same command.
    pub report: Option<Report>,
}

/// One tenant's part of the file.
struct Section {
    tenant: Named,
    /// Nothing is written up to this line.
    done: u64,
    /// Of the tenant in the control partition.
    record: Vec<Write>,
    record_bytes: usize,
}

impl Loader {
    /// Loads all tenants of the file, or the one of this name. What was cut off goes on when this is called again.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] and [`Error::NotEmpty`] before anything is written; when the store fails for longer than the loader's
    /// patience.
    pub async fn load(&self, file: &Path, only: Option<&str>) -> Result<Vec<Loaded>, Error> {
        let survey = survey(file)?;
        match only {
            Some(name) if !survey.tenants.iter().any(|tenant| tenant.name == name) => {
                return Err(Error::NotInside(name.to_owned()));
            }
            Some(_) => {}
            None => self.begin_all(&survey).await?,
        }
        let loaded = self.sections(file, only, &survey).await?;
        if only.is_none() {
            self.forget(&mark_key(ALL)).await?;
        }
        Ok(loaded)
    }

    /// A whole store goes into an empty one, or on where it was.
    async fn begin_all(&self, survey: &Survey) -> Result<(), Error> {
        match self.mark(ALL).await? {
            Some(mark) if mark.file == survey.end.sha256 => return Ok(()),
            Some(_) if !self.discards => return Err(another_file("the store")),
            _ if self.tenants.is_empty(self.deadline()).await? => {}
            _ => {
                return Err(Error::NotEmpty(
                    "this store has tenants already: a whole backup is loaded into an empty store, one tenant of it anywhere"
                        .to_owned(),
                ));
            }
        }
        self.set_mark(ALL, &survey.end.sha256, 0).await
    }

    async fn sections(&self, file: &Path, only: Option<&str>, survey: &Survey) -> Result<Vec<Loaded>, Error> {
        let mut reader = Reader::open(file)?;
        let mut loaded = Vec::new();
        let mut section: Option<Section> = None;
        let mut waiting = Waiting::default();
        let mut wanted = None;
        while let Some(line) = reader.next()? {
            if matches!(line, Line::Tenant(_) | Line::Log(_) | Line::End(_))
                && let Some(section) = section.take()
            {
                self.flush(&section.tenant.id, &mut waiting).await?;
                loaded.extend(self.finish(section, reader.number - 1, survey).await?);
            }
            match line {
                Line::Tenant(tenant) if only.is_none_or(|only| only == tenant.name) => {
                    wanted = Some(tenant.id.clone());
                    section = self.begin(tenant, only.is_none(), &mut loaded, survey).await?;
                }
                Line::Log(saved) => {
                    let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                    self.log(write, wanted.as_deref().filter(|_| only.is_some()), &reader)
                        .await?;
                }
                Line::Begin(_) | Line::Tenant(_) | Line::End(_) => {}
                line => {
                    if let Some(section) = &mut section {
                        self.line(line, section, &mut waiting, (&reader, survey)).await?;
                    }
                }
            }
        }
        Ok(loaded)
    }

    /// Whether there is room for the tenant, and how far it has come; nothing if it is done.
    async fn begin(
        &self,
        tenant: Named,
        is_one_of_all: bool,
        loaded: &mut Vec<Loaded>,
        survey: &Survey,
    ) -> Result<Option<Section>, Error> {
        let Named { id, name } = &tenant;
        match self.tenants.makes_way(id, name, self.deadline()).await {
            Ok(()) => {}
            Err(Unfit::Id) if is_one_of_all => {
                loaded.push(Loaded {
                    name: name.clone(),
                    report: None,
                });
                return Ok(None);
            }
            Err(unfit) => return Err(unfit_to_load(unfit, name, 0)),
        }
        let done = match self.mark(id).await? {
            Some(mark) if mark.file == survey.end.sha256 => mark.line,
            Some(_) if !self.discards => return Err(another_file(&format!("tenant '{name}'"))),
            Some(_) => {
                self.clear(id, &Range::all()).await?;
                0
            }
            None if self.has_rows(id).await? => {
                return Err(Error::NotEmpty(format!(
                    "the store has rows of tenant '{name}' although it is gone: if it is being removed, finish that first"
                )));
            }
            None => 0,
        };
        self.set_mark(id, &survey.end.sha256, done).await?;
        Ok(Some(Section {
            tenant,
            done,
            record: Vec::new(),
            record_bytes: 0,
        }))
    }

    async fn line(
        &self,
        line: Line,
        section: &mut Section,
        waiting: &mut Waiting,
        (reader, survey): (&Reader, &Survey),
    ) -> Result<(), Error> {
        let id = section.tenant.id.clone();
        let is_done = reader.number <= section.done;
        match line {
            Line::Control(saved) => {
                let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                section.record_bytes += write.key.len() + write.stamp.len() + write.body.len();
                if section.record_bytes > MAX_RECORD_BYTES {
                    return Err(reader.broken("too many credentials of one tenant"));
                }
                section.record.push(write);
            }
            Line::Row(saved) if !is_done => {
                let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                if waiting.keys.contains(&write.key) {
                    self.flush(&id, waiting).await?;
                }
                waiting.add(write, reader.number);
                if waiting.commits.len() >= AT_ONCE {
                    self.write_out(&id, waiting).await?;
                    self.set_mark(&id, &survey.end.sha256, waiting.since - 1).await?;
                    (self.progress)(&section.tenant.name, reader.number, survey.end.lines);
                }
            }
            Line::Clear(range) if !is_done => {
                self.flush(&id, waiting).await?;
                self.clear(&id, &range).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at the tenant's rows, mends what differs, and lets requests in.
    async fn finish(&self, section: Section, line: u64, survey: &Survey) -> Result<Option<Loaded>, Error> {
        let Section {
            tenant: Named { id, name },
            record,
            ..
        } = section;
        if record.is_empty() {
            // It was removed while the backup was made.
            self.clear(&id, &Range::all()).await?;
            self.forget(&mark_key(&id)).await?;
            return Ok(None);
        }
        let tenant = Tenants::read(&id, &name, &record).map_err(|unfit| unfit_to_load(unfit, &name, line))?;
        // From here on nothing is written again that a repair may have changed.
        self.set_mark(&id, &survey.end.sha256, line).await?;
        let (progress, lines, shown) = (self.progress, survey.end.lines, name.clone());
        let inspection = Inspection::new(self.directory(tenant), self.patience, EXAMPLES, move |looked| {
            if let Progress::Read(_) = looked {
                progress(&shown, line, lines);
            }
        });
        let report = inspection.repair().await?;
        let mark = mark_key(&id);
        let adopted = self.tenants.adopt(&id, &name, record, &mark, self.deadline());
        adopted.await.map_err(|unfit| unfit_to_load(unfit, &name, line))?;
        Ok(Some(Loaded {
            name,
            report: Some(report),
        }))
    }

    /// An operator's event; of one tenant only its own.
    async fn log(&self, write: Write, only: Option<&str>, reader: &Reader) -> Result<(), Error> {
        if !write.key.starts_with("o~") {
            return Err(reader.broken("an event with another row's key"));
        }
        if let Some(only) = only {
            let row = Row {
                key: write.key.clone(),
                etag: store::ETag(String::new()),
                stamp: write.stamp.clone(),
                body: write.body.clone(),
            };
            if Tenants::tenant_of(&row)?.as_deref() != Some(only) {
                return Ok(());
            }
        }
        self.commit(CONTROL, &[Change::Upsert(write)]).await
    }

    async fn flush(&self, id: &str, waiting: &mut Waiting) -> Result<(), Error> {
        waiting.close();
        self.write_out(id, waiting).await
    }

    async fn write_out(&self, id: &str, waiting: &mut Waiting) -> Result<(), Error> {
        let commits = std::mem::take(&mut waiting.commits);
        try_join_all(commits.iter().map(|changes| self.commit(id, changes))).await?;
        waiting.keys = waiting.current.iter().map(|change| change.key().to_owned()).collect();
        Ok(())
    }

    /// Removes all rows in a range.
    async fn clear(&self, id: &str, Range { from, until }: &Range) -> Result<(), Error> {
        loop {
            let range = (&**from, &**until);
            let page = settle::patient_scan(&*self.store, id, range, MAX_CHANGES, self.deadline()).await?;
            if page.rows.is_empty() {
                return Ok(());
            }
            let changes: Vec<Change> = page.rows.into_iter().map(|row| Change::Delete(row.key, None)).collect();
            match settle::patient_commit(&*self.store, id, &changes, self.deadline()).await {
                // An answer was lost; the next scan tells what is left.
                Ok(()) | Err(store::Error::Missing(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn has_rows(&self, id: &str) -> Result<bool, Error> {
        let (from, until) = rows::range("");
        let page = settle::patient_scan(&*self.store, id, (&from, &until), 1, self.deadline()).await?;
        Ok(!page.rows.is_empty())
    }

    pub(super) async fn commit(&self, partition: &str, changes: &[Change]) -> Result<(), Error> {
        Ok(settle::patient_commit(&*self.store, partition, changes, self.deadline()).await?)
    }

    fn directory(&self, tenant: Tenant) -> Directory {
        Directory {
            store: Arc::clone(&self.store),
            ambient: Arc::clone(&self.ambient),
            access: Arc::new(Access {
                tenant,
                credential: self.by.clone(),
                catalogs: Catalogs::standard(),
            }),
            deadline: self.deadline(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

impl Range {
    fn all() -> Self {
        let (from, until) = rows::range("");
        Self { from, until }
    }
}

fn another_file(what: &str) -> Error {
    Error::NotEmpty(format!(
        "another file was being loaded into {what} and is not finished: finish that, or remove what it left with --discard"
    ))
}

/// `line`: where the tenant's rows end.
fn unfit_to_load(unfit: Unfit, name: &str, line: u64) -> Error {
    Error::NotEmpty(match unfit {
        Unfit::Error(error) => return error.into(),
        Unfit::Broken(key) => return Error::Broken(line, format!("row {key} is not what tenant '{name}' needs there")),
        Unfit::Id => format!(
            "tenant '{name}' is in this store already, perhaps under another name: 'scimgate tenant delete' removes it, then its \
             backup can be loaded"
        ),
        Unfit::Name => format!("there is another tenant '{name}' in this store: rename that one first"),
        Unfit::Credential => format!("a credential of tenant '{name}' is another tenant's in this store"),
    })
}
