//! Simulated time: sequencers, data paths, semaphores and DMA engines as one deterministic event simulation (machine.md 13, 14).
//!
//! A sequencer takes its next instruction when the previous one has issued; events are ordered by (time, actor, sequence number).
//! Data take effect when an instruction issues and when a transfer completes, which no race-free program can tell from the
//! real instants (machine.md 14.9).

mod dma;
mod pair;
mod path;
mod semaphore;
mod sequencer;
mod stack;
mod stats;
mod sync;
mod throttle;
mod timeline;
mod transfer;

pub use pair::Core;
pub use stats::Stall;
pub(crate) use stats::{EngineStats, Executed, Link, Stats};
pub(crate) use timeline::{BINS, DMA_ROW};

use crate::code::{CodeOp, Flat, Regs};
use crate::constants::{Constants, DMA_ENGINES, DMA_RINGS};
use crate::cost::{Cost, DmaCost, DmaShape, Ps, Share, compute_cost, dma_shape, ps};
use crate::data::{Data, Resolved};
use crate::hazard::Tracker;
use crate::options::SimOptions;
use crate::program::{MKind, MOperand, STREAM_ENGINES};
use crate::random::Random;
use crate::trace::TraceSink;
use dma::{Due, Engines};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::Space;
use nki_ir::op::Engine;
use pair::Happened;
use path::Path;
use semaphore::{Delays, Semaphore};
use sequencer::Sequencer;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use sync::SyncTable;
use transfer::Transfer;

/// What is fixed about an instruction.
pub(crate) enum Info {
    Compute(ComputeInfo),
    Dma(Box<DmaInfo>),
    Other,
}

pub(crate) struct ComputeInfo {
    pub cost: Cost,
    /// Reads or writes SBUF.
    pub sbuf: bool,
    pub psum: bool,
    /// PSUM banks that it touches, if no register moves them.
    pub banks: Option<u8>,
    pub transpose: bool,
}

pub(crate) struct DmaInfo {
    pub shape: DmaShape,
    pub cost: DmaCost,
    /// Those of `cost`, shared with the transfers under way.
    pub shares: Arc<[Share; DMA_ENGINES]>,
    /// Position of the operand whose start partition a register moves.
    pub moving: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// A sequencer goes on; outdated if the number differs from the sequencer's.
    Step { stream: u8, version: u32 },
    /// A transfer reaches the engines.
    Arrive { transfer: u32 },
    /// A share is done.
    Finish { class: u32, version: u32 },
}

/// The actor of arrivals; those before it are the sequencers, those behind it the classes of DMA engines.
const ARRIVALS: u64 = 5;
/// Bits of the sequence number.
const SEQUENCE: u32 = 56;

impl What {
    fn actor(self) -> u64 {
        match self {
            What::Step { stream, .. } => stream.into(),
            What::Arrive { .. } => ARRIVALS,
            What::Finish { class, .. } => ARRIVALS + 1 + u64::from(class),
        }
    }
    fn number(self) -> u32 {
        match self {
            What::Step { version: n, .. }
            | What::Arrive { transfer: n }
            | What::Finish { version: n, .. } => n,
        }
    }
    fn of(actor: u64, number: u32) -> What {
        match actor {
            ..ARRIVALS => What::Step { stream: actor as u8, version: number },
            ARRIVALS => What::Arrive { transfer: number },
            _ => What::Finish { class: (actor - ARRIVALS - 1) as u32, version: number },
        }
    }
}

/// `(time, actor and sequence number, number of what happens)`: small, since the queue of events is what a run moves most.
type Event = Reverse<(Ps, u64, u32)>;

pub(crate) struct Machine<'a> {
    pub flat: &'a Flat,
    pub k: &'a Constants,
    pub options: &'a SimOptions,
    pub infos: &'a [Info],
    sequencers: [Sequencer; 5],
    paths: [Path; 5],
    semaphores: Vec<Semaphore>,
    sync: Rc<SyncTable>,
    delays: Delays,
    /// Exclusive resources: until when, by which stream (machine.md 13.6).
    locks: [(Ps, u8); path::LOCKS],
    throttle: throttle::Throttle,
    table: Option<crate::cost::ActTable>,
    engines: Engines,
    transfers: Vec<Transfer>,
    free_transfers: Vec<u32>,
    rings: [transfer::Ring; DMA_RINGS],
    dge_free: Vec<Ps>,
    events: BinaryHeap<Event>,
    sequence: u64,
    due: Vec<Due>,
    /// With another core on the stack of HBM: then the DMA engines are simulated there.
    core: Option<&'a Core>,
    /// Until here nothing happens but what is in `events`.
    safe: Ps,
    meeting: Option<path::Meeting>,
    random: Option<Random>,
    pub stats: Stats,
    /// Contents of the memories, if the mode computes them.
    pub data: Option<Data<'a>>,
    /// Checks the order of accesses, if the verifier has not.
    pub tracker: Option<Tracker<'a>>,
    pub trace: Option<&'a mut dyn TraceSink>,
}

