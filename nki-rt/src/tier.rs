//! Which instruction set to run on.

#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use std::sync::OnceLock;

/// An instruction set that this processor has. A value is proof of that: there is no way to make one for an
/// instruction set that is missing, which is what makes the SIMD functions safe to call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tier(Kind);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    /// Plain Rust, 4 lanes; what the compiler makes of it (NEON on AArch64).
    Portable,
    #[cfg(test)]
    /// Plain Rust, 16 lanes in tiled kernels: slow, exists to test their 512-bit shapes on any machine.
    Wide,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX-512 with `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
}

impl Tier {
    /// Plain Rust, on every machine.
    pub const PORTABLE: Tier = Tier(Kind::Portable);

    /// The fastest instruction set of this processor, found once.
    pub fn best() -> Tier {
        static BEST: OnceLock<Tier> = OnceLock::new();
        *BEST.get_or_init(|| *Tier::available().last().expect("the portable tier is always available"))
    }

    /// Every tier of this processor, slowest first.
    pub fn available() -> Vec<Tier> {
        #[allow(unused_mut, reason = "not every processor has more")]
        let mut tiers = vec![Tier(Kind::Portable)];
        #[cfg(test)]
        tiers.insert(0, Tier(Kind::Wide));
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::is_x86_feature_detected as has;
            let avx2 = has!("avx2") && has!("fma") && has!("f16c");
            let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
            if avx2 {
                tiers.push(Tier(Kind::Avx2));
            }
            if avx512 {
                tiers.push(Tier(Kind::Avx512));
            }
            if avx512 && has!("avx512bf16") {
                tiers.push(Tier(Kind::Avx512Bf16));
            }
        }
        tiers
    }

    /// The tier of that name, when this processor has it.
    pub fn from_name(name: &str) -> Option<Tier> {
        Tier::available().into_iter().find(|tier| tier.name() == name)
    }

    /// `portable`, `avx2`, `avx512` or `avx512bf16`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(test)]
            Kind::Wide => "wide",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512bf16",
        }
    }

    /// Number of 32-bit lanes that tiled kernels see.
    pub(crate) fn lanes(self) -> usize {
        match self.0 {
            Kind::Portable => 4,
            #[cfg(test)]
            Kind::Wide => 16,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => 8,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx512Bf16 => 16,
        }
    }

    /// Whether [`Tier::run_pairs`] gains anything: the processor multiplies pairs of bf16 numbers. In tests the wide
    /// tier plays that part.
    pub(crate) fn has_pair_dot(self) -> bool {
        match self.0 {
            #[cfg(test)]
            Kind::Wide => true,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => true,
            _ => false,
        }
    }

    /// Runs a kernel that uses [`Simd::pair_dot`].
    ///
    /// # Safety
    /// [`Tier::has_pair_dot`] must hold.
    #[cfg_attr(not(any(test, target_arch = "x86_64")), allow(unused_variables, reason = "no such tier"))]
    pub(crate) unsafe fn run_pairs<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes this tier only after detecting all features of `run_avx512_bf16`.
            Kind::Avx512Bf16 => unsafe { run_avx512_bf16(kernel) },
            #[cfg(test)]
            Kind::Wide => kernel.run(Portable::<16>),
            _ => unreachable!("{self} multiplies no pairs; the caller asked `has_pair_dot`"),
        }
    }

    /// Runs a kernel compiled for this instruction set.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Kind::Portable => kernel.run(Portable::<4>),
            #[cfg(test)]
            Kind::Wide if K::TILED => kernel.run(Portable::<16>),
            #[cfg(test)]
            Kind::Wide => kernel.run(Portable::<4>),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes an AVX2 tier only after detecting avx2, fma and f16c.
            Kind::Avx2 => unsafe { run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `available` makes an AVX-512 tier only after detecting all features of `run_avx512`.
            Kind::Avx512 | Kind::Avx512Bf16 => unsafe { run_avx512(kernel) },
        }
    }
}

impl std::fmt::Debug for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A computation written once over lanes. `run` must be `#[inline(always)]`, and so must all that it calls with
/// the token: only code inlined into the functions below is compiled for their instruction set.
pub(crate) trait Kernel {
    type Output;
    /// Whether the blocking depends on the number of lanes, so that the wide tier has something to test.
    #[cfg_attr(not(test), allow(dead_code, reason = "only tests have the wide tier"))]
    const TILED: bool = false;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// # Safety
/// The processor must have avx2, fma and f16c.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    kernel.run(unsafe { Avx2::assume() })
}

/// Without `avx512vl` LLVM spills accumulators, so the features come as a set (host.md 7.1).
///
/// # Safety
/// The processor must have the features listed.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    kernel.run(unsafe { Avx512::assume() })
}

/// # Safety
/// The processor must have the features listed.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn run_avx512_bf16<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the caller vouches for the features.
    kernel.run(unsafe { Avx512::assume() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_have_names_and_the_best_is_listed() {
        let all = Tier::available();
        assert!(all.contains(&Tier::PORTABLE) && all.contains(&Tier::best()));
        for tier in all {
            assert_eq!(Tier::from_name(tier.name()), Some(tier));
        }
        assert_eq!(Tier::from_name("mmx"), None);
    }
}
