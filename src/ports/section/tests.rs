//! Tests of the reader of settings: each value is read or named as a problem, and so is each key.

use config::{Config, File, FileFormat};

use super::*;

/// What `read` makes of a text, and the problems that it finds.
fn read<T>(text: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> (T, Vec<String>) {
    let problems = Problems::default();
    let file = File::from_str(text, FileFormat::Toml);
    let tree = Config::builder().add_source(file).build().unwrap();
    let mut root = Section::root(Value::new(None, tree.cache.kind), &problems);
    let value = read(&mut root);
    root.finish();
    (value, problems.into_vec())
}

fn good<T>(text: &str, of: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let (value, problems) = read(text, of);
    assert_eq!(problems, Vec::<String>::new(), "{text}");
    value
}

fn bad<T>(text: &str, of: impl FnOnce(&mut Section<'_>) -> T) -> Vec<String> {
    read(text, of).1
}

#[test]
fn texts_are_there_missing_or_of_another_type() {
    let text = |section: &mut Section<'_>| section.text("a");
    assert_eq!(good("a = 'x'", text), "x");
    assert_eq!(bad("", text), ["a: is missing"]);
    assert_eq!(bad("a = 7", text), ["a: must be a text, not a number"]);
    let optional = |section: &mut Section<'_>| section.optional_text("a");
    assert_eq!(good("a = 'x'", optional), Some("x".to_owned()));
    assert_eq!((good("", optional), good("a = ''", optional)), (None, None));
    assert_eq!(bad("a = true", optional), ["a: must be a text, not a switch"]);
    let is_set = |section: &mut Section<'_>| (section.is_set("a"), section.optional_text("a")).0;
    assert!(good("a = 'x'", is_set) && !good("a = ''", is_set) && !good("", is_set));
}

#[test]
fn a_list_of_texts_may_come_from_a_variable() {
    let texts = |section: &mut Section<'_>| section.texts("a");
    assert_eq!(good("a = ['x', 'y']", texts), ["x", "y"]);
    assert_eq!(good(r#"a = '["x", "y"]'"#, texts), ["x", "y"]);
    assert_eq!(good("a = 'x,y'", texts), ["x,y"]);
    assert_eq!(good("", texts), [""; 0]);
    assert_eq!(bad("a = ['x', 1]", texts), ["a: must hold texts only, not a number"]);
    assert_eq!(bad("a = 1", texts), ["a: must be a list of texts, not a number"]);
}

#[test]
fn numbers_keep_within_their_limits() {
    let count = |section: &mut Section<'_>| section.count("a", 2, 9);
    for (text, number) in [("a = 2", 2), ("a = 9", 9)] {
        assert_eq!(good(text, count), number);
    }
    for text in ["a = 1", "a = 10", "a = -3", "a = 'many'", "a = 2.5", ""] {
        let (number, problems) = read(text, count);
        assert_eq!(problems, ["a: must be a whole number from 2 to 9"], "{text}");
        assert_eq!(number, 2, "{text}");
    }
    let optional = |section: &mut Section<'_>| section.optional_count("a", 2, 9);
    assert_eq!((good("", optional), good("a = 3", optional)), (None, Some(3)));
    assert_eq!(bad("a = 1", optional).len(), 1);
    let switch = |section: &mut Section<'_>| section.switch("a");
    assert!(good("a = true", switch) && !good("a = false", switch));
    assert_eq!(bad("a = 'perhaps'", switch), ["a: must be true or false"]);
}

#[test]
fn a_choice_suggests_the_word_that_was_meant() {
    let choice = |section: &mut Section<'_>| section.choice("a", &[("auto", 0), ("block", 1)]);
    assert_eq!((good("a = 'auto'", choice), good("a = 'block'", choice)), (0, 1));
    let (value, problems) = read("a = 'blcok'", choice);
    assert_eq!((value, problems.len()), (0, 1));
    assert_eq!(problems[0], "a: `blcok` is none of `auto`, `block`, did you mean `block`?");
    assert_eq!(bad("a = 'x'", choice), ["a: `x` is none of `auto`, `block`"]);
}

#[test]
fn unknown_keys_are_named_and_those_of_a_broken_section_are_not() {
    let inner = |section: &mut Section<'_>| {
        let mut inner = section.section("inner");
        let texts = (inner.text("first"), inner.text("second"));
        inner.finish();
        texts
    };
    let (texts, problems) = read("[inner]\nfirst = 'x'\nsecnd = 'y'\nother = 1\n", inner);
    assert_eq!(texts, ("x".to_owned(), String::new()));
    let expected = [
        "inner.second: is missing",
        "inner.other: unknown key",
        "inner.secnd: unknown key, did you mean `second`?",
    ];
    assert_eq!(problems, expected);
    assert_eq!(bad("inner = 1", inner), ["inner: must be a table"]);
    // A section whose name merely begins so is another one.
    let problems = bad("inner = 1\n[innermost]\n", inner);
    assert_eq!(problems, ["inner: must be a table", "innermost: unknown key"]);
}

#[test]
fn tables_are_flat_texts_by_key() {
    let table = |section: &mut Section<'_>| section.table("a");
    let flat = good("[a]\nb.c = 1\nd = 'x'\n\"e.f\" = true\n", table);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(flat, [pair("b.c", "1"), pair("d", "x"), pair("e.f", "true")].into());
    assert_eq!(bad("[a]\nb = [1]\n", table), ["a.b: must be a text"]);
    let lists = |section: &mut Section<'_>| section.lists("a");
    let lists_of = good("[a]\nb = ['x', 1]\nc = true\n", lists);
    let list = |key: &str, values: &[&str]| {
        (key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(lists_of, [list("b", &["x", "1"]), list("c", &["true"])].into());
    assert_eq!(bad("a = 1", lists), ["a: must be a table"]);
    assert_eq!(bad("[a]\nb.c = 1\n", lists), ["a.\"b\": must be a text or a list of texts"]);
}

#[test]
fn whatever_is_asked_for_is_a_setting_whether_it_is_there_or_not() {
    let problems = Problems::default();
    let mut root = Section::root(Value::new(None, ValueKind::Table(config::Map::new())), &problems);
    root.optional_text("a");
    root.optional_count("b", 1, 2);
    let mut inner = root.section("inner");
    inner.texts("c");
    inner.finish();
    root.finish();
    let keys: Vec<_> = problems.into_settings().into_iter().map(|setting| setting.key).collect();
    assert_eq!(keys, ["a", "b", "inner.c"]);
}
