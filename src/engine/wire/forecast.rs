//! The wire form of a forecast: one JSON object, `tickcast.forecast.v1`.
//!
//! Owns the field names and their order, and the identity of a forecast. Promises that equal
//! forecasts are equal records, and that nothing in them varies between runs, except the interval,
//! `drift` and `shed_steps` of a shadow that sheds under load. Never writes one: the encoder does,
//! and this is what it is held to.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::core::domain::{Evidence, Forecast, ForecastId, InputShift, Quality, Signal, UnixNanos};
use crate::core::forecast::OutputPlan;
use crate::engine::model::manifest::{Mode, Plans};

/// The value of `schema` in every record.
pub const FORECAST_SCHEMA: &str = "tickcast.forecast.v1";

/// One forecast as it travels; also what readers such as `watch` parse. Names that people choose
/// may hold what JSON escapes, which a reader cannot borrow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForecastRecord<'a> {
    /// Always [`FORECAST_SCHEMA`].
    pub schema: &'a str,
    /// 32 hexadecimal digits; the same model, symbol, `as_of` and horizon give the same id.
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
    /// RFC 3339: event time of the newest step.
    pub as_of: UnixNanos,
    /// RFC 3339: the instant the forecast speaks of.
    pub target_time: UnixNanos,
    /// The forecast in the target's unit.
    pub value: f64,
    /// The price that the value implies; absent where it has no meaning.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub price: Option<f64>,
    /// The newest price behind the forecast; absent where the stream has none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_price: Option<f64>,
    /// Lower end of the interval, in the target's unit.
    pub lower: f64,
    /// Upper end of the interval, in the target's unit.
    pub upper: f64,
    /// The share of truths that the interval is made to hold.
    pub coverage: f64,
    /// Buy, sell or hold by the bundle's thresholds.
    pub signal: Signal,
    /// How whole the window is.
    pub quality: Quality,
    /// Whether any input of the window lies outside the training range.
    pub out_of_range: bool,
    /// Whether the model was trained on this time; `unknown` in records of earlier versions.
    #[serde(default)]
    pub evidence: Evidence,
    /// Whether the symbol's errors are larger than they were; `false` in records of earlier
    /// versions.
    #[serde(default)]
    pub drift: bool,
    /// Whether the symbol's newest inputs have left the distribution of the training; absent where
    /// that is not judged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shifted: Option<bool>,
    /// Where they have, the feature that is furthest beyond its limit.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub shift: Option<ShiftRecord<'a>>,
    /// How many steps of the symbol the model has left out under load, as a shadow: its scores, and
    /// an interval that adapts to them, lack these. Absent for none.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub shed_steps: u64,
    /// How many steps ahead the forecast looks; absent for a model that lists no outputs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub horizon_steps: Option<u32>,
    /// The quantiles, each as its level and its value in the target's unit, rising; absent for an
    /// output without.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub quantiles: Option<Vec<[f64; 2]>>,
    /// Of a blend: what each expert weighs in the forecast. Absent for another model.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub weights: Option<ExpertWeights>,
}

/// The weights of the experts of a blend that weigh anything, each with its name, in the order of
/// the experts: a JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpertWeights(pub Vec<(String, f64)>);

impl Serialize for ExpertWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, weight)| (name, weight)))
    }
}

impl<'de> Deserialize<'de> for ExpertWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = ExpertWeights;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with a number for each expert")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ExpertWeights, A::Error> {
                let mut weights = Vec::new();
                while let Some(weight) = map.next_entry()? {
                    weights.push(weight);
                }
                Ok(ExpertWeights(weights))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// A feature that has left the distribution of the training, as it travels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShiftRecord<'a> {
    /// The feature.
    #[serde(borrow)]
    pub feature: Cow<'a, str>,
    /// Its population stability index.
    pub psi: f64,
}

/// What all forecasts of one model have in common.
#[derive(Clone, Debug)]
pub struct RecordTemplate {
    /// The model's name.
    pub model: String,
    /// The model's version.
    pub model_version: String,
    /// How the model is driven.
    pub mode: Mode,
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
    /// The share of truths that its intervals are made to hold.
    pub coverage: f64,
    /// Its features, in the order of its columns.
    pub features: Vec<String>,
    /// Its outputs, the first one first; empty for a model that lists none.
    pub outputs: Vec<OutputTemplate>,
}

/// What all forecasts of one output have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTemplate {
    /// How many steps ahead it looks.
    pub horizon_steps: u32,
    /// The share of truths that its intervals are made to hold.
    pub coverage: f64,
    /// The levels of its quantiles.
    pub levels: Vec<f64>,
}

impl OutputTemplate {
    /// Those of a model, in the order of its outputs.
    pub fn of(plans: &Plans) -> Vec<Self> {
        let of_output = |plan: &OutputPlan| Self {
            horizon_steps: plan.horizon_steps(),
            coverage: plan.forecast().coverage(),
            levels: plan.levels().to_vec(),
        };
        plans.outputs.plans.iter().map(of_output).collect()
    }
}

