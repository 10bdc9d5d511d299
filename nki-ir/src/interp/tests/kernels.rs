//! Whole kernels: control flow, storage, addressing, arguments.

use super::super::run::run_kernel;
use super::super::{InterpOptions, Uninitialized};
use super::recorder::*;
use crate::kernel::{Accumulate, Attr, Bound, BufKind, Operand, Space};
use crate::op::OobMode;
use crate::verify::verify;
use crate::view::{Dynamic, View};
use crate::{ActFn, Affine, AluOp, Buf, Code, DType, Op, Target, Tensor};

const K: usize = 96;
const M: usize = 64;
const N: usize = 48;

/// Tiled product with three loops; the accumulating matmul overwrites in the first turn of the contraction loop.
fn matmul() -> Recorder {
    let mut r = Recorder::new();
    let a = r.param("a", BufKind::Input, DType::F32, &[K as u32, M as u32]);
    let b = r.param("b", BufKind::Input, DType::F32, &[K as u32, N as u32]);
    let c = r.param("c", BufKind::Output, DType::F32, &[M as u32, N as u32]);
    let loc = r.loc();
    let (_, mi) = r.b.begin_for("mi", Bound::Const(0), Bound::Const(2), 1, loc);
    let acc = r.tile("acc", Space::Psum, DType::F32, &[32, N as u32]);
    let (_, ki) = r.b.begin_for("ki", Bound::Const(0), Bound::Const(K as i64), 32, loc);
    let at_tile = r.tile("at", Space::Sbuf, DType::F32, &[32, 32]);
    let bt = r.tile("bt", Space::Sbuf, DType::F32, &[32, N as u32]);
    let (to, from) = (r.full(at_tile), slice(a, DType::F32, &[(at(ki, 1), 32), (at(mi, 32), 32)]));
    r.copy(to, from);
    let (to, from) = (r.full(bt), slice(b, DType::F32, &[(at(ki, 1), 32), all(N as u32)]));
    r.copy(to, from);
    let operands = [r.full(acc), r.full(at_tile), r.full(bt)];
    let mode = Accumulate::UnlessFirst([ki].into_iter().collect());
    r.inst(Op::NcMatmul, &operands, &[("accumulate", Attr::Accumulate(mode))]);
    r.b.end();
    let out = r.tile("out", Space::Sbuf, DType::F32, &[32, N as u32]);
    let operands = [r.full(out), r.full(acc)];
    r.inst(Op::TensorCopy, &operands, &[]);
    let (to, from) = (slice(c, DType::F32, &[(at(mi, 32), 32), all(N as u32)]), r.full(out));
    r.copy(to, from);
    r.b.end();
    r
}

#[test]
fn a_tiled_matmul_multiplies() {
    let (a, b) = (ramp(&[K, M]), ramp(&[K, N]));
    let c = run(matmul(), &[a.clone(), b.clone()]).expect("runs");
    let (a, b) = (floats(&a), floats(&b));
    // Small integers: every order of summation is exact.
    let want: Vec<f32> =
        (0..M * N).map(|i| (0..K).map(|k| a[k * M + i / N] * b[k * N + i % N]).sum::<f32>()).collect();
    assert_eq!(floats(&c[0]), want);
}

#[test]
fn the_gate_and_the_interpreter_fit_together() {
    let verified = verify(matmul().b.finish(), Target::Trn2).expect("legal");
    let inputs = [ramp(&[K, M]), ramp(&[K, N])];
    let direct = run(matmul(), &inputs).expect("runs");
    assert_eq!(super::super::run(&verified, &inputs, &InterpOptions::default()).expect("runs"), direct);
}

/// `out = f(x)` on one tile, with `middle` between load and store.
fn around(shape: &[u32], middle: impl FnOnce(&mut Recorder, Operand, Operand)) -> Recorder {
    let mut r = Recorder::new();
    let x = r.param("x", BufKind::Input, DType::F32, shape);
    let y = r.param("y", BufKind::Output, DType::F32, shape);
    let (a, b) = (r.tile("a", Space::Sbuf, DType::F32, shape), r.tile("b", Space::Sbuf, DType::F32, shape));
    let (xs, ys, a, b) = (r.full(x), r.full(y), r.full(a), r.full(b));
    r.copy(a.clone(), xs);
    middle(&mut r, b.clone(), a);
    r.copy(ys, b);
    r
}

