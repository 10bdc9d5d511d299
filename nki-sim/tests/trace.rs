//! The Chrome trace: well-formed, complete, streamed.

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{ActFn, DType, Target};
use nki_sim::program::*;
use nki_sim::trace::ChromeTrace;
use nki_sim::{Mode, SimOptions, run_traced, verify};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

use DType::F32;

/// `n` tiles: load, copy, activation, store; two slots.
fn pipeline(n: i64) -> Program {
    let mut p = program(Target::Trn2);
    p.name = "pipe \"line\"".into();
    p.tensors = vec![
        tensor("x", BufKind::Input, F32, &[128, 512], 0),
        tensor("y", BufKind::Output, F32, &[128, 512], 1 << 20),
    ];
    let mut x = hbm(F32, 0, 128, 512, 512);
    x.object = Some(0);
    let mut y = hbm(F32, 1 << 20, 128, 512, 512);
    y.object = Some(1);
    let r = |c: i64, k: i64| affine(c, &[(0, k)]);
    let body = |i: MInst| vec![repeat(0, 0, n, vec![i])];
    let t = |o: i64| sbuf(F32, 128, o, 512);
    *stream(&mut p, Engine::Sync) =
        body(dma(t(0), x, 0, DgeMode::Hwdge).wait_affine(1, r(0, 1)).signal(0, 16).at(1));
    *stream(&mut p, Engine::Vector) =
        body(copy(t(4096), t(0)).wait_affine(0, r(16, 16)).wait_affine(2, r(0, 1)).signal(1, 1).at(2));
    let act = activation(t(8192), t(4096), ActFn::Exp);
    *stream(&mut p, Engine::Scalar) =
        body(act.wait_affine(1, r(1, 1)).wait_affine(3, r(0, 16)).signal(2, 1).at(3));
    let store =
        dma(y, t(8192), 1, DgeMode::None).wait_affine(2, r(1, 1)).wait_affine(3, r(0, 16)).signal(3, 16);
    *stream(&mut p, Engine::GpSimd) = body(store.at(4));
    p
}

fn trace(n: i64) -> Vec<u8> {
    let v = verify(pipeline(n)).unwrap();
    let mut sink = ChromeTrace::new(&v, Vec::new());
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    run_traced(&v, &[], &options, &mut sink).unwrap();
    sink.finish().unwrap()
}

#[test]
fn events_are_complete_and_do_not_overlap() {
    let json: Value = serde_json::from_slice(&trace(20)).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let count = |name: &str| events.iter().filter(|e| e["ph"] == "X" && e["name"] == name).count();
    assert_eq!((count("tensor_copy"), count("activation")), (20, 20));
    // Transfers themselves, and their triggers.
    assert_eq!((count("dma_copy"), count("trigger")), (40, 40));
    let mut tracks: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for e in events.iter().filter(|e| e["ph"] == "X") {
        let (ts, dur) = (e["ts"].as_f64().unwrap(), e["dur"].as_f64().unwrap());
        tracks.entry(e["tid"].as_u64().unwrap()).or_default().push((ts, ts + dur));
    }
    // Engines; the waits of a stream may enclose a trigger, queues may run out of lanes.
    for (tid, slices) in tracks.iter_mut().filter(|t| *t.0 <= 5) {
        slices.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(slices.windows(2).all(|w| w[0].1 <= w[1].0 + 1e-9), "track {tid}: {slices:?}");
    }
    let named: BTreeSet<&str> = events
        .iter()
        .filter(|e| e["name"] == "thread_name")
        .map(|e| e["args"]["name"].as_str().unwrap())
        .collect();
    for name in ["tensor", "vector", "scalar waits", "queue 0", "queue 1"] {
        assert!(named.contains(name), "{named:?}");
    }
    let of = |name: &str| events.iter().find(|e| e["name"] == name).unwrap();
    assert_eq!(of("tensor_copy")["args"]["at"], "k.rs:2:5");
    assert_eq!(of("process_name")["args"]["name"], "pipe \"line\" on trn2 (simulated)");
}

