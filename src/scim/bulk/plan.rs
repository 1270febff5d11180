//! In which order the operations of a bulk request take place.

/// One step of a plan; operations are named by their place in the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) operation: usize,
    pub(super) part: Part,
    /// Operations that this one needs and that refer back to it, if there are any.
    pub(super) without: Vec<usize>,
}

/// How much of an operation a step performs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All but what refers to `without`, which is not there yet; all other needs are.
    Most,
    /// What refers to `without`, which is there now.
    Rest,
}

/// The order of operations of which each needs some others, in the order of `needs`.
///
/// It is the request's own order, except that what an operation needs comes right before it. So a create may move ahead
/// of other operations; no operation is put off, which could turn it around with another one on the same resource (RFC
/// 7644 §3.7: the client's intent is preserved). In a circle the last operation that is reached goes without the first,
/// and is completed as soon as all it lacks is there (§3.7.1).
pub(super) fn plan(needs: &[Vec<usize>]) -> Vec<Step> {
    let mut planner = Planner {
        needs,
        reached: vec![Reached::Not; needs.len()],
        waiting: Vec::new(),
        steps: Vec::with_capacity(needs.len()),
    };
    for operation in 0..needs.len() {
        planner.reach(operation);
    }
    planner.steps
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    Not,
    /// It waits for what it needs.
    Waits,
    Performed,
}

struct Planner<'n> {
    needs: &'n [Vec<usize>],
    reached: Vec<Reached>,
    /// The second steps of operations whose needs are not all there.
    waiting: Vec<Step>,
    steps: Vec<Step>,
}

impl Planner<'_> {
    /// Recurses at most once for each operation, of which there are [`MAX_BULK_OPERATIONS`].
    ///
    /// [`MAX_BULK_OPERATIONS`]: super::super::limits::MAX_BULK_OPERATIONS
    fn reach(&mut self, operation: usize) {
        if self.reached[operation] != Reached::Not {
            return;
        }
        self.reached[operation] = Reached::Waits;
        for &needed in &self.needs[operation] {
            self.reach(needed);
        }
        let step = |part, without| Step {
            operation,
            part,
            without,
        };
        let is_missing = |needed: &usize| self.reached[*needed] == Reached::Waits;
        let without: Vec<usize> = self.needs[operation].iter().copied().filter(is_missing).collect();
        self.reached[operation] = Reached::Performed;
        if !without.is_empty() {
            self.waiting.push(step(Part::Rest, without.clone()));
        }
        self.steps.push(step(Part::Most, without));
        let reached = &self.reached;
        let is_due = |step: &mut Step| step.without.iter().all(|needed| reached[*needed] == Reached::Performed);
        self.steps.extend(self.waiting.extract_if(.., is_due));
    }
}
