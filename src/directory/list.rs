//! Everything there is, page by page: the total without a walk, and the page from the nearest place that is known.

use std::future::ready;

use futures::{future::try_join_all, try_join};

use super::{
    Directory, Error,
    cursor::Place,
    held, index,
    marks::{Mark, choose},
    page::{Listed, Page},
    query::{Ask, Outcome, Start},
    sift::SCAN_STEP,
};
use crate::{
    rows,
    totals::{self, Tally},
};

/// Resources after which a long walk leaves a mark: who runs out of time on it finds it when he comes back.
const WALK_MARK: usize = 10 * SCAN_STEP;

/// How far a walk has come.
struct Reached {
    mark: Mark,
    /// There are resources of the type behind it.
    more: bool,
}

impl Directory {
    /// A page of all resources of some types.
    pub(super) async fn list(&self, ask: &Ask<'_>) -> Result<Outcome, Error> {
        match ask.start {
            Start::Index(skip) => self.list_by_index(ask, skip).await,
            Start::Cursor(_) => self.list_by_cursor(ask).await,
        }
    }

    async fn list_by_index(&self, ask: &Ask<'_>, skip: usize) -> Result<Outcome, Error> {
        let mut page = Page::of(ask.count);
        let mut total = 0;
        if ask.types.len() == 1 {
            total = self.part(ask, 0, skip, self.tally(ask, 0), &mut page).await?.total();
        } else {
            for (of, tally) in self.tallies(ask).await?.into_iter().enumerate() {
                // Those of this type that stand before the page.
                let before = skip.saturating_sub(size(total));
                self.part(ask, of, before, ready(Ok(tally)), &mut page).await?;
                total += tally.total();
            }
        }
        Ok(Outcome {
            resources: page.resources,
            total: Some(size(total)),
            next: None,
        })
    }

    async fn list_by_cursor(&self, ask: &Ask<'_>) -> Result<Outcome, Error> {
        let mut page = Page::of(ask.count);
        let (tallies, (of, reached)) = try_join!(self.tallies(ask), self.walk_on(ask, &mut page))?;
        let more = reached.more || tallies[of + 1..].iter().any(|tally| tally.total() > 0);
        Ok(Outcome {
            resources: page.resources,
            total: Some(size(tallies.iter().map(Tally::total).sum())),
            next: reached.mark.key.filter(|_| more).map(Place::Behind),
        })
    }

    /// Puts the resources of a type behind the first `skip` on the page. The walk does not wait for what `tally` says where
    /// it is clear enough where to begin.
    async fn part(
        &self,
        ask: &Ask<'_>,
        of: usize,
        skip: usize,
        tally: impl Future<Output = Result<Tally, Error>>,
        page: &mut Page,
    ) -> Result<Tally, Error> {
        if page.room() == 0 {
            return tally.await;
        }
        let kind = index::kind(ask.types[of].of);
        let (tally, marks) = if let Some(guess) = self.guess(kind, skip, page.room()) {
            let mut part = page.rest();
            // At the same time, for the price of one: what comes or goes between the two may make the mark that is left untrue by
            // as much, for those who list from it before the next change.
            let (tally, reached) = try_join!(tally, self.walk(ask, of, &guess, skip, &mut part))?;
            if guess.is_true(tally.changes) {
                self.leave(kind, &guess, reached, skip, tally);
                page.append(part);
                return Ok(tally);
            }
            // Resources came or went since; whoever listed after that has left a better one.
            let mut marks = self.marks_before(kind, skip).await?;
            marks.push(guess);
            (tally, marks)
        } else {
            try_join!(tally, self.marks_before(kind, skip))?
        };
        if skip < size(tally.total()) {
            let begin = choose(marks, skip, tally.changes);
            let reached = self.walk(ask, of, &begin, skip, page).await?;
            self.leave(kind, &begin, reached, skip, tally);
        }
        Ok(tally)
    }

