//! Methods of the language that the library's kernels do not use, through the front door in every mode, against values
//! worked out here; and a test that no public method is left without a caller.

use nki::args::{from_f64, to_f64};
use nki::bf16;
use nki::ir::op::DgeMode;
use nki::ir::{DType, Tensor};
use nki::prelude::*;

fn numbers(dtype: DType, shape: &[usize]) -> Tensor {
    let n = shape.iter().product::<usize>();
    from_f64(dtype, shape, &(0..n).map(|i| ((i * 7 + i / 5) % 13) as f64 - 6.0).collect::<Vec<_>>()).unwrap()
}

/// Results of a kernel in every mode are `want`.
fn all_modes(target: Target, want: &[Vec<f64>], run: impl Fn(Mode, Target) -> nki::Results) {
    for mode in Mode::ALL {
        let got: Vec<Vec<f64>> = run(mode, target).tensors().iter().map(to_f64).collect();
        assert_eq!(got, want, "{mode} on {target}");
    }
}

#[nki::kernel]
fn blocks_by_index(nc: Nc, x: Hbm<f32>, at: Hbm<u16>) -> Hbm<f32> {
    let out = nc.hbm([32, 20]);
    let picked = nc.sbuf([32, 20]);
    nc.local_gather(picked, nc.load(x), nc.load(at)).num_elem_per_idx(4).num_valid_indices(5);
    nc.store(out, picked);
    out
}

#[test]
fn local_gather_takes_blocks_and_some_indices() {
    let x = numbers(DType::F32, &[32, 20]);
    let cells: Vec<f64> = (0..64).map(|i| f64::from(i * 5 % 17)).collect();
    let at = from_f64(DType::U16, &[32, 2], &cells).unwrap();
    let v = to_f64(&x);
    let want = (0..32 * 20).map(|i| {
        let (p, t, j) = (i / 20, i % 20 / 4, i % 4);
        v[p * 20 + cells[(p / 16 * 16 + t % 16) * 2 + t / 16] as usize + j]
    });
    let want = [want.collect()];
    all_modes(Target::Trn1, &want, |m, t| blocks_by_index::specialize(&x, &at).run(m, t).unwrap());
}

#[nki::kernel]
fn segments(nc: Nc, ids: Hbm<f32>) -> Hbm<i32> {
    let n = ids.shape()[1];
    let out = nc.hbm([1, 2, n]);
    let bounds = nc.sbuf::<i32>([1, 2, n]);
    nc.sequence_bounds(bounds, nc.load(ids));
    nc.store(out, bounds);
    out
}

#[test]
fn sequence_bounds_are_those_of_the_example() {
    let ids = from_f64(DType::F32, &[1, 4], &[0.0, 1.0, 1.0, 2.0]).unwrap();
    let want = [vec![4.0, 1.0, 1.0, 3.0, -1.0, 3.0, 3.0, 4.0]];
    all_modes(Target::Trn2, &want, |m, t| segments::specialize(&ids).run(m, t).unwrap());
}

#[nki::kernel]
fn compacted(nc: Nc, x: Hbm<f32>) -> Hbm<i32> {
    let [p, n] = x.dims();
    let out = nc.hbm([p, n + 1]);
    let found = nc.full::<i32>([p, n + 1], 5.0);
    nc.nonzero_with_count(found, nc.load(x)).index_offset(100).padding_val(-7);
    nc.store(out, found);
    out
}

#[test]
fn nonzeros_are_compacted_in_every_sixteenth_row() {
    let x = numbers(DType::F32, &[20, 9]);
    let v = to_f64(&x);
    let mut want = vec![5.0; 200];
    for p in [0, 16] {
        let found: Vec<usize> = (0..9).filter(|f| v[p * 9 + f] != 0.0).collect();
        for f in 0..9 {
            want[p * 10 + f] = found.get(f).map_or(-7.0, |at| (*at + 100) as f64);
        }
        want[p * 10 + 9] = found.len() as f64;
    }
    all_modes(Target::Trn2, &[want], |m, t| compacted::specialize(&x).run(m, t).unwrap());
}

#[nki::kernel]
fn largest(nc: Nc, x: Hbm<bf16>) -> (Hbm<bf16>, Hbm<u32>) {
    let (values, places) = (nc.hbm([16, 3]), nc.hbm([16, 3]));
    let (v, i) = (nc.sbuf([16, 3]), nc.sbuf([16, 3]));
    nc.topk(v, i, nc.load(x), 20);
    nc.store(values, v);
    nc.store(places, i);
    (values, places)
}

