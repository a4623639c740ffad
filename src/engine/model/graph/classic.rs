//! The rules for operators of classic machine learning: lists that must agree with one another.
//!
//! Owns what trees and support vectors must look like. Promises that indices lie within the lists
//! that they point into and that lists which the runtime reads side by side are equally long,
//! because the runtime trusts them. Never judges what a model says.

use super::operators::ML_DOMAIN;
use super::problems::{Problems, quoted};
use crate::engine::onnx::NodeProto;

/// Checks a node if it is of [`ML_DOMAIN`].
pub(super) fn check_classic(node: &NodeProto, problems: &mut Problems) {
    if node.domain != ML_DOMAIN {
        return;
    }
    let found = match node.op_type.as_str() {
        "TreeEnsembleClassifier" | "TreeEnsembleRegressor" => check_trees(node),
        "TreeEnsemble" => check_ensemble(node),
        "SVMClassifier" | "SVMRegressor" => check_vectors(node),
        _ => Ok(()),
    };
    if let Err(text) = found {
        problems.add(|| format!("{} `{}`: {text}", node.op_type, quoted(&node.name)));
    }
}

fn integers<'n>(node: &'n NodeProto, name: &str) -> &'n [i64] {
    node.attribute(name).map_or(&[], |attribute| &attribute.ints)
}

fn count(node: &NodeProto, name: &str) -> usize {
    node.attribute(name).map_or(0, |attribute| {
        let tensor = attribute.t.as_ref().and_then(crate::engine::onnx::TensorProto::element_count);
        let lists = [attribute.floats.len(), attribute.ints.len(), attribute.strings.len()];
        lists.into_iter().chain(tensor).max().unwrap_or(0)
    })
}

fn equally_long(node: &NodeProto, names: &[&str], length: usize) -> Result<(), String> {
    match names.iter().find(|name| count(node, name) != length) {
        Some(name) => Err(format!("{name} has {} entries, not {length}", count(node, name))),
        None => Ok(()),
    }
}

fn within(name: &str, indices: &[i64], end: usize) -> Result<(), String> {
    match indices.iter().find(|index| usize::try_from(**index).map_or(true, |index| index >= end)) {
        Some(index) => Err(format!("{name} has {index}, which is not from 0 to below {end}")),
        None => Ok(()),
    }
}

fn check_trees(node: &NodeProto) -> Result<(), String> {
    let nodes = count(node, "nodes_nodeids");
    let names = [
        "nodes_treeids",
        "nodes_featureids",
        "nodes_modes",
        "nodes_truenodeids",
        "nodes_falsenodeids",
    ];
    equally_long(node, &names, nodes)?;
    let thresholds = count(node, "nodes_values").max(count(node, "nodes_values_as_tensor"));
    if thresholds != nodes {
        return Err(format!("nodes_values has {thresholds} entries, not {nodes}"));
    }
    let of = if node.op_type == "TreeEnsembleClassifier" { "class" } else { "target" };
    let [ids, trees, weights, tensor, places] =
        ["ids", "treeids", "weights", "weights_as_tensor", "nodeids"]
            .map(|part| format!("{of}_{part}"));
    let leaves = count(node, &ids);
    equally_long(node, &[&trees, &places], leaves)?;
    let given = count(node, &weights).max(count(node, &tensor));
    if given != leaves {
        return Err(format!("{weights} has {given} entries, not {leaves}"));
    }
    // How many features there are is checked by the runtime.
    within("nodes_featureids", integers(node, "nodes_featureids"), i32::MAX as usize)?;
    let targets = match of {
        "class" => count(node, "classlabels_int64s").max(count(node, "classlabels_strings")),
        _ => node.attribute("n_targets").map_or(1, |n| usize::try_from(n.i).unwrap_or(0)),
    };
    within(&ids, integers(node, &ids), targets)
}

fn check_ensemble(node: &NodeProto) -> Result<(), String> {
    let (nodes, leaves) = (count(node, "nodes_featureids"), count(node, "leaf_targetids"));
    let names = [
        "nodes_splits",
        "nodes_modes",
        "nodes_truenodeids",
        "nodes_falsenodeids",
        "nodes_trueleafs",
        "nodes_falseleafs",
    ];
    equally_long(node, &names, nodes)?;
    equally_long(node, &["leaf_weights"], leaves)?;
    within("tree_roots", integers(node, "tree_roots"), nodes)?;
    within("nodes_featureids", integers(node, "nodes_featureids"), i32::MAX as usize)?;
    for (ids, are_leaves) in
        [("nodes_truenodeids", "nodes_trueleafs"), ("nodes_falsenodeids", "nodes_falseleafs")]
    {
        let pairs = integers(node, ids).iter().zip(integers(node, are_leaves));
        for (id, is_leaf) in pairs {
            within(ids, &[*id], if *is_leaf == 0 { nodes } else { leaves })?;
        }
    }
    let targets = node.attribute("n_targets").map_or(1, |n| usize::try_from(n.i).unwrap_or(0));
    within("leaf_targetids", integers(node, "leaf_targetids"), targets)
}

fn check_vectors(node: &NodeProto) -> Result<(), String> {
    let (numbers, coefficients) = (count(node, "support_vectors"), count(node, "coefficients"));
    if node.op_type == "SVMRegressor" {
        let vectors = node.attribute("n_supports").map_or(0, |n| usize::try_from(n.i).unwrap_or(0));
        return match vectors {
            0 => Ok(()),
            _ if !numbers.is_multiple_of(vectors) => {
                Err(format!("support_vectors has {numbers} entries for {vectors} vectors"))
            }
            _ => equally_long(node, &["coefficients"], vectors),
        };
    }
    let classes = count(node, "classlabels_ints").max(count(node, "classlabels_strings"));
    let of_class = integers(node, "vectors_per_class");
    if of_class.is_empty() {
        return Ok(());
    }
    equally_long(node, &["vectors_per_class"], classes)?;
    within("vectors_per_class", of_class, numbers.saturating_add(1))?;
    let vectors =
        of_class.iter().filter_map(|n| usize::try_from(*n).ok()).fold(0, usize::saturating_add);
    let wanted = classes.saturating_sub(1).saturating_mul(vectors);
    if vectors == 0 || !numbers.is_multiple_of(vectors) || coefficients != wanted {
        return Err(format!(
            "{numbers} support_vectors and {coefficients} coefficients do not fit {vectors} \
             vectors of {classes} classes"
        ));
    }
    let pairs = classes.saturating_mul(classes.saturating_sub(1)) / 2;
    equally_long(node, &["rho"], pairs)?;
    ["prob_a", "prob_b"]
        .into_iter()
        .filter(|name| count(node, name) > 0)
        .try_for_each(|name| equally_long(node, &[name], pairs))
}
