//! Which keys a query sees. Everything here is known while tracing: blocks that nobody sees are never loaded into an instruction.

use std::ops::Range;

/// Keys and queries of one block.
const BLOCK: usize = 128;

/// The rule.
#[derive(Clone, Copy, Debug)]
pub struct Visible {
    pub causal: bool,
    pub window: Option<usize>,
    pub offset: usize,
    pub keys: usize,
}

/// A block of keys, of which some of the queries that look at it may not see all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyBlock {
    pub keys: Range<usize>,
    /// Which mask the block needs: how far its first key is behind the first query's own. `None`: every query sees every key.
    pub mask: Option<i64>,
}

impl Visible {
    /// Whether query `i` sees key `j`.
    pub fn sees(&self, i: usize, j: usize) -> bool {
        let own = i + self.offset;
        !self.causal || (j <= own && self.window.is_none_or(|w| j + w > own))
    }

    /// The keys that some query of `rows` sees: a range, since consecutive queries see overlapping or adjoining ranges.
    pub fn keys_of(&self, rows: Range<usize>) -> Range<usize> {
        if !self.causal || rows.is_empty() {
            return 0..self.keys;
        }
        let end = (rows.end + self.offset).min(self.keys);
        let start = self.window.map_or(0, |w| (rows.start + self.offset + 1).saturating_sub(w));
        start.min(end)..end
    }

    /// The blocks of `section` (which starts at a multiple of 128) with keys that queries `rows`, at most 128, see.
    pub fn blocks_of(&self, rows: Range<usize>, section: Range<usize>) -> Vec<KeyBlock> {
        let seen = self.keys_of(rows.clone());
        let mut blocks = Vec::new();
        for start in section.clone().step_by(BLOCK) {
            let keys = start..(start + BLOCK).min(section.end);
            if keys.end <= seen.start || keys.start >= seen.end {
                continue;
            }
            let last = rows.end.max(1) - 1;
            let all =
                [rows.start, last].iter().all(|&i| self.sees(i, keys.start) && self.sees(i, keys.end - 1));
            let behind = (rows.start + self.offset) as i64 - keys.start as i64;
            blocks.push(KeyBlock { keys, mask: (!all).then_some(behind) });
        }
        blocks
    }

    /// Every mask that queries `0..queries` need, in order.
    pub fn masks(&self, queries: usize) -> Vec<i64> {
        let mut all: Vec<i64> = Vec::new();
        for row in (0..queries).step_by(BLOCK) {
            let blocks = self.blocks_of(row..(row + BLOCK).min(queries), 0..self.keys);
            all.extend(blocks.iter().filter_map(|b| b.mask));
        }
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares blocks and masks with the rule, pair by pair.
    fn check(v: Visible, queries: usize, section: usize) {
        let masks = v.masks(queries);
        for row in (0..queries).step_by(BLOCK) {
            let rows = row..(row + BLOCK).min(queries);
            let mut seen = vec![vec![false; v.keys]; rows.len()];
            for start in (0..v.keys).step_by(section) {
                for b in v.blocks_of(rows.clone(), start..(start + section).min(v.keys)) {
                    for i in rows.clone() {
                        for j in b.keys.clone() {
                            // What the kernel's mask lets through: see `kernel::mask`.
                            let ahead = (j - b.keys.start) as i64 - (i - rows.start) as i64;
                            let open = b.mask.is_none_or(|behind| {
                                assert!(masks.contains(&behind));
                                ahead <= behind && v.window.is_none_or(|w| ahead > behind - w as i64)
                            });
                            seen[i - rows.start][j] = open;
                        }
                    }
                }
            }
            for i in rows.clone() {
                let expected: Vec<bool> = (0..v.keys).map(|j| v.sees(i, j)).collect();
                assert_eq!(seen[i - rows.start], expected, "{v:?} query {i}");
            }
        }
    }

    #[test]
    fn blocks_and_masks_are_the_rule() {
        for keys in [1, 127, 128, 129, 300, 640] {
            for offset in [0, 1, 128, 200] {
                for queries in [1, 128, 129, 300] {
                    check(Visible { causal: false, window: None, offset, keys }, queries, 256);
                    check(Visible { causal: true, window: None, offset, keys }, queries, 256);
                    for w in [1, 2, 127, 128, 129, 250] {
                        if queries + offset <= keys {
                            check(Visible { causal: true, window: Some(w), offset, keys }, queries, 256);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_causal_sequence_needs_one_mask() {
        let v = Visible { causal: true, window: None, offset: 0, keys: 4096 };
        assert_eq!(v.masks(4096), [0]);
        let blocks: usize = (0..32).map(|t| v.blocks_of(t * 128..(t + 1) * 128, 0..4096).len()).sum();
        assert_eq!(blocks, 32 * 33 / 2);
    }
}
