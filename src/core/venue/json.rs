//! A frame's JSON as a flat list of nodes, read once and looked into many times.
//!
//! Owns the grammar. Promises that any bytes give a tape or a reason in time proportional to their
//! length, that depth and nodes are bounded, and that a tape which is used again allocates nothing
//! once it has grown to the frames it meets. A text that holds JSON can be opened: its nodes follow
//! those of the frame, under the same limits. Never reads a number: digits stay the text they are.

use std::borrow::Cow;

use super::pointer::Inner;

/// How deep arrays and objects may lie in one another. Exchanges use five or six levels.
pub(super) const DEPTH_MAX: usize = 32;

/// The most nodes of one frame: 4 MB of tape. A frame of 10,000 trades has 200,000.
pub(super) const NODES_MAX: usize = 1 << 18;

/// Why a frame is not JSON that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8, as compressed frames are.
    #[error("not UTF-8; if the feed compresses its messages, set source.compression")]
    Encoding,
    /// Not JSON.
    #[error("not JSON")]
    Grammar,
    /// Arrays and objects deeper than 32 levels.
    #[error("nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// More than 262,144 names and values, or 4 GiB.
    #[error("more than {NODES_MAX} names and values")]
    TooLarge,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Object,
    Array,
    /// Without escapes: the text between the quotes is the value.
    Plain,
    /// A text with escapes.
    Escaped,
    Number,
    /// `true`, `false` or `null`.
    Word,
}

/// One value, or the name of an object's member, which stands before its value.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: NodeKind,
    /// Where it begins in the frame; of a text, behind its quote.
    start: u32,
    /// Where it ends; of a text, at its quote.
    end: u32,
    /// The index of the node behind it and all that it holds.
    next: u32,
}

/// The nodes of frames read one after the other.
#[derive(Debug, Default)]
pub(super) struct Tape {
    nodes: Vec<Node>,
    open: Vec<u32>,
    /// The frame and, behind it, the texts in it that were opened.
    text: String,
    links: Vec<Link>,
    /// The texts to open next.
    wanted: Vec<At>,
}

/// A text that was opened, and the value in it; `None` where the text is no JSON.
type Link = (At, Option<At>);

/// A frame that was read.
#[derive(Clone, Copy)]
pub(super) struct Json<'t> {
    text: &'t str,
    nodes: &'t [Node],
    /// By the first part.
    links: &'t [Link],
}

/// A value inside a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(u32);

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Once(At),
    /// The name stands there twice, so that it is unclear which value is meant; the first is here.
    Twice(At),
}

