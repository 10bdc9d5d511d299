//! Columns by an index tile (isa.md 3.6), for every instruction that takes them: against isa.md's equations in `f64`, in every
//! mode.

use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Tensor};
use nki::prelude::*;
use nki::{bf16, f8e4m3fn_x4};

const P: usize = 32;
const N: usize = 41;
const CHOSEN: usize = 27;

fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + i * i * 31 + seed * 104_729) % 16) as f64 / 2.0 - 4.0).collect()
}

fn tensor(dtype: DType, shape: &[usize], seed: usize) -> Tensor {
    from_f64(dtype, shape, &values(shape.iter().product(), seed)).unwrap()
}

/// An index tile for `P` partitions in groups of `group`: the list of each group visits different columns of `n`.
fn index(dtype: DType, group: usize, n: usize) -> (Tensor, impl Fn(usize, usize) -> usize + Clone) {
    let offset = move |p: usize, i: usize| (i * 7 + 3 + p / group) % n;
    let columns = CHOSEN.div_ceil(group);
    let mut cells = vec![0.0; P * columns];
    for p in (0..P).step_by(group) {
        for i in 0..group * columns {
            cells[(p + i % group) * columns + i / group] = offset(p, i) as f64;
        }
    }
    (from_f64(dtype, &[P, columns], &cells).unwrap(), offset)
}

fn assert_close(what: &str, got: &Tensor, want: &[f64]) {
    let got = to_f64(got);
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= 2e-6 * w.abs().max(1.0), "{what}[{i}] is {g}, not {w}");
    }
}

/// Every instruction with a gathered input.
#[nki::kernel]
fn gathers(nc: Nc, x: Hbm<f32>, y: Hbm<f32>, at: Hbm<u16>) -> ([Hbm<f32>; 8], [Hbm<f32>; 4]) {
    let out: [Hbm<f32>; 8] = std::array::from_fn(|_| nc.hbm([P, CHOSEN]));
    let columns: [Hbm<f32>; 4] = std::array::from_fn(|_| nc.hbm([P, 1]));
    let (x, y, at) = (nc.load(x), nc.load(y), nc.load(at));
    let g = x.indirect(at, CHOSEN);
    let t: [Tile<f32>; 8] = std::array::from_fn(|_| nc.sbuf([P, CHOSEN]));
    let c: [Tile<f32>; 4] = std::array::from_fn(|_| nc.sbuf([P, 1]));
    nc.tensor_copy(t[0], g);
    nc.tensor_tensor(t[1], g, y, Alu::Subtract);
    nc.tensor_scalar(t[2], g, Alu::Multiply, 3.0);
    nc.tensor_scalar_reduce(t[3], g, Alu::Add, 1.0, Alu::Add).reduce_res(c[0]);
    nc.tensor_scalar_cumulative(t[4], g, Alu::Multiply, Alu::Add, 2.0);
    nc.activation(t[5], Act::Square, g).scale(0.5);
    nc.activation_reduce(t[6], Act::Relu, g).reduce_res(c[1]);
    nc.exponential(t[7], g).max_value(4.0).reduce_cmd(ReduceCmd::ResetReduce).reduce_res(c[2]);
    nc.tensor_reduce(c[3], Alu::Maximum, g);
    out.iter().zip(t).for_each(|(out, t)| nc.store(*out, t));
    columns.iter().zip(c).for_each(|(out, c)| nc.store(*out, c));
    (out, columns)
}

