//! Plots as SVG text.
//!
//! Owns axes, ticks, marks and the legend; enough for the reports and no more, because a plotting
//! crate would be the heaviest dependency. Colours come from classes, so that
//! `plot.css` fits a plot to a light or a dark page.
//!
//! Promises: the same plot gives the same text; well-formed XML whatever the labels say; labels of
//! ticks do not overlap. Never draws a value that is not finite: such points are left out.

use std::fmt::Write as _;

use super::text::escape;
use crate::core::domain::UnixNanos;
use crate::core::forecast::TargetKind;

/// The look of all plots, in a page or in a file of their own.
pub const STYLE: &str = include_str!("plot.css");

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 58.0;
const BOTTOM: f64 = 52.0;
/// Most steps between the ticks of an axis.
const STEPS_MAX: f64 = 8.0;
/// Points beyond these are thinned out: a screen shows no more, and a file grows.
const POINTS_MAX: usize = 2000;

/// What the numbers of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As they are.
    Plain,
    /// Fractions, shown as percent.
    Percent,
    /// Nanoseconds since the epoch, shown as dates or times.
    Time,
}

impl Unit {
    /// That of the values of a kind of target.
    pub const fn of(kind: TargetKind) -> Self {
        match kind {
            TargetKind::Change | TargetKind::Amount => Self::Percent,
            TargetKind::LogChange | TargetKind::Level | TargetKind::Probability => Self::Plain,
        }
    }
}

/// What the values of a kind of target are.
pub const fn axis_label(kind: TargetKind) -> &'static str {
    match kind {
        TargetKind::Change => "change",
        TargetKind::LogChange => "change, as a logarithm",
        TargetKind::Amount => "size",
        TargetKind::Level => "value",
        TargetKind::Probability => "probability",
    }
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    label: String,
    unit: Unit,
    low: f64,
    high: f64,
    logarithmic: bool,
}

/// How a mark looks; the names of the classes in `plot.css`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What the model says.
    Model,
    /// What came true.
    Truth,
    /// What it is compared with.
    Other,
    /// A line to measure by.
    Guide,
}

#[derive(Clone, Debug)]
enum Shape {
    Line(Vec<(f64, f64)>),
    Dots(Vec<(f64, f64)>),
    /// From x to x, from zero to y.
    Bars(Vec<(f64, f64, f64)>),
    /// At x, from y to y.
    Whiskers(Vec<(f64, f64, f64)>),
    /// The area at x from y to y.
    Band(Vec<(f64, f64, f64)>),
}

#[derive(Clone, Debug)]
struct Mark {
    shape: Shape,
    look: Look,
    legend: Option<String>,
}

/// A plot with two axes.
#[derive(Clone, Debug)]
pub struct Plot {
    title: String,
    x: Axis,
    y: Axis,
    marks: Vec<Mark>,
}

impl Axis {
    /// From the smallest to the largest of the finite values, and a little more.
    pub fn new(label: &str, unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let (low, high) = if low > high { (0.0, 1.0) } else { (low, high) };
        let room = if high > low { 0.03 * (high - low) } else { 0.5 * high.abs().max(1.0) };
        let room = if unit == Unit::Time && high > low { 0.0 } else { room };
        Self::between(label, unit, low - room, high + room)
    }

    /// From one value to another.
    pub fn between(label: &str, unit: Unit, low: f64, high: f64) -> Self {
        Self { label: label.to_owned(), unit, low, high, logarithmic: false }
    }

    /// By powers of ten where the values span more than one and all are positive.
    pub fn logarithmic_where_wide(mut self, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > 0.0 && high > 10.0 * low {
            self.logarithmic = true;
            (self.low, self.high) = (low / 1.1, high * 1.1);
        }
        self
    }

