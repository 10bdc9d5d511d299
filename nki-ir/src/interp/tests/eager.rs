//! The store of the eager mode: immediate execution, and accumulation by what PSUM holds (isa.md section 13).

use super::super::{EagerStore, InterpOptions};
use super::recorder::*;
use crate::kernel::{Attr, BufKind, Operand, Space};
use crate::view::{Dynamic, View};
use crate::{AluOp, Buf, Code, DType, Op, Target, Tensor};

/// A recorder whose instructions are executed at once.
struct Eager {
    r: Recorder,
    store: EagerStore,
}

impl Eager {
    fn new(target: Target) -> Eager {
        Eager { r: Recorder::new(), store: EagerStore::new(target, &InterpOptions::default()) }
    }
    fn tile(&mut self, name: &str, space: Space, shape: &[u32]) -> Buf {
        let buf = self.r.tile(name, space, DType::F32, shape);
        self.store.alloc(self.r.b.kernel(), buf).expect("memory");
        buf
    }
    fn set(&mut self, buf: Buf, values: &[f32]) {
        let view = self.view(buf);
        let shape: Vec<usize> = self.r.b.kernel().bufs[buf].shape.iter().map(|&n| n as usize).collect();
        let tensor = Tensor::from_f32(&shape, values).expect("sizes agree");
        self.store.write(self.r.b.kernel(), &view, &tensor).expect("fits");
    }
    fn get(&mut self, buf: Buf) -> Result<Vec<f32>, Code> {
        let view = self.view(buf);
        self.store.read(self.r.b.kernel(), &view).map(|t| floats(&t)).map_err(|d| d.code)
    }
    fn view(&self, buf: Buf) -> View {
        View::full(buf, &self.r.b.kernel().bufs[buf])
    }
    fn exec(&mut self, op: Op, operands: &[Operand], attrs: &[(&str, Attr)]) -> Result<(), Code> {
        let inst = self.r.inst(op, operands, attrs);
        self.store.exec(self.r.b.kernel(), &inst).map_err(|d| d.code)
    }
}

/// Two 1 x 1 factors of 3 and a PSUM tile of two columns.
fn product(target: Target) -> (Eager, [Operand; 2], Buf) {
    let mut e = Eager::new(target);
    let (a, b) = (e.tile("a", Space::Sbuf, &[1, 1]), e.tile("b", Space::Sbuf, &[1, 2]));
    e.set(a, &[3.0]);
    e.set(b, &[1.0, 2.0]);
    let acc = e.tile("acc", Space::Psum, &[1, 2]);
    let operands = [Operand::View(e.view(a)), Operand::View(e.view(b))];
    (e, operands, acc)
}

fn multiply(e: &mut Eager, dst: Operand, [a, b]: &[Operand; 2]) -> Result<(), Code> {
    e.exec(Op::NcMatmul, &[dst, a.clone(), b.clone()], &[])
}

#[test]
fn matmuls_overwrite_first_and_then_add() {
    let (mut e, factors, acc) = product(Target::Trn2);
    let dst = Operand::View(e.view(acc));
    for turn in 1..4 {
        multiply(&mut e, dst.clone(), &factors).expect("legal");
        assert_eq!(e.get(acc), Ok(vec![3.0 * turn as f32, 6.0 * turn as f32]));
    }
    // A fresh tile starts again.
    e.store.alloc(e.r.b.kernel(), acc).expect("memory");
    multiply(&mut e, dst, &factors).expect("legal");
    assert_eq!(e.get(acc), Ok(vec![3.0, 6.0]));
}

