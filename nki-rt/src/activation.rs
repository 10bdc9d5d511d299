//! Activation functions on rows (isa.md 5).

use crate::codec::canonical;
use crate::math;
use crate::simd::{MAX_LANES, Simd};
use crate::tier::{Kernel, Tier};

/// A function of one number, on lanes.
pub(crate) trait LaneFn: Copy {
    fn apply<S: Simd>(self, s: S, x: S::F) -> S::F;
}

macro_rules! activations {
    ($( $(#[$doc:meta])* $variant:ident $name:literal $ulp:literal = |$s:ident, $x:ident| $body:expr; )*) => {
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
                }
            )*
        }

        fn run(tier: Tier, activation: Activation, row: Row) {
            match activation {
                $( Activation::$variant => tier.run(Map { row, function: functions::$variant }), )*
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
    Exp "exp" 1.0 = |s, x| math::exp(s, x);
    /// `ln x`; NaN below zero
    Log "log" 0.51 = |s, x| math::log(s, x);
    /// square root
    Sqrt "sqrt" 0.5 = |s, x| s.sqrt(x);
    /// `1 / sqrt x`
    Rsqrt "rsqrt" 0.51 = |s, x| s.narrow(s.div_d(s.splat_d(1.0), s.sqrt_d(s.widen(x))));
    /// `1 / x`
    Reciprocal "reciprocal" 0.5 = |s, x| s.div(s.splat(1.0), x);
    /// `1 / (1 + e^-x)`
    Sigmoid "sigmoid" 2.0 = |s, x| math::sigmoid(s, x);
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
    Gelu "gelu" 2.0 = |s, x| math::gelu(s, x);
    /// derivative of `Gelu`
    GeluDx "gelu_dx" 0.51 = |s, x| math::gelu_dx(s, x);
    /// `0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`
    GeluTanh "gelu_apprx_tanh" 2.0 = |s, x| math::gelu_tanh(s, x);
    /// `x sigmoid(1.702 x)`
    GeluSigmoid "gelu_apprx_sigmoid" 0.51 = |s, x| math::gelu_sigmoid(s, x);
    /// derivative of `GeluSigmoid`
    GeluSigmoidDx "gelu_apprx_sigmoid_dx" 0.51 = |s, x| math::gelu_sigmoid_dx(s, x);
    /// `x sigmoid(x)`
    Silu "silu" 2.0 = |s, x| math::silu(s, x);
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
    run(tier, activation, Row { from, to, len, affine })
}

/// `len` elements to read and to write, at equal or disjoint addresses.
struct Row {
    from: *const f32,
    to: *mut f32,
    len: usize,
    affine: Option<[f32; 2]>,
}

struct Map<L> {
    row: Row,
    function: L,
}

impl<L: LaneFn> Kernel for Map<L> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Map { row: Row { from, to, len, affine }, function } = self;
        match affine {
            None => map_row(s, from, to, len, function),
            Some([scale, bias]) => map_row(s, from, to, len, Affine { scale, bias, then: function }),
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
        self.then.apply(s, s.add(s.mul(x, s.splat(self.scale)), s.splat(self.bias)))
    }
}

/// Maps whole vectors, then the rest of the row through a vector on the stack: one copy of the function's code.
#[inline(always)]
fn map_row<S: Simd, L: LaneFn>(s: S, from: *const f32, to: *mut f32, len: usize, function: L) {
    let mut rest = [0.0f32; MAX_LANES];
    let rest = rest.as_mut_ptr();
    let whole = len - len % S::LANES;
    let (mut source, mut target, mut end) = (from, to, whole);
    loop {
        let mut i = 0;
        while i < end {
            // SAFETY: `end` elements, a multiple of LANES, exist at both addresses: in the rows, or in `rest`.
            unsafe {
                let y = function.apply(s, s.load(source.wrapping_add(i)));
                s.store(target.wrapping_add(i), canonical(s, y));
            }
            i += S::LANES;
        }
        if whole == len {
            return;
        }
        if end == S::LANES && source == rest.cast_const() {
            // SAFETY: elements whole..len exist in the target row.
            unsafe { std::ptr::copy_nonoverlapping(rest, to.add(whole), len - whole) }
            return;
        }
        // SAFETY: elements whole..len exist in the source row, fewer than LANES.
        unsafe { std::ptr::copy_nonoverlapping(from.add(whole), rest, len - whole) }
        (source, target, end) = (rest, rest, S::LANES);
    }
}
