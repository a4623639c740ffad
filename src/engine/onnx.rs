//! The part of the ONNX file format this project reads and writes.
//!
//! Owns: the protobuf messages of [`onnx.proto3`] that a model of ours needs, declared by hand so
//! that no protoc is asked for. Names, field numbers and types are those of the specification;
//! what a field means is described there. The exporter writes these messages, the model check
//! reads them.
//!
//! Promises: encoding is deterministic, because every field is a scalar, a message or a list and
//! `prost` writes them in the order of their numbers. Whatever could make a file do more than its
//! plain graph says (functions, sparse tensors, training steps, external data, references to
//! function attributes) is declared at least as raw bytes, so that a reader can see it and refuse
//! it. A constant of any type keeps its elements when a file is read and written again. Fields that
//! are left out carry descriptions and annotations; decoding skips them.
//!
//! Never: judges a model (that is the model check), opens a file, or computes anything.
//!
//! [`onnx.proto3`]: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3

use prost::Message;

/// `TensorProto.DataType.FLOAT`: 32-bit IEEE 754.
pub const FLOAT: i32 = 1;
/// `TensorProto.DataType.INT32`.
pub const INT32: i32 = 6;
/// `TensorProto.DataType.INT64`.
pub const INT64: i32 = 7;
/// `TensorProto.DataType.BOOL`.
pub const BOOL: i32 = 9;
/// `TensorProto.DataType.FLOAT16`: 16-bit IEEE 754.
pub const FLOAT16: i32 = 10;
/// `TensorProto.DataType.DOUBLE`: 64-bit IEEE 754.
pub const DOUBLE: i32 = 11;

/// Values of [`AttributeProto::kind`] (`AttributeProto.AttributeType`).
pub mod attribute_type {
    /// [`super::AttributeProto::f`] holds the value.
    pub const FLOAT: i32 = 1;
    /// [`super::AttributeProto::i`] holds the value.
    pub const INT: i32 = 2;
    /// [`super::AttributeProto::s`] holds the value.
    pub const STRING: i32 = 3;
    /// [`super::AttributeProto::t`] holds the value.
    pub const TENSOR: i32 = 4;
    /// [`super::AttributeProto::g`] holds the value.
    pub const GRAPH: i32 = 5;
    /// [`super::AttributeProto::floats`] holds the value.
    pub const FLOATS: i32 = 6;
    /// [`super::AttributeProto::ints`] holds the value.
    pub const INTS: i32 = 7;
    /// [`super::AttributeProto::strings`] holds the value.
    pub const STRINGS: i32 = 8;
    /// [`super::AttributeProto::tensors`] holds the value.
    pub const TENSORS: i32 = 9;
    /// [`super::AttributeProto::graphs`] holds the value.
    pub const GRAPHS: i32 = 10;
}

/// Value of [`TensorProto::data_location`] for data that lives outside the file.
pub const DATA_LOCATION_EXTERNAL: i32 = 1;

/// A whole file.
#[derive(Clone, PartialEq, Message)]
pub struct ModelProto {
    /// Version of the file format itself.
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    /// Tool that wrote the file.
    #[prost(string, tag = "2")]
    pub producer_name: String,
    /// Version of that tool.
    #[prost(string, tag = "3")]
    pub producer_version: String,
    /// Name space of the model.
    #[prost(string, tag = "4")]
    pub domain: String,
    /// Version of the model.
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    /// Description for people.
    #[prost(string, tag = "6")]
    pub doc_string: String,
    /// The computation.
    #[prost(message, optional, tag = "7")]
    pub graph: Option<GraphProto>,
    /// Operator sets the graph is written against.
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetIdProto>,
    /// Free key and value pairs.
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<StringStringEntryProto>,
    /// `TrainingInfoProto` messages, undecoded: only their presence matters here.
    #[prost(bytes = "vec", repeated, tag = "20")]
    pub training_info: Vec<Vec<u8>>,
    /// `FunctionProto` messages, undecoded: only their presence matters here.
    #[prost(bytes = "vec", repeated, tag = "25")]
    pub functions: Vec<Vec<u8>>,
}

