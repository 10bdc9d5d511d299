//! Indexing by tuples: `x.at((ki, ..))`. Every entry of the tuple is one axis.

use crate::elem::{Elem, Int};
use crate::idx::{Block, Idx};
use crate::reg::{Ds, DynamicIndex, Position, Reg, Start};
use crate::space::{Memory, Sbuf};
use crate::tensor::Tensor;
use crate::trace::{self, Place, Session, TraceId, error};
use nki_ir::view::Dynamic;
use nki_ir::{Affine, AxisSlice, BufData, Code, Dim, Index, Space, View};
use std::ops::{Range, RangeFrom, RangeFull, RangeTo};
use std::panic::Location;

/// What an axis index selects.
pub enum Selected {
    /// From a constant to a constant or to the end.
    Range { start: Affine, end: Option<Affine> },
    /// A start and a length known while tracing.
    Run { start: Affine, len: usize },
    /// One position; the axis disappears.
    Position(Affine),
    /// Positions from one that is known when the kernel runs; without a length one position, and the axis disappears.
    Dynamic { index: DynamicIndex, len: Option<usize> },
}

/// What can index one axis: `..`, ranges of `usize` or [`Idx`], a `usize` or [`Idx`] (one position, the axis disappears), or a
/// [`Block`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot index an axis of a tensor",
    label = "not an axis index",
    note = "use `..`, a range of usize or Idx, a usize, an Idx, or a Block from `nc.tiles(..)`"
)]
pub trait Axis {
    #[doc(hidden)]
    fn __traces(&self) -> Vec<TraceId> {
        Vec::new()
    }
    #[doc(hidden)]
    fn __select(self, s: &Session) -> Selected;
}

fn fixed(k: usize) -> Affine {
    Affine::constant(i64::try_from(k).unwrap_or(i64::MAX))
}

impl Axis for RangeFull {
    fn __select(self, _: &Session) -> Selected {
        Selected::Range { start: fixed(0), end: None }
    }
}
impl Axis for usize {
    fn __select(self, _: &Session) -> Selected {
        Selected::Position(fixed(self))
    }
}
impl Axis for Range<usize> {
    fn __select(self, _: &Session) -> Selected {
        Selected::Range { start: fixed(self.start), end: Some(fixed(self.end)) }
    }
}
impl Axis for RangeTo<usize> {
    fn __select(self, _: &Session) -> Selected {
        Selected::Range { start: fixed(0), end: Some(fixed(self.end)) }
    }
}
impl Axis for RangeFrom<usize> {
    fn __select(self, _: &Session) -> Selected {
        Selected::Range { start: fixed(self.start), end: None }
    }
}
impl Axis for Idx {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __select(self, s: &Session) -> Selected {
        Selected::Position(self.affine(s))
    }
}
impl Axis for Range<Idx> {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.start.trace, self.end.trace]
    }
    fn __select(self, s: &Session) -> Selected {
        Selected::Range { start: self.start.affine(s), end: Some(self.end.affine(s)) }
    }
}
impl Axis for Block {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.start.trace]
    }
    fn __select(self, s: &Session) -> Selected {
        Selected::Run { start: self.start.affine(s), len: self.len }
    }
}

impl<T: Int> Axis for Reg<T> {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __select(self, _: &Session) -> Selected {
        Selected::Dynamic { index: DynamicIndex::Register(self.reg), len: None }
    }
}
impl<T: Int> Axis for Tensor<T, Sbuf> {
    fn __traces(&self) -> Vec<TraceId> {
        vec![self.trace]
    }
    fn __select(self, _: &Session) -> Selected {
        Selected::Dynamic { index: DynamicIndex::Element(self.view), len: None }
    }
}
impl<S: Start> Axis for Ds<S> {
    fn __traces(&self) -> Vec<TraceId> {
        self.start.__traces()
    }
    fn __select(self, s: &Session) -> Selected {
        match self.start.__start(s) {
            Position::Known(start) => Selected::Run { start, len: self.size },
            Position::Dynamic(index) => Selected::Dynamic { index, len: Some(self.size) },
        }
    }
}

/// A tuple of [`Axis`] indices, at most one per axis; axes without one are taken whole.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot index a tensor",
    label = "not a tuple of axis indices",
    note = "index by a tuple with one entry per axis: `x.at((rows, ..))`; one axis: `x.at((rows,))`"
)]
pub trait Axes {
    #[doc(hidden)]
    fn __all(self, trace: TraceId, place: Place) -> Vec<Selected>;
}

macro_rules! tuples {
    ($($($a:ident $i:tt),*;)*) => {$(
        impl<$($a: Axis),*> Axes for ($($a,)*) {
            fn __all(self, trace: TraceId, place: Place) -> Vec<Selected> {
                $(self.$i.__traces().into_iter().for_each(|t| trace::same(trace, t, place));)*
                trace::with(trace, place, |s| vec![$(self.$i.__select(s)),*])
            }
        }
    )*};
}
tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}

