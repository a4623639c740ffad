//! Forecasts to JSON, as quickly as their bytes can be put together.
//!
//! Owns the order in which the pieces of a record are written. Promises the bytes that `serde_json`
//! makes of the same [`ForecastRecord`](super::forecast::ForecastRecord), for any forecast, and
//! that encoding allocates for a growing buffer alone. Never writes anything but a record.
//!
//! What all forecasts of a model have in common is encoded once. The digits of numbers come from
//! the crate that `serde_json` itself takes them from.

use serde::Serialize;
use sha2::Sha256;

use super::forecast::{FORECAST_SCHEMA, OutputTemplate, RecordTemplate};
use crate::core::blend::WEIGHT_PARTS;
use crate::core::domain::{Forecast, ForecastId, InputShift, Quality, Signal, UnixNanos};

/// What a record takes beside its names: keys, times, the id and eight numbers.
const BYTES_BESIDE_NAMES: usize = 512;

/// Writes the forecasts of one model.
#[derive(Clone, Debug)]
pub struct RecordEncoder {
    template: RecordTemplate,
    /// Of an id, what does not change.
    model_hash: Sha256,
    /// From behind the symbol to the digits of `as_of`.
    model: Vec<u8>,
    /// By output, from behind the digits of `upper` to the name of the signal; one for a model that
    /// lists none.
    coverage: Vec<Vec<u8>>,
    /// By output of a model that lists them, the horizon, and for each level what is before its
    /// value.
    outputs: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
    /// Of a blend: the names of the experts as JSON, each with its colon.
    experts: Vec<Vec<u8>>,
}

impl RecordEncoder {
    /// An encoder of the forecasts that have `template` in common.
    pub fn new(template: RecordTemplate) -> Self {
        let RecordTemplate { model, model_version, mode, outputs, .. } = &template;
        let mut behind_symbol = b",\"model\":".to_vec();
        push_json(&mut behind_symbol, model);
        behind_symbol.extend_from_slice(b",\"model_version\":");
        push_json(&mut behind_symbol, model_version);
        behind_symbol.extend_from_slice(b",\"mode\":");
        push_json(&mut behind_symbol, mode);
        behind_symbol.extend_from_slice(b",\"as_of\":\"");
        let behind_upper = |coverage: f64| {
            let mut behind_upper = b",\"coverage\":".to_vec();
            push_number(&mut behind_upper, coverage);
            behind_upper.extend_from_slice(b",\"signal\":\"");
            behind_upper
        };
        let coverage = match &outputs[..] {
            [] => vec![behind_upper(template.coverage)],
            outputs => outputs.iter().map(|output| behind_upper(output.coverage)).collect(),
        };
        let outputs = outputs.iter().map(pieces).collect();
        let model_hash = template.model_hash();
        let (model, experts) = (behind_symbol, Vec::new());
        Self { template, model_hash, model, coverage, outputs, experts }
    }

    /// The same of a blend of these experts.
    #[must_use]
    pub fn with_experts(self, names: &[String]) -> Self {
        let named = |name: &String| {
            let mut named = Vec::new();
            push_json(&mut named, name);
            named.push(b':');
            named
        };
        Self { experts: names.iter().map(named).collect(), ..self }
    }

    /// What all forecasts have in common.
    pub fn template(&self) -> &RecordTemplate {
        &self.template
    }

