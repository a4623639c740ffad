//! How much a serialized graph holds, counted before anything is decoded.
//!
//! Owns the limits on nodes, constants, texts and numbers. Promises that decoding a graph that
//! passes takes a small multiple of its own bytes: two bytes of a file can ask for an empty node of
//! two hundred. Never keeps a value and never allocates.

/// The most nodes, over all subgraphs. The largest models that exporters make of recurrent and
/// attention layers have some thousands.
const NODES_MAX: usize = 20_000;

/// The most constants, over all subgraphs.
const INITIALIZERS_MAX: usize = 20_000;

/// The most messages, texts and byte strings of any kind.
const PARTS_MAX: usize = 400_000;

/// The most whole numbers in lists, which are one byte on the wire and eight in memory.
const NUMBERS_MAX: usize = 4_000_000;

/// Subgraphs inside subgraphs deeper than this are refused.
const DEPTH_MAX: usize = 4;

/// The messages that are looked into; the fields of all others are one part each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    /// A message of scalars and texts alone.
    Flat,
}

/// What was counted.
#[derive(Debug, Default)]
struct Tally {
    nodes: usize,
    initializers: usize,
    parts: usize,
    numbers: usize,
}

/// Checks that the bytes of a model are well-formed and hold no more than the limits.
///
/// # Errors
/// The limit that is exceeded, or where the bytes are no message.
pub fn check_size(onnx: &[u8]) -> Result<(), String> {
    Tally::default().message(onnx, Kind::Model, 0)
}

impl Kind {
    /// What a field of this message holds, where it is a message.
    fn field(self, number: u64) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Graph, 11..=13) => Self::ValueInfo,
            (Self::Node, 5) => Self::Attribute,
            (Self::ValueInfo, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Model, 8 | 14) | (Self::Tensor, 13) | (Self::Shape, 1) => Self::Flat,
            _ => return None,
        })
    }

    /// Whether a field is a list of whole numbers.
    fn has_numbers(self, field: u64) -> bool {
        matches!((self, field), (Self::Attribute, 8) | (Self::Tensor, 1 | 5 | 7 | 11))
    }
}

impl Tally {
    /// Counts a message; `depth` is that of the graph around it. Recursion is bounded, because only
    /// graphs hold messages of their own kind.
    fn message(&mut self, bytes: &[u8], kind: Kind, depth: usize) -> Result<(), String> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let field = key >> 3;
            match key & 7 {
                0 => {
                    varint(&mut rest)?;
                    self.numbers += usize::from(kind.has_numbers(field));
                }
                1 => drop(take(&mut rest, 8)?),
                2 => {
                    let length = usize::try_from(varint(&mut rest)?).map_err(|_| cut())?;
                    let content = take(&mut rest, length)?;
                    self.part(content, kind, field, depth)?;
                }
                5 => drop(take(&mut rest, 4)?),
                other => return Err(format!("not an ONNX model: a field of wire type {other}")),
            }
            self.judge()?;
        }
        Ok(())
    }

    /// Counts a field that has a length.
    fn part(&mut self, content: &[u8], of: Kind, field: u64, depth: usize) -> Result<(), String> {
        self.parts += 1;
        if of.has_numbers(field) {
            // The last byte of each number has no continuation bit.
            self.numbers += content.iter().filter(|byte| **byte < 0x80).count();
        }
        let Some(kind) = of.field(field) else { return Ok(()) };
        self.nodes += usize::from(kind == Kind::Node);
        self.initializers += usize::from(of == Kind::Graph && kind == Kind::Tensor);
        let depth = depth + usize::from(of == Kind::Attribute && kind == Kind::Graph);
        if depth > DEPTH_MAX {
            return Err(format!("subgraphs are nested more than {DEPTH_MAX} deep"));
        }
        self.message(content, kind, depth)
    }

    fn judge(&self) -> Result<(), String> {
        for (count, max, what) in [
            (self.nodes, NODES_MAX, "nodes"),
            (self.initializers, INITIALIZERS_MAX, "constants"),
            (self.parts, PARTS_MAX, "messages and texts"),
            (self.numbers, NUMBERS_MAX, "whole numbers in lists"),
        ] {
            if count > max {
                return Err(format!("it has more than {max} {what}"));
            }
        }
        Ok(())
    }
}

fn cut() -> String {
    "not an ONNX model: a field ends behind the end of the file".to_owned()
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> Result<&'b [u8], String> {
    let (taken, behind) = rest.split_at_checked(length).ok_or_else(cut)?;
    *rest = behind;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("not an ONNX model: a number of more than ten bytes".to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::onnx::{
        AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto,
    };

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto { graph: Some(graph), ..ModelProto::default() }.to_bytes()
    }

    fn refusal(graph: GraphProto) -> String {
        check_size(&model(graph)).unwrap_err()
    }

    /// A graph whose attribute holds a graph, and so on.
    fn nested(depth: usize) -> GraphProto {
        let mut graph = GraphProto::default();
        for _ in 0..depth {
            let attribute = AttributeProto { g: Some(graph), ..AttributeProto::default() };
            let node = NodeProto { attribute: vec![attribute], ..NodeProto::default() };
            graph = GraphProto { node: vec![node], ..GraphProto::default() };
        }
        graph
    }

    #[test]
    fn each_limit_is_named_and_what_is_at_the_limit_passes() {
        let nodes =
            |count| GraphProto { node: vec![NodeProto::default(); count], ..GraphProto::default() };
        assert_eq!(check_size(&model(nodes(NODES_MAX))), Ok(()));
        assert_eq!(refusal(nodes(NODES_MAX + 1)), "it has more than 20000 nodes");
        let constants = vec![TensorProto::default(); INITIALIZERS_MAX + 1];
        let constants = GraphProto { initializer: constants, ..GraphProto::default() };
        assert_eq!(refusal(constants), "it has more than 20000 constants");
        let texts = NodeProto { input: vec![String::new(); PARTS_MAX], ..NodeProto::default() };
        let texts = GraphProto { node: vec![texts], ..GraphProto::default() };
        assert_eq!(refusal(texts), "it has more than 400000 messages and texts");
        let values = vec![ValueInfoProto::default(); PARTS_MAX];
        let values = GraphProto { value_info: values, ..GraphProto::default() };
        assert_eq!(refusal(values), "it has more than 400000 messages and texts");
        for count in [NUMBERS_MAX, NUMBERS_MAX + 1] {
            let tensor = TensorProto { int64_data: vec![1; count], ..TensorProto::default() };
            let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
            assert_eq!(check_size(&model(graph)).is_ok(), count == NUMBERS_MAX, "{count}");
            let tensor = TensorProto { int32_data: vec![1; count], ..TensorProto::default() };
            let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
            assert_eq!(check_size(&model(graph)).is_ok(), count == NUMBERS_MAX, "{count}");
        }
        assert_eq!(check_size(&model(nested(DEPTH_MAX))), Ok(()));
        assert_eq!(refusal(nested(DEPTH_MAX + 1)), "subgraphs are nested more than 4 deep");
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        for (bytes, words) in [
            (&b"\x0a\x05ab"[..], "ends behind the end"),
            (b"\x0b", "wire type 3"),
            (&[0xff; 11], "more than ten bytes"),
            (b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "ends behind the end"),
        ] {
            let refusal = check_size(bytes).unwrap_err();
            assert!(refusal.contains(words), "{refusal}");
        }
    }

    proptest! {
        /// What the decoder takes within the limits is not refused, and nothing panics.
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = check_size(&bytes);
        }
    }
}