/// One imported operator set.
#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetIdProto {
    /// Empty (or `ai.onnx`) for the operators of the specification.
    #[prost(string, tag = "1")]
    pub domain: String,
    /// Version of the set.
    #[prost(int64, tag = "2")]
    pub version: i64,
}

/// A key and a value.
#[derive(Clone, PartialEq, Message)]
pub struct StringStringEntryProto {
    /// The key.
    #[prost(string, tag = "1")]
    pub key: String,
    /// The value.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// A computation: nodes in topological order, constants, inputs and outputs.
#[derive(Clone, PartialEq, Message)]
pub struct GraphProto {
    /// Operators, each after those it reads from.
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<NodeProto>,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub name: String,
    /// Constants, by name.
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<TensorProto>,
    /// Description for people.
    #[prost(string, tag = "10")]
    pub doc_string: String,
    /// Inputs in order.
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<ValueInfoProto>,
    /// Outputs in order.
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<ValueInfoProto>,
    /// Types of values in between, where the writer gave them.
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<ValueInfoProto>,
    /// `SparseTensorProto` messages, undecoded: only their presence matters here.
    #[prost(bytes = "vec", repeated, tag = "15")]
    pub sparse_initializer: Vec<Vec<u8>>,
}

/// One operator with the names of what it reads and writes.
#[derive(Clone, PartialEq, Message)]
pub struct NodeProto {
    /// Inputs by position; an empty name is an optional input left out.
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    /// Outputs by position; an empty name is an optional output left out.
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    /// Name of the node, for messages.
    #[prost(string, tag = "3")]
    pub name: String,
    /// Operator.
    #[prost(string, tag = "4")]
    pub op_type: String,
    /// Attributes, by name.
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<AttributeProto>,
    /// Operator set of the operator; empty for the specification's own.
    #[prost(string, tag = "7")]
    pub domain: String,
    /// Which overload of a model-local function is meant; empty for plain operators.
    #[prost(string, tag = "8")]
    pub overload: String,
}

/// A named attribute; [`kind`](Self::kind) says which field holds it.
#[derive(Clone, PartialEq, Message)]
pub struct AttributeProto {
    /// Name of the attribute.
    #[prost(string, tag = "1")]
    pub name: String,
    /// A number.
    #[prost(float, tag = "2")]
    pub f: f32,
    /// A whole number.
    #[prost(int64, tag = "3")]
    pub i: i64,
    /// A text (UTF-8 by convention).
    #[prost(bytes = "vec", tag = "4")]
    pub s: Vec<u8>,
    /// A tensor.
    #[prost(message, optional, tag = "5")]
    pub t: Option<TensorProto>,
    /// A graph, such as the body of a `Loop`.
    #[prost(message, optional, tag = "6")]
    pub g: Option<GraphProto>,
    /// Numbers.
    #[prost(float, repeated, tag = "7")]
    pub floats: Vec<f32>,
    /// Whole numbers.
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    /// Texts.
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub strings: Vec<Vec<u8>>,
    /// Tensors.
    #[prost(message, repeated, tag = "10")]
    pub tensors: Vec<TensorProto>,
    /// Graphs.
    #[prost(message, repeated, tag = "11")]
    pub graphs: Vec<GraphProto>,
    /// `AttributeProto.type`: see [`attribute_type`].
    #[prost(int32, tag = "20")]
    pub kind: i32,
    /// Attribute of the enclosing function that stands in for this one; legal in functions only.
    #[prost(string, tag = "21")]
    pub ref_attr_name: String,
    /// A `SparseTensorProto`, undecoded: only its presence matters here.
    #[prost(bytes = "vec", optional, tag = "22")]
    pub sparse_tensor: Option<Vec<u8>>,
    /// `SparseTensorProto` messages, undecoded: only their presence matters here.
    #[prost(bytes = "vec", repeated, tag = "23")]
    pub sparse_tensors: Vec<Vec<u8>>,
}

/// A constant tensor, row-major.
#[derive(Clone, PartialEq, Message)]
pub struct TensorProto {
    /// Shape; empty for a scalar.
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    /// Element type, such as [`FLOAT`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// Elements of type [`FLOAT`], unless `raw_data` is used.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// Elements of narrow types (whole numbers up to 32 bits, truth values, 16-bit floats by their
    /// bits), unless `raw_data` is used.
    #[prost(int32, repeated, tag = "5")]
    pub int32_data: Vec<i32>,
    /// Elements of a tensor of texts.
    #[prost(bytes = "vec", repeated, tag = "6")]
    pub string_data: Vec<Vec<u8>>,
    /// Elements of type [`INT64`], unless `raw_data` is used.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    /// Name by which nodes refer to it.
    #[prost(string, tag = "8")]
    pub name: String,
    /// Elements as little-endian bytes.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    /// Elements of type [`DOUBLE`], unless `raw_data` is used.
    #[prost(double, repeated, tag = "10")]
    pub double_data: Vec<f64>,
    /// Elements of unsigned types of 32 and 64 bits, unless `raw_data` is used.
    #[prost(uint64, repeated, tag = "11")]
    pub uint64_data: Vec<u64>,
    /// Where the data lives when it is not in this file.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<StringStringEntryProto>,
    /// 0 in this file, [`DATA_LOCATION_EXTERNAL`] elsewhere.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

/// Name and type of a graph's input, output or intermediate value.
#[derive(Clone, PartialEq, Message)]
pub struct ValueInfoProto {
    /// Name of the value.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Type of the value.
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<TypeProto>,
}

/// Type of a value; only dense tensors are decoded. Other types are kept as bytes, so that a file
/// that is read and written again says the same.
#[derive(Clone, PartialEq, Message)]
pub struct TypeProto {
    /// A dense tensor.
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorTypeProto>,
    /// A sequence, undecoded.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub sequence_type: Option<Vec<u8>>,
    /// A map, undecoded.
    #[prost(bytes = "vec", optional, tag = "5")]
    pub map_type: Option<Vec<u8>>,
    /// A value that may be absent, undecoded.
    #[prost(bytes = "vec", optional, tag = "9")]
    pub optional_type: Option<Vec<u8>>,
}

/// `TypeProto.Tensor`: element type and shape.
#[derive(Clone, PartialEq, Message)]
pub struct TensorTypeProto {
    /// Element type, such as [`FLOAT`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    /// Shape; absent when even the rank is unknown.
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShapeProto>,
}

/// Dimensions of a tensor.
#[derive(Clone, PartialEq, Message)]
pub struct TensorShapeProto {
    /// One entry for each axis.
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<DimensionProto>,
}

/// `TensorShapeProto.Dimension`: one axis.
#[derive(Clone, PartialEq, Message)]
pub struct DimensionProto {
    /// Size or symbol; `None` when nothing is known.
    #[prost(oneof = "Dimension", tags = "1, 2")]
    pub value: Option<Dimension>,
}

/// Size of an axis: a number, or a symbol that equal sizes share.
#[derive(Clone, PartialEq, Eq, prost::Oneof)]
pub enum Dimension {
    /// `dim_value`: fixed when the model was written.
    #[prost(int64, tag = "1")]
    Value(i64),
    /// `dim_param`: given by the caller.
    #[prost(string, tag = "2")]
    Param(String),
}

impl ModelProto {
    /// Reads a whole file.
    ///
    /// # Errors
    /// The decoder's own words where the bytes are no such message.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        Self::decode(bytes).map_err(|error| error.to_string())
    }

