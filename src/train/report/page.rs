//! The report as one page.
//!
//! Owns its order: the verdict, the figures, the plots, and how it was made. Promises one file
//! without scripts or anything that would have to be fetched, in which all text from data is
//! escaped. Never draws.

use std::fmt::Write as _;

use super::escape;
use super::figures::{Cell, Table};
use super::plots::Figure;
use super::svg::STYLE;

/// What stands on the page.
pub(super) struct Page<'p> {
    /// `aapl-daily 2`
    pub(super) title: &'p str,
    /// The verdict in a few words.
    pub(super) headline: &'p str,
    /// The verdict.
    pub(super) verdict: &'p str,
    /// Tables with their headings and words, the most important first.
    pub(super) tables: Vec<(String, Table, &'p str)>,
    /// Plots.
    pub(super) figures: &'p [Figure],
    /// How it was made: name and value.
    pub(super) facts: &'p [(String, String)],
}

impl Page<'_> {
    /// The page.
    pub(super) fn html(&self) -> String {
        let title = escape(self.title);
        let mut html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'\"/>\n\
             <title>{title}: report</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n<p class=\"headline\">{}</p>\n<p class=\"verdict\">{}</p>\n",
            include_str!("page.css"),
            prose(self.headline),
            prose(self.verdict),
        );
        for (heading, table, words) in &self.tables {
            if !table.is_empty() {
                let _ = writeln!(html, "<h2>{}</h2>", escape(heading));
                write_table(table, &mut html);
                let _ = writeln!(html, "<p class=\"note\">{}</p>", prose(words));
            }
        }
        html += "<h2>Plots</h2>\n";
        for figure in self.figures {
            let caption = prose(&figure.caption);
            let plot = figure.plot.inline();
            let _ = writeln!(html, "<figure>\n{plot}<figcaption>{caption}</figcaption>\n</figure>");
        }
        html += "<h2>How it was made</h2>\n<div class=\"scroll\">\n<table class=\"made\">\n";
        for (name, value) in self.facts {
            let (name, value) = (escape(name), escape(value));
            let _ = writeln!(html, "<tr><td>{name}</td><td>{value}</td></tr>");
        }
        html += "</table>\n</div>\n</body>\n</html>\n";
        html
    }
}

/// Escaped text in which a number stays with its unit and sign, and a minus is one.
pub(in super::super) fn prose(text: &str) -> String {
    let mut prose = escape(text);
    for (loose, fast) in
        [(" %", "\u{a0}%"), ("p &lt; ", "p\u{a0}&lt;\u{a0}"), ("p = ", "p\u{a0}=\u{a0}")]
    {
        prose = prose.replace(loose, fast);
    }
    let mut result = String::with_capacity(prose.len());
    let mut before = ' ';
    let mut letters = prose.chars().peekable();
    while let Some(letter) = letters.next() {
        let number_follows = letters.peek().is_some_and(char::is_ascii_digit);
        // A hyphen inside a word or a date is none.
        let is_minus = letter == '-' && number_follows && !before.is_alphanumeric();
        result.push(if is_minus { '−' } else { letter });
        before = letter;
    }
    result
}

fn write_table(table: &Table, html: &mut String) {
    *html += "<div class=\"scroll\">\n<table>\n";
    for (row, cells) in table.iter().enumerate() {
        *html += "<tr>";
        for Cell { text, aside } in cells {
            let tag = if row == 0 { "th" } else { "td" };
            let text = prose(text);
            let _ = match &**aside {
                "" => write!(html, "<{tag}>{text}</{tag}>"),
                aside => write!(html, "<{tag}>{text}<span>{}</span></{tag}>", prose(aside)),
            };
        }
        *html += "</tr>\n";
    }
    *html += "</table>\n</div>\n";
}
