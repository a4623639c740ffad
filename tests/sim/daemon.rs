//! One life of a daemon on one thread: the real shards, queues, router, keeper and reloader, built
//! in the order of `app`, over the simulated parts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::Registry;
use tickcast::adapters::file::{FileOptions, FileRecords, Found, Places, identity};
use tickcast::core::domain::{SymbolPatterns, UnixNanos};
use tickcast::engine::inference::Runtime;
use tickcast::engine::model::Bundle;
use tickcast::engine::pipeline::{InProcess, Pipeline, Pipelines, Role, StreamModel, choose};
use tickcast::engine::symbols::EngineTally;
use tickcast::intake::{
    IntakeLimits, IntakeMetrics, IntakeReceiver, IntakeSender, Record, Router, WallClock, WhenFull,
    intake,
};
use tickcast::keep::reload::{
    AgeWatch, ListedModel, ModelStatus, Models, Outcome, PromotionRule, ReloadMetrics, ReloadModel,
    ReloadWork, Reloader, Rivalry,
};
use tickcast::keep::roles::{ConfiguredRole, ConfiguredRoles, Found as Roles, RoleStore};
use tickcast::keep::snapshot::{Disk, Keeper, KeeperWork, SnapshotMetrics, Store};
use tickcast::ops::process;
use tickcast::ports::input::{InputIdentity, InputProgress, RECORDING, Start};
use tickcast::ports::sink::Sink;
use tickcast::shard::command::{Command, Handed, Meanwhile};
use tickcast::shard::{Publisher, ScoreMetrics, ScoredModel, Shard, ShardMetrics, Waiting};

use crate::dice::Dice;
use crate::disk::SimulatedDisk;
use crate::faults::{Character, Input};
use crate::history::Past;
use crate::model::{BASE_MS, Deployed, Micro, NEXT, NOW, models};
use crate::network::Feed;
use crate::oracle::Outlet;

/// The clocks of the simulation; cloning shares them.
#[derive(Clone, Default)]
pub(crate) struct Clock {
    wall_ms: Arc<AtomicI64>,
    now_ms: Arc<AtomicU64>,
}

impl Clock {
    pub(crate) fn set(&self, now_ms: u64, offset_ms: i64) {
        self.wall_ms.store(BASE_MS + now_ms as i64 + offset_ms, Ordering::Relaxed);
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The time since the start of the world, which is never set.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    fn read(&self) -> WallClock {
        let shared = Arc::clone(&self.wall_ms);
        Arc::new(move || Some(UnixNanos::from_nanos(shared.load(Ordering::Relaxed) * 1_000_000)))
    }
}

/// Shards behind their queues.
pub(crate) struct Engine {
    pub(crate) shards: Vec<Shard>,
    pub(crate) intake: IntakeMetrics,
    /// Where there is any.
    pub(crate) past: Option<Past>,
    queue_max: usize,
    drain_max: usize,
}

pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    router: Router<Command>,
    keeper: KeeperWork<SimulatedDisk>,
    reloader: ReloadWork,
    last: Receiver<Handed>,
    source: Source,
    /// Read, and not in a queue yet.
    records: VecDeque<Record>,
    /// Records that the queues took.
    accepted: u64,
}

enum Source {
    Feed(Box<Feed>),
    Recording { places: Box<Places>, ended: bool },
}

/// The pipelines of each shard: of the newest version that proves itself, and of `next` where it
/// runs beside it. The choice is made once: it depends on what is deployed alone, and every reload
/// makes it as well.
pub(crate) fn pipelines(
    character: &Character,
    deployed: Deployed,
    live: &'static str,
) -> Vec<Pipelines> {
    static CHOSEN: Mutex<BTreeMap<(Deployed, bool), Arc<Bundle>>> = Mutex::new(BTreeMap::new());
    let models = models();
    let settings = models.settings(deployed, character.mode).of_shard(character.shards);
    let choices =
        [models.choice(deployed, character.mode), models.next_choice(deployed, character.mode)];
    let count = 1 + usize::from(character.has_shadow);
    let mut chosen = CHOSEN.lock().expect("nothing fails while it is held");
    let bundles = choices.iter().take(count).enumerate().map(|(index, choice)| {
        let bundle = chosen.entry((deployed, index > 0)).or_insert_with(|| {
            let prover = InProcess(Arc::new(Micro));
            Arc::new(choose(choice, &prover, &settings).expect("there is version 1").bundle)
        });
        Arc::clone(bundle)
    });
    let bundles: Vec<_> = bundles.collect();
    drop(chosen);
    let build = |_| {
        let mut built: Vec<_> = bundles
            .iter()
            .map(|bundle| Pipeline::build(bundle, &Micro, &settings).expect("it is proved"))
            .collect();
        if !character.has_shadow {
            return Pipelines::new(built.remove(0), &settings);
        }
        let models = [NOW, NEXT].into_iter().zip(built).map(|(name, pipeline)| StreamModel {
            name: name.into(),
            symbols: SymbolPatterns::default(),
            seat: 0,
            role: role_of(name, live),
            pipeline,
        });
        Pipelines::of(models.collect(), &settings).expect("they read one field")
    };
    (0..character.shards).map(build).collect()
}