#[test]
fn topk_searches_a_snake_over_partitions() {
    // Element i is at partition i mod 16, column i div 16: values 0, 3, 6, .., modulo 19.
    let mut cells = vec![99.0; 32];
    (0..20).for_each(|i| cells[i % 16 * 2 + i / 16] = (i * 3 % 19) as f64);
    let x = from_f64(DType::BF16, &[16, 2], &cells).unwrap();
    // 18 at 6, 17 at 12, 16 at 18; ascending.
    let (values, places) = ([16.0, 17.0, 18.0].repeat(16), [18.0, 12.0, 6.0].repeat(16));
    all_modes(Target::Trn3, &[values, places], |m, t| largest::specialize(&x).run(m, t).unwrap());
}

#[nki::kernel]
fn reductions(nc: Nc, x: Hbm<f32>) -> ([Hbm<f32>; 4], Hbm<i32>) {
    let [p, a, b] = x.dims();
    let out = [nc.hbm([1, a * b]), nc.hbm([p, a, 1]), nc.hbm([p, 1]), nc.hbm([p, 1])];
    let bits = nc.hbm([p, a * b]);
    let x = nc.load(x);
    let flat = x.reshape([p, a * b]);
    let across = nc.sbuf::<f32>([1, a * b]);
    nc.tensor_partition_reduce(across, Alu::Maximum, flat);
    nc.store(out[0], across);
    let kept = nc.sbuf::<f32>([p, a, 1]);
    nc.tensor_reduce(kept, Alu::Add, x).axis(&[2]).keepdims(true).negate(true);
    nc.store(out[1], kept);
    let (same, negated) = (flat.empty_like(), nc.sbuf::<f32>([p, 1]));
    nc.tensor_scalar_reduce(same, flat, Alu::Multiply, 2.0, Alu::Maximum)
        .reduce_res(negated)
        .reduce_res_negate(true);
    nc.store(out[2], negated);
    nc.store(out[3], same.mean());
    nc.store(bits, flat.bitcast::<i32>());
    (out, bits)
}

#[test]
fn reductions_with_every_option() {
    let (p, a, b) = (4, 3, 4);
    let x = numbers(DType::F32, &[p, a, b]);
    let v = to_f64(&x);
    let rows = || v.chunks(a * b);
    let max = |r: &mut dyn Iterator<Item = f64>| r.fold(f64::MIN, f64::max);
    let want = [
        (0..a * b).map(|f| max(&mut rows().map(|r| r[f]))).collect(),
        v.chunks(b).map(|r| -r.iter().sum::<f64>()).collect(),
        rows().map(|r| -max(&mut r.iter().map(|x| 2.0 * x))).collect(),
        rows().map(|r| f64::from((r.iter().sum::<f64>() * 2.0) as f32 * (1.0 / (a * b) as f32))).collect(),
        v.iter().map(|x| f64::from((*x as f32).to_bits() as i32)).collect(),
    ];
    all_modes(Target::Trn2, &want, |m, t| reductions::specialize(&x).run(m, t).unwrap());
}

#[nki::kernel]
fn by_register(nc: Nc, x: Hbm<f32>, start: Hbm<i32>, at: Hbm<i32>) -> [Hbm<f32>; 2] {
    assert_eq!(nc.program_ndim(), 0);
    let n = x.shape()[1];
    let out = [nc.hbm([2, n]), nc.hbm([3, n])];
    let r = nc.register_alloc::<i32>(0);
    nc.register_load(r, start.at((1..2,)));
    nc.store(out[0], nc.load(x.at((ds(r, 2), ..))));
    let rows = nc.sbuf::<f32>([3, n]);
    nc.dma_copy(rows, x.ap(&[[n as i64, 3], [1, n as i64]], 0).vector_offset(nc.load(at)));
    nc.store(out[1], rows);
    out
}

#[test]
fn registers_and_index_tiles_give_rows() {
    let x = numbers(DType::F32, &[9, 5]);
    let start = from_f64(DType::I32, &[3], &[0.0, 6.0, 1.0]).unwrap();
    let at = from_f64(DType::I32, &[3, 1], &[8.0, 0.0, 4.0]).unwrap();
    let row = |r: usize| to_f64(&x)[r * 5..r * 5 + 5].to_vec();
    let want = [[row(6), row(7)].concat(), [row(8), row(0), row(4)].concat()];
    all_modes(Target::Trn1, &want, |m, t| by_register::specialize(&x, &start, &at).run(m, t).unwrap());
}

