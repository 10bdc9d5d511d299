//! Scalars in engine registers: trip counts, conditions and offsets that are known only when the kernel runs.

use crate::elem::{Elem, Int};
use crate::idx::Idx;
use crate::nc::Nc;
use crate::space::Sbuf;
use crate::tensor::Tensor;
use crate::trace::{self, Place, Session, TraceId};
use nki_ir::kernel::Bound;
use std::fmt;
use std::marker::PhantomData;

/// A 32-bit scalar in a sequencer register (isa.md section 9.7). Not a Rust number: it can be a loop bound
/// ([`Nc::range_dyn`]), a condition ([`Nc::when`], [`Nc::while_loop`]) or an offset
/// (`x.at((r, ..))`, [`ds`]). Arithmetic is done on a `[1, 1]` tile, which is then loaded
/// ([`Nc::register_load`]).
pub struct Reg<T: Int> {
    pub(crate) trace: TraceId,
    pub(crate) reg: nki_ir::Reg,
    pub(crate) kind: PhantomData<(T, *const ())>,
}

impl<T: Int> Clone for Reg<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T: Int> Copy for Reg<T> {}

impl<T: Int> Reg<T> {
    pub(crate) fn declare(nc: Nc, place: Place) -> Reg<T> {
        let reg = trace::with(nc.trace, place, |s| s.reg(T::DTYPE, place));
        Reg { trace: nc.trace, reg, kind: PhantomData }
    }
    /// The value, when the body runs on data ([`Mode::Eager`](crate::Mode::Eager)); `None` while it is only recorded.
    pub fn read(&self) -> Option<i64> {
        trace::try_with(self.trace, |s| s.read_reg(self.reg)).flatten()
    }
}

impl<T: Int> fmt::Debug for Reg<T> {
    /// The name; in eager mode the value too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = trace::try_with(self.trace, |s| (s.reg_name(self.reg), s.read_reg(self.reg)));
        match shown {
            None => f.write_str("<register of another trace>"),
            Some((name, None)) => write!(f, "{name}: register {}", T::DTYPE),
            Some((name, Some(value))) => write!(f, "{name} = {value}"),
        }
    }
}

/// What a loop on registers counts from: a number, or a register that is not negative when the kernel runs.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot bound a device loop",
    label = "expected a number, a Reg or an Idx"
)]
pub trait LoopBound: Copy {
    #[doc(hidden)]
    fn __bound(self, nc: Nc, place: Place, max: i64) -> Bound;
}

impl LoopBound for usize {
    fn __bound(self, _: Nc, _: Place, _: i64) -> Bound {
        Bound::Const(i64::try_from(self).unwrap_or(i64::MAX))
    }
}
impl<T: Int> LoopBound for Reg<T> {
    fn __bound(self, nc: Nc, place: Place, max: i64) -> Bound {
        trace::same(nc.trace, self.trace, place);
        Bound::Reg { reg: self.reg, max }
    }
}
impl LoopBound for Idx {
    fn __bound(self, nc: Nc, place: Place, max: i64) -> Bound {
        let reg = Reg::<i32>::declare(nc, place);
        nc.register_move_at(reg, self, place);
        reg.__bound(nc, place, max)
    }
}

/// Where a run of [`ds`] starts: a number, an [`Idx`], a [`Reg`], or one element of an integer tile in SBUF.
pub trait Start: Copy {
    #[doc(hidden)]
    fn __traces(&self) -> Vec<TraceId>;
    #[doc(hidden)]
    fn __start(self, s: &Session) -> Position;
}

/// A position along an axis.
#[doc(hidden)]
pub enum Position {
    Known(nki_ir::Affine),
    Dynamic(DynamicIndex),
}

/// A position that is known when the kernel runs.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DynamicIndex {
    Register(nki_ir::Reg),
    /// One element of an SBUF tile, by its view.
    Element(u32),
}

impl Start for usize {
    fn __traces(&self) -> Vec<TraceId> {
        Vec::new()
    }
    fn __start(self, _: &Session) -> Position {
        Position::Known(nki_ir::Affine::constant(i64::try_from(self).unwrap_or(i64::MAX)))
    }
}
impl Start for Idx {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __start(self, s: &Session) -> Position {
        Position::Known(self.affine(s))
    }
}
impl<T: Int> Start for Reg<T> {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __start(self, _: &Session) -> Position {
        Position::Dynamic(DynamicIndex::Register(self.reg))
    }
}
impl<T: Int + Elem> Start for Tensor<T, Sbuf> {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __start(self, _: &Session) -> Position {
        Position::Dynamic(DynamicIndex::Element(self.view))
    }
}

/// `size` positions from `start` on: NKI's dynamic slice. As an index of an axis, `x.at((ds(r, 64), ..))`.
#[derive(Clone, Copy)]
pub struct Ds<S> {
    pub(crate) start: S,
    pub(crate) size: usize,
}

/// See [`Ds`]. An index by a [`Reg`] or a tile is checked against the tensor when the kernel runs (`nki::runtime_index`);
/// transfers can skip instead ([`oob_mode`](crate::isa::Inst::oob_mode)).
pub fn ds<S: Start>(start: S, size: usize) -> Ds<S> {
    Ds { start, size }
}
