//! DMA (isa.md section 9.6).

use super::{Inst, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::DmaOperand;
use crate::tensor::Tensor;
use nki_ir::kernel::Attr;
use nki_ir::op::{DgeMode, OobMode};
use nki_ir::{Engine, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::dma_copy`].
    DmaCopy;
}

impl Nc {
    /// `dst = src` between HBM and SBUF in either direction, element by element in row-major order, converting between dtypes
    /// (isa.md 9.6.1).
    #[track_caller]
    pub fn dma_copy<D, T, MD, MS>(self, dst: Tensor<D, MD>, src: Tensor<T, MS>) -> Inst<DmaCopy>
    where
        D: Elem,
        T: Elem,
        MD: DmaOperand,
        MS: DmaOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::DmaCopy, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
    }
}

impl Inst<DmaCopy> {
    /// 0 (first) to 3, on trn3.
    pub fn priority(self, priority: u8) -> Self {
        self.attr("priority", Attr::Int(priority.into()))
    }
    /// What an out-of-bounds dynamic index does.
    pub fn oob_mode(self, mode: OobMode) -> Self {
        self.attr("oob_mode", Attr::Oob(mode))
    }
    /// Who builds the descriptors.
    pub fn dge_mode(self, mode: DgeMode) -> Self {
        self.attr("dge_mode", Attr::Dge(mode))
    }
    /// Which sequencer issues the transfer (with [`DgeMode::Hwdge`]).
    pub fn issue_from(self, engine: Engine) -> Self {
        self.attr("engine", Attr::Engine(engine))
    }
}
