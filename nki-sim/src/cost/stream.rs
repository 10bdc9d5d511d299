//! Vector, scalar and GpSimd engines (machine.md 13.3 and 13.4).

use super::{Cost, Face, Instr, table_of};
use crate::constants::Constants;
use nki_ir::DType;
use nki_ir::kernel::{Attr, Space};
use nki_ir::op::{AluOp, Op, TimingClass};

/// Streaming time of a vector-engine class.
struct Streaming {
    /// Cycles, the stride penalty included.
    cycles: f64,
    /// Cycles without fast modes.
    base: f64,
    /// A class at two cycles per element, which has overheads of its own.
    two_cycle: bool,
}

/// Cycles until the next independent instruction can start. Starting an access costs `ovh` on top of the streaming; `min` is
/// the whole of the shortest interval, which is what the tiny instructions of calibration.md C9 show.
fn interval(k: &Constants, min: f64, cycles: f64, ovh: f64, dynamic: bool) -> f64 {
    let cycles = if dynamic { cycles.max(k.dyn_addr_min_cyc) } else { cycles };
    (cycles + ovh).max(min)
}

fn penalised(k: &Constants, faces: impl IntoIterator<Item = Face>) -> f64 {
    let any = faces.into_iter().any(|f| f.penalised(k.stride_limit_bytes));
    if any { k.stride_factor } else { 1.0 }
}

/// Elements per cycle of one interface of the vector engine, and whether a strided 16-bit access has lowered it already
/// (machine.md 2.3 and 13.3).
fn rate(k: &Constants, f: &Face) -> (f64, bool) {
    let sixteen = f.dtype.is_float16();
    if f.repeats {
        return (1.0, false);
    }
    match f.space {
        Space::Psum if sixteen && f.contiguous() => (k.dve.psum_rate_16, false),
        Space::Psum => (k.dve.psum_rate_32, false),
        _ if sixteen && f.contiguous() => (k.dve.sbuf_rate_16, false),
        _ if sixteen => (k.dve.sbuf_rate_16.min(k.dve.sbuf_rate_32), true),
        _ if f.dtype.is_float8() && f.contiguous() => (k.dve.sbuf_rate_f8, false),
        _ => (k.dve.sbuf_rate_32, false),
    }
}

/// One tensor in, one out: the slowest interface decides.
fn copy_like(k: &Constants, i: &Instr, n: f64) -> Streaming {
    let streams: smallvec::SmallVec<[Face; 4]> = i.faces().filter(|f| f.n > 1 || n <= 1.0).collect();
    let mut rate_min = f64::INFINITY;
    let mut counted = false;
    for f in &streams {
        let (r, c) = rate(k, f);
        rate_min = rate_min.min(r);
        counted |= c;
    }
    if !rate_min.is_finite() {
        rate_min = 1.0;
    }
    let pen = if counted { 1.0 } else { penalised(k, streams) };
    Streaming { cycles: n / rate_min * pen, base: n * pen, two_cycle: false }
}

fn alu(i: &Instr, name: &str) -> Option<AluOp> {
    match i.attr(name) {
        Some(Attr::Alu(op)) => Some(*op),
        _ => None,
    }
}

/// Two tensor inputs.
fn tensor_tensor(k: &Constants, i: &Instr, inputs: [Option<Face>; 2], n: f64) -> Streaming {
    let all16 = i.faces().all(|f| f.dtype.is_float16());
    let all_sbuf = i.faces().all(|f| f.space == Space::Sbuf);
    let inputs_sbuf = inputs.iter().flatten().all(|f| f.space == Space::Sbuf);
    let broadcast = inputs.iter().flatten().any(|f| f.broadcast);
    let contiguous = i.faces().all(|f| f.contiguous());
    let pen = penalised(k, i.faces());
    let per_element = if k.dve.two_input_shared_port {
        let simple = matches!(alu(i, "op"), Some(AluOp::Add | AluOp::Subtract | AluOp::Multiply));
        if !inputs_sbuf || broadcast || (all16 && contiguous && simple) { 1.0 } else { 2.0 }
    } else if all16 && all_sbuf && !i.faces().any(|f| f.repeats) {
        0.5
    } else {
        1.0
    };
    Streaming {
        cycles: n * per_element * pen,
        base: n * per_element.max(1.0) * pen,
        two_cycle: per_element == 2.0,
    }
}

