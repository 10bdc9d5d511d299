//! The machine program: one in-order stream per engine, with addresses and semaphores. Its text form is `.nkim`.
//!
//! Streams are structured: a loop or branch is a node with a body, executed by that stream's own sequencer. Loop counters are
//! registers of the stream; addresses and semaphore values may be affine in them. Streams meet only at semaphores.
//!
//! What orders two instructions (machine.md 13.1, 14.3 to 14.8; the verifier proves programs against exactly this):
//!
//! 1. Streams issue in order. The data path of one engine also *completes* in order, so a signal of an instruction tells that
//!    everything issued to that data path before it is visible too, and one counting semaphore per engine suffices.
//! 2. Write after read and write after write on one data path need nothing. **Read after write on one data path needs a
//!    semaphore** like any other dependence (the wait is cheap: `sync.same_engine_ns`), except a matmul that accumulates
//!    onto the matmuls before it, and reduce registers.
//! 3. Signals of data instructions fire when the result is visible. `Sync`, register and loop nodes run in the sequencer, which does not
//!    wait for its data path: their signals say nothing about data instructions issued before them. Signals of a loop or
//!    branch node fire when the sequencer leaves it.
//! 4. A DMA transfer starts after its trigger and is complete when its semaphore has got all 16 increments. Transfers are not
//!    ordered with one another, not even on one queue. If several transfers that add to one semaphore can be in flight, a
//!    wait proves a transfer complete only if the value cannot be reached without its last increment: wait for the sum
//!    of all of them, or give each buffer slot a semaphore of its own.
//! 5. Semaphores start at 0 and only count up.

use nki_ir::entity::Entity;
use nki_ir::kernel::{Attr, BufKind, Space};
use nki_ir::loc::{Loc, LocTable};
use nki_ir::op::{DgeMode, Engine, Op};
use nki_ir::view::Dim;
use nki_ir::{DType, Target};
use smallvec::SmallVec;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// The five engines with an instruction stream, in the order of [`Program::streams`] (machine.md 2.1: PE, ACT, DVE, POOL, SP).
pub const STREAM_ENGINES: [Engine; 5] =
    [Engine::Tensor, Engine::Scalar, Engine::Vector, Engine::GpSimd, Engine::Sync];

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
        impl Entity for $name {
            fn new(i: usize) -> Self {
                $name(u32::try_from(i).expect("a program has fewer than 2^32 entities of one kind"))
            }
            fn index(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

id! {
    /// A semaphore of the core.
    Sem;
    /// A sequencer register of one stream.
    SeqReg;
}

/// Largest value of a semaphore: it counts in 32 bits like the sequencers' registers (machine.md 7 assumes 16 bits, without a
/// source; a program for such a machine would have to split its longest hardware loops).
pub const SEMAPHORE_MAX: u64 = u32::MAX as u64;

type TermList = SmallVec<[(SeqReg, i64); 2]>;

/// The coefficients of an affine expression: a slice that most expressions leave empty, and that takes one word then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Terms(Option<Box<TermList>>);

impl Terms {
    /// Adds a term behind the others.
    pub fn push(&mut self, term: (SeqReg, i64)) {
        self.0.get_or_insert_default().push(term);
    }
}

impl Deref for Terms {
    type Target = [(SeqReg, i64)];
    fn deref(&self) -> &Self::Target {
        self.0.as_deref().map_or(&[], |t| t.as_slice())
    }
}

impl DerefMut for Terms {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.0.as_deref_mut().map_or(&mut [], |t| t.as_mut_slice())
    }
}

impl FromIterator<(SeqReg, i64)> for Terms {
    fn from_iter<I: IntoIterator<Item = (SeqReg, i64)>>(terms: I) -> Self {
        let list: TermList = terms.into_iter().collect();
        Terms((!list.is_empty()).then(|| Box::new(list)))
    }
}

impl<'a> IntoIterator for &'a Terms {
    type Item = &'a (SeqReg, i64);
    type IntoIter = std::slice::Iter<'a, (SeqReg, i64)>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// `constant + Σ coefficient · register`, over loop counters of the stream that evaluates it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RegAffine {
    pub constant: i64,
    /// Sorted by register, no zero coefficients.
    pub terms: Terms,
}

impl From<i64> for RegAffine {
    fn from(constant: i64) -> Self {
        RegAffine { constant, terms: Terms::default() }
    }
}

/// An HBM tensor at an address of the flat device memory.
#[derive(Clone, Debug, PartialEq)]
pub struct HbmTensor {
    pub name: String,
    /// `Private` is scratch of the kernel (spills included).
    pub kind: BufKind,
    pub dtype: DType,
    pub shape: Vec<u32>,
    pub address: u64,
}

/// Where a buffer of the source lives, for reports: which bytes carry which name.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub name: String,
    pub space: Space,
    pub start_partition: u32,
    pub partitions: u32,
    /// Byte offset within the partition.
    pub offset: u32,
    /// Bytes per partition.
    pub bytes: u32,
    pub loc: Loc,
}

impl Placement {
    /// A short name: where buffers share the place, the first few of their names, each once without its number.
    pub fn label(&self) -> String {
        const SHOWN: usize = 3;
        let mut bases: Vec<&str> = Vec::new();
        for name in self.name.split('|') {
            let base = match name.rsplit_once('.') {
                Some((base, number)) if number.bytes().all(|b| b.is_ascii_digit()) => base,
                _ => name,
            };
            if !bases.contains(&base) {
                bases.push(base);
            }
        }
        if bases.len() == 1 && !self.name.contains('|') {
            return self.name.clone();
        }
        let more = match bases.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        bases.truncate(SHOWN);
        bases.join("|") + &more
    }
}

