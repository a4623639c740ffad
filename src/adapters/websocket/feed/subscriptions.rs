//! The subscriptions of one connection: what is still to be sent, and what is still unanswered.
//!
//! Owns which messages were sent, answered, refused or forgotten by the venue. Promises that
//!
//! * a message that lists several symbols and is refused is divided until each symbol that the
//!   venue does not take is alone, in a message of its own; the others are subscribed meanwhile;
//! * a symbol that was acknowledged is not sent again;
//! * what failed is sent again after a wait that grows and is capped;
//! * a message that is changed has a number that no other message of the connection has.
//!
//! Never sends or reads a clock.

use std::time::Duration;

use super::apart::Apart;
use crate::core::health::Subscription;
use crate::core::venue::{Answers, ConnectionPlan, Outgoing, Refusal};
use crate::net::backoff::Backoff;

/// How often in a row a list may be left without an answer before it is divided.
const UNANSWERED_MAX: u32 = 2;

/// How often each message may fail, while none is acknowledged, before the connection is given up.
const FAILURES_MAX: u32 = 3;

/// How subscribing is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SubscriptionRules {
    pub(super) answers: Answers,
    /// How long an answer may take.
    pub(super) answer_timeout: Duration,
    /// The longest wait before a message is sent again.
    pub(super) backoff_max: Duration,
}

/// Symbols that were not subscribed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failed {
    /// The symbols; empty for a message that names none.
    pub(super) symbols: Vec<String>,
    pub(super) why: String,
    pub(super) next: Next,
}

/// What is done about symbols that were not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The message is sent again later.
    Again,
    /// The symbols are sent in two messages.
    Divided,
    /// The symbol is alone: it is kept apart from here on and tried again slowly.
    Apart,
    /// The symbol was kept apart before.
    StillApart,
}

/// The messages of one connection.
#[derive(Debug)]
pub(super) struct Subscriptions {
    rules: SubscriptionRules,
    asks: Vec<Ask>,
    /// The number of the next message that is made.
    next_id: u64,
    seed: u64,
    /// Symbols whose state may have changed.
    changed: Vec<String>,
}

#[derive(Debug)]
struct Ask {
    message: Outgoing,
    backoff: Backoff,
    phase: AskPhase,
    /// Symbols that no answer was about yet.
    missing: Vec<String>,
    /// How many symbols it held when it was sent last.
    sent_symbols: usize,
    /// How often in a row it failed, and was left without an answer.
    failures: u32,
    unanswered: u32,
    /// Why its symbol is kept apart, where it is.
    fault: Option<Subscription>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskPhase {
    /// To be sent at this time.
    Due(Duration),
    /// Sent; the answer must be there at this time.
    Sent(Duration),
    Settled,
}

impl Ask {
    /// Whether it is for symbols that are not kept apart.
    fn is_common(&self) -> bool {
        self.fault.is_none()
    }

    fn has_begun(&self) -> bool {
        self.phase == AskPhase::Settled || self.missing.len() < self.message.symbols.len()
    }

    /// Settles it where nothing is missing.
    fn judge(&mut self) {
        if self.missing.is_empty() {
            self.phase = AskPhase::Settled;
            (self.failures, self.unanswered, self.fault) = (0, 0, None);
        }
    }
}

impl Subscriptions {
    /// The messages of a plan, to be sent at once. Symbols that are kept apart have messages of
    /// their own, to be sent when it is their time.
    pub(super) fn new(
        rules: SubscriptionRules,
        plan: &ConnectionPlan,
        apart: &Apart,
        seed: u64,
        now: Duration,
    ) -> Self {
        let next_id = (plan.subscribe.len() + plan.unsubscribe.len()) as u64 + 1;
        let mut all = Self { rules, asks: Vec::new(), next_id, seed, changed: Vec::new() };
        let mut alone = Vec::new();
        for message in &plan.subscribe {
            let fault = |symbol: &String| apart.of(message.template(), symbol);
            let (bad, good): (Vec<_>, Vec<_>) =
                message.symbols.iter().cloned().partition(|symbol| fault(symbol).is_some());
            if bad.is_empty() {
                all.add(message.clone(), now);
            } else if !good.is_empty() {
                all.add_for(message, good, now);
            }
            alone.extend(bad.into_iter().map(|symbol| (message, fault(&symbol), symbol)));
        }
        for (message, fault, symbol) in alone {
            let Some((fault, retry_at)) = fault else { continue };
            all.add_for(message, vec![symbol], retry_at.max(now)).fault = Some(fault);
        }
        all
    }

