//! What was lost during a watch, and for how long.

use std::{fmt::Write, ops::Range, time::Duration};

use time::{OffsetDateTime, macros::format_description};
use tokio::time::Instant;

use crate::doctor::fault::Fault;

/// Without a loss for so long, the next one has another reason.
const APART: Duration = Duration::from_secs(3);
/// Times of losses that are told; of more their number.
const MAX_TOLD: usize = 8;

/// On what a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Whether the connection has carried an answer before.
    pub(super) is_old: bool,
    pub(super) is_http2: bool,
}

impl Place {
    pub(super) fn says(self) -> &'static str {
        match (self.is_old, self.is_http2) {
            (true, false) => "an old connection",
            (false, false) => "a new connection",
            (true, true) => "an old HTTP/2 connection",
            (false, true) => "a new HTTP/2 connection",
        }
    }
}

/// Losses of one kind.
#[derive(Debug)]
struct Losses {
    place: Place,
    fault: Fault,
    times: usize,
    /// From the first request that was lost to the first one after the last that was not.
    time: Range<Instant>,
    is_over: bool,
}

/// Losses that belong together.
#[derive(Debug)]
struct Outage {
    from: OffsetDateTime,
    kinds: Vec<Losses>,
}

impl Outage {
    fn time(&self) -> Range<Instant> {
        let first = self.kinds[0].time.clone();
        let times = self.kinds.iter().map(|losses| &losses.time);
        times.fold(first, |all, time| all.start.min(time.start)..all.end.max(time.end))
    }

    fn is_over(&self) -> bool {
        self.kinds.iter().all(|losses| losses.is_over || losses.place.is_old)
    }
}

#[derive(Debug, Default)]
pub(super) struct Log {
    asked: usize,
    lost: usize,
    /// Connections that were to be kept, and that the other side ended.
    pub(super) ended: usize,
    /// The first status, where it is no server error.
    pub(super) usual: Option<u16>,
    pub(super) is_http2_watched: bool,
    outages: Vec<Outage>,
}

impl Log {
    /// A request, sent at the time `when`, and what was lost with it.
    pub(super) fn note(&mut self, place: Place, time: Range<Instant>, when: OffsetDateTime, fault: Option<Fault>) {
        self.asked += 1;
        let last = self.outages.last_mut();
        let Some(fault) = fault else {
            let kinds = last.into_iter().flat_map(|outage| &mut outage.kinds);
            for losses in kinds.filter(|losses| losses.place == place && !losses.is_over) {
                losses.is_over = true;
                losses.time.end = losses.time.end.max(time.end);
            }
            return;
        };
        self.lost += 1;
        let is_near = |outage: &&mut Outage| !outage.is_over() || time.start < outage.time().end + APART;
        let Some(outage) = last.filter(is_near) else {
            let kinds = vec![Losses::first(place, fault, time)];
            self.outages.push(Outage { from: when, kinds });
            return;
        };
        let mut kinds = outage.kinds.iter_mut();
        match kinds.find(|losses| losses.place == place && losses.fault == fault) {
            Some(losses) => {
                losses.times += 1;
                losses.time.end = losses.time.end.max(time.end);
                losses.is_over = false;
            }
            None => outage.kinds.push(Losses::first(place, fault, time)),
        }
    }

    /// What was lost; none where nothing was.
    pub(super) fn lost(&self) -> Option<String> {
        if self.outages.is_empty() {
            return None;
        }
        let mut text = format!("{} of {} requests", self.lost, self.asked);
        for outage in self.outages.iter().take(MAX_TOLD) {
            outage.describe(&mut text);
        }
        if let more @ 1.. = self.outages.len().saturating_sub(MAX_TOLD) {
            let _ = write!(text, "; and {more} times more");
        }
        Some(text)
    }

    /// What is worth telling whether or not anything was lost.
    pub(super) fn told(&self) -> Vec<String> {
        let answered = format!(
            "{} of {} requests were well answered",
            self.asked - self.lost,
            self.asked
        );
        let ended = match self.ended {
            0 if self.lost == 0 => {
                "no connection was ended by the other side: if there was a restart, it did not reach this far"
                    .to_owned()
            }
            times => format!("the other side ended connections {times} times"),
        };
        let http2 = (!self.is_http2_watched).then(|| "HTTP/2 is not spoken".to_owned());
        [answered, ended].into_iter().chain(http2).collect()
    }
}

impl Losses {
    fn first(place: Place, fault: Fault, time: Range<Instant>) -> Self {
        Self {
            place,
            fault,
            times: 1,
            time,
            is_over: false,
        }
    }
}

impl Outage {
    fn describe(&self, text: &mut String) {
        let at = self.from.format(format_description!("[hour]:[minute]:[second]"));
        let at = at.expect("a time has seconds");
        let lasted = |time: &Range<Instant>| format!("{:.1} s", (time.end - time.start).as_secs_f64());
        let _ = write!(text, "; from {at} UTC for {}", lasted(&self.time()));
        if !self.is_over() {
            text.push_str(" (not over when the watch ended)");
        }
        for (number, losses) in self.kinds.iter().enumerate() {
            let separator = if number == 0 { ": " } else { ", " };
            let id = losses.fault.entry().id;
            let times = match losses.times {
                1 => "once".to_owned(),
                times => format!("{times} times in {}", lasted(&losses.time)),
            };
            let _ = write!(text, "{separator}{id} on {} {times}", losses.place.says());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use time::macros::datetime;
    use tokio::time::Instant;

    use super::{Log, Place};
    use crate::doctor::fault::Fault;

    const OLD: Place = Place {
        is_old: true,
        is_http2: false,
    };
    const NEW: Place = Place {
        is_old: false,
        is_http2: false,
    };

    /// Requests that take 0.1 s, begun at these tenths of a second.
    #[track_caller]
    fn check(requests: &[(u32, Place, Option<Fault>)], expected: Option<&str>) {
        let (began, noon) = (Instant::now(), datetime!(2026-11-22 12:00 UTC));
        let tenth = Duration::from_millis(100);
        let mut log = Log::default();
        for (at, place, lost) in requests {
            let from = began + tenth * *at;
            log.note(*place, from..from + tenth, noon + tenth * *at, *lost);
        }
        assert_eq!(log.lost().as_deref(), expected);
    }

    #[test]
    fn what_is_lost_is_told_with_its_time() {
        let (closed, refused) = (Some(Fault::ReuseFails), Some(Fault::NoConnection));
        check(&[(0, OLD, None), (1, NEW, None)], None);
        check(
            &[
                (0, NEW, None),
                (10, OLD, closed),
                (12, NEW, refused),
                (30, NEW, refused),
                (34, NEW, None),
            ],
            Some(
                "3 of 5 requests; from 12:00:01 UTC for 2.5 s: reuse-fails on an old connection once, no-connection on a new \
                 connection 2 times in 2.3 s",
            ),
        );
        check(
            &[
                (0, NEW, refused),
                (3, NEW, None),
                (20, NEW, refused),
                (200, NEW, refused),
            ],
            Some(
                "3 of 4 requests; from 12:00:00 UTC for 20.1 s (not over when the watch ended): no-connection on a new \
                 connection 3 times in 20.1 s",
            ),
        );
        check(
            &[(0, NEW, refused), (1, NEW, None), (200, NEW, refused), (201, NEW, None)],
            Some(
                "2 of 4 requests; from 12:00:00 UTC for 0.2 s: no-connection on a new connection once; from 12:00:20 UTC for \
                 0.2 s: no-connection on a new connection once",
            ),
        );
    }
}
