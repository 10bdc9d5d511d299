//! What a run tells about a kernel. Definitions of the metrics: machine.md section 17.

mod advice;
#[cfg(feature = "json")]
mod compare;
mod critical;
#[cfg(feature = "json")]
mod json;
mod live;
mod text;
mod work;

pub use advice::{Advice, AdviceKind, advise};
#[cfg(feature = "json")]
pub use compare::{Change, Comparison, compare};
pub use live::{LiveBuffer, Peak};
pub use work::{Counters, Flops, Traffic};

use crate::code::Flat;
use crate::constants::Constants;
use crate::cost::ns;
use crate::program::{MKind, STREAM_ENGINES};
use crate::timing::{BINS, DMA_ROW, Info, Stall, Stats};
use nki_ir::Target;
use nki_ir::kernel::Space;
use nki_ir::loc::{Loc, SourceLoc};
use nki_ir::op::Engine;
use nki_ir::target::PSUM_BYTES_PER_PARTITION;
use std::collections::BTreeMap;
pub(crate) use work::Work;

/// Time of one engine. Busy, stalled and idle add up to the kernel's time.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineReport {
    pub engine: Engine,
    pub instructions: u64,
    /// Occupied: cannot start its next instruction.
    pub busy_ns: f64,
    /// Union of the intervals from issue to visible result: what profilers call active.
    pub active_ns: f64,
    /// Sum of those intervals.
    pub instruction_ns: f64,
    /// Waiting, by reason; reasons without time are left out.
    pub stalled: Vec<(Stall, f64)>,
    /// The rest: its stream has ended.
    pub idle_ns: f64,
    /// Busy at the throttled rate (tensor engine).
    pub throttled_ns: f64,
}

impl EngineReport {
    /// Waiting for whatever reason.
    pub fn stalled_ns(&self) -> f64 {
        self.stalled.iter().fold(0.0, |sum, s| sum + s.1)
    }
}

/// One DMA ring number, on all engines.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueReport {
    pub queue: u8,
    pub transfers: u64,
    pub bytes: u64,
    /// Sum over transfers from trigger to completion.
    pub in_flight_ns: f64,
}

/// The DMA engines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DmaReport {
    /// With at least one element in service on some engine.
    pub active_ns: f64,
    /// Service time summed over the engines.
    pub packet_ns: f64,
    /// At work while two cores asked for more than the stack of HBM gives that they share, and what that cost; 0 for a core alone.
    pub saturated_ns: f64,
    pub shared_ns: f64,
    pub transfers: u64,
    /// Descriptor elements.
    pub elements: u64,
    /// Queues that were used.
    pub queues: Vec<QueueReport>,
    /// Busy time of each hardware descriptor generator.
    pub dge_ns: Vec<f64>,
}

/// What a line of the source cost.
#[derive(Clone, Debug, PartialEq)]
pub struct LineReport {
    pub at: SourceLoc,
    /// Names of its instructions.
    pub ops: Vec<&'static str>,
    pub count: u64,
    /// Time its instructions occupied engines; for transfers, of the average DMA engine.
    pub busy_ns: f64,
    /// Time engines waited at this line.
    pub stalled_ns: f64,
    /// Time on the critical path.
    pub critical_ns: f64,
    pub hbm_bytes: u64,
    /// Lines that it waited for, longest first.
    pub waits_for: Vec<(SourceLoc, f64)>,
}

/// How much of the on-chip memories the placements use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MemoryReport {
    /// Highest byte of a partition in use.
    pub sbuf_bytes: u32,
    pub sbuf_limit: u32,
    pub psum_bytes: u32,
    pub psum_limit: u32,
    /// What is in use when most is.
    pub sbuf_peak: Peak,
    pub psum_peak: Peak,
}

/// Ratios to what the core can do, over the kernel's time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Metrics {
    /// Useful flops over peak bf16 flops.
    pub mfu: f64,
    /// With transposes.
    pub hfu: f64,
    /// With transposes, float32 counted twice as published profiles do.
    pub hfu_fp32_twice: f64,
    /// HBM bytes over the stack's bandwidth.
    pub mbu: f64,
    /// Useful flops per HBM byte.
    pub intensity: f64,
    /// Intensity at which peak flops and stack bandwidth meet.
    pub ridge: f64,
}