/// The dimensions of an access, one list for all instructions from one source.
pub type Dims = Arc<[Dim]>;

/// A physical access. SBUF and PSUM: partitions `partition .. partition + partitions`, byte `offset` within each, then
/// `dims`. HBM: `partitions` is 1 and `offset` is the absolute address.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    pub space: Space,
    pub dtype: DType,
    pub partition: RegAffine,
    pub partitions: u32,
    /// In bytes.
    pub offset: RegAffine,
    /// Strides in elements of `dtype`, outermost first.
    pub dims: Dims,
    /// Index into [`Program::placements`] or [`Program::tensors`] (by `space`), for reports and bounds.
    pub object: Option<u32>,
    /// Few have one.
    pub dynamic: Option<Box<DynamicAccess>>,
}

/// An address component known only at run time.
#[derive(Clone, Debug, PartialEq)]
pub enum DynamicAccess {
    /// Adds `reg · scale` bytes.
    Register { reg: SeqReg, scale: i64 },
    /// Adds `index · scale` bytes, the index being a one-element tile read when the instruction starts.
    Scalar { index: Box<Access>, scale: i64 },
    /// Row `p` starts `index[p] · scale` bytes further. The access's outermost dimension counts the rows (as many as the index has
    /// elements); its stride is not used.
    Vector { index: Box<Access>, scale: i64 },
    /// Column gather or scatter on chip (gen4).
    Indirect {
        index: Box<Access>,
        /// Elements chosen in each partition.
        elements: u32,
    },
}

/// An operand of a machine instruction.
// Nearly every operand is an access; boxing it would cost more than the few immediates save.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq)]
pub enum MOperand {
    None,
    Access(Access),
    Imm(f32),
    Int(i64),
    Reg(SeqReg),
}

impl Access {
    /// Elements per partition; of columns by an index tile, those that are chosen.
    pub fn row_elements(&self) -> u64 {
        match self.dynamic.as_deref() {
            Some(DynamicAccess::Indirect { elements, .. }) => u64::from(*elements),
            _ => self.dims.iter().fold(1u64, |n, d| n.saturating_mul(d.count.into())),
        }
    }
}

/// Waits until the semaphore's value is at least `at_least`.
#[derive(Clone, Debug, PartialEq)]
pub struct Wait {
    pub sem: Sem,
    pub at_least: RegAffine,
}

/// What an instruction waits for; most wait for one semaphore or none.
pub type Waits = SmallVec<[Wait; 1]>;

/// Adds to a semaphore when the instruction's result is visible (machine.md 14.4). A DMA transfer adds 1 from each of the
/// 16 DMA engines, so `add` is exactly 16 there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    pub sem: Sem,
    pub add: u32,
}

/// A counter bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MBound {
    Const(i64),
    Reg(SeqReg),
}

/// Whether a matmul adds to its destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MAccumulate {
    Overwrite,
    Add,
    /// Overwrites when all these loop counters are at the given first values.
    UnlessFirst(Terms),
}

/// What an instruction of a stream does.
#[derive(Clone, Debug, PartialEq)]
pub enum MKind {
    /// An instruction of the op table on this stream's data path; `attrs` as in the row, one
    /// list for all instructions from one source: programs have millions.
    Compute { op: Op, operands: Vec<MOperand>, attrs: Arc<[Attr]>, accumulate: MAccumulate },
    /// Triggers a DMA transfer and goes on. `queue` is the ring number 0..16 used on all 16 DMA engines; `dge` is resolved.
    Dma { op: Op, operands: Vec<MOperand>, attrs: Arc<[Attr]>, queue: u8, dge: DgeMode },
    /// Only waits and signals.
    Sync,
    /// `for reg in lo..hi step step`, executed by this stream's sequencer. `max` is a promise: an end in a register is at
    /// most that, and a start in one at least 0; a run ends where it is broken.
    For { reg: SeqReg, lo: MBound, hi: MBound, step: i64, max: Option<i64>, body: Vec<MInst> },
    /// `while cond != 0`.
    While { cond: SeqReg, body: Vec<MInst> },
    /// `if cond != 0 { then } else { otherwise }`.
    If { cond: SeqReg, then: Vec<MInst>, otherwise: Vec<MInst> },
    /// A register of this stream takes the one element of `src`.
    RegLoad { reg: SeqReg, src: Box<Access> },
    /// The low bits of a register are written to the one element of `dst`.
    RegStore { dst: Box<Access>, reg: SeqReg },
    /// A register takes a constant, another register, or a sum (the sequencer's own arithmetic, machine.md 2.1).
    RegMove { reg: SeqReg, src: RegAffine },
}

/// An instruction of a stream. All waits are satisfied before it issues.
#[derive(Clone, Debug, PartialEq)]
pub struct MInst {
    pub kind: MKind,
    pub waits: Waits,
    pub signals: SmallVec<[Signal; 1]>,
    pub loc: Loc,
    /// Index of the tile IR instruction it comes from.
    pub source: Option<u32>,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    pub name: String,
    pub target: Target,
    pub tensors: Vec<HbmTensor>,
    pub placements: Vec<Placement>,
    /// One per entry of [`STREAM_ENGINES`].
    pub streams: [Vec<MInst>; 5],
    /// Semaphores used: 0 .. `semaphores`.
    pub semaphores: u32,
    /// Registers used per stream.
    pub registers: [u32; 5],
    pub locs: LocTable,
}
