//! How many records one transaction takes.
//!
//! Owns the bound on the records between two commit lines with exactly-once. A broker aborts
//! a transaction that is open for longer than `transaction.timeout.ms`, and everything before
//! a line belongs to it. Promises that the bound follows the speed of the shards, so that a commit
//! waits for a second or two of work however long the backlog is, and that it is never 0. Never
//! reads a clock and never touches a record.

use std::time::Duration;

/// The bound before the speed of the shards is known, and the most after a failure: few enough for
/// a model of some forecasts in a second, and ten quick commits away from any queue's size.
const FIRST: u64 = 64;

/// What the shards may have left to do when a line is drawn, where the timeout is long. The shards
/// wait while a transaction is committed, which takes up to a tenth of a second on a busy machine,
/// so a shorter target would cost forecasts.
const DRAIN_TARGET: Duration = Duration::from_secs(2);

/// The least target: a timeout that leaves no time cannot work, and `advice` says so.
const DRAIN_TARGET_LEAST: Duration = Duration::from_millis(10);

/// The drain's part of the time that a transaction has after the wait for its line.
const DRAIN_PART: u32 = 8;

/// The part of a whole commit, with the answers of the brokers.
const COMMIT_PART: u32 = 4;

/// How much smaller the bound is after a failure.
const FAILURE_PART: u64 = 4;

/// No queue holds so many. It keeps the doubling from an overflow.
const BOUND_MOST: u64 = 1 << 32;

/// The pace of transactions. It outlives a session: the next one begins with what was learned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// What the broker allows a transaction.
    timeout: Duration,
    /// What is left for the shards when a line is drawn.
    drain_target: Duration,
    /// What a whole commit may take before the bound follows that as well.
    commit_target: Duration,
    /// The most records between two lines.
    bound: u64,
    /// Records behind the newest line.
    handed: u64,
    /// The commit under way.
    line: Option<Line>,
}

/// What is before a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Line {
    records: u64,
    /// The bound, and not the input, ended the transaction.
    is_full: bool,
}

impl Pace {
    /// The pace of transactions that the broker aborts after `timeout`, with a commit every
    /// `commit_interval` where the bound asks for none before.
    pub(super) fn new(timeout: Duration, commit_interval: Duration) -> Self {
        let left = timeout.saturating_sub(commit_interval);
        let part = |part: u32| (left / part).max(DRAIN_TARGET_LEAST);
        Self {
            timeout,
            drain_target: part(DRAIN_PART).min(DRAIN_TARGET),
            commit_target: part(COMMIT_PART),
            bound: FIRST,
            handed: 0,
            line: None,
        }
    }

    /// The most records of a transaction at present.
    pub(super) fn bound(&self) -> u64 {
        self.bound
    }

    /// Whether the open transaction takes another record.
    pub(super) fn has_room(&self) -> bool {
        self.handed < self.bound
    }

    /// A shard got a record.
    pub(super) fn handed(&mut self) {
        self.handed += 1;
    }

    /// A line was drawn: what comes from here on belongs to the next transaction.
    pub(super) fn begin(&mut self) {
        let records = std::mem::take(&mut self.handed);
        self.line = Some(Line { records, is_full: records >= self.bound });
    }

    /// Whether a commit is under way.
    pub(super) fn is_committing(&self) -> bool {
        self.line.is_some()
    }

    /// The commit is over. The shards needed `drain` up to its line, and it took `whole` in all.
    pub(super) fn done(&mut self, drain: Duration, whole: Duration) {
        let Some(Line { records, is_full }) = self.line.take() else { return };
        if records == 0 {
            return;
        }
        let is_slow = whole > self.commit_target;
        let grows = is_full && !is_slow;
        let mut bound = if grows { self.bound * 2 } else { self.bound };
        bound = bound.min(fitting(records, drain, self.drain_target));
        if is_slow {
            // What a commit takes beside its records does not shrink with them.
            bound = bound.min(fitting(records, whole, self.commit_target).max(FIRST));
        }
        self.bound = bound.clamp(1, BOUND_MOST);
    }

