//! Tests of the task, on a clock that moves on only while every task waits.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::core::domain::{DurationNanos, Symbol, UnixNanos};
use crate::core::history::{HistoryFrom, RowKind, Span};
use crate::intake::{Arrival, IntakeReceiver, IntakeSender};
use crate::ops::clock::TimerStopwatch;
use crate::ports::history::{Desk, Request, Want};
use crate::shard::test_support::queue;

/// A source that gives these answers one after the other; after the last one it hangs.
struct Script {
    answers: Mutex<Vec<Result<Rows, Failed>>>,
    asked: AtomicUsize,
    under_way: Arc<AtomicUsize>,
}

impl Script {
    fn new(answers: impl IntoIterator<Item = Result<Rows, Failed>>) -> Arc<Self> {
        let mut answers: Vec<_> = answers.into_iter().collect();
        answers.reverse();
        let (asked, under_way) = (AtomicUsize::new(0), Arc::default());
        Arc::new(Self { answers: Mutex::new(answers), asked, under_way })
    }
}

/// Counts itself while it lives.
struct UnderWay(Arc<AtomicUsize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl HistorySource for Script {
    fn from(&self) -> HistoryFrom {
        HistoryFrom::Rest
    }

    fn serves(&self, _: RowKind) -> Result<String, String> {
        Ok("a script".to_owned())
    }

    fn fetch(&self, _: Request) -> BoxFuture<'static, Result<Rows, Failed>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = UnderWay(Arc::clone(&self.under_way));
        let answer = self.answers.lock().unwrap().pop();
        Box::pin(async move {
            let _under_way = under_way;
            match answer {
                Some(answer) => answer,
                None => pending().await,
            }
        })
    }
}

struct Trial {
    desk: Desk,
    _intake: IntakeSender<Command>,
    shard: IntakeReceiver<Command>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    clock: TimerStopwatch,
}

impl Trial {
    fn new(source: &Arc<Script>) -> Self {
        let clock = TimerStopwatch::start();
        let (desk, asks) = Desk::new(4);
        let (intake, shard) = queue(100);
        let settings =
            HistorianSettings { requests_at_once: 2, rest_max: Duration::from_secs(60), seed: 1 };
        let time = HistorianTime::of(Arc::new(move || clock.elapsed()));
        let sources: Vec<Arc<dyn HistorySource>> = vec![Arc::<Script>::clone(source)];
        let shards = vec![intake.commander()];
        let historian = Historian::new(sources, asks, shards, settings, time);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(historian.run(stopped));
        Self { desk, _intake: intake, shard, stop, task, clock }
    }

    fn ask(&self, number: u64, is_hole: bool, within: Duration) {
        let want = if is_hole {
            let [from, to] = [0, 60].map(UnixNanos::from_nanos);
            Want::Between(Span { from, to })
        } else {
            Want::Newest { before: None, rows: 5 }
        };
        let kind = RowKind::Bars(DurationNanos::from_seconds(60).unwrap());
        let request = Request { symbol: Symbol::new("A").unwrap(), kind, are_parts: false, want };
        let until = self.clock.elapsed() + within;
        self.desk.ask(Ask { shard: 0, number, request, is_hole, until }).unwrap();
    }

