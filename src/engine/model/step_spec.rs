//! What a bundle says of its steps.
//!
//! Owns the on-disk shape of `step` in a manifest, which the trainer's configuration shares, and
//! the rules inside it. It is part of the bundle and not of the daemon's configuration, because a
//! model knows no other steps than those that it was trained with. Never makes a step.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::core::baseline::PERIOD_STEPS_MAX;
use crate::core::domain::{DurationNanos, UnixNanos};
use crate::core::step::{Calendar, CountBars, EmptyRule, StepRule, TimeBars};

const DAY_SECONDS: u32 = 86_400;

/// The longest bar of time.
const TIME_SECONDS_MAX: u32 = DAY_SECONDS;

/// The most bars of a symbol that lateness may hold open, besides the newest one; bounds the memory
/// per symbol.
const LATE_BARS_MAX: u32 = 63;

/// The most flat bars in a row: what a single tick may set free at once.
pub const CARRY_STEPS_MAX: u32 = 1024;

/// Two steps that lie no further apart than this belong to one window, where neither the bundle nor
/// the configuration says anything: so many steps, so that a model of days knows holidays, and so
/// long, so that a model of minutes knows weekends.
const GAP_STEPS: u32 = 10;
const GAP_SECONDS: u32 = 7 * 86_400;

/// The most ticks of a bar that is counted in ticks.
pub const TICKS_MAX: u32 = 1_000_000_000;

/// What one step is made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSpec {
    /// How ticks become steps.
    pub kind: StepKind,
    /// The length of one step in seconds: exact for `time`, nominal for the others, where it only
    /// serves to compute `target_time` and to tell how far apart two steps lie.
    pub interval_seconds: u32,
    /// `time`: bars begin at the epoch plus this plus a multiple of `interval_seconds`; below it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset_seconds: u32,
    /// `time`: how long a bar waits, in event time, for ticks that come late.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lateness_ms: u32,
    /// `time`: what becomes of an interval without ticks.
    #[serde(default, skip_serializing_if = "EmptySteps::is_skip")]
    pub empty: EmptySteps,
    /// `carry`: the most flat bars in a row.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub carry_steps_max: u32,
    /// `ticks`: how many make a step.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ticks_per_step: u32,
    /// Two steps of a symbol that lie further apart than so many intervals begin a cold window, as
    /// if the symbol were new; 0 for never. Left out: 10 steps or a week, whichever is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap_steps_max: Option<u32>,
    /// `volume`: how many units make a step.
    #[serde(default, skip_serializing_if = "is_none_at_all")]
    pub volume_per_step: f64,
    /// The days on which there are steps, where a step is a day; left out: every day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<CalendarSpec>,
}

/// The days on which there are steps: those of `record` by their UTC date, bars by that of their
/// beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarSpec {
    /// The days of the week that have steps.
    pub weekdays: Vec<Weekday>,
    /// Dates without steps, such as 2013-12-25.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holidays: Vec<String>,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// How ticks become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// Every tick is a step.
    Record,
    /// Ticks are gathered into bars of `interval_seconds`, aligned in event time.
    Time,
    /// Ticks are gathered into bars of `ticks_per_step`.
    Ticks,
    /// Ticks are gathered into bars of `volume_per_step`.
    Volume,
}

/// What becomes of an interval without ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptySteps {
    /// There is no step, and the next one stands behind a gap.
    #[default]
    Skip,
    /// The last close is carried as a flat bar, at most `carry_steps_max` times in a row.
    Carry,
}

