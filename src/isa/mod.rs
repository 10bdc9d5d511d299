//! The instruction layer: one method of [`Nc`] per instruction of isa.md section 9, under NKI's name and with NKI's
//! operand names, destination first. A method starts the instruction; optional operands are chained setters; it is recorded
//! when the chain ends.
//!
//! ```
//! # use nki::prelude::*;
//! # #[nki::kernel]
//! # fn example(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
//! # let [p, f] = x.dims();
//! # let out = nc.hbm([p, f]);
//! # let tile = nc.load(x);
//! let sum = nc.sbuf::<f32>([p, 1]);
//! let y = nc.sbuf::<f32>([p, f]);
//! nc.activation(y, Act::Exp, tile).scale(0.5).reduce(sum).name("exponentials");
//! # nc.store(out, y);
//! # out
//! # }
//! # assert!(example::specialize([128, 64]).trace().is_ok());
//! ```

mod debug;
mod dma;
mod gather;
mod gpsimd;
mod mx;
mod operand;
mod random;
mod register;
mod rows;
mod scalar;
mod select;
mod tensor;
mod vector;

pub use debug::{DeviceAssert, DevicePrint};
pub(crate) use operand::Anchor;
pub use operand::{IntOrReg, ScalarOrVec, TileOrScalar};
pub use register::{RegisterInit, RegisterOp, RegisterSource};

use crate::nc::Nc;
use crate::trace::{self, Place, TraceId, error};
use nki_ir::kernel::Attr;
use nki_ir::{Code, Engine, Op, Operand};
use std::marker::PhantomData;
use std::panic::Location;

/// An instruction whose optional operands can still be set. `K` tells which setters exist. It is recorded when this value is
/// dropped, at the end of the statement.
pub struct Inst<K> {
    trace: TraceId,
    serial: u32,
    place: Place,
    kind: PhantomData<(K, *const ())>,
}

impl<K> Inst<K> {
    pub(crate) fn start(nc: Nc, op: Op, place: Place) -> Inst<K> {
        let serial = trace::with(nc.trace, place, |s| s.start(op, place));
        Inst { trace: nc.trace, serial, place, kind: PhantomData }
    }
    /// The engine that runs it, one of those that isa.md lists for the instruction. Without it the compiler chooses.
    #[track_caller]
    pub fn engine(self, engine: Engine) -> Self {
        self.change(Location::caller(), |inst| inst.engine = engine)
    }
    /// A name for listings and schedules, unique in the kernel.
    #[track_caller]
    pub fn name(self, name: &str) -> Self {
        self.change(Location::caller(), |inst| inst.name = Some(name.to_string()))
    }
    fn change(self, place: Place, f: impl FnOnce(&mut nki_ir::InstData)) -> Self {
        trace::with(self.trace, place, |s| match s.pending(self.serial) {
            Some(inst) => f(inst),
            None => {
                let d =
                    error(Code::Form, "this instruction is already recorded: others were recorded after it")
                        .help("chain its setters in one statement");
                s.report(place, d);
            }
        });
        self
    }
    pub(crate) fn operand(self, name: &'static str, operand: Operand) -> Self {
        let place = self.place;
        self.change(place, |inst| {
            let at = inst.op.row().operand(name).expect("setters name operands of the op table");
            inst.operands[at] = operand;
        })
    }
    pub(crate) fn attr(self, name: &'static str, attr: Attr) -> Self {
        let place = self.place;
        self.change(place, |inst| {
            let at = inst.op.row().attr(name).expect("setters name attributes of the op table");
            inst.attrs[at] = attr;
        })
    }
    pub(crate) fn flag(self, name: &'static str, on: bool) -> Self {
        self.attr(name, Attr::Bool(on))
    }
}

impl<K> Drop for Inst<K> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            trace::try_with(self.trace, |s| s.finish_inst(self.serial));
        }
    }
}

/// Defines the markers that tell [`Inst`]s apart.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
    )*};
}
pub(crate) use kinds;
