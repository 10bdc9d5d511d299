//! The cost model as pure functions: how long one instruction or transfer takes on an idle machine (machine.md 13.2 to 13.5).
//!
//! A compiler's scheduler uses these directly; the simulator adds what depends on the moment: throttling, table loads, locks,
//! contention. Times are integer picoseconds.

mod dma;
mod face;
mod pe;
mod stream;

pub use dma::{DmaCost, Share, dma_cost};
pub(crate) use dma::{DmaShape, dma_shape, sides};
pub(crate) use face::{Face, is_indexed};
pub use pe::MatmulCost;

use crate::constants::Constants;
use crate::program::MOperand;
use nki_ir::kernel::Attr;
use nki_ir::op::{ActFn, DgeMode, Engine, Op, TimingClass};

/// Time in picoseconds: integers keep runs deterministic.
pub type Ps = u64;

/// Nanoseconds to picoseconds.
pub fn ps(ns: f64) -> Ps {
    // To the nearest: the conversion cuts, and is much faster than rounding without special instructions.
    (ns * 1000.0 + 0.5) as Ps
}

/// Picoseconds to nanoseconds.
pub fn ns(t: Ps) -> f64 {
    t as f64 / 1000.0
}

/// What an instruction costs its engine on an idle machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Until the engine accepts its next independent instruction (machine.md 13.1 `occ`).
    pub occupancy: Ps,
    /// Until another instruction may read the result (machine.md 13.1 `lat`).
    pub latency: Ps,
    /// Occupancy when the fast modes of the vector engine are suspended (machine.md 13.6); equals `occupancy` otherwise.
    pub base_occupancy: Ps,
    /// The function table an activation needs.
    pub table: Option<ActTable>,
    /// Parts of a tensor-engine instruction that throttling changes.
    pub matmul: Option<MatmulCost>,
}

impl Cost {
    pub(crate) fn new(occupancy_ns: f64, latency_ns: f64) -> Cost {
        let occupancy = ps(occupancy_ns);
        Cost { occupancy, latency: ps(latency_ns), base_occupancy: occupancy, table: None, matmul: None }
    }
}

/// Functions that share a resident table of the scalar engine (machine.md 13.3; grouping assumed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ActTable {
    Exponential,
    Root,
    Logarithm,
    Trigonometric,
    /// A function with a table of its own.
    Own(ActFn),
}

/// The table that `f` needs; `None` for functions without one.
pub fn table_of(f: ActFn) -> Option<ActTable> {
    use ActFn::*;
    Some(match f {
        Copy | Square | Relu | Abs | Sign | Prelu => return None,
        Exp | Tanh | Sigmoid | Silu | Gelu | GeluApprxTanh | GeluApprxSigmoid => ActTable::Exponential,
        SiluDx | GeluDx | GeluApprxSigmoidDx => ActTable::Exponential,
        Rsqrt | Sqrt => ActTable::Root,
        Log | Softplus | Mish => ActTable::Logarithm,
        Sin | Arctan | Erf => ActTable::Trigonometric,
        Reciprocal | ErfDx => ActTable::Own(f),
    })
}

/// An instruction as the cost functions see it: operands and attributes in the order of the op's row.
pub(crate) struct Instr<'a> {
    pub op: Op,
    pub operands: &'a [MOperand],
    pub attrs: &'a [Attr],
}

impl Instr<'_> {
    pub fn face(&self, name: &str) -> Option<Face> {
        let i = self.op.row().operand(name)?;
        Face::of_operand(self.operands.get(i))
    }
    pub fn has(&self, name: &str) -> bool {
        let operand = self.op.row().operand(name).and_then(|i| self.operands.get(i));
        !matches!(operand, None | Some(MOperand::None))
    }
    pub fn attr(&self, name: &str) -> Option<&Attr> {
        self.attrs.get(self.op.row().attr(name)?)
    }
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.attr(name), Some(Attr::Bool(true)))
    }
    /// Every tile operand.
    pub fn faces(&self) -> impl Iterator<Item = Face> {
        self.operands.iter().filter_map(|o| Face::of_operand(Some(o)))
    }
    /// The first tile that is read, or the destination where there is none (iota, memset).
    pub fn main(&self) -> Option<Face> {
        let row = self.op.row();
        let read =
            row.operands.iter().zip(self.operands).filter(|(s, _)| s.effect == nki_ir::op::Effect::Read);
        read.filter_map(|(_, o)| Face::of_operand(Some(o))).next().or_else(|| self.faces().next())
    }
}

/// The cost of a data instruction on `engine`. Malformed operand lists (which the program verifier rejects) cost as
/// if the missing operand were empty.
pub fn compute_cost(k: &Constants, engine: Engine, op: Op, operands: &[MOperand], attrs: &[Attr]) -> Cost {
    let i = Instr { op, operands, attrs };
    match (op.row().timing, engine) {
        (TimingClass::Barrier, _) => meeting(k, &i),
        (TimingClass::Matmul, _) | (TimingClass::Transpose, Engine::Tensor) => pe::cost(k, &i),
        (_, Engine::Scalar) => stream::scalar(k, &i),
        (_, Engine::GpSimd) => stream::gpsimd(k, &i),
        (TimingClass::Dma | TimingClass::Register | TimingClass::None, _) => Cost::new(0.0, 0.0),
        _ => stream::vector(k, &i),
    }
}

/// A meeting of both programs; with a tile, what moving it takes after that (machine.md 9).
fn meeting(k: &Constants, i: &Instr) -> Cost {
    let barrier = k.lnc.barrier_ns;
    let total = match dma_shape(k, i.op, i.operands, DgeMode::None).filter(|_| i.op == Op::Sendrecv) {
        Some((_, transfer)) if i.flag("gpsimd_dma") => barrier + transfer.bytes as f64 / k.lnc.pool_dma_gbps,
        Some((_, transfer)) => barrier + ns(transfer.alone(k)),
        None => barrier,
    };
    Cost::new(total, total)
}