#[test]
fn inputs_are_gathered() {
    let (x, y) = (tensor(DType::F32, &[P, N], 1), tensor(DType::F32, &[P, CHOSEN], 2));
    let (at, offset) = index(DType::U16, 16, N);
    let (xv, yv) = (to_f64(&x), to_f64(&y));
    let mut want: Vec<Vec<f64>> = vec![Vec::new(); 12];
    for p in 0..P {
        let row: Vec<f64> = (0..CHOSEN).map(|i| xv[p * N + offset(p, i)]).collect();
        let mut sum = 0.0;
        for (i, v) in row.iter().enumerate() {
            sum += v * 2.0;
            let all = [
                *v,
                v - yv[p * CHOSEN + i],
                v * 3.0,
                v + 1.0,
                sum,
                (v / 2.0).powi(2),
                v.max(0.0),
                (v - 4.0).exp(),
            ];
            want.iter_mut().zip(all).for_each(|(w, v)| w.push(v));
        }
        want[8].push(row.iter().map(|v| v + 1.0).sum());
        want[9].push(row.iter().map(|v| v.max(0.0)).sum());
        want[10].push(row.iter().map(|v| (v - 4.0).exp()).sum());
        want[11].push(row.iter().copied().fold(f64::MIN, f64::max));
    }
    for mode in Mode::ALL {
        let got = gathers::specialize(&x, &y, &at).run(mode, Target::Trn3);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        for (i, want) in want.iter().enumerate() {
            assert_close(&format!("{mode}: result {i}"), &got[i], want);
        }
    }
}

/// Destinations are scattered over what is there; a predicate is gathered, and so are both sides of a copy.
#[nki::kernel]
fn scatters(nc: Nc, x: Hbm<f32>, at: Hbm<i32>, from: Hbm<u32>) -> [Hbm<f32>; 5] {
    let out: [Hbm<f32>; 5] = std::array::from_fn(|_| nc.hbm([P, N]));
    let (x, at, from) = (nc.load(x), nc.load(at), nc.load(from));
    let t: [Tile<f32>; 5] = std::array::from_fn(|_| nc.full([P, N], -1.0));
    let part = x.at((.., 0..CHOSEN));
    nc.tensor_copy(t[0].indirect(at, CHOSEN), part);
    nc.tensor_copy(t[1].indirect(at, CHOSEN), x.indirect(from, CHOSEN));
    nc.activation(t[2].indirect(at, CHOSEN), Act::Copy, part).scale(2.0);
    let positive = x.greater(0.0).to::<u8>();
    nc.tensor_copy_predicated(t[3].indirect(at, CHOSEN), part, positive.indirect(from, CHOSEN));
    // In place: the same columns of the same tile.
    let both = t[4].indirect(at, CHOSEN);
    nc.tensor_tensor(both, both, part, Alu::Add);
    out.iter().zip(t).for_each(|(out, t)| nc.store(*out, t));
    out
}

#[test]
fn results_are_scattered() {
    let x = tensor(DType::F32, &[P, N], 3);
    let ((at, to), (from, of)) = (index(DType::I32, 16, N), index(DType::U32, 16, N - 1));
    let v = to_f64(&x);
    let mut want = vec![vec![-1.0; P * N]; 5];
    for p in 0..P {
        for i in 0..CHOSEN {
            let (here, there) = (p * N + to(p, i), p * N + of(p, i));
            let part = v[p * N + i];
            want[0][here] = part;
            want[1][here] = v[there];
            want[2][here] = 2.0 * part;
            if v[there] > 0.0 {
                want[3][here] = part;
            }
            want[4][here] = part - 1.0;
        }
    }
    for mode in Mode::ALL {
        let got = scatters::specialize(&x, &at, &from).run(mode, Target::Trn3);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        for (i, want) in want.iter().enumerate() {
            assert_close(&format!("{mode}: result {i}"), &got[i], want);
        }
    }
}

/// Both inputs gathered; then the result scattered, and added to.
#[nki::kernel]
fn products(nc: Nc, a: Hbm<bf16>, b: Hbm<bf16>, at: Hbm<u16>) -> [Hbm<f32>; 2] {
    let out = [nc.hbm([CHOSEN, CHOSEN]), nc.hbm([P, N])];
    let (a, b, at) = (nc.load(a), nc.load(b), nc.load(at));
    let direct = nc.psum([CHOSEN, CHOSEN]);
    nc.nc_matmul(direct, a.indirect(at, CHOSEN), b.indirect(at, CHOSEN));
    nc.store(out[0], direct.to::<f32>());
    let spread = nc.psum([P, N]);
    nc.memset(spread, 1.0);
    let (left, right) = (a.at((.., 0..P)), b.at((.., 0..CHOSEN)));
    nc.nc_matmul(spread.indirect(at, CHOSEN), left, right).accumulate(false);
    nc.nc_matmul(spread.indirect(at, CHOSEN), left, right).accumulate(true);
    nc.store(out[1], spread.to::<f32>());
    out
}

