//! Checks of the scalar engine's instructions (isa.md 9.2).

use super::context::Cx;
use super::rules;
use crate::dtype::DType;
use crate::kernel::Operand;
use crate::op::{ActFn, AluOp, ReduceCmd};
use crate::target::Gen;

/// isa.md 9.2.1 and, but for the reduction, 9.2.2.
pub fn activation(cx: &Cx) {
    let gen2 = cx.generation() == Gen::Gen2;
    match cx.act("op") {
        Some(ActFn::Prelu) => {
            cx.fail(&rules::ACT_FN, "op is prelu")
                .help("use activate2, or relu with a tensor_scalar for the slope");
        }
        Some(ActFn::Reciprocal) if gen2 && cx.has("bias") => {
            cx.fail_on(
                &rules::ACT_RECIPROCAL,
                "bias",
                format!("op is reciprocal with a bias on {}", cx.target),
            )
            .help("add the bias with tensor_scalar first");
        }
        _ => {}
    }
    if gen2 && matches!(cx.operand("bias"), Operand::Imm(_) | Operand::Int(_)) {
        cx.fail(&rules::ACT_BIAS_SCALAR, format!("bias is an immediate on {}", cx.target))
            .help("fill a tile [partitions, 1] with memset and pass it as bias");
    }
    if let Some(bias) = cx.arg("bias").filter(|b| b.dtype() == DType::TF32) {
        cx.fail_arg(&rules::ACT_BIAS_DTYPE, bias, format!("{} is tf32", bias.name()))
            .help("view the bias as float32");
    }
    if cx.row.attr("reduce_cmd").is_some() {
        running_sum(cx);
    }
}

/// Check 5.
fn running_sum(cx: &Cx) {
    let (reduce_op, cmd) = (cx.alu("reduce_op"), cx.reduce_cmd());
    if !matches!(reduce_op, AluOp::Bypass | AluOp::Add) {
        cx.fail(&rules::ACT_REDUCE_OP, format!("reduce_op is {reduce_op}"))
            .help("use add, or reduce the result with tensor_reduce");
    }
    if cmd == ReduceCmd::LoadReduce {
        cx.fail(&rules::ACT_REDUCE_CMD, "reduce_cmd is load_reduce")
            .help("use reset_reduce and add the initial value with tensor_tensor");
    } else if reduce_op == AluOp::Bypass && (cmd != ReduceCmd::Idle || cx.has("reduce_res")) {
        let what = if cmd == ReduceCmd::Idle {
            "reduce_res is given".into()
        } else {
            format!("reduce_cmd is {cmd}")
        };
        cx.fail(&rules::ACT_REDUCE_CMD, format!("{what}, but reduce_op is missing"))
            .help("set reduce_op to add");
    }
}

/// isa.md 9.2.2.
pub fn activation_reduce(cx: &Cx) {
    activation(cx);
    let op = cx.alu("reduce_op");
    if op != AluOp::Add {
        cx.fail(&rules::ACTR_OP, format!("reduce_op is {op}"))
            .help("use add, or reduce the result with tensor_reduce");
    }
}

/// isa.md 9.2.3.
pub fn activate2(cx: &Cx) {
    use AluOp::{AbsMax, AbsMin, Add, Bypass, Maximum, Minimum, Multiply, Subtract};
    let (op0, op1) = (cx.alu("op0"), cx.alu("op1"));
    if !matches!(
        (op0, op1),
        (Multiply, Add | Subtract | Bypass) | (Add | Subtract, Bypass) | (Bypass, Bypass)
    ) {
        cx.fail(&rules::ACT2_PAIR, format!("op0 and op1 are ({op0}, {op1})"))
            .help("use multiply, then add or subtract, or one of them; compute the rest with tensor_scalar");
    }
    for (op, imm, reverse) in [("op0", "imm0", "reverse0"), ("op1", "imm1", "reverse1")] {
        let used = cx.alu(op) != Bypass;
        if cx.flag(reverse) && !used {
            cx.fail(&rules::ACT2_REVERSE, format!("{reverse} is set, but {op} is bypass"))
                .help(format!("drop {reverse}"));
        }
        if used != cx.has(imm) {
            let (what, help) = if used { ("missing", "give") } else { ("given", "drop") };
            cx.fail_on(&rules::ACT2_IMM, imm, format!("{op} is {}, but {imm} is {what}", cx.alu(op)))
                .help(format!("{help} {imm}"));
        }
    }
    let (reduce_op, cmd) = (cx.alu("reduce_op"), cx.reduce_cmd());
    if !matches!(reduce_op, Bypass | Add | Maximum | Minimum | AbsMax | AbsMin) {
        cx.fail(&rules::ACT2_REDUCE_OP, format!("reduce_op is {reduce_op}"))
            .help("use add or an extremum, or reduce the result with tensor_reduce");
    }
    if cmd == ReduceCmd::LoadReduce {
        cx.fail(&rules::ACT2_REDUCE_CMD, "reduce_cmd is load_reduce").help("use reset_reduce");
    } else if reduce_op == Bypass && (cmd != ReduceCmd::Idle || cx.has("reduce_res")) {
        cx.fail(&rules::ACT2_REDUCE_CMD, "a reduction without reduce_op").help("set reduce_op");
    }
}