fn info(k: &Constants, engine: Engine, kind: &MKind) -> Info {
    match kind {
        MKind::Compute { op, operands, attrs, .. } => {
            let accesses = || {
                operands.iter().filter_map(|o| match o {
                    MOperand::Access(a) => Some(a),
                    _ => None,
                })
            };
            let psum: Vec<_> = accesses().filter(|a| a.space == Space::Psum).collect();
            let fixed = psum.iter().all(|a| a.offset.terms.is_empty() && a.dynamic.is_none());
            let none = Regs::new(0);
            let banks = fixed.then(|| psum.iter().fold(0, |m, a| m | path::banks(a, &none)));
            let cost = compute_cost(k, engine, *op, operands, attrs);
            let transpose = cost.matmul.as_ref().is_some_and(|m| m.transpose);
            let sbuf = accesses().any(|a| a.space == Space::Sbuf);
            Info::Compute(ComputeInfo { cost, sbuf, psum: !psum.is_empty(), banks, transpose })
        }
        MKind::Dma { op, operands, dge, .. } => match dma_shape(k, *op, operands, *dge) {
            Some((shape, cost)) => {
                let moves = |o: &MOperand| matches!(o, MOperand::Access(a) if a.space.on_chip() && !a.partition.terms.is_empty());
                let moving = operands.iter().position(moves);
                let shares = Arc::new(cost.shares);
                Info::Dma(Box::new(DmaInfo { shape, cost, shares, moving }))
            }
            None => Info::Other,
        },
        _ => Info::Other,
    }
}

/// Feeds an instruction to the tracker of a run: a race is an error.
pub(crate) fn check_order(
    tracker: &mut Tracker,
    stream: usize,
    inst: u32,
    regs: &Regs,
    resolved: Option<&Resolved>,
) -> Result<(), Diagnostics> {
    match tracker.execute(stream, inst, regs, resolved) {
        Some(race) if !race.vague => Err(race.diagnostic.into()),
        _ => Ok(()),
    }
}

/// Instructions that are worth another thread.
pub(crate) const MANY: usize = 1 << 11;

/// Per instruction of the program, what is fixed about it; on up to `threads` threads.
pub(crate) fn infos(flat: &Flat, k: &Constants, threads: usize) -> Vec<Info> {
    let mut streams: Vec<Option<Engine>> = vec![None; flat.insts.len()];
    for (code, engine) in flat.streams.iter().zip(STREAM_ENGINES) {
        for c in code.iter().filter(|c| c.op == CodeOp::Inst) {
            streams[c.inst as usize] = Some(engine);
        }
    }
    let mut all: Vec<Info> = flat.insts.iter().map(|_| Info::Other).collect();
    let fill = |(first, part): (usize, &mut [Info])| {
        for (i, fact) in part.iter_mut().enumerate() {
            if let Some(engine) = streams[first + i] {
                *fact = info(k, engine, &flat.insts[first + i].kind);
            }
        }
    };
    let threads = if all.len() < MANY { 1 } else { threads.max(1) };
    let each = all.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let mut parts = all.chunks_mut(each).enumerate().map(|(i, part)| (i * each, part));
        let own = parts.next();
        for part in parts {
            scope.spawn(|| fill(part));
        }
        own.into_iter().for_each(&fill);
    });
    all
}

