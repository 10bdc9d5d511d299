//! Running through the front door: every mode gives the reference's values.

use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Tensor};
use nki::prelude::*;
use nki::sim::SimOptions;

/// Deterministic values in [-2, 2), on a grid that bf16 holds exactly.
fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| (((i * 7919 + seed * 104_729) % 512) as f64 - 256.0) / 128.0).collect()
}

fn tensor(dtype: DType, shape: &[usize], seed: usize) -> Tensor {
    from_f64(dtype, shape, &values(shape.iter().product(), seed)).unwrap()
}

const MODES: [Mode; 4] = Mode::ALL;

#[nki::kernel]
fn matmul<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>) -> Hbm<T> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs);
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        for ni in nc.tiles(n, 512) {
            let acc = nc.psum([mi.len(), ni.len()]);
            for ki in nc.tiles(k, 128) {
                let a = nc.load(lhs_t.at((ki, mi)));
                let b = nc.load(rhs.at((ki, ni)));
                nc.nc_matmul(acc, a, b);
            }
            nc.store(out.at((mi, ni)), acc.to::<T>());
        }
    }
    out
}

#[test]
fn matmul_in_every_mode() {
    for [k, m, n] in [[256, 128, 512], [1, 1, 1], [130, 3, 515]] {
        let (a, b) = (tensor(DType::BF16, &[k, m], 1), tensor(DType::BF16, &[k, n], 2));
        let (x, y) = (to_f64(&a), to_f64(&b));
        let want: Vec<f64> =
            (0..m * n).map(|i| (0..k).map(|j| x[j * m + i / n] * y[j * n + i % n]).sum::<f64>()).collect();
        let want = from_f64(DType::BF16, &[m, n], &want).unwrap();
        for mode in MODES {
            let got = matmul::specialize::<bf16>(&a, &b).run(mode, Target::Trn2).unwrap();
            assert_eq!(got[0].shape, [m, n]);
            // Sums of few exact products are exact in float32 whatever the order.
            assert!(got[0] == want, "{mode} [{k}, {m}, {n}]");
        }
    }
}

/// Transfers that complete in any order, and engines that stall, change times and nothing else; a seed gives one run.
#[test]
fn an_adversary_changes_no_result() {
    let (a, b) = (tensor(DType::BF16, &[300, 130], 1), tensor(DType::BF16, &[300, 700], 2));
    let simulated = matmul::specialize::<bf16>(&a, &b).compile(Mode::Sim, Target::Trn2).unwrap();
    let inputs = [a.clone(), b.clone()];
    let plain = simulated.run(&inputs).unwrap();
    let mut times = Vec::new();
    for seed in 0..6 {
        let options = SimOptions { adversary: Some(seed), ..SimOptions::default() };
        let run = || simulated.simulate(&inputs, &options).unwrap();
        let (one, two) = (run(), run());
        assert!(one[0] == plain[0]);
        assert_eq!(one.report, two.report);
        times.push(one.report.unwrap().kernel_ns);
    }
    assert!(times.iter().all(|t| *t > plain.report.as_ref().unwrap().kernel_ns));
    times.dedup();
    assert!(times.len() > 1, "seeds make no difference");
    let interpreted = matmul::specialize::<bf16>(&a, &b).compile(Mode::Interp, Target::Trn2).unwrap();
    let refused = interpreted.simulate(&inputs, &SimOptions::default()).unwrap_err();
    assert_eq!(refused.first_code(), Some(Code::Argument));
}

macro_rules! unary {
    ($($name:ident: |$x:ident, $nc:ident| $body:expr, |$v:ident| $want:expr;)*) => {$(
        #[test]
        fn $name() {
            #[nki::kernel]
            fn kernel($nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
                let [rows, columns] = x.dims();
                let out = $nc.hbm([rows, columns]);
                for r in $nc.tiles(rows, 128) {
                    let $x = $nc.load(x.at((r, ..)));
                    let y = $body;
                    $nc.store(out.at((r, ..)), y);
                }
                out
            }
            let x = tensor(DType::F32, &[3, 37], 5);
            let mut runs = Vec::new();
            for mode in MODES {
                let got = kernel::specialize(&x).run(mode, Target::Trn2).unwrap();
                for (got, $v) in to_f64(&got[0]).into_iter().zip(to_f64(&x)) {
                    let want: f64 = $want;
                    let close = (got - want).abs() <= 2e-6 * want.abs().max(1.0) || got == want;
                    assert!(close, "{mode} at {}: {got} for {want}", $v);
                }
                runs.push(got[0].clone());
            }
            assert!(runs[0] == runs[1] && runs[1] == runs[3], "eager, interpreter and simulator agree bit for bit");
        }
    )*};
}