#[nki::kernel]
fn products(nc: Nc, a: Hbm<f32>, b: Hbm<f32>) -> [Hbm<f32>; 2] {
    let (m, n) = (a.shape()[1], b.shape()[1]);
    let out = [nc.hbm([m, n]), nc.hbm([m, n])];
    let (at, bt) = (nc.sbuf::<f32>(a.shape()), nc.sbuf::<f32>(b.shape()));
    nc.dma_copy(at, a).dge_mode(DgeMode::Hwdge).issue_from(Engine::Scalar);
    nc.dma_copy(bt, b).priority(3);
    nc.store(out[0], nc.matmul_t(at, bt).to::<f32>());
    let acc = nc.psum([m, n]);
    nc.nc_matmul(acc, at, bt.greater(0.0)).is_moving_onezero(true);
    nc.store(out[1], acc.to::<f32>());
    out
}

#[test]
fn products_with_every_option() {
    let (k, m, n) = (11, 3, 5);
    let (a, b) = (numbers(DType::F32, &[k, m]), numbers(DType::F32, &[k, n]));
    let (av, bv) = (to_f64(&a), to_f64(&b));
    let product = |f: &dyn Fn(f64) -> f64| {
        let cell = |i: usize| (0..k).map(|c| av[c * m + i / n] * f(bv[c * n + i % n])).sum::<f64>();
        (0..m * n).map(cell).collect::<Vec<_>>()
    };
    let want = [product(&|x| x), product(&|x| f64::from(u8::from(x > 0.0)))];
    all_modes(Target::Trn3, &want, |m, t| products::specialize(&a, &b).run(m, t).unwrap());
}

#[nki::kernel]
fn array_rows(nc: Nc, a: Hbm<bf16>, upper: bool) -> Hbm<f32> {
    use nki::f8e4m3fn_x4;
    let n = a.shape()[1] / 4;
    let out = nc.hbm([n, n]);
    let a = nc.load(a);
    let (q, s) = (nc.sbuf::<f8e4m3fn_x4>([64, n]), nc.sbuf::<u8>([64, n]));
    nc.quantize_mx(q, a, s);
    let acc = nc.psum([n, n]);
    let part = if upper { 32..64 } else { 0..32 };
    let (q, s) = (q.at((part.clone(), ..)), s.at((part, ..)));
    nc.nc_matmul_mx(acc, q, q, s, s).row_tile(if upper { 32 } else { 0 }, 32);
    nc.store(out, acc.to::<f32>());
    out
}

#[test]
fn mx_products_use_a_part_of_the_array() {
    // Powers of two are exact in every format.
    let cells: Vec<f64> = (0..64 * 16).map(|i| [0.0, 1.0, 2.0, -1.0, 0.5][(i * 3 + i / 16) % 5]).collect();
    let a = from_f64(DType::BF16, &[64, 16], &cells).unwrap();
    for upper in [false, true] {
        let rows = if upper { 32..64 } else { 0..32 };
        let cell = |i: usize| {
            let lanes = rows.clone().flat_map(|k| (0..4).map(move |j| (k, j)));
            lanes.map(|(k, j)| cells[k * 16 + i / 4 * 4 + j] * cells[k * 16 + i % 4 * 4 + j]).sum::<f64>()
        };
        let want = [(0..16).map(cell).collect()];
        all_modes(Target::Trn3, &want, |m, t| array_rows::specialize(&a, upper).run(m, t).unwrap());
    }
}

#[nki::kernel]
fn seeded(nc: Nc, x: Hbm<f32>, seed: Hbm<i32>) -> [Hbm<f32>; 2] {
    let out = [nc.hbm(x.shape()), nc.hbm(x.shape())];
    let (x, seed) = (nc.load(x), nc.load(seed));
    for out in out {
        nc.set_rng_seed(seed);
        let y = nc.sbuf::<f32>(x.shape());
        nc.dropout(y, x, 0.5);
        nc.store(out, y);
    }
    out
}

#[test]
fn equal_seeds_drop_the_same_elements() {
    let x = from_f64(DType::F32, &[4, 50], &[1.0; 200]).unwrap();
    let run = |seed: f64, mode| {
        let seed = from_f64(DType::I32, &[1, 1], &[seed]).unwrap();
        let got = seeded::specialize(&x, &seed).run(mode, Target::Trn2).unwrap();
        got.tensors().iter().map(to_f64).collect::<Vec<_>>()
    };
    let first = run(7.0, Mode::Interp);
    let kept = first[0].iter().filter(|x| **x == 1.0).count();
    assert!((60..140).contains(&kept), "{kept} of 200 elements are kept");
    assert_ne!(first, run(8.0, Mode::Interp));
    for mode in Mode::ALL {
        let got = run(7.0, mode);
        assert_eq!(got[0], got[1], "{mode}");
        assert_eq!(got, first, "{mode}");
    }
}

