//! Products with few rows: each element of `b` is used a few times only, so it is read once, straight from where it
//! lies, in pieces of rows long enough for the memory to stream.

use super::{Destination, Gemm, Part, Side};
use crate::Combine;
use crate::codec::Codec;
use crate::element::Element;
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::tier::Kernel;

/// Most rows that come here.
pub(super) const FEW: usize = 24;

/// Rows of the result that are summed together: their sums fit the registers.
const TOGETHER: usize = 4;

/// Bytes of a row of `b` that a task takes: long enough for the memory to stream, short enough for the first cache to keep
/// [`GROUP`] of them.
const TASK: usize = 4096;

/// Rows of `b` that are added to the sums in one go.
const GROUP: usize = 8;

/// The product of at most [`FEW`] rows of `a` with a `b` whose columns lie side by side.
///
/// # Safety
/// As [`Gemm::run_raw`].
pub(super) unsafe fn run<T: Element>(gemm: &Gemm, k: usize, a: Side<T>, b: Side<T>, to: Destination) {
    // All of `a`, K-major.
    let mut rows = Scratch::take(k * a.len);
    for (i, x) in rows.numbers().iter_mut().enumerate() {
        // SAFETY: row i % len, element i / len of it.
        let (row, k) = (i % a.len * a.along, i / a.len);
        let base = a.step_base(k / gemm.k_step * gemm.k_step, gemm.k_step);
        *x = unsafe { base.wrapping_add(row + k * a.k).read() }.widen();
    }
    let rows: &[f32] = rows.numbers();
    let (threads, m) = (gemm.parallel.width(), a.len);
    let task = TASK / size_of::<T>();
    let share = b.len.div_ceil(threads * 2).next_multiple_of(64);
    let cols_at_once = if threads == 1 { task } else { share.clamp(task / 4, task) };
    let b = &b;
    gemm.parallel.for_each(b.len.div_ceil(cols_at_once), &|task| {
        let first = task * cols_at_once;
        let cols = cols_at_once.min(b.len - first);
        // SAFETY: the columns of a task are inside the operand, and its part of the result is nobody else's.
        unsafe {
            let part = Part::new(to, [0, first], m, cols);
            let mut sums = Scratch::take(m * padded(cols));
            let columns = Columns {
                a: rows,
                b: b.part(first..first + cols),
                k_step: gemm.k_step,
                part: &part,
                sums: sums.numbers(),
            };
            T::columns(gemm.tier, columns);
            part.finish(gemm);
        }
    });
}

/// Length of a row of sums: whole vectors of any tier.
fn padded(cols: usize) -> usize {
    cols.next_multiple_of(16)
}

/// Some columns of the product, as a kernel.
pub(crate) struct Columns<'a, T> {
    /// `[K, M]`
    a: &'a [f32],
    b: Side<T>,
    k_step: usize,
    part: &'a Part,
    /// One row of `padded(cols)` per row of the result.
    sums: &'a mut [f32],
}