unary! {
    exp: |x, nc| x.exp(), |v| v.exp();
    tanh: |x, nc| x.tanh(), |v| v.tanh();
    sigmoid: |x, nc| x.sigmoid(), |v| 1.0 / (1.0 + (-v).exp());
    silu: |x, nc| x.silu(), |v| v / (1.0 + (-v).exp());
    rsqrt: |x, nc| (x.square() + 1.0).rsqrt(), |v| 1.0 / (v * v + 1.0).sqrt();
    floor: |x, nc| (x * 3.0).floor(), |v| (v * 3.0).floor();
    ceil: |x, nc| (x * 3.0).ceil(), |v| (v * 3.0).ceil();
    trunc: |x, nc| (x * 3.0).trunc(), |v| (v * 3.0).trunc();
    large_values_are_whole: |x, nc| (x * 1e10).floor(), |v| v as f32 as f64 * 1e10;
    sine_of_any_angle: |x, nc| (x * 100.0).sin(), |v| (v * 100.0).sin();
    cosine_of_any_angle: |x, nc| (x * 100.0).cos(), |v| (v * 100.0).cos();
    number_on_the_left: |x, nc| 1.0 - x, |v| 1.0 - v;
    division: |x, nc| x / 3.0 + 1.0 / (x.abs() + 2), |v| v / 3.0 + 1.0 / (v.abs() + 2.0);
    remainder_has_the_sign_of_the_divisor: |x, nc| x % 0.75, |v| v - (v / 0.75).floor() * 0.75;
    fmod_has_the_sign_of_the_dividend: |x, nc| x.fmod(0.75), |v| v % 0.75;
    tangent: |x, nc| (x * 0.7).tan(), |v| (v * 0.7).tan();
    variance: |x, nc| x * 0.0 + x.var(), |v| row_variance(v);
    zeros_of_a_shape: |x, nc| x.zeros_like() + x, |v| v;
    nothing_dropped: |x, nc| x.dropout(0.0), |v| v;
    everything_dropped: |x, nc| x.dropout(1.0), |_v| 0.0;
    bits_inverted: |x, nc| (x * 100.0).to::<i32>().invert().to::<f32>(), |v| -(v * 100.0).round_ties_even() - 1.0;
    random_numbers_are_in_the_unit_interval: |x, nc| {
        nc.random_seed(3);
        let u = nc.rand::<f32>(x.dims::<2>());
        u.greater_equal(0.0).logical_and(u.less(1.0))
    }, |_v| 1.0;
    scalar_power: |x, nc| (x.abs() + 1.0).power(1.5), |v| (v.abs() + 1.0).powf(1.5);
    negation: |x, nc| -x, |v| -v;
    column_broadcast: |x, nc| x - x.at((.., 0..1)) + x.max() * 0.0, |v| v - column(v);
    clamp: |x, nc| x.maximum(-0.5).minimum(0.25), |v| v.clamp(-0.5, 0.25);
    select_is_by_bits: |x, nc| nc.select(x.greater(0.0), x, x * 0.5), |v| if v > 0.0 { v } else { v * 0.5 };
    logical: |x, nc| x.less(0.0).logical_not(), |v| f64::from(u8::from(v >= 0.0));
    casts_round_and_saturate: |x, nc| (x * 100.0).to::<i8>().to::<f32>(),
        |v| (v * 100.0).round_ties_even().clamp(-128.0, 127.0);
}

/// First element of the row of the test tensor in which a value stands.
fn column(v: f64) -> f64 {
    let x = values(3 * 37, 5);
    let at = x.iter().position(|&w| w == v).unwrap();
    x[at / 37 * 37]
}

/// Variance of the row of the test tensor in which a value stands.
fn row_variance(v: f64) -> f64 {
    let x = values(3 * 37, 5);
    let start = x.iter().position(|&w| w == v).unwrap() / 37 * 37;
    let row = &x[start..start + 37];
    let mean = row.iter().sum::<f64>() / 37.0;
    row.iter().map(|w| (w - mean) * (w - mean)).sum::<f64>() / 37.0
}

#[nki::kernel]
fn broadcasts(nc: Nc, x: Hbm<f32>, row: Hbm<f32>) -> (Hbm<f32>, Hbm<f32>) {
    let [p, f] = x.dims();
    let (first, second) = (nc.hbm([p, f]), nc.hbm([p, f]));
    let tile = nc.load(x);
    let weights = nc.load(row);
    nc.store(second, tile * weights);
    let halves = tile.split(1, &[2, f / 2]);
    let sums = halves.reduce::<f32>(Alu::Add, 1);
    nc.store(first, (halves + sums.expand(2)).merge(1, 3));
    (first, second)
}