fn role_of(name: &str, live: &str) -> Role {
    if name == live { Role::Live } else { Role::Shadow }
}

/// The roles of the configuration, kept on a disk.
pub(crate) fn role_store(character: &Character, disk: &SimulatedDisk) -> RoleStore {
    let configured = [NOW, NEXT].map(|name| ConfiguredRole {
        name: name.to_owned(),
        seat: 0,
        role: role_of(name, NOW),
        symbols: SymbolPatterns::default(),
        by_rule: false,
    });
    let disk = character.has_shadow.then(|| Box::new(disk.clone()) as Box<dyn Disk>);
    RoleStore::new(disk, ConfiguredRoles(configured.into()))
}

/// The live entry to begin with, which has to be one that was kept.
pub(crate) fn kept_live(store: &RoleStore, outlet: &Outlet) -> Result<&'static str, String> {
    let found = store.load().map_err(|error| format!("role: roles cannot be read: {error}"))?;
    let live = match &found {
        Roles::Configured => NOW,
        Roles::Given(given) if given.live == [NOW] => NOW,
        Roles::Given(given) if given.live == [NEXT] => NEXT,
        other => return Err(format!("role: {other:?} is found")),
    };
    let mut judge = outlet.lock();
    if !judge.live_next.contains(&live) {
        return Err(format!("role: {live} is live after a restart, of {:?}", judge.live_next));
    }
    (judge.live, judge.live_next) = (Some(live), vec![live]);
    Ok(live)
}

