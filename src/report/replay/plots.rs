//! The plots of the page about one model.
//!
//! Owns what is drawn and the words below. Promises a bounded number of marks, however long the
//! replay was. Never computes a figure that the summary has.

use super::sample::Thinned;
use super::summary::Summary;
use super::{COUNTED, Moment, ReplayReport, paper, summary};
use crate::core::domain::{Evidence, UnixNanos};
use crate::core::forecast::TargetKind;
use crate::core::proportion::wilson;
use crate::core::score::Sums;
use crate::core::verdict::Verdict;
use crate::report::page::Figure;
use crate::report::svg::{Axis, Look, Plot, Unit, axis_label};
use crate::report::table::{Table, heads, row};
use crate::report::text::{capitalised, count, in_unit, percent};

/// Groups of forecasts by their value.
const GROUPS: usize = 10;
/// Stretches of time that figures are shown for.
const STRETCHES: usize = 36;
/// Points of a curve.
const POINTS_MAX: usize = 1000;
/// Rows of a table beside a plot.
const ROWS_MAX: usize = 24;
/// The share of points at each end of an axis that would squeeze all others.
const TAIL: f64 = 0.005;
/// What a standard normal value exceeds, either way, with a probability of 5 %.
const NORMAL_95: f64 = 1.96;

/// Forecasts against truths.
pub(super) fn forecasts(report: &ReplayReport) -> Vec<Figure> {
    let counted = COUNTED.iter().flat_map(|evidence| sample(report, *evidence));
    let mut points: Vec<(f64, f64)> = counted.copied().collect();
    let mut whose = "scores that the model had not seen";
    if points.is_empty() {
        points = Evidence::ALL.iter().flat_map(|e| sample(report, *e)).copied().collect();
        whose = "scores of training and validation";
    }
    let mut figures = Vec::new();
    if report.kind != TargetKind::Probability && !points.is_empty() {
        figures.push(groups(report.kind, &mut points, whose));
    }
    figures.extend(track(report));
    figures
}

fn sample(report: &ReplayReport, evidence: Evidence) -> &[(f64, f64)] {
    report.parts[evidence as usize].sample.kept()
}

/// Truths by groups of forecasts of like value.
fn groups(kind: TargetKind, points: &mut [(f64, f64)], whose: &str) -> Figure {
    points.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
    let length = points.len().div_ceil(GROUPS).max(1);
    let group = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (forecast, truth) = (mean(|point| point.0), mean(|point| point.1));
        let squares: f64 = points.iter().map(|point| (point.1 - truth).powi(2)).sum();
        let half = NORMAL_95 * (squares / (count - 1.0).max(1.0) / count).sqrt();
        (forecast, truth, half, points.len())
    };
    let groups: Vec<_> = points.chunks(length).map(group).collect();
    let mut truths: Vec<f64> = points.iter().map(|point| point.1).collect();
    truths.sort_unstable_by(f64::total_cmp);
    let y = ends(&truths);
    let forecasts: Vec<f64> = points.iter().map(|point| point.0).collect();
    let x = ends(&forecasts);
    let inside = |(forecast, truth): &(f64, f64)| {
        (x[0]..=x[1]).contains(forecast) && (y[0]..=y[1]).contains(truth)
    };
    let dots: Vec<_> = points.iter().copied().filter(inside).collect();
    let ends = [x[0].max(y[0]), x[1].min(y[1])];
    let diagonal = if ends[0] < ends[1] { ends.map(|at| (at, at)).to_vec() } else { Vec::new() };
    let axis = |label: &str, ends: [f64; 2]| Axis::new(label, Unit::of(kind), ends.into_iter());
    let whiskers = groups.iter().map(|(forecast, truth, half, _)| {
        (*forecast, (truth - half).max(y[0]), (truth + half).min(y[1]))
    });
    let plot = Plot::new("Forecasts and truths", axis("forecast", x), axis("came true", y))
        .dots(Look::Truth, "one score", dots)
        .line(Look::Guide, "forecast = truth", diagonal)
        .whiskers(Look::Model, whiskers.collect())
        .dots(Look::Other, "mean of a tenth", groups.iter().map(|(f, t, ..)| (*f, *t)).collect());
    let mut table: Table = vec![heads(&["mean forecast", "mean truth", "± 95 %", "scores"])];
    for (forecast, truth, half, scores) in &groups {
        let value = |value: f64| in_unit(kind, value);
        let scores = count(*scores as u64);
        table.push(row([value(*forecast), value(*truth), value(*half), scores]));
    }
    let caption = format!(
        "A sample of {} {whose}, and the mean truth of each tenth of them by the size of the \
         forecast, with its 95 % interval as if they were independent. Forecasts that know \
         something have means that rise along the dashed line; a level row of means knows \
         nothing. The axes have scales of their own, and half a percent at each end is left out.",
        count(points.len() as u64)
    );
    Figure { name: "forecasts".to_owned(), plot, caption, table }
}