#[test]
fn rows_and_inner_dimensions_broadcast_and_results_keep_the_order_returned() {
    let (x, row) = (tensor(DType::F32, &[5, 600], 1), tensor(DType::F32, &[1, 600], 2));
    let (v, w) = (to_f64(&x), to_f64(&row));
    for mode in MODES {
        let got = broadcasts::specialize(&x, &row).run(mode, Target::Trn2).unwrap();
        let (first, second) = (to_f64(&got[0]), to_f64(&got[1]));
        for i in 0..v.len() {
            let start = i / 300 * 300;
            let sum: f64 = v[start..start + 300].iter().sum();
            assert_eq!(first[i], v[i] + sum, "{mode}: sums of the grid are exact");
            assert_eq!(second[i], v[i] * w[i % 600], "{mode}");
        }
    }
}

#[nki::kernel]
fn composed(nc: Nc, x: Hbm<f32>, gain: Hbm<f32>) -> [Hbm<f32>; 3] {
    let [p, f] = x.dims();
    let out = [nc.hbm([p, f]), nc.hbm([p, f]), nc.hbm([p, p])];
    let tile = nc.load(x);
    let weights = nc.load(gain);
    nc.store(out[0], nc.softmax(tile));
    nc.store(out[1], nc.rms_norm(tile, weights, 0.5));
    let turned = nc.transpose(tile).copy();
    nc.store(out[2], nc.matmul(tile, turned).copy());
    out
}

#[test]
fn softmax_norm_and_products() {
    let (p, f) = (9, 65);
    let (x, gain) = (tensor(DType::F32, &[p, f], 3), tensor(DType::F32, &[1, f], 4));
    let (v, w) = (to_f64(&x), to_f64(&gain));
    for mode in MODES {
        let got = composed::specialize(&x, &gain).run(mode, Target::Trn2).unwrap();
        let got: Vec<Vec<f64>> = got.tensors().iter().map(to_f64).collect();
        for r in 0..p {
            let row = &v[r * f..(r + 1) * f];
            let max = row.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = row.iter().map(|x| (x - max).exp()).sum();
            let mean = row.iter().map(|x| x * x).sum::<f64>() / f as f64;
            for c in 0..f {
                let softmax = (row[c] - max).exp() / sum;
                let norm = row[c] / (mean + 0.5).sqrt() * w[c];
                assert!((got[0][r * f + c] - softmax).abs() < 1e-6, "{mode}");
                assert!((got[1][r * f + c] - norm).abs() < 2e-6, "{mode}");
            }
            for c in 0..p {
                let product: f64 = (0..f).map(|i| row[i] * v[c * f + i]).sum();
                assert!((got[2][r * p + c] - product).abs() < 1e-4, "{mode}");
            }
        }
    }
}

#[nki::kernel]
fn running_sum(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, 1]);
    let mut total = nc.zeros::<f32>([rows, 1]);
    for c in nc.tiles(columns, 16) {
        let part = nc.load(x.at((.., c))).sum();
        total += part;
    }
    nc.store(out, total);
    out
}

#[test]
fn state_is_carried_in_tiles() {
    let x = tensor(DType::F32, &[4, 70], 6);
    for mode in MODES {
        let got = running_sum::specialize(&x).run(mode, Target::Trn2).unwrap();
        for (got, row) in to_f64(&got[0]).iter().zip(to_f64(&x).chunks(70)) {
            assert_eq!(*got, row.iter().sum::<f64>(), "{mode}");
        }
    }
}

#[nki::kernel]
fn bump(nc: Nc, #[inout] state: Hbm<f32>, by: f32) -> Hbm<f32> {
    let out = nc.hbm(state.shape());
    let old = nc.load(state);
    nc.store(out, old);
    nc.store(state, old + by);
    out
}

#[test]
fn inouts_come_back_after_the_results() {
    let x = tensor(DType::F32, &[2, 3], 7);
    for mode in MODES {
        let got = bump::specialize(&x, 1.0).run(mode, Target::Trn2).unwrap();
        assert_eq!(got.iter().map(|(n, _)| n).collect::<Vec<_>>(), ["out", "state"]);
        assert!(got[0] == x, "{mode}");
        assert_eq!(to_f64(&got[1]), to_f64(&x).iter().map(|v| v + 1.0).collect::<Vec<_>>(), "{mode}");
    }
}

