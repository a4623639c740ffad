//! Whether a stream is refused as a whole, from counts that are handed in.
//!
//! Owns the rule. Promises that a burst of refused records is no finding, that one record which is
//! used ends it, and that the words name what an operator can look at. Never reads a clock.

use std::time::Duration;

use crate::core::domain::{Reject, RejectTally};

/// In how many looks, one after the other, records must be refused and none used. The shards look
/// once a second.
const LOOKS_MIN: u32 = 5;

/// In how many looks records must be unwanted, while there has been nothing else. A stream may have
/// many symbols, and the first tick of a wanted one may take its time.
const UNWANTED_LOOKS_MIN: u32 = 60;

/// From here on the times are ahead by more than a clock usually errs.
pub const CLOCK_ERROR_MAX: Duration = Duration::from_secs(86_400);

/// What became of the records of a stream since the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were used.
    pub used: u64,
    /// Those that were refused.
    pub refused: RejectTally,
    /// Those of symbols that no live model wants.
    pub unwanted: u64,
    /// Symbols that live models know now: of records that were used, or from rest.
    pub symbols: usize,
}

/// What becomes of the records of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reception {
    /// Some are used, or there are none.
    #[default]
    Used,
    /// All are refused.
    AllRefused {
        /// The reason of most of them.
        reason: Reject,
    },
    /// All there were so far are of symbols that no live model wants.
    NoneWanted,
}

/// The refusals since a record was last used.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    used: u64,
    /// The refusals when a record was last used, and now.
    before: RejectTally,
    now: RejectTally,
    /// Looks that found further refusals since then.
    looks: u32,
    unwanted: u64,
    /// Looks that found further unwanted records, as long as no other came.
    unwanted_looks: u32,
}

impl Refusals {
    /// Notes what became of the records; the counts of records only grow. To be called about once a
    /// second.
    pub fn note(&mut self, counts: Counts) -> Reception {
        let Counts { used, refused, unwanted, symbols } = counts;
        let is_unwanted = used == 0 && refused.total() == 0 && symbols == 0;
        if !is_unwanted {
            // Wanted symbols are there, and may be quiet while others trade.
            self.unwanted_looks = 0;
        } else if unwanted > self.unwanted {
            self.unwanted_looks += 1;
        }
        self.unwanted = unwanted;
        if used > self.used {
            self.used = used;
            self.before = refused.clone();
            self.looks = 0;
        } else if refused.total() > self.now.total() {
            self.looks += 1;
        }
        self.now = refused;
        self.reception()
    }

    /// What the newest look has found.
    fn reception(&self) -> Reception {
        if self.unwanted_looks >= UNWANTED_LOOKS_MIN {
            return Reception::NoneWanted;
        }
        if self.looks < LOOKS_MIN {
            return Reception::Used;
        }
        let since = |reason: Reject| self.now.get(reason).saturating_sub(self.before.get(reason));
        // The first of those with the most.
        let most = Reject::ALL.into_iter().rev().max_by_key(|reason| since(*reason));
        most.map_or(Reception::Used, |reason| Reception::AllRefused { reason })
    }
}

impl Reception {
    /// What the finding means and what to do, for people; `ahead` is the median of how far the
    /// times of the last records from the future were ahead of their reception, which `clock` has
    /// measured. `None` while records are used.
    pub fn problem(self, ahead: Option<Duration>, clock: &str) -> Option<String> {
        let reason = match self {
            Self::Used => return None,
            Self::NoneWanted => {
                return Some(
                    "every record is of a symbol that no live model wants: compare models.symbols \
                     with the names of the feed; tickcast_ticks_unwanted_total has the count"
                        .to_owned(),
                );
            }
            Self::AllRefused { reason } => reason,
        };
        let label = reason.label();
        Some(match (reason, ahead) {
            (Reject::InFuture, Some(ahead)) if ahead < CLOCK_ERROR_MAX => {
                let span = rounded(ahead);
                format!(
                    "every record is refused ({label}): {clock} is about {span} behind the ticks; \
                     check time synchronization"
                )
            }
            (Reject::InFuture, Some(ahead)) => {
                let days = ahead.as_secs() / 86_400;
                format!(
                    "every record is refused ({label}): the ticks are about {days} days ahead of \
                     {clock}; check source.time_unit and the clock"
                )
            }
            _ => format!(
                "every record is refused ({label}): the log has samples, \
                 tickcast_ticks_refused_total has the counts"
            ),
        })
    }
}

