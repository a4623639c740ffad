//! Bundles that are made to do harm, each given to a running daemon: every one is refused by a
//! short, printable reason that names the place, and the daemon serves throughout, in little
//! memory.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tickcast::engine::onnx::{
    AttributeProto, DATA_LOCATION_EXTERNAL, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto, attribute_type,
};

use crate::support::bundle::draft;
use crate::support::feed::ScriptedFeed;
use crate::support::network::Network;
use crate::support::process::Daemon;
use crate::support::raw_bundle::{RawBundle, before_head, negative_split, outer_product};

const WINDOW_STEPS: u32 = 5;

/// The fewest bundles that are tried.
const BUNDLES_MIN: usize = 150;

/// The most memory that the daemon may have had at any time.
const RESIDENT_KB_MAX: u64 = 300 << 10;

/// The longest reason of a refusal, in characters.
const REASON_CHARS_MAX: usize = 3000;

/// A bundle: what the reason must say, and how its folder is made.
struct Hostile {
    words: String,
    make: Box<dyn FnOnce(&Path)>,
}

/// All of them, made of one good bundle.
struct Collection {
    good: RawBundle,
    all: Vec<Hostile>,
}

impl Collection {
    fn add(&mut self, words: &str, make: impl FnOnce(&Path) + 'static) {
        self.all.push(Hostile { words: words.to_owned(), make: Box::new(make) });
    }

    /// The good bundle with a change.
    fn changed(&mut self, words: &str, change: impl FnOnce(&mut RawBundle) + 'static) {
        let mut raw = self.good.clone();
        self.add(words, move |root| {
            change(&mut raw);
            raw.write(root, "2");
        });
    }

    /// The good bundle with one of its files replaced.
    fn file(&mut self, words: &str, name: &'static str, put: impl FnOnce(&Path) + 'static) {
        let raw = self.good.clone();
        self.add(words, move |root| {
            let path = raw.write(root, "2").join(name);
            fs::remove_file(&path).unwrap();
            put(&path);
        });
    }

    fn manifest(&mut self, words: &str, pointer: &'static str, value: Value) {
        self.changed(words, move |raw| *raw.manifest.pointer_mut(pointer).unwrap() = value);
    }

    fn golden(&mut self, words: &str, pointer: &'static str, value: Value) {
        self.changed(words, move |raw| {
            let mut golden: Value = serde_json::from_slice(&raw.golden).unwrap();
            *golden.pointer_mut(pointer).unwrap() = value;
            raw.golden = golden.to_string().into_bytes();
        });
    }

    fn model(&mut self, words: &str, change: impl FnOnce(&mut ModelProto) + 'static) {
        self.changed(words, |raw| {
            let mut model = ModelProto::from_bytes(&raw.onnx).unwrap();
            change(&mut model);
            raw.onnx = model.to_bytes();
        });
    }

    fn graph(&mut self, words: &str, change: impl FnOnce(&mut GraphProto) + 'static) {
        self.model(words, |model| change(model.graph.as_mut().unwrap()));
    }

    /// A node beside the others, whose output nobody reads.
    fn node(&mut self, words: &str, node: NodeProto) {
        self.graph(words, |graph| graph.node.push(node));
    }

    /// Another list of nodes between the last two.
    fn nodes(&mut self, words: &str, nodes: Vec<NodeProto>) {
        self.graph(words, |graph| before_head(graph, nodes));
    }

    fn tensor(
        &mut self,
        words: &str,
        name: &'static str,
        change: impl FnOnce(&mut TensorProto) + 'static,
    ) {
        self.graph(words, move |graph| {
            change(graph.initializer.iter_mut().find(|tensor| tensor.name == name).unwrap());
        });
    }
}

