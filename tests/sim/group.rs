//! Members of a consumer group over one broker: real shards, real commits and real positions; what
//! a session does around them is played here, in the order of `adapters/kafka/session`.

use std::sync::mpsc::channel;
use std::time::Duration;

use tickcast::adapters::kafka::{
    Assigned, Commit, Covers, Found, Look, Mark, PartitionTable, Point, Progress, Reading,
    SessionError, Start, StateRecord, TopicId, Turn, hand_over,
};
use tickcast::adapters::kafka_config::{Delivery, LostOffset, StartAt};
use tickcast::core::domain::PartitionId;
use tickcast::core::history::Origin;
use tickcast::intake::{IntakeSender, Record};
use tickcast::keep::reload::{Outcome, ReloadWork};
use tickcast::shard::Waiting;
use tickcast::shard::command::{Command, Meanwhile, Takes};

use crate::broker::{Broker, Session, States};
use crate::daemon::{Engine, judge_promotion, kept_live, pipelines, queues, reloader, role_store};
use crate::dice::Dice;
use crate::disk::SimulatedDisk;
use crate::faults::{Character, Fault, Faults};
use crate::model::{Deployed, NEXT, NEXT_VERSION, NOW, RECORDED, SYMBOLS, line};
use crate::oracle::Outlet;
use crate::world::{Ran, Trace};

const MEMBERS: usize = 2;

/// A process that reads partitions.
struct Member {
    engine: Engine,
    senders: Vec<IntakeSender<Command>>,
    outlet: Outlet,
    session: Session,
    table: PartitionTable,
    assigned: Assigned,
    held: Option<Record>,
    commit: Option<Commit>,
    /// Whether the next commit stores every state.
    is_whole: bool,
    turn: Turn,
    reloader: ReloadWork,
}

struct World {
    character: Character,
    dice: Dice,
    broker: Broker,
    outlets: Vec<Outlet>,
    members: Vec<Option<Member>>,
    /// Where each member keeps its roles.
    disks: Vec<SimulatedDisk>,
    turns: u64,
    trace: Trace,
}

fn delivery(character: &Character) -> Delivery {
    if character.exactly_once { Delivery::ExactlyOnce } else { Delivery::AtLeastOnce }
}

/// The versions, each with the entry of its states. Those that may shed have no version here.
fn versions(character: &Character) -> Vec<(&'static str, Option<&'static str>)> {
    match (character.has_shadow, character.sheds) {
        (false, _) => vec![("1", None)],
        (true, false) => vec![("1", Some(NOW)), (NEXT_VERSION, Some(NEXT))],
        (true, true) => vec![("", Some(NOW)), ("", Some(NEXT))],
    }
}

fn mark() -> Mark {
    let id = |number| Some(TopicId::of(number));
    let began_with = Some(SYMBOLS.len() as i32);
    Mark { log: id(1), changelog: id(2), began_with, ..Mark::default() }
}

impl Member {
    fn start(
        character: &Character,
        broker: &Broker,
        (outlet, disk): (&Outlet, &SimulatedDisk),
        index: usize,
        sheds: bool,
    ) -> Result<Self, String> {
        let roles = role_store(character, disk);
        let live = kept_live(&roles, outlet)?;
        let pipelines = pipelines(character, Deployed::First, live);
        let (senders, receivers, metrics) = queues(character, None);
        let commanders = senders.iter().map(IntakeSender::commander).collect();
        let reloader = reloader(character, Deployed::First, &pipelines[0], commanders, roles);
        let engine = Engine::new(character, pipelines, receivers, metrics, None, sheds);
        let table = PartitionTable::new([("ticks", SYMBOLS.len() as i32)]);
        let producer = broker.producer(index);
        let session = Session::new(broker.clone(), producer, index);
        let mut member = Self {
            engine,
            senders,
            outlet: outlet.clone(),
            session,
            table,
            assigned: Assigned::default(),
            held: None,
            commit: None,
            is_whole: false,
            turn: Turn::default(),
            reloader,
        };
        member.connect();
        Ok(member)
    }

