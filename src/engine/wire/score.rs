//! The wire form of a score: one JSON object, `tickcast.score.v1`.
//!
//! Owns the field names and their order. Promises that equal scores give equal bytes, that `id` is
//! that of the forecast, and that encoding allocates for a growing buffer alone. Never writes
//! anywhere but into a buffer.

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::forecast::RecordTemplate;
use crate::core::baseline::BaselineKind;
use crate::core::domain::{Evidence, Quality, Quantiles, Signal, Symbol, SymbolId, UnixNanos};
use crate::core::score::{QuantileSums, Score, pinball};
use crate::core::signal::{SideCounts, SignalCounts};
use crate::core::verdict::{Verdict, Word};
use crate::engine::model::manifest::Mode;

/// The value of `schema` in every record.
pub const SCORE_SCHEMA: &str = "tickcast.score.v1";

/// One score as it travels; also what readers parse. Values are in the target's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoreRecord<'a> {
    /// Always [`SCORE_SCHEMA`].
    pub schema: &'a str,
    /// The id of the forecast that is scored.
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// The symbol.
    #[serde(borrow)]
    pub symbol: Cow<'a, str>,
    /// The model's name.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// The model's version.
    #[serde(borrow)]
    pub model_version: Cow<'a, str>,
    /// How the model was driven.
    pub mode: Mode,
    /// RFC 3339: event time of the newest step behind the forecast.
    pub as_of: UnixNanos,
    /// RFC 3339: the instant the forecast spoke of.
    pub target_time: UnixNanos,
    /// RFC 3339: event time of the step that was the truth.
    pub truth_time: UnixNanos,
    /// What was forecast.
    pub value: f64,
    /// What came true.
    pub truth: f64,
    /// `truth - value`.
    pub error: f64,
    /// Without its sign.
    pub absolute_error: f64,
    /// The forecast of the baseline that the model is compared with.
    pub baseline: f64,
    /// How far that one was off.
    pub baseline_absolute_error: f64,
    /// Which baseline that is; `persistence` in records of earlier versions.
    #[serde(default)]
    pub against: BaselineKind,
    /// The forecasts of all baselines of the bundle.
    #[serde(default)]
    pub baselines: BaselineValues,
    /// Whether the forecast told the direction; absent where the truth had none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub direction_hit: Option<bool>,
    /// Lower end of the forecast's interval.
    pub lower: f64,
    /// Upper end of the forecast's interval.
    pub upper: f64,
    /// The share of truths that such intervals are made to hold.
    pub coverage: f64,
    /// Whether this one held its truth.
    pub covered: bool,
    /// How whole the window behind the forecast was.
    pub quality: Quality,
    /// Whether an input of the window lay outside the training range.
    pub out_of_range: bool,
    /// Whether the model was trained on the time of the forecast; `unknown` in records of earlier
    /// versions.
    #[serde(default)]
    pub evidence: Evidence,
    /// The symbol's skill over its last scores of evidence `unseen` or `unknown`, this one included
    /// if it is one; absent while the baseline has made no error in them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub skill: Option<f64>,
    /// The share of the symbol's last intervals that held their truth, this one included; records
    /// of before have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held: Option<f64>,
    /// Whether the symbol's errors are larger than they were.
    pub drift: bool,
    /// Whether the symbol's inputs before the truth had left the distribution of the training;
    /// absent where that is not judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shifted: Option<bool>,
    /// What the symbol's scores have come to, this one included; records of before have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<VerdictRecord>,
    /// The signal of the forecast; records of before have none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<Signal>,
    /// How the symbol's signals did, this one included; absent before the first score that counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signals: Option<SignalsRecord>,
    /// The same of a shadow against the live model of its seat; absent where it is not compared.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub rival: Option<RivalRecord<'a>>,
    /// How many steps ahead the forecast looked; absent for a model that lists no outputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub horizon_steps: Option<u32>,
    /// How the quantiles did, by level; absent for an output without.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantile_scores: Option<Vec<QuantileScoreRecord>>,
}

