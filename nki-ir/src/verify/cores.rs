//! Checks of what two programs do together (isa.md 9.8).

use super::context::Cx;
use super::rules;
use crate::entity::Entity;
use crate::kernel::BufKind;
use crate::view::View;

/// isa.md 9.8.1.
pub fn core_barrier(cx: &Cx) {
    two_programs(cx, &rules::CB_PROGRAMS);
    if cx.ints("cores") != [0, 1] {
        let message = format!("cores are {:?}", cx.ints("cores"));
        cx.fail(&rules::CB_CORES, message).help("leave `cores` out");
    }
    let Some(data) = cx.arg("data") else { return };
    let whole = *data.view == View::full(data.view.buf, data.buf);
    if data.buf.kind == BufKind::Private || !whole {
        let message = format!("{} is {}", data.name(), if whole { "private" } else { "a part of a tensor" });
        cx.fail_arg(&rules::CB_SHARED, data, message)
            .help("pass an output or inout tensor of the kernel, whole");
    }
    if cx.int("buffer") != data.view.buf.index() as i64 {
        let message = format!("buffer is {}, {} is {}", cx.int("buffer"), data.name(), data.view.buf.index());
        cx.fail_arg(&rules::CB_BUFFER, data, message).help("give the number of the tensor, counted from 0");
    }
}

/// isa.md 9.8.2.
pub fn sendrecv(cx: &Cx) {
    two_programs(cx, &rules::SEND_PROGRAMS);
    for rank in ["send_to_rank", "recv_from_rank"] {
        if !(0..=1).contains(&cx.int(rank)) {
            cx.fail(&rules::SEND_RANK, format!("{rank} is {}", cx.int(rank))).help("the ranks are 0 and 1");
        }
    }
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    if dst.dtype() != src.dtype() || dst.shape != src.shape {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.ty(), src.name(), src.ty());
        cx.fail_arg(&rules::SEND_ALIKE, dst, message).help("make both of one dtype and shape");
    }
    let width = src.dtype().bytes() as u64;
    if cx.flag("gpsimd_dma") && src.n > 256 {
        let message = format!("{} has {} bytes in a partition", src.name(), src.n * width);
        cx.fail_arg(&rules::SEND_SIZE, src, message).help("send it in parts, or by the DMA engines");
    }
}

fn two_programs(cx: &Cx, rule: &'static rules::Rule) {
    if cx.kernel.program.is_none_or(|(_, n)| n != 2) {
        let found = cx.kernel.program.map_or("one program".into(), |(i, n)| format!("program {i} of {n}"));
        cx.fail(rule, format!("the kernel is {found}")).help("launch it with two programs: `.programs(2)`");
    }
}
