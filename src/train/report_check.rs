//! A test of `job` and `report` together: the report of a tiny run, read back.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use super::config;
use super::evaluate::{TargetKind, headline};
use super::job::{Job, Trained};
use crate::engine::model::manifest::BaselineFigures;
use crate::report::text::{capitalised, prose};
use crate::report::well_formed::assert_well_formed;

/// A run of two symbols, one of which has a name that is markup.
fn run(folder: &Path, extra: &str) -> (Job, Trained) {
    let mut csv = "Ticker,Date,Close,Volume\n".to_owned();
    for (symbol, phase) in [("<b>&\"A", 0.0), ("B", 1.0)] {
        for day in 0..200_u32 {
            let close = 50.0 + (f64::from(day) * 0.35 + phase).sin() * 5.0;
            let date = format!("2001-{:02}-{:02}", 1 + day / 28, 1 + day % 28);
            let symbol = symbol.replace('"', "\"\"");
            csv += &format!("\"{symbol}\",{date},{close},{}\n", 1000 + day * 37 % 400);
        }
    }
    let path = folder.join("history.csv");
    fs::write(&path, csv).unwrap();
    // The path would differ between folders, and the report names it.
    let text = format!(
        "[model]\nname = 'small'\nroot = '{}'\n[data]\npath = '{}'\n\
         columns = 'symbol=Ticker,time=Date,close=Close,volume=Volume'\n[window]\nsteps = 6\n\
         [network]\nlstm = [{{ units = 4 }}]\ndense = [{{ units = 1, activation = 'tanh' }}]\n\
         [fit]\nepochs_max = 4\nlearning_rate = 0.01\nwork = '{}'\n{extra}",
        folder.join("models").display(),
        path.display(),
        folder.join("work").display(),
    );
    let job = Job::prepare(config::read(&text).unwrap()).unwrap();
    let mut trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
    job.repeat(&mut trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
    (job, trained)
}

#[test]
fn a_run_writes_a_report_with_the_verdict_and_every_plot() {
    let folder = tempfile::tempdir().unwrap();
    let (job, trained) = run(folder.path(), "[evaluate]\nseeds = 2\nfolds = 2\n");
    let report = job.report(&trained).unwrap();
    let path = report.write(&folder.path().join("reports")).unwrap();
    assert_eq!(path, folder.path().join("reports/small/1/report.html"));
    let html = fs::read_to_string(&path).unwrap();
    assert_well_formed(&html);

    let assessment = &trained.assessment;
    let headline = headline(&assessment.test.figures, TargetKind::Change, assessment.against());
    let headline = capitalised(&headline);
    // It is about the baseline with the smallest error on the validation part.
    let error = |figures: &&BaselineFigures| figures.root_mean_squared_error;
    let validation = assessment.validation.figures.baselines.iter();
    let best = validation.min_by(|a, b| error(a).total_cmp(&error(b))).unwrap();
    assert_eq!(assessment.against().kind.label(), best.name);
    let lead = format!("<p class=\"headline\">{}</p>", prose(&headline));
    let verdict = html.find(&lead).expect("the verdict comes first");
    assert!(html.find("<table").unwrap() > verdict);
    assert!(html.contains(&prose(&trained.draft.manifest.verdict)));
    assert!(html.contains(&trained.draft.manifest.training.known().unwrap().data_sha256));
    for part in ["persistence", "drift", "linear", "2 seeds", "2 folds", "fold 2", "precision"] {
        assert!(html.contains(part), "no {part}");
    }

    let expected = [
        "report.html",
        "losses.svg",
        "out-of-range.svg",
        "price-rebuilt.svg",
        "price-one-step.svg",
        "price-rebuilt-2.svg",
        "price-one-step-2.svg",
        "errors.svg",
        "scatter.svg",
    ];
    let names: Vec<_> = report.files().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);
    assert_eq!(html.matches("<svg").count(), expected.len() - 1);
    for (name, content) in report.files() {
        assert_eq!(&fs::read_to_string(path.with_file_name(name)).unwrap(), content);
        assert_well_formed(content);
        assert!(!content.contains("NaN") && !content.contains("inf"), "{name}");
        // Nothing is fetched: the only address is the name of the SVG namespace.
        let addresses = content.replace("http://www.w3.org/2000/svg", "");
        for foreign in ["http:", "https:", "url(", "<script", "<link", "src="] {
            assert!(!addresses.contains(foreign), "{name} has {foreign}");
        }
    }
    assert!(!html.contains("<b>"), "the symbol's name became markup");
    assert!(html.contains("&lt;b&gt;&amp;&quot;A (one of 2 symbols)"));
}

#[test]
fn the_report_of_a_log_return_shows_its_prices() {
    let folder = tempfile::tempdir().unwrap();
    let (job, trained) = run(folder.path(), "[target]\nkind = 'next_log_return'\n");
    let report = job.report(&trained).unwrap();
    let file = |name: &str| report.files().iter().find(|file| file.0 == name).unwrap().1.clone();
    assert!(file("price-one-step.svg").contains("newest real price × exp(forecast)"));
    assert!(file("scatter.svg").contains("forecast change, as a logarithm"));
    assert!(!file("errors.svg").contains(" %"), "a logarithm is no share");
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let folder = tempfile::tempdir().unwrap();
    let report = |extra: &str| {
        let (job, trained) = run(folder.path(), extra);
        job.report(&trained).unwrap()
    };
    assert!(report("") == report(""), "another run gave other bytes");
    assert!(report("") != report("seed = 2\n"));
    let (job, trained) = run(folder.path(), "[report]\nfolder = ''\n");
    assert_eq!(job.report(&trained), None);
}