impl<T: Element> Kernel for Columns<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Columns { a, b, k_step, part, sums } = self;
        let rows = part.rows;
        let k = a.len() / rows;
        if k == 0 {
            part.fill_zero();
        }
        let length = padded(part.cols);
        let mut combine = part.first;
        for start in (0..k).step_by(k_step) {
            let end = (start + k_step).min(k);
            let base = b.step_base(start, k_step);
            sums.fill(0.0);
            let mut row = start;
            while row < end {
                let at = base.wrapping_add(row * b.k);
                let group = if row + GROUP <= end { GROUP } else { 1 };
                for first in (0..rows).step_by(TOGETHER) {
                    let rows =
                        Rows { a: &a[row * part.rows + first..], stride: part.rows, b: at, b_stride: b.k };
                    let sums = &mut sums[first * length..];
                    // SAFETY: rows row.. up to the end of the step exist.
                    unsafe {
                        match (part.rows - first, group == GROUP) {
                            (1, true) => rows.add::<S, 1, GROUP, 2>(s, part.cols, sums, length),
                            (2, true) => rows.add::<S, 2, GROUP, 2>(s, part.cols, sums, length),
                            (3, true) => rows.add::<S, 3, GROUP, 2>(s, part.cols, sums, length),
                            (_, true) => rows.add::<S, TOGETHER, GROUP, 2>(s, part.cols, sums, length),
                            (1, false) => rows.add::<S, 1, 1, 1>(s, part.cols, sums, length),
                            (2, false) => rows.add::<S, 2, 1, 1>(s, part.cols, sums, length),
                            (3, false) => rows.add::<S, 3, 1, 1>(s, part.cols, sums, length),
                            (_, false) => rows.add::<S, TOGETHER, 1, 1>(s, part.cols, sums, length),
                        }
                    }
                }
                row += group;
            }
            for (m, sums) in sums.chunks_exact(length).enumerate() {
                // SAFETY: row `m` of the part.
                let to = unsafe { std::slice::from_raw_parts_mut(part.data.add(m * part.stride), part.cols) };
                for (c, sum) in to.iter_mut().zip(sums) {
                    *c = if combine == Combine::Add { *c + sum } else { *sum };
                }
            }
            combine = Combine::Add;
        }
    }
}

/// Some rows of `b`, and what they are multiplied by: element (g, m) is at `g * stride + m`.
struct Rows<'a, T> {
    a: &'a [f32],
    stride: usize,
    b: *const T,
    b_stride: usize,
}

impl<T: Element> Rows<'_, T> {
    /// Adds the products with `G` rows of `b` to the sums of `M` rows, in ascending order, `V` vectors at a time.
    ///
    /// # Safety
    /// `G` rows of `cols` elements of `b` must be readable.
    #[inline(always)]
    unsafe fn add<S: Simd, const M: usize, const G: usize, const V: usize>(
        &self,
        s: S,
        cols: usize,
        sums: &mut [f32],
        length: usize,
    ) {
        let a = &self.a[..(G - 1) * self.stride + M];
        let sums = &mut sums[..M * length];
        let mut n = 0;
        // SAFETY: the sums are padded to whole vectors; of `b` only existing columns are read.
        unsafe {
            while n + V * S::LANES <= cols {
                self.vectors::<S, M, G, V>(s, a, n, sums, length, |at| T::Codec::load(s, at));
                n += V * S::LANES;
            }
            while n < cols {
                let left = S::LANES.min(cols - n);
                self.vectors::<S, M, G, 1>(s, a, n, sums, length, |at| T::Codec::load_part(s, at, left));
                n += S::LANES;
            }
        }
    }

    /// `V` vectors of sums from column `n` on.
    ///
    /// # Safety
    /// As [`Rows::add`]; `load` reads what exists.
    #[inline(always)]
    unsafe fn vectors<S: Simd, const M: usize, const G: usize, const V: usize>(
        &self,
        s: S,
        a: &[f32],
        n: usize,
        sums: &mut [f32],
        length: usize,
        load: impl Fn(*const u8) -> S::F,
    ) {
        // SAFETY: rows of `sums` are padded to whole vectors.
        unsafe {
            let mut acc = [[s.splat(0.0); V]; M];
            for (m, acc) in acc.iter_mut().enumerate() {
                for (v, acc) in acc.iter_mut().enumerate() {
                    *acc = s.load(sums.as_ptr().add(m * length + n + v * S::LANES));
                }
            }
            for g in 0..G {
                let mut x = [s.splat(0.0); V];
                for (v, x) in x.iter_mut().enumerate() {
                    *x = load(self.b.wrapping_add(g * self.b_stride + n + v * S::LANES).cast());
                }
                for (m, acc) in acc.iter_mut().enumerate() {
                    let left = s.splat(a[g * self.stride + m]);
                    for (acc, x) in acc.iter_mut().zip(&x) {
                        *acc = s.fma(left, *x, *acc);
                    }
                }
            }
            for (m, acc) in acc.iter().enumerate() {
                for (v, acc) in acc.iter().enumerate() {
                    s.store(sums.as_mut_ptr().add(m * length + n + v * S::LANES), *acc);
                }
            }
        }
    }
}