impl Tape {
    /// Reads a frame, and opens the texts at these places.
    pub(super) fn read<'t>(
        &'t mut self,
        frame: &'t [u8],
        inner: &[Inner],
    ) -> Result<Json<'t>, Malformed> {
        let text = std::str::from_utf8(frame).map_err(|_| Malformed::Encoding)?;
        // Every place in the frame fits the nodes' numbers.
        u32::try_from(frame.len()).map_err(|_| Malformed::TooLarge)?;
        self.nodes.clear();
        self.links.clear();
        self.parse(frame, 0)?;
        if inner.is_empty() {
            return Ok(Json { text, nodes: &self.nodes, links: &[] });
        }
        let mut all = std::mem::take(&mut self.text);
        all.clear();
        all.push_str(text);
        for place in inner {
            self.open_texts(place, &mut all);
        }
        self.text = all;
        Ok(Json { text: &self.text, nodes: &self.nodes, links: &self.links })
    }

    /// Opens the texts at a place. `all` grows by each that is JSON; one that is not, or for which
    /// there is no room, holds nothing.
    fn open_texts(&mut self, place: &Inner, all: &mut String) {
        let mut wanted = std::mem::take(&mut self.wanted);
        wanted.clear();
        place.walk(Json { text: all, nodes: &self.nodes, links: &self.links }, &mut |at| {
            wanted.push(at);
        });
        let known = self.links.len();
        for &at in &wanted {
            // No place leads twice to one text, so that those which were just opened need no look.
            if self.links[..known].binary_search_by_key(&at, |(text, _)| *text).is_ok() {
                continue;
            }
            let json = Json { text: all, nodes: &self.nodes, links: &[] };
            let Some(text) = json.text(at).map(Cow::into_owned) else { continue };
            let (start, first) = (all.len(), self.nodes.len());
            all.push_str(&text);
            let fits = u32::try_from(all.len()).is_ok();
            let value = if fits && self.parse(all.as_bytes(), start).is_ok() {
                Some(At(first as u32))
            } else {
                all.truncate(start);
                self.nodes.truncate(first);
                None
            };
            self.links.push((at, value));
        }
        self.links.sort_unstable();
        self.wanted = wanted;
    }

    /// Reads the value that begins at `start` and ends with the bytes.
    fn parse(&mut self, bytes: &[u8], start: usize) -> Result<(), Malformed> {
        self.open.clear();
        let mut at = skip_space(bytes, start);
        'value: loop {
            at = match bytes.get(at) {
                Some(b'{') => {
                    let inside = self.open(NodeKind::Object, bytes, at)?;
                    match bytes.get(inside) {
                        Some(b'}') => inside,
                        _ => {
                            at = self.name(bytes, inside)?;
                            continue 'value;
                        }
                    }
                }
                Some(b'[') => {
                    let inside = self.open(NodeKind::Array, bytes, at)?;
                    match bytes.get(inside) {
                        Some(b']') => inside,
                        _ => {
                            at = inside;
                            continue 'value;
                        }
                    }
                }
                Some(b'"') => self.text(bytes, at)?,
                Some(b'-' | b'0'..=b'9') => {
                    let end = number_end(bytes, at).ok_or(Malformed::Grammar)?;
                    self.push(NodeKind::Number, at, end)?;
                    end
                }
                Some(_) => {
                    let words: [&[u8]; 3] = [b"true", b"false", b"null"];
                    let word = words.iter().find(|word| bytes[at..].starts_with(word));
                    let end = at + word.ok_or(Malformed::Grammar)?.len();
                    self.push(NodeKind::Word, at, end)?;
                    end
                }
                None => return Err(Malformed::Grammar),
            };
            // A value has ended, or an empty array or object ends here.
            loop {
                at = skip_space(bytes, at);
                let Some(&top) = self.open.last() else {
                    return if at == bytes.len() { Ok(()) } else { Err(Malformed::Grammar) };
                };
                let kind = self.nodes[top as usize].kind;
                match (bytes.get(at), kind) {
                    (Some(b','), NodeKind::Object) => {
                        at = self.name(bytes, skip_space(bytes, at + 1))?;
                        continue 'value;
                    }
                    (Some(b','), _) => {
                        at = skip_space(bytes, at + 1);
                        continue 'value;
                    }
                    (Some(b'}'), NodeKind::Object) | (Some(b']'), NodeKind::Array) => {
                        at += 1;
                        let next = self.nodes.len() as u32;
                        let node = &mut self.nodes[top as usize];
                        (node.end, node.next) = (at as u32, next);
                        self.open.pop();
                    }
                    _ => return Err(Malformed::Grammar),
                }
            }
        }
    }

    /// Begins an array or object, and gives the place of what is in it.
    fn open(&mut self, kind: NodeKind, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
        if self.open.len() == DEPTH_MAX {
            return Err(Malformed::TooDeep);
        }
        self.open.push(self.nodes.len() as u32);
        self.push(kind, at, at)?;
        Ok(skip_space(bytes, at + 1))
    }

    /// Reads a member's name and the colon behind it.
    fn name(&mut self, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
        if bytes.get(at) != Some(&b'"') {
            return Err(Malformed::Grammar);
        }
        let colon = skip_space(bytes, self.text(bytes, at)?);
        if bytes.get(colon) != Some(&b':') {
            return Err(Malformed::Grammar);
        }
        Ok(skip_space(bytes, colon + 1))
    }

    /// Reads a text that begins with the quote at `at`.
    fn text(&mut self, bytes: &[u8], at: usize) -> Result<usize, Malformed> {
        let start = at + 1;
        let mut kind = NodeKind::Plain;
        let mut end = start;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    kind = NodeKind::Escaped;
                    end += match bytes.get(end + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') => {
                            let digits = bytes.get(end + 2..end + 6);
                            let digits = digits.ok_or(Malformed::Grammar)?;
                            if !digits.iter().all(u8::is_ascii_hexdigit) {
                                return Err(Malformed::Grammar);
                            }
                            6
                        }
                        _ => return Err(Malformed::Grammar),
                    };
                }
                Some(0..0x20) | None => return Err(Malformed::Grammar),
                Some(_) => end += 1,
            }
        }
        self.push(kind, start, end)?;
        Ok(end + 1)
    }

    fn push(&mut self, kind: NodeKind, start: usize, end: usize) -> Result<(), Malformed> {
        if self.nodes.len() == NODES_MAX {
            return Err(Malformed::TooLarge);
        }
        let next = self.nodes.len() as u32 + 1;
        // The frame's length fits, and so does every place in it.
        self.nodes.push(Node { kind, start: start as u32, end: end as u32, next });
        Ok(())
    }
}

