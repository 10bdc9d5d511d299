//! Packed strips of `a` against panels of `b`.

use super::pack::{PackStrips, Packing, Step, Steps};
use super::{Destination, Gemm, Part, Side};
use crate::element::Element;
use crate::matmul::tile::{Target, tile};
use crate::scratch::Scratch;
use crate::simd::Simd;
use crate::tier::Kernel;
use crate::{Combine, Tier};

/// The register tile of a tier.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    /// Rows.
    pub(super) strip: usize,
    /// Columns.
    pub(super) panel: usize,
    /// Whether a word holds two bf16 numbers.
    pub(super) pairs: bool,
}

impl Shape {
    pub(super) fn new(tier: Tier, pairs: bool) -> Self {
        let (strip, vectors) = match tier.lanes() {
            16 => (12, 2),
            8 => (6, 2),
            _ => (6, 4),
        };
        Shape { strip, panel: vectors * tier.lanes(), pairs }
    }
}

/// All rows of a packed `a` against all columns of a `b`.
pub(super) struct Block<'a, T> {
    pub(super) shape: Shape,
    pub(super) steps: Steps,
    pub(super) a: &'a Packing,
    pub(super) b: Right<'a, T>,
    /// Position in the result.
    pub(super) corner: [usize; 2],
}

/// The other operand.
pub(super) enum Right<'a, T> {
    /// Packed beforehand, for tasks to share.
    Packed(&'a Packing),
    /// As it lies: only one task uses each column, and packs it in its own cache.
    Plain(Side<T>),
}

impl<T> Right<'_, T> {
    fn len(&self) -> usize {
        match self {
            Right::Packed(packing) => packing.len,
            Right::Plain(side) => side.len,
        }
    }
}

/// Rows and columns that a task takes: its strips for one step of K and its part of the result fit the second
/// cache (128 x 192 and 192 x 256 words, 300 KB).
pub(super) const TASK_ROWS: usize = 192;
const TASK_COLS: usize = 256;
/// Rows up to which one task takes all of them, and packs its columns of `b` where it works on them: the strips of one
/// step of K (256 x 128 words, 128 KB) stay in the second cache.
pub(super) const PLAIN_ROWS: usize = 256;
/// Tasks per thread that even out their differences.
const TASKS_PER_THREAD: usize = 4;

impl<T: Element> Block<'_, T> {
    /// Computes and finishes the block, in parallel.
    ///
    /// # Safety
    /// The block must lie inside the destination, a plain `b` be readable.
    pub(super) unsafe fn run(&self, gemm: &Gemm, to: Destination) {
        let (rows, cols) = self.task_size(gemm.parallel.width());
        let across = self.b.len().div_ceil(cols);
        let down = self.a.len.div_ceil(rows);
        let steps: Vec<Step> = self.steps.iter().collect();
        gemm.parallel.for_each(down * across, &|task| {
            let (row, col) = (task / across * rows, task % across * cols);
            let (rows, cols) = (rows.min(self.a.len - row), cols.min(self.b.len() - col));
            let corner = [self.corner[0] + row, self.corner[1] + col];
            // SAFETY: the part lies inside the block, and parts of different tasks are apart.
            let part = unsafe { Part::new(to, corner, rows, cols) };
            // SAFETY: as above; `b` is readable.
            unsafe { self.compute(gemm, &steps, &part, row, col) };
            part.finish(gemm);
        });
    }

    /// One task: the part of the result at `row`, `col` of the block.
    ///
    /// # Safety
    /// As [`Block::run`].
    unsafe fn compute(&self, gemm: &Gemm, steps: &[Step], part: &Part, row: usize, col: usize) {
        if steps.is_empty() {
            part.fill_zero();
        }
        let deepest = steps.iter().map(|step| step.depth).max().unwrap_or(0);
        let mut own = match self.b {
            Right::Packed(_) => None,
            Right::Plain(_) => Some(Scratch::take(deepest * part.cols.next_multiple_of(self.shape.panel))),
        };
        for (i, step) in steps.iter().enumerate() {
            let right = match (&self.b, &mut own) {
                (Right::Plain(side), Some(own)) => {
                    let Shape { panel: width, pairs, .. } = self.shape;
                    let to = own.numbers().as_mut_ptr();
                    // SAFETY: the columns of the part, and room for them.
                    unsafe {
                        let from = side.part(col..col + part.cols).at_step(step.rows.start, gemm.k_step);
                        T::pack(gemm.tier, PackStrips { from, step, pairs, width, to });
                    }
                    to.cast_const()
                }
                (Right::Packed(b), _) => b.address().wrapping_add(b.offset(step, col / self.shape.panel)),
                (Right::Plain(_), None) => unreachable!("a plain operand has room to be packed"),
            };
            let left = self.a.address().wrapping_add(self.a.offset(step, row / self.shape.strip));
            let combine = if i == 0 { part.first } else { Combine::Add };
            let product = StepProduct { left, right, depth: step.depth, part, combine };
            if self.shape.pairs {
                // SAFETY: words hold pairs only where `has_pair_dot` holds.
                unsafe { pair_step(gemm.tier, product) }
            } else {
                number_step(gemm.tier, product);
            }
        }
    }

    /// Rows and columns of a task, whole strips and panels: fewer when there would not be enough tasks.
    fn task_size(&self, threads: usize) -> (usize, usize) {
        let mut rows = TASK_ROWS.next_multiple_of(self.shape.strip);
        let mut cols = TASK_COLS.next_multiple_of(self.shape.panel);
        let wanted = if threads == 1 { 1 } else { threads * TASKS_PER_THREAD };
        let plain = matches!(self.b, Right::Plain(_));
        if plain {
            rows = self.a.len;
        }
        while self.a.len.div_ceil(rows) * self.b.len().div_ceil(cols) < wanted {
            if cols > 4 * self.shape.panel {
                cols = (cols / 2).next_multiple_of(self.shape.panel);
            } else if rows > 4 * self.shape.strip && !plain {
                rows = (rows / 2).next_multiple_of(self.shape.strip);
            } else {
                break;
            }
        }
        (rows, cols)
    }
}

