//! Checks of random numbers (isa.md 9.3.16 and 9.5; the checks of 9.5 are numbered in the order of its table).

use super::context::{Arg, Cx};
use super::rules;
use crate::dtype::DType;
use crate::kernel::Operand;
use crate::op::Engine;

/// isa.md 9.3.16.
pub fn dropout(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    if dst.dtype() != data.dtype() {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.dtype(), data.name(), data.dtype());
        cx.fail_arg(&rules::DROP_DTYPE, dst, message).help("convert with tensor_copy");
    }
    if let Some(prob) = cx.arg("prob") {
        let ok = prob.dtype() == DType::F32 || prob.dtype().is_float() && !data.dtype().is_int();
        if !ok {
            let message = format!("{} is {} for data of {}", prob.name(), prob.dtype(), data.dtype());
            cx.fail_arg(&rules::DROP_PROB, prob, message).help("convert it with tensor_copy to float32");
        }
    }
}

/// `rng`.
pub fn rng(cx: &Cx) {
    let Some(dst) = cx.arg("dst") else { return };
    if !dst.dtype().is_int() || dst.dtype() == DType::Bool {
        cx.fail_arg(&rules::RNG_DTYPE, dst, format!("{} is {}", dst.name(), dst.dtype()))
            .help("draw into an integer tile; rand2 draws floats on trn3");
    }
}

/// `rand2`.
pub fn rand2(cx: &Cx) {
    let number = |name| match cx.operand(name) {
        Operand::Imm(x) => Some(f64::from(*x)),
        Operand::Int(x) => Some(*x as f64),
        _ => None,
    };
    if let (Some(min), Some(max)) = (number("min"), number("max"))
        && (min.is_nan() || max.is_nan() || min >= max)
    {
        cx.fail(&rules::RAND_RANGE, format!("min is {min}, max is {max}")).help("make min smaller than max");
    }
    let Some(dst) = cx.arg("dst") else { return };
    let d = dst.dtype();
    let ok = match d {
        DType::F8E4M3 | DType::F8E5M2 | DType::F16 | DType::BF16 | DType::F32 | DType::TF32 => true,
        _ => d.is_int() && d != DType::Bool,
    };
    if !ok {
        cx.fail_arg(&rules::RAND_DTYPE, dst, format!("{} is {d}", dst.name())).help("draw into float32");
    }
}

/// `rand_set_state`.
pub fn rand_set_state(cx: &Cx) {
    if let Some(seeds) = cx.arg("src_seeds") {
        state(cx, seeds, &rules::SET_STATE_WORDS, &rules::SET_STATE_FORM);
    }
}

/// `rand_get_state`.
pub fn rand_get_state(cx: &Cx) {
    if let Some(dst) = cx.arg("dst") {
        state(cx, dst, &rules::GET_STATE_WORDS, &rules::GET_STATE_FORM);
    }
}

/// One row of words per lane.
fn state(cx: &Cx, arg: &Arg, size: &'static rules::Rule, form: &'static rules::Rule) {
    let words = if cx.engine == Engine::Vector { 24 } else { 6 };
    if arg.n != words {
        let message = format!("{} is {} for the {} engine", arg.name(), arg.ty(), cx.engine);
        cx.fail_arg(size, arg, message).help(format!("make it [{}, {words}]", arg.parts()));
    } else if arg.dtype() != DType::U32 || arg.shape.len() != 2 {
        cx.fail_arg(form, arg, format!("{} is {}", arg.name(), arg.ty()))
            .help(format!("make it a uint32 tile [{}, {words}]", arg.parts()));
    }
}

/// `set_rng_seed`.
pub fn set_rng_seed(cx: &Cx) {
    let Some(seeds) = cx.arg("src_seeds") else { return };
    if (seeds.parts(), seeds.n) != (1, 1) || seeds.dtype().bytes() != 4 {
        cx.fail_arg(&rules::SEED_FORM, seeds, format!("{} is {}", seeds.name(), seeds.ty()))
            .help("pass one 32-bit element, [1, 1]");
    }
}
