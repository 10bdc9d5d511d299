//! The exact tile product of the tensor engine (isa.md 9.1.1).
//!
//! For every output element, `s` starts at zero and takes `s = fma(a[k,m], b[k,n], s)` in ascending `k`, one
//! binary32 rounding a step; then `c = s` or `c = c + s`. Register tiles keep that order per element, so the result
//! is the same on every tier and for every tiling. The left operand is K-major, as the array holds it.

use crate::codec::Codec;
use crate::element::Element;
use crate::matrix::{MatMut, MatRef};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::tier::{Kernel, Tier};
use tile::{Operand, Target, narrow_tile, tile};

pub(crate) mod tile;

/// What happens to the finished sum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Combine {
    /// `c = s`
    Overwrite,
    /// `c = c + s`, one rounding.
    Add,
}

/// `c[m, n] (+)= sum over k of a[k, m] * b[k, n]`, bit for bit as defined above.
///
/// `a` is the stationary operand `[K, M]`, `b` the moving one `[K, N]`, `c` is `[M, N]`. An empty `K` yields zero.
///
/// ```
/// use nki_rt::{Combine, MatMut, MatRef, Tier, matmul};
/// let (a, b) = ([1.0f32, 2.0, 3.0, 4.0], [10.0f32, 100.0]);
/// let mut c = [0.5f32; 2];
/// let (a, b) = (MatRef::dense(&a, 2, 2), MatRef::dense(&b, 2, 1));
/// matmul(Tier::best(), a, b, MatMut::dense(&mut c, 2, 1), Combine::Add);
/// assert_eq!(c, [1.0 * 10.0 + 3.0 * 100.0 + 0.5, 2.0 * 10.0 + 4.0 * 100.0 + 0.5]);
/// ```
///
/// # Panics
/// When the shapes do not agree.
#[track_caller]
pub fn matmul<T: Element>(tier: Tier, a: MatRef<T>, b: MatRef<T>, mut c: MatMut<f32>, combine: Combine) {
    let (k, m, n) = (a.rows(), a.cols(), b.cols());
    assert!(
        b.rows() == k && c.rows() == m && c.cols() == n,
        "[{k}, {m}]ᵀ · [{}, {n}] does not give [{}, {}]",
        b.rows(),
        c.rows(),
        c.cols()
    );
    // SAFETY: the views prove that every row of a, b and c is in bounds, and c is borrowed uniquely.
    unsafe {
        let c_stride = c.stride();
        matmul_raw(
            tier,
            [k, m, n],
            a.as_ptr(),
            a.stride(),
            b.as_ptr(),
            b.stride(),
            c.as_mut_ptr(),
            c_stride,
            combine,
        );
    }
}

/// [`matmul`] on addresses: `shape` is `[K, M, N]`, strides are in elements between rows.
///
/// # Safety
/// `K` rows of `M` elements of `a`, and of `N` elements of `b`, must be readable, `M` rows of `N` elements of `c`
/// writable (and initialised), and `c` must overlap neither operand.
#[allow(clippy::too_many_arguments, reason = "the flat signature is what generated code calls")]
pub unsafe fn matmul_raw<T: Element>(
    tier: Tier,
    [k, m, n]: [usize; 3],
    a: *const T,
    a_stride: usize,
    b: *const T,
    b_stride: usize,
    c: *mut f32,
    c_stride: usize,
    combine: Combine,
) {
    if m == 0 || n == 0 {
        return;
    }
    let a = Operand { data: a, stride: a_stride, cols: m };
    let b = Operand { data: b, stride: b_stride, cols: n };
    let c = Target { data: c, row: c_stride, col: 1, combine };
    // SAFETY: the caller's promise is the kernel's.
    unsafe { T::tile_product(tier, TileProduct { k, a, b, c }) }
}

/// The whole product, as a kernel. The pointers satisfy the contract of [`matmul_raw`].
pub(crate) struct TileProduct<T> {
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    c: Target,
}

/// Up to this many rows of the result are computed straight from the operands, without packing.
const FEW: usize = 4;

impl<T: Element> Kernel for TileProduct<T> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let TileProduct { k, a, b, c } = self;
        // SAFETY: everything below stays inside the operands and the target, see each step.
        unsafe {
            if a.cols <= FEW {
                few_rows(s, k, a, b, c);
            } else if b.cols <= FEW {
                // Products commute: the transposed problem has few rows.
                few_rows(s, k, b, a, Target { row: c.col, col: c.row, ..c });
            } else if S::LANES == 16 {
                blocked::<S, T, 12, 2>(s, k, a, b, c);
            } else if S::LANES == 8 {
                blocked::<S, T, 6, 2>(s, k, a, b, c);
            } else {
                blocked::<S, T, 6, 4>(s, k, a, b, c);
            }
        }
    }
}

