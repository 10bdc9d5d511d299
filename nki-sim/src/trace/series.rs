//! A quantity over time in a fixed number of bins, whose width doubles as the run gets longer: memory does not grow with it.

use crate::cost::Ps;

/// Bins of a series.
const BINS: usize = 2048;

/// Sums of quantity times picoseconds, by bin.
#[derive(Clone, Debug)]
pub(super) struct Series {
    width: Ps,
    bins: Vec<u128>,
    end: Ps,
}

impl Series {
    pub fn new() -> Series {
        // Five nanoseconds and a bit: finer than any instruction.
        Series { width: 1 << 12, bins: vec![0; BINS], end: 0 }
    }

    /// Adds `level`, which lasts from `from` to `to`.
    pub fn add(&mut self, from: Ps, to: Ps, level: u64) {
        self.spread(from, to, |time| u128::from(level) * u128::from(time));
    }

    /// Adds `total`, spread evenly over `from .. to`; the series then tells the rate per picosecond.
    pub fn add_total(&mut self, from: Ps, to: Ps, total: u64) {
        let all = u128::from(to.saturating_sub(from).max(1));
        self.spread(from, to, |time| u128::from(total) * SCALE * u128::from(time) / all);
    }

    fn spread(&mut self, from: Ps, to: Ps, part: impl Fn(Ps) -> u128) {
        if to <= from {
            return;
        }
        while to > self.width * BINS as Ps {
            self.fold();
        }
        self.end = self.end.max(to);
        let (first, last) = ((from / self.width) as usize, ((to - 1) / self.width) as usize);
        for bin in first..=last {
            let start = from.max(bin as Ps * self.width);
            let end = to.min((bin as Ps + 1) * self.width);
            self.bins[bin] += part(end - start);
        }
    }

    fn fold(&mut self) {
        self.width *= 2;
        for bin in 0..BINS {
            let pair = |i: usize| self.bins.get(i).copied().unwrap_or(0);
            self.bins[bin] = pair(2 * bin) + pair(2 * bin + 1);
        }
    }

    /// Start and average level of each bin, as far as the run went; neighbours with the same level are joined.
    pub fn levels(&self) -> Vec<(Ps, f64)> {
        let mut out: Vec<(Ps, f64)> = Vec::new();
        let used = (self.end.div_ceil(self.width) as usize).min(BINS);
        for (i, bin) in self.bins[..used].iter().enumerate() {
            let level = *bin as f64 / self.width as f64;
            if out.last().is_none_or(|last| last.1 != level) {
                out.push((i as Ps * self.width, level));
            }
        }
        if used > 0 {
            out.push((self.end, 0.0));
        }
        out
    }

    /// Like [`Series::levels`], for what was added by [`Series::add_total`]: units per nanosecond.
    pub fn rates(&self) -> Vec<(Ps, f64)> {
        // A unit per picosecond is a thousand per nanosecond.
        self.levels().into_iter().map(|(t, level)| (t, level * 1000.0 / SCALE as f64)).collect()
    }
}

/// What totals are multiplied by, so that little is lost where they are divided.
const SCALE: u128 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_averages_over_bins_that_double() {
        let mut s = Series::new();
        // 100 everywhere, and another 50 in the second half of a run that needs four doublings.
        let end = (BINS as Ps) << 16;
        s.add(0, end, 100);
        s.add(end / 2, end, 50);
        assert_eq!(s.width, 1 << 16);
        assert_eq!(s.levels(), [(0, 100.0), (end / 2, 150.0), (end, 0.0)]);
    }

    #[test]
    fn totals_become_rates() {
        let mut s = Series::new();
        // 8192 bytes in 8192 ps: a byte per picosecond, a thousand per nanosecond.
        s.add_total(4096, 4096 + 8192, 8192);
        assert_eq!(s.rates(), [(0, 0.0), (4096, 1000.0), (3 * 4096, 0.0)]);
        assert_eq!(Series::new().rates(), []);
    }
}
