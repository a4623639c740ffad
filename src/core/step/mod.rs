//! From ticks to steps, per symbol: records as they come, or bars of time, ticks or volume.
//!
//! Owns the order of event time within a symbol. Promises that the times of a symbol's steps rise
//! strictly, and that a bar is closed by data alone, never by a clock. Never invents a step by
//! accident: an interval in which nothing came is passed over, and marks the next step as standing
//! behind a gap, unless the rule carries it, and then it says so itself.
//!
//! | module | owns |
//! |---|---|
//! | `cadence` | whether steps are as far apart as those of the model |
//! | `calendar` | the days on which there are steps |
//! | `bar` | open, high, low, close, volume and the last of every other field |
//! | `time` | bars of equal length: which are open, when each closes, what empty ones become |
//! | `count` | bars of so many ticks or units |

mod bar;
mod cadence;
mod calendar;
mod count;
#[cfg(test)]
mod tests;
mod time;

use serde::{Deserialize, Serialize};

use self::count::CountState;
use self::time::TimeState;
use crate::core::domain::{Field, Fields, Reject, Step, UnixNanos};
use crate::core::history::Span;

pub use self::cadence::{Cadence, CadenceRule};
pub use self::calendar::Calendar;
pub use self::count::CountBars;
pub use self::time::{EmptyRule, TimeBars};

/// How ticks become steps: shared and immutable.
#[derive(Clone, Debug, PartialEq)]
pub enum StepRule {
    /// Every tick is a step.
    Record,
    /// Bars of equal length in event time.
    Time(TimeBars),
    /// Bars of so many ticks or units.
    Count(CountBars),
}

/// The step state of one symbol: small and serialisable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Time of the newest step.
    newest: Option<UnixNanos>,
    /// What the next step takes on besides its own marks.
    marks: Marks,
    bars: Bars,
}

/// What is known of a step beside its values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Marks {
    after_gap: bool,
    patched: bool,
    /// A record before has handed its gap on, which lies before it and not behind it. It is not
    /// stored, because a gap follows a restart.
    #[serde(skip)]
    is_handed_on: bool,
}

/// The bars in the making. Records have none, and a symbol of them pays for none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Bars {
    #[default]
    None,
    Time(Box<TimeState>),
    Count(Box<CountState>),
}

impl StepRule {
    /// The fields that every tick must carry, given those that every step must have: bars make
    /// their extremes out of prices.
    pub fn required(&self, of_steps: &[Field]) -> Vec<Field> {
        let is_record = *self == Self::Record;
        let made = |field: &Field| match *field {
            Field::OPEN | Field::HIGH | Field::LOW if !is_record => Field::CLOSE,
            field => field,
        };
        let mut of_ticks: Vec<_> = of_steps.iter().map(made).collect();
        if !is_record {
            of_ticks.push(Field::CLOSE);
        }
        if matches!(self, Self::Count(CountBars::Volume(_))) {
            of_ticks.push(Field::VOLUME);
        }
        of_ticks.sort_unstable();
        of_ticks.dedup();
        of_ticks
    }
}

impl StepRule {
    /// The end of the bar of equal length that holds an instant.
    pub fn bar_end(&self, time: UnixNanos) -> Option<UnixNanos> {
        match self {
            Self::Time(rule) => rule.bounds(time).ok().map(|(_, end)| end),
            Self::Record | Self::Count(_) => None,
        }
    }
}

impl StepState {
    /// Notes that data of this symbol may be missing between the newest tick and the next one.
    pub fn mark_gap(&mut self) {
        match &mut self.bars {
            Bars::None => self.marks.after_gap = true,
            Bars::Time(bars) => bars.mark_gap(),
            Bars::Count(bars) => bars.mark_gap(),
        }
    }

    /// Whether a mark waits for the next newer tick: ticks may be missing before it.
    pub fn has_gap(&self) -> bool {
        match &self.bars {
            Bars::None => self.marks.after_gap,
            Bars::Time(bars) => bars.has_gap(),
            Bars::Count(bars) => bars.has_gap(),
        }
    }

    /// Hands the marks of a step that makes no row of its own on to the next one.
    pub fn hand_on(&mut self, step: &Step) {
        self.marks.after_gap |= step.after_gap;
        self.marks.patched |= step.patched;
        // A bar knows by its place which gap is its own.
        self.marks.is_handed_on |= step.after_gap && matches!(self.bars, Bars::None);
    }

    /// Notes that the newest step is lost, so that the next one stands behind a gap.
    pub fn mark_lost(&mut self) {
        self.marks.after_gap = true;
    }

    /// Notes that the newest step lacks ticks, where rows of history follow it: the step behind it
    /// follows from a wrong one, and an interval without ticks does not carry it.
    pub fn doubt_newest(&mut self) {
        self.marks.after_gap = true;
        if let Bars::Time(bars) = &mut self.bars {
            bars.carry_nothing();
        }
    }

    /// What would be missing before a tick of this time: the stretch in which bars that can still
    /// take ticks may lack some, up to the bar of the tick; for records, what lies between the
    /// newest one and this one. `after_gap` says that ticks may be missing right before this one.
    ///
    /// Only known doubt asks: an interval in which nothing came is no doubt. Bars of ticks or
    /// volume have no place that rows could fill.
    pub fn missing(&self, rule: &StepRule, time: UnixNanos, after_gap: bool) -> Option<Span> {
        match (&self.bars, rule) {
            (Bars::Time(bars), StepRule::Time(rule)) => {
                bars.missing(rule, self.newest, time, after_gap)
            }
            (Bars::None, StepRule::Record) => {
                let is_after_gap = self.marks.after_gap && !self.marks.is_handed_on;
                let newest = self.newest.filter(|_| is_after_gap || after_gap)?;
                let from = UnixNanos::from_nanos(newest.as_nanos().checked_add(1)?);
                let span = Span { from, to: time };
                (!span.is_empty()).then_some(span)
            }
            _ => None,
        }
    }

