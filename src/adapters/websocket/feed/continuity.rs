//! What one symbol's ticks say about those that did not come.
//!
//! Owns the ids and numbers seen lately of every symbol of a share of the feed, and which symbols
//! are in doubt because their connection was lost or skipped frames. Promises that no tick is
//! passed on twice as far as ids reach, and that the first tick passed on behind a loss is marked:
//! unless its id proves that nothing was lost. Memory is bounded: so many symbols, so many ids of
//! each; ticks of further symbols are all marked. Never looks into a record.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::LineId;
use super::numbers::{Numbers, Seen};
use crate::core::venue::{TradeId, TradeIds};

/// How much is remembered, and what ids promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContinuityRules {
    /// What is promised about trade ids; `None` where there are none.
    pub(super) trade_ids: Option<TradeIds>,
    /// Symbols that are remembered.
    pub(super) symbols_max: usize,
    /// Ids, or runs of ids that grow by one, that are remembered of each.
    pub(super) ids_max: usize,
}

/// What identifies a tick, and whether it came in its turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity<'a> {
    /// `None` where the decoder will refuse the record.
    pub(super) symbol: Option<&'a str>,
    pub(super) trade_id: Option<TradeId<'a>>,
    /// Its number among the ticks of the symbol on its connection.
    pub(super) sequence: Option<u64>,
    /// Whether its frame came behind frames that it belongs before.
    pub(super) late: bool,
}

/// What becomes of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes on.
    Pass {
        /// Whether ticks of its symbol may be missing right before it.
        after_gap: bool,
        /// How many ids were left out before it.
        missing: u64,
        /// Whether it came behind ticks that it belongs before.
        late: bool,
    },
    /// It has gone on before.
    Duplicate,
    /// Its id lies below all that is remembered, so it has gone on or was told as missing.
    Forgotten,
}

/// Everything remembered of the symbols of one share of the feed.
#[derive(Debug)]
pub(super) struct Continuity {
    rules: ContinuityRules,
    tracks: HashMap<Box<str>, Track>,
    /// Grows with each loss that any symbol may have been part of.
    losses: u64,
}

/// Everything remembered of one symbol.
#[derive(Debug)]
struct Track {
    /// The losses that its ticks have answered for.
    settled: u64,
    ids: Ids,
    /// Numbers of its ticks on one connection.
    sequence: Option<(LineId, Numbers)>,
    /// Whether two connections that overlap have been seen to carry the same ticks.
    met: bool,
}

#[derive(Debug)]
enum Ids {
    None,
    /// Ids without an order.
    Keys(Keys),
    /// Ids that grow; by one, so that what is left out is missing, or not.
    Numbers {
        numbers: Numbers,
        consecutive: bool,
    },
}

/// The last so many keys.
#[derive(Debug)]
struct Keys {
    keys_max: usize,
    order: VecDeque<u128>,
    known: HashSet<u128>,
}

impl Keys {
    fn see(&mut self, key: u128) -> bool {
        if !self.known.insert(key) {
            return false;
        }
        if self.order.len() >= self.keys_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(key);
        true
    }
}

/// 128 bits of an id: two ids of a symbol share them never within the life of a process.
fn key_of(id: TradeId<'_>) -> u128 {
    match id {
        TradeId::Number(number) => u128::from(number),
        TradeId::Text(text) => {
            let half = |salt: u8| {
                let mut hasher = DefaultHasher::new();
                (salt, text).hash(&mut hasher);
                hasher.finish()
            };
            // The highest bit tells texts from numbers.
            (u128::from(half(0)) << 64 | u128::from(half(1))) | 1 << 127
        }
    }
}

impl Continuity {
    pub(super) fn new(rules: ContinuityRules) -> Self {
        Self { rules, tracks: HashMap::new(), losses: 0 }
    }

    /// Notes that ticks of any symbol may be missing from here on.
    pub(super) fn doubt_all(&mut self) {
        self.losses += 1;
    }

    /// As [`Continuity::doubt_all`], but for the symbols whose ticks two connections carried at the
    /// same time.
    pub(super) fn doubt_unmet(&mut self) {
        self.losses += 1;
        let losses = self.losses;
        for track in self.tracks.values_mut().filter(|track| track.met) {
            // One that was in doubt before stays so.
            if track.settled + 1 == losses {
                track.settled = losses;
            }
        }
    }

    /// Forgets which symbols two connections carried.
    pub(super) fn part(&mut self) {
        self.tracks.values_mut().for_each(|track| track.met = false);
    }

    /// How many symbols are remembered, and how many of them two connections carry.
    pub(super) fn met(&self) -> (usize, usize) {
        (self.tracks.len(), self.tracks.values().filter(|track| track.met).count())
    }

