//! The MX instructions: values by the tables of isa.md 2.1, sums and scales in exact arithmetic.

use super::harness::*;
use crate::sem::{State, cast, lane};
use crate::target::Gen;
use crate::{Attr, Code, DType, Op};
use proptest::prelude::*;

/// The value of lane `j` from the bit fields of its type: sign, exponent (of `e` bits), mantissa (of `m` bits).
fn lane_model(packed: DType, bits: u32, j: u32) -> f64 {
    let (e, m, bias) = match packed {
        DType::F8E5M2X4 => (5, 2, 15),
        DType::F8E4M3FNX4 => (4, 3, 7),
        _ => (2, 1, 1),
    };
    let width = 1 + e + m;
    let code = bits >> (width * j) & ((1 << width) - 1);
    let (exponent, mantissa) = (code >> m & ((1 << e) - 1), code & ((1 << m) - 1));
    let all_ones = exponent == (1 << e) - 1;
    let magnitude = if packed == DType::F8E5M2X4 && all_ones {
        if mantissa == 0 { f64::INFINITY } else { f64::NAN }
    } else if packed == DType::F8E4M3FNX4 && all_ones && mantissa == 7 {
        f64::NAN
    } else if exponent == 0 {
        f64::from(mantissa) * 2f64.powi(1 - bias - m as i32)
    } else {
        f64::from(mantissa + (1 << m)) * 2f64.powi(exponent as i32 - bias - m as i32)
    };
    if code >> (e + m) == 1 { -magnitude } else { magnitude }
}

#[test]
fn lanes_of_packed_types() {
    for packed in [DType::F8E5M2X4, DType::F8E4M3FNX4, DType::F4E2M1FNX4] {
        let width = packed.bytes() as u32 * 2;
        for code in 0..1u32 << width {
            for j in 0..4 {
                let bits = code << (width * j) | !(((1u32 << width) - 1) << (width * j)) & 0x9635_a71c;
                let (got, want) = (f64::from(lane(packed, bits, j)), lane_model(packed, bits, j));
                assert!(
                    got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan(),
                    "{packed} {code:#x}"
                );
            }
        }
    }
    let e2m1: Vec<f32> = (0..8).map(|code| lane(DType::F4E2M1FNX4, code, 0)).collect();
    assert_eq!(e2m1, [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]);
}

/// A finite float as `mantissa · 2^exponent`.
fn split(x: f64) -> (i128, i32) {
    let bits = x.to_bits();
    let (field, fraction) = ((bits >> 52 & 0x7ff) as i32, (bits & ((1 << 52) - 1)) as i128);
    let (m, e) = if field == 0 { (fraction, -1074) } else { (fraction | 1 << 52, field - 1075) };
    let zeros = m.trailing_zeros().min(60) as i32;
    let m = if m == 0 { 0 } else { m >> zeros };
    (if x < 0.0 { -m } else { m }, e + zeros)
}

/// `a + b` rounded once to float32, in integers. Numbers further apart than the digits of float32 are brought closer,
/// which leaves the smaller one below half a unit of the larger, with its sign.
fn add_once(a: f64, b: f64) -> f32 {
    if !a.is_finite() || !b.is_finite() || a == 0.0 || b == 0.0 {
        return (a + b) as f32;
    }
    let (mut x, mut y) = (split(a), split(b));
    if x.1 < y.1 {
        std::mem::swap(&mut x, &mut y);
    }
    // Both have at most 53 digits.
    if x.1 - y.1 > 70 {
        y = (y.0.signum(), x.1 - 60);
    }
    let sum = (x.0 << (x.1 - y.1)) + y.0;
    if sum == 0 {
        return 0.0;
    }
    round(sum, y.1)
}

/// `m · 2^e` to nearest even float32.
fn round(m: i128, e: i32) -> f32 {
    let digits = 128 - m.unsigned_abs().leading_zeros() as i32;
    // The last place that float32 keeps.
    let unit = (digits + e - 24).max(-149);
    let drop = unit - e;
    let size = m.unsigned_abs();
    let kept = match drop {
        ..=0 => size << -drop,
        1..128 => {
            let (q, rest, half) = (size >> drop, size & ((1 << drop) - 1), 1u128 << (drop - 1));
            q + u128::from(rest > half || rest == half && q & 1 == 1)
        }
        _ => 0,
    };
    let x = kept as f64 * 2f64.powi(unit.max(-1000));
    let x = if x > f64::from(f32::MAX) { f32::INFINITY } else { x as f32 };
    if m < 0 { -x } else { x }
}

