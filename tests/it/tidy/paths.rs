//! The paths that Rust code names: written out, imported by `use`, or in `pub(in ...)`.
//!
//! Reads tokens rather than a syntax tree, so it knows nothing of scopes: a `use` inside a
//! function counts for the whole module. Paths inside string literals of attributes are not read.

use super::tokens::{Token, closing, tokens};

/// The names of a path, or of the modules from the root of the crate down to one of them.
pub(super) type Path = Vec<String>;

/// How the code names a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// In an expression, a type, an attribute or a macro.
    Written,
    /// In a `use` tree that brings `name` into scope; a glob and `as _` bring no single name.
    Import { name: Option<String>, is_public: bool },
    /// In `pub(in ...)`.
    Visibility,
}

/// One path that the code names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    pub(super) line: usize,
    /// As written; a leading `::` is an empty first segment, and a glob is left out.
    pub(super) segments: Path,
    /// The module that names it.
    pub(super) module: Path,
    pub(super) form: Form,
}

/// Everything that one file names and declares.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) paths: Vec<Named>,
    /// The module of the file, then the modules written inside it.
    pub(super) modules: Vec<Path>,
}

/// After these, a `::` starts a path rather than going on with one.
const KEYWORDS: &[&str] =
    &["as", "dyn", "else", "for", "if", "impl", "in", "match", "mut", "return", "where"];

/// The module that is in a file under `src/`. The root of the binary counts as a module `main`.
pub(super) fn module_of(path: &str) -> Option<Path> {
    let path = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let path = path.strip_suffix("/mod").unwrap_or(path);
    Some(path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect())
}

/// Reads the code of the file that holds `module`.
pub(super) fn names(module: Path, code: &str) -> Names {
    let tokens = tokens(code);
    let mut reader = Reader {
        tokens: &tokens,
        names: Names { paths: Vec::new(), modules: vec![module.clone()] },
        module,
        ends: Vec::new(),
    };
    reader.read();
    reader.names
}

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    names: Names,
    module: Path,
    /// Where the inline modules around the current token end.
    ends: Vec<usize>,
}

impl Reader<'_> {
    fn read(&mut self) {
        let mut at = 0;
        while at < self.tokens.len() {
            if self.ends.last() == Some(&at) {
                self.ends.pop();
                self.module.pop();
            }
            at = match self.text(at) {
                "mod" if self.is_name(at + 1) && self.text(at + 2) == "{" => {
                    self.module.push(self.text(at + 1).to_owned());
                    self.names.modules.push(self.module.clone());
                    self.ends.push(closing(self.tokens, at + 2));
                    at + 3
                }
                // `use<'a>` in a bound imports nothing.
                "use" if self.text(at + 1) != "<" => {
                    let is_public = at > 0 && ["pub", ")"].contains(&self.text(at - 1));
                    self.use_tree(at + 1, &[], is_public) + 1
                }
                _ if self.starts_path(at) => self.written(at),
                _ => at + 1,
            };
        }
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    fn is_name(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(Token::is_name)
    }

    /// Whether a path of at least two segments starts here, and not in the middle of one.
    fn starts_path(&self, at: usize) -> bool {
        let before = |back: usize| at.checked_sub(back).map_or("", |at| self.text(at));
        if self.text(at) == "::" {
            let is_type = before(1) == ">" && !["-", "="].contains(&before(2));
            let is_segment = at > 0 && self.is_name(at - 1) && !KEYWORDS.contains(&before(1));
            return !is_type && !is_segment && self.is_name(at + 1);
        }
        let is_start = self.is_name(at) && before(1) != "::";
        is_start && self.text(at + 1) == "::" && self.is_name(at + 2)
    }

    /// Takes the path that starts here, and returns where it ends.
    fn written(&mut self, start: usize) -> usize {
        let mut segments = Path::new();
        let mut at = start;
        if self.text(at) == "::" {
            segments.push(String::new());
            at += 1;
        }
        segments.push(self.text(at).to_owned());
        while self.text(at + 1) == "::" && self.is_name(at + 2) {
            segments.push(self.text(at + 2).to_owned());
            at += 2;
        }
        let before = |back: usize| start.checked_sub(back).map_or("", |at| self.text(at));
        let is_visibility = before(1) == "in" && before(2) == "(" && before(3) == "pub";
        let form = if is_visibility { Form::Visibility } else { Form::Written };
        self.push(start, segments, form);
        at + 1
    }

    /// Takes one branch of a `use` tree, and returns the index of the `,`, `}` or `;` after it.
    fn use_tree(&mut self, start: usize, prefix: &[String], is_public: bool) -> usize {
        let mut segments = prefix.to_vec();
        let mut at = start;
        let mut is_glob = false;
        let mut alias = None;
        while at < self.tokens.len() {
            match self.text(at) {
                "," | "}" | ";" => break,
                "::" if at == start && prefix.is_empty() => segments.push(String::new()),
                "::" => {}
                "*" => is_glob = true,
                "as" => {
                    alias = Some(self.text(at + 1).to_owned());
                    at += 1;
                }
                "{" => {
                    loop {
                        at = self.use_tree(at + 1, &segments, is_public);
                        if self.text(at) != "," {
                            break;
                        }
                    }
                    return at + 1;
                }
                // `a::{self}` is `a`, and so is `a::self`.
                "self" if !segments.is_empty() => {}
                name => segments.push(name.to_owned()),
            }
            at += 1;
        }
        if at > start {
            let name = alias.or_else(|| segments.last().cloned());
            let name = name.filter(|name| !is_glob && name != "_");
            self.push(start, segments, Form::Import { name, is_public });
        }
        at
    }

    fn push(&mut self, at: usize, segments: Path, form: Form) {
        let line = self.tokens[at].line;
        self.names.paths.push(Named { line, segments, module: self.module.clone(), form });
    }
}

