//! A small deterministic generator of random numbers.

/// SplitMix64, optionally with choices given from outside that are used up first.
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
    /// Choices not yet made, the next one last.
    given: Vec<u8>,
}

impl Rng {
    /// Starts a sequence.
    pub fn new(seed: u64) -> Self {
        Rng { state: seed, given: Vec::new() }
    }
    /// The choices of `bytes`, one byte for each of up to 256 alternatives, and a fixed sequence behind them: what a fuzzer
    /// changes in a byte changes one choice.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Rng { state: 0, given: bytes.iter().rev().copied().collect() }
    }
    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        if !self.given.is_empty() {
            return (0..8).fold(0, |n, _| n << 8 | u64::from(self.given.pop().unwrap_or(0)));
        }
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    /// A number below `n`, 0 if `n` is 0.
    pub fn below(&mut self, n: u32) -> u32 {
        if n <= 256
            && let Some(byte) = self.given.pop()
        {
            return u32::from(byte) % n.max(1);
        }
        (self.bits() % u64::from(n.max(1))) as u32
    }
    /// A number from `lo` to `hi`, both included.
    pub fn range(&mut self, lo: u32, hi: u32) -> u32 {
        lo + self.below(hi.saturating_sub(lo).saturating_add(1))
    }
    /// True in `n` of 100 cases.
    pub fn percent(&mut self, n: u32) -> bool {
        self.below(100) < n
    }
    /// One of `items`, which is not empty.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len() as u32) as usize]
    }
    /// One of `items`, if there is any.
    pub fn choose<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| self.pick(items))
    }
}
