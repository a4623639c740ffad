//! The distributions that a model may forecast by their parameters.
//!
//! Owns how the numbers of a network become parameters, and quantiles of the standard forms.
//! Promises the same bits on every machine: logarithms and exponentials are those of `libm`. Never
//! fits a distribution: the trainer does.

/// The smallest scale, in model units: a likelihood has no bound without one.
pub const SCALE_MIN: f64 = 1e-4;

/// The degrees of freedom that a Student t distribution is above, so that it has a variance.
pub const FREEDOM_MIN: f64 = 2.0;

/// The most degrees of freedom: with more, quantiles are those of the normal distribution within a
/// thousandth.
pub const FREEDOM_MAX: f64 = 1e4;

/// `ln(1 + e^x)`, without overflow.
pub fn softplus(x: f64) -> f64 {
    // Unlike `max`, this keeps an x that is not a number.
    let positive = if x < 0.0 { 0.0 } else { x };
    positive + libm::log1p(libm::exp(-x.abs()))
}

/// The scale that a number of a network stands for.
pub fn scale(number: f64) -> f64 {
    SCALE_MIN + softplus(number)
}

/// The degrees of freedom that a number of a network stands for.
pub fn freedom(number: f64) -> f64 {
    let freedom = FREEDOM_MIN + softplus(number);
    // Unlike `min`, this keeps what is not a number.
    if freedom > FREEDOM_MAX { FREEDOM_MAX } else { freedom }
}

/// The quantile of the standard normal distribution at a level between 0 and 1: algorithm AS 241
/// (Wichura, 1988, doi:10.2307/2347330), with a relative error of about 1e-16.
pub fn normal_quantile(level: f64) -> f64 {
    const CENTRAL: f64 = 0.425;
    const NEAR_TAIL: f64 = 5.0;
    const NUMERATORS: [[f64; 8]; 3] = [
        [
            2_509.080_928_730_122_7,
            33_430.575_583_588_13,
            67_265.770_927_008_7,
            45_921.953_931_549_87,
            13_731.693_765_509_46,
            1_971.590_950_306_551_3,
            133.141_667_891_784_38,
            3.387_132_872_796_366_5,
        ],
        [
            7.745_450_142_783_414e-4,
            2.272_384_498_926_918_4e-2,
            2.417_807_251_774_506e-1,
            1.270_458_252_452_368_4,
            3.647_848_324_763_204_5,
            5.769_497_221_460_691,
            4.630_337_846_156_546,
            1.423_437_110_749_683_5,
        ],
        [
            2.010_334_399_292_288_1e-7,
            2.711_555_568_743_487_6e-5,
            1.242_660_947_388_078_4e-3,
            2.653_218_952_657_612_4e-2,
            2.965_605_718_285_048_7e-1,
            1.784_826_539_917_291_3,
            5.463_784_911_164_114,
            6.657_904_643_501_103,
        ],
    ];
    const DENOMINATORS: [[f64; 8]; 3] = [
        [
            5_226.495_278_852_854,
            28_729.085_735_721_943,
            39_307.895_800_092_71,
            21_213.794_301_586_597,
            5_394.196_021_424_751,
            687.187_007_492_057_9,
            42.313_330_701_600_91,
            1.0,
        ],
        [
            1.050_750_071_644_416_9e-9,
            5.475_938_084_995_345e-4,
            1.519_866_656_361_645_7e-2,
            1.481_039_764_274_800_8e-1,
            6.897_673_349_851e-1,
            1.676_384_830_183_803_8,
            2.053_191_626_637_759,
            1.0,
        ],
        [
            2.044_263_103_389_939_8e-15,
            1.421_511_758_316_446e-7,
            1.846_318_317_510_054_8e-5,
            7.868_691_311_456_133e-4,
            1.487_536_129_085_061_5e-2,
            1.369_298_809_227_358e-1,
            5.998_322_065_558_879e-1,
            1.0,
        ],
    ];
    let ratio = |form: usize, at: f64| {
        let polynomial = |terms: &[f64; 8]| terms.iter().fold(0.0, |sum, term| sum * at + term);
        polynomial(&NUMERATORS[form]) / polynomial(&DENOMINATORS[form])
    };
    let centred = level - 0.5;
    if centred.abs() <= CENTRAL {
        return centred * ratio(0, CENTRAL * CENTRAL - centred * centred);
    }
    let tail = if centred < 0.0 { level } else { 1.0 - level };
    let depth = libm::sqrt(-libm::log(tail));
    let size = if depth <= NEAR_TAIL { ratio(1, depth - 1.6) } else { ratio(2, depth - NEAR_TAIL) };
    if centred < 0.0 { -size } else { size }
}

