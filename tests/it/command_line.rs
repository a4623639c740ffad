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
fn what_the_build_lacks_is_listed_with_its_feature() {
    let lacks_trainer = cfg!(not(feature = "train"));
    let about = "Not in this build: it needs the cargo feature `train`";
    let commands: [&[&str]; 4] = [
        &["--help"],
        &["docs", "manual"],
        &["docs", "completions", "zsh"],
        &["docs", "completions", "fish"],
    ];
    for arguments in commands {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("train"), "{arguments:?}: {text}");
        // Shells and roff put a backslash before some of the letters.
        let text = text.replace('\\', "");
        assert_eq!(text.contains(about), lacks_trainer, "{arguments:?}: {text}");
    }
    for shell in ["bash", "elvish", "powershell"] {
        let output = run(&["docs", "completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}: {}", stderr(&output));
        assert!(String::from_utf8(output.stdout).unwrap().contains("train"), "{shell}");
    }
}

#[cfg(not(feature = "train"))]
#[test]
fn a_command_that_the_build_lacks_ends_with_64_and_the_feature_it_needs() {
    let wanted = "tickcast: `tickcast train` is not in this build: it needs the cargo feature \
                  `train` (`cargo build --release` has it)\n";
    let tails: [&[&str]; 5] = [
        &[],
        &["-c", "config/train/aapl.toml", "--seeds", "5"],
        &["--help"],
        &["--onnxruntime"],
        &["one", "--", "--two=3"],
    ];
    for tail in tails {
        let arguments: Vec<_> = ["train"].iter().chain(tail).copied().collect();
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(stderr(&output), wanted, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
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

#[cfg(feature = "train")]
#[test]
fn train_ends_with_the_verdict_and_the_report() {
    use std::fmt::Write as _;

    let folder = tempfile::tempdir().unwrap();
    let mut csv = "Date,Open,High,Low,Close,Volume\n".to_owned();
    for day in 0..200_u32 {
        let close = 50.0 + (f64::from(day) * 0.35).sin() * 5.0;
        let (year, month, date) = (2001 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
        let (high, low, volume) = (close + 1.0, close - 1.0, 1000 + day * 37 % 400);
        writeln!(csv, "{year}-{month:02}-{date:02},{close},{high},{low},{close},{volume}").unwrap();
    }
    fs::write(folder.path().join("history.csv"), csv).unwrap();
    let config = "[model]\nname = 'tiny'\n[data]\npath = 'history.csv'\nsymbol = 'A'\n\
                  [window]\nsteps = 5\n[network]\nlstm = [{ units = 3 }]\n\
                  dense = [{ units = 1, activation = 'tanh' }]\n[fit]\nepochs_max = 3\n\
                  [evaluate]\nfolds = 2\n";
    fs::write(folder.path().join("tiny.toml"), config).unwrap();
    let train = |more: &[&str]| {
        let arguments = ["train", "-c", "tiny.toml"];
        let mut command = tickcast();
        command.current_dir(folder.path()).args(arguments).args(more).output().unwrap()
    };
    let library = crate::support::repository().join(crate::support::onnxruntime());
    let output = train(&["--seeds", "2", "--onnxruntime", &library.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, end) = text.rsplit_once("\nverdict  ").expect("the verdict at the end");
    let lines: Vec<&str> = end.lines().collect();
    assert!(lines[0].contains("persistence, p "), "{text}");
    assert_eq!(lines[2], "report   reports/tiny/1/report.html");
    for part in ["linear", "On 35 untouched forecasts the model ", "2 seeds", "2 folds"] {
        assert!(text.contains(part), "no {part} in {text}");
    }
    let page = fs::read_to_string(folder.path().join("reports/tiny/1/report.html")).unwrap();
    assert!(page.contains("tiny 1"));
    assert!(stderr(&output).contains("fold 2 of 2, epoch 3 of 3: "), "{}", stderr(&output));

    let output = train(&["--seeds", "0"]);
    assert_eq!(output.status.code(), Some(64));
    // A file where the folder of reports would be: the bundle stands all the same.
    fs::remove_dir_all(folder.path().join("reports")).unwrap();
    fs::write(folder.path().join("reports"), "").unwrap();
    let output = train(&["--onnxruntime", &library.display().to_string()]);
    assert_eq!(output.status.code(), Some(75));
    assert!(stderr(&output).contains("write reports/tiny/2: "), "{}", stderr(&output));
    assert!(folder.path().join("models/tiny/2/manifest.json").exists());
}

#[test]
fn inspect_says_what_a_model_is_worth() {
    let folder = crate::support::repository().join("models/seattle-rain/1");
    let output = run(&["model", "inspect", &folder.display().to_string()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "forecasts  next_event over 1 step(s)",
        "against persistence",
        "against drift",
        "against linear",
        "does not beat the linear model",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
}
