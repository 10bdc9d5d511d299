//! What would make a kernel faster, measured: the run is simulated again without the cost in question.
//!
//! Each finding is of one kind at one source line, and its gain is the simulated time of the run less that of a run in which the
//! line's instructions cost what they would cost if the advice were followed completely: reloads nothing, small elements what
//! large ones do, and so on. Gains are upper bounds, each alone; they do not add up.

use super::{Bound, bound, dma, engines};
use crate::code::{Flat, Regs};
use crate::constants::Constants;
use crate::cost::{Ps, compute_cost, ns};
use crate::exec::{Executor, Stop, Visitor};
use crate::options::{Mode, SimOptions};
use crate::program::{MKind, MOperand, STREAM_ENGINES};
use crate::timing::{Info, Machine, Stats, infos};
use crate::verify::VerifiedProgram;
use nki_ir::diag::Diagnostics;
use nki_ir::kernel::Space;
use nki_ir::loc::SourceLoc;
use nki_ir::target::PARTITIONS;
use nki_ir::{DType, Engine, op::TimingClass};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is wasteful.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdviceKind {
    /// Data that was on chip before is loaded again.
    Reload,
    /// Transfers in elements too small for the DMA engines.
    SmallElements,
    /// Transfers so short that starting them is most of their time.
    ShortTransfers,
    /// Instructions on fewer than all partitions.
    Partitions,
    /// Products in float32.
    Float32,
    /// Transposes that take the tensor engine's time.
    Transposes,
    /// Instructions that wait for one another although no engine is busy.
    Chain,
}

impl AdviceKind {
    /// Every kind.
    pub const ALL: [AdviceKind; 7] = [
        AdviceKind::Reload,
        AdviceKind::SmallElements,
        AdviceKind::ShortTransfers,
        AdviceKind::Partitions,
        AdviceKind::Float32,
        AdviceKind::Transposes,
        AdviceKind::Chain,
    ];

    /// A stable name.
    pub fn name(self) -> &'static str {
        match self {
            AdviceKind::Reload => "reload",
            AdviceKind::SmallElements => "small_elements",
            AdviceKind::ShortTransfers => "short_transfers",
            AdviceKind::Partitions => "partitions",
            AdviceKind::Float32 => "float32",
            AdviceKind::Transposes => "transposes",
            AdviceKind::Chain => "chain",
        }
    }

    fn help(self) -> &'static str {
        match self {
            AdviceKind::Reload => {
                "keep it in SBUF for the loop that uses it again, or change the order of the loops"
            }
            AdviceKind::SmallElements => {
                "let the innermost dimension run along the tensor's rows, or load transposed"
            }
            AdviceKind::ShortTransfers => {
                "move more with each transfer: larger tiles, or several rows at once"
            }
            AdviceKind::Partitions => {
                "put the longer axis on the partitions, or work on several blocks at once"
            }
            AdviceKind::Float32 => {
                "convert the operands to bf16 where the accuracy allows it; sums stay in float32"
            }
            AdviceKind::Transposes => "load with dma_transpose, or keep the operand transposed in HBM",
            AdviceKind::Chain => "widen the tiles, or give the loop more buffers so that turns overlap",
        }
    }
}

/// Something to change.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    pub kind: AdviceKind,
    pub at: SourceLoc,
    /// What was found, with figures.
    pub message: String,
    /// What to do.
    pub help: &'static str,
    /// Simulated time of the run less that of one without this cost, in nanoseconds.
    pub gain_ns: f64,
}

/// Lines that are measured of each kind, the costliest first.
const LINES: usize = 3;
/// Smaller shares of the kernel's time are not worth a word.
const WORTH: f64 = 0.01;
/// Descriptor elements below this are small, and what large ones are (machine.md 13.5), in bytes.
const SMALL: u64 = 512;
const LARGE: u64 = 2048;
/// Transfers are short if starting them takes this many times as long as moving their bytes.
const SHORT: u64 = 2;
/// Transfers that would be one if they were longer, at most.
const MERGED: u64 = 8;

/// Instructions of one line that one kind of advice is about.
#[derive(Default)]
struct Group {
    insts: Vec<u32>,
    /// Executions.
    count: u64,
    /// Time that the advice is about, to choose what to measure.
    cost: Ps,
    /// Two figures for the message; what they are depends on the kind.
    figures: [u64; 2],
    name: String,
}

