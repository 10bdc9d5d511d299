//! Checks of the vector engine's selections (isa.md 9.3.9, 9.3.14 and 9.3.15).

use super::context::Cx;
use super::rules;
use super::vector::one_psum_input;
use crate::dtype::DType;
use crate::op::{AluOp, ReduceCmd};

/// isa.md 9.3.9.
pub fn tensor_copy_predicated(cx: &Cx) {
    if let Some(p) = cx.arg("predicate").filter(|p| !matches!(p.dtype(), DType::U8 | DType::U16 | DType::U32))
    {
        cx.fail_arg(&rules::TCP_PREDICATE, p, format!("{} is {}", p.name(), p.dtype()))
            .help("convert the mask to uint8 with tensor_copy");
    }
    if let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src"))
        && dst.dtype() != src.dtype()
    {
        cx.fail_arg(
            &rules::TCP_DTYPE,
            src,
            format!("{} is {}, dst `{}` is {}", src.name(), src.dtype(), dst.buf.name, dst.dtype()),
        )
        .help("convert with tensor_copy first");
    }
    one_psum_input(cx, "src", "predicate");
}

/// isa.md 9.3.14.
pub fn range_select(cx: &Cx) {
    if let Some(data) = cx.arg("on_true_tile").filter(|a| !a.dtype().is_float()) {
        cx.fail_arg(&rules::RS_DTYPE, data, format!("{} is {}", data.name(), data.dtype()))
            .help("convert with tensor_copy first");
    }
    for bound in ["bound0", "bound1"].into_iter().filter_map(|b| cx.arg(b)) {
        if bound.dtype() != DType::F32 {
            cx.fail_arg(&rules::RS_DTYPE, bound, format!("{} is {}", bound.name(), bound.dtype()))
                .help("convert with tensor_copy into a float32 tile");
        }
    }
    for name in ["comp_op0", "comp_op1"] {
        let op = cx.alu(name);
        if !op.is_comparison() || op == AluOp::NotEqual {
            cx.fail(&rules::RS_OPERATOR, format!("{name} is {op}"))
                .help("use equal, less, less_equal, greater or greater_equal");
        }
    }
    let other = cx.f32("on_false_value");
    if other.to_bits() != f32::MIN.to_bits() {
        cx.fail(&rules::RS_FALSE, format!("on_false_value is {other}"))
            .help("leave it out; select_reduce takes other values");
    }
    reduction(cx, &rules::RS_REDUCE_OP, &rules::RS_CMD, &[ReduceCmd::ResetReduce, ReduceCmd::Reduce]);
    let start = i128::from(cx.int("range_start"));
    let n = cx.arg("on_true_tile").map_or(0, |a| i128::from(a.n));
    if start < -(1 << 24) || start + n > 1 << 24 {
        cx.fail(&rules::RS_START, format!("range_start is {start} for {n} columns"))
            .help("subtract a multiple from range_start and the bounds");
    }
}

/// The reduction of both selections: maximum, by one of `cmds`.
fn reduction(cx: &Cx, op_rule: &'static rules::Rule, cmd_rule: &'static rules::Rule, cmds: &[ReduceCmd]) {
    let (op, cmd) = (cx.alu("reduce_op"), cx.reduce_cmd());
    if op != AluOp::Maximum {
        cx.fail(op_rule, format!("reduce_op is {op}")).help("reduce the result with tensor_reduce");
    }
    if !cmds.contains(&cmd) {
        cx.fail(cmd_rule, format!("reduce_cmd is {cmd}")).help("use reset_reduce to start a reduction");
    }
}

/// isa.md 9.3.15.
pub fn select_reduce(cx: &Cx) {
    use DType::{Bool, I8, I16, I32, TF32, U8, U16, U32};
    if let Some(p) = cx.arg("predicate").filter(|p| !matches!(p.dtype(), Bool | U8 | I8 | U16 | I16)) {
        cx.fail_arg(&rules::SR_PREDICATE, p, format!("{} is {}", p.name(), p.dtype()))
            .help("convert the mask to uint8 with tensor_copy");
    }
    if let Some(t) = cx.arg("on_true").filter(|t| matches!(t.dtype(), TF32 | I32 | U32)) {
        cx.fail_arg(&rules::SR_DTYPE, t, format!("{} is {}", t.name(), t.dtype()))
            .help("use tensor_copy_predicated, which moves any dtype");
    }
    one_psum_input(cx, "predicate", "on_true");
    if let Some(res) = cx.arg("reduce_res").filter(|a| !a.dtype().is_float()) {
        cx.fail_arg(&rules::SR_RES, res, format!("{} is {}", res.name(), res.dtype()))
            .help("make reduce_res a float tile");
    }
    let cmds = [ReduceCmd::Idle, ReduceCmd::ResetReduce, ReduceCmd::Reduce];
    reduction(cx, &rules::SR_OPERATOR, &rules::SR_CMD, &cmds);
}