/// The path from the root of the crate, when the first segments say where it starts. A `super`
/// above the root stays at the root.
pub(super) fn from_root(module: &[String], segments: &[String]) -> Option<Path> {
    let mut path = match segments.first()?.as_str() {
        "crate" => Path::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    for segment in segments {
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => _ = path.pop(),
            name => path.push(name.to_owned()),
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `line path` for every path, from the root of the crate where it leads there.
    fn read(file: &str, code: &str) -> Vec<String> {
        names(module_of(file).unwrap(), code)
            .paths
            .iter()
            .map(|named| {
                let path = from_root(&named.module, &named.segments);
                let path = path.map(|path| format!("crate::{}", path.join("::")));
                format!("{} {}", named.line, path.unwrap_or_else(|| named.segments.join("::")))
            })
            .collect()
    }

    #[test]
    fn every_form_of_a_path_is_read() {
        for (code, expected) in [
            ("use crate::a::B;", &["1 crate::a::B"][..]),
            ("pub(crate) use crate::a::B as C;", &["1 crate::a::B"]),
            (
                "use crate::{\n    a::{self, b::{C, D as E}},\n    f::*,\n};",
                &["2 crate::a", "2 crate::a::b::C", "2 crate::a::b::D", "3 crate::f"],
            ),
            ("use {std::fmt, crate::a};", &["1 std::fmt", "1 crate::a"]),
            ("fn f(a: crate::a::B<crate::c::D>) {}", &["1 crate::a::B", "1 crate::c::D"]),
            ("let a = crate\n    ::a\n    ::b();", &["1 crate::a::b"]),
            ("use super::d::E;", &["1 crate::x::d::E"]),
            ("use super::super::d::E;", &["1 crate::d::E"]),
            ("self::f(); super::g()", &["1 crate::x::y::f", "1 crate::x::g"]),
            ("pub(in crate::x) struct A;", &["1 crate::x"]),
            ("pub(in super::super) struct A;", &["1 crate::"]),
            ("mod m {\n use super::a; }\nuse super::b;", &["2 crate::x::y::a", "3 crate::x::b"]),
            ("fn f() -> impl Fn() + use<'_> { ::tokio::spawn }", &["1 ::tokio::spawn"]),
            ("<T as A>::b::c(d.collect::<Vec<_>>())", &[]),
        ] {
            assert_eq!(read("src/x/y.rs", code), expected, "for {code}");
        }
        assert_eq!(read("src/x/mod.rs", "use super::d;"), ["1 crate::d"]);
        assert_eq!(read("src/lib.rs", "use self::d;"), ["1 crate::d"]);
        assert_eq!(module_of("tests/it/main.rs"), None);
    }

    #[test]
    fn an_import_says_which_name_it_brings() {
        let code = "use a::{b, c as d, e::*, F as _, g::{self}};\npub use h;";
        let names = names(Path::new(), code);
        let imports: Vec<(Option<&str>, bool)> = names
            .paths
            .iter()
            .filter_map(|named| match &named.form {
                Form::Import { name, is_public } => Some((name.as_deref(), *is_public)),
                _ => None,
            })
            .collect();
        let private = [Some("b"), Some("d"), None, None, Some("g")].map(|name| (name, false));
        assert_eq!(imports, [&private[..], &[(Some("h"), true)]].concat());
    }
}
