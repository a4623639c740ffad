//! What a configuration names beside its values: paths, files, secrets, models; and what of it is
//! shown.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::bundle::sealed;
use crate::support::process::{judge_times, tickcast};

/// The words that must not be in any output.
const SECRET: &str = "hunter2-SECRET-0123456789";

fn ask(folder: &Path, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Output {
    let mut command = tickcast();
    judge_times(&mut command);
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    change(&mut command);
    command.output().unwrap()
}

/// Exit code, standard output and standard error.
fn said(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    said_with(folder, arguments, |_| {})
}

fn said_with(
    folder: &Path,
    arguments: &[&str],
    change: impl FnOnce(&mut Command),
) -> (Option<i32>, String, String) {
    let output = ask(folder, arguments, change);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// A pipe that nobody writes to.
fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_relative_path_belongs_to_the_file_that_sets_it_and_a_variable_to_the_working_directory() {
    let sealed = sealed(7, 3, &[4]);
    let home = tempfile::tempdir().unwrap();
    let (folder, elsewhere) = (home.path().join("etc"), home.path().join("elsewhere"));
    fs::create_dir_all(folder.join("secrets")).unwrap();
    fs::create_dir_all(&elsewhere).unwrap();
    std::os::unix::fs::symlink(sealed.root.path(), folder.join("models")).unwrap();
    std::os::unix::fs::symlink(sealed.root.path(), elsewhere.join("others")).unwrap();
    fs::write(folder.join("secrets/token"), SECRET).unwrap();
    fs::write(folder.join("own.toml"), "[mapping]\nsymbol = '/s'\ntime = '/t'\nclose = '/c'\n")
        .unwrap();
    let config = "[source]\nvenue = './own.toml'\nurl = 'ws://127.0.0.1:1'\n\
                  [model]\nroot = 'models'\nname = 'random'\ncadence = 'as_it_comes'\n\
                  [publish]\nlines = 'lines.jsonl'\n[snapshot]\nfolder = 'state'\n\
                  [http]\nbind = '127.0.0.1:0'\ntoken_file = 'secrets/token'\n";
    fs::write(folder.join("tickcast.toml"), config).unwrap();
    let check = ["check", "-c", "../etc/tickcast.toml"];
    let (code, answer, problems) = said(&elsewhere, &check);
    assert_eq!((code, &*problems), (Some(0), ""), "{answer}");
    let (code, _, problems) = said_with(&elsewhere, &check, |command| {
        command.env("TICKCAST__MODEL__ROOT", "none");
    });
    let expected = "tickcast: model.root: cannot list the models in none: No such file";
    assert!(code == Some(78) && problems.starts_with(expected), "{problems}");
    let (code, ..) = said_with(&elsewhere, &check, |command| {
        command.env("TICKCAST__MODEL__ROOT", "others");
    });
    assert_eq!(code, Some(0));
    // A look leaves nothing behind.
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&folder), ["models", "own.toml", "secrets", "tickcast.toml"]);
    assert_eq!(names(&elsewhere), ["others"]);
}

