//! Checks of transfers that do more than copy (isa.md 9.6.2 and 9.6.3).

use super::context::{Arg, Cx};
use super::rules;
use super::search::same_dtype;
use crate::kernel::{Attr, Space};
use crate::op::{AluOp, DgeMode, OobMode};
use crate::target::{Gen, PARTITIONS};
use crate::view::Dynamic;

fn index_of<'a>(arg: &Arg<'a>) -> Option<&'a crate::View> {
    match &arg.view.dynamic {
        Some(Dynamic::Vector { index }) => Some(index),
        _ => None,
    }
}

fn skips(cx: &Cx) -> bool {
    *cx.raw("oob_mode") == Attr::Oob(OobMode::Skip)
}

/// isa.md 9.6.2.
pub fn dma_transpose(cx: &Cx) {
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    let mode = if let Attr::Dge(m) = cx.raw("dge_mode") { *m } else { DgeMode::Unknown };
    transposed_shape(cx, dst, src);
    same_dtype(cx, &rules::DT_DTYPE, dst, src);
    let index = index_of(src);
    let plain = mode == DgeMode::Unknown && index.is_none();
    if !(src.dtype().bytes() == 2 || plain && src.dtype().bytes() == 4) {
        let how = if plain { "" } else { ", indirect or with a dge_mode" };
        cx.fail_arg(&rules::DT_WIDTH, src, format!("{} is {}{how}", src.name(), src.dtype()))
            .help("convert it to a 16-bit type first, or transpose on chip with nc_transpose");
    }
    if mode == DgeMode::Hwdge {
        hardware(cx, src);
    } else if mode == DgeMode::None {
        cx.fail(&rules::DT_HWDGE, "dge_mode is none").help("leave dge_mode open, or use hwdge or swdge");
    }
    if let Some(index) = index {
        indirect(cx, src, index, mode);
    }
    if skips(cx) && src.view.dynamic.is_none() {
        cx.fail(&rules::DT_SKIP, "oob_mode is skip, but the source is static").help("drop oob_mode");
    }
    super::dma::priority(cx);
}

/// Check 1.
fn transposed_shape(cx: &Cx, dst: &Arg, src: &Arg) {
    let rank = src.shape.len();
    let axes: &[i64] = match rank {
        2 => &[1, 0],
        3 => &[2, 1, 0],
        4 => &[3, 1, 2, 0],
        _ => &[],
    };
    let given = cx.ints("axes");
    if axes.is_empty() || !(given.is_empty() || given == axes) {
        let message = format!("axes {given:?} for {}, which is {}", src.name(), src.ty());
        cx.fail(&rules::DT_AXES, message).help("exchange the first and the last of 2, 3 or 4 axes");
        return;
    }
    let mut want = src.shape.clone();
    want.swap(0, rank - 1);
    if dst.shape != want {
        let message = format!("{} is {}, {} transposed is {:?}", dst.name(), dst.ty(), src.name(), &want[..]);
        cx.fail_arg(&rules::DT_SHAPE, dst, message).help(format!("make the destination {:?}", &want[..]));
    }
    let rows = cx.int("rows");
    if rows != i64::from(src.shape[0]) && !(rank == 2 && rows == 0) {
        let message = format!("rows is {rows}, {} has {}", src.name(), src.shape[0]);
        cx.fail(&rules::DT_SHAPE, message).help("give the first extent of the source as rows");
    }
}

/// Check 3.
fn hardware(cx: &Cx, src: &Arg) {
    if cx.generation() < Gen::Gen3 {
        cx.fail(&rules::DT_MODE, format!("dge_mode hwdge on {}", cx.target)).help("leave dge_mode open");
    }
    let (rank, first) = (src.shape.len(), src.shape.first().copied().unwrap_or(0));
    let last = src.shape.last().copied().unwrap_or(0);
    let leading = match rank {
        0 | 1 => return,
        2 => first == 16,
        _ => {
            let block = u64::from(first) * u64::from(src.shape[rank - 2]);
            first.is_power_of_two() && first <= 16 && block.is_multiple_of(16)
        }
    };
    if !leading || last > PARTITIONS {
        cx.fail_arg(&rules::DT_HWDGE, src, format!("{} is {}", src.name(), src.ty()))
            .help("leave dge_mode open for other shapes");
    }
}