type Groups = BTreeMap<(AdviceKind, String, u32), (SourceLoc, Group)>;

/// What would make the program faster, by what it would gain.
///
/// # Errors
/// What keeps time from being simulated alone: control flow that depends on data, above all.
pub fn advise(program: &VerifiedProgram, options: &SimOptions) -> Result<Vec<Advice>, Diagnostics> {
    let flat = &program.flat;
    let k = options.constants.clone().unwrap_or_else(|| Constants::of(flat.header.target));
    let options = SimOptions { mode: Mode::TimeOnly, adversary: None, ..options.clone() };
    let plain = infos(flat, &k, options.threads());
    let stats = simulate(flat, &k, &plain, &options)?;
    let kernel = duration(&stats);
    if kernel == 0 {
        return Ok(Vec::new());
    }
    let bound = bound(&engines(&stats), &dma(&stats, &plain), ns(kernel));
    let search = Search { flat, k: &k, options: &options, stats: &stats, infos: &plain, bound };
    let mut groups = Groups::new();
    let reloads = Reloads::find(flat, options.max_instructions);
    search.transfers(&reloads, &mut groups);
    search.instructions(&mut groups);
    search.chains(&mut groups);

    let mut found = Vec::new();
    for kind in AdviceKind::ALL {
        let mut of_kind: Vec<_> = groups.iter().filter(|(key, _)| key.0 == kind).map(|(_, v)| v).collect();
        of_kind.sort_by_key(|(_, g)| std::cmp::Reverse(g.cost));
        // One transfer cannot be merged with others, and one turn of a loop overlaps with none.
        if matches!(kind, AdviceKind::ShortTransfers | AdviceKind::Chain) {
            of_kind.retain(|(_, g)| g.count > 1);
        }
        for (at, group) in of_kind.into_iter().take(LINES) {
            let without = search.without(kind, group, &reloads)?;
            let gain = kernel.saturating_sub(without);
            if gain as f64 >= WORTH * kernel as f64 {
                let message = search.message(kind, group);
                found.push(Advice { kind, at: at.clone(), message, help: kind.help(), gain_ns: ns(gain) });
            }
        }
    }
    found.sort_by(|a, b| b.gain_ns.total_cmp(&a.gain_ns));
    Ok(found)
}

fn duration(stats: &Stats) -> Ps {
    stats.end.saturating_sub(stats.first.unwrap_or(0))
}

fn simulate(flat: &Flat, k: &Constants, infos: &[Info], options: &SimOptions) -> Result<Stats, Diagnostics> {
    let mut machine = Machine::new(flat, k, infos, options);
    machine.run()?;
    Ok(machine.stats)
}

struct Search<'a> {
    flat: &'a Flat,
    k: &'a Constants,
    options: &'a SimOptions,
    stats: &'a Stats,
    infos: &'a [Info],
    bound: Bound,
}

