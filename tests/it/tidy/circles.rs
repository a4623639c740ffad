//! The rule against import circles.
//!
//! Take any folder under `src/`. Its *parts* are the folders directly in it, each with everything
//! below, and the files directly in it, `mod.rs` included. One part imports another when a file of
//! the first names something that a file of the second defines. The rule: no circle of such imports
//! runs through a part that is a folder. Only the files of one folder may import each other,
//! because they change together anyway.
//!
//! It follows that files of different folders form no circle, and neither do folders outside each
//! other: seen from the innermost folder around all of it, such a circle leads from one part into
//! another and back, and one of them is a folder. A folder and one inside it are not neighbors, so
//! `seal` may use `seal/history`, which may use a third module of `seal`.
//!
//! What counts as an import is every path that the code names, in test code as well, with these
//! clarifications:
//!
//! * A path leads to the file that defines the name, behind the re-exports on its way. A child that
//!   takes `super::Tick`, which its parent only re-exports from `tick.rs`, imports `tick.rs`.
//! * `mod child;` and the re-export of a descendant (`pub use self::child::Tick`) are no imports:
//!   they are how a module tree is put together. Any other use that a parent makes of its child is
//!   an import, and so is a child's use of something that its parent's `mod.rs` defines.
//! * `pub(in ...)` limits who sees a name and imports nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::File;
use super::modules::{Modules, Source};
use super::paths::{Form, Named};

/// For every part, the parts that it imports, each with one place that does so.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

pub(super) fn no_circle_runs_through_a_folder(_: &[File], modules: &Modules) -> Vec<String> {
    let mut problems = Vec::new();
    for (folder, graph) in graphs(modules) {
        for circle in circles(graph) {
            let parts: Vec<&str> = circle.iter().map(|(part, _)| *part).collect();
            let mut problem = format!(
                "{folder}: import circle {} -> {}; move what both sides need into a module that \
                 imports neither",
                parts.join(" -> "),
                parts[0]
            );
            for (_, example) in &circle {
                problem += "\n    ";
                problem += example;
            }
            problems.push(problem);
        }
    }
    problems
}

/// The imports between the parts of each folder.
fn graphs<'a>(modules: &'a Modules) -> BTreeMap<&'a str, Graph<'a>> {
    let mut graphs: BTreeMap<&str, Graph> = BTreeMap::new();
    for source in &modules.sources {
        for named in &source.paths {
            let Some(path) = modules.absolute(named) else {
                continue;
            };
            let Some(target) = modules.home(&path) else {
                continue;
            };
            if target.module == source.module || !is_import(named, target) {
                continue;
            }
            let (folder, from, to) = parts(&source.file.path, &target.file.path);
            graphs.entry(folder).or_default().entry(from).or_default().entry(to).or_insert_with(
                || {
                    let what = format!("`crate::{}`", path.join("::"));
                    source.file.problem(named.line, &what)
                },
            );
        }
    }
    graphs
}

fn is_import(named: &Named, target: &Source) -> bool {
    match named.form {
        Form::Written | Form::Import { is_public: false, .. } => true,
        Form::Import { is_public: true, .. } => !target.module.starts_with(&named.module),
        Form::Visibility => false,
    }
}

/// The innermost folder around two different files, and the part of it that holds each.
fn parts<'a>(from: &'a str, to: &'a str) -> (&'a str, &'a str, &'a str) {
    let shared = from.bytes().zip(to.bytes()).take_while(|(a, b)| a == b).count();
    // The first byte that differs follows a `/` or is inside a name.
    let folder = from[..shared].rfind('/').unwrap_or(0);
    let part = |path: &'a str| {
        let end = path[folder + 1..].find('/').map_or(path.len(), |end| folder + 1 + end);
        &path[..end]
    };
    (&from[..folder], part(from), part(to))
}

