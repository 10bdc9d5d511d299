//! Reductions of rows to one number, in two orders of summation.

use crate::activation::{Activation, activate_raw};
use crate::binary::{maximum, minimum};
use crate::matrix::MatRef;
use crate::simd::{MAX_LANES, Simd};
use crate::tier::{Kernel, Tier};

/// An operation that rows are reduced by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Reduction {
    /// sum
    Add,
    /// product
    Multiply,
    /// largest; NaN if any is, +0 above -0
    Maximum,
    /// smallest; NaN if any is, -0 below +0
    Minimum,
}

impl Reduction {
    /// Every reduction.
    pub const ALL: [Reduction; 4] =
        [Reduction::Add, Reduction::Multiply, Reduction::Maximum, Reduction::Minimum];

    /// What leaves every number unchanged (isa.md 6).
    pub fn identity(self) -> f32 {
        match self {
            Reduction::Add => 0.0,
            Reduction::Multiply => 1.0,
            Reduction::Maximum => f32::NEG_INFINITY,
            Reduction::Minimum => f32::INFINITY,
        }
    }
}

/// `initial` combined with each element in ascending order, one rounding a step: the engines' reduce registers
/// (isa.md 6). Sums are a chain of dependent additions; to reduce many rows, [`fold_rows`] is several times faster.
pub fn fold(tier: Tier, reduction: Reduction, initial: f32, row: &[f32]) -> f32 {
    match reduction {
        Reduction::Add => row.iter().fold(initial, |sum, x| sum + x),
        Reduction::Multiply => row.iter().fold(initial, |product, x| product * x),
        // Any order gives the same bits, but for the payload of a NaN.
        Reduction::Maximum => tier.run(Extreme { row, initial, largest: true }),
        Reduction::Minimum => tier.run(Extreme { row, initial, largest: false }),
    }
}

/// [`fold`] of each row of a matrix: `totals[r]` takes row `r`, in ascending order. Rows advance side by side, so
/// that their chains of additions overlap.
///
/// # Panics
/// When `totals` has not one element per row.
#[track_caller]
pub fn fold_rows(tier: Tier, reduction: Reduction, rows: MatRef<f32>, totals: &mut [f32]) {
    assert!(totals.len() == rows.rows(), "{} totals of {} rows", totals.len(), rows.rows());
    // SAFETY: the matrix holds as many rows as there are totals.
    unsafe { fold_rows_raw(tier, reduction, rows.as_ptr(), rows.stride(), rows.cols(), totals) }
}

/// [`fold_rows`] on addresses: row `r` is the `columns` numbers from `rows + r * stride` on.
///
/// # Safety
/// All rows must be readable, and nobody may write to them meanwhile.
pub unsafe fn fold_rows_raw(
    tier: Tier,
    reduction: Reduction,
    rows: *const f32,
    stride: usize,
    columns: usize,
    totals: &mut [f32],
) {
    for (block, totals) in totals.chunks_mut(SIDE_BY_SIDE).enumerate() {
        // SAFETY: the block begins at a row.
        let rows = unsafe { rows.add(if columns == 0 { 0 } else { block * SIDE_BY_SIDE * stride }) };
        match (<&mut [f32; SIDE_BY_SIDE]>::try_from(&mut *totals), reduction) {
            (Ok(totals), Reduction::Add) => tier.run(Side { rows, stride, columns, totals, product: false }),
            (Ok(totals), Reduction::Multiply) => {
                tier.run(Side { rows, stride, columns, totals, product: true })
            }
            _ => {
                for (r, total) in totals.iter_mut().enumerate() {
                    // SAFETY: the row is readable.
                    let row = unsafe { std::slice::from_raw_parts(rows.add(r * stride), columns) };
                    *total = fold(tier, reduction, *total, row);
                }
            }
        }
    }
}

/// Rows that advance together: as many chains of additions hide the latency of one.
const SIDE_BY_SIDE: usize = 8;

/// Sums or products of eight rows.
struct Side<'a> {
    rows: *const f32,
    stride: usize,
    columns: usize,
    totals: &'a mut [f32; SIDE_BY_SIDE],
    product: bool,
}

