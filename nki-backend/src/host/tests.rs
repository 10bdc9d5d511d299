//! Hand-built kernels against values derived here.

use super::{HostKernel, HostOptions};
use nki_ir::builder::Builder;
use nki_ir::diag::Code;
use nki_ir::kernel::{Accumulate, Attr, Bound, BufData, BufKind, Operand, Space};
use nki_ir::{ActFn, Affine, AxisSlice, Buf, DType, Index, Kernel, Loc, Op, Target, Tensor, Var, View};
use smallvec::SmallVec;

fn compile_kernel(kernel: Kernel, target: Target) -> Result<HostKernel, nki_ir::Diagnostics> {
    super::compile_kernel(kernel, target, &HostOptions::default())
}

fn buf(name: &str, space: Space, dtype: DType, shape: [u32; 2], kind: BufKind) -> BufData {
    BufData::new(name, space, dtype, &shape, kind, Loc(0))
}

fn view(buf: Buf, dtype: DType, axes: [(Affine, u32); 2]) -> Operand {
    let axes: SmallVec<_> = axes.into_iter().map(|(start, count)| AxisSlice::range(start, count)).collect();
    Operand::View(View { buf, dtype, index: Index::Slice(axes), dynamic: None })
}

fn at(i: usize) -> Affine {
    Affine::constant(i as i64)
}

fn inst(b: &mut Builder, op: Op, operands: Vec<Operand>, attrs: &[(&str, Attr)]) {
    let mut data = Builder::template(op, Loc(0));
    for (slot, operand) in data.operands.iter_mut().zip(operands) {
        *slot = operand;
    }
    for (name, value) in attrs {
        data.attrs[op.row().attr(name).unwrap()] = value.clone();
    }
    b.inst(data);
}

/// `out[m, n] = relu(sum over k lhs_t[k, m] rhs[k, n])` with K in tiles of 128 in a loop, and a ragged tail behind it.
fn matmul(dtype: DType, [m, n, k]: [u32; 3]) -> Kernel {
    let mut b = Builder::new("matmul");
    let lhs = b.param(buf("lhs_t", Space::Hbm, dtype, [k, m], BufKind::Input));
    let rhs = b.param(buf("rhs", Space::Hbm, dtype, [k, n], BufKind::Input));
    let out = b.param(buf("out", Space::Hbm, dtype, [m, n], BufKind::Output));
    let acc = b.alloc(buf("acc", Space::Psum, DType::F32, [m, n], BufKind::Private));
    let turn = |b: &mut Builder, start: Affine, rows: u32, accumulate: Accumulate| {
        let a = b.alloc(buf("a", Space::Sbuf, dtype, [rows, m], BufKind::Private));
        let x = b.alloc(buf("x", Space::Sbuf, dtype, [rows, n], BufKind::Private));
        for (tile, tensor, cols) in [(a, lhs, m), (x, rhs, n)] {
            let src = view(tensor, dtype, [(start.clone(), rows), (at(0), cols)]);
            inst(b, Op::DmaCopy, vec![view(tile, dtype, [(at(0), rows), (at(0), cols)]), src], &[]);
        }
        let operands = vec![
            view(acc, DType::F32, [(at(0), m), (at(0), n)]),
            view(a, dtype, [(at(0), rows), (at(0), m)]),
            view(x, dtype, [(at(0), rows), (at(0), n)]),
        ];
        inst(b, Op::NcMatmul, operands, &[("accumulate", Attr::Accumulate(accumulate))]);
    };
    let full = k / 128;
    if full > 0 {
        let (_, ki): (_, Var) = b.begin_for("ki", Bound::Const(0), Bound::Const(full.into()), 1, Loc(0));
        let first = Accumulate::UnlessFirst(SmallVec::from_slice(&[ki]));
        turn(&mut b, Affine::var(ki).scale(128).unwrap(), 128, first);
        b.end();
    }
    if !k.is_multiple_of(128) {
        let mode = if full > 0 { Accumulate::Add } else { Accumulate::Overwrite };
        turn(&mut b, at(full as usize * 128), k % 128, mode);
    }
    let y = b.alloc(buf("y", Space::Sbuf, dtype, [m, n], BufKind::Private));
    let all = |x, dtype| view(x, dtype, [(at(0), m), (at(0), n)]);
    inst(
        &mut b,
        Op::Activation,
        vec![all(y, dtype), all(acc, DType::F32)],
        &[("op", Attr::Act(ActFn::Relu))],
    );
    inst(&mut b, Op::DmaCopy, vec![all(out, dtype), all(y, dtype)], &[]);
    b.finish()
}

