//! One page.
//!
//! Owns its frame and its parts in their order. Promises one file without scripts or anything that
//! would have to be fetched, in which all text from data is escaped, headings follow each other,
//! and each plot has a name, a description and, where it has one, its table. Never draws.

use std::fmt::Write as _;

use super::svg::{Plot, STYLE};
use super::table::{Table, write as write_table};
use super::text::{escape, prose};

/// A plot with its name and its words.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The name of its file, without extension.
    pub name: String,
    /// The plot.
    pub plot: Plot,
    /// What it shows and what it does not.
    pub caption: String,
    /// The same figures as a table; empty where other tables have them.
    pub table: Table,
}

/// A page in the making.
#[derive(Clone, Debug)]
pub struct Page {
    html: String,
    /// The level of headings of parts: one below that of the newest subject.
    level: u8,
}

impl Page {
    /// A page with this title and nothing on it.
    pub fn new(title: &str) -> Self {
        let title = escape(title);
        let html = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
             style-src 'unsafe-inline'\"/>\n\
             <title>{title}: report</title>\n<style>\n{}{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n",
            include_str!("page.css"),
        );
        Self { html, level: 2 }
    }

    /// What the page comes to, in a few words.
    pub fn headline(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p class=\"headline\">{}</p>", prose(text));
    }

    /// What the page comes to, in a sentence or two.
    pub fn verdict(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p class=\"verdict\">{}</p>", prose(text));
    }

    /// The heading of one of several subjects, to which a link `#id` leads.
    pub fn subject(&mut self, id: &str, heading: &str) {
        let (id, heading) = (escape(id), escape(heading));
        let _ = writeln!(self.html, "<h2 class=\"subject\" id=\"{id}\">{heading}</h2>");
        self.level = 3;
    }

    /// Links to subjects of the page, by their ids.
    pub fn contents(&mut self, links: &[(String, String)]) {
        self.html += "<nav aria-label=\"Contents\">\n<ul>\n";
        for (id, words) in links {
            let (id, words) = (escape(id), prose(words));
            let _ = writeln!(self.html, "<li><a href=\"#{id}\">{words}</a></li>");
        }
        self.html += "</ul>\n</nav>\n";
    }

    /// The heading of a part.
    pub fn heading(&mut self, text: &str) {
        let (level, text) = (self.level, escape(text));
        let _ = writeln!(self.html, "<h{level}>{text}</h{level}>");
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        write_table(table, &mut self.html);
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p>{}</p>", prose(text));
    }

    /// A paragraph about what is above it.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.html, "<p class=\"note\">{}</p>", prose(text));
    }

    /// A plot with its words and its table.
    pub fn figure(&mut self, figure: &Figure) {
        let Figure { plot, caption, table, .. } = figure;
        let (plot, caption_text) = (plot.inline(caption), prose(caption));
        let _ = writeln!(self.html, "<figure>\n{plot}<figcaption>{caption_text}</figcaption>");
        if !table.is_empty() {
            self.html += "<details>\n<summary>The figures as a table</summary>\n";
            write_table(table, &mut self.html);
            self.html += "</details>\n";
        }
        self.html += "</figure>\n";
    }

    /// Names and values.
    pub fn facts(&mut self, facts: &[(String, String)]) {
        self.html += "<div class=\"scroll\">\n<table class=\"made\">\n";
        for (name, value) in facts {
            let (name, value) = (escape(name), escape(value));
            let _ = writeln!(self.html, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
        }
        self.html += "</table>\n</div>\n";
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        self.html += "</body>\n</html>\n";
        self.html
    }
}
