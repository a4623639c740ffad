//! `tickcast train --search`: the same result whether it was stopped or not, and a test part that
//! nothing is chosen by.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tickcast::train::config;
use tickcast::train::job::Job;
use tickcast::train::search::{
    self, Event, Outcome, PAGE_FILE, RESULT_FILE, Search, SearchResult, TRIALS_FILE, TrialRecord,
    WINNER_FILE, Wish,
};

use super::support::process::run;
use super::support::runtime;

/// Days of two symbols.
fn prices(days: u32, change: impl Fn(u32, f64) -> f64) -> String {
    let mut csv = "symbol,time,close\n".to_owned();
    for day in 0..days {
        for (symbol, phase) in [("A", 0.0), ("B", 1.3)] {
            let at = f64::from(day) * 0.21 + phase;
            let close = change(day, 80.0 + 6.0 * at.sin() + 3.0 * (at * 2.7).cos());
            let date = format!("{}-{:02}-{:02}", 2001 + day / 336, 1 + day / 28 % 12, 1 + day % 28);
            csv += &format!("{symbol},{date},{close}\n");
        }
    }
    csv
}

/// A history of 500 days, a configuration over it, and a search over that.
struct Case {
    folder: TempDir,
}

impl Case {
    fn new(history: &str, more: &str) -> Self {
        let case = Self { folder: TempDir::new().unwrap() };
        fs::write(case.path("prices.csv"), history).unwrap();
        let text = "model.name = 'size'\nmodel.root = 'models'\ndata.path = 'prices.csv'\n\
             window.steps = 5\nwindow.features = ['absolute_return', 'change']\n\
             target.kind = 'next_volatility'\n\
             network.lstm = [{ units = 4, dropout = 0.1 }]\n\
             network.dense = [{ units = 1, activation = 'linear' }]\n\
             fit.epochs_max = 4\nfit.work = 'work'\nfit.learning_rate = 0.01\n\
             report.folder = ''\nforecast.buy_above = 0.03\nforecast.sell_below = 0.005\n";
        fs::write(case.path("train.toml"), text).unwrap();
        let text = format!(
            "config = 'train.toml'\ntrials_max = 4\nfolds = 2\noutput = 'searches'\n{more}\n\
             [halving]\nreduction = 2\nepochs_min = 2\n\
             [[space]]\nkey = 'window.steps'\nchoices = [3, 5, 9]\n\
             [[space]]\nkey = 'window.features'\n\
             choices = [['absolute_return', 'change'], ['absolute_return', 'ema_gap(20)']]\n\
             [[space]]\nkey = 'network.lstm[0].units'\nrange = [2, 8]\n\
             [[space]]\nkey = 'fit.learning_rate'\nlog_range = [1e-3, 1e-1]\n"
        );
        fs::write(case.path("search.toml"), text).unwrap();
        case
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn search(&self) -> Search {
        Search::prepare(search::load(&self.path("search.toml")).unwrap()).unwrap()
    }

    /// Runs a search until `wish` says otherwise, which is asked with the count of trials that
    /// have begun; with it come the trials that were judged on the test part.
    fn run(&self, output: &str, wish: impl Fn(usize) -> Wish) -> (Outcome, Vec<usize>) {
        let (mut begun, mut untouched) = (0, Vec::new());
        let mut observer = |event: Event<'_>| match event {
            Event::Begins { .. } => {
                let wish = wish(begun);
                begun += 1;
                wish
            }
            Event::Untouched { trial } => {
                untouched.push(trial);
                Wish::GoOn
            }
            _ => Wish::GoOn,
        };
        let outcome = self.search().run(&self.path(output), runtime(), &mut observer).unwrap();
        (outcome, untouched)
    }
}

fn bytes(folder: &Path) -> Vec<Vec<u8>> {
    let files = [TRIALS_FILE, RESULT_FILE, WINNER_FILE, PAGE_FILE];
    files.iter().map(|name| fs::read(folder.join(name)).unwrap()).collect()
}

