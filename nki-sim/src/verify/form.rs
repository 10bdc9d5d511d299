//! Instructions against the op table.

use super::{Checker, place, shape};
use crate::program::{Access, MAccumulate, MInst, MKind, MOperand, SeqReg};
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::{Attr, BufKind, Space};
use nki_ir::op::{AttrKind, DgeMode, Effect, Engine, Op, OperandKind, OperandSpec, TimingClass};
use nki_ir::target::Gen;

/// Whether `attr` is a value of `kind`.
fn attr_fits(kind: AttrKind, attr: &Attr) -> bool {
    matches!(
        (kind, attr),
        (AttrKind::Bool, Attr::Bool(_))
            | (AttrKind::Int, Attr::Int(_))
            | (AttrKind::F32, Attr::F32(_))
            | (AttrKind::Ints, Attr::Ints(_))
            | (AttrKind::Pairs, Attr::Pairs(_))
            | (AttrKind::Alu, Attr::Alu(_))
            | (AttrKind::Act, Attr::Act(_))
            | (AttrKind::ReduceCmd, Attr::ReduceCmd(_))
            | (AttrKind::Accumulate, Attr::Accumulate(_))
            | (AttrKind::Oob, Attr::Oob(_))
            | (AttrKind::Dge, Attr::Dge(_))
            | (AttrKind::Engine, Attr::Engine(_))
            | (AttrKind::MatmulPerf, Attr::MatmulPerf(_))
            | (AttrKind::Text, Attr::Text(_))
    )
}

fn operand_fits(spec: &OperandSpec, o: &MOperand) -> bool {
    match o {
        MOperand::None => spec.optional,
        MOperand::Access(_) => !matches!(spec.kind, OperandKind::Reg | OperandKind::IntOrReg),
        MOperand::Imm(_) => matches!(spec.kind, OperandKind::ScalarOrVec | OperandKind::TileOrScalar),
        MOperand::Int(_) => {
            matches!(spec.kind, OperandKind::ScalarOrVec | OperandKind::TileOrScalar | OperandKind::IntOrReg)
        }
        MOperand::Reg(_) => matches!(spec.kind, OperandKind::Reg | OperandKind::IntOrReg),
    }
}

pub(super) fn instruction(c: &mut Checker, inst: &MInst) {
    waits_and_signals(c, inst);
    match &inst.kind {
        MKind::Compute { op, operands, attrs, accumulate } => {
            if op.row().timing == TimingClass::Dma {
                return c.error(Code::Form, "a transfer is not a data instruction of an engine".into());
            }
            engine(c, *op);
            if row(c, *op, operands, attrs) {
                compute(c, *op, operands, attrs, accumulate);
            }
        }
        MKind::Dma { op, operands, attrs, queue, dge } => {
            if op.row().timing != TimingClass::Dma {
                return c.error(Code::Form, format!("{op} is not a transfer"));
            }
            transfer(c, inst, *op, *queue, *dge);
            if row(c, *op, operands, attrs) {
                for (spec, o) in op.row().operands.iter().zip(operands) {
                    if let MOperand::Access(a) = o {
                        operand(c, spec.name, a, spec.effect != Effect::Read, false, spec);
                    }
                }
                shape::transfer(c, *op, operands, *dge);
            }
        }
        MKind::RegLoad { reg, src } => {
            register(c, *reg);
            one_element(c, "src", src, false);
        }
        MKind::RegStore { dst, reg } => {
            register(c, *reg);
            one_element(c, "dst", dst, true);
        }
        MKind::RegMove { reg, src } => {
            register(c, *reg);
            src.terms.iter().for_each(|t| register(c, t.0));
            let v = src.constant;
            if v < i64::from(i32::MIN) || v > i64::from(u32::MAX) {
                c.error(Code::Parameter, format!("{v} does not fit a 32-bit register"));
            }
        }
        MKind::Sync | MKind::For { .. } | MKind::While { .. } | MKind::If { .. } => {}
    }
}

fn engine(c: &mut Checker, op: Op) {
    let target = c.flat.header.target;
    let engine = c.engine;
    if op.row().engines_on(target.generation()).any(|e| e == engine) {
        return;
    }
    let legal: Vec<_> = op.row().engines_on(target.generation()).map(|e| e.name()).collect();
    let message = if legal.is_empty() {
        return c.error(Code::Target, format!("{op} does not exist on {target}"));
    } else {
        format!("{op} does not run on {engine} on {target}, but on {}", legal.join(", "))
    };
    c.report(Diagnostic::error(Code::Engine, message).note(format!("isa.md {}", op.row().section)));
}

/// Operand and attribute lists against the row. False: too malformed to look further.
fn row(c: &mut Checker, op: Op, operands: &[MOperand], attrs: &[Attr]) -> bool {
    let row = op.row();
    if operands.len() != row.operands.len() || attrs.len() != row.attrs.len() {
        c.error(
            Code::Form,
            format!(
                "has {} operands and {} attributes; {op} takes {} and {}",
                operands.len(),
                attrs.len(),
                row.operands.len(),
                row.attrs.len()
            ),
        );
        return false;
    }
    let mut good = true;
    for (spec, o) in row.operands.iter().zip(operands) {
        if !operand_fits(spec, o) {
            good = false;
            let what = if *o == MOperand::None { "is missing" } else { "has a form that is not legal here" };
            c.error(Code::Form, format!("operand `{}` {what}", spec.name));
        }
        if let MOperand::Reg(r) = o {
            register(c, *r);
        }
    }
    for (spec, a) in row.attrs.iter().zip(attrs) {
        let left_out = *a == Attr::None && spec.default.is_some();
        if !left_out && !attr_fits(spec.kind, a) {
            good = false;
            c.error(Code::Form, format!("attribute `{}` must be given, as {:?}", spec.name, spec.kind));
        }
    }
    good
}