#[test]
fn what_may_pass_is_listed_and_what_others_can_read_is_warned_of() {
    let sealed = sealed(7, 3, &[4]);
    let home = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let token = home.path().join("token");
    fs::write(&token, SECRET).unwrap();
    let state = home.path().join("state");
    fs::create_dir(&state).unwrap();
    let lock = fs::File::create(state.join("lock")).unwrap();
    lock.try_lock().unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         snapshot.folder = 'state'\nhttp.bind = '{address}'\nhttp.token_file = 'token'\n",
        sealed.root.path().display()
    );
    fs::write(home.path().join("tickcast.toml"), config).unwrap();
    for (mode, is_open) in [(0o644, true), (0o600, false)] {
        fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
        let (code, answer, problems) = said(home.path(), &["check", "-c", "tickcast.toml"]);
        assert_eq!((code, &*problems), (Some(0), ""), "{answer}");
        let has = |line: &str| answer.lines().any(|found| found.starts_with(line));
        assert!(has("busy          snapshot.folder: `state` is in use by another process"));
        assert!(has(&format!("busy          listen on {address}: Address already in use")));
        let warning = "warning       line 6: http.token_file: every user can read `token`; use";
        assert_eq!(has(warning), is_open, "{answer}");
        // `serve` says the same, and that trying again may help.
        let (code, _, problems) = said(home.path(), &["serve", "-c", "tickcast.toml"]);
        assert_eq!(code, Some(75), "{problems}");
        let expected = "tickcast: snapshot.folder: `state` is in use by another process";
        assert!(problems.lines().last().unwrap().starts_with(expected), "{problems}");
        let warned = problems.contains("every user can read `token`");
        assert_eq!(warned, is_open, "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn neither_an_endless_file_nor_a_pipe_is_read_as_a_configuration() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pipe");
    pipe(&path);
    let large = home.path().join("large.toml");
    fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    let binary = home.path().join("binary.toml");
    fs::write(&binary, b"[model]\nname = '\xff'\n").unwrap();
    let (path, large, binary) = (path.to_str(), large.to_str(), binary.to_str());
    for (file, problem) in [
        ("/dev/zero", "is a device, not a file"),
        (path.unwrap(), "is a pipe, not a file"),
        (large.unwrap(), "is larger than 1048576 bytes"),
        (binary.unwrap(), "is not UTF-8"),
        ("/", "is a folder, not a file"),
    ] {
        let refused = format!("tickcast: configuration {file} cannot be used:\n  {problem}\n");
        for command in
            [&["check"][..], &["serve"], &["config", "show"], &["replay", "--input", "x"]]
        {
            let arguments = [command, &["-c", file]].concat();
            let answer = said(home.path(), &arguments);
            assert_eq!(answer, (Some(78), String::new(), refused.clone()), "{arguments:?}");
        }
    }
    // The same of every file that a configuration names.
    let pipe = path.unwrap();
    for (setting, problem) in [
        (format!("http.token_file = '{pipe}'"), "http.token_file: cannot read"),
        (format!("source.headers.X_file = '{pipe}'"), "source.headers.X_file: cannot read"),
        (format!("source.venue = '{pipe}'\nsource.symbols = ['A']"), "source.venue: read"),
        (
            format!("source.subscribe = ['{{secret:key}}']\nsource.secrets.key_file = '{pipe}'"),
            "source.secrets.key_file: cannot read",
        ),
    ] {
        let config = format!("source.url = 'ws://127.0.0.1:1'\nmodel.name = 'm'\n{setting}\n");
        fs::write(home.path().join("tickcast.toml"), config).unwrap();
        let (code, _, problems) = said(home.path(), &["check", "-c", "tickcast.toml"]);
        let expected = format!("{problem} `{pipe}`: is a pipe, not a file");
        assert!(code == Some(78) && problems.contains(&expected), "{problems}");
    }
}

#[test]
fn a_variable_that_is_no_text_is_refused_and_not_left_out() {
    let home = tempfile::tempdir().unwrap();
    let config = "source.url = 'ws://127.0.0.1:1'\nmodel.name = 'aapl-daily'\n";
    fs::write(home.path().join("tickcast.toml"), config).unwrap();
    let value = OsStr::from_bytes(b"hunter2-SECRET\xff");
    for command in ["check", "serve"] {
        let answer = said_with(home.path(), &[command, "-c", "tickcast.toml"], |command| {
            command.env("TICKCAST__HTTP__TOKEN", value).env("UNRELATED", value);
        });
        let expected = "tickcast: the environment cannot be used:\n  \
                        TICKCAST__HTTP__TOKEN: is not UTF-8\n";
        assert_eq!(answer, (Some(78), String::new(), expected.to_owned()), "{command}");
    }
}

#[test]
fn what_is_sent_to_an_exchange_is_shown_without_its_secrets() {
    let sealed = sealed(7, 3, &[4]);
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "[source]\nurl = 'wss://user:{SECRET}@127.0.0.1:1/{SECRET}?key={SECRET}'\n\
         subscribe = ['{{\"op\":\"auth\",\"args\":[\"{SECRET}\",7]}}', 'AUTH {SECRET}',\n\
         '{{\"op\":\"subscribe\",\"channel\":\"trades\",\"token\":\"{SECRET}\"}}']\n\
         headers.X-Key = '{SECRET}'\nlimits.ping = '{SECRET}'\n\
         [kafka.options]\n\"sasl.pasword\" = '{SECRET}'\n\"sasl.mechanism\" = 'PLAIN'\n\
         [model]\nroot = '{}'\nname = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(home.path().join("tickcast.toml"), config).unwrap();
    let (code, answer, problems) = said(home.path(), &["check", "-c", "tickcast.toml"]);
    assert_eq!((code, &*problems), (Some(0), ""), "{answer}");
    let expected = "  sends       {\"channel\":\"trades\",\"op\":\"subscribe\",\
                    \"token\":\"(hidden)\"}";
    assert!(answer.contains(expected), "{answer}");
    assert!(!answer.contains("hunter2"), "{answer}");
    let (code, shown, problems) = said(home.path(), &["config", "show", "-c", "tickcast.toml"]);
    assert_eq!((code, &*problems), (Some(0), ""));
    for line in [
        "kafka.options.sasl.mechanism = \"PLAIN\"  # file",
        "kafka.options.sasl.pasword = \"(hidden)\"  # file",
        "source.headers.X-Key = \"(hidden)\"  # file",
        "source.limits.ping = \"(hidden)\"  # file",
        "source.subscribe = \"(hidden)\"  # file",
        "source.url = \"wss://127.0.0.1:1\"  # file",
        "model.name = \"random\"  # file",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line} is not in\n{shown}");
    }
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[cfg(feature = "kafka")]
#[test]
fn a_secret_on_a_command_line_is_refused_with_the_way_to_a_file() {
    let home = tempfile::tempdir().unwrap();
    let topic = "kafka://127.0.0.1:1/ticks";
    let option = format!("sasl.password={SECRET}");
    for arguments in [
        &["watch", topic, "--kafka-option", &option][..],
        &["feed", "--input", "x.jsonl", "--to", topic, "--kafka-option", &option],
    ] {
        let (code, _, problems) = said(home.path(), arguments);
        assert_eq!(code, Some(64), "{problems}");
        let expected = "name a file that holds it: sasl.password_file=/run/secrets/kafka";
        assert!(problems.contains(expected), "{problems}");
        assert!(!problems.contains("hunter2"), "{problems}");
    }
}

