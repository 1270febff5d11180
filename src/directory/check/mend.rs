//! Mending what was found: in small commits, each with an event, none of which undoes what anybody writes meanwhile.

use super::{
    Inspection, Report,
    judge::{Found, Mend},
};
use crate::{
    directory::Error,
    rows::{self, EventBody, FORMAT, MembersBody, Operation, Stamp},
    store::{self, Change, MAX_CHANGES, settle},
};

/// What its events are called.
const KIND: &str = "repair";

impl Inspection {
    /// Mends what can be mended and adds it to the report.
    pub(super) async fn mend(&self, found: &[Found], report: &mut Report) -> Result<(), Error> {
        for bundle in bundles(found) {
            if self.commit(&bundle).await? {
                for (found, _) in bundle {
                    report.mended(found.damage);
                }
                continue;
            }
            // Somebody wrote one of the rows; the others can be mended all the same.
            for one in bundle.iter().filter(|_| bundle.len() > 1) {
                if self.commit(std::slice::from_ref(one)).await? {
                    report.mended(one.0.damage);
                }
            }
        }
        Ok(())
    }

    /// False if somebody wrote one of the rows since they were looked at: then the next pass looks again.
    async fn commit(&self, bundle: &[(&Found, &Mend)]) -> Result<bool, Error> {
        let Some((_, first)) = bundle.first() else {
            return Ok(true);
        };
        let directory = self.directory();
        let leaves: Vec<_> = bundle.iter().filter_map(|(_, mend)| mend.leaves.as_ref()).collect();
        let newest = leaves.iter().map(|leaves| leaves.stamp).max().unwrap_or(0);
        let operation = Operation::new(directory.ambient.now(), newest, directory.ambient.secret());
        let mut paths: Vec<String> = bundle.iter().map(|(_, mend)| mend.path.to_owned()).collect();
        paths.dedup();
        let event = EventBody {
            paths,
            members: (!leaves.is_empty()).then(|| MembersBody {
                format: FORMAT,
                leave: leaves.iter().map(|leaves| leaves.member.clone()).collect(),
                ..MembersBody::default()
            }),
            ..directory.event_of(KIND, (first.of, &first.id), &operation)
        };
        let mut changes = vec![Change::Insert(rows::write(rows::event_key(&operation), &event))];
        if !leaves.is_empty() {
            let stamp = Stamp::of(&operation, String::new());
            changes.push(Change::Stamp(
                rows::resource_key("g", &first.id),
                rows::encode(&stamp),
                None,
            ));
        }
        changes.extend(merged(bundle).into_iter().cloned());
        let partition = &directory.access.tenant.id;
        match settle::settle(&*directory.store, partition, &changes, directory.deadline).await {
            Ok(()) => Ok(true),
            Err(store::Error::Changed(_) | store::Error::Missing(_) | store::Error::Exists(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// What one resource needs goes into one commit, as far as it fits.
fn bundles(found: &[Found]) -> Vec<Vec<(&Found, &Mend)>> {
    let mut bundles: Vec<Vec<(&Found, &Mend)>> = Vec::new();
    for found in found {
        let Some(mend) = &found.mend else { continue };
        if let Some(last) = bundles.last_mut()
            && last[0].1.is_of_same(mend)
        {
            last.push((found, mend));
            if fits(last) {
                continue;
            }
            last.pop();
        }
        bundles.push(vec![(found, mend)]);
    }
    bundles
}

impl Mend {
    fn is_of_same(&self, other: &Self) -> bool {
        (self.of, &self.id) == (other.of, &other.id)
    }
}

/// Whether there is room for an event, a stamp and what a load asserts, and no two changes are of one row.
fn fits(bundle: &[(&Found, &Mend)]) -> bool {
    let changes = merged(bundle);
    let mut keys: Vec<&str> = changes.iter().map(|change| change.key()).collect();
    keys.sort_unstable();
    keys.dedup();
    let stamps = bundle.iter().any(|(_, mend)| mend.leaves.is_some());
    let stamped = rows::resource_key("g", &bundle[0].1.id);
    keys.len() == changes.len() && changes.len() + 3 <= MAX_CHANGES && !(stamps && keys.contains(&stamped.as_str()))
}

/// The changes of all; what several rest on once.
fn merged<'b>(bundle: &[(&Found, &'b Mend)]) -> Vec<&'b Change> {
    let mut merged: Vec<&Change> = Vec::new();
    for change in bundle.iter().flat_map(|(_, mend)| &mend.changes) {
        if !merged.contains(&change) {
            merged.push(change);
        }
    }
    merged
}
