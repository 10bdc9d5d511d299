//! Whole products against their definition, bit for bit, on every tier and number of threads.

use crate::{
    Combine, Destination, Element, Gemm, MatMut, MatRef, Parallel, Serial, Side, StridedRef, Threads, Tier,
    bf16, f16, matmul, matmul_fast,
};
use proptest::prelude::*;
use std::sync::Mutex;

/// The definition in the module's head, one element at a time.
fn define<T: Element>(a: &[T], b: &[T], k_step: usize, start: Option<f32>) -> f32 {
    let mut c = start;
    for (a, b) in a.chunks(k_step).zip(b.chunks(k_step)) {
        let sum = a.iter().zip(b).fold(0.0f32, |s, (a, b)| a.widen().mul_add(b.widen(), s));
        c = Some(c.map_or(sum, |c| c + sum));
    }
    c.unwrap_or(0.0)
}

fn number(seed: u64, i: usize) -> f32 {
    let x = (seed ^ i as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(29)
        .wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 40) as f32 / (1u64 << 24) as f32 - 0.5
}

/// A matrix laid out one way or the other, or with gaps in both directions.
struct Laid<T> {
    data: Vec<T>,
    strides: [usize; 2],
    shape: [usize; 2],
}

impl<T: Element> Laid<T> {
    fn new(shape: [usize; 2], layout: usize, from: impl Fn(usize) -> T) -> Self {
        let strides = match layout {
            0 => [shape[1] + 1, 1],
            1 => [1, shape[0] + 2],
            _ => [2 * shape[1] + 3, 2],
        };
        let len = (shape[0] * strides[0] + shape[1] * strides[1]).max(1);
        Laid { data: (0..len).map(from).collect(), strides, shape }
    }

    fn view(&self) -> StridedRef<'_, T> {
        StridedRef::new(&self.data, self.shape, self.strides)
    }

    fn row(&self, i: usize) -> Vec<T> {
        (0..self.shape[1]).map(|j| self.data[i * self.strides[0] + j * self.strides[1]]).collect()
    }

    fn col(&self, j: usize) -> Vec<T> {
        (0..self.shape[0]).map(|i| self.data[i * self.strides[0] + j * self.strides[1]]).collect()
    }
}

struct Case {
    shape: [usize; 3],
    layouts: [usize; 2],
    k_step: usize,
    combine: Combine,
}

fn check<T: Element>(case: &Case, from: impl Fn(u64, usize) -> T) {
    let Case { shape: [m, k, n], layouts, k_step, combine } = *case;
    let a = Laid::new([m, k], layouts[0], |i| from(1, i));
    let b = Laid::new([k, n], layouts[1], |i| from(2, i));
    let before: Vec<f32> = (0..m * (n + 3)).map(|i| number(3, i)).collect();
    let want: Vec<f32> = (0..m * n)
        .map(|i| {
            let start = (combine == Combine::Add).then(|| before[i / n * (n + 3) + i % n]);
            define(&a.row(i / n), &b.col(i % n), k_step, start)
        })
        .collect();
    for tier in Tier::available() {
        for parallel in [&Serial as &dyn Parallel, &Threads(3)] {
            for fast in [false, true] {
                // The wide tier's stand-in for the pair instruction is exact, and so must the product be.
                let mut c = before.clone();
                let gemm = Gemm {
                    k_step,
                    parallel,
                    fast: fast && !tier.name().starts_with("avx512"),
                    ..Gemm::new(tier)
                };
                gemm.run(a.view(), b.view(), MatMut::new(&mut c, m, n, n + 3), combine);
                for (i, got) in c.iter().enumerate() {
                    let (row, col) = (i / (n + 3), i % (n + 3));
                    let want = if col < n { want[row * n + col] } else { before[i] };
                    assert!(
                        got.to_bits() == want.to_bits(),
                        "{tier} {m}x{k}x{n} step {k_step} layouts {layouts:?} at ({row}, {col}): {got:e}, not {want:e}"
                    );
                }
            }
        }
    }
}