impl Kernel for Side<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        if self.product {
            fold_side(s, self, |s, a, b| s.mul(a, b))
        } else {
            fold_side(s, self, |s, a, b| s.add(a, b))
        }
    }
}

/// Squares of `LANES` columns are turned, so that a vector has one column of all rows: the totals of the rows are lanes.
#[inline(always)]
fn fold_side<S: Simd>(
    s: S,
    Side { rows, stride, columns, totals, .. }: Side,
    step: impl Fn(S, S::F, S::F) -> S::F,
) {
    let vectors = SIDE_BY_SIDE.div_ceil(S::LANES);
    let rows_of = |v: usize| (SIDE_BY_SIDE - v * S::LANES).min(S::LANES);
    let mut lanes = [0.0f32; 2 * MAX_LANES];
    lanes[..SIDE_BY_SIDE].copy_from_slice(totals);
    let mut sums = [s.splat(0.0); 2];
    // SAFETY: rows and columns are inside the block; `lanes` has a vector for each of at most two.
    unsafe {
        for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
            *sum = s.load(lanes.as_ptr().add(v * S::LANES));
        }
        let whole = columns - columns % S::LANES;
        let mut square = [s.splat(0.0); MAX_LANES];
        for c in (0..whole).step_by(S::LANES) {
            for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
                for (r, x) in square.iter_mut().enumerate().take(rows_of(v)) {
                    *x = s.load(rows.add((v * S::LANES + r) * stride + c));
                }
                let turned = s.transpose(square);
                for x in turned.iter().take(S::LANES) {
                    *sum = step(s, *sum, *x);
                }
            }
        }
        for c in whole..columns {
            for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
                let mut column = [0.0f32; MAX_LANES];
                for (r, x) in column.iter_mut().enumerate().take(rows_of(v)) {
                    *x = *rows.add((v * S::LANES + r) * stride + c);
                }
                *sum = step(s, *sum, s.load(column.as_ptr()));
            }
        }
        for (v, sum) in sums.iter().enumerate().take(vectors) {
            s.store(lanes.as_mut_ptr().add(v * S::LANES), *sum);
        }
    }
    totals.copy_from_slice(&lanes[..SIDE_BY_SIDE]);
}

/// Number of partial sums of [`sum_interleaved`].
const STRANDS: usize = 32;

/// The sum of a row, as 32 partial sums: strand `j` takes elements `j`, `j + 32`, ... in ascending order, and then the
/// upper half of the strands is added to the lower half until one is left. The same bits on every tier, not those of
/// [`fold`]; closer to the real sum, and faster.
pub fn sum_interleaved(tier: Tier, row: &[f32]) -> f32 {
    let mut strands = Strands::new();
    strands.add(tier, row);
    strands.total()
}

/// `to[i] = activation(from[i] * scale + bias)`, as [`crate::activate_affine`], and the sum of the results by
/// [`sum_interleaved`], in one pass.
///
/// # Panics
/// When the rows differ in length.
#[track_caller]
pub fn activate_sum(
    tier: Tier,
    activation: Activation,
    from: &[f32],
    affine: [f32; 2],
    to: &mut [f32],
) -> f32 {
    let mut strands = Strands::new();
    activate_blocks(tier, activation, from, affine, to, |block| strands.add(tier, block));
    strands.total()
}

/// `to[i] = activation(from[i] * scale + bias)`, as [`crate::activate_affine`], and `initial` plus the results in
/// ascending order, in one pass.
///
/// # Panics
/// When the rows differ in length.
#[track_caller]
pub fn activate_fold(
    tier: Tier,
    activation: Activation,
    from: &[f32],
    affine: [f32; 2],
    initial: f32,
    to: &mut [f32],
) -> f32 {
    let mut sum = initial;
    activate_blocks(tier, activation, from, affine, to, |block| sum = fold(tier, Reduction::Add, sum, block));
    sum
}

