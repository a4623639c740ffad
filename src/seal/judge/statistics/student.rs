//! Student's t distribution: tail probabilities and the 95 % quantile.
//!
//! Owns the incomplete beta function that it needs. Promises ten significant digits for the degrees
//! of freedom that an evaluation has (1 to some million). Never is public: what callers want is a
//! p-value or an interval.

/// The probability that |T| is at least `|statistic|`, with `freedom` degrees of freedom.
pub(super) fn two_sided_p(statistic: f64, freedom: f64) -> f64 {
    let square = statistic * statistic;
    let total = freedom + square;
    // Both arguments are given, because 1 - x would lose the digits of a small one.
    incomplete_beta(0.5 * freedom, 0.5, freedom / total, square / total).clamp(0.0, 1.0)
}

/// What |T| exceeds with a probability of 5 %.
pub(super) fn quantile_95(freedom: f64) -> f64 {
    // One degree of freedom has 12.7, and more have less. Halving ends at neighbouring numbers.
    let (mut low, mut high) = (0.0, 16.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if two_sided_p(middle, freedom) > 0.05 { low = middle } else { high = middle }
    }
}

/// The regularised incomplete beta function of `x`, where `y = 1 - x`, by its continued fraction
/// (DLMF 8.17.22, <https://dlmf.nist.gov/8.17>), which converges fast on the side that is chosen.
fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln()).exp();
    if x < (a + 1.0) / (a + b + 2.0) {
        front * continued_fraction(a, b, x) / a
    } else {
        1.0 - front * continued_fraction(b, a, y) / b
    }
}

/// The continued fraction, evaluated from the front (Lentz, 1976).
fn continued_fraction(a: f64, b: f64, x: f64) -> f64 {
    /// About the root of the larger parameter are needed.
    const TERMS_MAX: u32 = 100_000;
    const TINY: f64 = 1e-300;
    let keep = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / keep(1.0 - (a + b) * x / (a + 1.0));
    let mut result = d;
    for term in 1..TERMS_MAX {
        let m = f64::from(term);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut factor = 1.0;
        for numerator in [even, odd] {
            d = 1.0 / keep(1.0 + numerator * d);
            c = keep(1.0 + numerator / c);
            factor = c * d;
            result *= factor;
        }
        if (factor - 1.0).abs() < 1e-16 {
            break;
        }
    }
    result
}

/// The logarithm of the gamma function for positive arguments (Lanczos, 1964, in the form with
/// g = 7 and nine terms; about fifteen digits).
fn ln_gamma(argument: f64) -> f64 {
    const G: f64 = 7.0;
    const FIRST: f64 = 0.999_999_999_999_809_9;
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = argument - 1.0;
    let series =
        TERMS.iter().zip(1_u8..).fold(FIRST, |sum, (term, at)| sum + term / (x + f64::from(at)));
    let t = x + G + 0.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, reference};
    use super::*;

    /// With one degree of freedom the distribution is Cauchy's: P(|T| > 1) = 1/2; with two,
    /// P(|T| > t) = 1 - t / sqrt(2 + t²).
    #[test]
    fn tails_have_their_closed_forms() {
        assert_close(two_sided_p(1.0, 1.0), 0.5);
        assert_close(two_sided_p(2.0_f64.sqrt(), 2.0), 1.0 - 0.5_f64.sqrt());
        assert_eq!(two_sided_p(0.0, 5.0), 1.0);
    }

    #[test]
    fn tails_and_quantiles_agree_with_scipy() {
        let reference = reference();
        let cases = reference["student"].as_array().unwrap();
        assert_eq!(cases.len(), 20);
        for case in cases {
            let number = |name: &str| case[name].as_f64().unwrap();
            let p = two_sided_p(number("statistic"), number("freedom"));
            let should = number("p");
            assert!((p / should - 1.0).abs() < 1e-8, "{case}: {p}");
            let quantile = quantile_95(number("freedom"));
            assert!((quantile / number("quantile_95") - 1.0).abs() < 1e-9, "{case}: {quantile}");
        }
    }
}