/// One step of K for one part of the result.
pub(super) struct StepProduct<'a> {
    /// Strips of the part's rows, one after the other.
    pub(super) left: *const f32,
    /// Panels of the part's columns.
    pub(super) right: *const f32,
    /// Words along K.
    pub(super) depth: usize,
    pub(super) part: &'a Part,
    pub(super) combine: Combine,
}

/// The step on words of one number.
struct NumberKernel<'a>(StepProduct<'a>);

/// The step on words of two bf16 numbers.
struct PairKernel<'a>(StepProduct<'a>);

/// One step. Not generic, so that it is compiled, and optimised, with this crate whatever calls it.
#[inline(never)]
pub(super) fn number_step(tier: Tier, product: StepProduct) {
    tier.run(NumberKernel(product));
}

/// One step on pairs.
///
/// # Safety
/// [`Tier::has_pair_dot`] must hold.
#[inline(never)]
unsafe fn pair_step(tier: Tier, product: StepProduct) {
    // SAFETY: the caller's promise.
    unsafe { tier.run_pairs(PairKernel(product)) }
}

/// Calls a sweep with the register tile of the tier, see [`Shape::new`].
macro_rules! with_tile {
    ($s:ident: $S:ident, $product:expr, $pairs:literal) => {
        if $S::LANES == 16 {
            $product.sweep::<$S, 12, 2, $pairs>($s);
        } else if $S::LANES == 8 {
            $product.sweep::<$S, 6, 2, $pairs>($s);
        } else {
            $product.sweep::<$S, 6, 4, $pairs>($s);
        }
    };
}

impl Kernel for NumberKernel<'_> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        with_tile!(s: S, self.0, false);
    }
}

impl Kernel for PairKernel<'_> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        with_tile!(s: S, self.0, true);
    }
}

impl StepProduct<'_> {
    #[inline(always)]
    fn sweep<S: Simd, const MR: usize, const NV: usize, const PAIRS: bool>(self, s: S) {
        let StepProduct { left, right, depth, part, combine } = self;
        let panel = NV * S::LANES;
        for n in (0..part.cols).step_by(panel) {
            let right = right.wrapping_add(n * depth);
            for m in (0..part.rows).step_by(MR) {
                let left = left.wrapping_add(m * depth);
                // SAFETY: strip and panel hold `depth` rows of MR and NV * LANES words; `write` gets the extent of the
                // part, whose elements are this task's.
                unsafe {
                    let sums = if PAIRS {
                        pair_tile::<S, MR, NV>(s, depth, left.cast(), right.cast())
                    } else {
                        tile::<S, f32, f32, MR, NV>(s, depth, left, MR, right, panel)
                    };
                    let data = part.data.add(m * part.stride + n);
                    let target = Target { data, row: part.stride, col: 1, combine };
                    target.write(s, &sums, MR.min(part.rows - m), panel.min(part.cols - n));
                }
            }
        }
    }
}

/// [`tile`] on packed words of two bf16 numbers.
///
/// # Safety
/// `depth` rows of `MR` words of `a` and of `NV * LANES` words of `b` must be readable, and the processor must have
/// what [`Simd::pair_dot`] needs.
#[inline(always)]
unsafe fn pair_tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    depth: usize,
    mut a: *const i32,
    mut b: *const i32,
) -> [[S::F; NV]; MR] {
    let mut sums = [[s.splat(0.0); NV]; MR];
    for _ in 0..depth {
        // SAFETY: a row of `a` and `b` is readable.
        unsafe {
            let mut row = [s.splat_i(0); NV];
            for (v, words) in row.iter_mut().enumerate() {
                *words = s.load_i(b.wrapping_add(v * S::LANES));
            }
            for (m, sums) in sums.iter_mut().enumerate() {
                let x = s.splat_i(*a.wrapping_add(m));
                for v in 0..NV {
                    sums[v] = s.pair_dot(sums[v], x, row[v]);
                }
            }
        }
        a = a.wrapping_add(MR);
        b = b.wrapping_add(NV * S::LANES);
    }
    sums
}
