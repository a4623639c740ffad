//! The bytes of a foreign file as a self-contained model.
//!
//! Owns the limits on what is decoded, the refusal of what cannot be sealed, and data kept in files
//! beside the model. Promises that only files of the model's own folder are asked for, that no more
//! than the limit is taken from them, and that what comes out refers to nothing outside of itself.
//! Never runs anything.

use std::collections::{BTreeSet, HashMap};

use super::net::{IR_VERSION_OWN, OPSET_OWN, is_standard, stated_opset};
use super::{in_words, quoted};
use crate::engine::model::{ONNX_BYTES_MAX, check_size};
use crate::engine::onnx::{
    DATA_LOCATION_EXTERNAL, GraphProto, ModelProto, OperatorSetIdProto, TensorProto,
};

/// The operator sets that nodes may be of. Whether the engine takes an operator is judged when the
/// graph is sealed.
const DOMAINS: &[&str] = &["ai.onnx.ml"];

/// The newest operator sets are read as they are; older ones than this wrote other operators.
const OPSET_MIN: i64 = 7;

/// Reads a file. Returns the model and what was done to it.
pub(super) fn decode(
    onnx: &[u8],
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<(ModelProto, Vec<String>), Vec<String>> {
    let one = |problem: String| vec![problem];
    if onnx.len() > ONNX_BYTES_MAX {
        return Err(one(format!("{} bytes, at most {ONNX_BYTES_MAX} are read", onnx.len())));
    }
    check_size(onnx).map_err(one)?;
    let mut model =
        ModelProto::from_bytes(onnx).map_err(|error| one(format!("not an ONNX model: {error}")))?;
    let mut problems = Vec::new();
    if !model.functions.is_empty() {
        problems.push(
            "it has functions of its own: export it with them inlined (`onnx.inliner` does that)"
                .to_owned(),
        );
    }
    match stated_opset(&model) {
        Some(opset) if opset < OPSET_MIN => problems.push(format!(
            "it is written in operator set {opset}, from {OPSET_MIN} on they are read: export it \
             with opset {OPSET_OWN}"
        )),
        None if model.graph.as_ref().is_some_and(has_standard) => problems.push(format!(
            "it has standard operators without saying of which operator set: export it with opset \
             {OPSET_OWN}"
        )),
        _ => {}
    }
    let Some(graph) = &model.graph else {
        return Err(one("there is no graph in it".to_owned()));
    };
    check(graph, &mut problems);
    let mut rewrites = Vec::new();
    if problems.is_empty() {
        match inline(&mut model, onnx.len(), beside) {
            Ok(files) if files.is_empty() => {}
            Ok(files) => rewrites.push(format!("weights kept beside the model ({files}): inlined")),
            Err(more) => problems.extend(more),
        }
    }
    if stated_opset(&model).is_none() {
        let domain = String::new();
        model.opset_import.push(OperatorSetIdProto { domain, version: OPSET_OWN });
        model.ir_version = model.ir_version.max(IR_VERSION_OWN);
        rewrites.push(format!("standard operators of set {OPSET_OWN}: imported, it had none"));
    }
    if !model.training_info.is_empty() {
        model.training_info.clear();
        rewrites.push("training information: dropped".to_owned());
    }
    if problems.is_empty() { Ok((model, rewrites)) } else { Err(problems) }
}

fn check(graph: &GraphProto, problems: &mut Vec<String>) {
    if has_sparse(graph) {
        problems.push("it has sparse constants: export them as dense tensors".to_owned());
    }
    let mut foreign = BTreeSet::new();
    domains(graph, &mut foreign);
    for (domain, operator) in foreign {
        problems.push(format!(
            "operator `{}` is of the domain `{}`, which only its own library runs: export the \
             model with operators of ONNX, without custom or fused ones",
            quoted(&operator),
            quoted(&domain)
        ));
    }
}

/// Sparse constants are not decoded, so data beside the model could hide in them.
fn has_sparse(graph: &GraphProto) -> bool {
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    !graph.sparse_initializer.is_empty()
        || attributes().any(|a| a.sparse_tensor.is_some() || !a.sparse_tensors.is_empty())
        || graph.node.iter().flat_map(super::net::bodies).any(has_sparse)
}

fn domains(graph: &GraphProto, found: &mut BTreeSet<(String, String)>) {
    for node in &graph.node {
        if !is_standard(&node.domain) && !DOMAINS.contains(&node.domain.as_str()) {
            found.insert((node.domain.clone(), node.op_type.clone()));
        }
        super::net::bodies(node).for_each(|body| domains(body, found));
    }
}

/// Whether a node, inner graphs included, is of the standard set.
fn has_standard(graph: &GraphProto) -> bool {
    graph
        .node
        .iter()
        .any(|node| is_standard(&node.domain) || super::net::bodies(node).any(has_standard))
}

/// Puts data from files beside the model into it. Returns their names.
fn inline(
    model: &mut ModelProto,
    model_bytes: usize,
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<String, Vec<String>> {
    let mut tensors = Vec::new();
    if let Some(graph) = &mut model.graph {
        collect(graph, &mut tensors);
    }
    let mut files: HashMap<String, Vec<u8>> = HashMap::new();
    let mut problems = BTreeSet::new();
    let mut bytes = model_bytes;
    for tensor in tensors {
        if let Err(problem) = inline_one(tensor, &mut files, &mut bytes, beside) {
            problems.insert(problem);
        }
    }
    if !problems.is_empty() {
        return Err(problems.into_iter().collect());
    }
    let names: BTreeSet<String> = files.keys().map(|name| quoted(name)).collect();
    Ok(in_words(names.into_iter()))
}

fn collect<'g>(graph: &'g mut GraphProto, tensors: &mut Vec<&'g mut TensorProto>) {
    let is_external = |tensor: &&mut TensorProto| {
        tensor.data_location == DATA_LOCATION_EXTERNAL || !tensor.external_data.is_empty()
    };
    tensors.extend(graph.initializer.iter_mut().filter(is_external));
    for attribute in graph.node.iter_mut().flat_map(|node| &mut node.attribute) {
        let own = attribute.t.iter_mut().chain(&mut attribute.tensors);
        tensors.extend(own.filter(is_external));
        for body in attribute.g.iter_mut().chain(&mut attribute.graphs) {
            collect(body, tensors);
        }
    }
}

fn inline_one(
    tensor: &mut TensorProto,
    files: &mut HashMap<String, Vec<u8>>,
    bytes: &mut usize,
    beside: &dyn Fn(&str) -> Result<Vec<u8>, String>,
) -> Result<(), String> {
    let shown = quoted(&tensor.name);
    let entry = |key: &str| {
        tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str())
    };
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => text.parse::<usize>().map(Some).map_err(|_| {
            format!("tensor `{shown}`: {key} `{}` of its data is not a number", quoted(text))
        }),
    };
    let location = entry("location").unwrap_or_default();
    if !is_plain_name(location) {
        return Err(format!(
            "tensor `{shown}` keeps its data in `{}`: only a file in the model's own folder is \
             read",
            quoted(location)
        ));
    }
    let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
    if !files.contains_key(location) {
        let content = beside(location).map_err(|problem| {
            format!("the weights are in `{}` beside the model: {problem}", quoted(location))
        })?;
        files.insert(location.to_owned(), content);
    }
    let content = &files[location];
    let end = length.map_or(Some(content.len()), |length| offset.checked_add(length));
    let data = end.and_then(|end| content.get(offset..end)).ok_or_else(|| {
        format!(
            "tensor `{shown}`: its data ends behind the {} bytes of `{}`; is the file of another \
             export?",
            content.len(),
            quoted(location)
        )
    })?;
    let size = super::fold::element_bytes(tensor.data_type);
    let expected =
        tensor.element_count().zip(size).and_then(|(count, size)| count.checked_mul(size));
    if expected != Some(data.len()) {
        return Err(format!(
            "tensor `{shown}`: {} bytes of data do not fill its shape {:?}",
            data.len(),
            tensor.dims
        ));
    }
    *bytes = bytes.saturating_add(data.len());
    if *bytes > ONNX_BYTES_MAX {
        let file = quoted(location);
        return Err(format!("`{file}` makes the model larger than {ONNX_BYTES_MAX} bytes"));
    }
    tensor.raw_data = data.to_vec();
    tensor.external_data.clear();
    tensor.data_location = 0;
    Ok(())
}

/// A name of a file that cannot leave the folder, on any platform.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '\\', ':', '\0']) && !matches!(name, "." | "..")
}