    /// Whether a symbol is carried by both connections.
    pub(super) fn has_met(&self, symbol: &str) -> bool {
        self.tracks.get(symbol).is_some_and(|track| track.met)
    }

    /// Notes that a new connection carries a symbol from here on without a break.
    pub(super) fn meet(&mut self, symbol: &str) {
        if let Some(track) = self.tracks.get_mut(symbol) {
            track.met = true;
        }
    }

    /// Whether a tick of a new connection shows that nothing lies between what was passed on and
    /// itself: it was passed on before, or its id is the next one.
    pub(super) fn joins(&self, identity: &Identity<'_>) -> bool {
        let Some(track) = identity.symbol.and_then(|symbol| self.tracks.get(symbol)) else {
            return false;
        };
        match (&track.ids, identity.trade_id) {
            (Ids::Keys(keys), Some(id)) => keys.known.contains(&key_of(id)),
            (Ids::Numbers { numbers, consecutive }, Some(TradeId::Number(id))) => {
                let next = numbers.newest().and_then(|newest| newest.checked_add(1));
                numbers.contains(id) || (*consecutive && next == Some(id))
            }
            _ => false,
        }
    }

    /// Whether ticks of a symbol can be told apart at all.
    pub(super) fn tells_apart(&self) -> bool {
        self.rules.trade_ids.is_some()
    }

    /// Judges a tick and notes it.
    pub(super) fn judge(&mut self, line: LineId, identity: &Identity<'_>) -> Verdict {
        let pass = |after_gap| Verdict::Pass { after_gap, missing: 0, late: false };
        // It will be refused: nothing can be told of it, and nothing need be.
        let Some(symbol) = identity.symbol else { return pass(false) };
        let Self { rules, tracks, losses } = self;
        if !tracks.contains_key(symbol) {
            if tracks.len() >= rules.symbols_max {
                return pass(true);
            }
            let track =
                Track { settled: *losses, ids: Ids::new(rules), sequence: None, met: false };
            tracks.insert(symbol.into(), track);
        }
        let track = tracks.get_mut(symbol).expect("it is there or was just put in");
        track.judge(*rules, line, identity, *losses)
    }
}

impl Ids {
    fn new(rules: &ContinuityRules) -> Self {
        match rules.trade_ids {
            None => Self::None,
            Some(TradeIds::Unique) => Self::Keys(Keys {
                keys_max: rules.ids_max,
                order: VecDeque::new(),
                known: HashSet::new(),
            }),
            Some(ids @ (TradeIds::Increasing | TradeIds::Consecutive)) => Self::Numbers {
                numbers: Numbers::new(rules.ids_max),
                consecutive: ids == TradeIds::Consecutive,
            },
        }
    }
}

/// What a number or key told.
struct Told {
    missing: u64,
    late: bool,
    /// Whether it proves that nothing was lost before it.
    proof: bool,
    /// Whether whoever counts has begun anew, so that nothing is known.
    anew: bool,
}

impl Told {
    const NOTHING: Self = Self { missing: 0, late: false, proof: false, anew: false };
}

impl Track {
    fn judge(
        &mut self,
        rules: ContinuityRules,
        line: LineId,
        identity: &Identity<'_>,
        losses: u64,
    ) -> Verdict {
        let by_id = match self.judge_id(rules, identity.trade_id) {
            Ok(told) => told,
            Err(verdict) => return verdict,
        };
        let by_sequence = match identity.sequence {
            None => Told::NOTHING,
            Some(sequence) => match self.judge_sequence(rules, line, sequence) {
                Ok(told) => told,
                // An id that is new counts more than a number that is not.
                Err(_) if identity.trade_id.is_some() => Told::NOTHING,
                Err(verdict) => return verdict,
            },
        };
        let missing = by_id.missing.max(by_sequence.missing);
        let late = by_id.late || by_sequence.late || identity.late;
        let proof = by_id.proof || by_sequence.proof;
        let doubt = self.settled != losses;
        let after_gap = missing > 0 || by_id.anew || by_sequence.anew || (doubt && !proof);
        if !late {
            // One that comes late says nothing of what is still missing, even where its id is the
            // highest: its frame may have been overtaken before another one was lost.
            self.settled = losses;
        }
        Verdict::Pass { after_gap, missing, late }
    }