#[nki::kernel]
fn counted(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    nc.store(out, nc.load(x) + nc.arange::<f32>(x.shape()[1]));
    out
}

#[test]
fn positions_count_from_zero() {
    let x = numbers(DType::F32, &[1, 37]);
    let want = [to_f64(&x).iter().enumerate().map(|(i, v)| v + i as f64).collect()];
    all_modes(Target::Trn1, &want, |m, t| counted::specialize(&x).run(m, t).unwrap());
}

/// Public names that kernels do not call: pieces of a schedule file, which `nki tune` reads.
const NOT_IN_KERNELS: [&str; 2] = ["is_step", "schedule_of"];

/// Every public method of the language is called by a test, a kernel, an example or a page of the book.
#[test]
fn every_public_method_has_a_caller() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    // What the recorder of the value layer calls public is not.
    let private = |path: &std::path::Path| path.ends_with("value/record.rs");
    let read = |path: &str| {
        let (mut out, mut open) = (String::new(), vec![root.join(path)]);
        while let Some(path) = open.pop() {
            if path.is_dir() {
                let entries = std::fs::read_dir(&path).expect("a folder of the repository can be read");
                open.extend(entries.map(|e| e.expect("an entry can be read").path()));
            } else if path.extension().is_some_and(|e| e == "rs" || e == "md") && !private(&path) {
                out += &std::fs::read_to_string(&path).expect("a file of the repository can be read");
            }
        }
        out
    };
    let language: Vec<String> = ["src/isa", "src/value", "src/views", "src/views.rs", "src/control.rs"]
        .into_iter()
        .chain(["src/loops.rs", "src/reg.rs", "src/axes.rs", "src/nc.rs", "src/spmd.rs", "src/steps.rs"])
        .map(read)
        .collect();
    let callers: String =
        ["tests", "kernels/src", "kernels/tests", "examples", "docs/src", "benches"].map(read).concat();
    // Examples in the documentation run as tests.
    let examples: String =
        language.iter().flat_map(|t| t.lines()).filter(|l| l.trim_start().starts_with("//")).collect();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let called = |name: &str| {
        [&callers, &examples].iter().any(|text| {
            text.match_indices(name).any(|(at, _)| {
                let (before, after) = (&text[..at], &text[at + name.len()..]);
                !before.ends_with(part)
                    && !before.ends_with("fn ")
                    && (after.starts_with('(') || after.starts_with("::<"))
            })
        })
    };
    let names = language.iter().flat_map(|t| t.lines()).filter_map(|line| {
        let rest = line.trim_start().strip_prefix("pub fn ")?;
        rest.split(|c| !part(c)).next()
    });
    let mut missing: Vec<&str> = names.filter(|n| !NOT_IN_KERNELS.contains(n) && !called(n)).collect();
    missing.sort_unstable();
    missing.dedup();
    assert!(missing.is_empty(), "nobody calls {missing:?}");
}

#[nki::kernel]
fn filled(nc: Nc, rows: usize, columns: usize) -> (Hbm<i16>, Hbm<f32>) {
    (nc.hbm_full([rows, columns], -3.0), nc.hbm_full([rows * columns], 0.5))
}

#[test]
fn tensors_in_device_memory_are_filled_to_the_last_element() {
    // One element; less than a row; whole rows; a ragged rest behind whole blocks.
    for (rows, columns) in [(1, 1), (7, 73), (128, 512), (331, 1999)] {
        let n = rows * columns;
        let want = [vec![-3.0; n], vec![0.5; n]];
        all_modes(Target::Trn2, &want, |m, t| filled::specialize(rows, columns).run(m, t).unwrap());
    }
}

#[nki::kernel]
fn every_one(nc: Nc, x: Hbm<f32>, column: Hbm<f32>) -> (Hbm<f32>, Hbm<f32>) {
    let outs = (nc.hbm([3, 1]), nc.hbm([3, 1]));
    nc.store(outs.0, nc.load(x).all());
    nc.store(outs.1, nc.load(column).all());
    outs
}

#[test]
fn all_is_0_or_1_even_of_a_single_element() {
    let x = Tensor::from_f32(&[3, 2], &[5.0, 3.0, 0.0, 7.0, -2.0, 0.5]).unwrap();
    let column = Tensor::from_f32(&[3, 1], &[5.0, 0.0, -2.0]).unwrap();
    let want = [vec![1.0, 0.0, 1.0], vec![1.0, 0.0, 1.0]];
    all_modes(Target::Trn1, &want, |m, t| every_one::specialize(&x, &column).run(m, t).unwrap());
}