    /// The bytes of the whole file; equal models give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

impl Dimension {
    /// A fixed size.
    pub fn of(size: usize) -> Self {
        Self::Value(i64::try_from(size).unwrap_or(i64::MAX))
    }

    /// A symbolic size.
    pub fn named(symbol: &str) -> Self {
        Self::Param(symbol.to_owned())
    }
}

impl ValueInfoProto {
    /// A dense tensor of 32-bit floats.
    pub fn float_tensor(name: &str, shape: impl IntoIterator<Item = Dimension>) -> Self {
        let dim = shape.into_iter().map(|d| DimensionProto { value: Some(d) }).collect();
        let tensor = TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) };
        let dense = TypeProto { tensor_type: Some(tensor), ..TypeProto::default() };
        Self { name: name.to_owned(), r#type: Some(dense) }
    }

    /// Element type, where the value is a dense tensor.
    pub fn elem_type(&self) -> Option<i32> {
        Some(self.r#type.as_ref()?.tensor_type.as_ref()?.elem_type)
    }

    /// Axes of a dense tensor; `None` when the rank is unknown or it is no dense tensor.
    pub fn shape(&self) -> Option<Vec<Option<&Dimension>>> {
        let shape = self.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
        Some(shape.dim.iter().map(|d| d.value.as_ref()).collect())
    }
}

impl TensorProto {
    /// A constant of 32-bit floats; `dims` multiply to the count of `values`.
    pub fn floats(name: &str, dims: &[usize], values: &[f32]) -> Self {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "shape of {name}");
        Self {
            dims: signed(dims),
            data_type: FLOAT,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Self::default()
        }
    }

