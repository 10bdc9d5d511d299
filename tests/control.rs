//! Registers and control flow on data, through the front door: every mode gives what plain Rust gives.

use nki::args::to_f64;
use nki::ir::op::OobMode;
use nki::ir::{Code, DType, Tensor};
use nki::prelude::*;

const MODES: [Mode; 4] = Mode::ALL;

fn floats(shape: &[usize], values: impl IntoIterator<Item = f32>) -> Tensor {
    let values: Vec<f32> = values.into_iter().collect();
    Tensor::from_f32(shape, &values).unwrap()
}

fn ints(shape: &[usize], values: impl IntoIterator<Item = i32>) -> Tensor {
    let mut t = Tensor::zeros(DType::I32, shape);
    t.data = values.into_iter().flat_map(i32::to_le_bytes).collect();
    t
}

fn codes(e: nki::ir::Diagnostics) -> Vec<Code> {
    e.into_iter().map(|d| d.code).collect()
}

/// The sum of the first `n` rows, `n` being data.
#[nki::kernel]
fn sum_rows(nc: Nc, x: Hbm<f32>, n: Hbm<i32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([1, columns]);
    let sum = nc.zeros::<f32>([1, columns]);
    let count = nc.register(n);
    for i in nc.range_dyn(count, rows) {
        let row = nc.load(x.at((i..i + 1, ..)));
        nc.tensor_tensor(sum, sum, row, Alu::Add);
    }
    nc.store(out, sum);
    out
}

#[test]
fn trip_counts_come_from_a_tensor() {
    let x = floats(&[7, 5], (0..35).map(|i| i as f32 / 4.0));
    for n in [0, 1, 3, 7, -2] {
        let want: Vec<f64> =
            (0..5).map(|c| (0..n.max(0)).map(|r| f64::from(r * 5 + c) / 4.0).sum()).collect();
        for mode in MODES {
            let got = sum_rows::specialize(&x, &ints(&[1], [n])).run(mode, Target::Trn2);
            assert_eq!(to_f64(&got.unwrap_or_else(|e| panic!("{mode} {n}: {e}"))[0]), want, "{mode} {n}");
        }
    }
    for mode in MODES {
        let error = sum_rows::specialize(&x, &ints(&[1], [8])).run(mode, Target::Trn2).unwrap_err();
        assert_eq!(codes(error), [Code::RuntimeIndex], "{mode}");
    }
}

/// Steps of Collatz's sequence until 1, and the largest value on the way.
#[nki::kernel]
fn collatz(nc: Nc, start: Hbm<i32>) -> (Hbm<i32>, Hbm<i32>) {
    let (steps, largest) = (nc.hbm([1, 1]), nc.hbm([1, 1]));
    let x = nc.load(start);
    let (count, top) = (nc.zeros::<i32>([1, 1]), nc.sbuf::<i32>([1, 1]));
    nc.tensor_copy(top, x);
    let (flag, half, back) = (nc.sbuf::<i32>([1, 1]), nc.sbuf::<i32>([1, 1]), nc.sbuf::<i32>([1, 1]));
    nc.tensor_scalar(flag, x, Alu::NotEqual, 1.0);
    let go_on = nc.register(flag);
    nc.while_loop(go_on, || {
        nc.tensor_scalar(half, x, Alu::Multiply, 0.5);
        nc.tensor_scalar(back, half, Alu::Multiply, 2.0);
        nc.tensor_tensor(flag, back, x, Alu::NotEqual);
        let odd = nc.register(flag);
        nc.when(odd, || {
            nc.tensor_scalar(x, x, Alu::Multiply, 3.0).then(Alu::Add, 1.0);
        })
        .otherwise(|| {
            nc.tensor_copy(x, half);
        });
        nc.tensor_tensor(top, top, x, Alu::Maximum);
        nc.tensor_scalar(count, count, Alu::Add, 1.0);
        nc.tensor_scalar(flag, x, Alu::NotEqual, 1.0);
        nc.register(flag)
    });
    nc.store(steps, count);
    nc.store(largest, top);
    (steps, largest)
}

#[test]
fn a_while_loop_ends_on_data() {
    for start in [1, 2, 3, 6, 11] {
        let (mut x, mut steps, mut top) = (start, 0, start);
        while x != 1 {
            x = if x % 2 == 1 { 3 * x + 1 } else { x / 2 };
            (steps, top) = (steps + 1, top.max(x));
        }
        for mode in MODES {
            let got = collatz::specialize(&ints(&[1, 1], [start])).run(mode, Target::Trn2);
            let got = got.unwrap_or_else(|e| panic!("{mode} {start}: {e}"));
            let got: Vec<f64> = (0..2).flat_map(|i| to_f64(&got[i])).collect();
            assert_eq!(got, [f64::from(steps), f64::from(top)], "{mode} {start}");
        }
    }
}

