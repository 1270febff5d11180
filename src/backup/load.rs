//! Loading a backup: into a store that is empty, or the place of one tenant that is not there.
//!
//! A tenant's rows are written first, then looked at and mended as `scimgate repair` does, and last of all its control rows:
//! until then no request can reach it. How far it has come stands in a row of its own (`hold`), so that loading goes on where it
//! was cut off; what was written since that row is written again, which changes nothing.

use std::{fs::File, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Error, Line, Named,
    batch::Waiting,
    file::{Reader, Survey},
    hold::{ALL, another_file},
    section::Section,
};
use crate::{
    ambient::Ambient,
    directory::check::Report,
    rows::CONTROL,
    store::{self, Change, Store, Write, settle},
    tenants::Tenants,
};

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
    /// It was paused at the backup, and so takes no requests now.
    pub paused: bool,
}

/// One call of [`Loader::load`].
pub(super) struct Load<'l> {
    pub(super) to: &'l Loader,
    /// Its own name, which no other call has.
    pub(super) run: String,
    /// The file's checksum.
    pub(super) file: String,
    /// Of the file.
    pub(super) lines: u64,
    /// The tenant that is wanted; nothing: all.
    pub(super) only: Option<&'l str>,
}

impl Loader {
    /// Loads all tenants of the file, or the one of this name. What was cut off goes on when this is called again; who is at it
    /// still is stopped then.
    ///
    /// # Errors
    ///
    /// [`Error::Broken`] and [`Error::NotEmpty`] before anything is written; [`Error::Overtaken`] when this is called again
    /// meanwhile; when the store fails for longer than the loader's patience.
    pub async fn load(&self, file: File, only: Option<&str>) -> Result<Vec<Loaded>, Error> {
        let (survey, reader) = Survey::of(file)?;
        let load = Load {
            to: self,
            run: self.ambient.new_id().simple().to_string(),
            file: survey.end.sha256.clone(),
            lines: survey.end.lines,
            only,
        };
        load.all(&survey, reader).await
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

impl Load<'_> {
    fn wants(&self, name: &str) -> bool {
        self.only.is_none_or(|only| only == name)
    }

    async fn all(&self, survey: &Survey, reader: Reader) -> Result<Vec<Loaded>, Error> {
        let missing = survey.missing.iter().filter(|missing| self.wants(&missing.name));
        let mut missing = missing.map(|missing| (missing.name.clone(), missing.why.clone()));
        let mut parts = survey.parts.iter().filter(|part| part.is_there);
        match self.only {
            None => self.begin_all().await?,
            Some(name) if !parts.any(|part| part.tenant.name == name) => {
                return Err(match missing.next() {
                    Some((name, why)) => Error::Missing(name, why),
                    None => Error::NotInside(name.to_owned()),
                });
            }
            Some(_) => {}
        }
        let mut loaded = self.sections(reader, survey).await?;
        if self.only.is_none() {
            self.forget(ALL).await?;
        }
        let parts = survey.parts.iter().map(|part| &part.tenant);
        for tenant in parts.filter(|tenant| self.only.is_some() && self.wants(&tenant.name)) {
            self.forget(&tenant.id).await?;
        }
        loaded.extend(missing.map(|(name, why)| Loaded {
            name,
            report: None,
            missing: Some(why),
            paused: false,
        }));
        Ok(loaded)
    }

    /// A whole store goes into an empty one, or on where it was.
    async fn begin_all(&self) -> Result<(), Error> {
        let found = self.mark(ALL).await?;
        let is_new = !found.as_ref().is_some_and(|mark| self.is_ours(mark));
        if is_new && found.is_some() && !self.to.discards {
            return Err(another_file("the store"));
        }
        if is_new && !self.to.tenants.is_empty(self.to.deadline()).await? {
            let what = if found.is_some() {
                "what the other file has brought back is in use: 'scimgate tenant delete' removes it, or load into another place"
            } else {
                "this store has tenants already: a whole backup is loaded into an empty store, one tenant of it anywhere"
            };
            return Err(Error::NotEmpty(what.to_owned()));
        }
        self.take(ALL, found, &self.file, 0).await?;
        if self.to.discards {
            for id in self.marked().await? {
                self.discard(&id).await?;
            }
        }
        Ok(())
    }

    async fn sections(&self, mut reader: Reader, survey: &Survey) -> Result<Vec<Loaded>, Error> {
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
                loaded.push(self.finish(section, reader.number - 1).await?);
            }
            match line {
                Line::Tenant(_) => {
                    let Some(part) = parts.next() else { continue };
                    if part.is_there && self.wants(&part.tenant.name) {
                        wanted = Some(part.tenant.id.clone());
                        section = self.begin(part.tenant.clone()).await?;
                        loaded.extend(section.is_none().then(|| before(&part.tenant)));
                    }
                }
                Line::Log(saved) => {
                    let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                    self.log(write, wanted.as_deref(), &reader).await?;
                }
                Line::Kept(saved) if self.only.is_none() => {
                    let write = saved.write().ok_or_else(|| reader.broken("its base64 is none"))?;
                    self.to.tenants.note_again(&write.into(), self.to.deadline()).await?;
                }
                Line::End(_) => return Ok(loaded),
                Line::Begin(_) | Line::Missing(_) | Line::Kept(_) => {}
                line => {
                    if let Some(section) = &mut section {
                        self.line(line, section, &mut waiting, &reader).await?;
                    }
                }
            }
        }
        Err(reader.broken("the file was cut off while it was read"))
    }

    /// An operator's event; of one tenant only its own.
    async fn log(&self, write: Write, wanted: Option<&str>, reader: &Reader) -> Result<(), Error> {
        if !write.key.starts_with("o~") {
            return Err(reader.broken("an event with another row's key"));
        }
        let is_of = |of: Option<String>| of.as_deref() == wanted;
        // What can't be read is nobody's.
        if self.only.is_some() && !Tenants::tenant_of(&write.clone().into()).is_ok_and(is_of) {
            return Ok(());
        }
        match settle::patient_commit(&*self.to.store, CONTROL, &[Change::Insert(write)], self.to.deadline()).await {
            Ok(()) | Err(store::Error::Exists(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is to be said of a tenant that is done.
fn before(tenant: &Named) -> Loaded {
    Loaded {
        name: tenant.name.clone(),
        report: None,
        missing: None,
        paused: false,
    }
}