    /// A constant of 64-bit whole numbers; `dims` multiply to the count of `values`.
    pub fn int64s(name: &str, dims: &[usize], values: &[i64]) -> Self {
        debug_assert_eq!(dims.iter().product::<usize>(), values.len(), "shape of {name}");
        Self {
            dims: signed(dims),
            data_type: INT64,
            name: name.to_owned(),
            raw_data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ..Self::default()
        }
    }

    /// Elements of a [`FLOAT`] tensor, from whichever field holds them; `None` for another type,
    /// or when their count is not what `dims` say.
    pub fn read_floats(&self) -> Option<Vec<f32>> {
        let values = if self.data_type != FLOAT {
            return None;
        } else if self.raw_data.is_empty() {
            self.float_data.clone()
        } else {
            elements(&self.raw_data, f32::from_le_bytes)?
        };
        (self.element_count()? == values.len()).then_some(values)
    }

    /// Elements of an [`INT64`] tensor, from whichever field holds them; `None` for another type,
    /// or when their count is not what `dims` say.
    pub fn read_int64s(&self) -> Option<Vec<i64>> {
        let values = if self.data_type != INT64 {
            return None;
        } else if self.raw_data.is_empty() {
            self.int64_data.clone()
        } else {
            elements(&self.raw_data, i64::from_le_bytes)?
        };
        (self.element_count()? == values.len()).then_some(values)
    }

    /// Product of the dimensions; `None` if one is negative or the product does not fit.
    pub fn element_count(&self) -> Option<usize> {
        self.dims.iter().try_fold(1_usize, |count, &d| count.checked_mul(usize::try_from(d).ok()?))
    }
}

impl NodeProto {
    /// A node of the specification's own operator set.
    pub fn new(op_type: &str, name: &str, input: &[&str], output: &[&str]) -> Self {
        Self {
            input: input.iter().map(|&s| s.to_owned()).collect(),
            output: output.iter().map(|&s| s.to_owned()).collect(),
            name: name.to_owned(),
            op_type: op_type.to_owned(),
            ..Self::default()
        }
    }

    /// The same node with one more whole-number attribute.
    #[must_use]
    pub fn with_int(mut self, name: &str, value: i64) -> Self {
        self.attribute.push(AttributeProto {
            name: name.to_owned(),
            i: value,
            kind: attribute_type::INT,
            ..AttributeProto::default()
        });
        self
    }

    /// The same node with one more attribute of whole numbers.
    #[must_use]
    pub fn with_ints(mut self, name: &str, values: &[i64]) -> Self {
        self.attribute.push(AttributeProto {
            name: name.to_owned(),
            ints: values.to_vec(),
            kind: attribute_type::INTS,
            ..AttributeProto::default()
        });
        self
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name == name)
    }
}

impl StringStringEntryProto {
    /// A key and its value.
    pub fn new(key: &str, value: &str) -> Self {
        Self { key: key.to_owned(), value: value.to_owned() }
    }
}

fn signed(dims: &[usize]) -> Vec<i64> {
    dims.iter().map(|&d| i64::try_from(d).unwrap_or(i64::MAX)).collect()
}

