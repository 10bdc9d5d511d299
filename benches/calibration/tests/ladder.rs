//! NKI's optimisation guide for matrix products against the simulator: shares of time in points of 100.

use nki_calibration::ladder::{RUNGS, Rung, active, simulate};

/// DMA and tensor engine within so many points of what is published, the vector engine within one.
#[track_caller]
fn holds(name: &str, dma: f64, tensor: f64) -> (&'static Rung, f64) {
    let rung = RUNGS.iter().find(|r| r.name == name).expect("a rung of the guide");
    let report = simulate(rung).unwrap_or_else(|e| panic!("{e}"));
    let found = active(&report);
    for (what, published, simulated, limit) in [
        ("DMA", Some(rung.dma), found[0], dma),
        ("tensor", Some(rung.tensor), found[1], tensor),
        ("vector", rung.vector, found[2], 1.0),
    ] {
        let Some(published) = published else { continue };
        let off = (published - simulated).abs();
        assert!(off <= limit, "{name}: {what} is active {simulated:.2} %, published are {published} %");
    }
    (rung, report.profiled_ns * 1e-6)
}

#[test]
fn tiles() {
    let (rung, ms) = holds("tiled", 0.5, 2.0);
    let published = rung.latency_ms.expect("published");
    assert!((ms / published - 1.0).abs() < 0.01, "{ms} ms, published are {published}");
}

#[test]
fn hoisted_loads() {
    holds("hoisted", 1.5, 0.5);
}

/// Tiles do not fit and are loaded again; which ones is our compiler's choice.
#[test]
fn blocks_of_the_free_dimensions() {
    holds("blocked_free", 2.5, 0.5);
}

/// Ours moves fewer tiles out and in again than the original did, and is active for less time.
#[test]
fn blocks_of_all_dimensions() {
    holds("blocked", 4.0, 0.5);
}
