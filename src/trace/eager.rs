//! The eager mode: buffers are made and instructions executed while the body runs.

use nki_ir::interp::{EagerStore, InterpOptions};
use nki_ir::kernel::Kernel;
use nki_ir::{Buf, Diagnostic, InstData, Target, Tensor, View};

/// The data of a body that runs on data.
pub(crate) struct Eager {
    store: EagerStore,
    /// Buffers made in each open turn, to be given back at its end. The first entry is the body itself.
    turns: Vec<Vec<Buf>>,
}

impl Eager {
    pub fn new(target: Target) -> Self {
        Eager { store: EagerStore::new(target, &InterpOptions::default()), turns: vec![Vec::new()] }
    }
    pub fn bind(&mut self, kernel: &Kernel, buf: Buf, tensor: &Tensor) -> Result<(), Diagnostic> {
        self.store.bind(kernel, buf, tensor)
    }
    pub fn alloc(&mut self, kernel: &Kernel, buf: Buf) -> Result<(), Diagnostic> {
        if let Some(turn) = self.turns.last_mut() {
            turn.push(buf);
        }
        self.store.alloc(kernel, buf).map_err(|d| *d)
    }
    pub fn exec(&mut self, kernel: &Kernel, inst: &InstData) -> Result<(), Diagnostic> {
        self.store.exec(kernel, inst).map_err(|d| *d)
    }
    pub fn reg(&self, kernel: &Kernel, reg: nki_ir::Reg) -> Result<i64, Diagnostic> {
        self.store.reg(kernel, reg)
    }
    pub fn begin_turn(&mut self) {
        self.turns.push(Vec::new());
    }
    pub fn end_turn(&mut self) {
        for buf in self.turns.pop().unwrap_or_default() {
            self.store.free(buf);
        }
    }
    pub fn read(&mut self, kernel: &Kernel, view: &View) -> Result<Tensor, Diagnostic> {
        self.store.read(kernel, view)
    }
    pub fn finish(&mut self, kernel: &Kernel, buf: Buf) -> Result<Tensor, Diagnostic> {
        self.store.finish(kernel, buf)
    }
    pub fn warnings(&mut self) -> nki_ir::Diagnostics {
        self.store.take_warnings()
    }
}