#[test]
fn shapes_around_the_register_tiles() {
    for m in [1, 4, 5, 6, 7, 12, 13, 25] {
        for n in [1, 15, 16, 17, 33] {
            for k in [0, 1, 2, 5, 9] {
                let case = Case { shape: [m, k, n], layouts: [0, 0], k_step: 4, combine: Combine::Overwrite };
                check(&case, number);
            }
        }
    }
}

#[test]
fn blocks_larger_than_a_task() {
    let case = Case { shape: [211, 130, 300], layouts: [1, 0], k_step: 128, combine: Combine::Add };
    check(&case, number);
    let case = Case { shape: [3, 300, 2100], layouts: [0, 0], k_step: 128, combine: Combine::Add };
    check(&case, |w, i| bf16::from_f32(number(w, i)));
}

#[test]
fn the_product_is_that_of_a_loop_of_tiles() {
    let (k, m, n) = (300, 40, 70);
    let a: Vec<f32> = (0..k * m).map(|i| number(7, i)).collect();
    let b: Vec<f32> = (0..k * n).map(|i| number(8, i)).collect();
    let mut tiles = vec![0.0f32; m * n];
    for start in (0..k).step_by(128) {
        let rows = 128.min(k - start);
        let combine = if start == 0 { Combine::Overwrite } else { Combine::Add };
        let (a, b) = (MatRef::dense(&a[start * m..], rows, m), MatRef::dense(&b[start * n..], rows, n));
        matmul(Tier::best(), a, b, MatMut::dense(&mut tiles, m, n), combine);
    }
    let mut whole = vec![0.0f32; m * n];
    let a = StridedRef::row_major(&a, k, m).transposed();
    let b = StridedRef::row_major(&b, k, n);
    Gemm::new(Tier::best()).run(a, b, MatMut::dense(&mut whole, m, n), Combine::Overwrite);
    assert_eq!(tiles, whole);
}

#[test]
fn every_element_passes_the_epilogue_once() {
    for (m, n) in [(211, 300), (2, 3000)] {
        let a = vec![bf16::from_f32(1.0); m * 9];
        let b = vec![bf16::from_f32(0.5); 9 * n];
        let (a, b) = (StridedRef::row_major(&a, m, 9), StridedRef::row_major(&b, 9, n));
        let seen = Mutex::new(vec![0u32; m * n]);
        let epilogue = |[row, col]: [usize; 2], mut block: MatMut<f32>| {
            let mut seen = seen.lock().expect("no task panics");
            for i in 0..block.rows() {
                for (j, x) in block.row_mut(i).iter_mut().enumerate() {
                    assert_eq!(*x, 4.5);
                    *x += 1.0;
                    seen[(row + i) * n + col + j] += 1;
                }
            }
        };
        let gemm = Gemm { epilogue: Some(&epilogue), parallel: &Threads(2), ..Gemm::new(Tier::best()) };
        gemm.run_blocks(a, b);
        assert!(seen.lock().expect("no task panics").iter().all(|n| *n == 1));
        let mut c = vec![0.0; m * n];
        gemm.run(a, b, MatMut::dense(&mut c, m, n), Combine::Overwrite);
        assert!(c.iter().all(|x| *x == 5.5), "what the epilogue changes stays");
    }
}

#[test]
fn pair_products_stay_close() {
    let (m, k, n) = (70, 257, 90);
    let a: Vec<bf16> = (0..m * k).map(|i| bf16::from_f32(number(1, i))).collect();
    let b: Vec<bf16> = (0..k * n).map(|i| bf16::from_f32(number(2, i))).collect();
    let (a, b) = (StridedRef::row_major(&a, m, k), StridedRef::row_major(&b, k, n));
    for tier in Tier::available() {
        let run = |fast| {
            let mut c = vec![0.0f32; m * n];
            Gemm { fast, ..Gemm::new(tier) }.run(a, b, MatMut::dense(&mut c, m, n), Combine::Overwrite);
            c
        };
        for (fast, exact) in run(true).iter().zip(run(false)) {
            // 257 sums of products below 1/4, each step rounded twice.
            assert!((fast - exact).abs() <= 257.0 * 20.0 * f32::EPSILON, "{tier}: {fast} and {exact}");
        }
    }
}