    /// Where a value lies on the axis, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        if self.logarithmic {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<(f64, String)> {
        match self.unit {
            Unit::Time => self.time_ticks(),
            _ if self.logarithmic => self.logarithmic_ticks(),
            Unit::Percent => self.even_ticks(100.0, " %"),
            Unit::Plain => self.even_ticks(1.0, ""),
        }
    }

    /// Multiples of 1, 2 or 5 times a power of ten.
    fn even_ticks(&self, scale: f64, suffix: &str) -> Vec<(f64, String)> {
        let (low, high) = (self.low * scale, self.high * scale);
        let rough = (high - low) / STEPS_MAX;
        let power = 10.0_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (low / step).ceil() as i64;
        let last = (high / step).floor() as i64;
        (first..=last)
            .map(|multiple| {
                let value = multiple as f64 * step;
                (value / scale, format!("{}{suffix}", grouped(value, decimals)))
            })
            .collect()
    }

    fn logarithmic_ticks(&self) -> Vec<(f64, String)> {
        let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let factors: &[f64] = if self.high / self.low > 1e4 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let values = exponents.flat_map(|exponent| {
            let decimals = usize::try_from(-exponent).unwrap_or(0);
            factors.iter().map(move |factor| (factor * 10.0_f64.powi(exponent), decimals))
        });
        values
            .filter(|(value, _)| (self.low..=self.high).contains(value))
            .map(|(value, decimals)| (value, grouped(value, decimals)))
            .collect()
    }

    /// Evenly spaced instants: dates, or times of one day.
    fn time_ticks(&self) -> Vec<(f64, String)> {
        const DAY: f64 = 86_400e9;
        let whole_days = self.high - self.low > 5.0 * DAY;
        (0..=5_u8)
            .map(|part| {
                let at = self.low + (self.high - self.low) * f64::from(part) / 5.0;
                let at = if whole_days { (at / DAY).round() * DAY } else { at };
                let at = at.clamp(self.low, self.high);
                let text = UnixNanos::from_nanos(at as i64).to_string();
                let text = if whole_days { text.get(..10) } else { text.get(5..16) };
                (at, text.unwrap_or_default().replace('T', " "))
            })
            .collect()
    }
}

/// A number with thin spaces between groups of three digits.
fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut result = String::new();
    if value < 0.0 && text.contains(|digit: char| ('1'..='9').contains(&digit)) {
        result.push('−');
    }
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && whole.len() > 4 {
            result.push('\u{2009}');
        }
        result.push(digit);
    }
    if !fraction.is_empty() {
        let _ = write!(result, ".{fraction}");
    }
    result
}

impl Look {
    fn class(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Truth => "truth",
            Self::Other => "other",
            Self::Guide => "guide",
        }
    }
}

impl Plot {
    /// An empty plot.
    pub fn new(title: &str, x: Axis, y: Axis) -> Self {
        Self { title: title.to_owned(), x, y, marks: Vec::new() }
    }

    /// A line through the points.
    pub fn line(self, look: Look, legend: &str, points: Vec<(f64, f64)>) -> Self {
        self.mark(Shape::Line(points), look, Some(legend))
    }

    /// A dot at each point.
    pub fn dots(self, look: Look, legend: &str, points: Vec<(f64, f64)>) -> Self {
        self.mark(Shape::Dots(points), look, Some(legend))
    }

    /// Bars from x to x with the height y.
    pub fn bars(self, look: Look, legend: &str, bars: Vec<(f64, f64, f64)>) -> Self {
        self.mark(Shape::Bars(bars), look, Some(legend))
    }

    /// Lines at x from y to y, without a legend.
    pub fn whiskers(self, look: Look, whiskers: Vec<(f64, f64, f64)>) -> Self {
        self.mark(Shape::Whiskers(whiskers), look, None)
    }

    /// The area between y and y along x.
    pub fn band(self, look: Look, legend: &str, band: Vec<(f64, f64, f64)>) -> Self {
        self.mark(Shape::Band(band), look, Some(legend))
    }

    fn mark(mut self, shape: Shape, look: Look, legend: Option<&str>) -> Self {
        self.marks.push(Mark { shape, look, legend: legend.map(str::to_owned) });
        self
    }

    /// The plot for a page that has [`STYLE`], with a description for those who do not see it.
    pub fn inline(&self, description: &str) -> String {
        self.draw("", &format!("<desc>{}</desc>\n", escape(description)))
    }

    /// The plot as a file of its own.
    pub fn file(&self) -> String {
        let style = format!(
            "<style>{STYLE}</style>\n<rect class=\"paper\" width=\"100%\" \
                             height=\"100%\"/>\n"
        );
        let mut text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
        text += &self.draw(" xmlns=\"http://www.w3.org/2000/svg\"", &style);
        text
    }

