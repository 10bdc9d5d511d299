//! Checks of DMA instructions (isa.md 9.6).

use super::context::{Arg, Cx};
use super::rules;
use crate::kernel::Attr;
use crate::op::{DgeMode, Engine, OobMode};
use crate::target::Gen;
use crate::view::Dynamic;

/// isa.md 9.6.1.
pub fn dma_copy(cx: &Cx) {
    let (Some(dst), Some(src)) = (cx.arg("dst"), cx.arg("src")) else { return };
    let count = |a: &Arg| a.n.saturating_mul(a.parts().into());
    if count(dst) != count(src) {
        let message = format!(
            "{} is {} ({} elements), {} is {} ({} elements)",
            dst.name(),
            dst.ty(),
            count(dst),
            src.name(),
            src.ty(),
            count(src)
        );
        cx.fail_arg(&rules::DMA_COUNT, dst, message)
            .related(src.buf.loc, format!("`{}` is {}", src.buf.name, super::context::type_of(src.buf)))
            .help("slice both sides to the same shape");
    }
    let mode = if let Attr::Dge(m) = cx.raw("dge_mode") { *m } else { DgeMode::Unknown };
    let cast = dst.dtype() != src.dtype();
    if cast && (dst.dtype().is_packed() || src.dtype().is_packed() || mode == DgeMode::Hwdge) {
        let why = if mode == DgeMode::Hwdge { " by hardware descriptors" } else { "" };
        let message = format!("{} from {} to {}{why}", src.name(), src.dtype(), dst.dtype());
        cx.fail_arg(&rules::DMA_CAST, dst, message).help(if why.is_empty() {
            "copy with equal dtypes and convert on chip"
        } else {
            "leave dge_mode open, or convert on chip with tensor_copy"
        });
    }
    dynamic(cx, dst, src, mode);
    queue(cx, mode);
}

/// Checks 4 to 6.
fn dynamic(cx: &Cx, dst: &Arg, src: &Arg, mode: DgeMode) {
    let vector = |a: &Arg| matches!(a.view.dynamic, Some(Dynamic::Vector { .. }));
    let any = dst.view.dynamic.is_some() || src.view.dynamic.is_some();
    if vector(dst) && vector(src) {
        cx.fail_arg(&rules::DMA_TWO_VECTORS, dst, "both sides take their rows from an index tile")
            .help("gather into a tile first, then scatter it");
    }
    if (vector(dst) || vector(src)) && !matches!(mode, DgeMode::Unknown | DgeMode::Swdge) {
        cx.fail(&rules::DMA_VECTOR, format!("rows from an index tile with dge_mode {mode}"))
            .help("use dge_mode swdge, or leave it open");
    } else if any && mode == DgeMode::None {
        cx.fail(&rules::DYNAMIC_MODE, "a dynamic index with dge_mode none").help("leave dge_mode open");
    }
    if *cx.raw("oob_mode") == Attr::Oob(OobMode::Skip) && !any {
        cx.fail(&rules::DMA_SKIP, "oob_mode is skip, but every index is static").help("drop oob_mode");
    }
}

/// Check 7.
fn queue(cx: &Cx, mode: DgeMode) {
    if mode == DgeMode::Hwdge && cx.generation() < Gen::Gen3 {
        cx.fail(&rules::DMA_HWDGE, format!("dge_mode hwdge on {}", cx.target)).help("leave dge_mode open");
    }
    let engine = if let Attr::Engine(e) = cx.raw("engine") { *e } else { Engine::Unknown };
    let issuer = matches!(engine, Engine::Sync | Engine::Scalar);
    if engine != Engine::Unknown && !(mode == DgeMode::Hwdge && issuer) {
        cx.fail(&rules::DMA_ENGINE, format!("issued by {engine} with dge_mode {mode}"))
            .help("drop engine, or use dge_mode hwdge with sync or scalar");
    }
    priority(cx);
}

/// Check 8.
pub fn priority(cx: &Cx) {
    let priority = cx.int("priority");
    if priority != -1 {
        if !(0..=3).contains(&priority) {
            cx.fail(&rules::DMA_PRIORITY, format!("priority is {priority}")).help("use 0 to 3, or none");
        } else if cx.generation() < Gen::Gen4 {
            cx.fail(&rules::DMA_PRIORITY_TARGET, format!("priority on {}", cx.target)).help("drop priority");
        }
    }
}