/// A span with two or three digits.
fn rounded(span: Duration) -> String {
    let seconds = span.as_secs_f64();
    match seconds {
        ..600.0 => format!("{seconds:.0} s"),
        ..36_000.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.0} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(counts: &[(Reject, u64)]) -> RejectTally {
        let mut tally = RejectTally::default();
        for (reason, count) in counts {
            (0..*count).for_each(|_| tally.add(*reason));
        }
        tally
    }

    fn future(count: u64) -> RejectTally {
        tally(&[(Reject::InFuture, count)])
    }

    fn note(refusals: &mut Refusals, used: u64, refused: RejectTally) -> Reception {
        refusals.note(Counts { used, refused, ..Counts::default() })
    }

    const ALL_IN_FUTURE: Reception = Reception::AllRefused { reason: Reject::InFuture };

    #[test]
    fn a_stream_is_refused_when_five_looks_in_a_row_find_refusals_alone() {
        let mut refusals = Refusals::default();
        for look in 1..5 {
            assert_eq!(note(&mut refusals, 0, future(look)), Reception::Used, "look {look}");
        }
        assert_eq!(note(&mut refusals, 0, future(5)), ALL_IN_FUTURE);
        assert_eq!(note(&mut refusals, 0, future(5)), ALL_IN_FUTURE, "nothing came since");
        assert_eq!(note(&mut refusals, 1, future(6)), Reception::Used, "one was used");
        assert_eq!(note(&mut refusals, 1, future(7)), Reception::Used);
    }

    #[test]
    fn a_burst_is_no_finding_and_neither_is_a_stream_that_is_refused_in_part() {
        let mut burst = Refusals::default();
        for _ in 0..100 {
            assert_eq!(note(&mut burst, 0, future(1_000_000)), Reception::Used);
        }
        let mut part = Refusals::default();
        for look in 1..100 {
            assert_eq!(note(&mut part, look, future(1000 * look)), Reception::Used);
        }
    }

    #[test]
    fn a_stream_of_unwanted_symbols_alone_is_a_finding_after_a_minute() {
        let of = |used: u64, refused: u64, unwanted: u64, symbols: usize| Counts {
            used,
            refused: future(refused),
            unwanted,
            symbols,
        };
        let mut refusals = Refusals::default();
        for look in 1..60 {
            assert_eq!(refusals.note(of(0, 0, look, 0)), Reception::Used, "look {look}");
            assert_eq!(refusals.note(of(0, 0, look, 0)), Reception::Used, "nothing came since");
        }
        assert_eq!(refusals.note(of(0, 0, 60, 0)), Reception::NoneWanted);
        assert_eq!(refusals.note(of(0, 0, 60, 0)), Reception::NoneWanted);
        let words = Reception::NoneWanted.problem(None, "").unwrap();
        assert!(words.starts_with("every record is of a symbol that no live model wants"));
        assert_eq!(refusals.note(of(1, 0, 90, 1)), Reception::Used, "one was used");
        // Wanted symbols are quiet for a night and others are not, also behind a restart.
        for look in 91..300 {
            assert_eq!(refusals.note(of(1, 0, look, 1)), Reception::Used);
            assert_eq!(refusals.note(of(1, 0, look, 0)), Reception::Used, "they have left");
        }
        let mut restored = Refusals::default();
        let mut refused = Refusals::default();
        for look in 1..100 {
            assert_eq!(restored.note(of(0, 0, look, 7)), Reception::Used);
            let found = refused.note(of(0, look, 2 * look, 0));
            assert_eq!(found != Reception::Used, look >= 5);
            assert_ne!(found, Reception::NoneWanted, "the wanted ones are refused");
        }
    }

    #[test]
    fn the_reason_is_that_of_most_refusals_since_a_record_was_used() {
        let mut refusals = Refusals::default();
        let counts =
            |late, missing| tally(&[(Reject::Late, late), (Reject::MissingField, missing)]);
        note(&mut refusals, 7, counts(1000, 0));
        let mut found = Reception::Used;
        for look in 1..=5 {
            found = note(&mut refusals, 7, counts(1000 + look, 2 * look));
        }
        assert_eq!(found, Reception::AllRefused { reason: Reject::MissingField });
    }

    #[test]
    fn the_words_name_what_to_look_at() {
        let words = |ahead: Option<u64>| {
            let ahead = ahead.map(Duration::from_secs);
            ALL_IN_FUTURE.problem(ahead, "the host clock").unwrap_or_default()
        };
        let clock = |span: &str| {
            format!(
                "every record is refused (in_future): the host clock is about {span} behind the \
                 ticks; check time synchronization"
            )
        };
        assert_eq!(words(Some(90)), clock("90 s"));
        assert_eq!(words(Some(3600)), clock("60 min"));
        assert_eq!(words(Some(36_000)), clock("10 h"));
        assert!(words(Some(90 * 86_400)).contains("about 90 days ahead of the host clock"));
        assert!(words(None).ends_with("tickcast_ticks_refused_total has the counts"));
        let malformed = Reception::AllRefused { reason: Reject::Malformed };
        let words = malformed.problem(Some(Duration::from_secs(90)), "the host clock").unwrap();
        assert!(words.starts_with("every record is refused (malformed)"), "{words}");
        assert_eq!(Reception::Used.problem(None, ""), None);
    }

    proptest! {
        /// Whatever the counts are, a finding needs five looks with refusals behind the last record
        /// that was used, and is there after them.
        #[test]
        fn a_finding_follows_from_the_looks_since_a_record_was_used(
            looks in proptest::collection::vec((0u64..2, 0u64..3), 1..100),
        ) {
            let (mut refusals, mut used, mut refused, mut streak) = (Refusals::default(), 0, 0, 0);
            for (more_used, more_refused) in looks {
                used += more_used;
                refused += more_refused;
                streak = match (more_used, more_refused) {
                    (1.., _) => 0,
                    (0, 0) => streak,
                    (0, 1..) => streak + 1,
                };
                let found = note(&mut refusals, used, future(refused));
                prop_assert_eq!(found != Reception::Used, streak >= 5);
            }
        }
    }
}