    fn draw(&self, namespace: &str, head: &str) -> String {
        let title = escape(&self.title);
        let mut svg = format!(
            "<svg{namespace} class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{title}\">\n<title>{title}</title>\n{head}\
             <text class=\"title\" x=\"{LEFT}\" y=\"20\">{title}</text>\n"
        );
        self.draw_axes(&mut svg);
        for mark in &self.marks {
            self.draw_mark(mark, &mut svg);
        }
        self.draw_legend(&mut svg);
        svg += "</svg>\n";
        svg
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw_axes(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let ticks = self.x.ticks();
        let dates = self.x.unit == Unit::Time;
        for (at, (value, text)) in ticks.iter().enumerate() {
            let x = self.x(*value);
            // The first and the last date would stand out of the picture.
            let anchor = match at {
                0 if dates => "start",
                last if dates && last + 1 == ticks.len() => "end",
                _ => "middle",
            };
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{bottom}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                bottom + 17.0,
                escape(text),
            );
        }
        for (value, text) in self.y.ticks() {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escape(&text),
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\n\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"label\" transform=\"translate(16 {:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escape(&self.x.label),
            (TOP + bottom) / 2.0,
            escape(&self.y.label),
        );
    }

    fn draw_mark(&self, Mark { shape, look, .. }: &Mark, svg: &mut String) {
        let class = look.class();
        let finite = |(x, y): &&(f64, f64)| x.is_finite() && y.is_finite();
        let finite_three =
            |(x, y, z): &&(f64, f64, f64)| [x, y, z].iter().all(|value| value.is_finite());
        match shape {
            Shape::Line(points) => {
                let mut path = String::new();
                for (x, y) in thinned(points).filter(finite) {
                    let command = if path.is_empty() { 'M' } else { 'L' };
                    let _ = write!(path, "{command}{:.1} {:.1}", self.x(*x), self.y(*y));
                }
                let _ = writeln!(svg, "<path class=\"line {class}\" d=\"{path}\"/>");
            }
            Shape::Dots(points) => {
                for (x, y) in thinned(points).filter(finite) {
                    let (x, y) = (self.x(*x), self.y(*y));
                    let _ = writeln!(
                        svg,
                        "<circle class=\"dot {class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.6\"/>"
                    );
                }
            }
            Shape::Bars(bars) => {
                let zero = self.y(self.y.low.max(0.0));
                for (from, to, height) in bars.iter().filter(finite_three) {
                    let (left, right, top) = (self.x(*from), self.x(*to), self.y(*height));
                    let _ = writeln!(
                        svg,
                        "<rect class=\"bar {class}\" x=\"{left:.1}\" y=\"{top:.1}\" \
                         width=\"{:.1}\" height=\"{:.1}\"/>",
                        (right - left - 1.0).max(0.5),
                        (zero - top).max(0.0),
                    );
                }
            }
            Shape::Whiskers(whiskers) => {
                for (x, low, high) in whiskers.iter().filter(finite_three) {
                    let (x, low, high) = (self.x(*x), self.y(*low), self.y(*high));
                    let _ = writeln!(
                        svg,
                        "<path class=\"whisker {class}\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>"
                    );
                }
            }
            Shape::Band(band) => {
                let points: Vec<_> = thinned(band).filter(finite_three).collect();
                let there = points.iter().map(|(x, _, high)| (x, high));
                let back = points.iter().rev().map(|(x, low, _)| (x, low));
                let mut path = String::new();
                for (x, y) in there.chain(back) {
                    let command = if path.is_empty() { 'M' } else { 'L' };
                    // What lies beyond the axis would cover the title.
                    let y = y.clamp(self.y.low, self.y.high);
                    let _ = write!(path, "{command}{:.1} {:.1}", self.x(*x), self.y(y));
                }
                let _ = writeln!(svg, "<path class=\"band {class}\" d=\"{path}Z\"/>");
            }
        }
    }

