//! Whether totals are right, while others make and delete resources.

use std::ops::RangeInclusive;

use tokio::time::sleep;

use super::{
    Damage, Inspection, Report,
    judge::{Found, TENANT},
    look::PAUSE,
};
use crate::{
    directory::Error,
    rows::{self, FORMAT, SumBaseBody},
    store::{Change, Row},
    totals::{self, Tally},
};

/// How often resources are counted again when it is not certain yet how wrong their total is.
const COUNTS: usize = 4;
/// Resources that are counted again only because somebody wrote meanwhile.
const FEW: usize = 100_000;

/// By how much a total may be wrong: the number of resources minus the total. Nothing that anybody writes changes it, so
/// what several counts say of it holds at once.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong(RangeInclusive<i64>);

/// A total, and its base, before resources are counted.
pub(super) struct Before {
    tally: Tally,
    base: Option<Row>,
}

impl Wrong {
    /// What a count says that began after one tally and ended before another. Of what was made and deleted in between, it
    /// has met any part.
    fn told(before: &Tally, counted: usize, after: &Tally) -> Self {
        let change = |tally: &Tally| (tally.sum, tally.changes);
        Self::between(change(before), counted as u64, change(after))
    }

    /// Of totals, each with the number of changes that led to it.
    fn between((sum, changes): (i64, u64), counted: u64, (later, changes_later): (i64, u64)) -> Self {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let changes = number(changes_later.saturating_sub(changes));
        let growth = later - sum;
        // Each change made one or deleted one.
        let made = i64::midpoint(changes, growth);
        let deleted = changes - made;
        let wrong = number(counted) - sum;
        Self(wrong - made..=wrong + deleted)
    }

    /// What both say; the later one if they contradict each other: somebody has put it right.
    fn and(self, later: Self) -> Self {
        let both = *self.0.start().max(later.0.start())..=*self.0.end().min(later.0.end());
        if both.is_empty() { later } else { Self(both) }
    }

    fn exactly(&self) -> Option<i64> {
        (self.0.start() == self.0.end()).then_some(*self.0.start())
    }
}

impl Inspection {
    /// The total before a count; nothing if it can't be read, which is a finding of its own.
    pub(super) async fn before_count(&self, kind: &str) -> Result<Option<Before>, Error> {
        let base = self
            .directory()
            .rows(&[rows::sum_base_key(kind)])
            .await?
            .pop()
            .flatten();
        let tally = self.tally(kind).await?;
        Ok(tally.map(|tally| Before { tally, base }))
    }

    /// Reports a total that is wrong, and puts it right if it is to be mended; `counted` since `before`.
    pub(super) async fn total(
        &self,
        kind: &'static str,
        before: Option<Before>,
        counted: usize,
        (report, mends): (&mut Report, bool),
    ) -> Result<(), Error> {
        let (Some(mut before), Some(after)) = (before, self.tally(kind).await?) else {
            return Ok(());
        };
        let mut wrong = Wrong::told(&before.tally, counted, &after);
        for _ in 0..COUNTS {
            if wrong.exactly() == Some(0) || (wrong.0.contains(&0) && counted > FEW) {
                return Ok(());
            }
            if !wrong.0.contains(&0) {
                sleep(PAUSE).await;
            }
            let Some(again) = self.before_count(kind).await? else {
                return Ok(());
            };
            before = again;
            let counted = self.count(kind).await?;
            let Some(after) = self.tally(kind).await? else {
                return Ok(());
            };
            wrong = wrong.and(Wrong::told(&before.tally, counted, &after));
            if wrong.exactly().is_some_and(|wrong| wrong != 0) {
                break;
            }
        }
        if wrong.0.contains(&0) {
            return Ok(());
        }
        let found = self.wrong_total(kind, before.base.as_ref(), wrong.exactly());
        report.add(&found, self.examples);
        if mends {
            self.mend(&[found], report).await
        } else {
            Ok(())
        }
    }

    /// By how much it is wrong is known exactly only if nobody made or deleted anything during a count.
    fn wrong_total(&self, kind: &str, base: Option<&Row>, by: Option<i64>) -> Found {
        let key = rows::sum_base_key(kind);
        let found = Found::new(Damage::TotalWrong, &key, &[], [base]);
        let body = match base.map(rows::body::<SumBaseBody>) {
            None => SumBaseBody {
                format: FORMAT,
                n: 0,
                changes: 0,
            },
            Some(Ok(body)) => body,
            Some(Err(_)) => return found,
        };
        let Some(by) = by else { return found };
        let right = SumBaseBody {
            n: body.n + by,
            ..body.clone()
        };
        let seal = SumBaseBody { n: 0, ..body };
        let write = rows::write(key, &right);
        let changes = vec![
            match base {
                Some(base) => Change::Replace(write, base.etag.clone()),
                None => Change::Insert(write),
            },
            Change::Upsert(rows::write(rows::sum_seal_key(kind), &seal)),
        ];
        found.mended(TENANT, &self.rules.tenant.id, "", changes)
    }

    async fn tally(&self, kind: &str) -> Result<Option<Tally>, Error> {
        let directory = self.directory();
        let tally = totals::tally(&*directory.store, &directory.access.tenant.id, kind, directory.deadline).await;
        match tally {
            Ok(tally) => Ok(Some(tally)),
            Err(totals::Error::Format(_) | totals::Error::Torn) => Ok(None),
            Err(totals::Error::Store(error)) => Err(error.into()),
        }
    }

    async fn count(&self, kind: &str) -> Result<usize, Error> {
        let mut scan = self.scan(&rows::resource_key_prefix(kind));
        let mut counted = 0;
        loop {
            let rows = scan.step().await?;
            if rows.is_empty() {
                return Ok(counted);
            }
            counted += rows.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_says_as_much_as_others_let_it() {
        for (before, counted, after, wrong) in [
            ((7, 9), 7, (7, 9), 0..=0),
            ((7, 9), 5, (7, 9), -2..=-2),
            ((7, 9), 7, (8, 10), -1..=0),
            ((7, 9), 8, (8, 10), 0..=1),
            ((7, 9), 7, (6, 10), 0..=1),
            ((7, 9), 12, (9, 15), 1..=7),
        ] {
            assert_eq!(
                Wrong::between(before, counted, after),
                Wrong(wrong),
                "{before:?} {counted} {after:?}"
            );
        }
    }

    #[test]
    fn counts_together_say_more() {
        let wrong = |range| Wrong(range);
        assert_eq!(wrong(-1..=3).and(wrong(2..=9)), wrong(2..=3));
        assert_eq!(wrong(-1..=3).and(wrong(3..=9)).exactly(), Some(3));
        assert_eq!(wrong(-1..=1).and(wrong(2..=9)), wrong(2..=9));
    }
}
