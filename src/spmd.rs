//! Several program instances of one kernel (isa.md 11.4): two cores that act as one. Which instance a body is specialised for is
//! known while tracing.

use crate::elem::Elem;
use crate::nc::Nc;
use crate::tensor::{Hbm, Tile};
use crate::trace::{self, error};
use nki_ir::Code;
use std::panic::Location;

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

    /// Both programs of a logical core wait for each other (isa.md 9.8.1). Not implemented: ends the trace with `nki::limit`.
    #[track_caller]
    pub fn core_barrier<T: Elem>(self, data: Hbm<T>) {
        let place = Location::caller();
        trace::same(self.trace, data.trace, place);
        self.two_cores("core_barrier", place)
    }
    /// Exchanges tiles between the programs of a logical core (isa.md 9.8.2). Not implemented: ends the trace with
    /// `nki::limit`.
    #[track_caller]
    pub fn sendrecv<T: Elem>(self, dst: Tile<T>, src: Tile<T>, send_to_rank: usize, recv_from_rank: usize) {
        let place = Location::caller();
        trace::same(self.trace, dst.trace, place);
        trace::same(self.trace, src.trace, place);
        if send_to_rank > 1 || recv_from_rank > 1 {
            let d = error(Code::Parameter, format!("ranks {send_to_rank} and {recv_from_rank}"));
            trace::fail(self.trace, place, d.help("the ranks of a logical core are 0 and 1"));
        }
        self.two_cores("sendrecv", place)
    }
    fn two_cores(self, what: &str, place: trace::Place) -> ! {
        let d = error(Code::Limit, format!("{what}: two cores that run together are not implemented"))
            .help("specialise one program at a time with `Specialization::program`, without communication");
        trace::fail(self.trace, place, d)
    }
}
