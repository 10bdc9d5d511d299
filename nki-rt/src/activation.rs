//! Activation functions on rows (isa.md 5).

use crate::codec::canonical;
use crate::math;
use crate::reduce::{ActivateFold, MapFold};
use crate::simd::{MAX_LANES, Simd, Twin};
use crate::tier::{Kernel, Tier};

/// A function of one number, on lanes.
pub(crate) trait LaneFn: Copy {
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F;

    /// Whether there is a shorter way for common arguments.
    const HAS_EASY: bool = false;

    /// The lanes in which [`LaneFn::easy`] gives the bits of `apply`, none of them NaN.
    #[inline(always)]
    fn is_easy<S: Simd>(self, s: S, x: S::F) -> S::M {
        s.lt(x, x)
    }

    /// [`LaneFn::apply`] without its care for extreme arguments.
    #[inline(always)]
    fn easy<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.apply(s, x)
    }
}

macro_rules! activations {
    ($( $(#[$doc:meta])* $variant:ident $name:literal $ulp:literal = |$s:ident, $x:ident| $body:expr
        $(, below $bound:expr; $easy:expr)?; )*) => {
        /// A function that the scalar engine applies to each element.
        ///
        /// Each is within [`Activation::max_ulp`] of the real function at the f32 argument, in the tails and for
        /// subnormal results too, and has the same bits on every tier. NaN gives the canonical NaN. Where a formula would give NaN
        /// at an infinity, the value is the limit: `Silu` of minus infinity is -0.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Activation { $( $(#[$doc])* $variant, )* }

        impl Activation {
            /// Every activation.
            pub const ALL: [Activation; [$($name),*].len()] = [$(Activation::$variant),*];

            /// The name in the instruction set's table.
            pub fn name(self) -> &'static str {
                match self { $( Activation::$variant => $name, )* }
            }

            /// Largest distance from the real function, in ulp of the f32 result.
            pub fn max_ulp(self) -> f64 {
                match self { $( Activation::$variant => $ulp, )* }
            }
        }

        /// One type per function, so that each gets its own loop.
        mod functions {
            use super::math;
            $(
                #[derive(Clone, Copy)]
                pub(super) struct $variant;
                impl super::LaneFn for $variant {
                    #[inline(always)]
                    fn apply<S: super::Simd>(self, $s: S, $x: S::F) -> S::F {
                        $body
                    }

                    $(
                        const HAS_EASY: bool = true;

                        #[inline(always)]
                        fn is_easy<S: super::Simd>(self, $s: S, $x: S::F) -> S::M {
                            $s.lt(math::abs($s, $x), $s.splat($bound))
                        }

                        #[inline(always)]
                        fn easy<S: super::Simd>(self, $s: S, $x: S::F) -> S::F {
                            $easy
                        }
                    )?
                }
            )*
        }

        fn run(tier: Tier, activation: Activation, row: Row) {
            match activation {
                $( Activation::$variant => tier.run(Map { row, function: functions::$variant }), )*
            }
        }

        pub(crate) fn run_fold(tier: Tier, activation: Activation, rows: ActivateFold) {
            match activation {
                $( Activation::$variant => tier.run(MapFold { rows, function: functions::$variant }), )*
            }
        }
    };
}

