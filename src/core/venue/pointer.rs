//! Where a value stands in a frame: JSON pointers (RFC 6901), with `*` for all of an array.
//!
//! Owns the notation. Promises that a pointer which exists can be followed in any frame. What is
//! written is told by its first character: `/a/b` begins at the frame, `a/b` at the element under
//! way, `=text` is the text itself. A pointer from the frame may hold the `*`s of `each` at the
//! same places, and then means the same elements. `{json}` goes into a text that is JSON itself.

use super::json::{At, Found, Json, NodeKind};

/// The most `*`s in a pointer. Exchanges use two.
const STARS_MAX: usize = 4;

/// The step into a text that is JSON.
const INSIDE: &str = "{json}";

/// The most of these steps in a pointer: one text in another.
const INSIDE_MAX: usize = 2;

/// Why a text is no pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PointerError {
    /// `~` before something else than 0 or 1.
    #[error("`~` stands for itself as `~0` and for `/` as `~1`")]
    Escape,
    /// A pointer that has to begin at the frame.
    #[error("must begin with `/`, at the frame")]
    Relative,
    /// A `*` where one value is meant.
    #[error("`*` has a place in `each` alone, and at the same place in a pointer like it")]
    Star,
    /// More stars than are followed.
    #[error("at most {STARS_MAX} `*`")]
    Stars,
    /// More texts in one another than are opened.
    #[error("at most {INSIDE_MAX} `{INSIDE}`")]
    Inside,
}

/// One name or index after the other, without stars.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name {
        name: String,
        /// The place in an array, where the name is one.
        index: Option<usize>,
    },
    /// Into a text that is JSON.
    Inside,
}

/// Where texts stand that hold JSON.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inner {
    /// How many other texts they lie in: those have to be opened before.
    depth: usize,
    /// `None` is a `*`.
    steps: Vec<Option<Step>>,
}

/// Which elements of a frame ticks are made of: paths with a star between each two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Each {
    paths: Vec<Path>,
    /// Whether a star also stands for the members of an object that are lists or objects.
    walks_members: bool,
}

/// The values that a frame's `*`s stand for right now: the frame, then one for each star.
#[derive(Clone, Copy, Debug)]
pub(super) struct Under {
    levels: [At; STARS_MAX + 1],
    element: At,
}

/// A place in a frame, or a text that stands in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What the configuration says.
    Constant(String),
    /// Below the value of the `level`th star; level 0 is the frame.
    Level { level: usize, path: Steps },
    /// Below the element under way.
    Element(Steps),
}

/// A path, opaque to the outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Steps(Path);

impl Path {
    fn parse(text: &str) -> Result<Self, PointerError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split('/').map(Step::parse).collect::<Result<_, _>>().map(Self)
    }

    fn follow(&self, json: Json<'_>, from: At) -> Found {
        let mut at = from;
        let mut twice = false;
        for step in &self.0 {
            at = match step.follow(json, at) {
                Found::Nothing => return Found::Nothing,
                Found::Once(next) => next,
                Found::Twice(next) => {
                    twice = true;
                    next
                }
            };
        }
        if twice { Found::Twice(at) } else { Found::Once(at) }
    }
}

impl Step {
    fn follow(&self, json: Json<'_>, at: At) -> Found {
        let one = |at: Option<At>| at.map_or(Found::Nothing, Found::Once);
        match (self, json.kind(at)) {
            (Self::Name { name, .. }, NodeKind::Object) => json.member(at, name),
            (Self::Name { index, .. }, NodeKind::Array) => {
                one(index.and_then(|index| json.element(at, index)))
            }
            (Self::Inside, NodeKind::Plain | NodeKind::Escaped) => one(json.inside(at)),
            _ => Found::Nothing,
        }
    }

    fn parse(text: &str) -> Result<Self, PointerError> {
        if text == INSIDE {
            return Ok(Self::Inside);
        }
        let mut name = String::with_capacity(text.len());
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            name.push(match character {
                '~' => match characters.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err(PointerError::Escape),
                },
                other => other,
            });
        }
        // An index has no leading zeros, by the RFC.
        let is_index =
            name == "0" || (!name.starts_with('0') && name.bytes().all(|b| b.is_ascii_digit()));
        let index = is_index.then(|| name.parse().ok()).flatten();
        Ok(Self::Name { name, index })
    }
}

