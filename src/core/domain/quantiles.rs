//! The quantiles of one forecast, in a place of fixed size.
//!
//! Owns up to [`LEVELS_MAX`] values in the order of their levels, which the model's plan has.
//! Promises that a copy allocates nothing and that a stored list which is too long is refused.
//! Never knows the levels.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The most levels of one forecast.
pub const LEVELS_MAX: usize = 9;

/// Values by level, lowest level first.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    count: u8,
    values: [f64; LEVELS_MAX],
}

impl Quantiles {
    /// None at all.
    pub const NONE: Self = Self { count: 0, values: [0.0; LEVELS_MAX] };

    /// These values; those beyond [`LEVELS_MAX`] are left out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut quantiles = Self::NONE;
        for (place, value) in quantiles.values.iter_mut().zip(values) {
            *place = value;
            quantiles.count += 1;
        }
        quantiles
    }

    /// The values.
    pub fn as_slice(&self) -> &[f64] {
        &self.values[..usize::from(self.count)]
    }

    /// As [`Quantiles::as_slice`], to change them.
    pub fn as_mut_slice(&mut self) -> &mut [f64] {
        &mut self.values[..usize::from(self.count)]
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Puts the values into rising order, so that none crosses another; returns whether that moved
    /// one. No value may be a NaN.
    pub fn rearrange(&mut self) -> bool {
        let values = self.as_mut_slice();
        let crossed = values.windows(2).any(|pair| pair[0] > pair[1]);
        if crossed {
            values.sort_unstable_by(f64::total_cmp);
        }
        crossed
    }
}

impl Serialize for Quantiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Quantiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Quantiles;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "at most {LEVELS_MAX} numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Quantiles, A::Error> {
                let mut quantiles = Quantiles::NONE;
                while let Some(value) = list.next_element()? {
                    let place = quantiles.values.get_mut(usize::from(quantiles.count));
                    *place.ok_or_else(|| A::Error::custom("too many quantiles"))? = value;
                    quantiles.count += 1;
                }
                Ok(quantiles)
            }
        }
        deserializer.deserialize_seq(Values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cross_are_put_in_order() {
        let mut crossing = Quantiles::of([0.5, -1.0, 0.75]);
        assert!(crossing.rearrange());
        assert_eq!(crossing.as_slice(), [-1.0, 0.5, 0.75]);
        assert!(!crossing.rearrange(), "nothing is left to do");
        assert!(!Quantiles::of([1.0, 1.0]).rearrange(), "equal values do not cross");
    }

    #[test]
    fn a_stored_list_is_read_back_and_a_longer_one_refused() {
        let full = Quantiles::of((0..LEVELS_MAX).map(|at| at as f64));
        for quantiles in [Quantiles::NONE, Quantiles::of([1.5, 2.5]), full] {
            let text = serde_json::to_string(&quantiles).unwrap();
            assert_eq!(serde_json::from_str::<Quantiles>(&text).unwrap(), quantiles);
        }
        assert_eq!(serde_json::to_string(&Quantiles::of([1.5, 2.5])).unwrap(), "[1.5,2.5]");
        let longer = serde_json::to_string(&[0.0; LEVELS_MAX + 1]).unwrap();
        assert!(serde_json::from_str::<Quantiles>(&longer).is_err());
    }
}