fn scalar_tensor_tensor(k: &Constants, i: &Instr, n: f64) -> Streaming {
    let tiles = || [i.face("dst"), i.face("data"), i.face("operand1")].into_iter().flatten();
    let all16 = tiles().all(|f| f.dtype.is_float16());
    let fast = if k.dve.two_input_shared_port {
        let form = alu(i, "op0") == Some(AluOp::Subtract) && alu(i, "op1") == Some(AluOp::Multiply);
        form && tiles().skip(1).all(|f| f.dtype == DType::BF16) && n % 2.0 == 0.0
    } else {
        all16 && tiles().all(|f| f.space == Space::Sbuf)
    };
    let per_element = if fast { 1.0 } else { 2.0 };
    let cycles = n * per_element * penalised(k, i.faces());
    Streaming { cycles, base: cycles, two_cycle: !fast }
}

fn tensor_reduce(k: &Constants, i: &Instr, n: f64) -> Streaming {
    let bf16 = i.faces().all(|f| f.dtype == DType::BF16);
    let contiguous = i.face("data").is_some_and(|f| f.contiguous());
    let op = matches!(alu(i, "op"), Some(AluOp::Add | AluOp::Maximum));
    let per_element = if bf16 && contiguous && op { 0.5 } else { 1.0 };
    let pen = penalised(k, i.faces());
    Streaming { cycles: n * per_element * pen, base: n * pen, two_cycle: false }
}

/// A class with a fixed number of cycles per element.
fn fixed(k: &Constants, i: &Instr, n: f64, per_element: f64) -> Streaming {
    let cycles = n * per_element * penalised(k, i.faces());
    Streaming { cycles, base: cycles, two_cycle: per_element == 2.0 }
}

fn memset(k: &Constants, i: &Instr, n: f64) -> Streaming {
    if k.dve.sbuf_rate_32 > 1.0 {
        return copy_like(k, i, n);
    }
    let zero = i.operands.iter().any(|o| {
        matches!(o, crate::program::MOperand::Imm(v) if *v == 0.0)
            || matches!(o, crate::program::MOperand::Int(0))
    });
    let sixteen = i.faces().all(|f| f.dtype.is_float16());
    fixed(k, i, n, if zero && sixteen { 0.5 } else { 1.0 })
}

pub(super) fn vector(k: &Constants, i: &Instr) -> Cost {
    let n = i.main().map_or(0, |f| f.n) as f64;
    let reciprocal = alu(i, "op0") == Some(AluOp::Reciprocal);
    let s = match i.op.row().timing {
        TimingClass::Stream if reciprocal => fixed(k, i, n, k.dve.recip_cyc_per_elem),
        TimingClass::Stream if !i.op.row().operands.iter().any(is_tile_input) => memset(k, i, n),
        TimingClass::Stream => copy_like(k, i, n),
        TimingClass::TensorTensor => tensor_tensor(k, i, [i.face("data1"), i.face("data2")], n),
        TimingClass::ScalarTensorTensor => scalar_tensor_tensor(k, i, n),
        TimingClass::Scan => fixed(k, i, n, k.dve.scan_cyc_per_elem),
        TimingClass::TensorReduce => tensor_reduce(k, i, n),
        TimingClass::Reciprocal => fixed(k, i, n, k.dve.recip_cyc_per_elem),
        TimingClass::Predicated => {
            let psum = i.faces().any(|f| f.space == Space::Psum);
            fixed(k, i, n, if k.dve.two_input_shared_port && !psum { 2.0 } else { 1.0 })
        }
        TimingClass::BnAggr => fixed(k, i, n, 13.0 / 3.0),
        TimingClass::Quad => fixed(k, i, n, 1.0 / k.dve.quad_elems_per_cyc),
        TimingClass::Random => fixed(k, i, n, 1.0 / k.dve.random_per_cyc),
        _ => fixed(k, i, n, 1.0),
    };
    let read_out = if i.has("reduce_res") { k.dve.accum_read_cyc } else { 0.0 };
    let (ovh, lat) = match s.two_cycle {
        true => (k.dve.ovh2_cyc, k.dve.lat_ovh2_cyc),
        false => (k.dve.ovh_cyc, k.dve.lat_ovh_cyc),
    };
    let dynamic = i.faces().any(|f| f.dynamic);
    let f = k.dve.clock_ghz;
    let occupancy = |cycles| (interval(k, k.dve.min_cyc, cycles, ovh, dynamic) + read_out) / f;
    let mut cost = Cost::new(occupancy(s.cycles), (s.cycles + lat + read_out) / f);
    cost.base_occupancy = super::ps(occupancy(s.base)).max(cost.occupancy);
    cost
}