#[test]
fn unwritten_storage_is_reported_with_names_and_places() {
    let kernel = || around(&[2, 3], |_, _, _| {}).b.finish();
    let d = run_kernel(&kernel(), Target::Trn2, &[ramp(&[2, 3])], &InterpOptions::default()).unwrap_err();
    let d = d.iter().next().expect("one").clone();
    assert_eq!(d.code, Code::Uninitialized);
    assert_eq!(d.message, "src `b` is read but partition 0, element 0 was never written");
    // Lines count what is recorded: parameters 1 and 2, tiles 3 and 4, copies 5 and 6.
    assert_eq!(d.at.map(|at| at.line), Some(6));
    assert_eq!(d.related[0].0.line, 4);

    let lenient = InterpOptions { uninitialized: Uninitialized::Warn, ..InterpOptions::default() };
    let out = run_with(&kernel(), &[ramp(&[2, 3])], &lenient).expect("a warning only");
    assert!(floats(&out.outputs[0]).iter().all(|x| x.is_nan()));
    assert_eq!(out.warnings.iter().map(|w| w.code).collect::<Vec<_>>(), [Code::Uninitialized]);
}

#[test]
fn arguments_outside_a_functions_range_are_reported_once_and_still_computed() {
    let logarithms = |inputs: &[f32]| {
        let kernel = around(&[1, inputs.len() as u32], |r, b, a| {
            let operands = [b, a, Operand::Imm(0.0), Operand::Imm(2.0)];
            r.inst(Op::Activation, &operands, &[("op", Attr::Act(ActFn::Log))]);
        });
        let input = Tensor::from_f32(&[1, inputs.len()], inputs).expect("as many as the shape");
        run_with(&kernel.b.finish(), &[input], &InterpOptions::default()).expect("a warning only")
    };
    // The limit is 2^64 after the scale of 2, and NaN is no argument.
    let (least, most) = (2f32.powi(-65), 2f32.powi(63));
    assert!(logarithms(&[least, most, f32::NAN]).warnings.is_empty());
    let out = logarithms(&[1.0, 2.0 * most, 0.0]);
    let texts: Vec<_> = out.warnings.iter().map(|w| w.message.as_str()).collect();
    assert_eq!(texts, ["activation: log of 3.689349e19, which is outside [2^-64, 2^64]"]);
    let values = floats(&out.outputs[0]);
    assert!((values[1] - 65.0 * std::f32::consts::LN_2).abs() < 1e-4 && values[2] == f32::NEG_INFINITY);
}

#[test]
fn a_turn_starts_with_fresh_storage() {
    // Each turn writes its own column of a tile that the body allocates, and reads column 0.
    let kernel = |fresh: bool| {
        let mut r = Recorder::new();
        let y = r.param("y", BufKind::Output, DType::F32, &[1, 2]);
        let mut tile = None;
        if !fresh {
            tile = Some(r.tile("t", Space::Sbuf, DType::F32, &[1, 2]));
        }
        let loc = r.loc();
        let (_, i) = r.b.begin_for("i", Bound::Const(0), Bound::Const(2), 1, loc);
        let t = tile.unwrap_or_else(|| r.tile("t", Space::Sbuf, DType::F32, &[1, 2]));
        let column = slice(t, DType::F32, &[all(1), (at(i, 1), 1)]);
        r.inst(Op::Memset, &[column, Operand::Imm(3.0)], &[]);
        let to = slice(y, DType::F32, &[all(1), (at(i, 1), 1)]);
        r.copy(to, slice(t, DType::F32, &[all(1), all(1)]));
        r.b.end();
        r
    };
    assert_eq!(run(kernel(true), &[]), Err(Code::Uninitialized));
    assert_eq!(floats(&run(kernel(false), &[]).expect("column 0 stays written")[0]), [3.0, 3.0]);
}

#[test]
fn outputs_start_poisoned() {
    let mut r = Recorder::new();
    for (name, dtype) in [("f", DType::F32), ("i", DType::I32), ("h", DType::BF16)] {
        r.param(name, BufKind::Output, dtype, &[2]);
    }
    let out = run(r, &[]).expect("nothing to do");
    assert!(floats(&out[0]).iter().all(|x| x.is_nan()));
    assert_eq!(out[1].data, [4, 0, 0, 0, 4, 0, 0, 0]);
    assert_eq!(out[2].data, [0xc0, 0x7f, 0xc0, 0x7f]);
}

