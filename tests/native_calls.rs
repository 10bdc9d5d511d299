//! Calls of native code: what they allocate and cost, from several threads at once. In a process of its own, which counts
//! allocations.

use nki::backend::host::{HostKernel, HostOptions, compile};
use nki::ir::Tensor;
use nki::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

/// The system's allocator, which counts the bytes that it is asked for.
struct Counting;

static ASKED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ASKED.fetch_add(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ASKED.fetch_add(size, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[derive(Clone, Debug, KernelConfig)]
struct Times {
    #[config(default = 1)]
    times: usize,
}

/// `x + times`, one instruction after the other.
#[nki::kernel]
fn add_ones<T: Float>(nc: Nc, x: Hbm<T>, cfg: Times) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        let mut tile = nc.load(x.at((r, ..)));
        for _ in 0..cfg.times {
            let next = nc.sbuf::<T>(tile.shape());
            nc.tensor_scalar(next, tile, Alu::Add, 1.0);
            tile = next;
        }
        nc.store(out.at((r, ..)), tile);
    }
    out
}

fn native(x: &Tensor, times: usize, threads: Option<usize>) -> HostKernel {
    let verified = add_ones::specialize::<f32>(x, Times { times }).verify(Target::Trn2).unwrap();
    compile(&verified, &HostOptions { threads }).unwrap()
}

fn ramp(rows: usize, columns: usize) -> Tensor {
    let values: Vec<f32> = (0..rows * columns).map(|i| (i % 1000) as f32).collect();
    Tensor::from_f32(&[rows, columns], &values).unwrap()
}

/// Bytes asked for by one call, after calls that leave their scratch behind.
fn asked(kernel: &HostKernel, x: &Tensor) -> usize {
    let mut out = x.data.clone();
    for _ in 0..3 {
        kernel.run_bytes(&[&x.data], &mut [&mut out]).unwrap();
    }
    let before = ASKED.load(Relaxed);
    kernel.run_bytes(&[&x.data], &mut [&mut out]).unwrap();
    ASKED.load(Relaxed) - before
}

#[test]
fn native_calls() {
    a_call_allocates_nothing_that_grows();
    calls_at_once_give_the_same_bytes();
    a_call_costs_little();
}

fn a_call_allocates_nothing_that_grows() {
    let (small, large) = (ramp(8, 16), ramp(128, 8192));
    let few = asked(&native(&small, 1, Some(1)), &small);
    for (x, times) in [(&small, 1000), (&large, 1), (&large, 100)] {
        let kernel = native(x, times, Some(1));
        let bytes = asked(&kernel, x);
        assert!(bytes <= few, "{bytes} bytes for {times} instructions on {:?}, {few} for one", x.shape);
    }
}

fn calls_at_once_give_the_same_bytes() {
    fn shared<T: Send + Sync>(x: &T) -> &T {
        x
    }
    let x = ramp(300, 700);
    let kernel = native(&x, 3, None);
    let kernel = shared(&kernel);
    let want: Vec<f32> = (0..300 * 700).map(|i| (i % 1000) as f32 + 3.0).collect();
    let want = Tensor::from_f32(&[300, 700], &want).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let got = kernel.run(std::slice::from_ref(&x)).unwrap();
                    assert!(got[0] == want);
                }
            });
        }
    });
}

/// The fastest of many calls, which other work on the machine does not change.
fn a_call_costs_little() {
    let x = ramp(1, 8);
    let kernel = native(&x, 1, Some(1));
    let mut out = x.data.clone();
    let mut call = || {
        let start = Instant::now();
        kernel.run_bytes(&[&x.data], &mut [&mut out]).unwrap();
        start.elapsed()
    };
    let mut times: Vec<_> = (0..2000).map(|_| call()).collect();
    times.sort_unstable();
    println!("a call on 8 numbers: {:?} at best, median {:?}", times[0], times[times.len() / 2]);
    assert!(times[0].as_nanos() < 2_000, "{:?}", times[0]);
}
