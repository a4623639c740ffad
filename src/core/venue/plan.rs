//! What to connect to and what to send there.
//!
//! Owns the share of each connection. Promises that every symbol is in exactly one connection and,
//! of each template over symbols, in exactly one message of it. Never sends.

use std::fmt;
use std::sync::Arc;

use super::template::Template;

/// One connection: its address and its messages.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectionPlan {
    /// The address; it may hold a secret.
    pub url: String,
    /// The symbols of this connection, as the configuration names them.
    pub symbols: Vec<String>,
    /// What to send, in this order, after connecting; it may hold a secret.
    pub subscribe: Vec<Outgoing>,
    /// What to send to end the subscriptions, where the venue has words for it.
    pub unsubscribe: Vec<Outgoing>,
}

/// One text message.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// The message.
    pub text: String,
    /// The symbols in it; empty for one that names none.
    pub symbols: Vec<String>,
    /// The number that an answer will give back, where the message holds one.
    pub id: Option<u64>,
    /// What the text was made of.
    form: Arc<Form>,
}

/// What a message is made of, so that it can be made again for other symbols.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    /// Its place among the messages of the configuration.
    index: usize,
    message: Template,
    /// How the venue writes one symbol.
    symbol: Template,
    separator: String,
}

/// What plans are made of.
pub(super) struct Planner<'s> {
    pub(super) url: Template,
    pub(super) symbols: &'s [String],
    pub(super) subscribe: Vec<Template>,
    pub(super) unsubscribe: Vec<Template>,
    /// What keeps a connection open.
    pub(super) ping: Option<Template>,
    pub(super) symbol: Template,
    pub(super) separator: &'s str,
    /// Above zero.
    pub(super) symbols_per_message: usize,
    /// Above zero.
    pub(super) symbols_per_connection: usize,
}

impl Planner<'_> {
    /// The names of all secrets, in the order of their first place.
    pub(super) fn secrets(&self) -> Vec<String> {
        let messages = self.subscribe.iter().chain(&self.unsubscribe).chain(&self.ping);
        let mut names: Vec<String> = Vec::new();
        for name in std::iter::once(&self.url).chain(messages).flat_map(Template::secrets) {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// One plan for each connection; at least one.
    pub(super) fn plans(&self) -> Vec<ConnectionPlan> {
        if self.symbols.is_empty() {
            return vec![self.plan(&[])];
        }
        // Even shares: the last connection is not left with one symbol.
        let count = self.symbols.len().div_ceil(self.symbols_per_connection);
        let share = self.symbols.len().div_ceil(count);
        self.symbols.chunks(share).map(|symbols| self.plan(symbols)).collect()
    }

    fn plan(&self, symbols: &[String]) -> ConnectionPlan {
        let mut id = 0;
        let mut messages = |templates: &[Template]| {
            let mut outgoing = Vec::new();
            for (index, template) in templates.iter().enumerate() {
                let form = Arc::new(Form {
                    index,
                    message: template.clone(),
                    symbol: self.symbol.clone(),
                    separator: self.separator.to_owned(),
                });
                for group in self.groups(template, symbols) {
                    id += 1;
                    outgoing.push(Outgoing::new(&form, group.to_vec(), id));
                }
            }
            outgoing
        };
        ConnectionPlan {
            url: self.url.fill(symbols, &joined(&self.symbol, self.separator, symbols), 1),
            symbols: symbols.to_vec(),
            subscribe: messages(&self.subscribe),
            unsubscribe: messages(&self.unsubscribe),
        }
    }

    /// The symbols of each message that a template makes.
    fn groups<'g>(&self, template: &Template, symbols: &'g [String]) -> Vec<&'g [String]> {
        if template.names_one_symbol() {
            symbols.chunks(1).collect()
        } else if template.names_symbols() {
            symbols.chunks(self.symbols_per_message).collect()
        } else {
            vec![&[]]
        }
    }
}

impl Outgoing {
    fn new(form: &Arc<Form>, symbols: Vec<String>, id: u64) -> Self {
        let Form { message, symbol, separator, .. } = &**form;
        let text = message.fill(&symbols, &joined(symbol, separator, &symbols), id);
        let id = message.has_id().then_some(id);
        Self { text, symbols, id, form: Arc::clone(form) }
    }

    /// Which of the configured messages it is made of, by its place among them.
    pub fn template(&self) -> usize {
        self.form.index
    }

    /// Whether it holds a list of symbols, so that it can be made for some of them.
    pub fn lists_symbols(&self) -> bool {
        self.form.message.names_symbols()
    }

    /// The same message for other symbols, with another number.
    #[must_use]
    pub fn for_symbols(&self, symbols: Vec<String>, id: u64) -> Self {
        Self::new(&self.form, symbols, id)
    }
}

/// The symbols as a message lists them.
fn joined(symbol: &Template, separator: &str, symbols: &[String]) -> String {
    let one = |name: &String| symbol.fill(std::slice::from_ref(name), "", 0);
    symbols.iter().map(one).collect::<Vec<_>>().join(separator)
}

impl fmt::Debug for ConnectionPlan {
    /// Without address and messages, which may hold secrets.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ConnectionPlan")
            .field("symbols", &self.symbols)
            .field("subscribe", &self.subscribe)
            .field("unsubscribe", &self.unsubscribe)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Outgoing {
    /// Without the text, which may hold a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Outgoing")
            .field("symbols", &self.symbols)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
