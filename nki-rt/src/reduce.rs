//! Reductions of rows to one number.

use crate::activation::{Activation, LaneFn, activate_raw, run_fold};
use crate::codec::canonical;
use crate::matrix::MatRef;
use crate::simd::{MAX_LANES, Simd, Twin};
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

/// The columns of eight rows, each folded in ascending order.
#[inline(always)]
fn fold_side<S: Simd>(
    s: S,
    Side { rows, stride, columns, totals, .. }: Side,
    step: impl Fn(S, S::F, S::F) -> S::F + Copy,
) {
    let mut side = Totals::load(s, totals);
    let whole = columns - columns % S::LANES;
    // SAFETY: rows and columns are inside the block.
    unsafe {
        for c in (0..whole).step_by(S::LANES) {
            side.add(s, (rows.add(c), stride), step);
        }
        side.add_part(s, (rows.wrapping_add(whole), stride), columns - whole, step);
    }
    side.store(s, totals);
}

/// The totals of eight rows, as lanes.
struct Totals<S: Simd>([S::F; 2]);

impl<S: Simd> Totals<S> {
    /// Vectors that hold them: two on the narrowest tier.
    const USED: usize = SIDE_BY_SIDE.div_ceil(S::LANES);

    /// Rows in vector `v`.
    #[inline(always)]
    fn rows(v: usize) -> usize {
        (SIDE_BY_SIDE - v * S::LANES).min(S::LANES)
    }

    #[inline(always)]
    fn load(s: S, totals: &[f32; SIDE_BY_SIDE]) -> Self {
        let mut lanes = [0.0f32; 2 * MAX_LANES];
        lanes[..SIDE_BY_SIDE].copy_from_slice(totals);
        let mut sums = [s.splat(0.0); 2];
        for (v, sum) in sums.iter_mut().enumerate().take(Self::USED) {
            // SAFETY: `lanes` has a vector for each of at most two.
            *sum = unsafe { s.load(lanes.as_ptr().add(v * S::LANES)) };
        }
        Totals(sums)
    }

    #[inline(always)]
    fn store(self, s: S, totals: &mut [f32; SIDE_BY_SIDE]) {
        let mut lanes = [0.0f32; 2 * MAX_LANES];
        for (v, sum) in self.0.iter().enumerate().take(Self::USED) {
            // SAFETY: as above.
            unsafe { s.store(lanes.as_mut_ptr().add(v * S::LANES), *sum) };
        }
        totals.copy_from_slice(&lanes[..SIDE_BY_SIDE]);
    }

    /// Takes `LANES` columns: the square is turned, so that a vector has one column of all rows.
    ///
    /// # Safety
    /// `LANES` columns must be readable in all rows.
    #[inline(always)]
    unsafe fn add(&mut self, s: S, rows: (*const f32, usize), step: impl Fn(S, S::F, S::F) -> S::F) {
        let mut square = [s.splat(0.0); MAX_LANES];
        for (v, sum) in self.0.iter_mut().enumerate().take(Self::USED) {
            for (r, x) in square.iter_mut().enumerate().take(Self::rows(v)) {
                // SAFETY: the caller's promise.
                *x = unsafe { s.load(rows.0.add((v * S::LANES + r) * rows.1)) };
            }
            let turned = s.transpose(square);
            for x in turned.iter().take(S::LANES) {
                *sum = step(s, *sum, *x);
            }
        }
    }

    /// [`Totals::add`] of fewer columns.
    ///
    /// # Safety
    /// `columns` columns must be readable in all rows.
    #[inline(always)]
    unsafe fn add_part(
        &mut self,
        s: S,
        rows: (*const f32, usize),
        columns: usize,
        step: impl Fn(S, S::F, S::F) -> S::F,
    ) {
        for c in 0..columns {
            for (v, sum) in self.0.iter_mut().enumerate().take(Self::USED) {
                let mut column = [0.0f32; MAX_LANES];
                for (r, x) in column.iter_mut().enumerate().take(Self::rows(v)) {
                    // SAFETY: the caller's promise.
                    *x = unsafe { *rows.0.add((v * S::LANES + r) * rows.1 + c) };
                }
                // SAFETY: the array has at least LANES elements.
                *sum = step(s, *sum, unsafe { s.load(column.as_ptr()) });
            }
        }
    }
}

