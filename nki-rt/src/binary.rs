//! Operations of two numbers on rows (isa.md 4).

use crate::activation::put;
use crate::codec::canonical;
use crate::math;
use crate::simd::{MAX_LANES, Simd};
use crate::tier::{Kernel, Tier};

/// An operation of two f32 numbers, on lanes.
pub(crate) trait LaneOp: Copy {
    fn apply<S: Simd>(self, s: S, a: S::F, b: S::F) -> S::F;
}

macro_rules! operations {
    ($( $(#[$doc:meta])* $variant:ident $name:literal = |$s:ident, $a:ident, $b:ident| $body:expr; )*) => {
        /// An operation of two f32 numbers, one rounding; a NaN is the canonical one. Comparisons and logical operations give 1
        /// or 0.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Binary { $( $(#[$doc])* $variant, )* }

        impl Binary {
            /// Every operation.
            pub const ALL: [Binary; [$($name),*].len()] = [$(Binary::$variant),*];

            /// The name in the instruction set's table.
            pub fn name(self) -> &'static str {
                match self { $( Binary::$variant => $name, )* }
            }
        }

        /// One type per operation, so that each gets its own loop.
        mod functions {
            use super::*;
            $(
                #[derive(Clone, Copy)]
                pub(super) struct $variant;
                impl LaneOp for $variant {
                    #[inline(always)]
                    fn apply<S: Simd>(self, $s: S, $a: S::F, $b: S::F) -> S::F {
                        $body
                    }
                }
            )*
        }

        fn run(tier: Tier, operation: Binary, zip: Zip) {
            match operation {
                $( Binary::$variant => tier.run(ZipWith { zip, operation: functions::$variant }), )*
            }
        }
    };
}

operations! {
    /// `a + b`
    Add "add" = |s, a, b| s.add(a, b);
    /// `a - b`
    Subtract "subtract" = |s, a, b| s.sub(a, b);
    /// `a * b`
    Multiply "multiply" = |s, a, b| s.mul(a, b);
    /// `a / b`
    Divide "divide" = |s, a, b| s.div(a, b);
    /// the larger; NaN if either is, +0 above -0
    Maximum "maximum" = |s, a, b| maximum(s, a, b);
    /// the smaller; NaN if either is, -0 below +0
    Minimum "minimum" = |s, a, b| minimum(s, a, b);
    /// `a == b`
    Equal "equal" = |s, a, b| truth(s, s.eq(a, b));
    /// `a != b`, true of NaN
    NotEqual "not_equal" = |s, a, b| s.select(s.eq(a, b), s.splat(0.0), s.splat(1.0));
    /// `a < b`
    Less "less" = |s, a, b| truth(s, s.lt(a, b));
    /// `a <= b`
    LessEqual "less_equal" = |s, a, b| truth(s, s.or_m(s.lt(a, b), s.eq(a, b)));
    /// `a > b`
    Greater "greater" = |s, a, b| truth(s, s.lt(b, a));
    /// `a >= b`
    GreaterEqual "greater_equal" = |s, a, b| truth(s, s.or_m(s.lt(b, a), s.eq(a, b)));
    /// both are nonzero; NaN counts as nonzero
    LogicalAnd "logical_and" = |s, a, b| {
        s.select(s.or_m(is_zero(s, a), is_zero(s, b)), s.splat(0.0), s.splat(1.0))
    };
    /// one or both are nonzero
    LogicalOr "logical_or" = |s, a, b| {
        s.select(s.and_m(is_zero(s, a), is_zero(s, b)), s.splat(0.0), s.splat(1.0))
    };
    /// exactly one is nonzero
    LogicalXor "logical_xor" = |s, a, b| {
        let other = truth(s, is_zero(s, b));
        s.select(is_zero(s, a), s.sub(s.splat(1.0), other), other)
    };
    /// `a` if `|a| > |b|`, else `b`; NaN if either is
    AbsMax "abs_max" = |s, a, b| {
        let larger = s.select(s.lt(math::abs(s, b), math::abs(s, a)), a, b);
        or_nan(s, a, b, larger)
    };
    /// `a` if `|a| < |b|`, else `b`; NaN if either is
    AbsMin "abs_min" = |s, a, b| {
        let smaller = s.select(s.lt(math::abs(s, a), math::abs(s, b)), a, b);
        or_nan(s, a, b, smaller)
    };
}

#[inline(always)]
fn truth<S: Simd>(s: S, mask: S::M) -> S::F {
    s.select(mask, s.splat(1.0), s.splat(0.0))
}

#[inline(always)]
fn is_zero<S: Simd>(s: S, x: S::F) -> S::M {
    s.eq(x, s.splat(0.0))
}

/// NaN where `a` or `b` is, else `x`.
#[inline(always)]
fn or_nan<S: Simd>(s: S, a: S::F, b: S::F, x: S::F) -> S::F {
    s.select(s.unordered(a, b), s.splat(f32::NAN), x)
}

/// The larger; NaN if either is, +0 above -0.
#[inline(always)]
pub(crate) fn maximum<S: Simd>(s: S, a: S::F, b: S::F) -> S::F {
    // Of equal numbers only zeros differ in their bits.
    let equal = s.of_bits(s.and_i(s.to_bits(a), s.to_bits(b)));
    let larger = s.select(s.eq(a, b), equal, s.greater(a, b));
    // `greater` gives b when a is NaN, and the NaN when b is one.
    s.select(s.unordered(a, a), a, larger)
}

/// The smaller; NaN if either is, -0 below +0.
#[inline(always)]
pub(crate) fn minimum<S: Simd>(s: S, a: S::F, b: S::F) -> S::F {
    let equal = s.of_bits(s.or_i(s.to_bits(a), s.to_bits(b)));
    let smaller = s.select(s.eq(a, b), equal, s.lesser(a, b));
    s.select(s.unordered(a, a), a, smaller)
}

/// A row of numbers, or one number for all.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a> {
    /// One number for every element.
    Scalar(f32),
    /// One number an element.
    Row(&'a [f32]),
}

impl Operand<'_> {
    /// # Panics
    /// When a row is not `len` long.
    #[track_caller]
    fn input(self, len: usize) -> Input {
        match self {
            Operand::Scalar(x) => Input::Scalar(x),
            Operand::Row(row) => {
                assert!(row.len() == len, "a row of {} elements, not {len}", row.len());
                Input::Row(row.as_ptr())
            }
        }
    }
}

