//! Binary operations and reductions against scalar definitions, on every tier.

use nki_rt::{
    Activation, Binary, Input, MatRef, Operand, Reduction, Tier, activate_affine, activate_fold_raw,
    activate_stream_raw, binary, binary_in_place, binary_raw, binary_stream_raw, binary_twice_raw, fold,
    fold_rows, has_twice, stream_fence,
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
    // 1e8 swallows ones added one by one.
    let mut row = vec![1.0f32; 64];
    row[0] = 1e8;
    for tier in Tier::available() {
        assert_eq!(fold(tier, Reduction::Add, 0.0, &row), 1e8);
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
    fn activation_and_sum_in_one_pass_are_the_two_passes(
        rows in 0usize..20, columns in 0usize..70, gap in 0usize..3, far in any::<bool>(), which in 0..Activation::ALL.len(),
    ) {
        let activation = Activation::ALL[which];
        let stride = columns + gap;
        let mut from: Vec<f32> = (0..rows * stride).map(|i| (i * 37 % 97) as f32 / 20.0 - 2.0).collect();
        if far {
            from.iter_mut().step_by(23).for_each(|x| *x = *x * 1e4 - 500.0);
        }
        let affine: Vec<[f32; 2]> = (0..rows).map(|r| [1.0 - r as f32 * 0.1, r as f32 * 0.3 - 1.0]).collect();
        for tier in Tier::available() {
            let (mut to, mut totals) = (vec![7.0f32; rows * stride], vec![0.5f32; rows]);
            // SAFETY: both hold these rows.
            unsafe {
                let (from, to) = ((from.as_ptr(), stride), (to.as_mut_ptr(), stride));
                activate_fold_raw(tier, activation, from, to, columns, &affine, &mut totals);
            }
            for r in 0..rows {
                let mut want = vec![0.0; columns];
                activate_affine(Tier::PORTABLE, activation, &from[r * stride..][..columns], affine[r], &mut want);
                let got = &to[r * stride..][..columns];
                prop_assert!(got.iter().zip(&want).all(|(a, b)| bits(*a) == bits(*b)), "{tier} {activation:?} {got:?} {want:?}");
                prop_assert!(to[r * stride + columns..][..gap].iter().all(|x| *x == 7.0));
                prop_assert_eq!(bits(totals[r]), bits(fold(tier, Reduction::Add, 0.5, &want)));
            }
        }
    }

    #[test]
    fn two_operations_at_once_and_streams_are_one_after_the_other(
        x in prop::collection::vec(number(), 0..150), scalar in number(), ops in (0..Binary::ALL.len(), 0..Binary::ALL.len()),
        offset in 0usize..20, stream in any::<bool>(), of_a_row in any::<bool>(),
    ) {
        let operations = [Binary::ALL[ops.0], Binary::ALL[ops.1]];
        let len = x.len();
        let other: Vec<f32> = x.iter().rev().copied().collect();
        for tier in Tier::available() {
            let (mut first, mut want) = (vec![0.0; len], vec![0.0; len]);
            let (a, b) = if of_a_row {
                (Operand::Scalar(scalar), Operand::Row(&other[..]))
            } else {
                (Operand::Row(&other[..]), Operand::Scalar(scalar))
            };
            binary(tier, operations[0], Operand::Row(&x), a, &mut first);
            binary(tier, operations[1], Operand::Row(&first), b, &mut want);
            let input = |o: Operand| match o {
                Operand::Scalar(x) => Input::Scalar(x),
                Operand::Row(row) => Input::Row(row.as_ptr()),
            };
            let mut to = vec![7.0f32; len + 40];
            // SAFETY: all rows hold `len` elements, the target from `offset` on.
            unsafe {
                let at = to.as_mut_ptr().add(offset);
                if has_twice(operations) {
                    binary_twice_raw(tier, operations, x.as_ptr(), [input(a), input(b)], (at, len), stream);
                } else {
                    binary_raw(tier, operations[0], Input::Row(x.as_ptr()), input(a), at, len);
                    let run = if stream { binary_stream_raw } else { binary_raw };
                    run(tier, operations[1], Input::Row(at), input(b), at, len);
                }
            }
            stream_fence();
            prop_assert!(to[offset..][..len].iter().zip(&want).all(|(a, b)| bits(*a) == bits(*b)), "{tier} {operations:?}");
            prop_assert!(to[..offset].iter().chain(&to[offset + len..]).all(|x| *x == 7.0));
        }
    }

    #[test]
    fn streamed_activations_and_mixed_vectors_have_the_same_bits(
        x in prop::collection::vec(number(), 0..150), which in 0..Activation::ALL.len(), offset in 0usize..20,
    ) {
        let activation = Activation::ALL[which];
        for tier in Tier::available() {
            // One number at a time: each has a vector for itself.
            let want: Vec<f32> = x.iter().map(|x| {
                let mut y = [0.0];
                activate_affine(tier, activation, &[*x], [1.0, 0.0], &mut y);
                y[0]
            }).collect();
            let mut to = vec![7.0f32; x.len() + 40];
            // SAFETY: the target has room from `offset` on.
            unsafe {
                let at = to.as_mut_ptr().add(offset);
                activate_stream_raw(tier, activation, x.as_ptr(), at, x.len(), Some([1.0, 0.0]));
            }
            stream_fence();
            prop_assert!(to[offset..][..x.len()].iter().zip(&want).all(|(a, b)| bits(*a) == bits(*b)), "{tier} {activation:?}");
            prop_assert!(to[..offset].iter().chain(&to[offset + x.len()..]).all(|x| *x == 7.0));
        }
    }
}
