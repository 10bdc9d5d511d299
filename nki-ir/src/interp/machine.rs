//! The state of an interpreted core, and the execution of one instruction on it.

use super::accumulate::{self, Decision};
use super::resolve::Resolved;
use super::storage::{Storage, Uninitialized};
use crate::kernel::{Accumulate, Attr, BufKind, InstData, Kernel, Operand};
use crate::op::{Effect, Op, OperandKind};
use crate::print::{self, Printed};
use crate::sem::{self, Arg, Call, Fault, Memory, Rounding, Span, State};
use crate::target::{Gen, Target};
use crate::{Buf, Code, Diagnostic, Diagnostics, Loc, Reg, Tensor, Var};
use std::collections::{BTreeSet, HashMap};

/// Buffers, loop variables, registers and the engines' state.
#[derive(Debug)]
pub(super) struct Machine {
    generation: Gen,
    memory: Buffers,
    vars: Vec<Variable>,
    regs: Vec<Option<i64>>,
    pub state: State,
    uninitialized: Uninitialized,
    /// Matmuls with `Accumulate::Auto` may occur: keep the flags of isa.md section 13.
    track_accumulation: bool,
    pub warnings: Diagnostics,
    warned: BTreeSet<(Loc, Code)>,
    args: Vec<Arg>,
    /// Memory of dead buffers, by size.
    recycled: HashMap<usize, Vec<Vec<u8>>>,
}

/// A loop variable: its value and that of the first turn.
#[derive(Clone, Copy, Debug, Default)]
struct Variable {
    value: i64,
    first: i64,
}

/// The live buffers by [`Buf`].
#[derive(Debug, Default)]
struct Buffers(Vec<Option<Storage>>);

impl Memory for Buffers {
    fn bytes(&self, mem: u32) -> &[u8] {
        self.0.get(mem as usize).and_then(Option::as_ref).map_or(&[], |s| &s.bytes)
    }
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8] {
        self.0.get_mut(mem as usize).and_then(Option::as_mut).map_or(&mut [], |s| &mut s.bytes)
    }
}

impl Machine {
    pub fn new(
        target: Target,
        uninitialized: Uninitialized,
        rounding: Rounding,
        track_accumulation: bool,
    ) -> Self {
        Machine {
            generation: target.generation(),
            memory: Buffers::default(),
            vars: Vec::new(),
            regs: Vec::new(),
            state: State {
                rounding,
                check_claims: uninitialized == Uninitialized::Error,
                ..State::default()
            },
            uninitialized,
            track_accumulation,
            warnings: Diagnostics::new(),
            warned: BTreeSet::new(),
            args: Vec::new(),
            recycled: HashMap::new(),
        }
    }

    /// Gives `buf` fresh storage: nothing in it is written.
    pub fn alloc(&mut self, kernel: &Kernel, buf: Buf) -> Result<(), Box<Diagnostic>> {
        self.free(buf);
        let Some(data) = kernel.bufs.get(buf) else { return Ok(()) };
        let len = data.row_bytes().saturating_mul(data.partitions().into());
        let recycled = self.recycled.get_mut(&(len as usize)).and_then(Vec::pop).unwrap_or_default();
        // In strict mode nobody can see unwritten bytes of a tile. A tensor may still become an output.
        let visible = self.uninitialized == Uninitialized::Warn
            || data.kind != BufKind::Private
            || data.space == crate::Space::Hbm;
        let Some(mut storage) = Storage::fresh(data, recycled, visible) else {
            let message = format!("no memory for the {len} bytes of `{}`", data.name);
            return Err(Box::new(Diagnostic::error(Code::Limit, message).at(&kernel.locs, data.loc)));
        };
        if self.track_accumulation && data.space == crate::Space::Psum {
            storage.flags = accumulate::fresh(storage.bytes.len());
        }
        self.put(buf, storage);
        Ok(())
    }
    /// Makes `buf` hold an argument.
    pub fn bind(&mut self, kernel: &Kernel, buf: Buf, bytes: Vec<u8>) {
        if let Some(data) = kernel.bufs.get(buf) {
            self.put(buf, Storage::holding(data, bytes));
        }
    }
    fn put(&mut self, buf: Buf, storage: Storage) {
        let i = buf.0 as usize;
        if self.memory.0.len() <= i {
            self.memory.0.resize_with(i + 1, || None);
        }
        self.memory.0[i] = Some(storage);
    }
    /// Ends the life of `buf`.
    pub fn free(&mut self, buf: Buf) {
        if let Some(storage) = self.memory.0.get_mut(buf.0 as usize).and_then(Option::take) {
            self.recycled.entry(storage.bytes.len()).or_default().push(storage.bytes);
        }
    }
    /// Ends the life of `buf` and hands its bytes out.
    pub fn take(&mut self, buf: Buf) -> Vec<u8> {
        self.memory.0.get_mut(buf.0 as usize).and_then(Option::take).map_or(Vec::new(), |s| s.bytes)
    }
    pub fn storage(&self, buf: Buf) -> Option<&Storage> {
        self.memory.0.get(buf.0 as usize).and_then(Option::as_ref)
    }

