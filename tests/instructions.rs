//! The instruction layer through the front door: kernels around the vector engine's row instructions give what isa.md's
//! equations give in `f64`, in every mode.

use nki::args::{from_f64, to_f64};
use nki::ir::{DType, Tensor};
use nki::prelude::*;

/// Whole numbers from -8 to 7 with many repetitions.
fn values(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 + i * i * 31 + seed * 104_729) % 16) as f64 - 8.0).collect()
}

fn tensor(shape: &[usize], seed: usize) -> Tensor {
    from_f64(DType::F32, shape, &values(shape.iter().product(), seed)).unwrap()
}

/// Element by element within float32's precision, infinities and the smallest float32 included.
fn assert_close(mode: Mode, what: &str, got: &Tensor, want: &[f64]) {
    let got = to_f64(got);
    assert_eq!(got.len(), want.len(), "{mode}: {what}");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(g == w || (g - w).abs() <= 2e-6 * w.abs().max(1.0), "{mode}: {what}[{i}] is {g}, not {w}");
    }
}

const P: usize = 5;
const N: usize = 37;

fn rows(v: &[f64]) -> impl Iterator<Item = &[f64]> {
    v.chunks(N)
}

#[nki::kernel]
fn scans(nc: Nc, a: Hbm<f32>, b: Hbm<f32>) -> [Hbm<f32>; 3] {
    let [p, n] = a.dims();
    let out = [nc.hbm([p, n]), nc.hbm([p, n]), nc.hbm([p, n])];
    let (x, y) = (nc.load(a) * 0.0625, nc.load(b));
    let s = nc.sbuf::<f32>([p, n]);
    nc.tensor_tensor_scan(s, x, y, 1.0, Alu::Multiply, Alu::Add);
    nc.store(out[0], s);
    // The second half goes on where the first has stopped.
    let c = nc.sbuf::<f32>([p, n]);
    nc.tensor_scalar_cumulative(c.at((.., 0..20)), y.at((.., 0..20)), Alu::Multiply, Alu::Add, 0.5);
    nc.tensor_scalar_cumulative(c.at((.., 20..n)), y.at((.., 20..n)), Alu::Multiply, Alu::Add, 0.5)
        .reduce_cmd(ReduceCmd::Reduce);
    nc.store(out[1], c);
    let m = nc.sbuf::<f32>([p, n]);
    nc.tensor_scalar_cumulative(m, y, Alu::Add, Alu::Maximum, 1.0)
        .reduce_cmd(ReduceCmd::LoadReduce)
        .imm1(2.0);
    nc.store(out[2], m);
    out
}

#[test]
fn recurrences() {
    let (a, b) = (tensor(&[P, N], 1), tensor(&[P, N], 2));
    let (x, y) = (to_f64(&a), to_f64(&b));
    let mut want = [Vec::new(), Vec::new(), Vec::new()];
    for (x, y) in rows(&x).zip(rows(&y)) {
        let (mut s, mut c, mut m) = (1.0, 0.0, 2.0f64);
        for (x, y) in x.iter().zip(y) {
            s = x / 16.0 * s + y;
            c += y * 0.5;
            m = m.max(y + 1.0);
            want.iter_mut().zip([s, c, m]).for_each(|(w, v)| w.push(v));
        }
    }
    for mode in Mode::ALL {
        for target in Target::ALL {
            let got = scans::specialize(&a, &b).run(mode, target).unwrap();
            for (i, name) in ["scan", "sum", "maximum"].into_iter().enumerate() {
                assert_close(mode, name, &got[i], &want[i]);
            }
        }
    }
}

/// The eight largest, where they are, and what is left when they are gone.
#[nki::kernel]
fn top(nc: Nc, x: Hbm<f32>) -> (Hbm<f32>, Hbm<u32>, Hbm<f32>, Hbm<u32>) {
    let [p, n] = x.dims();
    let out = (nc.hbm([p, 8]), nc.hbm([p, 8]), nc.hbm([p, n]), nc.hbm([p, 8]));
    let tile = nc.load(x);
    let (best, at, gone) = (nc.sbuf::<f32>([p, 8]), nc.sbuf::<u32>([p, 8]), nc.sbuf::<u32>([p, 8]));
    let rest = nc.sbuf::<f32>([p, n]);
    nc.max8(best, tile);
    nc.nc_find_index8(at, tile, best);
    nc.nc_match_replace8(rest, tile, best, f32::MIN).dst_idx(gone);
    nc.store(out.0, best);
    nc.store(out.1, at);
    nc.store(out.2, rest);
    nc.store(out.3, gone);
    out
}

#[test]
fn eight_largest() {
    let x = tensor(&[P, N], 3);
    let mut want = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for row in rows(&to_f64(&x)) {
        let mut order: Vec<usize> = (0..N).collect();
        order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
        order.truncate(8);
        want[0].extend(order.iter().map(|i| row[*i]));
        want[1].extend(order.iter().map(|i| *i as f64));
        want[2].extend((0..N).map(|i| if order.contains(&i) { f64::from(f32::MIN) } else { row[i] }));
        // Equal values get their positions backwards.
        let mut backwards = order.clone();
        backwards.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(b.cmp(a)));
        want[3].extend(backwards.iter().map(|i| *i as f64));
    }
    for mode in Mode::ALL {
        let got = top::specialize(&x).run(mode, Target::Trn2).unwrap();
        for (i, want) in want.iter().enumerate() {
            assert_close(mode, ["best", "at", "rest", "gone"][i], &got[i], want);
        }
    }
}

