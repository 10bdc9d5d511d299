//! Checks of the vector engine's instructions, including those that other engines can take over (isa.md 9.3).

use super::context::Cx;
use super::generic::called;
use super::rules;
use crate::dtype::{DKind, DType};
use crate::kernel::{Operand, Space};
use crate::op::{AluOp, Engine, ReduceCmd};
use crate::target::Gen;

/// isa.md 9.3.1.
pub fn tensor_reduce(cx: &Cx) {
    let (op, axis) = (cx.alu("op"), cx.ints("axis"));
    if !op.is_reduction() {
        cx.fail(&rules::RED_OP, format!("op is {op}"))
            .help("use add, subtract, multiply, maximum, minimum, or a logical or bitwise and, or, xor");
    }
    if cx.flag("negate") && op.is_bitvec() {
        cx.fail(&rules::RED_NEGATE, format!("negate with op {op}")).help("drop negate");
    }
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    let rank = data.shape.len() as i64;
    let mut sorted = axis.to_vec();
    sorted.sort_unstable();
    let trailing = !sorted.is_empty()
        && sorted.len() <= 4
        && sorted.iter().rev().zip((1..rank).rev()).all(|(a, want)| *a == want)
        && sorted.len() < rank as usize;
    if !trailing {
        let message = format!("axis is {axis:?} of {} with rank {rank}", data.name());
        cx.fail_arg(&rules::RED_AXIS, data, message).help(format!(
            "name the last axes, e.g. [{}]; reduce over partitions with a matmul by ones",
            rank - 1
        ));
        return;
    }
    let kept: u64 = data.shape[1..sorted[0] as usize].iter().map(|n| u64::from(*n)).product();
    if (dst.parts(), dst.n) != (data.parts(), kept) {
        let message = format!(
            "{} is {}, but reducing axes {axis:?} of {} {} gives {} x {kept}",
            dst.name(),
            dst.ty(),
            data.name(),
            data.ty(),
            data.parts()
        );
        cx.fail_arg(&rules::RED_SHAPE, dst, message)
            .help(format!("make the destination [{}, {kept}]", data.parts()));
    }
}

/// isa.md 9.3.2.
pub fn tensor_tensor(cx: &Cx) {
    let op = cx.alu("op");
    if binary(cx, "op") {
        if op == AluOp::Power {
            if cx.data.engine == Engine::Vector {
                cx.fail(&rules::OPERATOR_ENGINE, "power on the vector engine").help("leave the engine open");
            }
        } else if cx.engine == Engine::GpSimd && !tensor_tensor_on_gpsimd(op) {
            cx.fail(&rules::TT_OPERATOR, format!("{op} on {}", called(cx.engine)))
                .help("run it on the vector engine");
        }
    }
    one_psum_input(cx, "data1", "data2");
}

/// Operators that `tensor_tensor` runs on GpSimd (isa.md 9.3.2 check 4).
fn tensor_tensor_on_gpsimd(op: AluOp) -> bool {
    use AluOp::*;
    matches!(op, Add | Subtract | Multiply | Power | Maximum | Minimum) || op.is_comparison()
}

/// isa.md 9.3.4.
pub fn scalar_tensor_tensor(cx: &Cx) {
    for name in ["op0", "op1"] {
        let op = cx.alu(name);
        if op.is_bitvec() || op.is_unary() {
            cx.fail(&rules::STT_OPERATOR, format!("{name} is {op}"))
                .help("use tensor_scalar and tensor_tensor");
        } else {
            binary(cx, name);
            on_vector(cx, name);
        }
    }
    one_psum_input(cx, "data", "operand1");
}

