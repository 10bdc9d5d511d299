//! Sums of products made later: an executor that owns its memories may keep what an accumulation adds until somebody looks at the
//! result. Meanwhile other threads make the sums. The bits are those of one product after the other.

mod crew;

use super::{Arg, Call, Span};
use crate::dtype::DType;
use crate::kernel::Attr;
use crate::op::{MatmulPerf, Op};
use crew::{Crew, Factors};
use nki_rt::{AlignedBuf, Element, MatRef, PackedLeft, PackedRight, Tier};
use std::collections::VecDeque;
use std::sync::Arc;

/// Products of fewer multiplications are not worth keeping.
const LEAST: usize = 1 << 18;
/// Columns that are summed together: few enough that their sums stay in a second cache.
const COLUMNS: usize = 256;
/// Numbers of operands that are remembered: 64 MiB.
const MOST_REMEMBERED: usize = 16 << 20;

/// An operand in float32, packed, true for as long as nobody writes where it lies.
struct Remembered {
    span: Span,
    halves: usize,
    packed: Packed,
}

#[derive(Clone)]
pub(super) enum Packed {
    Left(Arc<PackedLeft>),
    Right(Arc<PackedRight>),
}

impl Packed {
    /// Packs an operand in memory that was used before.
    pub fn new<T: Element>(from: MatRef<T>, left: bool, buf: AlignedBuf) -> Packed {
        match left {
            true => Packed::Left(Arc::new(PackedLeft::in_buf(Tier::best(), from, buf))),
            false => Packed::Right(Arc::new(PackedRight::in_buf(Tier::best(), from, buf))),
        }
    }

    /// Its memory, unless somebody else still needs it.
    fn into_buf(self) -> Option<AlignedBuf> {
        match self {
            Packed::Left(left) => Arc::into_inner(left).map(PackedLeft::into_buf),
            Packed::Right(right) => Arc::into_inner(right).map(PackedRight::into_buf),
        }
    }
    fn numbers(&self) -> usize {
        let [k, len] = match self {
            Packed::Left(left) => left.shape(),
            Packed::Right(right) => right.shape(),
        };
        k * len
    }
}

/// What is to be added to one tile.
struct Group {
    dst: Span,
    n: usize,
    /// [`COLUMNS`] columns each.
    pieces: Vec<usize>,
}

/// Products into tiles of one memory whose sums nobody has seen.
pub struct Later {
    mem: u32,
    groups: Vec<Group>,
    crew: Crew,
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
        Later { mem, groups: Vec::new(), crew: Crew::new(threads), operands: VecDeque::new(), remembered: 0 }
    }

    /// Whether the sum of `call` is one that is made later.
    pub(super) fn takes(&self, call: &Call) -> bool {
        may_wait(call).is_some_and(|dst| dst.mem == self.mem)
    }

    /// Whether [`Later::add`] needs what the destination of `call` holds.
    pub(super) fn needs_old(&self, call: &Call) -> bool {
        call.accumulate && may_wait(call).is_some_and(|dst| !self.holds(dst))
    }

    /// Whether what is kept for `dst` is all that happened to it since a matmul wrote there.
    pub fn holds(&self, dst: &Span) -> bool {
        self.groups.iter().any(|g| g.dst == *dst)
    }

    /// An operand that was packed before.
    pub(super) fn recall(&self, span: &Span, halves: usize, left: bool) -> Option<Packed> {
        let same = |r: &&Remembered| {
            matches!(r.packed, Packed::Left(_)) == left && r.halves == halves && r.span == *span
        };
        self.operands.iter().find(same).map(|r| r.packed.clone())
    }

    /// Memory for an operand.
    pub(super) fn buf(&mut self) -> AlignedBuf {
        self.crew.buf()
    }

    /// Remembers an operand.
    pub(super) fn remember(&mut self, span: &Span, halves: usize, packed: Packed) {
        self.remembered += packed.numbers();
        self.operands.push_back(Remembered { span: span.clone(), halves, packed });
        while self.remembered > MOST_REMEMBERED
            && let Some(oldest) = self.operands.pop_front()
        {
            self.forget(oldest.packed);
        }
    }

    fn forget(&mut self, packed: Packed) {
        self.remembered -= packed.numbers();
        if let Some(buf) = packed.into_buf() {
            self.crew.recycle(buf);
        }
    }

    /// Has to be told of every write, but for those of products: forgets the operands that lay there.
    pub fn written(&mut self, span: &Span) {
        let mut i = 0;
        while let Some(r) = self.operands.get(i) {
            if r.span.mem != span.mem || !meet(&r.span, span) {
                i += 1;
            } else if let Some(r) = self.operands.remove(i) {
                self.forget(r.packed);
            }
        }
    }

    /// Whether `call` looks at the sums of `group`, or writes over them.
    fn looks_at(&self, call: &Call, group: &Group) -> bool {
        if may_wait(call) == Some(&group.dst) {
            return false;
        }
        call.args.iter().any(|arg| match arg {
            Arg::Span(span) => span.mem == self.mem && meet(&group.dst, span),
            Arg::Columns(_) | Arg::Rows(_) => true,
            _ => false,
        })
    }

    /// Adds the product of `call`; `old` is what its destination holds, row-major, if that is needed.
    pub(super) fn add(
        &mut self,
        call: &Call,
        left: Arc<PackedLeft>,
        right: Arc<PackedRight>,
        old: Option<&[f32]>,
    ) {
        let Some(dst) = may_wait(call) else { return };
        let ([_, m], [_, n]) = (left.shape(), right.shape());
        let at = self.groups.iter().position(|g| g.dst == *dst).unwrap_or_else(|| {
            let pieces = (0..n).step_by(COLUMNS).map(|first| {
                let columns = first..(first + COLUMNS).min(n);
                let mut sums = self.crew.sums(m * columns.len());
                if let Some(old) = old {
                    let rows = sums.chunks_exact_mut(columns.len()).zip(old.chunks_exact(n));
                    rows.for_each(|(to, from)| to.copy_from_slice(&from[columns.clone()]));
                }
                self.crew.piece(columns, sums)
            });
            let pieces = pieces.collect();
            self.groups.push(Group { dst: dst.clone(), n, pieces });
            self.groups.len() - 1
        });
        let factors = Factors { left, right, add: call.accumulate };
        self.crew.add(&self.groups[at].pieces, &factors);
    }

    /// Makes the sums that `call` looks at, and leaves them in `bytes`, the contents of the memory.
    pub fn settle_for(&mut self, call: &Call, bytes: &mut [u8]) {
        if self.groups.is_empty() {
            return;
        }
        let (now, later) = std::mem::take(&mut self.groups).into_iter().partition(|g| self.looks_at(call, g));
        self.groups = later;
        self.finish(now, bytes);
    }

    /// Makes all sums.
    pub fn settle(&mut self, bytes: &mut [u8]) {
        let groups = std::mem::take(&mut self.groups);
        self.finish(groups, bytes);
    }

    fn finish(&mut self, groups: Vec<Group>, bytes: &mut [u8]) {
        for group in groups {
            for (i, piece) in group.pieces.iter().enumerate() {
                let (dst, first) = (&group.dst, i * COLUMNS);
                let width = COLUMNS.min(group.n - first);
                self.crew.finish(*piece, |sums| {
                    for (p, row) in sums.chunks_exact(width).enumerate() {
                        let start = dst.base as usize + p * dst.part_stride as usize + 4 * first;
                        bytes[start..start + 4 * width].copy_from_slice(nki_rt::as_bytes(row));
                    }
                });
            }
        }
    }
}
