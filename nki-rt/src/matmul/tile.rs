//! The register tile that all matrix products share, and where its sums go.

use crate::Combine;
use crate::codec::Codec;
use crate::element::Element;
use crate::simd::{MAX_LANES, Simd};

/// A K-major operand: `k` rows of `cols` elements.
pub(crate) struct Operand<T> {
    pub(crate) data: *const T,
    pub(crate) stride: usize,
    pub(crate) cols: usize,
}

impl<T> Clone for Operand<T> {
    #[inline(always)]
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Operand<T> {}

impl<T> Operand<T> {
    /// The operand from column `col` on.
    #[inline(always)]
    pub(crate) unsafe fn skip_cols(self, col: usize) -> Self {
        // SAFETY: the caller keeps `col` at or before the end of the columns, inside the first row.
        Operand { data: unsafe { self.data.add(col) }, cols: self.cols - col, ..self }
    }
}

/// Where sums go: element (m, n) at `m * row + n * col`.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) data: *mut f32,
    pub(crate) row: usize,
    pub(crate) col: usize,
    pub(crate) combine: Combine,
}

impl Target {
    #[inline(always)]
    pub(crate) unsafe fn at(self, m: usize, n: usize) -> Self {
        // SAFETY: the caller names an element of the target.
        Target { data: unsafe { self.data.add(m * self.row + n * self.col) }, ..self }
    }

    /// Writes the first `rows` x `cols` of a register tile.
    ///
    /// # Safety
    /// Those elements of the target must be writable.
    #[inline(always)]
    pub(crate) unsafe fn write<S: Simd, const MR: usize, const NV: usize>(
        self,
        s: S,
        sums: &[[S::F; NV]; MR],
        rows: usize,
        cols: usize,
    ) {
        if rows == MR && cols == NV * S::LANES && self.col == 1 {
            for (m, row) in sums.iter().enumerate() {
                for (v, sum) in row.iter().enumerate() {
                    // SAFETY: a full tile: row `m`, columns from `v * LANES`, are writable.
                    unsafe {
                        let p = self.data.add(m * self.row + v * S::LANES);
                        let sum = if self.combine == Combine::Add { s.add(s.load(p), *sum) } else { *sum };
                        s.store(p, sum);
                    }
                }
            }
            return;
        }
        for (m, row) in sums.iter().enumerate().take(rows) {
            let mut line = [[0.0f32; MAX_LANES]; NV];
            for (v, sum) in row.iter().enumerate() {
                // SAFETY: LANES <= MAX_LANES elements of a local array.
                unsafe { s.store(line[v].as_mut_ptr(), *sum) }
            }
            for n in 0..cols {
                let sum = line[n / S::LANES][n % S::LANES];
                // SAFETY: m < rows and n < cols, writable by the caller's promise.
                unsafe {
                    let p = self.data.add(m * self.row + n * self.col);
                    *p = if self.combine == Combine::Add { *p + sum } else { sum };
                }
            }
        }
    }
}

/// One register tile: `MR` rows of `NV` vectors, `k` ascending.
///
/// # Safety
/// `k` rows of `MR` elements of `a` and of `NV * LANES` of `b` must be readable.
#[inline(always)]
pub(crate) unsafe fn tile<S: Simd, A: Element, B: Element, const MR: usize, const NV: usize>(
    s: S,
    k: usize,
    mut a: *const A,
    a_stride: usize,
    mut b: *const B,
    b_stride: usize,
) -> [[S::F; NV]; MR] {
    let mut sums = [[s.splat(0.0); NV]; MR];
    // Few turns of a longer loop: its end is foreseen more often.
    for _ in 0..k / TURNS {
        for _ in 0..TURNS {
            // SAFETY: row `k` of both operands is readable; the addresses after the last row are never read.
            unsafe { tile_row::<S, A, B, MR, NV>(s, a, b, &mut sums) };
            a = a.wrapping_add(a_stride);
            b = b.wrapping_add(b_stride);
        }
    }
    for _ in 0..k % TURNS {
        // SAFETY: as above.
        unsafe { tile_row::<S, A, B, MR, NV>(s, a, b, &mut sums) };
        a = a.wrapping_add(a_stride);
        b = b.wrapping_add(b_stride);
    }
    sums
}

/// Rows that [`tile`] takes in one turn of its loop.
const TURNS: usize = 4;

/// One row of both operands into the sums.
///
/// # Safety
/// `MR` elements of `a` and `NV * LANES` of `b` must be readable.
#[inline(always)]
unsafe fn tile_row<S: Simd, A: Element, B: Element, const MR: usize, const NV: usize>(
    s: S,
    a: *const A,
    b: *const B,
    sums: &mut [[S::F; NV]; MR],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut row = [s.splat(0.0); NV];
        for (v, lanes) in row.iter_mut().enumerate() {
            *lanes = B::Codec::load(s, b.wrapping_add(v * S::LANES).cast());
        }
        for (m, sums) in sums.iter_mut().enumerate() {
            let x = s.splat((*a.wrapping_add(m)).widen());
            for v in 0..NV {
                sums[v] = s.fma(x, row[v], sums[v]);
            }
        }
    }
}

/// As [`tile`] for one vector of `cols < LANES` columns.
///
/// # Safety
/// `k` rows of `MR` elements of `a` and of `cols` of `b` must be readable.
#[inline(always)]
pub(crate) unsafe fn narrow_tile<S: Simd, T: Element, const MR: usize>(
    s: S,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
) -> [[S::F; 1]; MR] {
    let mut sums = [[s.splat(0.0); 1]; MR];
    for k in 0..k {
        // SAFETY: row `k` of both operands is readable.
        unsafe {
            let row = T::Codec::load_part(s, b.data.wrapping_add(k * b.stride).cast(), b.cols);
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = s.splat((*a.data.wrapping_add(k * a.stride + m)).widen());
                sums[0] = s.fma(x, row, sums[0]);
            }
        }
    }
    sums
}
