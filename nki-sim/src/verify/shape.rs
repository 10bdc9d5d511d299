//! Whether operands pair up (isa.md section 8, G3 and G7), matmul sizes and PSUM banks.

use super::Checker;
use crate::cost::{Face, Instr};
use crate::program::{Access, MOperand};
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::{Attr, Space};
use nki_ir::op::{DgeMode, Op, OperandKind, TimingClass};
use nki_ir::target::{Gen, PSUM_BANK_BYTES, STATIONARY_FMAX};

fn elements(a: &Access) -> u64 {
    a.row_elements()
}

pub(super) fn compute(c: &mut Checker, op: Op, operands: &[MOperand], attrs: &[Attr]) {
    pairing(c, op, operands);
    let i = Instr { op, operands, attrs };
    match op.row().timing {
        TimingClass::Matmul => matmul(c, &i),
        TimingClass::Transpose => transpose(c, &i),
        TimingClass::TensorReduce => reduce(c, &i),
        _ => {}
    }
}

/// Tiles have equal partitions and elements; vectors one element in each of those partitions.
fn pairing(c: &mut Checker, op: Op, operands: &[MOperand]) {
    let mut main: Option<(&'static str, u32, u64)> = None;
    let mut inputs_in_psum = 0;
    for (spec, o) in op.row().operands.iter().zip(operands) {
        let MOperand::Access(a) = o else { continue };
        let (p, n) = (a.partitions, elements(a));
        match spec.kind {
            OperandKind::Tile | OperandKind::TileOrScalar => {
                let (first, mp, mn) = *main.get_or_insert((spec.name, p, n));
                if (mp, mn) != (p, n) {
                    let d = Diagnostic::error(
                        Code::Shape,
                        format!(
                            "`{first}` is {mp} partitions of {mn} elements, `{}` is {p} of {n}",
                            spec.name
                        ),
                    );
                    c.report(d.note("isa.md section 8, G3"));
                }
                let read = spec.effect == nki_ir::op::Effect::Read;
                inputs_in_psum += u32::from(read && a.space == Space::Psum);
            }
            OperandKind::Vec | OperandKind::ScalarOrVec => {
                let partitions = main.map_or(p, |m| m.1);
                if n != 1 || p != partitions {
                    let d = Diagnostic::error(
                        Code::Shape,
                        format!(
                            "`{}` is {p} partitions of {n} elements; it must be {partitions} of 1",
                            spec.name
                        ),
                    );
                    c.report(d.note("isa.md section 8, G3"));
                }
            }
            OperandKind::Free | OperandKind::Scales | OperandKind::Sixteenths => {}
            OperandKind::Reg | OperandKind::IntOrReg | OperandKind::IndexOrReg => {}
        }
    }
    if inputs_in_psum > 1 {
        let d = Diagnostic::error(Code::Memory, "two input tiles are in psum; at most one may be");
        c.report(d.note("isa.md section 8, G7"));
    }
}

fn shape_error(c: &mut Checker, section: &str, message: String) {
    let d = Diagnostic::error(Code::Shape, message);
    c.report(d.note(format!("isa.md {section}")));
}

fn matmul(c: &mut Checker, i: &Instr) {
    let (Some(dst), Some(s), Some(m)) = (i.face("dst"), i.face("stationary"), i.face("moving")) else {
        return;
    };
    let double = matches!(i.attr("perf_mode"), Some(Attr::MatmulPerf(nki_ir::op::MatmulPerf::DoubleRow)));
    let per_row = if double { 2 } else { 1 };
    if s.partitions != m.partitions {
        shape_error(c, "9.1.1", format!("stationary has {} rows, moving {}", s.partitions, m.partitions));
    }
    if s.n % per_row != 0 || m.n % per_row != 0 {
        return shape_error(c, "9.1.1", "double_row operands need an even number of elements".into());
    }
    let (cols, n) = (s.n / per_row, m.n / per_row);
    if cols > STATIONARY_FMAX.into() {
        shape_error(c, "9.1.1", format!("stationary has {cols} columns; the array has {STATIONARY_FMAX}"));
    }
    if u64::from(dst.partitions) != cols || dst.n != n {
        shape_error(
            c,
            "9.1.1",
            format!("the product is {cols} x {n}, `dst` is {} x {}", dst.partitions, dst.n),
        );
    }
    let limit = c.flat.header.target.moving_fmax(dst.dtype.bytes());
    if n > limit.into() {
        shape_error(
            c,
            "9.1.1",
            format!("moving has {n} columns; at most {limit} on {}", c.flat.header.target),
        );
    }
    bank(c, i);
}

/// A result of the tensor engine stays in one bank on gen2 and gen3: true for every offset within a bank that the loop
/// counters lead to.
fn bank(c: &mut Checker, i: &Instr) {
    let Some(MOperand::Access(a)) = i.operands.first() else { return };
    if c.flat.header.target.generation() == Gen::Gen4 || a.dynamic.is_some() {
        return;
    }
    let (first, last) = crate::access::extent(&crate::access::strides(a), a.dtype.bytes());
    let bank = i128::from(PSUM_BANK_BYTES);
    let mut starts =
        std::collections::BTreeSet::from([(i128::from(a.offset.constant) + first).rem_euclid(bank)]);
    for &(r, k) in &a.offset.terms {
        let Some(range) = c.range(r) else { return };
        // Offsets within the bank repeat after at most as many turns as the bank has bytes.
        let turns = ((range.last - range.first) / range.step.max(1) + 1).clamp(1, bank as i64);
        let values = (0..turns).map(|t| i128::from(k) * i128::from(range.first + t * range.step));
        let moves: std::collections::BTreeSet<i128> = values.map(|v| v.rem_euclid(bank)).collect();
        starts = starts.iter().flat_map(|s| moves.iter().map(move |m| (s + m) % bank)).collect();
    }
    let worst = starts.last().map_or(0, |s| s + last - first);
    if worst > bank {
        let d = Diagnostic::error(
            Code::PsumBank,
            format!("`dst` reaches {worst} bytes into a PSUM bank of {PSUM_BANK_BYTES}"),
        );
        c.report(d.note("isa.md 9.1.1, check 4"));
    }
}

fn transpose(c: &mut Checker, i: &Instr) {
    let (Some(dst), Some(data)) = (i.face("dst"), i.face("data")) else { return };
    let fits = |a: &Face, b: &Face| u64::from(a.partitions) == b.n;
    if !fits(&dst, &data) || !fits(&data, &dst) {
        shape_error(
            c,
            "9.1.3",
            format!(
                "the transpose of {} x {} is not {} x {}",
                data.partitions, data.n, dst.partitions, dst.n
            ),
        );
    }
    if c.engine == nki_ir::Engine::Tensor {
        if data.space != Space::Sbuf || dst.space != Space::Psum {
            c.error(Code::Memory, "the tensor engine transposes from sbuf to psum".into());
        }
        bank(c, i);
    } else if data.partitions > 32 || data.n > 32 {
        shape_error(c, "9.1.3", format!("{} transposes at most 32 x 32", c.engine));
    }
}

fn reduce(c: &mut Checker, i: &Instr) {
    let (Some(dst), Some(data)) = (i.face("dst"), i.face("data")) else { return };
    if dst.partitions != data.partitions || dst.n == 0 || data.n % dst.n != 0 {
        shape_error(
            c,
            "9.3.1",
            format!(
                "{} partitions of {} elements do not reduce to {} of {}",
                data.partitions, data.n, dst.partitions, dst.n
            ),
        );
    }
}

pub(super) fn transfer(c: &mut Checker, op: Op, operands: &[MOperand], dge: DgeMode) {
    let Some((dst, src)) = crate::cost::sides(op, operands) else { return };
    let count = |a: &Access| elements(a).saturating_mul(a.partitions.into());
    if count(dst) != count(src) {
        shape_error(
            c,
            op.row().section,
            format!("`dst` has {} elements, `src` has {}", count(dst), count(src)),
        );
    }
    if dst.dtype != src.dtype {
        if dge == DgeMode::Hwdge {
            c.error(
                Code::Dtype,
                format!("hardware descriptors do not convert {} to {}", src.dtype, dst.dtype),
            );
        }
        if dst.dtype.is_packed() || src.dtype.is_packed() {
            c.error(Code::Dtype, format!("a transfer does not convert {} to {}", src.dtype, dst.dtype));
        }
    }
    if dge != DgeMode::Swdge && [dst, src].into_iter().any(crate::cost::is_indexed) {
        c.error(Code::DynamicIndex, "row indices need software descriptors".into());
    }
}