/// Little-endian elements of `N` bytes; `None` if the bytes do not divide evenly.
fn elements<const N: usize, T>(bytes: &[u8], read: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| chunks.iter().map(|&chunk| read(chunk)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte for byte what Google's protobuf writes for the same message; regenerate with
    /// `python3 -c "import onnx; from onnx import helper as h;
    /// print(h.make_tensor_value_info('x', 1, ['T', 3]).SerializeToString().hex())"`.
    #[test]
    fn value_info_has_the_bytes_of_the_reference_implementation() {
        let value = ValueInfoProto::float_tensor("x", [Dimension::named("T"), Dimension::of(3)]);
        assert_eq!(hex(&value.encode_to_vec()), "0a0178120f0a0d080112090a031201540a020803",);
    }

    /// Regenerate with `python3 -c "import onnx; from onnx import helper as h;
    /// print(h.make_node('LSTM', ['a', '', 'b'], ['c'], name='n', hidden_size=64)
    /// .SerializeToString().hex())"`.
    #[test]
    fn node_has_the_bytes_of_the_reference_implementation() {
        let node = NodeProto::new("LSTM", "n", &["a", "", "b"], &["c"]).with_int("hidden_size", 64);
        assert_eq!(
            hex(&node.encode_to_vec()),
            "0a01610a000a01621201631a016e22044c53544d2a120a0b68696464656e5f73697a651840a00102"
        );
    }

    #[test]
    fn tensors_read_back_what_was_written_in_either_field() {
        let raw = TensorProto::floats("w", &[2, 2], &[1.0, -2.5, 0.0, f32::MIN_POSITIVE]);
        assert_eq!(raw.read_floats().unwrap(), [1.0, -2.5, 0.0, f32::MIN_POSITIVE]);
        assert_eq!(raw.read_int64s(), None);
        let listed = TensorProto {
            dims: vec![2],
            data_type: INT64,
            int64_data: vec![7, -1],
            ..TensorProto::default()
        };
        assert_eq!(listed.read_int64s().unwrap(), [7, -1]);
        assert_eq!(TensorProto::int64s("axes", &[1], &[-1]).read_int64s().unwrap(), [-1]);
    }

    #[test]
    fn a_tensor_whose_shape_and_data_disagree_reads_as_nothing() {
        let mut tensor = TensorProto::floats("w", &[4], &[0.0; 4]);
        tensor.dims = vec![5];
        assert_eq!(tensor.read_floats(), None);
        tensor.dims = vec![-4];
        assert_eq!(tensor.read_floats(), None);
        tensor.dims = vec![i64::MAX, i64::MAX];
        assert_eq!(tensor.read_floats(), None);
        tensor.dims = vec![4];
        tensor.raw_data.pop();
        assert_eq!(tensor.read_floats(), None);
    }

    #[test]
    fn constants_and_types_of_every_kind_survive_reading_and_writing() {
        let tensor = TensorProto {
            dims: vec![1],
            data_type: FLOAT16,
            int32_data: vec![0x3c00],
            string_data: vec![b"a".to_vec()],
            double_data: vec![0.5],
            uint64_data: vec![u64::MAX],
            ..TensorProto::default()
        };
        let kind = TypeProto {
            sequence_type: Some(vec![0x0a, 0x00]),
            map_type: Some(vec![0x08, 0x07]),
            optional_type: Some(vec![0x0a, 0x00]),
            ..TypeProto::default()
        };
        let value = ValueInfoProto { name: "v".to_owned(), r#type: Some(kind) };
        let graph =
            GraphProto { initializer: vec![tensor], output: vec![value], ..GraphProto::default() };
        let bytes = graph.encode_to_vec();
        // The numbers of the fields are those of the specification.
        for key in [0x2a, 0x32, 0x52, 0x5a] {
            assert!(bytes.contains(&key), "{key:#x}");
        }
        assert_eq!(GraphProto::decode(&bytes[..]).unwrap(), graph);
    }

    #[test]
    fn what_must_be_refused_is_seen_even_when_it_is_not_decoded() {
        // Field 25 (functions), wire type 2, three bytes that are not a valid message.
        let model = ModelProto::decode(&[0xca, 0x01, 0x03, 0xff, 0xff, 0xff][..]).unwrap();
        assert_eq!(model.functions.len(), 1);
        let graph = GraphProto::decode(&[0x7a, 0x00][..]).unwrap();
        assert_eq!(graph.sparse_initializer.len(), 1);
        let attribute = AttributeProto::decode(&[0xb2, 0x01, 0x00][..]).unwrap();
        assert!(attribute.sparse_tensor.is_some());
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }
}
