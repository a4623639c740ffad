//! A scaler of scikit-learn, read from its attributes.
//!
//! Owns what `vars(scaler)` of a fitted scaler means. Promises the scaler that computes the same,
//! bit for bit in either precision, and every problem at once, each with the attribute at fault.
//! Never opens a file.

use serde_json::{Map, Value};

use super::fit::spread_or_one;
use super::{ColumnLine, ColumnMoments, ColumnQuantiles, Precision, Scaler};
use crate::core::text::excerpt;

/// The most characters of a foreign name that a message shows.
const NAME_CHARS_MAX: usize = 64;

/// A fitted scaler of scikit-learn: `MinMaxScaler`, `StandardScaler`, `RobustScaler` or
/// `MaxAbsScaler`.
#[derive(Clone, Debug, PartialEq)]
pub struct Scikit {
    form: Form,
    /// Two numbers per column: factor and offset of a line; center and scale of the other forms.
    columns: Vec<[f64; 2]>,
    /// The training range of each column; infinite where the attributes do not have it.
    ranges: Vec<[f64; 2]>,
    /// The names of the columns, where the scaler was fitted to named ones.
    names: Option<Vec<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    Line { clip: Option<[f64; 2]> },
    Standard,
    Robust,
}

/// The attributes, and what was found wrong with them.
struct Attributes {
    map: Map<String, Value>,
    problems: Vec<String>,
}

/// Factor and offset by which a `MinMaxScaler` maps a training range onto another one.
pub(super) fn minmax_line([low, high]: [f64; 2], min: f64, max: f64) -> (f64, f64) {
    let factor = (high - low) / spread_or_one(max - min);
    (factor, low - min * factor)
}

impl Scikit {
    /// Reads the attributes of a fitted scaler from a JSON object, with arrays as lists. Which
    /// scaler it is follows from the attributes; those that do not decide how values are scaled are
    /// passed over.
    ///
    /// # Errors
    /// One line per problem, each beginning with the attribute at fault.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let map = match serde_json::from_str(text) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(vec!["the attributes of a scaler are one JSON object".to_owned()]),
            Err(error) => {
                let hint = "; Python writes NaN and Infinity, which are not JSON";
                let hint = if ["NaN", "Infinity"].iter().any(|word| text.contains(word)) {
                    hint
                } else {
                    ""
                };
                return Err(vec![format!(
                    "the attributes of a scaler are not JSON: {error}{hint}"
                )]);
            }
        };
        let mut attributes = Attributes { map, problems: Vec::new() };
        let scaler = attributes.scaler();
        match scaler {
            Some(scaler) if attributes.problems.is_empty() => Ok(scaler),
            _ => Err(attributes.problems),
        }
    }

    /// How many columns it scales.
    pub fn width(&self) -> usize {
        self.columns.len()
    }

    /// The scaler of these features, which are its columns in order.
    ///
    /// # Errors
    /// One line for each problem: another count, or the same names in another order.
    pub fn scaler(&self, features: &[String], precision: Precision) -> Result<Scaler, Vec<String>> {
        if features.len() != self.width() {
            return Err(vec![format!(
                "the scaler has {} columns, the model has {} features",
                self.width(),
                features.len()
            )]);
        }
        let misplaced = self.misplaced(features);
        if !misplaced.is_empty() {
            return Err(misplaced);
        }
        let columns: Vec<usize> = (0..self.width()).collect();
        self.of(&columns, features, precision)
    }

    /// The scaler of one of its columns, counted from 0, under another name: what a target needs
    /// that was scaled together with the features.
    ///
    /// # Errors
    /// One line, where there is no such column or it cannot be used.
    pub fn column(
        &self,
        column: usize,
        name: &str,
        precision: Precision,
    ) -> Result<Scaler, Vec<String>> {
        if column >= self.width() {
            let columns = self.width();
            return Err(vec![format!("the scaler has {columns} columns and no column {column}")]);
        }
        self.of(&[column], &[name.to_owned()], precision)
    }

    /// Where the scaler's own names say another order of the features. Names that are not those of
    /// the features say nothing.
    fn misplaced(&self, features: &[String]) -> Vec<String> {
        let Some(names) = &self.names else { return Vec::new() };
        let same = |a: &String, b: &String| a.eq_ignore_ascii_case(b);
        if !features.iter().all(|feature| names.iter().any(|name| same(name, feature))) {
            return Vec::new();
        }
        let pairs = features.iter().zip(names).enumerate();
        pairs
            .filter(|(_, (feature, name))| !same(feature, name))
            .map(|(at, (feature, name))| {
                let name = excerpt(name, NAME_CHARS_MAX);
                format!(
                    "feature_names_in_[{at}]: is `{name}`, and feature {at} of the model is \
                     `{feature}`: the features need the order of the scaler"
                )
            })
            .collect()
    }

    fn of(
        &self,
        columns: &[usize],
        names: &[String],
        precision: Precision,
    ) -> Result<Scaler, Vec<String>> {
        let parts = columns.iter().zip(names).map(|(at, name)| {
            let ([first, second], [min, max]) = (self.columns[*at], self.ranges[*at]);
            (name.clone(), first, second, min, max)
        });
        let scaler = match self.form {
            Form::Line { clip } => {
                let line = |(feature, factor, offset, min, max)| ColumnLine {
                    feature,
                    factor,
                    offset,
                    min,
                    max,
                };
                Scaler::Linear { clip, precision, columns: parts.map(line).collect() }
            }
            Form::Standard => {
                let moments = |(feature, mean, deviation, min, max)| ColumnMoments {
                    feature,
                    mean,
                    deviation,
                    min,
                    max,
                };
                Scaler::Standard { precision, columns: parts.map(moments).collect() }
            }
            Form::Robust => {
                let quantiles = |(feature, center, scale, min, max)| ColumnQuantiles {
                    feature,
                    center,
                    scale,
                    min,
                    max,
                };
                Scaler::Robust { precision, columns: parts.map(quantiles).collect() }
            }
        };
        match scaler.affine() {
            Ok(_) => Ok(scaler),
            Err(error) => Err(vec![error.to_string()]),
        }
    }
}

