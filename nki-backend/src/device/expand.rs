//! Expand: static loops become a linear stream of [`Item`]s with concrete addresses, every allocation of every iteration an
//! [`Instance`] of its own. A loop larger than the unroll budget stays a hardware loop: its body is expanded once and its
//! counter remains a register. A loop whose bound is in a register becomes several ([`Expander::together`]): one that takes many turns of
//! the source at a time, which overlap as those of an unrolled loop do, and behind it the ones that take what is left. Memory per item is a few dozen bytes; everything that iterations share is in the template.

use crate::device::legalise::{Form, Template, ViewForm};
use crate::device::options::{CompileOptions, Pass};
use nki_ir::entity::Entity;
use nki_ir::kernel::{Accumulate, Bound, BufKind, LoopData, Node};
use nki_ir::op::Effect;
use nki_ir::{Affine, Buf, Code, Diagnostic, Diagnostics, Kernel, Loc, Loop, Region, Var};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::ops::Range;

/// No instance, no group.
pub const NONE: u32 = u32::MAX;

/// One instruction of the linear stream.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub template: u32,
    /// Its first entry in [`Stream::accesses`]: one per view of the template, in that order.
    pub accesses: u32,
    /// The `no_reorder` region it belongs to, or [`NONE`].
    pub group: u32,
    /// A matmul adds to its destination in this turn (or may, inside a hardware loop).
    pub adds: bool,
    /// Whether it adds depends on hardware loop counters alone.
    pub conditional: bool,
    /// The hardware loops around it: an entry of [`Stream::nests`].
    pub nest: u32,
}

/// What an item's view touches, relative to its instance. Terms in hardware loop counters are left out; they are the same
/// for all items of a template.
#[derive(Clone, Copy, Debug)]
pub struct ItemAccess {
    pub instance: u32,
    pub part: u32,
    /// Bytes.
    pub offset: i64,
}

/// One allocation of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub buf: Buf,
    /// First item that touches it (for tensors of the signature: the first item of all).
    pub first: u32,
    /// Last item that touches it.
    pub last: u32,
}

/// A hardware loop that encloses a block. Its counter runs `0, 1, .. trip - 1`; in the first turn of the source that one of
/// its turns holds, the source variable is `lo + step · counter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HardLoop {
    pub source: Loop,
    pub var: Var,
    pub lo: i64,
    pub step: i64,
    /// From one turn of the source to the next.
    pub source_step: i64,
    pub trip: u64,
    /// Nesting depth, 0 outermost; also the number of the register that counts it.
    pub depth: u32,
    /// Bounds in registers. The counter is then the variable itself: `lo` is 0 and `step` is 1.
    pub dynamic: Option<DynamicBounds>,
}

/// The bounds of a loop of which one is in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DynamicBounds {
    pub lo: Bound,
    pub hi: Bound,
    pub step: i64,
    /// Turns of the source in one of its own. With more than one, `lo` is 0 and `step`, of the source, is 1.
    pub turns: u32,
    /// Which of the loops that one loop of the source has become, and whether it is the last.
    pub level: u32,
    pub last: bool,
}

/// The structure above the items.
#[derive(Clone, Debug)]
pub enum Block {
    Straight(Range<u32>),
    Loop(HardLoop, Vec<Block>),
    /// A register instruction.
    Register(u32),
    /// A `while` loop.
    While(Loop, Vec<Block>),
    /// Both sides of a branch.
    Branch(Loop, [Vec<Block>; 2]),
}

impl Block {
    /// The blocks inside.
    pub fn bodies(&self) -> SmallVec<[&[Block]; 2]> {
        match self {
            Block::Straight(_) | Block::Register(_) => SmallVec::new(),
            Block::Loop(_, body) | Block::While(_, body) => SmallVec::from_slice(&[body.as_slice()]),
            Block::Branch(_, [then, otherwise]) => {
                SmallVec::from_slice(&[then.as_slice(), otherwise.as_slice()])
            }
        }
    }
}

/// The expanded kernel.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    pub items: Vec<Item>,
    pub accesses: Vec<ItemAccess>,
    pub instances: Vec<Instance>,
    pub blocks: Vec<Block>,
    /// Loops kept as hardware loops.
    pub loops: Vec<HardLoop>,
    /// Sets of hardware loops that are open at once, outermost first. The first is empty.
    pub nests: Vec<SmallVec<[HardLoop; 2]>>,
    /// The values that register instructions take from loop variables, by item; terms in counters are left out.
    pub positions: BTreeMap<u32, i64>,
}