    fn draw_legend(&self, svg: &mut String) {
        /// The mean width of a character in the legend's size; no font is known here.
        const CHARACTER: f64 = 6.1;
        let mut x = LEFT;
        for Mark { shape, look, legend } in &self.marks {
            let Some(legend) = legend else { continue };
            let class = look.class();
            let key = match shape {
                Shape::Line(_) | Shape::Whiskers(_) => {
                    format!("<path class=\"line {class}\" d=\"M{x:.1} 38h18\"/>")
                }
                Shape::Dots(_) => {
                    format!(
                        "<circle class=\"dot {class}\" cx=\"{:.1}\" cy=\"38\" r=\"4\"/>",
                        x + 9.0
                    )
                }
                Shape::Band(_) => format!(
                    "<rect class=\"band {class}\" x=\"{x:.1}\" y=\"32\" width=\"18\" \
                    height=\"11\"/>"
                ),
                Shape::Bars(_) => format!(
                    "<rect class=\"bar {class}\" x=\"{x:.1}\" y=\"32\" width=\"18\" height=\"11\"/>"
                ),
            };
            let text = escape(legend);
            let _ = writeln!(
                svg,
                "{key}<text class=\"legend\" x=\"{:.1}\" y=\"42\">{text}</text>",
                x + 24.0
            );
            x += 24.0 + CHARACTER * legend.chars().count() as f64 + 22.0;
        }
    }
}

/// Every k-th point, so that there are at most [`POINTS_MAX`]; the last one stays.
fn thinned<T>(points: &[T]) -> impl Iterator<Item = &T> {
    let stride = points.len().div_ceil(POINTS_MAX).max(1);
    let last = points.len().saturating_sub(1);
    let chosen = move |(at, point)| (at % stride == 0 || at == last).then_some(point);
    points.iter().enumerate().filter_map(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_say_their_unit() {
        let axis = |unit, low, high| Axis::between("a", unit, low, high);
        assert_eq!(texts(&axis(Unit::Plain, 0.0, 5.0)), ["0", "1", "2", "3", "4", "5"]);
        let percents = texts(&axis(Unit::Percent, -0.0312, 0.02));
        assert_eq!(percents, ["−3 %", "−2 %", "−1 %", "0 %", "1 %", "2 %"]);
        let fine = texts(&axis(Unit::Plain, 0.0, 0.06));
        assert_eq!(fine, ["0.00", "0.01", "0.02", "0.03", "0.04", "0.05", "0.06"]);
        let large = texts(&axis(Unit::Plain, 0.0, 60_000.0));
        assert_eq!(large.last().unwrap(), "60\u{2009}000");
        let day = 86_400e9;
        let dates = texts(&axis(Unit::Time, 0.0, 100.0 * day));
        assert_eq!((dates.len(), &*dates[0], &*dates[5]), (6, "1970-01-01", "1970-04-11"));
        let hours = texts(&axis(Unit::Time, 0.0, 0.5 * day));
        assert_eq!((&*hours[0], &*hours[5]), ("01-01 00:00", "01-01 12:00"));
        let wide = axis(Unit::Plain, 0.0, 1.0).logarithmic_where_wide([0.02, 1.5].into_iter());
        assert_eq!(texts(&wide), ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]);
    }

    #[test]
    fn an_axis_of_one_value_or_none_has_an_extent() {
        for values in [&[3.0][..], &[0.0], &[], &[f64::NAN]] {
            let axis = Axis::new("a", Unit::Plain, values.iter().copied());
            assert!(axis.high > axis.low && axis.ticks().len() > 1, "{axis:?}");
        }
    }

    #[test]
    fn values_stand_where_they_belong() {
        let axis = || Axis::between("a", Unit::Plain, 0.0, 10.0);
        let line = vec![(0.0, 0.0), (5.0, f64::NAN), (10.0, 10.0)];
        let svg = Plot::new("t", axis(), axis()).line(Look::Model, "l", line).inline("d");
        let expected = format!("M{LEFT:.1} {:.1}L{:.1} {TOP:.1}\"", HEIGHT - BOTTOM, WIDTH - RIGHT);
        assert!(svg.contains(&expected), "{expected} is not in {svg}");
    }

    #[test]
    fn a_long_series_is_thinned_and_keeps_its_end() {
        let points: Vec<usize> = (0..9999).collect();
        let kept: Vec<_> = thinned(&points).collect();
        assert_eq!((kept.len(), *kept[1], **kept.last().unwrap()), (2001, 5, 9998));
        assert_eq!(thinned(&points[..2000]).count(), 2000);
    }
}