/// isa.md 9.3.5.
pub fn tensor_scalar(cx: &Cx) {
    let (op0, op1) = (cx.alu("op0"), cx.alu("op1"));
    if matches!(op0, AluOp::Bypass | AluOp::Average) {
        cx.fail(&rules::OPERATOR_ENGINE, format!("op0 is {op0}")).help("copy with tensor_copy");
        return;
    }
    if op1 == AluOp::Average {
        cx.fail(&rules::OPERATOR_ENGINE, "op1 is average").help("multiply by the reciprocal of the count");
    }
    if op1.is_unary() {
        cx.fail(&rules::UNARY_PLACE, format!("op1 is {op1}"))
            .help(format!("run {op1} as op0 of an instruction of its own"));
    }
    first_operand(cx, op0);
    let needs = op1 != AluOp::Bypass && !op1.is_unary();
    if needs != cx.has("operand1") && !op1.is_unary() {
        let (message, help) = if needs {
            (format!("op1 is {op1}, but operand1 is missing"), "give operand1")
        } else {
            ("operand1 without op1".to_string(), "give op1, or drop operand1")
        };
        cx.fail_on(&rules::TS_OPERAND, "operand1", message).help(help);
    }
    tensor_scalar_engine(cx, op0, op1);
}

/// An operator with two operands has the second one.
fn first_operand(cx: &Cx, op0: AluOp) {
    if !op0.is_unary() && !cx.has("operand0") {
        cx.fail(&rules::TS_OPERAND, format!("op0 is {op0}, but operand0 is missing")).help("give operand0");
    }
}

/// Checks 3 and 5, as far as they concern the engine.
fn tensor_scalar_engine(cx: &Cx, op0: AluOp, op1: AluOp) {
    use AluOp::*;
    let ops = || [op0, op1].into_iter().filter(|o| *o != Bypass);
    let pair = if op1 == Bypass { format!("{op0}") } else { format!("({op0}, {op1})") };
    if ops().any(AluOp::is_bitvec) {
        if cx.engine != Engine::Vector {
            cx.fail(&rules::TS_ENGINE_FAMILY, format!("{pair} on {}", called(cx.engine)))
                .help("run it on the vector engine");
        }
        return;
    }
    let ok = match cx.engine {
        Engine::Scalar if cx.generation() == Gen::Gen4 => {
            ops().all(|o| matches!(o, Add | Subtract | Multiply | Maximum | Minimum))
        }
        Engine::Scalar => matches!((op0, op1), (Multiply, Add | Bypass) | (Add, Bypass)),
        Engine::GpSimd => {
            ops().any(|o| matches!(o, Rsqrt | Power))
                && ops().all(|o| matches!(o, Rsqrt | Power | Add | Multiply))
        }
        _ => !ops().any(|o| matches!(o, Rsqrt | Power)),
    };
    if !ok {
        let help = if cx.data.engine == Engine::Unknown {
            "split it into two instructions"
        } else {
            "leave the engine open"
        };
        cx.fail(&rules::TS_ENGINE, format!("{pair} on {}", called(cx.engine))).help(help);
    }
}

/// isa.md 9.3.6.
pub fn tensor_scalar_reduce(cx: &Cx) {
    let (op0, reduce) = (cx.alu("op0"), cx.alu("reduce_op"));
    if op0.is_bitvec() || matches!(op0, AluOp::Bypass | AluOp::Average) {
        cx.fail(&rules::TSR_OP0, format!("op0 is {op0}")).help("use tensor_scalar and tensor_reduce");
    } else {
        on_vector(cx, "op0");
        first_operand(cx, op0);
    }
    if !matches!(reduce, AluOp::Add | AluOp::Multiply | AluOp::Maximum | AluOp::Minimum) {
        cx.fail(&rules::TSR_OP, format!("reduce_op is {reduce}")).help("reduce with tensor_reduce");
    }
    started(cx, &rules::TSR_CMD, "reduce_init");
    if cx.flag("reverse0") {
        cx.fail(&rules::TSR_REVERSE, "reverse0 is set")
            .help("use tensor_scalar with reverse0, then tensor_reduce");
    }
}

