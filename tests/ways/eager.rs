//! A kernel of tile IR run as the eager mode runs a body: buffer by buffer and instruction by instruction through an
//! [`EagerStore`], loops as turns that are walked, matmuls deciding for themselves whether they add.

use nki::ir::interp::{EagerStore, InterpOptions};
use nki::ir::kernel::{Accumulate, Attr, Bound, BufKind, LoopData, Node};
use nki::ir::{Buf, Code, Diagnostic, Diagnostics, Kernel, Reg, Region, Target, Tensor};

/// What the kernel gives for `inputs`.
pub fn run(kernel: &Kernel, target: Target, inputs: &[Tensor]) -> Result<Vec<Tensor>, Diagnostics> {
    let mut body = Body { kernel, store: EagerStore::new(target, &InterpOptions::default()) };
    for ((buf, _), tensor) in kernel.inputs().zip(inputs) {
        body.store.bind(kernel, buf, tensor)?;
    }
    for (buf, _) in kernel.bufs.iter().filter(|(_, b)| b.kind == BufKind::Output) {
        body.store.alloc(kernel, buf).map_err(|d| *d)?;
    }
    body.region(kernel.body)?;
    let results = kernel.outputs().map(|(buf, _)| body.store.finish(kernel, buf));
    Ok(results.collect::<Result<_, _>>()?)
}

/// The same kernel as a body records it: every matmul leaves open whether it adds. `None` if it has no matmul.
pub fn undecided(kernel: &Kernel) -> Option<Kernel> {
    let mut kernel = kernel.clone();
    let mut any = false;
    for i in kernel.insts.keys() {
        let inst = &mut kernel.insts[i];
        for attr in inst.attrs.iter_mut().filter(|a| matches!(a, Attr::Accumulate(_))) {
            *attr = Attr::Accumulate(Accumulate::Auto);
            any = true;
        }
    }
    any.then_some(kernel)
}

struct Body<'k> {
    kernel: &'k Kernel,
    store: EagerStore,
}

impl Body<'_> {
    /// One turn. What it made is given back at its end.
    fn region(&mut self, region: Region) -> Result<(), Diagnostic> {
        let mut made: Vec<Buf> = Vec::new();
        for node in &self.kernel.regions[region].nodes {
            match *node {
                Node::Alloc(buf) => {
                    self.store.alloc(self.kernel, buf).map_err(|d| *d)?;
                    made.push(buf);
                }
                Node::Inst(i) => self.store.exec(self.kernel, &self.kernel.insts[i]).map_err(|d| *d)?,
                Node::Loop(l) => self.flow(&self.kernel.loops[l])?,
            }
        }
        made.into_iter().for_each(|buf| self.store.free(buf));
        Ok(())
    }

    fn flow(&mut self, data: &LoopData) -> Result<(), Diagnostic> {
        match data {
            LoopData::For { var, lo, hi, step, body, .. } => {
                let (lo, hi) = (self.bound(*lo)?, self.bound(*hi)?);
                let mut value = lo;
                while value < hi {
                    self.store.set_var(*var, value, value == lo);
                    self.region(*body)?;
                    value += step;
                }
            }
            LoopData::While { cond, body, .. } => {
                while self.holds(*cond)? {
                    self.region(*body)?;
                }
            }
            LoopData::If { cond, then, otherwise, .. } => {
                let taken = if self.holds(*cond)? { then } else { otherwise };
                self.region(*taken)?;
            }
            LoopData::NoReorder { body, .. } => self.region(*body)?,
        }
        Ok(())
    }

    fn holds(&self, reg: Reg) -> Result<bool, Diagnostic> {
        Ok(self.store.reg(self.kernel, reg)? != 0)
    }

    fn bound(&self, bound: Bound) -> Result<i64, Diagnostic> {
        let (reg, max) = match bound {
            Bound::Const(value) => return Ok(value),
            Bound::Reg { reg, max } => (reg, max),
        };
        let value = self.store.reg(self.kernel, reg)?;
        if value > max {
            return Err(Diagnostic::error(Code::RuntimeIndex, format!("{value} is more than {max}")));
        }
        Ok(value)
    }
}
