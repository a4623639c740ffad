//! What to connect to and what to send there.
//!
//! Owns the share of each connection. Promises that every symbol is in exactly one connection and,
//! of each template over symbols, in exactly one message of it. Never sends.

use std::fmt;

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
            for template in templates {
                for group in self.groups(template, symbols) {
                    id += 1;
                    let text = template.fill(group, &self.joined(group), id);
                    let symbols = group.to_vec();
                    outgoing.push(Outgoing { text, symbols, id: template.has_id().then_some(id) });
                }
            }
            outgoing
        };
        ConnectionPlan {
            url: self.url.fill(symbols, &self.joined(symbols), 1),
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

    fn joined(&self, symbols: &[String]) -> String {
        let one = |symbol: &String| self.symbol.fill(std::slice::from_ref(symbol), "", 0);
        symbols.iter().map(one).collect::<Vec<_>>().join(self.separator)
    }
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