/// Activates a row piece by piece, small enough that `then` finds each piece in the first cache.
#[track_caller]
fn activate_blocks(
    tier: Tier,
    activation: Activation,
    from: &[f32],
    affine: [f32; 2],
    to: &mut [f32],
    mut then: impl FnMut(&[f32]),
) {
    assert!(from.len() == to.len(), "{} elements into {}", from.len(), to.len());
    // A multiple of STRANDS, so that the strands of the pieces are those of the row.
    const PIECE: usize = 64 * STRANDS;
    for (from, to) in from.chunks(PIECE).zip(to.chunks_mut(PIECE)) {
        // SAFETY: both pieces hold `to.len()` elements.
        unsafe { activate_raw(tier, activation, from.as_ptr(), to.as_mut_ptr(), to.len(), Some(affine)) }
        then(to);
    }
}

/// The partial sums of [`sum_interleaved`].
struct Strands([f32; STRANDS]);

impl Strands {
    fn new() -> Self {
        Strands([0.0; STRANDS])
    }

    /// Takes a piece of the row; every piece but the last is a multiple of [`STRANDS`] long.
    fn add(&mut self, tier: Tier, piece: &[f32]) {
        let (whole, rest) = piece.split_at(piece.len() - piece.len() % STRANDS);
        tier.run(AddStrands { strands: &mut self.0, row: whole });
        for (strand, x) in self.0.iter_mut().zip(rest) {
            *strand += x;
        }
    }

    fn total(mut self) -> f32 {
        let mut half = STRANDS / 2;
        while half > 0 {
            for j in 0..half {
                self.0[j] += self.0[j + half];
            }
            half /= 2;
        }
        self.0[0]
    }
}

/// Adds a row, a multiple of [`STRANDS`] long, to the strands.
struct AddStrands<'a> {
    strands: &'a mut [f32; STRANDS],
    row: &'a [f32],
}

impl Kernel for AddStrands<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// Vectors in the strands of the narrowest tier.
        const MOST: usize = STRANDS / 4;
        let used = STRANDS / S::LANES;
        let p = self.strands.as_mut_ptr();
        let mut sums = [s.splat(0.0); MOST];
        // SAFETY: `used` vectors make up the strands, and each chunk of the row.
        unsafe {
            for (v, sum) in sums.iter_mut().enumerate().take(used) {
                *sum = s.load(p.add(v * S::LANES));
            }
            for chunk in self.row.chunks_exact(STRANDS) {
                for (v, sum) in sums.iter_mut().enumerate().take(used) {
                    *sum = s.add(*sum, s.load(chunk.as_ptr().add(v * S::LANES)));
                }
            }
            for (v, sum) in sums.iter().enumerate().take(used) {
                s.store(p.add(v * S::LANES), *sum);
            }
        }
    }
}

/// The largest or smallest of a row and `initial`.
struct Extreme<'a> {
    row: &'a [f32],
    initial: f32,
    largest: bool,
}

impl Kernel for Extreme<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        if self.largest { extreme::<S, true>(s, self) } else { extreme::<S, false>(s, self) }
    }
}

#[inline(always)]
fn extreme<S: Simd, const LARGEST: bool>(s: S, Extreme { row, initial, .. }: Extreme) -> f32 {
    const WAYS: usize = 4;
    let mut best = [s.splat(initial); WAYS];
    let mut chunks = row.chunks_exact(WAYS * S::LANES);
    for chunk in &mut chunks {
        for (way, best) in best.iter_mut().enumerate() {
            // SAFETY: the chunk holds WAYS vectors.
            let x = unsafe { s.load(chunk.as_ptr().add(way * S::LANES)) };
            *best = if LARGEST { maximum(s, *best, x) } else { minimum(s, *best, x) };
        }
    }
    let mut lanes = [[initial; MAX_LANES]; WAYS];
    for (lanes, best) in lanes.iter_mut().zip(best) {
        // SAFETY: the array has at least LANES elements.
        unsafe { s.store(lanes.as_mut_ptr(), best) }
    }
    let one = |a: f32, b: f32| scalar_extreme(LARGEST, a, b);
    let best = lanes.iter().flatten().fold(initial, |a, b| one(a, *b));
    chunks.remainder().iter().fold(best, |a, b| one(a, *b))
}

fn scalar_extreme(largest: bool, a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        return f32::NAN;
    }
    // The total order puts -0 below +0.
    let a_is_larger = a.total_cmp(&b).is_gt();
    if a_is_larger == largest { a } else { b }
}
