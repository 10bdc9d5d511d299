//! One bit per byte of a memory.

use nki_ir::sem::Span;

#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    /// Every bit is set, and none will be cleared.
    full: bool,
}

/// Words that hold bits `start .. start + len`, with the mask of those bits.
fn words(start: usize, len: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = start + len;
    let range = if len == 0 { 0..0 } else { start / 64..end.div_ceil(64) };
    range.map(move |word| {
        let lo = start.saturating_sub(word * 64);
        let hi = (end - word * 64).min(64);
        (word, u64::MAX << lo & u64::MAX >> (64 - hi))
    })
}

impl Bits {
    /// All bits clear.
    pub fn none(len: usize) -> Bits {
        Bits { words: vec![0; len.div_ceil(64)], full: false }
    }
    /// All bits set, for good.
    pub fn all() -> Bits {
        Bits { words: Vec::new(), full: true }
    }
    /// Sets the bits of a span.
    pub fn set(&mut self, span: &Span) {
        if !self.full {
            span.for_each_range(|start, len| words(start, len).for_each(|(w, m)| self.words[w] |= m));
        }
    }
    /// Clears the bits of a span.
    pub fn clear(&mut self, span: &Span) {
        if !self.full {
            span.for_each_range(|start, len| words(start, len).for_each(|(w, m)| self.words[w] &= !m));
        }
    }
    /// The first byte of a span whose bit is clear.
    pub fn first_clear(&self, span: &Span) -> Option<usize> {
        let mut found = None;
        if !self.full {
            span.for_each_range(|start, len| {
                if found.is_none() {
                    found = self.gap(start, len);
                }
            });
        }
        found
    }
    fn gap(&self, start: usize, len: usize) -> Option<usize> {
        words(start, len).find_map(|(w, m)| {
            let gap = m & !self.words[w];
            (gap != 0).then(|| w * 64 + gap.trailing_zeros() as usize)
        })
    }
    /// Whether the bit of a byte is set.
    pub fn is_set(&self, byte: usize) -> bool {
        self.full || self.words.get(byte / 64).is_some_and(|w| w >> (byte % 64) & 1 == 1)
    }
    /// Bytes of `0 .. len` whose bit is clear.
    pub fn count_clear(&self, len: usize) -> usize {
        if self.full {
            return 0;
        }
        words(0, len).map(|(w, m)| (m & !self.words[w]).count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nki_ir::DType;
    use smallvec::smallvec;

    #[test]
    fn spans_set_and_clear_their_bytes_only() {
        let span = |base, count| Span {
            mem: 0,
            base,
            part_stride: 100,
            parts: 2,
            dims: smallvec![(2, count)],
            dtype: DType::BF16,
        };
        let mut b = Bits::none(200);
        b.set(&span(10, 40));
        assert_eq!(b.first_clear(&span(10, 40)), None);
        assert_eq!(b.first_clear(&span(8, 41)), Some(8));
        assert_eq!(b.count_clear(200), 200 - 160);
        b.clear(&span(64, 1));
        assert_eq!(b.first_clear(&span(10, 40)), Some(64));
        assert!(!b.is_set(165) && b.is_set(166) && !b.is_set(9));
        assert_eq!(Bits::all().first_clear(&span(0, 50)), None);
    }
}
