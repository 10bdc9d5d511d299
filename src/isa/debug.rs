//! Printing and assertions on values of the device.

use super::{Inst, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::DmaOperand;
use crate::tensor::Tensor;
use nki_ir::Op;
use nki_ir::kernel::Attr;
use std::panic::Location;

kinds! {
    /// [`Nc::device_print`].
    DevicePrint;
    /// [`Nc::assert`].
    DeviceAssert;
}

impl Nc {
    /// Prints a tensor in SBUF or HBM when the kernel runs, with `text` and the position in the source, in every mode. Prints
    /// keep their order. They go to standard error; [`nki_ir::print::capture`] collects them.
    #[track_caller]
    pub fn device_print<T: Elem, M: DmaOperand>(self, text: &str, x: Tensor<T, M>) -> Inst<DevicePrint> {
        let place = Location::caller();
        let shape = x.shape_at(place).into_iter().map(|n| n as i64).collect();
        Inst::start(self, Op::DevicePrint, place)
            .operand("src", x.operand(self.trace, place))
            .attr("text", Attr::Text(text.to_string()))
            .attr("shape", Attr::Ints(shape))
    }
    /// Ends the run with `nki::assert` and `text` unless every element of `condition` is other than 0. For what is known while
    /// tracing, use [`ensure!`](crate::ensure).
    ///
    /// ```
    /// # use nki::prelude::*;
    /// #[nki::kernel]
    /// fn root(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let out = nc.hbm(x.shape());
    ///     let y = nc.load(x);
    ///     let legal = nc.sbuf::<i32>(x.shape());
    ///     nc.tensor_scalar(legal, y, Alu::GreaterEqual, 0.0);
    ///     nc.assert(legal, "roots of negative numbers");
    ///     nc.store(out, y.sqrt());
    ///     out
    /// }
    /// # fn main() {
    /// let x = nki::ir::Tensor::from_f32(&[1, 2], &[4.0, -1.0]).unwrap();
    /// let error = root::specialize(&x).run(nki::Mode::Interp, Target::Trn2).unwrap_err();
    /// assert!(error.to_string().contains("roots of negative numbers"));
    /// # }
    /// ```
    #[track_caller]
    pub fn assert<T: Elem, M: DmaOperand>(self, condition: Tensor<T, M>, text: &str) -> Inst<DeviceAssert> {
        let place = Location::caller();
        Inst::start(self, Op::DeviceAssert, place)
            .operand("condition", condition.operand(self.trace, place))
            .attr("text", Attr::Text(text.to_string()))
    }
}
