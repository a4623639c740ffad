//! How far back a topic is read to warm symbols: the value of `kafka.history`.
//!
//! Owns its words and what they mean for the models that run. Never asks a cluster.

use std::fmt;

use crate::core::history::HistoryNeed;
use crate::ports::section::{Section, seconds_of};

/// The most steps that the configuration may ask for.
const STEPS_MAX: u32 = 1_000_000;

/// The longest time that it may ask for: a century.
const SECONDS_MAX: i64 = 100 * 366 * 86_400;

/// How far back a partition without stored states is read before its first live record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TopicHistory {
    /// Not at all: its symbols begin cold.
    #[default]
    Off,
    /// As far as the models need for a whole window.
    Auto,
    /// So many steps of the model that needs the longest stretch.
    Steps(u32),
    /// So many seconds, by the timestamps of the records.
    Seconds(i64),
}

impl TopicHistory {
    /// The value of a text; `None` where it means nothing.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "off" => return Some(Self::Off),
            "auto" => return Some(Self::Auto),
            _ => {}
        }
        if let Some(count) = text.strip_suffix(" steps").or_else(|| text.strip_suffix(" step")) {
            let count = Some(count).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let count = count.and_then(|text| text.parse().ok());
            return count.filter(|count| (1..=STEPS_MAX).contains(count)).map(Self::Steps);
        }
        let seconds = seconds_of(text).filter(|seconds| (1..=SECONDS_MAX).contains(seconds));
        seconds.map(Self::Seconds)
    }

    /// Reads the key `history` of a section.
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let text = section.text("history");
        Self::parse(&text).unwrap_or_else(|| {
            let problem = "is none of \"off\", \"auto\", a number of steps such as \"30 steps\", \
                           and a whole number with s, m, h or d such as \"36h\"";
            section.problem("history", format_args!("`{text}` {problem}"));
            Self::Off
        })
    }

    /// Whether anything is read.
    pub fn is_on(self) -> bool {
        self != Self::Off
    }

    /// How long the stretch is that is read, in milliseconds, for models with this need; `None`
    /// where nothing is.
    pub fn span_ms(self, need: &HistoryNeed) -> Option<i64> {
        match self {
            Self::Off => None,
            Self::Auto => Some(scaled_ms(need, need.steps)),
            Self::Steps(steps) => Some(scaled_ms(need, steps)),
            Self::Seconds(seconds) => Some(seconds.saturating_mul(1000)),
        }
    }

    /// How many steps a window lacks behind this history, where its length is a number of steps
    /// and it lacks any.
    pub fn lacks(self, need: &HistoryNeed) -> Option<u32> {
        let Self::Steps(steps) = self else { return None };
        need.steps.checked_sub(steps).filter(|lacking| *lacking > 0)
    }
}

/// How long so many steps take, by the time of those that are needed; never less.
fn scaled_ms(need: &HistoryNeed, steps: u32) -> i64 {
    let (span, of_need) = (i128::from(need.span.as_nanos()), i128::from(need.steps.max(1)));
    let nanos = span * i128::from(steps.max(1)) / of_need;
    i64::try_from(nanos / 1_000_000 + 1).unwrap_or(i64::MAX)
}

impl fmt::Display for TopicHistory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("none"),
            Self::Auto => formatter.write_str("as far back as the models need"),
            Self::Steps(1) => formatter.write_str("1 step"),
            Self::Steps(steps) => write!(formatter, "{steps} steps"),
            Self::Seconds(seconds) => write!(formatter, "{seconds} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::domain::DurationNanos;

    #[test]
    fn a_history_is_a_word_a_number_of_steps_or_a_time() {
        use TopicHistory::{Auto, Off, Seconds, Steps};
        for (text, value) in [
            ("off", Off),
            ("auto", Auto),
            ("1 step", Steps(1)),
            ("30 steps", Steps(30)),
            ("1000000 steps", Steps(1_000_000)),
            ("90s", Seconds(90)),
            ("15m", Seconds(900)),
            ("36h", Seconds(129_600)),
            ("7d", Seconds(604_800)),
        ] {
            assert_eq!(TopicHistory::parse(text), Some(value), "{text}");
            assert_eq!(value.is_on(), text != "off", "{text}");
        }
        for text in [
            "",
            "on",
            "30",
            "0 steps",
            "-1 steps",
            "+1 steps",
            "1000001 steps",
            "30steps",
            " steps",
            "0h",
            "-1h",
            "1.5h",
            "36 h",
            "h",
            "9999999999d",
            "Auto",
        ] {
            assert_eq!(TopicHistory::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_number_of_steps_takes_its_share_of_the_time_that_the_models_need() {
        let span = DurationNanos::from_seconds(52 * 60).unwrap();
        let need = HistoryNeed { steps: 51, span, rows: None };
        let ms = |history: TopicHistory| history.span_ms(&need);
        let of_need = 52 * 60_000 + 1;
        assert_eq!(ms(TopicHistory::Off), None);
        assert_eq!(ms(TopicHistory::Auto), Some(of_need));
        assert_eq!(ms(TopicHistory::Steps(51)), Some(of_need));
        assert_eq!(ms(TopicHistory::Steps(102)), Some(2 * 52 * 60_000 + 1));
        // No fewer milliseconds than so many steps take.
        assert!(ms(TopicHistory::Steps(1)) >= Some(60_000));
        assert_eq!(ms(TopicHistory::Seconds(7)), Some(7000));
        let endless = HistoryNeed { span: DurationNanos::MAX, ..need };
        let most = TopicHistory::Steps(1_000_000).span_ms(&endless);
        assert!(most > Some(i64::MAX / 1_000_000), "{most:?}");
        let lacks = |steps| TopicHistory::Steps(steps).lacks(&need);
        assert_eq!([30, 50, 51, 90].map(lacks), [Some(21), Some(1), None, None]);
        assert_eq!(TopicHistory::Auto.lacks(&need), None);
    }
}
