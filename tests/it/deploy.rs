//! What is in `deploy/` against the rest of the repository: names that must agree.
//!
//! Whether rules and dashboards work is tried by `make test-deploy` against a real Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::repository;

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The rest of each line that begins with `prefix`, spaces before it left aside.
fn after<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    text.lines().filter_map(move |line| line.trim_start().strip_prefix(prefix))
}

fn alerts() -> BTreeSet<String> {
    let rules = read("deploy/prometheus/alerts.rules.yml");
    let names: Vec<_> = after(&rules, "- alert: ").map(str::to_owned).collect();
    let unique: BTreeSet<_> = names.iter().cloned().collect();
    assert_eq!(names.len(), unique.len(), "an alert is there twice");
    assert!(unique.len() > 25, "{} alerts", unique.len());
    unique
}

/// Every metric of both pages, and every recorded series.
fn known_series() -> BTreeSet<String> {
    let pages = read("docs/metrics.md") + &read("docs/kafka.md") + &read("docs/blend.md");
    let listed = after(&pages, "| `").filter_map(|row| Some(row.split_once('`')?.0.to_owned()));
    let recorded = read("deploy/prometheus/recording.rules.yml");
    let recorded: Vec<_> = after(&recorded, "- record: ").map(str::to_owned).collect();
    listed.chain(recorded).chain(["ALERTS".to_owned()]).collect()
}

/// The names of series in an expression: words of ours, and what Prometheus adds to histograms
/// taken off.
fn series(expression: &str) -> Vec<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || "_:".contains(letter);
    let words = expression.split(|letter| !is_word(letter));
    let ours = ["tickcast_", "process_", "instance:"];
    words
        .filter(|word| ours.iter().any(|prefix| word.starts_with(prefix)))
        .map(|word| {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            base.unwrap_or(word).to_owned()
        })
        .collect()
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts = alerts();
    let page = read("docs/operating.md");
    let (_, runbooks) = page.split_once("\n## Runbooks\n").unwrap();
    let headings: BTreeSet<_> = after(runbooks, "### ").map(str::to_owned).collect();
    assert_eq!(headings, alerts);
    let rules = read("deploy/prometheus/alerts.rules.yml");
    let links: BTreeSet<_> = after(&rules, "runbook_url: ").map(str::to_owned).collect();
    let base = "{{ with $externalLabels.tickcast_docs }}{{ . }}{{ else }}docs{{ end }}";
    let link = |name: &String| format!("'{base}/operating.md#{}'", name.to_lowercase());
    let wanted = alerts.iter().map(link);
    assert_eq!(links, wanted.collect());
    // Whoever is woken reads the runbook's first word, and the pager reads the label.
    let mut severity = BTreeMap::new();
    for block in rules.split("- alert: ").skip(1) {
        let name = block.lines().next().unwrap().to_owned();
        let (_, word) = block.split_once("severity: ").unwrap();
        severity.insert(name, word.split('}').next().unwrap().to_owned());
    }
    for block in runbooks.split("\n### ").skip(1) {
        let mut lines = block.lines();
        let name = lines.next().unwrap();
        let first = lines.find(|line| !line.is_empty()).unwrap().split('.').next().unwrap();
        assert_eq!(first.to_lowercase(), severity[name], "{name}");
    }
}

#[test]
fn rules_and_dashboards_ask_for_metrics_that_there_are() {
    let known = known_series();
    let mut asked = BTreeSet::new();
    for file in ["alerts", "recording"] {
        let rules = read(&format!("deploy/prometheus/{file}.rules.yml"));
        let expressions = rules.split("expr: ").skip(1);
        for expression in expressions {
            let end = ["\n        for:", "\n        labels:", "\n      - ", "\n      #"];
            let end = end.iter().filter_map(|end| expression.find(end)).min();
            asked.extend(series(&expression[..end.unwrap_or(expression.len())]));
        }
    }
    let mut boards = 0;
    for entry in fs::read_dir(repository().join("deploy/grafana/dashboards")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        check_board(&board);
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                asked.extend(series(target["expr"].as_str().unwrap()));
            }
        }
        boards += 1;
    }
    assert_eq!(boards, 4);
    let unknown: Vec<_> = asked.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "not in docs/metrics.md, docs/kafka.md, docs/blend.md or the recording rules: {unknown:?}"
    );
    assert!(asked.len() > 40, "{} series are asked for", asked.len());
}

