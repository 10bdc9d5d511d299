//! The random numbers of the engines (isa.md 9.5): Marsaglia's XORWOW, five xorshift words and a Weyl counter, one generator
//! per lane (four on gen4's VectorE), each seeded by SplitMix64. Sequences are ours: the same in every way of running, not
//! those of hardware.

use super::state::{GOLDEN, LANES, mix};
use crate::op::Engine;

/// Generators of a lane; only gen4's VectorE uses more than the first.
const STREAMS: usize = 4;
/// Words of a generator.
const WORDS: usize = 6;

/// The generators of the engines that have some; made when first used.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Random {
    vector: Option<Box<Lanes>>,
    gpsimd: Option<Box<Lanes>>,
}

/// The generators of an engine's lanes. Lane `p` belongs to partition `p` of an instruction's operands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lanes(Vec<[[u32; WORDS]; STREAMS]>);

impl Random {
    /// The generators of `engine`, if it has any. Until a kernel sets them they start from a seed of the engine's own.
    pub(crate) fn of(&mut self, engine: Engine) -> Option<&mut Lanes> {
        let (slot, seed) = match engine {
            Engine::Vector => (&mut self.vector, 1 << 32),
            Engine::GpSimd => (&mut self.gpsimd, 2 << 32),
            _ => return None,
        };
        Some(slot.get_or_insert_with(|| Box::new(Lanes::seeded(seed))))
    }
}

impl Lanes {
    /// All generators from one seed.
    pub fn seeded(seed: u64) -> Lanes {
        let mut next = mix(seed);
        let mut word = || {
            next = next.wrapping_add(GOLDEN);
            (mix(next) >> 32) as u32
        };
        Lanes((0..LANES).map(|_| std::array::from_fn(|_| std::array::from_fn(|_| word()))).collect())
    }
    /// The next draws of a lane, number k from generator `k mod streams`.
    pub fn draw(&mut self, lane: usize, streams: usize, out: &mut [u32]) {
        for (k, o) in out.iter_mut().enumerate() {
            *o = step(&mut self.0[lane][k % streams]);
        }
    }
    /// Replaces the first generators of a lane.
    pub fn set(&mut self, lane: usize, words: &[u32]) {
        self.0[lane].as_flattened_mut()[..words.len()].copy_from_slice(words);
    }
    /// The state of the first generators of a lane.
    pub fn get(&self, lane: usize, words: &mut [u32]) {
        words.copy_from_slice(&self.0[lane].as_flattened()[..words.len()]);
    }
}

/// One step of XORWOW on `[x, y, z, w, v, d]`.
fn step(s: &mut [u32; WORDS]) -> u32 {
    let t = s[0] ^ (s[0] >> 2);
    s.copy_within(1..5, 0);
    s[4] = (s[4] ^ (s[4] << 4)) ^ (t ^ (t << 1));
    s[5] = s[5].wrapping_add(362_437);
    s[5].wrapping_add(s[4])
}

/// A draw as a number in [0, 1).
pub(crate) fn fraction(draw: u32) -> f64 {
    f64::from(draw) / 4_294_967_296.0
}