    /// Drops what a stretch that is missing has left behind, so that rows of history make it out
    /// of nothing. All of them follow, then [`StepState::filled`], then the tick that asked.
    pub fn rewind(&mut self, span: Span) {
        match &mut self.bars {
            Bars::None => self.marks.after_gap &= self.marks.is_handed_on,
            Bars::Time(bars) => bars.rewind(span),
            Bars::Count(_) => {}
        }
    }

    /// Notes that all rows of a stretch are in, before the tick that asked for them, with what was
    /// said of it: its own bar may lack ticks before it. A record follows the rows right away.
    pub fn filled(&mut self, after_gap: bool) {
        if let Bars::Time(bars) = &mut self.bars {
            bars.filled(after_gap);
        }
    }

    /// Notes that history has all ticks before an instant, which [`StepState::rewind`] does too:
    /// a gap behind it puts no bar before it in doubt.
    pub fn cover_until(&mut self, until: UnixNanos) {
        if let Bars::Time(bars) = &mut self.bars {
            bars.cover_until(until);
        }
    }

    /// Up to where history has all ticks: an older one is in the bars already.
    pub fn covered_until(&self) -> Option<UnixNanos> {
        match &self.bars {
            Bars::Time(bars) => bars.covered_until(),
            Bars::None | Bars::Count(_) => None,
        }
    }

    /// Time of the newest step.
    pub fn newest(&self) -> Option<UnixNanos> {
        self.newest
    }

    /// Event time of the newest tick.
    pub fn head(&self) -> Option<UnixNanos> {
        match &self.bars {
            Bars::None => self.newest,
            Bars::Time(bars) => Some(bars.head()),
            Bars::Count(bars) => Some(bars.head()),
        }
    }

    /// Whether this is a state of `rule`: one from rest may belong to another.
    pub fn fits(&self, rule: &StepRule) -> bool {
        match (&self.bars, rule) {
            // Bars begin with the first tick.
            (Bars::None, StepRule::Time(_) | StepRule::Count(_)) => self.newest.is_none(),
            (Bars::None, StepRule::Record)
            | (Bars::Time(_), StepRule::Time(_))
            | (Bars::Count(_), StepRule::Count(_)) => true,
            (Bars::Time(_) | Bars::Count(_), _) => false,
        }
    }

    /// Takes one tick and returns the first step that it completes, if any; a tick that completes
    /// more leaves them to [`StepState::pop`], which must be asked until it has none.
    ///
    /// # Errors
    /// The tick then has no effect. [`Reject::Duplicate`] or [`Reject::OutOfOrder`] for a record at
    /// or before the newest one, [`Reject::OutOfOrder`] for a tick before the newest one where bars
    /// are counted, [`Reject::Late`] where its bar of time is closed, [`Reject::MissingField`]
    /// for a tick without a price where bars are built, and [`Reject::InvalidTime`] where its bar
    /// leaves the representable range.
    pub fn push(
        &mut self,
        rule: &StepRule,
        time: UnixNanos,
        fields: &Fields,
    ) -> Result<Option<Step>, Reject> {
        if *rule == StepRule::Record {
            self.check_record(time)?;
            let step = Step { time, fields: *fields, after_gap: false, patched: false };
            return Ok(Some(self.complete(step)));
        }
        let price = fields.price().ok_or(Reject::MissingField)?;
        match (&mut self.bars, rule) {
            (Bars::Time(bars), StepRule::Time(rule)) => bars.push(rule, time, price, fields)?,
            (Bars::Count(bars), StepRule::Count(_)) => bars.push(time, price, fields)?,
            (bars, StepRule::Time(rule)) => {
                *bars = Bars::Time(Box::new(TimeState::begin(rule, time, price, fields)?));
            }
            (bars, _) => *bars = Bars::Count(Box::new(CountState::begin(time, price, fields))),
        }
        Ok(self.pop(rule))
    }

    /// The next step that the ticks taken so far have completed.
    pub fn pop(&mut self, rule: &StepRule) -> Option<Step> {
        let step = match (&mut self.bars, rule) {
            (Bars::Time(bars), StepRule::Time(rule)) => bars.pop(rule, self.newest),
            (Bars::Count(bars), StepRule::Count(rule)) => bars.pop(*rule, self.newest),
            _ => None,
        }?;
        Some(self.complete(step))
    }

    /// Whether [`StepState::pop`] has a step.
    pub fn is_due(&self, rule: &StepRule) -> bool {
        match (&self.bars, rule) {
            (Bars::Time(bars), StepRule::Time(rule)) => bars.is_due(rule, self.newest),
            // A tick completes at most one bar, which its own push has given.
            _ => false,
        }
    }

    /// Whether a record of this time may follow the newest one.
    ///
    /// # Errors
    /// [`Reject::Duplicate`] or [`Reject::OutOfOrder`].
    pub fn check_record(&self, time: UnixNanos) -> Result<(), Reject> {
        match self.newest {
            Some(newest) if time == newest => Err(Reject::Duplicate),
            Some(newest) if time < newest => Err(Reject::OutOfOrder),
            _ => Ok(()),
        }
    }

    /// Makes a step the newest one.
    fn complete(&mut self, mut step: Step) -> Step {
        self.newest = Some(step.time);
        let marks = std::mem::take(&mut self.marks);
        step.after_gap |= marks.after_gap;
        step.patched |= marks.patched;
        step
    }
}
