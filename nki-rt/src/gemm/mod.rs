//! Whole matrix products, blocked for the caches and spread over threads.
//!
//! Definition: `K` is cut into steps of `k_step`; each step's sum starts at zero and takes
//! `s = fma(a[m,k], b[k,n], s)` in ascending `k`; the first step gives `c = s` (or `c = c + s` when adding), every
//! later one `c = c + s`. That is what a loop of tile products over K computes (isa.md 9.1.1), so a recognised
//! loop nest keeps its bits. The result depends neither on the tier nor on the number of threads, unless
//! [`Gemm::fast`] allows other roundings.
//!
//! Both operands are packed: `a` into strips of as many rows as a register tile has, `b` into panels of as many
//! columns, both K-major and cut at the steps of K. A task sweeps a block of strips against a group of panels, step
//! by step; its strips stay in the second cache, a panel in the first. With few rows there is nothing to reuse, and
//! `b` is read once, as it lies.

mod block;
mod operand;
mod pack;
mod vector;

#[cfg(test)]
mod tests;

use crate::element::Element;
use crate::matrix::{MatMut, MatRef, StridedRef};
use crate::parallel::{Parallel, Serial};
use crate::scratch::Scratch;
use crate::{Combine, Tier, matmul};
use block::{Block, Right, Shape};
use half::bf16;
pub use operand::{PackedLeft, PackedRight};
pub(crate) use pack::PackStrips;
use pack::{Packing, Steps};
use std::ops::Range;
pub(crate) use vector::Columns;

/// A matrix product to be made: `c = a b` or `c = c + a b`.
///
/// ```
/// use nki_rt::{Combine, Gemm, MatMut, StridedRef, Threads, Tier};
/// let (a, b) = ([1.0f32, 2.0], [3.0f32, 4.0]);
/// let mut c = [0.0f32];
/// let (a, b) = (StridedRef::row_major(&a, 1, 2), StridedRef::row_major(&b, 2, 1));
/// let gemm = Gemm { parallel: &Threads(2), ..Gemm::new(Tier::best()) };
/// gemm.run(a, b, MatMut::dense(&mut c, 1, 1), Combine::Overwrite);
/// assert_eq!(c, [11.0]);
/// ```
#[derive(Clone, Copy)]
pub struct Gemm<'a> {
    /// Instruction set.
    pub tier: Tier,
    /// Rows of `b` that are summed before the sum is added to `c`, at least 1; 128 is the tensor engine's tile.
    pub k_step: usize,
    /// Whether bf16 products may round as the processor's bf16 instructions do (pairs along K, subnormals flushed to
    /// zero) where there are such; twice the speed of exact sums.
    pub fast: bool,
    /// Who runs the tasks.
    pub parallel: &'a dyn Parallel,
    /// Called with every finished block of `c`, to read its numbers or change them in place.
    pub epilogue: Option<&'a Epilogue<'a>>,
}

/// What to do with a finished block whose first element is at the given row and column. Blocks are disjoint, and
/// their size depends on the machine.
pub type Epilogue<'a> = dyn Fn([usize; 2], MatMut<f32>) + Sync + 'a;

