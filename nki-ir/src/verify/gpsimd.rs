//! Checks of the GpSimd engine's instructions (isa.md 9.4).

use super::context::Cx;
use super::rules::{self, Rule};
use crate::kernel::Operand;

/// isa.md 9.4.2.
pub fn iota(cx: &Cx) {
    pattern(cx, "dst", &rules::IOTA_SIZE);
}

/// isa.md 9.4.3.
pub fn affine_select(cx: &Cx) {
    pattern(cx, "dst", &rules::SELECT_SIZE);
    let cmp = cx.alu("cmp_op");
    if !cmp.is_comparison() {
        cx.fail(&rules::SELECT_CMP, format!("cmp_op is {cmp}"))
            .help("use equal, not_equal, less, less_equal, greater or greater_equal");
    }
}

fn pattern(cx: &Cx, operand: &str, size_rule: &'static Rule) {
    let pairs = cx.pairs("pattern");
    if pairs.is_empty() || pairs.len() > 4 || pairs.iter().any(|p| p[1] < 1) {
        cx.fail(&rules::IOTA_PAIRS, format!("pattern is {pairs:?}")).help("write 1 to 4 [step, count] pairs");
        return;
    }
    for p in pairs {
        fits(cx, "a step of the pattern", p[0]);
    }
    if let Operand::Int(offset) = cx.operand("offset") {
        fits(cx, "offset", *offset);
    }
    fits(cx, "channel_multiplier", cx.int("channel_multiplier"));
    let size = pairs.iter().fold(1i128, |n, p| n.saturating_mul(p[1].into()));
    if let Some(dst) = cx.arg(operand).filter(|d| i128::from(d.n) != size) {
        let message =
            format!("pattern {pairs:?} has {size} elements, {} has {} per partition", dst.name(), dst.n);
        cx.fail_arg(size_rule, dst, message).help("make the counts multiply to the tile's free size");
    }
}

fn fits(cx: &Cx, what: &str, value: i64) {
    if i32::try_from(value).is_err() {
        cx.fail(&rules::IOTA_RANGE, format!("{what} is {value}")).help("keep it within 32 bits");
    }
}
