//! Initial values of parameters, as Keras draws them.
//!
//! Owns: the uniform, the Glorot-uniform and the orthogonal initialiser.
//!
//! Promises: values depend on the shape and on the stream alone.
//!
//! Never: knows a layer; layers say which part of their parameters gets which values.

use crate::train::random::Random;

/// Uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010).
pub(crate) fn glorot_uniform(
    values: &mut [f32],
    fan_in: usize,
    fan_out: usize,
    random: &mut Random,
) {
    uniform(values, (6.0 / (fan_in + fan_out) as f64).sqrt(), random);
}

/// Uniform in ±`limit`.
pub(crate) fn uniform(values: &mut [f32], limit: f64, random: &mut Random) {
    for value in values {
        *value = narrow(limit * (2.0 * random.unit_f64() - 1.0));
    }
}

/// `matrix [rows, columns]`, rows at least columns, gets orthonormal columns, uniformly distributed
/// among all such matrices: normal draws, made orthogonal column by column (Gram and Schmidt, each
/// column twice, which is enough for full precision).
pub(crate) fn orthogonal(matrix: &mut [f32], rows: usize, columns: usize, random: &mut Random) {
    assert!(rows >= columns && matrix.len() == rows * columns, "not a tall {rows} x {columns}");
    let mut basis: Vec<Vec<f64>> = Vec::with_capacity(columns);
    while basis.len() < columns {
        let mut column: Vec<f64> = (0..rows).map(|_| random.normal()).collect();
        for earlier in basis.iter().chain(&basis) {
            let overlap = dot(&column, earlier);
            column.iter_mut().zip(earlier).for_each(|(c, e)| *c -= overlap * e);
        }
        let norm = dot(&column, &column).sqrt();
        // A draw that lies in the span of the earlier columns has no direction left; draw again.
        if norm > 1e-6 {
            column.iter_mut().for_each(|c| *c /= norm);
            basis.push(column);
        }
    }
    for (at, column) in basis.iter().enumerate() {
        for (row, &value) in column.iter().enumerate() {
            matrix[row * columns + at] = narrow(value);
        }
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[expect(clippy::cast_possible_truncation, reason = "parameters are 32-bit floats")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::random::Purpose;

    #[test]
    fn glorot_fills_its_interval() {
        let mut values = [0.0; 4096];
        glorot_uniform(&mut values, 64, 256, &mut Random::new(1, Purpose::Initial));
        let limit = (6.0_f32 / 320.0).sqrt();
        let largest = values.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        assert!(largest <= limit && largest > 0.99 * limit, "largest {largest}, limit {limit}");
        let mean = values.iter().sum::<f32>() / 4096.0;
        // Four standard errors of a uniform mean: 4 * limit / sqrt(3 * 4096).
        assert!(mean.abs() < 0.0361 * limit, "mean {mean}");
    }

    #[test]
    fn orthogonal_columns_are_orthonormal() {
        let (rows, columns) = (32, 8);
        let mut matrix = vec![0.0; rows * columns];
        orthogonal(&mut matrix, rows, columns, &mut Random::new(1, Purpose::Initial));
        for a in 0..columns {
            for b in 0..columns {
                let product: f32 =
                    (0..rows).map(|r| matrix[r * columns + a] * matrix[r * columns + b]).sum();
                let expected = if a == b { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-6, "columns {a} and {b}: {product}");
            }
        }
    }
}
