//! The simulator's errors on the measured kernels do not grow: each case has the error that it had when it was last looked
//! at, rounded up. A limit is only ever lowered, or raised with a reason in the commit.

use nki::calibrate::{Case, Measurement, Summary, cases, measure};
use nki_calibration as _;

fn find(id: &str) -> &'static Case {
    cases().into_iter().find(|c| c.id == id).unwrap_or_else(|| panic!("no case {id}"))
}

fn error(m: &Measurement) -> f64 {
    Summary::of(&[(m.case.id, m.latency().ratio())]).worst
}

/// Latency within `percent`, engines' active time within `points` of 100 of the latency, counters equal.
#[track_caller]
fn holds(id: &str, percent: f64, points: f64) -> Measurement {
    let m = measure(find(id)).unwrap_or_else(|d| panic!("{d}"));
    let found = 100.0 * error(&m);
    assert!(found <= percent, "{id}: latency is {found:.2} % off, the limit is {percent} %");
    let found = m.active_points();
    assert!(found <= points, "{id}: active time is {found:.2} points off, the limit is {points}");
    for (name, measured, simulated) in m.counters() {
        assert_eq!(simulated, measured, "{id}: {name}");
    }
    m
}

#[test]
fn transpose_matmul() {
    holds("C1", 1.8, 0.5);
}

#[test]
fn add_rmsnorm_matmul() {
    holds("C2", 4.0, 5.0);
}

#[test]
fn lora() {
    holds("C3", 3.0, 2.5);
}

#[test]
fn products_with_and_without_spills() {
    let (spilling, not) = (holds("C4", 3.5, 6.5), holds("C4b", 3.5, 7.5));
    assert!(not.latency().simulated < spilling.latency().simulated);
}

#[test]
fn product_and_softmax() {
    holds("C5", 2.5, 6.0);
}

#[test]
fn adamw() {
    holds("C6", 2.0, 3.0);
}

#[test]
fn rope() {
    holds("C7", 12.0, 5.0);
}

#[test]
fn attention() {
    holds("C10", 13.5, 0.0);
}

#[test]
fn mamba() {
    holds("C8 v2", 1.0, 1.0);
    holds("C8 v3", 5.0, 3.5);
}

#[test]
fn tiny_vector_instructions() {
    holds("C9", 1.0, 0.0);
}

#[test]
fn single_instructions() {
    let all = nki::calibrate::figures();
    assert_eq!(all.len(), 5);
    for figure in all {
        let p = figure.measure().unwrap_or_else(|d| panic!("{}: {d}", figure.id));
        let percent = 100.0 * (p.ratio() - 1.0).abs();
        assert!(percent <= 9.0, "{}: {} ns simulated, {} measured", figure.id, p.simulated, p.measured);
    }
}