    /// Appends one forecast to `buffer` as JSON without a line end.
    pub fn encode(&self, symbol: &str, forecast: &Forecast, buffer: &mut Vec<u8>) {
        let Forecast { as_of, target_time, value, price, last_price, lower, upper, .. } = *forecast;
        let place = usize::from(forecast.output);
        let coverage = self.coverage.get(place).map_or(&[][..], Vec::as_slice);
        buffer.reserve(BYTES_BESIDE_NAMES + symbol.len() + self.model.len() + coverage.len());
        buffer.extend_from_slice(b"{\"schema\":\"");
        buffer.extend_from_slice(FORECAST_SCHEMA.as_bytes());
        buffer.extend_from_slice(b"\",\"id\":\"");
        buffer.extend_from_slice(&self.id(symbol, as_of, forecast.output).digits());
        buffer.extend_from_slice(b"\",\"symbol\":");
        push_symbol(buffer, symbol);
        buffer.extend_from_slice(&self.model);
        buffer.extend_from_slice(as_of.text().as_bytes());
        buffer.extend_from_slice(b"\",\"target_time\":\"");
        buffer.extend_from_slice(target_time.text().as_bytes());
        buffer.extend_from_slice(b"\",\"value\":");
        push_number(buffer, value);
        if let Some(price) = price {
            buffer.extend_from_slice(b",\"price\":");
            push_number(buffer, price);
        }
        if let Some(last_price) = last_price {
            buffer.extend_from_slice(b",\"last_price\":");
            push_number(buffer, last_price);
        }
        buffer.extend_from_slice(b",\"lower\":");
        push_number(buffer, lower);
        buffer.extend_from_slice(b",\"upper\":");
        push_number(buffer, upper);
        buffer.extend_from_slice(coverage);
        buffer.extend_from_slice(signal_name(forecast.signal));
        buffer.extend_from_slice(b"\",\"quality\":\"");
        buffer.extend_from_slice(quality_name(forecast.quality));
        buffer.extend_from_slice(b"\",\"out_of_range\":");
        buffer.extend_from_slice(if forecast.out_of_range { b"true" } else { b"false" });
        buffer.extend_from_slice(b",\"evidence\":\"");
        buffer.extend_from_slice(forecast.evidence.label().as_bytes());
        buffer.extend_from_slice(b"\",\"drift\":");
        buffer.extend_from_slice(if forecast.drift { b"true" } else { b"false" });
        self.push_shift(buffer, forecast.shift);
        if forecast.shed_steps > 0 {
            buffer.extend_from_slice(b",\"shed_steps\":");
            push_json(buffer, &forecast.shed_steps);
        }
        if let Some((horizon, levels)) = self.outputs.get(place) {
            buffer.extend_from_slice(horizon);
            push_quantiles(buffer, levels, forecast.quantiles.as_slice());
        }
        buffer.push(b'}');
    }

    fn push_shift(&self, buffer: &mut Vec<u8>, shift: InputShift) {
        match shift {
            InputShift::Unknown => {}
            InputShift::Within => buffer.extend_from_slice(b",\"shifted\":false"),
            InputShift::Shifted { feature, psi } => {
                buffer.extend_from_slice(b",\"shifted\":true,\"shift\":{\"feature\":");
                push_json(buffer, self.template.feature(feature));
                buffer.extend_from_slice(b",\"psi\":");
                push_number(buffer, psi);
                buffer.push(b'}');
            }
        }
    }

    /// Adds the weights of a blend to the forecast that was appended last, in the order of the
    /// experts and in parts of [`WEIGHT_PARTS`].
    pub fn add_weights(&self, weights: &[u16], buffer: &mut Vec<u8>) {
        if buffer.pop_if(|byte| *byte == b'}').is_none() {
            return;
        }
        buffer.extend_from_slice(b",\"weights\":{");
        let mut is_first = true;
        for (name, parts) in self.experts.iter().zip(weights).filter(|(_, parts)| **parts > 0) {
            if !std::mem::take(&mut is_first) {
                buffer.push(b',');
            }
            buffer.extend_from_slice(name);
            push_number(buffer, f64::from(*parts) / f64::from(WEIGHT_PARTS));
        }
        buffer.extend_from_slice(b"}}");
    }

    fn id(&self, symbol: &str, as_of: UnixNanos, output: u8) -> ForecastId {
        self.template.finish_id(self.model_hash.clone(), symbol, as_of, output)
    }
}