/// Notes which entry goes on from a state of the other one, because the version of its own is not
/// beside the one that runs: the program takes what it can read, scaled over and marked.
fn note_adoptions(
    character: &Character,
    (deployed, live): (Deployed, &'static str),
    disk: &SimulatedDisk,
    outlet: &Outlet,
) -> Result<(), String> {
    let opened = Store::open(disk.clone()).map_err(|error| error.to_string())?;
    let whole = opened.1.into_iter().find_map(|candidate| candidate.content.ok());
    let Some(snapshot) = whole.filter(|_| character.has_shadow) else { return Ok(()) };
    let partition = (character.input == Input::Recording).then_some(RECORDING);
    let mut models = pipelines(character, deployed, live).swap_remove(0);
    let restored =
        models.restore(partition, &snapshot.states).map_err(|error| error.to_string())?;
    let lacks_own = |entry: &str| restored.cold.iter().any(|line| line.starts_with(entry));
    let mut judge = outlet.lock();
    judge.has_rescaled |= lacks_own("now: ");
    judge.has_adopted |= lacks_own("next: ");
    Ok(())
}

/// Notes what became of a promotion; `false` where the process has ended in it.
pub(crate) fn judge_promotion(outlet: &Outlet, name: &'static str, outcome: &Outcome) -> bool {
    let mut judge = outlet.lock();
    // A crash may find either until the answer is known.
    let other = if name == NOW { NEXT } else { NOW };
    match outcome {
        Outcome::Promoted { .. } | Outcome::Live { .. } => {
            (judge.live, judge.live_next) = (Some(name), vec![name]);
        }
        Outcome::Kept { reason } if reason.contains("may begin with") => {
            judge.live = Some(other);
        }
        Outcome::Kept { .. } => (judge.live, judge.live_next) = (Some(other), vec![other]),
        Outcome::Fatal { reason } if reason.contains("restart begins with") => {
            judge.live_next = vec![name];
            return false;
        }
        _ => return false,
    }
    true
}

impl Engine {
    /// Shards of these pipelines, which publish to `sinks`, and the senders of their queues.
    pub(crate) fn new(
        character: &Character,
        pipelines: Vec<Pipelines>,
        queues: Vec<IntakeReceiver<Command>>,
        metrics: IntakeMetrics,
        sink: Option<&dyn Sink>,
        sheds: bool,
    ) -> Self {
        let registry = Registry::new();
        let names = [NOW, NEXT].into_iter().take(1 + usize::from(character.has_shadow));
        let counts = ShardMetrics::register(&registry, names).expect("a registry of its own");
        let models = ScoredModel::of(&pipelines[0]);
        let scores = ScoreMetrics::register(&registry, &models, &[], character.shards)
            .expect("a registry of its own");
        let shards = pipelines.into_iter().zip(queues).enumerate();
        let shards = shards.map(|(index, (pipelines, queue))| {
            let publisher = Publisher::new(sink.map(Sink::another).into_iter().collect());
            let scores = scores.of_shard(index);
            let (counts, drain_max) = (counts.clone(), character.drain_max);
            // Whatever has come is too old.
            Shard::new(pipelines, queue, publisher, counts, scores, drain_max)
                .shedding_behind(sheds.then_some(Duration::ZERO))
        });
        let (queue_max, drain_max) = (character.queue_max, character.drain_max);
        Self { shards: shards.collect(), intake: metrics, past: None, queue_max, drain_max }
    }

    /// One turn of a shard; `false` where it has failed.
    pub(crate) fn turn(&mut self, dice: &mut Dice) -> bool {
        if self.shards.is_empty() {
            return false;
        }
        let index = dice.index(self.shards.len());
        self.shards[index].turn(Waiting::Returns).is_ok()
    }

    /// What every model has done, in the order of the configuration.
    pub(crate) fn tallies(&self) -> Vec<EngineTally> {
        let mut all = Vec::<EngineTally>::new();
        for shard in &self.shards {
            for (index, tally) in shard.tallies().enumerate() {
                if all.len() <= index {
                    all.push(EngineTally::default());
                }
                all[index].merge(tally);
            }
        }
        all
    }

    /// Records that the shards took, and those that were refused on the stream.
    fn taken(&self) -> (u64, u64) {
        let tallies = self.shards.iter().map(Shard::stream_tally);
        tallies.fold((0, 0), |(ticks, rejects), tally| {
            (ticks + tally.ticks, rejects + tally.rejects.total())
        })
    }

    /// I7, and the part of I8 that holds at any moment.
    pub(crate) fn judge(&self, outlet: &Outlet) {
        let (received, dropped) = self.intake.received_and_dropped();
        let taken = self.taken().0;
        let queued_max = ((self.queue_max + self.drain_max) * self.shards.len()) as u64;
        let mut judge = outlet.lock();
        if received < dropped + taken {
            judge.violate(format_args!("I8: {received} in, {dropped} dropped, {taken} taken"));
            return;
        }
        let waits = received - dropped - taken;
        let past = self.past.as_ref();
        let held = past.map_or(0, Past::waiting);
        let held_max = past.map_or(0, |past| past.waiting_max(self.shards.len()));
        let is_beyond = || waits > queued_max + held + past.map_or(0, Past::dropped);
        if held > held_max || waits > queued_max && is_beyond() {
            judge.violate(format_args!("I7: {waits} wait, {held} of them for history"));
        }
    }
}

/// I8, once nothing waits.
pub(crate) fn judge_accounts(engine: &Engine, accepted: u64, outlet: &Outlet) {
    let (received, dropped) = engine.intake.received_and_dropped();
    let (tallies, (taken, refused)) = (engine.tallies(), engine.taken());
    let mut judge = outlet.lock();
    let past = engine.past.as_ref();
    let (waits, forgotten) = past.map_or((0, 0), |past| (past.waiting(), past.dropped()));
    if received != accepted || received != dropped + taken + forgotten || waits > 0 {
        let what = format!("{accepted} delivered, {received} in, {dropped} dropped, {taken} taken");
        let of_past = format!("{forgotten} dropped and {waits} waiting for history");
        judge.violate(format_args!("I8: {what}, {of_past}"));
    }
    for tally in &tallies {
        let EngineTally { ticks, further, absorbed, steps, repeats, .. } = *tally;
        let (rejects, withheld) = (tally.rejects.total(), tally.withheld.total());
        // Rows that were asked for are no records.
        if ticks < taken
            || (ticks > taken && past.is_none())
            || ticks + further != absorbed + steps + rejects + repeats
            || steps != tally.warming + tally.forecasts + withheld
        {
            judge.violate(format_args!("I8: {taken} taken, {tally:?}"));
        }
    }
    let (forecasts, dead_letters) = (judge.forecasts, judge.dead_letters);
    let said = tallies.iter().map(|tally| tally.forecasts).sum::<u64>();
    if forecasts != said || dead_letters != refused {
        let what = format!("{forecasts} forecasts and {dead_letters} dead letters are out");
        judge.violate(format_args!("I8: {what}, of {refused} refused and {tallies:?}"));
    }
}

pub(crate) fn queues(
    character: &Character,
    clock: Option<&Clock>,
) -> (Vec<IntakeSender<Command>>, Vec<IntakeReceiver<Command>>, IntakeMetrics) {
    let metrics = IntakeMetrics::register(&Registry::new()).expect("a registry of its own");
    let limits = IntakeLimits {
        records_max: character.queue_max,
        bytes_max: 1 << 20,
        record_bytes_max: 1000,
        when_full: if character.drops_oldest { WhenFull::DropOldest } else { WhenFull::Block },
    };
    let (senders, receivers) = (0..character.shards)
        .map(|_| {
            let (sender, receiver) = intake(limits, metrics.clone());
            let sender = match clock {
                Some(clock) => sender.live_by(clock.read()),
                None => sender,
            };
            (sender, receiver)
        })
        .unzip();
    (senders, receivers, metrics)
}

/// Makes the reloader of a daemon whose shards run these pipelines.
pub(crate) fn reloader(
    character: &Character,
    deployed: Deployed,
    pipelines: &Pipelines,
    shards: Vec<tickcast::intake::IntakeCommander<Command>>,
    roles: RoleStore,
) -> ReloadWork {
    let registry = Registry::new();
    let names = [NOW, NEXT];
    let listed = names.into_iter().zip(pipelines.each()).map(|(name, (_, pipeline))| ListedModel {
        name: name.to_owned(),
        role: pipeline.post().role,
        seat: 0,
        turns_with: None,
        symbols: Vec::new(),
        rivalry: Rivalry::default(),
        blends: Vec::new(),
        status: ModelStatus::of(pipeline, Vec::new()),
    });
    let (running, _) = tokio::sync::watch::channel(Models(listed.collect()));
    let (models, mode) = (models(), character.mode);
    let choices = [models.choice(deployed, mode), models.next_choice(deployed, mode)];
    let settings = models.settings(deployed, mode).of_shard(character.shards);
    let models = choices.into_iter().zip(pipelines.each());
    let models =
        models.map(|(choice, (_, pipeline))| ReloadModel::new(choice, settings.clone(), pipeline));
    let runtime: Arc<dyn Runtime> = Arc::new(Micro);
    let reloader = Reloader {
        prover: Arc::new(InProcess(Arc::clone(&runtime))),
        proof_time_max: Duration::from_secs(60),
        models: models.collect(),
        roles,
        rule: PromotionRule::never(),
        age: AgeWatch::never(),
        runtime,
        shards,
        running,
        info: process::register(&registry).expect("a registry of its own"),
        metrics: ReloadMetrics::register(&registry, names).expect("a registry of its own"),
    };
    reloader.work()
}

impl Daemon {
    /// Starts from what is on the disk.
    pub(crate) fn start(
        character: &Character,
        deployed: Deployed,
        now_ms: u64,
        clock: &Clock,
        disk: &SimulatedDisk,
        outlet: &Outlet,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        disk.judge()?;
        let roles = role_store(character, disk);
        let live = kept_live(&roles, outlet)?;
        note_adoptions(character, (deployed, live), disk, outlet)?;
        let mut pipelines = pipelines(character, deployed, live);
        let is_feed = character.input == Input::Feed;
        let identity = match is_feed {
            true => InputIdentity::Feed([7; 32]),
            false => {
                let identity = identity(&models().recording).map_err(|error| error.to_string())?;
                InputIdentity::Recording(identity.expect("it is a file"))
            }
        };
        let progress = InputProgress::new(identity);
        let metrics = SnapshotMetrics::register(&Registry::new()).expect("a registry of its own");
        let mut keeper = Keeper::on(disk.clone(), Duration::from_secs(1), metrics)
            .map_err(|error| format!("the disk cannot be looked through: {error}"))?;
        let start =
            keeper.restore(&mut pipelines, &progress, None).map_err(|error| error.to_string())?;
        pipelines.iter_mut().for_each(Pipelines::keep_departures);
        let (senders, receivers, metrics) = queues(character, is_feed.then_some(clock));
        let router = Router::new(senders);
        let reloader = reloader(character, deployed, &pipelines[0], router.commanders(), roles);
        let keeper = keeper.into_work(
            router.commanders(),
            vec![outlet.sink()],
            progress.clone(),
            pipelines[0].label(),
        );
        let version = pipelines[0].at(0).template().model_version.clone();
        let (sink, sheds) = (outlet.sink(), character.sheds() && dice.below(2) == 0);
        let mut engine = Engine::new(character, pipelines, receivers, metrics, Some(&*sink), sheds);
        let (last_states, last): (Sender<Handed>, _) = channel();
        let shards = engine.shards.drain(..).map(|shard| shard.with_keeper(last_states.clone()));
        engine.shards = shards.collect();
        engine.past = character
            .history
            .map(|traits| Past::new(character, traits, clock, router.commanders(), dice));
        if let Some(past) = &engine.past {
            let (shards, count) = (engine.shards.drain(..), character.shards);
            let shards = shards.enumerate().map(|(at, shard)| past.of_shard(shard, at, count));
            engine.shards = shards.collect();
        }
        let source = Source::new(character, start, progress, now_ms, dice)?;
        let (records, accepted) = (VecDeque::new(), 0);
        let mut daemon = Self { engine, router, keeper, reloader, last, source, records, accepted };
        let mut judge = outlet.lock();
        judge.begin_life();
        judge.expected = Some(version);
        judge.watch_past(daemon.engine.past.as_ref().map(|past| past.registry.clone()));
        drop(judge);
        daemon.stream_history()?;
        if start.resumed && is_feed {
            daemon.mark_gap();
        }
        Ok(daemon)
    }

    /// Streams the recording from before the feed, until the shards have all of it.
    fn stream_history(&mut self) -> Result<(), String> {
        let Some(past) = &self.engine.past else { return Ok(()) };
        let rows = past.filed();
        if rows.is_empty() {
            return Ok(());
        }
        for row in rows {
            let mut one = VecDeque::from([row]);
            self.router.offer(&mut one).map_err(|error| error.to_string())?;
            self.accepted += 1;
            self.turn_all()?;
        }
        for shard in self.router.commanders() {
            shard
                .command(Command::EndHistory { answer: None })
                .map_err(|error| error.to_string())?;
        }
        self.turn_all()
    }

    fn turn_all(&mut self) -> Result<(), String> {
        let shards = &mut self.engine.shards;
        shards
            .iter_mut()
            .try_for_each(|shard| shard.turn(Waiting::Returns).map(drop))
            .map_err(|error| error.to_string())
    }

    /// The venue has no faults from here on.
    pub(crate) fn calm(&mut self) {
        if let Some(feed) = self.feed() {
            feed.calm();
        }
        if let Some(past) = &self.engine.past {
            past.calm();
        }
    }

    /// Lets questions for history go on.
    pub(crate) fn advance_history(&mut self) {
        if let Some(past) = &mut self.engine.past {
            past.advance();
        }
    }

    /// What a feed does behind restored states.
    fn mark_gap(&self) {
        let gap = futures_util::FutureExt::now_or_never(self.router.gap());
        gap.expect("the queues are empty").expect("the queues are open");
    }

    pub(crate) fn feed(&mut self) -> Option<&mut Feed> {
        match &mut self.source {
            Source::Feed(feed) => Some(feed),
            Source::Recording { .. } => None,
        }
    }

    /// Lets the feed go on to a time.
    pub(crate) fn advance(&mut self, now_ms: u64, outlet: &Outlet) {
        if let Source::Feed(feed) = &mut self.source {
            let records = feed.advance(now_ms);
            if self.engine.past.is_some() {
                outlet.lock().hear(&records);
            }
            self.records.extend(records);
        }
        self.advance_history();
    }

    /// Reads up to so many records of a recording, and puts what was read into the queues, as far
    /// as there is room.
    pub(crate) fn deliver(&mut self, count: usize) -> Result<(), String> {
        let Self { source, router, records, accepted, .. } = self;
        let mut offer = |records: &mut VecDeque<Record>| {
            let before = records.len();
            router.offer(records).map_err(|error| error.to_string())?;
            *accepted += (before - records.len()) as u64;
            Ok::<_, String>(records.is_empty())
        };
        let Source::Recording { places, ended } = source else {
            return offer(records).map(drop);
        };
        for _ in 0..count {
            if !records.is_empty() {
                if !offer(records)? {
                    break;
                }
                places.delivered();
            }
            match places.read().map_err(|error| error.to_string())? {
                Found::End => *ended = true,
                Found::Behind => {}
                Found::Record(bytes, position) => records.push_back(Record {
                    bytes,
                    position: Some(position),
                    ..Record::default()
                }),
            }
            if *ended {
                break;
            }
        }
        Ok(())
    }

    /// Whether the input has ended and everything of it is delivered.
    pub(crate) fn has_ended(&self) -> bool {
        let Source::Recording { ended, .. } = &self.source else { return false };
        *ended && self.records.is_empty()
    }

    pub(crate) fn begin_snapshot(&mut self) {
        self.keeper.begin();
    }

    pub(crate) fn advance_snapshot(&mut self) {
        self.keeper.advance(Waiting::Returns);
    }

    /// A reload while everything else goes on; the shards end in the middle of it where `dies` has
    /// come to zero.
    pub(crate) fn reload(
        &mut self,
        character: &Character,
        deployed: Deployed,
        dice: &mut Dice,
        dies: Option<u64>,
    ) -> Outcome {
        let model = &mut self.reloader.reloader.models[0];
        model.choice = models().choice(deployed, character.mode);
        model.settings = models().settings(deployed, character.mode).of_shard(character.shards);
        self.while_it_goes_on(dice, dies, |reloader, meanwhile| reloader.reload_once(0, meanwhile))
    }

    /// A promotion while everything else goes on; the shards end in the middle of it likewise.
    pub(crate) fn promote(
        &mut self,
        name: &'static str,
        dice: &mut Dice,
        dies: Option<u64>,
    ) -> Outcome {
        let model = usize::from(name == NEXT);
        self.while_it_goes_on(dice, dies, |reloader, meanwhile| {
            reloader.promote_once(model, meanwhile)
        })
    }

    fn while_it_goes_on(
        &mut self,
        dice: &mut Dice,
        mut dies: Option<u64>,
        work: impl FnOnce(&mut ReloadWork, &mut Meanwhile<'_>) -> Outcome,
    ) -> Outcome {
        let Self { engine, router, keeper, reloader, records, accepted, .. } = self;
        let mut meanwhile = || {
            if let Some(left) = &mut dies {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    engine.shards.clear();
                    return;
                }
            }
            match dice.below(4) {
                0 => {
                    let before = records.len();
                    if router.offer(records).is_ok() {
                        *accepted += (before - records.len()) as u64;
                    }
                }
                1 => drop(keeper.advance(Waiting::Returns)),
                _ => {
                    if !engine.turn(dice) {
                        engine.shards.clear();
                    }
                }
            }
        };
        work(reloader, &mut Meanwhile::Run(&mut meanwhile))
    }

    pub(crate) fn judge(&self, outlet: &Outlet) {
        self.engine.judge(outlet);
    }

    /// Ends as the daemon does when it is asked to: the source stops, the queues close, the shards
    /// drain, the last snapshot is written, the sinks finish.
    pub(crate) fn stop(mut self, outlet: &Outlet) -> Result<(), String> {
        // A feed delivers what it has read.
        if let Source::Feed(_) = &self.source {
            for record in self.records.drain(..) {
                self.accepted += 1;
                self.router.last(record);
            }
        }
        if let Some(past) = &mut self.engine.past {
            past.stop();
        }
        drop(self.router);
        drop(self.reloader);
        for shard in &mut self.engine.shards {
            while shard.turn(Waiting::Returns).map_err(|error| error.to_string())? {}
        }
        judge_accounts(&self.engine, self.accepted, outlet);
        for shard in self.engine.shards {
            shard.finish();
        }
        while self.keeper.advance(Waiting::Returns) {}
        self.keeper.finish(&self.last);
        outlet.sink().settle().map_err(|error| error.to_string())
    }
}

impl Source {
    fn new(
        character: &Character,
        start: Start,
        progress: InputProgress,
        now_ms: u64,
        dice: &mut Dice,
    ) -> Result<Self, String> {
        if character.input == Input::Feed {
            let dice = Dice::new(dice.roll());
            return Ok(Self::Feed(Box::new(Feed::new(now_ms, dice, character.faults))));
        }
        let records = FileRecords::open(&models().recording, FileOptions::default())
            .map_err(|error| error.to_string())?;
        let places = Box::new(Places::new(records, start, Some(progress)));
        Ok(Self::Recording { places, ended: false })
    }
}
