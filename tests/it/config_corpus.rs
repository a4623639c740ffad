//! Configurations that are wrong, each in its own way, and some that are right: what `check` says.
//!
//! Each file under `tests/data/config/invalid` begins with the problems that must be told, one in
//! a line `# expected: ...`, and all of them at once.

use std::fs;
use std::path::PathBuf;

use crate::support::process::run;
use crate::support::repository;

/// The files of a folder of the corpus, in order.
fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join("tests/data/config").join(folder);
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Exit code and standard error of `tickcast check`.
fn check(path: &std::path::Path) -> (Option<i32>, String) {
    let output = run(&["check", "-c", &path.display().to_string()]);
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn every_wrong_configuration_ends_with_78_and_all_its_problems() {
    let files = corpus("invalid");
    for path in &files {
        let name = path.file_name().unwrap().display();
        let text = fs::read_to_string(path).unwrap();
        let expected: Vec<_> =
            text.lines().filter_map(|line| line.strip_prefix("# expected: ")).collect();
        assert!(!expected.is_empty(), "{name} says not what to expect");
        let (code, said) = check(path);
        assert_eq!(code, Some(78), "{name}: {said}");
        for problem in &expected {
            assert!(said.contains(problem), "{name}: `{problem}` is not in\n{said}");
        }
        // Problems of the file itself stand in lines of their own, below the line that names it.
        let listed = said.lines().filter(|line| line.starts_with("  ")).count();
        assert!(listed == 0 || listed >= expected.len(), "{name}: {listed} problems in\n{said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    assert!(files.len() >= 40, "only {} files", files.len());
}

#[test]
fn every_right_configuration_is_usable() {
    let files = corpus("valid");
    for path in &files {
        let (code, said) = check(path);
        assert_eq!(code, Some(0), "{}: {said}", path.display());
    }
    assert!(files.len() >= 5, "only {} files", files.len());
}

#[test]
fn the_page_about_configuration_is_what_the_code_says() {
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let said = run(&["config", "reference"]);
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(page == said, "write it anew: tickcast config reference > docs/configuration.md");
}

#[test]
fn what_is_in_effect_is_shown_with_where_it_comes_from() {
    let path = repository().join("tests/data/config/valid/guarded.toml").display().to_string();
    let output = run(&["config", "show", "-c", &path]);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains("http.bind = \"0.0.0.0:9630\"  # file\n"), "{shown}");
    assert!(shown.contains("engine.shards = 1  # default\n"), "{shown}");
    assert!(!shown.contains("0123456789abcdef"), "{shown}");
}

#[test]
fn completions_and_the_manual_name_every_command() {
    for arguments in [&["docs", "completions", "bash"][..], &["docs", "manual"]] {
        let output = run(arguments);
        assert!(output.status.success(), "{arguments:?}");
        let text = String::from_utf8(output.stdout).unwrap().to_lowercase();
        for command in ["serve", "replay", "check", "config", "model", "feed", "watch", "bench"] {
            assert!(text.contains(command), "{arguments:?} says nothing of {command}");
        }
    }
}
