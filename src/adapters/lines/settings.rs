//! The settings of lines: `publish.lines`, `publish.shadow_lines` and `publish.scores`.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::sink::LinesSink;
use super::{Lines, LinesMetrics, LinesOf, WhenFailed};
use crate::ops::exit::{Exit, Failure};
use crate::ops::file::can_write;
use crate::ports::section::Section;
use crate::ports::sink::{OpenSink, SinkKind, SinkOpening, SinkReader, SinkSettings};

/// Lines as a kind of sink.
pub const KIND: SinkKind = SinkKind { read };

/// Where forecasts and scores go as lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesSettings {
    /// Forecasts.
    pub forecasts: LinesPolicy,
    /// Forecasts of shadows.
    pub shadows: LinesPolicy,
    /// Scores.
    pub scores: LinesPolicy,
}

/// Where the lines of one kind go, and what happens when they cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinesPolicy {
    /// Where they go.
    pub target: LinesTarget,
    /// What happens; `None` leaves it to the input and the target.
    pub when_failed: Option<WhenFailed>,
}

/// Where JSON lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinesTarget {
    /// Nowhere.
    Off,
    /// Standard output.
    StandardOutput,
    /// Appended to a file.
    File(PathBuf),
}

impl LinesTarget {
    /// Says what opening would say, without making or writing anything.
    fn check(&self) -> io::Result<()> {
        let Self::File(path) = self else { return Ok(()) };
        let outcome = match std::fs::metadata(path) {
            // A line that is torn has to be read as well.
            Ok(_) => OpenOptions::new().append(true).read(true).open(path).map(drop),
            Err(error) if error.kind() == ErrorKind::NotFound => match path.parent() {
                Some(folder) if !folder.as_os_str().is_empty() => can_write(folder),
                _ => can_write(Path::new(".")),
            },
            Err(error) => Err(error),
        };
        outcome.map_err(|error| io::Error::other(format!("`{}`: {error}", path.display())))
    }
}

fn read(reader: SinkReader<'_, '_>) -> Arc<dyn SinkSettings> {
    let SinkReader { publish, .. } = reader;
    publish.shows(&["lines", "shadow_lines", "scores"]);
    let settings = LinesSettings {
        forecasts: policy(publish, "lines", "lines_when_failed"),
        shadows: policy(publish, "shadow_lines", "shadow_lines_when_failed"),
        scores: policy(publish, "scores", "scores_when_failed"),
    };
    let all = settings.each();
    for (at, (_, key, lines)) in all.iter().enumerate() {
        let same = |(_, _, other): &&(_, _, &LinesPolicy)| other.target == lines.target;
        if lines.target != LinesTarget::Off
            && let Some((_, other, _)) = all[..at].iter().find(same)
        {
            let what =
                format_args!("must go elsewhere than publish.{other}: two writers, two places");
            publish.problem(key, what);
        }
    }
    Arc::new(settings)
}

fn policy(
    publish: &mut Section<'_>,
    target: &'static str,
    when_failed: &'static str,
) -> LinesPolicy {
    let target = match publish.optional_text(target).as_deref() {
        None => LinesTarget::Off,
        Some("-") => LinesTarget::StandardOutput,
        Some(path) => LinesTarget::File(publish.path_of(target, path)),
    };
    let choices =
        [("auto", None), ("fail", Some(WhenFailed::Fail)), ("drop", Some(WhenFailed::Drop))];
    LinesPolicy { target, when_failed: publish.choice(when_failed, &choices) }
}

impl LinesSettings {
    /// What is written, each with its key.
    fn each(&self) -> [(LinesOf, &'static str, &LinesPolicy); 3] {
        [
            (LinesOf::Forecasts, "lines", &self.forecasts),
            (LinesOf::Shadows, "shadow_lines", &self.shadows),
            (LinesOf::Scores, "scores", &self.scores),
        ]
    }
}

impl LinesPolicy {
    /// What happens to lines that cannot be written. Where the input can be read again, a restart
    /// makes them again, so nothing is lost by ending. A live feed would be missed meanwhile, and
    /// the lines with it. Standard output belongs to whoever started the daemon.
    fn when_failed(&self, input_is_live: bool) -> WhenFailed {
        self.when_failed.unwrap_or(match &self.target {
            LinesTarget::File(_) if input_is_live => WhenFailed::Drop,
            _ => WhenFailed::Fail,
        })
    }
}

impl SinkSettings for LinesSettings {
    fn takes_scores(&self) -> bool {
        self.scores.target != LinesTarget::Off
    }

    fn places(&self) -> Vec<String> {
        let place = |(_, key, lines): (LinesOf, &str, &LinesPolicy)| match &lines.target {
            LinesTarget::Off => None,
            LinesTarget::StandardOutput => Some(format!("{key}=-")),
            LinesTarget::File(path) => Some(format!("{key}={}", path.display())),
        };
        self.each().into_iter().filter_map(place).collect()
    }

    fn check(&self) -> Result<(), Exit> {
        for (_, key, lines) in self.each() {
            let context = format!("open publish.{key}");
            lines.target.check().map_err(Exit::while_doing(Failure::Configuration, context))?;
        }
        Ok(())
    }

    fn open(&self, opening: &SinkOpening<'_>) -> Result<Option<OpenSink>, Exit> {
        let SinkOpening { registry, input_is_live } = *opening;
        let open = |(of, key, lines): (LinesOf, &str, &LinesPolicy)| {
            let metrics = LinesMetrics::register(registry, of)?;
            let context = format!("open publish.{key}");
            Lines::open(&lines.target, lines.when_failed(input_is_live), metrics)
                .map_err(Exit::while_doing(Failure::Configuration, context))
        };
        let [forecasts, shadows, scores] = self.each().map(open);
        let (forecasts, shadows, scores) = (forecasts?, shadows?, scores?);
        let queue = |lines: &Option<Lines>| lines.as_ref().map(Lines::queue);
        let sink = LinesSink::new(queue(&forecasts), queue(&shadows), queue(&scores));
        let writers: Vec<Lines> = forecasts.into_iter().chain(shadows).chain(scores).collect();
        if writers.is_empty() {
            return Ok(None);
        }
        Ok(Some(OpenSink {
            sink: Box::new(sink),
            stages: writers.iter().map(Lines::stage).collect(),
            notices: writers.iter().map(Lines::notice).collect(),
            finish: Box::new(|| {
                writers
                    .into_iter()
                    .try_for_each(Lines::finish)
                    .map_err(Exit::while_doing(Failure::Temporary, "write lines"))
            }),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_behind_a_live_feed_drops_by_itself() {
        let of = |target, when_failed| LinesPolicy { target, when_failed };
        let file = || LinesTarget::File("forecasts.jsonl".into());
        let [fail, drop] = [WhenFailed::Fail, WhenFailed::Drop];
        for (policy, with_feed, with_recording) in [
            (of(file(), None), drop, fail),
            (of(LinesTarget::StandardOutput, None), fail, fail),
            (of(file(), Some(fail)), fail, fail),
            (of(LinesTarget::StandardOutput, Some(drop)), drop, drop),
        ] {
            let found = (policy.when_failed(true), policy.when_failed(false));
            assert_eq!(found, (with_feed, with_recording), "{policy:?}");
        }
    }
}