fn compute(c: &mut Checker, op: Op, operands: &[MOperand], attrs: &[Attr], accumulate: &MAccumulate) {
    for (spec, o) in op.row().operands.iter().zip(operands) {
        if let MOperand::Access(a) = o {
            // The sequencer addresses memory as transfers do.
            let engine = c.engine != Engine::Sync;
            operand(c, spec.name, a, spec.effect != Effect::Read, engine, spec);
        }
    }
    if let MAccumulate::UnlessFirst(regs) = accumulate {
        for (r, _) in regs {
            register(c, *r);
        }
    }
    if *accumulate != MAccumulate::Overwrite && op.row().timing != TimingClass::Matmul {
        c.error(Code::Accumulate, "only a matmul accumulates".into());
    }
    shape::compute(c, op, operands, attrs);
}

/// Memory, read-only, place.
fn operand(c: &mut Checker, name: &str, a: &Access, writes: bool, engine: bool, spec: &OperandSpec) {
    let memory =
        spec.memories.contains(a.space) && !(c.engine == Engine::GpSimd && engine && a.space == Space::Psum);
    if !memory {
        let who = if engine { c.engine } else { Engine::Dma };
        let d = Diagnostic::error(
            Code::Memory,
            format!("`{name}` is in {}, which {who} cannot use here", a.space),
        );
        return c.report(d.note("isa.md section 8, G5 to G7"));
    }
    // Scales start at offsets in a quadrant (isa.md 9.1.2).
    place::access(c, name, a, writes, engine && spec.kind != OperandKind::Scales);
    if writes && a.space == Space::Hbm && is_input(c, a) {
        let what = c.object_name(a.space, a.object);
        c.error(Code::ReadOnly, format!("writes {what}, an input of the kernel"));
    }
}

fn is_input(c: &Checker, a: &Access) -> bool {
    let t = a.object.and_then(|o| c.flat.header.tensors.get(o as usize));
    t.is_some_and(|t| t.kind == BufKind::Input)
}

fn one_element(c: &mut Checker, name: &str, a: &Access, writes: bool) {
    let n = a.dims.iter().fold(u64::from(a.partitions), |n, d| n.saturating_mul(d.count.into()));
    if n != 1 {
        c.error(Code::Shape, format!("`{name}` has {n} elements; a register holds one"));
    }
    if a.space == Space::Psum {
        c.error(Code::Memory, format!("`{name}` is in psum, which sequencers cannot reach"));
    }
    place::access(c, name, a, writes, false);
    if writes && a.space == Space::Hbm && is_input(c, a) {
        let what = c.object_name(a.space, a.object);
        c.error(Code::ReadOnly, format!("writes {what}, an input of the kernel"));
    }
}

fn transfer(c: &mut Checker, inst: &MInst, op: Op, queue: u8, dge: DgeMode) {
    let target = c.flat.header.target;
    if usize::from(queue) >= crate::constants::DMA_RINGS {
        c.error(Code::Parameter, format!("queue {queue} does not exist; an engine has 16 rings"));
    }
    match (dge, c.engine) {
        (DgeMode::Unknown, _) => c.error(Code::Form, "the descriptor mode is not resolved".into()),
        (DgeMode::Hwdge, _) if target.generation() == Gen::Gen2 => {
            c.error(Code::Target, format!("{target} has no hardware descriptor generation"))
        }
        (DgeMode::Hwdge, Engine::Scalar | Engine::Sync) => {}
        (DgeMode::Hwdge, e) => c.error(
            Code::Engine,
            format!("{e} cannot command hardware descriptor generation; scalar and sync can"),
        ),
        (DgeMode::Swdge, Engine::GpSimd) => {}
        (DgeMode::Swdge, e) => {
            c.error(Code::Engine, format!("{e} cannot make software descriptors; gpsimd does"))
        }
        (DgeMode::None, _) => {}
    }
    for s in &inst.signals {
        if s.add != crate::constants::DMA_ENGINES as u32 {
            c.error(
                Code::Semaphore,
                format!(
                    "{op} adds {} to s{}; a transfer adds 1 from each of the 16 DMA engines",
                    s.add, s.sem.0
                ),
            );
        }
    }
}

pub(super) fn waits_and_signals(c: &mut Checker, inst: &MInst) {
    let n = c.flat.header.semaphores;
    let sems = inst.waits.iter().map(|w| w.sem).chain(inst.signals.iter().map(|s| s.sem));
    for s in sems.filter(|s| s.0 >= n) {
        c.error(Code::Semaphore, format!("s{} is not among the program's {n} semaphores", s.0));
    }
    for w in &inst.waits {
        for (r, _) in &w.at_least.terms {
            register(c, *r);
        }
    }
    for s in inst.signals.iter().filter(|s| s.add == 0) {
        c.error(Code::Semaphore, format!("the signal of s{} adds nothing", s.sem.0));
    }
}

pub(super) fn register(c: &mut Checker, r: SeqReg) {
    let n = c.flat.header.registers[c.stream];
    if r.0 >= n {
        c.error(Code::Form, format!("register r{} is not among the stream's {n}", r.0));
    }
}