#[nki::kernel]
fn layouts(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    // Rows t·4 + p go to partition p.
    let out = nc.hbm([4, 3, 5]);
    let tile = nc.load(x.rearrange("(t p) d -> p t d", &[("p", 4)]));
    let swapped = tile.permute(&[0, 2, 1]).step(1, 2);
    let back = nc.sbuf::<f32>([4, 3, 5]);
    nc.tensor_copy(back, tile);
    nc.tensor_copy(back.at((.., .., 0..3)), swapped.permute(&[0, 2, 1]));
    nc.store(out, back);
    out
}

#[test]
fn views_address_what_they_say() {
    let x = tensor(DType::F32, &[12, 5], 8);
    let v = to_f64(&x);
    for mode in MODES {
        let got = to_f64(&layouts::specialize(&x).run(mode, Target::Trn2).unwrap()[0]);
        for (i, got) in got.iter().enumerate() {
            let (p, t, d) = (i / 15, i / 5 % 3, i % 5);
            let d = if d < 3 { 2 * d } else { d };
            assert_eq!(*got, v[(t * 4 + p) * 5 + d], "{mode} at {i}");
        }
    }
}

#[nki::kernel]
fn masked(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [q, k] = x.dims();
    let out = nc.hbm([q, k]);
    for r in nc.tiles(q, 4) {
        let tile = nc.load(x.at((r, r.start()..r.start() + r.len())));
        nc.store(
            out.at((r, r.start()..r.start() + r.len())),
            nc.causal_mask(tile, r.start(), r.start(), -9.0),
        );
    }
    let zero = nc.zeros::<f32>([4, 4]);
    nc.store(out.at((0..4, 4..8)), zero);
    nc.store(out.at((4..8, 0..4)), zero + nc.identity::<f32>(4));
    out
}

#[test]
fn causal_masks_by_position() {
    let x = tensor(DType::F32, &[8, 8], 9);
    let v = to_f64(&x);
    for mode in MODES {
        let got = to_f64(&masked::specialize(&x).run(mode, Target::Trn2).unwrap()[0]);
        for (i, got) in got.iter().enumerate() {
            let (q, k) = (i / 8, i % 8);
            let want = match (q / 4, k / 4) {
                (0, 1) => 0.0,
                (1, 0) => f64::from(u8::from(q - 4 == k)),
                _ if k <= q => v[i],
                _ => -9.0,
            };
            assert_eq!(*got, want, "{mode} at {q}, {k}");
        }
    }
}

#[test]
fn eager_values_can_be_read_and_asserted_on() {
    #[nki::kernel]
    fn asserting(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        let out = nc.hbm(x.shape());
        for r in nc.tiles(x.dim(0), 2) {
            let y = nc.load(x.at((r, ..))) + 1.0;
            if let Some(values) = y.read() {
                assert!(values.iter().all(|&v| v < 2.5), "too large: {y:?}");
            }
            nc.store(out.at((r, ..)), y);
        }
        out
    }
    let x = from_f64(DType::F32, &[3, 2], &[0.0, 1.0, 0.5, 1.0, 2.0, 0.0]).unwrap();
    let error = asserting::specialize(&x).run(Mode::Eager, Target::Trn2).unwrap_err();
    assert_eq!(error.first_code(), Some(Code::KernelPanic));
    let text = error.to_string();
    assert!(text.contains("sbuf f32[1, 2]\n  3 1"), "{text}");
    assert!(asserting::specialize(&x).run(Mode::Interp, Target::Trn2).is_ok());
}

#[test]
fn wrong_arguments_are_refused_by_every_mode() {
    let (a, b) = (tensor(DType::F32, &[4, 4], 1), tensor(DType::F32, &[4, 5], 1));
    for mode in MODES {
        let exe = matmul::specialize::<f32>([4, 4], [4, 4]).compile(mode, Target::Trn2).unwrap();
        for wrong in [vec![], vec![a.clone()], vec![a.clone(), b.clone()]] {
            assert_eq!(exe.run(&wrong).unwrap_err().first_code(), Some(Code::Argument), "{mode}");
        }
        assert!(exe.run(&[a.clone(), a.clone()]).is_ok());
    }
    let error = matmul::specialize::<f32>([4, 4], [4, 4]).run(Mode::Interp, Target::Trn2).unwrap_err();
    assert_eq!(error.first_code(), Some(Code::Argument));
    let error = matmul::specialize::<bf16>(&a, &a).trace().unwrap_err();
    assert_eq!(error.first_code(), Some(Code::Argument));
}