/// How the quantile of one level did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QuantileScoreRecord {
    /// The level.
    pub level: f64,
    /// The quantile, as it was forecast.
    pub value: f64,
    /// The pinball loss of this one.
    pub loss: f64,
    /// The mean of the symbol's last losses at this level, this one included if it counts, weighted
    /// as the skill is; absent before the first one that counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mean_loss: Option<f64>,
    /// The share of the symbol's last truths at or below their quantile of this level, likewise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub coverage: Option<f64>,
}

impl QuantileScoreRecord {
    /// Those of a score, by the levels of its output; `None` for an output without.
    fn of(score: &Score, levels: &[f64]) -> Option<Vec<Self>> {
        let values = levels.iter().zip(score.quantiles.as_slice()).enumerate();
        let record = |(at, (level, value)): (usize, (&f64, &f64))| Self {
            level: *level,
            value: *value,
            loss: pinball(*level, *value, score.truth),
            mean_loss: score.quantile_sums.mean_loss(at),
            coverage: score.quantile_sums.coverage(at),
        };
        (!levels.is_empty()).then(|| values.map(record).collect())
    }
}

/// How the signals of a symbol did, over its scores of evidence `unseen` or `unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalsRecord {
    /// How many scores were counted.
    pub scores: u64,
    /// The signal `buy`, and truths above its threshold.
    pub buy: SignalRecord,
    /// The signal `sell`, and truths below its threshold.
    pub sell: SignalRecord,
    /// The share of signals whose truth went their way, among those whose truth had a direction;
    /// absent without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hit_rate: Option<f64>,
    /// The 95 % interval of that share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hit_rate_95: Option<[f64; 2]>,
    /// The hit rate of as many signals that know nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hit_rate_by_chance: Option<f64>,
}

/// How one signal did.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SignalRecord {
    /// How often it was the signal.
    pub raised: u64,
    /// How often the truth was beyond the threshold.
    pub happened: u64,
    /// Both.
    pub hits: u64,
    /// `hits / raised`; absent where nothing was raised.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision: Option<f64>,
    /// The 95 % interval of that share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub precision_95: Option<[f64; 2]>,
    /// `hits / happened`; absent where nothing happened.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recall: Option<f64>,
    /// The 95 % interval of that share.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recall_95: Option<[f64; 2]>,
    /// `happened / scores`: the precision of signals that know nothing.
    pub base_rate: f64,
}

impl SignalsRecord {
    /// The record of counts of a model that looks so many steps ahead; `None` of no score.
    pub fn new(counts: &SignalCounts, horizon_steps: u32) -> Option<Self> {
        let share = |hits, tries| {
            let share = SignalCounts::share(hits, tries, horizon_steps);
            let limits = share.map(|share| [share.limits.low, share.limits.high]);
            (share.map(|share| share.value), limits)
        };
        let side = |side: &SideCounts| {
            let detection = side.detection;
            let (precision, precision_95) = share(detection.hits, detection.raised);
            let (recall, recall_95) = share(detection.hits, detection.happened);
            Some(SignalRecord {
                raised: detection.raised,
                happened: detection.happened,
                hits: detection.hits,
                precision,
                precision_95,
                recall,
                recall_95,
                base_rate: counts.base_rate(side)?,
            })
        };
        let (hit_rate, hit_rate_95) = share(counts.right(), counts.directed());
        Some(Self {
            scores: counts.scores,
            buy: side(&counts.buy)?,
            sell: side(&counts.sell)?,
            hit_rate,
            hit_rate_95,
            hit_rate_by_chance: counts.hit_rate_by_chance(),
        })
    }
}