    /// Promotes an entry; the shards end in the middle of it where `dies` has come to zero.
    fn promote(&mut self, name: &'static str, mut dies: Option<u64>) -> Outcome {
        let Self { engine, reloader, .. } = self;
        let mut drive = || {
            if let Some(left) = &mut dies {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    engine.shards.clear();
                }
            }
            for shard in &mut engine.shards {
                shard.turn(Waiting::Returns).expect("the sink takes everything");
            }
        };
        reloader.promote_once(usize::from(name == NEXT), &mut Meanwhile::Run(&mut drive))
    }

    fn connect(&mut self) {
        self.outlet.lock().begin_life();
        for sender in &self.senders {
            let exactly_once = self.session.broker.lock().exactly_once;
            let sink = self.session.producer.sink(&self.outlet, exactly_once);
            sender.command(Command::Connect(sink)).expect("the shards run");
        }
    }

    fn sender(&self, id: PartitionId) -> &IntakeSender<Command> {
        &self.senders[id.0 as usize % self.senders.len()]
    }

    /// Drives the shards until they have answered.
    fn ask<T>(&mut self, answers: &std::sync::mpsc::Receiver<T>) -> Result<T, String> {
        let shards = &mut self.engine.shards;
        let (mut failure, mut turns) = (None, 0);
        let mut drive = || {
            turns += 1;
            assert!(turns < 10_000, "I6: the shards do not answer");
            for shard in shards.iter_mut() {
                if let Err(error) = shard.turn(Waiting::Returns) {
                    failure = Some(error.to_string());
                }
            }
            assert!(failure.is_none(), "a shard failed: {failure:?}");
        };
        let answer = Meanwhile::Run(&mut drive).receive(answers, None);
        answer.map_err(|_| "a shard has ended".to_owned())
    }

    /// Takes a partition over: its states, then its position.
    fn assign(&mut self, partition: usize) -> Result<(), SessionError> {
        self.finish_commit()?;
        self.take_over(partition).map_err(|what| {
            self.outlet.lock().violate(&what);
            SessionError::Retry(what)
        })
    }

    fn take_over(&mut self, partition: usize) -> Result<(), String> {
        let id = PartitionId(partition as u32);
        let committed = self.session.broker.lock().committed[partition];
        let States { stored, end, passed_over } = self.session.broker.states(partition);
        self.is_whole |= passed_over > 0;
        let points: Vec<_> = stored.iter().filter_map(|state| state.point).collect();
        let found = Found {
            log: mark().log,
            ends: (0, RECORDED),
            committed,
            states: &points,
            newest_ms: None,
            is_added: false,
        };
        let Start::At(next) = found.decide(StartAt::Earliest, LostOffset::Earliest) else {
            return Err(format!("I5: a position is lost: {found:?}"));
        };
        let exactly_once = self.session.broker.lock().exactly_once;
        let next = match exactly_once {
            true => next,
            false => found.reads_again_from(next, stored.iter()),
        };
        let epoch = (!exactly_once).then(|| self.session.broker.epoch_from(end));
        let limit = found.state_limit(exactly_once);
        let own = stored.into_iter().filter(|state| found.takes(state.point, limit));
        let stored: Vec<_> = own.map(|StateRecord { key, bytes, .. }| (key, bytes)).collect();
        // A crash within the first commit may have left the state of one model alone, of which the
        // other one makes its own.
        let count = self.reloader.reloader.models.len();
        let mut topics = self.session.broker.lock();
        topics.has_adopted |= !stored.is_empty() && stored.len() < count;
        self.outlet.lock().has_adopted = topics.has_adopted;
        drop(topics);
        if !stored.is_empty() {
            let (answer, answers) = channel();
            let restore = Command::Restore { partition: id, stored, answer };
            self.sender(id).command(restore).map_err(|error| error.to_string())?;
            let restored = self.ask(&answers)?.map_err(|error| error.to_string())?;
            if !restored.cold.is_empty() {
                return Err(format!("I3: cold after a restart: {:?}", restored.cold));
            }
        }
        let name = self.table.name(id).expect("it is in the table").clone();
        let reading = Reading::from(id, name, Point { next, mark: Mark { epoch, ..mark() } });
        self.assigned.add(reading.with_committed(committed).said_up_to(committed));
        self.outlet.lock().begin_life();
        Ok(())
    }

    /// Hands some records to the shards.
    fn poll(&mut self, dice: &mut Dice, count: usize) -> Result<(), SessionError> {
        for _ in 0..count {
            if let Some(record) = self.held.take() {
                let Self { senders, assigned, .. } = self;
                self.held = hand_over(senders, assigned, record, Duration::ZERO)?;
                if self.held.is_some() {
                    return Ok(());
                }
            }
            let readings: Vec<_> = self.assigned.iter().filter(|of| of.next < RECORDED).collect();
            if readings.is_empty() {
                return Ok(());
            }
            let Reading { id, next, .. } = readings[dice.index(readings.len())];
            let (partition, offset) = (id.0 as usize, *next);
            let position = self.assigned.place("ticks", partition as i32, offset);
            let bytes = line(partition, offset).into();
            let origin = position.map_or_else(Origin::default, |at| self.assigned.origin(at));
            let record = Record { bytes, position, origin, ..Record::default() };
            let Self { senders, assigned, .. } = self;
            self.held = hand_over(senders, assigned, record, Duration::ZERO)?;
        }
        Ok(())
    }

    fn begin_commit(&mut self, delivery: Delivery, stores: bool) -> Result<(), SessionError> {
        let stores = stores || self.is_whole;
        let positions = match stores {
            true => self.assigned.unstored(),
            false => self.assigned.uncommitted(),
        };
        if self.commit.is_some() || positions.is_empty() {
            return Ok(());
        }
        let points = self.assigned.iter().map(|reading| (reading.id, reading.point())).collect();
        let takes = match (std::mem::take(&mut self.is_whole), stores) {
            (true, _) => Takes::Everything,
            (false, true) => Takes::Changed,
            (false, false) => Takes::Nothing,
        };
        let covers = Covers { positions, points, look: Look::default(), takes };
        self.commit = Some(Commit::begin(delivery, &self.senders, covers, self.turn)?);
        self.turn = self.turn.other();
        Ok(())
    }

    fn step_commit(&mut self) -> Result<(), SessionError> {
        let Some(commit) = self.commit.take() else { return Ok(()) };
        match commit.step(&self.session)? {
            Progress::UnderWay(commit) => self.commit = Some(commit),
            Progress::Done(covered, _) => self.assigned.committed(&covered),
        }
        Ok(())
    }

    /// Finishes the commit under way, and makes one of everything since.
    fn commit_now(&mut self, delivery: Delivery) -> Result<(), SessionError> {
        for _ in 0..2 {
            self.begin_commit(delivery, true)?;
            self.finish_commit()?;
        }
        Ok(())
    }

    /// Finishes the commit under way.
    fn finish_commit(&mut self) -> Result<(), SessionError> {
        while self.commit.is_some() {
            for shard in &mut self.engine.shards {
                shard.turn(Waiting::Returns).expect("the sink takes everything");
            }
            self.session.producer.arrive(&self.session.broker, usize::MAX, false);
            self.step_commit()?;
        }
        Ok(())
    }

    /// Gives a partition away.
    fn revoke(&mut self, partition: usize, delivery: Delivery) -> Result<(), SessionError> {
        // A record that was held back is read again by whoever owns its partition next.
        self.held = None;
        self.commit_now(delivery)?;
        let id = PartitionId(partition as u32);
        self.assigned.remove(id);
        let (answer, answers) = channel();
        let evict = Command::Evict { partition: id, answer };
        self.sender(id).command(evict).expect("the shards run");
        self.ask(&answers).expect("the shards run");
        Ok(())
    }

    /// The session has failed: the shards forget everything, and another one begins.
    fn begin_again(&mut self, dice: &mut Dice) -> Result<(), String> {
        // The commit lets the shards go.
        (self.commit, self.held) = (None, None);
        let (answer, answers) = channel();
        for sender in &self.senders {
            let clear = Command::Clear { answer: answer.clone() };
            sender.command(clear).map_err(|error| error.to_string())?;
        }
        drop(answer);
        for _ in 0..self.senders.len() {
            self.ask(&answers)?;
        }
        self.leave(dice);
        self.session.begin_again();
        (self.assigned, self.is_whole) = (Assigned::default(), false);
        self.turn = Turn::default();
        self.connect();
        Ok(())
    }

    /// What is on its way arrives or not, and the partitions are free.
    fn leave(&self, dice: &mut Dice) {
        let Session { broker, producer, member, .. } = &self.session;
        let count = dice.index(producer.on_the_way() + 1);
        producer.arrive(broker, count, dice.below(2) == 0);
        producer.end(broker);
        let mut topics = broker.lock();
        topics.owners.iter_mut().filter(|of| **of == Some(*member)).for_each(|of| *of = None);
    }
}

