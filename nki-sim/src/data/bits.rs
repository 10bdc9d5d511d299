//! One bit per byte of a memory.

use nki_ir::sem::Span;

#[derive(Clone, Debug, Default)]
pub(crate) struct Bits {
    words: Vec<u64>,
    /// Every bit is set, and none will be cleared.
    full: bool,
}

/// The words that hold bits `start .. start + len`, `len` at least 1, with the masks of the first and the last of them.
fn words(start: usize, len: usize) -> (std::ops::Range<usize>, u64, u64) {
    let end = start + len;
    (start / 64..end.div_ceil(64), u64::MAX << (start % 64), u64::MAX >> (end.wrapping_neg() % 64))
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
            span.for_each_range(|start, len| self.change(start, len, true));
        }
    }
    /// Clears the bits of a span.
    pub fn clear(&mut self, span: &Span) {
        if !self.full {
            span.for_each_range(|start, len| self.change(start, len, false));
        }
    }
    fn change(&mut self, start: usize, len: usize, to: bool) {
        if len == 0 {
            return;
        }
        let (range, first, last) = words(start, len);
        let fill = |word: &mut u64, mask: u64| if to { *word |= mask } else { *word &= !mask };
        match &mut self.words[range] {
            [word] => fill(word, first & last),
            [head, body @ .., tail] => {
                fill(head, first);
                body.fill(if to { u64::MAX } else { 0 });
                fill(tail, last);
            }
            [] => {}
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
        if len == 0 {
            return None;
        }
        let (range, first, last) = words(start, len);
        let whole = match &self.words[range.clone()] {
            [word] => word & first & last == first & last,
            [head, body @ .., tail] => {
                let edges = head & first == first && tail & last == last;
                edges && body.iter().all(|w| *w == u64::MAX)
            }
            [] => true,
        };
        if whole {
            return None;
        }
        (start..start + len).find(|&byte| !self.is_set(byte))
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
        let set: usize = self.words.iter().map(|w| w.count_ones() as usize).sum();
        len - set
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