impl<T: Elem, M: Memory> Tensor<T, M> {
    /// The part of the tensor that the tuple selects, without moving data.
    ///
    /// A position drops its axis, except on chip where dimension 0 (partitions) and a second dimension always stay. Slices
    /// of the tensor itself are checked against its bounds by the verifier, for every value of the loop variables
    /// (`nki::oob`); slices of slices are checked here against the slice.
    #[track_caller]
    pub fn at(&self, axes: impl Axes) -> Tensor<T, M> {
        let place = Location::caller();
        let selected = axes.__all(self.trace, place);
        let view = trace::with(self.trace, place, |s| {
            let view = select(s, self.view, selected, place);
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}

impl<T: Elem, M: Memory> Tensor<T, M> {
    /// Dimension `dim` indexed, all others whole.
    pub(crate) fn select_at(&self, dim: usize, index: impl Axis, place: Place) -> Tensor<T, M> {
        index.__traces().into_iter().for_each(|t| trace::same(self.trace, t, place));
        let view = trace::with(self.trace, place, |s| {
            let whole = || Selected::Range { start: fixed(0), end: None };
            let mut selected: Vec<Selected> = (0..dim).map(|_| whole()).collect();
            selected.push(index.__select(s));
            let view = select(s, self.view, selected, place);
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}

/// One axis after its index has been resolved against its size.
struct Resolved {
    start: Affine,
    count: u32,
    drop: bool,
    dynamic: Option<DynamicIndex>,
}

fn select(s: &mut Session, id: u32, selected: Vec<Selected>, place: Place) -> View {
    let shape = s.shape(id);
    if selected.len() > shape.len() {
        let message = format!(
            "`{}` has {} dimensions, {shape:?}, and is indexed by {}",
            s.name_of(id),
            shape.len(),
            selected.len()
        );
        s.report(place, error(Code::Shape, message).help("give one index per dimension"));
        return s.view(id).clone();
    }
    let chip = s.buf_of(id).space != Space::Hbm;
    let mut kept = shape.len();
    let mut axes = Vec::with_capacity(shape.len());
    let mut all = selected.into_iter();
    for (axis, &size) in shape.iter().enumerate() {
        let chosen = all.next().unwrap_or(Selected::Range { start: fixed(0), end: None });
        let mut r = resolve(s, chosen, axis, size, id, place);
        // Views on chip keep partitions and one free dimension (isa.md section 12).
        if r.drop && ((chip && (axis == 0 || kept <= 2)) || kept == 1) {
            r.drop = false;
        }
        kept -= usize::from(r.drop);
        axes.push(r);
    }
    compose(s, id, &axes, place)
}

fn resolve(s: &mut Session, selected: Selected, axis: usize, size: u32, id: u32, place: Place) -> Resolved {
    let mut dynamic = None;
    let (start, count, drop) = match selected {
        Selected::Dynamic { index, len } => {
            dynamic = Some(index);
            (fixed(0), len.map_or(1, |n| n as i128), len.is_none())
        }
        Selected::Position(p) => (p, 1, true),
        Selected::Run { start, len } => (start, len as i128, false),
        Selected::Range { start, end } => {
            let end = end.unwrap_or_else(|| fixed(size as usize));
            let extent = start.scale(-1).and_then(|n| end.add(&n)).and_then(|d| d.as_constant());
            let Some(extent) = extent else {
                let message = format!(
                    "the length of the range that indexes axis {axis} of `{}` changes from turn to turn",
                    s.name_of(id)
                );
                let d = error(Code::DynamicIndex, message)
                    .note("shapes are known while tracing; only starts may depend on a device loop")
                    .help("use a range of constant length, `i * n..i * n + n`, or a block of `nc.tiles(..)`");
                s.report(place, d);
                return Resolved { start: fixed(0), count: size, drop: false, dynamic };
            };
            (start, extent as i128, false)
        }
    };
    let Ok(count) = u32::try_from(count) else {
        let message = format!("the range that indexes axis {axis} of `{}` has length {count}", s.name_of(id));
        s.report(place, error(Code::OutOfBounds, message).help("a range must end after it starts"));
        return Resolved { start: fixed(0), count: size, drop, dynamic };
    };
    Resolved { start, count, drop, dynamic }
}

/// The view of `axes` of view `id`.
fn compose(s: &mut Session, id: u32, axes: &[Resolved], place: Place) -> View {
    let view = s.view(id).clone();
    let buf = s.buf_of(id).clone();
    let whole = view == View::full(view.buf, &buf);
    if !whole {
        check_bounds(s, id, axes, place);
    }
    let rows = s.shape(id).first().copied();
    let all = |a: &Resolved| !a.drop && a.start.as_constant() == Some(0) && Some(a.count) == rows;
    if matches!(view.dynamic, Some(Dynamic::Vector { .. })) && !axes.first().is_none_or(all) {
        let message = format!("the rows of `{}` are chosen by an index tile and cannot be sliced", buf.name);
        s.report(place, error(Code::DynamicIndex, message).help("slice the index tile instead"));
    }
    let index = match &view.index {
        Index::Slice(old) => {
            let mut out = old.clone();
            let chip = buf.space.on_chip();
            let visible = out.iter_mut().enumerate().filter(|(i, a)| !a.drop || (chip && *i == 0));
            for ((_, a), new) in visible.zip(axes) {
                let step = i64::from(a.step);
                let start = new.start.scale(step).and_then(|d| a.start.add(&d));
                let start = start.unwrap_or_else(|| overflow(s, place));
                *a = AxisSlice { start, count: new.count, step: a.step, drop: new.drop };
            }
            Index::Slice(out)
        }
        Index::Pattern(old) => {
            let mut out = old.clone();
            let mut free = axes;
            if buf.space.on_chip() {
                out.part = old.part.add(&axes[0].start).unwrap_or_else(|| overflow(s, place));
                out.parts = axes[0].count;
                free = &axes[1..];
            }
            out.dims.clear();
            for (d, new) in old.dims.iter().zip(free) {
                let offset = new.start.scale(d.stride).and_then(|o| out.offset.add(&o));
                out.offset = offset.unwrap_or_else(|| overflow(s, place));
                if !new.drop {
                    out.dims.push(Dim { stride: d.stride, count: new.count });
                }
            }
            Index::Pattern(out)
        }
    };
    let dynamic = dynamic(s, &view, &buf, axes, place).or(view.dynamic);
    View { index, dynamic, buf: view.buf, dtype: view.dtype }
}

/// The dynamic part of the view of `axes` of `view` (isa.md 3.5): at most one, along an axis of the tensor itself.
fn dynamic(s: &mut Session, view: &View, buf: &BufData, axes: &[Resolved], place: Place) -> Option<Dynamic> {
    let mut found = axes.iter().enumerate().filter_map(|(i, a)| Some((i, a.dynamic?)));
    let (at, index) = found.next()?;
    let report = |s: &mut Session, code, message: String, help: &str| {
        let message = format!("view of `{}`: {message}", buf.name);
        s.report(place, error(code, message).help(help));
    };
    if found.next().is_some() || view.dynamic.is_some() {
        let message = "a second position that is known only when the kernel runs".into();
        report(s, Code::DynamicIndex, message, "copy the part that the first index selects, and index that");
        return None;
    }
    let Some(axis) = axis_of(view, buf, at) else {
        let message =
            format!("dimension {at} is not a whole axis of the tensor, which a dynamic index moves along");
        report(s, Code::AccessPattern, message, "index the tensor first, and view the result otherwise");
        return None;
    };
    Some(match index {
        DynamicIndex::Register(reg) => Dynamic::Register { reg, axis },
        DynamicIndex::Element(id) => Dynamic::Scalar { index: Box::new(s.view(id).clone()), axis },
    })
}

/// The axis of the buffer along which dimension `at` of a view counts in single steps.
fn axis_of(view: &View, buf: &BufData, at: usize) -> Option<u32> {
    let chip = buf.space.on_chip();
    match &view.index {
        Index::Slice(axes) => {
            let mut visible = axes.iter().enumerate().filter(|(i, a)| !a.drop || (chip && *i == 0));
            let (axis, slice) = visible.nth(at)?;
            (slice.step == 1).then_some(axis as u32)
        }
        Index::Pattern(p) => {
            if chip && at == 0 {
                return Some(0);
            }
            let stride = p.dims.get(at - usize::from(chip))?.stride * view.dtype.bytes() as i64;
            let first = usize::from(chip);
            let below = |axis: usize| buf.shape[axis + 1..].iter().map(|&n| i64::from(n)).product::<i64>();
            let size = buf.dtype.bytes() as i64;
            (first..buf.shape.len()).find(|&a| below(a) * size == stride).map(|a| a as u32)
        }
    }
}

fn overflow(s: &mut Session, place: Place) -> Affine {
    s.report(place, error(Code::Limit, "the address of this view leaves 64 bits"));
    Affine::constant(0)
}

/// A slice of a slice stays inside it: the verifier only knows the buffer.
fn check_bounds(s: &mut Session, id: u32, axes: &[Resolved], place: Place) {
    for (axis, (new, &size)) in axes.iter().zip(&s.shape(id)).enumerate() {
        let (lo, hi) = s.bounds(&new.start);
        let end = hi + i128::from(new.count);
        if lo < 0 || end > i128::from(size) {
            let from = if lo < 0 { lo } else { hi };
            let message = format!(
                "{from}..{} leaves axis {axis} of this view of `{}`, which has {size} elements",
                from + i128::from(new.count),
                s.name_of(id)
            );
            s.report(
                place,
                error(Code::OutOfBounds, message).help("use `nc.tiles(n, size)`, which ends exactly"),
            );
        }
    }
}
