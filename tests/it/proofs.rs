//! The proof of a model in a process of its own: what hangs, panics or takes all memory there costs
//! the daemon nothing, and a stop waits for nothing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tickcast::engine::inference::{ChosenRuntime, RuntimeChoice};
use tickcast::engine::onnx::NodeProto;
use tickcast::engine::pipeline::{InProcess, PipelineSettings, Prover, Unproven};
use tickcast::keep::prove::{ChildProver, ProofLimits};

use crate::support::bundle::draft;
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::{Daemon, eventually, run_to_end};
use crate::support::raw_bundle::{
    RawBundle, before_head, endless_loop, negative_split, outer_product,
};
use crate::support::{onnxruntime, runtime};

const WINDOW_STEPS: u32 = 5;

fn raw(seed: u64) -> RawBundle {
    RawBundle::of(&draft(WINDOW_STEPS, &Network::random(seed, 3, &[6])))
}

/// A prover whose children are the binary, with limits of its own.
fn prover(seconds: u64, memory_bytes: u64) -> ChildProver {
    let limits = ProofLimits { time: Duration::from_secs(seconds), memory_bytes };
    ChildProver::new(
        onnxruntime(),
        limits,
        ChosenRuntime::new(RuntimeChoice::OnnxRuntime, Arc::new(runtime().clone())),
    )
    .with_program(env!("CARGO_BIN_EXE_tickcast").into())
}

/// What is said of a bundle.
fn prove(prover: &ChildProver, folder: &Path) -> Result<String, String> {
    let settings = PipelineSettings::of_proof(None, 64);
    match prover.prove(folder, &settings, &|| true) {
        Ok(bundle) => Ok(bundle.manifest().version.clone()),
        Err(Unproven::Refused(refusal)) => Err(refusal.problems.join("\n")),
        Err(other) => panic!("{other}"),
    }
}

/// The children of a process, zombies among them.
fn children(process: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
    let listed =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    listed.flat_map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_good_bundle_is_proved_and_bad_ones_are_refused_by_what_they_do() {
    let root = tempfile::tempdir().unwrap();
    let folder = |version: &str, raw: RawBundle| raw.write(root.path(), version);
    let roomy = prover(120, 1 << 30);
    assert_eq!(prove(&roomy, &folder("1", raw(41))), Ok("1".to_owned()));
    let refused = prove(&roomy, &folder("2", raw(43).with_graph(negative_split))).unwrap_err();
    assert!(refused.starts_with("model.onnx: the runtime panics: "), "{refused}");
    let tight = prover(120, 512 << 20);
    let refused = prove(&tight, &folder("3", raw(43).with_graph(outer_product))).unwrap_err();
    assert!(refused.contains("a proof may take 512 MiB"), "{refused}");
    let quick = prover(1, 1 << 30);
    let refused = prove(&quick, &folder("4", raw(43).with_graph(endless_loop))).unwrap_err();
    assert!(refused.contains("takes more than 1 s (model.proof_seconds_max)"), "{refused}");
    // A stop cuts a proof off, and is no refusal.
    let settings = PipelineSettings::of_proof(None, 64);
    let cut = roomy.prove(&root.path().join("random/4"), &settings, &|| false).unwrap_err();
    assert!(matches!(cut, Unproven::Interrupted(_)), "{cut}");
    let ours = root.path().display().to_string();
    let of_proof = |child: &String| {
        let words = fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        words.contains(&ours)
    };
    assert_eq!(children(std::process::id()).iter().filter(|child| of_proof(child)).count(), 0);
}

#[test]
fn where_no_process_can_be_had_the_model_is_proved_here() {
    let root = tempfile::tempdir().unwrap();
    let folder = raw(41).write(root.path(), "1");
    let prover = prover(120, 1 << 30).with_program("/does/not/exist".into());
    assert_eq!(prove(&prover, &folder), Ok("1".to_owned()));
}

/// What a subscriber writes.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn lines_of_the_runtime_are_lines_of_ours() {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let root = tempfile::tempdir().unwrap();
    let name = "evil\u{1b}[2J";
    let bad = raw(41).with_graph(|graph| {
        before_head(graph, vec![NodeProto::new("Gather", name, &["z", "axis1"], &["z2"])]);
    });
    let folder = bad.write(root.path(), "1");
    let prover = InProcess(Arc::new(runtime().clone()));
    let settings = PipelineSettings::of_proof(None, 64);
    let refused = tracing::subscriber::with_default(subscriber, || {
        prover.prove(&folder, &settings, &|| true).unwrap_err().to_string()
    });
    assert!(refused.contains("evil\\u{1b}[2J"), "{refused}");
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_of_runtime =
        |line: &&serde_json::Value| line["fields"]["message"] == "ONNX Runtime reports an error";
    let line = lines.iter().find(is_of_runtime).unwrap_or_else(|| panic!("{text}"));
    let words = line["fields"]["runtime"].as_str().unwrap();
    assert!(words.contains("evil\\u{1b}[2J") && words.contains("out of data bounds"), "{words}");
}

