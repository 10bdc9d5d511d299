//! Automatic decisions on small kernels, for gen2/gen3 and gen4.

use super::*;
use crate::affine::Affine;
use crate::builder::Builder;
use crate::diag::Code;
use crate::dtype::DType;
use crate::entity::Reg;
use crate::kernel::{Bound, BufData, BufKind, Operand};
use crate::loc::Loc;
use crate::op::Op;
use crate::view::{AxisSlice, Index, View};

struct K {
    b: Builder,
    a: Buf,
    matmuls: Vec<Inst>,
}

impl K {
    fn new() -> K {
        let mut b = Builder::new("k");
        let a = b.alloc(BufData::new("a", Space::Sbuf, DType::BF16, &[128, 512], BufKind::Private, Loc(0)));
        K { b, a, matmuls: Vec::new() }
    }
    fn acc(&mut self) -> Buf {
        let name = format!("acc{}", self.b.kernel().bufs.len());
        self.b.alloc(BufData::new(&name, Space::Psum, DType::F32, &[128, 512], BufKind::Private, Loc(0)))
    }
    fn range(&mut self, n: i64) -> Var {
        let name = format!("i{}", self.b.kernel().vars.len());
        self.b.begin_for(&name, Bound::Const(0), Bound::Const(n), 1, Loc(0)).1
    }
    fn end(&mut self) {
        self.b.end();
    }
    fn columns(&self, buf: Buf, start: Affine, count: u32) -> View {
        let axes = [AxisSlice::range(Affine::constant(0), 128), AxisSlice::range(start, count)];
        let dtype = self.b.kernel().bufs[buf].dtype;
        View { buf, dtype, index: Index::Slice(axes.into_iter().collect()), dynamic: None }
    }
    fn op(&mut self, op: Op, operands: &[Operand]) -> Inst {
        let mut data = Builder::template(op, Loc(0));
        for (slot, o) in data.operands.iter_mut().zip(operands) {
            *slot = o.clone();
        }
        self.b.inst(data)
    }
    fn matmul_at(&mut self, acc: Buf, start: Affine, count: u32) {
        let (dst, moving) =
            (self.columns(acc, start, count), self.columns(self.a, Affine::constant(0), count));
        let stationary = self.columns(self.a, Affine::constant(0), 128);
        let inst = self.op(Op::NcMatmul, &[dst, stationary, moving].map(Operand::View));
        self.matmuls.push(inst);
    }
    fn matmul(&mut self, acc: Buf) {
        self.matmul_at(acc, Affine::constant(0), 512);
    }
    fn memset(&mut self, acc: Buf, value: f32) {
        let dst = self.columns(acc, Affine::constant(0), 512);
        self.op(Op::Memset, &[Operand::View(dst), Operand::Imm(value)]);
    }
    fn read(&mut self, acc: Buf) {
        let (dst, src) =
            (self.columns(self.a, Affine::constant(0), 512), self.columns(acc, Affine::constant(0), 512));
        self.op(Op::TensorCopy, &[dst, src].map(Operand::View));
    }
    /// The decisions of all matmuls in order, or the code of the first error.
    fn decisions(self, target: Target) -> Result<Vec<Accumulate>, Code> {
        let mut kernel = self.b.finish();
        let found = resolve(&mut kernel, target);
        match found.first_code() {
            Some(code) => Err(code),
            None => Ok(self.matmuls.iter().map(|i| accumulate(&kernel.insts[*i]).unwrap().clone()).collect()),
        }
    }
}

use Accumulate::{Add, Overwrite};

fn unless(vars: &[Var]) -> Accumulate {
    Accumulate::UnlessFirst(vars.iter().copied().collect())
}

#[test]
fn straight_line_overwrites_then_adds() {
    let mut k = K::new();
    let acc = k.acc();
    k.matmul(acc);
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn2), Ok(vec![Overwrite, Add]));
}

#[test]
fn a_loop_inside_the_scope_sums_and_its_tail_adds() {
    let mut k = K::new();
    k.range(4);
    let acc = k.acc();
    let ki = k.range(7);
    k.matmul(acc);
    k.matmul(acc);
    k.end();
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn1), Ok(vec![unless(&[ki]), Add, Add]));
}

#[test]
fn a_loop_with_one_turn_does_not_count() {
    let mut k = K::new();
    let acc = k.acc();
    k.range(1);
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn2), Ok(vec![Overwrite]));
}

#[test]
fn a_variable_that_moves_the_result_is_not_summed_over() {
    for (moving_outside, want_first) in [(true, 1), (false, 0)] {
        let mut k = K::new();
        let acc = k.acc();
        let (x, y) = (k.range(4), k.range(4));
        let (moving, sum) = if moving_outside { (x, y) } else { (y, x) };
        k.matmul_at(acc, Affine::var(moving).scale(128).unwrap(), 128);
        assert_eq!(k.decisions(Target::Trn2), Ok(vec![unless(&[sum])]), "{want_first}");
    }
}

