//! Writing a backup.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Begin, CONTAINS, Error, FORMAT, Line, Missing, Named, Range, Saved,
    file::{Target, Writer},
    hold::is_fence,
    recent::Recent,
};
use crate::{
    ambient::Ambient,
    rows::{self, CONTROL, Key},
    store::{Row, Store, settle},
    tenants::{self, Tenant, Tenants},
};

/// Rows read at once.
pub(super) const SCAN_STEP: usize = 1_000;

/// Makes backups of a store, also while others write to it.
pub struct Exporter {
    /// Where the rows are.
    pub store: Arc<dyn Store>,
    /// In the same store.
    pub tenants: Tenants,
    /// The time.
    pub ambient: Arc<dyn Ambient>,
    /// How long one call to the store may take, with all its tries.
    pub patience: Duration,
    /// Is told which tenant is being read, and how many rows are written.
    pub progress: fn(&str, u64),
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Their names.
    pub tenants: Vec<String>,
    /// Tenants that were removed meanwhile, and are not in it.
    pub removed: Vec<String>,
    /// Tenants that could not be read and are not in it, and why.
    pub missing: Vec<(String, String)>,
    /// Rows written; what changed meanwhile more than once.
    pub rows: u64,
}

impl Exporter {
    /// Writes a backup of this tenant, or of all. Every write is in it that was answered before this was called, and of those
    /// that came later some: as they were at one moment, for each tenant by itself.
    ///
    /// # Errors
    ///
    /// When the store fails for longer than the exporter's patience, or the file can't be written; of a single tenant
    /// [`Error::Outrun`], and [`tenants::Error::NoTenant`] if it is removed meanwhile.
    pub async fn write(&self, tenant: Option<&Tenant>, target: Target) -> Result<Exported, Error> {
        let mut out = Writer::new(target);
        out.line(&Line::Begin(Begin {
            format: FORMAT,
            rows: rows::FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            begun: self.ambient.now(),
            tenants: tenant.map_or("all", |tenant| &tenant.name).to_owned(),
            contains: CONTAINS.to_owned(),
        }))?;
        let mut exported = Exported::default();
        match tenant {
            Some(tenant) => match self.tenant(tenant, &mut out).await? {
                Some(name) => exported.tenants.push(name),
                None => return Err(tenants::Error::NoTenant(tenant.name.clone()).into()),
            },
            None => self.every(&mut out, &mut exported).await?,
        }
        self.log(tenant, &mut out).await?;
        if tenant.is_none()
            && let Some(row) = self.tenants.noted(self.deadline()).await?
        {
            out.line(&Line::Kept(Saved::of(row)))?;
        }
        exported.rows = out.rows();
        out.finish()?;
        Ok(exported)
    }

    /// Also those of whom this tells one thing only: that they can't be read.
    async fn every(&self, out: &mut Writer, exported: &mut Exported) -> Result<(), Error> {
        let mut met = HashSet::new();
        // Twice, as one that gets another name meanwhile may be behind the first listing.
        for _ in 0..2 {
            for (name, tenant) in self.tenants.each(self.deadline()).await? {
                let id = tenant.as_ref().map_or(&name, |tenant| &tenant.id);
                if !met.insert(id.clone()) {
                    continue;
                }
                let read = match tenant {
                    Ok(tenant) => self.tenant(&tenant, out).await,
                    Err(error) => Err(error.into()),
                };
                match read {
                    Ok(Some(name)) => exported.tenants.push(name),
                    Ok(None) => exported.removed.push(name),
                    Err(error) if error.is_of_one() => {
                        let why = error.to_string();
                        out.line(&Line::Missing(Missing {
                            name: name.clone(),
                            why: why.clone(),
                        }))?;
                        exported.missing.push((name, why));
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// What it is called at the end; nothing if it was removed meanwhile: then it has no control rows.
    async fn tenant(&self, tenant: &Tenant, out: &mut Writer) -> Result<Option<String>, Error> {
        let mut recent = Recent::before(self, &tenant.id).await?;
        out.line(&Line::Tenant(Named {
            id: tenant.id.clone(),
            name: tenant.name.clone(),
        }))?;
        let mut scan = Scan::new(&tenant.id, rows::range(""));
        while let Some(rows) = scan.step(self).await? {
            for row in rows {
                // Where pages begin is told by rows that anybody writes anew; no file has a load's fence.
                if !matches!(Key::parse(&row.key), Some(Key::Mark(_))) && !is_fence(&row.key) {
                    out.line(&Line::Row(Saved::of(row)))?;
                }
            }
            (self.progress)(&tenant.name, out.rows());
        }
        recent.catch_up(&tenant.name, out).await?;
        for kind in ["u", "g"] {
            self.range(&tenant.id, rows::range(&rows::sum_key_prefix(kind)), out)
                .await?;
        }
        let Some(record) = self.tenants.record(&tenant.id, self.deadline()).await? else {
            return Ok(None);
        };
        let mut name = None;
        for row in record {
            name = name.or_else(|| Tenants::name_in(&row.key).map(str::to_owned));
            out.line(&Line::Control(Saved::of(row)))?;
        }
        Ok(name)
    }

    /// What operators did, to this tenant or to all.
    async fn log(&self, tenant: Option<&Tenant>, out: &mut Writer) -> Result<(), Error> {
        let mut scan = Scan::new(CONTROL, rows::range("o~"));
        while let Some(rows) = scan.step(self).await? {
            for row in rows {
                let is_wanted = match tenant {
                    None => true,
                    // What can't be read is nobody's; it is in a backup of all.
                    Some(tenant) => Tenants::tenant_of(&row).is_ok_and(|of| of.as_ref() == Some(&tenant.id)),
                };
                if is_wanted {
                    out.line(&Line::Log(Saved::of(row)))?;
                }
            }
        }
        Ok(())
    }

    /// Takes a whole range again.
    pub(super) async fn range(
        &self,
        tenant: &str,
        range: (String, String),
        out: &mut Writer,
    ) -> Result<Vec<String>, Error> {
        let mut keys = Vec::new();
        let (from, until) = range.clone();
        out.line(&Line::Clear(Range { from, until }))?;
        let mut scan = Scan::new(tenant, range);
        while let Some(rows) = scan.step(self).await? {
            for row in rows {
                keys.push(row.key.clone());
                out.line(&Line::Row(Saved::of(row)))?;
            }
        }
        Ok(keys)
    }

    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }
}

/// A walk over many rows.
pub(super) struct Scan<'s> {
    partition: &'s str,
    from: Option<String>,
    until: String,
}

impl<'s> Scan<'s> {
    pub(super) fn new(partition: &'s str, (from, until): (String, String)) -> Self {
        Self {
            partition,
            from: Some(from),
            until,
        }
    }

    /// The next rows; nothing at the end.
    pub(super) async fn step(&mut self, exporter: &Exporter) -> Result<Option<Vec<Row>>, Error> {
        let Some(from) = self.from.take() else { return Ok(None) };
        let range = (&*from, &*self.until);
        let page =
            settle::patient_scan(&*exporter.store, self.partition, range, SCAN_STEP, exporter.deadline()).await?;
        let last = page.rows.last().filter(|_| page.more);
        self.from = last.map(|row| rows::behind(&row.key));
        Ok(Some(page.rows))
    }
}
