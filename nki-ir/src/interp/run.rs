//! Control flow: a stack of open regions.

use super::lifetime::last_uses;
use super::machine::Machine;
use super::storage::Uninitialized;
use crate::entity::{Entity, Region};
use crate::kernel::{Accumulate, Attr, Bound, BufKind, Kernel, LoopData, Node};
use crate::sem::{Rounding, salt};
use crate::target::Target;
use crate::verify::Verified;
use crate::{Buf, Code, Diagnostic, Diagnostics, Loop, Reg, Tensor, Var};

/// How to interpret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterpOptions {
    pub uninitialized: Uninitialized,
    pub rounding: Rounding,
    /// End with [`Code::Limit`] after this many instructions and loop turns.
    pub max_steps: Option<u64>,
}

/// What a run gives.
#[derive(Debug)]
pub struct Outcome {
    /// Outputs and inouts, in the order of the signature.
    pub outputs: Vec<Tensor>,
    pub warnings: Diagnostics,
}

/// Runs a kernel on tensors for its inputs and inouts, in the order of the signature; returns outputs and inouts.
///
/// # Errors
/// [`Code::Argument`] when the tensors do not match the signature; else what goes wrong while running, with its place:
/// [`Code::Uninitialized`], [`Code::RuntimeIndex`], [`Code::Limit`].
pub fn run(
    kernel: &Verified,
    inputs: &[Tensor],
    options: &InterpOptions,
) -> Result<Vec<Tensor>, Diagnostics> {
    run_with_warnings(kernel, inputs, options).map(|o| o.outputs)
}

/// As [`run`], with what was reported on the way: reads of unwritten bytes unless they are errors, matmuls that add to part
/// of their destination.
///
/// # Errors
/// As [`run`].
pub fn run_with_warnings(
    kernel: &Verified,
    inputs: &[Tensor],
    options: &InterpOptions,
) -> Result<Outcome, Diagnostics> {
    run_kernel(kernel.kernel(), kernel.target(), inputs, options)
}

/// Runs a kernel that may not have passed the gate: whatever it contains, the result is an error, not a panic.
///
/// # Errors
/// [`Code::Argument`] when the tensors do not match the signature; else what goes wrong while running, with its place:
/// [`Code::Uninitialized`], [`Code::RuntimeIndex`], [`Code::Limit`].
pub(crate) fn run_kernel(
    kernel: &Kernel,
    target: Target,
    inputs: &[Tensor],
    options: &InterpOptions,
) -> Result<Outcome, Diagnostics> {
    check_arguments(kernel, inputs)?;
    let auto = kernel.insts.values().any(|i| i.attrs.contains(&Attr::Accumulate(Accumulate::Auto)));
    let mut machine = Machine::new(target, options.uninitialized, options.rounding, auto);
    for ((buf, _), tensor) in kernel.inputs().zip(inputs) {
        machine.bind(kernel, buf, tensor.data.clone());
    }
    for (buf, data) in kernel.bufs.iter() {
        if data.kind == BufKind::Output {
            machine.alloc(kernel, buf).map_err(|d| Diagnostics::from(*d))?;
        }
    }
    let mut walk =
        Walk { kernel, machine, stack: Vec::new(), dead: last_uses(kernel), steps: options.max_steps };
    walk.open(kernel.body, Turn::Once);
    while walk.step().map_err(|d| Diagnostics::from(*d))? {}
    let mut machine = walk.machine;
    let outputs = kernel.outputs().map(|(buf, data)| Tensor {
        dtype: data.dtype,
        shape: data.shape.iter().map(|&n| n as usize).collect(),
        data: machine.take(buf),
    });
    let outputs = outputs.collect();
    Ok(Outcome { outputs, warnings: std::mem::take(&mut machine.warnings) })
}

/// Compares the tensors with the signature; reports everything that does not match, by name.
pub fn check_arguments(kernel: &Kernel, inputs: &[Tensor]) -> Result<(), Diagnostics> {
    let mut out = Diagnostics::new();
    let wanted = kernel.inputs().count();
    if wanted != inputs.len() {
        let names: Vec<_> = kernel.inputs().map(|(_, b)| format!("`{}`", b.name)).collect();
        let message = format!("kernel `{}` takes {wanted} tensors, got {}", kernel.name, inputs.len());
        out.push(
            Diagnostic::error(Code::Argument, message).note(format!("its inputs are {}", names.join(", "))),
        );
        return Err(out);
    }
    for ((_, data), tensor) in kernel.inputs().zip(inputs) {
        let shape: Vec<usize> = data.shape.iter().map(|&n| n as usize).collect();
        let error = if (tensor.dtype, &tensor.shape) != (data.dtype, &shape) {
            format!("`{}` is {}{shape:?}, got {}{:?}", data.name, data.dtype, tensor.dtype, tensor.shape)
        } else if tensor.data.len() as u64 != data.row_bytes() {
            let (want, got) = (data.row_bytes(), tensor.data.len());
            format!("`{}` has {want} bytes of data, got {got}", data.name)
        } else {
            continue;
        };
        out.push(Diagnostic::error(Code::Argument, error).at(&kernel.locs, data.loc));
    }
    if out.is_empty() { Ok(()) } else { Err(out) }
}

