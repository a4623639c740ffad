//! What a feed has of each symbol's past.
//!
//! Owns the records that are held back, those that are played, and which of them a question is
//! answered with. Promises the bytes of the recording, the oldest first, and nothing of the future:
//! no record that no subscriber has had. Never plays, and never speaks HTTP.

use std::collections::HashMap;

use bytes::Bytes;
use serde::de::IgnoredAny;

use crate::core::domain::UnixNanos;
use crate::core::history::Span;
use crate::net::percent::percent_decoded;

/// The most records in one answer.
pub(super) const ROWS_MAX: usize = 10_000;

/// The parameters, for whoever asks in vain.
const PARAMETERS: &str = "there are `symbol`, `from`, `to` and `limit`";

/// The records of each symbol that can be asked for.
#[derive(Debug)]
pub(super) struct History {
    /// How many of each symbol are held back.
    held: usize,
    symbols: HashMap<Box<str>, Vec<Row>>,
}

#[derive(Debug)]
struct Row {
    time: UnixNanos,
    record: Bytes,
    /// Its place among the records that are played; `None` where it is held back.
    place: Option<usize>,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Question {
    symbol: String,
    span: Span,
    limit: usize,
}

impl History {
    /// Holds back so many records of each symbol.
    pub(super) fn new(held: usize) -> Self {
        Self { held, symbols: HashMap::new() }
    }

    /// Takes the next record in the order of play, with its symbol and its time where it has both.
    /// Returns whether it is held back; else it is played at this place.
    pub(super) fn takes(
        &mut self,
        named: Option<(&str, UnixNanos)>,
        record: &Bytes,
        place: usize,
    ) -> bool {
        let Some((symbol, time)) = named else { return false };
        // What is no JSON would spoil the answer that it is part of.
        if serde_json::from_slice::<IgnoredAny>(record).is_err() {
            return false;
        }
        if !self.symbols.contains_key(symbol) {
            self.symbols.insert(symbol.into(), Vec::new());
        }
        let rows = self.symbols.get_mut(symbol).expect("it has been put there");
        let is_held = rows.len() < self.held;
        rows.push(Row { time, record: record.clone(), place: (!is_held).then_some(place) });
        is_held
    }

    /// The same with the records of each symbol in the order of their times.
    pub(super) fn sorted(mut self) -> Self {
        for rows in self.symbols.values_mut() {
            rows.sort_by_key(|row| row.time);
        }
        self
    }

