//! Configurations that are wrong, each in its own way, and some that are right: what `check` says.
//!
//! Each file under `tests/data/config/invalid` begins with its problems, one in a line
//! `# expected: ...`: all of them, in the order in which they are listed, and no other. Where the
//! answer is no list, because the file is no TOML or the model cannot be used, each line of the
//! answer is in a line `# answer: ...`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::process::{judge_times, run, tickcast};
use crate::support::repository;

/// The files of a folder of the corpus, in order, by their paths in the repository; at least so
/// many of them. A build without Kafka has another answer to the files that begin with its name.
fn corpus(folder: &str, count_min: usize) -> Vec<PathBuf> {
    let folder = Path::new("tests/data/config").join(folder);
    let files = fs::read_dir(repository().join(&folder)).unwrap();
    let mut files: Vec<_> = files.map(|entry| folder.join(entry.unwrap().file_name())).collect();
    files.sort();
    assert!(files.len() >= count_min, "only {} files", files.len());
    if cfg!(not(feature = "kafka")) {
        files.retain(|path| !is_of_kafka(path));
    }
    files
}

fn is_of_kafka(path: &Path) -> bool {
    path.file_name().unwrap().to_str().unwrap().starts_with("kafka")
}

/// What a command says of a configuration, in the repository's folder.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    answer: String,
    problems: String,
}

/// Runs a command with a configuration of the corpus, under the variables that its lines
/// `# variable: NAME=VALUE` set.
fn say(command: &[&str], path: &Path) -> Said {
    let mut process = tickcast();
    judge_times(&mut process);
    for variable in stated(path, "# variable: ") {
        let (name, value) = variable.split_once('=').unwrap();
        process.env(name, value);
    }
    process.current_dir(repository()).args(command).arg("-c").arg(path).stdin(Stdio::null());
    let output = process.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let problems = text(output.stderr).trim_end_matches('\n').to_owned();
    Said { code: output.status.code(), answer: text(output.stdout), problems }
}

/// Exit code, standard output and standard error of `tickcast check`.
fn check(path: &Path) -> (Option<i32>, String, String) {
    let Said { code, answer, problems } = say(&["check"], path);
    (code, answer, problems)
}

/// What the lines of a file say that begin so.
fn stated(path: &Path, prefix: &str) -> Vec<String> {
    let text = fs::read_to_string(repository().join(path)).unwrap();
    text.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
}

/// What `check` must answer about a file, by the file's own words.
fn answer(path: &Path) -> String {
    let (problems, lines) = (stated(path, "# expected: "), stated(path, "# answer: "));
    assert!(problems.is_empty() != lines.is_empty(), "{}: a list or an answer", path.display());
    if problems.is_empty() {
        return format!("tickcast: {}", lines.join("\n"));
    }
    let problems: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
    format!("tickcast: configuration {} cannot be used:{problems}", path.display())
}

/// What is planted as a secret in the files of the corpus.
const PLANTED: &str = "hunter2";

/// How many wrong configurations of the daemon there are; those of training come on top.
const INVALID_MIN: usize = 190;

/// Calls `judge` with every file, on two threads.
fn for_each(files: &[PathBuf], judge: impl Fn(&Path) + Sync) {
    let (left, right) = files.split_at(files.len() / 2);
    std::thread::scope(|scope| {
        scope.spawn(|| right.iter().for_each(|path| judge(path)));
        left.iter().for_each(|path| judge(path));
    });
}

/// The law: what `check` refuses, `serve` refuses with the same code and the same words.
#[test]
fn every_wrong_configuration_ends_with_78_and_exactly_its_problems() {
    for_each(&corpus("invalid", INVALID_MIN), |path| {
        let refused = Said { code: Some(78), answer: String::new(), problems: answer(path) };
        assert_eq!(say(&["check"], path), refused, "check {}", path.display());
        assert_eq!(say(&["serve"], path), refused, "serve {}", path.display());
    });
}

#[test]
fn no_secret_of_a_wrong_configuration_is_shown() {
    let planted = std::sync::atomic::AtomicUsize::new(0);
    for_each(&corpus("invalid", INVALID_MIN), |path| {
        let text = fs::read_to_string(repository().join(path)).unwrap();
        planted.fetch_add(text.contains(PLANTED).into(), std::sync::atomic::Ordering::Relaxed);
        // The answers of `check` and `serve` are those of the file's first lines.
        let stated = answer(path);
        assert!(!stated.contains(PLANTED), "{}: {stated}", path.display());
        let shown = say(&["config", "show"], path);
        let all = format!("{}{}", shown.answer, shown.problems);
        assert!(!all.contains(PLANTED), "{}: {all}", path.display());
    });
    let planted_min = if cfg!(feature = "kafka") { 50 } else { 43 };
    assert!(planted.into_inner() >= planted_min);
}

#[cfg(feature = "train")]
#[test]
fn every_wrong_configuration_of_training_ends_with_78_and_exactly_its_problems() {
    for path in &corpus("invalid-train", 8) {
        let refused = Said { code: Some(78), answer: String::new(), problems: answer(path) };
        assert_eq!(say(&["train"], path), refused, "{}", path.display());
        assert!(!refused.problems.contains(PLANTED), "{}", path.display());
    }
}

#[test]
fn every_right_configuration_is_usable() {
    for path in &corpus("valid", 6) {
        let (code, said, problems) = check(path);
        assert_eq!((code, &*problems), (Some(0), ""), "{}", path.display());
        let first = format!("configuration {} is usable", path.display());
        assert_eq!(said.lines().next(), Some(&*first));
    }
}

/// The problem is the only one: `[kafka]` and its keys are known in every build.
#[cfg(not(feature = "kafka"))]
#[test]
fn kafka_is_refused_by_the_name_of_its_feature() {
    let lacks = "is not in this build; it needs the cargo feature `kafka`";
    let path = Path::new("tests/data/config/valid/kafka.toml");
    let wanted = format!(
        "tickcast: configuration {} cannot be used:\n  line 2: source.kind: kafka {lacks}",
        path.display()
    );
    assert_eq!(check(path), (Some(78), String::new(), wanted));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bridge.toml");
    fs::write(&path, "[source]\nurl = 'ws://127.0.0.1:1'\n[bridge]\ntopic = 'ticks'\n").unwrap();
    let wanted = format!(
        "tickcast: configuration {} cannot be used:\n  line 3: bridge: the bridge {lacks}",
        path.display()
    );
    assert_eq!(check(&path), (Some(78), String::new(), wanted));
}

#[test]
fn the_page_about_configuration_is_what_the_code_says() {
    let page = fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let said = run(&["config", "reference"]);
    assert!(said.status.success());
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(page == said, "generate it with: tickcast config reference > docs/configuration.md");
}

#[test]
fn what_is_in_effect_is_shown_with_where_it_comes_from() {
    let path = repository().join("tests/data/config/valid/guarded.toml").display().to_string();
    let output = run(&["config", "show", "-c", &path]);
    let shown = String::from_utf8(output.stdout).unwrap();
    let (defaults, others): (Vec<_>, Vec<_>) =
        shown.lines().partition(|line| line.ends_with("  # default"));
    let expected = [
        "http.bind = \"0.0.0.0:9630\"  # file",
        "http.open_metrics = true  # file",
        "http.token = \"(hidden)\"  # file",
        "model.name = \"aapl-daily\"  # file",
        "source.url = \"ws://127.0.0.1:1\"  # file",
    ];
    assert_eq!(others, expected);
    assert!(defaults.contains(&"engine.shards = 1  # default"), "{shown}");
}