/// The lines of the trials without what the search is.
fn trials(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join(TRIALS_FILE)).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn a_search_that_was_stopped_gives_the_bytes_of_one_that_was_not() {
    let case = Case::new(&prices(500, |_, close| close), "");
    let (whole, untouched) = case.run("whole", |_| Wish::GoOn);
    let result = whole.result.clone().unwrap();
    // Four trials with two epochs, of which two and the first go on.
    let rung = |rung: usize| -> Vec<usize> {
        let of_rung = whole.trials.iter().filter(|record| record.rung == rung);
        of_rung.map(|record| record.trial).collect()
    };
    assert_eq!(rung(1), [1, 2, 3, 4]);
    assert!(rung(2).len() <= 3 && rung(2).contains(&1), "{:?}", rung(2));
    assert!(whole.trials.iter().all(|record| record.epochs_max == 2 * record.rung));
    assert_eq!((result.trials, result.failed, result.is_cut), (4, 0, false));

    // The winner is the best of the last rung, and the only one but the first on the test part.
    let loss = |record: &TrialRecord| record.figures.as_ref().unwrap().loss;
    let last = whole.trials.iter().filter(|record| record.rung == 2);
    let best = last.min_by(|a, b| loss(a).total_cmp(&loss(b))).unwrap();
    assert_eq!(result.winner, *best);
    let expected = if best.trial == 1 { vec![1] } else { vec![best.trial, 1] };
    assert_eq!(untouched, expected);

    // Every trial has judged the same forecasts, whatever its window and features need.
    let counts: Vec<Vec<usize>> = whole
        .trials
        .iter()
        .map(|record| {
            record.figures.as_ref().unwrap().folds.iter().map(|fold| fold.forecasts).collect()
        })
        .collect();
    assert!(counts.iter().all(|folds| *folds == counts[0] && folds.len() == 2), "{counts:?}");

    // Stopped after each number of trials: what is done stays, and the test part is untouched.
    for stop in 1..5 {
        let folder = format!("stopped-{stop}");
        let (stopped, untouched) =
            case.run(&folder, |begun| if begun < stop { Wish::GoOn } else { Wish::Stop });
        assert_eq!((stopped.result, stopped.trials.len()), (None, stop));
        assert_eq!(untouched, [0; 0]);
        assert!(!case.path(&folder).join(RESULT_FILE).exists());
        let (resumed, _) = case.run(&folder, |_| Wish::GoOn);
        assert_eq!(resumed.result.as_ref(), Some(&result));
        assert!(bytes(&case.path(&folder)) == bytes(&case.path("whole")), "{stop}");
    }

    // Stopped before the test part.
    let mut observer = |event: Event<'_>| match event {
        Event::Untouched { .. } => Wish::Stop,
        _ => Wish::GoOn,
    };
    let folder = case.path("chosen");
    let chosen = case.search().run(&folder, runtime(), &mut observer).unwrap();
    assert_eq!((chosen.result, chosen.trials), (None, whole.trials.clone()));
    assert!(!folder.join(RESULT_FILE).exists());

    // What is judged is not judged again.
    let (again, untouched) = case.run("whole", |_| panic!("a trial begins"));
    assert_eq!((again.result, untouched), (whole.result, Vec::new()));
}

#[test]
fn no_trial_sees_the_test_part_and_the_winners_file_gives_what_was_judged() {
    let case = Case::new(&prices(500, |_, close| close), "");
    let (outcome, _) = case.run("one", |_| Wish::GoOn);
    let (test_from, _) = case.search().cuts();
    let result = outcome.result.unwrap();
    assert_eq!(result.test_from, test_from);
    // A fifth of 500 days is the test part.
    let other = Case::new(&prices(500, |day, close| if day < 405 { close } else { 100.0 }), "");
    let (changed, _) = other.run("one", |_| Wish::GoOn);
    assert_eq!(trials(&other.path("one")), trials(&case.path("one")));
    let changed = changed.result.unwrap();
    assert_eq!(changed.winner, result.winner);
    assert_ne!(changed.untouched, result.untouched);

    // From another folder, by the command's own way.
    let winner = TempDir::new().unwrap();
    let path = winner.path().join("winner.toml");
    fs::copy(case.path("one").join(WINNER_FILE), &path).unwrap();
    let job = Job::prepare(config::load(&path).unwrap()).unwrap();
    let trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
    let test = &trained.assessment.test.figures;
    assert_eq!(test.root_mean_squared_error, result.untouched.root_mean_squared_error);
    assert_eq!(test.forecasts, result.untouched.forecasts);
    let page = fs::read_to_string(case.path("one").join(PAGE_FILE)).unwrap();
    assert!(page.contains("Loss by network.lstm[0].units"), "{page}");
}

#[test]
fn the_time_limit_chooses_among_what_is_done() {
    let case = Case::new(&prices(500, |_, close| close), "method = 'random'");
    let (cut, untouched) =
        case.run("cut", |begun| if begun < 2 { Wish::GoOn } else { Wish::TimeIsUp });
    let result = cut.result.unwrap();
    assert_eq!((result.trials, result.is_cut, cut.trials.len()), (2, true, 2));
    assert_eq!(untouched.first(), Some(&result.winner.trial));
    assert!(cut.trials.iter().all(|record| record.epochs_max == 4), "random has all epochs");
}

#[test]
fn the_command_searches_seals_and_has_a_control_that_finds_nothing() {
    let case = Case::new(&prices(500, |_, close| close), "seal = true");
    let file = case.path("search.toml").display().to_string();
    let output = run(&["train", "--search", &file]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = text.clone() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(text.contains("is the best of 4 configurations on the folds"), "{said}");
    let manifest = fs::read_to_string(case.path("models/size/1/manifest.json")).unwrap();
    assert!(manifest.contains("It is the best of 4 configurations on folds"), "{manifest}");

    let output = run(&["train", "--search", &file, "--random-target"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let result = fs::read(case.path("searches/size-random-target").join(RESULT_FILE)).unwrap();
    let result: SearchResult = serde_json::from_slice(&result).unwrap();
    let untouched = &result.untouched;
    let is_better = untouched.p_value < 0.05 && untouched.skill_95[0] > 0.0;
    assert!(!is_better, "{untouched:?}");
    assert!(!case.path("models/size/2").exists(), "a control is not sealed");

    // Another space in the same folder is another search.
    let wider = fs::read_to_string(&file).unwrap().replace("[3, 5, 9]", "[3, 5, 7]");
    fs::write(&file, wider).unwrap();
    let output = run(&["train", "--search", &file]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("holds another search"), "{said}");
}