impl Gemm<'_> {
    /// Exact, on one thread, in steps of 128, without epilogue.
    pub fn new(tier: Tier) -> Self {
        Gemm { tier, k_step: 128, fast: false, parallel: &Serial, epilogue: None }
    }

    /// Computes `c (+)= a b` for `a` of `[M, K]`, `b` of `[K, N]`, `c` of `[M, N]`.
    ///
    /// # Panics
    /// When the shapes do not agree, or `k_step` is 0.
    #[track_caller]
    pub fn run<T: Element>(&self, a: StridedRef<T>, b: StridedRef<T>, mut c: MatMut<f32>, combine: Combine) {
        let [m, k, n] = self.check(&a, &b);
        assert!(c.rows() == m && c.cols() == n, "[{m}, {n}] does not go into [{}, {}]", c.rows(), c.cols());
        let to = Destination::Memory { data: c.as_mut_ptr(), stride: c.stride(), combine };
        // SAFETY: the views prove that all elements are in bounds, and c is borrowed uniquely.
        unsafe { self.run_raw(k, Side::rows(&a), Side::rows(&b.transposed()), to) }
    }

    /// Computes `a b` and hands it to the epilogue block by block, without keeping it: for results that are stored in
    /// another type.
    ///
    /// # Panics
    /// When the shapes do not agree, or `k_step` is 0.
    #[track_caller]
    pub fn run_blocks<T: Element>(&self, a: StridedRef<T>, b: StridedRef<T>) {
        let [_, k, _] = self.check(&a, &b);
        // SAFETY: the views prove that all elements are in bounds.
        unsafe { self.run_raw(k, Side::rows(&a), Side::rows(&b.transposed()), Destination::Epilogue) }
    }

    /// M, K and N.
    #[track_caller]
    fn check<T>(&self, a: &StridedRef<T>, b: &StridedRef<T>) -> [usize; 3] {
        let ([m, k], [k_b, n]) = (a.shape(), b.shape());
        assert!(k == k_b, "[{m}, {k}] times [{k_b}, {n}]");
        assert!(self.k_step > 0, "a step of K has at least one row");
        [m, k, n]
    }

    /// [`Gemm::run`] and [`Gemm::run_blocks`] on addresses; `k_step` must not be 0.
    ///
    /// # Safety
    /// All elements of `a` and `b` must be readable, `[a.len, b.len]` elements of the destination writable and
    /// initialised, and it must overlap neither operand.
    pub unsafe fn run_raw<T: Element>(&self, k: usize, a: Side<T>, b: Side<T>, to: Destination) {
        if a.len == 0 || b.len == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            if a.len <= vector::FEW && b.along == 1 {
                vector::run(self, k, a, b, to);
            } else {
                self.run_packed(k, a, b, to);
            }
        }
    }

    /// The general case: outermost over rows and columns, so that the packed operands fit the outer caches.
    ///
    /// # Safety
    /// As [`Gemm::run_raw`].
    unsafe fn run_packed<T: Element>(&self, k: usize, a: Side<T>, b: Side<T>, to: Destination) {
        let shape = Shape::new(self.tier, self.fast && T::PAIRS && self.tier.has_pair_dot());
        let steps = Steps { k, step: self.k_step, pairs: shape.pairs };
        let depth = steps.depth().max(1);
        let rows_at_once = (PACKED_A / depth).next_multiple_of(shape.strip).max(shape.strip);
        let cols_at_once = (PACKED_B / depth).next_multiple_of(shape.panel).max(shape.panel);
        for rows in cut(0..a.len, rows_at_once) {
            // SAFETY: the range lies inside the operand.
            let a = unsafe { a.part(rows.clone()) };
            let mut packed_a = Packing::new(steps, a.len, shape.strip);
            // SAFETY: the operand is readable.
            unsafe { packed_a.fill(self, a) };
            if a.len <= block::PLAIN_ROWS {
                let corner = [rows.start, 0];
                // SAFETY: the block is a part of the destination, the operand readable.
                unsafe { Block { shape, steps, a: &packed_a, b: Right::Plain(b), corner }.run(self, to) };
                continue;
            }
            for cols in cut(0..b.len, cols_at_once) {
                // SAFETY: as above.
                let b = unsafe { b.part(cols.clone()) };
                let mut packed_b = Packing::new(steps, b.len, shape.panel);
                // SAFETY: as above.
                unsafe { packed_b.fill(self, b) };
                let corner = [rows.start, cols.start];
                // SAFETY: as above.
                unsafe {
                    Block::<T> { shape, steps, a: &packed_a, b: Right::Packed(&packed_b), corner }
                        .run(self, to)
                };
            }
        }
    }
}

/// [`crate::matmul`] for bf16 at the speed of the processor's bf16 instructions where it has them: pairs along K, two
/// roundings a pair, subnormals flushed to zero, so not the same bits. Elsewhere it is `matmul` itself.
///
/// # Panics
/// When the shapes do not agree.
#[track_caller]
pub fn matmul_fast(tier: Tier, a: MatRef<bf16>, b: MatRef<bf16>, mut c: MatMut<f32>, combine: Combine) {
    if !tier.has_pair_dot() {
        return matmul(tier, a, b, c, combine);
    }
    let (k, m, n) = (a.rows(), a.cols(), b.cols());
    assert!(b.rows() == k && c.rows() == m && c.cols() == n, "[{k}, {m}]ᵀ · [{}, {n}]", b.rows());
    let a = Side { data: a.as_ptr(), len: m, along: 1, k: a.stride(), step: None };
    let b = Side { data: b.as_ptr(), len: n, along: 1, k: b.stride(), step: None };
    let to = Destination::Memory { data: c.as_mut_ptr(), stride: c.stride(), combine };
    let gemm = Gemm { k_step: k.max(1), fast: true, ..Gemm::new(tier) };
    // SAFETY: the views prove that all elements are in bounds, and c is borrowed uniquely.
    unsafe { gemm.run_raw(k, a, b, to) }
}

