//! Graphs run as they are, to find out what they do.
//!
//! Owns the seam for that: tensors of any shape, and the runtime's complaints in plain words.
//! Promises that the sizes of inputs are checked before the runtime sees them. Allocates for each
//! run, so nothing that serves uses it, and bounds neither the time nor the memory of a run.

use super::InferenceError;
use crate::core::text::excerpt;

/// A graph opened as it is: any inputs, any shapes.
pub trait Trial: Send {
    /// Runs it once on these inputs by name, and gives every output in order.
    ///
    /// # Errors
    /// [`InferenceError::Runtime`] where a tensor's values do not fill its shape, or the runtime
    /// fails, in plain words.
    fn run(&mut self, inputs: &[(&str, Tensor)]) -> Result<Vec<(String, Tensor)>, InferenceError>;
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 32-bit whole numbers.
    I32,
    /// 64-bit whole numbers.
    I64,
    /// Truth values.
    Bool,
    /// Anything else; its values are not read.
    Other,
}

/// A tensor in plain memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements.
    pub values: Values,
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 32-bit whole numbers.
    I32(Vec<i32>),
    /// 64-bit whole numbers.
    I64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Of a type that is not read: only the shape is known. 16-bit floats are among them; a `Cast`
    /// at the edge of the graph makes them readable.
    Unread,
}

/// The most elements of one input: 256 MiB of floats.
pub const TRIAL_ELEMENTS_MAX: usize = 64 << 20;

impl Tensor {
    /// A tensor of 32-bit floats.
    pub fn f32(dims: &[usize], values: Vec<f32>) -> Self {
        Self { dims: dims.to_vec(), values: Values::F32(values) }
    }

    /// The elements as 32-bit floats, where they are floats.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        match &self.values {
            Values::F32(values) => Some(values.clone()),
            Values::F64(values) => Some(values.iter().map(|value| *value as f32).collect()),
            _ => None,
        }
    }

    /// Checks that the values fill the shape.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(&self) -> Result<(), String> {
        let product = self.dims.iter().try_fold(1_usize, |size, dim| size.checked_mul(*dim));
        let size = product.filter(|size| *size <= TRIAL_ELEMENTS_MAX).ok_or_else(|| {
            format!("shape {:?} has more than {TRIAL_ELEMENTS_MAX} elements", self.dims)
        })?;
        let count = match &self.values {
            Values::F32(values) => values.len(),
            Values::F64(values) => values.len(),
            Values::I32(values) => values.len(),
            Values::I64(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Unread => return Err("its values were not read".to_owned()),
        };
        if count == size {
            Ok(())
        } else {
            Err(format!("shape {:?} has {size} elements, but there are {count}", self.dims))
        }
    }
}

/// The characters of a complaint that are shown: it quotes names out of the graph.
const COMPLAINT_CHARS_MAX: usize = 240;

/// What the runtime says before it says what is wrong, in the order in which it says it.
const PREAMBLES: &[&str] = &[
    "Load model from memory failed:",
    "This is an invalid model.",
    "Exception during initialization:",
    "Exception caught:",
    "Status Message:",
    "Error:",
    // Behind a list of all inputs and outputs of the node.
    ", Error ",
];

