//! Activation rows: accuracy against f64, special values, and the same bits on every tier.

mod reference;

use nki_rt::{Activation, Tier, activate, activate_affine, activate_in_place};
use proptest::prelude::*;
use reference::{reference, ulps};

/// All magnitudes: every exponent with a few dozen mantissas and both signs, and a fine grid where functions bend.
fn arguments() -> Vec<f32> {
    let spread = (0..1u32 << 16).map(|i| f32::from_bits(i.wrapping_mul(65_521)));
    let grid = (-60_000..60_000).map(|i| i as f32 * 0.002);
    spread.chain(grid).filter(|x| x.is_finite()).collect()
}

#[test]
fn every_function_is_as_accurate_as_it_says() {
    let x = arguments();
    let mut y = vec![0.0; x.len()];
    for activation in Activation::ALL {
        activate(Tier::best(), activation, &x, &mut y);
        for (x, y) in x.iter().zip(&y) {
            let want = reference(activation, f64::from(*x));
            let error = ulps(*y, want);
            let limit = activation.max_ulp();
            assert!(error <= limit, "{activation:?}({x:e}) = {y:e}, not {want:e}: {error} of {limit} ulp");
        }
    }
}

/// Bit patterns from 0 to the last in steps: with `NKI_PATTERNS=all`, or a function's name, every one.
#[test]
fn bit_patterns_are_as_accurate_as_stated() {
    let chosen = std::env::var("NKI_PATTERNS").unwrap_or_default();
    let every = |activation: Activation| chosen == "all" || chosen == activation.name();
    for activation in Activation::ALL {
        let step = if every(activation) { 1 } else { 100_003 };
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()) as u64;
        let worst = std::thread::scope(|scope| {
            let parts: Vec<_> = (0..threads)
                .map(|t| {
                    scope.spawn(move || {
                        worst_error(activation, (t << 32) / threads, ((t + 1) << 32) / threads, step)
                    })
                })
                .collect();
            let errors = parts.into_iter().map(|p| p.join().expect("no part panics"));
            errors.fold((0.0, 0.0f32), |a, b| if b.0 > a.0 { b } else { a })
        });
        if step == 1 {
            println!("{}: at most {:.3} ulp, at {:e}", activation.name(), worst.0, worst.1);
        }
        assert!(worst.0 <= activation.max_ulp(), "{activation:?}({:e}): {} ulp", worst.1, worst.0);
    }
}

/// The largest error of a function, in ulp, and where, over bit patterns.
fn worst_error(activation: Activation, from: u64, to: u64, step: usize) -> (f64, f32) {
    let (mut worst, mut x, mut y) = ((0.0, 0.0), Vec::new(), Vec::new());
    let mut patterns = (from..to).step_by(step).map(|bits| f32::from_bits(bits as u32));
    loop {
        x.clear();
        x.extend(patterns.by_ref().take(1 << 12));
        if x.is_empty() {
            return worst;
        }
        y.resize(x.len(), 0.0);
        activate(Tier::best(), activation, &x, &mut y);
        for (x, y) in x.iter().zip(&y).filter(|(x, _)| x.is_finite()) {
            let error = ulps(*y, reference(activation, f64::from(*x)));
            if error > worst.0 || error.is_nan() {
                worst = (if error.is_nan() { f64::INFINITY } else { error }, *x);
            }
        }
    }
}

/// Near their zeros the derivatives cancel: neighbours of each zero, one f32 after the other.
#[test]
fn derivatives_stay_accurate_around_their_zeros() {
    let zeros = [
        (Activation::GeluDx, -0.751_791_6f32),
        (Activation::SiluDx, -1.278_464_6),
        (Activation::GeluSigmoidDx, -0.751_154_3),
    ];
    for (activation, zero) in zeros {
        let x: Vec<f32> =
            (-3000..3000).map(|i| f32::from_bits(zero.to_bits().wrapping_add_signed(i))).collect();
        let mut y = vec![0.0; x.len()];
        activate(Tier::best(), activation, &x, &mut y);
        assert!(
            y[0] < 0.0 && y[5999] > 0.0 || y[0] > 0.0 && y[5999] < 0.0,
            "{activation:?} has no zero here"
        );
        for (x, y) in x.iter().zip(&y) {
            // f64 itself is good to some 2e-16 here, which is a few ulp of a result of 1e-9.
            let want = reference(activation, f64::from(*x));
            let error = (f64::from(*y) - want).abs();
            assert!(error <= 1e-15 + want.abs() * 6.1e-8, "{activation:?}({x:e}) = {y:e}, not {want:e}");
        }
    }
}