/// Runs a seed.
pub(crate) fn run(character: &Character, keeps_trace: bool) -> Ran {
    let outlet = || Outlet::new(character.input, character.mode);
    let mut world = World {
        character: *character,
        dice: Dice::new(character.seed),
        broker: Broker::new(
            character.exactly_once,
            character.faults.has(Fault::Compaction),
            versions(character),
        ),
        outlets: (0..MEMBERS).map(|_| outlet()).collect(),
        members: (0..MEMBERS).map(|_| None).collect(),
        disks: (0..MEMBERS).map(|_| SimulatedDisk::default()).collect(),
        turns: 0,
        trace: Trace::new(keeps_trace),
    };
    for outlet in &world.outlets {
        outlet.lock().complete = character.complete();
    }
    world.trace.note(0, format_args!("{character:?}"));
    if let Err(failure) = world.live() {
        world.outlets[0].lock().violate(failure);
    }
    let violation = world.violation();
    let hash = world
        .outlets
        .iter()
        .fold(world.trace.hash, |hash, outlet| hash.rotate_left(7) ^ outlet.lock().hash);
    let Trace { lines, faults, .. } = world.trace;
    Ran { violation, hash, trace: lines, faults }
}

impl World {
    fn has(&mut self, fault: Fault, thousandths: u64) -> bool {
        let roll = self.dice.below(1000);
        self.character.faults.has(fault) && roll < thousandths
    }