    fn judge_id(
        &mut self,
        rules: ContinuityRules,
        id: Option<TradeId<'_>>,
    ) -> Result<Told, Verdict> {
        let Some(id) = id else { return Ok(Told::NOTHING) };
        match (&mut self.ids, id) {
            (Ids::Keys(keys), id) => match keys.see(key_of(id)) {
                true => Ok(Told::NOTHING),
                false => Err(Verdict::Duplicate),
            },
            (Ids::Numbers { numbers, consecutive }, TradeId::Number(number)) => {
                let seen = numbers.see(number);
                if numbers.has_begun_anew() {
                    *numbers = Numbers::new(rules.ids_max);
                    numbers.see(number);
                    return Ok(Told { anew: true, ..Told::NOTHING });
                }
                match seen {
                    Seen::First => Ok(Told::NOTHING),
                    Seen::Ahead { missing } if *consecutive => {
                        Ok(Told { missing, proof: missing == 0, ..Told::NOTHING })
                    }
                    Seen::Ahead { .. } => Ok(Told::NOTHING),
                    Seen::Late => Ok(Told { late: true, ..Told::NOTHING }),
                    Seen::Again => Err(Verdict::Duplicate),
                    Seen::Forgotten => Err(Verdict::Forgotten),
                }
            }
            // The venue promised numbers; a text among them can be compared with nothing.
            (Ids::Numbers { .. }, TradeId::Text(_)) | (Ids::None, _) => Ok(Told::NOTHING),
        }
    }

