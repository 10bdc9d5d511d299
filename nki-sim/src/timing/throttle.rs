//! Current throttling of the tensor engine (machine.md 13.2): time in windows, a window runs at full rate if the one before it was
//! busy enough.

use crate::constants::Pe;
use crate::cost::{Ps, ps};

#[derive(Clone, Debug)]
pub(crate) struct Throttle {
    window: Ps,
    threshold: f64,
    enabled: bool,
    /// Window that `busy` belongs to, and whether it runs at full rate.
    current: u64,
    full: bool,
    /// Busy time in the current window.
    busy: Ps,
}

impl Throttle {
    pub fn new(pe: &Pe, enabled: bool) -> Throttle {
        Throttle {
            window: ps(pe.throttle_window_ns).max(1),
            threshold: pe.throttle_threshold,
            enabled: enabled && pe.throttle_factor < 1.0,
            current: 0,
            full: false,
            busy: 0,
        }
    }
    /// Moves on to the window of `at`.
    fn enter(&mut self, at: Ps) {
        let window = at / self.window;
        if window == self.current {
            return;
        }
        let utilised = self.busy as f64 / self.window as f64 >= self.threshold;
        self.full = window == self.current + 1 && utilised;
        (self.current, self.busy) = (window, 0);
    }
    /// Streams from `at`, work that takes `full` at full rate and `cold` while throttled. Returns its duration and the
    /// part of it at the throttled rate.
    pub fn stream(&mut self, at: Ps, full: Ps, cold: Ps) -> (Ps, Ps) {
        if !self.enabled {
            return (full, 0);
        }
        let (mut now, mut done, mut throttled) = (at, 0.0f64, 0);
        loop {
            self.enter(now);
            let whole = if self.full { full } else { cold };
            let left = ((1.0 - done) * whole as f64).round() as Ps;
            let window_end = (self.current + 1) * self.window;
            let step = left.min(window_end - now);
            self.busy += step;
            if !self.full {
                throttled += step;
            }
            now += step;
            if step == left {
                return (now - at, throttled);
            }
            done += step as f64 / whole as f64;
        }
    }
    /// Time the engine is occupied without streaming.
    pub fn occupy(&mut self, at: Ps, time: Ps) {
        if self.enabled {
            self.enter(at);
            self.busy += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::constants::Constants;
    use nki_ir::Target;

    #[test]
    fn the_second_busy_window_is_warm_and_idleness_cools() {
        let mut t = Throttle::new(&Constants::of(Target::Trn2).pe, true);
        let mut now = 0;
        while now < 3_000_000 {
            now += t.stream(now, 200_000, 400_000).0;
        }
        // The seventh ends at 2.8 us; the eighth is half done at the boundary and goes on at full rate.
        assert_eq!(now, 2_800_000 + 200_000 + 100_000);
        assert_eq!(t.stream(now, 200_000, 400_000), (200_000, 0));
        // A window without work: cold again.
        assert_eq!(t.stream(9_100_000, 200_000, 400_000), (400_000, 400_000));
    }

    #[test]
    fn gen2_is_never_throttled() {
        let mut t = Throttle::new(&Constants::of(Target::Trn1).pe, true);
        assert_eq!(t.stream(0, 5, 10), (5, 0));
    }
}