/// The ends of sorted values without their tails.
fn ends(sorted: &[f64]) -> [f64; 2] {
    let last = sorted.len().saturating_sub(1);
    let cut = (TAIL * sorted.len() as f64) as usize;
    let at = |place: usize| sorted.get(place).copied().unwrap_or(0.0);
    [at(cut), at(last - cut.min(last))]
}

/// The scores of one symbol over time.
fn track(report: &ReplayReport) -> Option<Figure> {
    let (symbol, track) = report.track.as_ref()?;
    let title = format!("{symbol}: forecasts and truths over time");
    Some(track_of(report, (symbol, track), &title, "track"))
}

/// The scores of one symbol over time, of any output.
pub(super) fn track_of(
    report: &ReplayReport,
    (symbol, track): (&str, &Thinned<Moment>),
    title: &str,
    name: &str,
) -> Figure {
    let moments = track.kept();
    let series = |of: fn(&Moment) -> f64| -> Vec<(f64, f64)> {
        moments.iter().map(|moment| (nanos(moment.time), of(moment))).collect()
    };
    let (values, truths) = (series(|moment| moment.value), series(|moment| moment.truth));
    let band = moments.iter().map(|moment| (nanos(moment.time), moment.lower, moment.upper));
    let mut all: Vec<f64> = truths.iter().map(|(_, truth)| *truth).collect();
    all.extend(values.iter().map(|(_, value)| *value));
    all.sort_unstable_by(f64::total_cmp);
    let y = Axis::new(axis_label(report.kind), Unit::of(report.kind), ends(&all).into_iter());
    let [low, high] = ends(&all);
    let inside = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        points.into_iter().map(|(x, y)| (x, y.clamp(low, high))).collect()
    };
    let x = times(moments.iter().map(|moment| moment.time));
    let plot = Plot::new(title, x, y);
    let plot = match report.kind {
        TargetKind::Probability => plot,
        _ => plot.band(Look::Model, "interval", band.collect()),
    };
    let plot = plot.dots(Look::Truth, "came true", inside(truths)).line(
        Look::Model,
        "forecast",
        inside(values),
    );
    let stride = match track.stride() {
        1 => "every score".to_owned(),
        stride => format!("one of {stride} scores"),
    };
    let others = match report.symbols.len() {
        1 => String::new(),
        symbols => format!(", one of {} symbols", count(symbols as u64)),
    };
    let caption = format!(
        "{stride} of {symbol}{others}, of whatever evidence. A good forecast of something noisy \
         moves less than what comes true. What lies beyond the picture is drawn at its edge."
    );
    let caption = capitalised(&caption);
    Figure { name: name.to_owned(), plot, caption, table: Table::new() }
}

/// Skill and the confidence sequence over time.
pub(super) fn verdict(report: &ReplayReport) -> Vec<Figure> {
    let mut figures = vec![skill(report)];
    let rule = super::LedgerRule::new(report.subject.horizon_steps, super::LEVEL);
    let is_one = report.symbols.values().filter(|symbol| symbol.sums.weight > 0.0).count() == 1;
    let path = if is_one { report.path.clone() } else { report.steps.path(&rule) };
    figures.extend(sequence(path.points()));
    figures
}

