//! The subscriptions of one connection: what is still to be sent, and what is still unanswered.
//!
//! Owns which messages were sent, answered, refused or forgotten by the venue. Promises that a
//! message without its answer in time is told by name and sent again after a wait that grows and is
//! capped, while what was acknowledged goes on. Never sends or reads a clock.

use std::time::Duration;

use crate::core::venue::{Answers, Outgoing, Refusal};
use crate::net::backoff::Backoff;

/// How subscribing is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionRules {
    pub(super) answers: Answers,
    /// How long an answer may take.
    pub(super) answer_timeout: Duration,
    /// The longest wait before a message is sent again.
    pub(super) backoff_max: Duration,
}

/// A message that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The symbols that nobody answered for.
    pub(super) symbols: Vec<String>,
    pub(super) why: String,
}

/// The messages of one connection.
#[derive(Debug)]
pub(super) struct Subscriptions {
    rules: SubscriptionRules,
    asks: Vec<Ask>,
}

#[derive(Debug)]
struct Ask {
    message: Outgoing,
    backoff: Backoff,
    phase: AskPhase,
    /// Symbols that no answer was about yet.
    missing: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskPhase {
    /// To be sent at this time.
    Due(Duration),
    /// Sent; the answer must be there at this time.
    Sent(Duration),
    Settled,
}

impl Subscriptions {
    /// Everything is to be sent at once.
    pub(super) fn new(
        rules: SubscriptionRules,
        messages: &[Outgoing],
        seed: u64,
        now: Duration,
    ) -> Self {
        let ask = |(index, message): (usize, &Outgoing)| {
            let mut backoff = Backoff::new(rules.backoff_max, seed.wrapping_add(index as u64));
            // The first wait of a back-off is none, and the first message was just that.
            backoff.next_wait();
            let missing = message.symbols.clone();
            Ask { message: message.clone(), backoff, phase: AskPhase::Due(now), missing }
        };
        Self { rules, asks: messages.iter().enumerate().map(ask).collect() }
    }

    /// Whether every message was sent and, where there are answers, acknowledged.
    pub(super) fn are_settled(&self) -> bool {
        self.asks.iter().all(|ask| ask.phase == AskPhase::Settled)
    }

    /// Whether anything was acknowledged, or nothing needs to be.
    pub(super) fn has_begun(&self) -> bool {
        self.asks.is_empty()
            || self.asks.iter().any(|ask| {
                ask.phase == AskPhase::Settled || ask.missing.len() < ask.message.symbols.len()
            })
    }

    /// When the next message is to be sent; `None` where there is none.
    pub(super) fn send_at(&self) -> Option<Duration> {
        let due = |ask: &Ask| match ask.phase {
            AskPhase::Due(at) => Some(at),
            AskPhase::Sent(_) | AskPhase::Settled => None,
        };
        self.asks.iter().filter_map(due).min()
    }

    /// When the next answer is late; `None` where none is waited for.
    pub(super) fn late_at(&self) -> Option<Duration> {
        let late = |ask: &Ask| match ask.phase {
            AskPhase::Sent(at) => Some(at),
            AskPhase::Due(_) | AskPhase::Settled => None,
        };
        self.asks.iter().filter_map(late).min()
    }

    /// The message that is due, as sent now.
    pub(super) fn send(&mut self, now: Duration) -> Option<String> {
        let Self { rules, asks } = self;
        let due = |ask: &Ask| matches!(ask.phase, AskPhase::Due(at) if at <= now);
        let ask = asks.iter_mut().find(|ask| due(ask))?;
        ask.phase = match rules.answers {
            Answers::None => AskPhase::Settled,
            Answers::PerMessage | Answers::PerSymbol => AskPhase::Sent(now + rules.answer_timeout),
        };
        Some(ask.message.text.clone())
    }

    /// Takes an acknowledgement.
    pub(super) fn acknowledge(&mut self, id: Option<u64>, symbols: &[String]) {
        let per_symbol = self.rules.answers == Answers::PerSymbol;
        let Some(ask) = self.find(id, symbols) else { return };
        if per_symbol && !symbols.is_empty() {
            ask.missing.retain(|symbol| !symbols.iter().any(|said| is_about(said, symbol)));
        } else {
            ask.missing.clear();
        }
        if ask.missing.is_empty() {
            ask.phase = AskPhase::Settled;
        }
    }

