//! Chrome trace events, which ui.perfetto.dev and chrome://tracing open. Events are written as they happen: memory does not
//! grow with the trace.

use super::lives::Lives;
use super::series::Series;
use super::{Completed, Issued, Producer, Stalled, TraceSink, Triggered};
use crate::cost::{Ps, ns, sides};
use crate::program::{MInst, MKind, STREAM_ENGINES};
use crate::verify::VerifiedProgram;
use nki_ir::kernel::Space;
use nki_ir::op::Engine;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Tracks: engines from 1, their waits from 11, queues from 100, [`LANES`] each.
const WAITS: u32 = 10;
const QUEUES: u32 = 100;
/// Tracks of one queue, for transfers that overlap.
const LANES: usize = 4;
/// Transfers remembered for arrows that start at them.
const RECENT: usize = 4096;

/// Writes a trace to `out`. A write error stops the output and is returned by [`finish`](ChromeTrace::finish).
pub struct ChromeTrace<W: Write> {
    out: W,
    error: Option<io::Error>,
    /// Per instruction: its name, and what `args` says of its place; ready to be written.
    labels: Vec<(String, String)>,
    first: bool,
    flows: u64,
    /// End of the last transfer on each lane of each queue.
    lanes: [[Ps; LANES]; 16],
    named: [[bool; LANES]; 16],
    /// Track and last instant of recent transfers.
    recent: BTreeMap<u32, (u32, Ps)>,
    in_flight: u64,
    lives: Lives,
    /// Space and bytes of each placement.
    buffers: Vec<(Space, u64)>,
    /// Bytes in use of SBUF and PSUM, bytes read from and written to HBM.
    memory: [Series; 2],
    hbm: [Series; 2],
    /// Per instruction that is a transfer: whether it reads HBM, and whether it writes it.
    ways: Vec<[bool; 2]>,
}

