//! The threads that make sums.

use super::super::cast;
use nki_rt::{AlignedBuf, Combine, MatMut, PackedLeft, PackedRight};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Multiplications that are worth other threads.
const SHARED: usize = 1 << 22;
/// Multiplications of products that wait, at most; then the thread that brings more makes sums itself.
const MOST: usize = 1 << 31;
/// Products that are added in one go: enough to keep the sums in a cache, few enough that nobody waits long.
const AT_ONCE: usize = 4;
/// Operands' memories that are kept for other operands.
const MOST_SPARE: usize = 64;

/// What one instruction adds.
#[derive(Clone)]
pub struct Factors {
    pub left: Arc<PackedLeft>,
    pub right: Arc<PackedRight>,
    /// Whether to what is there.
    pub add: bool,
}

/// Some columns of a result, with their sums side by side: in the memory, rows lie so far apart that they share cache lines'
/// places.
#[derive(Default)]
struct Piece {
    columns: Range<usize>,
    sums: Vec<f32>,
    /// What is to be added, in this order.
    todo: VecDeque<Factors>,
    /// Somebody has the sums.
    busy: bool,
}

impl Piece {
    fn work(&self, factors: &Factors) -> usize {
        let [k, m] = factors.left.shape();
        k * m * self.columns.len()
    }
}

#[derive(Default)]
struct State {
    pieces: Vec<Piece>,
    /// Places in `pieces` that are free.
    free: Vec<usize>,
    /// Pieces with something to do that nobody has, each once.
    ready: VecDeque<usize>,
    /// Memories of operands that nobody needs any more.
    spare: Vec<AlignedBuf>,
    /// Multiplications in all `todo`.
    waiting: usize,
    /// No more work comes.
    stop: bool,
    /// A thread has panicked: its sums never come.
    failed: bool,
}

impl State {
    fn recycle(&mut self, buf: AlignedBuf) {
        if self.spare.len() < MOST_SPARE {
            self.spare.push(buf);
        }
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds some of what waits for a piece that is in nobody's hands, and not in `ready`.
    fn work<'a>(&'a self, mut state: MutexGuard<'a, State>, at: usize) -> MutexGuard<'a, State> {
        let piece = &mut state.pieces[at];
        let count = piece.todo.len().min(AT_ONCE);
        let todo: Vec<Factors> = piece.todo.drain(..count).collect();
        let (mut sums, columns) = (std::mem::take(&mut piece.sums), piece.columns.clone());
        piece.busy = true;
        let work: usize = todo.iter().map(|f| piece.work(f)).sum();
        drop(state);
        let failure = Failure(self);
        for f in &todo {
            let c = MatMut::dense(&mut sums, f.left.shape()[1], columns.len());
            let combine = if f.add { Combine::Add } else { Combine::Overwrite };
            f.right.multiply(&f.left, columns.clone(), c, combine);
        }
        std::mem::forget(failure);
        let mut state = self.lock();
        for f in todo {
            let left = Arc::into_inner(f.left).map(PackedLeft::into_buf);
            let right = Arc::into_inner(f.right).map(PackedRight::into_buf);
            left.into_iter().chain(right).for_each(|buf| state.recycle(buf));
        }
        state.waiting -= work;
        let piece = &mut state.pieces[at];
        (piece.sums, piece.busy) = (sums, false);
        if !piece.todo.is_empty() {
            state.ready.push_back(at);
        }
        self.changed.notify_all();
        state
    }

    /// The life of a thread.
    fn serve(&self) {
        let mut state = self.lock();
        while !state.stop {
            state = match state.ready.pop_front() {
                Some(at) => self.work(state, at),
                None => self.wait(state),
            };
        }
    }
}

/// Tells the others when a panic unwinds.
struct Failure<'a>(&'a Shared);

impl Drop for Failure<'_> {
    fn drop(&mut self) {
        self.0.lock().failed = true;
        self.0.changed.notify_all();
    }
}

/// Pieces of sums, and threads that add to them.
pub struct Crew {
    shared: Arc<Shared>,
    /// Threads to be had beside the caller's; none is started before there is enough to do.
    others: usize,
    threads: Vec<JoinHandle<()>>,
    /// Sums of finished pieces, for new ones.
    spare: Vec<Vec<f32>>,
}

impl Crew {
    pub fn new(threads: usize) -> Crew {
        let others = threads.saturating_sub(1);
        Crew { shared: Arc::default(), others, threads: Vec::new(), spare: Vec::new() }
    }

    /// Room for `len` numbers, of any content.
    pub fn sums(&mut self, len: usize) -> Vec<f32> {
        let mut sums = self.spare.pop().unwrap_or_default();
        sums.resize(len, 0.0);
        sums
    }

    /// Memory for an operand.
    pub fn buf(&self) -> AlignedBuf {
        self.shared.lock().spare.pop().unwrap_or_default()
    }

    /// Keeps the memory of an operand for another one.
    pub fn recycle(&self, buf: AlignedBuf) {
        self.shared.lock().recycle(buf);
    }

    /// A new piece: some columns of a result.
    pub fn piece(&mut self, columns: Range<usize>, sums: Vec<f32>) -> usize {
        let mut state = self.shared.lock();
        let at = state.free.pop().unwrap_or_else(|| {
            state.pieces.push(Piece::default());
            state.pieces.len() - 1
        });
        state.pieces[at] = Piece { columns, sums, ..Piece::default() };
        at
    }

    /// Adds a product to pieces.
    pub fn add(&mut self, pieces: &[usize], factors: &Factors) {
        let mut state = self.shared.lock();
        for &at in pieces {
            let piece = &mut state.pieces[at];
            piece.todo.push_back(factors.clone());
            let (work, newly) = (piece.work(factors), !piece.busy && piece.todo.len() == 1);
            state.waiting += work;
            if newly {
                state.ready.push_back(at);
            }
        }
        while self.threads.len() < self.others && state.waiting >= SHARED {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name("sums".to_string()).spawn(move || shared.serve());
            // Without threads the caller does the work.
            match thread {
                Ok(thread) => self.threads.push(thread),
                Err(_) => self.others = self.threads.len(),
            }
        }
        if !self.threads.is_empty() {
            self.shared.changed.notify_one();
        }
        while state.waiting > MOST
            && let Some(at) = state.ready.pop_front()
        {
            state = self.shared.work(state, at);
        }
    }

    /// Makes the rest of a piece's sums, shows them, and forgets the piece.
    ///
    /// # Panics
    /// When another thread has.
    pub fn finish(&mut self, at: usize, show: impl FnOnce(&[f32])) {
        let mut state = self.shared.lock();
        loop {
            let piece = &state.pieces[at];
            if !piece.busy && piece.todo.is_empty() {
                break;
            }
            let own = state.ready.iter().position(|&ready| ready == at);
            state = match own.and_then(|i| state.ready.remove(i)).or_else(|| state.ready.pop_front()) {
                Some(ready) => self.shared.work(state, ready),
                None => {
                    assert!(!state.failed, "a thread that made sums has panicked");
                    self.shared.wait(state)
                }
            };
        }
        let mut sums = std::mem::take(&mut state.pieces[at].sums);
        state.free.push(at);
        drop(state);
        cast::canonicalize(&mut sums);
        show(&sums);
        self.spare.push(sums);
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            // Whoever wanted its sums has been told of its panic.
            let _ = thread.join();
        }
    }
}