#[test]
fn each_element_decides_for_itself() {
    let (mut e, factors, acc) = product(Target::Trn2);
    let first = slice(acc, DType::F32, &[all(1), all(1)]);
    let Operand::View(b) = &factors[1] else { unreachable!("a view") };
    let one = [factors[0].clone(), slice(b.buf, DType::F32, &[all(1), all(1)])];
    multiply(&mut e, first, &one).expect("legal");
    let dst = Operand::View(e.view(acc));
    multiply(&mut e, dst, &factors).expect("legal");
    assert_eq!(e.get(acc), Ok(vec![6.0, 6.0]));
    let warnings: Vec<Code> = e.store.take_warnings().iter().map(|d| d.code).collect();
    assert_eq!(warnings, [Code::Accumulate]);
}

/// memset(0) counts as fresh on gen2 and gen3, other values cannot be added to; gen4 adds to anything.
#[test]
fn what_others_wrote() {
    for (target, value, want) in [
        (Target::Trn1, 0.0, Ok(vec![3.0, 6.0])),
        (Target::Trn2, 0.0, Ok(vec![3.0, 6.0])),
        (Target::Trn2, 5.0, Err(Code::Accumulate)),
        (Target::Trn3, 0.0, Ok(vec![3.0, 6.0])),
        (Target::Trn3, 5.0, Ok(vec![8.0, 11.0])),
    ] {
        let (mut e, factors, acc) = product(target);
        let dst = Operand::View(e.view(acc));
        e.exec(Op::Memset, &[dst.clone(), Operand::Imm(value)], &[]).expect("legal");
        let got = multiply(&mut e, dst, &factors).and_then(|()| e.get(acc));
        assert_eq!(got, want, "{target} {value}");
    }
}

/// Flags belong to bytes: an element half overwritten through a narrower view is no matmul result (isa.md 13.2).
#[test]
fn half_an_element() {
    let (mut e, factors, acc) = product(Target::Trn2);
    let dst = Operand::View(e.view(acc));
    multiply(&mut e, dst.clone(), &factors).expect("legal");
    let half = crate::Pattern {
        part: crate::Affine::constant(0),
        parts: 1,
        offset: crate::Affine::constant(3),
        dims: [crate::Dim { stride: 1, count: 1 }].into_iter().collect(),
    };
    let view = View { buf: acc, dtype: DType::BF16, index: crate::Index::Pattern(half), dynamic: None };
    e.exec(Op::Memset, &[Operand::View(view), Operand::Imm(1.0)], &[]).expect("legal");
    assert_eq!(multiply(&mut e, dst, &factors), Err(Code::Accumulate));
}

#[test]
fn reading_does_not_restart_accumulation() {
    let (mut e, factors, acc) = product(Target::Trn2);
    let dst = Operand::View(e.view(acc));
    let out = e.tile("out", Space::Sbuf, &[1, 2]);
    let copied = Operand::View(e.view(out));
    multiply(&mut e, dst.clone(), &factors).expect("legal");
    e.exec(Op::TensorCopy, &[copied, dst.clone()], &[]).expect("legal");
    multiply(&mut e, dst, &factors).expect("legal");
    assert_eq!((e.get(out), e.get(acc)), (Ok(vec![3.0, 6.0]), Ok(vec![6.0, 12.0])));
}

#[test]
fn tiles_are_read_and_written_through_views() {
    let mut e = Eager::new(Target::Trn2);
    let t = e.tile("t", Space::Sbuf, &[2, 3]);
    assert_eq!(e.get(t), Err(Code::Uninitialized));
    let Operand::View(column) = slice(t, DType::F32, &[all(2), (crate::Affine::constant(1), 1)]) else {
        unreachable!("a view")
    };
    let values = Tensor::from_f32(&[2, 1], &[7.0, 8.0]).expect("sizes agree");
    e.store.write(e.r.b.kernel(), &column, &values).expect("fits");
    let back = e.store.read(e.r.b.kernel(), &column).expect("written");
    assert_eq!((back.shape.clone(), floats(&back)), (vec![2, 1], vec![7.0, 8.0]));
    assert_eq!(e.get(t), Err(Code::Uninitialized));
    let wrong = e.store.write(e.r.b.kernel(), &column, &Tensor::zeros(DType::F32, &[3, 1]));
    assert_eq!(wrong.map_err(|d| d.code), Err(Code::Shape));
    let wrong = e.store.write(e.r.b.kernel(), &column, &Tensor::zeros(DType::BF16, &[2, 1]));
    assert_eq!(wrong.map_err(|d| d.code), Err(Code::Dtype));
    e.store.free(t);
    assert_eq!(e.get(t), Err(Code::Escape));
}