impl Search<'_> {
    fn add(&self, groups: &mut Groups, kind: AdviceKind, inst: u32, cost: Ps, figures: [u64; 2]) {
        let Some(at) = self.flat.header.locs.resolve(self.flat.loc(inst)) else { return };
        let key = (kind, at.file.clone(), at.line);
        let (_, group) =
            groups.entry(key).or_insert_with(|| (at, Group { name: self.name(inst), ..Group::default() }));
        group.insts.push(inst);
        group.count += self.stats.insts[inst as usize].count;
        group.cost += cost;
        group.figures = [group.figures[0] + figures[0], group.figures[1] + figures[1]];
    }

    /// What a transfer moves, or what an instruction is called.
    fn name(&self, inst: u32) -> String {
        match &self.flat.insts[inst as usize].kind {
            MKind::Dma { op, operands, .. } => {
                let tensor = |o: &MOperand| match o {
                    MOperand::Access(a) if a.space == Space::Hbm => a
                        .object
                        .and_then(|o| self.flat.header.tensors.get(o as usize))
                        .map(|t| format!("`{}`", t.name)),
                    _ => None,
                };
                operands.iter().find_map(tensor).unwrap_or_else(|| op.name().into())
            }
            MKind::Compute { op, .. } => op.name().into(),
            _ => "control flow".into(),
        }
    }

    fn transfers(&self, reloads: &Reloads, groups: &mut Groups) {
        for (inst, info) in self.infos.iter().enumerate() {
            let (Info::Dma(d), s) = (info, &self.stats.insts[inst]) else { continue };
            if s.count == 0 {
                continue;
            }
            let (inst, bytes) = (inst as u32, d.cost.bytes * s.count);
            if let Some(&again) = reloads.again.get(&inst) {
                self.add(
                    groups,
                    AdviceKind::Reload,
                    inst,
                    s.busy * again / s.count,
                    [d.cost.bytes * again, bytes],
                );
            }
            let elements = d.cost.elements.max(1);
            let larger = d.shape.in_elements_of(LARGE).distribute(self.k, 0);
            let fewer: u64 = larger.iter().map(|s| s.elements).sum();
            if d.cost.bytes / elements < SMALL && fewer < elements {
                self.add(groups, AdviceKind::SmallElements, inst, s.busy, [bytes, elements * s.count]);
            }
            let moving = d.cost.shares.iter().map(|s| s.service).max().unwrap_or(0);
            if d.cost.start + d.cost.trigger > SHORT * moving {
                let starting = (d.cost.start + d.cost.trigger) * s.count;
                self.add(groups, AdviceKind::ShortTransfers, inst, starting, [bytes, 0]);
            }
        }
    }

    fn instructions(&self, groups: &mut Groups) {
        let tensor_busy = self.bound.resource == Engine::Tensor.name();
        for (stream, code) in self.flat.streams.iter().enumerate() {
            for inst in code.iter().filter(|c| c.op == crate::code::CodeOp::Inst).map(|c| c.inst) {
                let s = &self.stats.insts[inst as usize];
                let MKind::Compute { op, operands, .. } = &self.flat.insts[inst as usize].kind else {
                    continue;
                };
                let Info::Compute(info) = &self.infos[inst as usize] else { continue };
                if s.count == 0 {
                    continue;
                }
                let on_tensor = STREAM_ENGINES[stream] == Engine::Tensor;
                if on_tensor && info.transpose && tensor_busy {
                    self.add(groups, AdviceKind::Transposes, inst, s.busy, [0, 0]);
                } else if on_tensor && op.row().timing == TimingClass::Matmul && wide(operands) {
                    self.add(groups, AdviceKind::Float32, inst, s.busy, [0, 0]);
                }
                let used = partitions(operands);
                if !on_tensor && used > 0 && used <= PARTITIONS / 2 {
                    let wasted = s.busy - s.busy * u64::from(used) / u64::from(PARTITIONS);
                    self.add(groups, AdviceKind::Partitions, inst, wasted, [u64::from(used) * s.count, 0]);
                }
            }
        }
    }

    /// Only where waiting decides, and only waits of engines for each other: what loads cost is the other kinds' business.
    fn chains(&self, groups: &mut Groups) {
        if !self.bound.latency {
            return;
        }
        let mut waits: BTreeMap<u32, Ps> = BTreeMap::new();
        for (waiter, producer, time) in self.stats.waits.iter() {
            let computes = |inst: u32| matches!(self.infos[inst as usize], Info::Compute(_));
            if computes(waiter) && computes(producer) {
                *waits.entry(waiter).or_default() += time;
            }
        }
        for (inst, time) in waits {
            self.add(groups, AdviceKind::Chain, inst, time, [time, 0]);
        }
    }

    /// The run's time if the advice were followed.
    fn without(&self, kind: AdviceKind, group: &Group, reloads: &Reloads) -> Result<Ps, Diagnostics> {
        if kind == AdviceKind::Chain {
            let mut flat = self.flat.clone();
            group.insts.iter().for_each(|&i| flat.insts[i as usize].waits.clear());
            return Ok(duration(&simulate(&flat, self.k, self.infos, self.options)?));
        }
        let mut infos = infos(self.flat, self.k, self.options.threads());
        let streams = self.streams();
        for &inst in &group.insts {
            let executions = self.stats.insts[inst as usize].count.max(1);
            match &mut infos[inst as usize] {
                Info::Dma(d) => {
                    match kind {
                        AdviceKind::Reload => {
                            let kept =
                                executions - reloads.again.get(&inst).copied().unwrap_or(0).min(executions);
                            let part = |t: Ps| t * kept / executions;
                            d.cost.shares.iter_mut().for_each(|s| s.service = part(s.service));
                            (d.cost.start, d.cost.trigger, d.cost.issue) =
                                (part(d.cost.start), part(d.cost.trigger), part(d.cost.issue));
                            d.moving = None;
                        }
                        AdviceKind::SmallElements => {
                            d.shape = d.shape.in_elements_of(LARGE);
                            d.cost.shares = d.shape.distribute(self.k, 0);
                        }
                        _ => {
                            let merged = MERGED.min(group.count.max(1));
                            (d.cost.start, d.cost.trigger, d.cost.issue) =
                                (d.cost.start / merged, d.cost.trigger / merged, d.cost.issue / merged);
                        }
                    }
                    d.shares = std::sync::Arc::new(d.cost.shares);
                }
                Info::Compute(c) if kind == AdviceKind::Transposes => {
                    (c.cost.occupancy, c.cost.latency, c.cost.base_occupancy) = (0, 0, 0);
                    c.cost.matmul = None;
                }
                Info::Compute(c) => {
                    if let Some(cost) = self.changed(kind, inst, streams[inst as usize]) {
                        c.cost = cost;
                    }
                }
                Info::Other => {}
            }
        }
        Ok(duration(&simulate(self.flat, self.k, &infos, self.options)?))
    }

    /// The stream of each instruction.
    fn streams(&self) -> Vec<usize> {
        let mut out = vec![0; self.flat.insts.len()];
        for (stream, code) in self.flat.streams.iter().enumerate() {
            code.iter().for_each(|c| out[c.inst as usize] = stream);
        }
        out
    }

    /// The cost of an instruction in bf16, or with its work spread over all partitions.
    fn changed(&self, kind: AdviceKind, inst: u32, stream: usize) -> Option<crate::cost::Cost> {
        let MKind::Compute { op, operands, attrs, .. } = &self.flat.insts[inst as usize].kind else {
            return None;
        };
        let mut operands = operands.clone();
        let used = partitions(&operands).max(1);
        for (spec, o) in op.row().operands.iter().zip(&mut operands) {
            let MOperand::Access(a) = o else { continue };
            match kind {
                AdviceKind::Float32 if a.dtype == DType::F32 && spec.effect == nki_ir::op::Effect::Read => {
                    a.dtype = DType::BF16;
                }
                AdviceKind::Partitions => {
                    if let Some(d) = Arc::make_mut(&mut a.dims).last_mut().filter(|d| d.count > 1) {
                        d.count =
                            (u64::from(d.count) * u64::from(used)).div_ceil(u64::from(PARTITIONS)) as u32;
                    }
                }
                _ => {}
            }
        }
        Some(compute_cost(self.k, STREAM_ENGINES[stream], *op, &operands, attrs))
    }

    fn message(&self, kind: AdviceKind, group: &Group) -> String {
        let (name, count, [a, b]) = (&group.name, group.count, group.figures);
        match kind {
            AdviceKind::Reload => {
                format!("{} of the {} that are loaded of {name} have been loaded before", bytes(a), bytes(b))
            }
            AdviceKind::SmallElements => {
                format!("{} of {name} move in elements of {} bytes on average", bytes(a), a / b.max(1))
            }
            AdviceKind::ShortTransfers => format!(
                "{count} transfers of {name} move {} each, less than starting them takes",
                bytes(a / count.max(1))
            ),
            AdviceKind::Partitions => {
                let used = a / count.max(1);
                format!("{name} works on {used} of {PARTITIONS} partitions ({count} executed)")
            }
            AdviceKind::Float32 => format!("{count} products of float32 take several passes each"),
            AdviceKind::Transposes => format!("{count} transposes keep the tensor engine from products"),
            AdviceKind::Chain => {
                format!("{name} waits {:.2} us for other engines while none is busy", ns(a) / 1e3)
            }
        }
    }
}

