//! One trace: the IR being recorded, the arenas behind the handles, the call stack, names and findings.

use super::names::{Labels, Names};
use super::{Eager, Place, TraceId};
use crate::info::KernelInfo;
use nki_ir::kernel::Bound;
use nki_ir::loc::Frame;
use nki_ir::{
    Affine, Buf, BufData, BufKind, Builder, Code, DType, Diagnostic, Diagnostics, InstData, Loc, Loop, Op,
    Reg, Region, Space, Tensor, Var, View,
};
use std::collections::BTreeMap;

/// Something that a label can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    Buf(Buf),
    Loop(Loop),
    Reg(Reg),
    /// A loop of one turn, which is not recorded as a loop.
    Straight,
}

/// An instruction whose optional operands are still being set.
pub(crate) struct Pending {
    pub serial: u32,
    pub data: InstData,
}

/// One call of a kernel function.
pub(crate) struct Call {
    pub frame: Frame,
    /// Path of the kernel function: what its labels carry.
    pub path: &'static str,
}

/// An instruction count per source line past which unrolling is most likely a mistake.
const UNROLL_WARNING: u32 = 4096;

pub struct Session {
    pub(crate) id: TraceId,
    info: &'static KernelInfo,
    pub(crate) builder: Builder,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) labels: Labels,
    pub(crate) calls: Vec<Call>,
    views: Vec<View>,
    exprs: Vec<Affine>,
    names: Names,
    /// Buffers, registers and variables whose name is a default one, which the author's `let` may replace.
    unnamed: BTreeMap<Named, ()>,
    pending: Option<Pending>,
    serials: u32,
    /// Instructions recorded per source line, by `Loc`.
    per_loc: Vec<u32>,
    /// The data, when the body runs on data.
    pub(crate) eager: Option<Eager>,
    /// Executing an instruction failed: the body ends at its next operation.
    pub(crate) failed: bool,
    /// The program instance and how many there are, if the kernel is launched on a grid.
    pub(crate) program: Option<(usize, usize)>,
    /// Private HBM buffers whose allocation may be moved to the signature.
    pub(crate) hbm: Vec<(Buf, Region)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    Buf(Buf),
    Var(Var),
    Reg(Reg),
}

impl Session {
    /// Specialises for a program of a grid.
    pub(crate) fn set_program(&mut self, program: Option<(usize, usize)>) {
        self.program = program;
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        self.builder.kernel_mut().program = program.map(|(id, n)| (small(id), small(n)));
    }
    pub fn new(id: TraceId, info: &'static KernelInfo) -> Self {
        Session {
            id,
            info,
            builder: Builder::new(info.name),
            diagnostics: Diagnostics::new(),
            labels: Labels::default(),
            calls: Vec::new(),
            views: Vec::new(),
            exprs: Vec::new(),
            names: Names::default(),
            unnamed: BTreeMap::new(),
            pending: None,
            serials: 0,
            per_loc: Vec::new(),
            eager: None,
            failed: false,
            program: None,
            hbm: Vec::new(),
        }
    }

    // Positions and findings.

    /// Interns a position in the current call.
    pub fn loc(&mut self, place: Place) -> Loc {
        self.loc_at(place.file(), place.line(), place.column())
    }
    fn loc_at(&mut self, file: &str, line: u32, column: u32) -> Loc {
        let name = self.info.name;
        let locs = &mut self.builder.kernel_mut().locs;
        let frame = self.calls.last().map_or_else(|| locs.frame(name, None), |c| c.frame);
        locs.loc(file, line, column, frame)
    }
    /// Records a finding at `place`.
    pub fn report(&mut self, place: Place, diagnostic: Diagnostic) {
        let loc = self.loc(place);
        let diagnostic = diagnostic.at(&self.builder.kernel().locs, loc);
        self.diagnostics.push(diagnostic);
    }
    /// Records that a handle of another trace was used here.
    pub fn foreign_handle(&mut self, place: Place) {
        let d = Diagnostic::error(Code::Trace, "a handle of another trace is used here")
            .note("handles belong to the trace in which they were made")
            .help("pass the tensor as an argument of this kernel instead of capturing it from another one");
        self.report(place, d);
    }
    /// Enters a kernel function.
    pub fn enter(&mut self, name: &str, path: &'static str, place: Place) {
        self.flush();
        let call = (!self.calls.is_empty()).then(|| self.loc(place));
        let frame = self.builder.kernel_mut().locs.frame(name, call);
        self.calls.push(Call { frame, path });
    }
    /// Leaves the innermost kernel function.
    pub fn leave(&mut self) {
        self.flush();
        self.calls.pop();
    }