/// The quantile of the Student t distribution with so many degrees of freedom, from 2 to
/// [`FREEDOM_MAX`], at a level whose standard normal quantile is `normal`.
///
/// With `t = sqrt(freedom) tan(angle)` the probability between 0 and t is the integral of
/// `cos^(freedom - 1)` up to the angle, times a constant. Gauss-Legendre quadrature with 16 points
/// gives the integral, and Newton's method the angle. It begins at the normal quantile, which is
/// nearer to zero, so that no step goes too far: the integral is concave. The relative error is
/// below 1e-10 for levels from 0.005 to 0.995.
pub fn student_t_quantile(level: f64, normal: f64, freedom: f64) -> f64 {
    /// Halves of the points, and their weights.
    const POINTS: [(f64, f64); 8] = [
        (0.095_012_509_837_637_44, 0.189_450_610_455_068_64),
        (0.281_603_550_779_258_9, 0.182_603_415_044_923_64),
        (0.458_016_777_657_227_37, 0.169_156_519_395_002_65),
        (0.617_876_244_402_643_8, 0.149_595_988_816_576_7),
        (0.755_404_408_355_003, 0.124_628_971_255_534_07),
        (0.865_631_202_387_831_8, 0.095_158_511_682_492_6),
        (0.944_575_023_073_232_6, 0.062_253_523_938_647_456),
        (0.989_400_934_991_649_9, 0.027_152_459_411_754_176),
    ];
    const STEPS_MAX: u32 = 16;
    let constant = libm::lgamma(0.5 * (freedom + 1.0))
        - libm::lgamma(0.5 * freedom)
        - 0.5 * libm::log(std::f64::consts::PI);
    let density = |angle: f64| libm::exp(constant + (freedom - 1.0) * libm::log(libm::cos(angle)));
    let wanted = (level - 0.5).abs();
    let root = libm::sqrt(freedom);
    let mut angle = libm::atan(normal.abs() / root);
    for _ in 0..STEPS_MAX {
        let half = 0.5 * angle;
        let of_pair = |(point, weight): (f64, f64)| {
            weight * (density(half * (1.0 - point)) + density(half * (1.0 + point)))
        };
        let probability = half * POINTS.into_iter().map(of_pair).sum::<f64>();
        let step = (wanted - probability) / density(angle);
        angle += step;
        if step.abs() <= 1e-9 * angle {
            break;
        }
    }
    (root * libm::tan(angle)).copysign(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of `scipy.stats.norm.ppf`.
    #[test]
    fn normal_quantiles_agree_with_scipy() {
        for (level, should) in [
            (1e-12, -7.034_483_825_301_132),
            (0.001, -3.090_232_306_167_813),
            (0.05, -1.644_853_626_951_472_6),
            (0.25, -0.674_489_750_196_081_7),
            (0.5, 0.0),
            (0.9, 1.281_551_565_544_600_8),
            (0.975, 1.959_963_984_540_053_6),
        ] {
            let quantile = normal_quantile(level);
            assert!((quantile - should).abs() <= 1e-15 * should.abs(), "{level}: {quantile}");
        }
    }

    /// Those of `scipy.stats.t.ppf`.
    #[test]
    fn quantiles_of_student_t_agree_with_scipy() {
        const LEVELS: [f64; 4] = [0.05, 0.25, 0.9, 0.99];
        for (freedom, expected) in [
            (
                2.0,
                [
                    -2.919_985_580_353_725_6,
                    -0.816_496_580_927_726_1,
                    1.885_618_083_164_126_7,
                    6.964_556_734_283_271_5,
                ],
            ),
            (
                2.5,
                [
                    -2.558_218_614_135_936_4,
                    -0.785_013_682_992_299_2,
                    1.730_250_928_807_176_6,
                    5.353_111_173_030_872,
                ],
            ),
            (
                4.0,
                [
                    -2.131_846_786_326_651,
                    -0.740_697_084_112_682_9,
                    1.533_206_274_058_944,
                    3.746_947_387_979_196,
                ],
            ),
            (
                30.0,
                [
                    -1.697_260_886_593_957_4,
                    -0.682_755_693_321_292_7,
                    1.310_415_025_391_395_5,
                    2.457_261_542_400_591,
                ],
            ),
            (
                1e4,
                [
                    -1.645_006_018_069_243_2,
                    -0.674_514_284_483_592_7,
                    1.281_636_229_730_477_5,
                    2.326_720_838_669_475_5,
                ],
            ),
        ] {
            for (level, should) in LEVELS.into_iter().zip(expected) {
                let quantile = student_t_quantile(level, normal_quantile(level), freedom);
                let error = (quantile / should - 1.0).abs();
                assert!(error < 1e-10, "{freedom}, {level}: {quantile} is not {should}");
            }
            assert_eq!(student_t_quantile(0.5, 0.0, freedom), 0.0);
        }
        let far = student_t_quantile(0.001, normal_quantile(0.001), 2.0);
        assert!((far / -22.327_124_770_119_873 - 1.0).abs() < 1e-6, "{far}");
    }

    #[test]
    fn parameters_have_their_bounds_and_no_number_overflows() {
        assert!((softplus(0.0) - 2.0_f64.ln()).abs() < 1e-16);
        assert_eq!(softplus(800.0), 800.0);
        assert_eq!(softplus(-800.0), 0.0);
        assert_eq!(scale(-800.0), SCALE_MIN);
        assert_eq!((freedom(-800.0), freedom(1e9)), (FREEDOM_MIN, FREEDOM_MAX));
        assert!(softplus(f64::NAN).is_nan(), "what is no number stays none");
    }
}
