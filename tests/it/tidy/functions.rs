//! The rule that composition stays readable: no long function in the layer `app`.

use super::File;
use super::tokens::{Token, closing, tokens};

/// The layer that puts the program together. Its functions grow with every new part.
const COMPOSITION: &str = "app";

const FUNCTION_LINES_MAX: usize = 60;

pub(super) fn functions_are_short(file: &File) -> Vec<String> {
    if !file.is_rust() || !file.is_in_module(COMPOSITION) {
        return Vec::new();
    }
    let tokens = tokens(&file.code);
    let mut problems = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        if pair[0].text != "fn" || !pair[1].is_name() {
            continue;
        }
        let Some(end) = end_of_body(&tokens, at) else {
            continue;
        };
        let lines = end.line - pair[0].line + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!(
                "the function `{}` has {lines} lines, at most {FUNCTION_LINES_MAX}; give each \
                 step a function of its own",
                pair[1].text
            );
            problems.push(file.problem(pair[0].line, &what));
        }
    }
    problems
}

/// The brace that ends the function whose `fn` is at `start`; none without a body.
fn end_of_body<'a>(tokens: &[Token<'a>], start: usize) -> Option<Token<'a>> {
    let mut at = start;
    loop {
        match tokens.get(at)?.text {
            "(" | "[" => at = closing(tokens, at),
            "{" => return tokens.get(closing(tokens, at)).copied(),
            ";" => return None,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::planted::{assert_caught, assert_clean};
    use super::FUNCTION_LINES_MAX;

    #[test]
    fn a_long_function_is_caught() {
        let function = |lines: usize| {
            let body = "    // {\n".repeat(lines - 4);
            format!("//! App.\n\n/// F.\npub async fn f(\n    a: [u8; 3],\n) {{\n{body}}}\n")
        };
        let bad = function(FUNCTION_LINES_MAX + 1);
        for path in ["src/app/mod.rs", "src/app/config/load.rs"] {
            assert_caught(path, &bad, 4, "the function `f` has 61 lines");
            assert_clean(path, &function(FUNCTION_LINES_MAX));
        }
        assert_clean("src/tools/a.rs", &bad);
        let method = bad.replace("//! App.\n", "//! App.\nimpl A {\n") + "}\n";
        assert_caught("src/app/a.rs", &method, 5, "the function `f` has 61 lines");
        let declared = format!("//! App.\nfn f();\ntype F = fn(u8);\n{}", "//\n".repeat(99));
        assert_clean("src/app/a.rs", &declared);
    }
}
