//! Numbers of the wire by another sign or scale, exactly.
//!
//! Owns the shift of the decimal point. Promises that it moves digits and computes nothing, so that
//! no rounding comes in, and that a number grows by at most as many digits as it is shifted.

/// The farthest shift, in digits. Amounts of the smallest unit of a token have 18.
const POWER_MAX: i32 = 30;

/// The exponent of a power of ten such as `0.01`, `1e-8` or `1000`; `None` for any other text.
pub(super) fn power_of_ten(text: &str) -> Option<i32> {
    if !super::json::is_number(text) {
        return None;
    }
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    let (before, after) = digits.split_once('1')?;
    let is_one = before.bytes().chain(after.bytes()).all(|digit| digit == b'0');
    let shift = i32::try_from(whole.len()).ok()? - i32::try_from(before.len()).ok()? - 1;
    let power = exponent.checked_add(shift)?;
    (is_one && power.abs() <= POWER_MAX).then_some(power)
}

/// Adds a number of JSON, without its sign where `abs`, times ten to the `power`.
pub(super) fn push_scaled(number: &str, abs: bool, power: i32, to: &mut Vec<u8>) {
    let (is_negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number),
    };
    if is_negative && !abs {
        to.push(b'-');
    }
    let mut push = |text: &str| to.extend_from_slice(text.as_bytes());
    if power == 0 {
        return push(number);
    }
    if let Some((mantissa, exponent)) = number.split_once(['e', 'E']) {
        // One beyond an i32 is zero or infinite, whatever it is multiplied by.
        let shifted = exponent.parse::<i32>().ok().and_then(|old| old.checked_add(power));
        return match shifted {
            Some(shifted) => push(&format!("{mantissa}e{shifted}")),
            None => push(number),
        };
    }
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let shift = power.unsigned_abs() as usize;
    let zeros = |count: usize| &ZEROS[..count.min(ZEROS.len())];
    if power < 0 {
        // A number of JSON has no leading zeros, so that these are all there are.
        let split = whole.len().saturating_sub(shift);
        push(if split == 0 { "0" } else { &whole[..split] });
        push(".");
        push(zeros(shift.saturating_sub(whole.len())));
        push(&whole[split..]);
        push(fraction);
    } else {
        let split = fraction.len().min(shift);
        let (moved, rest) = fraction.split_at(split);
        let moved = if whole == "0" { moved.trim_start_matches('0') } else { moved };
        let is_zero = whole == "0" && moved.is_empty();
        push(if whole == "0" && !is_zero { "" } else { whole });
        push(moved);
        push(if is_zero { "" } else { zeros(shift - split) });
        if !rest.is_empty() {
            push(".");
            push(rest);
        }
    }
}

const ZEROS: &str = "000000000000000000000000000000";

const _: () = assert!(ZEROS.len() == POWER_MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scaled(number: &str, abs: bool, power: i32) -> String {
        let mut text = Vec::new();
        push_scaled(number, abs, power, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn powers_of_ten_are_known_in_every_form() {
        for (text, power) in [
            ("1", Some(0)),
            ("1.0", Some(0)),
            ("1e-8", Some(-8)),
            ("0.00000001", Some(-8)),
            ("0.10", Some(-1)),
            ("1E+3", Some(3)),
            ("1000", Some(3)),
            ("10e-3", Some(-2)),
            ("1e30", Some(30)),
            ("1e31", None),
            ("1e-31", None),
            ("1e99999999999", None),
            ("0", None),
            ("2", None),
            ("11", None),
            ("0.02", None),
            ("-1", None),
            ("1,0", None),
            ("", None),
        ] {
            assert_eq!(power_of_ten(text), power, "{text}");
        }
    }

    #[test]
    fn the_decimal_point_moves_and_no_digit_changes() {
        for (number, abs, power, expected) in [
            ("123456", false, -8, "0.00123456"),
            ("123456", false, -6, "0.123456"),
            ("123456", false, -2, "1234.56"),
            ("123456.7800", false, -2, "1234.567800"),
            ("0", false, -8, "0.00000000"),
            ("0.05", false, 1, "0.5"),
            ("0.05", false, 2, "5"),
            ("0.05", false, 4, "500"),
            ("0.0567", false, 3, "56.7"),
            ("0.000", false, 2, "0.0"),
            ("0", false, 3, "0"),
            ("12.5", false, 3, "12500"),
            ("-0.25", true, 0, "0.25"),
            ("-0.25", false, 0, "-0.25"),
            ("-25", true, -2, "0.25"),
            ("-25", false, -2, "-0.25"),
            ("1.98E-4", true, 0, "1.98E-4"),
            ("1.5E-3", false, -8, "1.5e-11"),
            ("1e99999999999", false, -8, "1e99999999999"),
            // More digits than a double holds.
            ("12345678901234567890123", false, -18, "12345.678901234567890123"),
        ] {
            assert_eq!(scaled(number, abs, power), expected, "{number} {power}");
        }
    }

    proptest! {
        #[test]
        fn a_scaled_number_is_the_double_nearest_to_the_exact_product(
            number in "(0|[1-9][0-9]{0,24})(\\.[0-9]{1,20})?(e[+-]?[0-9]{1,2})?",
            power in -POWER_MAX..=POWER_MAX,
            negative: bool,
        ) {
            let signed = format!("{}{number}", if negative { "-" } else { "" });
            let result = scaled(&signed, true, power);
            prop_assert!(super::super::json::is_number(&result), "{} is {}", signed, result);
            prop_assert!(result.len() <= number.len() + POWER_MAX as usize + 4);
            // Reading decimal text rounds once, whatever its exponent is.
            let (mantissa, exponent) = number.split_once('e').unwrap_or((&number, "0"));
            let exponent: i32 = exponent.parse().unwrap();
            let exact: f64 = format!("{mantissa}e{}", exponent + power).parse().unwrap();
            prop_assert_eq!(result.parse::<f64>().unwrap().to_bits(), exact.to_bits());
        }
    }
}