fn bytes(n: u64) -> String {
    super::text::bytes(n)
}

/// Whether a product reads float32.
fn wide(operands: &[MOperand]) -> bool {
    operands.iter().skip(1).any(|o| matches!(o, MOperand::Access(a) if a.dtype == DType::F32))
}

/// Partitions of the widest operand on chip.
fn partitions(operands: &[MOperand]) -> u32 {
    let on_chip = operands.iter().filter_map(|o| match o {
        MOperand::Access(a) if a.space.on_chip() => Some(a.partitions),
        _ => None,
    });
    on_chip.max().unwrap_or(0)
}

/// Loads of what has been loaded before, and not been written since.
#[derive(Default)]
struct Reloads {
    /// Per instruction: executions that load again.
    again: BTreeMap<u32, u64>,
    loaded: BTreeSet<(i64, Vec<(i64, u32)>)>,
}

/// Loads that are remembered.
const REMEMBERED: usize = 4_000_000;

/// Executed instructions after which the search for reloads ends.
const EXECUTED: u64 = 20_000_000;

struct Loads<'a> {
    flat: &'a Flat,
    found: Reloads,
    /// Registers, by stream, whose values come from data.
    unknown: BTreeSet<(usize, u32)>,
}

impl Reloads {
    fn find(flat: &Flat, budget: u64) -> Reloads {
        let mut loads = Loads { flat, found: Reloads::default(), unknown: BTreeSet::new() };
        match Executor::new(flat, budget.min(EXECUTED)).run(&mut loads) {
            // Where control flow depends on data, what was found until then counts.
            Ok(()) | Err(Stop::Error(_) | Stop::GiveUp(_)) => loads.found,
        }
    }
}