#[test]
fn special_arguments_give_limits() {
    use Activation::*;
    const INF: f32 = f32::INFINITY;
    const NAN: f32 = f32::NAN;
    const HALF_PI: f32 = std::f32::consts::FRAC_PI_2;
    // at -inf, -0, +0, +inf
    let table: [(Activation, [f32; 4]); 25] = [
        (Copy, [-INF, -0.0, 0.0, INF]),
        (Square, [INF, 0.0, 0.0, INF]),
        (Abs, [INF, 0.0, 0.0, INF]),
        (Sign, [-1.0, 0.0, 0.0, 1.0]),
        (Relu, [0.0, 0.0, 0.0, INF]),
        (Exp, [0.0, 1.0, 1.0, INF]),
        (Log, [NAN, -INF, -INF, INF]),
        (Sqrt, [NAN, -0.0, 0.0, INF]),
        (Rsqrt, [NAN, -INF, INF, 0.0]),
        (Reciprocal, [-0.0, -INF, INF, 0.0]),
        (Sigmoid, [0.0, 0.5, 0.5, 1.0]),
        (Tanh, [-1.0, -0.0, 0.0, 1.0]),
        (Sin, [NAN, -0.0, 0.0, NAN]),
        (Arctan, [-HALF_PI, -0.0, 0.0, HALF_PI]),
        (Erf, [-1.0, -0.0, 0.0, 1.0]),
        (ErfDx, [0.0, std::f32::consts::FRAC_2_SQRT_PI, std::f32::consts::FRAC_2_SQRT_PI, 0.0]),
        (Softplus, [0.0, std::f32::consts::LN_2, std::f32::consts::LN_2, INF]),
        (Mish, [-0.0, -0.0, 0.0, INF]),
        (Gelu, [-0.0, -0.0, 0.0, INF]),
        (GeluDx, [-0.0, 0.5, 0.5, 1.0]),
        (GeluTanh, [-0.0, -0.0, 0.0, INF]),
        (GeluSigmoid, [-0.0, -0.0, 0.0, INF]),
        (GeluSigmoidDx, [-0.0, 0.5, 0.5, 1.0]),
        (Silu, [-0.0, -0.0, 0.0, INF]),
        (SiluDx, [-0.0, 0.5, 0.5, 1.0]),
    ];
    for tier in Tier::available() {
        for (activation, want) in table {
            let mut y = [-INF, -0.0, 0.0, INF, NAN];
            activate_in_place(tier, activation, &mut y);
            for (got, want) in y.iter().zip(want.iter().chain(&[NAN])) {
                let same = got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan());
                assert!(same, "{tier} {activation:?}: {y:?}, not {want:?}");
            }
        }
    }
}

#[test]
fn subnormal_arguments_are_not_flushed() {
    let x = [1e-40f32, -1e-45];
    for activation in
        [Activation::Tanh, Activation::Sin, Activation::Arctan, Activation::Copy, Activation::Abs]
    {
        let mut y = x;
        activate_in_place(Tier::best(), activation, &mut y);
        assert_eq!(y.map(f32::abs), x.map(f32::abs), "{activation:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn tiers_agree_to_the_bit(
        x in prop::collection::vec(any::<u32>(), 0..40), function in 0..Activation::ALL.len(),
        scale in -3.0f32..3.0, bias in -3.0f32..3.0,
    ) {
        let activation = Activation::ALL[function];
        // Half the bit patterns as they come, half brought near 1.
        let near = |bits: u32| if bits & 1 == 0 { bits } else { (bits & 0x83FF_FFFF) | 0x3C00_0000 };
        let x: Vec<f32> = x.into_iter().map(|bits| f32::from_bits(near(bits))).collect();
        let run = |tier| {
            let (mut plain, mut affine) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            activate(tier, activation, &x, &mut plain);
            activate_affine(tier, activation, &x, [scale, bias], &mut affine);
            let steps: Vec<f32> = x.iter().map(|x| x * scale + bias).collect();
            let mut by_hand = steps.clone();
            activate_in_place(tier, activation, &mut by_hand);
            let bits = |v: Vec<f32>| v.into_iter().map(|y| if y.is_nan() { 0 } else { y.to_bits() }).collect::<Vec<_>>();
            (bits(plain), bits(affine), bits(by_hand))
        };
        let want = run(Tier::PORTABLE);
        prop_assert_eq!(&want.1, &want.2, "the affine step rounds twice");
        for tier in Tier::available() {
            prop_assert_eq!(&run(tier), &want, "{} {:?}", tier, activation);
        }
    }
}
