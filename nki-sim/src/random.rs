//! A small deterministic generator (SplitMix64) for adversarial runs.

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// Mostly small, sometimes up to `2^bits`: all orders of magnitude are equally likely.
    pub fn spread(&mut self, bits: u32) -> u64 {
        let width = self.next() % u64::from(bits + 1);
        self.next() & ((1u64 << width) - 1)
    }
}
