//! Operands that are packed once and used in many products.

use super::block::{Shape, StepProduct, number_step};
use super::pack::{PackStrips, Step};
use super::{Part, Side};
use crate::element::Element;
use crate::matrix::{MatMut, MatRef};
use crate::{AlignedBuf, Combine, Tier};
use std::ops::Range;

/// An operand of [`PackedRight::multiply`] in float32, in the order in which register tiles read it.
struct Packed {
    tier: Tier,
    k: usize,
    /// Rows of the result that it gives, or columns.
    len: usize,
    width: usize,
    words: AlignedBuf,
}

impl Packed {
    fn new<T: Element>(tier: Tier, from: MatRef<T>, width: usize, mut words: AlignedBuf) -> Packed {
        let (k, len) = (from.rows(), from.cols());
        words.resize(4 * k * len.next_multiple_of(width));
        let side = Side { data: from.as_ptr(), len, along: 1, k: from.stride(), step: None };
        let step = Step { rows: 0..k, start: 0, depth: k };
        if k > 0 && len > 0 {
            let to = words.as_mut_slice::<f32>().as_mut_ptr();
            // SAFETY: `k` rows of `len` elements are readable, and there is room for all strips.
            unsafe { T::pack(tier, PackStrips { from: side, step: &step, pairs: false, width, to }) };
        }
        Packed { tier, k, len, width, words }
    }

    /// Where the strips from element `first` on start; `first` is a multiple of the width.
    fn from(&self, first: usize) -> *const f32 {
        self.words.as_slice::<f32>()[first * self.k..].as_ptr()
    }
}

/// The stationary operand `[K, M]`, packed.
pub struct PackedLeft(Packed);

/// The moving operand `[K, N]`, packed.
pub struct PackedRight(Packed);

impl PackedLeft {
    /// Packs `from`, `[K, M]`, for products on `tier`.
    pub fn new<T: Element>(tier: Tier, from: MatRef<T>) -> PackedLeft {
        Self::in_buf(tier, from, AlignedBuf::default())
    }

    /// As [`PackedLeft::new`], in memory that was used before.
    pub fn in_buf<T: Element>(tier: Tier, from: MatRef<T>, buf: AlignedBuf) -> PackedLeft {
        PackedLeft(Packed::new(tier, from, Shape::new(tier, false).strip, buf))
    }

    /// The memory, for another operand.
    pub fn into_buf(self) -> AlignedBuf {
        self.0.words
    }

    /// `[K, M]`
    pub fn shape(&self) -> [usize; 2] {
        [self.0.k, self.0.len]
    }
}

impl PackedRight {
    /// Packs `from`, `[K, N]`, for products on `tier`.
    pub fn new<T: Element>(tier: Tier, from: MatRef<T>) -> PackedRight {
        Self::in_buf(tier, from, AlignedBuf::default())
    }

    /// As [`PackedRight::new`], in memory that was used before.
    pub fn in_buf<T: Element>(tier: Tier, from: MatRef<T>, buf: AlignedBuf) -> PackedRight {
        PackedRight(Packed::new(tier, from, Shape::new(tier, false).panel, buf))
    }

    /// The memory, for another operand.
    pub fn into_buf(self) -> AlignedBuf {
        self.0.words
    }

    /// `[K, N]`
    pub fn shape(&self) -> [usize; 2] {
        [self.0.k, self.0.len]
    }

    /// Pieces of columns begin at multiples of this.
    pub fn columns(tier: Tier) -> usize {
        Shape::new(tier, false).panel
    }

    /// `c[m, n] (+)= sum over k of left[k, m] · self[k, n]` for some `columns` of the result, with the bits of
    /// [`crate::matmul`]. `c` is `[M, columns.len()]`.
    ///
    /// ```
    /// use nki_rt::{Combine, MatMut, MatRef, PackedLeft, PackedRight, Tier};
    /// let (a, b) = ([1.0f32, 2.0], [3.0f32, 4.0]);
    /// let mut c = [0.0f32];
    /// let left = PackedLeft::new(Tier::best(), MatRef::dense(&a, 2, 1));
    /// let right = PackedRight::new(Tier::best(), MatRef::dense(&b, 2, 1));
    /// right.multiply(&left, 0..1, MatMut::dense(&mut c, 1, 1), Combine::Overwrite);
    /// assert_eq!(c, [11.0]);
    /// ```
    ///
    /// # Panics
    /// When shapes or tiers do not agree, or `columns` does not begin at a multiple of [`PackedRight::columns`] within the
    /// operand.
    #[track_caller]
    pub fn multiply(&self, left: &PackedLeft, columns: Range<usize>, mut c: MatMut<f32>, combine: Combine) {
        let (left, right) = (&left.0, &self.0);
        assert!(left.tier == right.tier, "packed for {} and for {}", left.tier, right.tier);
        assert!(left.k == right.k, "[{}, {}]ᵀ · [{}, {}]", left.k, left.len, right.k, right.len);
        assert!(
            columns.start <= columns.end && columns.end <= right.len,
            "columns {columns:?} of {}",
            right.len
        );
        assert!(columns.start.is_multiple_of(right.width), "columns from {} on", columns.start);
        let (rows, cols) = (left.len, columns.len());
        assert!(c.rows() == rows && c.cols() == cols, "[{rows}, {cols}] into [{}, {}]", c.rows(), c.cols());
        if rows == 0 || cols == 0 {
            return;
        }
        let (data, stride) = (c.as_mut_ptr(), c.stride());
        let part = Part { corner: [0, 0], rows, cols, data, stride, first: combine, _kept: None };
        let (left, right, depth) = (left.from(0), right.from(columns.start), left.k);
        number_step(self.0.tier, StepProduct { left, right, depth, part: &part, combine });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bf16, matmul};

    /// The bits of the tile product, whatever the columns.
    #[test]
    fn packed_operands_give_the_same_bits() {
        let number = |i: usize| ((i * 2_654_435_761) % 1_000_003) as f32 / 500_000.0 - 1.0;
        for tier in Tier::available() {
            for [k, m, n] in [[0, 3, 5], [1, 1, 1], [7, 13, 67], [128, 128, 130], [5, 6, 64]] {
                let (lda, ldb) = (m + 3, n + 1);
                let a: Vec<bf16> = (0..k * lda).map(|i| bf16::from_f32(number(i))).collect();
                let b: Vec<bf16> = (0..k * ldb).map(|i| bf16::from_f32(number(i + 7))).collect();
                let (a, b) = (MatRef::new(&a, k, m, lda), MatRef::new(&b, k, n, ldb));
                let (left, right) = (PackedLeft::new(tier, a), PackedRight::new(tier, b));
                for combine in [Combine::Overwrite, Combine::Add] {
                    let mut want: Vec<f32> = (0..m * n).map(number).collect();
                    let before = want.clone();
                    matmul(tier, a, b, MatMut::dense(&mut want, m, n), combine);
                    let width = 2 * PackedRight::columns(tier);
                    for first in (0..n).step_by(width) {
                        let columns = first..(first + width).min(n);
                        let cols = columns.len();
                        let piece = |x: &[f32]| -> Vec<f32> {
                            x.chunks(n).flat_map(|row| row[columns.clone()].to_vec()).collect()
                        };
                        let mut c = piece(&before);
                        right.multiply(&left, columns.clone(), MatMut::dense(&mut c, m, cols), combine);
                        assert_eq!(c, piece(&want), "{tier} {k}x{m}x{n} {combine:?} {columns:?}");
                    }
                }
            }
        }
    }
}