    fn violation(&self) -> Option<String> {
        let of_broker = self.broker.lock().violation.clone();
        of_broker.or_else(|| self.outlets.iter().find_map(|of| of.lock().violation.clone()))
    }

    fn live(&mut self) -> Result<(), String> {
        for _ in 0..2 * self.character.turns {
            self.turn()?;
            if self.violation().is_some() {
                return Ok(());
            }
        }
        self.trace.note(self.turns, format_args!("calm"));
        self.character.faults = Faults(0);
        let mut topics = self.broker.lock();
        (topics.answer_lost, topics.asks_again) = (false, false);
        drop(topics);
        for _ in 0..20_000 {
            self.turn()?;
            if self.violation().is_some() {
                return Ok(());
            }
            if self.broker.is_all_committed() {
                let has_adopted = self.broker.lock().has_adopted;
                let mut judge = self.outlets[0].lock();
                judge.has_adopted = has_adopted;
                judge.set_durable(self.broker.output());
                judge.judge_completeness(self.character.exactly_once);
                return Ok(());
            }
        }
        let committed = self.broker.lock().committed.clone();
        Err(format!("I6: not everything is committed: {committed:?}"))
    }

    fn turn(&mut self) -> Result<(), String> {
        self.turns += 1;
        self.share_out()?;
        self.strike()?;
        let index = self.dice.index(MEMBERS);
        let delivery = delivery(&self.character);
        let Some(member) = &mut self.members[index] else {
            if self.dice.below(6) == 0 || self.character.faults == Faults(0) {
                let kept = (&self.outlets[index], &self.disks[index]);
                let sheds = self.character.sheds() && self.dice.below(2) == 0;
                let member = Member::start(&self.character, &self.broker, kept, index, sheds)?;
                self.members[index] = Some(member);
                self.trace.note(self.turns, format_args!("member {index} begins"));
            }
            return Ok(());
        };
        let dice = &mut self.dice;
        let done = match dice.below(8) {
            0..=2 => {
                if !member.engine.turn(dice) {
                    return Err("a shard has failed".to_owned());
                }
                Ok(())
            }
            3 => {
                let count = dice.index(6);
                let owners = &self.broker.lock().owners;
                let is_lost = |of: &Reading| owners[of.id.0 as usize] != Some(index);
                // What a poll says of a group that has gone on without this member.
                match member.assigned.iter().any(is_lost) && dice.below(4) == 0 {
                    true => Err(SessionError::Retry("the partitions are lost".to_owned())),
                    false => member.poll(dice, count),
                }
            }
            4 => {
                // Now and then everything, or the broker would always be behind.
                let count = if dice.below(3) == 0 { usize::MAX } else { dice.index(6) };
                member.session.producer.arrive(&self.broker, count, dice.below(2) == 0);
                Ok(())
            }
            5 if dice.below(3) == 0 => {
                let stores = !self.character.stores_less_often || dice.below(3) == 0;
                member.begin_commit(delivery, stores)
            }
            _ => member.step_commit(),
        };
        member.engine.judge(&member.outlet);
        if let Err(error) = done {
            self.trace.note(self.turns, format_args!("member {index}: {error:?}"));
            self.members[index].as_mut().expect("it ran").begin_again(&mut self.dice)?;
        }
        Ok(())
    }