/// A rule of [`StepSpec`] that is broken: the field, and why.
pub type StepProblem = (&'static str, String);

impl EmptySteps {
    fn is_skip(&self) -> bool {
        *self == Self::Skip
    }
}

impl StepSpec {
    /// Every tick is a step, nominally `interval_seconds` behind the one before.
    pub const fn record(interval_seconds: u32) -> Self {
        Self {
            kind: StepKind::Record,
            interval_seconds,
            offset_seconds: 0,
            lateness_ms: 0,
            empty: EmptySteps::Skip,
            carry_steps_max: 0,
            ticks_per_step: 0,
            volume_per_step: 0.0,
            gap_steps_max: None,
            calendar: None,
        }
    }

    /// Bars of `interval_seconds`, aligned to the epoch, none carried and none waiting.
    pub const fn time(interval_seconds: u32) -> Self {
        let mut spec = Self::record(interval_seconds);
        spec.kind = StepKind::Time;
        spec
    }

    /// The length of a step in event time, exact or nominal.
    pub(super) fn interval(&self) -> Option<DurationNanos> {
        DurationNanos::from_seconds(i64::from(self.interval_seconds))
    }

    /// How many intervals apart two steps of one window may lie; 0 for any distance.
    pub fn gap_steps(&self) -> u32 {
        let usual = || GAP_SECONDS.div_ceil(self.interval_seconds.max(1)).max(GAP_STEPS);
        self.gap_steps_max.unwrap_or_else(usual)
    }

    /// How far apart two steps of one window may lie; `None` for any distance.
    pub fn gap(&self) -> Option<DurationNanos> {
        let steps = Some(self.gap_steps()).filter(|steps| *steps > 0)?;
        self.interval()?.times(steps)
    }

    /// The same with as many intervals as `distance` needs, if it allows fewer.
    #[must_use]
    pub fn with_gap_of(self, distance: DurationNanos) -> Self {
        let interval = self.interval().map_or(1, DurationNanos::as_nanos).max(1);
        let steps = distance.as_nanos().max(0).div_euclid(interval);
        let steps = steps + i64::from(distance.as_nanos() % interval != 0);
        let steps = u32::try_from(steps).unwrap_or(u32::MAX).max(self.gap_steps());
        Self { gap_steps_max: Some(steps), ..self }
    }

    /// The days on which there are steps.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn calendar(&self) -> Result<Option<Arc<Calendar>>, String> {
        let Some(CalendarSpec { weekdays, holidays }) = &self.calendar else { return Ok(None) };
        if self.interval_seconds != DAY_SECONDS {
            return Err(format!("is for steps of {DAY_SECONDS} seconds only"));
        }
        if !matches!(self.kind, StepKind::Record | StepKind::Time) {
            return Err("is used where kind is `record` or `time` only".to_owned());
        }
        let days: Result<Vec<_>, _> = holidays
            .iter()
            .map(|text| day(text).ok_or_else(|| format!("holidays: `{text}` is no date")))
            .collect();
        let open = Weekday::ALL.map(|weekday| weekdays.contains(&weekday));
        let shift = if self.kind == StepKind::Time { DAY_SECONDS } else { 0 };
        let seconds = |count: u32| DurationNanos::from_seconds(i64::from(count));
        let (offset, shift) = (seconds(self.offset_seconds), seconds(shift));
        let zero = DurationNanos::ZERO;
        let calendar = Calendar::new(open, days?, offset.unwrap_or(zero), shift.unwrap_or(zero));
        calendar.map(|calendar| Some(Arc::new(calendar))).ok_or("weekdays: names none".to_owned())
    }

    /// After how many steps the same time of the week or of the day comes again, as far as the rule
    /// says so: a week of days, or of those that have steps, and a day of shorter steps. `said` is
    /// asked for instead, 0 for none. `None` also where that is longer than truths are remembered.
    pub fn period_steps(&self, said: Option<u32>) -> Option<u32> {
        let found = || {
            let is_regular = matches!(self.kind, StepKind::Record | StepKind::Time);
            match (self.interval_seconds, &self.calendar) {
                (DAY_SECONDS, Some(CalendarSpec { weekdays, .. })) => {
                    let open = Weekday::ALL.into_iter().filter(|day| weekdays.contains(day));
                    u32::try_from(open.count()).ok()
                }
                (DAY_SECONDS, None) => Some(7),
                (1..DAY_SECONDS, _) => Some(DAY_SECONDS / self.interval_seconds)
                    .filter(|steps| steps * self.interval_seconds == DAY_SECONDS),
                _ => None,
            }
            .filter(|_| is_regular)
        };
        said.or_else(found).filter(|steps| (1..=PERIOD_STEPS_MAX).contains(steps))
    }

    /// Whether the steps of another rule are those of this one. The calendar makes none: it says
    /// which to expect.
    pub fn makes_the_steps_of(&self, other: &Self) -> bool {
        let without = |spec: &Self| Self { calendar: None, ..spec.clone() };
        without(self) == without(other)
    }

    /// The rule in words, as `tickcast check` prints it.
    pub fn words(&self) -> String {
        let interval = interval_words(self.interval_seconds);
        let mut words = match self.kind {
            StepKind::Record => format!("every tick is a step, {interval} after the one before"),
            StepKind::Time => format!("bars of {interval}"),
            StepKind::Ticks => {
                format!("bars of {} ticks, about {interval} each", self.ticks_per_step)
            }
            StepKind::Volume => {
                format!("bars of {} units, about {interval} each", self.volume_per_step)
            }
        };
        if let Some(CalendarSpec { weekdays, holidays }) = &self.calendar {
            let names: Vec<_> = weekdays.iter().map(|weekday| weekday.label()).collect();
            words += &format!(", on {} but for {} holidays", names.join(" "), holidays.len());
        }
        words
    }

    /// How ticks become steps, for the pipeline.
    ///
    /// # Errors
    /// Every rule that is broken.
    pub fn rule(&self) -> Result<StepRule, Vec<StepProblem>> {
        let mut problems: Vec<StepProblem> = Vec::new();
        let mut check = |fits: bool, field, problem: String| {
            if !fits {
                problems.push((field, problem));
            }
        };
        let Self { kind, interval_seconds, offset_seconds, lateness_ms, empty, .. } = *self;
        let is_time = kind == StepKind::Time;
        let interval_max = if is_time { TIME_SECONDS_MAX } else { u32::MAX };
        check(
            (1..=interval_max).contains(&interval_seconds),
            "interval_seconds",
            format!("must be from 1 to {interval_max} where kind is `{}`", kind.label()),
        );
        for (field, is_used, of, is_set) in [
            ("offset_seconds", is_time, "kind is `time`", offset_seconds > 0),
            ("lateness_ms", is_time, "kind is `time`", lateness_ms > 0),
            ("empty", is_time, "kind is `time`", empty == EmptySteps::Carry),
            (
                "carry_steps_max",
                empty == EmptySteps::Carry,
                "empty is `carry`",
                self.carry_steps_max > 0,
            ),
            ("ticks_per_step", kind == StepKind::Ticks, "kind is `ticks`", self.ticks_per_step > 0),
            (
                "volume_per_step",
                kind == StepKind::Volume,
                "kind is `volume`",
                self.volume_per_step != 0.0,
            ),
        ] {
            check(is_used || !is_set, field, format!("is used where {of} only"));
        }
        check(
            !is_time || offset_seconds < interval_seconds.max(1),
            "offset_seconds",
            "must be below interval_seconds".to_owned(),
        );
        let lateness_max = u64::from(interval_seconds) * u64::from(LATE_BARS_MAX) * 1000;
        check(
            !is_time || u64::from(lateness_ms) <= lateness_max,
            "lateness_ms",
            format!("must be at most {LATE_BARS_MAX} times interval_seconds"),
        );
        check(
            empty == EmptySteps::Skip || (1..=CARRY_STEPS_MAX).contains(&self.carry_steps_max),
            "carry_steps_max",
            format!("must be from 1 to {CARRY_STEPS_MAX}"),
        );
        check(
            kind != StepKind::Ticks || (1..=TICKS_MAX).contains(&self.ticks_per_step),
            "ticks_per_step",
            format!("must be from 1 to {TICKS_MAX}"),
        );
        let units = self.volume_per_step;
        check(
            kind != StepKind::Volume || (units.is_finite() && units > 0.0),
            "volume_per_step",
            "must be above 0".to_owned(),
        );
        let calendar = self.calendar().unwrap_or_else(|problem| {
            problems.push(("calendar", problem));
            None
        });
        let interval = self.interval().unwrap_or(DurationNanos::ZERO);
        let offset = DurationNanos::from_seconds(i64::from(offset_seconds));
        let bars = TimeBars {
            interval,
            offset: offset.unwrap_or(DurationNanos::ZERO),
            lateness: DurationNanos::from_milliseconds(lateness_ms),
            empty: match empty {
                EmptySteps::Skip => EmptyRule::Skip,
                EmptySteps::Carry => EmptyRule::Carry { steps_max: self.carry_steps_max },
            },
            calendar,
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(match kind {
            StepKind::Record => StepRule::Record,
            StepKind::Time => StepRule::Time(bars),
            StepKind::Ticks => StepRule::Count(CountBars::Ticks(self.ticks_per_step)),
            StepKind::Volume => StepRule::Count(CountBars::Volume(units)),
        })
    }
}

impl Weekday {
    /// All of them, Monday first.
    pub const ALL: [Self; 7] = [
        Self::Monday,
        Self::Tuesday,
        Self::Wednesday,
        Self::Thursday,
        Self::Friday,
        Self::Saturday,
        Self::Sunday,
    ];

    /// The day as it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Monday => "monday",
            Self::Tuesday => "tuesday",
            Self::Wednesday => "wednesday",
            Self::Thursday => "thursday",
            Self::Friday => "friday",
            Self::Saturday => "saturday",
            Self::Sunday => "sunday",
        }
    }
}