impl Attributes {
    /// The scaler that the attributes belong to; `None`, with a problem noted, where there is none.
    fn scaler(&mut self) -> Option<Scikit> {
        let has = |names: &[&str]| names.iter().any(|name| self.map.contains_key(*name));
        let (form, columns, ranges) = if has(&["center_", "quantile_range"]) {
            let columns =
                self.centered(["center_", "with_centering"], ["scale_", "with_scaling"])?;
            (Form::Robust, columns, None)
        } else if has(&["data_min_", "data_max_", "min_", "feature_range"]) {
            self.minmax()?
        } else if has(&["max_abs_"]) {
            if self.switch("clip", false) {
                self.problem("clip", "of a MaxAbsScaler cannot be taken over; it must be false");
            }
            let scale = self.numbers("scale_")?;
            (Form::Standard, scale.into_iter().map(|scale| [0.0, scale]).collect(), None)
        } else if has(&["mean_", "var_", "with_mean"]) {
            let columns = self.centered(["mean_", "with_mean"], ["scale_", "with_std"])?;
            (Form::Standard, columns, None)
        } else {
            self.problems.push(
                "these are the attributes of no fitted scaler that is known: a MinMaxScaler has \
                 `data_min_`, `data_max_` and `feature_range`, a StandardScaler `mean_` and \
                 `scale_`, a RobustScaler `center_` and `scale_`, a MaxAbsScaler `max_abs_`"
                    .to_owned(),
            );
            return None;
        };
        let width = columns.len();
        let names = self.names(width);
        if let Some(count) = self.map.get("n_features_in_")
            && count.as_u64() != Some(width as u64)
        {
            let problem = format!("is {count}, and the scaler has {width} columns");
            self.problem("n_features_in_", &problem);
        }
        let unknown = [f64::NEG_INFINITY, f64::INFINITY];
        let ranges = ranges.unwrap_or_else(|| vec![unknown; width]);
        Some(Scikit { form, columns, ranges, names })
    }