impl Inner {
    /// The texts that a pointer under `each` goes into.
    ///
    /// # Errors
    /// For more of them in one another than are opened. Anything else that is wrong with the
    /// pointer is found by those that read it as one.
    pub(super) fn of(pointer: &str, each: &str) -> Result<Vec<Self>, PointerError> {
        let whole = match pointer.strip_prefix('/') {
            _ if pointer.starts_with('=') => return Ok(Vec::new()),
            Some(rest) => rest.to_owned(),
            None if each.is_empty() => pointer.to_owned(),
            None => format!("{}/{pointer}", each.trim_start_matches('/')),
        };
        let mut found = Vec::new();
        let mut steps = Vec::new();
        for name in whole.split('/') {
            if name == INSIDE {
                found.push(Self { depth: found.len(), steps: steps.clone() });
            }
            let Ok(step) = (name != "*").then(|| Step::parse(name)).transpose() else { break };
            steps.push(step);
        }
        if found.len() > INSIDE_MAX { Err(PointerError::Inside) } else { Ok(found) }
    }

    /// Calls `visit` for each text that is there.
    pub(super) fn walk(&self, json: Json<'_>, visit: &mut impl FnMut(At)) {
        descend_to_texts(json, &self.steps, json.root(), visit);
    }
}

fn descend_to_texts(
    json: Json<'_>,
    steps: &[Option<Step>],
    mut at: At,
    visit: &mut impl FnMut(At),
) {
    for (index, step) in steps.iter().enumerate() {
        let Some(step) = step else {
            let rest = &steps[index + 1..];
            return json.elements(at).for_each(|at| descend_to_texts(json, rest, at, visit));
        };
        match step.follow(json, at) {
            Found::Nothing => return,
            Found::Once(next) | Found::Twice(next) => at = next,
        }
    }
    if matches!(json.kind(at), NodeKind::Plain | NodeKind::Escaped) {
        visit(at);
    }
}

impl Each {
    /// Reads `each`; the empty text is the frame itself.
    pub(super) fn parse(text: &str) -> Result<Self, PointerError> {
        let Some(rest) = text.strip_prefix('/') else {
            if text.is_empty() {
                return Ok(Self { paths: vec![Path::default()], walks_members: false });
            }
            return Err(PointerError::Relative);
        };
        let mut paths = vec![Path::default()];
        for name in rest.split('/') {
            if name == "*" {
                paths.push(Path::default());
            } else {
                // There is always a last one.
                if let Some(path) = paths.last_mut() {
                    path.0.push(Step::parse(name)?);
                }
            }
        }
        if paths.len() > STARS_MAX + 1 {
            return Err(PointerError::Stars);
        }
        Ok(Self { paths, walks_members: false })
    }

    /// The same, where a star also stands for the members of an object: answers with the name of
    /// the symbol around its rows, and `null` in place of a list without any.
    pub(super) fn with_members(self) -> Self {
        Self { walks_members: true, ..self }
    }

    /// Calls `visit` for each element in the frame's order, with what its stars stand for; where
    /// the way to one leads nowhere, with `None` once.
    pub(super) fn walk(&self, json: Json<'_>, visit: &mut impl FnMut(Option<Under>)) {
        let root = json.root();
        let under = Under { levels: [root; STARS_MAX + 1], element: root };
        self.descend(json, 0, under, visit);
    }

    fn descend(
        &self,
        json: Json<'_>,
        level: usize,
        mut under: Under,
        visit: &mut impl FnMut(Option<Under>),
    ) {
        let (Found::Once(at) | Found::Twice(at)) =
            self.paths[level].follow(json, under.levels[level])
        else {
            return visit(None);
        };
        if level + 1 == self.paths.len() {
            under.element = at;
            return visit(Some(under));
        }
        let is_list = |at| matches!(json.kind(at), NodeKind::Object | NodeKind::Array);
        match json.kind(at) {
            NodeKind::Array => {
                for element in json.elements(at) {
                    under.levels[level + 1] = element;
                    self.descend(json, level + 1, under, visit);
                }
            }
            NodeKind::Object if self.walks_members => {
                for (_, value) in json.members(at).filter(|(_, value)| is_list(*value)) {
                    under.levels[level + 1] = value;
                    self.descend(json, level + 1, under, visit);
                }
            }
            NodeKind::Word if self.walks_members && json.raw(at) == "null" => {}
            _ => visit(None),
        }
    }
}

impl Under {
    /// The element itself.
    pub(super) fn element(&self) -> At {
        self.element
    }
}