    /// Numbers are of one connection: on another they may begin anew, and prove something only
    /// where they go on by one.
    fn judge_sequence(
        &mut self,
        rules: ContinuityRules,
        line: LineId,
        sequence: u64,
    ) -> Result<Told, Verdict> {
        match &mut self.sequence {
            Some((of, numbers)) if *of == line => match numbers.see(sequence) {
                Seen::First => Ok(Told::NOTHING),
                Seen::Ahead { missing } => {
                    Ok(Told { missing, proof: missing == 0, ..Told::NOTHING })
                }
                Seen::Late => Ok(Told { late: true, ..Told::NOTHING }),
                Seen::Again => Err(Verdict::Duplicate),
                Seen::Forgotten => Err(Verdict::Forgotten),
            },
            other => {
                let next = other.as_ref().and_then(|(_, numbers)| numbers.newest()?.checked_add(1));
                let mut numbers = Numbers::new(rules.ids_max);
                numbers.see(sequence);
                *other = Some((line, numbers));
                Ok(Told { proof: next == Some(sequence), ..Told::NOTHING })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(trade_ids: Option<TradeIds>) -> ContinuityRules {
        ContinuityRules { trade_ids, symbols_max: 2, ids_max: 4 }
    }

    fn id(number: u64) -> Identity<'static> {
        let trade_id = Some(TradeId::Number(number));
        Identity { symbol: Some("A"), trade_id, sequence: None, late: false }
    }

    fn pass(after_gap: bool) -> Verdict {
        Verdict::Pass { after_gap, missing: 0, late: false }
    }

    const LINE: LineId = LineId(1);

    #[test]
    fn ids_that_grow_by_one_prove_that_nothing_was_lost() {
        let mut symbols = Continuity::new(rules(Some(TradeIds::Consecutive)));
        assert_eq!(symbols.judge(LINE, &id(5)), pass(false));
        symbols.doubt_all();
        assert_eq!(symbols.judge(LineId(2), &id(6)), pass(false), "the next id is proof");
        symbols.doubt_all();
        let behind = Verdict::Pass { after_gap: true, missing: 2, late: false };
        assert_eq!(symbols.judge(LINE, &id(9)), behind);
        assert_eq!(symbols.judge(LINE, &id(9)), Verdict::Duplicate);
        let late = Verdict::Pass { after_gap: false, missing: 0, late: true };
        assert_eq!(symbols.judge(LINE, &id(7)), late);
        assert_eq!(symbols.judge(LINE, &id(10)), pass(false));
    }

    #[test]
    fn ids_without_an_order_prove_nothing_and_tell_duplicates() {
        for ids in [TradeIds::Unique, TradeIds::Increasing] {
            let mut symbols = Continuity::new(rules(Some(ids)));
            assert_eq!(symbols.judge(LINE, &id(5)), pass(false));
            assert_eq!(symbols.judge(LINE, &id(8)), pass(false), "nothing is known of 6 and 7");
            symbols.doubt_all();
            assert_eq!(symbols.judge(LINE, &id(5)), Verdict::Duplicate);
            assert_eq!(symbols.judge(LINE, &id(9)), pass(true));
            assert_eq!(symbols.judge(LINE, &id(10)), pass(false), "each loss is marked once");
        }
        let mut symbols = Continuity::new(rules(Some(TradeIds::Unique)));
        let text = |text| Identity { trade_id: Some(TradeId::Text(text)), ..id(0) };
        for name in ["a", "b", "c", "d", "e"] {
            assert_eq!(symbols.judge(LINE, &text(name)), pass(false));
        }
        assert_eq!(symbols.judge(LINE, &text("b")), Verdict::Duplicate);
        assert_eq!(symbols.judge(LINE, &text("a")), pass(false), "four are remembered");
    }

    #[test]
    fn a_late_tick_does_not_answer_for_a_loss() {
        let mut symbols = Continuity::new(rules(Some(TradeIds::Increasing)));
        symbols.judge(LINE, &id(5));
        symbols.doubt_all();
        let late = Verdict::Pass { after_gap: true, missing: 0, late: true };
        assert_eq!(symbols.judge(LINE, &id(3)), late);
        assert_eq!(symbols.judge(LINE, &id(9)), pass(true));
    }

    #[test]
    fn a_tick_of_a_late_frame_does_not_answer_for_a_loss() {
        for ids in [TradeIds::Unique, TradeIds::Increasing] {
            let mut symbols = Continuity::new(rules(Some(ids)));
            symbols.judge(LINE, &id(5));
            symbols.doubt_all();
            // Its id is the highest one, and the lost one may be higher still.
            let late = Verdict::Pass { after_gap: true, missing: 0, late: true };
            assert_eq!(symbols.judge(LINE, &Identity { late: true, ..id(6) }), late);
            assert_eq!(symbols.judge(LINE, &id(8)), pass(true));
            assert_eq!(symbols.judge(LINE, &id(9)), pass(false));
        }
        let mut symbols = Continuity::new(rules(Some(TradeIds::Consecutive)));
        symbols.judge(LINE, &id(5));
        symbols.doubt_all();
        let late = Verdict::Pass { after_gap: false, missing: 0, late: true };
        assert_eq!(symbols.judge(LINE, &Identity { late: true, ..id(6) }), late);
        assert_eq!(symbols.judge(LINE, &id(7)), pass(false), "the next id is proof");
    }

    #[test]
    fn numbers_of_a_connection_tell_gaps_within_it() {
        let mut symbols = Continuity::new(rules(None));
        let number = |sequence| Identity { trade_id: None, sequence: Some(sequence), ..id(0) };
        assert_eq!(symbols.judge(LINE, &number(100)), pass(false));
        assert_eq!(symbols.judge(LINE, &number(100)), Verdict::Duplicate);
        let behind = Verdict::Pass { after_gap: true, missing: 1, late: false };
        assert_eq!(symbols.judge(LINE, &number(102)), behind);
        // A new connection counts anew, which is no duplicate of what another has counted.
        symbols.doubt_all();
        assert_eq!(symbols.judge(LineId(2), &number(100)), pass(true));
        symbols.doubt_all();
        assert_eq!(symbols.judge(LineId(3), &number(101)), pass(false), "it goes on");
    }

    #[test]
    fn whoever_counts_anew_is_marked_and_believed() {
        let mut symbols = Continuity::new(rules(Some(TradeIds::Consecutive)));
        symbols.judge(LINE, &id(1000));
        let verdicts: Vec<_> = (1..=6).map(|number| symbols.judge(LINE, &id(number))).collect();
        assert_eq!(verdicts[4..], [pass(true), pass(false)]);
    }

    #[test]
    fn a_symbol_that_is_not_remembered_is_always_marked() {
        let mut symbols = Continuity::new(rules(None));
        let of = |symbol| Identity { symbol: Some(symbol), trade_id: None, ..id(0) };
        assert_eq!(
            ["A", "B", "C", "C"].map(|symbol| symbols.judge(LINE, &of(symbol))),
            [pass(false), pass(false), pass(true), pass(true)]
        );
        assert_eq!(symbols.judge(LINE, &Identity { symbol: None, ..of("x") }), pass(false));
    }

    #[test]
    fn symbols_that_two_connections_carry_are_not_in_doubt_when_one_ends() {
        let mut symbols = Continuity::new(rules(Some(TradeIds::Unique)));
        let of = |symbol, number| Identity { symbol: Some(symbol), ..id(number) };
        symbols.judge(LINE, &of("A", 1));
        symbols.judge(LINE, &of("B", 1));
        assert!(symbols.joins(&of("A", 1)) && !symbols.joins(&of("A", 2)));
        symbols.meet("A");
        assert_eq!((symbols.met(), symbols.has_met("B")), ((2, 1), false));
        symbols.doubt_unmet();
        symbols.part();
        assert_eq!(symbols.judge(LineId(2), &of("A", 2)), pass(false));
        assert_eq!(symbols.judge(LineId(2), &of("B", 2)), pass(true));
    }
}
