//! The modules under `src/`, and which file defines what a path names.

use std::collections::BTreeMap;

use super::File;
use super::paths::{Form, Named, Names, Path, from_root, module_of, names};

/// How many re-exports a path may pass through. Two modules that import a name from each other
/// would otherwise have no end.
const REEXPORTS_MAX: usize = 16;

/// The module tree of the crate.
pub(super) struct Modules<'a> {
    pub(super) sources: Vec<Source<'a>>,
    modules: BTreeMap<Path, Module>,
}

/// One file under `src/`, read.
pub(super) struct Source<'a> {
    pub(super) file: &'a File,
    pub(super) module: Path,
    pub(super) paths: Vec<Named>,
}

struct Module {
    /// Where in the sources it is.
    source: usize,
    /// The paths that its `use` trees bring into scope, as written, by the name they have there.
    imports: BTreeMap<String, Path>,
}

impl<'a> Modules<'a> {
    pub(super) fn of(files: &'a [File]) -> Self {
        let mut all = Self { sources: Vec::new(), modules: BTreeMap::new() };
        for file in files.iter().filter(|file| file.is_rust()) {
            let Some(module) = module_of(&file.path) else {
                continue;
            };
            let Names { paths, modules } = names(module.clone(), &file.code);
            let source = all.sources.len();
            for module in modules {
                all.modules.insert(module, Module { source, imports: BTreeMap::new() });
            }
            all.sources.push(Source { file, module, paths });
        }
        for named in all.sources.iter().flat_map(|source| &source.paths) {
            if let Form::Import { name: Some(name), .. } = &named.form
                // `use serde;` would lead from the name to itself.
                && named.segments != [name.as_str()]
                && let Some(module) = all.modules.get_mut(&named.module)
            {
                module.imports.insert(name.clone(), named.segments.clone());
            }
        }
        all
    }

    /// The path from the root of the crate; none for what is outside the crate or local.
    pub(super) fn absolute(&self, named: &Named) -> Option<Path> {
        self.absolute_from(&named.module, &named.segments, REEXPORTS_MAX)
    }

    fn absolute_from(&self, module: &[String], segments: &[String], left: usize) -> Option<Path> {
        if let Some(path) = from_root(module, segments) {
            return Some(path);
        }
        let (first, rest) = segments.split_first()?;
        let child = [module, std::slice::from_ref(first)].concat();
        let start = if self.modules.contains_key(&child) {
            child
        } else {
            let import = self.modules.get(module)?.imports.get(first)?;
            self.absolute_from(module, import, left.checked_sub(1)?)?
        };
        Some([&start, rest].concat())
    }

    /// The source that defines what an absolute path names, behind all re-exports of the crate.
    pub(super) fn home(&self, path: &[String]) -> Option<&Source<'a>> {
        self.home_of(path, REEXPORTS_MAX).map(|source| &self.sources[source])
    }

    fn home_of(&self, path: &[String], left: usize) -> Option<usize> {
        let mut module = self.modules.get(&path[..0])?;
        for (at, segment) in path.iter().enumerate() {
            if let Some(child) = self.modules.get(&path[..=at]) {
                module = child;
                continue;
            }
            let reexported = module.imports.get(segment).and_then(|import| {
                let left = left.checked_sub(1)?;
                let import = self.absolute_from(&path[..at], import, left)?;
                self.home_of(&[&import, &path[at + 1..]].concat(), left)
            });
            return reexported.or(Some(module.source));
        }
        Some(module.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_the_file_that_defines_it() {
        let file = |path: &str, code: &str| File::new(path.to_owned(), code.to_owned());
        let files = [
            file("src/lib.rs", "pub mod a;\npub mod x;"),
            file("src/main.rs", "use library::a;"),
            file("src/a/mod.rs", "mod b;\npub use b::{B, C as D};\npub use self::b::c::*;"),
            file("src/a/b/mod.rs", "mod c;\npub use serde::E;\npub use c::C;\npub struct B;"),
            file("src/a/b/c.rs", "pub struct C;\nmod inner { pub struct F; }"),
            file("src/x.rs", "use crate::a as alias;\nuse loops as looped;\nuse looped as loops;"),
        ];
        let modules = Modules::of(&files);
        for (written, absolute, home) in [
            ("crate::a", "a", "src/a/mod.rs"),
            ("crate::a::A", "a::A", "src/a/mod.rs"),
            ("crate::a::B", "a::B", "src/a/b/mod.rs"),
            ("crate::a::D::new", "a::D::new", "src/a/b/c.rs"),
            ("crate::a::b::E", "a::b::E", "src/a/b/mod.rs"),
            ("crate::a::b::c::inner::F", "a::b::c::inner::F", "src/a/b/c.rs"),
            ("alias::b::B", "a::b::B", "src/a/b/mod.rs"),
            ("super::a::B", "a::B", "src/a/b/mod.rs"),
            ("crate::Z", "Z", "src/lib.rs"),
        ] {
            let split = |path: &str| path.split("::").map(str::to_owned).collect::<Path>();
            let named = Named {
                line: 1,
                segments: split(written),
                module: split("x"),
                form: Form::Written,
            };
            let path = modules.absolute(&named).unwrap();
            assert_eq!(path, split(absolute), "for {written}");
            let file = modules.home(&path).map(|source| source.file.path.as_str());
            assert_eq!(file, Some(home), "for {written}");
        }
        for outside in ["std::fmt", "Local::new", "loops::B"] {
            let segments = outside.split("::").map(str::to_owned).collect();
            let named =
                Named { line: 1, segments, module: vec!["x".to_owned()], form: Form::Written };
            assert_eq!(modules.absolute(&named), None, "for {outside}");
        }
    }
}