activations! {
    /// `x`
    Copy "copy" 0.0 = |_s, x| x;
    /// `x^2`
    Square "square" 0.5 = |s, x| s.mul(x, x);
    /// `|x|`
    Abs "abs" 0.0 = |s, x| math::abs(s, x);
    /// -1, 0 or 1; +0 for either zero
    Sign "sign" 0.0 = |s, x| {
        let zero = s.splat(0.0);
        let sign = s.select(s.lt(x, zero), s.splat(-1.0), zero);
        let sign = s.select(s.lt(zero, x), s.splat(1.0), sign);
        s.select(s.unordered(x, x), x, sign)
    };
    /// `max(x, 0)`; +0 for either zero
    Relu "relu" 0.0 = |s, x| s.select(s.lt(s.splat(0.0), x), x, s.select(s.unordered(x, x), x, s.splat(0.0)));
    /// `e^x`
    Exp "exp" 1.0 = |s, x| math::exp(s, x), below 87.0; math::exp_normal(s, x);
    /// `ln x`; NaN below zero
    Log "log" 0.51 = |s, x| math::log(s, x);
    /// square root
    Sqrt "sqrt" 0.5 = |s, x| s.sqrt(x);
    /// `1 / sqrt x`
    Rsqrt "rsqrt" 0.51 = |s, x| s.narrow(s.div_d(s.splat_d(1.0), s.sqrt_d(s.widen(x))));
    /// `1 / x`
    Reciprocal "reciprocal" 0.5 = |s, x| s.div(s.splat(1.0), x);
    /// `1 / (1 + e^-x)`
    Sigmoid "sigmoid" 2.0 = |s, x| math::sigmoid(s, x), below 69.0; math::sigmoid_within(s, x);
    /// hyperbolic tangent
    Tanh "tanh" 1.4 = |s, x| math::tanh(s, x);
    /// sine, of any argument
    Sin "sin" 0.51 = |s, x| math::sin(s, x);
    /// arctangent
    Arctan "arctan" 0.51 = |s, x| math::arctan(s, x);
    /// error function
    Erf "erf" 1.25 = |s, x| math::erf(s, x);
    /// `2/sqrt(pi) e^(-x^2)`
    ErfDx "erf_dx" 0.51 = |s, x| math::erf_dx(s, x);
    /// `ln(1 + e^x)`
    Softplus "softplus" 0.51 = |s, x| math::softplus(s, x);
    /// `x tanh(softplus(x))`
    Mish "mish" 0.51 = |s, x| math::mish(s, x);
    /// `0.5 x (1 + erf(x / sqrt 2))`
    Gelu "gelu" 2.0 = |s, x| math::gelu(s, x), below math::GELU_NEAR; math::gelu_near(s, x);
    /// derivative of `Gelu`
    GeluDx "gelu_dx" 0.51 = |s, x| math::gelu_dx(s, x);
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
    GeluTanh "gelu_apprx_tanh" 2.0 = |s, x| math::gelu_tanh(s, x), below 9.0; math::gelu_tanh_within(s, x);
    /// `x sigmoid(1.702 x)`
    GeluSigmoid "gelu_apprx_sigmoid" 0.51 = |s, x| math::gelu_sigmoid(s, x);
    /// derivative of `GeluSigmoid`
    GeluSigmoidDx "gelu_apprx_sigmoid_dx" 0.51 = |s, x| math::gelu_sigmoid_dx(s, x);
    /// `x sigmoid(x)`
    Silu "silu" 2.0 = |s, x| math::silu(s, x), below 69.0; math::silu_within(s, x);
    /// derivative of `Silu`
    SiluDx "silu_dx" 0.51 = |s, x| math::silu_dx(s, x);
}

/// `to[i] = activation(from[i])`
///
/// ```
/// use nki_rt::{Activation, Tier, activate};
/// let mut y = [0.0f32; 2];
/// activate(Tier::best(), Activation::Exp, &[0.0, 1.0], &mut y);
/// assert_eq!(y, [1.0, std::f32::consts::E]);
/// ```
///
/// # Panics
/// When the rows differ in length.
#[track_caller]
pub fn activate(tier: Tier, activation: Activation, from: &[f32], to: &mut [f32]) {
    assert!(from.len() == to.len(), "{} elements into {}", from.len(), to.len());
    // SAFETY: both rows hold `len` elements.
    unsafe { activate_raw(tier, activation, from.as_ptr(), to.as_mut_ptr(), to.len(), None) }
}

/// `row[i] = activation(row[i])`
pub fn activate_in_place(tier: Tier, activation: Activation, row: &mut [f32]) {
    let p = row.as_mut_ptr();
    // SAFETY: the row holds `len` elements; reading and writing the same ones is allowed.
    unsafe { activate_raw(tier, activation, p, p, row.len(), None) }
}

/// `to[i] = activation(from[i] * scale + bias)`, the product and the sum rounded one after the other, as the scalar
/// engine does (isa.md 9.2.1).
///
/// # Panics
/// When the rows differ in length.
#[track_caller]
pub fn activate_affine(
    tier: Tier,
    activation: Activation,
    from: &[f32],
    [scale, bias]: [f32; 2],
    to: &mut [f32],
) {
    assert!(from.len() == to.len(), "{} elements into {}", from.len(), to.len());
    // SAFETY: both rows hold `len` elements.
    unsafe { activate_raw(tier, activation, from.as_ptr(), to.as_mut_ptr(), to.len(), Some([scale, bias])) }
}

/// [`activate_affine`] with the same row as source and target.
pub fn activate_affine_in_place(tier: Tier, activation: Activation, row: &mut [f32], affine: [f32; 2]) {
    let p = row.as_mut_ptr();
    // SAFETY: the row holds `len` elements; reading and writing the same ones is allowed.
    unsafe { activate_raw(tier, activation, p, p, row.len(), Some(affine)) }
}

/// [`activate`], or [`activate_affine`] with `Some([scale, bias])`, on addresses.
///
/// # Safety
/// `len` elements must be readable at `from` and writable at `to`; the two must be equal or not overlap.
pub unsafe fn activate_raw(
    tier: Tier,
    activation: Activation,
    from: *const f32,
    to: *mut f32,
    len: usize,
    affine: Option<[f32; 2]>,
) {
    run(tier, activation, Row { from, to, len, affine, stream: false })
}

/// [`activate_raw`] whose results go past the caches, as [`crate::stream_raw`] writes them.
///
/// # Safety
/// As [`activate_raw`].
pub unsafe fn activate_stream_raw(
    tier: Tier,
    activation: Activation,
    from: *const f32,
    to: *mut f32,
    len: usize,
    affine: Option<[f32; 2]>,
) {
    run(tier, activation, Row { from, to, len, affine, stream: true })
}

