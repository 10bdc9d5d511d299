//! What an operand addresses: a view of a buffer (isa.md sections 3.2 and 12).
//!
//! A view is either a *slice* (one affine start, a count and a step per axis of the buffer; bounds are checked per axis)
//! or an explicit access *pattern* (what permuting, splitting, broadcasting or reinterpreting a view produces; bounds
//! are checked on the linear addresses). Both resolve to a [`Pattern`].

use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::{Buf, Reg};
use crate::kernel::{BufData, Space};
use smallvec::SmallVec;

/// One axis of a slice: elements `start, start + step, ..`, `count` of them.
#[derive(Clone, Debug, PartialEq)]
pub struct AxisSlice {
    pub start: Affine,
    pub count: u32,
    /// At least 1.
    pub step: u32,
    /// An integer index: `count` is 1 and the axis is absent from the view's shape.
    pub drop: bool,
}

/// A free dimension of an access pattern: `count` elements, `stride` elements apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dim {
    pub stride: i64,
    pub count: u32,
}

/// A linear access pattern, in elements of the view's dtype.
///
/// SBUF and PSUM: partitions `part .. part + parts`, and inside each of them `offset + Σ dim`. HBM: `part` is 0, `parts`
/// is 1, and `dims` covers the whole shape over the flat row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    pub part: Affine,
    pub parts: u32,
    pub offset: Affine,
    /// Outermost first.
    pub dims: SmallVec<[Dim; 4]>,
}

/// How a view selects elements.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// One entry per axis of the buffer.
    Slice(SmallVec<[AxisSlice; 3]>),
    Pattern(Pattern),
}

/// A position known only at run time (isa.md 3.5 and 3.6). At most one per view.
#[derive(Clone, Debug, PartialEq)]
pub enum Dynamic {
    /// `idx · product(shape[axis + 1..])` elements are added to the base; `idx` is a register.
    Register { reg: Reg, axis: u32 },
    /// The same with `idx` in a one-element SBUF tile.
    Scalar { index: Box<View>, axis: u32 },
    /// Row `p` of the view starts at row `index[p]` of the HBM tensor.
    Vector { index: Box<View> },
    /// On-chip gather or scatter of columns by an index tile (gen4).
    Indirect {
        index: Box<View>,
        /// Elements chosen in each partition.
        elements: u32,
    },
}

/// A view of a buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub buf: Buf,
    /// Equals the buffer's dtype unless the view reinterprets the bytes; slices never do.
    pub dtype: DType,
    pub index: Index,
    pub dynamic: Option<Dynamic>,
}

impl View {
    /// All of `buf`.
    pub fn full(buf: Buf, data: &BufData) -> View {
        let axes = data.shape.iter().map(|&n| AxisSlice::range(Affine::constant(0), n)).collect();
        View { buf, dtype: data.dtype, index: Index::Slice(axes), dynamic: None }
    }

    /// The view's shape. On-chip views have the partition count first.
    pub fn shape(&self, space: Space) -> SmallVec<[u32; 4]> {
        if let Some(Dynamic::Indirect { elements, .. }) = &self.dynamic {
            let parts = match &self.index {
                Index::Slice(axes) => axes.first().map_or(1, |a| a.count),
                Index::Pattern(p) => p.parts,
            };
            return SmallVec::from_slice(&[parts, *elements]);
        }
        match &self.index {
            Index::Slice(axes) => {
                let keep = axes.iter().enumerate().filter(|(i, a)| !a.drop || (space.on_chip() && *i == 0));
                keep.map(|(_, a)| a.count).collect()
            }
            Index::Pattern(p) => {
                let lead = space.on_chip().then_some(p.parts);
                lead.into_iter().chain(p.dims.iter().map(|d| d.count)).collect()
            }
        }
    }

