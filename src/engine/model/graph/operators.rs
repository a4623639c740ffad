//! Which operators a graph may be made of.
//!
//! Owns the allow-lists and what to do about an operator that is on none of them. Promises that no
//! listed operator reads a file, draws a random number, calls out or gives anything but tensors.
//! Never looks at shapes or constants.

use super::constants::Scope;
use super::problems::{Problems, quoted};
use crate::engine::onnx::{ModelProto, NodeProto};

/// The domain of operators for classic machine learning.
pub(super) const ML_DOMAIN: &str = "ai.onnx.ml";

/// Operators of the standard set. Those whose output can be larger than their inputs are bounded by
/// what the graph itself states (`sizes`).
const OPERATORS: &[&str] = &[
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "ConvInteger",
    "Cos",
    "CumSum",
    "DequantizeLinear",
    "Div",
    "Dropout",
    "DynamicQuantizeLinear",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "Greater",
    "GreaterOrEqual",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "If",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "Loop",
    "MatMul",
    "MatMulInteger",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "PRelu",
    "Pad",
    "Pow",
    "QLinearConv",
    "QLinearMatMul",
    "QuantizeLinear",
    "RNN",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Round",
    "Scan",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Sin",
    "Size",
    "Slice",
    "Softmax",
    "Softplus",
    "Softsign",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
    "Xor",
];

/// Operators of [`ML_DOMAIN`]: trees, linear models, support vectors and what comes before them.
const ML_OPERATORS: &[&str] = &[
    "ArrayFeatureExtractor",
    "Binarizer",
    "Imputer",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "SVMClassifier",
    "SVMRegressor",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
];

/// Operator sets that exporters import whether or not a node is of them. What a node is of is
/// judged node by node.
const KNOWN_SETS: &[&str] = &[
    "",
    "ai.onnx",
    ML_DOMAIN,
    "ai.onnx.preview.training",
    "ai.onnx.training",
    "com.microsoft",
    "com.microsoft.experimental",
    "com.microsoft.nchwc",
    "com.ms.internal.nhwc",
    "org.pytorch.aten",
    "pkg.onnxscript.torch_lib",
    "pkg.onnxscript.torch_lib.common",
];

fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Whether an operator is of the standard set and has this name.
pub(super) fn is(node: &NodeProto, operator: &str) -> bool {
    is_standard(&node.domain) && node.op_type == operator
}

/// Refuses operator sets that are not known; those that are may be imported for nothing.
pub(super) fn check_imports(model: &ModelProto, problems: &mut Problems) {
    for import in &model.opset_import {
        if !KNOWN_SETS.contains(&import.domain.as_str()) {
            let domain = quoted(&import.domain);
            problems.add(|| {
                format!(
                    "operator set `{domain}` is not the standard one: export the model with \
                     operators of the ONNX standard alone"
                )
            });
        }
    }
}

/// Refuses an operator that is on no list, with the way out where there is one.
pub(super) fn check_operator(node: &NodeProto, problems: &mut Problems) {
    let (list, advice) = match node.domain.as_str() {
        domain if is_standard(domain) => (OPERATORS, ""),
        ML_DOMAIN if node.op_type == "ZipMap" => (
            ML_OPERATORS,
            ": it gives maps, not numbers; export the classifier with the option `zipmap=False`",
        ),
        ML_DOMAIN => (ML_OPERATORS, ""),
        domain => {
            let advice = if domain.starts_with("com.microsoft") || domain.starts_with("com.ms.") {
                "save the model without ONNX Runtime's optimizations and contributed operators"
            } else {
                "export the model with operators of the ONNX standard alone"
            };
            let domain = quoted(domain);
            let place = place(node);
            problems
                .add(|| format!("{place} of domain `{domain}` is not a standard one: {advice}"));
            return;
        }
    };
    if list.binary_search(&node.op_type.as_str()).is_err() {
        problems.add(|| format!("{} is not on the list of accepted ones{advice}", place(node)));
    }
}

/// Refuses `Dropout` in training, which draws random numbers.
pub(super) fn check_training(node: &NodeProto, scope: &Scope<'_>, problems: &mut Problems) {
    let mode = node.input.get(2).filter(|name| is(node, "Dropout") && !name.is_empty());
    let Some(name) = mode else { return };
    if scope.tensor(name).is_none_or(|tensor| tensor.raw_data != [0]) {
        problems.add(|| {
            format!(
                "Dropout `{}`: training_mode `{}` must be a constant false: export the model for \
                 evaluation",
                quoted(&node.name),
                quoted(name)
            )
        });
    }
}

fn place(node: &NodeProto) -> String {
    format!("node `{}`: operator `{}`", quoted(&node.name), quoted(&node.op_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_for_binary_search() {
        assert!(OPERATORS.is_sorted() && ML_OPERATORS.is_sorted());
    }

    fn said(domain: &str, operator: &str) -> String {
        let mut problems = Problems::default();
        let node = NodeProto::new(operator, "n", &[], &[]);
        check_operator(&NodeProto { domain: domain.to_owned(), ..node }, &mut problems);
        problems.into_result().err().unwrap_or_default().join("\n")
    }

    #[test]
    fn a_refusal_names_the_way_out() {
        for operator in ["Conv", "Trilu", "GlobalAveragePool", "DynamicQuantizeLinear"] {
            assert_eq!(said("", operator), "");
            assert_eq!(said("ai.onnx", operator), "");
            assert!(said(ML_DOMAIN, operator).contains("not on the list"), "{operator}");
        }
        for operator in ML_OPERATORS {
            assert_eq!(said(ML_DOMAIN, operator), "");
            assert!(said("", operator).contains("not on the list"), "{operator}");
        }
        for (domain, operator, way_out) in [
            (ML_DOMAIN, "ZipMap", "`zipmap=False`"),
            ("com.microsoft", "FusedMatMul", "without ONNX Runtime's optimizations"),
            ("com.microsoft.nchwc", "Conv", "without ONNX Runtime's optimizations"),
            ("ai.onnx.contrib", "PyOp", "operators of the ONNX standard alone"),
        ] {
            assert!(said(domain, operator).contains(way_out), "{}", said(domain, operator));
        }
        for operator in ["Resize", "NonZero", "RandomNormal", "OneHot", "Compress"] {
            assert!(said("", operator).contains("not on the list"), "{operator}");
        }
    }
}