    fn add(&mut self, message: Outgoing, due: Duration) -> &mut Ask {
        let seed = self.seed.wrapping_add(self.asks.len() as u64);
        let mut backoff = Backoff::new(self.rules.backoff_max, seed);
        // The first wait of a back-off is none, and the first message was just that.
        backoff.next_wait();
        let (missing, phase) = (message.symbols.clone(), AskPhase::Due(due));
        let (sent_symbols, failures, unanswered, fault) = (0, 0, 0, None);
        self.asks.push(Ask {
            message,
            backoff,
            phase,
            missing,
            sent_symbols,
            failures,
            unanswered,
            fault,
        });
        self.asks.last_mut().expect("one was added")
    }

    /// Adds the message for these of its symbols.
    fn add_for(&mut self, message: &Outgoing, symbols: Vec<String>, due: Duration) -> &mut Ask {
        let message = message.for_symbols(symbols, self.new_id());
        self.add(message, due)
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id - 1
    }

    /// Whether every message was sent and, where there are answers, acknowledged, but for symbols
    /// that are kept apart.
    pub(super) fn are_settled(&self) -> bool {
        self.asks.iter().filter(|ask| ask.is_common()).all(|ask| ask.phase == AskPhase::Settled)
    }

    /// Whether a tick of a symbol would answer a message.
    pub(super) fn awaits(&self, symbol: &str) -> bool {
        (0..self.asks.len()).any(|index| self.is_answered_by_tick(index, symbol))
    }

    /// Whether a tick of a symbol answers a message. It does not answer for a symbol that is kept
    /// apart where another message has subscribed it: the tick comes of that one.
    fn is_answered_by_tick(&self, index: usize, symbol: &str) -> bool {
        let ask = &self.asks[index];
        let names = |names: &[String]| names.iter().any(|name| is_about(name, symbol));
        let is_other = |ask: &Ask| ask.phase == AskPhase::Settled && names(&ask.message.symbols);
        ask.phase != AskPhase::Settled
            && names(&ask.missing)
            && (ask.is_common() || !self.asks.iter().any(is_other))
    }

    /// Whether any symbol was acknowledged, or nothing needs to be. A message without symbols
    /// counts where there are no others.
    pub(super) fn has_begun(&self) -> bool {
        let mut of_symbols = self.asks.iter().filter(|ask| !ask.message.symbols.is_empty());
        match of_symbols.clone().next() {
            Some(_) => of_symbols.any(Ask::has_begun),
            None => self.asks.is_empty() || self.asks.iter().any(Ask::has_begun),
        }
    }