/// The runtime's words about a graph as a sentence: without colors, places in its source, calls
/// and repetitions.
pub fn plain_words(words: &str) -> String {
    let words = without_escapes(words);
    let mut node = None;
    if let Some(behind) = after(&words, "while running ") {
        let operator = behind.split(' ').next().unwrap_or_default();
        let name = after(behind, "Name:'").and_then(|rest| rest.split('\'').next());
        node = Some((operator.to_owned(), name.unwrap_or_default().to_owned()));
    }
    let mut said = words.as_str();
    for preamble in PREAMBLES {
        if let Some(behind) = after(said, preamble).filter(|behind| !behind.trim().is_empty()) {
            said = behind;
        }
    }
    let mut lines: Vec<String> = Vec::new();
    for line in said.lines() {
        let line = without_places(line);
        if line.starts_with("Stacktrace") {
            break;
        }
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    let mut said = reworded(&lines.join(" "));
    if let Some((operator, name)) = node {
        // The sentence names the node already.
        if !said.contains(&name) || name.is_empty() {
            said = format!("{operator} `{name}`: {said}");
        }
    }
    excerpt(said.trim(), COMPLAINT_CHARS_MAX)
}

/// The runtime's set phrases as sentences about the graph.
fn reworded(said: &str) -> String {
    if let Some((operator, version)) = said
        .strip_prefix("No Op registered for ")
        .and_then(|rest| rest.split_once(" with domain_version of "))
    {
        return format!("operator set {version} has no operator `{operator}`");
    }
    let of_node = said.strip_prefix("Node (").and_then(|rest| {
        let (name, rest) = rest.split_once(") Op (")?;
        let (operator, rest) = rest.split_once(')')?;
        Some((name, operator, rest.trim_start()))
    });
    match of_node {
        None => said.to_owned(),
        Some((name, operator, rest)) => {
            let rest = rest.strip_prefix("[ShapeInferenceError]").unwrap_or(rest).trim_start();
            format!("{operator} `{name}`: {rest}")
        }
    }
}

fn after<'t>(text: &'t str, mark: &str) -> Option<&'t str> {
    text.find(mark).map(|at| &text[at + mark.len()..])
}

/// The text without terminal sequences such as those of colors.
fn without_escapes(text: &str) -> String {
    let mut kept = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // A sequence ends with its letter.
            characters.find(char::is_ascii_alphabetic);
        } else {
            kept.push(character);
        }
    }
    kept
}

/// A line without words that are places in the runtime's source (`file.cc:12`), its functions
/// (`onnxruntime::Status onnxruntime::…(…)`) and the numbers of its status codes.
fn without_places(line: &str) -> String {
    let is_place = |word: &str| {
        let source = [".cc:", ".h:", ".cpp:"].iter().any(|end| word.contains(end));
        source || word.contains("onnxruntime::") || word.contains("_src/")
    };
    // A function's parameters are part of its place: up to the bracket that ends them.
    let mut kept = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("onnxruntime::") {
        let behind = &rest[at..];
        let Some(open) = behind.find('(') else { break };
        let close = behind[open..].find(')').map_or(behind.len(), |close| open + close + 1);
        kept.push_str(&rest[..at]);
        rest = &behind[close..];
    }
    kept.push_str(rest);
    let words: Vec<&str> = kept.split_whitespace().filter(|word| !is_place(word)).collect();
    words.join(" ").trim_start_matches(['[', ']', ':', ' ']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_of_the_runtime_are_plain_words() {
        for (raw, plain) in [
            (
                "Non-zero status code returned while running LSTM node. Name:'rnn' Status Message: \
                 /onnxruntime_src/core/providers/cpu/rnn/rnn_helpers.cc:52 onnxruntime::common::\
                 Status onnxruntime::rnn::detail::ValidateCommonRnnInputs(const int& a, int b) \
                 Input R must have shape {1,4*8,8}. Actual:{1,32,4}",
                "LSTM `rnn`: Input R must have shape {1,4*8,8}. Actual:{1,32,4}",
            ),
            (
                "Load model from memory failed:This is an invalid model. Error: the graph is not \
                 acyclic.",
                "the graph is not acyclic.",
            ),
            (
                "Load model from memory failed:This is an invalid model. In Node, (\"layer\", \
                 Loop, \"\", -1) : (\"a\": tensor(int64),) -> (\"b\",) , Error Field 'name' of \
                 'graph' is required to be non-empty.",
                "Field 'name' of 'graph' is required to be non-empty.",
            ),
            ("\u{1b}[1;31mtwice\u{1b}[m\ntwice\nonce\nStacktrace:\n0x12", "twice once"),
        ] {
            assert_eq!(plain_words(raw), plain);
        }
    }

    #[test]
    fn a_tensor_that_does_not_fill_its_shape_is_refused() {
        assert_eq!(Tensor::f32(&[2, 3], vec![0.0; 6]).check(), Ok(()));
        let refusal = Tensor::f32(&[2, 3], vec![0.0; 5]).check().unwrap_err();
        assert_eq!(refusal, "shape [2, 3] has 6 elements, but there are 5");
        let refusal = Tensor::f32(&[usize::MAX, 3], Vec::new()).check().unwrap_err();
        assert!(refusal.contains("more than"), "{refusal}");
    }
}
