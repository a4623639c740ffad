//! One life of a daemon on one thread: the real shards, queues, router, keeper and reloader, built
//! in the order of `app`, over the simulated parts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus::Registry;
use tickcast::adapters::file::{FileOptions, FileRecords, Found, Places, identity};
use tickcast::core::domain::UnixNanos;
use tickcast::engine::inference::Runtime;
use tickcast::engine::model::Bundle;
use tickcast::engine::pipeline::{InProcess, Pipeline, Pipelines, Role, choose};
use tickcast::engine::symbols::EngineTally;
use tickcast::intake::{
    IntakeLimits, IntakeMetrics, IntakeReceiver, IntakeSender, Record, Router, WallClock, WhenFull,
    intake,
};
use tickcast::keep::reload::{
    ListedModel, ModelStatus, Models, Outcome, ReloadMetrics, ReloadModel, ReloadWork, Reloader,
    RunningModel,
};
use tickcast::keep::roles::{ConfiguredRoles, RoleStore};
use tickcast::keep::snapshot::{Keeper, KeeperWork, SnapshotMetrics};
use tickcast::ops::process;
use tickcast::ports::input::{InputIdentity, InputProgress, Start};
use tickcast::ports::sink::Sink;
use tickcast::shard::command::{Command, Handed, Meanwhile};
use tickcast::shard::{Publisher, ScoreMetrics, ScoredModel, Shard, ShardMetrics, Waiting};

use crate::dice::Dice;
use crate::disk::SimulatedDisk;
use crate::faults::{Character, Input};
use crate::model::{BASE_MS, Deployed, Micro, models};
use crate::network::Feed;
use crate::oracle::Outlet;

/// The wall clock of the simulation; cloning shares it.
#[derive(Clone, Default)]
pub(crate) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub(crate) fn set(&self, now_ms: u64, offset_ms: i64) {
        self.0.store(BASE_MS + now_ms as i64 + offset_ms, Ordering::Relaxed);
    }

    fn read(&self) -> WallClock {
        let shared = Arc::clone(&self.0);
        Arc::new(move || Some(UnixNanos::from_nanos(shared.load(Ordering::Relaxed) * 1_000_000)))
    }
}

/// Shards behind their queues.
pub(crate) struct Engine {
    pub(crate) shards: Vec<Shard>,
    pub(crate) intake: IntakeMetrics,
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

/// A pipeline for each shard, of the newest version that proves itself. The choice is made once: it
/// depends on what is deployed alone, and every reload makes it as well.
pub(crate) fn pipelines(character: &Character, deployed: Deployed) -> Vec<Pipelines> {
    static CHOSEN: Mutex<BTreeMap<Deployed, Arc<Bundle>>> = Mutex::new(BTreeMap::new());
    let models = models();
    let settings = models.settings(deployed, character.mode).of_shard(character.shards);
    let mut chosen = CHOSEN.lock().expect("nothing fails while it is held");
    let bundle = chosen.entry(deployed).or_insert_with(|| {
        let prover = InProcess(Arc::new(Micro));
        let chosen = choose(&models.choice(deployed, character.mode), &prover, &settings);
        Arc::new(chosen.expect("there is version 1").bundle)
    });
    let bundle = Arc::clone(bundle);
    drop(chosen);
    let build = |_| {
        let pipeline = Pipeline::build(&bundle, &Micro, &settings).expect("it has proved itself");
        Pipelines::new(pipeline, &settings)
    };
    (0..character.shards).map(build).collect()
}

impl Engine {
    /// Shards of these pipelines, which publish to `sinks`, and the senders of their queues.
    pub(crate) fn new(
        character: &Character,
        pipelines: Vec<Pipelines>,
        queues: Vec<IntakeReceiver<Command>>,
        metrics: IntakeMetrics,
        sink: Option<&dyn Sink>,
    ) -> Self {
        let registry = Registry::new();
        let counts = ShardMetrics::register(&registry, ["micro"]).expect("a registry of its own");
        let models = ScoredModel::of(&pipelines[0]);
        let scores = ScoreMetrics::register(&registry, &models, &[], character.shards)
            .expect("a registry of its own");
        let shards = pipelines.into_iter().zip(queues).enumerate();
        let shards = shards.map(|(index, (pipelines, queue))| {
            let publisher = Publisher::new(sink.map(Sink::another).into_iter().collect());
            let scores = scores.of_shard(index);
            Shard::new(pipelines, queue, publisher, counts.clone(), scores, character.drain_max)
        });
        let (queue_max, drain_max) = (character.queue_max, character.drain_max);
        Self { shards: shards.collect(), intake: metrics, queue_max, drain_max }
    }

    /// One turn of a shard; `false` where it has failed.
    pub(crate) fn turn(&mut self, dice: &mut Dice) -> bool {
        if self.shards.is_empty() {
            return false;
        }
        let index = dice.index(self.shards.len());
        self.shards[index].turn(Waiting::Returns).is_ok()
    }

    pub(crate) fn tally(&self) -> EngineTally {
        let mut all = EngineTally::default();
        self.shards.iter().for_each(|shard| all.merge(shard.tally()));
        all
    }