/// A JSON string, quotes included.
fn json(s: &str) -> String {
    let mut out = String::from("\"");
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn track(engine: Engine) -> u32 {
    STREAM_ENGINES.iter().position(|e| *e == engine).map_or(0, |i| i as u32 + 1)
}

/// Microseconds, the unit of the format, exact to the picosecond.
fn us(t: Ps) -> String {
    format!("{}.{:06}", t / 1_000_000, t % 1_000_000)
}

/// Name and place of each instruction.
fn labels(program: &VerifiedProgram) -> Vec<(String, String)> {
    let label = |inst: &MInst| {
        let name = match &inst.kind {
            MKind::Compute { op, .. } | MKind::Dma { op, .. } => op.name(),
            MKind::Sync => "sync",
            MKind::RegLoad { .. } => "reg_load",
            MKind::RegStore { .. } => "reg_store",
            MKind::RegMove { .. } => "reg_move",
            MKind::For { .. } | MKind::While { .. } | MKind::If { .. } => "control",
        };
        let Some(at) = program.header().locs.resolve(inst.loc) else { return (json(name), String::new()) };
        let call = |(kernel, call): &(String, Option<(String, u32, u32)>)| {
            call.as_ref().map(|(file, line, column)| format!("{kernel} from {file}:{line}:{column}"))
        };
        let calls: Vec<String> = at.stack.iter().filter_map(call).collect();
        let stack =
            if calls.is_empty() { String::new() } else { format!(",\"stack\":{}", json(&calls.join("; "))) };
        (json(name), format!(",\"at\":{}{stack}", json(&at.to_string())))
    };
    program.flat.insts.iter().map(label).collect()
}

impl<W: Write> ChromeTrace<W> {
    /// Starts a trace of `program`.
    pub fn new(program: &VerifiedProgram, out: W) -> Self {
        let header = program.header();
        let mut trace = ChromeTrace {
            out,
            error: None,
            labels: labels(program),
            first: true,
            flows: 0,
            lanes: [[0; LANES]; 16],
            named: [[false; LANES]; 16],
            recent: BTreeMap::new(),
            in_flight: 0,
            lives: Lives::new(&program.flat),
            buffers: header
                .placements
                .iter()
                .map(|p| (p.space, u64::from(p.bytes) * u64::from(p.partitions)))
                .collect(),
            memory: [Series::new(), Series::new()],
            hbm: [Series::new(), Series::new()],
            ways: program.flat.insts.iter().map(way).collect(),
        };
        trace.raw("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n");
        let process = json(&format!("{} on {} (simulated)", header.name, header.target));
        trace.event(&format!(
            "\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{{\"name\":{process}}}"
        ));
        for e in STREAM_ENGINES {
            trace.name(track(e), e.name());
            trace.name(track(e) + WAITS, &format!("{} waits", e.name()));
        }
        trace
    }

    /// Ends the trace and gives the writer back.
    ///
    /// # Errors
    /// The first error of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        self.counters();
        self.raw("\n]}\n");
        match self.error {
            Some(e) => Err(e),
            None => {
                self.out.flush()?;
                Ok(self.out)
            }
        }
    }

    /// Memory in use and bandwidth over time. They are averages over bins, since the end of a buffer's life is known only when
    /// it is written again, and are written last: viewers sort events.
    fn counters(&mut self) {
        let (buffers, memory) = (&self.buffers, &mut self.memory);
        self.lives.finish(|life| occupy(buffers, memory, life));
        for (i, name) in ["SBUF in use", "PSUM in use"].into_iter().enumerate() {
            for (at, bytes) in self.memory[i].levels() {
                self.counter(name, at, "bytes", bytes.round());
            }
        }
        for (i, name) in ["HBM read", "HBM written"].into_iter().enumerate() {
            for (at, rate) in self.hbm[i].rates() {
                self.counter(name, at, "GB/s", (rate * 1000.0).round() / 1000.0);
            }
        }
    }

    fn counter(&mut self, name: &str, at: Ps, unit: &str, value: f64) {
        self.event(&format!(
            "\"ph\":\"C\",\"pid\":1,\"name\":\"{name}\",\"ts\":{},\"args\":{{\"{unit}\":{value}}}",
            us(at)
        ));
    }

    fn touch(&mut self, inst: u32, from: Ps, to: Ps) {
        let (buffers, memory) = (&self.buffers, &mut self.memory);
        self.lives.touch(inst, from, to, |life| occupy(buffers, memory, life));
    }

    fn raw(&mut self, text: &str) {
        if self.error.is_none()
            && let Err(e) = self.out.write_all(text.as_bytes())
        {
            self.error = Some(e);
        }
    }
    fn event(&mut self, members: &str) {
        let comma = if std::mem::replace(&mut self.first, false) { "" } else { ",\n" };
        self.raw(&format!("{comma}{{{members}}}"));
    }
    fn name(&mut self, track: u32, name: &str) {
        let meta = |what: &str, args: &str| {
            format!("\"ph\":\"M\",\"pid\":1,\"tid\":{track},\"name\":\"{what}\",\"args\":{{{args}}}")
        };
        self.event(&meta("thread_name", &format!("\"name\":{}", json(name))));
        self.event(&meta("thread_sort_index", &format!("\"sort_index\":{track}")));
    }
    fn slice(&mut self, track: u32, name: &str, from: Ps, to: Ps, args: &str) {
        let (ts, dur) = (us(from), us(to.saturating_sub(from)));
        let members = format!(
            "\"ph\":\"X\",\"pid\":1,\"tid\":{track},\"name\":{name},\"ts\":{ts},\"dur\":{dur},\"args\":{{{args}}}"
        );
        self.event(&members);
    }
    fn label(&self, inst: u32) -> (String, String) {
        self.labels.get(inst as usize).cloned().unwrap_or_default()
    }

    /// An arrow from what was waited for to the instruction on `to` that starts at `at`.
    fn arrow(&mut self, from: Option<Producer>, to: u32, at: Ps) {
        let Some(p) = from else { return };
        // An arrow's end belongs to the slice that encloses its instant.
        let (source, instant) = match p.engine {
            Some(e) => (track(e), p.issued),
            None => match self.recent.get(&p.event) {
                Some(&found) => found,
                None => return,
            },
        };
        self.flows += 1;
        let end = |ph: &str, track: u32, t: Ps, id: u64| {
            format!(
                "\"ph\":{ph},\"pid\":1,\"tid\":{track},\"name\":\"semaphore\",\"cat\":\"semaphore\",\"id\":{id},\"ts\":{}",
                us(t)
            )
        };
        let start = end("\"s\"", source, instant, self.flows);
        self.event(&start);
        let finish = end("\"f\",\"bp\":\"e\"", to, at, self.flows);
        self.event(&finish);
    }

    fn outstanding(&mut self, at: Ps) {
        self.counter("DMA bytes in flight", at, "bytes", self.in_flight as f64);
    }
}

