//! Where history comes from, by a source in memory that has some.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::*;
use crate::app::config::parse;
use crate::core::domain::{DurationNanos, Symbol};
use crate::core::history::HistoryFrom;
use crate::engine::model::manifest::{Mode, StepKind, StepSpec};
use crate::engine::test_support::{Weights, draft, manifest};
use crate::intake::WhenFull;
use crate::ports::history::{Failed, Request, Rows, RowsLimit};
use crate::ports::input::InputIdentity;
use crate::ports::source::{Source, SourceFacts, SourceSettings};
use crate::shard::command::Command;

/// A live feed beside an interface that has bars of these lengths.
#[derive(Clone, Debug)]
struct Feed {
    /// In seconds, the longest first; `None` where there is no interface.
    lengths: Option<Vec<i64>>,
    symbols: usize,
    /// Whether bars have a price.
    has_price: bool,
    limit: Option<RowsLimit>,
}

struct Bars {
    lengths: Vec<i64>,
    has_price: bool,
    limit: Option<RowsLimit>,
}

fn seconds(count: i64) -> DurationNanos {
    DurationNanos::from_seconds(count).unwrap()
}

impl HistorySource for Bars {
    fn from(&self) -> HistoryFrom {
        HistoryFrom::Rest
    }

    fn serves(&self, kind: RowKind) -> Result<String, String> {
        match kind {
            RowKind::Bars(length) if self.lengths().contains(&length) => {
                Ok(format!("{} of a venue", row_words(kind)))
            }
            other => Err(format!("the venue has no {}", row_words(other))),
        }
    }

    fn lengths(&self) -> Vec<DurationNanos> {
        self.lengths.iter().map(|length| seconds(*length)).collect()
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(500)
    }

    fn has_field(&self, name: &str) -> bool {
        name == "volume" || (self.has_price && name == "close")
    }

    fn rows_limit(&self) -> Option<RowsLimit> {
        self.limit
    }

    fn fetch(&self, _: Request) -> BoxFuture<'static, Result<Rows, Failed>> {
        unreachable!("nothing is asked for here")
    }
}

impl SourceSettings<Command> for Feed {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            when_full: WhenFull::DropOldest,
            may_drop: true,
            is_live: true,
            delivers_scores: false,
            commits: false,
            message_bytes_max: None,
        }
    }

    fn symbols(&self) -> Vec<Symbol> {
        (0..self.symbols).map(|number| Symbol::new(&format!("S{number}")).unwrap()).collect()
    }

    fn check(&self) -> Result<Vec<String>, Exit> {
        Ok(Vec::new())
    }

    fn identity(&self) -> Result<Option<InputIdentity>, Exit> {
        Ok(Some(InputIdentity::Feed([0; 32])))
    }

    fn open(&self, _: &SourceOpening<'_>) -> Result<Box<dyn Source<Command>>, Exit> {
        unreachable!("nothing is opened here")
    }

    fn history(&self, _: &SourceOpening<'_>) -> Result<Option<Arc<dyn HistorySource>>, Exit> {
        let Self { has_price, limit, .. } = *self;
        let bars = |lengths: &Vec<i64>| -> Arc<dyn HistorySource> {
            Arc::new(Bars { lengths: lengths.clone(), has_price, limit })
        };
        Ok(self.lengths.as_ref().map(bars))
    }
}

/// Bundles of models with these steps.
fn bundles(steps: &[StepSpec]) -> Vec<Bundle> {
    let of_step = |step: &StepSpec| {
        let mut manifest = manifest(&[Mode::Full]);
        manifest.step = step.clone();
        draft(manifest, Weights::default()).into_bundle().unwrap()
    };
    steps.iter().map(of_step).collect()
}

fn bars(seconds: u32) -> StepSpec {
    StepSpec { kind: StepKind::Time, ..StepSpec::record(seconds) }
}

/// A look with this section `[history]`.
fn looked(section: &str, feed: Feed, steps: &[StepSpec]) -> Look {
    let entries: String =
        (0..steps.len()).map(|at| format!("[[models]]\nname = 'm{at}'\n")).collect();
    let text = format!("[source]\nurl = 'ws://127.0.0.1:1'\n{entries}[history]\n{section}\n");
    let mut config = parse(&text).unwrap();
    config.source.settings = Arc::new(feed);
    let bundles = bundles(steps);
    look(&config, &bundles.iter().collect::<Vec<_>>())
}

fn feed(lengths: &[i64]) -> Feed {
    Feed { lengths: Some(lengths.to_vec()), symbols: 2, has_price: true, limit: None }
}