impl Visitor for Loads<'_> {
    fn instruction(&mut self, stream: usize, inst: u32, regs: &mut Regs) -> Result<(), Stop> {
        let node = &self.flat.insts[inst as usize];
        match &node.kind {
            MKind::RegMove { reg, src } => {
                if src.terms.iter().any(|t| self.unknown(stream, t.0.0)) {
                    self.unknown.insert((stream, reg.0));
                } else {
                    self.unknown.remove(&(stream, reg.0));
                }
                let value = src.eval(regs);
                regs.set(*reg, value);
            }
            MKind::RegLoad { reg, .. } => {
                self.unknown.insert((stream, reg.0));
            }
            _ => {}
        }
        let MKind::Dma { op, operands, .. } = &node.kind else { return Ok(()) };
        let Some((dst, src)) = crate::cost::sides(*op, operands) else { return Ok(()) };
        if dst.space == Space::Hbm {
            // Data written to device memory is news when it is loaded.
            let at = crate::access::Place::new(dst, regs).base;
            let tensor = dst.object.and_then(|o| self.flat.header.tensors.get(o as usize));
            let range = tensor.map_or((at, at + 1), |t| {
                let from = i64::try_from(t.address).unwrap_or(i64::MAX);
                let bytes = crate::verify::tensor_bytes(t).and_then(|n| i64::try_from(n).ok());
                (from, from.saturating_add(bytes.unwrap_or(i64::MAX)))
            });
            let written: Vec<_> =
                self.found.loaded.range((range.0, Vec::new())..(range.1, Vec::new())).cloned().collect();
            written.iter().for_each(|w| {
                self.found.loaded.remove(w);
            });
        } else if src.space == Space::Hbm
            && src.dynamic.is_none()
            && !src.offset.terms.iter().any(|t| self.unknown(stream, t.0.0))
        {
            let place = crate::access::Place::new(src, regs);
            let key = (place.base, place.dims.to_vec());
            if self.found.loaded.contains(&key) {
                *self.found.again.entry(inst).or_default() += 1;
            } else if self.found.loaded.len() < REMEMBERED {
                self.found.loaded.insert(key);
            }
        }
        Ok(())
    }
    fn enter(&mut self, _: usize, _: u32, _: &Regs) -> Result<(), Stop> {
        Ok(())
    }
    fn leave(&mut self, _: usize, _: u32) -> Result<(), Stop> {
        Ok(())
    }
    fn unknown(&self, stream: usize, register: u32) -> bool {
        self.unknown.contains(&(stream, register))
    }
}