/// isa.md 9.3.3.
pub fn tensor_tensor_scan(cx: &Cx) {
    for name in ["op0", "op1"] {
        let op = cx.alu(name);
        if op.is_bitvec() || op.is_unary() || matches!(op, AluOp::Average | AluOp::Bypass) {
            cx.fail(&rules::SCAN_OPERATOR, format!("{name} is {op}"))
                .help("use an arithmetic operator with two operands");
        } else {
            on_vector(cx, name);
        }
    }
    one_psum_input(cx, "data0", "data1");
}

/// isa.md 9.3.7.
pub fn tensor_scalar_cumulative(cx: &Cx) {
    let (op0, op1) = (cx.alu("op0"), cx.alu("op1"));
    if op0.is_bitvec() || op0.is_unary() || matches!(op0, AluOp::Average | AluOp::Bypass) {
        cx.fail(&rules::CUM_OP0, format!("op0 is {op0}"))
            .help("use an arithmetic operator with two operands");
    } else {
        on_vector(cx, "op0");
    }
    use AluOp::{Add, Maximum, Minimum, Multiply, Subtract};
    if !matches!(op1, Add | Subtract | Multiply | Maximum | Minimum) {
        cx.fail(&rules::CUM_OP1, format!("op1 is {op1}"))
            .help("use add, subtract, multiply, maximum or minimum");
    }
    for arg in cx.views().filter(|a| matches!(a.spec.name, "dst" | "src")) {
        let d = arg.dtype();
        let wide = matches!(d, DType::U32 | DType::I32 | DType::TF32 | DType::Bool | DType::F8E8M0);
        if wide || d.is_packed() {
            cx.fail_arg(&rules::CUM_DTYPE, arg, format!("{} is {d}", arg.name()))
                .help("convert with tensor_copy");
        }
    }
    started(cx, &rules::CUM_CMD, "imm1");
}

/// A command of reset_reduce, reduce and load_reduce, with `init` exactly for the last.
fn started(cx: &Cx, rule: &'static rules::Rule, init: &str) {
    let (cmd, given) = (cx.reduce_cmd(), cx.has(init));
    if !matches!(cmd, ReduceCmd::ResetReduce | ReduceCmd::Reduce | ReduceCmd::LoadReduce) {
        cx.fail(rule, format!("reduce_cmd is {cmd}")).help("use reset_reduce to start a reduction");
    } else if given != (cmd == ReduceCmd::LoadReduce) {
        let (what, help) = match given {
            true => ("given", "set reduce_cmd to load_reduce".to_string()),
            false => ("missing", format!("give {init}")),
        };
        cx.fail(rule, format!("reduce_cmd is {cmd}, but {init} is {what}")).help(help);
    }
}

/// isa.md 9.3.11.
pub fn exponential(cx: &Cx) {
    for name in ["dst", "src"] {
        let Some(arg) = cx.arg(name) else { continue };
        if arg.shape.len() > 4 {
            let message = format!("{} has rank {}", arg.name(), arg.shape.len());
            cx.fail_arg(&rules::EXP_RANK, arg, message).help("merge free axes, or split the tile");
        }
        let d = arg.dtype();
        let ok = match d {
            DType::U32 => name == "src",
            DType::TF32 => name == "dst",
            DType::F8E4M3 | DType::F8E5M2 | DType::F16 | DType::BF16 | DType::F32 => true,
            _ => d.is_int() && d != DType::Bool,
        };
        if !ok {
            cx.fail_arg(&rules::EXP_DTYPE, arg, format!("{} is {d}", arg.name()))
                .help("convert with tensor_copy");
        }
    }
    if let Some(res) = cx.arg("reduce_res").filter(|a| !a.dtype().is_float()) {
        cx.fail_arg(&rules::EXP_DTYPE, res, format!("{} is {}", res.name(), res.dtype()))
            .help("make reduce_res a float tile");
    }
    let cmd = cx.reduce_cmd();
    let init = match cx.operand("reduce_init") {
        Operand::None => false,
        Operand::Imm(x) => *x != 0.0,
        Operand::Int(x) => *x != 0,
        _ => true,
    };
    if cmd == ReduceCmd::Reset {
        cx.fail(&rules::EXP_CMD, "reduce_cmd is reset").help("use reset_reduce");
    } else if init && cmd != ReduceCmd::LoadReduce {
        cx.fail_on(&rules::EXP_CMD, "reduce_init", format!("reduce_cmd is {cmd}, but reduce_init is given"))
            .help("set reduce_cmd to load_reduce");
    }
}