/// What Grafana would show badly without a word: panels without a unit or a description, without
/// the chosen data source, or one upon another.
fn check_board(board: &Value) {
    let title = board["title"].as_str().unwrap();
    let variables: Vec<_> = board["templating"]["list"].as_array().unwrap().iter().collect();
    let names: Vec<_> =
        variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(names[..3], ["datasource", "job", "instance"], "{title}");
    let mut identities = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        let name = format!("{title}: {}", panel["title"].as_str().unwrap());
        assert!(identities.insert(panel["id"].as_u64().unwrap()), "{name}: its id is there twice");
        let [x, y, w, h] =
            ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{name} is too wide");
        for column in x..x + w {
            for line in y..y + h {
                assert!(places.insert((column, line)), "{name} lies upon another panel");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.ends_with('.')), "{name}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{name} has no unit");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{name} asks for nothing");
        for target in targets {
            assert!(target["legendFormat"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
            for source in [&target["datasource"], &panel["datasource"]] {
                assert_eq!(source["uid"], "${datasource}", "{name}");
            }
            let query = target["expr"].as_str().unwrap();
            assert!(query.contains(r#"job=~"$job", instance=~"$instance""#), "{name}: {query}");
        }
    }
}

/// Files under `folder` with one of these endings, by their paths in the repository.
fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(repository().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&path, endings));
        } else if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(path);
        }
    }
    found
}

/// The commands of cargo in a text that build a binary, up to the end of their line.
fn builds(text: &str) -> Vec<String> {
    // Lists of words in Python, lines that go on, and the variable of the Makefile.
    let text = text.replace("\", \"", " ").replace("\\\n", " ");
    let daemon = after(&text, "DAEMON := ").next().unwrap_or_default().to_owned();
    let text = text.replace("$(DAEMON)", &daemon);
    let commands = ["cargo build", "cargo run", "cargo bench", "cargo rustc"];
    text.lines()
        .filter_map(|line| {
            commands.iter().find_map(|command| line.find(command)).map(|at| &line[at..])
        })
        .map(str::to_owned)
        .collect()
}

/// What is wrong with a command that builds a binary, where it may leave one in target/release that
/// is not the whole program.
fn fault(build: &str) -> Option<&'static str> {
    let has = |word: &str| build.contains(word);
    let is_optimized = has("--release") || has(" -r ");
    if build.starts_with("cargo bench") && !has("--profile ") {
        Some("`cargo bench` without a profile writes to target/release")
    } else if has("--profile release") || has("--profile bench") {
        Some("a plain `--release` says the same")
    } else if is_optimized && (has("features") || has("--profile")) {
        Some("part of the program goes to target/release")
    } else {
        None
    }
}

