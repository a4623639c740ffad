//! The command line: exit codes and messages that say what to do.

use std::fs;

use crate::support::process::{run, tickcast};

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_command_line_ends_with_64() {
    for arguments in [&["serv"][..], &["serve", "--nonsense"], &[], &["watch"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn help_and_version_succeed() {
    for arguments in [&["--help"][..], &["--version"], &["serve", "--help"], &["bench", "--help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn a_broken_configuration_ends_with_78_and_all_its_problems() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.toml");
    fs::write(&path, "[source]\nurll = 'ws://x'\n[http]\nbind = 'nowhere'\n").unwrap();
    for command in ["check", "serve"] {
        let output = run(&[command, "-c", &path.display().to_string()]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        let text = stderr(&output);
        for part in ["source.url:", "did you mean `url`?", "model.name: is missing", "http.bind:"] {
            assert!(text.contains(part), "{command}: `{part}` is not in {text}");
        }
    }
    let output = run(&["check", "-c", "does-not-exist.toml"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("does-not-exist.toml"));
}

#[test]
fn a_missing_library_ends_with_78_and_the_way_to_get_it() {
    let bundle = crate::support::bundle::sealed(5, 3, &[4]);
    let folder = bundle.folder.display().to_string();
    let output = run(&["model", "verify", &folder, "--onnxruntime", "/nowhere/libonnxruntime.so"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("--onnxruntime names `/nowhere/libonnxruntime.so`"));

    let not_a_library = bundle.folder.join("manifest.json");
    let output = tickcast()
        .args(["model", "verify", &folder])
        .env("ORT_DYLIB_PATH", &not_a_library)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = stderr(&output);
    assert!(text.contains("make setup") && text.contains("--onnxruntime PATH"), "{text}");
}

#[test]
fn bench_shows_raw_beside_ours_and_a_model_that_computes_nothing() {
    let bundle = crate::support::bundle::sealed(5, 30, &[64, 32]);
    let folder = bundle.folder.display().to_string();
    let output = run(&["bench", "--model", &folder, "--seconds", "0.01"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<_>> =
        text.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let mut expected = Vec::new();
    for mode in ["full", "sliding"] {
        for batch in ["1", "30", "512"] {
            let advance = (mode == "sliding").then_some("advance");
            let whats = ["raw", "ours"].into_iter().chain(advance).chain(["null"]);
            expected.extend(whats.map(|what| [mode, batch, what]));
        }
    }
    assert_eq!(rows.iter().map(|row| [row[0], row[1], row[2]]).collect::<Vec<_>>(), expected);
    for row in rows {
        let times: Vec<f64> = row[3..7].iter().map(|time| time.parse().unwrap()).collect();
        assert!(times.is_sorted(), "{row:?}");
        assert_eq!(row.len(), if row[2] == "ours" { 9 } else { 8 }, "{row:?}");
    }
}