    /// The answer as JSON: the newest records that were asked for, the oldest of them first. Of
    /// those that are played the first `played` can be told. `None` for an unknown symbol.
    pub(super) fn answer(&self, question: &Question, played: usize) -> Option<Vec<u8>> {
        let Question { symbol, span, limit } = question;
        let known = self.symbols.get(symbol.as_str())?.iter();
        let mut rows: Vec<_> = known
            .rev()
            .filter(|row| span.contains(row.time))
            .filter(|row| row.place.is_none_or(|place| place < played))
            .take(*limit)
            .collect();
        rows.reverse();
        let mut answer = br#"{"rows":["#.to_vec();
        for (index, row) in rows.into_iter().enumerate() {
            if index > 0 {
                answer.push(b',');
            }
            answer.extend_from_slice(&row.record);
        }
        answer.extend_from_slice(b"]}");
        Some(answer)
    }
}

impl Question {
    /// Reads a query such as `symbol=AAPL&from=2000-03-01T00:00:00Z&to=2000-06-01&limit=60`. All
    /// but the symbol may be missing.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let (mut symbol, mut from, mut to, mut limit) = (None, None, None, None);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decoded(value)
                .ok_or_else(|| format!("{name}: not percent-encoded UTF-8"))?;
            let time = || {
                UnixNanos::parse(&value)
                    .map_err(|_| format!("{name}: must be a time by RFC 3339 or a date"))
            };
            let was_given = match name {
                "symbol" => symbol.replace(value.clone().into_owned()).is_some(),
                "from" => from.replace(time()?).is_some(),
                "to" => to.replace(time()?).is_some(),
                "limit" => {
                    let count = value.parse().ok().filter(|count| (1..=ROWS_MAX).contains(count));
                    let count = count.ok_or(format!("limit: must be from 1 to {ROWS_MAX}"))?;
                    limit.replace(count).is_some()
                }
                _ => return Err(format!("unknown parameter; {PARAMETERS}")),
            };
            if was_given {
                return Err(format!("{name}: given twice"));
            }
        }
        let symbol = symbol.ok_or_else(|| format!("no symbol; {PARAMETERS}"))?;
        let from = from.unwrap_or(UnixNanos::from_nanos(i64::MIN));
        let to = to.unwrap_or(UnixNanos::from_nanos(i64::MAX));
        Ok(Self { symbol, span: Span { from, to }, limit: limit.unwrap_or(ROWS_MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAYS: [&str; 6] = [
        r#"{"symbol":"A","time":"2000-03-01","close":1.50}"#,
        r#"{"symbol":"B","time":"2000-03-01","close":9}"#,
        r#"{"symbol":"A","time":"2000-03-02","close":NaN}"#,
        r#"{"symbol":"A","time":"2000-03-02","close":2}"#,
        r#"{"symbol":"A","time":"2000-03-03","close":3}"#,
        r#"{"symbol":"A","time":"2000-03-04","close":4}"#,
    ];

    /// The history of the days, of which two are held back, and which are played.
    fn days() -> (History, Vec<&'static str>) {
        let mut history = History::new(2);
        let mut played = Vec::new();
        for day in DAYS {
            let (symbol, time) = (&day[11..12], UnixNanos::parse(&day[22..32]).unwrap());
            let record = Bytes::from_static(day.as_bytes());
            if !history.takes(Some((symbol, time)), &record, played.len()) {
                played.push(day);
            }
        }
        (history.sorted(), played)
    }

    fn asked(query: &str, played: usize) -> String {
        let question = Question::parse(query).unwrap();
        let answer = days().0.answer(&question, played).unwrap();
        String::from_utf8(answer).unwrap()
    }

    #[test]
    fn the_first_records_of_each_symbol_are_held_back() {
        assert_eq!(days().1, [DAYS[2], DAYS[4], DAYS[5]], "and none that is no JSON");
    }

    #[test]
    fn what_was_played_can_be_asked_for_and_nothing_else() {
        let rows = |records: &[&str]| format!(r#"{{"rows":[{}]}}"#, records.join(","));
        assert_eq!(asked("symbol=A", 0), rows(&[DAYS[0], DAYS[3]]));
        assert_eq!(asked("symbol=A", 1), rows(&[DAYS[0], DAYS[3]]), "the first one is no JSON");
        assert_eq!(asked("symbol=A", 2), rows(&[DAYS[0], DAYS[3], DAYS[4]]));
        assert_eq!(asked("symbol=A&limit=2", 3), rows(&[DAYS[4], DAYS[5]]), "the newest");
        let part = "symbol=A&from=2000-03-02T00%3A00:00Z&to=2000-03-04";
        assert_eq!(asked(part, 3), rows(&[DAYS[3], DAYS[4]]), "the end is no part of it");
        assert_eq!(asked("symbol=B&from=2000-03-02", 3), rows(&[]));
        assert!(days().0.answer(&Question::parse("symbol=C").unwrap(), 3).is_none());
    }

    #[test]
    fn a_question_that_makes_no_sense_gets_a_sentence() {
        for (query, expected) in [
            ("", "no symbol; there are `symbol`, `from`, `to` and `limit`"),
            ("symbol=A&symbol=B", "symbol: given twice"),
            ("symbol=A&form=1", "unknown parameter; there are `symbol`, `from`, `to` and `limit`"),
            ("symbol=%ff", "symbol: not percent-encoded UTF-8"),
            ("symbol=A&to=soon", "to: must be a time by RFC 3339 or a date"),
            ("symbol=A&limit=0", "limit: must be from 1 to 10000"),
            ("symbol=A&limit=10001", "limit: must be from 1 to 10000"),
        ] {
            assert_eq!(Question::parse(query).unwrap_err(), expected, "{query}");
        }
    }
}
