//! What a run is like, and what goes wrong in it: all by its seed.

use tickcast::engine::model::manifest::Mode;

use crate::dice::Dice;
use crate::model::{NEXT, NOW};

/// A kind of fault. A run has some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Fault {
    /// The process ends, and what the system has taken stays.
    Kill,
    /// The machine ends, and what was not waited for is lost or torn.
    PowerFailure,
    /// The process is asked to end, and begins again.
    Restart,
    /// The disk is full, or refuses a step, for a while; the sink does not settle.
    Disk,
    /// Frames are lost.
    Loss,
    /// Frames come twice, late, or in another order.
    Disorder,
    /// Connections end, stall, or are not made.
    Disconnect,
    /// Another version of the model is put in place, good or bad.
    Reload,
    /// The wall clock is set.
    ClockStep,
    /// The shards are slow, so that queues are full.
    Slow,
    /// The group moves partitions to other instances.
    Rebalance,
    /// The broker is away, or refuses.
    Broker,
    /// A shadow becomes live, or the one before again.
    Promote,
    /// The changelog is compacted now and then.
    Compaction,
    /// The venue's history comes late, in parts or in the wrong order, or the venue refuses.
    History,
}

impl Fault {
    pub(crate) const ALL: [Self; 15] = [
        Self::Kill,
        Self::PowerFailure,
        Self::Restart,
        Self::Disk,
        Self::Loss,
        Self::Disorder,
        Self::Disconnect,
        Self::Reload,
        Self::ClockStep,
        Self::Slow,
        Self::Rebalance,
        Self::Broker,
        Self::Promote,
        Self::Compaction,
        Self::History,
    ];

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The kinds of faults of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faults(pub(crate) u32);

impl Faults {
    pub(crate) fn has(self, fault: Fault) -> bool {
        self.0 & fault.bit() != 0
    }

    pub(crate) fn without(self, fault: Fault) -> Self {
        Self(self.0 & !fault.bit())
    }
}

/// Where ticks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Feed,
    Recording,
    Kafka,
}

/// Where a daemon with a feed has history from, and how long it waits for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// A recording of what came before the world is streamed at each start.
    pub(crate) has_file: bool,
    /// The venue is asked.
    pub(crate) has_rest: bool,
    /// It has no useful answer: the run says what one without history says.
    pub(crate) never_answers: bool,
    pub(crate) asks_at_start: bool,
    /// How many ticks of a shard may wait for answers.
    pub(crate) ticks_max: usize,
    /// Whether the oldest of them is dropped where there are more; else its symbol goes on.
    pub(crate) drops_oldest: bool,
    pub(crate) fill_wait_ms: u64,
}

impl History {
    fn new(dice: &mut Dice) -> Self {
        let kind = dice.below(8);
        Self {
            has_file: kind >= 5,
            has_rest: kind != 5,
            never_answers: kind <= 1,
            asks_at_start: dice.below(2) == 0,
            ticks_max: dice.pick(&[2, 100, 100]),
            drops_oldest: dice.below(2) == 0,
            fill_wait_ms: dice.pick(&[1000, 4000, 4000]),
        }
    }
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Character {
    pub(crate) seed: u64,
    pub(crate) input: Input,
    pub(crate) shards: usize,
    pub(crate) drain_max: usize,
    pub(crate) queue_max: usize,
    pub(crate) drops_oldest: bool,
    pub(crate) mode: Mode,
    pub(crate) exactly_once: bool,
    pub(crate) faults: Faults,
    /// A shadow runs beside the live model.
    pub(crate) has_shadow: bool,
    /// In some lives the shadow says nothing of what came in batches.
    pub(crate) sheds: bool,
    /// Some commits of a group store no states.
    pub(crate) stores_less_often: bool,
    /// How many things happen before the weather is calm.
    pub(crate) turns: u64,
    /// Of a feed alone.
    pub(crate) history: Option<History>,
}

impl Character {
    /// Whether the shadow may be late. A run without one is not changed by what shadows do.
    pub(crate) fn sheds(&self) -> bool {
        self.has_shadow && self.sheds
    }

    /// The entries that say everything.
    pub(crate) fn complete(&self) -> Vec<&'static str> {
        match (self.has_shadow, self.sheds) {
            (false, _) => vec![NOW],
            (true, false) => vec![NOW, NEXT],
            (true, true) => Vec::new(),
        }
    }

    pub(crate) fn new(seed: u64) -> Self {
        let dice = &mut Dice::new(seed ^ 0x5eed);
        // About half of the kinds, so that no fault hides behind another in every run.
        let faults = Faults((dice.roll() | dice.roll() & dice.roll()) as u32);
        let inputs = [Input::Feed, Input::Recording, Input::Kafka];
        let input = dice.pick(&inputs);
        let character = Self {
            seed,
            input,
            shards: dice.pick(&[1, 2, 2, 3]),
            drain_max: dice.pick(&[1, 3, 64]),
            queue_max: dice.pick(&[5, 12, 100]),
            drops_oldest: input == Input::Feed && dice.below(2) == 0,
            mode: dice.pick(&[Mode::Sliding, Mode::Full]),
            exactly_once: dice.below(2) == 0,
            faults,
            turns: dice.between(80, 400),
            has_shadow: dice.below(2) == 0,
            sheds: dice.below(4) == 0,
            history: (input == Input::Feed && dice.below(2) == 0).then(|| History::new(dice)),
            stores_less_often: dice.below(2) == 0,
        };
        character.comparable()
    }

    /// Without what depends on when a record is taken, where the run is compared with another one.
    fn comparable(self) -> Self {
        if !self.history.is_some_and(|history| history.never_answers) {
            return self;
        }
        let times = [Fault::Reload, Fault::Promote, Fault::ClockStep];
        let faults = times.into_iter().fold(self.faults, Faults::without);
        let ticks_max = 100;
        let history = self.history.map(|history| History { ticks_max, ..history });
        Self { faults, history, drops_oldest: false, ..self }
    }
}
