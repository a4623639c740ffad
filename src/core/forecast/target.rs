//! What a model can forecast, and what then came true.
//!
//! Owns the meaning of every target: its unit, the values it can take, the price it implies, its
//! truth and the naive forecast beside it. The trainer makes its labels here and a scorer its
//! truths, so that a model is judged by what it was taught.
//!
//! Promises: pure functions of two steps; labels begin with `next_`, as no feature does.
//!
//! Never: scales, and never looks at a forecast.

use thiserror::Error;

use super::Possible;
use crate::core::domain::{Field, Fields, Schema};

/// What a model forecasts for the step `h` steps after step `t`. The price of a step is its close,
/// or its `price` where it has no close.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// The change of the price as a fraction: `price[t + h] / price[t] - 1`.
    NextReturn,
    /// The natural logarithm of the ratio of the prices: `ln(price[t + h] / price[t])`.
    NextLogReturn,
    /// The probability, 0 to 1, that `price[t + h] > price[t]`; an equal price is no rise.
    NextDirection,
    /// The size of the change, whichever way, as a fraction: `|price[t + h] / price[t] - 1|`.
    NextVolatility,
    /// `field[t + h]`, in the field's own unit.
    NextValue {
        /// The field.
        field: String,
    },
    /// The probability, 0 to 1, that `field[t + h] > above`.
    NextEvent {
        /// The field.
        field: String,
        /// The threshold, in the field's own unit.
        above: f64,
    },
}

/// Why there is no such target, or none on this stream.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("target.{part}: {problem}")]
pub struct TargetError {
    /// The part at fault: `kind`, `field` or `above`.
    pub part: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// A target resolved to the columns of a stream: what comes true, step by step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Truth(Rule);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Return,
    LogReturn,
    Direction,
    Volatility,
    Value(Field),
    Event(Field, f64),
}

/// The names of all targets.
pub const TARGET_KINDS: [&str; 6] = [
    "next_return",
    "next_log_return",
    "next_direction",
    "next_volatility",
    "next_value",
    "next_event",
];

impl TargetError {
    fn new(part: &'static str, problem: impl Into<String>) -> Self {
        Self { part, problem: problem.into() }
    }
}

impl Target {
    /// A target from its parts as they are written down.
    ///
    /// # Errors
    /// [`TargetError`] for an unknown kind, and for a part that the kind needs or does not have.
    pub fn from_parts(
        kind: &str,
        field: Option<String>,
        above: Option<f64>,
    ) -> Result<Self, TargetError> {
        let missing = |part| move || TargetError::new(part, format!("`{kind}` needs it"));
        let surplus = |part| TargetError::new(part, format!("`{kind}` has none"));
        let has_field = field.is_some();
        let target = match kind {
            "next_return" => Self::NextReturn,
            "next_log_return" => Self::NextLogReturn,
            "next_direction" => Self::NextDirection,
            "next_volatility" => Self::NextVolatility,
            "next_value" => Self::NextValue { field: field.ok_or_else(missing("field"))? },
            "next_event" => Self::NextEvent {
                field: field.ok_or_else(missing("field"))?,
                above: above.ok_or_else(missing("above"))?,
            },
            _ => {
                let known = TARGET_KINDS.map(|kind| format!("`{kind}`")).join(", ");
                return Err(TargetError::new("kind", format!("`{kind}` is none of {known}")));
            }
        };
        if has_field && target.field().is_none() {
            return Err(surplus("field"));
        }
        if above.is_some() && !matches!(target, Self::NextEvent { .. }) {
            return Err(surplus("above"));
        }
        Ok(target)
    }

