//! Bundles that sealing would refuse: every file as the test wants it, the hashes right.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tickcast::engine::model::Draft;
use tickcast::engine::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
};

/// `TensorProto.DataType.BOOL`.
const BOOL: i32 = 9;
/// `TensorProto.DataType.INT64`.
const INT64: i32 = 7;

/// The three files of a bundle before their hashes are stated.
#[derive(Clone)]
pub(crate) struct RawBundle {
    /// The manifest, whose version and hashes are filled in.
    pub(crate) manifest: Value,
    /// The model.
    pub(crate) onnx: Vec<u8>,
    /// The golden vectors.
    pub(crate) golden: Vec<u8>,
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl RawBundle {
    /// What a draft would become.
    pub(crate) fn of(draft: &Draft) -> Self {
        Self {
            manifest: serde_json::to_value(&draft.manifest).unwrap(),
            onnx: draft.onnx.clone(),
            golden: serde_json::to_vec(&draft.golden).unwrap(),
        }
    }

    /// The same with a change of the graph.
    pub(crate) fn with_graph(mut self, change: impl FnOnce(&mut GraphProto)) -> Self {
        let mut model = ModelProto::from_bytes(&self.onnx).unwrap();
        change(model.graph.as_mut().unwrap());
        self.onnx = model.to_bytes();
        self
    }

    /// Writes the files into `root/<name>/<version>/`, with hashes that fit; returns the folder.
    pub(crate) fn write(&self, root: &Path, version: &str) -> PathBuf {
        let mut manifest = self.manifest.clone();
        for (key, value) in [
            ("version", version.to_owned()),
            ("onnx_sha256", sha256(&self.onnx)),
            ("golden_sha256", sha256(&self.golden)),
        ] {
            // A test may have taken a key out or made it something else.
            if manifest.get(key).is_some_and(Value::is_string) {
                manifest[key] = value.into();
            }
        }
        let folder = root.join("random").join(version);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("model.onnx"), &self.onnx).unwrap();
        fs::write(folder.join("golden.json"), &self.golden).unwrap();
        fs::write(folder.join("manifest.json"), manifest.to_string()).unwrap();
        folder
    }
}

/// A scalar of a type.
fn scalar(name: &str, elem_type: i32) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type, shape: Some(TensorShapeProto::default()) };
    let kind = TypeProto { tensor_type: Some(tensor), ..TypeProto::default() };
    ValueInfoProto { name: name.to_owned(), r#type: Some(kind) }
}

/// Puts nodes between the last two: they read `z` and make `z2`, which the head reads.
pub(crate) fn before_head(graph: &mut GraphProto, nodes: Vec<NodeProto>) {
    let mut head = graph.node.pop().unwrap();
    assert_eq!(head.op_type, "Tanh");
    head.input = vec!["z2".to_owned()];
    graph.node.extend(nodes);
    graph.node.push(head);
}

/// A loop without an end over `z`, which computes nothing.
pub(crate) fn endless_loop(graph: &mut GraphProto) {
    let yes = TensorProto {
        data_type: BOOL,
        name: "yes".to_owned(),
        raw_data: vec![1],
        ..TensorProto::default()
    };
    graph.initializer.push(yes);
    let carried = |name: &str| ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type: 1, shape: None }),
            ..TypeProto::default()
        }),
    };
    let body = GraphProto {
        name: "body".to_owned(),
        node: vec![
            NodeProto::new("Identity", "goes_on", &["again"], &["again_out"]),
            NodeProto::new("Neg", "turns", &["carried"], &["carried_out"]),
        ],
        input: vec![scalar("turn", INT64), scalar("again", BOOL), carried("carried")],
        output: vec![scalar("again_out", BOOL), carried("carried_out")],
        ..GraphProto::default()
    };
    let mut node = NodeProto::new("Loop", "endless", &["", "yes", "z"], &["z2"]);
    node.attribute.push(AttributeProto {
        name: "body".to_owned(),
        g: Some(body),
        kind: attribute_type::GRAPH,
        ..AttributeProto::default()
    });
    before_head(graph, vec![node]);
}

/// A product of two small constants that takes four gigabytes, of which a zero is added to `z`.
pub(crate) fn outer_product(graph: &mut GraphProto) {
    let ones = vec![1.0; 1 << 15];
    graph.initializer.push(TensorProto::floats("tall", &[1 << 15, 1], &ones));
    graph.initializer.push(TensorProto::floats("wide", &[1, 1 << 15], &ones));
    graph.initializer.push(TensorProto::floats("nought", &[1], &[0.0]));
    let nodes = vec![
        NodeProto::new("MatMul", "outer", &["tall", "wide"], &["square"]),
        NodeProto::new("ReduceMax", "most", &["square"], &["top"]).with_int("keepdims", 0),
        NodeProto::new("Mul", "nothing", &["top", "nought"], &["zero"]),
        NodeProto::new("Add", "sum", &["z", "zero"], &["z2"]),
    ];
    before_head(graph, nodes);
}

/// Parts of a negative size, over which the runtime's bindings panic.
pub(crate) fn negative_split(graph: &mut GraphProto) {
    graph.initializer.push(TensorProto::int64s("parts", &[2], &[-5, 6]));
    let split = NodeProto::new("Split", "parts", &["z", "parts"], &["part", "z2"]);
    before_head(graph, vec![split.with_int("axis", 1)]);
    graph.output.push(ValueInfoProto {
        name: "part".to_owned(),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto { elem_type: 1, shape: None }),
            ..TypeProto::default()
        }),
    });
}