    /// Center and scale of each column. A part that is switched off, or null, leaves values as they
    /// are.
    fn centered(
        &mut self,
        [center, with_center]: [&str; 2],
        [scale, with_scale]: [&str; 2],
    ) -> Option<Vec<[f64; 2]>> {
        let mut part = |name: &str, switch: &str| -> Option<Option<Vec<f64>>> {
            let off = !self.switch(switch, true) || self.map.get(name) == Some(&Value::Null);
            if off { Some(None) } else { self.numbers(name).map(Some) }
        };
        let parts = (part(center, with_center), part(scale, with_scale));
        let (centers, scales) = (parts.0?, parts.1?);
        let width = self.width(&[(center, centers.as_deref()), (scale, scales.as_deref())])?;
        self.check_above_zero(scale, scales.as_deref());
        let centers = centers.unwrap_or_else(|| vec![0.0; width]);
        let scales = scales.unwrap_or_else(|| vec![1.0; width]);
        Some(centers.into_iter().zip(scales).map(|(center, scale)| [center, scale]).collect())
    }

    /// Factor and offset of each column, and the training ranges.
    #[expect(clippy::type_complexity, reason = "the parts of a scaler, named by its only caller")]
    fn minmax(&mut self) -> Option<(Form, Vec<[f64; 2]>, Option<Vec<[f64; 2]>>)> {
        let clips = self.switch("clip", false);
        let target = self.target_range();
        let [min, max] = ["data_min_", "data_max_"].map(|name| self.optional_numbers(name));
        let [factor, offset] = ["scale_", "min_"].map(|name| self.optional_numbers(name));
        let (min, max, factor, offset) = (min?, max?, factor?, offset?);
        let width = self.width(&[
            ("data_min_", min.as_deref()),
            ("data_max_", max.as_deref()),
            ("scale_", factor.as_deref()),
            ("min_", offset.as_deref()),
        ])?;
        let ranges: Option<Vec<[f64; 2]>> =
            min.zip(max).map(|(min, max)| min.into_iter().zip(max).map(|(a, b)| [a, b]).collect());
        for (at, [min, max]) in ranges.iter().flatten().enumerate() {
            if min > max {
                let problem = format!("is {min}, above `data_max_[{at}]`, {max}");
                self.problem(&format!("data_min_[{at}]"), &problem);
            }
        }
        self.check_above_zero("scale_", factor.as_deref());
        let lines: Vec<[f64; 2]> = match (factor.zip(offset), &ranges, target) {
            (Some((factor, offset)), _, _) => {
                factor.into_iter().zip(offset).map(|(a, b)| [a, b]).collect()
            }
            (None, Some(ranges), Some(target)) => ranges
                .iter()
                .map(|[min, max]| <[f64; 2]>::from(minmax_line(target, *min, *max)))
                .collect(),
            (None, _, _) => {
                self.problems.push(
                    "a MinMaxScaler needs `scale_` and `min_`, or `data_min_`, `data_max_` and \
                     `feature_range`"
                        .to_owned(),
                );
                return None;
            }
        };
        if let (Some(ranges), Some([low, high])) = (&ranges, target) {
            self.check_lines(&lines, ranges, [low, high]);
        }
        let clip = if clips { target } else { None };
        if clips && target.is_none() {
            self.problem("clip", "needs `feature_range`");
        }
        debug_assert_eq!(lines.len(), width, "lists of equal lengths make the lines");
        Some((Form::Line { clip }, lines, ranges))
    }

    /// Attributes of two scalers, or of one before and after another fit, do not belong together.
    fn check_lines(&mut self, lines: &[[f64; 2]], ranges: &[[f64; 2]], [low, high]: [f64; 2]) {
        /// Far above the error of single precision, far below what another fit changes.
        const SHARE_MAX: f64 = 1e-3;
        for (at, ([factor, offset], [min, max])) in lines.iter().zip(ranges).enumerate() {
            // Rounding is relative to the numbers that cancel each other out.
            let size = (high - low).max((min * factor).abs()).max(offset.abs());
            let apart = (min * factor + offset - low).abs();
            let expected = (high - low) / spread_or_one(max - min);
            if apart > SHARE_MAX * size || (factor / expected - 1.0).abs() > SHARE_MAX {
                let problem = format!(
                    "with `min_[{at}]` does not map `data_min_[{at}]` and `data_max_[{at}]` onto \
                     `feature_range`: are these the attributes of one scaler?"
                );
                self.problem(&format!("scale_[{at}]"), &problem);
            }
        }
    }