/// What bounds the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Busiest resource: an engine, `dma` or `dge`.
    pub resource: String,
    /// Its share of the kernel's time.
    pub share: f64,
    /// Even the busiest resource is idle so much that waiting decides.
    pub latency: bool,
}

/// Utilisation over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    pub bin_ns: f64,
    /// Per engine of [`STREAM_ENGINES`], then the DMA engines: busy share per bin.
    pub rows: Vec<Vec<f64>>,
}

/// Everything about a run. Times are simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct SimReport {
    pub kernel: String,
    pub target: Target,
    /// First issue to last visible result or completed transfer (machine.md 13.8); 0 in functional mode.
    pub kernel_ns: f64,
    /// What `nki.benchmark` would call `nc_latency`.
    pub nc_latency_ns: f64,
    /// What the profiler would call total time.
    pub profiled_ns: f64,
    pub engines: Vec<EngineReport>,
    pub dma: DmaReport,
    pub bound: Bound,
    pub metrics: Metrics,
    pub flops: Flops,
    pub traffic: Traffic,
    pub counters: Counters,
    pub memory: MemoryReport,
    /// Costliest first: by time on the critical path, then busy, then stalled.
    pub lines: Vec<LineReport>,
    /// Synchronisation and start-up on the critical path.
    pub critical_synchronisation_ns: f64,
    /// The critical path covers the whole run; else its end only.
    pub critical_complete: bool,
    pub chart: Chart,
    /// Instructions executed by all sequencers, control flow included.
    pub instructions: u64,
}

/// Below this share of the busiest resource, waiting decides.
const LATENCY_BOUND: f64 = 0.6;

impl SimReport {
    /// `works` is what [`fill`] finds out.
    pub(crate) fn new(
        flat: &Flat,
        k: &Constants,
        stats: &Stats,
        infos: &[Info],
        works: &[Work],
    ) -> SimReport {
        let kernel_ns = ns(stats.end.saturating_sub(stats.first.unwrap_or(0)));
        let (mut flops, mut traffic, mut counters) =
            (Flops::default(), Traffic::default(), Counters::default());
        for (work, s) in works.iter().zip(&stats.insts) {
            flops.useful += work.flops.useful * s.count;
            flops.transposing += work.flops.transposing * s.count;
            flops.hardware += work.flops.hardware * s.count;
            traffic.add(&work.traffic, s.count);
            counters.add(&work.counters, s.count);
        }
        // A ones vector is read once per kernel.
        counters.sbuf_read += works
            .iter()
            .zip(&stats.insts)
            .filter(|(_, s)| s.count > 0)
            .map(|(w, _)| w.once)
            .max()
            .unwrap_or(0);
        let engines = engines(stats);
        let dma = dma(stats, infos);
        let path = critical::trace(stats);
        SimReport {
            kernel: flat.header.name.clone(),
            target: flat.header.target,
            kernel_ns,
            nc_latency_ns: kernel_ns + k.launch.nc_latency_ns,
            profiled_ns: kernel_ns + k.launch.pre_ns + k.launch.post_ns,
            bound: bound(&engines, &dma, kernel_ns),
            metrics: metrics(k, &flops, &traffic, kernel_ns),
            memory: memory(flat, stats),
            lines: lines(flat, stats, works, &path),
            critical_synchronisation_ns: path.synchronisation_ns,
            critical_complete: path.complete,
            chart: chart(stats),
            instructions: stats.total,
            engines,
            dma,
            flops,
            traffic,
            counters,
        }
    }
}

/// Finds out what one execution of each instruction does.
pub(crate) fn fill(works: &mut [Work], flat: &Flat, infos: &[Info]) {
    for ((work, inst), info) in works.iter_mut().zip(&flat.insts).zip(infos) {
        *work = work::of(inst, info);
    }
}

