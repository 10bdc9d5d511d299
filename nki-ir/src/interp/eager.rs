//! Immediate execution for the eager mode: buffers are made and instructions executed while a kernel is being recorded.

use super::machine::Machine;
use super::run::InterpOptions;
use crate::kernel::{InstData, Kernel};
use crate::target::Target;
use crate::view::View;
use crate::{Buf, Code, Diagnostic, Diagnostics, Reg, Tensor, Var};

/// The data of a kernel that runs while it is recorded. Matmuls with `Accumulate::Auto` decide per byte what to do, by what
/// the destination holds (isa.md section 13).
///
/// The kernel is passed to every call, because it grows between them; buffers, variables and registers are its own.
#[derive(Debug)]
pub struct EagerStore {
    machine: Machine,
    /// Instructions executed, which tells equal ones apart for stochastic rounding.
    executed: u64,
}

impl EagerStore {
    /// A store without buffers. `options.max_steps` is not used.
    pub fn new(target: Target, options: &InterpOptions) -> EagerStore {
        let machine = Machine::new(target, options.uninitialized, options.rounding, true);
        EagerStore { machine, executed: 0 }
    }
    /// Gives `buf` fresh storage, of which nothing is written. Again in every turn of a loop.
    ///
    /// # Errors
    /// [`Code::Limit`] when this machine has too little memory.
    pub fn alloc(&mut self, kernel: &Kernel, buf: Buf) -> Result<(), Box<Diagnostic>> {
        self.machine.alloc(kernel, buf)
    }
    /// Makes the parameter `buf` hold `tensor`.
    ///
    /// # Errors
    /// [`Code::Argument`] when dtype or shape differ.
    pub fn bind(&mut self, kernel: &Kernel, buf: Buf, tensor: &Tensor) -> Result<(), Diagnostic> {
        let data = kernel.bufs.get(buf).ok_or_else(|| undefined(buf))?;
        let shape: Vec<usize> = data.shape.iter().map(|&n| n as usize).collect();
        if (data.dtype, &shape) != (tensor.dtype, &tensor.shape)
            || tensor.data.len() as u64 != data.row_bytes()
        {
            let got = format!("{}{:?} of {} bytes", tensor.dtype, tensor.shape, tensor.data.len());
            let message = format!("`{}` is {}{shape:?}, got {got}", data.name, data.dtype);
            return Err(Diagnostic::error(Code::Argument, message).at(&kernel.locs, data.loc));
        }
        self.machine.bind(kernel, buf, tensor.data.clone());
        Ok(())
    }
    /// Gives back the storage of `buf`, which must not be used again.
    pub fn free(&mut self, buf: Buf) {
        self.machine.free(buf);
    }
    /// Sets a loop variable; `first` in the loop's first turn.
    pub fn set_var(&mut self, var: Var, value: i64, first: bool) {
        self.machine.set_variable(var, value, first);
    }
    /// Sets a register.
    pub fn set_reg(&mut self, reg: Reg, value: i64) {
        self.machine.set_register(reg, value);
    }
    /// The value of a register.
    ///
    /// # Errors
    /// [`Code::Uninitialized`] when nothing has set it.
    pub fn reg(&self, kernel: &Kernel, reg: Reg) -> Result<i64, Diagnostic> {
        self.machine.register(kernel, reg)
    }
    /// Executes one instruction.
    ///
    /// # Errors
    /// What [`run`](super::run) reports while running, with the instruction's place.
    pub fn exec(&mut self, kernel: &Kernel, inst: &InstData) -> Result<(), Box<Diagnostic>> {
        self.executed += 1;
        self.machine.exec(kernel, inst, self.executed)
    }
    /// The elements of a view without a dynamic part, with the view's shape.
    ///
    /// # Errors
    /// [`Code::Uninitialized`] in strict mode, and what makes a view unusable.
    pub fn read(&mut self, kernel: &Kernel, view: &View) -> Result<Tensor, Diagnostic> {
        let (span, shape) = self.locate(kernel, view)?;
        self.machine.check_written(kernel, &span, "view of", None)?;
        Ok(Tensor { dtype: view.dtype, shape, data: self.machine.read_span(&span) })
    }
    /// Replaces the elements of a view without a dynamic part.
    ///
    /// # Errors
    /// [`Code::Shape`] or [`Code::Dtype`] when the tensor does not fit, and what makes a view unusable.
    pub fn write(&mut self, kernel: &Kernel, view: &View, tensor: &Tensor) -> Result<(), Diagnostic> {
        let (span, shape) = self.locate(kernel, view)?;
        let count: usize = shape.iter().product();
        if tensor.dtype != view.dtype {
            let message = format!("a {} tensor for a {} view", tensor.dtype, view.dtype);
            return Err(Diagnostic::error(Code::Dtype, message));
        }
        if tensor.elements() != count || tensor.data.len() != count * view.dtype.bytes() {
            let message = format!("a tensor of shape {:?} for a view of shape {shape:?}", tensor.shape);
            return Err(Diagnostic::error(Code::Shape, message));
        }
        self.machine.write_span(&span, tensor);
        Ok(())
    }
    /// The whole of a buffer, as it is: parts that were never written are poisoned.
    pub fn finish(&mut self, kernel: &Kernel, buf: Buf) -> Result<Tensor, Diagnostic> {
        let data = kernel.bufs.get(buf).ok_or_else(|| undefined(buf))?;
        let shape = data.shape.iter().map(|&n| n as usize).collect();
        Ok(Tensor { dtype: data.dtype, shape, data: self.machine.take(buf) })
    }
    /// Warnings since the last call.
    pub fn take_warnings(&mut self) -> Diagnostics {
        std::mem::take(&mut self.machine.warnings)
    }

    fn locate(&self, kernel: &Kernel, view: &View) -> Result<(crate::sem::Span, Vec<usize>), Diagnostic> {
        let data = kernel.bufs.get(view.buf).ok_or_else(|| undefined(view.buf))?;
        if view.dynamic.is_some() {
            let message = format!("a dynamic view of `{}` cannot be read or written directly", data.name);
            return Err(Diagnostic::error(Code::DynamicIndex, message));
        }
        let span = self.machine.static_span(kernel, view)?;
        Ok((span, view.shape(data.space).iter().map(|&n| n as usize).collect()))
    }
}

fn undefined(buf: Buf) -> Diagnostic {
    Diagnostic::error(Code::Undefined, format!("buffer {buf} does not belong to this kernel"))
}
