//! Which runtime computes a model, as a person and a program can see it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use tickcast::engine::inference::NativeRuntime;
use tickcast::engine::onnx::NodeProto;

use crate::support::bundle::draft;
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, run};
use crate::support::raw_bundle::{RawBundle, before_head};

/// A store with one small model. Where it is not `plain`, two nodes change the sign twice, which
/// ONNX Runtime computes and the kernels do not take.
fn store(plain: bool) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let bundle = RawBundle::of(&draft(5, &Network::random(61, 3, &[6])));
    let bundle = if plain {
        bundle
    } else {
        bundle.with_graph(|graph| {
            let turn =
                |name: &str, from: &str, to: &str| NodeProto::new("Neg", name, &[from], &[to]);
            before_head(graph, vec![turn("there", "z", "z1"), turn("back", "z1", "z2")]);
        })
    };
    bundle.write(root.path(), "1");
    root
}

/// Exit code, answer and problems of `tickcast check`.
fn check(root: &Path, runtime: &str) -> (Option<i32>, String, String) {
    let path = root.join("tickcast.toml");
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         http.bind = '127.0.0.1:0'\nengine.runtime = '{runtime}'\n",
        root.display()
    );
    fs::write(&path, config).unwrap();
    let output = run(&["check", "-c", path.to_str().unwrap()]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What `auto` chooses for a model that the kernels take.
fn chosen() -> &'static str {
    if NativeRuntime::new().is_fast() { "native" } else { "onnxruntime" }
}

const REFUSAL: &str =
    "read the graph natively: Neg `there`: the native runtime has no such operator";

#[test]
fn check_says_what_computes_a_model_and_why_it_is_not_native() {
    let (plain, other) = (store(true), store(false));
    let (code, answer, problems) = check(plain.path(), "auto");
    assert_eq!(code, Some(0), "{problems}");
    assert!(answer.contains(&format!("computed by {}\n", chosen())), "{answer}");
    assert_eq!(answer.contains("not native"), chosen() != "native", "{answer}");
    let (code, answer, problems) = check(other.path(), "auto");
    assert_eq!(code, Some(0), "{problems}");
    assert!(answer.contains("computed by onnxruntime\nnot native    "), "{answer}");
    if chosen() == "native" {
        assert!(answer.contains(&format!("not native    {REFUSAL}\n")), "{answer}");
    }
    let (_, answer, _) = check(other.path(), "onnxruntime");
    assert!(answer.contains("computed by onnxruntime\nsteps "), "nothing was left open: {answer}");
    let (code, _, problems) = check(other.path(), "native");
    assert_eq!(code, Some(78));
    let says = format!("{REFUSAL}; use engine.runtime = \"onnxruntime\"");
    assert!(problems.contains(&says), "{problems}");
}

#[test]
fn a_daemon_shows_what_computes_each_model_and_logs_it_once() {
    let feed = ScriptedFeed::start();
    for (plain, runtime) in [(true, chosen()), (false, "onnxruntime")] {
        let root = store(plain);
        let settings = "engine.runtime = 'auto'\nengine.shards = 2";
        let daemon = Daemon::start(root.path(), "random", feed.url(), settings);
        let page = |path: &str| -> Value { serde_json::from_str(&daemon.get(path).1).unwrap() };
        assert_eq!(page("/version")["runtime"], "auto");
        let models = page("/v1/models");
        let ended = daemon.stop();
        for model in [&models, &models["models"][0]] {
            assert_eq!(model["runtime"], runtime, "{model}");
            let reason = model.get("runtime_reason").and_then(Value::as_str);
            match (chosen(), plain) {
                ("native", true) => assert_eq!(reason, None),
                ("native", false) => assert_eq!(reason, Some(REFUSAL)),
                _ => assert_eq!(reason, Some("this processor has no AVX2 and FMA")),
            }
        }
        let is_of_runtime = |line: &&Value| line["runtime"] == runtime;
        let lines: Vec<_> = ended.log.iter().filter(is_of_runtime).collect();
        let [line] = lines[..] else { panic!("not once for two shards: {lines:?}") };
        assert_eq!((&line["model"], &line["version"]), (&"random".into(), &"1".into()), "{line}");
        assert_eq!(line.get("reason"), models.get("runtime_reason"), "{line}");
    }
}
