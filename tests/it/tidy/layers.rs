//! The layers of the crate: their order, and the rule that imports only lead down.
//!
//! A layer is a folder or a file directly under `src/`. Code in it, test code included, names only
//! paths of its own layer and of those below. It does not matter how a path is written: `crate::`,
//! `super::`, an alias and a branch of a `use` tree all count.

use std::collections::BTreeSet;

use super::modules::Modules;
use super::paths::{Form, from_root};
use super::rules::declared_module;
use super::{File, numbered};

/// Every layer, from the lowest to the highest. This is the only place that decides the order.
pub(super) const LAYERS: &[&str] = &[
    "core", "engine", "ops", "intake", "ports", "net", "shard", "keep", "adapters", "app", "seal",
    "report", "train", "tools", "cli",
];

const ROOT: &str = "src/lib.rs";

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|known| *known == layer)
}

pub(super) fn imports_lead_down(_: &[File], modules: &Modules) -> Vec<String> {
    let mut problems = Vec::new();
    for source in &modules.sources {
        let Some((layer, own)) = source.module.first().and_then(|own| Some((own, rank(own)?)))
        else {
            continue;
        };
        let mut seen = BTreeSet::new();
        for named in &source.paths {
            // A path that starts at an import leads no further than the import, which is here too.
            let Some(path) = from_root(&named.module, &named.segments) else {
                continue;
            };
            let written = [&["crate".to_owned()], &path[..]].concat().join("::");
            let what = match path.first().map(|other| (other, rank(other))) {
                Some((_, Some(other))) if other <= own => continue,
                Some((other, Some(_))) => format!(
                    "`{written}` is in `{other}`, a layer above `{layer}`; move what both need \
                     down, or let the layer above pass it in"
                ),
                None if named.form == Form::Visibility => continue,
                _ => format!("`{written}` is in no layer; name it by the layer that defines it"),
            };
            if seen.insert((named.line, written)) {
                problems.push(source.file.problem(named.line, &what));
            }
        }
    }
    problems
}

/// The folders and files directly under `src/`, the modules in `src/lib.rs` and the table in its
/// header name the same layers.
pub(super) fn layers_are_what_the_tree_has(files: &[File], _: &Modules) -> Vec<String> {
    let in_tree: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_prefix("src/"))
        .filter(|path| !["lib.rs", "main.rs"].contains(path))
        .map(|path| path.split('/').next().unwrap_or(path).trim_end_matches(".rs"))
        .collect();
    let Some(root) = files.iter().find(|file| file.path == ROOT) else {
        return vec![format!("{ROOT}:1: the root of the crate is missing")];
    };
    let declared: Vec<&str> = root.code.lines().filter_map(declared_module).collect();
    let table: Vec<(usize, &str)> = numbered(&root.text).filter_map(layer_of_row).collect();
    let in_table: Vec<&str> = table.iter().map(|(_, layer)| *layer).collect();

    let mut problems = Vec::new();
    for (place, found) in [
        ("the folder src/", in_tree.into_iter().collect()),
        ("the `mod` lines of src/lib.rs", declared),
        ("the table of src/lib.rs", in_table.clone()),
    ] {
        for layer in LAYERS.iter().filter(|layer| !found.contains(layer)) {
            let what = format!("the layer `{layer}` is missing in {place}; add it");
            problems.push(root.problem(1, &what));
        }
        for name in found.iter().filter(|name| rank(name).is_none()) {
            let what = format!(
                "`{name}` in {place} is not in LAYERS (tests/it/tidy/layers.rs); move it into a \
                 layer, or give it a place in their order"
            );
            problems.push(root.problem(1, &what));
        }
    }
    let ranks: Vec<(usize, usize)> =
        table.iter().filter_map(|(line, layer)| Some((*line, rank(layer)?))).collect();
    for pair in ranks.windows(2).filter(|pair| pair[0].1 >= pair[1].1) {
        let what = "this row is not in the order of LAYERS; sort the table from the lowest layer";
        problems.push(root.problem(pair[1].0, what));
    }
    problems
}

/// The layer in a row such as ``//! | [`core`] | what it owns |``.
fn layer_of_row((number, line): (usize, &str)) -> Option<(usize, &str)> {
    let cell = line.strip_prefix("//! |")?.split('|').next()?.trim();
    let name = cell.trim_matches(['[', ']']).strip_prefix('`')?.strip_suffix('`')?;
    Some((number, name))
}

#[cfg(test)]
mod tests {
    use super::super::planted::{
        Planted, assert_caught, assert_clean, assert_clean_tree, assert_found, problems_in,
    };

