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
pub(super) const FEW: usize = 4;

/// Columns of a task. The sums of its rows stay in the first cache.
const TASK: usize = 1024;

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
    let share = b.len.div_ceil(threads * 4).next_multiple_of(64);
    let cols_at_once = if threads == 1 { TASK } else { TASK.min(share) };
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
        match self.part.rows {
            1 => self.sweep::<S, 1>(s),
            2 => self.sweep::<S, 2>(s),
            3 => self.sweep::<S, 3>(s),
            _ => self.sweep::<S, 4>(s),
        }
    }
}

impl<T: Element> Columns<'_, T> {
    #[inline(always)]
    fn sweep<S: Simd, const M: usize>(self, s: S) {
        let Columns { a, b, k_step, part, sums } = self;
        let k = a.len() / M;
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
                // SAFETY: rows row.. up to the end of the step exist.
                unsafe {
                    let at = base.wrapping_add(row * b.k);
                    if row + GROUP <= end {
                        add_rows::<S, T, M, GROUP>(s, &a[row * M..], at, b.k, part.cols, sums, length);
                        row += GROUP;
                    } else {
                        add_rows::<S, T, M, 1>(s, &a[row * M..], at, b.k, part.cols, sums, length);
                        row += 1;
                    }
                }
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

/// Adds the products with `G` rows of `b` to the sums, in ascending order.
///
/// # Safety
/// `G` rows of `cols` elements of `b` must be readable.
#[inline(always)]
unsafe fn add_rows<S: Simd, T: Element, const M: usize, const G: usize>(
    s: S,
    a: &[f32],
    b: *const T,
    b_stride: usize,
    cols: usize,
    sums: &mut [f32],
    length: usize,
) {
    let a = &a[..G * M];
    let sums = &mut sums[..M * length];
    let mut n = 0;
    while n < cols {
        // SAFETY: the sums are padded to whole vectors; of `b` only existing columns are read.
        unsafe {
            let mut acc = [s.splat(0.0); M];
            for (m, acc) in acc.iter_mut().enumerate() {
                *acc = s.load(sums.as_ptr().add(m * length + n));
            }
            for g in 0..G {
                let at = b.wrapping_add(g * b_stride + n).cast();
                let x = if n + S::LANES <= cols {
                    T::Codec::load(s, at)
                } else {
                    T::Codec::load_part(s, at, cols - n)
                };
                for (m, acc) in acc.iter_mut().enumerate() {
                    *acc = s.fma(s.splat(a[g * M + m]), x, *acc);
                }
            }
            for (m, acc) in acc.iter().enumerate() {
                s.store(sums.as_mut_ptr().add(m * length + n), *acc);
            }
        }
        n += S::LANES;
    }
}