/// A file of a length without its bytes on the disk.
fn sparse(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

fn pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Things that are no files, or too large ones.
fn add_files(to: &mut Collection) {
    for name in ["golden.json", "model.onnx"] {
        let say = |what: &str| format!("{name}: {what}");
        to.file(&say("No such file"), name, |_| {});
        to.file(&say("is a pipe, not a file"), name, pipe);
        to.file(&say("is a folder, not a file"), name, |path| fs::create_dir(path).unwrap());
        to.file(&say("is a device, not a file"), name, |path| symlink("/dev/zero", path).unwrap());
        to.file(&say("is a device, not a file"), name, |path| symlink("/dev/tty", path).unwrap());
        to.file(&say("No such file"), name, |path| symlink("/nowhere", path).unwrap());
        to.file(&say("Too many levels of symbolic"), name, |path| symlink(path, path).unwrap());
        to.file(&say("is a socket, not a file"), name, |path| {
            drop(UnixListener::bind(path).unwrap());
        });
        to.file(&say("is larger than"), name, |path| sparse(path, 1 << 40));
    }
    to.file("golden_sha256 is", "golden.json", |path| sparse(path, 16 << 20));
    to.file("onnx_sha256 is", "model.onnx", |path| sparse(path, 64 << 20));
    to.file("manifest.json: is larger than", "manifest.json", |path| sparse(path, 1 << 30));
    to.file("manifest.json:", "manifest.json", |path| sparse(path, 1 << 20));
}

/// Manifests of another form.
fn add_manifest_forms(to: &mut Collection) {
    for text in [
        "",
        " ",
        "{",
        "[]",
        "null",
        "0",
        "\"text\"",
        "{}",
        "{\"schema\":",
        "\u{feff}{}",
        "{\"a\":1}",
        "nan",
        "\0\0\0\0",
    ] {
        to.file("manifest.json: ", "manifest.json", move |path| fs::write(path, text).unwrap());
    }
    let many = |text: &str, count: usize| text.repeat(count);
    for text in [
        many("[", 500_000),
        many("{\"a\":", 150_000),
        format!("{{\"{}\":1}}", many("x", 900_000)),
        format!("{{\"schema\":\"{}\"}}", many("\\u001b[31m", 90_000)),
        format!("{{\"features\":[{}\"\"]}}", many("\"\",", 300_000)),
        format!("{{\"{}\":1}}", many("\\n", 400_000)),
        format!("{{\"window_steps\":{}}}", many("9", 900_000)),
    ] {
        to.file("manifest.json: ", "manifest.json", move |path| fs::write(path, text).unwrap());
    }
    to.file("manifest.json: ", "manifest.json", |path| fs::write(path, [0xff; 1000]).unwrap());
    for key in [
        "/schema",
        "/name",
        "/onnx_sha256",
        "/golden_sha256",
        "/window_steps",
        "/horizon_steps",
        "/step",
        "/features",
        "/scaler",
        "/target",
        "/modes",
        "/graph",
        "/signal",
        "/interval",
        "/training",
        "/evaluation",
        "/verdict",
    ] {
        to.manifest("manifest.json: ", key, Value::Null);
        to.manifest("manifest.json: ", key, json!({"a": [[[1e300]]]}));
    }
}

/// Manifests that break a rule.
fn add_manifest_rules(to: &mut Collection) {
    for (words, pointer, value) in [
        ("schema: `evil", "/schema", json!("evil\u{1b}[2J")),
        ("name is `../../etc", "/name", json!("../../etc")),
        ("name is `", "/name", json!("x".repeat(100_000))),
        ("name is `\\n\\u{1b}]0;", "/name", json!("\n\u{1b}]0;owned\u{7}")),
        ("window_steps: 0", "/window_steps", json!(0)),
        ("window_steps: 4294967295", "/window_steps", json!(u32::MAX)),
        ("manifest.json: invalid value", "/window_steps", json!(u64::MAX)),
        ("manifest.json: invalid", "/window_steps", json!(-1)),
        ("cases[0]", "/window_steps", json!(4096)),
        ("horizon_steps", "/horizon_steps", json!(0)),
        ("horizon_steps: the horizon overflows", "/horizon_steps", json!(u32::MAX)),
        ("features: no features", "/features", json!([])),
        ("is listed twice", "/features", json!(["close", "close", "close"])),
        ("is the label", "/features/2", json!("next_return")),
        ("unknown feature `xxxx", "/features/0", json!("x".repeat(500_000))),
        ("unknown feature `\\u{202e}", "/features/0", json!("\u{202e}\u{1b}[31m\n")),
        ("features: ", "/features/0", json!("average(close,4294967295)")),
        (
            "extra fields; at most",
            "/extra_fields",
            json!((0..1000).map(|n| format!("e{n}")).collect::<Vec<_>>()),
        ),
        ("modes: at least one", "/modes", json!([])),
        ("stands alone", "/modes", json!(["carried", "full"])),
        ("graph.input `\\n", "/graph/input", json!("\n\r\u{1b}")),
        ("`none` is not an output", "/graph/output", json!("none")),
        ("needs graph.states", "/graph/states", json!([])),
        ("width is 0", "/graph/states/0/width", json!(0)),
        ("wider than", "/graph/states/0/width", json!(u32::MAX)),
        (
            "the graph has no input",
            "/graph/states",
            json!(vec![json!({"input": "h", "output": "h_out", "width": 6}); 10_000]),
        ),
        ("the graph's order says", "/graph/states/1/input", json!("h0")),
        ("interval: ", "/interval/coverage", json!(2.0)),
        ("step.interval_seconds", "/step/interval_seconds", json!(0)),
        ("manifest.json: ", "/step/kind", json!("forever")),
        ("target.scaler", "/target/scaler/columns", json!([])),
        ("features: ", "/scaler/columns", json!([])),
        ("features: ", "/scaler/columns/0/max", json!(-1e308)),
        ("manifest.json: ", "/target/kind", json!("next_\u{1b}")),
        (
            "more problems",
            "/graph/states",
            json!(vec![json!({"input": "\u{1b}", "output": "\n", "width": 0}); 50]),
        ),
    ] {
        if pointer == "/extra_fields" {
            to.changed(words, move |raw| raw.manifest["extra_fields"] = value);
        } else {
            to.manifest(words, pointer, value);
        }
    }
}

/// Golden vectors that are none, or do not come true.
fn add_golden(to: &mut Collection) {
    for text in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "[".repeat(1_000_000),
        "{\"schema\":\"tickcast.golden.v1\",\"tolerance\":0,\"cases\":".to_owned(),
        // A few bytes each, and a hundred times as many in memory.
        format!("{{\"cases\":[{{\"window\":[{}[]]}}]}}", "[],".repeat(1_000_000)),
        format!(
            "{{\"cases\":[{{\"steps\":[{}]}}]}}",
            vec!["{\"time\":0,\"fields\":{\"a\":1}}"; 400_000].join(",")
        ),
    ] {
        to.changed("golden.json: ", move |raw| raw.golden = text.into_bytes());
    }
    for (words, pointer, value) in [
        ("schema: `", "/schema", json!("\u{1b}".repeat(10_000))),
        ("tolerance: 1", "/tolerance", json!(1.0)),
        ("tolerance: -1", "/tolerance", json!(-1.0)),
        ("cases: there is none", "/cases", json!([])),
        ("cases[0]: 0 rows", "/cases/0/window", json!([])),
        ("cases[0]: 5000 rows", "/cases/0/window", json!(vec![[0.0, 0.0, 0.0]; 5000])),
        ("cases[0]: ", "/cases/0/window/0", json!([1.0])),
        ("window[0] `close`", "/cases/0/window/0/0", json!(0.5)),
        ("cases[0]: steps make 0 rows", "/cases/0/steps", json!([])),
        ("outputs for 1 full", "/cases/0/output", json!([])),
        ("outputs for 1 full", "/cases/0/output", json!(vec![0.0; 1000])),
        ("output[0]: the model gives", "/cases/0/output/0", json!(0.9)),
        ("golden.json: ", "/cases/0/output/0", json!(1e300)),
        ("unknown field `\\u{1b}", "/cases/0/steps/0/fields", json!({"\u{1b}[31m": 1.0})),
        ("field `close`", "/cases/0/steps/0/fields/close", json!(-1e308)),
        ("golden.json: ", "/cases/0/steps/1/time", json!("never\u{1b}")),
    ] {
        to.golden(words, pointer, value);
    }
}

