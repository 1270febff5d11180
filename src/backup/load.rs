//! Loading a backup: into a store that is empty, or the place of one tenant that is not there.
//!
//! A tenant's rows are written first, then looked at and mended as `scimgate repair` does, and last of all its control rows:
//! until then no request can reach it. How far it has come stands in a row of its own, so that loading goes on where it was
//! cut off; what was written since that row is written again, which changes nothing.

use std::{fs::File, sync::Arc, time::Duration};

use futures::future::try_join_all;
use tokio::time::Instant;

use super::{
    Error, Line, Named, Range,
    batch::Waiting,
    file::{Reader, Survey},
    mark::{self, ALL, MarkBody, another_file, mark_key},
};
use crate::{
    ambient::Ambient,
    directory::{
        Directory,
        check::{Inspection, Progress, Report},
    },
    rows::{self, CONTROL},
    store::{self, Change, MAX_CHANGES, Row, Store, Write, settle},
    tenants::{self, Access, Catalogs, Tenant, Tenants, Unfit},
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
    /// What was found and mended; nothing if it was loaded before, by the same command, or not at all.
    pub report: Option<Report>,
    /// Why it is not in the backup, of which it should be a part.
    pub missing: Option<String>,
}

/// One tenant's part of the file.
struct Section {
    tenant: Named,
    /// Nothing is written up to this line.
    done: u64,
    /// Of the tenant in the control partition.
    record: Vec<Write>,
    record_bytes: usize,
    is_one_of_all: bool,
}

impl Loader {
    /// Loads all tenants of the file, or the one of this name. What was cut off goes on when this is called again.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] and [`Error::NotEmpty`] before anything is written; when the store fails for longer than the loader's
    /// patience.
    pub async fn load(&self, file: File, only: Option<&str>) -> Result<Vec<Loaded>, Error> {
        let (survey, reader) = Survey::of(file)?;
        let is_called = |name: &str| only.is_none_or(|only| only == name);
        let parts = survey.parts.iter().map(|part| &part.tenant);
        let wanted: Vec<&Named> = parts.filter(|tenant| is_called(&tenant.name)).collect();
        let missing = survey.missing.iter().filter(|missing| is_called(&missing.name));
        let mut missing = missing.map(|missing| (missing.name.clone(), missing.why.clone()));
        match only {
            None => self.begin_all(&survey).await?,
            Some(name)
                if !survey
                    .parts
                    .iter()
                    .any(|part| part.is_there && part.tenant.name == name) =>
            {
                return Err(match missing.next() {
                    Some((name, why)) => Error::Missing(name, why),
                    None => Error::NotInside(name.to_owned()),
                });
            }
            Some(_) => {}
        }
        let mut loaded = self.sections(reader, only, &survey).await?;
        match only {
            None => self.forget(&mark_key(ALL)).await?,
            Some(_) => {
                for tenant in wanted {
                    self.forget(&mark_key(&tenant.id)).await?;
                }
            }
        }
        loaded.extend(missing.map(|(name, why)| Loaded {
            name,
            report: None,
            missing: Some(why),
        }));
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

    async fn sections(&self, mut reader: Reader, only: Option<&str>, survey: &Survey) -> Result<Vec<Loaded>, Error> {
        let mut loaded = Vec::new();
        let mut section: Option<Section> = None;
        let mut waiting = Waiting::default();
        let mut wanted = None;
        let mut parts = survey.parts.iter();
        while let Some(line) = reader.next()? {
            survey.confirm(&reader, &line)?;
            if (line.is_of_none() || matches!(line, Line::Tenant(_)))
                && let Some(section) = section.take()
            {
                self.flush(&section.tenant.id, &mut waiting).await?;
                loaded.push(self.finish(section, reader.number - 1, survey).await?);
            }
            match line {
                Line::Tenant(_) => {
                    let Some(part) = parts.next() else { continue };
                    if part.is_there && only.is_none_or(|only| only == part.tenant.name) {
                        wanted = Some(part.tenant.id.clone());
                        let tenant = part.tenant.clone();
                        section = self.begin(tenant, only.is_none(), &mut loaded, survey).await?;
                    }
                }
                Line::Log(saved) => {
                    let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                    self.log(write, wanted.as_deref().filter(|_| only.is_some()), &reader)
                        .await?;
                }
                Line::End(_) => return Ok(loaded),
                Line::Begin(_) | Line::Missing(_) => {}
                line => {
                    if let Some(section) = &mut section {
                        self.line(line, section, &mut waiting, (&reader, survey)).await?;
                    }
                }
            }
        }
        Err(reader.broken("the file was cut off while it was read"))
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
        let mark = self.mark(id).await?;
        let is_ours = |mark: &MarkBody| mark.file == survey.end.sha256;
        let is_done = is_one_of_all || mark.as_ref().is_some_and(|mark| mark.adopted && is_ours(mark));
        match self.tenants.makes_way(id, name, self.deadline()).await {
            Ok(()) => {}
            Err(Unfit::Id) if is_done => {
                loaded.push(Loaded {
                    name: name.clone(),
                    report: None,
                    missing: None,
                });
                return Ok(None);
            }
            Err(unfit) => return Err(unfit_to_load(unfit, name, 0)),
        }
        // One that was there, and was removed before the end, is loaded from its beginning.
        let done = match mark.filter(|mark| !mark.adopted) {
            Some(mark) if is_ours(&mark) => mark.line,
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
            is_one_of_all,
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
    async fn finish(&self, section: Section, line: u64, survey: &Survey) -> Result<Loaded, Error> {
        let Section {
            tenant: Named { id, name },
            record,
            is_one_of_all,
            ..
        } = section;
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
        let mark = if is_one_of_all {
            Change::Delete(mark_key(&id), None)
        } else {
            mark::adopted(&id, &survey.end.sha256, line)
        };
        let adopted = self.tenants.adopt(&id, &name, record, mark, self.deadline());
        adopted.await.map_err(|unfit| unfit_to_load(unfit, &name, line))?;
        Ok(Loaded {
            name,
            report: Some(report),
            missing: None,
        })
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
        match self.commit(CONTROL, &[Change::Insert(write)]).await {
            Err(Error::Tenants(tenants::Error::Store(store::Error::Exists(_)))) => Ok(()),
            done => done,
        }
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