/// `len` elements to read and to write, at equal or disjoint addresses.
struct Row {
    from: *const f32,
    to: *mut f32,
    len: usize,
    affine: Option<[f32; 2]>,
    /// Results go past the caches.
    stream: bool,
}

struct Map<L> {
    row: Row,
    function: L,
}

impl<L: LaneFn> Kernel for Map<L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map { row, function } = self;
        match row.affine {
            None => map_row(s, row, function),
            Some([scale, bias]) => map_row(s, row, Affine { scale, bias, then: function }),
        }
    }
}

/// `then(x * scale + bias)`
#[derive(Clone, Copy)]
struct Affine<L> {
    scale: f32,
    bias: f32,
    then: L,
}

impl<L: LaneFn> LaneFn for Affine<L> {
    #[inline(always)]
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.then.apply(s, self.argument(s, x))
    }

    const HAS_EASY: bool = L::HAS_EASY;

    #[inline(always)]
    fn is_easy<S: Simd>(self, s: S, x: S::F) -> S::M {
        self.then.is_easy(s, self.argument(s, x))
    }

    #[inline(always)]
    fn easy<S: Simd>(self, s: S, x: S::F) -> S::F {
        self.then.easy(s, self.argument(s, x))
    }
}

impl<L> Affine<L> {
    #[inline(always)]
    fn argument<S: Simd>(&self, s: S, x: S::F) -> S::F {
        s.add(s.mul(x, s.splat(self.scale)), s.splat(self.bias))
    }
}

/// Vectors that are mapped together where that is easy: their arguments are tested once.
const BLOCK: usize = 4;

/// Room for a block of any tier.
#[repr(align(64))]
struct Room([f32; BLOCK * MAX_LANES]);

/// Maps whole blocks where they are, and what is left of the row through a block on the stack: one copy of the function's code.
#[inline(always)]
fn map_row<S: Simd, L: LaneFn>(s: S, Row { from, to, len, stream, .. }: Row, function: L) {
    let size = BLOCK * S::LANES;
    let mut room = Room([0.0; BLOCK * MAX_LANES]);
    let room = room.0.as_mut_ptr();
    // Streams begin at a multiple of a vector's size.
    let mut head = if stream { to.align_offset(4 * S::LANES).min(len) } else { 0 };
    let mut at = 0;
    while at < len {
        let whole = if head > 0 { 0 } else { (len - at) / size * size };
        let part = if head > 0 { head } else { len - at };
        let (source, target, count, used) = if whole > 0 {
            (from.wrapping_add(at), to.wrapping_add(at), whole, BLOCK)
        } else {
            // SAFETY: fewer than a block's elements from `at` on exist in the source row.
            unsafe { std::ptr::copy_nonoverlapping(from.add(at), room, part) }
            (room.cast_const(), room, size, part.div_ceil(S::LANES))
        };
        let mut i = 0;
        while i < count {
            let (from, to) = (source.wrapping_add(i), target.wrapping_add(i));
            // SAFETY: `count` elements, a multiple of a block, exist at both addresses; a stream's are aligned.
            unsafe { map_block(s, from, to, used, stream && whole > 0, function) };
            i += size;
        }
        if whole == 0 {
            // SAFETY: as above, in the target row.
            unsafe { std::ptr::copy_nonoverlapping(room, to.add(at), part) }
            head = 0;
        }
        at += if whole > 0 { whole } else { part };
    }
}

/// Maps the first `used` vectors of a block at least; what follows them in the block may be mapped too.
///
/// # Safety
/// A block's elements must be readable at `from` and writable at `to`, aligned to a vector's size if `stream`.
#[inline(always)]
unsafe fn map_block<S: Simd, L: LaneFn>(
    s: S,
    from: *const f32,
    to: *mut f32,
    used: usize,
    stream: bool,
    function: L,
) {
    if L::HAS_EASY {
        let twin = Twin(s);
        // SAFETY: the two halves of the block.
        let (mut a, mut b) = unsafe { (twin.load(from), twin.load(from.add(2 * S::LANES))) };
        if twin.all(twin.and_m(function.is_easy(twin, a), function.is_easy(twin, b))) {
            a = function.easy(twin, a);
            b = function.easy(twin, b);
            // SAFETY: as above.
            unsafe {
                put(twin, to, a, stream);
                put(twin, to.add(2 * S::LANES), b, stream);
            }
            return;
        }
    }
    for v in 0..used {
        // SAFETY: as above.
        unsafe {
            let y = function.apply(s, s.load(from.add(v * S::LANES)));
            put(s, to.add(v * S::LANES), canonical(s, y), stream);
        }
    }
}

/// # Safety
/// `to` must be valid for writing `LANES` elements, and if `stream` a multiple of a vector's size.
#[inline(always)]
pub(crate) unsafe fn put<S: Simd>(s: S, to: *mut f32, y: S::F, stream: bool) {
    // SAFETY: the caller's promise.
    unsafe { if stream { s.stream(to, y) } else { s.store(to, y) } }
}
