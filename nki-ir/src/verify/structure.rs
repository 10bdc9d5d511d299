//! Structural checks: after them every entity may be followed and every operand and attribute read by its row of the op table.

use super::context::{Report, violation};
use super::flat::{Flat, Malformed, Step};
use super::rules::{self, Rule};
use crate::diag::Diagnostics;
use crate::entity::{Buf, Entity, Inst, Loop, Reg, Var};
use crate::kernel::{Attr, Bound, BufData, BufKind, InstData, Kernel, LoopData, Operand, Space};
use crate::loc::Loc;
use crate::op::{AttrKind, OperandKind};
use crate::view::{Dynamic, Index, View};
use std::cell::RefCell;
use std::collections::BTreeMap;

struct Structure<'a> {
    kernel: &'a Kernel,
    out: &'a RefCell<Diagnostics>,
}

/// Checks the whole kernel. `None` if anything was reported: later checks rely on all of it.
pub fn check(kernel: &Kernel, out: &RefCell<Diagnostics>) -> Option<Flat> {
    let s = Structure { kernel, out };
    let before = out.borrow().len();
    let flat = match Flat::new(kernel) {
        Ok(flat) => flat,
        Err(malformed) => {
            s.malformed(malformed);
            return None;
        }
    };
    for (buf, data) in kernel.bufs.iter() {
        s.buffer(buf, data, &flat);
    }
    s.buffer_names();
    s.steps(&flat);
    (out.borrow().len() == before).then_some(flat)
}

/// Checks the form of one instruction, without its place in the program. Says whether it is well-formed.
pub fn check_inst(kernel: &Kernel, inst: Inst, out: &RefCell<Diagnostics>) -> bool {
    let before = out.borrow().len();
    let s = Structure { kernel, out };
    match kernel.insts.get(inst) {
        None => s.malformed(Malformed::Inst(inst)),
        Some(data) => {
            s.inst(data);
            for (_, view) in views(data) {
                if let Some(buf) = kernel.bufs.get(view.buf) {
                    s.buffer_shape(buf);
                }
            }
        }
    }
    out.borrow().len() == before
}

/// The views of an instruction with the name of their operand: operands, then the index tiles inside them.
pub fn views(data: &InstData) -> impl Iterator<Item = (&'static str, &View)> {
    let row = data.op.row();
    data.operands
        .iter()
        .zip(row.operands)
        .filter_map(|(o, spec)| Some((spec.name, o.view()?)))
        .flat_map(|(name, view)| std::iter::once((name, view)).chain(index_of(view).map(move |i| (name, i))))
}

/// The index tile of a dynamic view.
pub fn index_of(view: &View) -> Option<&View> {
    match view.dynamic.as_ref()? {
        Dynamic::Scalar { index, .. } | Dynamic::Vector { index } | Dynamic::Indirect { index, .. } => {
            Some(index)
        }
        Dynamic::Register { .. } => None,
    }
}

/// The variables of a view's own addresses.
pub fn vars(view: &View) -> Vec<Var> {
    let mut out: Vec<Var> = match &view.index {
        Index::Slice(axes) => axes.iter().flat_map(|a| a.start.terms().iter().map(|t| t.0)).collect(),
        Index::Pattern(p) => p.part.terms().iter().chain(p.offset.terms()).map(|t| t.0).collect(),
    };
    out.sort_unstable();
    out.dedup();
    out
}

/// The registers that an instruction reads.
pub fn registers(data: &InstData) -> impl Iterator<Item = Reg> {
    let dynamic = data.operands.iter().filter_map(|o| match o.view()?.dynamic {
        Some(Dynamic::Register { reg, .. }) => Some(reg),
        _ => None,
    });
    let row = data.op.row();
    let direct = data.operands.iter().zip(row.operands).filter_map(|(o, spec)| match o {
        Operand::Reg(r) if spec.effect != crate::op::Effect::Write => Some(*r),
        _ => None,
    });
    dynamic.chain(direct)
}

