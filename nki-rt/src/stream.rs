//! Writing results that nobody reads soon: past the caches.

use crate::simd::Simd;
use crate::tier::{Kernel, Tier};

/// Copies numbers past the caches: memory that is written whole is not read first, and what the caches hold stays there. A
/// thread that hands the result to another one calls [`stream_fence`] before.
///
/// # Safety
/// `len` bytes must be readable at `from` and writable at `to`; the two must not overlap.
pub unsafe fn stream_raw(tier: Tier, from: *const u8, to: *mut u8, len: usize) {
    tier.run(Stream { from, to, len })
}

/// Orders what [`stream_raw`] has written before all that this thread writes later.
pub fn stream_fence() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has this instruction, and it has no operands.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

struct Stream {
    from: *const u8,
    to: *mut u8,
    len: usize,
}

impl Kernel for Stream {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Stream { from, to, len } = self;
        let width = 4 * S::LANES;
        let head = to.align_offset(width).min(len);
        let whole = head + (len - head) / width * width;
        // SAFETY: 0..head, head..whole and whole..len are the bytes; those of the middle begin where vectors are aligned.
        unsafe {
            std::ptr::copy_nonoverlapping(from, to, head);
            let mut at = head;
            while at < whole {
                s.stream(to.add(at).cast(), s.load(from.add(at).cast()));
                at += width;
            }
            std::ptr::copy_nonoverlapping(from.add(whole), to.add(whole), len - whole);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_copy_at_any_alignment_and_nothing_else() {
        let from: Vec<u8> = (0..400).map(|i| (i * 7 % 251) as u8).collect();
        for tier in Tier::available() {
            for (start, len) in [(0, 0), (0, 400), (3, 1), (5, 63), (1, 130), (64, 256), (7, 391)] {
                let mut to = vec![255u8; 500];
                // SAFETY: the bytes lie inside both vectors, which are apart.
                unsafe { stream_raw(tier, from.as_ptr(), to.as_mut_ptr().add(start), len) };
                stream_fence();
                assert_eq!(to[start..start + len], from[..len], "{tier} {start} {len}");
                assert!(
                    to[..start].iter().chain(&to[start + len..]).all(|b| *b == 255),
                    "{tier} {start} {len}"
                );
            }
        }
    }
}