/// Numbers of fields in `onnx.proto3`.
const GRAPH: u8 = 7;
const OPSET_IMPORT: u8 = 8;
const NODE: u8 = 1;
const INITIALIZER: u8 = 5;
const VALUE_INFO: u8 = 13;
const NODE_INPUT: u8 = 1;
const NODE_ATTRIBUTE: u8 = 5;
const INTS: u8 = 8;

/// A field with a length, as protobuf writes it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

/// Bytes that are no model, or ask for much more than they are.
fn add_sizes(to: &mut Collection) {
    for bytes in [
        Vec::new(),
        b"hello".to_vec(),
        vec![0; 1000],
        vec![0xff; 1000],
        vec![0x0b; 1000],
        b"\x3a\xff\xff\xff\xff\x0f".to_vec(),
    ] {
        to.changed("model.onnx: ", move |raw| raw.onnx = bytes);
    }
    for part in 1..8 {
        to.changed("model.onnx: ", move |raw| {
            let length = raw.onnx.len() * part / 8;
            raw.onnx.truncate(length);
        });
    }
    // Parts of two bytes each, behind the good graph: a message that comes twice is one.
    let of_node = |content: Vec<u8>| field(GRAPH, &field(NODE, &content));
    for (words, part) in [
        ("more than 20000 nodes", field(GRAPH, &field(NODE, &[]).repeat(8_000_000))),
        ("more than 20000 constants", field(GRAPH, &field(INITIALIZER, &[]).repeat(1_000_000))),
        ("more than 400000 messages", field(GRAPH, &field(VALUE_INFO, &[]).repeat(1_000_000))),
        ("more than 400000 messages", field(OPSET_IMPORT, &[]).repeat(1_000_000)),
        ("more than 400000 messages", of_node(field(NODE_ATTRIBUTE, &[]).repeat(1_000_000))),
        ("more than 400000 messages", of_node(field(NODE_INPUT, &[]).repeat(4_000_000))),
        ("whole numbers in lists", of_node(field(NODE_ATTRIBUTE, &field(INTS, &[1; 8_000_000])))),
    ] {
        to.changed(words, move |raw| raw.onnx.extend(part));
    }
    for depth in [5, 90] {
        to.graph("nested more than 4 deep", move |graph| {
            let mut inner = GraphProto::default();
            for _ in 0..depth {
                let attribute = AttributeProto { g: Some(inner), ..AttributeProto::default() };
                let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
                inner = GraphProto { node: vec![node], ..GraphProto::default() };
            }
            graph.node.extend(inner.node);
        });
    }
    // Of two constants of one name, a check sees one and the runtime reads the other.
    to.graph("graph: `shape` is given twice", |graph| {
        graph.initializer.push(TensorProto::int64s("shape", &[1], &[1]));
        let mut constant = NodeProto::new("Constant", "c", &[], &["shape"]);
        let much = TensorProto::int64s("", &[1], &[1 << 30]);
        constant.attribute.push(AttributeProto {
            name: "value".to_owned(),
            t: Some(much),
            kind: attribute_type::TENSOR,
            ..AttributeProto::default()
        });
        graph.node.insert(0, constant);
        graph.node.push(NodeProto::new("ConstantOfShape", "big", &["shape"], &["much"]));
    });
    to.graph("graph: `twice` is given twice", |graph| {
        for _ in 0..2 {
            graph.initializer.push(TensorProto::floats("twice", &[1], &[1.0]));
        }
    });
    let huge = |graph: &mut GraphProto| {
        graph.initializer.push(TensorProto::int64s("shape", &[2], &[1 << 15, 1 << 15]));
    };
    to.graph("ConstantOfShape `big`: makes 1073741824 elements", move |graph| {
        huge(graph);
        graph.node.push(NodeProto::new("ConstantOfShape", "big", &["shape"], &["much"]));
    });
    to.graph("Expand `big`: makes 1073741824 elements", move |graph| {
        huge(graph);
        graph.node.push(NodeProto::new("Expand", "big", &["axis0", "shape"], &["much"]));
    });
    to.graph("a proof may take 512 MiB", outer_product);
}