fn skill(report: &ReplayReport) -> Figure {
    let add = |sum: &mut Sums, more: Sums| *sum += more;
    let mut so_far = Sums::default();
    let points = report.times.runs(POINTS_MAX, add);
    let cumulative: Vec<(f64, f64)> = points
        .iter()
        .filter_map(|(time, sums)| {
            so_far += *sums;
            Some((nanos(*time), so_far.skill()?))
        })
        .collect();
    let stretches = report.times.runs(STRETCHES, add);
    let dots: Vec<(f64, f64)> =
        stretches.iter().filter_map(|(time, sums)| Some((nanos(*time), sums.skill()?))).collect();
    // The first few scores may have any skill.
    let settled = cumulative.iter().skip(cumulative.len() / 10).map(|(_, skill)| *skill);
    let (low, high) =
        settled.fold((0.0_f64, 0.0_f64), |(low, high), skill| (low.min(skill), high.max(skill)));
    let mut of_stretches: Vec<f64> = dots.iter().map(|(_, skill)| *skill).collect();
    of_stretches.sort_unstable_by(f64::total_cmp);
    let quarter = |share: usize| {
        let place = share * of_stretches.len().saturating_sub(1) / 4;
        of_stretches.get(place).copied().unwrap_or(0.0)
    };
    // As far beyond the middle half as that is wide: one bad day would squeeze all others.
    let width = quarter(3) - quarter(1);
    let (low, high) = (low.min(quarter(1) - width), high.max(quarter(3) + width).min(1.0));
    let clamp = |points: Vec<(f64, f64)>| -> Vec<(f64, f64)> {
        points.into_iter().map(|(x, y)| (x, y.clamp(low, high))).collect()
    };
    let x = times(points.iter().map(|(time, _)| *time));
    let zero = ends_of(&points).map(|at| (at, 0.0)).to_vec();
    let against = report.subject.against.label();
    let title = format!("Skill against {against} over time");
    let plot = Plot::new(&title, x, Axis::new("skill", Unit::Plain, [low, high].into_iter()))
        .line(Look::Guide, "no better", zero)
        .dots(Look::Truth, "of one stretch of time", clamp(dots))
        .line(Look::Model, "of all scores so far", clamp(cumulative));
    let mut table: Table = vec![heads(&["from", "scores", "skill", "interval held"])];
    for (time, sums) in report.times.runs(ROWS_MAX, add) {
        let figure = |value: Option<f64>, show: fn(f64) -> String| value.map_or_else(dash, show);
        table.push(row([
            time.to_string(),
            count(sums.weight as u64),
            figure(sums.skill(), |skill| format!("{skill:+.4}")),
            figure(sums.coverage(), |share| percent(share, 1)),
        ]));
    }
    let caption = "The line settles as scores come; it is no test. Dots far from zero on both \
                   sides are what luck looks like. What lies beyond the picture is drawn at its \
                   edge."
        .to_owned();
    Figure { name: "skill".to_owned(), plot, caption, table }
}

fn sequence(points: &[(UnixNanos, Verdict)]) -> Option<Figure> {
    let (scale, unit) = scale(points.last()?.1);
    let band: Vec<(f64, f64, f64)> = points
        .iter()
        .filter_map(|(time, verdict)| {
            let [low, high] = verdict.limits?;
            Some((nanos(*time), scale * low, scale * high))
        })
        .collect();
    let (first, last) = (band.first()?, band.last()?);
    let mean: Vec<(f64, f64)> = points
        .iter()
        .filter(|(_, verdict)| verdict.limits.is_some())
        .map(|(time, verdict)| (nanos(*time), scale * verdict.mean_difference))
        .collect();
    // The first limits are so far away that nothing else could be seen.
    let settled = band.iter().skip(band.len() / 10);
    let all = settled.flat_map(|(_, low, high)| [*low, *high]).chain([0.0]);
    let label = format!("baseline's squared error − model's{unit}");
    let y = Axis::new(&label, Unit::Plain, all);
    let x =
        Axis::between("time of the truth (UTC)", Unit::Time, first.0, last.0.max(first.0 + 1.0));
    let plot = Plot::new("Verdict: the mean difference and its confidence sequence", x, y)
        .band(Look::Model, "95 % confidence sequence", band.clone())
        .line(Look::Model, "mean difference", mean)
        .line(Look::Guide, "equal", vec![(first.0, 0.0), (last.0, 0.0)]);
    let mut table: Table =
        vec![heads(&["time", "observations", "mean", "lower", "upper", "verdict"])];
    let stride = points.len().div_ceil(ROWS_MAX).max(1);
    // The last one is always there.
    let mut shown: Vec<_> = points.iter().rev().step_by(stride).collect();
    shown.reverse();
    for (time, verdict) in shown {
        let limit =
            |at: usize| verdict.limits.map_or_else(dash, |limits| format!("{:.3e}", limits[at]));
        table.push(row([
            time.to_string(),
            count(verdict.scores),
            format!("{:.3e}", verdict.mean_difference),
            limit(0),
            limit(1),
            super::words::word(verdict.word).to_owned(),
        ]));
    }
    let caption = "While the band holds zero the model and its baseline may be equal. Above zero \
                   it is better, below it is worse. The band is valid at all times together."
        .to_owned();
    Some(Figure { name: "verdict".to_owned(), plot, caption, table })
}

