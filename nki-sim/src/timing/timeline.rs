//! Utilisation over time in a fixed number of bins, whose width doubles as the run gets longer.

use crate::cost::Ps;

/// Bins; the terminal's Gantt chart shows them.
pub(crate) const BINS: usize = 128;
/// Rows: the five engines, then the DMA engines.
pub(crate) const ROWS: usize = 6;
/// The row of the DMA engines.
pub(crate) const DMA_ROW: usize = 5;

#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    pub width: Ps,
    pub rows: [[Ps; BINS]; ROWS],
}

impl Default for Timeline {
    fn default() -> Self {
        Timeline { width: 1 << 10, rows: [[0; BINS]; ROWS] }
    }
}

impl Timeline {
    /// Spreads `busy` evenly over `from .. to`.
    pub fn add(&mut self, row: usize, from: Ps, to: Ps, busy: Ps) {
        if to <= from {
            return;
        }
        while to > self.width * BINS as Ps {
            self.fold();
        }
        let (first, last) = ((from / self.width) as usize, ((to - 1) / self.width) as usize);
        // Nearly every instruction lies within one bin.
        if first == last {
            self.rows[row][first] += busy;
            return;
        }
        for bin in first..=last {
            let start = from.max(bin as Ps * self.width);
            let end = to.min((bin as Ps + 1) * self.width);
            let part = u128::from(busy) * u128::from(end - start) / u128::from(to - from);
            self.rows[row][bin] += part as Ps;
        }
    }
    fn fold(&mut self) {
        self.width *= 2;
        for row in &mut self.rows {
            for bin in 0..BINS {
                let pair = |i: usize| row.get(i).copied().unwrap_or(0);
                row[bin] = pair(2 * bin) + pair(2 * bin + 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_keeps_the_sum() {
        let mut t = Timeline::default();
        let mut sum = 0;
        for i in 0..1000u64 {
            t.add(0, i * 5000, i * 5000 + 3000, 3000);
            sum += 3000;
        }
        let got: Ps = t.rows[0].iter().sum();
        assert!(sum - got < 3000, "rounding loses less than a bin: {got} of {sum}");
        assert!(t.width * BINS as Ps >= 1000 * 5000);
        // 60 % busy everywhere but in the last bin.
        let used = (5_000_000 / t.width) as usize;
        assert!(t.rows[0][..used - 1].iter().all(|b| (*b as f64 / t.width as f64 - 0.6).abs() < 0.06));
    }
}