/// `out[i, j] = x[j, :]` for the rows `j` in `from..to` step 2, `i` counting all turns; then a triangle of nested loops.
#[nki::kernel]
fn nested(nc: Nc, x: Hbm<f32>, bounds: Hbm<i32>) -> (Hbm<f32>, Hbm<i32>) {
    let [rows, columns] = x.dims();
    let out = nc.hbm([1, columns]);
    let trace = nc.hbm([1, 4]);
    let sum = nc.zeros::<f32>([1, columns]);
    let last = nc.zeros::<i32>([1, 4]);
    let from = nc.register(bounds.at((0..1,)));
    let to = nc.register(bounds.at((1..2,)));
    for i in nc.range_dyn(to, rows).from(from).step(2) {
        // From 0 up to and including i.
        for j in nc.range_dyn(i + 1, rows) {
            let row = nc.load(x.at((j..j + 1, ..)));
            nc.tensor_tensor(sum, sum, row, Alu::Add);
            let r = nc.register_alloc::<i32>(j * 10 + i);
            nc.register_store(last.at((.., 0..1)), r);
        }
        let r = nc.register_alloc::<i32>(None);
        nc.register_move(r, from);
        nc.register_store(last.at((.., 1..2)), r);
    }
    nc.store(out, sum);
    nc.store(trace, last);
    (out, trace)
}

#[test]
fn dynamic_loops_nest_and_depend_on_each_other() {
    let x = floats(&[9, 3], (0..27).map(|i| i as f32));
    for (from, to) in [(0, 0), (0, 1), (1, 9), (4, 7), (8, 3)] {
        let (mut sum, mut trace) = ([0.0; 3], [0.0; 4]);
        for i in (from..to).step_by(2) {
            for j in 0..=i {
                (0..3).for_each(|c| sum[c] += f64::from(j * 3 + c as i32));
                trace[0] = f64::from(j * 10 + i);
            }
            trace[1] = f64::from(from);
        }
        for mode in MODES {
            let got = nested::specialize(&x, &ints(&[2], [from, to])).run(mode, Target::Trn2);
            let got = got.unwrap_or_else(|e| panic!("{mode} {from} {to}: {e}"));
            assert_eq!(to_f64(&got[0]), sum, "{mode} {from} {to}");
            assert_eq!(to_f64(&got[1]), trace, "{mode} {from} {to}");
        }
    }
    for mode in MODES {
        let error = nested::specialize(&x, &ints(&[2], [-1, 4])).run(mode, Target::Trn2).unwrap_err();
        assert_eq!(codes(error), [Code::RuntimeIndex], "{mode}");
    }
}

/// A key-value cache: row `at` of the cache is replaced, then rows `at..at + 2` and one column of a tile are read.
#[nki::kernel]
fn update(nc: Nc, #[inout] cache: Hbm<f32>, new: Hbm<f32>, at: Hbm<i32>) -> (Hbm<f32>, Hbm<f32>) {
    let [rows, columns] = cache.dims();
    let (window, column) = (nc.hbm([2, columns]), nc.hbm([rows, 1]));
    let at_tile = nc.load(at);
    let position = nc.register(at_tile);
    nc.store(cache.at((ds(position, 1), ..)), nc.load(new));
    nc.store(window, nc.load(cache.at((ds(at_tile, 2), ..))));
    let tile = nc.load(cache);
    let picked = nc.sbuf::<f32>([rows, 1]);
    nc.tensor_copy(picked, tile.at((.., ds(position, 1))));
    nc.store(column, picked);
    (window, column)
}

#[test]
fn slices_start_where_a_register_says() {
    let (rows, columns) = (6, 5);
    let content = floats(&[rows, columns], (0..30).map(|i| i as f32));
    let new = floats(&[1, columns], (0..5).map(|i| -(i as f32)));
    for at in [0, 1, 4] {
        let mut want = to_f64(&content);
        (0..columns).for_each(|c| want[at * columns + c] = -(c as f64));
        let column: Vec<f64> = (0..rows).map(|r| want[r * columns + at]).collect();
        for mode in MODES {
            let got = update::specialize(&content, &new, &ints(&[1, 1], [at as i32])).run(mode, Target::Trn2);
            let got = got.unwrap_or_else(|e| panic!("{mode} {at}: {e}"));
            assert_eq!(to_f64(&got[0]), want[at * columns..][..2 * columns], "{mode} {at}");
            assert_eq!(to_f64(&got[1]), column, "{mode} {at}");
            assert_eq!(to_f64(&got[2]), want, "{mode} {at}");
        }
    }
    // The window leaves the cache; the column leaves its tile, which is smaller than a partition; before the start.
    for at in [5, 6, -1] {
        for mode in MODES {
            let error =
                update::specialize(&content, &new, &ints(&[1, 1], [at])).run(mode, Target::Trn2).unwrap_err();
            assert_eq!(codes(error), [Code::RuntimeIndex], "{mode} {at}");
        }
    }
}

