//! Dropout in `f64`, with the generator written out (kernels.md 4.8).

/// The finaliser of SplitMix64.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(INCREMENT);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// 2^64 over the golden ratio.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;

/// Generators that each lane of a vector engine can have.
const STATES: usize = 4;

/// Marsaglia's XORWOW: five words that are shifted and combined, and one that counts by 362437.
#[derive(Clone)]
struct XorWow([u32; 6]);

impl XorWow {
    fn next(&mut self) -> u32 {
        let [x, y, z, w, v, count] = self.0;
        let t = x ^ (x >> 2);
        let last = (v ^ (v << 4)) ^ (t ^ (t << 1));
        let count = count.wrapping_add(362_437);
        self.0 = [y, z, w, v, last, count];
        count.wrapping_add(last)
    }
}

/// The generators of 128 lanes, four a lane: words of a SplitMix64 sequence that starts from the mixed seed, lane by lane.
fn seeded(seed: u32) -> Vec<[XorWow; STATES]> {
    let mut state = mix(u64::from(seed));
    let mut word = || {
        state = state.wrapping_add(INCREMENT);
        (mix(state) >> 32) as u32
    };
    (0..128).map(|_| std::array::from_fn(|_| XorWow(std::array::from_fn(|_| word())))).collect()
}

/// Which elements of `[rows, columns]` stay. Row `r` draws from lane `r % 128`; a draw below `p · 2^32` zeroes. `states` of a
/// lane's generators are in use, 4 on trn3 and 1 elsewhere: draws of an instruction, of `chunk` columns, come from them in turn.
pub fn keeps(rows: usize, columns: usize, p: f32, seed: u32, chunk: usize, states: usize) -> Vec<bool> {
    let mut lanes = seeded(seed);
    let mut kept = Vec::with_capacity(rows * columns);
    for row in 0..rows {
        let lane = &mut lanes[row % 128];
        let draw = |c: usize| f64::from(lane[c % chunk % states].next()) / 4_294_967_296.0 >= f64::from(p);
        kept.extend((0..columns).map(draw));
    }
    kept
}

/// `x / (1 - p)` where `kept`, else 0.
pub fn dropout(x: &[f64], kept: &[bool], p: f32) -> Vec<f64> {
    let scale = 1.0 / (1.0 - f64::from(p));
    x.iter().zip(kept).map(|(x, &k)| if k { x * scale } else { 0.0 }).collect()
}

#[test]
fn as_many_are_kept_as_should_be() {
    for (p, states) in [(0.0, 1), (0.25, 1), (0.9, 4)] {
        let kept = keeps(256, 500, p, 7, 4096, states);
        let share = kept.iter().filter(|k| **k).count() as f64 / 128_000.0;
        let sigma = (f64::from(p) * (1.0 - f64::from(p)) / 128_000.0).sqrt();
        assert!((share - (1.0 - f64::from(p))).abs() <= 4.0 * sigma, "{p}: {share}");
    }
    assert_eq!(dropout(&[3.0, 5.0], &[true, false], 0.25), [4.0, 0.0]);
}