#[test]
fn only_a_plain_release_build_writes_to_target_release() {
    let mut places = files("deploy", &[".sh", "Dockerfile"]);
    places.extend(files("benches", &[".py", ".rs"]));
    places.extend(files("docs", &[".md"]));
    places.extend(["Makefile", "README.md", ".ci/run"].map(str::to_owned));
    let mut seen = BTreeSet::new();
    for path in &places {
        let text = read(path);
        for build in builds(&text) {
            assert_eq!(fault(&build), None, "{path}: {build}");
            seen.insert(path.as_str());
        }
        // Only people run what lies there; every script builds what it runs.
        if !path.ends_with(".md") {
            let own = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            let names = own.filter(|line| line.contains("target/release")).count();
            assert_eq!(names, 0, "{path} names target/release");
        }
    }
    for path in ["Makefile", "deploy/demo.sh", "deploy/docker/Dockerfile", "README.md"] {
        assert!(seen.contains(path), "no build was found in {path}");
    }
    assert!(
        seen.contains("benches/python_inference.py") && seen.contains("benches/train_peers.py")
    );

    for bad in [
        "cargo build --release --no-default-features",
        "cargo run -r --features kafka -- bench",
        "cargo bench --bench parts",
        "cargo build --profile release",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
    let lines = "DAEMON := --release --no-default-features\n\tcargo run $(DAEMON) -- bench\n";
    assert!(builds(lines).iter().any(|build| fault(build).is_some()));
}

/// The profiles have folders of their own, in which the scripts look for what they have built.
#[test]
fn each_profile_is_built_and_found_in_its_own_folder() {
    let manifest = read("Cargo.toml");
    for profile in ["demo", "dist"] {
        let heading = format!("\n[profile.{profile}]\ninherits = \"release\"\n");
        assert!(manifest.contains(&heading), "{profile}");
    }
    let makefile = read("Makefile");
    let daemon = "--no-default-features --features kafka";
    let built = format!("\nPROFILE := dist\nDAEMON := --locked --profile $(PROFILE) {daemon}\n");
    assert!(makefile.contains(&built));
    assert!(read("deploy/debian/build.sh").contains("\nprofile=${1:-dist}\n"));
    assert!(read("benches/soak.py").contains(r#""TICKCAST", "target/dist/tickcast""#));
    let recipe = read("deploy/docker/Dockerfile");
    assert!(recipe.contains(&format!("cargo build --profile dist --locked {daemon} ")));
    assert!(recipe.contains("/build/target/dist/tickcast "));
    let demo = read("deploy/demo.sh");
    assert!(
        demo.contains("\nbuild=(--locked --profile demo --no-default-features --bin tickcast)\n")
    );
    assert!(demo.contains("\nif [[ $way == kafka ]]; then build+=(--features kafka); fi\n"));
}

/// The lines of a section of the manifest.
fn section<'m>(manifest: &'m str, name: &str) -> Vec<&'m str> {
    let heading = format!("[{name}]");
    let lines = manifest.lines().skip_while(|line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with('[')).collect()
}

/// The demo and other builds without Kafka need neither librdkafka nor OpenSSL.
#[test]
fn only_the_feature_kafka_brings_its_client() {
    let manifest = read("Cargo.toml");
    let features = section(&manifest, "features");
    assert!(features.contains(&r#"default = ["kafka", "train"]"#), "{features:?}");
    assert!(features.contains(&r#"kafka = ["dep:rdkafka"]"#), "{features:?}");
    let of_client = features.iter().filter(|line| line.contains("rdkafka\"")).count();
    assert_eq!(of_client, 1, "{features:?}");
    let dependencies = section(&manifest, "dependencies");
    let client = dependencies.iter().find(|line| line.starts_with("rdkafka = ")).unwrap();
    assert!(client.contains("optional = true"), "{client}");
    let of_tests = section(&manifest, "dev-dependencies");
    assert!(!of_tests.iter().any(|line| line.starts_with("rdkafka")), "{of_tests:?}");
}

/// Cargo's own word for it: the client library and what it links are in no build without the
/// feature.
#[test]
fn a_build_without_kafka_links_neither_its_client_nor_openssl() {
    for features in [&[][..], &["--features", "train"]] {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.current_dir(repository()).args(["tree", "--locked", "--offline", "--prefix=none"]);
        cargo.args(["--edges=normal,build", "--no-default-features"]).args(features);
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let tree = String::from_utf8(output.stdout).unwrap();
        let names: BTreeSet<_> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
        assert!(names.contains("tokio"), "{names:?}");
        for name in ["rdkafka", "rdkafka-sys", "openssl-sys", "libz-sys"] {
            assert!(!names.contains(name), "{features:?}: {name}");
        }
    }
}

/// Targets that `make smoke` does not run: tests, which CI runs by themselves, itself, and `clean`.
const NO_SMOKE: [&str; 9] = [
    "test",
    "test-kafka",
    "test-promotions",
    "test-api",
    "test-deploy",
    "test-kubernetes",
    "check",
    "smoke",
    "clean",
];

#[test]
fn every_documented_command_is_tried_at_a_size_of_seconds() {
    let makefile = read("Makefile");
    let (_, phony) = makefile.split_once(".PHONY:").unwrap();
    let phony = phony.split("\n\n").next().unwrap().replace("\\\n", " ");
    let targets: BTreeSet<_> = phony.split_whitespace().map(str::to_owned).collect();
    let described = makefile.lines().filter(|line| line.contains(": ## "));
    let described: BTreeSet<_> =
        described.map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert_eq!(targets, described, "each target has a line in `make help`");
    let script = read("deploy/smoke.sh");
    let mut tried: BTreeSet<_> = after(&script, "smoke ").map(first_word).collect();
    assert!(NO_SMOKE.iter().all(|name| !tried.contains(*name)));
    tried.extend(NO_SMOKE.map(str::to_owned));
    assert_eq!(tried, targets);
    assert!(read(".ci/run").contains("\ntimed make smoke\n"));
}

fn first_word(line: &str) -> String {
    line.split_whitespace().next().unwrap_or_default().to_owned()
}
