//! Several program instances of one kernel (isa.md 11.4): two cores that act as one. Which instance a body is specialised for is
//! known while tracing.

use crate::elem::Elem;
use crate::isa::{Inst, kinds};
use crate::nc::Nc;
use crate::tensor::{Hbm, Tile};
use crate::trace::{self, error};
use nki_ir::entity::Entity;
use nki_ir::kernel::Attr;
use nki_ir::{Code, Op};
use std::panic::Location;

kinds! {
    /// [`Nc::core_barrier`].
    CoreBarrier;
    /// [`Nc::sendrecv`].
    Sendrecv;
}

impl Nc {
    /// The number of this program instance, `0..num_programs`. `axis` is 0: grids have one axis.
    #[track_caller]
    pub fn program_id(self, axis: usize) -> usize {
        self.grid_axis(axis, Location::caller()).0
    }
    /// How many program instances there are: 1, or 2 on a logical core of two (trn2 and later).
    #[track_caller]
    pub fn num_programs(self) -> usize {
        self.grid_axis(0, Location::caller()).1
    }
    /// Axes of the grid: 1 with a grid, 0 without.
    #[track_caller]
    pub fn program_ndim(self) -> usize {
        trace::with(self.trace, Location::caller(), |s| usize::from(s.program.is_some()))
    }
    fn grid_axis(self, axis: usize, place: trace::Place) -> (usize, usize) {
        if axis != 0 {
            let d = error(Code::Parameter, format!("axis {axis} of the launch grid"));
            trace::fail(self.trace, place, d.help("a grid has one axis, 0"));
        }
        trace::with(self.trace, place, |s| s.program.unwrap_or((0, 1)))
    }

    /// Both programs of a logical core wait for each other (isa.md 9.8.1); afterwards both see what either has written to
    /// `data`, an output or `#[inout]` tensor. Launch with [`programs(2)`](crate::Specialization::programs). From trn2 on.
    #[track_caller]
    pub fn core_barrier<T: Elem>(self, data: Hbm<T>) -> Inst<CoreBarrier> {
        let place = Location::caller();
        let operand = data.operand(self.trace, place);
        let buffer = operand.view().map_or(-1, |v| v.buf.index() as i64);
        Inst::start(self, Op::CoreBarrier, place).operand("data", operand).attr("buffer", Attr::Int(buffer))
    }
    /// Exchanges tiles between the programs of a logical core (isa.md 9.8.2): `src` goes to `dst` of program `send_to_rank`,
    /// and `dst` receives from program `recv_from_rank`. Calls of both programs meet in program order; the GpSimd engine
    /// waits meanwhile. From trn2 on.
    #[track_caller]
    pub fn sendrecv<T: Elem>(
        self,
        dst: Tile<T>,
        src: Tile<T>,
        send_to_rank: usize,
        recv_from_rank: usize,
    ) -> Inst<Sendrecv> {
        let place = Location::caller();
        Inst::start(self, Op::Sendrecv, place)
            .operand("dst", dst.operand(self.trace, place))
            .operand("src", src.operand(self.trace, place))
            .attr("send_to_rank", Attr::Int(send_to_rank as i64))
            .attr("recv_from_rank", Attr::Int(recv_from_rank as i64))
    }
}

impl Inst<Sendrecv> {
    /// Exchanges with this number belong together: both programs give the same. 0 without it.
    #[track_caller]
    pub fn pipe_id(self, id: usize) -> Self {
        self.attr("pipe_id", Attr::Int(id as i64))
    }
    /// Moves small tiles by GpSimd's own DMA instead of the DMA engines: up to 256 elements a partition.
    #[track_caller]
    pub fn gpsimd_dma(self) -> Self {
        self.flag("gpsimd_dma", true)
    }
}