    /// The next answer, and how long it took.
    async fn answer(&self) -> (u64, Result<Rows, Failed>, Duration) {
        let begun = self.clock.elapsed();
        loop {
            let mut batch = Vec::new();
            self.shard.drain_within(&mut batch, 1, Some(Duration::ZERO));
            match batch.pop() {
                Some(Arrival::Command(Command::History { number, answer })) => {
                    return (number, answer, self.clock.elapsed() - begun);
                }
                Some(_) => panic!("nothing else is said"),
                None => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

const SOON: Duration = Duration::from_millis(100);

/// Whether an answer came when it was still of use, although barely.
fn is_just_before(until: Duration, took: Duration) -> bool {
    took < until && took + ANSWER_BEFORE_MAX + SOON > until
}

fn rows() -> Rows {
    Rows { rows: Vec::new(), is_complete: true }
}

fn away() -> Result<Rows, Failed> {
    Err(Failed::Away("away".to_owned()))
}

#[tokio::test(start_paused = true)]
async fn a_question_is_answered_with_its_number() {
    let source = Script::new([Ok(rows()), Err(Failed::Refused("unknown".to_owned()))]);
    let trial = Trial::new(&source);
    for (number, expected) in [(7, Ok(rows())), (8, Err(Failed::Refused("unknown".to_owned())))] {
        trial.ask(number, true, Duration::from_secs(2));
        let (answered, answer, took) = trial.answer().await;
        assert_eq!((answered, answer), (number, expected));
        assert!(took < SOON, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_hangs_costs_some_holes_their_wait_and_the_next_one_nothing() {
    let source = Script::new([]);
    let trial = Trial::new(&source);
    let wait = Duration::from_secs(2);
    trial.ask(1, true, wait);
    let (number, answer, took) = trial.answer().await;
    assert_eq!((number, answer), (1, Err(Failed::Late)));
    assert!(is_just_before(wait, took), "{took:?}");
    assert_eq!(source.under_way.load(Ordering::Relaxed), 0, "the request was dropped");
    for number in [2, 3] {
        trial.ask(number, true, wait);
        let (answered, _, took) = trial.answer().await;
        assert!(answered == number && is_just_before(wait, took), "{took:?}");
    }
    trial.ask(4, true, wait);
    let (number, _, took) = trial.answer().await;
    assert!(number == 4 && took < SOON, "{took:?}");
    assert_eq!(source.asked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_window_is_asked_for_again_until_its_deadline() {
    let source = Script::new([away(), away(), Ok(rows())]);
    let trial = Trial::new(&source);
    trial.ask(1, false, Duration::from_secs(600));
    let (_, answer, took) = trial.answer().await;
    assert_eq!(answer, Ok(rows()));
    assert!(took >= Duration::from_secs(2), "it rested twice: {took:?}");
    let source = Script::new((0..200).map(|_| away()));
    let trial = Trial::new(&source);
    trial.ask(1, false, Duration::from_secs(600));
    let (_, answer, took) = trial.answer().await;
    assert_eq!(answer, away(), "with the reason of the last attempt");
    assert!(is_just_before(Duration::from_secs(600), took), "{took:?}");
    let asked = source.asked.load(Ordering::Relaxed);
    assert!((5..60).contains(&asked), "asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn a_question_with_little_time_keeps_most_of_it() {
    let source = Script::new([]);
    let trial = Trial::new(&source);
    trial.ask(1, true, Duration::from_millis(20));
    let (_, answer, took) = trial.answer().await;
    assert_eq!(answer, Err(Failed::Late));
    assert!(took >= Duration::from_millis(17) && took <= Duration::from_millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_is_asked_of_a_source_at_once_than_may_be_and_no_more_waits() {
    let source = Script::new([]);
    let trial = Trial::new(&source);
    for number in 0..12 {
        trial.ask(number, false, Duration::from_secs(600));
        tokio::time::sleep(Duration::from_millis(10)).await;
        if number == 9 {
            break;
        }
    }
    // Two are out, four wait with the task, and four on the desk.
    assert_eq!(source.under_way.load(Ordering::Relaxed), 2);
    let request = Request {
        symbol: Symbol::new("A").unwrap(),
        kind: RowKind::Trades,
        are_parts: false,
        want: Want::Newest { before: None, rows: 1 },
    };
    let until = Duration::from_secs(600);
    assert!(trial.desk.ask(Ask { shard: 0, number: 99, request, is_hole: false, until }).is_err());
}

#[tokio::test(start_paused = true)]
async fn it_ends_at_a_stop_and_when_every_desk_is_gone() {
    let source = Script::new([]);
    let trial = Trial::new(&source);
    trial.ask(1, false, Duration::from_secs(600));
    tokio::time::sleep(SOON).await;
    assert_eq!(source.under_way.load(Ordering::Relaxed), 1);
    trial.stop.send(true).unwrap();
    trial.task.await.unwrap();
    assert_eq!(source.under_way.load(Ordering::Relaxed), 0);

    let trial = Trial::new(&source);
    drop(trial.desk);
    trial.task.await.unwrap();
}
