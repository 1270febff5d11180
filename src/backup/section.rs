//! One tenant's part of a backup, loaded.

use std::sync::Arc;

use futures::future::try_join_all;

use super::{
    Error, Line, Loaded, Named, Range,
    batch::Waiting,
    fenced::Fenced,
    file::Reader,
    hold::{NO_FILE, another_file, is_fence},
    load::Load,
};
use crate::{
    directory::{
        Directory,
        check::{Inspection, Progress},
    },
    store::Write,
    tenants::{Access, Catalogs, Tenant, Tenants, Unfit},
};

/// Commits under way at once.
const AT_ONCE: usize = 8;
/// Most bytes of one tenant's control rows, which are kept until the end.
const MAX_RECORD_BYTES: usize = 64 * 1024 * 1024;
/// Damages of each kind that are shown.
const EXAMPLES: usize = 3;

/// What is known of a tenant while its lines are read.
pub(super) struct Section {
    pub(super) tenant: Named,
    /// Nothing is written up to this line.
    done: u64,
    /// Of the tenant in the control partition.
    record: Vec<Write>,
    record_bytes: usize,
}

impl Load<'_> {
    /// Whether there is room for the tenant, and how far it has come; nothing if it is done.
    pub(super) async fn begin(&self, tenant: Named) -> Result<Option<Section>, Error> {
        let Named { id, name } = &tenant;
        let mark = self.mark(id).await?;
        let is_adopted = mark
            .as_ref()
            .is_some_and(|mark| mark.body.adopted && self.is_ours(mark));
        match self.to.tenants.makes_way(id, name, self.to.deadline()).await {
            Ok(()) => {}
            Err(Unfit::Id) if self.only.is_none() || is_adopted => return Ok(None),
            Err(unfit) => return Err(unfit_to_load(unfit, name, 0)),
        }
        // One that was there, and was removed before the end, is loaded from its beginning.
        let unfinished = mark.as_ref().filter(|mark| !mark.body.adopted);
        let (done, discards) = match unfinished {
            Some(mark) if self.is_ours(mark) => (mark.body.line, false),
            Some(_) if !self.to.discards => return Err(another_file(&format!("tenant '{name}'"))),
            Some(_) => (0, true),
            None => (0, self.has_rows(id).await?),
        };
        if discards && !self.to.discards {
            return Err(Error::NotEmpty(format!(
                "the store has rows of tenant '{name}' although it is gone: --discard removes them first"
            )));
        }
        self.take(id, mark, if discards { NO_FILE } else { &self.file }, done)
            .await?;
        self.fence(id).await?;
        // Whoever was at it may have been faster.
        if let Err(unfit) = self.to.tenants.makes_way(id, name, self.to.deadline()).await {
            self.leave(id).await?;
            return Err(unfit_to_load(unfit, name, 0));
        }
        self.disown(id, name).await?;
        if discards {
            self.clear(id, &Range::all()).await?;
            self.note(id, 0).await?;
        }
        Ok(Some(Section {
            tenant,
            done,
            record: Vec::new(),
            record_bytes: 0,
        }))
    }

    /// Removes what a load of another file has left of a tenant, if it is not there.
    pub(super) async fn discard(&self, id: &str) -> Result<(), Error> {
        let mark = self.mark(id).await?.filter(|mark| !self.is_ours(mark));
        if mark.is_none() || self.to.tenants.is_there(id, self.to.deadline()).await? {
            return Ok(());
        }
        self.take(id, mark, NO_FILE, 0).await?;
        self.fence(id).await?;
        if !self.to.tenants.is_there(id, self.to.deadline()).await? {
            self.disown(id, id).await?;
            self.clear(id, &Range::all()).await?;
        }
        self.leave(id).await
    }

    /// Nothing is left of it but its rows.
    async fn disown(&self, id: &str, name: &str) -> Result<(), Error> {
        let holding = self.holding(id);
        let done = self.to.tenants.disown(id, &holding, self.to.deadline()).await;
        done.map_err(|unfit| unfit_to_load(unfit, name, 0))
    }

    async fn leave(&self, id: &str) -> Result<(), Error> {
        self.unfence(id).await?;
        self.forget(id).await
    }

    /// A line of the tenant's part.
    pub(super) async fn line(
        &self,
        line: Line,
        section: &mut Section,
        waiting: &mut Waiting,
        reader: &Reader,
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
                if is_fence(&write.key) {
                    return Err(reader.broken("a row that no backup has"));
                }
                if waiting.keys.contains(&write.key) {
                    self.flush(&id, waiting).await?;
                }
                waiting.add(write, reader.number);
                if waiting.commits.len() >= AT_ONCE {
                    self.write_out(&id, waiting).await?;
                    self.note(&id, waiting.since - 1).await?;
                    (self.to.progress)(&section.tenant.name, reader.number, self.lines);
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
    pub(super) async fn finish(&self, section: Section, line: u64) -> Result<Loaded, Error> {
        let Section {
            tenant: Named { id, name },
            record,
            ..
        } = section;
        let tenant = Tenants::read(&id, &name, &record).map_err(|unfit| unfit_to_load(unfit, &name, line))?;
        let paused = tenant.paused.is_some();
        self.note(&id, line).await?;
        self.fence_repairs(&id).await?;
        let (progress, lines, shown) = (self.to.progress, self.lines, name.clone());
        let inspection = Inspection::new(self.directory(tenant), self.to.patience, EXAMPLES, move |looked| {
            if let Progress::Read(_) = looked {
                progress(&shown, line, lines);
            }
        });
        let repaired = inspection.repair().await;
        // Whoever was overtaken is told so, whatever came of it.
        self.held(&id).await?;
        let report = repaired?;
        self.unfence(&id).await?;
        let marks = (self.holding(&id), self.adopting(&id, line).await?);
        let (tenants, by) = (&self.to.tenants, &self.to.by);
        let adopted = tenants.adopt(&id, &name, record, marks, by, self.to.deadline());
        adopted.await.map_err(|unfit| unfit_to_load(unfit, &name, line))?;
        Ok(Loaded {
            name,
            report: Some(report),
            missing: None,
            paused,
        })
    }

    pub(super) async fn flush(&self, id: &str, waiting: &mut Waiting) -> Result<(), Error> {
        waiting.close();
        self.write_out(id, waiting).await
    }

    async fn write_out(&self, id: &str, waiting: &mut Waiting) -> Result<(), Error> {
        let commits = std::mem::take(&mut waiting.commits);
        try_join_all(commits.iter().map(|changes| self.write(id, changes))).await?;
        waiting.keys = waiting.current.iter().map(|change| change.key().to_owned()).collect();
        Ok(())
    }

    fn directory(&self, tenant: Tenant) -> Directory {
        Directory {
            store: Fenced::by(&self.to.store, self.repairs_key()),
            ambient: Arc::clone(&self.to.ambient),
            access: Arc::new(Access {
                tenant,
                credential: self.to.by.clone(),
                catalogs: Catalogs::standard(),
            }),
            deadline: self.to.deadline(),
            shared: Arc::default(),
            held: Arc::default(),
            invocation: None,
        }
    }
}

/// `line`: where the tenant's rows end.
fn unfit_to_load(unfit: Unfit, name: &str, line: u64) -> Error {
    Error::NotEmpty(match unfit {
        Unfit::Error(error) => return error.into(),
        Unfit::Overtaken => return Error::Overtaken,
        Unfit::Broken(key) => return Error::Broken(line, format!("row {key} is not what tenant '{name}' needs there")),
        Unfit::Id => format!(
            "tenant '{name}' is in this store already, perhaps under another name, or is not removed to its end: 'scimgate tenant \
             delete' does that, then its backup can be loaded"
        ),
        Unfit::Name => format!("there is another tenant '{name}' in this store: rename that one first"),
        Unfit::Credential => {
            format!("a credential of tenant '{name}' is another tenant's in this store: revoke that one first")
        }
    })
}