#[test]
fn nested_sums_overwrite_in_the_first_turn_of_both() {
    let mut k = K::new();
    let acc = k.acc();
    let (x, y) = (k.range(3), k.range(3));
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn2), Ok(vec![unless(&[x, y])]));
}

#[test]
fn a_memset_to_zero_starts_a_sum() {
    for (target, want) in [(Target::Trn1, None), (Target::Trn2, None), (Target::Trn3, Some(Add))] {
        let mut k = K::new();
        let acc = k.acc();
        k.range(3);
        k.memset(acc, 0.0);
        let j = k.range(3);
        k.matmul(acc);
        assert_eq!(k.decisions(target), Ok(vec![want.unwrap_or(unless(&[j]))]), "{target}");
    }
}

#[test]
fn adding_to_other_data_needs_gen4() {
    for (target, want) in [(Target::Trn2, Err(Code::Accumulate)), (Target::Trn3, Ok(vec![Add]))] {
        let mut k = K::new();
        let acc = k.acc();
        k.memset(acc, 1.0);
        k.matmul(acc);
        assert_eq!(k.decisions(target), want, "{target}");
    }
}

#[test]
fn partial_overlap_is_refused() {
    let mut k = K::new();
    let acc = k.acc();
    k.matmul_at(acc, Affine::constant(0), 256);
    k.matmul_at(acc, Affine::constant(128), 256);
    assert_eq!(k.decisions(Target::Trn2), Err(Code::Accumulate));
    // Sliding windows: each turn adds to half of what the last one wrote.
    let mut k = K::new();
    let acc = k.acc();
    let i = k.range(3);
    k.matmul_at(acc, Affine::var(i).scale(64).unwrap(), 128);
    assert_eq!(k.decisions(Target::Trn2), Err(Code::Accumulate));
}

#[test]
fn a_sum_that_goes_on_after_a_read_warns() {
    let mut k = K::new();
    let acc = k.acc();
    let i = k.range(3);
    k.matmul(acc);
    k.read(acc);
    let mut kernel = k.b.finish();
    let found = resolve(&mut kernel, Target::Trn2);
    assert!(!found.has_errors() && found.iter().count() == 1, "{found}");
    assert_eq!(accumulate(&kernel.insts[k.matmuls[0]]), Some(&unless(&[i])));
}

#[test]
fn while_loops_and_branches_need_an_explicit_decision_only_when_paths_differ() {
    let mut k = K::new();
    let cond: Reg = k.b.reg("c", DType::I32, Loc(0));
    k.b.begin_while(cond, Loc(0));
    let inside = k.acc();
    k.matmul(inside);
    assert_eq!(k.decisions(Target::Trn2), Ok(vec![Overwrite]));

    let mut k = K::new();
    let cond: Reg = k.b.reg("c", DType::I32, Loc(0));
    let outside = k.acc();
    k.b.begin_while(cond, Loc(0));
    k.matmul(outside);
    assert_eq!(k.decisions(Target::Trn2), Err(Code::Accumulate));

    let mut k = K::new();
    let cond: Reg = k.b.reg("c", DType::I32, Loc(0));
    let acc = k.acc();
    let l = k.b.begin_if(cond, Loc(0));
    k.matmul(acc);
    k.b.begin_otherwise(l);
    k.matmul(acc);
    k.end();
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn2), Ok(vec![Overwrite, Overwrite, Add]));

    let mut k = K::new();
    let cond: Reg = k.b.reg("c", DType::I32, Loc(0));
    let acc = k.acc();
    k.b.begin_if(cond, Loc(0));
    k.matmul(acc);
    k.end();
    k.matmul(acc);
    assert_eq!(k.decisions(Target::Trn2), Err(Code::Accumulate));
}

#[test]
fn explicit_decisions_are_held_against_the_trace() {
    let explicit = |vars: fn(Var, Var) -> Accumulate, target: Target| {
        let mut k = K::new();
        let i = k.range(3);
        let acc = k.acc();
        let j = k.range(3);
        k.matmul(acc);
        let mut kernel = k.b.finish();
        set(&mut kernel.insts[k.matmuls[0]], vars(i, j));
        let flat = Flat::new(&kernel).unwrap();
        let out = RefCell::new(Diagnostics::new());
        check(&kernel, &flat, target, &out);
        out.into_inner().first_code()
    };
    for target in Target::ALL {
        assert_eq!(explicit(|_, j| unless(&[j]), target), None);
        assert_eq!(explicit(|_, _| Overwrite, target), None);
        assert_eq!(explicit(|_, _| Add, target), Some(Code::Accumulate));
        assert_eq!(explicit(|i, _| unless(&[i]), target), Some(Code::Accumulate));
        assert_eq!(explicit(|i, j| unless(&[i, j]), target), Some(Code::Accumulate));
    }
}