impl Stream {
    /// Whether it is one straight block: no loop is kept, and no register set.
    pub fn is_straight(&self) -> bool {
        self.blocks.iter().all(|b| matches!(b, Block::Straight(_)))
    }
    /// The hardware loops around item `i`: not those of whose turns it is one that was left over.
    pub fn loops_around(&self, i: u32) -> &[HardLoop] {
        &self.nests[self.items[i as usize].nest as usize]
    }
    /// The accesses of item `i`.
    pub fn accesses_of(&self, i: usize) -> &[ItemAccess] {
        let end = self.items.get(i + 1).map_or(self.accesses.len(), |n| n.accesses as usize);
        &self.accesses[self.items[i].accesses as usize..end]
    }
}

/// Expands the kernel.
pub fn expand(
    kernel: &Kernel,
    templates: &[Template],
    options: &CompileOptions,
) -> Result<Stream, Diagnostics> {
    let mut e = Expander {
        kernel,
        templates,
        hard: hardware_loops(kernel, options.unroll_budget)?,
        values: vec![0; kernel.vars.len()],
        first_turn: vec![true; kernel.vars.len()],
        hard_vars: vec![false; kernel.vars.len()],
        current: vec![NONE; kernel.bufs.len()],
        group: NONE,
        pipelined: if options.runs(Pass::PipelineLoops) { 0 } else { PIPELINED },
        open: SmallVec::new(),
        nest: 0,
        out: Stream { nests: vec![SmallVec::new()], ..Stream::default() },
    };
    for (buf, data) in kernel.bufs.iter() {
        if data.kind != BufKind::Private {
            e.allocate(buf);
        }
    }
    e.run()?;
    let end = e.out.items.len().saturating_sub(1) as u32;
    for i in &mut e.out.instances {
        if kernel.bufs[i.buf].kind != BufKind::Private {
            (i.first, i.last) = (0, end);
        }
    }
    Ok(e.out)
}

/// Instructions that one turn of a hardware loop holds if the compiler chooses: enough that filling and draining the pipeline
/// at its ends costs little.
const TURN: u64 = 20_000;

/// Turns of a loop on registers taken at a time, by the first loop that it becomes and by the second; the third takes one.
const TURNS: u32 = 16;
const FEW_TURNS: u32 = 4;

/// How many loops on registers become several: each takes registers of the sequencers.
const PIPELINED: u32 = 4;

/// Which loops stay hardware loops: those that unroll to more than `budget` instructions, and those around loops and branches
/// on registers, which exist once. When what remains is still more than `budget` in all, smaller loops stay, too.
///
/// A schedule's `unroll n` makes a hardware loop of `n` turns each of one with more than `n` turns; others unroll whole.
/// By loop: turns of the source in one of the hardware loop, 0 for a loop that unrolls.
fn hardware_loops(kernel: &Kernel, budget: u64) -> Result<Vec<u32>, Diagnostics> {
    let mut limit = budget;
    loop {
        let (hard, total) = loops_beyond(kernel, limit)?;
        if total <= budget || limit == 0 {
            return Ok(hard);
        }
        limit /= 2;
    }
}