#[test]
fn models_are_listed_and_a_name_means_its_newest_whole_version() {
    let sealed = sealed(7, 3, &[4]);
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("models");
    std::os::unix::fs::symlink(sealed.root.path(), &root).unwrap();
    let version = sealed.folder.file_name().unwrap().to_str().unwrap();
    let broken = sealed.root.path().join("random/99");
    fs::create_dir(&broken).unwrap();
    let manifest = fs::read_to_string(sealed.folder.join("manifest.json")).unwrap();
    let manifest = manifest.replacen("\"features\"", "\"featurs\"", 1);
    fs::write(broken.join("manifest.json"), manifest).unwrap();
    for name in ["model.onnx", "golden.json"] {
        fs::copy(sealed.folder.join(name), broken.join(name)).unwrap();
    }
    let (code, list, problems) = said(home.path(), &["model", "list"]);
    assert_eq!((code, &*problems), (Some(0), ""));
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("random  99") && lines[0].contains("refused: "), "{list}");
    assert!(lines[0].contains("did you mean `features`?"), "{list}");
    assert!(lines[1].starts_with(&format!("random  {version}")), "{list}");
    let (_, list, _) = said(home.path(), &["model", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["version"], &list[1]["version"]), (&"99".into(), &version.into()));
    assert_eq!((&list[1]["window_steps"], &list[1]["refused"]), (&3.into(), &().into()));
    for bundle in ["random", "models/random", &format!("models/random/{version}")] {
        let (code, summary, _) = said(home.path(), &["model", "inspect", bundle]);
        assert_eq!(code, Some(0), "{bundle}");
        assert!(summary.starts_with(&format!("random {version}\n")), "{bundle}: {summary}");
        let (code, json, _) = said(home.path(), &["model", "inspect", bundle, "--json"]);
        assert_eq!(code, Some(0), "{bundle}");
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["manifest"]["version"], version, "{bundle}");
    }
    let (code, _, problems) = said(home.path(), &["model", "inspect", "randm"]);
    let expected = "tickcast: model.name: there is no model `randm` in models; there is random, \
                    did you mean `random`?\n";
    assert_eq!((code, &*problems), (Some(78), expected));
    let (code, _, problems) = said(home.path(), &["model", "list", "--root", "none"]);
    assert_eq!(code, Some(78), "{problems}");
}

#[test]
fn a_replay_whose_reader_has_had_enough_ends_quietly() {
    let sealed = sealed(7, 3, &[4]);
    let home = tempfile::tempdir().unwrap();
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n",
        sealed.root.path().display()
    );
    fs::write(home.path().join("tickcast.toml"), config).unwrap();
    let tick = |index: u64| {
        let time = 1_600_000_000_000 + index * 86_400_000;
        format!("{{\"symbol\":\"A\",\"time\":{time},\"close\":1.5,\"volume\":2}}\n")
    };
    let ticks: String = (0..20_000).map(tick).collect();
    fs::write(home.path().join("ticks.jsonl"), ticks).unwrap();
    let mut child = tickcast()
        .current_dir(home.path())
        .args(["replay", "-c", "tickcast.toml", "--input", "ticks.jsonl"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"symbol\":\"A\""), "{first}");
    // The pipe is closed by now.
    let output = child.wait_with_output().unwrap();
    let problems = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &*problems), (Some(0), ""));
}