/// Rows of an activation, and where its results and their sums go.
pub(crate) struct ActivateFold<'a> {
    from: (*const f32, usize),
    to: (*mut f32, usize),
    columns: usize,
    affine: &'a [[f32; 2]; SIDE_BY_SIDE],
    totals: &'a mut [f32; SIDE_BY_SIDE],
}

/// [`activate_raw`] of each row with `Some(affine[r])`, and [`fold_rows_raw`] of the results, in one pass. Row `r` is the
/// `columns` numbers from `from.0 + r * from.1` on, and goes to those from `to.0 + r * to.1` on.
///
/// # Panics
/// When `affine` and `totals` differ in length.
///
/// # Safety
/// All rows must be readable and the others writable, each at the address of the row that it comes from or apart from all.
#[track_caller]
pub unsafe fn activate_fold_raw(
    tier: Tier,
    activation: Activation,
    from: (*const f32, usize),
    to: (*mut f32, usize),
    columns: usize,
    affine: &[[f32; 2]],
    totals: &mut [f32],
) {
    assert!(affine.len() == totals.len(), "{} scales and {} totals", affine.len(), totals.len());
    let blocks = affine.chunks(SIDE_BY_SIDE).zip(totals.chunks_mut(SIDE_BY_SIDE));
    for (block, (affine, totals)) in blocks.enumerate() {
        let first = block * SIDE_BY_SIDE;
        let (from, to) =
            ((from.0.wrapping_add(first * from.1), from.1), (to.0.wrapping_add(first * to.1), to.1));
        if let (Ok(affine), Ok(totals)) = (affine.try_into(), (&mut *totals).try_into()) {
            run_fold(tier, activation, ActivateFold { from, to, columns, affine, totals });
            continue;
        }
        for (r, (affine, total)) in affine.iter().zip(totals).enumerate() {
            let (from, to) = (from.0.wrapping_add(r * from.1), to.0.wrapping_add(r * to.1));
            // SAFETY: the caller's promise; after the call the results are there.
            unsafe {
                activate_raw(tier, activation, from, to, columns, Some(*affine));
                *total = fold(tier, Reduction::Add, *total, std::slice::from_raw_parts(to, columns));
            }
        }
    }
}

/// Numbers of a cache line.
const LINE: usize = 16;

/// An activation of eight rows and their sums.
pub(crate) struct MapFold<'a, L> {
    pub rows: ActivateFold<'a>,
    pub function: L,
}

impl<L: LaneFn> Kernel for MapFold<'_, L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let MapFold { rows: ActivateFold { from, to, columns, affine, totals }, function } = self;
        let mut numbers = [[s.splat(0.0); 2]; SIDE_BY_SIDE];
        for (number, affine) in numbers.iter_mut().zip(affine) {
            *number = [s.splat(affine[0]), s.splat(affine[1])];
        }
        let mut side = Totals::load(s, totals);
        let whole = columns - columns % S::LANES;
        for c in (0..whole).step_by(S::LANES) {
            // Whoever sums rows goes on with the next eight, and a long function leaves the memory time to bring them.
            if L::HAS_EASY && c % LINE == 0 {
                for r in SIDE_BY_SIDE..2 * SIDE_BY_SIDE {
                    s.prefetch(from.0.wrapping_add(r * from.1 + c));
                }
            }
            // SAFETY: `LANES` columns from `c` on exist in all rows.
            unsafe {
                map_column(s, (from.0.add(c), from.1), (to.0.add(c), to.1), &numbers, function);
                side.add(s, (to.0.add(c), to.1), |s, a, b| s.add(a, b));
            }
        }
        if whole < columns {
            let n = columns - whole;
            for (r, [scale, bias]) in numbers.iter().enumerate() {
                // SAFETY: `n` columns from `whole` on exist in row `r`.
                unsafe {
                    let x = s.load_part(from.0.add(r * from.1 + whole), n);
                    let y = function.apply(s, s.add(s.mul(x, *scale), *bias));
                    s.store_part(to.0.add(r * to.1 + whole), canonical(s, y), n);
                }
            }
            // SAFETY: the same columns.
            unsafe { side.add_part(s, (to.0.add(whole), to.1), n, |s, a, b| s.add(a, b)) };
        }
        side.store(s, totals);
    }
}