/// The loops that stay if none may unroll to more than `limit`, and how many instructions there are then. Sizes are summed from
/// the inside out without recursion: `order` lists a region before what is nested in it.
fn loops_beyond(kernel: &Kernel, limit: u64) -> Result<(Vec<u32>, u64), Diagnostics> {
    let mut hard = vec![0u32; kernel.loops.len()];
    let mut errors = Diagnostics::new();
    let mut size = vec![0u64; kernel.regions.len()];
    let mut dynamic = vec![false; kernel.regions.len()];
    let mut order = vec![kernel.body];
    let mut next = 0;
    while let Some(&region) = order.get(next) {
        next += 1;
        for node in &kernel.regions[region].nodes {
            if let Node::Loop(l) = node {
                order.extend(kernel.loops[*l].regions());
            }
        }
    }
    for &region in order.iter().rev() {
        let mut total = 0u64;
        for node in &kernel.regions[region].nodes {
            total = total.saturating_add(match node {
                Node::Alloc(_) => 0,
                Node::Inst(_) => 1,
                Node::Loop(l) => {
                    let data = &kernel.loops[*l];
                    let body = data.regions().iter().fold(0u64, |s, r| s.saturating_add(size[r.index()]));
                    let trip = data.trip_count().unwrap_or(1);
                    let unrolled = body.saturating_mul(trip);
                    let inside = data.regions().iter().any(|r| dynamic[r.index()]);
                    dynamic[region.index()] |= inside || data.is_dynamic();
                    hard[l.index()] = match data {
                        LoopData::For { unroll: Some(n), var, loc, .. }
                            if *n > 1 && trip > 1 && inside || *n > 1 && data.is_dynamic() =>
                        {
                            errors.push(on_registers(kernel, *var, *loc, *n));
                            1
                        }
                        _ if inside => u32::from(trip > 1),
                        LoopData::For { unroll: Some(n), .. } if trip <= u64::from(*n) => 0,
                        LoopData::For { unroll: Some(n), .. } => (*n).max(1),
                        LoopData::For { .. } if unrolled > limit => turns_of(body, trip, limit),
                        _ => 0,
                    };
                    match hard[l.index()] {
                        0 => unrolled,
                        turns => body.saturating_mul(u64::from(turns) + trip % u64::from(turns)),
                    }
                }
            });
        }
        size[region.index()] = total;
    }
    if errors.has_errors() { Err(errors) } else { Ok((hard, size[kernel.body.index()])) }
}

/// How many turns of a loop the compiler puts into one of a hardware loop: as many as make [`TURN`] instructions, rather a
/// divisor of `trip` than more of them. What is left over is unrolled behind the loop.
fn turns_of(body: u64, trip: u64, limit: u64) -> u32 {
    let most = (TURN.min(limit) / body.max(1)).clamp(1, trip.max(1));
    let divisor = (most.div_ceil(2)..=most).rev().find(|d| trip.is_multiple_of(*d));
    u32::try_from(divisor.unwrap_or(most)).unwrap_or(u32::MAX)
}

fn on_registers(kernel: &Kernel, var: Var, loc: Loc, n: u32) -> Diagnostic {
    let name = &kernel.vars[var].name;
    let text =
        format!("`{name}` cannot be unrolled {n} times: it runs, or holds what runs, as registers say");
    Diagnostic::error(Code::Schedule, text).at(&kernel.locs, loc).help("leave out the unrolling of this loop")
}

/// A region being walked, and what happens at its end.
struct Frame {
    region: Region,
    node: usize,
    then: Then,
}

enum Then {
    Return,
    /// The next turn of an unrolled loop.
    Repeat {
        var: Var,
        step: i64,
        hi: i64,
    },
    /// Close a hardware loop whose items began at `.1`, after `.3` more turns of the source; the blocks before it are `.2`.
    Close(HardLoop, u32, Vec<Block>, u32),
    /// Close a `while` loop whose items began at `.1`; the blocks before it are `.2`.
    CloseWhile(Loop, u32, Vec<Block>),
    /// Go on with the other side of a branch.
    Otherwise(Loop, Region, Vec<Block>),
    /// Close a branch whose first side is `.1`; the blocks before it are `.2`.
    CloseBranch(Loop, Vec<Block>, Vec<Block>),
    EndGroup,
}

struct Expander<'a> {
    kernel: &'a Kernel,
    templates: &'a [Template],
    hard: Vec<u32>,
    values: Vec<i64>,
    first_turn: Vec<bool>,
    hard_vars: Vec<bool>,
    current: Vec<u32>,
    group: u32,
    /// Loops on registers that have become several.
    pipelined: u32,
    /// Hardware loops that are open, and their number in [`Stream::nests`].
    open: SmallVec<[HardLoop; 2]>,
    nest: u32,
    out: Stream,
}