fn engines(stats: &Stats) -> Vec<EngineReport> {
    let report = |(e, engine): (&crate::timing::EngineStats, Engine)| {
        let stalled = e.stalled.iter().enumerate().filter(|(_, t)| **t > 0);
        EngineReport {
            engine,
            instructions: e.instructions,
            busy_ns: ns(e.busy),
            active_ns: ns(e.active),
            instruction_ns: ns(e.instruction),
            stalled: stalled.map(|(i, t)| (Stall::from_index(i), ns(*t))).collect(),
            idle_ns: ns(stats.end.saturating_sub(e.cursor)),
            throttled_ns: ns(e.throttled),
        }
    };
    stats.engines.iter().zip(STREAM_ENGINES).map(report).collect()
}

fn dma(stats: &Stats, infos: &[Info]) -> DmaReport {
    let mut out = DmaReport {
        active_ns: ns(stats.dma_active),
        packet_ns: ns(stats.dma_service),
        saturated_ns: ns(stats.shared.saturated),
        shared_ns: ns(stats.shared.lost),
        dge_ns: stats.dge_busy.iter().map(|t| ns(*t)).collect(),
        ..DmaReport::default()
    };
    for (info, s) in infos.iter().zip(&stats.insts) {
        if let Info::Dma(d) = info {
            out.transfers += s.count;
            out.elements += s.count * d.cost.elements;
        }
    }
    for (queue, &(transfers, bytes, time)) in stats.rings.iter().enumerate() {
        if transfers > 0 {
            out.queues.push(QueueReport { queue: queue as u8, transfers, bytes, in_flight_ns: ns(time) });
        }
    }
    out
}

fn bound(engines: &[EngineReport], dma: &DmaReport, kernel_ns: f64) -> Bound {
    let mut best = Bound { resource: "nothing".into(), share: 0.0, latency: true };
    let mut consider = |name: &str, busy: f64| {
        let share = if kernel_ns > 0.0 { (busy / kernel_ns).min(1.0) } else { 0.0 };
        if share > best.share {
            best = Bound { resource: name.into(), share, latency: share < LATENCY_BOUND };
        }
    };
    for e in engines {
        consider(e.engine.name(), e.busy_ns);
    }
    consider("dma", dma.active_ns);
    consider("dge", dma.dge_ns.iter().copied().fold(0.0, f64::max));
    best
}

fn metrics(k: &Constants, flops: &Flops, traffic: &Traffic, kernel_ns: f64) -> Metrics {
    let (peak, stack) = (k.peak_flops_per_ns(), k.hbm.stack_gbps);
    let share = |x: u64, rate: f64| if kernel_ns > 0.0 { x as f64 / (rate * kernel_ns) } else { 0.0 };
    let hbm = traffic.hbm();
    Metrics {
        mfu: share(flops.useful, peak),
        hfu: share(flops.useful + flops.transposing, peak),
        hfu_fp32_twice: share(flops.hardware, peak),
        mbu: share(hbm, stack),
        intensity: if hbm > 0 { flops.useful as f64 / hbm as f64 } else { 0.0 },
        ridge: peak / stack,
    }
}

fn memory(flat: &Flat, stats: &Stats) -> MemoryReport {
    let [sbuf_peak, psum_peak] = live::peaks(flat, stats);
    let top = |space| {
        let ends = flat.header.placements.iter().filter(|p| p.space == space);
        ends.map(|p| p.offset.saturating_add(p.bytes)).max().unwrap_or(0)
    };
    MemoryReport {
        sbuf_bytes: top(Space::Sbuf),
        sbuf_limit: flat.header.target.sbuf_bytes_per_partition(),
        psum_bytes: top(Space::Psum),
        psum_limit: PSUM_BYTES_PER_PARTITION,
        sbuf_peak,
        psum_peak,
    }
}

/// File and line.
type Line = (String, u32);