fn skip_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Where the number that begins at `at` ends; `None` where what stands there is none by the grammar
/// of JSON.
fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    let digits = |mut at: usize| {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        (at > start).then_some(at)
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at)?;
    }
    Some(at)
}

/// Whether a text is a number by the grammar of JSON, and nothing else.
pub(super) fn is_number(text: &str) -> bool {
    number_end(text.as_bytes(), 0) == Some(text.len())
}

impl<'t> Json<'t> {
    /// The whole frame's value.
    pub(super) fn root(self) -> At {
        At(0)
    }

    pub(super) fn kind(self, at: At) -> NodeKind {
        self.nodes[at.0 as usize].kind
    }

    /// The value inside a text that was opened.
    pub(super) fn inside(self, text: At) -> Option<At> {
        let found = self.links.binary_search_by_key(&text, |(text, _)| *text).ok()?;
        self.links[found].1
    }

    /// The value as it stands in the frame, of a text without its quotes.
    pub(super) fn raw(self, at: At) -> &'t str {
        let node = &self.nodes[at.0 as usize];
        &self.text[node.start as usize..node.end as usize]
    }

    /// The value as it stands in the frame, of a text with its quotes.
    pub(super) fn whole(self, at: At) -> &'t str {
        let node = &self.nodes[at.0 as usize];
        let quote = usize::from(matches!(node.kind, NodeKind::Plain | NodeKind::Escaped));
        &self.text[node.start as usize - quote..node.end as usize + quote]
    }

    /// What a text says or how a number or word is written; `None` for arrays, objects, and texts
    /// whose escapes stand for no characters. Allocates for a text with escapes alone.
    pub(super) fn scalar(self, at: At) -> Option<Cow<'t, str>> {
        let raw = self.raw(at);
        match self.kind(at) {
            NodeKind::Plain | NodeKind::Number | NodeKind::Word => Some(Cow::Borrowed(raw)),
            NodeKind::Escaped => serde_json::from_str(&format!("\"{raw}\"")).ok().map(Cow::Owned),
            NodeKind::Object | NodeKind::Array => None,
        }
    }

    /// As [`Json::scalar`], of texts alone.
    pub(super) fn text(self, at: At) -> Option<Cow<'t, str>> {
        matches!(self.kind(at), NodeKind::Plain | NodeKind::Escaped)
            .then(|| self.scalar(at))
            .flatten()
    }

    /// The member of an object with this name.
    pub(super) fn member(self, object: At, name: &str) -> Found {
        let mut found = Found::Nothing;
        for (member, value) in self.members(object) {
            let is_it = match self.kind(member) {
                NodeKind::Escaped => self.scalar(member).is_some_and(|text| text == name),
                _ => self.raw(member) == name,
            };
            if is_it {
                found = match found {
                    Found::Nothing => Found::Once(value),
                    Found::Once(first) | Found::Twice(first) => Found::Twice(first),
                };
            }
        }
        found
    }

    /// The element of an array at this place, from zero.
    pub(super) fn element(self, array: At, index: usize) -> Option<At> {
        self.elements(array).nth(index)
    }

    /// All elements of an array; of anything else, none.
    pub(super) fn elements(self, array: At) -> impl Iterator<Item = At> + use<'t> {
        let is_array = self.kind(array) == NodeKind::Array;
        let end = if is_array { self.nodes[array.0 as usize].next } else { array.0 + 1 };
        let mut at = array.0 + 1;
        std::iter::from_fn(move || {
            let here = (at < end).then_some(At(at))?;
            at = self.nodes[at as usize].next;
            Some(here)
        })
    }

    /// The names and values of an object; of anything else, none.
    pub(super) fn members(self, object: At) -> impl Iterator<Item = (At, At)> + use<'t> {
        let is_object = self.kind(object) == NodeKind::Object;
        let end = if is_object { self.nodes[object.0 as usize].next } else { object.0 + 1 };
        let mut at = object.0 + 1;
        std::iter::from_fn(move || {
            let name = (at < end).then_some(At(at))?;
            let value = At(at + 1);
            at = self.nodes[value.0 as usize].next;
            Some((name, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The frame as a serde value again, built from the nodes alone.
    fn rebuilt(json: Json<'_>, at: At) -> Option<serde_json::Value> {
        use serde_json::Value;
        Some(match json.kind(at) {
            NodeKind::Object => {
                let members = json.members(at);
                let pairs = members.map(|(name, value)| {
                    Some((json.scalar(name)?.into_owned(), rebuilt(json, value)?))
                });
                Value::Object(pairs.collect::<Option<_>>()?)
            }
            NodeKind::Array => Value::Array(
                json.elements(at).map(|item| rebuilt(json, item)).collect::<Option<_>>()?,
            ),
            NodeKind::Plain | NodeKind::Escaped => Value::String(json.scalar(at)?.into_owned()),
            NodeKind::Number | NodeKind::Word => serde_json::from_str(json.raw(at)).ok()?,
        })
    }

    /// Any JSON, with blanks where they may be.
    fn any_json() -> impl Strategy<Value = String> {
        let number =
            any::<f64>().prop_filter("finite", |x| x.is_finite()).prop_map(|x| x.to_string());
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            number,
            any::<i64>().prop_map(|x| x.to_string()),
            any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        ];
        leaf.prop_recursive(5, 64, 6, |inner| {
            let items = proptest::collection::vec(inner, 0..6);
            prop_oneof![
                items.clone().prop_map(|items| format!("[ {} ]", items.join(" , "))),
                items.prop_map(|items| {
                    let pairs = items.iter().enumerate();
                    let pairs: Vec<_> =
                        pairs.map(|(index, item)| format!("\"k{index}\":\t{item}")).collect();
                    format!("{{{}\n}}", pairs.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_reads(text in any_json()) {
            let mut tape = Tape::default();
            let json = tape.read(text.as_bytes(), &[]).unwrap();
            let expected: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(rebuilt(json, json.root()), Some(expected));
        }

        #[test]
        fn takes_and_refuses_as_serde_does(
            text in r#"[\[\]{}",:\\ a-fu0-9eE.+\-truefalsn]{0,40}"#,
        ) {
            let serde = serde_json::from_str::<serde_json::Value>(&text);
            let mut tape = Tape::default();
            let ours = tape.read(text.as_bytes(), &[]).map(|json| rebuilt(json, json.root()));
            // Serde refuses numbers out of a double's range and escapes of half a character, which
            // this tape hands on as they stand.
            match (serde, ours) {
                (Ok(expected), ours) => prop_assert_eq!(ours, Ok(Some(expected)), "{}", text),
                (Err(_), Ok(Some(value))) => prop_assert!(false, "{text} is no {value}"),
                (Err(_), Ok(None) | Err(_)) => {}
            }
        }

        #[test]
        fn any_bytes_give_an_outcome(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tape::default().read(&bytes, &[]).map(|json| rebuilt(json, json.root()));
        }
    }

    #[test]
    fn numbers_are_those_of_json() {
        for text in ["0", "-0", "1.50", "0.00120", "12e3", "1E-7", "-0.1e+2"] {
            assert!(is_number(text), "{text}");
        }
        for text in ["", "-", "01", ".5", "1.", "+1", "1e", "0x1", "1 ", " 1", "1,0", "NaN", "1e+"]
        {
            assert!(!is_number(text), "{text}");
        }
    }

    #[test]
    fn depth_and_nodes_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let mut tape = Tape::default();
        assert!(tape.read(nested(DEPTH_MAX).as_bytes(), &[]).is_ok());
        let too_deep = tape.read(nested(DEPTH_MAX + 1).as_bytes(), &[]).err();
        assert_eq!(too_deep, Some(Malformed::TooDeep));
        let wide = |count: usize| format!("[{}1]", "1,".repeat(count - 1));
        assert!(tape.read(wide(NODES_MAX - 1).as_bytes(), &[]).is_ok());
        let too_wide = tape.read(wide(NODES_MAX).as_bytes(), &[]).err();
        assert_eq!(too_wide, Some(Malformed::TooLarge));
        assert_eq!(tape.read(b"\xff", &[]).err(), Some(Malformed::Encoding));
        assert_eq!(tape.read(b"pong", &[]).err(), Some(Malformed::Grammar));
    }

    #[test]
    fn a_name_that_stands_twice_is_told() {
        let mut tape = Tape::default();
        let frame = br#"{"a":1,"b":{"a":2},"\u0061":3,"c":[4,[5]]}"#;
        let json = tape.read(frame, &[]).unwrap();
        let Found::Twice(first) = json.member(json.root(), "a") else { panic!("twice") };
        assert_eq!(json.raw(first), "1");
        let Found::Once(list) = json.member(json.root(), "c") else { panic!("once") };
        assert_eq!(json.element(list, 1).map(|at| json.raw(at)), Some("[5]"));
        assert_eq!(json.element(list, 2), None);
        assert_eq!(json.member(list, "a"), Found::Nothing);
        assert_eq!(json.member(json.root(), "d"), Found::Nothing);
    }
}
