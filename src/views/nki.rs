//! The views of isa.md section 12 that the tuple index does not give, and NKI's names for the others.

use super::Strided;
use crate::axes::Axis;
use crate::elem::{Elem, Int};
use crate::reg::{DynamicIndex, Position, Start};
use crate::space::{Memory, OnChip};
use crate::tensor::{Hbm, Tensor, Tile};
use crate::trace::{self, error};
use nki_ir::view::Dynamic;
use nki_ir::{Code, Dim};
use std::ops::Range;
use std::panic::Location;

impl<T: Elem, M: Memory> Tensor<T, M> {
    /// Every `step`-th element of `range` along dimension `dim`. Partitions are taken one after the other.
    #[track_caller]
    pub fn slice(self, dim: usize, range: Range<usize>, step: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            v.axis(dim, step != 1)?;
            let size = v.dims[dim].count as usize;
            if step == 0 || range.start >= range.end || range.end > size {
                let message = format!("{range:?} by {step} of dimension {dim}, which has {size} elements");
                return Err((Code::OutOfBounds, message, "slice from a position up to a later one"));
            }
            if v.rows {
                let message = "rows that an index tile chooses cannot be sliced".to_string();
                return Err((Code::DynamicIndex, message, "slice the index tile instead"));
            }
            let count = (range.end - range.start).div_ceil(step) as u32;
            let start = range.start as i64;
            let d = v.dims[dim];
            let moved = match v.chip && dim == 0 {
                true => v.pattern.part.add_constant(start).map(|p| v.pattern.part = p),
                false => d
                    .stride
                    .checked_mul(start)
                    .and_then(|o| v.pattern.offset.add_constant(o))
                    .map(|o| v.pattern.offset = o),
            };
            let stride = d.stride.checked_mul(step as i64);
            let (Some(()), Some(stride)) = (moved, stride) else {
                return Err((Code::Limit, "the address leaves 64 bits".into(), "use smaller strides"));
            };
            v.dims[dim] = Dim { stride, count };
            Ok(())
        })
    }
    /// Position `index` of dimension `dim`, which disappears (on chip it stays with size 1 where a tile needs it). `index` is a
    /// number, an [`Idx`](crate::Idx), a [`Reg`](crate::Reg) or an element of an integer tile.
    #[track_caller]
    pub fn select(&self, dim: usize, index: impl Axis) -> Tensor<T, M> {
        self.select_at(dim, index, Location::caller())
    }
    /// NKI's name of [`expand`](Tensor::expand).
    #[track_caller]
    pub fn expand_dim(self, dim: usize) -> Tensor<T, M> {
        self.expand(dim)
    }
    /// Drops dimension `dim`, which has size 1.
    #[track_caller]
    pub fn squeeze_dim(self, dim: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            v.axis(dim, true)?;
            if v.dims[dim].count != 1 || v.dims.len() <= 1 + usize::from(v.chip) {
                let message = format!("dimension {dim} of shape {:?} is dropped", v.shape());
                return Err((
                    Code::Shape,
                    message,
                    "only a dimension of size 1 can be dropped; a tensor keeps one, a tile two",
                ));
            }
            v.dims.remove(dim);
            Ok(())
        })
    }
    /// NKI's name of [`split`](Tensor::split); one size may be -1 and is computed.
    #[track_caller]
    pub fn reshape_dim(self, dim: usize, sizes: &[isize]) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            v.axis(dim, false)?;
            let sized = sizes.iter().filter_map(|&n| usize::try_from(n).ok());
            // A product that no shape has counts as 0.
            let known = sized.fold(1usize, |n, k| n.checked_mul(k).unwrap_or(0));
            let open = sizes.iter().filter(|n| **n < 0).count();
            let total = v.dims[dim].count as usize;
            if open > 1 || known == 0 || sizes.iter().any(|n| *n < -1) {
                let message = format!("dimension {dim} of size {total} is split into {sizes:?}");
                return Err((Code::Shape, message, "leave at most one size open, as -1"));
            }
            let sizes: Vec<usize> =
                sizes.iter().map(|&n| usize::try_from(n).unwrap_or(total / known)).collect();
            v.split(dim, &sizes)
        })
    }
    /// NKI's name of [`merge`](Tensor::merge): dimensions `from` up to and including `to` as one.
    #[track_caller]
    pub fn flatten_dims(self, from: usize, to: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| v.merge(from, to.saturating_add(1)))
    }
    /// Whether the elements lie side by side in memory, in order; on chip, those of a partition.
    #[track_caller]
    pub fn is_contiguous(&self) -> bool {
        let place = Location::caller();
        trace::with(self.trace, place, |s| match Strided::of(s, self.view) {
            Ok(v) => {
                let dims = &v.dims[usize::from(v.chip)..];
                let mut size = 1;
                dims.iter().rev().filter(|d| d.count != 1).all(|d| {
                    let even = d.stride == size;
                    size *= i64::from(d.count);
                    even
                })
            }
            Err(_) => false,
        })
    }
    /// The access pattern: `[stride, count]` in elements, outermost first; on chip the first is partitions, whose stride is that
    /// of the tensor. Offsets are left out.
    #[track_caller]
    pub fn get_pattern(&self) -> Vec<[i64; 2]> {
        let place = Location::caller();
        trace::with(self.trace, place, |s| {
            let row = i64::try_from(s.buf_of(self.view).row_elements()).unwrap_or(i64::MAX);
            let Ok(v) = Strided::of(s, self.view) else { return Vec::new() };
            let stride =
                |(i, d): (usize, &Dim)| [if v.chip && i == 0 { row } else { d.stride }, d.count.into()];
            v.dims.iter().enumerate().map(stride).collect()
        })
    }
    /// The view moved by `index` positions along axis `dim` of the *tensor* (not of the view): NKI's
    /// `ap(.., scalar_offset, indirect_dim)`. The index is checked when the kernel runs.
    #[track_caller]
    pub fn scalar_offset(self, index: impl Start, dim: usize) -> Tensor<T, M> {
        let place = Location::caller();
        index.__traces().into_iter().for_each(|t| trace::same(self.trace, t, place));
        let view = trace::with(self.trace, place, |s| {
            let mut view = s.view(self.view).clone();
            let axis = u32::try_from(dim).unwrap_or(u32::MAX);
            let dynamic = match index.__start(s) {
                Position::Dynamic(DynamicIndex::Register(reg)) => Some(Dynamic::Register { reg, axis }),
                Position::Dynamic(DynamicIndex::Element(id)) => {
                    Some(Dynamic::Scalar { index: Box::new(s.view(id).clone()), axis })
                }
                Position::Known(_) => None,
            };
            let message = match (&dynamic, &view.dynamic) {
                (None, _) => Some("an offset that is known while tracing"),
                (_, Some(_)) => Some("a second position that is known only when the kernel runs"),
                _ => None,
            };
            match message {
                Some(message) => {
                    let message = format!("view of `{}`: {message}", s.name_of(self.view));
                    let help = "use a Reg or an element of a tile, once";
                    s.report(place, error(Code::DynamicIndex, message).help(help));
                }
                None => view.dynamic = dynamic,
            }
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// `num_elem` columns in each partition, at the offsets that an index tile lists (isa.md 3.6; trn3): to gather from, or to
    /// scatter to. Partitions share their list in groups of 16 (of 32 for operands of the tensor engine); offset `i` of a
    /// group is at `index[i % 16, i / 16]`. The index has the tile's partitions, a multiple of the group. Offsets count in
    /// this view's elements of a partition and are checked when the kernel runs.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// #[nki::kernel]
    /// fn picked(nc: Nc, x: Hbm<f32>, index: Hbm<u16>) -> Hbm<f32> {
    ///     let out = nc.hbm([16, 4]);
    ///     let (x, index, y) = (nc.load(x), nc.load(index), nc.sbuf::<f32>([16, 4]));
    ///     nc.tensor_copy(y, x.indirect(index, 4));
    ///     nc.store(out, y);
    ///     out
    /// }
    /// # fn main() {
    /// # assert!(picked::specialize([16, 64], [16, 1]).verify(Target::Trn3).is_ok());
    /// # }
    /// ```
    #[track_caller]
    pub fn indirect<I: Int>(self, index: Tile<I>, num_elem: usize) -> Tensor<T, M> {
        let place = Location::caller();
        trace::same(self.trace, index.trace, place);
        let view = trace::with(self.trace, place, |s| {
            let (mut view, index) = (s.view(self.view).clone(), Box::new(s.view(index.view).clone()));
            let elements = u32::try_from(num_elem).unwrap_or(u32::MAX);
            match view.dynamic {
                None => view.dynamic = Some(Dynamic::Indirect { index, elements }),
                Some(_) => {
                    let message = format!("view of `{}`: a second dynamic position", s.name_of(self.view));
                    s.report(place, error(Code::DynamicIndex, message).help("gather in two steps"));
                }
            }
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}

impl<T: Elem> Hbm<T> {
    /// Rows by an index tile for a pattern whose first pair counts them: NKI's `ap(.., vector_offset)`. The stride of that
    /// pair is not used. For tensors without a pattern, [`vector_select`](Tensor::vector_select).
    #[track_caller]
    pub fn vector_offset<I: Int>(self, index: Tile<I>) -> Hbm<T> {
        let place = Location::caller();
        trace::same(self.trace, index.trace, place);
        let view = trace::with(self.trace, place, |s| {
            let (mut view, index) = (s.view(self.view).clone(), Box::new(s.view(index.view).clone()));
            match view.dynamic {
                None => view.dynamic = Some(Dynamic::Vector { index }),
                Some(_) => {
                    let message = format!("view of `{}`: a second dynamic position", s.name_of(self.view));
                    s.report(place, error(Code::DynamicIndex, message).help("gather in two steps"));
                }
            }
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}
