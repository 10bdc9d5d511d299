//! Sums of products made later: an executor that owns its memories may keep what an accumulation adds until somebody looks at the
//! result, and then make all of it at once, on several threads. The bits are those of one product after the other.

use super::scratch::{Scratch, scratch};
use super::{Arg, Call, Memory, Span, cast};
use crate::dtype::DType;
use crate::kernel::Attr;
use crate::op::{MatmulPerf, Op};
use nki_rt::{Combine, MatMut, MatRef, Parallel, Threads, Tier};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Products of fewer multiplications are not worth keeping.
const LEAST: usize = 1 << 18;
/// Multiplications that are worth a second thread, which costs some 20 µs to start.
const SHARED: usize = 1 << 22;
/// Columns of a piece are a multiple of this, so that few are left over of a register tile.
const COLUMNS: usize = 64;
/// Numbers that are kept before sums are made anyway: 32 MiB.
const MOST: usize = 8 << 20;
/// Numbers of operands that are remembered: 64 MiB.
const MOST_REMEMBERED: usize = 16 << 20;

/// What one instruction adds.
struct Factors {
    k: usize,
    /// `[k, m]` and `[k, n]`, row-major.
    stationary: Arc<Scratch>,
    moving: Arc<Scratch>,
    add: bool,
}

/// An operand in float32, true for as long as nobody writes where it lies.
struct Remembered {
    span: Span,
    halves: usize,
    numbers: Arc<Scratch>,
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
    /// The oldest first.
    operands: VecDeque<Remembered>,
    remembered: usize,
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
    let dense = dst.dtype == DType::F32 && dst.is_row_contiguous();
    let apart = row <= dst.part_stride;
    let size = dst.elements().saturating_mul(stationary.parts as usize);
    (call.op == Op::NcMatmul && call.attrs.iter().all(plain) && dense && apart && size >= LEAST)
        .then_some(dst)
}

impl Later {
    /// None yet, of tiles in memory `mem`; sums are made on up to `threads` threads.
    pub fn new(mem: u32, threads: usize) -> Later {
        let (groups, operands) = (Vec::new(), VecDeque::new());
        Later { mem, threads: threads.max(1), groups, kept: 0, operands, remembered: 0 }
    }

    /// An operand that was converted before.
    pub(super) fn recall(&self, span: &Span, halves: usize) -> Option<Arc<Scratch>> {
        let found = self.operands.iter().find(|r| r.halves == halves && r.span == *span);
        found.map(|r| r.numbers.clone())
    }

    /// Remembers an operand of `call` in float32, if the product is one that waits.
    pub(super) fn remember(&mut self, call: &Call, span: &Span, halves: usize, numbers: &Arc<Scratch>) {
        if may_wait(call).is_none() {
            return;
        }
        self.remembered += numbers.len();
        self.operands.push_back(Remembered { span: span.clone(), halves, numbers: numbers.clone() });
        while self.remembered > MOST_REMEMBERED
            && let Some(oldest) = self.operands.pop_front()
        {
            self.remembered -= oldest.numbers.len();
        }
    }

    /// Has to be told of every write, but for those of products: forgets the operands that lay there.
    pub fn written(&mut self, span: &Span) {
        let remembered = &mut self.remembered;
        self.operands.retain(|r| {
            let stays = r.span.mem != span.mem || !meet(&r.span, span);
            *remembered -= if stays { 0 } else { r.numbers.len() };
            stays
        });
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

    /// Keeps the operands of `call`, or gives them back.
    pub(super) fn keep(
        &mut self,
        call: &Call,
        [k, m, n]: [usize; 3],
        [stationary, moving]: [Arc<Scratch>; 2],
    ) -> Option<[Arc<Scratch>; 2]> {
        let Some(dst) = may_wait(call).filter(|dst| dst.mem == self.mem) else {
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

    /// Makes all sums.
    pub fn settle(&mut self, mem: &mut dyn Memory) {
        let groups = std::mem::take(&mut self.groups);
        self.kept = 0;
        let size: usize = groups.iter().map(Group::size).sum();
        let threads = if size < SHARED { 1 } else { self.threads };
        // Several pieces a thread: another one starts late, and the first should not wait for it.
        let each = (4 * threads).div_ceil(groups.len().max(1));
        let mut pieces: Vec<Piece> = groups.iter().flat_map(|g| g.pieces(each)).collect();
        let bytes = mem.bytes_mut(self.mem);
        for piece in &mut pieces {
            piece.exchange(bytes, false);
        }
        match threads {
            1 => pieces.iter_mut().for_each(Piece::make),
            n => {
                let shared: Vec<Mutex<&mut Piece>> = pieces.iter_mut().map(Mutex::new).collect();
                // Each piece is one task's own, so its lock is free and never poisoned before.
                let make =
                    |i: usize| shared[i].lock().unwrap_or_else(std::sync::PoisonError::into_inner).make();
                Threads(n).for_each(shared.len(), &make);
            }
        }
        for piece in &mut pieces {
            piece.exchange(bytes, true);
        }
    }
}

impl Group {
    /// Multiplications.
    fn size(&self) -> usize {
        self.factors.iter().map(|f| f.k * self.m * self.n).sum()
    }

    /// Its sums in about `count` pieces of whole columns.
    fn pieces(&self, count: usize) -> impl Iterator<Item = Piece<'_>> {
        let width = self.n.div_ceil(count).next_multiple_of(COLUMNS);
        (0..self.n).step_by(width).map(move |first| {
            let columns = width.min(self.n - first);
            Piece { group: self, first, columns, sums: scratch(self.m * columns) }
        })
    }
}

/// Some columns of a group, with their sums side by side: in the memory, rows lie so far apart that they share cache lines' places.
struct Piece<'a> {
    group: &'a Group,
    first: usize,
    columns: usize,
    sums: Scratch,
}

impl Piece<'_> {
    fn make(&mut self) {
        let (m, n) = (self.group.m, self.group.n);
        for f in &self.group.factors {
            let combine = if f.add { Combine::Add } else { Combine::Overwrite };
            let a = MatRef::dense(&f.stationary, f.k, m);
            let b = MatRef::new(&f.moving[self.first..], f.k, self.columns, n);
            let c = MatMut::dense(&mut self.sums, m, self.columns);
            nki_rt::matmul(Tier::best(), a, b, c, combine);
        }
        cast::canonicalize(&mut self.sums);
    }

    /// Copies the sums into the memory, or what is there from it.
    fn exchange(&mut self, bytes: &mut [u8], out: bool) {
        let (dst, width) = (&self.group.dst, 4 * self.columns);
        for (p, row) in self.sums.chunks_exact_mut(self.columns).enumerate() {
            let start = dst.base as usize + p * dst.part_stride as usize + 4 * self.first;
            let there = &mut bytes[start..start + width];
            let row = nki_rt::as_bytes_mut(row);
            if out { there.copy_from_slice(row) } else { row.copy_from_slice(there) }
        }
    }
}
