//! Events as bytes: unsigned varints (seven bits a byte, low ones first), then base64.
//!
//! The stream is, in picoseconds: the number of tracks of slices, each with its length and per slice `start - previous start`,
//! `end - start`, `inst`, the event number's signed difference to the previous one (zigzag), and `event - producer` (0 for
//! none); the five engines' gaps, each with its length and per gap `start - previous start`, `end - start`, `inst`, reason;
//! the lives of buffers with their number and per life `start - previous start`, `end - start`, placement.

use super::record::{Gap, NONE, Slice};
use crate::trace::Life;
use std::io::{self, Write};

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

fn zigzag(n: i64) -> u64 {
    ((n << 1) ^ (n >> 63)) as u64
}

/// Differences of starts, which are sorted.
#[derive(Default)]
struct Clock(u64);

impl Clock {
    fn put(&mut self, out: &mut Vec<u8>, start: u64, end: u64) {
        varint(out, start.saturating_sub(self.0));
        varint(out, end.saturating_sub(start));
        self.0 = start;
    }
}

pub(super) fn slices(out: &mut Vec<u8>, track: &[Slice]) {
    varint(out, track.len() as u64);
    let (mut clock, mut event) = (Clock::default(), 0i64);
    for s in track {
        clock.put(out, s.start, s.end);
        varint(out, s.inst.into());
        varint(out, zigzag(i64::from(s.event) - event));
        event = s.event.into();
        let earlier = s.producer != NONE && s.producer < s.event;
        varint(out, if earlier { (s.event - s.producer).into() } else { 0 });
    }
}

pub(super) fn gaps(out: &mut Vec<u8>, track: &[Gap]) {
    varint(out, track.len() as u64);
    let mut clock = Clock::default();
    for g in track {
        clock.put(out, g.start, g.end);
        varint(out, g.inst.into());
        out.push(g.reason);
    }
}

pub(super) fn lives(out: &mut Vec<u8>, list: &[Life]) {
    varint(out, list.len() as u64);
    let mut clock = Clock::default();
    for l in list {
        clock.put(out, l.start, l.end);
        varint(out, l.placement.into());
    }
}

pub(super) fn count(out: &mut Vec<u8>, n: usize) {
    varint(out, n as u64);
}

/// Writes `bytes` in base64.
pub(super) fn base64(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut line = Vec::with_capacity(4 << 10);
    for chunk in bytes.chunks(3 << 10) {
        line.clear();
        for three in chunk.chunks(3) {
            let word = three.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - three.len()));
            for digit in 0..4 {
                let shown = digit <= three.len();
                line.push(if shown { DIGITS[(word >> (18 - 6 * digit) & 63) as usize] } else { b'=' });
            }
        }
        out.write_all(&line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_as_in_the_standard() {
        // RFC 4648, section 10.
        for (text, want) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            let mut out = Vec::new();
            base64(&mut out, text.as_bytes()).unwrap();
            assert_eq!(out, want.as_bytes());
        }
        let mut out = Vec::new();
        base64(&mut out, &[0xfb; 10_000]).unwrap();
        assert_eq!((out.len(), &out[..4]), (13_336, &b"+/v7"[..]));
    }

    #[test]
    fn numbers_have_the_known_bytes() {
        let mut out = Vec::new();
        for n in [0, 127, 128, 300] {
            varint(&mut out, n);
        }
        assert_eq!(out, [0, 127, 0x80, 1, 0xac, 2]);
        assert_eq!([0, -1, 1, -2].map(zigzag), [0, 1, 2, 3]);
        let track = [
            Slice { start: 5, end: 9, inst: 1, event: 3, producer: 1 },
            Slice { start: 9, end: 9, inst: 2, event: 2, producer: NONE },
        ];
        let mut out = Vec::new();
        slices(&mut out, &track);
        assert_eq!(out, [2, 5, 4, 1, 6, 2, 4, 0, 2, 1, 0]);
    }
}
