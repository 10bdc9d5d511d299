//! Checks of columns by an index tile (isa.md 3.6).

use super::context::{Arg, Cx};
use super::generic::bounds;
use super::rules;
use crate::dtype::DType;
use crate::kernel::{Accumulate, BufData, Space};
use crate::op::{Engine, Op};
use crate::sem::group;
use crate::target::Gen;
use crate::view::{Dynamic, View};

/// Whether an operand of `op` may be gathered or scattered.
fn is_listed(op: Op, operand: &str) -> bool {
    match op {
        Op::NcMatmul | Op::NcMatmulMx => true,
        Op::TensorTensor => operand != "data2",
        Op::TensorScalar
        | Op::TensorReduce
        | Op::TensorCopy
        | Op::TensorScalarReduce
        | Op::TensorScalarCumulative
        | Op::Activation
        | Op::ActivationReduce
        | Op::Activate2
        | Op::Exponential => matches!(operand, "dst" | "data" | "src"),
        Op::TensorCopyPredicated => operand != "src",
        _ => false,
    }
}

/// One operand with columns by `index`.
pub(super) fn check(cx: &Cx, arg: &Arg, index: &View, elements: u32) {
    let copy_engine = cx.row.op != Op::TensorCopy || cx.engine != Engine::GpSimd;
    if !is_listed(cx.row.op, arg.spec.name)
        || !copy_engine
        || cx.generation() < Gen::Gen4
        || !arg.space().on_chip()
    {
        let message = format!("{} is gathered by an index tile on {}", arg.name(), cx.target);
        cx.fail_arg(&rules::INDIRECT, arg, message).help("gather rows with dma_copy");
        return;
    }
    let Some(tile) = cx.kernel.bufs.get(index.buf) else { return };
    index_tile(cx, arg, index, tile, elements);
    if arg.is_dst() && arg.space() == Space::Psum && cx.engine == Engine::Scalar {
        cx.fail_arg(&rules::IND_SCATTER, arg, format!("{} is scattered", arg.name()))
            .help("scatter on the vector engine, or into SBUF");
    }
    if matches!(cx.row.op, Op::NcMatmul | Op::NcMatmulMx) {
        matmul(cx, arg, index);
    }
}

fn index_tile(cx: &Cx, arg: &Arg, index: &View, tile: &BufData, elements: u32) {
    if !matches!(index.dtype, DType::U16 | DType::U32 | DType::I32) {
        let message = format!("{}: the index `{}` is {}", arg.name(), tile.name, index.dtype);
        cx.fail(&rules::IND_DTYPE, message).buffer(tile).help("convert it with tensor_copy");
    }
    bounds(cx, "index", index, tile);
    let Some(p) = index.pattern(tile) else { return };
    let group = group(cx.row.op);
    // A scale tile has four rows of each quadrant, its index those of the data.
    let scale = arg.spec.kind == crate::op::OperandKind::Scales;
    let parts = if scale { p.parts >= arg.parts() } else { p.parts == arg.parts() };
    let fits = u64::from(elements) <= u64::from(group) * p.elements() && elements > 0;
    let plain = tile.space == Space::Sbuf && index.dynamic.is_none();
    if !parts || !p.parts.is_multiple_of(group) || !fits || !plain {
        let message = format!(
            "{} takes {elements} columns by `{}`, {} {}[{}, {}]",
            arg.name(),
            tile.name,
            tile.space,
            index.dtype,
            p.parts,
            p.elements()
        );
        cx.fail_arg(&rules::IND_INDEX, arg, message).help(format!(
            "give an index tile in SBUF with the partitions of `{}`, a multiple of {group}, and a column for each {group} offsets",
            arg.buf.name
        ));
        return;
    }
    // Only inputs are bound to their index; a scattered destination's index starts where the main input does.
    let start = |buf: &BufData, part: &crate::Affine| {
        Some(part.as_constant()? + i64::from(buf.address.map_or(0, |a| a.0)))
    };
    let at = start(tile, &p.part);
    let main = if arg.is_dst() { main_input(cx) } else { Some(arg) };
    let wanted = main.filter(|_| !scale).and_then(|m| match &m.view.dynamic {
        // In PSUM and gathered: where the input's index starts.
        Some(Dynamic::Indirect { index, .. }) if m.space() == Space::Psum && arg.is_dst() => {
            start(cx.kernel.bufs.get(index.buf)?, &index.pattern(cx.kernel.bufs.get(index.buf)?)?.part)
        }
        _ if m.space() == Space::Sbuf || !arg.is_dst() => start(m.buf, &m.pattern.part),
        _ => None,
    });
    let misplaced = wanted.is_some_and(|w| at.is_some_and(|a| a != w));
    if misplaced || at.is_some_and(|a| a % 32 != 0) {
        let message =
            format!("{}: its index `{}` starts at partition {}", arg.name(), tile.name, at.unwrap_or(0));
        cx.fail_arg(&rules::IND_START, arg, message).help("place both at one multiple of 32");
    }
}

/// The input that decides where the index of a destination starts.
fn main_input<'c, 'k>(cx: &'c Cx<'k>) -> Option<&'c Arg<'k>> {
    ["stationary", "data1", "data", "src"].iter().find_map(|name| cx.arg(name))
}

fn matmul(cx: &Cx, arg: &Arg, index: &View) {
    // Of MX operands the tile comes with the data: scales add nothing to the report.
    let scale = arg.spec.kind == crate::op::OperandKind::Scales;
    let tiled = cx.ints("tile_position").iter().any(|x| *x != 0);
    if tiled && !scale {
        let message = format!(
            "{} is gathered or scattered at tile_position {:?}",
            arg.name(),
            cx.ints("tile_position")
        );
        cx.fail_arg(&rules::IND_MATMUL, arg, message).help("use the whole array from (0, 0)");
    }
    if arg.is_dst() {
        if cx.accumulate() == Some(&Accumulate::Auto) {
            cx.fail_arg(&rules::IND_ACCUMULATE, arg, format!("{} is scattered", arg.name()))
                .help("pass `accumulate` true or false");
        }
        return;
    }
    if cx.row.op == Op::NcMatmulMx {
        let other = match arg.spec.name {
            "stationary" => "stationary_scale",
            "moving" => "moving_scale",
            "stationary_scale" => "stationary",
            _ => "moving",
        };
        let same = cx.arg(other).is_some_and(
            |o| matches!(&o.view.dynamic, Some(Dynamic::Indirect { index: i, .. }) if **i == *index),
        );
        if !same {
            cx.fail_arg(
                &rules::IND_MX,
                arg,
                format!("{} is gathered, {other} is not by the same index", arg.name()),
            )
            .help("gather data and scales by one index tile");
        }
        return;
    }
    let d = arg.dtype();
    let narrow = matches!(d, DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FN);
    let transposes = cx.flag("is_transpose") && arg.spec.name == "moving";
    if !narrow || transposes {
        cx.fail_arg(&rules::IND_MATMUL, arg, format!("{} is {}, gathered", arg.name(), arg.ty()))
            .help("convert it to bfloat16; of a transpose, gather the stationary operand");
    }
}
