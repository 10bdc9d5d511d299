//! Sums of products made later: an executor that owns its memories may keep what an accumulation adds until somebody looks at the
//! result, and then make all of it at once, on several threads. The bits are those of one product after the other.

use super::scratch::Scratch;
use super::{Arg, Call, Memory, Span, cast};
use crate::dtype::DType;
use crate::kernel::Attr;
use crate::op::{MatmulPerf, Op};
use nki_rt::{Combine, MatMut, MatRef, Parallel, Serial, Threads, Tier};
use std::sync::Mutex;

/// Products of fewer multiplications are not worth keeping.
const LEAST: usize = 1 << 18;
/// Multiplications that are worth a second thread, which costs some 20 µs to start.
const SHARED: usize = 1 << 22;
/// Numbers that are kept before sums are made anyway: 32 MiB.
const MOST: usize = 8 << 20;

/// What one instruction adds.
struct Factors {
    k: usize,
    /// `[k, m]` and `[k, n]`, row-major.
    stationary: Scratch,
    moving: Scratch,
    add: bool,
}

/// What is to be added to one tile, in the order of execution.
struct Group {
    dst: Span,
    m: usize,
    n: usize,
    factors: Vec<Factors>,
}

/// Products into tiles of one memory that have not been made.
pub struct Later {
    mem: u32,
    threads: usize,
    groups: Vec<Group>,
    kept: usize,
}

/// First and last byte of a span within a partition; `None` if it might be anywhere.
fn columns(span: &Span) -> Option<(u64, u64)> {
    let mut end = span.base % span.part_stride.max(1) + span.dtype.bytes() as u64;
    let start = end - span.dtype.bytes() as u64;
    for &(stride, count) in &span.dims {
        end += u64::try_from(stride).ok()? * u64::from(count.max(1) - 1);
    }
    (end <= span.part_stride).then_some((start, end))
}

fn meet(a: &Span, b: &Span) -> bool {
    match (columns(a), columns(b)) {
        (Some(a), Some(b)) => a.0 < b.1 && b.0 < a.1,
        _ => true,
    }
}

/// Whether the result of `call` may be made later: an ordinary product of some size into a float32 matrix.
fn may_wait<'a>(call: &Call<'a>) -> Option<&'a Span> {
    let plain = |a: &Attr| !matches!(a, Attr::Bool(true) | Attr::MatmulPerf(MatmulPerf::DoubleRow));
    let [Arg::Span(dst), Arg::Span(stationary), ..] = call.args else { return None };
    let row = 4 * dst.row_elements() as u64;
    let dense = dst.dtype == DType::F32 && dst.is_row_contiguous() && dst.base.is_multiple_of(4);
    let apart = dst.part_stride.is_multiple_of(4) && row <= dst.part_stride;
    let size = dst.elements().saturating_mul(stationary.parts as usize);
    (call.op == Op::NcMatmul && call.attrs.iter().all(plain) && dense && apart && size >= LEAST)
        .then_some(dst)
}

impl Later {
    /// None yet, of tiles in memory `mem`; sums are made on up to `threads` threads.
    pub fn new(mem: u32, threads: usize) -> Later {
        Later { mem, threads: threads.max(1), groups: Vec::new(), kept: 0 }
    }

    /// Whether sums have to be made before `call`: it looks at one of them, or writes over it.
    pub fn blocks(&self, call: &Call) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let adds_to = may_wait(call);
        call.args.iter().any(|arg| match arg {
            Arg::Span(span) if span.mem == self.mem => {
                let same = |g: &Group| adds_to == Some(&g.dst);
                self.groups.iter().any(|g| !same(g) && meet(&g.dst, span))
            }
            Arg::Columns(_) | Arg::Rows(_) => true,
            _ => false,
        })
    }

    /// Keeps the operands of `call`, or gives them back. `aligned`: the memory may be seen as numbers.
    pub(super) fn keep(
        &mut self,
        call: &Call,
        aligned: bool,
        [k, m, n]: [usize; 3],
        [stationary, moving]: [Scratch; 2],
    ) -> Option<[Scratch; 2]> {
        let Some(dst) = may_wait(call).filter(|dst| dst.mem == self.mem && aligned) else {
            return Some([stationary, moving]);
        };
        let at = self.groups.iter().position(|g| g.dst == *dst).unwrap_or_else(|| {
            self.groups.push(Group { dst: dst.clone(), m, n, factors: Vec::new() });
            self.groups.len() - 1
        });
        self.kept += k * (m + n);
        self.groups[at].factors.push(Factors { k, stationary, moving, add: call.accumulate });
        None
    }

    /// So much is kept that sums should be made.
    pub fn is_full(&self) -> bool {
        self.kept > MOST
    }

    /// Makes all sums, in `bytes` of the memory.
    pub fn settle(&mut self, mem: &mut dyn Memory) {
        for group in std::mem::take(&mut self.groups) {
            group.make(mem.bytes_mut(self.mem), self.threads);
        }
        self.kept = 0;
    }
}

impl Group {
    fn make(&self, bytes: &mut [u8], threads: usize) {
        let (m, n, stride) = (self.m, self.n, self.dst.part_stride as usize);
        let size: usize = self.factors.iter().map(|f| f.k * m * n).sum();
        let threads = if size < SHARED { 1 } else { threads };
        // Rows in pieces of whole register tiles.
        let rows = m.div_ceil(2 * threads).next_multiple_of(12);
        let rows = if threads == 1 { m } else { rows.min(m) };
        let range = self.dst.base as usize..self.dst.base as usize + (m - 1) * stride + n * 4;
        let c = nki_rt::cast_slice_mut::<f32>(&mut bytes[range]).expect("what is kept is aligned");
        let pieces: Vec<Mutex<&mut [f32]>> = c.chunks_mut(rows * stride / 4).map(Mutex::new).collect();
        let piece = |i: usize| {
            let (first, count) = (i * rows, rows.min(m - i * rows));
            let mut c = pieces[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for f in &self.factors {
                let combine = if f.add { Combine::Add } else { Combine::Overwrite };
                let a = MatRef::new(&f.stationary[first..], f.k, count, m);
                let b = MatRef::dense(&f.moving, f.k, n);
                nki_rt::matmul(Tier::best(), a, b, MatMut::new(&mut c, count, n, stride / 4), combine);
            }
            for row in c.chunks_mut(stride / 4) {
                cast::canonicalize(&mut row[..n]);
            }
        };
        match threads {
            1 => Serial.for_each(pieces.len(), &piece),
            n => Threads(n).for_each(pieces.len(), &piece),
        }
    }
}