#[test]
fn matmuls_gather_and_scatter() {
    let (a, b) = (tensor(DType::BF16, &[P, N], 4), tensor(DType::BF16, &[P, N], 5));
    let (at, offset) = index(DType::U16, 32, N);
    let (av, bv) = (to_f64(&a), to_f64(&b));
    let product = |m: usize, n: usize| (0..P).map(|k| av[k * N + m] * bv[k * N + n]).sum::<f64>();
    let mut want = [Vec::new(), vec![1.0; P * N]];
    for m in 0..CHOSEN {
        want[0].extend((0..CHOSEN).map(|n| product(offset(0, m), offset(0, n))));
    }
    for m in 0..P {
        for n in 0..CHOSEN {
            want[1][m * N + offset(m, n)] = 2.0 * product(m, n);
        }
    }
    for mode in Mode::ALL {
        let got = products::specialize(&a, &b, &at).run(mode, Target::Trn3);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        for (i, want) in want.iter().enumerate() {
            assert_close(&format!("{mode}: result {i}"), &got[i], want);
        }
    }
}

/// MX data and their scales, gathered by one index: the same as the columns of the plain product.
#[nki::kernel]
fn mx_products(nc: Nc, a: Hbm<bf16>, b: Hbm<bf16>, at: Hbm<u16>, m: usize) -> [Hbm<f32>; 2] {
    let n = a.shape()[1] / 4;
    let out = [nc.hbm([n, n]), nc.hbm([m, m])];
    let (a, b, at) = (nc.load(a), nc.load(b), nc.load(at));
    let (qa, qb) = (nc.sbuf::<f8e4m3fn_x4>([P, n]), nc.sbuf::<f8e4m3fn_x4>([P, n]));
    let (sa, sb) = (nc.sbuf::<u8>([4, n]), nc.sbuf::<u8>([4, n]));
    nc.quantize_mx(qa, a, sa);
    nc.quantize_mx(qb, b, sb);
    let whole = nc.psum([n, n]);
    nc.nc_matmul_mx(whole, qa, qb, sa, sb);
    nc.store(out[0], whole.to::<f32>());
    let part = nc.psum([m, m]);
    nc.nc_matmul_mx(part, qa.indirect(at, m), qb.indirect(at, m), sa.indirect(at, m), sb.indirect(at, m));
    nc.store(out[1], part.to::<f32>());
    out
}

#[test]
fn mx_matmuls_gather_data_and_scales() {
    let (n, m) = (24, 10);
    let (a, b) = (tensor(DType::BF16, &[P, 4 * n], 6), tensor(DType::BF16, &[P, 4 * n], 7));
    let (at, offset) = index(DType::U16, 32, n);
    for mode in Mode::ALL {
        let got = mx_products::specialize(&a, &b, &at, m).run(mode, Target::Trn3);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        let whole = to_f64(&got[0]);
        let want: Vec<f64> = (0..m * m).map(|i| whole[offset(0, i / m) * n + offset(0, i % m)]).collect();
        assert_close(&format!("{mode}"), &got[1], &want);
    }
}

#[test]
fn an_offset_outside_is_an_error() {
    let (x, y) = (tensor(DType::F32, &[P, N], 1), tensor(DType::F32, &[P, CHOSEN], 2));
    let (mut at, _) = index(DType::U16, 16, N);
    at.data[6..8].copy_from_slice(&(N as u16).to_le_bytes());
    for mode in Mode::ALL {
        let error = gathers::specialize(&x, &y, &at).run(mode, Target::Trn3).unwrap_err();
        assert!(error.iter().all(|d| d.code == Code::RuntimeIndex), "{mode}: {error}");
    }
    let early = gathers::specialize(&x, &y, &at).verify(Target::Trn2).unwrap_err();
    assert!(early.iter().any(|d| d.code == Code::DynamicIndex), "{early}");
}