    /// Takes a refusal; it is about none of ours where it is `None`.
    pub(super) fn refuse(&mut self, refusal: &Refusal, now: Duration) -> Option<Failed> {
        let rate_limited = refusal.rate_limited;
        let backoff_max = self.rules.backoff_max;
        let ask = self.find(refusal.id, &refusal.symbols)?;
        let failed = Failed { symbols: ask.missing.clone(), why: refusal.text.clone() };
        // One that was refused for what it asks is not asked again soon.
        let wait = ask.backoff.next_wait().max(if rate_limited {
            Duration::from_secs(1)
        } else {
            backoff_max / 2
        });
        ask.phase = AskPhase::Due(now + wait);
        Some(failed)
    }

    /// Those whose answer is late; they will be sent again.
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Failed> {
        let waited = self.rules.answer_timeout.as_secs_f64();
        let mut failed = Vec::new();
        for ask in &mut self.asks {
            if matches!(ask.phase, AskPhase::Sent(late) if late <= now) {
                ask.phase = AskPhase::Due(now + ask.backoff.next_wait());
                let why = format!("no answer within {waited} s");
                failed.push(Failed { symbols: ask.missing.clone(), why });
            }
        }
        failed
    }

    /// Notes that ticks of a symbol came, which says as much as an answer.
    pub(super) fn flows(&mut self, symbol: &str) {
        for ask in &mut self.asks {
            if ask.phase == AskPhase::Settled {
                continue;
            }
            let before = ask.missing.len();
            ask.missing.retain(|missing| !is_about(missing, symbol));
            if ask.missing.len() < before && ask.missing.is_empty() {
                ask.phase = AskPhase::Settled;
            }
        }
    }