/// Graphs that reach beyond their bytes, or hide something.
fn add_reaching(to: &mut Collection) {
    for operator in [
        "RandomNormal",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "SequenceAt",
        "Optional",
        "StringConcat",
        "ImageDecoder",
        "Resize",
        "NonZero",
        "Unique",
        "lstm",
        "",
        "\u{1b}[2J",
    ] {
        let node = NodeProto::new(operator, "mine", &["x"], &["unused"]);
        to.node("is not on the list of accepted ones", node);
    }
    for (domain, words) in [
        ("com.microsoft", "is not a standard one"),
        ("ai.onnx.ml", "is not on the list of accepted ones"),
        ("evil\n\u{1b}", "is not a standard one"),
    ] {
        let node = NodeProto::new("Add", "mine", &["x", "x"], &["unused"]);
        to.node(words, NodeProto { domain: domain.to_owned(), ..node });
    }
    to.model("is not the standard one", |model| {
        let import = OperatorSetIdProto { domain: "evil\n\u{1b}".to_owned(), version: 1 };
        model.opset_import.push(import);
    });
    to.model("model-local functions", |model| model.functions.push(vec![0xff]));
    to.model("training information", |model| model.training_info.push(vec![]));
    to.model("there is no graph", |model| model.graph = None);
    to.graph("sparse initializers", |graph| graph.sparse_initializer.push(vec![]));
    to.tensor("tensor `dense` keeps its data in another file", "dense", |tensor| {
        tensor.data_location = DATA_LOCATION_EXTERNAL;
    });
    let attribute = |change: fn(&mut AttributeProto)| {
        let mut node =
            NodeProto::new("Constant", "hid\u{1b}den", &[], &["unused"]).with_int("v", 1);
        change(&mut node.attribute[0]);
        node
    };
    to.node("node `hid\\u{1b}den`: sparse", attribute(|a| a.sparse_tensor = Some(vec![])));
    to.node("node `hid\\u{1b}den`: a reference", attribute(|a| a.ref_attr_name = "x".into()));
    to.graph("and 4992 more problems", |graph| {
        let name = "\n".repeat(1000);
        graph.node.extend(vec![NodeProto::new("Evil", &name, &[], &[]); 5000]);
    });
    to.node("node `xxxx", NodeProto::new("Evil", &"x".repeat(1 << 20), &[], &[]));
}