/// Small integers, so that sums are exact in every dtype and order.
fn integers(dtype: DType, shape: [usize; 2], salt: usize) -> (Tensor, Vec<i64>) {
    let values: Vec<i64> = (0..shape[0] * shape[1]).map(|i| ((i * 7 + salt) % 5) as i64 - 2).collect();
    let mut t = Tensor::zeros(dtype, &shape);
    for (bytes, &v) in t.data.chunks_mut(dtype.bytes()).zip(&values) {
        let bits = nki_ir::sem::cast::down(dtype, v as f32).to_le_bytes();
        bytes.copy_from_slice(&bits[..dtype.bytes()]);
    }
    (t, values)
}

#[test]
fn matmul_with_loop_and_tail_is_exact_on_integers() {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for [m, n, k] in [[1, 1, 1], [128, 512, 256], [127, 131, 129], [5, 512, 127], [128, 1, 300]] {
            let native = compile_kernel(matmul(dtype, [m, n, k]), Target::Trn2).unwrap();
            let (m, n, k) = (m as usize, n as usize, k as usize);
            let (lhs, a) = integers(dtype, [k, m], 1);
            let (rhs, x) = integers(dtype, [k, n], 3);
            // Twice: the second call reuses the scratch memory of the first.
            for _ in 0..2 {
                let out = native.run(&[lhs.clone(), rhs.clone()]).unwrap();
                let bits = |c: &[u8]| c.iter().rev().fold(0u32, |v, &b| v << 8 | u32::from(b));
                let got: Vec<f32> = out[0]
                    .data
                    .chunks(dtype.bytes())
                    .map(|c| nki_ir::sem::cast::up(dtype, bits(c)))
                    .collect();
                for i in 0..m {
                    for j in 0..n {
                        let sum: i64 = (0..k).map(|p| a[p * m + i] * x[p * n + j]).sum();
                        let want = nki_ir::sem::cast::down(dtype, sum.max(0) as f32);
                        assert_eq!(got[i * n + j], nki_ir::sem::cast::up(dtype, want), "{dtype} {i} {j}");
                    }
                }
            }
        }
    }
}