impl Structure<'_> {
    fn fail(&self, rule: &'static Rule, loc: Loc, message: String) -> Report<'_> {
        Report::new(violation(rule, message).at(&self.kernel.locs, loc), self.kernel, self.out)
    }

    fn malformed(&self, what: Malformed) {
        let what = match what {
            Malformed::Region(r) => format!("region {r}"),
            Malformed::Loop(l) => format!("loop {l}"),
            Malformed::Inst(i) => format!("instruction {i}"),
            Malformed::Buf(b) => format!("the allocation of buffer {b}"),
        };
        let message = format!("kernel `{}`: {what} is missing or in the program twice", self.kernel.name);
        Report::new(violation(&rules::TREE, message), self.kernel, self.out);
    }

    fn buffer(&self, buf: Buf, data: &BufData, flat: &Flat) {
        self.buffer_shape(data);
        if data.kind == BufKind::Private {
            return;
        }
        if data.space != Space::Hbm {
            self.fail(&rules::ARG_SPACE, data.loc, format!("`{}`: an argument in {}", data.name, data.space))
                .help("declare the tensor in hbm and load it with dma_copy");
        }
        if flat.alloc(buf).is_some() {
            self.fail(
                &rules::TREE,
                data.loc,
                format!("`{}`: an argument is allocated by the caller", data.name),
            );
        }
    }

    fn buffer_shape(&self, data: &BufData) {
        let name = &data.name;
        if let Some(axis) = data.shape.iter().position(|n| *n == 0) {
            self.fail(
                &rules::ZERO_DIM,
                data.loc,
                format!("`{name}`: axis {axis} of {:?} is empty", data.shape),
            )
            .help("skip the work when a dimension is zero, before the kernel is built");
        }
        if !data.space.on_chip() {
            return;
        }
        if data.shape.len() < 2 {
            let message = format!("`{name}`: a tile of rank {} in {}", data.shape.len(), data.space);
            self.fail(&rules::BUF_RANK, data.loc, message)
                .help("use [partitions, 1] for one value per partition");
        } else if data.partitions() > crate::target::PARTITIONS {
            let message = format!("`{name}` has {} partitions, the limit is 128", data.partitions());
            self.fail(&rules::PARTITIONS, data.loc, message).help(
                "loop over tiles of at most 128 partitions, or move the larger dimension to the free axis",
            );
        }
    }

    fn buffer_names(&self) {
        let mut seen = BTreeMap::new();
        for data in self.kernel.bufs.values() {
            if let Some(first) = seen.insert(data.name.as_str(), data.loc) {
                self.fail(&rules::UNIQUE_BUF, data.loc, format!("two buffers are named `{}`", data.name))
                    .related(first, "the other one")
                    .help("rename one of them");
            }
        }
    }

    /// Instructions and loops in program order, with what is in scope.
    fn steps(&self, flat: &Flat) {
        let kernel = self.kernel;
        let mut open = vec![kernel.body];
        // Loops whose body is open, and buffers whose region is open.
        let mut loops = vec![false; kernel.loops.len()];
        let mut live = vec![false; kernel.bufs.len()];
        for (buf, data) in kernel.bufs.iter() {
            live[buf.index()] = data.kind != BufKind::Private;
        }
        let mut here: Vec<Vec<Buf>> = vec![Vec::new()];
        let mut names = BTreeMap::new();
        for (at, step) in flat.steps.iter().enumerate() {
            match *step {
                Step::Alloc(buf) => {
                    live[buf.index()] = true;
                    here.last_mut().into_iter().for_each(|h| h.push(buf));
                }
                Step::Enter(l, region) => {
                    if kernel.loops[l].regions().first() == Some(&region) {
                        self.loop_form(l);
                    }
                    loops[l.index()] = true;
                    open.push(region);
                    here.push(Vec::new());
                }
                Step::Leave(l, _) => {
                    loops[l.index()] = false;
                    open.pop();
                    here.pop().into_iter().flatten().for_each(|b| live[b.index()] = false);
                }
                Step::Inst(inst) => {
                    let data = &kernel.insts[inst];
                    if let Some(name) = &data.name
                        && let Some(first) = names.insert(name.as_str(), data.loc)
                    {
                        let message = format!("two instructions are named `{name}`");
                        self.fail(&rules::UNIQUE_INST, data.loc, message)
                            .related(first, "the other one")
                            .help("rename one of them");
                    }
                    let before = self.out.borrow().len();
                    self.inst(data);
                    if self.out.borrow().len() == before {
                        self.scope(data, at, &live, &loops, flat);
                        self.index_scope(data, &loops);
                    }
                }
            }
        }
    }

    fn loop_form(&self, l: Loop) {
        let data = &self.kernel.loops[l];
        let fail = |message: String| self.fail(&rules::LOOP_FORM, data.loc(), message);
        let reg_exists = |r: Reg| {
            if self.kernel.regs.get(r).is_none() {
                self.fail(&rules::ENTITY, data.loc(), format!("register {r} does not exist"));
            }
        };
        match data {
            LoopData::For { var, lo, hi, step, unroll, .. } => {
                if self.kernel.vars.get(*var).is_none_or(|v| v.owner != l) {
                    self.fail(
                        &rules::ENTITY,
                        data.loc(),
                        format!("variable {var} does not belong to its loop"),
                    );
                    return;
                }
                let name = &self.kernel.vars[*var].name;
                if *step <= 0 || *step > i64::from(i32::MAX) {
                    fail(format!("loop %{name}: the step is {step}"))
                        .help("count up and reverse the index inside");
                }
                for bound in [lo, hi] {
                    let value = match bound {
                        Bound::Const(c) => *c,
                        Bound::Reg { reg, max } => {
                            reg_exists(*reg);
                            *max
                        }
                    };
                    if i32::try_from(value).is_err() {
                        fail(format!("loop %{name}: the bound {value} does not fit 32 bits"));
                    }
                }
                if *unroll == Some(0) {
                    fail(format!("loop %{name}: an unroll factor of 0")).help("use 1 for no unrolling");
                }
            }
            LoopData::While { cond, .. } | LoopData::If { cond, .. } => reg_exists(*cond),
            LoopData::NoReorder { .. } => {}
        }
    }

    /// Operands and attributes against the op table.
    fn inst(&self, data: &InstData) {
        let row = data.op.row();
        let fail =
            |message: String| self.fail(&rules::TABLE_FORM, data.loc, format!("{}: {message}", row.name));
        if data.operands.len() != row.operands.len() || data.attrs.len() != row.attrs.len() {
            fail(format!(
                "{} operands and {} attributes, expected {} and {}",
                data.operands.len(),
                data.attrs.len(),
                row.operands.len(),
                row.attrs.len()
            ));
            return;
        }
        for (operand, spec) in data.operands.iter().zip(row.operands) {
            use OperandKind as K;
            let tile = spec.memories.hbm || spec.memories.sbuf || spec.memories.psum;
            let ok = match operand {
                Operand::None => spec.optional,
                Operand::View(_) => {
                    tile && (spec.kind.is_tile() || matches!(spec.kind, K::ScalarOrVec | K::TileOrScalar))
                }
                Operand::Imm(_) => matches!(spec.kind, K::ScalarOrVec | K::TileOrScalar),
                Operand::Int(_) => {
                    matches!(spec.kind, K::ScalarOrVec | K::TileOrScalar | K::IntOrReg | K::IndexOrReg)
                }
                Operand::Reg(_) => matches!(spec.kind, K::Reg | K::IntOrReg | K::IndexOrReg),
                Operand::Index(_) => spec.kind == K::IndexOrReg,
            };
            if !ok {
                let got = match operand {
                    Operand::None => "nothing",
                    Operand::View(_) => "a tile",
                    Operand::Imm(_) => "a number",
                    Operand::Int(_) => "an integer",
                    Operand::Reg(_) => "a register",
                    Operand::Index(_) => "a position in a loop",
                };
                fail(format!("{} cannot be {got}", spec.name));
            }
            match operand {
                Operand::View(view) => {
                    self.view(data, spec.name, view);
                    if let Some(index) = index_of(view) {
                        if index.dynamic.is_some() {
                            let message =
                                format!("{}: the index of {} is dynamic itself", row.name, spec.name);
                            self.fail(&rules::DYNAMIC_NESTED, data.loc, message);
                        } else {
                            self.view(data, spec.name, index);
                        }
                    }
                    if let Some(Dynamic::Register { reg, .. }) = view.dynamic {
                        self.reg(data, reg);
                    }
                }
                Operand::Reg(reg) => self.reg(data, *reg),
                Operand::Index(a) => {
                    for (v, _) in a.terms().iter().filter(|t| self.kernel.vars.get(t.0).is_none()) {
                        let message = format!("{}: variable {v} does not exist", data.op);
                        self.fail(&rules::ENTITY, data.loc, message);
                    }
                }
                _ => {}
            }
        }
        for (attr, spec) in data.attrs.iter().zip(row.attrs) {
            if kind_of(attr) != Some(spec.kind) {
                let got = if *attr == Attr::None { "missing" } else { "of the wrong kind" };
                fail(format!("{} is {got}", spec.name));
            }
        }
    }

    fn reg(&self, data: &InstData, reg: Reg) {
        if self.kernel.regs.get(reg).is_none() {
            self.fail(&rules::ENTITY, data.loc, format!("{}: register {reg} does not exist", data.op));
        }
    }

    fn view(&self, data: &InstData, operand: &str, view: &View) {
        let op = data.op.name();
        let Some(buf) = self.kernel.bufs.get(view.buf) else {
            let message = format!("{op}: {operand} refers to buffer {}, which does not exist", view.buf);
            self.fail(&rules::ENTITY, data.loc, message);
            return;
        };
        if let Some(v) = vars(view).into_iter().find(|v| self.kernel.vars.get(*v).is_none()) {
            let message =
                format!("{op}: {operand} `{}` refers to variable {v}, which does not exist", buf.name);
            self.fail(&rules::ENTITY, data.loc, message);
            return;
        }
        let fail = |message: String| {
            self.fail(&rules::VIEW_FORM, data.loc, format!("{op}: {operand} `{}`: {message}", buf.name));
        };
        let empty = |what: String| {
            let message = format!("{op}: {operand} `{}`: {what} is empty", buf.name);
            self.fail(&rules::ZERO_DIM, data.loc, message)
                .help("skip the instruction when there is nothing to compute");
        };
        match &view.index {
            Index::Slice(axes) => {
                if axes.len() != buf.shape.len() {
                    return fail(format!("{} indices for a buffer of rank {}", axes.len(), buf.shape.len()));
                }
                if view.dtype != buf.dtype {
                    fail(format!("a slice of {} read as {}", buf.dtype, view.dtype));
                }
                for (i, axis) in axes.iter().enumerate() {
                    if axis.count == 0 {
                        empty(format!("axis {i}"));
                    } else if axis.step == 0 || (axis.drop && axis.count != 1) {
                        fail(format!("axis {i} takes {} elements in steps of {}", axis.count, axis.step));
                    }
                }
            }
            Index::Pattern(p) => {
                if let Some(i) = p.dims.iter().position(|d| d.count == 0) {
                    empty(format!("dimension {i} of the pattern"));
                }
                if p.parts == 0 {
                    empty("the partition range".into());
                }
                if !buf.space.on_chip() && (p.parts != 1 || p.part.as_constant() != Some(0)) {
                    fail("an HBM tensor has no partitions".into());
                }
            }
        }
    }

    /// Whether the buffers and variables of a well-formed instruction are in scope.
    fn scope(&self, data: &InstData, at: usize, live: &[bool], loops: &[bool], flat: &Flat) {
        for (operand, view) in views(data) {
            let buf = &self.kernel.bufs[view.buf];
            if !live[view.buf.index()] {
                self.buffer_scope(data, at, operand, view.buf, flat);
            }
            for v in vars(view) {
                let var = &self.kernel.vars[v];
                if !loops.get(var.owner.index()).is_some_and(|open| *open) {
                    let message =
                        format!("{}: {operand} `{}` uses %{} outside its loop", data.op, buf.name, var.name);
                    self.fail(&rules::VAR_SCOPE, data.loc, message).help("move the access into the loop");
                }
            }
        }
    }

    /// Whether the variables of an operand that is a position are in scope.
    fn index_scope(&self, data: &InstData, loops: &[bool]) {
        for (operand, spec) in data.operands.iter().zip(data.op.row().operands) {
            let Operand::Index(a) = operand else { continue };
            for (v, _) in a.terms() {
                let var = &self.kernel.vars[*v];
                if !loops.get(var.owner.index()).is_some_and(|open| *open) {
                    let message = format!("{}: {} uses %{} outside its loop", data.op, spec.name, var.name);
                    self.fail(&rules::VAR_SCOPE, data.loc, message)
                        .help("move the instruction into the loop");
                }
            }
        }
    }

    fn buffer_scope(&self, data: &InstData, at: usize, operand: &str, b: Buf, flat: &Flat) {
        let buf = &self.kernel.bufs[b];
        let ended = flat.alloc(b).and_then(|(region, _)| flat.span(region)).map(|s| s.leave);
        if ended.is_some_and(|ended| ended < at) {
            let message =
                format!("{}: {operand} `{}` was allocated in a loop that has ended", data.op, buf.name);
            self.fail(&rules::ESCAPE, data.loc, message)
                .related(buf.loc, format!("`{}` is allocated here, inside the loop", buf.name))
                .help("allocate the tile before the loop");
        } else {
            let message = format!("{}: {operand} `{}` is used before it is allocated", data.op, buf.name);
            self.fail(&rules::UNDEFINED, data.loc, message)
                .related(buf.loc, format!("`{}` is {}", buf.name, super::context::type_of(buf)))
                .help("allocate the buffer first");
        }
    }
}

/// The kind of an attribute's value.
fn kind_of(attr: &Attr) -> Option<AttrKind> {
    Some(match attr {
        Attr::None => return None,
        Attr::Bool(_) => AttrKind::Bool,
        Attr::Int(_) => AttrKind::Int,
        Attr::F32(_) => AttrKind::F32,
        Attr::Ints(_) => AttrKind::Ints,
        Attr::Pairs(_) => AttrKind::Pairs,
        Attr::Alu(_) => AttrKind::Alu,
        Attr::Act(_) => AttrKind::Act,
        Attr::ReduceCmd(_) => AttrKind::ReduceCmd,
        Attr::Accumulate(_) => AttrKind::Accumulate,
        Attr::Oob(_) => AttrKind::Oob,
        Attr::Dge(_) => AttrKind::Dge,
        Attr::Engine(_) => AttrKind::Engine,
        Attr::MatmulPerf(_) => AttrKind::MatmulPerf,
        Attr::Text(_) => AttrKind::Text,
    })
}