    /// Where to begin without asking anybody: at the start, or at a nearer mark that this process remembers, if one round
    /// trip brings both what is to be passed over and the page.
    fn guess(&self, kind: &str, skip: usize, count: usize) -> Option<Mark> {
        let mark = self.recent_mark(kind, skip).unwrap_or(Mark::START);
        ((skip - mark.position).saturating_add(count) <= SCAN_STEP).then_some(mark)
    }

    /// Leaves a mark where a page ended, unless that is the end of everything.
    fn leave(&self, kind: &'static str, begin: &Mark, reached: Reached, skip: usize, tally: Tally) {
        let changes = begin.is_true(tally.changes).then_some(tally.changes);
        if (skip + 1..size(tally.total())).contains(&reached.mark.position) {
            self.leave_mark(
                kind,
                Mark {
                    changes,
                    ..reached.mark
                },
                begin,
            );
        }
    }

    /// Fills the page from the type and the key of the cursor on; says in which type it ended.
    async fn walk_on(&self, ask: &Ask<'_>, page: &mut Page) -> Result<(usize, Reached), Error> {
        let (mut of, behind) = ask.behind()?;
        let mut passed = behind.map(str::to_owned);
        let mut begin = Mark {
            key: passed.clone(),
            ..Mark::START
        };
        loop {
            let mut reached = self.walk(ask, of, &begin, 0, page).await?;
            // The page may be full before the first one of this type: then it goes on behind the last of another.
            passed = reached.mark.key.take().or(passed);
            if page.room() == 0 || of + 1 == ask.types.len() {
                reached.mark.key = passed;
                return Ok((of, reached));
            }
            of += 1;
            begin = Mark::START;
        }
    }

    /// Fills the page with the resources of a type behind the first `skip`, beginning at a mark before them.
    async fn walk(
        &self,
        ask: &Ask<'_>,
        of: usize,
        begin: &Mark,
        skip: usize,
        page: &mut Page,
    ) -> Result<Reached, Error> {
        let asked = &ask.types[of];
        let kind = index::kind(asked.of);
        let (start, until) = rows::range(&rows::resource_key_prefix(kind));
        let mut from = Some(begin.key.as_deref().map_or(start, rows::behind));
        let (mut mark, mut left) = (begin.clone(), begin.clone());
        while let Some(start) = from.take() {
            let to_pass = skip.saturating_sub(mark.position);
            // One more than fits on the page tells whether there is more.
            let limit = to_pass.saturating_add(page.room() + 1).min(SCAN_STEP);
            let (rows, next) = self.step((&start, &until), limit).await?;
            let scanned = self.hold_rows(&rows)?;
            let (passed, rows) = rows.split_at(to_pass.min(rows.len()));
            let (shown, refused) = rows.split_at(page.admit(rows.iter().map(held::size)));
            self.hold(shown)?;
            let documents = self.documents(ask, asked, shown, None).await?;
            let listed = documents.into_iter().map(|document| Listed::new(of, document, false));
            page.resources.extend(listed);
            mark.position += passed.len() + shown.len();
            if let Some(last) = shown.last().or(passed.last()) {
                mark.key = Some(last.key.clone());
            }
            if page.room() == 0 {
                let more = !refused.is_empty() || next.is_some();
                return Ok(Reached { mark, more });
            }
            if mark.position - left.position >= WALK_MARK {
                self.leave_mark(kind, mark.clone(), &left);
                left.clone_from(&mark);
            }
            self.held.give(scanned);
            from = next;
        }
        Ok(Reached { mark, more: false })
    }

    /// The totals of all types, at once.
    async fn tallies(&self, ask: &Ask<'_>) -> Result<Vec<Tally>, Error> {
        try_join_all((0..ask.types.len()).map(|of| self.tally(ask, of))).await
    }

    /// The total of a type; who finds that it takes many rows to add up lets it be folded.
    async fn tally(&self, ask: &Ask<'_>, of: usize) -> Result<Tally, Error> {
        let kind = index::kind(ask.types[of].of);
        let tally = totals::tally(&*self.store, &self.access.tenant.id, kind, self.deadline).await?;
        if tally.is_long() {
            self.fold(kind);
        }
        Ok(tally)
    }
}

/// Fits: the resources of a type are rows in one partition.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