#[test]
fn tiles_that_are_not_fully_written_read_as_poison() {
    let mut b = Builder::new("partial");
    let out = b.param(buf("out", Space::Hbm, DType::F32, [2, 4], BufKind::Output));
    let t = b.alloc(buf("t", Space::Sbuf, DType::F32, [2, 4], BufKind::Private));
    let part = view(t, DType::F32, [(at(0), 2), (at(1), 2)]);
    inst(&mut b, Op::Memset, vec![part, Operand::Imm(3.0)], &[]);
    let all = |x| view(x, DType::F32, [(at(0), 2), (at(0), 4)]);
    inst(&mut b, Op::DmaCopy, vec![all(out), all(t)], &[]);
    let native = compile_kernel(b.finish(), Target::Trn2).unwrap();
    let out = native.run(&[]).unwrap();
    let got: Vec<f32> = out[0].data.chunks(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
    for row in got.chunks(4) {
        assert!(row[0].is_nan() && row[3].is_nan() && row[1..3] == [3.0, 3.0], "{row:?}");
    }
}

#[test]
fn an_operand_outside_its_buffer_is_a_fault_and_not_a_write() {
    // The gate rejects this; native code must not rely on it alone.
    let mut b = Builder::new("outside");
    let out = b.param(buf("out", Space::Hbm, DType::F32, [2, 4], BufKind::Output));
    let t = b.alloc(buf("t", Space::Sbuf, DType::F32, [2, 4], BufKind::Private));
    let all = view(t, DType::F32, [(at(0), 2), (at(0), 4)]);
    inst(&mut b, Op::DmaCopy, vec![view(out, DType::F32, [(at(1), 2), (at(0), 4)]), all], &[]);
    let native = compile_kernel(b.finish(), Target::Trn2).unwrap();
    assert_eq!(native.run(&[]).unwrap_err().first_code(), Some(Code::OutOfBounds));
}

#[test]
fn wrong_argument_sizes_are_errors() {
    let native = compile_kernel(matmul(DType::F32, [2, 3, 4]), Target::Trn2).unwrap();
    let mut out = [0u8; 24];
    let error = native.run_bytes(&[&[0; 32], &[0; 47]], &mut [&mut out]).unwrap_err();
    assert_eq!(error.first_code(), Some(Code::Argument));
    assert!(error.to_string().contains("`rhs` has 47 bytes, expected 48"), "{error}");
    assert_eq!(native.run_bytes(&[], &mut []).unwrap_err().first_code(), Some(Code::Argument));
}

/// `out = 2 x` over row tiles in a loop whose turns are independent, with a tile shared by all turns.
fn doubled(rows: u32, cols: u32) -> Kernel {
    let mut b = Builder::new("doubled");
    let x = b.param(buf("x", Space::Hbm, DType::F32, [rows * 3, cols], BufKind::Input));
    let out = b.param(buf("out", Space::Hbm, DType::F32, [rows * 3, cols], BufKind::Output));
    let two = b.alloc(buf("two", Space::Sbuf, DType::F32, [rows, 1], BufKind::Private));
    inst(
        &mut b,
        Op::Memset,
        vec![view(two, DType::F32, [(at(0), rows), (at(0), 1)]), Operand::Imm(2.0)],
        &[],
    );
    let (_, i) = b.begin_for("i", Bound::Const(0), Bound::Const(3), 1, Loc(0));
    let t = b.alloc(buf("t", Space::Sbuf, DType::F32, [rows, cols], BufKind::Private));
    let tile = view(t, DType::F32, [(at(0), rows), (at(0), cols)]);
    let part = |x| view(x, DType::F32, [(Affine::var(i).scale(rows.into()).unwrap(), rows), (at(0), cols)]);
    inst(&mut b, Op::DmaCopy, vec![tile.clone(), part(x)], &[]);
    let factor = view(two, DType::F32, [(at(0), rows), (at(0), 1)]);
    let op = [("op0", Attr::Alu(nki_ir::AluOp::Multiply))];
    inst(&mut b, Op::TensorScalar, vec![tile.clone(), tile.clone(), factor], &op);
    inst(&mut b, Op::DmaCopy, vec![part(out), tile], &[]);
    b.end();
    b.finish()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    let (x, values) = integers(DType::F32, [3 * 37, 129], 2);
    for threads in [None, Some(1), Some(2), Some(5)] {
        let kernel = doubled(37, 129);
        let native = super::compile_kernel(kernel, Target::Trn2, &HostOptions { threads }).unwrap();
        assert!(native.code.segments().iter().any(|s| s.parallel.is_some_and(|p| p.turns == 3)));
        let out = native.run(std::slice::from_ref(&x)).unwrap();
        for (c, v) in out[0].data.chunks(4).zip(&values) {
            assert_eq!(f32::from_le_bytes(c.try_into().unwrap()), 2.0 * *v as f32, "{threads:?}");
        }
    }
}

#[test]
fn loops_that_carry_a_value_are_not_parallel() {
    // The K loop of a matmul accumulates into one tile.
    let kernel = matmul(DType::F32, [4, 5, 256]);
    assert!(kernel.loops.keys().all(|l| !super::parallel::is_parallel(&kernel, l)));
}