#[nki::kernel]
fn selections(nc: Nc, x: Hbm<f32>, bounds: Hbm<f32>) -> ([Hbm<f32>; 3], [Hbm<f32>; 2]) {
    let [p, n] = x.dims();
    let out = [nc.hbm([p, n]), nc.hbm([p, n]), nc.hbm([p, n])];
    let maxima = [nc.hbm([p, 1]), nc.hbm([p, 1])];
    let (tile, bound) = (nc.load(x), nc.load(bounds));
    let positive = tile.greater(0.0).to::<u8>();
    let kept = tile * 2.0;
    nc.tensor_copy_predicated(kept, -1.0f32, positive).reverse_pred(true);
    nc.store(out[0], kept);
    let (ranged, highest) = (nc.sbuf::<f32>([p, n]), nc.sbuf::<f32>([p, 1]));
    nc.range_select(ranged, tile, Alu::GreaterEqual, Alu::Less, bound.at((.., 0..1)), bound.at((.., 1..2)))
        .range_start(3)
        .reduce_res(highest);
    nc.store(out[1], ranged);
    nc.store(maxima[0], highest);
    let (chosen, top) = (nc.sbuf::<f32>([p, n]), nc.sbuf::<f32>([p, 1]));
    nc.select_reduce(chosen, positive, tile, bound.at((.., 0..1)))
        .reduce_cmd(ReduceCmd::ResetReduce)
        .reduce_res(top);
    nc.store(out[2], chosen);
    nc.store(maxima[1], top);
    (out, maxima)
}

