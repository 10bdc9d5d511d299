//! The pieces that a kernel's body runs in, and the native code of each.

use super::Lowered;
use super::layout::Layout;
use super::nest::Nests;
use super::runtime::Context;
use nki_ir::kernel::{Bound, LoopData, Node};
use nki_ir::{Kernel, Loop};

/// The function of a segment: a context, and for a parallel loop the values of its variable to begin with and to stop at.
pub type Entry = unsafe extern "C" fn(*mut Context<'_>, i64, i64) -> i32;

/// A piece of the kernel's body that runs after the previous one has finished.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    entry: Entry,
    /// The segment is a loop whose turns are independent.
    pub parallel: Option<ParallelLoop>,
}

/// A loop that may be cut into ranges of turns.
#[derive(Clone, Copy, Debug)]
pub struct ParallelLoop {
    pub lo: i64,
    pub step: i64,
    pub turns: u64,
    /// Scratch bytes from here on belong to a turn.
    pub scratch_from: usize,
}

impl Segment {
    /// Runs the segment on a context; a parallel loop runs the turns `from .. to`. 0: finished; 1: a fault was recorded.
    pub fn call(&self, context: &mut Context<'_>, from: u64, to: u64) -> i32 {
        let value = |turn: u64| self.parallel.map_or(0, |p| p.lo + p.step * turn as i64);
        // SAFETY: by the promise to `Code::new`, `entry` is code of this signature for the kernel of the context, and its
        // memory lives as long as the `Code` that lends segments.
        unsafe { (self.entry)(context, value(from), value(to)) }
    }
}

/// Native code of a kernel.
pub struct Code {
    segments: Vec<Segment>,
    /// Keeps the memory of the code.
    _memory: Option<Box<dyn Send + Sync>>,
}

impl Code {
    /// The code of a kernel's segments, which lives as long as `memory`; forever if there is none.
    ///
    /// # Safety
    /// `entries` must be what `codegen::emit` made of `lowered`, in order.
    pub unsafe fn new(
        lowered: &Lowered,
        entries: impl IntoIterator<Item = Entry>,
        memory: Option<Box<dyn Send + Sync>>,
    ) -> Code {
        let parts = segments(&lowered.kernel, &lowered.nests);
        let parallel = |l: Option<Loop>| l.map(|l| parallel_loop(&lowered.kernel, &lowered.layout, l));
        let segments = parts.into_iter().zip(entries);
        let segments = segments.map(|((_, l), entry)| Segment { entry, parallel: parallel(l) }).collect();
        Code { segments, _memory: memory }
    }

    /// The segments, in the order in which they run.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

/// Cuts the kernel's body into parallel loops and what lies between them.
pub fn segments<'a>(kernel: &'a Kernel, nests: &Nests) -> Vec<(&'a [Node], Option<Loop>)> {
    let nodes = &kernel.regions[kernel.body].nodes;
    let mut out = Vec::new();
    let mut start = 0;
    let mut product_end = 0;
    for (i, node) in nodes.iter().enumerate() {
        // Products are spread over threads by themselves.
        if let (true, Some(found)) = (i >= product_end, nests.get(*node)) {
            product_end = i + found.nodes;
        }
        let Node::Loop(l) = *node else { continue };
        if i >= product_end && super::parallel::is_parallel(kernel, l) {
            if start < i {
                out.push((&nodes[start..i], None));
            }
            out.push((&nodes[i..=i], Some(l)));
            start = i + 1;
        }
    }
    if start < nodes.len() {
        out.push((&nodes[start..], None));
    }
    out
}

fn parallel_loop(kernel: &Kernel, layout: &Layout, l: Loop) -> ParallelLoop {
    match (&kernel.loops[l], kernel.loops[l].trip_count()) {
        (&LoopData::For { lo: Bound::Const(lo), step, .. }, Some(turns)) => {
            ParallelLoop { lo, step, turns, scratch_from: layout.loop_scratch(l) }
        }
        _ => unreachable!("parallel loops have constant bounds"),
    }
}