/// By which power of ten small differences are multiplied, and how an axis says so.
fn scale(verdict: Verdict) -> (f64, String) {
    let [low, high] = verdict.limits.unwrap_or([verdict.mean_difference; 2]);
    let largest = low.abs().max(high.abs());
    let exponent = if largest > 0.0 { libm::log10(largest).floor() } else { 0.0 };
    if (-2.0..=4.0).contains(&exponent) {
        return (1.0, String::new());
    }
    (libm::pow(10.0, -exponent), format!(", in 1e{exponent}"))
}

/// Coverage over time, and calibration.
pub(super) fn coverage(report: &ReplayReport) -> Vec<Figure> {
    let add = |sum: &mut Sums, more: Sums| *sum += more;
    let stretches = report.times.runs(STRETCHES, add);
    let horizon = f64::from(report.subject.horizon_steps.max(1));
    let figures: Vec<_> = stretches
        .iter()
        .filter_map(|(time, sums)| {
            let held = sums.coverage()?;
            Some((nanos(*time), held, wilson(held, sums.weight / horizon)))
        })
        .collect();
    let low = figures.iter().map(|(_, _, limits)| limits.low).fold(1.0, f64::min);
    let y = Axis::between("held", Unit::Percent, (low - 0.05).max(0.0), 1.02);
    let target = report.subject.coverage;
    let guide = ends_of(&stretches).map(|at| (at, target)).to_vec();
    let whiskers = figures.iter().map(|(at, _, limits)| (*at, limits.low, limits.high)).collect();
    let dots = figures.iter().map(|(at, held, _)| (*at, *held)).collect();
    let x = times(stretches.iter().map(|(time, _)| *time));
    let plot = Plot::new("Share of intervals that held their truth", x, y)
        .line(Look::Guide, &format!("asked for: {}", percent(target, 0)), guide)
        .whiskers(Look::Model, whiskers)
        .dots(Look::Model, "of one stretch of time (95 %)", dots);
    let caption = "Each dot is a stretch of time with as many bins as the others; its line is \
                   Wilson's 95 % interval, with the scores divided by the horizon. Symbols that \
                   move together make it too narrow."
        .to_owned();
    let table = Table::new();
    let over_time = Figure { name: "coverage".to_owned(), plot, caption, table };
    let second = match report.kind {
        TargetKind::Probability => reliability(report),
        _ => distances(report),
    };
    vec![over_time, second]
}

fn distances(report: &ReplayReport) -> Figure {
    let bars: Vec<_> = report.distances.stretches().collect();
    let high = bars.iter().map(|(_, _, share)| *share).fold(0.0, f64::max).max(0.01);
    let edge = vec![(1.0, 0.0), (1.0, 1.05 * high)];
    let x = Axis::between("distance of the truth, in half widths", Unit::Plain, 0.0, 4.0);
    let y = Axis::between("share of scores", Unit::Percent, 0.0, 1.05 * high);
    let plot = Plot::new("How far truths lie from forecasts, by the interval", x, y)
        .bars(Look::Model, "share", bars)
        .line(Look::Guide, "the end of the interval", edge);
    let beyond = report.distances.share_within(4.0).map_or(0.0, |held| 1.0 - held);
    let caption = format!(
        "Left of the dashed line the interval held the truth. Bars far to the right are surprises \
         that the interval knew nothing of; {} lie beyond the picture.",
        percent(beyond, 2)
    );
    Figure { name: "calibration".to_owned(), plot, caption, table: Table::new() }
}

