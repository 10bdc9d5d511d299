//! Checks of the vector engine's instructions on whole rows: statistics, the eight largest, shuffles (isa.md 9.3.17 to
//! 9.3.22).

use super::context::{Arg, Cx};
use super::generic::{legal_start, start_outside};
use super::rules::{self, Rule};
use crate::dtype::DType;
use crate::op::SHUFFLE_KEEP;
use crate::sem::cast;

/// Reports a tile that is not `[parts of the lead, columns]`.
fn is_column_block(cx: &Cx, rule: &'static Rule, name: &str, lead: &Arg, columns: u64) {
    let Some(arg) = cx.arg(name) else { return };
    if (arg.parts(), arg.n) != (lead.parts(), columns) {
        let message = format!("{} is {}, expected [{}, {columns}]", arg.name(), arg.ty(), lead.parts());
        cx.fail_arg(rule, arg, message).help(format!("make it [{}, {columns}]", lead.parts()));
    }
}

/// isa.md 9.3.17.
pub fn bn_stats(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    if data.n > 512 {
        cx.fail_arg(&rules::BNS_COLUMNS, data, format!("{} has {} columns", data.name(), data.n))
            .help("take 512 columns at a time and merge the results with bn_aggr");
    }
    if dst.n != 6 {
        cx.fail_arg(&rules::BNS_DST, dst, format!("{} has {} columns", dst.name(), dst.n))
            .help("give it 6 columns");
    }
    same_parts(cx, &rules::BNS_PARTS, dst, data);
    if !dst.dtype().is_float() {
        cx.fail_arg(&rules::BNS_DTYPE, dst, format!("{} is {}", dst.name(), dst.dtype()))
            .help("use a float32 tile");
    }
}

/// isa.md 9.3.18.
pub fn bn_aggr(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    if !data.n.is_multiple_of(3) {
        cx.fail_arg(&rules::BNA_TRIPLES, data, format!("{} has {} columns", data.name(), data.n))
            .help("pass the results of bn_stats, 6 columns each, side by side");
    }
    if dst.n != 2 {
        cx.fail_arg(&rules::BNA_DST, dst, format!("{} has {} columns", dst.name(), dst.n))
            .help("give it 2 columns");
    }
    same_parts(cx, &rules::BNA_PARTS, dst, data);
}

fn same_parts(cx: &Cx, rule: &'static Rule, dst: &Arg, data: &Arg) {
    if dst.parts() != data.parts() {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.ty(), data.name(), data.ty());
        cx.fail_arg(rule, dst, message).help("slice both to the same partitions");
    }
}

/// 8 to 16384 elements per partition.
fn row_size(cx: &Cx, rule: &'static Rule, data: &Arg, least: u64) {
    if !(least..=16384).contains(&data.n) {
        let message = format!("{} has {} elements per partition", data.name(), data.n);
        cx.fail_arg(rule, data, message).help("search the row in parts");
    }
}

fn at_most_rank_3(cx: &Cx, rule: &'static Rule, data: &Arg) {
    if data.shape.len() > 3 {
        cx.fail_arg(rule, data, format!("{} has rank {}", data.name(), data.shape.len()))
            .help("merge its free axes");
    }
}

/// isa.md 9.3.19.
pub fn max8(cx: &Cx) {
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    row_size(cx, &rules::MAX8_SIZE, src, 8);
    if dst.shape.as_slice() != [src.parts(), 8] {
        cx.fail_arg(&rules::MAX8_DST, dst, format!("{} is {}", dst.name(), dst.ty()))
            .help(format!("make it [{}, 8]", src.parts()));
    }
    at_most_rank_3(cx, &rules::MAX8_RANK, src);
}

