//! Matrix products on plain slices.
//!
//! Owns: the door to the GEMM kernels; no other file of the trainer knows who computes them.
//! They are those of the crate `matrixmultiply`, reached through the checked views of `ndarray`,
//! which calls it and is in the build anyway (it comes with `ort`). `docs/adr/0011` has the figures
//! that led here.
//!
//! Promises: the same operands give the same bits on the same machine, whichever thread runs the
//! product: nothing here is shared, and the order of summation depends on the shapes alone. A
//! machine with other vector units may round differently (on x86-64: with or without FMA).
//!
//! Never: allocates a result, or splits a product over threads.

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

/// A row-major matrix in a slice, possibly read transposed.
#[derive(Clone, Copy)]
pub(crate) struct View<'a>(ArrayView2<'a, f32>);

impl<'a> View<'a> {
    /// `data` as `[rows, columns]`, row-major. The slice has exactly that many elements.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        let view = ArrayView2::from_shape((rows, columns), data)
            .expect("layers slice their operands to rows times columns");
        assert_eq!(view.len(), data.len(), "operand is longer than {rows} x {columns}");
        Self(view)
    }

    /// The transpose of the same data; nothing is copied.
    pub(crate) fn transposed(self) -> Self {
        Self(self.0.reversed_axes())
    }
}

/// What happens to the old content of the result.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// `out = a b`
    Replace,
    /// `out += a b`
    Add,
}

/// `out [m, n] = a [m, k] b [k, n]`, or added to what is there; `out` is row-major.
pub(crate) fn multiply(a: View, b: View, store: Store, out: &mut [f32]) {
    let (rows, columns) = (a.0.nrows(), b.0.ncols());
    assert_eq!(out.len(), rows * columns, "result is not {rows} x {columns}");
    let mut out = ArrayViewMut2::from_shape((rows, columns), out)
        .expect("the length was compared on the line above");
    let beta = if store == Store::Add { 1.0 } else { 0.0 };
    general_mat_mul(1.0, &a.0, &b.0, beta, &mut out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_plain_and_transposed_views() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, -1.0, 2.0, 3.0, 1.0];
        let mut out = [f32::NAN; 4];
        // [2,3] x [3,2]
        multiply(View::new(&a, 2, 3), View::new(&b, 3, 2), Store::Replace, &mut out);
        assert_eq!(out, [8.0, 7.0, 17.0, 16.0]);
        // [2,3] x ([2,3])^T, added
        multiply(View::new(&a, 2, 3), View::new(&b, 2, 3).transposed(), Store::Add, &mut out);
        assert_eq!(out, [6.0, 18.0, 15.0, 45.0]);
    }

    #[test]
    fn overwriting_forgets_even_nan() {
        let mut out = [f32::NAN];
        multiply(View::new(&[2.0], 1, 1), View::new(&[3.0], 1, 1), Store::Replace, &mut out);
        assert_eq!(out, [6.0]);
    }
}