/// Adds the life of a buffer to what is in use of its memory.
fn occupy(buffers: &[(Space, u64)], memory: &mut [Series; 2], life: super::Life) {
    if let Some((space, bytes)) = buffers.get(life.placement as usize) {
        memory[usize::from(*space == Space::Psum)].add(life.start, life.end, *bytes);
    }
}

/// Whether a transfer reads and writes HBM.
fn way(inst: &MInst) -> [bool; 2] {
    let MKind::Dma { op, operands, .. } = &inst.kind else { return [false; 2] };
    sides(*op, operands).map_or([false; 2], |(dst, src)| [src.space == Space::Hbm, dst.space == Space::Hbm])
}

impl<W: Write> TraceSink for ChromeTrace<W> {
    fn issued(&mut self, e: &Issued) {
        let (name, place) = self.label(e.inst);
        let args = format!("\"visible_after_ns\":{},\"event\":{}{place}", ns(e.visible - e.issued), e.event);
        self.slice(track(e.engine), &name, e.issued, e.released, &args);
        self.arrow(e.waited_for, track(e.engine), e.issued);
        self.touch(e.inst, e.issued, e.visible);
    }

    fn triggered(&mut self, e: &Triggered) {
        let (_, place) = self.label(e.inst);
        let args = format!("\"queue\":{},\"bytes\":{},\"event\":{}{place}", e.queue, e.bytes, e.event);
        // A trigger of an engine with a data path would overlap its instructions.
        let shift = if e.engine == Engine::Sync { 0 } else { WAITS };
        self.slice(track(e.engine) + shift, "\"trigger\"", e.at, e.until, &args);
        self.arrow(e.waited_for, track(e.engine) + shift, e.at);
        self.in_flight += e.bytes;
        self.outstanding(e.at);
    }

    fn completed(&mut self, e: &Completed) {
        let queue = usize::from(e.queue).min(15);
        let lane = self.lanes[queue].iter().position(|end| *end <= e.started).unwrap_or(LANES - 1);
        self.lanes[queue][lane] = e.at;
        let tid = QUEUES + (queue * LANES + lane) as u32;
        if !std::mem::replace(&mut self.named[queue][lane], true) {
            let more = if lane == 0 { String::new() } else { format!(" ({})", lane + 1) };
            self.name(tid, &format!("queue {queue}{more}"));
        }
        let (name, place) = self.label(e.inst);
        let args = format!(
            "\"bytes\":{},\"start_up_ns\":{},\"event\":{}{place}",
            e.bytes,
            ns(e.started - e.triggered),
            e.event
        );
        self.slice(tid, &name, e.started, e.at, &args);
        self.recent.insert(e.event, (tid, e.at.saturating_sub(1)));
        if self.recent.len() > RECENT {
            self.recent.pop_first();
        }
        self.touch(e.inst, e.started, e.at);
        for (series, moves) in self.hbm.iter_mut().zip(self.ways[e.inst as usize]) {
            series.add_total(e.started, e.at, if moves { e.bytes } else { 0 });
        }
        self.in_flight = self.in_flight.saturating_sub(e.bytes);
        self.outstanding(e.at);
    }

    fn stalled(&mut self, e: &Stalled) {
        let (_, place) = self.label(e.inst);
        let name = json(&format!("waits for {}", e.reason));
        self.slice(track(e.engine) + WAITS, &name, e.from, e.to, place.trim_start_matches(','));
    }
}
