//! The command line: exit codes and messages that say what to do.

use std::collections::BTreeSet;
use std::fs;

use crate::support::process::{run, tickcast};
use crate::support::repository;

/// Every command that the build has, in the order of the help.
const COMMANDS: &[&str] = &[
    "serve",
    "replay",
    "check",
    "config",
    "docs",
    "model",
    #[cfg(feature = "train")]
    "train",
    #[cfg(feature = "train")]
    "backtest",
    "data",
    "feed",
    "map",
    #[cfg(feature = "kafka")]
    "bridge",
    "watch",
    "bench",
];

/// Every command that it lacks, which the help lists behind them; and the features that bring them.
const LACKED: &[(&str, &str)] = &[
    #[cfg(not(feature = "kafka"))]
    ("bridge", "kafka"),
    #[cfg(not(feature = "train"))]
    ("train", "train"),
    #[cfg(not(feature = "train"))]
    ("backtest", "train"),
];

/// The names of all commands, in the order of the help.
fn listed() -> Vec<&'static str> {
    COMMANDS.iter().copied().chain(LACKED.iter().map(|(name, _)| *name)).collect()
}

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

/// What a command that succeeds writes to standard output.
fn stdout(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// The commands below some words, as the table in their help lists them; none without a table.
fn commands_below(words: &[&str]) -> Vec<String> {
    let help = stdout(&[words, &["--help"]].concat());
    let Some((_, table)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    let rows = table.lines().take_while(|line| !line.is_empty());
    // A description that is too long for its line goes on further to the right.
    let names = rows.filter_map(|row| row.strip_prefix("  ").filter(|row| !row.starts_with(' ')));
    names.map(|row| row.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn help_lists_every_command_and_every_command_has_its_own() {
    assert_eq!(commands_below(&[]), listed());
    for command in COMMANDS {
        let help = stdout(&[command, "--help"]);
        let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap();
        let words: Vec<_> = usage.split(' ').take(2).collect();
        assert_eq!(words, ["tickcast", command], "{help}");
    }
    assert_eq!(commands_below(&["config"]), ["show", "schema", "reference"]);
    assert_eq!(commands_below(&["docs"]), ["completions", "manual"]);
    assert_eq!(
        commands_below(&["model"]),
        ["list", "inspect", "verify", "diff", "seal", "promote"]
    );
    assert_eq!(
        commands_below(&["bench"]),
        ["inference", "kernel", "pipeline", "burst", "memory", "several"]
    );
    assert_eq!(commands_below(&["serve"]), [""; 0]);
    assert_eq!(stdout(&["--version"]), concat!("tickcast ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn completions_and_the_manual_have_every_command_and_no_other() {
    let commands: BTreeSet<_> = listed().into_iter().map(str::to_owned).collect();
    let completions = stdout(&["docs", "completions", "bash"]);
    // Each state of the parser that follows the program's name: `tickcast,serve)`.
    let states = completions.lines().filter_map(|line| {
        line.trim().strip_prefix("tickcast,").and_then(|rest| rest.strip_suffix(')'))
    });
    assert_eq!(states.map(str::to_owned).collect::<BTreeSet<_>>(), commands);
    let manual = stdout(&["docs", "manual"]);
    let sections = manual.lines().filter_map(|line| {
        line.strip_prefix(".SH \"TICKCAST ").and_then(|rest| rest.strip_suffix('"'))
    });
    assert_eq!(sections.map(str::to_lowercase).collect::<Vec<_>>(), listed());
}

/// The words behind `tickcast` wherever a page shows a command line: at the start of a code span,
/// and at the start of a line in a block of code, with or without a path or variables before it.
fn command_lines(page: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block {
            let words = line.split_whitespace();
            let mut words = words.skip_while(|word| *word == "$" || word.contains('='));
            let program = words.next().unwrap_or_default();
            if program == "tickcast" || program.ends_with("/tickcast") {
                found.push(words.collect());
            }
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            let lines = spans.filter_map(|span| span.strip_prefix("tickcast "));
            found.extend(lines.map(|rest| rest.split_whitespace().collect()));
        }
    }
    found
}

#[test]
fn pages_show_commands_that_there_are() {
    let docs = fs::read_dir(repository().join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> =
        docs.filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    pages.extend(["README.md", "ARCHITECTURE.md"].map(|name| repository().join(name)));
    let mut shown = BTreeSet::new();
    for path in pages {
        let page = fs::read_to_string(&path).unwrap();
        for words in command_lines(&page) {
            let name = words.first().copied().unwrap_or_default();
            if name.starts_with('-') {
                continue;
            }
            assert!(listed().contains(&name), "{}: tickcast {words:?}", path.display());
            shown.insert(name.to_owned());
            if !COMMANDS.contains(&name) {
                continue;
            }
            let is_word = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
            let below = commands_below(&[name]);
            if let Some(word) = words.get(1).filter(is_word).filter(|_| !below.is_empty()) {
                assert!(below.iter().any(|one| one == word), "{}: {words:?}", path.display());
            }
        }
    }
    // Completions and the manual page are for packages, and `tickcast --help` shows the way.
    let expected = listed().into_iter().filter(|name| *name != "docs").map(str::to_owned);
    assert_eq!(shown, expected.collect());
}

#[test]
fn what_the_build_lacks_is_listed_with_its_feature() {
    let about =
        |feature: &str| format!("Not in this build: it needs the cargo feature `{feature}`");
    let (has_kafka, has_train) = (cfg!(feature = "kafka"), cfg!(feature = "train"));
    let features = [
        ("bridge", "kafka", has_kafka),
        ("train", "train", has_train),
        ("backtest", "train", has_train),
    ];
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
        // Shells and roff put a backslash before some of the letters.
        let text = text.replace('\\', "");
        for (command, feature, is_on) in features {
            assert!(text.contains(command), "{arguments:?}: {text}");
            assert_eq!(text.contains(&about(feature)), !is_on, "{arguments:?}: {text}");
        }
    }
    for shell in ["bash", "elvish", "powershell"] {
        let output = run(&["docs", "completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(features.iter().all(|(command, ..)| text.contains(command)), "{shell}: {text}");
    }
}

/// The answer to what needs a feature that the build lacks.
#[cfg(not(all(feature = "kafka", feature = "train")))]
fn lacks(what: &str, feature: &str) -> String {
    format!(
        "tickcast: `{what}` is not in this build: it needs the cargo feature `{feature}` \
         (`cargo build --release` has it)\n"
    )
}

#[cfg(not(all(feature = "kafka", feature = "train")))]
#[test]
fn a_command_that_the_build_lacks_ends_with_64_and_the_feature_it_needs() {
    let tails: [&[&str]; 5] = [
        &[],
        &["-c", "config/train/aapl.toml", "--seeds", "5"],
        &["--help"],
        &["--onnxruntime"],
        &["one", "--", "--two=3"],
    ];
    for (command, feature) in LACKED {
        for tail in tails {
            let arguments: Vec<_> = [command].into_iter().chain(tail).copied().collect();
            let output = run(&arguments);
            assert_eq!(output.status.code(), Some(64), "{arguments:?}");
            let wanted = lacks(&format!("tickcast {command}"), feature);
            assert_eq!(stderr(&output), wanted, "{arguments:?}");
            assert!(output.stdout.is_empty(), "{arguments:?}");
        }
    }
}

#[cfg(not(feature = "kafka"))]
#[test]
fn an_address_of_a_topic_ends_with_64_and_the_feature_it_needs() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tickcast.toml");
    fs::write(&config, "[source]\nurl = 'ws://127.0.0.1:1'\n[model]\nname = 'm'\n").unwrap();
    let config = config.display().to_string();
    let topic = "kafka://127.0.0.1:1/topic";
    let commands: [(&[&str], &str); 4] = [
        (&["feed", "--input", "missing.csv", "--to", topic], "--to kafka://"),
        (&["watch", topic, "--kafka-option", "a=b"], "tickcast watch kafka://"),
        (&["replay", "-c", &config, "--input", topic], "--input kafka://"),
        (
            &["bench", "kafka-loop", "--brokers", "h:1", "--from", "a", "--to", "b", "--records=1"],
            "tickcast bench kafka-loop",
        ),
    ];
    for (arguments, what) in commands {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(stderr(&output), lacks(what, "kafka"), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn options_for_topics_are_shown_where_the_build_has_topics() {
    for command in ["feed", "watch", "replay"] {
        let help = stdout(&[command, "--help"]);
        assert_eq!(help.contains("--kafka-option <"), cfg!(feature = "kafka"), "{help}");
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
        let expected = format!(
            "tickcast: configuration {} cannot be used:\n  \
             line 1: source.url: must be ws://host:port/path or wss://host:port/path, for kind \
             \"websocket\"\n  \
             line 2: source.urll: unknown key, did you mean `url`?\n  \
             model.name: is missing\n  \
             line 4: http.bind: `nowhere` is no IP:PORT (invalid socket address syntax)\n",
            path.display()
        );
        assert_eq!(stderr(&output), expected, "{command}");
    }
    let output = run(&["check", "-c", "does-not-exist.toml"]);
    assert_eq!(output.status.code(), Some(78));
    let expected = "tickcast: configuration does-not-exist.toml cannot be used:\n  \
                    No such file or directory (os error 2)\n";
    assert_eq!(stderr(&output), expected);
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
    let library = repository().join(crate::support::onnxruntime());
    let output = train(&["--seeds", "2", "--onnxruntime", &library.display().to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, end) = text.rsplit_once("\nverdict  ").expect("the verdict at the end");
    let lines: Vec<&str> = end.lines().collect();
    assert!(lines[0].contains("the linear model, p "), "{text}");
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
    let folder = repository().join("models/seattle-rain/1");
    let manifest = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let text = stdout(&["model", "inspect", &folder.display().to_string()]);
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("seattle-rain 1"));
    assert_eq!(lines.next(), Some("  forecasts  next_event over 1 step(s)"));
    let mut starts_with = |start: &str| {
        let line = lines.next().unwrap();
        assert!(line.starts_with(start), "{line} does not start with {start}");
    };
    starts_with("  window     7 steps of precipitation, ");
    starts_with("  modes      full, sliding");
    starts_with("  graph      LSTM ");
    let layers = text.lines().skip_while(|line| !line.starts_with("  graph"));
    for _ in layers.skip(1).take_while(|line| !line.starts_with("  cost")) {
        starts_with("             ");
    }
    starts_with("  cost       ");
    starts_with("  rows       equal bits alone and in a batch");
    starts_with("  trained    927 windows of SEATTLE, ");
    starts_with("  interval   90 %, ");
    starts_with("  baselines  compared with ");
    starts_with("  inputs     compared with 934 rows of the training, 2012-01-01T00:00:00Z to ");
    for feature in manifest["features"].as_array().unwrap() {
        starts_with(&format!("    {} ", feature.as_str().unwrap()));
    }
    for part in manifest["evaluation"].as_array().unwrap() {
        let name = part["part"].as_str().unwrap();
        starts_with(&format!("  {name:<10} {} forecasts, ", part["forecasts"]));
        for baseline in part["baselines"].as_array().unwrap() {
            let name = baseline["name"].as_str().unwrap();
            let skill = baseline["skill"].as_f64().unwrap();
            let [low, high] =
                [0, 1].map(|side: usize| baseline["skill_95"][side].as_f64().unwrap());
            let skill = format!("skill {skill:+.3} (95 % {low:+.3} to {high:+.3}), p = ");
            starts_with(&format!("    {:<20} {skill}", format!("against {name}")));
        }
    }
    starts_with("  live       the daemon's verdict on it is against linear");
    starts_with(&format!("  verdict    {}", manifest["verdict"].as_str().unwrap()));
    assert_eq!(lines.next(), None);
}