impl Place {
    /// Reads what is written under `each`.
    pub(super) fn parse(text: &str, each: &Each) -> Result<Self, PointerError> {
        if let Some(constant) = text.strip_prefix('=') {
            return Ok(Self::Constant(constant.to_owned()));
        }
        let Some(rest) = text.strip_prefix('/') else {
            if text.split('/').any(|name| name == "*") {
                return Err(PointerError::Star);
            }
            return Path::parse(text).map(|path| Self::Element(Steps(path)));
        };
        // The way of `each` up to and with each of its stars, which this pointer may follow.
        let mut level = 0;
        let mut path = Path::default();
        for name in rest.split('/') {
            if name != "*" {
                path.0.push(Step::parse(name)?);
            } else if level + 1 < each.paths.len() && path == each.paths[level] {
                level += 1;
                path = Path::default();
            } else {
                return Err(PointerError::Star);
            }
        }
        Ok(Self::Level { level, path: Steps(path) })
    }

    /// Reads a pointer that begins at the frame and means one value.
    pub(super) fn of_frame(text: &str) -> Result<Self, PointerError> {
        if !text.starts_with('/') {
            return Err(PointerError::Relative);
        }
        Self::parse(text, &Each { paths: vec![Path::default()], walks_members: false })
    }

    /// Whether it says the same for all elements of a frame.
    pub(super) fn is_of_frame(&self) -> bool {
        matches!(self, Self::Level { level: 0, .. })
    }

    /// What stands there in a frame, of which no elements are under way.
    pub(super) fn in_frame(&self, json: Json<'_>) -> Found {
        match self {
            Self::Level { level: 0, path } => path.0.follow(json, json.root()),
            _ => Found::Nothing,
        }
    }

    /// What stands there for the element under way; a constant stands nowhere.
    pub(super) fn under(&self, json: Json<'_>, under: &Under) -> Found {
        match self {
            Self::Constant(_) => Found::Nothing,
            Self::Level { level, path } => path.0.follow(json, under.levels[*level]),
            Self::Element(path) => path.0.follow(json, under.element),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::Tape;
    use super::*;

    const FRAME: &str = r#"{"a/b":1,"m~n":2,"":3,"ts":9,
        "events":[{"type":"x","trades":[{"p":10},{"p":11}]},{"trades":[]},{"type":"y"},7,
                  {"type":"z","trades":[{"p":12}]}]}"#;

    fn raw<'t>(json: Json<'t>, found: Found) -> Option<&'t str> {
        match found {
            Found::Nothing => None,
            Found::Once(at) | Found::Twice(at) => Some(json.raw(at)),
        }
    }

    #[test]
    fn follows_the_rfc() {
        let mut tape = Tape::default();
        let json = tape.read(FRAME.as_bytes(), &[]).unwrap();
        for (pointer, value) in [
            ("/a~1b", Some("1")),
            ("/m~0n", Some("2")),
            ("/", Some("3")),
            ("/events/0/trades/1/p", Some("11")),
            ("/events/00/trades", None),
            ("/events/9", None),
            ("/events/-1", None),
            ("/ts/0", None),
            ("/events/0/type", Some("x")),
        ] {
            let place = Place::of_frame(pointer).unwrap();
            assert_eq!(raw(json, place.in_frame(json)), value, "{pointer}");
        }
    }

    #[test]
    fn stars_mean_the_elements_under_way() {
        let mut tape = Tape::default();
        let json = tape.read(FRAME.as_bytes(), &[]).unwrap();
        let each = Each::parse("/events/*/trades/*").unwrap();
        let place = |text| Place::parse(text, &each).unwrap();
        let places = ["p", "/events/*/trades/*/p", "/events/*/type", "/ts"].map(place);
        let mut seen = Vec::new();
        each.walk(json, &mut |under| {
            let row = under.map(|under| {
                places.clone().map(|place| raw(json, place.under(json, &under)).unwrap_or("-"))
            });
            seen.push(row);
        });
        let expected = [
            Some(["10", "10", "x", "9"]),
            Some(["11", "11", "x", "9"]),
            // An event without trades, and one that is no event; the one with none of them is fine.
            None,
            None,
            Some(["12", "12", "z", "9"]),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn refuses_what_cannot_be_followed() {
        let each = Each::parse("/events/*/trades/*").unwrap();
        for (text, error) in [
            ("/trades/*/p", PointerError::Star),
            ("/events/*/trades/*/x/*", PointerError::Star),
            ("x/*", PointerError::Star),
            ("a~2", PointerError::Escape),
            ("/a~", PointerError::Escape),
        ] {
            assert_eq!(Place::parse(text, &each), Err(error), "{text}");
        }
        assert_eq!(Each::parse("data/*"), Err(PointerError::Relative));
        assert_eq!(Each::parse("/*/*/*/*/*"), Err(PointerError::Stars));
        assert_eq!(Place::of_frame("e"), Err(PointerError::Relative));
        assert_eq!(Place::of_frame("/data/*/e"), Err(PointerError::Star));
    }
}