/// The horizon of an output with its key, and for each level what is before its value.
fn pieces(output: &OutputTemplate) -> (Vec<u8>, Vec<Vec<u8>>) {
    let mut horizon = b",\"horizon_steps\":".to_vec();
    push_json(&mut horizon, &output.horizon_steps);
    let before = |level: &f64| {
        let mut before = b"[".to_vec();
        push_number(&mut before, *level);
        before.push(b',');
        before
    };
    (horizon, output.levels.iter().map(before).collect())
}

fn push_quantiles(buffer: &mut Vec<u8>, levels: &[Vec<u8>], values: &[f64]) {
    if levels.is_empty() {
        return;
    }
    buffer.extend_from_slice(b",\"quantiles\":[");
    for (at, (before, value)) in levels.iter().zip(values).enumerate() {
        if at > 0 {
            buffer.push(b',');
        }
        buffer.extend_from_slice(before);
        push_number(buffer, *value);
        buffer.push(b']');
    }
    buffer.push(b']');
}

/// A symbol in quotes. Hardly any has a byte that JSON escapes; of those that do the reference
/// itself takes care.
fn push_symbol(buffer: &mut Vec<u8>, symbol: &str) {
    if symbol.bytes().any(|byte| byte < b' ' || byte == b'"' || byte == b'\\') {
        push_json(buffer, symbol);
        return;
    }
    buffer.push(b'"');
    buffer.extend_from_slice(symbol.as_bytes());
    buffer.push(b'"');
}

fn push_number(buffer: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        buffer.extend_from_slice(zmij::Buffer::new().format_finite(number).as_bytes());
    } else {
        // No forecast has one; it is what the reference writes.
        buffer.extend_from_slice(b"null");
    }
}

fn push_json<T: Serialize + ?Sized>(buffer: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(buffer, value)
        .expect("texts and names always encode, and a Vec never fails to grow");
}

fn signal_name(signal: Signal) -> &'static [u8] {
    match signal {
        Signal::Buy => b"buy",
        Signal::Sell => b"sell",
        Signal::Hold => b"hold",
    }
}

