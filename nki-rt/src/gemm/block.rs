//! Packed strips against packed panels.

use super::pack::{Packing, Step, Steps};
use super::{Destination, Gemm, Part};
use crate::matmul::tile::{Target, tile};
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

/// All rows of a packed `a` against all columns of a packed `b`.
pub(super) struct Block<'a> {
    pub(super) shape: Shape,
    pub(super) steps: Steps,
    pub(super) a: &'a Packing,
    pub(super) b: &'a Packing,
    /// Position in the result.
    pub(super) corner: [usize; 2],
}

/// Rows and columns that a task takes: its strips for one step of K and its part of the result fit the second
/// cache (128 x 192 and 192 x 256 words, 300 KB).
const TASK_ROWS: usize = 192;
const TASK_COLS: usize = 256;
/// Tasks per thread that even out their differences.
const TASKS_PER_THREAD: usize = 4;

impl Block<'_> {
    /// Computes and finishes the block, in parallel.
    ///
    /// # Safety
    /// The block must lie inside the destination.
    pub(super) unsafe fn run(&self, gemm: &Gemm, to: Destination) {
        let (rows, cols) = self.task_size(gemm.parallel.width());
        let across = self.b.len.div_ceil(cols);
        let down = self.a.len.div_ceil(rows);
        let steps: Vec<Step> = self.steps.iter().collect();
        gemm.parallel.for_each(down * across, &|task| {
            let (row, col) = (task / across * rows, task % across * cols);
            let (rows, cols) = (rows.min(self.a.len - row), cols.min(self.b.len - col));
            let corner = [self.corner[0] + row, self.corner[1] + col];
            // SAFETY: the part lies inside the block, and parts of different tasks are apart.
            let part = unsafe { Part::new(to, corner, rows, cols) };
            let product = PartProduct { block: self, steps: &steps, part: &part, row, col };
            // SAFETY: the pair instructions are used only where `has_pair_dot` found them.
            if self.shape.pairs {
                unsafe { gemm.tier.run_pairs(product) }
            } else {
                gemm.tier.run(product)
            }
            part.finish(gemm);
        });
    }

    /// Rows and columns of a task, whole strips and panels: fewer when there would not be enough tasks.
    fn task_size(&self, threads: usize) -> (usize, usize) {
        let mut rows = TASK_ROWS.next_multiple_of(self.shape.strip);
        let mut cols = TASK_COLS.next_multiple_of(self.shape.panel);
        let wanted = if threads == 1 { 1 } else { threads * TASKS_PER_THREAD };
        while self.a.len.div_ceil(rows) * self.b.len.div_ceil(cols) < wanted {
            if cols > 4 * self.shape.panel {
                cols = (cols / 2).next_multiple_of(self.shape.panel);
            } else if rows > 4 * self.shape.strip {
                rows = (rows / 2).next_multiple_of(self.shape.strip);
            } else {
                break;
            }
        }
        (rows, cols)
    }
}

/// One task, as a kernel.
struct PartProduct<'a> {
    block: &'a Block<'a>,
    steps: &'a [Step],
    part: &'a Part,
    /// Position of the part in the block.
    row: usize,
    col: usize,
}

impl Kernel for PartProduct<'_> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if S::LANES == 16 {
            self.sweep::<S, 12, 2>(s);
        } else if S::LANES == 8 {
            self.sweep::<S, 6, 2>(s);
        } else {
            self.sweep::<S, 6, 4>(s);
        }
    }
}

impl PartProduct<'_> {
    #[inline(always)]
    fn sweep<S: Simd, const MR: usize, const NV: usize>(self, s: S) {
        let PartProduct { block: Block { shape, a, b, .. }, steps, part, row, col } = self;
        let panel = NV * S::LANES;
        if steps.is_empty() {
            part.fill_zero();
        }
        let mut combine = part.first;
        for step in steps {
            for n in (0..part.cols).step_by(panel) {
                let right = b.address().wrapping_add(b.offset(step, (col + n) / panel));
                for m in (0..part.rows).step_by(MR) {
                    let left = a.address().wrapping_add(a.offset(step, (row + m) / MR));
                    // SAFETY: strip and panel hold `depth` rows of MR and NV * LANES words; `write` gets the extent
                    // of the part, whose elements are this task's.
                    unsafe {
                        let sums = if shape.pairs {
                            pair_tile::<S, MR, NV>(s, step.depth, left.cast(), right.cast())
                        } else {
                            tile::<S, f32, f32, MR, NV>(s, step.depth, left, MR, right, panel)
                        };
                        let data = part.data.add(m * part.stride + n);
                        let target = Target { data, row: part.stride, col: 1, combine };
                        target.write(s, &sums, MR.min(part.rows - m), panel.min(part.cols - n));
                    }
                }
            }
            combine = Combine::Add;
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
        // SAFETY: row of `a` and `b` are readable.
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