    // Arenas.

    pub fn push_view(&mut self, view: View) -> u32 {
        self.views.push(view);
        self.views.len() as u32 - 1
    }
    pub fn view(&self, id: u32) -> &View {
        &self.views[id as usize]
    }
    pub fn buf_of(&self, id: u32) -> &BufData {
        &self.builder.kernel().bufs[self.view(id).buf]
    }
    pub fn shape(&self, id: u32) -> Vec<u32> {
        self.view(id).shape(self.buf_of(id).space).to_vec()
    }
    pub fn push_expr(&mut self, expr: Affine) -> u32 {
        self.exprs.push(expr);
        self.exprs.len() as u32 - 1
    }
    pub fn expr(&self, id: u32) -> &Affine {
        &self.exprs[id as usize]
    }
    /// Name of the buffer behind a view, for messages.
    pub fn name_of(&self, id: u32) -> &str {
        &self.buf_of(id).name
    }

    // Names.

    /// Gives what `entity` is the author's name, unless it already has one of the author's.
    pub fn name(&mut self, entity: Entity, wanted: &'static str) {
        let named = match entity {
            Entity::Buf(b) => Some(Named::Buf(b)),
            Entity::Reg(r) => Some(Named::Reg(r)),
            Entity::Loop(l) => match self.builder.kernel().loops[l] {
                nki_ir::LoopData::For { var, .. } => Some(Named::Var(var)),
                _ => None,
            },
            Entity::Straight => None,
        };
        if let Some(named) = named
            && self.unnamed.remove(&named).is_some()
        {
            let old = std::mem::take(self.name_slot(named));
            self.names.release(&old);
            let name = self.names.unique(wanted);
            *self.name_slot(named) = name;
        }
        if let Some(call) = self.calls.last() {
            self.labels.add(call.path, wanted, entity);
        }
    }
    fn name_slot(&mut self, named: Named) -> &mut String {
        let kernel = self.builder.kernel_mut();
        match named {
            Named::Buf(b) => &mut kernel.bufs[b].name,
            Named::Var(v) => &mut kernel.vars[v].name,
            Named::Reg(r) => &mut kernel.regs[r].name,
        }
    }

    // Recording.