    fn target_range(&mut self) -> Option<[f64; 2]> {
        let range = self.optional_numbers("feature_range")??;
        match range[..] {
            [low, high] if low < high => Some([low, high]),
            _ => {
                self.problem("feature_range", "must be two numbers, the lower one first");
                None
            }
        }
    }

    fn problem(&mut self, attribute: &str, problem: &str) {
        self.problems.push(format!("{attribute}: {problem}"));
    }

    fn switch(&mut self, name: &str, usual: bool) -> bool {
        match self.map.get(name) {
            None => usual,
            Some(Value::Bool(switch)) => *switch,
            Some(_) => {
                self.problem(name, "must be true or false");
                usual
            }
        }
    }

    /// The numbers of an attribute; `None`, with a problem noted, where they are missing or none.
    fn numbers(&mut self, name: &str) -> Option<Vec<f64>> {
        let numbers = self.optional_numbers(name)?;
        if numbers.is_none() {
            self.problem(name, "is missing");
        }
        numbers
    }

    /// As [`Self::numbers`], of an attribute that may be missing.
    fn optional_numbers(&mut self, name: &str) -> Option<Option<Vec<f64>>> {
        let problem = match self.map.get(name) {
            None | Some(Value::Null) => return Some(None),
            Some(Value::Array(values)) if values.is_empty() => "has no columns".to_owned(),
            Some(Value::Array(values)) => {
                let number = |value: &Value| value.as_f64().filter(|number| number.is_finite());
                let numbers: Option<Vec<f64>> = values.iter().map(number).collect();
                if numbers.is_some() {
                    return Some(numbers);
                }
                let at = values.iter().position(|value| number(value).is_none()).unwrap_or(0);
                let what = excerpt(&values[at].to_string(), NAME_CHARS_MAX);
                format!("has `{what}` at {at}, which is not a finite number")
            }
            Some(_) => "must be a list of numbers, one for each column".to_owned(),
        };
        self.problem(name, &problem);
        None
    }

    /// The length that all lists share; `None`, with a problem noted, where there is none.
    fn width(&mut self, lists: &[(&str, Option<&[f64]>)]) -> Option<usize> {
        let mut known = lists.iter().filter_map(|(name, list)| list.map(|list| (name, list.len())));
        let Some((first, width)) = known.next() else {
            let names = lists.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>();
            let names = names.join(" and ");
            self.problems.push(format!("the scaler has no numbers in {names}: it changes nothing"));
            return None;
        };
        match known.find(|(_, other)| *other != width) {
            None => Some(width),
            Some((name, other)) => {
                let problem = format!("has {other} numbers, and `{first}` has {width}");
                self.problem(name, &problem);
                None
            }
        }
    }

    fn check_above_zero(&mut self, name: &str, numbers: Option<&[f64]>) {
        for (at, number) in numbers.unwrap_or_default().iter().enumerate() {
            if *number <= 0.0 {
                let problem = format!("is {number}, and a scale is above 0");
                self.problem(&format!("{name}[{at}]"), &problem);
            }
        }
    }

    fn names(&mut self, width: usize) -> Option<Vec<String>> {
        let names = match self.map.get("feature_names_in_")? {
            Value::Null => return None,
            Value::Array(names) => {
                let names = names.iter().map(|name| name.as_str().map(str::to_owned));
                names.collect::<Option<Vec<String>>>().filter(|names| names.len() == width)
            }
            _ => None,
        };
        if names.is_none() {
            self.problem("feature_names_in_", "must be a list of names, one for each column");
        }
        names
    }
}