/// isa.md 9.3.10.
pub fn memset(cx: &Cx) {
    let Some(dst) = cx.arg("dst") else { return };
    let d = dst.dtype();
    let value = cx.operand("value");
    let number = match value {
        Operand::Imm(x) => f64::from(*x),
        Operand::Int(i) => *i as f64,
        _ => return,
    };
    if d.is_packed() {
        if number != 0.0 {
            cx.fail_arg(&rules::MEMSET_PACKED, dst, format!("value {number} for {} of {d}", dst.name()))
                .help("fill with 0, or view the tile as integers");
        }
        return;
    }
    match value {
        Operand::Imm(x) if d.is_int() => {
            cx.fail_arg(&rules::MEMSET_KIND, dst, format!("value is the float {x}, {} is {d}", dst.name()))
                .help("write an integer");
        }
        Operand::Int(i) if d.is_int() => {
            let (lo, hi) = int_range(d);
            if !(lo..=hi).contains(i) {
                cx.fail_arg(
                    &rules::MEMSET_RANGE,
                    dst,
                    format!("value {i} for {} of {d} ({lo}..={hi})", dst.name()),
                )
                .help("use a value in range or a wider dtype");
            }
        }
        Operand::Int(i) if (*i as f32) as i128 != i128::from(*i) => {
            cx.fail(&rules::SCALAR_EXACT, format!("value {i} is not a float32"))
                .help("write the float32 value you mean");
        }
        _ => {}
    }
}

/// Smallest and largest value of an integer dtype.
fn int_range(d: DType) -> (i64, i64) {
    let bits = 8 * d.bytes() as u32;
    match d.kind() {
        DKind::Bool => (0, 1),
        DKind::Signed => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        _ => (0, (1 << bits) - 1),
    }
}

/// Reports an operator that does not take two operands; says whether it does.
fn binary(cx: &Cx, name: &str) -> bool {
    let op = cx.alu(name);
    if op.is_unary() {
        cx.fail(&rules::UNARY_PLACE, format!("{name} is {op}"))
            .help(format!("use tensor_scalar with op0 = {op}"));
    } else if matches!(op, AluOp::Average | AluOp::Bypass) {
        cx.fail(&rules::OPERATOR_ENGINE, format!("{name} is {op}"))
            .help("choose an operator with two operands");
    } else {
        return true;
    }
    false
}

/// Reports an operator that only GpSimd has, in an instruction that runs on the vector engine.
fn on_vector(cx: &Cx, name: &str) {
    let op = cx.alu(name);
    if matches!(op, AluOp::Power | AluOp::Rsqrt) {
        cx.fail(&rules::OPERATOR_ENGINE, format!("{name} is {op}, which the vector engine does not have"))
            .help("compute it with tensor_scalar, which runs it on GpSimd");
    }
}

/// G7.
pub fn one_psum_input(cx: &Cx, a: &str, b: &str) {
    if let (Some(x), Some(y)) = (cx.arg(a), cx.arg(b))
        && x.space() == Space::Psum
        && y.space() == Space::Psum
    {
        cx.fail_arg(&rules::ONE_PSUM_INPUT, y, format!("{} and {} are both in psum", x.name(), y.name()))
            .related(x.buf.loc, format!("`{}` is allocated here", x.buf.name))
            .help("copy one of them to SBUF with tensor_copy first");
    }
}
