//! Checks of the GpSimd engine's reductions, gathers and searches (isa.md 9.4.1 and 9.4.4 to 9.4.8).

use super::context::{Arg, Cx};
use super::rules::{self, Rule};
use crate::dtype::DType;
use crate::op::AluOp;

/// Partitions of one of the engine's processors.
const CORE: u32 = 16;

/// isa.md 9.4.1.
pub fn tensor_partition_reduce(cx: &Cx) {
    use AluOp::*;
    let op = cx.alu("op");
    if !matches!(op, Add | Average | Maximum | BitwiseOr | BitwiseAnd) {
        cx.fail(&rules::TPR_OP, format!("op is {op}"))
            .help("transpose with nc_transpose and use tensor_reduce for other operators");
    }
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    if dst.parts() != 1 || dst.n != data.n {
        shape(cx, &rules::TPR_SHAPE, dst, format!("the result of {} is [1, {}]", data.name(), data.n));
    }
}

/// isa.md 9.4.4.
pub fn sequence_bounds(cx: &Cx) {
    let (Some(dst), Some(ids)) = (cx.arg("dst"), cx.arg("segment_ids")) else { return };
    for arg in [dst, ids].into_iter().filter(|a| a.parts() != 1) {
        shape(cx, &rules::SEQ_ROW, arg, "one row is expected".into());
    }
    if dst.n != ids.n.saturating_mul(2) {
        shape(cx, &rules::SEQ_SIZE, dst, format!("{} ids have bounds [1, 2, {}]", ids.n, ids.n));
    }
    for arg in [dst, ids] {
        dtype(cx, &rules::SEQ_DTYPE, arg, &[DType::F32, DType::I32]);
    }
}

/// isa.md 9.4.5.
pub fn local_gather(cx: &Cx) {
    let (Some(dst), Some(src), Some(index)) = (cx.arg("dst"), cx.arg("src_buffer"), cx.arg("index")) else {
        return;
    };
    groups(cx, &rules::LG_PARTS, &[dst, src, index]);
    let each = cx.int("num_elem_per_idx");
    if ![1, 2, 4, 8, 16, 32].contains(&each) {
        cx.fail(&rules::LG_EACH, format!("num_elem_per_idx is {each}"))
            .help("use a power of two up to 32, or several gathers");
    }
    let capacity = i128::from(index.n) * i128::from(CORE);
    let valid = match cx.int("num_valid_indices") {
        -1 => capacity,
        v => v.into(),
    };
    if valid < 1 || valid > capacity.min(4096) {
        let message = format!("num_valid_indices is {valid}, {} holds {capacity} for a group", index.name());
        cx.fail_arg(&rules::LG_VALID, index, message).help("gather in parts of at most 4096 indices");
    } else if i128::from(dst.n) != valid * i128::from(each) {
        shape(cx, &rules::LG_SIZE, dst, format!("{valid} indices take {each} elements each"));
    }
    dtype(cx, &rules::LG_INDEX, index, &[DType::U16]);
    same_dtype(cx, &rules::LG_DTYPE, dst, src);
}

/// isa.md 9.4.6.
pub fn nc_n_gather(cx: &Cx) {
    let (Some(dst), Some(data), Some(indices)) = (cx.arg("dst"), cx.arg("data"), cx.arg("indices")) else {
        return;
    };
    for arg in [data, indices].into_iter().filter(|a| a.parts() != dst.parts()) {
        shape(cx, &rules::NG_PARTS, arg, format!("{} has {} partitions", dst.name(), dst.parts()));
    }
    if dst.n != indices.n {
        shape(cx, &rules::NG_SIZE, dst, format!("{} has {} indices", indices.name(), indices.n));
    }
    same_dtype(cx, &rules::NG_DTYPE, dst, data);
    dtype(cx, &rules::NG_INDEX, indices, &[DType::U32]);
}

/// isa.md 9.4.7.
pub fn nonzero_with_count(cx: &Cx) {
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    dtype(cx, &rules::NZ_DTYPE, dst, &[DType::I32]);
    dtype(cx, &rules::NZ_DTYPE, src, &[DType::F32, DType::I32]);
    if dst.n != src.n.saturating_add(1) {
        shape(cx, &rules::NZ_SIZE, dst, format!("{} columns are expected", src.n.saturating_add(1)));
    }
    if dst.parts() != src.parts() {
        shape(cx, &rules::NZ_PARTS, dst, format!("{} has {} partitions", src.name(), src.parts()));
    }
    for name in ["index_offset", "padding_val"] {
        let value = cx.int(name);
        if i32::try_from(value).is_err() {
            cx.fail(&rules::NZ_RANGE, format!("{name} is {value}")).help("keep it within 32 bits");
        }
    }
}

/// isa.md 9.4.8.
pub fn topk(cx: &Cx) {
    let (Some(values), Some(places), Some(src)) = (cx.arg("val_dst"), cx.arg("idx_dst"), cx.arg("src"))
    else {
        return;
    };
    groups(cx, &rules::TK_PARTS, &[values, places, src]);
    let n = cx.int("n");
    if !(8..65536).contains(&n) {
        cx.fail(&rules::TK_N, format!("n is {n}")).help("search 8 to 65535 elements");
        return;
    }
    let k = values.n;
    if k < 1 || k > n as u64 || k >= 32768 || places.n != k {
        let message = format!("{} finds {k} of {n} elements, {} {}", values.name(), places.name(), places.n);
        cx.fail_arg(&rules::TK_K, values, message)
            .help("give values and indices the same K of 1 to n columns");
    }
    if src.n < (n as u64).div_ceil(CORE.into()) {
        shape(cx, &rules::TK_SRC, src, format!("{n} elements take {} columns", (n as u64).div_ceil(16)));
    }
    dtype(cx, &rules::TK_DTYPE, values, &[DType::BF16]);
    dtype(cx, &rules::TK_DTYPE, places, &[DType::U32]);
    dtype(cx, &rules::TK_DTYPE, src, &[DType::BF16]);
}

/// All operands have the partitions of the first, which are whole groups.
fn groups(cx: &Cx, rule: &'static Rule, args: &[&Arg]) {
    let parts = args[0].parts();
    if let Some(arg) = args.iter().find(|a| a.parts() != parts || !a.parts().is_multiple_of(CORE)) {
        let message = format!("{} has {} partitions, {} {parts}", arg.name(), arg.parts(), args[0].name());
        cx.fail_arg(rule, arg, message).help("use the same multiple of 16 partitions for all of them");
    }
}

fn shape(cx: &Cx, rule: &'static Rule, arg: &Arg, expected: String) {
    cx.fail_arg(rule, arg, format!("{} is {}: {expected}", arg.name(), arg.ty())).help("change its shape");
}

pub fn dtype(cx: &Cx, rule: &'static Rule, arg: &Arg, allowed: &[DType]) {
    if !allowed.contains(&arg.dtype()) {
        let list = allowed.iter().map(|d| d.name()).collect::<Vec<_>>().join(" or ");
        cx.fail_arg(rule, arg, format!("{} is {}, expected {list}", arg.name(), arg.dtype()))
            .help("convert it with tensor_copy");
    }
}

pub fn same_dtype(cx: &Cx, rule: &'static Rule, dst: &Arg, src: &Arg) {
    if dst.dtype() != src.dtype() {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.dtype(), src.name(), src.dtype());
        cx.fail_arg(rule, dst, message).help(format!("allocate the destination as {}", src.dtype()));
    }
}