#[test]
fn selections_and_their_maxima() {
    let x = tensor(&[P, N], 4);
    let limits: Vec<f64> = (0..P).flat_map(|p| [p as f64, 10.0 + 5.0 * p as f64]).collect();
    let bounds = from_f64(DType::F32, &[P, 2], &limits).unwrap();
    let mut want = [Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for (row, limit) in rows(&to_f64(&x)).zip(limits.chunks(2)) {
        let inside = |f: usize| (f + 3) as f64 >= limit[0] && ((f + 3) as f64) < limit[1];
        let ranged: Vec<f64> = (0..N).map(|f| if inside(f) { row[f] } else { f64::from(f32::MIN) }).collect();
        let chosen: Vec<f64> = row.iter().map(|v| if *v > 0.0 { *v } else { limit[0] }).collect();
        want[0].extend(row.iter().map(|v| if *v > 0.0 { 2.0 * v } else { -1.0 }));
        want[3].push(ranged.iter().copied().fold(f64::MIN, f64::max));
        want[4].push(chosen.iter().copied().fold(f64::MIN, f64::max));
        want[1].extend(ranged);
        want[2].extend(chosen);
    }
    for mode in Mode::ALL {
        let got = selections::specialize(&x, &bounds).run(mode, Target::Trn2).unwrap();
        for (i, want) in want.iter().enumerate() {
            assert_close(mode, ["kept", "ranged", "chosen", "highest", "top"][i], &got[i], want);
        }
    }
}

/// Neighbours change places in each group of 32 partitions; the last four stay as they were.
#[nki::kernel]
fn shuffled(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [p, n] = x.dims();
    let out = nc.hbm([p, n]);
    let tile = nc.load(x);
    let mask: Vec<i64> = (0..32).map(|i| if i < 28 { i ^ 1 } else { 255 }).collect();
    let swapped = tile * 0.0;
    nc.nc_stream_shuffle(swapped, tile, &mask);
    nc.store(out, swapped);
    out
}

#[test]
fn partitions_change_places() {
    let x = tensor(&[96, 3], 5);
    let v = to_f64(&x);
    let want: Vec<f64> = (0..96 * 3)
        .map(|i| {
            let (p, f) = (i / 3, i % 3);
            if p % 32 < 28 { v[(p ^ 1) * 3 + f] } else { 0.0 }
        })
        .collect();
    for mode in Mode::ALL {
        let got = shuffled::specialize(&x).run(mode, Target::Trn2).unwrap();
        assert_close(mode, "shuffled", &got[0], &want);
    }
}

#[nki::kernel]
fn trn3_forms(nc: Nc, x: Hbm<f32>) -> ([Hbm<f32>; 2], [Hbm<f32>; 3]) {
    let [p, n] = x.dims();
    let out = [nc.hbm([p, n]), nc.hbm([p, n])];
    let columns = [nc.hbm([p, 1]), nc.hbm([p, 1]), nc.hbm([p, 1])];
    let tile = nc.load(x);
    let (y, e) = (nc.sbuf::<f32>([p, n]), nc.sbuf::<f32>([p, n]));
    let (widest, total, squares) = (nc.sbuf::<f32>([p, 1]), nc.sbuf::<f32>([p, 1]), nc.sbuf::<f32>([p, 1]));
    // prelu(3 - 2x), and the result of largest magnitude.
    nc.activate2(y, Act::Prelu, tile)
        .stage0(Alu::Multiply, 2.0)
        .stage1(Alu::Subtract, 3.0)
        .reverse1(true)
        .relu_param(0.25)
        .reduce_cmd(Alu::AbsMax, ReduceCmd::ResetReduce)
        .reduce_res(widest);
    nc.store(out[0], y);
    nc.store(columns[0], widest);
    nc.exponential(e, tile)
        .max_value(8.0)
        .reduce_cmd(ReduceCmd::LoadReduce)
        .reduce_init(1.0)
        .reduce_res(total);
    nc.store(out[1], e);
    nc.store(columns[1], total);
    nc.activation_reduce(y, Act::Square, tile).scale(0.5).bias(1.0).reduce_res(squares);
    nc.store(columns[2], squares);
    (out, columns)
}

#[test]
fn forms_of_trn3() {
    let x = tensor(&[P, N], 6);
    let mut want = [Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new()];
    for row in rows(&to_f64(&x)) {
        let y: Vec<f64> =
            row.iter().map(|v| 3.0 - 2.0 * v).map(|t| if t > 0.0 { t } else { t / 4.0 }).collect();
        let e: Vec<f64> = row.iter().map(|v| (v - 8.0).exp()).collect();
        want[2].push(y.iter().copied().fold(0.0, |a: f64, v: f64| if a.abs() > v.abs() { a } else { v }));
        want[3].push(1.0 + e.iter().sum::<f64>());
        want[4].push(row.iter().map(|v| (v / 2.0 + 1.0).powi(2)).sum());
        want[0].extend(y);
        want[1].extend(e);
    }
    for mode in Mode::ALL {
        let got = trn3_forms::specialize(&x).run(mode, Target::Trn3).unwrap();
        for (i, want) in want.iter().enumerate() {
            assert_close(mode, ["prelu", "exp", "widest", "total", "squares"][i], &got[i], want);
        }
    }
}

/// A state taken out before a draw and put back gives the same numbers again, on both engines.
#[nki::kernel]
fn replayed(nc: Nc, x: Hbm<f32>) -> [Hbm<u32>; 4] {
    let [p, n] = x.dims();
    let out = [nc.hbm([p, n]), nc.hbm([p, n]), nc.hbm([p, n]), nc.hbm([p, n])];
    for (i, (engine, words)) in [(Engine::GpSimd, 6), (Engine::Vector, 24)].into_iter().enumerate() {
        let state = nc.sbuf::<u32>([p, words]);
        nc.rand_get_state(state).engine(engine);
        let first = nc.sbuf::<u32>([p, n]);
        nc.rng(first).engine(engine);
        nc.rand_set_state(state).engine(engine);
        let again = nc.sbuf::<u32>([p, n]);
        nc.rng(again).engine(engine);
        nc.store(out[2 * i], first);
        nc.store(out[2 * i + 1], again);
    }
    out
}

#[test]
fn random_numbers_can_be_replayed() {
    let x = tensor(&[P, N], 7);
    let mut runs = Vec::new();
    for mode in Mode::ALL {
        let got = replayed::specialize(&x).run(mode, Target::Trn3).unwrap();
        assert!(got[0] == got[1] && got[2] == got[3], "{mode}");
        assert!(got[0] != got[2], "{mode}: two engines draw alike");
        runs.push([got[0].clone(), got[2].clone()]);
    }
    assert!(runs.windows(2).all(|w| w[0] == w[1]), "every mode draws alike");
}

#[nki::kernel]
fn drawn(nc: Nc, x: Hbm<f32>) -> [Hbm<f32>; 2] {
    let [p, n] = x.dims();
    let out = [nc.hbm([p, n]), nc.hbm([p, n])];
    let u = nc.sbuf::<f32>([p, n]);
    nc.rand2(u, -1.0, 3.0);
    nc.store(out[0], u);
    nc.random_seed(11);
    nc.store(out[1], nc.load(x).dropout(0.25));
    out
}

#[test]
fn draws_are_uniform() {
    let (p, n) = (128, 200);
    let x = from_f64(DType::F32, &[p, n], &vec![1.0; p * n]).unwrap();
    for mode in Mode::ALL {
        let got = drawn::specialize(&x).run(mode, Target::Trn3).unwrap();
        let (u, kept) = (to_f64(&got[0]), to_f64(&got[1]));
        let mean = u.iter().sum::<f64>() / u.len() as f64;
        // Four standard deviations of the mean of 25600 uniform numbers over 4.
        assert!(u.iter().all(|v| (-1.0..=3.0).contains(v)) && (mean - 1.0).abs() < 0.03, "{mode}: {mean}");
        let share = kept.iter().sum::<f64>() / kept.len() as f64;
        assert!((share - 0.75).abs() < 0.011, "{mode}: {share} kept");
    }
}
