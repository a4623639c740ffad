//! Tests of what all kinds of sources share.

use config::{Map, Value, ValueKind};

use super::*;
use crate::ports::section::Problems;

#[test]
fn settings_of_a_kind_that_is_not_chosen_are_refused_by_name() {
    let problems = Problems::default();
    let root = Value::new(None, ValueKind::Table(Map::new()));
    let mut section = Section::root(root, &problems).section("source");
    refuse_foreign(&mut section, &[("path", true), ("columns", false), ("symbol", true)], "file");
    let expected = ["source: must be a table"];
    assert_eq!(problems.into_vec(), expected, "nothing is said of a section that is none");

    let problems = Problems::default();
    let source = Value::new(None, ValueKind::Table(Map::new()));
    let table = [("source".to_owned(), source)].into_iter().collect();
    let root = Value::new(None, ValueKind::Table(table));
    let mut section = Section::root(root, &problems).section("source");
    refuse_foreign(&mut section, &[("path", true), ("columns", false), ("symbol", true)], "file");
    let expected =
        ["source.path: is for kind \"file\" only", "source.symbol: is for kind \"file\" only"];
    assert_eq!(problems.into_vec(), expected);
}
