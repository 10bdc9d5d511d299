//! Binary operations and reductions against scalar definitions, on every tier.

use nki_rt::{
    Activation, Binary, MatRef, Operand, Reduction, Tier, activate_affine, activate_fold, activate_sum,
    binary, binary_in_place, fold, fold_rows, sum_interleaved,
};
use proptest::prelude::*;

/// The definition of each operation (isa.md 4).
fn define(operation: Binary, a: f32, b: f32) -> f32 {
    let truth = |b: bool| f32::from(u8::from(b));
    let nan = a.is_nan() || b.is_nan();
    match operation {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide => a / b,
        Binary::Maximum | Binary::Minimum if nan => f32::NAN,
        Binary::Maximum => {
            if a.total_cmp(&b).is_gt() {
                a
            } else {
                b
            }
        }
        Binary::Minimum => {
            if a.total_cmp(&b).is_lt() {
                a
            } else {
                b
            }
        }
        Binary::Equal => truth(a == b),
        Binary::NotEqual => truth(a != b),
        Binary::Less => truth(a < b),
        Binary::LessEqual => truth(a <= b),
        Binary::Greater => truth(a > b),
        Binary::GreaterEqual => truth(a >= b),
        Binary::LogicalAnd => truth(a != 0.0 && b != 0.0),
        Binary::LogicalOr => truth(a != 0.0 || b != 0.0),
        Binary::LogicalXor => truth((a != 0.0) != (b != 0.0)),
        Binary::AbsMax | Binary::AbsMin if nan => f32::NAN,
        Binary::AbsMax => {
            if a.abs() > b.abs() {
                a
            } else {
                b
            }
        }
        Binary::AbsMin => {
            if a.abs() < b.abs() {
                a
            } else {
                b
            }
        }
    }
}

fn bits(x: f32) -> u32 {
    if x.is_nan() { 0x7FC0_0000 } else { x.to_bits() }
}

/// Any bits, specials often, and few distinct values so that ties happen.
fn number() -> impl Strategy<Value = f32> {
    let special = [0.0, -0.0, 1.0, -1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, f32::MAX];
    prop_oneof![
        3 => prop::sample::select(special.to_vec()),
        2 => any::<u32>().prop_map(f32::from_bits),
        3 => (-8i32..8).prop_map(|i| i as f32 * 0.75),
    ]
}