/// A verdict as it travels, with its figures in squares of the target's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerdictRecord {
    /// The word.
    pub word: Word,
    /// The baseline that the model is compared with.
    pub against: BaselineKind,
    /// RFC 3339: the truth time since which the word has been the same; absent while it is too
    /// early.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<UnixNanos>,
    /// How many scores were counted.
    pub scores: u64,
    /// The mean of the baseline's squared error minus the model's: above zero where the model was
    /// better.
    pub mean_difference: f64,
    /// Between which two values that mean lies; absent while they are not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limits: Option<[f64; 2]>,
    /// The natural logarithm of the e-value against "equal".
    pub log_e_value: f64,
}

impl ScoreRecord<'_> {
    /// The score behind the record, with this verdict. How signals did and the comparison with a
    /// rival are left out: like the verdict they are of all scores of the symbol together.
    pub fn score(&self, symbol: SymbolId, verdict: Verdict) -> Score {
        let BaselineValues { persistence, drift, average, seasonal, linear } = self.baselines;
        Score {
            symbol,
            as_of: self.as_of,
            target_time: self.target_time,
            truth_time: self.truth_time,
            value: self.value,
            truth: self.truth,
            baseline: self.baseline,
            against: self.against,
            baselines: [persistence, drift, average, seasonal, linear],
            lower: self.lower,
            upper: self.upper,
            direction_hit: self.direction_hit,
            quality: self.quality,
            out_of_range: self.out_of_range,
            evidence: self.evidence,
            skill: self.skill,
            held: self.held,
            drift: self.drift,
            shifted: self.shifted,
            verdict,
            signal: self.signal.unwrap_or(Signal::Hold),
            signals: SignalCounts::default(),
            rival: None,
            output: 0,
            quantiles: Quantiles::NONE,
            quantile_sums: QuantileSums::default(),
        }
    }

    /// `loss(baseline) - loss(model)`, with the bits that [`Score::loss_difference`] has.
    pub fn loss_difference(&self) -> f64 {
        let (error, baseline_error) = (self.absolute_error, self.baseline_absolute_error);
        baseline_error * baseline_error - error * error
    }
}

impl VerdictRecord {
    fn new(score: &Score) -> Self {
        let Verdict { word, since, scores, mean_difference, limits, log_e_value } = score.verdict;
        let against = score.against;
        Self { word, against, since, scores, mean_difference, limits, log_e_value }
    }
}

/// The verdict of a shadow against its rival, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RivalRecord<'a> {
    /// The name of the live model that it is compared with.
    #[serde(borrow)]
    pub model: Cow<'a, str>,
    /// Its version.
    #[serde(borrow)]
    pub model_version: Cow<'a, str>,
    /// The word: `better` is the shadow.
    pub word: Word,
    /// RFC 3339: the truth time since which the word has been the same; absent while it is too
    /// early.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<UnixNanos>,
    /// How many pairs of scores were counted.
    pub scores: u64,
    /// The mean of `squared error of the rival - squared error of the shadow`.
    pub mean_difference: f64,
    /// The confidence sequence of that mean; absent while it has no bounds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limits: Option<[f64; 2]>,
    /// The natural logarithm of the e-value against "equal".
    pub log_e_value: f64,
}

impl<'a> RivalRecord<'a> {
    fn new((model, model_version): (&'a str, &'a str), verdict: Verdict) -> Self {
        let Verdict { word, since, scores, mean_difference, limits, log_e_value } = verdict;
        let (model, model_version) = (model.into(), model_version.into());
        Self { model, model_version, word, since, scores, mean_difference, limits, log_e_value }
    }
}

/// What all scores of one model have in common.
#[derive(Clone, Debug)]
pub struct ScoreTemplate {
    /// What they share with its forecasts.
    pub record: RecordTemplate,
    /// The name and the version of the live model that a shadow is compared with.
    pub rival: Option<(String, String)>,
}

/// A score that is encoded when somebody asks for it.
#[derive(Clone, Debug)]
pub struct UnencodedScore {
    /// Whose it is.
    pub symbol: Symbol,
    /// The score.
    pub score: Score,
    /// What its record has in common with others.
    pub template: Arc<ScoreTemplate>,
}