/// An operand that lies in pieces of a step of K gives the product of the same numbers without gaps.
#[test]
fn operands_may_lie_in_pieces_of_a_step() {
    let (k, k_step) = (23, 8);
    for (m, n) in [(1, 40), (3, 5), (7, 33), (200, 17)] {
        let a: Vec<f32> = (0..m * k).map(|i| number(1, i)).collect();
        let b: Vec<f32> = (0..k * n).map(|i| number(2, i)).collect();
        // Row p of step s of K at s * width + p * (3 * width + 5), as on chip.
        let pieces = |from: &[f32], width: usize| {
            let mut to = vec![f32::NAN; 8 * (3 * width + 5)];
            for row in 0..k {
                let at = row / k_step * width + row % k_step * (3 * width + 5);
                to[at..at + width].copy_from_slice(&from[row * width..][..width]);
            }
            to
        };
        let (pa, pb) = (pieces(&a, m), pieces(&b, n));
        for tier in Tier::available() {
            let gemm = Gemm { k_step, ..Gemm::new(tier) };
            let (mut want, mut got) = (vec![0.0f32; m * n], vec![0.0f32; m * n]);
            let (av, bv) = (StridedRef::row_major(&a, k, m).transposed(), StridedRef::row_major(&b, k, n));
            gemm.run(av, bv, MatMut::dense(&mut want, m, n), Combine::Overwrite);
            let side = |data: &[f32], len| Side {
                data: data.as_ptr(),
                len,
                along: 1,
                k: 3 * len + 5,
                step: Some(len),
            };
            let to = Destination::Memory { data: got.as_mut_ptr(), stride: n, combine: Combine::Overwrite };
            // SAFETY: all rows of all steps are in the vectors.
            unsafe { gemm.run_raw(k, side(&pa, m), side(&pb, n), to) };
            assert_eq!(got, want, "{tier} {m} {n}");
        }
    }
}

#[test]
fn the_fast_tile_is_close_to_the_exact_one() {
    for (k, m, n) in [(128, 128, 512), (1, 1, 1), (7, 5, 33), (128, 3, 100), (0, 6, 6)] {
        let a: Vec<bf16> = (0..m * k).map(|i| bf16::from_f32(number(1, i))).collect();
        let b: Vec<bf16> = (0..k * n).map(|i| bf16::from_f32(number(2, i))).collect();
        let (a, b) = (MatRef::dense(&a, k, m), MatRef::dense(&b, k, n));
        for tier in Tier::available() {
            for combine in [Combine::Overwrite, Combine::Add] {
                let (mut fast, mut exact) = (vec![1.0f32; m * n], vec![1.0f32; m * n]);
                matmul_fast(tier, a, b, MatMut::dense(&mut fast, m, n), combine);
                matmul(tier, a, b, MatMut::dense(&mut exact, m, n), combine);
                for (fast, exact) in fast.iter().zip(&exact) {
                    assert!(
                        (fast - exact).abs() <= 128.0 * 10.0 * f32::EPSILON,
                        "{tier}: {fast} and {exact}"
                    );
                }
            }
        }
    }
}

#[test]
#[should_panic(expected = "[2, 3] times [4, 2]")]
fn disagreeing_shapes_are_refused() {
    let data = [0.0f32; 8];
    let mut c = [0.0f32; 4];
    let (a, b) = (StridedRef::row_major(&data, 2, 3), StridedRef::row_major(&data, 4, 2));
    Gemm::new(Tier::best()).run(a, b, MatMut::dense(&mut c, 2, 2), Combine::Overwrite);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_shape_and_layout(
        m in 1usize..50, k in 0usize..70, n in 1usize..70, layouts in [0usize..3, 0usize..3],
        k_step in 1usize..40, dtype in 0..3, add: bool,
    ) {
        let combine = if add { Combine::Add } else { Combine::Overwrite };
        let case = Case { shape: [m, k, n], layouts, k_step, combine };
        match dtype {
            0 => check(&case, number),
            1 => check(&case, |w, i| bf16::from_f32(number(w, i))),
            _ => check(&case, |w, i| f16::from_f32(number(w, i))),
        }
    }
}