/// Circles that run through a folder and share no import, until none is left. Each one is a list
/// of parts, with the example of the import that leads on from there.
fn circles(mut graph: Graph<'_>) -> Vec<Vec<(&str, String)>> {
    let folders: Vec<&str> = graph.keys().copied().filter(|part| !part.ends_with(".rs")).collect();
    let mut circles = Vec::new();
    for folder in folders {
        while let Some(circle) = shortest_circle(&graph, folder) {
            let mut steps = Vec::new();
            for (from, to) in circle.iter().zip(circle.iter().cycle().skip(1)) {
                let import = graph.get_mut(from).and_then(|imports| imports.remove(to));
                steps.push((*from, import.unwrap_or_default()));
            }
            circles.push(steps);
        }
    }
    circles
}

/// The parts of the shortest circle through `start`, which comes first.
fn shortest_circle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut seen = BTreeSet::new();
    let mut open = VecDeque::from([vec![start]]);
    while let Some(path) = open.pop_front() {
        let imports = path.last().and_then(|part| graph.get(part));
        for part in imports.into_iter().flat_map(BTreeMap::keys) {
            if *part == start {
                return Some(path);
            }
            if seen.insert(*part) {
                open.push_back([&path[..], &[*part]].concat());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::planted::{assert_clean_tree, assert_found, problems_in};
    use super::*;

    #[test]
    fn files_have_their_innermost_folder() {
        for (from, to, expected) in [
            ("src/a/b.rs", "src/a/c.rs", ("src/a", "src/a/b.rs", "src/a/c.rs")),
            ("src/a/bc/d.rs", "src/a/be/f/g.rs", ("src/a", "src/a/bc", "src/a/be")),
            ("src/a/b/c.rs", "src/a/b.rs", ("src/a", "src/a/b", "src/a/b.rs")),
            ("src/a/mod.rs", "src/a/m/mod.rs", ("src/a", "src/a/mod.rs", "src/a/m")),
        ] {
            assert_eq!(parts(from, to), expected);
        }
    }

    #[test]
    fn a_circle_of_two_folders_is_caught() {
        let problems = problems_in(&[
            ("src/core/a/mod.rs", "//! A.\nuse crate::core::b::B;\npub struct A;\n"),
            ("src/core/b/mod.rs", "//! B.\npub struct B;\n\nfn f(_: super::a::A) {}\n"),
        ]);
        assert_found(&problems, &[("src/core: ", "src/core/a -> src/core/b -> src/core/a;")]);
        let problem = &problems[0];
        assert!(problem.contains("\n    src/core/a/mod.rs:2: `crate::core::b::B`"), "{problem}");
        assert!(problem.contains("\n    src/core/b/mod.rs:4: `crate::core::a::A`"), "{problem}");
    }

    #[test]
    fn a_circle_of_two_folders_through_different_files_is_caught() {
        let problems = problems_in(&[
            ("src/core/a/mod.rs", "//! A.\npub struct A;\n"),
            ("src/core/a/c.rs", "//! C.\nuse crate::core::b::B;\n"),
            ("src/core/b/mod.rs", "//! B.\npub struct B;\n"),
            ("src/core/b/d.rs", "//! D.\nmod tests {\n    use super::super::super::a::A;\n}\n"),
        ]);
        assert_found(&problems, &[("src/core: ", "src/core/a -> src/core/b -> src/core/a;")]);
    }

    #[test]
    fn a_circle_of_three_folders_is_caught() {
        let problems = problems_in(&[
            ("src/core/a/mod.rs", "//! A.\nuse crate::core::{b::B};\npub struct A;\n"),
            ("src/core/b/mod.rs", "//! B.\nuse crate::core::c::C as D;\npub struct B;\n"),
            ("src/core/c/mod.rs", "//! C.\nuse super::a;\npub struct C(a::A);\n"),
        ]);
        let circle = "src/core/a -> src/core/b -> src/core/c -> src/core/a;";
        assert_found(&problems, &[("src/core: ", circle)]);
    }

    #[test]
    fn a_circle_of_files_in_nested_folders_is_caught() {
        let circle = "src/core/a/b -> src/core/a/c.rs -> src/core/a/b;";
        let problems = problems_in(&[
            ("src/core/a/c.rs", "//! C.\nuse super::b::B;\npub struct C;\n"),
            ("src/core/a/b/mod.rs", "//! B.\nuse crate::core::a::c::C;\npub struct B;\n"),
        ]);
        assert_found(&problems, &[("src/core/a: ", circle)]);
    }

    #[test]
    fn a_circle_of_a_parent_and_its_folder_is_caught() {
        let child = ("src/core/a/b/mod.rs", "//! B.\nuse super::A;\npub struct B;\n");
        let circle = "src/core/a/b -> src/core/a/mod.rs -> src/core/a/b;";
        for parent in [
            "//! A.\nmod b;\nuse self::b::B;\npub struct A;\n",
            "//! A.\nmod b;\npub struct A;\nfn f(_: b::B) {}\n",
        ] {
            let problems = problems_in(&[("src/core/a/mod.rs", parent), child]);
            assert_found(&problems, &[("src/core/a: ", circle)]);
        }
        let reexport = "//! A.\nmod b;\npub use self::b::B;\npub struct A;\n";
        assert_clean_tree(&[("src/core/a/mod.rs", reexport), child]);
    }

    #[test]
    fn two_circles_through_one_folder_are_both_caught() {
        let problems = problems_in(&[
            ("src/core/a/mod.rs", "//! A.\nuse crate::core::{b::B, c::C};\npub struct A;\n"),
            ("src/core/b/mod.rs", "//! B.\nuse crate::core::a::A;\npub struct B;\n"),
            ("src/core/c/mod.rs", "//! C.\nuse crate::core::a::A;\npub struct C;\n"),
        ]);
        let [first, second] = ["b", "c"].map(|part| format!("a -> src/core/{part} -> src/core/a;"));
        assert_found(&problems, &[("src/core: ", &first), ("src/core: ", &second)]);
    }

    #[test]
    fn a_circle_of_files_does_not_hide_one_of_a_folder() {
        let problems = problems_in(&[
            ("src/core/a.rs", "//! A.\nuse super::b::B;\npub struct A;\n"),
            ("src/core/b.rs", "//! B.\nuse super::{a::A, c::C};\npub struct B;\n"),
            ("src/core/c/mod.rs", "//! C.\nuse crate::core::a::A;\npub struct C;\n"),
        ]);
        let circle = "src/core/c -> src/core/a.rs -> src/core/b.rs -> src/core/c;";
        assert_found(&problems, &[("src/core: ", circle)]);
    }

    #[test]
    fn imports_without_a_circle_are_clean() {
        // The files of one folder may import each other.
        assert_clean_tree(&[
            ("src/core/a.rs", "//! A.\nuse super::b::B;\npub struct A;\n"),
            ("src/core/b.rs", "//! B.\nuse super::a::A;\npub struct B;\n"),
        ]);
        // So may a folder and one inside it, through files that form no circle.
        assert_clean_tree(&[
            ("src/core/a.rs", "//! A.\nuse super::b::B;\n"),
            ("src/core/b/mod.rs", "//! B.\nuse super::c::C;\npub struct B;\n"),
            ("src/core/c.rs", "//! C.\npub struct C;\n"),
        ]);
        // Through the parent's re-export, one child imports the other.
        assert_clean_tree(&[
            ("src/core/a/mod.rs", "//! A.\nmod b;\nmod c;\npub use b::B;\npub use c::C;\n"),
            ("src/core/a/b/mod.rs", "//! B.\npub struct B;\n"),
            ("src/core/a/c/mod.rs", "//! C.\nuse super::B;\npub struct C;\n"),
        ]);
        // Seeing a name is not importing it.
        assert_clean_tree(&[
            ("src/core/a/mod.rs", "//! A.\nuse super::b::B;\n"),
            ("src/core/b/mod.rs", "//! B.\nmod c;\npub use self::c::B;\n"),
            ("src/core/b/c.rs", "//! C.\npub(in crate::core::a) struct B;\n"),
        ]);
    }
}