/// `to[i] = operation(a[i], b[i])`
///
/// ```
/// use nki_rt::{Binary, Operand, Tier, binary};
/// let mut y = [0.0f32; 3];
/// binary(Tier::best(), Binary::Subtract, Operand::Scalar(1.0), Operand::Row(&[1.0, 2.0, 3.0]), &mut y);
/// assert_eq!(y, [0.0, -1.0, -2.0]);
/// ```
///
/// # Panics
/// When a row is not as long as `to`.
#[track_caller]
pub fn binary(tier: Tier, operation: Binary, a: Operand, b: Operand, to: &mut [f32]) {
    let (a, b) = (a.input(to.len()), b.input(to.len()));
    // SAFETY: every row holds `to.len()` elements, and `to` is borrowed uniquely.
    unsafe { binary_raw(tier, operation, a, b, to.as_mut_ptr(), to.len()) }
}

/// `row[i] = operation(row[i], other[i])`, or `operation(other[i], row[i])` if `reversed`.
///
/// # Panics
/// When the rows differ in length.
#[track_caller]
pub fn binary_in_place(tier: Tier, operation: Binary, row: &mut [f32], other: Operand, reversed: bool) {
    let (len, p) = (row.len(), row.as_mut_ptr());
    let other = other.input(len);
    let (a, b) = if reversed { (other, Input::Row(p)) } else { (Input::Row(p), other) };
    // SAFETY: both rows hold `len` elements; an operand may be the target itself.
    unsafe { binary_raw(tier, operation, a, b, p, len) }
}

/// An operand of [`binary_raw`].
#[derive(Clone, Copy, Debug)]
pub enum Input {
    /// One number for every element.
    Scalar(f32),
    /// The address of one number an element.
    Row(*const f32),
}

/// [`binary`] on addresses.
///
/// # Safety
/// `len` elements must be readable at each row and writable at `to`; a row must be `to` itself or not overlap it.
pub unsafe fn binary_raw(tier: Tier, operation: Binary, a: Input, b: Input, to: *mut f32, len: usize) {
    let mut scalars = [[0.0f32; MAX_LANES]; 2];
    let [at_a, at_b] = &mut scalars;
    let to = Target { to, len, stream: false };
    run(tier, operation, Zip { a: Source::new(a, at_a), b: Source::new(b, at_b), to })
}