    /// The linear access pattern; of columns by an index tile, that of the tile they are chosen from. `None` if a stride or offset leaves 64 bits or the slice does not match the buffer's rank.
    pub fn pattern(&self, buf: &BufData) -> Option<Pattern> {
        let axes = match &self.index {
            Index::Pattern(p) => return Some(p.clone()),
            Index::Slice(axes) => axes,
        };
        if axes.len() != buf.shape.len() {
            return None;
        }
        let chip = buf.space.on_chip();
        let mut out = Pattern {
            part: Affine::constant(0),
            parts: 1,
            offset: Affine::constant(0),
            dims: SmallVec::new(),
        };
        let mut stride = 1i64;
        for (i, axis) in axes.iter().enumerate().rev() {
            if chip && i == 0 {
                out.part = axis.start.clone();
                out.parts = axis.count;
                continue;
            }
            out.offset = out.offset.add(&axis.start.scale(stride)?)?;
            if !axis.drop {
                out.dims.insert(0, Dim { stride: stride.checked_mul(axis.step.into())?, count: axis.count });
            }
            stride = stride.checked_mul(buf.shape[i].into())?;
        }
        Some(out)
    }
}

impl View {
    /// Elements per partition (HBM: all elements) of the view, whose pattern is `pattern`.
    pub fn row_elements(&self, pattern: &Pattern) -> u64 {
        match &self.dynamic {
            Some(Dynamic::Indirect { elements, .. }) => u64::from(*elements),
            _ => pattern.elements(),
        }
    }
}

impl AxisSlice {
    /// `start .. start + count`, step 1.
    pub fn range(start: Affine, count: u32) -> AxisSlice {
        AxisSlice { start, count, step: 1, drop: false }
    }
    /// A single index, dropped from the shape.
    pub fn index(start: Affine) -> AxisSlice {
        AxisSlice { start, count: 1, step: 1, drop: true }
    }
}

impl Pattern {
    /// Elements per partition (HBM: all elements).
    pub fn elements(&self) -> u64 {
        self.dims.iter().fold(1u64, |n, d| n.saturating_mul(d.count.into()))
    }
    /// The same elements in the same order with adjacent mergeable dimensions merged and counts of 1 dropped.
    pub fn merged(&self) -> SmallVec<[Dim; 4]> {
        let mut out: SmallVec<[Dim; 4]> = SmallVec::new();
        for d in self.dims.iter().filter(|d| d.count != 1) {
            match out.last_mut() {
                Some(o) if o.stride == d.stride * i64::from(d.count) => {
                    if let Some(count) = o.count.checked_mul(d.count) {
                        *o = Dim { stride: d.stride, count };
                        continue;
                    }
                    out.push(*d);
                }
                _ => out.push(*d),
            }
        }
        out
    }
    /// Smallest and largest element offset of the free dimensions, without `offset`.
    pub fn extent(&self) -> (i128, i128) {
        self.dims.iter().filter(|d| d.count > 0).fold((0, 0), |(lo, hi), d| {
            let reach = d.stride as i128 * (d.count as i128 - 1);
            (lo + reach.min(0), hi + reach.max(0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entity::Var;
    use crate::kernel::BufKind;
    use crate::loc::Loc;
    use smallvec::smallvec;

    fn buf(space: Space, shape: &[u32]) -> BufData {
        BufData::new("x", space, DType::F32, shape, BufKind::Private, Loc(0))
    }

    #[test]
    fn slices_resolve_to_patterns() {
        let b = buf(Space::Sbuf, &[128, 4, 8]);
        let v = View {
            buf: Buf(0),
            dtype: DType::F32,
            index: Index::Slice(smallvec![
                AxisSlice::range(Affine::var(Var(0)).scale(32).unwrap(), 32),
                AxisSlice::index(Affine::constant(2)),
                AxisSlice { start: Affine::constant(1), count: 3, step: 2, drop: false },
            ]),
            dynamic: None,
        };
        let p = v.pattern(&b).unwrap();
        assert_eq!((p.part.coefficient(Var(0)), p.parts), (32, 32));
        assert_eq!(p.offset, Affine::constant(2 * 8 + 1));
        assert_eq!(p.dims.as_slice(), [Dim { stride: 2, count: 3 }]);
        assert_eq!(v.shape(Space::Sbuf).as_slice(), [32, 3]);
        assert_eq!(p.extent(), (0, 4));
    }

    #[test]
    fn merging_keeps_the_order_of_elements() {
        let b = buf(Space::Hbm, &[4, 8, 16]);
        let p = View::full(Buf(0), &b).pattern(&b).unwrap();
        assert_eq!(p.merged().as_slice(), [Dim { stride: 1, count: 512 }]);
        assert_eq!((p.elements(), p.parts), (512, 1));
    }
}