    pub fn variable(&self, v: Var) -> i64 {
        self.vars.get(v.0 as usize).map_or(0, |v| v.value)
    }
    /// Sets a loop variable; `first` at the loop's first turn.
    pub fn set_variable(&mut self, v: Var, value: i64, first: bool) {
        let i = v.0 as usize;
        if self.vars.len() <= i {
            self.vars.resize(i + 1, Variable::default());
        }
        self.vars[i].value = value;
        if first {
            self.vars[i].first = value;
        }
    }
    /// The value of a register; reading one that was never set is an error (isa.md 9.7).
    pub fn register(&self, kernel: &Kernel, r: Reg) -> Result<i64, Diagnostic> {
        self.regs.get(r.0 as usize).copied().flatten().ok_or_else(|| {
            let name = kernel.regs.get(r).map_or_else(|| r.to_string(), |d| d.name.clone());
            Diagnostic::error(Code::Uninitialized, format!("register `{name}` is read before it is set"))
        })
    }
    pub fn set_register(&mut self, r: Reg, value: i64) {
        let i = r.0 as usize;
        if self.regs.len() <= i {
            self.regs.resize(i + 1, None);
        }
        self.regs[i] = Some(value);
    }

    /// Executes one instruction. `salt` as in [`Call`].
    pub fn exec(&mut self, kernel: &Kernel, inst: &InstData, salt: u64) -> Result<(), Box<Diagnostic>> {
        let mut args = std::mem::take(&mut self.args);
        let result = match self.resolve(kernel, inst, &mut args) {
            Ok(Resolved::Ready) => self.exec_resolved(kernel, inst, &args, salt),
            Ok(Resolved::Skipped) => Ok(()),
            Err(d) => Err(d),
        };
        self.args = args;
        result
    }

    fn exec_resolved(
        &mut self,
        kernel: &Kernel,
        inst: &InstData,
        args: &[Arg],
        salt: u64,
    ) -> Result<(), Box<Diagnostic>> {
        let row = inst.op.row();
        let accumulate = self.accumulates(kernel, inst, args)?;
        for (i, (spec, arg)) in row.operands.iter().zip(args).enumerate() {
            let effect = row.effect(i, &inst.attrs);
            if matches!(effect, Effect::Read | Effect::Update) || effect == Effect::ReadWrite && accumulate {
                self.each_span(spec.kind, arg, |m, span| {
                    m.check_written(kernel, span, spec.name, Some(inst))
                })
                .map_err(|d| Box::new(d.at(&kernel.locs, inst.loc)))?;
            }
        }
        let call = Call {
            op: inst.op,
            engine: inst.resolved_engine(kernel),
            generation: self.generation,
            args,
            attrs: &inst.attrs,
            accumulate,
            salt,
        };
        sem::execute(&call, &mut self.memory, &mut self.state)
            .map_err(|f| Box::new(describe(kernel, inst, &f).at(&kernel.locs, inst.loc)))?;
        self.take_register(inst);
        if let Some(tensor) = self.state.printed.take() {
            let text = sem::text_of(&inst.attrs).to_string();
            print::emit(Printed { text, at: kernel.locs.resolve(inst.loc), tensor });
        }
        if let Some(outside) = self.state.outside.take() {
            self.warn(kernel, inst.loc, outside.warning(inst.op));
        }
        for (spec, arg) in row.operands.iter().zip(args) {
            if spec.effect != Effect::Read {
                let _ = self.each_span(spec.kind, arg, |m, span| {
                    m.wrote(inst, span, args);
                    Ok(())
                });
            }
        }
        Ok(())
    }

