//! Queries that sort (RFC 7644 §3.4.2.3): everything that matches is looked at, within the bounds of a filter, put in order,
//! and shown from an offset on.

use super::{
    Directory, Error,
    cursor::Place,
    page::Page,
    query::{Ask, Outcome, Start},
    sift::{Candidate, Take},
};
use crate::scim::{
    error::Rule,
    limits::MAX_SORT_BYTES,
    sort::{Key, Sort},
};

/// All that matches, while it is collected.
struct Sorter<'a, 'q> {
    ask: &'a Ask<'q>,
    entries: Vec<Entry>,
    /// In memory; at most [`MAX_SORT_BYTES`].
    bytes: usize,
}

struct Entry {
    key: Option<Key>,
    of: usize,
    /// Of the stored body.
    bytes: usize,
    is_linked: bool,
    /// The document as text, which takes a tenth of the memory.
    text: Vec<u8>,
}

impl Directory {
    /// A page of a query that sorts.
    pub(super) async fn sorted(&self, ask: &Ask<'_>) -> Result<Outcome, Error> {
        let skip = match &ask.start {
            Start::Index(skip) => *skip,
            Start::Cursor(Some(Place::Offset(offset))) => *offset,
            Start::Cursor(_) => 0,
        };
        let mut sorter = Sorter {
            ask,
            entries: Vec::new(),
            bytes: 0,
        };
        self.sift(ask, &mut sorter).await?;
        let entries = sorter.finish();
        let total = entries.len();
        let mut page = Page::of(ask.count);
        for entry in entries.into_iter().skip(skip) {
            if !page.take(entry.candidate())? {
                break;
            }
        }
        self.held.add(page.memory())?;
        let shown = skip + page.resources.len();
        Ok(Outcome {
            total: Some(total),
            resources: page.resources,
            next: (ask.is_by_cursor() && shown < total).then_some(Place::Offset(shown)),
        })
    }
}

impl Sorter<'_, '_> {
    fn sort(&self, of: usize) -> Option<&Sort> {
        self.ask.types[of].sort.as_ref()
    }

    /// Everything in order; equals stay in the order in which they came, that of their keys.
    fn finish(self) -> Vec<Entry> {
        let order = self.ask.types.first().and_then(|asked| asked.sort.as_ref());
        let mut entries = self.entries;
        if let Some(order) = order {
            entries.sort_by(|left, right| order.compare(left.key.as_ref(), right.key.as_ref()));
        }
        entries
    }
}

impl Take for Sorter<'_, '_> {
    fn take(&mut self, candidate: Candidate) -> Result<bool, Error> {
        let key = self.sort(candidate.of).and_then(|sort| sort.key(&candidate.document));
        let text = serde_json::to_vec(&candidate.document).expect("a document is JSON");
        self.bytes += text.len() + key.as_ref().map_or(0, Key::bytes);
        if self.bytes > MAX_SORT_BYTES {
            let limit = format!("{} MiB of resources", MAX_SORT_BYTES / 1024 / 1024);
            return Err(Rule::TooManyToSort.error().with("limit", limit).into());
        }
        self.entries.push(Entry {
            key,
            of: candidate.of,
            bytes: candidate.bytes,
            is_linked: candidate.is_linked,
            text,
        });
        Ok(true)
    }

    fn memory(&self) -> usize {
        self.bytes
    }
}

impl Entry {
    fn candidate(self) -> Candidate {
        Candidate {
            of: self.of,
            bytes: self.bytes,
            is_linked: self.is_linked,
            document: serde_json::from_slice(&self.text).expect("what was written as JSON is read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Ask, Candidate, Sorter, Start, Take};
    use crate::{
        directory::{
            linked::{Memberships, Needed},
            query::Asked,
        },
        scim::{limits::MAX_SORT_BYTES, list::SortBy, normalize::Trace, schema::Catalog, sort::Sort},
    };

    /// RFC 7644, table 9: tooMany; what is held in memory counts, the values to sort by included.
    #[test]
    fn what_is_held_to_be_sorted_is_bounded() {
        const LARGE: usize = 512 * 1024;
        let catalog = Catalog::standard();
        let of = catalog.resource_type("User").unwrap();
        let by = SortBy {
            attribute: "title".to_owned(),
            descending: false,
        };
        let ask = Ask {
            types: vec![Asked {
                of,
                filter: None,
                sort: Some(Sort::parse(&[of], &by, &mut Trace::default()).unwrap()),
                needed: Needed::Nothing,
                shows_links: false,
                memberships: Memberships::default(),
            }],
            base_url: "",
            count: 10,
            start: Start::Index(0),
        };
        let attribute = "title";
        let most = MAX_SORT_BYTES / LARGE / 2 - 1;
        let mut sorter = Sorter {
            ask: &ask,
            entries: Vec::new(),
            bytes: 0,
        };
        let document = json!({ attribute: "y".repeat(LARGE) });
        let candidate = || Candidate {
            of: 0,
            bytes: LARGE,
            is_linked: false,
            document: document.as_object().unwrap().clone(),
        };
        for number in 0..most {
            assert!(sorter.take(candidate()).unwrap(), "{attribute} number {number}");
        }
        let refused = sorter.take(candidate()).unwrap_err();
        assert!(refused.to_string().contains("64 MiB of resources"), "{refused}");
    }
}