impl Expander<'_> {
    fn enter_loop(&mut self, l: HardLoop) {
        // An unrolled loop around it brings it here several times.
        if !self.out.loops.contains(&l) {
            self.out.loops.push(l);
        }
        self.hard_vars[l.var.index()] = true;
        self.open.push(l);
        self.find_nest();
    }

    fn leave_loop(&mut self, l: &HardLoop) {
        self.hard_vars[l.var.index()] = false;
        self.open.pop();
        self.find_nest();
    }

    fn find_nest(&mut self) {
        let known = self.out.nests.iter().position(|n| *n == self.open);
        self.nest = known.unwrap_or_else(|| {
            self.out.nests.push(self.open.clone());
            self.out.nests.len() - 1
        }) as u32;
    }

    fn run(&mut self) -> Result<(), Diagnostics> {
        let mut stack = vec![Frame { region: self.kernel.body, node: 0, then: Then::Return }];
        let mut blocks: Vec<Block> = Vec::new();
        let mut begin = 0u32;
        let mut depth = 0u32;
        while let Some(frame) = stack.last_mut() {
            let Some(&node) = self.kernel.regions[frame.region].nodes.get(frame.node) else {
                if let Then::Repeat { var, step, hi } = frame.then {
                    let v = &mut self.values[var.index()];
                    *v += step;
                    self.first_turn[var.index()] = false;
                    if *v < hi {
                        frame.node = 0;
                        continue;
                    }
                }
                if let Then::Close(l, .., more) = &mut frame.then
                    && *more > 0
                {
                    *more -= 1;
                    self.values[l.var.index()] += l.source_step;
                    self.first_turn[l.var.index()] = false;
                    frame.node = 0;
                    continue;
                }
                let done = stack.pop().expect("the frame was just there");
                match done.then {
                    Then::EndGroup => self.group = NONE,
                    Then::Close(l, from, outer, _) => {
                        self.close(&mut blocks, &mut begin);
                        self.extend_lives(from);
                        self.leave_loop(&l);
                        let body = std::mem::replace(&mut blocks, outer);
                        blocks.push(Block::Loop(l, body));
                        depth -= 1;
                        if let Some(next) = self.next_level(&l) {
                            depth += 1;
                            let from = self.out.items.len() as u32;
                            let then = self.enter_level(next, from, &mut blocks);
                            stack.push(Frame { region: done.region, node: 0, then });
                        }
                        if let Some(hi) = self.left_over(&l) {
                            let then = Then::Repeat { var: l.var, step: l.source_step, hi };
                            stack.push(Frame { region: done.region, node: 0, then });
                        }
                    }
                    Then::CloseWhile(l, from, outer) => {
                        self.close(&mut blocks, &mut begin);
                        self.extend_lives(from);
                        let body = std::mem::replace(&mut blocks, outer);
                        blocks.push(Block::While(l, body));
                    }
                    Then::Otherwise(l, otherwise, outer) => {
                        self.close(&mut blocks, &mut begin);
                        let then = Then::CloseBranch(l, std::mem::take(&mut blocks), outer);
                        stack.push(Frame { region: otherwise, node: 0, then });
                    }
                    Then::CloseBranch(l, first, outer) => {
                        self.close(&mut blocks, &mut begin);
                        let second = std::mem::replace(&mut blocks, outer);
                        blocks.push(Block::Branch(l, [first, second]));
                    }
                    Then::Return | Then::Repeat { .. } => {}
                }
                continue;
            };
            frame.node += 1;
            match node {
                Node::Alloc(buf) => self.allocate(buf),
                Node::Inst(inst) if self.templates[inst.index()].fused => {}
                Node::Inst(inst) if self.templates[inst.index()].is_register() => {
                    self.close(&mut blocks, &mut begin);
                    self.item(inst.0)?;
                    begin = self.out.items.len() as u32;
                    blocks.push(Block::Register(begin - 1));
                }
                Node::Inst(inst) => self.item(inst.0)?,
                Node::Loop(l) => match &self.kernel.loops[l] {
                    LoopData::NoReorder { body, .. } => {
                        let outermost = self.group == NONE;
                        if outermost {
                            self.group = l.0;
                        }
                        let then = if outermost { Then::EndGroup } else { Then::Return };
                        stack.push(Frame { region: *body, node: 0, then });
                    }
                    LoopData::For { var, lo: Bound::Const(lo), hi: Bound::Const(hi), step, body, .. } => {
                        let trip = self.kernel.loops[l].trip_count().unwrap_or(0);
                        if trip == 0 {
                            continue;
                        }
                        self.first_turn[var.index()] = true;
                        let turns = self.hard[l.index()];
                        let then = if turns > 0 {
                            self.close(&mut blocks, &mut begin);
                            let hard = HardLoop {
                                source: l,
                                var: *var,
                                lo: *lo,
                                step: step * i64::from(turns),
                                source_step: *step,
                                trip: trip / u64::from(turns),
                                depth,
                                dynamic: None,
                            };
                            depth += 1;
                            self.enter_loop(hard);
                            // The constant part of an address is its value in the first turn.
                            self.values[var.index()] = *lo;
                            let before = std::mem::take(&mut blocks);
                            Then::Close(hard, self.out.items.len() as u32, before, turns - 1)
                        } else {
                            self.values[var.index()] = *lo;
                            Then::Repeat { var: *var, step: *step, hi: *hi }
                        };
                        stack.push(Frame { region: *body, node: 0, then });
                    }
                    &LoopData::For { var, lo, hi, step, body, .. } => {
                        // A loop that never runs, whatever its registers hold.
                        if self.kernel.var_range(var).is_none() {
                            continue;
                        }
                        self.close(&mut blocks, &mut begin);
                        let turns = self.together(body, lo, hi, step);
                        self.pipelined += u32::from(turns > 1);
                        let last = turns == 1;
                        let dynamic = Some(DynamicBounds { lo, hi, step, turns, level: 0, last });
                        let hard = HardLoop {
                            source: l,
                            var,
                            lo: 0,
                            step: 1,
                            source_step: 1,
                            trip: 1,
                            depth,
                            dynamic,
                        };
                        depth += 1;
                        let from = self.out.items.len() as u32;
                        let then = self.enter_level(hard, from, &mut blocks);
                        stack.push(Frame { region: body, node: 0, then });
                    }
                    &LoopData::While { body, .. } => {
                        self.close(&mut blocks, &mut begin);
                        let from = self.out.items.len() as u32;
                        let then = Then::CloseWhile(l, from, std::mem::take(&mut blocks));
                        stack.push(Frame { region: body, node: 0, then });
                    }
                    &LoopData::If { then: first, otherwise, .. } => {
                        self.close(&mut blocks, &mut begin);
                        let then = Then::Otherwise(l, otherwise, std::mem::take(&mut blocks));
                        stack.push(Frame { region: first, node: 0, then });
                    }
                },
            }
        }
        self.close(&mut blocks, &mut begin);
        self.out.blocks = blocks;
        Ok(())
    }

    /// Opens a loop on registers; its items begin at `from`.
    fn enter_level(&mut self, l: HardLoop, from: u32, blocks: &mut Vec<Block>) -> Then {
        self.enter_loop(l);
        self.first_turn[l.var.index()] = true;
        self.values[l.var.index()] = 0;
        let turns = l.dynamic.map_or(1, |d| d.turns);
        Then::Close(l, from, std::mem::take(blocks), turns - 1)
    }

    /// Turns at a time of the first of the loops that a loop on registers becomes; of the last it is one. Only a loop that counts from 0
    /// by 1 is taken apart: where the others begin is in a register, of which nothing else is known.
    fn together(&self, body: Region, lo: Bound, hi: Bound, step: i64) -> u32 {
        let (Bound::Const(0), Bound::Reg { max, .. }, 1) = (lo, hi, step) else { return 1 };
        if self.pipelined == PIPELINED {
            return 1;
        }
        let room = self.straight_size(body).map_or(1, |size| TURN / 2 / size.max(1));
        room.min(max.max(0) as u64 / 2).clamp(1, TURNS.into()) as u32
    }

    /// The loop behind a loop on registers that takes what that one leaves.
    fn next_level(&self, l: &HardLoop) -> Option<HardLoop> {
        let d = l.dynamic.filter(|d| !d.last)?;
        let turns = if d.level == 0 { FEW_TURNS.min(d.turns / 4).max(1) } else { 1 };
        let d = DynamicBounds { turns, level: d.level + 1, last: turns == 1, ..d };
        Some(HardLoop { dynamic: Some(d), ..*l })
    }

    /// Instructions of a region if it expands to a straight block, without registers and kept loops.
    fn straight_size(&self, region: Region) -> Option<u64> {
        let mut sum = 0u64;
        let mut open = vec![(region, 1u64)];
        while let Some((region, times)) = open.pop() {
            for node in &self.kernel.regions[region].nodes {
                match node {
                    Node::Alloc(_) => {}
                    Node::Inst(i) if self.templates[i.index()].is_register() => return None,
                    Node::Inst(_) => sum = sum.saturating_add(times),
                    Node::Loop(l) => match &self.kernel.loops[*l] {
                        LoopData::NoReorder { body, .. } => open.push((*body, times)),
                        data @ LoopData::For { body, .. } if self.hard[l.index()] == 0 => {
                            open.push((*body, times.saturating_mul(data.trip_count()?)));
                        }
                        _ => return None,
                    },
                }
            }
        }
        Some(sum)
    }

    /// Whether turns of the source are left over behind a hardware loop, which are unrolled: its upper bound. The variable is
    /// set to the first of them.
    fn left_over(&mut self, l: &HardLoop) -> Option<i64> {
        let LoopData::For { hi: Bound::Const(hi), .. } = self.kernel.loops[l.source] else { return None };
        let next = l.lo + l.step * l.trip as i64;
        if l.dynamic.is_some() || next >= hi {
            return None;
        }
        self.values[l.var.index()] = next;
        self.first_turn[l.var.index()] = false;
        Some(hi)
    }

    /// Ends the straight block that began at item `begin`.
    fn close(&mut self, blocks: &mut Vec<Block>, begin: &mut u32) {
        let end = self.out.items.len() as u32;
        if end > *begin {
            blocks.push(Block::Straight(*begin..end));
        }
        *begin = end;
    }

    fn allocate(&mut self, buf: Buf) {
        self.current[buf.index()] = self.out.instances.len() as u32;
        self.out.instances.push(Instance { buf, first: NONE, last: NONE });
    }

    fn item(&mut self, template: u32) -> Result<(), Diagnostics> {
        let templates = self.templates;
        let t = &templates[template as usize];
        let here = self.out.items.len() as u32;
        let (adds, conditional) = match &t.accumulate {
            Accumulate::Add => (true, false),
            Accumulate::UnlessFirst(vars) => {
                let hard = vars.iter().any(|v| self.hard_vars[v.index()]);
                let later = vars.iter().any(|v| !self.first_turn[v.index()]);
                (later || hard, !later && hard)
            }
            Accumulate::Overwrite | Accumulate::Auto => (false, false),
        };
        self.out.items.push(Item {
            template,
            accesses: self.out.accesses.len() as u32,
            group: self.group,
            adds,
            conditional,
            nest: self.nest,
        });
        if let Some(Form::Index(a)) = t.operands.get(1) {
            self.out.positions.insert(here, self.eval(a));
        }
        for v in t.views() {
            let access = self.access(v, t)?;
            let i = &mut self.out.instances[access.instance as usize];
            if i.first == NONE {
                i.first = here;
            }
            i.last = here;
            self.out.accesses.push(access);
        }
        Ok(())
    }

    fn access(&self, v: &ViewForm, t: &Template) -> Result<ItemAccess, Diagnostics> {
        let instance = self.current[v.buf.index()];
        let offset = self.eval(&v.offset) * v.dtype.bytes() as i64;
        let part = u32::try_from(self.eval(&v.part)).ok();
        let (Some(part), true) = (part, instance != NONE) else {
            let text =
                format!("`{}` is used outside the iteration that allocates it", self.kernel.bufs[v.buf].name);
            return Err(Diagnostic::error(Code::Escape, text).at(&self.kernel.locs, t.loc).into());
        };
        Ok(ItemAccess { instance, part, offset })
    }

    fn eval(&self, a: &Affine) -> i64 {
        a.eval(|v| self.values[v.index()])
    }

    /// What was allocated before a hardware loop and is used in it lives until the loop ends, and from before it begins.
    fn extend_lives(&mut self, from: u32) {
        let end = self.out.items.len() as u32;
        if end == from {
            return;
        }
        let start = self.out.items[from as usize].accesses as usize;
        let used: SmallVec<[u32; 16]> = self.out.accesses[start..].iter().map(|a| a.instance).collect();
        for i in used {
            let i = &mut self.out.instances[i as usize];
            if i.first < from {
                i.last = end - 1;
            }
        }
    }
}

/// Whether a view is written by an item.
pub fn writes(v: &ViewForm) -> bool {
    v.effect != Effect::Read
}

/// Whether a view is read by an item. A matmul reads its destination in the turns in which it adds.
pub fn reads(v: &ViewForm, item: &Item) -> bool {
    match v.effect {
        Effect::Read | Effect::Update => true,
        Effect::Write => false,
        Effect::ReadWrite => item.adds,
    }
}