#[test]
fn inouts_come_in_and_go_out() {
    let mut r = Recorder::new();
    let x = r.param("x", BufKind::InOut, DType::F32, &[2, 2]);
    let t = r.tile("t", Space::Sbuf, DType::F32, &[2, 2]);
    let (xs, ts) = (r.full(x), r.full(t));
    r.copy(ts.clone(), xs.clone());
    let double = [("op0", Attr::Alu(AluOp::Multiply))];
    r.inst(Op::TensorScalar, &[ts.clone(), ts.clone(), Operand::Imm(2.0)], &double);
    r.copy(xs, ts);
    let x = Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("sizes agree");
    assert_eq!(floats(&run(r, &[x]).expect("runs")[0]), [2.0, 4.0, 6.0, 8.0]);
}

#[test]
fn arguments_are_checked_by_name() {
    let kernel = || matmul().b.finish();
    let errors = |inputs: &[Tensor]| {
        let found = run_kernel(&kernel(), Target::Trn2, inputs, &InterpOptions::default()).unwrap_err();
        found.iter().map(|d| (d.code, d.message.clone())).collect::<Vec<_>>()
    };
    let (a, b) = (ramp(&[K, M]), ramp(&[K, N]));
    assert_eq!(
        errors(std::slice::from_ref(&a)),
        [(Code::Argument, "kernel `k` takes 2 tensors, got 1".to_string())]
    );
    let half = Tensor::zeros(DType::BF16, &[K, N]);
    let found = errors(&[ramp(&[M, K]), half]);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].1, "`a` is f32[96, 64], got f32[64, 96]");
    assert_eq!(found[1].1, "`b` is f32[96, 48], got bf16[96, 48]");
    let short = Tensor { data: vec![0; 5], ..b };
    assert_eq!(errors(&[a, short]), [(Code::Argument, "`b` has 18432 bytes of data, got 5".to_string())]);
}

#[test]
fn faults_have_a_place() {
    let kernel = around(&[2, 3], |r, b, a| {
        r.inst(Op::Activation, &[b, a], &[("op", Attr::Act(ActFn::Prelu))]);
    });
    let d = run_kernel(&kernel.b.finish(), Target::Trn2, &[ramp(&[2, 3])], &InterpOptions::default())
        .unwrap_err();
    let d = d.iter().next().expect("one");
    assert_eq!((d.code, d.at.as_ref().map(|at| at.line)), (Code::Operator, Some(6)));
    assert!(d.message.starts_with("activation: "), "{}", d.message);
}

#[test]
fn depth_costs_no_stack() {
    let mut r = Recorder::new();
    let y = r.param("y", BufKind::Output, DType::F32, &[1, 1]);
    let depth = 100_000;
    let loc = r.loc();
    for _ in 0..depth {
        r.b.begin_no_reorder(loc);
    }
    let t = r.tile("t", Space::Sbuf, DType::F32, &[1, 1]);
    let (t, y) = (r.full(t), r.full(y));
    r.inst(Op::Memset, &[t.clone(), Operand::Imm(1.5)], &[]);
    r.copy(y, t);
    (0..depth).for_each(|_| r.b.end());
    assert_eq!(floats(&run(r, &[]).expect("runs")[0]), [1.5]);
}

#[test]
fn steps_can_be_limited() {
    let mut r = Recorder::new();
    let loc = r.loc();
    r.b.begin_for("i", Bound::Const(0), Bound::Const(i64::MAX), 1, loc);
    r.b.end();
    let limited = InterpOptions { max_steps: Some(1000), ..InterpOptions::default() };
    assert_eq!(run_with(&r.b.finish(), &[], &limited).map(|_| ()), Err(Code::Limit));
}

#[test]
fn registers_that_nothing_sets() {
    let mut r = Recorder::new();
    let loc = r.loc();
    let n = r.b.reg("n", DType::I32, loc);
    r.b.begin_while(n, loc);
    r.b.end();
    assert_eq!(run(r, &[]), Err(Code::Uninitialized));
}