/// Check 4.
fn indirect(cx: &Cx, src: &Arg, index: &crate::View, mode: DgeMode) {
    if cx.generation() < Gen::Gen3 {
        cx.fail_arg(&rules::DT_INDEX_TARGET, src, format!("rows by an index tile on {}", cx.target))
            .help("gather the rows with dma_copy, then transpose them");
    }
    let first = src.shape.first().copied().unwrap_or(0);
    let narrow = src.shape.len() < 4 || src.shape[1] == 1 || src.shape[2] == 1;
    let rows = src.shape.last().is_some_and(|n| *n <= PARTITIONS) && first.is_multiple_of(16) && narrow;
    let modes = matches!(mode, DgeMode::Unknown | DgeMode::Swdge);
    if src.space() != Space::Hbm || !rows || !modes {
        cx.fail_arg(&rules::DT_INDEX, src, format!("{} is {}, dge_mode {mode}", src.name(), src.ty()))
            .help("gather with dma_copy and transpose with nc_transpose instead");
        return;
    }
    let buf = &cx.kernel.bufs[index.buf];
    let Some(p) = index.pattern(buf) else { return };
    let (parts, columns) = (p.parts, p.elements());
    let whole = parts.is_multiple_of(16) && (16..=128).contains(&parts);
    let fits = whole && (columns == 1 || parts == 128) && u64::from(parts) * columns >= first.into();
    if !fits || index.dtype != crate::DType::U32 {
        let message = format!("{first} rows of {} by {} [{parts}, {columns}]", src.name(), index.dtype);
        cx.fail(&rules::DT_INDEX, message)
            .buffer(buf)
            .help("list the rows down one column of 16 to 128 partitions, or down several columns of 128");
    }
}

/// isa.md 9.6.3.
pub fn dma_compute(cx: &Cx) {
    let Some(dst) = cx.arg("dst") else { return };
    let sources: Vec<&Arg> = cx.views().filter(|a| !a.is_dst()).collect();
    let count = |a: &Arg| a.n.saturating_mul(a.parts().into());
    for src in sources.iter().filter(|s| count(s) != count(dst)) {
        let message = format!("{} is {}, {} is {}", src.name(), src.ty(), dst.name(), dst.ty());
        cx.fail_arg(&rules::DC_COUNT, src, message).help("slice all operands to the same size");
    }
    if cx.alu("reduce_op") != AluOp::Add {
        cx.fail(&rules::DC_OP, format!("reduce_op is {}", cx.alu("reduce_op"))).help("use add");
    }
    if *cx.raw("scales") != Attr::F32(1.0) {
        cx.fail(&rules::DC_SCALES, "scales is not 1.0").help("scale on chip with tensor_scalar");
    }
    let by_index = std::iter::once(dst).chain(sources.iter().copied()).any(|a| index_of(a).is_some());
    let dynamic = cx.views().any(|a| a.view.dynamic.is_some());
    if by_index {
        in_place(cx, dst, &sources);
    } else if dynamic {
        cx.fail(&rules::DC_STATIC, "an operand has a dynamic index").help("copy the part with dma_copy");
    }
    if skips(cx) && !by_index {
        cx.fail(&rules::DC_SKIP, "oob_mode is skip, but no operand takes rows from an index tile")
            .help("drop oob_mode");
    }
}

/// Check 3: rows of an HBM tensor and an SBUF tile, one of which is both source and destination.
fn in_place(cx: &Cx, dst: &Arg, sources: &[&Arg]) {
    let same = sources.iter().filter(|s| s.view == dst.view).count();
    let other = sources.iter().find(|s| s.view != dst.view);
    let rows = |a: &Arg| index_of(a).is_some() && a.space() == Space::Hbm;
    let tile = |a: &Arg| a.view.dynamic.is_none() && a.space() == Space::Sbuf;
    let fits = sources.len() == 2
        && same == 1
        && other.is_some_and(|o| rows(dst) && tile(o) || tile(dst) && rows(o));
    if !fits {
        let message = format!("{} is added to from {} sources", dst.name(), sources.len());
        cx.fail_arg(&rules::DC_INDEX, dst, message)
            .help("pass the destination as one source and the rows or the tile as the other");
    }
    if !cx.flag("unique_indices") {
        cx.fail(&rules::DC_UNIQUE, "unique_indices is false").help("add repeated rows one after the other");
    }
}