fn is_tile_input(o: &nki_ir::op::OperandSpec) -> bool {
    use nki_ir::op::{Effect, OperandKind};
    o.effect == Effect::Read && matches!(o.kind, OperandKind::Tile | OperandKind::Free)
}

pub(super) fn scalar(k: &Constants, i: &Instr) -> Cost {
    let n = i.main().map_or(0, |f| f.n) as f64;
    let copies =
        i.op.row().timing == TimingClass::Stream && i.faces().all(|f| f.n <= 1 || f.dtype.bytes() < 4);
    let per_cycle = if copies { k.act.copy16_elems_per_cyc } else { 1.0 };
    let cycles = n / per_cycle * penalised(k, i.faces());
    let read_out = if i.has("reduce_res") { k.act.accum_read_cyc } else { 0.0 };
    let dynamic = i.faces().any(|f| f.dynamic);
    let f = k.act.clock_ghz;
    let mut cost = Cost::new(
        (interval(k, k.act.min_cyc, cycles, k.act.ovh_cyc, dynamic) + read_out) / f,
        (cycles + k.act.lat_ovh_cyc + read_out) / f,
    );
    if let Some(Attr::Act(func)) = i.attr("op") {
        cost.table = table_of(*func);
    }
    cost
}

pub(super) fn gpsimd(k: &Constants, i: &Instr) -> Cost {
    let n = i.main().map_or(0, |f| f.n) as f64;
    let slow = [alu(i, "op"), alu(i, "op0")].iter().any(|o| matches!(o, Some(AluOp::Power | AluOp::Rsqrt)));
    let sixteen = i.faces().all(|f| f.dtype.bytes() <= 2);
    let per_element = match (slow, sixteen) {
        (true, _) => 4.0,
        (false, true) => 0.5,
        (false, false) => 1.0,
    };
    let cycles = match i.op.row().timing {
        TimingClass::Gather | TimingClass::TopK => search(i, n),
        _ => n * per_element,
    };
    let cycles = cycles * penalised(k, i.faces());
    let min = if i.faces().any(|f| f.dynamic) { k.dyn_addr_min_cyc } else { 0.0 };
    let occupancy = (k.pool.start_cyc + cycles).max(min) / k.pool.clock_ghz;
    Cost::new(occupancy, occupancy + k.pool.lat_ovh_cyc / k.pool.clock_ghz)
}

/// Cycles of gathers and searches, without start-up (isa.md section 7). `n` counts the elements of the source.
fn search(i: &Instr, n: f64) -> f64 {
    let int = |name: &str| if let Some(Attr::Int(x)) = i.attr(name) { *x as f64 } else { 0.0 };
    let out = i.faces().next();
    let (found, size) = out.map_or((0.0, 4.0), |f| (f.n as f64, f.dtype.bytes() as f64));
    match i.op {
        Op::Topk => 4.0 * int("n") + found,
        Op::LocalGather => {
            // 28 cycles of overhead and 4 bytes a cycle for each index (isa.md 9.4.5); `found` is V indices of e elements.
            let each = int("num_elem_per_idx").max(1.0);
            found * ((28.0 + 4.0 * each) / (4.0 * each)) / (4.0 / size).min(each)
        }
        Op::SequenceBounds => 2.0 * n,
        _ => found,
    }
}