    /// The message that an answer is about: by its number, else by its symbols, else the one that
    /// waits longest; one that names symbols which nobody waits for may answer a message without.
    fn find(&mut self, id: Option<u64>, symbols: &[String]) -> Option<&mut Ask> {
        let sent = |ask: &Ask| matches!(ask.phase, AskPhase::Sent(_));
        let index = match (id, symbols) {
            (Some(id), _) => self.asks.iter().position(|ask| ask.message.id == Some(id)),
            (None, []) => {
                let waiting = self.asks.iter().enumerate().filter(|(_, ask)| sent(ask));
                let late = |ask: &Ask| match ask.phase {
                    AskPhase::Sent(late) => late,
                    AskPhase::Due(_) | AskPhase::Settled => Duration::MAX,
                };
                waiting.min_by_key(|(_, ask)| late(ask)).map(|(index, _)| index)
            }
            (None, symbols) => {
                let about = |ask: &Ask| {
                    symbols
                        .iter()
                        .any(|said| ask.missing.iter().any(|symbol| is_about(said, symbol)))
                };
                let nameless = |ask: &Ask| sent(ask) && ask.message.symbols.is_empty();
                let named = self.asks.iter().position(|ask| sent(ask) && about(ask));
                named.or_else(|| self.asks.iter().position(nameless))
            }
        };
        index.map(|index| &mut self.asks[index])
    }
}

/// Whether a venue's word names a symbol: the same but for letters' case, or a word of it, as in
/// `trade.BTCUSDT`.
fn is_about(said: &str, symbol: &str) -> bool {
    if said.eq_ignore_ascii_case(symbol) {
        return true;
    }
    let words = said.split(|c: char| !c.is_ascii_alphanumeric() && !symbol.contains(c));
    words.into_iter().any(|word| word.eq_ignore_ascii_case(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: Option<u64>, symbols: &[&str]) -> Outgoing {
        let symbols: Vec<_> = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        Outgoing { text: symbols.join("+"), symbols, id }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn begin(answers: Answers, messages: &[Outgoing]) -> Subscriptions {
        let rules = SubscriptionRules { answers, answer_timeout: at(5), backoff_max: at(8) };
        let mut all = Subscriptions::new(rules, messages, 1, at(0));
        for message in messages {
            assert_eq!(all.send(at(0)).as_ref(), Some(&message.text));
        }
        assert_eq!((all.send(at(0)), all.send_at()), (None, None));
        all
    }

    fn symbols(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_is_not_answered_in_time_is_told_and_sent_again_and_the_rest_goes_on() {
        let messages = [message(Some(1), &["A"]), message(Some(2), &["B", "C"])];
        let mut all = begin(Answers::PerMessage, &messages);
        assert!(!all.has_begun());
        all.acknowledge(Some(1), &[]);
        assert!(all.has_begun() && !all.are_settled());
        assert_eq!((all.late_at(), all.expire(at(4))), (Some(at(5)), Vec::new()));
        let failed = all.expire(at(5));
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].symbols, ["B", "C"]);
        assert_eq!(failed[0].why, "no answer within 5 s");
        let again = all.send_at().unwrap();
        assert!((at(5)..at(6)).contains(&again));
        assert_eq!(all.send(again).as_deref(), Some("B+C"));
        all.acknowledge(Some(2), &[]);
        assert!(all.are_settled());
    }

    #[test]
    fn an_answer_for_each_symbol_leaves_those_that_nobody_answered_for() {
        let mut all = begin(Answers::PerSymbol, &[message(None, &["BTC-USD", "ETH-USD"])]);
        all.acknowledge(None, &symbols(&["trade:btc-usd"]));
        assert!(all.has_begun() && !all.are_settled());
        assert_eq!(all.expire(at(5))[0].symbols, ["ETH-USD"]);
        all.flows("ETH-USD");
        assert!(all.are_settled());
    }

    #[test]
    fn an_answer_without_a_name_is_for_the_one_that_waits_longest() {
        let mut all = begin(Answers::PerMessage, &[message(None, &["A"]), message(None, &["B"])]);
        all.acknowledge(None, &[]);
        assert_eq!(all.expire(at(5))[0].symbols, ["B"]);
    }

    #[test]
    fn an_answer_that_names_all_there_is_may_be_for_a_message_without_symbols() {
        let mut all = begin(Answers::PerMessage, &[message(None, &["A"]), message(None, &[])]);
        all.acknowledge(None, &symbols(&["A"]));
        assert!(!all.are_settled());
        all.acknowledge(None, &symbols(&["A"]));
        assert!(all.are_settled());
    }

    #[test]
    fn a_refusal_is_asked_again_later() {
        let refusal = |id, rate_limited| Refusal {
            text: "no such symbol".to_owned(),
            id,
            symbols: Vec::new(),
            rate_limited,
        };
        let mut all = begin(Answers::PerMessage, &[message(Some(7), &["A"])]);
        assert_eq!(all.refuse(&refusal(Some(8), false), at(1)), None);
        let failed = all.refuse(&refusal(Some(7), false), at(1)).unwrap();
        assert_eq!((failed.symbols, &*failed.why), (symbols(&["A"]), "no such symbol"));
        assert!(all.send_at().unwrap() >= at(5), "half of the longest wait");
        let mut all = begin(Answers::PerMessage, &[message(Some(7), &["A"])]);
        all.refuse(&refusal(Some(7), true), at(1)).unwrap();
        assert!((at(2)..at(4)).contains(&all.send_at().unwrap()));
    }

    #[test]
    fn what_is_not_answered_is_settled_when_it_is_sent() {
        let all = begin(Answers::None, &[message(None, &["A"])]);
        assert!(all.are_settled() && all.has_begun());
        let rules = all.rules;
        assert!(Subscriptions::new(rules, &[], 1, at(0)).has_begun());
    }

    #[test]
    fn a_word_of_the_venue_names_a_symbol() {
        for (said, symbol, names) in [
            ("BTCUSDT", "btcusdt", true),
            ("publicTrade.BTCUSDT", "BTCUSDT", true),
            ("btcusdt@trade", "BTCUSDT", true),
            ("trade:BTC/USD", "BTC/USD", true),
            ("BTCUSDTPERP", "BTCUSDT", false),
            ("trade.ETHUSDT", "BTCUSDT", false),
            ("", "BTCUSDT", false),
        ] {
            assert_eq!(is_about(said, symbol), names, "{said} {symbol}");
        }
    }
}
