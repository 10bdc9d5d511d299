//! The storage of one buffer, and which of its bytes have been written.

use crate::kernel::BufData;
use crate::sem::{Span, cast};

/// What happens on a read of bytes that were never written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Uninitialized {
    /// The first one ends the run with an error (strict mode).
    #[default]
    Error,
    /// Each instruction that does it is reported once, as a warning; floats read as NaN, integers as 4 (isa.md 3.4.4).
    Warn,
}

/// Which bytes have been written: one bit each.
#[derive(Debug)]
pub(super) struct Written {
    bits: Vec<u64>,
    /// Bytes without their bit: 0 makes every test trivial.
    missing: usize,
}

impl Written {
    fn none(len: usize) -> Written {
        Written { bits: vec![0; len.div_ceil(64)], missing: len }
    }
    fn all() -> Written {
        Written { bits: Vec::new(), missing: 0 }
    }
    /// Marks the bytes of `span`.
    pub fn mark(&mut self, span: &Span) {
        if self.missing > 0 {
            span.for_each_range(|start, len| self.mark_range(start, len));
        }
    }
    fn mark_range(&mut self, start: usize, len: usize) {
        for (word, mask) in words(start, len) {
            let old = self.bits[word];
            self.missing -= (mask & !old).count_ones() as usize;
            self.bits[word] = old | mask;
        }
    }
    /// The first byte of `span`, in walking order, that was never written.
    pub fn first_missing(&self, span: &Span) -> Option<usize> {
        let mut found = None;
        if self.missing > 0 {
            span.for_each_range(|start, len| {
                if found.is_none() {
                    found = words(start, len).find_map(|(word, mask)| {
                        let gap = mask & !self.bits[word];
                        (gap != 0).then(|| word * 64 + gap.trailing_zeros() as usize)
                    });
                }
            });
        }
        found
    }
}

/// The words of a bitmap that hold bits `start .. start + len`, with the mask of those bits.
fn words(start: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + len;
    let range = if len == 0 { 0..0 } else { start / 64..end.div_ceil(64) };
    range.map(move |word| {
        let lo = start.saturating_sub(word * 64).min(63);
        let hi = (end - word * 64).min(64);
        (word, u64::MAX << lo & u64::MAX >> (64 - hi))
    })
}

/// The bytes of one live buffer.
#[derive(Debug)]
pub(super) struct Storage {
    pub bytes: Vec<u8>,
    pub written: Written,
    /// Bytes from one partition to the next (HBM: all of them).
    pub row_bytes: usize,
    /// Accumulation flags, a byte each, for PSUM whose matmuls decide for themselves (isa.md section 13).
    pub flags: Vec<u8>,
}

impl Storage {
    /// Fresh storage for a buffer. `bytes` is recycled memory of the right length, or empty. Nothing is written yet;
    /// `visible` fills it with what unwritten storage reads as. `None` if this machine has too little memory.
    pub fn fresh(data: &BufData, mut bytes: Vec<u8>, visible: bool) -> Option<Storage> {
        let row_bytes = usize::try_from(data.row_bytes()).ok()?;
        let len = row_bytes.checked_mul(data.partitions() as usize)?;
        if bytes.len() != len {
            bytes.try_reserve_exact(len).ok()?;
            bytes.resize(len, 0);
        }
        if visible {
            cast::poison(data.dtype, &mut bytes);
        }
        let flags = Vec::new();
        Some(Storage { bytes, written: Written::none(len), row_bytes, flags })
    }
    /// Storage that holds an argument.
    pub fn holding(data: &BufData, bytes: Vec<u8>) -> Storage {
        let row_bytes = data.row_bytes() as usize;
        let flags = Vec::new();
        Storage { bytes, written: Written::all(), row_bytes, flags }
    }
    /// Partition and byte within the partition (HBM: partition 0).
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let row = self.row_bytes.max(1);
        (byte / row, byte % row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DType;
    use smallvec::smallvec;

    #[test]
    fn words_cover_exactly_the_range() {
        for (start, len) in [(0, 0), (0, 1), (63, 1), (63, 2), (64, 64), (5, 200), (0, 128), (127, 1)] {
            let mut bits = [false; 320];
            for (word, mask) in words(start, len) {
                (0..64).filter(|b| mask >> b & 1 == 1).for_each(|b| bits[word * 64 + b] = true);
            }
            for (i, set) in bits.iter().enumerate() {
                assert_eq!(*set, (start..start + len).contains(&i), "{start} {len} bit {i}");
            }
        }
    }

    #[test]
    fn gaps_are_found_until_everything_is_written() {
        let span = |base, dims: &[(i64, u32)]| Span {
            mem: 0,
            base,
            part_stride: 40,
            parts: 2,
            dims: dims.iter().copied().collect(),
            dtype: DType::F16,
        };
        let mut w = Written::none(80);
        let (even, odd, whole) = (span(0, &[(4, 10)]), span(2, &[(4, 10)]), span(0, &[(2, 20)]));
        assert_eq!(w.first_missing(&whole), Some(0));
        w.mark(&even);
        assert_eq!((w.first_missing(&even), w.first_missing(&whole)), (None, Some(2)));
        w.mark(&Span { parts: 1, dims: smallvec![(2, 7)], ..whole.clone() });
        assert_eq!(w.first_missing(&odd), Some(14));
        w.mark(&odd);
        assert_eq!((w.first_missing(&whole), w.missing), (None, 0));
    }
}