/// At most [`FEW`] rows: a matrix-vector product, or nearly. Enough accumulators to hide the latency of the
/// multiply-add, and no copy of an operand that is used once.
///
/// # Safety
/// As [`matmul_raw`].
#[inline(always)]
unsafe fn few_rows<S: Simd, T: Element>(s: S, k: usize, a: Operand<T>, b: Operand<T>, c: Target) {
    // SAFETY: `a` has exactly as many columns as the chosen row count.
    unsafe {
        match a.cols {
            1 => rows::<S, T, 1, 8>(s, k, a, b, c),
            2 => rows::<S, T, 2, 4>(s, k, a, b, c),
            3 => rows::<S, T, 3, 3>(s, k, a, b, c),
            _ => rows::<S, T, 4, 2>(s, k, a, b, c),
        }
    }
}

/// Exactly `MR` rows, all columns.
///
/// # Safety
/// As [`matmul_raw`], with `MR` columns in `a`.
#[inline(always)]
unsafe fn rows<S: Simd, T: Element, const MR: usize, const NV: usize>(
    s: S,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    c: Target,
) {
    let mut n = 0;
    // SAFETY: each step takes columns n.. of `b` and `c` that the loop condition proves to exist.
    unsafe {
        while n + NV * S::LANES <= b.cols {
            let sums = tile::<S, T, T, MR, NV>(s, k, a.data, a.stride, b.data.add(n), b.stride);
            c.at(0, n).write(s, &sums, MR, NV * S::LANES);
            n += NV * S::LANES;
        }
        while n + S::LANES <= b.cols {
            let sums = tile::<S, T, T, MR, 1>(s, k, a.data, a.stride, b.data.add(n), b.stride);
            c.at(0, n).write(s, &sums, MR, S::LANES);
            n += S::LANES;
        }
        if n < b.cols {
            let sums = narrow_tile::<S, T, MR>(s, k, a, b.skip_cols(n));
            c.at(0, n).write(s, &sums, MR, b.cols - n);
        }
    }
}

/// The general case: panels of `NV * LANES` columns of `b`, widened to f32 and packed so that they stay in L1,
/// against strips of `MR` rows.
///
/// # Safety
/// As [`matmul_raw`].
#[inline(always)]
unsafe fn blocked<S: Simd, T: Element, const MR: usize, const NV: usize>(
    s: S,
    k: usize,
    a: Operand<T>,
    b: Operand<T>,
    c: Target,
) {
    let (m, n) = (a.cols, b.cols);
    let panel = NV * S::LANES;
    // f32 strips are read as they lie, but for a ragged last one; other types are widened into strips.
    let in_place = if T::IS_F32 { m / MR } else { 0 };
    let strips = m.div_ceil(MR);
    let strip_len = k * MR;
    let mut scratch = Scratch::take(k * panel + (strips - in_place) * strip_len);
    let (packed_b, packed_a) = scratch.numbers().split_at_mut(k * panel);
    for strip in in_place..strips {
        let to = &mut packed_a[(strip - in_place) * strip_len..][..strip_len];
        // SAFETY: strip * MR < m.
        unsafe { pack(s, k, a.skip_cols(strip * MR), MR, to) };
    }
    for n0 in (0..n).step_by(panel) {
        // SAFETY: n0 < n; rows m0.. and columns n0.. of the target exist, `write` gets their true extent.
        unsafe {
            pack(s, k, b.skip_cols(n0), panel, packed_b);
            for strip in 0..strips {
                let m0 = strip * MR;
                let (left, left_stride) = if strip < in_place {
                    (a.data.add(m0).cast::<f32>(), a.stride)
                } else {
                    (packed_a.as_ptr().add((strip - in_place) * strip_len), MR)
                };
                let sums = tile::<S, f32, f32, MR, NV>(s, k, left, left_stride, packed_b.as_ptr(), panel);
                c.at(m0, n0).write(s, &sums, MR.min(m - m0), panel.min(n - n0));
            }
        }
    }
}

/// Widens the first `width` columns into rows of `width`, zero beyond the last column.
///
/// # Safety
/// `k` rows of the operand's columns must be readable; `to` holds `k * width` elements.
#[inline(always)]
unsafe fn pack<S: Simd, T: Element>(s: S, k: usize, from: Operand<T>, width: usize, to: &mut [f32]) {
    let cols = from.cols.min(width);
    for (k, row) in to.chunks_exact_mut(width).enumerate().take(k) {
        let source = from.data.wrapping_add(k * from.stride);
        let mut n = 0;
        // SAFETY: source columns below `cols` are readable, `row` has `width >= cols` elements.
        unsafe {
            while n + S::LANES <= cols {
                s.store(row.as_mut_ptr().add(n), T::Codec::load(s, source.add(n).cast()));
                n += S::LANES;
            }
            if n < cols {
                let lanes = T::Codec::load_part(s, source.add(n).cast(), cols - n);
                s.store_part(row.as_mut_ptr().add(n), lanes, S::LANES.min(width - n));
                n = (n + S::LANES).min(width);
            }
        }
        row[n..].fill(0.0);
    }
}

#[cfg(test)]
mod tests;