    /// Why the connection is of no use: no symbol was acknowledged, and each message has failed so
    /// often.
    pub(super) fn defeat(&self) -> Option<String> {
        let failed = |ask: &Ask| ask.phase == AskPhase::Settled || ask.failures >= FAILURES_MAX;
        (!self.has_begun() && self.asks.iter().all(failed)).then(|| {
            format!("every subscription was refused or left unanswered {FAILURES_MAX} times")
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

    /// The message that is due, as sent now; one for a symbol that is kept apart comes last.
    pub(super) fn send(&mut self, now: Duration) -> Option<String> {
        let Self { rules, asks, .. } = self;
        let due = |ask: &&mut Ask| matches!(ask.phase, AskPhase::Due(at) if at <= now);
        let ask = asks.iter_mut().filter(due).min_by_key(|ask| !ask.is_common())?;
        ask.sent_symbols = ask.message.symbols.len();
        ask.phase = match rules.answers {
            Answers::None => AskPhase::Settled,
            Answers::PerMessage | Answers::PerSymbol => AskPhase::Sent(now + rules.answer_timeout),
        };
        Some(ask.message.text.clone())
    }

    /// Takes an acknowledgement. Returns the symbols that were kept apart and no longer are.
    pub(super) fn acknowledge(
        &mut self,
        id: Option<u64>,
        symbols: &[String],
        apart: &mut Apart,
    ) -> Vec<String> {
        let Some(index) = self.find(id, symbols) else { return Vec::new() };
        let is_named = self.rules.answers == Answers::PerSymbol && !symbols.is_empty();
        let answered =
            |symbol: &str| !is_named || symbols.iter().any(|said| is_about(said, symbol));
        self.take_in(index, answered, apart)
    }

    /// Notes that ticks of a symbol came, which says as much as an answer. Returns the symbols that
    /// were kept apart and no longer are.
    pub(super) fn flows(&mut self, symbol: &str, apart: &mut Apart) -> Vec<String> {
        let mut released = Vec::new();
        for index in 0..self.asks.len() {
            if self.is_answered_by_tick(index, symbol) {
                released.extend(self.take_in(index, |missing| is_about(missing, symbol), apart));
            }
        }
        released
    }

    /// Takes the missing symbols of a message that were answered off it.
    fn take_in(
        &mut self,
        index: usize,
        answered: impl Fn(&str) -> bool,
        apart: &mut Apart,
    ) -> Vec<String> {
        let ask = &mut self.asks[index];
        let before = ask.missing.len();
        let (taken, missing) =
            std::mem::take(&mut ask.missing).into_iter().partition(|symbol| answered(symbol));
        let taken: Vec<String> = taken;
        ask.missing = missing;
        if before == 0 || !taken.is_empty() {
            ask.judge();
        }
        let template = ask.message.template();
        self.changed.extend_from_slice(&taken);
        taken.into_iter().filter(|symbol| apart.release(template, symbol)).collect()
    }

    /// A symbol is not kept apart any longer: its message need not wait.
    pub(super) fn hasten(&mut self, symbol: &str, now: Duration) {
        for ask in self.asks.iter_mut().filter(|ask| !ask.is_common()) {
            if let AskPhase::Due(at) = ask.phase
                && ask.missing.iter().any(|missing| missing == symbol)
            {
                ask.phase = AskPhase::Due(at.min(now));
            }
        }
    }

    /// Takes a refusal; it is about none of ours where it is `None`.
    pub(super) fn refuse(
        &mut self,
        refusal: &Refusal,
        now: Duration,
        apart: &mut Apart,
    ) -> Option<Failed> {
        let index = self.find(refusal.id, &refusal.symbols)?;
        let ask = &mut self.asks[index];
        if ask.phase == AskPhase::Settled && self.rules.answers != Answers::None {
            return None;
        }
        let why = refusal.text.clone();
        if refusal.rate_limited {
            let wait = ask.backoff.next_wait().max(Duration::from_secs(1));
            ask.phase = AskPhase::Due(now + wait);
            return Some(Failed { symbols: ask.missing.clone(), why, next: Next::Again });
        }
        ask.failures += 1;
        ask.unanswered = 0;
        self.changed.extend_from_slice(&ask.missing);
        let named: Vec<String> = ask
            .missing
            .iter()
            .filter(|symbol| refusal.symbols.iter().any(|said| is_about(said, symbol)))
            .cloned()
            .collect();
        let is_one_answer = self.rules.answers == Answers::PerSymbol && named.len() == 1;
        let (symbols, next) = match ask.message.symbols.len() {
            0 => {
                // What was refused for what it asks is not asked again soon.
                let wait = ask.backoff.next_wait().max(self.rules.backoff_max / 2);
                ask.phase = AskPhase::Due(now + wait);
                (Vec::new(), Next::Again)
            }
            1 => {
                let symbols = ask.message.symbols.clone();
                (symbols, self.keep_apart(index, Subscription::Refused, now, apart))
            }
            _ if is_one_answer || (!named.is_empty() && named.len() < ask.missing.len()) => {
                self.take_out(index, &named, now, apart);
                (named, Next::Apart)
            }
            _ => (self.divide(index, now), Next::Divided),
        };
        Some(Failed { symbols, why, next })
    }

    /// Keeps a symbol apart that is alone in its message.
    fn keep_apart(
        &mut self,
        index: usize,
        fault: Subscription,
        now: Duration,
        apart: &mut Apart,
    ) -> Next {
        let ask = &mut self.asks[index];
        let (template, symbol) = (ask.message.template(), &ask.message.symbols[0]);
        let was_apart = apart.of(template, symbol).is_some();
        ask.fault = Some(fault);
        ask.phase = AskPhase::Due(apart.put(template, symbol, fault, now));
        if was_apart { Next::StillApart } else { Next::Apart }
    }

    /// Takes the symbols that the venue names out of a message, into messages of their own. The
    /// others get their own answers, or are sent without them.
    fn take_out(&mut self, index: usize, named: &[String], now: Duration, apart: &mut Apart) {
        let ask = &mut self.asks[index];
        let message = ask.message.clone();
        ask.message.symbols.retain(|symbol| !named.contains(symbol));
        ask.missing.retain(|symbol| !named.contains(symbol));
        if self.rules.answers != Answers::PerSymbol {
            let missing = self.asks.remove(index).missing;
            self.add_for(&message, missing, now);
        } else if ask.message.symbols.is_empty() {
            self.asks.remove(index);
        } else {
            ask.failures = 0;
            ask.judge();
        }
        for symbol in named {
            let template = message.template();
            let retry_at = apart.put(template, symbol, Subscription::Refused, now);
            let ask = self.add_for(&message, vec![symbol.clone()], retry_at);
            (ask.fault, ask.failures) = (Some(Subscription::Refused), 1);
        }
    }

    /// Sends what is missing of a message in two halves; returns what that is.
    fn divide(&mut self, index: usize, now: Duration) -> Vec<String> {
        let Ask { message, missing, .. } = self.asks.remove(index);
        for half in missing.chunks(missing.len().div_ceil(2).max(1)) {
            self.add_for(&message, half.to_vec(), now);
        }
        missing
    }

    /// Those whose answer is late; they will be sent again.
    pub(super) fn expire(&mut self, now: Duration, apart: &mut Apart) -> Vec<Failed> {
        let is_late = |ask: &Ask| matches!(ask.phase, AskPhase::Sent(late) if late <= now);
        let has_begun = self.has_begun();
        let mut failed = Vec::new();
        // Messages that are made meanwhile are due, and none is late.
        while let Some(index) = self.asks.iter().position(is_late) {
            failed.push(self.expire_one(index, has_begun, now, apart));
        }
        failed
    }

    fn expire_one(
        &mut self,
        index: usize,
        has_begun: bool,
        now: Duration,
        apart: &mut Apart,
    ) -> Failed {
        let why = format!("no answer within {} s", self.rules.answer_timeout.as_secs_f64());
        let ask = &mut self.asks[index];
        (ask.failures, ask.unanswered) = (ask.failures + 1, ask.unanswered + 1);
        let (failures, unanswered, symbols) = (ask.failures, ask.unanswered, ask.missing.clone());
        let due = now + ask.backoff.next_wait();
        ask.phase = AskPhase::Due(due);
        self.changed.extend_from_slice(&symbols);
        let is_list = ask.message.lists_symbols();
        let is_patient = unanswered < UNANSWERED_MAX;
        let next = if let Some(fault) = ask.fault {
            self.keep_apart(index, fault, now, apart)
        } else if is_list && !is_patient && ask.message.symbols.len() > 1 && !symbols.is_empty() {
            let first = self.asks.len() - 1;
            self.divide(index, now);
            for half in &mut self.asks[first..] {
                (half.failures, half.unanswered) = (failures, UNANSWERED_MAX - 1);
            }
            Next::Divided
        } else if is_list && !is_patient && has_begun && symbols.len() == 1 {
            self.keep_apart(index, Subscription::Unacknowledged, now, apart)
        } else {
            if is_list && symbols.len() < self.asks[index].sent_symbols {
                // The others were acknowledged, or are kept apart.
                let id = self.new_id();
                let ask = &mut self.asks[index];
                ask.message = ask.message.for_symbols(symbols.clone(), id);
            }
            Next::Again
        };
        Failed { symbols, why, next }
    }

    /// The symbols whose state may have changed since the last call, each with its state.
    pub(super) fn take_changed(&mut self) -> Vec<(String, Subscription)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let state = |symbol: String| {
            let state = self.state_of(&symbol);
            (symbol, state)
        };
        changed.into_iter().map(state).collect()
    }

    /// The worst of a symbol's states in the messages that name it.
    fn state_of(&self, symbol: &String) -> Subscription {
        let asks = self.asks.iter().filter(|ask| ask.message.symbols.contains(symbol));
        let state = |ask: &Ask| match ask.fault {
            _ if ask.phase == AskPhase::Settled || !ask.missing.contains(symbol) => {
                Subscription::Acknowledged
            }
            fault => fault.unwrap_or(Subscription::Unacknowledged),
        };
        asks.map(state).max().unwrap_or_default()
    }

    /// The message that an answer is about: by its number, else by its symbols, else the one that
    /// waits longest; one that names symbols which nobody waits for may answer a message without.
    fn find(&self, id: Option<u64>, symbols: &[String]) -> Option<usize> {
        let sent = |ask: &Ask| matches!(ask.phase, AskPhase::Sent(_));
        let numbered =
            id.and_then(|id| self.asks.iter().position(|ask| ask.message.id == Some(id)));
        match (id, symbols) {
            (Some(_), []) => numbered,
            (None, []) => {
                let waiting = self.asks.iter().enumerate().filter(|(_, ask)| sent(ask));
                let late = |ask: &Ask| match ask.phase {
                    AskPhase::Sent(late) => late,
                    AskPhase::Due(_) | AskPhase::Settled => Duration::MAX,
                };
                waiting.min_by_key(|(_, ask)| late(ask)).map(|(index, _)| index)
            }
            (id, symbols) => {
                let about = |ask: &Ask| {
                    symbols
                        .iter()
                        .any(|said| ask.missing.iter().any(|symbol| is_about(said, symbol)))
                };
                let nameless = |ask: &Ask| sent(ask) && ask.message.symbols.is_empty();
                let named = || self.asks.iter().position(|ask| sent(ask) && about(ask));
                let without = || self.asks.iter().position(nameless).filter(|_| id.is_none());
                // The message of a number may have been replaced by others meanwhile.
                numbered.or_else(named).or_else(without)
            }
        }
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
mod tests;
