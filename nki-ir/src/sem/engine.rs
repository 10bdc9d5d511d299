//! The automatic engine choice (isa.md end of section 8, 9.1.3, 9.3.2, 9.3.5). Everybody uses this one: 32-bit integer
//! arithmetic and the transposes of gen2 depend on the engine.

use crate::dtype::DType;
use crate::kernel::{Attr, InstData, Kernel, Operand, Space};
use crate::op::{AluOp, Engine, Op};

/// What the choice needs to know of a tile operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperandFacts {
    pub dtype: DType,
    pub space: Space,
}

/// The engine that runs an instruction: the one asked for, else by isa.md's deterministic policy. `facts(i)` describes
/// operand `i` if it is a tile. Does not judge legality.
pub fn engine_of(
    op: Op,
    asked: Engine,
    attrs: &[Attr],
    facts: impl Fn(usize) -> Option<OperandFacts>,
) -> Engine {
    if asked != Engine::Unknown {
        return asked;
    }
    let alu = |name: &str| match op.row().attr(name).and_then(|i| attrs.get(i)) {
        Some(Attr::Alu(a)) => Some(*a),
        _ => None,
    };
    match op {
        Op::NcTranspose => {
            let space = |i| facts(i).map(|f| f.space);
            let tensor = space(0) == Some(Space::Psum) && space(1) == Some(Space::Sbuf);
            if tensor { Engine::Tensor } else { Engine::Vector }
        }
        Op::TensorTensor => tensor_tensor(alu("op"), [facts(0), facts(1), facts(2)]),
        // Power and the precise rsqrt exist on GpSimdE alone.
        Op::TensorScalar
            if [alu("op0"), alu("op1")].iter().any(|a| matches!(a, Some(AluOp::Power | AluOp::Rsqrt))) =>
        {
            Engine::GpSimd
        }
        _ => op.row().engines[0].0,
    }
}

/// isa.md 9.3.2: power, and 32-bit integer arithmetic outside PSUM, belong to GpSimdE.
fn tensor_tensor(op: Option<AluOp>, facts: [Option<OperandFacts>; 3]) -> Engine {
    use AluOp::*;
    let Some(op) = op else { return Engine::Vector };
    let integers =
        facts.iter().flatten().all(|f| matches!(f.dtype, DType::I32 | DType::U32) && f.space == Space::Sbuf);
    let on_gpsimd = matches!(op, Add | Subtract | Multiply | Maximum | Minimum) || op.is_comparison();
    if op == Power || integers && on_gpsimd { Engine::GpSimd } else { Engine::Vector }
}

impl InstData {
    /// The engine that runs this instruction of `kernel`; see [`engine_of`].
    pub fn resolved_engine(&self, kernel: &Kernel) -> Engine {
        engine_of(self.op, self.engine, &self.attrs, |i| match self.operands.get(i) {
            Some(Operand::View(v)) => {
                kernel.bufs.get(v.buf).map(|b| OperandFacts { dtype: v.dtype, space: b.space })
            }
            _ => None,
        })
    }
}