#[test]
fn arrows_lead_from_what_was_waited_for() {
    let json: Value = serde_json::from_slice(&trace(5)).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let mut starts = BTreeMap::new();
    let mut arrows = 0;
    // A start lies inside a slice of its track, and every start has one end, later.
    for e in events {
        let (tid, ts) = (e["tid"].as_u64().unwrap_or(0), e["ts"].as_f64().unwrap_or(0.0));
        match e["ph"].as_str().unwrap() {
            "s" => {
                assert!(starts.insert(e["id"].as_u64().unwrap(), ts).is_none());
                let inside = events.iter().any(|x| {
                    let from = x["ts"].as_f64().unwrap_or(f64::MAX);
                    x["ph"] == "X" && x["tid"] == tid && from <= ts && ts <= from + x["dur"].as_f64().unwrap()
                });
                assert!(inside, "{e}");
            }
            "f" => {
                arrows += 1;
                assert!(starts[&e["id"].as_u64().unwrap()] < ts);
            }
            _ => {}
        }
    }
    assert_eq!(starts.len(), arrows);
    assert!(arrows >= 15, "{arrows}");
    let bytes: Vec<u64> = events
        .iter()
        .filter(|e| e["name"] == "DMA bytes in flight")
        .map(|e| e["args"]["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!((bytes.len(), bytes.last()), (20, Some(&0)));
}

/// Level times duration of a counter, in units and microseconds.
fn integral(events: &[Value], name: &str, unit: &str) -> f64 {
    let of = |e: &&Value| e["ph"] == "C" && e["name"] == name;
    let mut points: Vec<(f64, f64)> = events
        .iter()
        .filter(of)
        .map(|e| (e["ts"].as_f64().unwrap(), e["args"][unit].as_f64().unwrap()))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(points.last().unwrap().1, 0.0, "{name} ends at nothing");
    points.windows(2).map(|w| w[0].1 * (w[1].0 - w[0].0)).sum()
}

#[test]
fn counters_show_memory_in_use_and_bandwidth() {
    let n = 12;
    let mut p = pipeline(n);
    let place = |name: &str, offset| Placement {
        name: name.into(),
        space: nki_ir::Space::Sbuf,
        start_partition: 0,
        partitions: 128,
        offset,
        bytes: 2048,
        loc: nki_ir::Loc::UNKNOWN,
    };
    p.placements = vec![place("x", 0), place("copied", 4096), place("result", 8192)];
    for inst in p.streams.iter_mut().flatten() {
        let MKind::For { body, .. } = &mut inst.kind else { continue };
        for i in body {
            let (MKind::Compute { operands, .. } | MKind::Dma { operands, .. }) = &mut i.kind else {
                continue;
            };
            for o in operands {
                if let MOperand::Access(a) = o
                    && a.space == nki_ir::Space::Sbuf
                {
                    a.object = Some(a.offset.constant as u32 / 4096);
                }
            }
        }
    }
    let v = verify(p).unwrap();
    let mut sink = ChromeTrace::new(&v, Vec::new());
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    run_traced(&v, &[], &options, &mut sink).unwrap();
    let json: Value = serde_json::from_slice(&sink.finish().unwrap()).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    // A gigabyte a second for a microsecond is a thousand bytes: every tile is read once and written once.
    let bytes = n as f64 * 128.0 * 512.0 * 4.0;
    for name in ["HBM read", "HBM written"] {
        let moved = 1000.0 * integral(events, name, "GB/s");
        assert!((moved / bytes - 1.0).abs() < 1e-3, "{name}: {moved} of {bytes}");
    }
    // Each of three tiles of 256 KiB is in use from the first write to the end of the last read, turn by turn.
    let ends = |name: &str, from_store: bool| {
        let of = |e: &&Value| {
            let store = e["args"]["at"].as_str().is_some_and(|at| at.starts_with("k.rs:4"));
            e["ph"] == "X" && e["name"] == name && (name != "dma_copy" || store == from_store)
        };
        let mut all: Vec<(f64, f64)> = events
            .iter()
            .filter(of)
            .map(|e| {
                let visible = e["args"]["visible_after_ns"].as_f64().map(|ns| ns / 1e3);
                let ts = e["ts"].as_f64().unwrap();
                (ts, ts + visible.unwrap_or(e["dur"].as_f64().unwrap()))
            })
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    };
    let chain = [
        ends("dma_copy", false),
        ends("tensor_copy", false),
        ends("activation", false),
        ends("dma_copy", true),
    ];
    let lives: f64 = chain.windows(2).flat_map(|w| w[0].iter().zip(&w[1])).map(|(a, b)| b.1 - a.0).sum();
    let used = integral(events, "SBUF in use", "bytes") / 262_144.0;
    assert!((used / lives - 1.0).abs() < 1e-3, "{used} of {lives}");
    assert!(!events.iter().any(|e| e["name"] == "PSUM in use"));
}

#[test]
fn traces_are_deterministic_and_streamed() {
    assert_eq!(trace(7), trace(7));
    /// Accepts a number of bytes, then fails.
    struct Small(usize);
    impl std::io::Write for Small {
        fn write(&mut self, b: &[u8]) -> std::io::Result<usize> {
            if self.0 < b.len() {
                return Err(std::io::Error::other("full"));
            }
            self.0 -= b.len();
            Ok(b.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let v = verify(pipeline(50)).unwrap();
    let mut sink = ChromeTrace::new(&v, Small(5000));
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    run_traced(&v, &[], &options, &mut sink).unwrap();
    assert_eq!(sink.finish().err().unwrap().to_string(), "full");
}