impl RecordTemplate {
    /// The identity of a forecast of this model.
    pub fn id(&self, symbol: &str, as_of: UnixNanos) -> ForecastId {
        self.id_of(symbol, as_of, 0)
    }

    /// The identity of a forecast of the output at a place.
    pub fn id_of(&self, symbol: &str, as_of: UnixNanos, output: u8) -> ForecastId {
        self.finish_id(self.model_hash(), symbol, as_of, output)
    }

    /// The output at a place; `None` for a model that lists none.
    pub fn output(&self, output: u8) -> Option<&OutputTemplate> {
        self.outputs.get(usize::from(output))
    }

    /// How many steps ahead the output at a place looks.
    pub fn horizon_of(&self, output: u8) -> u32 {
        self.output(output).map_or(self.horizon_steps, |output| output.horizon_steps)
    }

    /// The share of truths that the intervals of the output at a place are made to hold.
    pub fn coverage_of(&self, output: u8) -> f64 {
        self.output(output).map_or(self.coverage, |output| output.coverage)
    }

    /// The part of every id that is the model's.
    pub(super) fn model_hash(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for part in [&self.model, &self.model_version] {
            update_with(&mut hash, part);
        }
        hash
    }

    /// The rest of an id: `hash` is what [`RecordTemplate::model_hash`] gave.
    pub(super) fn finish_id(
        &self,
        mut hash: Sha256,
        symbol: &str,
        as_of: UnixNanos,
        output: u8,
    ) -> ForecastId {
        update_with(&mut hash, symbol);
        hash.update(as_of.as_nanos().to_le_bytes());
        hash.update(self.horizon_of(output).to_le_bytes());
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        ForecastId(id)
    }

    /// The name of the feature at a place among the model's columns.
    pub(super) fn feature(&self, place: u16) -> &str {
        self.features.get(usize::from(place)).map_or("", String::as_str)
    }

    /// A forecast as it travels. What [`RecordEncoder`](super::encoder::RecordEncoder) writes are
    /// the bytes that `serde_json` makes of it.
    pub fn record<'a>(&'a self, symbol: &'a str, forecast: &Forecast) -> ForecastRecord<'a> {
        ForecastRecord {
            schema: FORECAST_SCHEMA,
            id: self.id_of(symbol, forecast.as_of, forecast.output).to_string().into(),
            symbol: symbol.into(),
            model: (&*self.model).into(),
            model_version: (&*self.model_version).into(),
            mode: self.mode,
            as_of: forecast.as_of,
            target_time: forecast.target_time,
            value: forecast.value,
            price: forecast.price,
            last_price: forecast.last_price,
            lower: forecast.lower,
            upper: forecast.upper,
            coverage: self.coverage_of(forecast.output),
            signal: forecast.signal,
            quality: forecast.quality,
            out_of_range: forecast.out_of_range,
            evidence: forecast.evidence,
            drift: forecast.drift,
            shifted: forecast.shift.is_shifted(),
            shift: match forecast.shift {
                InputShift::Shifted { feature, psi } => {
                    Some(ShiftRecord { feature: self.feature(feature).into(), psi })
                }
                InputShift::Unknown | InputShift::Within => None,
            },
            shed_steps: forecast.shed_steps,
            horizon_steps: self.output(forecast.output).map(|output| output.horizon_steps),
            quantiles: self.output(forecast.output).and_then(|output| {
                let values = output.levels.iter().zip(forecast.quantiles.as_slice());
                let pairs = values.map(|(level, value)| [*level, *value]).collect();
                (!output.levels.is_empty()).then_some(pairs)
            }),
            weights: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The length first, so that no two different lists of parts give the same bytes.
fn update_with(hash: &mut Sha256, part: &str) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part);
}

#[cfg(test)]
mod tests {
    use super::super::encoder::RecordEncoder;
    use super::*;
    use crate::core::domain::{Quantiles, SymbolId};