fn reliability(report: &ReplayReport) -> Figure {
    let bins = report.reliability.bins();
    let total = bins.iter().map(|bin| bin.count).sum::<usize>().max(1) as f64;
    let width = super::CALIBRATION_BINS as f64;
    let bars = bins.iter().map(|bin| {
        let stretch = (bin.forecast * width).floor().clamp(0.0, width - 1.0);
        (stretch / width, (stretch + 1.0) / width, bin.count as f64 / total)
    });
    let horizon = f64::from(report.subject.horizon_steps.max(1));
    let limits = |bin: &crate::seal::judge::statistics::probability::Bin| {
        wilson(bin.happened, bin.count as f64 / horizon)
    };
    let whiskers = bins.iter().map(|bin| (bin.forecast, limits(bin).low, limits(bin).high));
    let points = bins.iter().map(|bin| (bin.forecast, bin.happened)).collect();
    let x = Axis::between("probability forecast", Unit::Percent, 0.0, 1.0);
    let y = Axis::between("share", Unit::Percent, 0.0, 1.02);
    let plot = Plot::new("Calibration of probabilities", x, y)
        .bars(Look::Guide, "share of all forecasts", bars.collect())
        .line(Look::Guide, "calibrated", vec![(0.0, 0.0), (1.0, 1.0)])
        .whiskers(Look::Model, whiskers.collect())
        .dots(Look::Model, "how often it came true (95 %)", points);
    let mut table: Table = vec![heads(&["mean forecast", "came true", "95 %", "forecasts"])];
    for bin in &bins {
        let limits = limits(bin);
        table.push(row([
            percent(bin.forecast, 1),
            percent(bin.happened, 1),
            format!("{:.1} to {}", 100.0 * limits.low, percent(limits.high, 1)),
            count(bin.count as u64),
        ]));
    }
    let caption = "Of the cases with a probability of 30 %, three in ten should come true: points \
                   on the dashed line."
        .to_owned();
    Figure { name: "calibration".to_owned(), plot, caption, table }
}

/// The paper account over time.
pub(super) fn paper(report: &ReplayReport, summary: &Summary) -> Figure {
    let accounts = summary::accounts(report);
    let curve = |strategy: usize| -> Vec<(f64, f64)> {
        let curve = report.paper.curve(strategy, accounts, POINTS_MAX);
        curve.into_iter().map(|(time, sum)| (nanos(time), sum)).collect()
    };
    // The baseline that the model is compared with.
    let against = 2 + report.subject.against as usize;
    let name = paper::name(against);
    let (model, hold, baseline) = (curve(0), curve(1), curve(against));
    let all = model.iter().chain(&hold).chain(&baseline).map(|(_, sum)| *sum);
    let y = Axis::new("net, of the notional", Unit::Percent, all.chain([0.0]));
    let x = times(report.paper.curve(0, accounts, POINTS_MAX).iter().map(|(time, _)| *time));
    let mut table: Table = vec![heads(&["up to the bins from", "model", "buy and hold", name])];
    let rows = |strategy| report.paper.curve(strategy, accounts, ROWS_MAX);
    for ((time, model), ((_, hold), (_, baseline))) in
        rows(0).into_iter().zip(rows(1).into_iter().zip(rows(against)))
    {
        let shares = [model, hold, baseline].map(|sum| percent(sum, 2));
        let [model, hold, baseline] = shares;
        table.push(row([time.to_string(), model, hold, baseline]));
    }
    let plot = Plot::new("Paper account after costs", x, y)
        .line(Look::Truth, "buy and hold", hold)
        .line(Look::Other, &format!("the same rule on {name}"), baseline)
        .line(Look::Model, "the model's signals", model);
    let limits = summary.paper.first().and_then(|model| model.mean_per_step_95);
    let sure = match limits {
        Some([low, high]) if low <= 0.0 && 0.0 <= high => {
            " The interval of the model's mean holds zero: a line like this comes about by chance."
        }
        _ => "",
    };
    let caption = format!(
        "Sums of net profits over {} symbol{}, as a mean over symbols, without the costs of \
         ending the positions that are open at the end.{sure}",
        count(accounts as u64),
        if accounts == 1 { "" } else { "s" }
    );
    Figure { name: "paper".to_owned(), plot, caption, table }
}

fn times(times: impl Iterator<Item = UnixNanos>) -> Axis {
    Axis::new("time (UTC)", Unit::Time, times.map(nanos))
}

/// The first and the last time of a series.
fn ends_of<V>(series: &[(UnixNanos, V)]) -> [f64; 2] {
    let at = |point: Option<&(UnixNanos, V)>| point.map_or(0.0, |(time, _)| nanos(*time));
    [at(series.first()), at(series.last())]
}

fn nanos(time: UnixNanos) -> f64 {
    time.as_nanos() as f64
}

fn dash() -> String {
    "–".to_owned()
}