/// Rows of a table by an index tile, and the other way round.
#[nki::kernel]
fn gather(nc: Nc, table: Hbm<f32>, index: Hbm<i32>, skip: bool) -> (Hbm<f32>, Hbm<f32>) {
    let ([rows, columns], [n, _]) = (table.dims(), index.dims());
    let (gathered, scattered) = (nc.hbm([n, columns]), nc.hbm([rows, columns]));
    let mode = if skip { OobMode::Skip } else { OobMode::Error };
    let index = nc.load(index);
    let tile = nc.sbuf::<f32>([n, columns]);
    nc.memset(tile, -1.0);
    nc.dma_copy(tile, table.vector_select(index)).oob_mode(mode);
    nc.store(gathered, tile);
    let blank = nc.zeros::<f32>([rows, columns]);
    nc.store(scattered, blank);
    nc.dma_copy(scattered.vector_select(index), tile).oob_mode(mode);
    (gathered, scattered)
}

#[test]
fn rows_are_gathered_and_scattered_by_an_index_tile() {
    let (rows, columns) = (5, 3);
    let table = floats(&[rows, columns], (0..15).map(|i| i as f32));
    for (index, inside) in [(vec![4, 0, 2, 2], true), (vec![1, 5, -1, 3, 70_000, 0, 0], false)] {
        let n = index.len();
        let (mut want, mut back) = (vec![-1.0; n * columns], vec![0.0; rows * columns]);
        for (p, &i) in index.iter().enumerate().filter(|(_, i)| (0..rows as i32).contains(i)) {
            for c in 0..columns {
                want[p * columns + c] = (i as usize * columns + c) as f64;
                back[i as usize * columns + c] = want[p * columns + c];
            }
        }
        let arguments = ints(&[n, 1], index.iter().copied());
        for mode in MODES {
            for skip in [true, false] {
                let got = gather::specialize(&table, &arguments, skip).run(mode, Target::Trn2);
                if !inside && !skip {
                    assert_eq!(codes(got.unwrap_err()), [Code::RuntimeIndex], "{mode}");
                    continue;
                }
                let got = got.unwrap_or_else(|e| panic!("{mode} {index:?}: {e}"));
                assert_eq!(to_f64(&got[0]), want, "{mode} {index:?}");
                assert_eq!(to_f64(&got[1]), back, "{mode} {index:?}");
            }
        }
    }
}

#[test]
fn the_ir_of_control_flow_reads_back() {
    let (x, b) = (floats(&[9, 3], (0..27).map(|i| i as f32)), ints(&[2], [1, 5]));
    for kernel in [
        nested::specialize(&x, &b).trace(),
        collatz::specialize(&ints(&[1, 1], [3])).trace(),
        update::specialize([6, 5], [1, 5], [1, 1]).trace(),
    ] {
        let text = nki::ir::text::print(&kernel.unwrap().kernel);
        let again = nki::ir::text::parse(&text, "again.nkir").unwrap();
        assert_eq!(nki::ir::text::print(&again), text);
    }
}

/// Prints what it computes, and asserts that it is positive.
#[nki::kernel]
fn told(nc: Nc, x: Hbm<f32>, n: Hbm<i32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let y = nc.load(x);
    nc.device_print("before", y);
    let count = nc.register(n);
    for _ in nc.range_dyn(count, 3) {
        nc.tensor_scalar(y, y, Alu::Add, 1.0);
        nc.device_print("turn", y.at((.., 0..1)));
    }
    let positive = nc.sbuf::<i32>(x.shape());
    nc.tensor_scalar(positive, y, Alu::Greater, 0.0);
    nc.assert(positive, "everything is positive");
    nc.store(out, y);
    nc.device_print("result", out);
    out
}