/// [`binary_raw`] whose results go past the caches, as [`crate::stream_raw`] writes them.
///
/// # Safety
/// As [`binary_raw`].
pub unsafe fn binary_stream_raw(tier: Tier, operation: Binary, a: Input, b: Input, to: *mut f32, len: usize) {
    let mut scalars = [[0.0f32; MAX_LANES]; 2];
    let [at_a, at_b] = &mut scalars;
    let to = Target { to, len, stream: true };
    run(tier, operation, Zip { a: Source::new(a, at_a), b: Source::new(b, at_b), to })
}

/// Whether [`binary_twice_raw`] has these two operations.
pub fn has_twice(operations: [Binary; 2]) -> bool {
    operations.iter().all(|o| matches!(o, Binary::Add | Binary::Subtract | Binary::Multiply))
}

/// `to[i] = second(first(x[i], a), b)`, two roundings: two of [`binary_raw`] in one pass. `stream` as in
/// [`binary_stream_raw`].
///
/// # Panics
/// Without [`has_twice`].
///
/// # Safety
/// As [`binary_raw`].
#[track_caller]
pub unsafe fn binary_twice_raw(
    tier: Tier,
    [first, second]: [Binary; 2],
    x: *const f32,
    [a, b]: [Input; 2],
    (to, len): (*mut f32, usize),
    stream: bool,
) {
    use functions::{Add, Multiply, Subtract};
    fn with<A: LaneOp>(tier: Tier, first: A, second: Binary, zip: ZipTwice) {
        match second {
            Binary::Add => tier.run(ZipBoth { zip, operations: (first, Add) }),
            Binary::Subtract => tier.run(ZipBoth { zip, operations: (first, Subtract) }),
            Binary::Multiply => tier.run(ZipBoth { zip, operations: (first, Multiply) }),
            _ => unreachable!("the caller asks `has_twice`"),
        }
    }
    let mut scalars = [[0.0f32; MAX_LANES]; 2];
    let [at_a, at_b] = &mut scalars;
    let zip = ZipTwice {
        x: Source { data: x, moves: true },
        a: Source::new(a, at_a),
        b: Source::new(b, at_b),
        to: Target { to, len, stream },
    };
    match first {
        Binary::Add => with(tier, Add, second, zip),
        Binary::Subtract => with(tier, Subtract, second, zip),
        Binary::Multiply => with(tier, Multiply, second, zip),
        _ => unreachable!("the caller asks `has_twice`"),
    }
}

/// An address and how far it moves with the element: a scalar is a vector of copies that does not move.
#[derive(Clone, Copy)]
struct Source {
    data: *const f32,
    moves: bool,
}

impl Source {
    fn new(input: Input, copies: &mut [f32; MAX_LANES]) -> Self {
        match input {
            Input::Row(data) => Source { data, moves: true },
            Input::Scalar(x) => {
                copies.fill(x);
                Source { data: copies.as_ptr(), moves: false }
            }
        }
    }

    /// # Safety
    /// Elements `i..i + LANES` must exist.
    #[inline(always)]
    unsafe fn load<S: Simd>(self, s: S, i: usize) -> S::F {
        // SAFETY: the caller's promise; a scalar has MAX_LANES copies.
        unsafe { s.load(self.data.wrapping_add(if self.moves { i } else { 0 })) }
    }

    /// # Safety
    /// Elements `i..i + n` must exist.
    #[inline(always)]
    unsafe fn load_part<S: Simd>(self, s: S, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's promise; a scalar has MAX_LANES copies.
        unsafe { s.load_part(self.data.wrapping_add(if self.moves { i } else { 0 }), n) }
    }
}

/// Where `len` results go: to one of the sources, or apart from all.
#[derive(Clone, Copy)]
struct Target {
    to: *mut f32,
    len: usize,
    /// Past the caches.
    stream: bool,
}

/// Elements from two sources.
struct Zip {
    a: Source,
    b: Source,
    to: Target,
}