/// Weights and states that do not fit.
fn add_shapes(to: &mut Collection) {
    to.tensor("tensor `dense` holds a number that is not finite", "dense", |tensor| {
        *tensor = TensorProto::floats("dense", &[6, 1], &[f32::NAN; 6]);
    });
    for dimensions in [vec![-6, 1], vec![i64::MAX, i64::MAX], vec![7, 1], vec![1; 1000], vec![0]] {
        to.tensor("`dense`", "dense", move |tensor| tensor.dims = dimensions);
    }
    to.tensor("R `r0` has shape", "r0", |tensor| {
        *tensor = TensorProto::floats("r0", &[1, 24, 3], &[0.0; 72]);
    });
    to.tensor("W `w0` is not a constant", "w0", |tensor| tensor.name = "other".to_owned());
    let of_lstm = |change: fn(&mut NodeProto)| {
        move |graph: &mut GraphProto| {
            change(graph.node.iter_mut().find(|node| node.op_type == "LSTM").unwrap());
        }
    };
    to.graph("hidden_size is missing", of_lstm(|node| node.attribute.clear()));
    to.graph("hidden_size is missing", of_lstm(|node| node.attribute[0].i = -1));
    to.graph("which does not fit hidden_size", of_lstm(|node| node.attribute[0].i = i64::MAX));
    to.graph("layout must be 0", of_lstm(|node| *node = node.clone().with_int("layout", 1)));
    to.graph(
        "only the forward direction",
        of_lstm(|node| {
            node.attribute.push(AttributeProto {
                name: "direction".to_owned(),
                s: b"reverse".to_vec(),
                kind: attribute_type::STRING,
                ..AttributeProto::default()
            });
        }),
    );
    to.graph("sequence_lens is not accepted", of_lstm(|node| node.input[4] = "axis0".to_owned()));
    to.graph("W is missing", of_lstm(|node| node.input.truncate(1)));
    to.graph("is not an input of the graph", |graph| graph.input.clear());
    to.graph("is not an output of the graph", |graph| graph.output.clear());
    to.graph("is not an input of the graph", |graph| {
        // Names by the ten thousand: some of them are shown.
        graph.input =
            (0..10_000).map(|name| ValueInfoProto::float_tensor(&format!("{name}"), [])).collect();
    });
}

