//! The tile product against its definition, bit for bit, on every instruction set of this machine.

use crate::{Combine, Element, MatMut, MatRef, Tier, bf16, f16, matmul};
use proptest::prelude::*;

/// The definition (isa.md 9.1.1), one element at a time.
fn define<T: Element>(k: usize, a: &[T], lda: usize, b: &[T], ldb: usize, m: usize, n: usize) -> f32 {
    (0..k).fold(0.0f32, |s, k| a[k * lda + m].widen().mul_add(b[k * ldb + n].widen(), s))
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Deterministic bits for element `i`.
fn bits(seed: u64, i: usize) -> u32 {
    let mut x = seed ^ (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (x ^ (x >> 31)) as u32
}

/// Ordinary numbers, with specials and subnormals strewn in when `wild`.
fn number(seed: u64, i: usize, wild: bool) -> f32 {
    let r = bits(seed, i);
    let plain = (r >> 8) as f32 / (1 << 24) as f32 - 0.5;
    if !wild || !r.is_multiple_of(7) {
        return plain;
    }
    match (r / 7) % 8 {
        0 => f32::NAN,
        1 => f32::INFINITY,
        2 => f32::NEG_INFINITY,
        3 => -0.0,
        4 => f32::from_bits(r & 0x807F_FFFF), // subnormal
        5 => f32::MAX,
        6 => plain * 1e-38,
        _ => plain * 1e30,
    }
}

/// One product on every tier; `pads` are the gaps at the ends of the rows of a, b and c.
fn check<T: Element>(
    [k, m, n]: [usize; 3],
    pads: [usize; 3],
    from: impl Fn(usize, usize) -> T,
    combine: Combine,
) {
    let [lda, ldb, ldc] = [m + pads[0], n + pads[1], n + pads[2]];
    let a: Vec<T> = (0..k * lda).map(|i| from(0, i)).collect();
    let b: Vec<T> = (0..k * ldb).map(|i| from(1, i)).collect();
    let before: Vec<f32> = (0..m * ldc).map(|i| number(99, i, false)).collect();
    for tier in Tier::available() {
        let mut c = before.clone();
        let view = MatMut::new(&mut c, m, n, ldc);
        matmul(tier, MatRef::new(&a, k, m, lda), MatRef::new(&b, k, n, ldb), view, combine);
        for (i, got) in c.iter().enumerate() {
            let (row, col) = (i / ldc, i % ldc);
            let sum = if col < n { define(k, &a, lda, &b, ldb, row, col) } else { 0.0 };
            let want = match combine {
                _ if col >= n => before[i], // the gap is nobody's
                Combine::Overwrite => sum,
                Combine::Add => before[i] + sum,
            };
            assert!(
                same(*got, want),
                "{tier} {k}x{m}x{n} {combine:?} at ({row}, {col}): {got:e}, defined as {want:e}"
            );
        }
    }
}

#[test]
fn ragged_shapes_are_exact() {
    for k in [0, 1, 2, 7, 31] {
        for m in [1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 25] {
            for n in [1, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 47, 65] {
                let from = |which: usize, i| number(which as u64 + 1, i, false);
                check([k, m, n], [0, 0, 0], from, Combine::Overwrite);
                check([k, m, n], [1, 3, 2], from, Combine::Add);
            }
        }
    }
}

#[test]
fn a_full_engine_tile_is_exact_in_every_type() {
    let shape = [128, 128, 512];
    check(shape, [0; 3], |w, i| number(w as u64, i, false), Combine::Add);
    check(shape, [0; 3], |w, i| bf16::from_f32(number(w as u64, i, false)), Combine::Overwrite);
    check(shape, [0; 3], |w, i| f16::from_f32(number(w as u64, i, false)), Combine::Overwrite);
}

#[test]
#[should_panic(expected = "[3, 2]ᵀ · [4, 1] does not give [2, 1]")]
fn disagreeing_shapes_are_refused() {
    let mut c = [0.0f32; 2];
    let (a, b) = ([0.0f32; 6], [0.0f32; 4]);
    let (a, b) = (MatRef::dense(&a, 3, 2), MatRef::dense(&b, 4, 1));
    matmul(Tier::best(), a, b, MatMut::dense(&mut c, 2, 1), Combine::Overwrite);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn anything_is_exact(
        k in 0usize..140, m in 1usize..40, n in 1usize..70, pads in [0usize..4, 0usize..4, 0usize..4],
        seed: u64, dtype in 0..3, add: bool,
    ) {
        let combine = if add { Combine::Add } else { Combine::Overwrite };
        let value = |which: usize, i: usize| number(seed.wrapping_add(which as u64), i, true);
        match dtype {
            0 => check([k, m, n], pads, value, combine),
            1 => check([k, m, n], pads, |w, i| bf16::from_f32(value(w, i)), combine),
            _ => check([k, m, n], pads, |w, i| f16::from_f32(value(w, i)), combine),
        }
    }
}