#[test]
fn prints_come_in_order_with_their_place_in_every_mode() {
    let x = floats(&[2, 2], [1.0, -1.0, 0.5, 3.0]);
    for mode in MODES {
        let run = || told::specialize(&x, &ints(&[1], [2])).run(mode, Target::Trn2);
        let (result, printed) = nki::ir::print::capture(run);
        assert!(result.is_ok(), "{mode}: {result:?}");
        let got: Vec<(&str, Vec<f64>)> =
            printed.iter().map(|p| (p.text.as_str(), to_f64(&p.tensor))).collect();
        let want = [
            ("before", vec![1.0, -1.0, 0.5, 3.0]),
            ("turn", vec![2.0, 1.5]),
            ("turn", vec![3.0, 2.5]),
            ("result", vec![3.0, 1.0, 2.5, 5.0]),
        ];
        assert_eq!(got, want, "{mode}");
        assert_eq!(printed[3].tensor.shape, [2, 2], "{mode}");
        for p in &printed {
            let at = p.at.as_ref().unwrap_or_else(|| panic!("{mode}: without a place"));
            assert!(at.file.ends_with("control.rs"), "{mode}: {at}");
        }
        assert!(printed[1].to_string().starts_with("turn: f32[2, 1] at "), "{}", printed[1]);
        let run = || told::specialize(&x, &ints(&[1], [0])).run(mode, Target::Trn2);
        let (result, _) = nki::ir::print::capture(run);
        let error = result.unwrap_err();
        assert_eq!(error.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::Assert], "{mode}");
        assert!(error.to_string().contains("everything is positive"), "{mode}: {error}");
    }
}

/// One view of each kind, stored one after the other.
#[nki::kernel]
fn views(nc: Nc, x: Hbm<f32>, at: Hbm<i32>) -> (Hbm<f32>, Hbm<f32>, Hbm<f32>, Hbm<f32>) {
    let (a, b, c, d) = (nc.hbm([4, 3]), nc.hbm([4, 6]), nc.hbm([2, 6]), nc.hbm([2, 3]));
    let tile = nc.load(x);
    assert!(x.is_contiguous() && !tile.slice(1, 0..5, 2).is_contiguous());
    assert_eq!(tile.get_pattern(), [[6, 4], [1, 6]]);
    assert_eq!(x.slice(0, 1..4, 2).get_pattern(), [[12, 2], [1, 6]]);
    nc.store(a, tile.slice(1, 1..6, 2).copy());
    let parts = tile.reshape_dim(1, &[-1, 2]).flatten_dims(1, 2).expand_dim(1).squeeze_dim(1);
    nc.store(b, parts.copy());
    let row = nc.register(at);
    // Rows `row` and `row + 2` of the tensor.
    nc.store(c, nc.load(x.ap(&[[12, 2], [1, 6]], 0).scalar_offset(row, 0)));
    // Row `row` as two rows of three.
    nc.store(d, nc.load(x.select(0, row).reshape([2, 3])));
    (a, b, c, d)
}

#[test]
fn views_select_what_they_say() {
    let x = floats(&[4, 6], (0..24).map(|i| i as f32));
    let rows = |list: &[usize]| -> Vec<f64> {
        list.iter().flat_map(|r| (0..6).map(move |c| (r * 6 + c) as f64)).collect()
    };
    for mode in MODES {
        let got = views::specialize(&x, &ints(&[1], [1])).run(mode, Target::Trn2);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        let odd: Vec<f64> = (0..4).flat_map(|r| [1, 3, 5].map(|c| f64::from(r * 6 + c))).collect();
        assert_eq!(to_f64(&got[0]), odd, "{mode}");
        assert_eq!(to_f64(&got[1]), rows(&[0, 1, 2, 3]), "{mode}");
        assert_eq!(to_f64(&got[2]), rows(&[1, 3]), "{mode}");
        assert_eq!(to_f64(&got[3]), rows(&[1]), "{mode}");
    }
}

/// Each program fills its half.
#[nki::kernel]
fn halves(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    let share = rows / nc.num_programs();
    let first = nc.program_id(0) * share;
    nc.store(out.at((first..first + share, ..)), nc.load(x.at((first..first + share, ..))));
    out
}

#[test]
fn programs_are_specialised_one_by_one() {
    let x = floats(&[4, 2], (0..8).map(|i| i as f32));
    let alone = halves::specialize(&x).run(Mode::Interp, Target::Trn2).unwrap();
    assert_eq!(to_f64(&alone[0]), to_f64(&x));
    let text = |id| {
        let traced = halves::specialize(&x).program(id, 2).trace().unwrap();
        nki::ir::text::print(&traced.kernel)
    };
    assert!(text(0).contains("%x[0:2, :]") && text(1).contains("%x[2:4, :]"), "{}", text(1));
    let both = halves::specialize(&x).program(1, 2);
    assert_eq!(codes(both.verify(Target::Trn1).unwrap_err()), [Code::Target]);
    assert_eq!(codes(both.compile(Mode::Interp, Target::Trn2).unwrap_err()), [Code::Parameter]);
    assert_eq!(codes(halves::specialize(&x).program(2, 2).trace().unwrap_err()), [Code::Parameter]);
}
