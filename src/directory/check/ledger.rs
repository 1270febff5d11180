//! Which rows may be in doubt, told from one look at each, in a few bytes for each.
//!
//! Most rows answer to exactly one other: what a resource claims (`u~…` has this userName) is there (`n~…` says so). Each
//! claim is added to one of many sums and each row taken from it, as a hash of all that must be equal; a sum that is not
//! zero in the end holds a claim without its row, or a row without its claim. Who is to blame, a second look tells, and
//! only at the rows of such sums.

/// Sums; 8 MiB. What changes between the looks brings others into doubt: with 5,000,000 rows some five each.
const SUMS: usize = 1 << 20;

/// What a row says of others. The numbers are hashes of what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// There must be exactly one row that is this.
    Claims(u64),
    /// It is this.
    Is(u64),
    /// There must be something that has this.
    Needs(u64),
    /// It has this.
    Has(u64),
    /// It is to be looked at in any case.
    Doubted,
}

/// Takes in every mark.
pub(super) struct Ledger {
    sums: Vec<u64>,
    needed: Vec<u64>,
    there: Vec<u64>,
    doubted: bool,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            sums: vec![0; SUMS],
            needed: Vec::new(),
            there: Vec::new(),
            doubted: false,
        }
    }

    pub(super) fn enter(&mut self, mark: Mark) {
        match mark {
            Mark::Claims(hash) => {
                let sum = &mut self.sums[place(hash)];
                *sum = sum.wrapping_add(hash);
            }
            Mark::Is(hash) => {
                let sum = &mut self.sums[place(hash)];
                *sum = sum.wrapping_sub(hash);
            }
            // Rows that need the same stand side by side.
            Mark::Needs(hash) if self.needed.last() == Some(&hash) => {}
            Mark::Needs(hash) => self.needed.push(hash),
            Mark::Has(hash) => self.there.push(hash),
            Mark::Doubted => self.doubted = true,
        }
    }

    pub(super) fn close(mut self) -> Doubts {
        self.there.sort_unstable();
        self.needed.retain(|hash| self.there.binary_search(hash).is_err());
        self.needed.sort_unstable();
        Doubts {
            sums: self.sums,
            missing: self.needed,
            doubted: self.doubted,
        }
    }
}

/// What does not come out even.
pub(super) struct Doubts {
    sums: Vec<u64>,
    missing: Vec<u64>,
    doubted: bool,
}

impl Doubts {
    pub(super) fn is_empty(&self) -> bool {
        !self.doubted && self.missing.is_empty() && self.sums.iter().all(|sum| *sum == 0)
    }

    pub(super) fn has(&self, mark: Mark) -> bool {
        match mark {
            Mark::Claims(hash) | Mark::Is(hash) => self.sums[place(hash)] != 0,
            Mark::Needs(hash) => self.missing.binary_search(&hash).is_ok(),
            Mark::Has(_) => false,
            Mark::Doubted => true,
        }
    }
}

/// The sum that a hash belongs to: by other bits than those that decide a sum most.
fn place(hash: u64) -> usize {
    usize::try_from(hash >> 40).map_or(0, |high| high % SUMS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubts(marks: &[Mark]) -> Doubts {
        let mut ledger = Ledger::new();
        for mark in marks {
            ledger.enter(*mark);
        }
        ledger.close()
    }

    const A: u64 = 0x1234_5678_9abc_def0;
    const B: u64 = !A;

    #[test]
    fn what_comes_out_even_is_in_no_doubt() {
        use Mark::{Claims, Has, Is, Needs};

        let even = [Claims(A), Needs(B), Is(A), Needs(B), Has(B), Has(A), Needs(A)];
        assert!(doubts(&even).is_empty());
        for (marks, doubted) in [
            (&[Claims(A)][..], &[Claims(A), Is(A)][..]),
            (&[Is(A), Claims(B)], &[Is(A), Claims(B)]),
            (&[Claims(A), Claims(A), Is(A)], &[Claims(A)]),
            (&[Needs(A), Needs(B), Has(A)], &[Needs(B)]),
            (&[Mark::Doubted], &[Mark::Doubted]),
        ] {
            let doubts = doubts(marks);
            assert!(!doubts.is_empty(), "{marks:?}");
            assert!(doubted.iter().all(|mark| doubts.has(*mark)), "{marks:?}");
            for mark in [Claims(A), Is(B), Needs(A), Needs(B), Has(A)] {
                let same_sum = |other: &Mark| match (*other, mark) {
                    (Claims(a) | Is(a), Claims(b) | Is(b)) => a == b,
                    (other, mark) => other == mark,
                };
                assert_eq!(doubts.has(mark), doubted.iter().any(same_sum), "{marks:?}: {mark:?}");
            }
        }
    }
}