#[test]
fn every_operation_on_every_pair_of_specials() {
    let specials =
        [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e-45, f32::MAX];
    let pairs: Vec<(f32, f32)> = specials.iter().flat_map(|a| specials.map(|b| (*a, b))).collect();
    let (a, b): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    for tier in Tier::available() {
        for operation in Binary::ALL {
            let mut to = vec![0.0; a.len()];
            binary(tier, operation, Operand::Row(&a), Operand::Row(&b), &mut to);
            for ((a, b), got) in pairs.iter().zip(&to) {
                let want = define(operation, *a, *b);
                assert_eq!(bits(*got), bits(want), "{tier} {operation:?}({a}, {b}) = {got}, not {want}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "a row of 2 elements, not 3")]
fn rows_of_different_length_are_refused() {
    binary(Tier::best(), Binary::Add, Operand::Scalar(1.0), Operand::Row(&[0.0; 2]), &mut [0.0; 3]);
}

#[test]
fn identities_leave_numbers_alone() {
    for reduction in Reduction::ALL {
        for x in [1.5, -3e38, 1e-45, f32::INFINITY, f32::NEG_INFINITY] {
            assert_eq!(fold(Tier::best(), reduction, reduction.identity(), &[x]), x, "{reduction:?}");
        }
    }
}

#[test]
fn the_order_of_sums_is_as_stated() {
    // 1e8 swallows ones added one by one, but not a strand of 31 of them.
    let mut row = vec![1.0f32; 64];
    row[0] = 1e8;
    for tier in Tier::available() {
        assert_eq!(fold(tier, Reduction::Add, 0.0, &row), 1e8);
        let mut strands: Vec<f32> = (0..32).map(|j| row[j] + row[j + 32]).collect();
        for half in [16, 8, 4, 2, 1] {
            for j in 0..half {
                strands[j] += strands[j + half];
            }
        }
        assert_eq!(sum_interleaved(tier, &row), strands[0]);
        assert!(strands[0] > 1e8);
        assert_eq!(fold(tier, Reduction::Maximum, f32::NEG_INFINITY, &[]), f32::NEG_INFINITY);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn rows_and_scalars_in_any_place(
        a in prop::collection::vec(number(), 0..70), scalar in number(), which in 0..Binary::ALL.len(),
    ) {
        let operation = Binary::ALL[which];
        for tier in Tier::available() {
            let mut to = vec![0.0; a.len()];
            binary(tier, operation, Operand::Row(&a), Operand::Scalar(scalar), &mut to);
            let mut reversed = a.clone();
            binary_in_place(tier, operation, &mut reversed, Operand::Scalar(scalar), true);
            let mut itself = a.clone();
            binary_in_place(tier, operation, &mut itself, Operand::Row(&to), false);
            for i in 0..a.len() {
                prop_assert_eq!(bits(to[i]), bits(define(operation, a[i], scalar)));
                prop_assert_eq!(bits(reversed[i]), bits(define(operation, scalar, a[i])));
                prop_assert_eq!(bits(itself[i]), bits(define(operation, a[i], to[i])));
            }
        }
    }

    #[test]
    fn folds_are_ascending_and_extremes_exact(
        row in prop::collection::vec(number(), 0..200), initial in number(),
    ) {
        for tier in Tier::available() {
            for reduction in Reduction::ALL {
                let step = |a: f32, b: f32| match reduction {
                    Reduction::Add => a + b,
                    Reduction::Multiply => a * b,
                    Reduction::Maximum => define(Binary::Maximum, a, b),
                    Reduction::Minimum => define(Binary::Minimum, a, b),
                };
                let want = row.iter().fold(initial, |a, b| step(a, *b));
                prop_assert_eq!(bits(fold(tier, reduction, initial, &row)), bits(want), "{} {:?}", tier, reduction);
            }
        }
    }

    #[test]
    fn rows_side_by_side_are_rows_one_by_one(rows in 0usize..21, cols in 0usize..40, gap in 0usize..3, seed: u32) {
        let stride = cols + gap;
        let data: Vec<f32> = (0..rows * stride)
            .map(|i| (seed.wrapping_add(i as u32).wrapping_mul(0x9E37_79B1) >> 8) as f32 / 1e7 - 0.8)
            .collect();
        let view = MatRef::new(&data, rows, cols, stride);
        for tier in Tier::available() {
            for reduction in Reduction::ALL {
                let mut totals = vec![0.25; rows];
                fold_rows(tier, reduction, view, &mut totals);
                for (row, total) in totals.iter().enumerate() {
                    let want = fold(tier, reduction, 0.25, &data[row * stride..][..cols]);
                    prop_assert_eq!(bits(*total), bits(want), "{:?} of row {}", reduction, row);
                }
            }
        }
    }

    #[test]
    fn activation_and_sum_in_one_pass_are_the_two_passes(len in 0usize..5000, scale in -2.0f32..2.0, bias in -2.0f32..2.0) {
        let from: Vec<f32> = (0..len).map(|i| (i % 97) as f32 / 50.0 - 1.0).collect();
        let mut want = vec![0.0; len];
        activate_affine(Tier::PORTABLE, Activation::Exp, &from, [scale, bias], &mut want);
        for tier in Tier::available() {
            let mut to = vec![0.0; len];
            let sum = activate_sum(tier, Activation::Exp, &from, [scale, bias], &mut to);
            prop_assert_eq!(&to, &want);
            prop_assert_eq!(sum.to_bits(), sum_interleaved(Tier::PORTABLE, &want).to_bits());
            let folded = activate_fold(tier, Activation::Exp, &from, [scale, bias], 0.5, &mut to);
            prop_assert_eq!(folded.to_bits(), fold(tier, Reduction::Add, 0.5, &want).to_bits());
        }
    }
}