/// Graphs that only the runtime can refuse.
fn add_runs(to: &mut Collection) {
    to.graph("the runtime panics", negative_split);
    to.graph("model.onnx: ", |graph| graph.node.clear());
    to.model("model.onnx: ", |model| model.opset_import[0].version = 9999);
    to.model("model.onnx: ", |model| model.ir_version = i64::MAX);
    to.model("model.onnx: ", |model| model.opset_import.clear());
    let node =
        |operator, input: &[&str], output| NodeProto::new(operator, "mine", input, &[output]);
    to.nodes("model.onnx: ", vec![node("Add", &["z", "missing"], "z2")]);
    to.nodes("model.onnx: ", vec![node("Add", &["z", "z2"], "z2")]);
    to.nodes("model.onnx: ", vec![node("Neg", &["z"], "z2"), node("Neg", &["z"], "z2")]);
    to.nodes("model.onnx: ", vec![node("Neg", &["z", "z", "z"], "z2")]);
    to.nodes("model.onnx: ", vec![node("Transpose", &["z"], "z2").with_ints("perm", &[7, 9])]);
    to.nodes("cases[0]: run model: ", vec![node("Gather", &["z", "axis1"], "z2")]);
    to.nodes("model.onnx: ", vec![node("Concat", &["z", "dense"], "z2").with_int("axis", 99)]);
    to.nodes("model.onnx: ", vec![node("Loop", &["", "", "z"], "z2")]);
    to.nodes("golden.json: cases[0]: output[0]", vec![node("Neg", &["z"], "z2")]);
    to.nodes(
        "golden.json: cases[0]: ",
        vec![
            node("Sub", &["z", "z"], "zero"),
            NodeProto::new("Div", "nan", &["zero", "zero"], &["z2"]),
        ],
    );
    to.nodes(
        "rows of a run influence one another",
        vec![
            node("ReduceMean", &["z"], "mean").with_ints("axes", &[0]).with_int("keepdims", 1),
            NodeProto::new("Sub", "nought", &["z", "z"], &["zero"]),
            NodeProto::new("Add", "spread", &["mean", "zero"], &["z2"]),
        ],
    );
}

fn tick(day: u32) -> String {
    let (time, close) = (i64::from(day) * 86_400_000, 100.0 + f64::from(day).sin());
    format!(r#"{{"symbol":"A","time":{time},"close":{close},"volume":500}}"#)
}

/// The body of the answer to a request to reload.
fn reload(address: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    let request =
        format!("POST /v1/reload HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, serde_json::from_str(body).unwrap_or_else(|_| body.into()))
}

/// The most memory that a process had at any time, in kB.
fn resident_kb_max(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn each_hostile_bundle_is_refused_by_name_while_the_daemon_serves() {
    let good = RawBundle::of(&draft(WINDOW_STEPS, &Network::random(41, 3, &[6])));
    let root = tempfile::tempdir().unwrap();
    good.write(root.path(), "1");
    let mut bundles = Collection { good, all: Vec::new() };
    for add in [
        add_files,
        add_manifest_forms,
        add_manifest_rules,
        add_golden,
        add_sizes,
        add_reaching,
        add_shapes,
        add_runs,
    ] {
        add(&mut bundles);
    }
    let count = bundles.all.len();
    assert!(count >= BUNDLES_MIN, "{count} bundles");
    let feed = ScriptedFeed::start();
    // Nothing here is about time, so a machine may be as slow as it is.
    let settings = "model.proof_memory_bytes_max = 536870912\nmodel.proof_seconds_max = 600\n\
                    source.idle_seconds_max = 3600";
    let daemon = Daemon::start(root.path(), "random", feed.url(), settings);
    let mut wrong = Vec::new();
    for (index, Hostile { words, make }) in bundles.all.into_iter().enumerate() {
        make(root.path());
        feed.say(tick(u32::try_from(index).unwrap()));
        let (status, outcome) = reload(daemon.address());
        let reason = outcome["reason"].as_str().unwrap_or_default();
        let is_short = reason.chars().count() <= REASON_CHARS_MAX;
        let is_printable = reason.chars().all(|character| !character.is_control());
        if status != "409" || !reason.contains(&words) || !is_short || !is_printable {
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            wrong.push(format!("{index}: {status}, expected `{words}` in `{reason}`"));
        }
        fs::remove_dir_all(root.path().join("random/2")).unwrap();
        // What was said meanwhile is answered meanwhile.
        daemon.await_metric("tickcast_ticks_total", (index + 1) as f64);
        assert_eq!(daemon.get("/livez").0, 200);
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    let resident = resident_kb_max(daemon.id());
    println!("{count} hostile bundles, at most {resident} kB resident");
    assert!(resident < RESIDENT_KB_MAX, "{resident} kB");
    assert_eq!(daemon.metric(r#"tickcast_reloads_total{outcome="kept"}"#), count as f64);
    let ended = daemon.stop();
    assert!(ended.status.success());
    assert_eq!(ended.drained("forecasts"), (count - WINDOW_STEPS as usize) as u64);
}