impl<'a> Machine<'a> {
    pub fn new(flat: &'a Flat, k: &'a Constants, infos: &'a [Info], options: &'a SimOptions) -> Machine<'a> {
        Machine {
            flat,
            k,
            options,
            infos,
            sequencers: std::array::from_fn(|s| Sequencer::new(flat.header.registers[s])),
            paths: std::array::from_fn(|_| Path::new(k.sync.in_flight)),
            semaphores: vec![Semaphore::default(); flat.header.semaphores as usize],
            sync: Rc::new(SyncTable::new(flat)),
            delays: Delays::new(k),
            locks: [(0, 0); path::LOCKS],
            throttle: throttle::Throttle::new(&k.pe, options.throttle),
            table: None,
            engines: Engines::new(ps(k.dma.sem_write_ns), ps(k.dma.first_read_ns))
                .staggered(ps(k.dma.engine_stagger_ns)),
            transfers: Vec::new(),
            free_transfers: Vec::new(),
            rings: Default::default(),
            dge_free: vec![0; k.dge.hw_units],
            events: BinaryHeap::new(),
            sequence: 0,
            due: Vec::new(),
            core: options.core.as_ref(),
            safe: if options.core.is_some() { 0 } else { Ps::MAX },
            meeting: None,
            random: options.adversary.map(Random::new),
            stats: Stats::new(flat.insts.len()),
            data: None,
            tracker: None,
            trace: None,
        }
    }

    fn push(&mut self, at: Ps, what: What) {
        self.sequence += 1;
        let order = what.actor() << SEQUENCE | self.sequence;
        self.events.push(Reverse((at, order, what.number())));
    }

    /// Whether a step of stream `s` at `at` comes before every event that is planned, so that it need not be planned itself.
    /// Earlier plans of the stream are then outdated.
    fn is_next(&mut self, s: usize, at: Ps) -> bool {
        let first = self
            .events
            .peek()
            .is_none_or(|Reverse((time, order, _))| (at, s as u64) < (*time, order >> SEQUENCE));
        let first = first && at <= self.safe;
        if first {
            let version = &mut self.sequencers[s].version;
            *version = version.wrapping_add(1);
        }
        first
    }

    /// Runs to the end.
    pub fn run(&mut self) -> Result<(), Diagnostics> {
        for stream in 0..5 {
            self.wake(stream, 0);
        }
        while let Some(Reverse((now, order, number))) = self.next_event()? {
            match What::of(order >> SEQUENCE, number) {
                What::Step { stream, version } => {
                    if self.sequencers[stream as usize].version == version {
                        self.step(stream as usize, now)?;
                    }
                }
                What::Arrive { transfer } => self.arrive(transfer, now),
                What::Finish { class, version } => self.finish_share(Due { class, version, at: now })?,
            }
        }
        self.stats.dma_active = self.engines.active;
        if let Some(core) = self.core {
            self.stats.shared = core.shared();
            self.stats.dma_active = self.stats.shared.active;
        }
        if self.sequencers.iter().zip(&self.flat.streams).all(|(s, code)| s.pc >= code.len()) {
            return Ok(());
        }
        Err(self.deadlock().into())
    }

    /// The next event, once all that happens before it on a stack that another core shares is known.
    fn next_event(&mut self) -> Result<Option<Event>, Diagnostics> {
        let Some(core) = self.core else { return Ok(self.events.pop()) };
        loop {
            let next = self.events.peek().map_or(Ps::MAX, |Reverse((time, ..))| *time);
            if next <= self.safe && next < Ps::MAX {
                return Ok(self.events.pop());
            }
            match core.advance(next) {
                Happened::Nothing { until } => self.safe = until,
                Happened::Share { done, at } => {
                    self.safe = at;
                    self.share_done(done, at)?;
                }
                Happened::Met { at, visible } => self.met(at, visible),
                Happened::End => return Ok(None),
                Happened::Alone => return Err(self.alone().into()),
            }
        }
    }

    /// Makes a sequencer go on at `at`, instead of at any later time already planned.
    fn wake(&mut self, stream: usize, at: Ps) {
        let s = &mut self.sequencers[stream];
        s.version = s.version.wrapping_add(1);
        let version = s.version;
        self.push(at, What::Step { stream: stream as u8, version });
    }

    /// Resolves an instruction that is about to issue, and checks its order.
    fn prepare(&mut self, s: usize, inst: u32) -> Result<Option<Resolved>, Diagnostics> {
        let regs = &self.sequencers[s].regs;
        let resolved = match &mut self.data {
            Some(data) => data.prepare(inst, regs)?,
            None => None,
        };
        if let Some(tracker) = &mut self.tracker {
            check_order(tracker, s, inst, regs, resolved.as_ref())?;
        }
        Ok(resolved)
    }

    fn limit(&self) -> Diagnostics {
        Diagnostic::error(
            Code::Limit,
            format!("the run was given up after {} instructions", self.options.max_instructions),
        )
        .help("raise `max_instructions` if the kernel is meant to run that long")
        .into()
    }

    fn deadlock(&self) -> Diagnostic {
        let pcs: Vec<usize> = self.sequencers.iter().map(|s| s.pc).collect();
        let waits: Vec<_> = (0..5).map(|s| self.unsatisfied(s)).collect();
        crate::deadlock::report(self.flat, &pcs, &waits)
    }
}
