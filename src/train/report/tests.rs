//! The report of a tiny run, read back.

use std::ops::ControlFlow;
use std::path::Path;

use super::super::config;
use super::super::evaluate::Outcomes;
use super::super::job::Job;
use super::*;

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
         [fit]\nepochs_max = 4\nlearning_rate = 0.01\n{extra}",
        folder.join("models").display(),
        path.display(),
    );
    let job = Job::prepare(config::read(&text).unwrap()).unwrap();
    let mut trained = job.run(&mut |_| ControlFlow::Continue(())).unwrap();
    job.repeat(&mut trained, &mut |_, _| ControlFlow::Continue(())).unwrap();
    (job, trained)
}

/// The tags that are open at the end of each line, and a panic where the text is not well-formed:
/// a stand-in for a parser that knows elements, quoted attributes and entities.
fn assert_well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(['<', '&']) {
        let (at, after) = rest[start..].split_at(1);
        if at == "&" {
            let entity = after.split_once(';').map(|(name, _)| name).unwrap();
            let known = ["amp", "lt", "gt", "quot", "#39"];
            assert!(known.contains(&entity), "unknown entity near {:.60}", &rest[start..]);
            rest = after;
            continue;
        }
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if tag.starts_with('!') || tag.starts_with('?') {
            continue;
        }
        assert!(!tag.contains('<') && tag.matches('"').count() % 2 == 0, "broken tag <{tag}>");
        let name = tag.trim_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {after:.60}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "left open");
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

    let headline = capitalised(&headline(&trained.assessment.test.figures, Kind::Change));
    let lead = format!("<p class=\"headline\">{}</p>", page::prose(&headline));
    let verdict = html.find(&lead).expect("the verdict comes first");
    assert!(html.find("<table").unwrap() > verdict);
    assert!(html.contains(&page::prose(&trained.draft.manifest.verdict)));
    assert!(html.contains(&trained.draft.manifest.training.data_sha256));
    for part in ["persistence", "drift", "linear", "2 seeds", "2 folds", "fold 2", "precision"] {
        assert!(html.contains(part), "no {part}");
    }

    let expected = [
        "report.html",
        "losses.svg",
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

/// A run of one symbol whose truths and forecasts are given.
fn figures(kind: Kind, values: &[f64], truths: &[f64]) -> String {
    let outcomes = Outcomes {
        values: values.to_vec(),
        truths: truths.to_vec(),
        times: vec![UnixNanos::from_nanos(0); values.len()],
        baselines: super::super::baseline::BaselineForecasts {
            persistence: vec![0.0; values.len()],
            ..Default::default()
        },
    };
    let mut text = plots::errors(&outcomes, kind).plot.file();
    text += &match kind {
        Kind::Probability => plots::calibration(&outcomes).plot.file(),
        _ => plots::scatter(&outcomes, kind).plot.file(),
    };
    assert_well_formed(&text);
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    text
}

#[test]
fn plots_of_few_or_equal_values_are_whole() {
    for kind in [Kind::Change, Kind::Amount, Kind::Level, Kind::Probability] {
        figures(kind, &[0.5], &[0.5]);
        figures(kind, &[0.0, 0.0, 0.0], &[0.0, 0.0, 0.0]);
        figures(kind, &[f64::NAN, 1.0], &[1.0, 0.0]);
    }
}

/// By hand: the plot's inner width is 668 and its height 250; a bin of three forecasts with mean
/// 0.25, one of which came true, stands at a quarter of the width and a third of the height / 1.02.
#[test]
fn the_calibration_plot_shows_the_bins() {
    let text = figures(Kind::Probability, &[0.25, 0.25, 0.25, 0.9], &[1.0, 0.0, 0.0, 1.0]);
    let x = 74.0 + 668.0 * 0.25;
    let y = 308.0 - 250.0 / 1.02 / 3.0;
    let dot = format!("<circle class=\"dot model\" cx=\"{x:.1}\" cy=\"{y:.1}\"");
    assert!(text.contains(&dot), "{dot} is not in {text}");
}

#[test]
fn text_is_escaped() {
    let prose = page::prose("p < 0.01 at -5 % since 2001-02-03 (-1 to <2)");
    assert_eq!(prose, "p\u{a0}&lt;\u{a0}0.01 at −5\u{a0}% since 2001-02-03 (−1 to &lt;2)");
    assert_eq!(
        escape("<a href=\"x\">'&\u{0}\n"),
        "&lt;a href=&quot;x&quot;&gt;&#39;&amp;\u{fffd}\n"
    );
}