    /// A register instruction leaves its value in the state.
    fn take_register(&mut self, inst: &InstData) {
        let Some(value) = self.state.register.take() else { return };
        for (operand, spec) in inst.operands.iter().zip(inst.op.row().operands) {
            if let (Operand::Reg(r), Effect::Write) = (operand, spec.effect) {
                self.set_register(*r, value);
            }
        }
    }

    /// Calls `f` for the span (those parts of it that an operand of `kind` uses), or for each row at a run-time position.
    fn each_span(
        &mut self,
        kind: OperandKind,
        arg: &Arg,
        mut f: impl FnMut(&mut Self, &Span) -> Result<(), Diagnostic>,
    ) -> Result<(), Diagnostic> {
        match arg {
            Arg::Span(span) if kind.is_partial() => {
                sem::used(kind, span).iter().try_for_each(|part| f(self, part))
            }
            Arg::Span(span) => f(self, span),
            Arg::Rows(rows) => rows.starts.iter().flatten().try_for_each(|start| {
                let row = Span { base: *start, ..rows.row.clone() };
                f(self, &row)
            }),
            Arg::Columns(columns) => columns.spans().try_for_each(|span| f(self, &span)),
            Arg::None | Arg::Imm(_) | Arg::Int(_) => Ok(()),
        }
    }

    fn wrote(&mut self, inst: &InstData, span: &Span, args: &[Arg]) {
        let Some(storage) = self.memory.0.get_mut(span.mem as usize).and_then(Option::as_mut) else { return };
        storage.written.mark(span);
        if !storage.flags.is_empty() {
            accumulate::mark(&mut storage.flags, span, accumulate::flag_of(inst, args));
        }
    }

    /// Whether this execution of a matmul adds to its destination.
    fn accumulates(
        &mut self,
        kernel: &Kernel,
        inst: &InstData,
        args: &[Arg],
    ) -> Result<bool, Box<Diagnostic>> {
        let attr = inst.op.row().attr("accumulate").and_then(|i| inst.attrs.get(i));
        let Some(Attr::Accumulate(mode)) = attr else { return Ok(false) };
        match mode {
            Accumulate::Overwrite => Ok(false),
            Accumulate::Add => Ok(true),
            Accumulate::UnlessFirst(vars) => Ok(!vars.iter().all(|v| {
                let v = self.vars.get(v.0 as usize).copied().unwrap_or_default();
                v.value == v.first
            })),
            Accumulate::Auto => self.auto(kernel, inst, args),
        }
    }