    #[test]
    fn a_forecast_has_these_bytes() {
        let template = RecordTemplate {
            model: "aapl-daily".into(),
            model_version: "1".into(),
            mode: Mode::Sliding,
            horizon_steps: 1,
            coverage: 0.9,
            features: vec!["close".into(), "lag(close,1)".into()],
            outputs: Vec::new(),
        };
        let forecast = Forecast {
            symbol: SymbolId::from_index(0).unwrap(),
            as_of: UnixNanos::parse("2013-02-28").unwrap(),
            target_time: UnixNanos::parse("2013-03-01").unwrap(),
            value: 0.0125,
            price: Some(446.9),
            last_price: None,
            lower: -0.02,
            upper: 0.045,
            signal: Signal::Hold,
            quality: Quality::Full,
            out_of_range: false,
            evidence: Evidence::Unseen,
            drift: false,
            shift: InputShift::Unknown,
            shed_steps: 0,
            output: 0,
            quantiles: Quantiles::NONE,
        };
        let mut bytes = Vec::new();
        let encoder = RecordEncoder::new(template);
        encoder.encode("AAPL", &forecast, &mut bytes);
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(
            text,
            "{\"schema\":\"tickcast.forecast.v1\",\"id\":\"ID\",\"symbol\":\"AAPL\",\
             \"model\":\"aapl-daily\",\"model_version\":\"1\",\"mode\":\"sliding\",\
             \"as_of\":\"2013-02-28T00:00:00Z\",\"target_time\":\"2013-03-01T00:00:00Z\",\
             \"value\":0.0125,\"price\":446.9,\"lower\":-0.02,\"upper\":0.045,\"coverage\":0.9,\
             \"signal\":\"hold\",\"quality\":\"full\",\"out_of_range\":false,\
             \"evidence\":\"unseen\",\"drift\":false}"
                .replace("ID", &encoder.template().id("AAPL", forecast.as_of).to_string())
        );
        let back: ForecastRecord<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&*back.symbol, back.value, back.last_price), ("AAPL", 0.0125, None));
        assert_eq!(back.shed_steps, 0);
        let mut shed = Vec::new();
        encoder.encode("AAPL", &Forecast { shed_steps: 12, ..forecast }, &mut shed);
        let behind = [bytes.strip_suffix(b"}").unwrap(), b",\"shed_steps\":12}"].concat();
        assert_eq!(shed, behind);
        assert_eq!(serde_json::from_slice::<ForecastRecord<'_>>(&shed).unwrap().shed_steps, 12);
        let shift = |shift| {
            let mut bytes = Vec::new();
            encoder.encode("AAPL", &Forecast { shift, drift: true, ..forecast }, &mut bytes);
            let text = String::from_utf8(bytes).unwrap();
            text.split_once(",\"drift\":true").unwrap().1.to_owned()
        };
        assert_eq!(shift(InputShift::Within), ",\"shifted\":false}");
        let shifted = shift(InputShift::Shifted { feature: 1, psi: 1.5 });
        let expected = "\"shift\":{\"feature\":\"lag(close,1)\",\"psi\":1.5}}";
        assert_eq!(shifted, format!(",\"shifted\":true,{expected}"));
        let experts = ["vol".to_owned(), "vol:recalibrated".to_owned(), "average".to_owned()];
        let encoder = encoder.with_experts(&experts);
        let mut blended = bytes.clone();
        encoder.add_weights(&[4_123, 0, 5_877], &mut blended);
        let weights = b",\"weights\":{\"vol\":0.4123,\"average\":0.5877}}";
        assert_eq!(blended, [bytes.strip_suffix(b"}").unwrap(), weights].concat());
        let back: ForecastRecord<'_> = serde_json::from_slice(&blended).unwrap();
        let expected = [("vol".to_owned(), 0.4123), ("average".to_owned(), 0.5877)];
        assert_eq!(back.weights, Some(ExpertWeights(expected.into())));
        // A model that lists outputs says how far ahead each looks, and what else it gives.
        let output = |horizon_steps, levels: &[f64]| OutputTemplate {
            horizon_steps,
            coverage: 0.5,
            levels: levels.to_vec(),
        };
        let outputs = vec![output(1, &[]), output(5, &[0.25, 0.5, 0.75])];
        let listed = RecordEncoder::new(RecordTemplate { outputs, ..encoder.template().clone() });
        let behind = |of: &Forecast| {
            let mut bytes = Vec::new();
            listed.encode("AAPL", of, &mut bytes);
            let text = String::from_utf8(bytes).unwrap();
            text.split_once(",\"drift\":false").unwrap().1.to_owned()
        };
        assert_eq!(behind(&forecast), ",\"horizon_steps\":1}");
        let quantiles = Quantiles::of([-0.01, 0.0125, 0.03]);
        let further = Forecast { output: 1, quantiles, ..forecast };
        let pairs = "[[0.25,-0.01],[0.5,0.0125],[0.75,0.03]]";
        assert_eq!(behind(&further), format!(",\"horizon_steps\":5,\"quantiles\":{pairs}}}"));
        let ids = [0, 1].map(|output| listed.template().id_of("AAPL", forecast.as_of, output));
        assert_eq!(ids[0], listed.template().id("AAPL", forecast.as_of));
        assert_ne!(ids[0], ids[1]);
        bytes.clear();
        encoder.encode("A\"\\B", &forecast, &mut bytes);
        let back: ForecastRecord<'_> = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(back.symbol, "A\"\\B", "a name that JSON escapes is read as well");
    }

    #[test]
    fn ids_differ_where_any_part_differs() {
        let template = |model: &str, version: &str, horizon_steps| RecordTemplate {
            model: model.into(),
            model_version: version.into(),
            mode: Mode::Full,
            horizon_steps,
            coverage: 0.9,
            features: Vec::new(),
            outputs: Vec::new(),
        };
        let time = UnixNanos::from_nanos;
        let ids = [
            template("m", "1", 1).id("A", time(0)),
            template("m1", "", 1).id("A", time(0)),
            template("m", "1", 2).id("A", time(0)),
            template("m", "1", 1).id("B", time(0)),
            template("m", "1", 1).id("A", time(1)),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
        assert_eq!(ids[0], template("m", "1", 1).id("A", time(0)));
    }
}