    /// The field that the target is about; `None` where it is the price.
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::NextValue { field } | Self::NextEvent { field, .. } => Some(field),
            Self::NextReturn | Self::NextLogReturn | Self::NextDirection | Self::NextVolatility => {
                None
            }
        }
    }

    /// The target's name, which is the name of the label and never that of a feature.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NextReturn => "next_return",
            Self::NextLogReturn => "next_log_return",
            Self::NextDirection => "next_direction",
            Self::NextVolatility => "next_volatility",
            Self::NextValue { .. } => "next_value",
            Self::NextEvent { .. } => "next_event",
        }
    }

    /// Whether the value is a probability, and the truth 0 or 1.
    pub const fn is_probability(&self) -> bool {
        matches!(self, Self::NextDirection | Self::NextEvent { .. })
    }

    /// The values that a forecast can have and a truth can take.
    pub fn possible(&self) -> Possible {
        let at_least = |least| Possible { least, greatest: f64::INFINITY };
        match self {
            Self::NextDirection | Self::NextEvent { .. } => Possible { least: 0.0, greatest: 1.0 },
            Self::NextVolatility => at_least(0.0),
            // A price is above zero, so more than everything cannot be lost.
            Self::NextReturn => at_least(-1.0),
            // The logarithm of losing everything is minus infinity.
            Self::NextLogReturn => at_least(f64::NEG_INFINITY),
            Self::NextValue { field } => at_least(Field::least(field)),
        }
    }

    /// The price that a forecast implies: for a return from the newest price, and for the value of
    /// `close` or `price` that value. Other targets imply none.
    pub fn price(&self, value: f64, last_price: Option<f64>) -> Option<f64> {
        match self {
            Self::NextReturn => last_price.map(|price| price * (1.0 + value)),
            Self::NextLogReturn => last_price.map(|price| price * libm::exp(value)),
            Self::NextValue { field } => {
                matches!(field.as_str(), "close" | "price").then_some(value)
            }
            Self::NextDirection | Self::NextVolatility | Self::NextEvent { .. } => None,
        }
    }

    /// Finds the target's columns.
    ///
    /// # Errors
    /// [`TargetError`] where the stream has no such field or the threshold is not finite.
    pub fn truth(&self, schema: &Schema) -> Result<Truth, TargetError> {
        let find = |name: &String| {
            schema.field(name).ok_or_else(|| {
                let problem = "is neither a standard field nor listed in extra_fields";
                TargetError::new("field", format!("`{name}` {problem}"))
            })
        };
        Ok(Truth(match self {
            Self::NextReturn => Rule::Return,
            Self::NextLogReturn => Rule::LogReturn,
            Self::NextDirection => Rule::Direction,
            Self::NextVolatility => Rule::Volatility,
            Self::NextValue { field } => Rule::Value(find(field)?),
            Self::NextEvent { above, .. } if !above.is_finite() => {
                return Err(TargetError::new("above", "must be a finite number"));
            }
            Self::NextEvent { field, above } => Rule::Event(find(field)?, *above),
        }))
    }
}

impl Truth {
    /// What came true between step `t` and step `t + h`; `None` where a field is absent.
    /// Probabilities come true as 0 or 1.
    pub fn between(&self, now: &Fields, later: &Fields) -> Option<f64> {
        self.between_readings(self.reading(now), self.reading(later))
    }

    /// The naive forecast at step `t`, that nothing changes: the price stays for a return, and
    /// otherwise what came true between step `t - h` (`before`) and step `t` comes true again.
    pub fn persistence(&self, before: &Fields, now: &Fields) -> Option<f64> {
        self.persistence_of_readings(self.reading(before), self.reading(now))
    }

    /// The one number of a step that truths are made of: its price, or the target's own field.
    /// Whoever has to wait for a truth keeps this instead of the step.
    pub fn reading(&self, step: &Fields) -> Option<f64> {
        match self.0 {
            Rule::Return | Rule::LogReturn | Rule::Direction | Rule::Volatility => step.price(),
            Rule::Value(field) | Rule::Event(field, _) => step.read(field),
        }
    }

    /// As [`Truth::between`], of the readings of the two steps.
    pub fn between_readings(&self, now: Option<f64>, later: Option<f64>) -> Option<f64> {
        let change = || Some(later? / now? - 1.0);
        let flag = |flag: bool| if flag { 1.0 } else { 0.0 };
        match self.0 {
            Rule::Return => change(),
            Rule::LogReturn => Some(libm::log(later? / now?)),
            Rule::Direction => Some(flag(later? > now?)),
            Rule::Volatility => change().map(f64::abs),
            Rule::Value(_) => later,
            Rule::Event(_, above) => later.map(|value| flag(value > above)),
        }
    }

    /// As [`Truth::persistence`], of the readings of the two steps.
    pub fn persistence_of_readings(&self, before: Option<f64>, now: Option<f64>) -> Option<f64> {
        match self.0 {
            Rule::Return | Rule::LogReturn => Some(0.0),
            _ => self.between_readings(before, now),
        }
    }
}