    /// isa.md section 13, element by element: elements that start afresh in a call that adds elsewhere are set to -0, to
    /// which adding any sum is writing it.
    fn auto(&mut self, kernel: &Kernel, inst: &InstData, args: &[Arg]) -> Result<bool, Box<Diagnostic>> {
        if accumulate::is_transpose(inst) {
            return Ok(false);
        }
        if let Some(Arg::Columns(_)) = args.first() {
            let d = Diagnostic::error(Code::Accumulate, "it is open whether a scattered sum adds");
            let d = d.note("isa.md 3.6 and 13").help("pass `accumulate` true or false");
            return Err(Box::new(d.at(&kernel.locs, inst.loc)));
        }
        let Some(Arg::Span(dst)) = args.first() else { return Ok(false) };
        let Some(storage) = self.memory.0.get_mut(dst.mem as usize).and_then(Option::as_mut) else {
            return Ok(false);
        };
        match accumulate::decide(&storage.flags, dst, self.generation) {
            Decision::Overwrite => Ok(false),
            Decision::Add => Ok(true),
            Decision::Mixed(fresh) => {
                let width = dst.dtype.bytes();
                let zero = sem::cast::down(dst.dtype, -0.0).to_le_bytes();
                for byte in fresh {
                    storage.bytes[byte..byte + width].copy_from_slice(&zero[..width]);
                    storage.written.mark(&Span {
                        base: byte as u64,
                        parts: 1,
                        dims: Default::default(),
                        ..dst.clone()
                    });
                }
                let message = "this matmul adds to part of its destination and overwrites the rest";
                let d = Diagnostic::warning(Code::Accumulate, message)
                    .note("one hardware instruction carries one accumulate flag (isa.md 13.3)");
                self.warn(kernel, inst.loc, d);
                Ok(true)
            }
            Decision::Illegal => {
                let message = "the destination holds values that no matmul put there";
                Err(Box::new(
                    Diagnostic::error(Code::Accumulate, message)
                        .at(&kernel.locs, inst.loc)
                        .note("on gen2 and gen3 only matmul results accumulate (isa.md section 13)")
                        .help("pass `accumulate = false`, or use a fresh tile"),
                ))
            }
        }
    }

    /// Reports a read of bytes that were never written: an error in strict mode, else a warning once an instruction.
    pub fn check_written(
        &mut self,
        kernel: &Kernel,
        span: &Span,
        role: &str,
        inst: Option<&InstData>,
    ) -> Result<(), Diagnostic> {
        let Some(storage) = self.memory.0.get(span.mem as usize).and_then(Option::as_ref) else {
            return Ok(());
        };
        let Some(byte) = storage.written.first_missing(span) else { return Ok(()) };
        let Some(data) = kernel.bufs.get(Buf(span.mem)) else { return Ok(()) };
        let (partition, offset) = storage.place(byte);
        let element = offset / data.dtype.bytes();
        let place = if data.space.on_chip() {
            format!("partition {partition}, element {element}")
        } else {
            format!("element {element}")
        };
        let message = format!("{role} `{}` is read but {place} was never written", data.name);
        let d = Diagnostic::error(Code::Uninitialized, message)
            .related(&kernel.locs, data.loc, format!("`{}` is allocated here", data.name))
            .help("write it first, for instance with `memset`");
        match self.uninitialized {
            Uninitialized::Error => Err(d),
            Uninitialized::Warn => {
                let loc = inst.map_or(data.loc, |i| i.loc);
                self.warn(kernel, loc, Diagnostic { severity: crate::diag::Severity::Warning, ..d });
                Ok(())
            }
        }
    }

    fn warn(&mut self, kernel: &Kernel, loc: Loc, d: Diagnostic) {
        if self.warned.insert((loc, d.code)) {
            self.warnings.push(d.at(&kernel.locs, loc));
        }
    }

    /// The raw bytes of the elements of a span, in order.
    pub fn read_span(&self, span: &Span) -> Vec<u8> {
        span.read(self.memory.bytes(span.mem))
    }
    /// Writes raw bytes to the elements of a span, and marks them as written by something that is no matmul.
    pub fn write_span(&mut self, span: &Span, data: &Tensor) {
        span.write(self.memory.bytes_mut(span.mem), &data.data);
        if let Some(storage) = self.memory.0.get_mut(span.mem as usize).and_then(Option::as_mut) {
            storage.written.mark(span);
            if !storage.flags.is_empty() {
                accumulate::mark(&mut storage.flags, span, accumulate::OTHER);
            }
        }
    }
}

/// A fault in words: the instruction, the operand's buffer, what is wrong.
fn describe(kernel: &Kernel, inst: &InstData, f: &Fault) -> Diagnostic {
    let view = f.operand.and_then(|i| inst.operands.get(i)).and_then(|o| o.view());
    let name = view.and_then(|v| kernel.bufs.get(v.buf)).map(|b| format!(" (`{}`)", b.name));
    let op: Op = inst.op;
    Diagnostic::error(f.code, format!("{op}: {}{}", f.message, name.unwrap_or_default()))
}
