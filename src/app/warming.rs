//! Whether the history of symbols has come, as readiness, a notice and the log say it.
//!
//! Owns the condition and the notice `history`. Promises that a symbol whose history cannot be had
//! does not keep the daemon from being ready, and that readiness that was reached is not withdrawn
//! when history is asked for again later. Never asks a shard: the shards keep the counts that it
//! reads.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use crate::core::domain::Symbol;
use crate::ops::clock::Stopwatch;
use crate::ops::readiness::{Condition, Notice};
use crate::shard::{HistoryBoard, HistoryCounts};

/// How often the counts are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The least time between two log lines about progress.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// How many symbols the notice names.
const NAMED_MAX: usize = 5;

/// The watch over all symbols.
pub(super) struct WarmingWatch {
    board: HistoryBoard,
    view: View,
}

/// What is shown.
struct View {
    /// What waits for so many named symbols; `None` where nothing does, or no longer.
    waits: Option<(Condition, usize)>,
    notice: Notice,
    /// When the log said last how far warming is; `None` while nothing is asked for.
    logged: Option<Duration>,
}

impl WarmingWatch {
    /// A watch over the symbols of this board, which shows what could not be warmed in `notice`.
    /// The condition of `waits` is met when each of so many named symbols has its history, or
    /// cannot have it.
    pub(super) fn new(
        board: HistoryBoard,
        notice: Notice,
        waits: Option<(Condition, usize)>,
    ) -> Self {
        Self { board, view: View { waits, notice, logged: None } }
    }

    /// Looks until the runtime ends.
    pub(super) async fn run(mut self) {
        let clock = Stopwatch::start();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let (counts, cold) = (self.board.counts(), self.board.cold());
            self.view.show(clock.elapsed(), &counts, &cold);
        }
    }
}

impl View {
    /// Shows these counts, and some of the symbols that have no history.
    fn show(&mut self, now: Duration, counts: &HistoryCounts, cold: &[Symbol]) {
        self.wait(counts);
        self.show_cold(counts, cold);
        self.log(now, counts);
    }

    fn wait(&mut self, HistoryCounts { pending, cold, .. }: &HistoryCounts) {
        let Some((ready, all)) = &self.waits else { return };
        if *pending == 0 {
            ready.ready();
            self.waits = None;
        } else {
            let done = all.saturating_sub(*pending);
            let cold = if *cold > 0 { format!(" ({cold} cold)") } else { String::new() };
            ready.not_ready(format!("{done} of {all} symbols done{cold}"));
        }
    }

    /// Names the symbols that have no history, while there are any.
    fn show_cold(&self, counts: &HistoryCounts, named: &[Symbol]) {
        let HistoryCounts { asked, warm, cold, .. } = *counts;
        if cold == 0 {
            return self.notice.clear();
        }
        let named: Vec<_> = named.iter().take(NAMED_MAX).map(Symbol::as_str).collect();
        let more = match cold.saturating_sub(named.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let (all, named) = (asked + warm + cold, named.join(", "));
        self.notice.set(format!("{cold} of {all} symbols could not be warmed: {named}{more}"));
    }

    /// One line every ten seconds while history is on its way, and one at the end.
    fn log(&mut self, now: Duration, counts: &HistoryCounts) {
        let HistoryCounts { asked, warm, cold, ticks_waiting, .. } = *counts;
        match self.logged {
            None if asked == 0 => {}
            Some(_) if asked == 0 => {
                self.logged = None;
                info!(warm, cold, "warming is over: no symbol waits for its history");
            }
            Some(logged) if now < logged + LOG_EVERY => {}
            None | Some(_) => {
                self.logged = Some(now);
                info!(symbols = asked + warm + cold, warm, cold, asked, ticks_waiting, "warming");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::readiness::Readiness;

    fn view(readiness: &Readiness, is_required: bool) -> View {
        let notice = Notice::new("history");
        readiness.show(notice.clone());
        let waits = is_required.then(|| (readiness.condition("history"), 3));
        View { waits, notice, logged: None }
    }

    fn counts([pending, asked, warm, cold]: [usize; 4]) -> HistoryCounts {
        HistoryCounts { pending, asked, warm, cold, ticks_waiting: 0 }
    }

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::new(name).unwrap()).collect()
    }

    #[test]
    fn readiness_waits_for_an_outcome_of_each_symbol_and_is_not_withdrawn() {
        let readiness = Readiness::new();
        let mut view = view(&readiness, true);
        let mut show = |count, cold: &[&str]| {
            view.show(Duration::ZERO, &counts(count), &symbols(cold));
            (readiness.problems(), readiness.notices())
        };
        let waits = |count| vec![format!("history: {count} of 3 symbols done")];
        assert_eq!(show([3, 0, 0, 0], &[]), (waits(0), vec![]));
        assert_eq!(show([2, 2, 1, 0], &[]), (waits(1), vec![]));
        let notices = vec!["history: 1 of 3 symbols could not be warmed: B".to_owned()];
        assert_eq!(
            show([1, 1, 1, 1], &["B"]),
            (vec!["history: 2 of 3 symbols done (1 cold)".to_owned()], notices.clone())
        );
        assert_eq!(show([0, 0, 2, 1], &["B"]), (vec![], notices));
        // A later question, behind a long outage, withdraws nothing.
        assert_eq!(show([1, 1, 2, 0], &[]), (vec![], vec![]));
    }

    #[test]
    fn the_notice_names_some_of_many() {
        let readiness = Readiness::always("running");
        let names: Vec<_> = (0..8).map(|number| format!("S{number}")).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        view(&readiness, false).show(Duration::ZERO, &counts([0, 0, 1, 8]), &symbols(&names));
        let expected = "history: 8 of 9 symbols could not be warmed: S0, S1, S2, S3, S4 and 3 more";
        assert_eq!(readiness.notices(), [expected]);
        assert_eq!(readiness.problems(), [""; 0]);
    }

    #[test]
    fn progress_is_logged_every_ten_seconds_and_its_end_once() {
        let readiness = Readiness::always("running");
        let mut view = view(&readiness, false);
        let mut show = |seconds, asked| {
            view.log(Duration::from_secs(seconds), &counts([0, asked, 1, 0]));
            view.logged.map(|logged| logged.as_secs())
        };
        assert_eq!(show(1, 0), None);
        assert_eq!(show(2, 1), Some(2));
        assert_eq!(show(11, 1), Some(2), "too soon");
        assert_eq!(show(12, 1), Some(12));
        assert_eq!(show(13, 0), None);
    }
}