/// What happens at the end of a region.
#[derive(Clone, Copy)]
enum Turn {
    /// It is left.
    Once,
    /// The variable is advanced.
    For { var: Var, hi: i64, step: i64 },
    /// The condition is tested again.
    While { cond: Reg, turn: i64 },
}

/// An open region.
struct Open {
    region: Region,
    position: usize,
    turn: Turn,
    /// How many entries of the region's list of dead buffers have been given back this turn.
    freed: usize,
}

struct Walk<'k> {
    kernel: &'k Kernel,
    machine: Machine,
    stack: Vec<Open>,
    dead: Vec<Vec<(usize, Buf)>>,
    /// Instructions and turns left.
    steps: Option<u64>,
}

impl Walk<'_> {
    fn open(&mut self, region: Region, turn: Turn) {
        self.stack.push(Open { region, position: 0, turn, freed: 0 });
    }

    /// Executes the next node; `false` at the end of the kernel.
    fn step(&mut self) -> Result<bool, Box<Diagnostic>> {
        self.release();
        let Some(open) = self.stack.last_mut() else { return Ok(false) };
        let nodes = self.kernel.regions.get(open.region).map_or(&[][..], |r| &r.nodes);
        let Some(node) = nodes.get(open.position).copied() else {
            self.turn()?;
            return Ok(true);
        };
        open.position += 1;
        match node {
            Node::Alloc(buf) => self.machine.alloc(self.kernel, buf)?,
            Node::Inst(i) => {
                self.count()?;
                if let Some(inst) = self.kernel.insts.get(i) {
                    let salt = self.salt(i.index() as u32);
                    self.machine.exec(self.kernel, inst, salt)?;
                }
            }
            Node::Loop(l) => self.enter(l)?,
        }
        Ok(true)
    }

    /// Gives back the buffers whose last use has passed.
    fn release(&mut self) {
        let Some(open) = self.stack.last_mut() else { return };
        let dead = self.dead.get(open.region.index()).map_or(&[][..], |d| d);
        while let Some((last, buf)) = dead.get(open.freed) {
            if *last >= open.position {
                break;
            }
            self.machine.free(*buf);
            open.freed += 1;
        }
    }

    /// The end of a region: next turn, or out.
    fn turn(&mut self) -> Result<(), Box<Diagnostic>> {
        self.count()?;
        let Some(open) = self.stack.last_mut() else { return Ok(()) };
        let again = match &mut open.turn {
            Turn::Once => false,
            Turn::For { var, hi, step } => match self.machine.variable(*var).checked_add(*step) {
                Some(next) if next < *hi => {
                    self.machine.set_variable(*var, next, false);
                    true
                }
                _ => false,
            },
            Turn::While { cond, turn } => {
                *turn += 1;
                self.machine.register(self.kernel, *cond)? != 0
            }
        };
        if again {
            (open.position, open.freed) = (0, 0);
        } else {
            self.stack.pop();
        }
        Ok(())
    }

    fn enter(&mut self, l: Loop) -> Result<(), Box<Diagnostic>> {
        let Some(data) = self.kernel.loops.get(l) else { return Ok(()) };
        let at = |d: Diagnostic| Box::new(d.at(&self.kernel.locs, data.loc()));
        match data {
            LoopData::For { var, lo, hi, step, body, .. } => {
                let (lo, hi) = (self.start(*lo).map_err(at)?, self.bound(*hi).map_err(at)?);
                if *step <= 0 {
                    return Err(at(Diagnostic::error(
                        Code::Parameter,
                        format!("loop step {step} is not positive"),
                    )));
                }
                if lo < hi {
                    self.machine.set_variable(*var, lo, true);
                    self.open(*body, Turn::For { var: *var, hi, step: *step });
                }
            }
            LoopData::While { cond, body, .. } => {
                if self.machine.register(self.kernel, *cond).map_err(at)? != 0 {
                    self.open(*body, Turn::While { cond: *cond, turn: 0 });
                }
            }
            LoopData::If { cond, then, otherwise, .. } => {
                let taken = self.machine.register(self.kernel, *cond).map_err(at)? != 0;
                self.open(if taken { *then } else { *otherwise }, Turn::Once);
            }
            LoopData::NoReorder { body, .. } => self.open(*body, Turn::Once),
        }
        Ok(())
    }

    /// The value of a loop's start; one in a register must not be negative.
    fn start(&self, b: Bound) -> Result<i64, Diagnostic> {
        let Bound::Reg { reg, .. } = b else { return self.bound(b) };
        let value = self.machine.register(self.kernel, reg)?;
        if value < 0 {
            let name = self.kernel.regs.get(reg).map_or_else(|| reg.to_string(), |r| r.name.clone());
            let message = format!("loop start `{name}` is {value}, but must be at least 0");
            return Err(Diagnostic::error(Code::RuntimeIndex, message));
        }
        Ok(value)
    }

    /// The value of a loop bound; a register must keep its promise.
    fn bound(&self, b: Bound) -> Result<i64, Diagnostic> {
        match b {
            Bound::Const(c) => Ok(c),
            Bound::Reg { reg, max } => {
                let value = self.machine.register(self.kernel, reg)?;
                if value > max {
                    let name = self.kernel.regs.get(reg).map_or_else(|| reg.to_string(), |r| r.name.clone());
                    let message =
                        format!("loop bound `{name}` is {value}, but was promised to be at most {max}");
                    return Err(Diagnostic::error(Code::RuntimeIndex, message));
                }
                Ok(value)
            }
        }
    }

    fn salt(&self, inst: u32) -> u64 {
        if self.machine.state.rounding == Rounding::NearestEven {
            return 0;
        }
        salt(
            inst,
            self.stack.iter().filter_map(|open| match open.turn {
                Turn::Once => None,
                Turn::For { var, .. } => Some(self.machine.variable(var)),
                Turn::While { turn, .. } => Some(turn),
            }),
        )
    }

    fn count(&mut self) -> Result<(), Box<Diagnostic>> {
        match &mut self.steps {
            None => Ok(()),
            Some(0) => {
                let message =
                    format!("kernel `{}` did not end within the allowed number of steps", self.kernel.name);
                Err(Box::new(Diagnostic::error(Code::Limit, message)))
            }
            Some(n) => {
                *n -= 1;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{BufData, Operand, Space};
    use crate::loc::Loc;
    use crate::view::View;
    use crate::{Builder, DType, Op};

    /// `y[0] = if r { 1 } else { 2 }`, then a loop of `n` turns that writes `y[turn] = 3`, with the registers set from
    /// outside: no instruction of the table sets one yet.
    fn run_with_registers(r: i64, n: i64, max: i64) -> Result<Vec<f32>, Code> {
        let mut b = Builder::new("k");
        let data = |name: &str, kind| BufData::new(name, Space::Sbuf, DType::F32, &[1, 4], kind, Loc(0));
        let y = b.alloc(data("y", BufKind::Private));
        let (cond, bound) = (b.reg("cond", DType::I32, Loc(0)), b.reg("bound", DType::I32, Loc(0)));
        let fill = |b: &mut Builder, at: crate::Affine, value: f32| {
            let mut inst = Builder::template(Op::Memset, Loc(0));
            let mut view = View::full(y, &data("y", BufKind::Private));
            if let crate::Index::Slice(axes) = &mut view.index {
                axes[1] = crate::AxisSlice::range(at, 1);
            }
            inst.operands[0] = Operand::View(view);
            inst.operands[1] = Operand::Imm(value);
            b.inst(inst);
        };
        let branch = b.begin_if(cond, Loc(0));
        fill(&mut b, crate::Affine::constant(0), 1.0);
        b.begin_otherwise(branch);
        fill(&mut b, crate::Affine::constant(0), 2.0);
        b.end();
        let (_, i) = b.begin_for("i", Bound::Const(1), Bound::Reg { reg: bound, max }, 2, Loc(0));
        fill(&mut b, i.into(), 3.0);
        b.end();
        let kernel = b.finish();
        let mut machine = Machine::new(Target::Trn2, Uninitialized::Warn, Rounding::NearestEven, false);
        machine.set_register(cond, r);
        machine.set_register(bound, n);
        let dead = vec![Vec::new(); kernel.regions.len()];
        let mut walk = Walk { kernel: &kernel, machine, stack: Vec::new(), dead, steps: None };
        walk.open(kernel.body, Turn::Once);
        while walk.step().map_err(|d| d.code)? {}
        let bytes = walk.machine.take(y);
        Ok(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    #[test]
    fn registers_steer_branches_and_loops() {
        let run = |r, n| run_with_registers(r, n, 4).map(|y| y.iter().map(|x| *x as i32).collect::<Vec<_>>());
        // Poison converts to 0 here.
        assert_eq!(run(1, 4), Ok(vec![1, 3, 0, 3]));
        assert_eq!(run(-7, 3), Ok(vec![1, 3, 0, 0]));
        assert_eq!(run(0, 1), Ok(vec![2, 0, 0, 0]));
        assert_eq!(run(0, -5), Ok(vec![2, 0, 0, 0]));
        assert_eq!(run(0, 5), Err(Code::RuntimeIndex));
    }
}