    #[test]
    fn an_import_that_leads_up_is_caught() {
        for (code, line, path) in [
            ("use crate::app::config::Config;", 2, "crate::app::config::Config"),
            ("use crate::app;", 2, "crate::app"),
            ("use crate::keep::A;", 2, "crate::keep::A"),
            ("pub use crate::app::run;", 2, "crate::app::run"),
            ("use crate::{core::A, cli::{self}};", 2, "crate::cli"),
            ("use crate::{\n    core::A,\n    app::{\n        B as _,\n    },\n};", 5, "app::B"),
            ("use super::super::app::Config;", 2, "crate::app::Config"),
            ("use super::super::super::app::*;", 2, "crate::app"),
            ("fn f(_: &super::super::app::Config) {}", 2, "crate::app::Config"),
            ("fn f() {\n    let a = crate\n        ::tools::bench();\n}", 3, "crate::tools::bench"),
            ("#[derive(crate::app::A)]", 2, "crate::app::A"),
            ("\nmod tests {\n    use crate::app::A;\n}", 4, "crate::app::A"),
            ("mod tests {\n    use super::super::super::app::A;\n}", 3, "crate::app::A"),
            ("pub(in crate::app) struct A;", 2, "crate::app"),
            ("macro_rules! m { () => { $crate::app::A } }", 2, "crate::app::A"),
        ] {
            for path_of_file in ["src/shard/a.rs", "src/shard/tests.rs"] {
                let text = format!("//! Shard.\n{code}\n");
                assert_caught(path_of_file, &text, line, &format!("{path}` is in "));
            }
        }
    }

    #[test]
    fn an_alias_of_the_root_does_not_hide_an_import() {
        let text = "//! Shard.\nuse crate as root;\nuse root::app::A;\n";
        assert_caught("src/shard/a.rs", text, 2, "`crate` is in no layer");
        let text = "//! Shard.\nuse crate::app as lower;\nuse lower::A;\n";
        assert_caught("src/shard/a.rs", text, 2, "`crate::app` is in `app`");
        assert_caught("src/shard/a.rs", "//! A.\nuse super::super::*;\n", 2, "in no layer");
        assert_caught("src/shard/a.rs", "//! A.\nuse crate::ghost::B;\n", 2, "in no layer");
    }

    #[test]
    fn an_import_that_leads_down_is_clean() {
        let down = "//! Shard.\nuse crate::{core::A, intake::B, shard::C};\nuse super::D;\n\
                    use tokio::app::E; // crate::app::F\nconst G: &str = \"crate::app\";\n\
                    fn f(app: app::Local, c: cli::Local) {}\n";
        assert_clean("src/shard/a.rs", down);
        assert_clean("src/cli/mod.rs", "//! Cli.\nuse crate::{app::A, core::B};\n");
    }

    #[test]
    fn a_layer_that_nobody_ordered_is_caught() {
        let problems = problems_in(&[("src/extra/mod.rs", "//! Extra.\n")]);
        let place = "src/lib.rs:1: ";
        let expected =
            [(place, "`extra` in the folder src/"), (place, "`extra` in the `mod` lines")];
        assert_found(&problems, &expected);
        let problems = problems_in(&[("src/extra.rs", "//! Extra.\n")]);
        assert_found(&problems, &expected);
        assert_clean_tree(&[]);
    }

    #[test]
    fn a_layer_that_went_away_is_caught() {
        let problems = Planted::new(&[]).without("src/ports").problems();
        assert_found(&problems, &[("src/lib.rs:1: ", "`ports` is missing in the folder src/")]);

        let change = |old: &str, new: &str| Planted::new(&[]).replace("src/lib.rs", old, new);
        let problems = change("pub mod ports;\n", "").without("src/ports").problems();
        let place = "src/lib.rs:1: ";
        let expected = [(place, "missing in the folder"), (place, "missing in the `mod` lines")];
        assert_found(&problems, &expected);
        let problems = change("//! | [`ports`] | it |\n", "").problems();
        assert_found(&problems, &[(place, "`ports` is missing in the table")]);
    }

    #[test]
    fn a_table_out_of_order_is_caught() {
        let rows = ["//! | [`ports`] | it |\n", "//! | [`net`] | it |\n"];
        let swapped = [rows[1], rows[0]].concat();
        let tree = Planted::new(&[]).replace("src/lib.rs", &rows.concat(), &swapped);
        assert_found(&tree.problems(), &[("src/lib.rs:10: ", "not in the order of LAYERS")]);
    }
}
