//! What is said of small files, and bounded memory for large ones.

use std::io::Write;

use super::*;
use crate::adapters::file::FileOptions;

fn survey_of(suffix: &str, text: &str, columns: &str) -> Survey {
    let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let columns = (!columns.is_empty()).then(|| columns.parse().unwrap());
    let options = FileOptions { columns, ..FileOptions::default() };
    let mut records = FileRecords::open(file.path(), options).unwrap();
    survey(&mut records, &[], TimeUnit::Milliseconds).unwrap()
}

#[test]
fn every_row_is_used_or_refused_and_the_rest_is_counted() {
    let survey = survey_of(
        ".csv",
        "symbol,time,close,volume\n\
         A,2024-01-01,10,1\n\
         A,2024-01-02,10,1\n\
         B,2024-01-01,5,\n\
         A,2024-01-03,15,1\n\
         A,2024-01-03,15,1\n\
         A,2024-01-02,15,1\n\
         A,2024-01-09,15,1,1\n\
         A,2024-01-10,n/a,1\n\
         A,2024-01-13,15,1\n",
        "",
    );
    assert_eq!((survey.rows, survey.used, survey.refused), (9, 5, 4));
    let refusals: Vec<_> = survey.refusals.iter().map(ToString::to_string).collect();
    assert_eq!(
        refusals,
        [
            "duplicate `time`                   1  line 6: A,2024-01-03,15,1",
            "out_of_order `time`                1  line 7: A,2024-01-02,15,1",
            "wrong_cells                        1  line 8: A,2024-01-09,15,1,1",
            "wrong_type `close`                 1  line 9: A,2024-01-10,n/a,1",
        ]
    );
    assert_eq!(survey.symbols, ["A", "B"]);
    assert_eq!(survey.first_time.unwrap().to_string(), "2024-01-01T00:00:00Z");
    assert_eq!(survey.last_time.unwrap().to_string(), "2024-01-13T00:00:00Z");
    let day = 86_400_000_000_000;
    let spacing = survey.spacing.unwrap();
    assert_eq!((spacing.median, spacing.min, spacing.max, spacing.gaps), (day, day, 10 * day, 1));
    assert_eq!(spacing.longest_after.to_string(), "2024-01-03T00:00:00Z");
    assert_eq!((survey.duplicates, survey.jumps), (1, 1));
    let jump = survey.first_jump.unwrap();
    assert_eq!((jump.line, jump.before, jump.price), (5, 10.0, 15.0));
    let columns: Vec<_> = survey
        .columns
        .iter()
        .map(|column| (column.stands_for.as_deref(), column.first.as_deref(), column.empty))
        .collect();
    assert_eq!(
        columns,
        [
            (Some("symbol"), Some("A"), 0),
            (Some("time"), Some("2024-01-01"), 0),
            (Some("close"), Some("10"), 0),
            (Some("volume"), Some("1"), 1),
        ]
    );
}

#[test]
fn numbers_that_cannot_be_times_of_the_unit_are_counted_with_what_would_fit() {
    let rows = |first: &str, second: &str| {
        survey_of(".csv", &format!("symbol,time,close\nA,{first},1\nA,{second},2\n"), "")
    };
    let seconds = rows("1706745600", "1706832000");
    assert_eq!((seconds.used, seconds.implausible_times), (2, 2));
    let first = seconds.first_implausible_time.unwrap();
    assert_eq!(first.line, 2);
    assert_eq!(first.time.to_string(), "1970-01-20T18:05:45.6Z");
    assert_eq!(first.advice, "these look like seconds: set time_unit = \"s\"");
    let digits = rows("20240201", "20240202").first_implausible_time.unwrap();
    assert!(digits.advice.starts_with("these look like dates written as YYYYMMDD"), "{digits:?}");
    let right = rows("1706745600000", "2024-02-02");
    assert_eq!((right.used, right.implausible_times), (2, 0));
    assert_eq!(right.first_implausible_time, None);
}

#[test]
fn many_different_distances_take_bounded_memory() {
    let mut spacings = Spacings::default();
    for index in 0..200_000_i64 {
        let distance = DurationNanos::from_milliseconds(1000 + (index * 7919 % 200_000) as u32);
        spacings.add(distance, "A", UnixNanos::from_nanos(index));
    }
    assert!(spacings.counts.len() <= 1 << 16, "{}", spacings.counts.len());
    let facts = spacings.finish().unwrap();
    let expected = 101_000_000_000_i64;
    assert!((facts.median - expected).abs() < expected / 100, "{}", facts.median);
    assert_eq!((facts.min, facts.max), (1_000_000_000, 200_999_000_000));
}