fn quality_name(quality: Quality) -> &'static [u8] {
    match quality {
        Quality::Full => b"full",
        Quality::Patched => b"patched",
        Quality::Gapped => b"gapped",
        Quality::Mistimed => b"mistimed",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;
    use crate::core::domain::{Evidence, LEVELS_MAX, Quantiles, SymbolId};
    use crate::engine::model::manifest::Mode;
    use crate::engine::wire::forecast::ExpertWeights;

    /// Any bits, what people send, whole numbers, and the places where the notation turns.
    fn number() -> impl Strategy<Value = f64> {
        let ends = [0.0, f64::MIN_POSITIVE, f64::MAX, 5e-324, 1e-5, 9.999_999e-6, 0.1 + 0.2, 1e15];
        let more = [9_007_199_254_740_993.0, 1e16, 123_456_789_012_345_680.0, 1e17, 1e20, 1e21];
        let decimal = (any::<i32>(), 0..8)
            .prop_map(|(digits, places)| f64::from(digits) / 10f64.powi(places));
        prop_oneof![
            4 => any::<u64>().prop_map(f64::from_bits),
            2 => decimal,
            2 => any::<i64>().prop_map(|number| number as f64),
            2 => any::<f32>().prop_map(f64::from),
            1 => (select([&ends[..], &more].concat()), any::<bool>())
                .prop_map(|(number, negative)| if negative { -number } else { number }),
            1 => select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        ]
    }

    fn time() -> impl Strategy<Value = UnixNanos> {
        (any::<i64>(), select(vec![1, 1_000_000, 1_000_000_000]))
            .prop_map(|(nanos, unit)| UnixNanos::from_nanos(nanos - nanos % unit))
    }

    /// Names as people choose them, and all that JSON escapes or a careless encoder would.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-Z]{1,5}",
            "[\"\\\\/\\x00-\\x1f\\x7f<>&'\u{2028}é€🦀]{0,70}",
            any::<String>()
        ]
    }

    fn shift() -> impl Strategy<Value = InputShift> {
        // The last place is that of no feature.
        let shifted =
            (0..4u16, number()).prop_map(|(feature, psi)| InputShift::Shifted { feature, psi });
        prop_oneof![Just(InputShift::Unknown), Just(InputShift::Within), shifted]
    }

    fn forecast() -> impl Strategy<Value = Forecast> {
        let numbers = (number(), prop::option::of(number()), prop::option::of(number()));
        let interval = (number(), number());
        let labels = (
            select(vec![Signal::Buy, Signal::Sell, Signal::Hold]),
            select(Quality::ALL.to_vec()),
            any::<bool>(),
            prop_oneof![Just(0), any::<u64>()],
            select(Evidence::ALL.to_vec()),
            any::<bool>(),
            shift(),
            (0..2u8, prop::collection::vec(number(), 0..=LEVELS_MAX)),
        );
        (time(), time(), numbers, interval, labels).prop_map(
            |(as_of, target_time, (value, price, last_price), (lower, upper), labels)| Forecast {
                symbol: SymbolId::from_index(0).unwrap(),
                as_of,
                target_time,
                value,
                price,
                last_price,
                lower,
                upper,
                signal: labels.0,
                quality: labels.1,
                out_of_range: labels.2,
                evidence: labels.4,
                drift: labels.5,
                shift: labels.6,
                shed_steps: labels.3,
                output: labels.7.0,
                quantiles: Quantiles::of(labels.7.1),
            },
        )
    }

    fn template() -> impl Strategy<Value = RecordTemplate> {
        let mode = select(vec![Mode::Full, Mode::Sliding, Mode::Carried]);
        let features = prop::collection::vec(name(), 3);
        let levels = prop::collection::vec(number(), 0..4);
        let output =
            (any::<u32>(), number(), levels).prop_map(|(horizon_steps, coverage, levels)| {
                OutputTemplate { horizon_steps, coverage, levels }
            });
        let outputs = prop::collection::vec(output, 2);
        (name(), name(), mode, any::<u32>(), number(), features, outputs).prop_map(
            |(model, model_version, mode, horizon_steps, coverage, features, outputs)| {
                RecordTemplate {
                    model,
                    model_version,
                    mode,
                    horizon_steps,
                    coverage,
                    features,
                    outputs,
                }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_record_has_the_bytes_of_the_reference(
            template in template(),
            symbol in name(),
            forecast in forecast(),
        ) {
            let reference = serde_json::to_string(&template.record(&symbol, &forecast)).unwrap();
            let mut bytes = b"kept ".to_vec();
            RecordEncoder::new(template).encode(&symbol, &forecast, &mut bytes);
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("kept {reference}"));
        }

        #[test]
        fn the_record_of_a_blend_has_the_bytes_of_the_reference(
            template in template(),
            symbol in name(),
            forecast in forecast(),
            weights in prop::collection::vec((name(), 0..=WEIGHT_PARTS), 0..6),
        ) {
            let (names, parts): (Vec<_>, Vec<_>) = weights.into_iter().unzip();
            let weighs = names.iter().cloned().zip(&parts).filter(|(_, parts)| **parts > 0);
            let weighs = weighs.map(|(name, parts)| (name, f64::from(*parts) / 10_000.0));
            let mut record = template.record(&symbol, &forecast);
            record.weights = Some(ExpertWeights(weighs.collect()));
            let reference = serde_json::to_string(&record).unwrap();
            let mut bytes = b"kept ".to_vec();
            let encoder = RecordEncoder::new(template.clone()).with_experts(&names);
            encoder.encode(&symbol, &forecast, &mut bytes);
            encoder.add_weights(&parts, &mut bytes);
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), format!("kept {reference}"));
        }
    }
}