impl UnencodedScore {
    /// Appends the record to `buffer` as JSON without a line end.
    pub fn encode(&self, buffer: &mut Vec<u8>) {
        let Self { symbol, score, template } = self;
        let ScoreTemplate { record, rival } = &**template;
        let rival = rival.as_ref().map(|(model, version)| (&**model, &**version));
        record.encode_score(symbol.as_str(), score, rival, buffer);
    }
}

/// What the baselines forecast, in the target's unit; absent for one that the bundle does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BaselineValues {
    /// That nothing changes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub persistence: Option<f64>,
    /// That the mean of the training part goes on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drift: Option<f64>,
    /// The exponentially weighted mean of the truths known at the time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub average: Option<f64>,
    /// The truth of one period earlier.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seasonal: Option<f64>,
    /// A linear model of the window.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub linear: Option<f64>,
}

impl RecordTemplate {
    /// Appends one score to `buffer` as JSON without a line end. `rival` is the name and the
    /// version of the model that a shadow is compared with.
    pub fn encode_score(
        &self,
        symbol: &str,
        score: &Score,
        rival: Option<(&str, &str)>,
        buffer: &mut Vec<u8>,
    ) {
        let digits = self.id_of(symbol, score.as_of, score.output).digits();
        let [persistence, drift, average, seasonal, linear] = score.baselines;
        let id = str::from_utf8(&digits).expect("hexadecimal digits are ASCII");
        let record = ScoreRecord {
            schema: SCORE_SCHEMA,
            id: id.into(),
            symbol: symbol.into(),
            model: (&*self.model).into(),
            model_version: (&*self.model_version).into(),
            mode: self.mode,
            as_of: score.as_of,
            target_time: score.target_time,
            truth_time: score.truth_time,
            value: score.value,
            truth: score.truth,
            error: score.error(),
            absolute_error: score.error().abs(),
            baseline: score.baseline,
            baseline_absolute_error: score.baseline_error().abs(),
            against: score.against,
            baselines: BaselineValues { persistence, drift, average, seasonal, linear },
            direction_hit: score.direction_hit,
            lower: score.lower,
            upper: score.upper,
            coverage: self.coverage_of(score.output),
            covered: score.covered(),
            quality: score.quality,
            out_of_range: score.out_of_range,
            evidence: score.evidence,
            skill: score.skill,
            held: score.held,
            drift: score.drift,
            shifted: score.shifted,
            verdict: Some(VerdictRecord::new(score)),
            signal: Some(score.signal),
            signals: SignalsRecord::new(&score.signals, self.horizon_of(score.output)),
            rival: rival.zip(score.rival).map(|(of, verdict)| RivalRecord::new(of, verdict)),
            horizon_steps: self.output(score.output).map(|output| output.horizon_steps),
            quantile_scores: self
                .output(score.output)
                .and_then(|output| QuantileScoreRecord::of(score, &output.levels)),
        };
        serde_json::to_writer(buffer, &record)
            .expect("plain fields and finite numbers always encode, and a Vec never fails to grow");
    }
}

#[cfg(test)]
pub(crate) mod samples {
    use super::*;
    use crate::core::domain::SymbolId;
    use crate::core::signal::Detection;

    pub(crate) fn template() -> RecordTemplate {
        RecordTemplate {
            model: "aapl-daily".into(),
            model_version: "1".into(),
            mode: Mode::Sliding,
            horizon_steps: 1,
            coverage: 0.9,
            features: Vec::new(),
            outputs: Vec::new(),
        }
    }

