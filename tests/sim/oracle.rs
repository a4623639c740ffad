//! The oracle: every record that a daemon publishes is judged at once, and the whole of them at the
//! end. `model` knows what a life without a crash says.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use prometheus::Registry;
use tickcast::core::domain::NamedRejection;
use tickcast::engine::model::manifest::Mode;
use tickcast::intake::Record;
use tickcast::ops::supervise::Pulse;
use tickcast::ports::sink::{Outgoing, Sink, SinkClosed};

use crate::dice::Dice;
use crate::faults::{History, Input};
use crate::history::failures;
use crate::model::{
    NEXT_VERSION, NOW, RECORDED, SYMBOLS, Said, entry_of, is_broken, member, models, tick_of,
};

/// What readers know of the output, and what every publisher so far was seen to do. Cloning shares
/// it.
#[derive(Clone)]
pub(crate) struct Outlet(Arc<Mutex<Judge>>);

/// Forecasts in their order, by version and symbol.
pub(crate) type FirstSaid = BTreeMap<(String, String), Vec<(i64, Vec<u8>)>>;

/// A record that was handed over, and is out or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) kind: Kind,
    pub(crate) bytes: Vec<u8>,
}

/// What a record is, by the way that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Live,
    Shadow,
    Score,
}

pub(crate) struct Judge {
    input: Input,
    mode: Mode,
    /// Handed over, and lost where the process ends now.
    pending: Vec<Published>,
    durable: Vec<Published>,
    /// The newest forecast of each symbol in this life: of all live models, and of each model.
    newest: BTreeMap<(Option<&'static str>, String), i64>,
    /// The entries of which every forecast and score has to be out: none may have shed one.
    pub(crate) complete: Vec<&'static str>,
    /// The entry that is live; `None` while it changes.
    pub(crate) live: Option<&'static str>,
    /// The entries of which one is live after a restart.
    pub(crate) live_next: Vec<&'static str>,
    /// `next` went on from a state of `now`, because it had none of its own that it could read.
    pub(crate) has_adopted: bool,
    /// Forecasts by version, symbol and tick, as they were first said.
    said: HashMap<(String, String, i64), Vec<u8>>,
    /// What this life has published.
    pub(crate) forecasts: u64,
    pub(crate) dead_letters: u64,
    /// The version that runs, outside a reload.
    pub(crate) expected: Option<String>,
    /// Another version was put in place in this run.
    pub(crate) has_swapped: bool,
    /// Windows were scaled over to a version of `now`, from another one or from `next`: a rounded
    /// row cannot be scaled to the last bit, so forecasts of such windows say `patched`, and differ
    /// from those of rows as they came.
    pub(crate) has_rescaled: bool,
    /// Where this run has history from.
    pub(crate) history: Option<History>,
    /// The record behind one that comes late may be dropped or refused. The late one is then the
    /// newest, and asks for nothing.
    pub(crate) may_lack_newer: bool,
    /// The metrics of the history of this life.
    past: Option<Registry>,
    /// How often history failed in the lives before.
    past_failures: u64,
    /// What the first life says of each version and symbol, in a run whose history never answers.
    pub(crate) first_said: FirstSaid,
    /// How many lives there were.
    pub(crate) lives: u64,
    /// Ticks that came from the feed, in a run with history.
    heard: HashSet<(String, i64)>,
    pub(crate) settle_fails: bool,
    /// Records until the sink takes no more.
    pub(crate) room: Option<u64>,
    pub(crate) violation: Option<String>,
    /// A hash of all that was published, in its order.
    pub(crate) hash: u64,
}

/// One end of the sink.
#[derive(Clone)]
struct SimulatedSink(Outlet);

/// FNV-1a.
pub(crate) fn hashed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

impl Outlet {
    pub(crate) fn new(input: Input, mode: Mode) -> Self {
        Self(Arc::new(Mutex::new(Judge {
            input,
            mode,
            pending: Vec::new(),
            durable: Vec::new(),
            newest: BTreeMap::new(),
            complete: vec![NOW],
            live: Some(NOW),
            live_next: vec![NOW],
            has_adopted: false,
            said: HashMap::new(),
            forecasts: 0,
            dead_letters: 0,
            expected: None,
            has_swapped: false,
            has_rescaled: false,
            history: None,
            may_lack_newer: false,
            past: None,
            past_failures: 0,
            first_said: FirstSaid::new(),
            lives: 0,
            heard: HashSet::new(),
            settle_fails: false,
            room: None,
            violation: None,
            hash: 0xcbf2_9ce4_8422_2325,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Judge> {
        self.0.lock().expect("a run has one thread")
    }

    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        Box::new(SimulatedSink(self.clone()))
    }
}

impl Judge {
    pub(crate) fn violate(&mut self, what: impl std::fmt::Display) {
        if self.violation.is_none() {
            self.violation = Some(what.to_string());
        }
    }

    /// A process begins.
    pub(crate) fn begin_life(&mut self) {
        self.newest.clear();
        self.lives += 1;
        (self.forecasts, self.dead_letters) = (0, 0);
        (self.settle_fails, self.room) = (false, None);
    }

    /// Watches the history of the life that begins.
    pub(crate) fn watch_past(&mut self, registry: Option<Registry>) {
        self.past_failures += self.past.as_ref().map_or(0, failures);
        self.past = registry;
    }

    /// Notes what the feed has passed on.
    pub(crate) fn hear(&mut self, records: &[Record]) {
        for record in records {
            let symbol = member(&record.bytes, "symbol").to_owned();
            self.heard.insert((symbol, tick_of(member(&record.bytes, "time"))));
            self.past_failures += u64::from(record.late && self.may_lack_newer);
        }
    }

    /// Judges a forecast of a daemon with history: it is of a live tick, and says that something is
    /// missing only where history has failed.
    fn judge_past(&mut self, entry: &'static str, symbol: &str, tick: i64, quality: &str) {
        let Some(History { has_rest, .. }) = self.history else { return };
        if !self.heard.contains(&(symbol.to_owned(), tick)) {
            self.violate(format_args!("history: {symbol} {tick} was never heard, and is out"));
        }
        let is_plain = !self.has_swapped && !self.has_rescaled && !self.has_adopted;
        let is_due = is_plain && self.expected.is_some() && self.complete.contains(&entry);
        if quality == "full" || !is_due || !has_rest || self.past_failures > 0 {
            return;
        }
        if self.past.as_ref().is_some_and(|past| failures(past) == 0) {
            let what = format!("I3: {symbol} {tick} of {entry} is {quality}");
            self.violate(format_args!("{what}, and history answered every question"));
        }
    }

    /// Some of what was handed over is out.
    pub(crate) fn flush(&mut self, count: usize) {
        let count = count.min(self.pending.len());
        self.durable.extend(self.pending.drain(..count));
    }

    /// The process ends; of what was not waited for, a part is out.
    pub(crate) fn crash(&mut self, dice: &mut Dice) {
        let count = dice.index(self.pending.len() + 1);
        self.flush(count);
        self.pending.clear();
    }

    fn reference(&self, version: &str) -> Option<&'static Said> {
        models().said(version, self.mode)
    }

    /// Judges a forecast by itself and beside what came before.
    pub(crate) fn forecast(&mut self, kind: Kind, symbol: &str, bytes: &[u8]) {
        self.hash = hashed(self.hash, bytes);
        self.forecasts += 1;
        let (version, quality) = (member(bytes, "model_version"), member(bytes, "quality"));
        let tick = tick_of(member(bytes, "as_of"));
        let entry = entry_of(version);
        if let Some(live) = self.live
            && (live == entry) != (kind == Kind::Live)
        {
            let what = format!("role: {entry} publishes as {kind:?} while {live} is live");
            self.violate(format_args!("{what}: {symbol} {tick}"));
        }
        if let Some(expected) = &self.expected
            && entry == NOW
            && expected != version
        {
            let what = format!("reload: version {version} publishes while {expected} runs");
            self.violate(format_args!("{what}: {symbol} {tick}"));
        }
        // I4: of each model, and of those that are live one behind the other.
        for stream in [Some(entry), None].into_iter().take(1 + usize::from(kind == Kind::Live)) {
            let newest = self.newest.insert((stream, symbol.to_owned()), tick);
            if let Some(newest) = newest.filter(|newest| *newest >= tick) {
                self.violate(format_args!("I4: {symbol} {tick} comes behind {newest}"));
            }
        }
        // How many steps were shed depends on the load, and nothing else of a forecast does.
        let (bytes, has_shed) = without_shed_steps(bytes);
        if has_shed && self.complete.contains(&entry) {
            self.violate(format_args!("I3: {symbol} {tick} of {entry} says that steps were shed"));
        }
        let bytes = &*bytes;
        self.judge_past(entry, symbol, tick, quality);
        let is_first = self.lives == 1 && self.complete.contains(&entry);
        if is_first && self.history.is_some_and(|history| history.never_answers) {
            let of_symbol = self.first_said.entry((version.to_owned(), symbol.to_owned()));
            of_symbol.or_default().push((tick, bytes.to_vec()));
        }
        // I2. What a feed sends once is lost with a process; its next one may say less of a tick
        // that comes again.
        let key = (version.to_owned(), symbol.to_owned(), tick);
        let is_rescaled = if entry == NOW { self.has_rescaled } else { self.has_adopted };
        let is_patched = |bytes: &[u8]| is_rescaled && member(bytes, "quality") == "patched";
        let before = self.said.get(&key).filter(|_| self.input != Input::Feed);
        let before = before.filter(|before| !is_patched(before) && !is_patched(bytes));
        if let Some(before) = before.filter(|before| *before != bytes).cloned() {
            let (before, now) = (text(&before), text(bytes));
            self.violate(format_args!("I2: said before\n{before}\nand now\n{now}"));
        }
        self.said.entry(key).or_insert_with(|| bytes.to_vec());
        // I3: whatever does not say that something is missing is what a life without faults says.
        if quality == "full" {
            let place = (symbol.to_owned(), tick);
            let said = self.reference(version).and_then(|said| said.forecasts.get(&place));
            if said.is_none_or(|said| without_shed_steps(said).0 != bytes) {
                let said = said.map_or("nothing", |said| text(said));
                let now = text(bytes);
                self.violate(format_args!(
                    "I3: a life without faults says\n{said}\nand not\n{now}"
                ));
            }
        } else if self.input != Input::Feed && !(quality == "patched" && is_rescaled) {
            self.violate(format_args!("I3: {symbol} {tick} is {quality}, and nothing is missing"));
        }
    }

    pub(crate) fn score(&mut self, bytes: &[u8]) {
        self.hash = hashed(self.hash, bytes);
        let version = member(bytes, "model_version");
        if self.input == Input::Feed || !self.has_scores(entry_of(version)) {
            return;
        }
        let said = self.reference(version);
        if said.is_none_or(|said| !said.scores.contains_key(&*without_rival(bytes))) {
            let score = text(bytes);
            self.violate(format_args!("I3: a life without faults gives no score\n{score}"));
        }
    }

    /// Whether the scores of an entry are those of a life without faults: one that was shed is
    /// missing in what comes behind it, and other rows have others.
    fn has_scores(&self, entry: &'static str) -> bool {
        let is_other = if entry == NOW { self.has_swapped } else { self.has_adopted };
        self.complete.contains(&entry) && !is_other
    }

    /// Takes what was published elsewhere as the whole output.
    pub(crate) fn set_durable(&mut self, durable: Vec<Published>) {
        self.durable = durable;
    }

    /// I1: everything that a life without faults says is out, whatever happened.
    pub(crate) fn judge_completeness(&mut self, exactly_once: bool) {
        let mut found: HashSet<(String, i64)> = HashSet::new();
        let (mut of_entries, mut twice) = (BTreeMap::<_, HashSet<_>>::new(), None);
        let mut scores = HashSet::new();
        for Published { kind, bytes } in &self.durable {
            if *kind == Kind::Score {
                scores.insert(without_rival(bytes).into_owned());
                continue;
            }
            let (symbol, tick) = (member(bytes, "symbol"), tick_of(member(bytes, "as_of")));
            let (place, entry) =
                ((symbol.to_owned(), tick), entry_of(member(bytes, "model_version")));
            let is_new = of_entries.entry(entry).or_default().insert(place.clone());
            if !is_new || *kind == Kind::Live && !found.insert(place) {
                twice.get_or_insert_with(|| format!("{symbol} {tick}"));
            }
        }
        if let Some(twice) = twice.filter(|_| exactly_once) {
            self.violate(format_args!("I1: {twice} was committed twice"));
        }
        let said = self.reference("1").expect("version 1 is known");
        let due = |place: &&(String, i64)| place.1 < RECORDED;
        let entries = self.complete.clone().into_iter();
        let of_entries = entries.map(|entry| (entry, of_entries.remove(entry).unwrap_or_default()));
        for (what, found) in of_entries.chain([("live", found)]).collect::<Vec<_>>() {
            let missing: Vec<_> =
                said.forecasts.keys().filter(due).filter(|place| !found.contains(*place)).collect();
            if let Some(first) = missing.iter().min() {
                let (count, all) = (missing.len(), said.forecasts.keys().filter(due).count());
                let what = format!("{count} of {all} forecasts of {what}");
                self.violate(format_args!("I1: {first:?} and {what} are missing"));
            }
        }
        for version in ["1", NEXT_VERSION] {
            let is_due = self.has_scores(entry_of(version));
            let said = self.reference(version).expect("it is known");
            let due = said.scores.iter().filter(|(_, place)| is_due && place.1 < RECORDED);
            let missing = due.filter(|(score, _)| !scores.contains(*score)).count();
            if missing > 0 {
                self.violate(format_args!("I1: {missing} scores of version {version} are missing"));
            }
        }
    }

    /// I6: what a feed traded last has its forecasts, whole ones.
    pub(crate) fn judge_recovery(&mut self, newest_tick: i64) {
        for symbol in SYMBOLS {
            let last = self.durable.iter().rev().find(|published| {
                published.kind == Kind::Live && member(&published.bytes, "symbol") == symbol
            });
            let Some(Published { bytes, .. }) = last else {
                self.violate(format_args!("I6: {symbol} has no forecast at all"));
                return;
            };
            let (tick, quality) = (tick_of(member(bytes, "as_of")), member(bytes, "quality"));
            if tick + 2 < newest_tick || quality != "full" {
                let what =
                    format!("I6: {symbol} is at {tick}, {quality}, and not at {newest_tick}");
                self.violate(what);
                return;
            }
        }
    }
}

/// How the first lives of two runs differ, of which one may have ended earlier.
pub(crate) fn difference(one: &FirstSaid, other: &FirstSaid, is_whole: bool) -> Option<String> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let none = Vec::new();
    for key in keys {
        let said = [one, other].map(|all| all.get(key).unwrap_or(&none));
        if let Some((first, second)) = said[0].iter().zip(said[1]).find(|(one, two)| one != two) {
            let (first, second) = (text(&first.1), text(&second.1));
            return Some(format!("says\n{first}\nand without history\n{second}"));
        }
        let [count, plainly] = said.map(Vec::len);
        if is_whole && count != plainly {
            return Some(format!(
                "has {count} forecasts of {key:?}, and without history {plainly}"
            ));
        }
    }
    None
}

/// A forecast without the count of steps that were shed and without its mark of drift, which
/// follows from scores that a fault may take; and whether it had the count.
fn without_shed_steps(bytes: &[u8]) -> (Cow<'_, [u8]>, bool) {
    let (bytes, has_shed) = without_last(bytes, ",\"shed_steps\":");
    let text = text(&bytes);
    if text.contains("\"drift\":true") {
        return (text.replace("\"drift\":true", "\"drift\":false").into_bytes().into(), has_shed);
    }
    (bytes, has_shed)
}

/// A score without what it says of a shadow and its rival: that depends on when roles changed.
fn without_rival(bytes: &[u8]) -> Cow<'_, [u8]> {
    without_last(bytes, ",\"rival\":").0
}

/// A record without its last member where that is this one, and whether it is.
fn without_last<'b>(bytes: &'b [u8], member: &str) -> (Cow<'b, [u8]>, bool) {
    match text(bytes).split_once(member) {
        Some((before, _)) => (Cow::Owned(format!("{before}}}").into_bytes()), true),
        None => (Cow::Borrowed(bytes), false),
    }
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("records are texts")
}

impl SimulatedSink {
    fn take(&self, kind: Kind, record: &Outgoing<'_>) -> Result<(), SinkClosed> {
        let mut judge = self.0.lock();
        if let Some(room) = &mut judge.room {
            *room = room.checked_sub(1).ok_or(SinkClosed("simulated"))?;
        }
        match kind {
            Kind::Score => judge.score(record.bytes),
            _ => judge.forecast(kind, record.symbol.as_str(), record.bytes),
        }
        judge.pending.push(Published { kind, bytes: record.bytes.to_vec() });
        Ok(())
    }
}

impl Sink for SimulatedSink {
    fn another(&self) -> Box<dyn Sink> {
        Box::new(self.clone())
    }

    fn publish(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(Kind::Live, forecast)
    }

    fn publish_shadow(&mut self, forecast: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(Kind::Shadow, forecast)
    }

    fn publish_score(&mut self, score: &Outgoing<'_>) -> Result<(), SinkClosed> {
        self.take(Kind::Score, score)
    }

    fn settle(&self) -> io::Result<()> {
        let mut judge = self.0.lock();
        if judge.settle_fails {
            return Err(io::Error::other("the sink does not settle"));
        }
        judge.flush(usize::MAX);
        Ok(())
    }

    fn dead_letter(&mut self, record: &Record, rejection: NamedRejection<'_>, _: &Pulse) {
        let mut judge = self.0.lock();
        judge.dead_letters += 1;
        // A recording has every tick once, so none of them is refused.
        if judge.input != Input::Feed && !is_broken(&record.bytes) {
            let (line, reason) = (text(&record.bytes), rejection.reason.label());
            judge.violate(format_args!("I8: {line} is refused as {reason}"));
        }
    }
}