struct ZipWith<O> {
    zip: Zip,
    operation: O,
}

impl<O: LaneOp> Kernel for ZipWith<O> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Zip { a, b, to } = self.zip;
        each(s, to, Both { a, b, operation: self.operation });
    }
}

/// Elements from three sources.
struct ZipTwice {
    x: Source,
    a: Source,
    b: Source,
    to: Target,
}

struct ZipBoth<A, B> {
    zip: ZipTwice,
    operations: (A, B),
}

impl<A: LaneOp, B: LaneOp> Kernel for ZipBoth<A, B> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let ZipTwice { x, a, b, to } = self.zip;
        each(s, to, Twice { x, a, b, operations: self.operations });
    }
}

/// A vector of results.
trait Vectors: Copy {
    /// # Safety
    /// Elements `i..i + LANES` of all sources must exist.
    unsafe fn at<S: Simd>(self, s: S, i: usize) -> S::F;

    /// # Safety
    /// Elements `i..i + n` of all sources must exist.
    unsafe fn part<S: Simd>(self, s: S, i: usize, n: usize) -> S::F;
}

#[derive(Clone, Copy)]
struct Both<O> {
    a: Source,
    b: Source,
    operation: O,
}

impl<O: LaneOp> Vectors for Both<O> {
    #[inline(always)]
    unsafe fn at<S: Simd>(self, s: S, i: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { self.operation.apply(s, self.a.load(s, i), self.b.load(s, i)) }
    }

    #[inline(always)]
    unsafe fn part<S: Simd>(self, s: S, i: usize, n: usize) -> S::F {
        // SAFETY: the caller's promise.
        unsafe { self.operation.apply(s, self.a.load_part(s, i, n), self.b.load_part(s, i, n)) }
    }
}

#[derive(Clone, Copy)]
struct Twice<A, B> {
    x: Source,
    a: Source,
    b: Source,
    operations: (A, B),
}

impl<A: LaneOp, B: LaneOp> Vectors for Twice<A, B> {
    #[inline(always)]
    unsafe fn at<S: Simd>(self, s: S, i: usize) -> S::F {
        let (first, second) = self.operations;
        // SAFETY: the caller's promise.
        unsafe { second.apply(s, first.apply(s, self.x.load(s, i), self.a.load(s, i)), self.b.load(s, i)) }
    }

    #[inline(always)]
    unsafe fn part<S: Simd>(self, s: S, i: usize, n: usize) -> S::F {
        let (first, second) = self.operations;
        // SAFETY: the caller's promise.
        unsafe {
            let y = first.apply(s, self.x.load_part(s, i, n), self.a.load_part(s, i, n));
            second.apply(s, y, self.b.load_part(s, i, n))
        }
    }
}

/// Vectors that are tested for NaN together.
const BLOCK: usize = 4;

/// Every result, canonical where it is NaN.
#[inline(always)]
fn each<S: Simd, V: Vectors>(s: S, Target { to, len, stream }: Target, results: V) {
    // Streams begin at a multiple of a vector's size.
    let head = if stream { to.align_offset(4 * S::LANES).min(len) } else { 0 };
    let mut i = head;
    // SAFETY: elements 0..head, then those of blocks and of vectors, then i..len, exist everywhere, and after the head
    // vectors of a stream are aligned.
    unsafe {
        if head > 0 {
            s.store_part(to, canonical(s, results.part(s, 0, head)), head);
        }
        while i + BLOCK * S::LANES <= len {
            let mut y = [s.splat(0.0); BLOCK];
            for (v, y) in y.iter_mut().enumerate() {
                *y = results.at(s, i + v * S::LANES);
            }
            let nan = s.or_m(s.unordered(y[0], y[1]), s.unordered(y[2], y[3]));
            if s.any(nan) {
                for y in &mut y {
                    *y = canonical(s, *y);
                }
            }
            for (v, y) in y.iter().enumerate() {
                put(s, to.add(i + v * S::LANES), *y, stream);
            }
            i += BLOCK * S::LANES;
        }
        while i + S::LANES <= len {
            put(s, to.add(i), canonical(s, results.at(s, i)), stream);
            i += S::LANES;
        }
        if i < len {
            s.store_part(to.add(i), canonical(s, results.part(s, i, len - i)), len - i);
        }
    }
}
