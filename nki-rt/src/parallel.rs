//! How independent pieces of work are spread over threads.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Somebody who runs independent tasks, in any order, on any threads.
pub trait Parallel: Sync {
    /// How many threads there are.
    fn width(&self) -> usize;

    /// Calls `body` once for each of `0..tasks`, and returns when all are done.
    fn for_each(&self, tasks: usize, body: &(dyn Fn(usize) + Sync));
}

/// One task after the other, on the calling thread.
#[derive(Clone, Copy, Default, Debug)]
pub struct Serial;

impl Parallel for Serial {
    fn width(&self) -> usize {
        1
    }

    fn for_each(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(body);
    }
}

/// That many threads, the calling one among them; the others are started for each call (some 20 µs), so this is for
/// long work and for programs without a thread pool of their own.
#[derive(Clone, Copy, Debug)]
pub struct Threads(pub usize);

impl Parallel for Threads {
    fn width(&self) -> usize {
        self.0.max(1)
    }

    fn for_each(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let task = next.fetch_add(1, Ordering::Relaxed);
                if task >= tasks {
                    return;
                }
                body(task);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.width().min(tasks) {
                scope.spawn(work);
            }
            work();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn every_task_runs_once() {
        for tasks in [0, 1, 2, 100] {
            for threads in [0, 1, 3] {
                let seen = Mutex::new(vec![0; tasks]);
                Threads(threads).for_each(tasks, &|task| {
                    seen.lock().expect("no task panics")[task] += 1;
                });
                assert!(seen.into_inner().expect("no task panics").iter().all(|n| *n == 1));
            }
        }
    }
}