#[test]
fn parameters_variables_and_registers() {
    let mut e = Eager::new(Target::Trn2);
    let x = e.r.param("x", BufKind::Input, DType::F32, &[4, 2]);
    let loc = e.r.loc();
    let reg = e.r.b.reg("row", DType::I32, loc);
    let t = e.tile("t", Space::Sbuf, &[1, 2]);
    let rows = Tensor::from_f32(&[4, 2], &[0., 1., 10., 11., 20., 21., 30., 31.]).expect("sizes agree");
    let wrong = e.store.bind(e.r.b.kernel(), x, &Tensor::zeros(DType::F32, &[2, 4]));
    assert_eq!(wrong.map_err(|d| d.code), Err(Code::Argument));
    e.store.bind(e.r.b.kernel(), x, &rows).expect("fits");

    let (_, i) = e.r.b.begin_for("i", crate::kernel::Bound::Const(0), crate::kernel::Bound::Const(4), 1, loc);
    let ts = Operand::View(e.view(t));
    for turn in 0..4 {
        e.store.set_var(i, turn, turn == 0);
        let row = slice(x, DType::F32, &[(at(i, 1), 1), all(2)]);
        e.exec(Op::DmaCopy, &[ts.clone(), row], &[]).expect("legal");
        assert_eq!(e.get(t), Ok(vec![turn as f32 * 10.0, turn as f32 * 10.0 + 1.0]));
    }

    let Operand::View(mut row) = slice(x, DType::F32, &[all(1), all(2)]) else { unreachable!("a view") };
    row.dynamic = Some(Dynamic::Register { reg, axis: 0 });
    let operands = [ts, Operand::View(row)];
    assert_eq!(e.exec(Op::DmaCopy, &operands, &[]), Err(Code::Uninitialized));
    e.store.set_reg(reg, 2);
    e.exec(Op::DmaCopy, &operands, &[]).expect("legal");
    assert_eq!(e.get(t), Ok(vec![20.0, 21.0]));
    e.store.set_reg(reg, 4);
    assert_eq!(e.exec(Op::DmaCopy, &operands, &[]), Err(Code::RuntimeIndex));
}

#[test]
fn reduce_registers_live_between_instructions() {
    let mut e = Eager::new(Target::Trn2);
    let (t, sum) = (e.tile("t", Space::Sbuf, &[1, 2]), e.tile("sum", Space::Sbuf, &[1, 1]));
    e.set(t, &[1.0, 2.0]);
    let (ts, sums) = (Operand::View(e.view(t)), Operand::View(e.view(sum)));
    let step = |e: &mut Eager, cmd| {
        let attrs = [
            ("op0", Attr::Alu(AluOp::Add)),
            ("reduce_op", Attr::Alu(AluOp::Add)),
            ("reduce_cmd", Attr::ReduceCmd(cmd)),
        ];
        let operands = [ts.clone(), ts.clone(), Operand::Imm(1.0), sums.clone()];
        e.exec(Op::TensorScalarReduce, &operands, &attrs).and_then(|()| e.get(sum))
    };
    use crate::op::ReduceCmd::{Reduce, ResetReduce};
    assert_eq!(step(&mut e, Reduce), Err(Code::ReduceCmd));
    assert_eq!(step(&mut e, ResetReduce), Ok(vec![5.0]));
    assert_eq!(step(&mut e, Reduce), Ok(vec![5.0 + 7.0]));
}