/// Rows whose arguments are tested together.
const GROUP: usize = 4;

/// The function of a vector of each row.
///
/// # Safety
/// A vector of each row must be readable and writable.
#[inline(always)]
unsafe fn map_column<S: Simd, L: LaneFn>(
    s: S,
    from: (*const f32, usize),
    to: (*mut f32, usize),
    numbers: &[[S::F; 2]; SIDE_BY_SIDE],
    function: L,
) {
    for first in (0..SIDE_BY_SIDE).step_by(GROUP) {
        // SAFETY: the caller's promise.
        unsafe {
            let mut x = [s.splat(0.0); GROUP];
            for (i, x) in x.iter_mut().enumerate() {
                let [scale, bias] = numbers[first + i];
                *x = s.add(s.mul(s.load(from.0.add((first + i) * from.1)), scale), bias);
            }
            if L::HAS_EASY {
                let twin = Twin(s);
                let (a, b) = ([x[0], x[1]], [x[2], x[3]]);
                if twin.all(twin.and_m(function.is_easy(twin, a), function.is_easy(twin, b))) {
                    let y = [function.easy(twin, a), function.easy(twin, b)];
                    for (i, y) in y.as_flattened().iter().enumerate() {
                        s.store(to.0.add((first + i) * to.1), *y);
                    }
                    continue;
                }
            }
            for (i, x) in x.iter().enumerate() {
                s.store(to.0.add((first + i) * to.1), canonical(s, function.apply(s, *x)));
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

/// Neither NaN nor the sign of zero is looked after until one has been seen: the largest of other numbers needs no care.
#[inline(always)]
fn extreme<S: Simd, const LARGEST: bool>(s: S, row: Extreme) -> f32 {
    const WAYS: usize = 4;
    let Extreme { row, initial, .. } = row;
    let mut best = [s.splat(initial); WAYS];
    let mut nan = s.unordered(best[0], best[0]);
    let mut chunks = row.chunks_exact(WAYS * S::LANES);
    for chunk in &mut chunks {
        let mut x = best;
        for (way, (x, best)) in x.iter_mut().zip(&mut best).enumerate() {
            // SAFETY: the chunk holds WAYS vectors.
            *x = unsafe { s.load(chunk.as_ptr().add(way * S::LANES)) };
            *best = if LARGEST { s.greater(*x, *best) } else { s.lesser(*x, *best) };
        }
        nan = s.or_m(nan, s.or_m(s.unordered(x[0], x[1]), s.unordered(x[2], x[3])));
    }
    if s.any(nan) {
        return f32::NAN;
    }
    let mut lanes = [[initial; MAX_LANES]; WAYS];
    for (lanes, best) in lanes.iter_mut().zip(best) {
        // SAFETY: the array has at least LANES elements.
        unsafe { s.store(lanes.as_mut_ptr(), best) }
    }
    let mut best = initial;
    for x in lanes.as_flattened() {
        best = scalar_extreme(LARGEST, best, *x);
    }
    for x in chunks.remainder() {
        best = scalar_extreme(LARGEST, best, *x);
    }
    if best == 0.0 { row.iter().fold(initial, |a, b| scalar_extreme(LARGEST, a, *b)) } else { best }
}

fn scalar_extreme(largest: bool, a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() {
        return f32::NAN;
    }
    // The total order puts -0 below +0.
    let a_is_larger = a.total_cmp(&b).is_gt();
    if a_is_larger == largest { a } else { b }
}