/// Status and body of a request to reload.
fn reload(address: &str) -> (u16, serde_json::Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "POST /v1/reload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

#[test]
fn a_model_that_hangs_ends_a_start_with_its_reason_and_a_reload_goes_on_without_it() {
    let root = tempfile::tempdir().unwrap();
    raw(41).write(root.path(), "1");
    let hanging = raw(43).with_graph(endless_loop);
    let folder = hanging.write(root.path(), "2");
    // Named, so that no other version may take its place.
    let config = format!(
        "source.url = 'ws://127.0.0.1:1'\nmodel.root = '{}'\nmodel.name = 'random'\n\
         model.version = '2'\nmodel.proof_seconds_max = 2\n",
        root.path().display()
    );
    let path = root.path().join("serve.toml");
    fs::write(&path, config).unwrap();
    let words = "takes more than 2 s (model.proof_seconds_max)";
    for command in ["serve", "check"] {
        let output = run_to_end(&[command, "-c", &path.display().to_string()]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), told.contains(words)), (Some(78), true), "{told}");
    }
    fs::rename(&folder, root.path().join("later")).unwrap();
    let settings = "model.proof_seconds_max = 5";
    let daemon = Daemon::start(root.path(), "random", "ws://127.0.0.1:1", settings);
    fs::rename(root.path().join("later"), &folder).unwrap();
    let (status, outcome) = reload(daemon.address());
    let reason = outcome["reason"].as_str().unwrap_or_default();
    assert_eq!(status, 409, "{outcome}");
    assert!(reason.contains("takes more than 5 s"), "{reason}");
    assert_eq!(daemon.get("/livez").0, 200);
    assert_eq!(daemon.metric(r#"tickcast_stage_stalled{stage="reload"}"#), 0.0);
    // The thread is there for the next one, and no child is left.
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(children(daemon.id()).len(), 0);
    let (status, outcome) = reload(daemon.address());
    assert_eq!((status, &outcome["outcome"]), (200, &"unchanged".into()), "{outcome}");
    assert!(daemon.stop().status.success());
}

#[test]
fn a_reload_that_hangs_in_the_daemon_itself_is_seen_and_holds_nothing_else_up() {
    let root = tempfile::tempdir().unwrap();
    raw(41).write(root.path(), "1");
    let library = root.path().join("library.so");
    symlink(onnxruntime(), &library).unwrap();
    let settings = "model.proof_seconds_max = 5\nsupervise.stall_seconds_max = 1";
    let (models, feed) = (root.path(), ScriptedFeed::start());
    let daemon = Daemon::start_with(models, "random", feed.url(), settings, |command| {
        command.env("ORT_DYLIB_PATH", &library);
    });
    // Each stage has its metric once it has begun.
    let await_stalled = |stage: &str, value: f64| {
        let name = format!("tickcast_stage_stalled{{stage=\"{stage}\"}}");
        let is_it = || (daemon.metrics().get(&name) == Some(&value)).then_some(());
        eventually(&format!("{name} {value}"), is_it);
    };
    await_stalled("reload", 0.0);
    assert_eq!(daemon.get("/livez").0, 200);
    // The library is gone, as in the middle of an upgrade: a child cannot load it, so the model is
    // proved in the daemon, where nothing cuts it off.
    fs::remove_file(&library).unwrap();
    raw(43).with_graph(endless_loop).write(root.path(), "2");
    let hangup = Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    await_stalled("reload", 1.0);
    let (status, reasons) = daemon.get("/livez");
    assert_eq!((status, &*reasons), (503, "stages: no progress in reload\n"));
    for day in 0..WINDOW_STEPS + 3 {
        let (time, close) = (u64::from(day) * 86_400_000, 100 + day % 7);
        feed.say(format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":10}}"#));
    }
    daemon.await_metric("tickcast_ticks_total", f64::from(WINDOW_STEPS + 3));
    for stage in ["source", "shard-0", "runtime", "lines"] {
        await_stalled(stage, 0.0);
    }
    // A stop does not wait for it.
    assert!(daemon.stop().status.success());
}

#[test]
fn a_child_does_not_outlive_a_daemon_that_is_killed() {
    let root = tempfile::tempdir().unwrap();
    raw(41).write(root.path(), "1");
    let daemon = Daemon::start(root.path(), "random", "ws://127.0.0.1:1", "");
    raw(43).with_graph(endless_loop).write(root.path(), "2");
    // It answers, so it takes signals.
    assert_eq!(daemon.get("/livez").0, 200);
    let hangup = Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    let child = eventually("a child", || children(daemon.id()).pop());
    let state = || fs::read_to_string(format!("/proc/{child}/stat")).ok();
    assert!(state().is_some());
    daemon.kill();
    eventually("the child's end", || match state() {
        Some(state) if !state.contains(") Z ") => None,
        _ => Some(()),
    });
}

/// A tick of a day.
fn tick(day: u32) -> String {
    let (time, close) = (i64::from(day) * 86_400_000, 100.0 + f64::from(day).sin());
    format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":500}}"#)
}

/// One life: a reload of a good model is under way when SIGTERM comes, `after` that long.
fn stopped_within_a_reload(after: Duration, is_hanging: bool) {
    let root = tempfile::tempdir().unwrap();
    raw(41).write(root.path(), "1");
    let snapshots = root.path().join("states");
    let feed = ScriptedFeed::start();
    let settings = format!("engine.shards = 2\nsnapshot.folder = '{}'", snapshots.display());
    let daemon = Daemon::start(root.path(), "random", feed.url(), &settings);
    (0..12).for_each(|day| feed.say(tick(day)));
    daemon.await_metric("tickcast_ticks_total", 12.0);
    let next = raw(43);
    let next = if is_hanging { next.with_graph(endless_loop) } else { next };
    next.write(root.path(), "2");
    let hangup = Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    if is_hanging {
        eventually("a child", || children(daemon.id()).pop());
    }
    std::thread::sleep(after);
    let ended = daemon.stop();
    assert_eq!(ended.status.code(), Some(0), "after {after:?}: {} {:#?}", ended.status, ended.log);
    let refused = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        message.contains("does not prove itself") || message.contains("panicked")
    };
    assert!(!ended.log.iter().any(refused), "after {after:?}: {:#?}", ended.log);
    assert_eq!(ended.drained("ticks"), 12);
    assert!(fs::read_dir(&snapshots).unwrap().count() > 0, "the last snapshot is written");
}

#[test]
fn a_stop_at_any_moment_of_a_reload_ends_with_0_and_without_a_refusal() {
    // From before the child is there to after the change, whatever the machine is busy with.
    let lives: Vec<u64> = (0..20).map(|life| life * 30).collect();
    std::thread::scope(|scope| {
        for lives in lives.chunks(10) {
            scope.spawn(move || {
                lives.iter().for_each(|millis| {
                    stopped_within_a_reload(Duration::from_millis(*millis), false);
                });
            });
        }
    });
    // A proof that would go on for a minute is cut off.
    stopped_within_a_reload(Duration::ZERO, true);
}
