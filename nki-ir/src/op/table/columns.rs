//! Short forms in which the rows are written.

pub use super::super::enums::*;
pub use super::super::{AttrKind, AttrSpec, Effect, Memories, OpRow, OperandKind, OperandSpec, TimingClass};
pub use super::Op;
pub use crate::kernel::{Accumulate, Attr};
pub use crate::target::Gen::{Gen2, Gen3, Gen4};

pub const S: Memories = Memories { hbm: false, sbuf: true, psum: false };
pub const P: Memories = Memories { hbm: false, sbuf: false, psum: true };
pub const SP: Memories = Memories { hbm: false, sbuf: true, psum: true };
pub const HS: Memories = Memories { hbm: true, sbuf: true, psum: false };

pub const fn dst(memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name: "dst", effect: Effect::Write, kind, memories, optional: false }
}
/// A destination of which some elements keep what they hold.
pub const fn update(memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name: "dst", effect: Effect::Update, kind, memories, optional: false }
}
pub const fn src(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Read, kind, memories, optional: false }
}
pub const fn opt(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Read, kind, memories, optional: true }
}
pub const fn out(name: &'static str, memories: Memories, kind: OperandKind) -> OperandSpec {
    OperandSpec { name, effect: Effect::Write, kind, memories, optional: true }
}
pub const fn attr(name: &'static str, kind: AttrKind) -> AttrSpec {
    AttrSpec { name, kind, default: None }
}
pub const fn with(name: &'static str, kind: AttrKind, default: fn() -> Attr) -> AttrSpec {
    AttrSpec { name, kind, default: Some(default) }
}
pub const fn flag(name: &'static str) -> AttrSpec {
    with(name, AttrKind::Bool, || Attr::Bool(false))
}

pub use AttrKind as A;
pub use OperandKind::{Free, ScalarOrVec, Scales, Sixteenths, Tile, Vec};