    /// Declares a tensor of the signature.
    pub fn param(&mut self, name: &str, dtype: DType, shape: &[u32], kind: BufKind) -> u32 {
        let name = self.names.unique(name);
        let loc = self.loc_at(self.info.file, self.info.line, 1);
        let data = BufData::new(&name, Space::Hbm, dtype, shape, kind, loc);
        let view = View::full(self.builder.kernel().bufs.next_key(), &data);
        self.builder.param(data);
        self.push_view(view)
    }
    /// Allocates a private buffer with a default name.
    pub fn alloc(&mut self, stem: &str, space: Space, dtype: DType, shape: &[u32], place: Place) -> u32 {
        self.flush();
        let loc = self.loc(place);
        let name = self.names.unique(stem);
        let data = BufData::new(&name, space, dtype, shape, BufKind::Private, loc);
        let view = View::full(self.builder.kernel().bufs.next_key(), &data);
        let buf = self.builder.alloc(data);
        if space == Space::Hbm {
            self.hbm.push((buf, self.builder.current()));
        }
        self.unnamed.insert(Named::Buf(buf), ());
        if let Some(eager) = &mut self.eager
            && let Err(d) = eager.alloc(self.builder.kernel(), buf)
        {
            self.fail(d);
        }
        self.push_view(view)
    }
    /// Declares a register with a default name.
    pub fn reg(&mut self, dtype: DType, place: Place) -> Reg {
        self.flush();
        let loc = self.loc(place);
        let name = self.names.unique("r");
        let reg = self.builder.reg(&name, dtype, loc);
        self.unnamed.insert(Named::Reg(reg), ());
        reg
    }
    pub fn reg_name(&self, reg: Reg) -> String {
        self.builder.kernel().regs[reg].name.clone()
    }
    /// The value of a register, when the body runs on data.
    pub(crate) fn read_reg(&mut self, reg: Reg) -> Option<i64> {
        self.flush();
        let eager = self.eager.as_mut().filter(|_| !self.failed)?;
        match eager.reg(self.builder.kernel(), reg) {
            Ok(value) => Some(value),
            Err(d) => {
                self.fail(d);
                None
            }
        }
    }
    /// The value of a loop bound, when the body runs on data; what the interpreter checks is checked.
    pub(crate) fn read_bound(&mut self, bound: Bound, start: bool, place: Place) -> Option<i64> {
        let (reg, max) = match bound {
            Bound::Const(c) => return Some(c),
            Bound::Reg { reg, max } => (reg, max),
        };
        let value = self.read_reg(reg)?;
        if if start { value < 0 } else { value > max } {
            let limit = if start { "at least 0".into() } else { format!("at most {max}") };
            let message = format!("loop bound `{}` is {value}, but must be {limit}", self.reg_name(reg));
            let loc = self.loc(place);
            let d = Diagnostic::error(Code::RuntimeIndex, message).at(&self.builder.kernel().locs, loc);
            self.fail(d);
            return None;
        }
        Some(value)
    }
    /// Starts an instruction; returns the serial number by which its setters find it.
    pub fn start(&mut self, op: Op, place: Place) -> u32 {
        self.flush();
        let loc = self.loc(place);
        self.serials += 1;
        self.pending = Some(Pending { serial: self.serials, data: Builder::template(op, loc) });
        self.serials
    }
    /// The instruction with this serial number, while it can still be changed.
    pub fn pending(&mut self, serial: u32) -> Option<&mut InstData> {
        self.pending.as_mut().filter(|p| p.serial == serial).map(|p| &mut p.data)
    }
    /// Finishes the instruction with this serial number, if it still is pending.
    pub fn finish_inst(&mut self, serial: u32) {
        if self.pending(serial).is_some() {
            self.flush();
        }
    }
    /// Records the pending instruction.
    pub fn flush(&mut self) {
        let Some(Pending { data, .. }) = self.pending.take() else { return };
        let Some(eager) = &mut self.eager else {
            self.count_line(data.loc);
            self.builder.inst(data);
            return;
        };
        if !self.failed
            && let Err(d) = eager.exec(self.builder.kernel(), &data)
        {
            self.fail(d);
        }
    }
    fn fail(&mut self, d: Diagnostic) {
        self.diagnostics.push(d);
        self.failed = true;
    }
    /// The values of a view, when the body runs on data.
    pub(crate) fn read(&mut self, id: u32) -> Option<Tensor> {
        self.flush();
        let view = self.view(id).clone();
        let eager = self.eager.as_mut().filter(|_| !self.failed)?;
        match eager.read(self.builder.kernel(), &view) {
            Ok(tensor) => Some(tensor),
            Err(d) => {
                self.fail(d);
                None
            }
        }
    }
    fn count_line(&mut self, loc: Loc) {
        let i = loc.0 as usize;
        if self.per_loc.len() <= i {
            self.per_loc.resize(i + 1, 0);
        }
        self.per_loc[i] += 1;
        if self.per_loc[i] == UNROLL_WARNING {
            let d = Diagnostic::warning(
                Code::Unroll,
                format!("this line has recorded {UNROLL_WARNING} instructions"),
            )
            .note("a plain Rust loop is unrolled: every turn records its own instructions")
            .help("use `nc.range(n)` or `nc.tiles(n, size)`, which stay one loop on the device")
            .at(&self.builder.kernel().locs, loc);
            self.diagnostics.push(d);
        }
    }

    // Loops.

    /// Opens a counted loop with a default variable name.
    pub fn begin_for(&mut self, [lo, hi]: [Bound; 2], step: i64, place: Place) -> (Loop, Var) {
        self.flush();
        let loc = self.loc(place);
        let name = self.names.unique("i");
        let (l, var) = self.builder.begin_for(&name, lo, hi, step, loc);
        self.unnamed.insert(Named::Var(var), ());
        (l, var)
    }
    /// Closes open regions until `depth` are left.
    pub fn close_to(&mut self, depth: usize) {
        self.flush();
        while self.builder.open_regions().len() > depth {
            self.builder.end();
        }
    }
    /// Starts a turn of a loop, if the body runs on data; else `false`.
    pub(crate) fn begin_turn(&mut self) -> bool {
        self.flush();
        if let Some(eager) = &mut self.eager {
            eager.begin_turn();
        }
        self.eager.is_some()
    }
    /// Ends a turn of a loop that runs on data, and starts the next if there is one.
    pub(crate) fn end_turn(&mut self, again: bool) {
        self.flush();
        if let Some(eager) = &mut self.eager {
            eager.end_turn();
            if again {
                eager.begin_turn();
            }
        }
    }
    /// Smallest and largest value of `expr` over the loops that are open.
    pub fn bounds(&self, expr: &Affine) -> (i128, i128) {
        let kernel = self.builder.kernel();
        expr.bounds(|v| kernel.var_range(v).unwrap_or((0, 0)))
    }
}