/// The day of a date, counted from 1970-01-01.
fn day(text: &str) -> Option<i64> {
    let midnight = UnixNanos::parse(text).ok().filter(|_| text.len() == "2013-12-25".len())?;
    Some(midnight.as_nanos().div_euclid(1_000_000_000 * i64::from(DAY_SECONDS)))
}

/// A length of time as people say it.
pub fn interval_words(seconds: u32) -> String {
    let units = [(DAY_SECONDS, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let fits = |(length, _): &(u32, &str)| seconds >= *length && seconds.is_multiple_of(*length);
    match units.into_iter().find(fits) {
        Some((length, unit)) if seconds == length => format!("1 {unit}"),
        Some((length, unit)) => format!("{} {unit}s", seconds / length),
        None => format!("{seconds} seconds"),
    }
}

impl StepKind {
    /// The kind as it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Time => "time",
            Self::Ticks => "ticks",
            Self::Volume => "volume",
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none_at_all(units: &f64) -> bool {
    *units == 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "a specification is made for each call")]
    fn fields(spec: StepSpec) -> Vec<&'static str> {
        spec.rule().err().unwrap_or_default().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn a_plain_spec_is_written_as_it_always_was() {
        let text = r#"{"kind":"record","interval_seconds":86400}"#;
        assert_eq!(serde_json::to_string(&StepSpec::record(86_400)).unwrap(), text);
        assert_eq!(serde_json::from_str::<StepSpec>(text).unwrap(), StepSpec::record(86_400));
        let full = StepSpec {
            offset_seconds: 7,
            lateness_ms: 1500,
            empty: EmptySteps::Carry,
            carry_steps_max: 3,
            ..StepSpec::time(60)
        };
        let text = serde_json::to_string(&full).unwrap();
        assert_eq!(serde_json::from_str::<StepSpec>(&text).unwrap(), full);
        let expected = TimeBars {
            interval: DurationNanos::from_seconds(60).unwrap(),
            offset: DurationNanos::from_seconds(7).unwrap(),
            lateness: DurationNanos::from_milliseconds(1500),
            empty: EmptyRule::Carry { steps_max: 3 },
            calendar: None,
        };
        assert_eq!(full.rule(), Ok(StepRule::Time(expected)));
    }

    #[test]
    fn a_window_knows_holidays_and_weekends_unless_it_is_told_otherwise() {
        assert_eq!(StepSpec::record(86_400).gap_steps(), 10);
        assert_eq!(StepSpec::time(60).gap_steps(), 7 * 24 * 60);
        assert_eq!(StepSpec::time(60).gap(), DurationNanos::from_seconds(7 * 86_400));
        let never = StepSpec { gap_steps_max: Some(0), ..StepSpec::time(60) };
        assert_eq!(never.gap(), None);
        let days = |count| DurationNanos::from_seconds(86_400).unwrap().times(count).unwrap();
        let spec = StepSpec::record(86_400);
        assert_eq!(spec.clone().with_gap_of(days(3)).gap_steps_max, Some(10));
        assert_eq!(spec.clone().with_gap_of(days(61)).gap_steps_max, Some(61));
        let hour = DurationNanos::from_seconds(61 * 86_400 + 3600).unwrap();
        assert_eq!(spec.clone().with_gap_of(hour).gap_steps_max, Some(62));
    }

    #[test]
    fn a_rule_is_said_in_words() {
        let words = StepSpec::record(86_400).words();
        assert_eq!(words, "every tick is a step, 1 day after the one before");
        assert_eq!(StepSpec::time(300).words(), "bars of 5 minutes");
        let weekdays = vec![Weekday::Monday, Weekday::Friday];
        let calendar = Some(CalendarSpec { weekdays, holidays: vec!["2013-12-27".to_owned()] });
        let spec = StepSpec { calendar, ..StepSpec::time(86_400) };
        assert_eq!(spec.words(), "bars of 1 day, on monday friday but for 1 holidays");
    }

    #[test]
    fn a_calendar_is_written_and_checked() {
        let text = concat!(
            r#"{"kind":"record","interval_seconds":86400,"#,
            r#""calendar":{"weekdays":["monday"],"holidays":["2013-12-30"]}}"#
        );
        let spec: StepSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        assert!(spec.calendar().unwrap().is_some());
        assert!(spec.makes_the_steps_of(&StepSpec::record(86_400)));
        assert!(!spec.makes_the_steps_of(&StepSpec::time(86_400)));
        assert_eq!(fields(StepSpec { interval_seconds: 3600, ..spec.clone() }), ["calendar"]);
        let of = |weekdays, holidays: &str| StepSpec {
            calendar: Some(CalendarSpec { weekdays, holidays: vec![holidays.to_owned()] }),
            ..StepSpec::record(86_400)
        };
        assert_eq!(fields(of(Vec::new(), "2013-12-25")), ["calendar"]);
        for holiday in ["2013-02-30", "25.12.2013", "2013-12-25T10:00:00Z"] {
            assert_eq!(fields(of(vec![Weekday::Monday], holiday)), ["calendar"], "{holiday}");
        }
    }

    #[test]
    fn every_broken_rule_is_named_and_foreign_settings_are_refused() {
        let record = StepSpec::record(60);
        assert_eq!(fields(StepSpec::record(0)), ["interval_seconds"]);
        assert_eq!(fields(StepSpec::record(u32::MAX)), [""; 0]);
        assert_eq!(fields(StepSpec::time(86_401)), ["interval_seconds"]);
        let foreign = StepSpec {
            offset_seconds: 1,
            lateness_ms: 1,
            empty: EmptySteps::Carry,
            carry_steps_max: 1,
            ticks_per_step: 1,
            volume_per_step: 1.0,
            ..record.clone()
        };
        let expected =
            ["offset_seconds", "lateness_ms", "empty", "ticks_per_step", "volume_per_step"];
        assert_eq!(fields(foreign), expected);
        assert_eq!(fields(StepSpec { carry_steps_max: 1, ..record.clone() }), ["carry_steps_max"]);
        let bars = StepSpec::time(60);
        assert_eq!(fields(StepSpec { offset_seconds: 60, ..bars.clone() }), ["offset_seconds"]);
        let longest = StepSpec { lateness_ms: 63 * 60_000, ..bars.clone() };
        assert_eq!(fields(longest.clone()), [""; 0]);
        let longer = StepSpec { lateness_ms: longest.lateness_ms + 1, ..bars.clone() };
        assert_eq!(fields(longer), ["lateness_ms"]);
        assert_eq!(
            fields(StepSpec { empty: EmptySteps::Carry, ..bars.clone() }),
            ["carry_steps_max"]
        );
        let ticks = StepSpec { kind: StepKind::Ticks, ..record.clone() };
        assert_eq!(fields(ticks.clone()), ["ticks_per_step"]);
        assert_eq!(fields(StepSpec { ticks_per_step: 5, ..ticks.clone() }), [""; 0]);
        let volume = StepSpec { kind: StepKind::Volume, ..record.clone() };
        for units in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let spec = StepSpec { volume_per_step: units, ..volume.clone() };
            assert_eq!(fields(spec), ["volume_per_step"], "{units}");
        }
        assert_eq!(fields(StepSpec { volume_per_step: 0.5, ..volume.clone() }), [""; 0]);
    }
}
