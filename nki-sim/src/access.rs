//! Physical accesses with numbers for registers.

use crate::code::Regs;
use crate::program::{Access, RegAffine};
use nki_ir::DType;
use nki_ir::kernel::Space;
use nki_ir::sem::Span;
use smallvec::SmallVec;

/// An access at one moment: bytes at `base + Σ index · stride` of each partition (HBM: of the device memory).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Place {
    pub space: Space,
    pub part: i64,
    pub parts: u32,
    pub base: i64,
    /// `(stride in bytes, count)`, outermost first, merged, counts of 1 dropped.
    pub dims: Strides,
    pub dtype: DType,
}

/// `(stride in bytes, count)` per dimension.
pub(crate) type Strides = SmallVec<[(i64, u32); 4]>;

impl RegAffine {
    /// The value for these registers; saturates instead of overflowing, which the bounds checks then catch.
    pub(crate) fn eval(&self, regs: &Regs) -> i64 {
        let add =
            |s: i64, t: &(crate::program::SeqReg, i64)| s.saturating_add(t.1.saturating_mul(regs.get(t.0)));
        self.terms.iter().fold(self.constant, add)
    }
    /// The value, if it depends on no register.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }
}

/// Byte strides with adjacent mergeable dimensions merged and counts of 1 dropped.
pub(crate) fn strides(a: &Access) -> Strides {
    let size = a.dtype.bytes() as i64;
    let mut out: Strides = SmallVec::new();
    for d in a.dims.iter().filter(|d| d.count != 1) {
        let stride = d.stride.saturating_mul(size);
        if let Some(o) = out.last_mut()
            && o.0 == stride.saturating_mul(d.count.into())
            && let Some(count) = o.1.checked_mul(d.count)
        {
            *o = (stride, count);
            continue;
        }
        out.push((stride, d.count));
    }
    out
}

/// Lowest and highest byte that dimensions reach, relative to the base; the last is one past the end.
pub(crate) fn extent(dims: &[(i64, u32)], size: usize) -> (i128, i128) {
    let (mut lo, mut hi) = (0i128, size as i128);
    for &(stride, count) in dims {
        let reach = i128::from(stride) * (i128::from(count) - 1).max(0);
        lo += reach.min(0);
        hi += reach.max(0);
    }
    (lo, hi)
}

impl Place {
    /// Resolves the affine part; dynamic components are the caller's.
    pub fn new(a: &Access, regs: &Regs) -> Place {
        Place {
            space: a.space,
            part: a.partition.eval(regs),
            parts: a.partitions,
            base: a.offset.eval(regs),
            dims: strides(a),
            dtype: a.dtype,
        }
    }
    /// First byte, and one past the last byte, of a partition (HBM: addresses).
    pub fn hull(&self) -> (i128, i128) {
        let (lo, hi) = extent(&self.dims, self.dtype.bytes());
        (i128::from(self.base) + lo, i128::from(self.base) + hi)
    }
    /// The same in a flat memory `mem` whose partitions are `part_stride` bytes apart and whose first byte has address
    /// `origin`. Only for places that passed their bounds check.
    pub fn span(&self, mem: u32, part_stride: u64, origin: u64) -> Span {
        Span {
            mem,
            base: self.part as u64 * part_stride + (self.base as u64).wrapping_sub(origin),
            part_stride,
            parts: self.parts,
            dims: self.dims.clone(),
            dtype: self.dtype,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nki_ir::view::Dim;

    #[test]
    fn dimensions_merge_and_extents_hold_negative_strides() {
        let mut a = Access {
            space: Space::Sbuf,
            dtype: DType::BF16,
            partition: 32.into(),
            partitions: 32,
            offset: RegAffine {
                constant: 64,
                terms: [(crate::program::SeqReg(0), 128)].into_iter().collect(),
            },
            dims: [
                Dim { count: 4, stride: 64 },
                Dim { count: 1, stride: 9 },
                Dim { count: 8, stride: 8 },
                Dim { count: 8, stride: 1 },
            ]
            .into(),
            object: None,
            dynamic: None,
        };
        let p = Place::new(&a, &Regs(vec![3]));
        assert_eq!(p.dims.as_slice(), [(2, 256)]);
        assert_eq!(p.hull(), (64 + 384, 64 + 384 + 512));
        assert_eq!(p.span(0, 1000, 0).base, 32 * 1000 + 448);
        a.dims = [Dim { count: 3, stride: -5 }].into();
        assert_eq!(extent(&strides(&a), 2), (-20, 2));
    }
}