#[cfg(test)]
impl Target {
    /// Every target; those of a field are about this one.
    pub(crate) fn all(field: &str, above: f64) -> [Self; TARGET_KINDS.len()] {
        let field = field.to_owned();
        [
            Self::NextReturn,
            Self::NextLogReturn,
            Self::NextDirection,
            Self::NextVolatility,
            Self::NextValue { field: field.clone() },
            Self::NextEvent { field, above },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> [Target; TARGET_KINDS.len()] {
        Target::all("rain", 0.5)
    }

    fn schema() -> Schema {
        Schema::new(["rain"]).unwrap()
    }

    fn step(close: f64, rain: f64) -> Fields {
        let mut fields = Fields::EMPTY;
        fields.set_checked(Field::CLOSE, close).unwrap();
        fields.set_checked(schema().field("rain").unwrap(), rain).unwrap();
        fields
    }

    #[test]
    fn truths_and_naive_forecasts_have_their_hand_computed_values() {
        let (before, now, later) = (step(80.0, 1.5), step(100.0, 0.25), step(75.0, 2.0));
        let truths: Vec<_> = targets().iter().map(|t| t.truth(&schema()).unwrap()).collect();
        let values = |f: &dyn Fn(&Truth) -> f64| truths.iter().map(f).collect::<Vec<_>>();
        let (fall, rise) = (0.75_f64.ln(), 1.25_f64.ln());
        let came = values(&|t| t.between(&now, &later).unwrap());
        assert_eq!(came, [-0.25, fall, 0.0, 0.25, 2.0, 1.0]);
        let came = values(&|t| t.between(&before, &now).unwrap());
        assert_eq!(came, [0.25, rise, 1.0, 0.25, 0.25, 0.0]);
        let naive = values(&|t| t.persistence(&before, &now).unwrap());
        assert_eq!(naive, [0.0, 0.0, 1.0, 0.25, 0.25, 0.0]);
    }

    #[test]
    fn an_equal_price_is_no_rise_and_the_threshold_itself_no_event() {
        let step = step(100.0, 0.5);
        let [_, _, direction, _, _, event] = targets();
        for target in [direction, event] {
            let truth = target.truth(&schema()).unwrap();
            assert_eq!(truth.between(&step, &step), Some(0.0), "{}", target.label());
        }
    }

    #[test]
    fn absent_fields_have_no_truth() {
        for target in targets() {
            let truth = target.truth(&schema()).unwrap();
            assert_eq!(truth.between(&step(1.0, 1.0), &Fields::EMPTY), None, "{}", target.label());
        }
    }

    #[test]
    fn unknown_fields_and_thresholds_that_are_no_numbers_are_refused() {
        let none = Schema::new([]).unwrap();
        let [_, _, _, _, value, event] = targets();
        for target in [value, event] {
            assert_eq!(target.truth(&none).unwrap_err().part, "field");
        }
        let broken = Target::NextEvent { field: "rain".into(), above: f64::NAN };
        assert_eq!(broken.truth(&schema()).unwrap_err().part, "above");
    }

    #[test]
    fn prices_follow_where_they_have_a_meaning() {
        let prices = targets().map(|target| target.price(0.5, Some(200.0)));
        let compounded = Some(200.0 * libm::exp(0.5));
        assert_eq!(prices, [Some(300.0), compounded, None, None, None, None]);
        let close = Target::NextValue { field: "close".into() };
        assert_eq!(close.price(210.0, None), Some(210.0));
        assert_eq!(Target::NextReturn.price(0.5, None), None);
        assert_eq!(Target::NextLogReturn.price(0.5, None), None);
    }

    #[test]
    fn the_price_of_a_log_return_is_the_price_that_comes_true() {
        let truth = Target::NextLogReturn.truth(&schema()).unwrap();
        for (now, later) in [(80.0, 100.0), (100.0, 1e-9), (1e-6, 4e7), (0.3, 0.3)] {
            let value = truth.between(&step(now, 0.0), &step(later, 0.0)).unwrap();
            let price = Target::NextLogReturn.price(value, Some(now)).unwrap();
            assert!((price / later - 1.0).abs() < 1e-14, "{now} to {later}: {price}");
        }
    }

    #[test]
    fn parts_make_the_target_they_are_of_and_no_other() {
        for target in targets() {
            let above = matches!(target, Target::NextEvent { .. }).then_some(0.5);
            let field = target.field().map(str::to_owned);
            let parts = |field, above| Target::from_parts(target.label(), field, above);
            assert_eq!(parts(field.clone(), above), Ok(target.clone()));
            if field.is_some() {
                assert_eq!(parts(None, above).unwrap_err().part, "field");
            } else {
                assert_eq!(parts(Some("rain".into()), above).unwrap_err().part, "field");
            }
            let other = if above.is_some() { None } else { Some(1.0) };
            assert_eq!(parts(field, other).unwrap_err().part, "above", "{}", target.label());
        }
        assert_eq!(targets().map(|target| target.label()), TARGET_KINDS);
        assert_eq!(Target::from_parts("next_week", None, None).unwrap_err().part, "kind");
    }

    #[test]
    fn every_label_says_that_it_is_of_the_future() {
        assert!(targets().iter().all(|target| target.label().starts_with("next_")));
    }
}