fn packed() -> impl Strategy<Value = DType> {
    prop::sample::select(vec![DType::F8E5M2X4, DType::F8E4M3FNX4, DType::F4E2M1FNX4])
}

/// Packed data without NaN and infinity for the most part, and scales.
fn side(t: DType, k: usize, n: usize) -> impl Strategy<Value = (Tile, Tile)> {
    let mask = if t == DType::F4E2M1FNX4 { 0xffff } else { 0xbfbf_bfbf };
    let element = prop_oneof![30 => any::<u32>().prop_map(move |b| b & mask), 1 => any::<u32>().prop_map(move |b| b & mask | if mask == 0xffff { 0 } else { b })];
    let byte = prop_oneof![12 => 110u32..140, 2 => 0u32..256];
    let data = prop::collection::vec(prop::collection::vec(element, n), k);
    let rows = if k > 32 { k - 28 } else { 4 };
    let scale = prop::collection::vec(prop::collection::vec(byte, n), rows);
    (data, scale, any::<bool>()).prop_map(move |(bits, scales, unsigned)| {
        let scale = if unsigned { DType::U8 } else { DType::F8E8M0 };
        (Tile { dtype: t, bits }, Tile { dtype: scale, bits: scales })
    })
}

/// `value(T, SC, off, k, i, j)` of isa.md 9.1.2 with the offset in the view.
fn value((data, scale): &(Tile, Tile), k: usize, i: usize, j: u32) -> f64 {
    let row = if k < 32 { k / 8 } else { 32 * (k / 32) + k % 32 / 8 };
    let byte = scale.bits[row][i];
    let factor = if byte == 255 { f64::NAN } else { 2f64.powi(byte as i32 - 127) };
    lane_model(data.dtype, data.bits[k][i], j) * factor
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn nc_matmul_mx(
        (a, b, dst) in ((1usize..5, 1usize..4, 1usize..6), packed(), packed(), any::<bool>())
            .prop_flat_map(|((k, m, n), s, t, narrow)| {
                let out = if narrow { DType::BF16 } else { DType::F32 };
                (side(s, 32 * k, 2 * m), side(t, 32 * k, n), tile(out, 2 * m, n))
            }),
        accumulate: bool,
        layouts in five_layouts(),
    ) {
        let sum = |m: usize, n: usize| (0..a.0.parts()).flat_map(|k| (0..4).map(move |j| (k, j)))
            .fold(0f32, |s, (k, j)| add_once(value(&a, k, m, j) * value(&b, k, n, j), s.into()));
        let want = dst.map(dst.dtype, |m, n, old| {
            let s = sum(m, n);
            if accumulate { add_once(old.into(), s.into()) } else { s }
        });
        let case = Case { accumulate, ..Case::new(Op::NcMatmulMx, dst) };
        let case = case.operand(&a.0).operand(&b.0).operand(&a.1).operand(&b.1);
        prop_assert_eq!(case.generation(Gen::Gen4).layouts(layouts).run(), Ok(want));
    }
}