/// Rows of `table` by an index tile of four rows.
fn gather(dynamic: impl Fn(View) -> Dynamic, mode: OobMode, rows: u32) -> Recorder {
    let mut r = Recorder::new();
    let table = r.param("table", BufKind::Input, DType::F32, &[5, 2]);
    let index = r.param("index", BufKind::Input, DType::I32, &[rows, 1]);
    let y = r.param("y", BufKind::Output, DType::F32, &[rows, 2]);
    let (it, t) =
        (r.tile("it", Space::Sbuf, DType::I32, &[rows, 1]), r.tile("t", Space::Sbuf, DType::F32, &[rows, 2]));
    let (ixs, its, ts, ys) = (r.full(index), r.full(it), r.full(t), r.full(y));
    r.copy(its.clone(), ixs);
    r.inst(Op::Memset, &[ts.clone(), Operand::Imm(-1.0)], &[]);
    let Operand::View(index) = its else { unreachable!("a view") };
    let Operand::View(mut row) = slice(table, DType::F32, &[all(rows), all(2)]) else {
        unreachable!("a view")
    };
    row.dynamic = Some(dynamic(index));
    r.inst(Op::DmaCopy, &[ts.clone(), Operand::View(row)], &[("oob_mode", Attr::Oob(mode))]);
    r.copy(ys, ts);
    r
}

fn indices(values: &[i32]) -> Tensor {
    let data = values.iter().flat_map(|x| x.to_le_bytes()).collect();
    Tensor { dtype: DType::I32, shape: vec![values.len(), 1], data }
}

#[test]
fn rows_by_an_index_tile() {
    let table =
        Tensor::from_f32(&[5, 2], &[0., 1., 10., 11., 20., 21., 30., 31., 40., 41.]).expect("sizes agree");
    let vector = |index| Dynamic::Vector { index: Box::new(index) };
    let fetch = |mode, values: &[i32]| {
        run(gather(vector, mode, 4), &[table.clone(), indices(values)]).map(|out| floats(&out[0]))
    };
    assert_eq!(fetch(OobMode::Error, &[4, 0, 2, 2]), Ok(vec![40., 41., 0., 1., 20., 21., 20., 21.]));
    for bad in [5, -1, i32::MAX, i32::MIN] {
        assert_eq!(fetch(OobMode::Error, &[4, 0, bad, 2]), Err(Code::RuntimeIndex));
        assert_eq!(fetch(OobMode::Skip, &[4, 0, bad, 2]), Ok(vec![40., 41., 0., 1., -1., -1., 20., 21.]));
    }
    assert_eq!(fetch(OobMode::Skip, &[-1; 4]), Ok(vec![-1.; 8]));

    // A scalar index moves the whole view.
    let scalar = |index| Dynamic::Scalar { index: Box::new(index), axis: 0 };
    let fetch = |mode, value| {
        run(gather(scalar, mode, 1), &[table.clone(), indices(&[value])]).map(|out| floats(&out[0]))
    };
    assert_eq!(fetch(OobMode::Error, 3), Ok(vec![30., 31.]));
    assert_eq!(fetch(OobMode::Error, 5), Err(Code::RuntimeIndex));
    assert_eq!(fetch(OobMode::Skip, -3), Ok(vec![-1., -1.]));
}

#[test]
fn views_outside_their_buffer_are_errors() {
    for (start, rows) in [(1, 2), (-1, 2), (0, 3)] {
        let kernel = around(&[2, 3], |r, b, _| {
            let Operand::View(b) = b else { unreachable!("a view") };
            let view = slice(b.buf, DType::F32, &[(Affine::constant(start), rows), all(3)]);
            r.inst(Op::Memset, &[view, Operand::Imm(0.0)], &[]);
        });
        assert_eq!(run(kernel, &[ramp(&[2, 3])]), Err(Code::OutOfBounds), "{start} {rows}");
    }
    // A row too long must not run into the next partition.
    let kernel = around(&[2, 3], |r, b, _| {
        let Operand::View(b) = b else { unreachable!("a view") };
        let view = slice(b.buf, DType::F32, &[all(1), (Affine::constant(1), 3)]);
        r.inst(Op::Memset, &[view, Operand::Imm(0.0)], &[]);
    });
    assert_eq!(run(kernel, &[ramp(&[2, 3])]), Err(Code::OutOfBounds));
    let mut r = Recorder::new();
    r.inst(Op::Memset, &[slice(Buf(7), DType::F32, &[all(1), all(1)]), Operand::Imm(0.0)], &[]);
    assert_eq!(run(r, &[]), Err(Code::Undefined));
}
