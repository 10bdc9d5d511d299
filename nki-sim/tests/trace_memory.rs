//! A trace is written as it happens: the memory that writing takes does not grow with its length. In a process of its own.
//!
//! `NKI_EVENTS=10000000 cargo test --release -p nki-sim --test trace_memory -- --nocapture` writes as many events and prints
//! what they took.

mod common;

use common::*;
use nki_ir::op::Engine;
use nki_ir::{DType, Target};
use nki_sim::program::*;
use nki_sim::trace::ChromeTrace;
use nki_sim::{Mode, SimOptions, run_traced, verify};
use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// Counts events and forgets them.
#[derive(Default)]
struct Counter {
    bytes: u64,
    slices: u64,
}

impl Write for Counter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.bytes += text.len() as u64;
        self.slices += text.windows(8).filter(|w| w == b"\"ph\":\"X\"").count() as u64;
        Ok(text.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Two engines that hand a tile back and forth, `turns` times.
fn ping_pong(turns: i64) -> Program {
    let mut p = program(Target::Trn2);
    let (a, b) = (sbuf(DType::F32, 128, 0, 64), sbuf(DType::F32, 128, 4096, 64));
    let r = |c: i64| affine(c, &[(0, 1)]);
    let there = copy(b.clone(), a.clone()).wait_affine(1, r(0)).signal(0, 1).at(1);
    *stream(&mut p, Engine::Vector) = vec![repeat(0, 0, turns, vec![there])];
    let back = activation(a, b, nki_ir::ActFn::Copy).wait_affine(0, r(1)).signal(1, 1).at(2);
    *stream(&mut p, Engine::Scalar) = vec![repeat(0, 0, turns, vec![back])];
    p
}

/// The system's allocator, which counts what is in use.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    MOST.fetch_max(now, Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist while it is moved.
        more(size);
        NOW.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What was written, and the most memory that it took beyond the program.
fn written(turns: i64) -> (Counter, usize) {
    let v = verify(ping_pong(turns)).unwrap();
    let before = NOW.load(Relaxed);
    MOST.store(before, Relaxed);
    let mut sink = ChromeTrace::new(&v, Counter::default());
    // The critical path is kept for few events, so that only the trace is measured.
    let options = SimOptions { mode: Mode::TimeOnly, max_path_events: 1000, ..SimOptions::default() };
    run_traced(&v, &[], &options, &mut sink).unwrap();
    let counter = sink.finish().unwrap();
    (counter, MOST.load(Relaxed) - before)
}

#[test]
fn memory_does_not_grow_with_the_trace() {
    let events: i64 = std::env::var("NKI_EVENTS").ok().and_then(|n| n.parse().ok()).unwrap_or(120_000);
    // A turn is four slices, two instructions and two waits, and two arrows of two events.
    let (few, few_took) = written(events / 80);
    let start = Instant::now();
    let (many, many_took) = written(events / 8);
    assert!(many.slices >= events as u64 / 2 - 8 && many.bytes > 9 * few.bytes, "{}", many.slices);
    println!(
        "{events} events, {} MB, {:.1} s: {:.2} MB of memory, {:.2} MB for a tenth of them",
        many.bytes / 1_000_000,
        start.elapsed().as_secs_f64(),
        many_took as f64 / 1e6,
        few_took as f64 / 1e6
    );
    assert!(few_took > 0 && many_took < few_took + (64 << 10), "{many_took} bytes, {few_took} for a tenth");
}
