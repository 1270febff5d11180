//! Two logs beside each other: what differs between a customer who fails and one who does not.

use super::{record::Status, tally::Tally};

/// One measure of both.
#[derive(Debug, PartialEq)]
pub struct Measure {
    /// What is measured, with its unit.
    pub name: String,
    /// Of the failing and of the healthy log; none where nothing was measured.
    pub values: [Option<f64>; 2],
    /// Whether it describes what the customers send, and could thus be a reason; else it describes what came of it.
    pub is_load: bool,
}

impl Measure {
    /// How often the one value is in the other, if both are there.
    pub fn ratio(&self) -> Option<f64> {
        let [Some(failing), Some(healthy)] = self.values else {
            return None;
        };
        (healthy > 0.0).then(|| failing / healthy)
    }
}

/// All measures, the load first.
pub fn compare(failing: &Tally, healthy: &Tally) -> Vec<Measure> {
    let of_both = |name: &str, is_load: bool, of: &dyn Fn(&Tally) -> Option<f64>| Measure {
        name: name.to_owned(),
        values: [of(failing), of(healthy)],
        is_load,
    };
    let mut measures = vec![
        of_both("rows", true, &|tally| Some(number(tally.rows))),
        of_both("active minutes", true, &|tally| Some(number(Minutes::of(tally).active))),
        of_both("rows per active minute, mean", true, &|tally| Minutes::of(tally).mean()),
        of_both("rows per active minute, p95", true, &|tally| {
            Minutes::of(tally).percentile(95)
        }),
        of_both("rows in the busiest minute", true, &|tally| {
            Minutes::of(tally).percentile(100)
        }),
    ];
    let actions = failing.actions.keys().chain(healthy.actions.keys());
    let mut actions: Vec<_> = actions.copied().collect();
    actions.sort_unstable();
    actions.dedup();
    for action in actions {
        let share = |tally: &Tally| {
            let rows = tally.actions.get(&action).map_or(0, |(rows, _)| *rows);
            percent(rows, tally.rows)
        };
        measures.push(of_both(&format!("{} rows, %", action.name()), true, &share));
    }
    for (name, failed, percentile) in [
        ("duration of successes, p50 ms", 0, 50),
        ("duration of successes, p95 ms", 0, 95),
        ("duration of failures, p50 ms", 1, 50),
        ("duration of failures, p95 ms", 1, 95),
    ] {
        let of = |tally: &Tally| tally.durations[failed].percentile(percentile).map(number);
        measures.push(of_both(name, false, &of));
    }
    measures.extend([
        of_both("failed rows, %", false, &|tally| percent(tally.failed(), tally.rows)),
        of_both("skipped rows, %", false, &|tally| {
            percent(tally.statuses.get(&Status::Skipped).copied().unwrap_or(0), tally.rows)
        }),
        of_both("bursts of failures", false, &|tally| {
            Some(number(Minutes::of(tally).bursts))
        }),
        of_both("longest burst of failures, minutes", false, &|tally| {
            Some(number(Minutes::of(tally).longest))
        }),
        of_both("rows per minute, mean of minutes with a failure", false, &|tally| {
            Minutes::of(tally).mean_where(true)
        }),
        of_both("rows per minute, mean of minutes without", false, &|tally| {
            Minutes::of(tally).mean_where(false)
        }),
    ]);
    let mut names: Vec<&str> = Vec::new();
    for (_, cause) in failing.ranking().into_iter().chain(healthy.ranking()) {
        if !names.contains(&cause.name.as_str()) {
            names.push(&cause.name);
        }
    }
    for name in names {
        let rows = |tally: &Tally| {
            let cause = tally.causes.iter().find(|cause| cause.name == name);
            Some(number(cause.map_or(0, |cause| cause.rows)))
        };
        measures.push(of_both(&format!("rows failed by {name}"), false, &rows));
    }
    measures
}

/// What one log says of itself about load and failures.
pub fn bursts(tally: &Tally) -> Option<String> {
    let minutes = Minutes::of(tally);
    if minutes.bursts == 0 {
        return None;
    }
    let (with, without) = (minutes.mean_where(true), minutes.mean_where(false));
    let mean = |mean: Option<f64>| mean.map_or_else(|| "-".to_owned(), |mean| format!("{mean:.1}"));
    Some(format!(
        "Runs of minutes in which something fails: {}; minutes of the longest: {}. Rows per minute: {} on average while something \
         fails, {} else.",
        minutes.bursts,
        minutes.longest,
        mean(with),
        mean(without)
    ))
}

/// What the minutes of a log show.
struct Minutes {
    active: u64,
    /// Rows of each active minute, sorted.
    rows: Vec<u64>,
    /// Runs of consecutive minutes with failures.
    bursts: u64,
    longest: u64,
    /// Rows and minutes, without failures and with.
    split: [(u64, u64); 2],
}

impl Minutes {
    fn of(tally: &Tally) -> Self {
        let mut minutes = Self {
            active: 0,
            rows: Vec::new(),
            bursts: 0,
            longest: 0,
            split: [(0, 0); 2],
        };
        let (mut last_failed, mut run) = (None, 0);
        for (at, rows, failed) in tally.active_minutes() {
            minutes.active += 1;
            minutes.rows.push(rows);
            let (all, count) = &mut minutes.split[usize::from(failed > 0)];
            *all += rows;
            *count += 1;
            if failed > 0 {
                let goes_on = last_failed == Some(at - 1);
                run = if goes_on { run + 1 } else { 1 };
                minutes.bursts += u64::from(!goes_on);
                minutes.longest = minutes.longest.max(run);
                last_failed = Some(at);
            }
        }
        minutes.rows.sort_unstable();
        minutes
    }

    fn mean(&self) -> Option<f64> {
        mean(self.rows.iter().sum(), self.active)
    }

    fn mean_where(&self, failed: bool) -> Option<f64> {
        let (rows, minutes) = self.split[usize::from(failed)];
        mean(rows, minutes)
    }

    fn percentile(&self, percent: usize) -> Option<f64> {
        let index = (self.rows.len() * percent).div_ceil(100).checked_sub(1)?;
        self.rows.get(index).copied().map(number)
    }
}

fn mean(all: u64, of: u64) -> Option<f64> {
    (of > 0).then(|| number(all) / number(of))
}

fn percent(part: u64, of: u64) -> Option<f64> {
    mean(part * 100, of)
}

/// Counts of rows are far below where that loses anything.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}