    /// I7, and the part of I8 that holds at any moment.
    pub(crate) fn judge(&self, outlet: &Outlet) {
        let (received, dropped) = self.intake.received_and_dropped();
        let taken = self.tally().ticks;
        let held = (self.queue_max + self.drain_max) * self.shards.len();
        let mut judge = outlet.lock();
        if received < dropped + taken {
            judge.violate(format_args!("I8: {received} in, {dropped} dropped, {taken} taken"));
        } else if received - dropped - taken > held as u64 {
            judge.violate(format_args!("I7: {} wait", received - dropped - taken));
        }
    }
}

/// I8, once nothing waits.
pub(crate) fn judge_accounts(
    tally: &EngineTally,
    intake: &IntakeMetrics,
    accepted: u64,
    outlet: &Outlet,
) {
    let (received, dropped) = intake.received_and_dropped();
    let mut judge = outlet.lock();
    let EngineTally { ticks, further, absorbed, steps, repeats, .. } = *tally;
    let (rejects, withheld) = (tally.rejects.total(), tally.withheld.total());
    if received != accepted || received != dropped + ticks {
        let what = format!("{accepted} delivered, {received} in, {dropped} dropped, {ticks} taken");
        judge.violate(format_args!("I8: {what}"));
    }
    if ticks + further != absorbed + steps + rejects + repeats
        || steps != tally.warming + tally.forecasts + withheld
    {
        judge.violate(format_args!("I8: {tally:?}"));
    }
    let (forecasts, dead_letters) = (judge.forecasts, judge.dead_letters);
    if forecasts != tally.forecasts || dead_letters != rejects {
        let what = format!("{forecasts} forecasts and {dead_letters} dead letters are out");
        judge.violate(format_args!("I8: {what}, of {tally:?}"));
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
    pipeline: &Pipeline,
    shards: Vec<tickcast::intake::IntakeCommander<Command>>,
) -> ReloadWork {
    let registry = Registry::new();
    let listed = ListedModel {
        name: "micro".to_owned(),
        role: Role::Live,
        seat: 0,
        symbols: Vec::new(),
        status: ModelStatus { running: RunningModel::of(pipeline), refused: Vec::new() },
    };
    let (running, _) = tokio::sync::watch::channel(Models(vec![listed]));
    let runtime: Arc<dyn Runtime> = Arc::new(Micro);
    let reloader = Reloader {
        prover: Arc::new(InProcess(Arc::clone(&runtime))),
        proof_time_max: Duration::from_secs(60),
        models: vec![ReloadModel::new(
            models().choice(deployed, character.mode),
            models().settings(deployed, character.mode).of_shard(character.shards),
            pipeline,
        )],
        roles: RoleStore::new(None, ConfiguredRoles::default()),
        runtime,
        shards,
        running,
        info: process::register(&registry).expect("a registry of its own"),
        metrics: ReloadMetrics::register(&registry, ["micro"]).expect("a registry of its own"),
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
        let mut pipelines = pipelines(character, deployed);
        let is_feed = character.input == Input::Feed;
        let identity = match is_feed {
            true => InputIdentity::Feed([7; 32]),
            false => {
                let identity = identity(&models().recording).map_err(|error| error.to_string())?;
                InputIdentity::Recording(identity.expect("it is a file"))
            }
        };
        let progress = InputProgress::new(identity);
        disk.judge()?;
        let metrics = SnapshotMetrics::register(&Registry::new()).expect("a registry of its own");
        let mut keeper = Keeper::on(disk.clone(), Duration::from_secs(1), metrics)
            .map_err(|error| format!("the disk cannot be looked through: {error}"))?;
        let start =
            keeper.restore(&mut pipelines, &progress, None).map_err(|error| error.to_string())?;
        pipelines.iter_mut().for_each(Pipelines::keep_departures);
        let (senders, receivers, metrics) = queues(character, is_feed.then_some(clock));
        let router = Router::new(senders);
        let reloader = reloader(character, deployed, pipelines[0].live(), router.commanders());
        let keeper = keeper.into_work(
            router.commanders(),
            vec![outlet.sink()],
            progress.clone(),
            pipelines[0].label(),
        );
        let version = pipelines[0].live().template().model_version.clone();
        let sink = outlet.sink();
        let mut engine = Engine::new(character, pipelines, receivers, metrics, Some(&*sink));
        let (last_states, last): (Sender<Handed>, _) = channel();
        let shards = engine.shards.drain(..).map(|shard| shard.with_keeper(last_states.clone()));
        engine.shards = shards.collect();
        let source = Source::new(character, start, progress, now_ms, dice)?;
        let (records, accepted) = (VecDeque::new(), 0);
        let daemon = Self { engine, router, keeper, reloader, last, source, records, accepted };
        if start.resumed && is_feed {
            daemon.mark_gap();
        }
        let mut judge = outlet.lock();
        judge.begin_life();
        judge.expected = Some(version);
        drop(judge);
        Ok(daemon)
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
    pub(crate) fn advance(&mut self, now_ms: u64) {
        if let Source::Feed(feed) = &mut self.source {
            self.records.extend(feed.advance(now_ms));
        }
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
                    received: None,
                    after_gap: false,
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
        mut dies: Option<u64>,
    ) -> Outcome {
        let Self { engine, router, keeper, reloader, records, accepted, .. } = self;
        let [model] = &mut *reloader.reloader.models else { unreachable!("there is one") };
        model.choice = models().choice(deployed, character.mode);
        model.settings = models().settings(deployed, character.mode).of_shard(character.shards);
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
        reloader.reload_once(0, &mut Meanwhile::Run(&mut meanwhile))
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
        drop(self.router);
        drop(self.reloader);
        for shard in &mut self.engine.shards {
            while shard.turn(Waiting::Returns).map_err(|error| error.to_string())? {}
        }
        let tally = self.engine.tally();
        judge_accounts(&tally, &self.engine.intake, self.accepted, outlet);
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