/// Instructions by source line (file and line, whatever the column or call stack).
fn lines(flat: &Flat, stats: &Stats, works: &[Work], path: &critical::Path) -> Vec<LineReport> {
    let mut places = Places { flat, by_loc: BTreeMap::new(), by_line: BTreeMap::new(), all: Vec::new() };
    let mut found: BTreeMap<usize, LineReport> = BTreeMap::new();
    for (inst, s) in stats.insts.iter().enumerate() {
        let stalled: u64 = s.stalled.iter().sum();
        if s.count == 0 && stalled == 0 {
            continue;
        }
        let Some(place) = places.of(inst as u32) else { continue };
        let line = found.entry(place).or_insert_with(|| LineReport {
            at: places.all[place].clone(),
            ops: Vec::new(),
            count: 0,
            busy_ns: 0.0,
            stalled_ns: 0.0,
            critical_ns: 0.0,
            hbm_bytes: 0,
            waits_for: Vec::new(),
        });
        let share = match &flat.insts[inst].kind {
            MKind::Compute { op, .. } | MKind::Dma { op, .. } if !line.ops.contains(&op.name()) => {
                line.ops.push(op.name());
                if matches!(flat.insts[inst].kind, MKind::Dma { .. }) { 16.0 } else { 1.0 }
            }
            MKind::Dma { .. } => 16.0,
            _ => 1.0,
        };
        line.count += s.count;
        line.busy_ns += ns(s.busy) / share;
        line.stalled_ns += ns(stalled);
        line.hbm_bytes += works[inst].traffic.hbm() * s.count;
        line.critical_ns += path.insts.get(&(inst as u32)).map_or(0.0, |p| p.ns);
    }
    let mut waits: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    for (waiter, producer, time) in stats.waits.iter() {
        if let (Some(w), Some(p)) = (places.of(waiter), places.of(producer)) {
            *waits.entry((w, p)).or_default() += ns(time);
        }
    }
    for ((waiter, producer), time) in waits {
        if let Some(line) = found.get_mut(&waiter) {
            line.waits_for.push((places.all[producer].clone(), time));
        }
    }
    let mut out: Vec<LineReport> = found.into_values().collect();
    let position = |at: &SourceLoc| (at.file.clone(), at.line);
    for line in &mut out {
        line.waits_for.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| position(&a.0).cmp(&position(&b.0))));
    }
    let cost = |l: &LineReport| [l.critical_ns, l.busy_ns, l.stalled_ns];
    out.sort_by(|a, b| {
        let mut pairs = cost(b).into_iter().zip(cost(a)).map(|(x, y)| x.total_cmp(&y));
        pairs.find(|o| o.is_ne()).unwrap_or_else(|| position(&a.at).cmp(&position(&b.at)))
    });
    out
}

/// The lines that instructions come from, by number: resolving a location makes strings, and few locations have many
/// instructions.
struct Places<'a> {
    flat: &'a Flat,
    by_loc: BTreeMap<Loc, Option<usize>>,
    by_line: BTreeMap<Line, usize>,
    all: Vec<SourceLoc>,
}

impl Places<'_> {
    fn of(&mut self, inst: u32) -> Option<usize> {
        let loc = self.flat.loc(inst);
        if let Some(&known) = self.by_loc.get(&loc) {
            return known;
        }
        let place = self.flat.header.locs.resolve(loc).map(|at| {
            let next = self.all.len();
            let place = *self.by_line.entry((at.file.clone(), at.line)).or_insert(next);
            if place == next {
                self.all.push(at);
            }
            place
        });
        self.by_loc.insert(loc, place);
        place
    }
}

fn chart(stats: &Stats) -> Chart {
    let t = &stats.timeline;
    let used = (stats.end.div_ceil(t.width) as usize).clamp(1, BINS);
    let row = |(r, bins): (usize, &[u64; BINS])| {
        let capacity = if r == DMA_ROW { 16 * t.width } else { t.width };
        bins[..used].iter().map(|b| (*b as f64 / capacity as f64).min(1.0)).collect()
    };
    Chart { bin_ns: ns(t.width), rows: t.rows.iter().enumerate().map(row).collect() }
}