/// isa.md 9.3.20.
pub fn nc_find_index8(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    row_size(cx, &rules::FIND8_SIZE, data, 8);
    is_column_block(cx, &rules::FIND8_EIGHT, "vals", data, 8);
    is_column_block(cx, &rules::FIND8_EIGHT, "dst", data, 8);
    index_dtype(cx, &rules::FIND8_DTYPE, dst);
    at_most_rank_3(cx, &rules::FIND8_RANK, data);
}

fn index_dtype(cx: &Cx, rule: &'static Rule, dst: &Arg) {
    if !matches!(dst.dtype(), DType::U16 | DType::U32) {
        cx.fail_arg(rule, dst, format!("{} is {}", dst.name(), dst.dtype())).help("use uint32");
    }
}

/// isa.md 9.3.21.
pub fn nc_match_replace8(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    row_size(cx, &rules::MATCH8_SIZE, data, 1);
    is_column_block(cx, &rules::MATCH8_EIGHT, "vals", data, 8);
    is_column_block(cx, &rules::MATCH8_EIGHT, "dst_idx", data, 8);
    if let Some(index) = cx.arg("dst_idx") {
        index_dtype(cx, &rules::MATCH8_DTYPE, index);
    }
    if dst.shape != data.shape {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.ty(), data.name(), data.ty());
        cx.fail_arg(&rules::MATCH8_SHAPE, dst, message).help("give both one shape");
    }
    let (imm, d) = (cx.f32("imm"), dst.dtype());
    if cast::is_castable(d) {
        let held = cast::up(d, cast::down(d, imm));
        if held != imm && !(held.is_nan() && imm.is_nan()) {
            cx.fail_arg(
                &rules::MATCH8_IMM,
                dst,
                format!("imm {imm} would be {held} in {} of {d}", dst.name()),
            )
            .help("choose a value that the dtype holds");
        }
    }
}

/// isa.md 9.3.22.
pub fn nc_stream_shuffle(cx: &Cx) {
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    let mask = cx.ints("shuffle_mask");
    if dst.dtype() != src.dtype() {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.dtype(), src.name(), src.dtype());
        cx.fail_arg(&rules::SHUFFLE_DTYPE, dst, message).help("convert with tensor_copy");
    }
    if dst.n != src.n {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.ty(), src.name(), src.ty());
        cx.fail_arg(&rules::SHUFFLE_SIZE, dst, message).help("slice both to the same columns");
    }
    let quadrants = dst.parts().max(src.parts()).div_ceil(32);
    for arg in [dst, src] {
        let legal = |start| !legal_start(start, arg.parts()) || legal_start(start, quadrants * 32);
        if let Some((start, w)) = start_outside(cx, arg, legal) {
            let message = format!(
                "{} starts at partition {start}, but the shuffle spans {} partitions{}",
                arg.name(),
                quadrants * 32,
                w.text(cx.kernel)
            );
            cx.fail_arg(&rules::SHUFFLE_START, arg, message)
                .help("start where a tile of the larger size may start");
        }
    }
    let entry = |m: &i64| (0..32).contains(m) || *m == SHUFFLE_KEEP;
    if mask.len() != 32 || !mask.iter().all(entry) {
        let what = match mask.iter().find(|m| !entry(m)) {
            Some(m) => format!("shuffle_mask has the entry {m}"),
            None => format!("shuffle_mask has {} entries", mask.len()),
        };
        cx.fail(&rules::SHUFFLE_MASK, what)
            .help("give 32 entries: a partition of the quadrant (0 to 31), or 255 to keep one");
        return;
    }
    for p in 0..dst.parts() {
        let from = mask[p as usize % 32];
        let wanted = i64::from(p / 32 * 32) + from;
        if from != SHUFFLE_KEEP && wanted >= src.parts().into() {
            let message = format!(
                "partition {p} of {} comes from partition {wanted} of {}, which has {}",
                dst.name(),
                src.name(),
                src.parts()
            );
            cx.fail_arg(&rules::SHUFFLE_SOURCE, src, message)
                .help("keep that partition with 255, or use a larger source");
            return;
        }
    }
}
