//! DMA (isa.md section 9.6).

use super::{Inst, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::DmaOperand;
use crate::tensor::Tensor;
use crate::trace::{self, error};
use nki_ir::kernel::Attr;
use nki_ir::op::{DgeMode, OobMode};
use nki_ir::{Code, Engine, Op, Operand};
use std::panic::Location;

kinds! {
    /// [`Nc::dma_copy`].
    DmaCopy;
    /// [`Nc::dma_transpose`].
    DmaTranspose;
    /// [`Nc::dma_compute`].
    DmaCompute;
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

impl Nc {
    /// `dst = src` with the first and the last of two to four axes exchanged, bit for bit (isa.md 9.6.2). `src` may take its
    /// rows from an index tile ([`vector_select`](Tensor::vector_select)); of a tile with several columns the list runs down
    /// the columns.
    #[track_caller]
    pub fn dma_transpose<T, MD, MS>(self, dst: Tensor<T, MD>, src: Tensor<T, MS>) -> Inst<DmaTranspose>
    where
        T: Elem,
        MD: DmaOperand,
        MS: DmaOperand,
    {
        let place = Location::caller();
        let rows = src.shape_at(place).first().map_or(0, |n| *n as i64);
        Inst::start(self, Op::DmaTranspose, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .attr("rows", Attr::Int(rows))
    }

    /// `dst = src0 + ..` inside the DMA engines, summed in float32 in the order of the sources, of which
    /// [`plus`](Inst::plus) adds up to 15 more (isa.md 9.6.3). Rows of an HBM tensor by an index tile are added to in place
    /// when `dst` is one of the two sources.
    #[track_caller]
    pub fn dma_compute<D, T, MD, MS>(self, dst: Tensor<D, MD>, src: Tensor<T, MS>) -> Inst<DmaCompute>
    where
        D: Elem,
        T: Elem,
        MD: DmaOperand,
        MS: DmaOperand,
    {
        let place = Location::caller();
        Inst::start(self, Op::DmaCompute, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src0", src.operand(self.trace, place))
    }
}

impl Inst<DmaTranspose> {
    /// 0 (first) to 3, on trn3.
    pub fn priority(self, priority: u8) -> Self {
        self.attr("priority", Attr::Int(priority.into()))
    }
    /// What an out-of-bounds row index does.
    pub fn oob_mode(self, mode: OobMode) -> Self {
        self.attr("oob_mode", Attr::Oob(mode))
    }
    /// Who builds the descriptors.
    pub fn dge_mode(self, mode: DgeMode) -> Self {
        self.attr("dge_mode", Attr::Dge(mode))
    }
}

impl Inst<DmaCompute> {
    /// One more source.
    #[track_caller]
    pub fn plus<T: Elem, M: DmaOperand>(self, src: Tensor<T, M>) -> Self {
        let place = Location::caller();
        let operand = src.operand(self.trace, place);
        let mut full = false;
        let inst = self.change(place, |inst| match inst.operands.iter_mut().find(|o| **o == Operand::None) {
            Some(free) => *free = operand,
            None => full = true,
        });
        if full {
            let d = error(Code::Parameter, "dma_compute adds at most 16 sources")
                .help("add the sum of the first 16 to the others");
            trace::with(inst.trace, place, |s| s.report(place, d));
        }
        inst
    }
    /// What an out-of-bounds row index does.
    pub fn oob_mode(self, mode: OobMode) -> Self {
        self.attr("oob_mode", Attr::Oob(mode))
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