    /// The session failed, and its transaction was open for `open`. Returns what to tell the
    /// operator where that was too long.
    pub(super) fn failed(&mut self, open: Duration) -> Option<Overrun> {
        let records = self.handed + self.line.map_or(0, |line| line.records);
        let first =
            self.line.filter(|line| line.records > 0).map_or(self.handed, |line| line.records);
        self.bound = (self.bound / FAILURE_PART).clamp(1, FIRST);
        (self.handed, self.line) = (0, None);
        (records > 0 && open > self.timeout).then_some(Overrun {
            records: first,
            open,
            timeout: self.timeout,
            bound: self.bound,
        })
    }
}

/// A transaction that was open for longer than the broker allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overrun {
    /// Its records.
    pub(super) records: u64,
    /// How long it was open.
    pub(super) open: Duration,
    /// What the broker allows.
    pub(super) timeout: Duration,
    /// The most records of the next one.
    pub(super) bound: u64,
}

impl Overrun {
    /// What to do about it.
    pub(super) fn advice(&self) -> &'static str {
        if self.records > 1 {
            "a transaction was open for longer than the broker allows, which aborts it; the next \
             one takes fewer records"
        } else {
            "a transaction of one record was open for longer than the broker allows, which aborts \
             it; if this repeats, raise kafka.options.\"transaction.timeout.ms\" above the time \
             that the models need for one record"
        }
    }
}