    /// Gives partitions without an owner to members that run.
    fn share_out(&mut self) -> Result<(), String> {
        for partition in 0..SYMBOLS.len() {
            if self.broker.lock().owners[partition].is_some() {
                continue;
            }
            let running: Vec<_> =
                (0..MEMBERS).filter(|index| self.members[*index].is_some()).collect();
            if running.is_empty() {
                return Ok(());
            }
            let owner = self.dice.pick(&running);
            let member = self.members[owner].as_mut().expect("it runs");
            let id = PartitionId(partition as u32);
            // One that was expelled has not heard of it yet, and gets nothing before it has.
            if member.assigned.iter().any(|reading| reading.id == id) {
                continue;
            }
            self.broker.lock().owners[partition] = Some(owner);
            let assigned = member.assign(partition);
            let what = format_args!("member {owner} gets {partition}: {assigned:?}");
            self.trace.note(self.turns, what);
            if assigned.is_err() {
                member.begin_again(&mut self.dice)?;
            }
        }
        Ok(())
    }

    fn strike(&mut self) -> Result<(), String> {
        let index = self.dice.index(MEMBERS);
        let delivery = delivery(&self.character);
        if self.has(Fault::Kill, 8) {
            if let Some(member) = self.members[index].take() {
                member.leave(&mut self.dice);
                self.trace.fault(self.turns, format_args!("member {index} is killed"));
            }
        } else if self.has(Fault::Restart, 6) {
            if let Some(mut member) = self.members[index].take() {
                let ended = member.commit_now(delivery);
                member.leave(&mut self.dice);
                self.trace.fault(self.turns, format_args!("member {index} ends: {ended:?}"));
            }
        } else if self.has(Fault::Rebalance, 12) {
            self.rebalance(index, delivery)?;
        } else if self.character.has_shadow && self.has(Fault::Promote, 12) {
            self.promote(index)?;
        } else if self.has(Fault::Broker, 12) {
            let what = self.dice.below(4);
            let mut topics = self.broker.lock();
            match what {
                0 => topics.answer_lost = true,
                1 | 2 => topics.asks_again = true,
                _ => {
                    drop(topics);
                    if let Some(member) = &self.members[index] {
                        member.session.producer.fail();
                    }
                }
            }
            self.trace.fault(self.turns, format_args!("broker: {what} for member {index}"));
        }
        Ok(())
    }

    /// One of the two entries is promoted on a member, whose process may end in the middle.
    fn promote(&mut self, index: usize) -> Result<(), String> {
        let name = self.dice.pick(&[NOW, NEXT]);
        let dies = (self.dice.below(4) == 0).then(|| self.dice.between(1, 3));
        let Some(member) = &mut self.members[index] else { return Ok(()) };
        // The shards answer nothing while what a transaction holds is not acknowledged.
        if let Err(error) = member.finish_commit() {
            self.trace.note(self.turns, format_args!("member {index}: {error:?}"));
            return member.begin_again(&mut self.dice);
        }
        let mut judge = member.outlet.lock();
        let before = judge.live.take();
        judge.live_next = if before == Some(name) { vec![name] } else { vec![NOW, NEXT] };
        drop(judge);
        let outcome = member.promote(name, dies);
        let is_known = judge_promotion(&member.outlet, name, &outcome);
        let is_over = !is_known || member.engine.shards.is_empty();
        self.trace.fault(self.turns, format_args!("{name} on member {index}: {outcome:?}"));
        if is_over && let Some(member) = self.members[index].take() {
            member.leave(&mut self.dice);
        }
        Ok(())
    }

    /// Moves a partition with its owner's help, or all of an owner's without a word.
    fn rebalance(&mut self, index: usize, delivery: Delivery) -> Result<(), String> {
        if self.dice.below(3) == 0 {
            let mut topics = self.broker.lock();
            topics.owners.iter_mut().filter(|of| **of == Some(index)).for_each(|of| *of = None);
            drop(topics);
            self.trace.fault(self.turns, format_args!("member {index} is expelled"));
            return Ok(());
        }
        let partition = self.dice.index(SYMBOLS.len());
        let owner = self.broker.lock().owners[partition];
        let Some(owner) = owner else { return Ok(()) };
        let Some(member) = &mut self.members[owner] else { return Ok(()) };
        let revoked = member.revoke(partition, delivery);
        self.trace.fault(self.turns, format_args!("{owner} gives {partition} away: {revoked:?}"));
        match revoked {
            Ok(()) => self.broker.lock().owners[partition] = None,
            Err(_) => member.begin_again(&mut self.dice)?,
        }
        Ok(())
    }
}