    pub(crate) fn score() -> Score {
        Score {
            symbol: SymbolId::from_index(0).unwrap(),
            as_of: UnixNanos::parse("2013-02-28").unwrap(),
            target_time: UnixNanos::parse("2013-03-01").unwrap(),
            truth_time: UnixNanos::parse("2013-03-04").unwrap(),
            value: 0.0125,
            truth: -0.25,
            baseline: 0.5,
            against: BaselineKind::Average,
            baselines: [Some(0.0), None, Some(0.5), None, Some(-1.0)],
            lower: -0.5,
            upper: 0.5,
            direction_hit: Some(false),
            quality: Quality::Full,
            out_of_range: true,
            evidence: Evidence::Validation,
            skill: None,
            held: Some(0.75),
            drift: false,
            shifted: Some(true),
            verdict: Verdict {
                word: Word::Worse,
                since: Some(UnixNanos::parse("2012-12-31").unwrap()),
                scores: 330,
                mean_difference: -0.5,
                limits: Some([-0.75, -0.25]),
                log_e_value: 3.5,
            },
            rival: None,
            signal: Signal::Buy,
            signals: SignalCounts {
                scores: 4,
                rises: 2,
                falls: 1,
                buy: SideCounts {
                    detection: Detection { raised: 2, happened: 1, hits: 1 },
                    rises: 1,
                    falls: 1,
                },
                sell: SideCounts::default(),
            },
            output: 0,
            quantiles: Quantiles::NONE,
            quantile_sums: QuantileSums::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::forecast::OutputTemplate;
    use super::*;
    use crate::core::proportion::wilson;

    #[test]
    fn a_score_has_these_bytes() {
        let (template, score) = (samples::template(), samples::score());
        let limits = |share, count| {
            let limits = wilson(share, count);
            format!("{:?},{:?}", limits.low, limits.high)
        };
        let mut bytes = Vec::new();
        template.encode_score("AAPL", &score, None, &mut bytes);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(
            text,
            "{\"schema\":\"tickcast.score.v1\",\"id\":\"ID\",\"symbol\":\"AAPL\",\
             \"model\":\"aapl-daily\",\"model_version\":\"1\",\"mode\":\"sliding\",\
             \"as_of\":\"2013-02-28T00:00:00Z\",\"target_time\":\"2013-03-01T00:00:00Z\",\
             \"truth_time\":\"2013-03-04T00:00:00Z\",\"value\":0.0125,\"truth\":-0.25,\
             \"error\":-0.2625,\"absolute_error\":0.2625,\"baseline\":0.5,\
             \"baseline_absolute_error\":0.75,\"against\":\"average\",\
             \"baselines\":{\"persistence\":0.0,\"average\":0.5,\"linear\":-1.0},\
             \"direction_hit\":false,\"lower\":-0.5,\
             \"upper\":0.5,\"coverage\":0.9,\"covered\":true,\"quality\":\"full\",\
             \"out_of_range\":true,\"evidence\":\"validation\",\"held\":0.75,\"drift\":false,\
             \"shifted\":true,\"verdict\":{\"word\":\"worse\",\
             \"against\":\"average\",\"since\":\"2012-12-31T00:00:00Z\",\"scores\":330,\
             \"mean_difference\":-0.5,\"limits\":[-0.75,-0.25],\"log_e_value\":3.5},\
             \"signal\":\"buy\",\"signals\":{\"scores\":4,\"buy\":{\"raised\":2,\"happened\":1,\
             \"hits\":1,\"precision\":0.5,\"precision_95\":[HALF],\"recall\":1.0,\
             \"recall_95\":[ALL],\"base_rate\":0.25},\"sell\":{\"raised\":0,\"happened\":0,\
             \"hits\":0,\"base_rate\":0.0},\"hit_rate\":0.5,\"hit_rate_95\":[HALF],\
             \"hit_rate_by_chance\":0.6666666666666666}}"
                .replace("ID", &template.id("AAPL", score.as_of).to_string())
                .replace("HALF", &limits(0.5, 2.0))
                .replace("ALL", &limits(1.0, 1.0))
        );
        let back: ScoreRecord<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((back.truth, back.skill, back.direction_hit), (-0.25, None, Some(false)));
        assert_eq!(back.loss_difference().to_bits(), score.loss_difference().to_bits());
        assert_eq!((back.against, back.evidence), (BaselineKind::Average, Evidence::Validation));
        assert_eq!((back.baselines.linear, back.baselines.drift), (Some(-1.0), None));
        assert_eq!(back.verdict, Some(VerdictRecord::new(&score)));
        let early = VerdictRecord::new(&Score { verdict: Verdict::default(), ..score });
        assert_eq!(
            serde_json::to_string(&early).unwrap(),
            "{\"word\":\"too_early\",\"against\":\"average\",\"scores\":0,\
             \"mean_difference\":0.0,\"log_e_value\":0.0}"
        );
        let early = SignalsRecord::new(&SignalCounts::default(), 1);
        assert_eq!(early, None);
        // That of a shadow says how it does beside the live model of its seat.
        let shadow = Score { rival: Some(score.verdict), ..score };
        let mut bytes = Vec::new();
        template.encode_score("AAPL", &shadow, Some(("other", "7")), &mut bytes);
        let beside = String::from_utf8(bytes).unwrap();
        assert_eq!(
            beside,
            text.strip_suffix('}').unwrap().to_owned()
                + ",\"rival\":{\"model\":\"other\",\"model_version\":\"7\",\"word\":\"worse\",\
                   \"since\":\"2012-12-31T00:00:00Z\",\"scores\":330,\"mean_difference\":-0.5,\
                   \"limits\":[-0.75,-0.25],\"log_e_value\":3.5}}"
        );
        let back: ScoreRecord<'_> = serde_json::from_str(&beside).unwrap();
        assert_eq!(back.rival, Some(RivalRecord::new(("other", "7"), score.verdict)));
        // That of an output says how far ahead it looked, and what its quantiles were worth.
        let outputs = vec![
            OutputTemplate { horizon_steps: 1, coverage: 0.9, levels: Vec::new() },
            OutputTemplate { horizon_steps: 5, coverage: 0.8, levels: vec![0.25, 0.5, 0.75] },
        ];
        let listed = RecordTemplate { outputs, ..template.clone() };
        let quantiles = Quantiles::of([-0.5, 0.0125, 0.5]);
        let quantile_sums = QuantileSums::of(&[0.25, 0.5, 0.75], &quantiles, score.truth);
        let further = Score { output: 1, quantiles, quantile_sums, ..score };
        let mut bytes = Vec::new();
        listed.encode_score("AAPL", &further, None, &mut bytes);
        let further = String::from_utf8(bytes).unwrap();
        let level = |level, value, loss, coverage| {
            format!(
                "{{\"level\":{level:?},\"value\":{value:?},\"loss\":{loss:?},\
                 \"mean_loss\":{loss:?},\"coverage\":{coverage:?}}}"
            )
        };
        let levels = [
            level(0.25, -0.5, 0.0625, 0.0),
            level(0.5, 0.0125, 0.13125, 1.0),
            level(0.75, 0.5, 0.1875, 1.0),
        ];
        let behind = format!(",\"horizon_steps\":5,\"quantile_scores\":[{}]}}", levels.join(","));
        assert!(further.ends_with(&behind), "{further}");
        assert!(further.contains("\"coverage\":0.8,\"covered\":true"), "{further}");
        let id = listed.id_of("AAPL", score.as_of, 1);
        assert!(further.contains(&format!("\"id\":\"{id}\"")), "{further}");
        let back: ScoreRecord<'_> = serde_json::from_str(&further).unwrap();
        assert_eq!(back.quantile_scores.unwrap().len(), 3);
        // Those of before have no verdict, and are read.
        let before = text.split_once(",\"verdict\"").unwrap().0.to_owned() + "}";
        assert_eq!(serde_json::from_str::<ScoreRecord<'_>>(&before).unwrap().verdict, None);
    }
}