/// How many records take `target`, where `records` took `took`.
fn fitting(records: u64, took: Duration, target: Duration) -> u64 {
    let count = u128::from(records) * target.as_nanos() / took.as_nanos().max(1);
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    fn pace(timeout_ms: u64) -> Pace {
        Pace::new(Duration::from_millis(timeout_ms), INTERVAL)
    }

    /// One transaction of shards that need so long for a record, with a backlog of so many.
    /// Returns how many records it took.
    fn turn(pace: &mut Pace, backlog: u64, of_one: Duration, of_commit: Duration) -> u64 {
        let records = backlog.min(pace.bound - pace.handed.min(pace.bound));
        pace.handed += records;
        assert_eq!(pace.has_room(), pace.handed < pace.bound);
        pace.begin();
        assert!(pace.has_room(), "the next transaction has room");
        let drain = of_one * u32::try_from(records).unwrap();
        pace.done(drain, drain + of_commit);
        records
    }

    #[test]
    fn a_slow_model_gets_a_second_or_two_of_work_and_a_fast_one_is_not_bounded() {
        let mut pace = Pace::new(Duration::from_secs(15), INTERVAL);
        let commit = Duration::from_millis(20);
        let mut slow = |of_one: Duration, turns: usize| {
            (0..turns).map(|_| turn(&mut pace, u64::MAX >> 32, of_one, commit)).last().unwrap()
        };
        assert_eq!(slow(Duration::from_millis(2), 20), 875);
        // Ten times as slow, then a hundred times as fast: one transaction to learn it, and a
        // doubling for each one after it.
        assert_eq!(slow(Duration::from_millis(20), 1), 875);
        assert_eq!(slow(Duration::from_millis(20), 1), 87);
        assert_eq!(slow(Duration::from_micros(200), 4), 696);
        assert_eq!(slow(Duration::from_micros(5), 20), 350_000);
        // One record takes longer than the target.
        assert_eq!(slow(Duration::from_secs(2), 2), 1);
    }

    #[test]
    fn the_target_leaves_time_before_a_short_timeout() {
        let targets = |timeout_ms| {
            let pace = pace(timeout_ms);
            (pace.drain_target.as_millis(), pace.commit_target.as_millis())
        };
        assert_eq!(targets(60_000), (2000, 14_750));
        assert_eq!(targets(15_000), (1750, 3500));
        assert_eq!(targets(5000), (500, 1000));
        // The interval leaves no time, which the advice at the start says.
        assert_eq!(targets(1000), (10, 10));
    }

    #[test]
    fn a_slow_cluster_does_not_shrink_the_bound_to_nothing() {
        let mut pace = pace(15_000);
        let quick = Duration::from_micros(1);
        for _ in 0..10 {
            turn(&mut pace, 1 << 20, quick, Duration::from_millis(10));
        }
        assert_eq!(pace.bound(), FIRST << 10);
        // Within the target nothing is lost; beyond it the bound falls with the time.
        turn(&mut pace, 100, quick, Duration::from_secs(3));
        assert_eq!(pace.bound(), FIRST << 10);
        for _ in 0..30 {
            turn(&mut pace, 1 << 20, quick, Duration::from_secs(10));
        }
        assert_eq!(pace.bound(), FIRST);
    }

    #[test]
    fn what_a_failed_session_leaves_is_a_small_bound_and_a_word_where_it_took_too_long() {
        let mut pace = pace(15_000);
        for _ in 0..10 {
            turn(&mut pace, 1 << 20, Duration::from_micros(1), Duration::ZERO);
        }
        let (short, long) = (Duration::from_secs(15), Duration::from_secs(16));
        pace.handed();
        assert_eq!(pace.failed(short), None, "a fault of the cluster");
        assert_eq!((pace.bound(), pace.handed, pace.line), (FIRST, 0, None));
        assert_eq!(pace.failed(long), None, "nothing was open");
        let mut bounds = vec![pace.bound()];
        let mut last = None;
        while pace.bound() > 1 {
            (0..pace.bound()).for_each(|_| pace.handed());
            pace.begin();
            last = pace.failed(long);
            bounds.push(pace.bound());
        }
        assert_eq!(bounds, [16, 4, 1]);
        let last = last.unwrap();
        let timeout = Duration::from_secs(15);
        assert_eq!(last, Overrun { records: 4, open: long, timeout, bound: 1 });
        assert!(last.advice().ends_with("takes fewer records"));
        pace.handed();
        pace.begin();
        pace.handed();
        let single = pace.failed(long).unwrap();
        assert_eq!((single.records, pace.bound()), (1, 1));
        assert!(single.advice().contains("raise kafka.options.\"transaction.timeout.ms\""));
    }

    proptest! {
        /// After any commits, at any speeds, what the bound allows takes no longer than the target
        /// at the speed that was seen last, unless one record does.
        #[test]
        fn the_drain_to_expect_stays_below_the_timeout(
            timeout_ms in 2000_u64..100_000,
            turns in prop::collection::vec(
                (1_u64..100_000, 0_u64..100_000_000, 0_u64..60_000, prop::bool::weighted(0.1)),
                1..60,
            ),
        ) {
            let mut pace = pace(timeout_ms);
            for (backlog, of_one_nanos, commit_ms, fails) in turns {
                let of_one = Duration::from_nanos(of_one_nanos);
                let before = pace.bound();
                turn(&mut pace, backlog, of_one, Duration::from_millis(commit_ms));
                prop_assert!((1..=2 * before).contains(&pace.bound()));
                let expected = of_one * u32::try_from(pace.bound()).unwrap();
                prop_assert!(expected <= pace.drain_target.max(of_one), "{expected:?} {pace:?}");
                prop_assert!(pace.drain_target * 4 <= Duration::from_millis(timeout_ms));
                if fails {
                    pace.failed(Duration::ZERO);
                    prop_assert!((1..=FIRST).contains(&pace.bound()));
                }
            }
        }

        /// Wherever it is, it comes to what the speed allows within a doubling for each commit.
        #[test]
        fn it_recovers(bad_ms in 1_u64..100_000, of_one_micros in 1_u64..100_000) {
            let mut pace = pace(15_000);
            turn(&mut pace, 1000, Duration::from_millis(bad_ms), Duration::ZERO);
            let of_one = Duration::from_micros(of_one_micros);
            for _ in 0..40 {
                turn(&mut pace, 1 << 30, of_one, Duration::from_millis(5));
            }
            let ideal = 1_750_000 / of_one_micros;
            prop_assert!((ideal.saturating_sub(1)..=ideal).contains(&pace.bound()), "{pace:?}");
        }
    }
}