fn problems(look: &Look) -> Vec<String> {
    look.problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_lines_say_how_many_steps_and_from_where() {
    let look = looked("rest = true", feed(&[3600, 60]), &[bars(60)]);
    assert_eq!(problems(&look), [""; 0]);
    let expected = [
        "history       5 steps a symbol: window 3 + warm-up 1 + 1",
        "  rest        bars of 1 minute of a venue; 2 symbols at the start, others with their \
         first tick",
        "  live ticks  5 steps, where nothing else has them",
    ];
    assert_eq!((&*look.lines, look.note), (&expected.map(str::to_owned)[..], None));
    let look = looked("rest = true\nask = 'first_tick'\nsteps = 9", feed(&[60]), &[bars(60)]);
    let expected = [
        "history       9 steps a symbol: window 3 + warm-up 1 + 1, raised by history.steps",
        "  rest        bars of 1 minute of a venue; each symbol with its first tick",
        "  live ticks  5 steps, where nothing else has them",
    ];
    assert_eq!(look.lines, expected);
}

#[test]
fn the_longest_bars_are_asked_for_that_make_every_step() {
    let at = |lengths: &[i64], steps: &[StepSpec]| {
        let look = looked("rest = true", feed(lengths), steps);
        assert_eq!(problems(&look), [""; 0]);
        look.lines[1].split(" of a venue").next().unwrap().trim_start().to_owned()
    };
    assert_eq!(at(&[60, 20], &[bars(60), bars(300)]), "rest        bars of 1 minute");
    assert_eq!(at(&[3600, 60, 20], &[bars(300)]), "rest        bars of 1 minute");
    assert_eq!(at(&[300, 60], &[StepSpec::record(60), bars(300)]), "rest        bars of 1 minute");
}

#[test]
fn what_no_row_serves_is_refused_with_the_key_and_what_to_do() {
    let refused = |section: &str, feed: Feed, steps: &[StepSpec]| {
        let found = problems(&looked(section, feed, steps));
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let none = Feed { lengths: None, symbols: 0, ..feed(&[]) };
    let expected = "history.rest: the source has no [source.rest], so it has no history to ask \
                    for; use a venue that has it, describe [source.rest], or set history.rest = \
                    false";
    assert_eq!(refused("rest = true", none, &[bars(60)]), expected);
    // A record is a step as it is: shorter bars do not serve.
    let expected = "history.rest: the models need bars of 1 hour: the venue has no bars of 1 hour; \
                    set history.rest = false to go without";
    assert_eq!(refused("rest = true", feed(&[60]), &[StepSpec::record(3600)]), expected);
    assert_eq!(refused("rest = true", feed(&[86_400, 7200]), &[bars(3600)]), expected);
    let two = [StepSpec::record(60), StepSpec::record(3600)];
    let expected = "history.rest: no bars of one length make the steps of every model: `m0` (every \
                    tick is a step, 1 minute after the one before), `m1` (every tick is a step, 1 \
                    hour after the one before); bars serve a model of whole records of exactly \
                    their length, and models of time bars whose length and offset they divide; set \
                    history.rest = false, or give the models daemons of their own";
    assert_eq!(refused("rest = true", feed(&[60]), &two), expected);
    let expected = "history.rest: the model `null` reads `close`, which rest.mapping does not give \
                    its rows; map it there, or set history.rest = false";
    let short = "rest = true\n[backfill]\nwait_ms = 500";
    let too_short = "backfill.wait_ms: 500 ms are no longer than the 500 ms of rest.settle_ms, so \
                     every hole is too late; raise it, or set backfill.enabled = false";
    assert_eq!(refused(short, feed(&[60]), &[bars(60)]), too_short);
    let off = looked(&format!("{short}\nenabled = false"), feed(&[60]), &[bars(60)]);
    assert_eq!(problems(&off), [""; 0]);
    let priceless = || Feed { has_price: false, ..feed(&[60]) };
    assert_eq!(refused("rest = true", priceless(), &[bars(60)]), expected);
    assert_eq!(looked("rest = false", priceless(), &[bars(60)]).note, None);
    let expected = "history.steps: 4 are fewer than the 5 that the models need (window 3 + \
                    warm-up 1 + 1); leave history.steps out, or raise it";
    assert_eq!(refused("steps = 4", feed(&[60]), &[bars(60)]), expected);
}

#[test]
fn more_rows_than_one_question_gives_are_refused_or_pointed_out() {
    let at = |section: &str, rows, key, step: StepSpec| {
        let limit = Some(RowsLimit { rows, key });
        let section = format!("rest = true\n{section}");
        let look = looked(&section, Feed { limit, ..feed(&[60]) }, &[step]);
        (problems(&look), look.note)
    };
    let key = Some("source.rest.pages_max");
    // Five steps, and one interval for where the newest one is.
    assert_eq!(at("", 6, key, bars(60)), (vec![], None));
    let expected = "history.rest: a window takes 6 rows, and the source gives at most 5 for one \
                    question; raise source.rest.pages_max";
    assert_eq!(at("", 5, key, bars(60)), (vec![expected.to_owned()], None));
    let expected = "history.rest: a window takes 30 rows, and the source gives at most 29 for one \
                    question; raise source.rest.pages_max";
    assert_eq!(at("", 29, key, bars(300)), (vec![expected.to_owned()], None));
    let note = "a window takes 6 rows, and the source has only its newest 5: each symbol begins \
                with those, and live ticks fill the rest of its window";
    assert_eq!(at("", 5, None, bars(60)), (vec![], Some(note.to_owned())));
    assert_eq!(at("steps = 50", 5, None, bars(60)), (vec![], Some(note.to_owned())));
    for (key, words) in [(None, ""), (key, ", or raise source.rest.pages_max")] {
        let expected = format!(
            "history.steps: 50 steps take 60 rows, and the source gives at most 59 for one \
             question; lower history.steps{words}"
        );
        assert_eq!(at("steps = 50", 59, key, bars(60)), (vec![expected], None));
        assert_eq!(at("steps = 50", 60, key, bars(60)), (vec![], None));
    }
}

#[test]
fn a_venue_that_is_not_asked_is_pointed_out() {
    let look = looked("rest = false", feed(&[60]), &[bars(60)]);
    let note = "the venue has history (bars of 1 minute of a venue); set history.rest = true to \
                begin warm";
    assert_eq!((look.note.as_deref(), problems(&look).len()), (Some(note), 0));
    assert_eq!(
        looked("rest = false", feed(&[]), &[bars(60)]).note,
        None,
        "it has none that serves"
    );
    let none = Feed { lengths: None, ..feed(&[]) };
    assert_eq!(looked("rest = false", none, &[bars(60)]).note, None);
}
