//! Random numbers that are the same on every machine: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
//! numbers: as easy as 1, 2, 3", SC 2011).
//!
//! Counter-based: element `i` of a tensor depends on the seed and on `i` alone, so a tensor can be generated in any
//! order, and a longer one begins with the shorter one.

/// One block: four words from a 128-bit counter and a 64-bit key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
    const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
        }
        let a = u64::from(MULTIPLIER[0]) * u64::from(counter[0]);
        let b = u64::from(MULTIPLIER[1]) * u64::from(counter[2]);
        counter = [
            (b >> 32) as u32 ^ counter[1] ^ key[0],
            b as u32,
            (a >> 32) as u32 ^ counter[3] ^ key[1],
            a as u32,
        ];
    }
    counter
}

/// The random words of one tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    key: [u32; 2],
}

impl Stream {
    /// The words of `seed`.
    pub fn new(seed: u64) -> Stream {
        Stream { key: [seed as u32, (seed >> 32) as u32] }
    }
    /// The four words of element `i`. `purpose` tells independent draws for the same element apart.
    pub fn words(self, i: u64, purpose: u32) -> [u32; 4] {
        philox([i as u32, (i >> 32) as u32, purpose, 0], self.key)
    }
    /// Uniform in `[0, 1)` with 53 bits.
    pub fn uniform(self, i: u64, purpose: u32) -> f64 {
        let [a, b, ..] = self.words(i, purpose);
        unit(a, b)
    }
    /// Standard normal, by Box and Muller's transform of one block.
    pub fn normal(self, i: u64, purpose: u32) -> f64 {
        let [a, b, c, d] = self.words(i, purpose);
        // 1 - u lies in (0, 1], whose logarithm is finite.
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(a, b)));
        radius * libm::cos(std::f64::consts::TAU * unit(c, d))
    }
}

fn unit(a: u32, b: u32) -> f64 {
    let bits = (u64::from(a) << 32 | u64::from(b)) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors that the paper's authors publish with their library.
    #[test]
    fn philox_gives_the_published_words() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]);
        assert_eq!(
            philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]),
            [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1]
        );
    }

    #[test]
    fn normal_has_the_moments_of_a_standard_normal() {
        let (s, n) = (Stream::new(3), 100_000u64);
        let xs: Vec<f64> = (0..n).map(|i| s.normal(i, 0)).collect();
        let mean = xs.iter().sum::<f64>() / n as f64;
        let moment = |p: i32| xs.iter().map(|x| (x - mean).powi(p)).sum::<f64>() / n as f64;
        // Standard errors: 1/sqrt(n) = 0.0032, sqrt(2/n) = 0.0045, sqrt(96/n) = 0.031; five of each are allowed.
        assert!(mean.abs() < 0.016, "mean {mean}");
        assert!((moment(2) - 1.0).abs() < 0.023, "variance {}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.155, "fourth moment {}", moment(4));
    }

    #[test]
    fn uniform_fills_the_unit_interval() {
        let s = Stream::new(9);
        let mut counts = [0u32; 10];
        for i in 0..100_000 {
            counts[(s.uniform(i, 0) * 10.0) as usize] += 1;
        }
        // Standard error of a count is 95.
        assert!(counts.iter().all(|c| c.abs_diff(10_000) < 475), "{counts:?}");
        assert_ne!(s.uniform(5, 0), s.uniform(5, 1));
        assert_ne!(s.uniform(5, 0), Stream::new(9 + (1 << 32)).uniform(5, 0));
    }
}