/// Group maxima at both ends of what a scale can express, so that float32 cannot hold the values but holds the products.
#[test]
fn products_of_extreme_scales() {
    let data = |byte: u32| Tile::filled(DType::F8E5M2X4, 32, 2, byte * 0x0101_0101);
    let scale = |byte| Tile::filled(DType::F8E8M0, 4, 2, byte);
    // 57344 · 2^127 times 2^-16 · 2^-127, 128 times.
    let case = Case::new(Op::NcMatmulMx, Tile::filled(DType::F32, 2, 2, 0))
        .operand(&data(0x7b))
        .operand(&data(0x01));
    let got = case.operand(&scale(254)).operand(&scale(0)).generation(Gen::Gen4).run();
    assert_eq!(got, Ok(Tile::filled(DType::F32, 2, 2, (57344.0f32 / 65536.0 * 128.0).to_bits())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn quantize_mx(
        (src, five, blank) in (1usize..5, 1usize..5, any::<bool>(), any::<bool>(), any::<bool>())
            .prop_flat_map(|(p, n, half, five, ordinary)| {
                let t = if half { DType::F16 } else { DType::BF16 };
                let ordinary = ordinary.then(|| (-8f32..8.0, -30i32..30).prop_map(move |(m, e)| cast::down(t, m * 2f32.powi(e))));
                let element = match ordinary {
                    Some(s) => s.boxed(),
                    None => bits(t).boxed(),
                };
                let src = prop::collection::vec(prop::collection::vec(element, 4 * n), 32 * p)
                    .prop_map(move |bits| Tile { dtype: t, bits });
                let rows = if p > 1 { 32 * p - 28 } else { 4 };
                (src, Just(five), tile(DType::U8, rows, n))
            }),
        layouts in five_layouts(),
    ) {
        let (t, element, largest) = if five { (DType::F8E5M2X4, DType::F8E5M2, 15) } else { (DType::F8E4M3FNX4, DType::F8E4M3FN, 8) };
        let x: Vec<Vec<f64>> = src.floats().iter().map(|r| r.iter().map(|x| f64::from(*x)).collect()).collect();
        let (columns, mut scales) = (src.n() / 4, blank.clone());
        let mut want = Tile::filled(t, src.parts(), columns, 0);
        for b in 0..src.parts() / 8 {
            for c in 0..columns {
                let group: Vec<f64> = (0..32).map(|i| x[8 * b + i / 4][4 * c + i % 4]).collect();
                let finite = group.iter().all(|x| x.is_finite());
                let amax = group.iter().fold(0.0, |a: f64, x| a.max(x.abs()));
                // floor(log2(amax)) by comparison.
                let log = (-200..200).rev().find(|e| 2f64.powi(*e) <= amax);
                let e = log.map_or(-127, |l| (l - (largest - 1)).clamp(-127, 127));
                let row = 32 * (b / 4) + b % 4;
                scales.bits[row][c] = if finite { (e + 127) as u32 } else { 255 };
                for p in 0..8 {
                    want.bits[8 * b + p][c] = (0..4).fold(0, |bits, j| {
                        let scaled = x[8 * b + p][4 * c + j] * 2f64.powi(-e);
                        // Exact in float32, or far below the smallest element.
                        let code = cast::down(element, if finite { scaled as f32 } else { f32::NAN });
                        bits | code << (8 * j)
                    });
                    prop_assert!(!finite || (0..4).all(|j| lane(t, want.bits[8 * b + p][c], j).is_finite()));
                }
            }
        }
        let case = Case::new(Op::QuantizeMx, Tile::filled(t, src.parts(), columns, 9)).operand(&src).operand(&blank);
        let got = case.generation(Gen::Gen4).layouts(layouts).run_on(&mut State::default());
        let got = got.map_err(|f| TestCaseError::fail(f.message))?;
        prop_assert_eq!(&got[0], &want);
        // Rows without scales keep their content.
        prop_assert_eq!(&got[2], &scales);
    }
}

#[test]
fn misfits_are_faults() {
    let t = |d, p, n| Tile::filled(d, p, n, 0);
    let quantize = |dst: Tile, src: Tile, scale: Tile| {
        Case::new(Op::QuantizeMx, dst).operand(&src).operand(&scale).generation(Gen::Gen4).run().map(|_| ())
    };
    let (x4, bf, s) = (DType::F8E5M2X4, DType::BF16, DType::F8E8M0);
    assert_eq!(quantize(t(x4, 64, 2), t(bf, 64, 8), t(s, 36, 2)), Ok(()));
    assert_eq!(quantize(t(x4, 64, 2), t(bf, 64, 8), t(s, 35, 2)), Err(Code::Shape));
    assert_eq!(quantize(t(x4, 64, 2), t(bf, 64, 7), t(s, 36, 2)), Err(Code::Shape));
    assert_eq!(quantize(t(DType::F4E2M1FNX4, 64, 2), t(bf, 64, 8), t(s, 36, 2)), Err(Code::Dtype));
    assert_eq!(quantize(t(x4, 64, 2), t(DType::F32, 64, 8), t(s, 36, 2)), Err(Code::Dtype));
    assert_eq!(quantize(t(x4, 64, 2), t(bf, 64, 8), t(DType::U16, 36, 2)), Err(Code::Dtype));
    let attr = Attr::Ints(vec![]);
    let case = Case::new(Op::NcMatmulMx, t(DType::F32, 2, 2)).operand(&t(bf, 32, 2)).operand(&t(x4, 32, 2));
    let case = case.operand(&t(s, 4, 2)).operand(&t(s, 4, 2)).attr("tile_size", attr);
    assert_eq!(case.run(), Err(Code::Dtype));
}