/// Packed words of `a` at a time: 64 MB.
const PACKED_A: usize = 16 << 20;
/// Packed words of `b` at a time: 8 MB, to stay in the third cache.
const PACKED_B: usize = 2 << 20;

/// Consecutive ranges of at most `len`.
fn cut(range: Range<usize>, len: usize) -> impl Iterator<Item = Range<usize>> {
    range.clone().step_by(len).map(move |start| start..(start + len).min(range.end))
}

/// An operand of [`Gemm::run_raw`]: `len` rows of `a`, or columns of `b`, that lie `along` elements apart and whose
/// elements follow K at a distance of `k`.
#[derive(Debug)]
pub struct Side<T> {
    /// Address of the first element.
    pub data: *const T,
    /// Number of rows of `a`, columns of `b`.
    pub len: usize,
    /// Distance between rows of `a`, columns of `b`, in elements.
    pub along: usize,
    /// Distance between neighbours along K, in elements; inside a step of K if `step` is given.
    pub k: usize,
    /// Distance from the start of a step of K to that of the next one, if it is not `k` times the length of a step:
    /// for operands that lie in pieces of a step.
    pub step: Option<usize>,
}

impl<T> Clone for Side<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Side<T> {}

// SAFETY: an address of numbers that nobody writes during the product.
unsafe impl<T: Sync> Sync for Side<T> {}

impl<T> Side<T> {
    fn rows(view: &StridedRef<T>) -> Self {
        let ([len, _], [along, k]) = (view.shape(), view.strides());
        Side { data: view.as_ptr(), len, along, k, step: None }
    }

    /// Address of element `row` of K as if all of K were as far apart as inside the step that begins at `start`; only
    /// that step's elements may be read there.
    fn step_base(&self, start: usize, k_step: usize) -> *const T {
        match self.step {
            None => self.data,
            // Wrapping: the address of row 0 need not exist.
            Some(step) => self.data.wrapping_add(start / k_step * step).wrapping_sub(start * self.k),
        }
    }

    /// The operand as the step that begins at row `start` of K sees it.
    fn at_step(self, start: usize, k_step: usize) -> Self {
        Side { data: self.step_base(start, k_step), step: None, ..self }
    }

    /// # Safety
    /// The range must lie inside the operand.
    unsafe fn part(self, range: Range<usize>) -> Self {
        // SAFETY: the caller's promise.
        Side { data: unsafe { self.data.add(range.start * self.along) }, len: range.len(), ..self }
    }
}

/// Where [`Gemm::run_raw`] leaves its result.
#[derive(Clone, Copy, Debug)]
pub enum Destination {
    /// Rows of f32, `stride` elements apart.
    Memory {
        /// Address of the first element.
        data: *mut f32,
        /// Distance between rows, in elements.
        stride: usize,
        /// Whether the result replaces what is there or is added to it.
        combine: Combine,
    },
    /// Nowhere; only the epilogue sees it.
    Epilogue,
}

// SAFETY: tasks write disjoint parts.
unsafe impl Sync for Destination {}

/// The part of the result that a task computes: `rows` x `cols` elements, its own until it is finished.
struct Part {
    corner: [usize; 2],
    rows: usize,
    cols: usize,
    data: *mut f32,
    stride: usize,
    first: Combine,
    _kept: Option<Scratch>,
}

impl Part {
    /// # Safety
    /// The elements must lie inside the destination, and be used by nobody else while the part lives.
    unsafe fn new(to: Destination, corner: [usize; 2], rows: usize, cols: usize) -> Part {
        let [row, col] = corner;
        let (data, stride, first, kept) = match to {
            // SAFETY: the caller's promise.
            Destination::Memory { data, stride, combine } => {
                (unsafe { data.add(row * stride + col) }, stride, combine, None)
            }
            Destination::Epilogue => {
                let mut kept = Scratch::take(rows * cols);
                (kept.numbers().as_mut_ptr(), cols, Combine::Overwrite, Some(kept))
            }
        };
        Part { corner, rows, cols, data, stride, first, _kept: kept }
    }

    fn finish(self, gemm: &Gemm) {
        if let Some(epilogue) = gemm.epilogue {
            // SAFETY: by the promise to `new`, the elements are this part's.
            epilogue(self.corner, unsafe { MatMut::from_raw(self.data, self.rows, self.cols, self.stride) });
        }
    }

    /// What an empty K leaves: zero, or what was there.
    fn fill_zero(&self) {
        if self.first == Combine::Overwrite {
            for row in 0..self.rows {
                // SAFETY: the elements of a row of the part.
                unsafe {
                    std::slice::from_raw_parts_mut(self.data.add(row * self.stride), self.cols).fill(0.0)
                }
            }
        }
    }
}
