//! What the compiler did, in figures.

use crate::device::allocate::{Allocation, SiteReport};
use crate::device::decided::{BufferChoice, LoopChoice};
use crate::device::depend::Dependences;
use crate::device::expand::Stream;
use crate::device::reuse::Reused;
use crate::device::schedule::Plan;
use crate::device::spill::SpillReport;
use crate::device::split::Split;
use nki_ir::Kernel;
use nki_sim::Program;
use nki_sim::program::{MInst, MKind, STREAM_ENGINES};
use std::fmt;

/// What one pass did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassNote {
    pub pass: &'static str,
    pub note: String,
}

/// What a compilation did.
#[derive(Clone, Debug, Default)]
pub struct CompileReport {
    pub notes: Vec<PassNote>,
    /// Buffers on chip with their multi-buffering depths.
    pub sites: Vec<SiteReport>,
    /// What a schedule could say about each buffer on chip, by buffer, and about each loop.
    pub buffers: Vec<BufferChoice>,
    pub loops: Vec<LoopChoice>,
    /// What waits in device memory because SBUF has no room, if that was asked for.
    pub spills: Vec<SpillReport>,
    /// Highest byte used per partition.
    pub sbuf_peak: u32,
    pub psum_peak: u32,
    pub semaphores: u32,
    /// Instructions per stream, in the order of `STREAM_ENGINES`; transfers count where they are issued.
    pub instructions: [u64; 5],
    pub transfers: u64,
    pub waits: u64,
    /// Estimated time of the chosen schedule and of program order, in nanoseconds, loops counted once.
    pub estimate_ns: f64,
    pub program_order_ns: f64,
}

impl CompileReport {
    fn note(&mut self, pass: &'static str, note: String) {
        self.notes.push(PassNote { pass, note });
    }

    pub(crate) fn expanded(&mut self, kernel: &Kernel, stream: &Stream) {
        let kept = stream
            .loops
            .iter()
            .map(|l| {
                let name = kernel.vars[l.var].name.as_str();
                match l.dynamic {
                    Some(d) if !d.last || d.level > 0 => format!("{name} ({} at a time)", d.turns),
                    _ => name.to_string(),
                }
            })
            .collect::<Vec<_>>()
            .join(", ");
        let loops = if kept.is_empty() { String::new() } else { format!("; hardware loops: {kept}") };
        let text = format!(
            "{} instructions in the source, {} expanded, {} buffers{loops}",
            kernel.insts.len(),
            stream.items.len(),
            stream.instances.len()
        );
        self.note("expand", text);
    }

    pub(crate) fn fused(&mut self, pairs: usize) {
        if pairs > 0 {
            self.note("fuse", format!("{pairs} instructions of the source merged into the next"));
        }
    }

    pub(crate) fn reused(&mut self, r: Reused) {
        self.note("reuse-loads", format!("{} transfers of {} bytes removed", r.transfers, r.bytes));
    }

    pub(crate) fn spilled(&mut self, spills: Vec<SpillReport>) {
        let transfers: u64 = spills.iter().map(|s| s.stores + s.loads).sum();
        let bytes: u64 = spills.iter().map(|s| (s.stores + s.loads) * s.bytes).sum();
        self.note("spill", format!("{transfers} transfers of {bytes} bytes added"));
        for s in &spills {
            let all = (s.stores + s.loads) * s.bytes;
            let text = format!(
                "`{}` ({}): {} stores and {} loads of {} bytes, {all} in all",
                s.name, s.place, s.stores, s.loads, s.bytes
            );
            self.note("spill", text);
        }
        self.spills = spills;
    }

    pub(crate) fn allocated(&mut self, a: &Allocation) {
        self.sites = a.sites.clone();
        self.sbuf_peak = a.sbuf_peak;
        self.psum_peak = a.psum_peak;
        let text = format!("{} bytes of SBUF and {} of PSUM per partition", a.sbuf_peak, a.psum_peak);
        self.note("allocate", text);
    }

    pub(crate) fn scheduled(&mut self, dependences: &Dependences, plans: &[Plan], chosen: usize) {
        self.note("depend", format!("{} dependences", dependences.count()));
        let all = plans.iter().map(|p| format!("{} {:.0} ns", p.name, p.time)).collect::<Vec<_>>().join(", ");
        self.note("schedule", format!("{}; estimated: {all}", plans[chosen].name));
        self.estimate_ns += plans[chosen].time;
        self.program_order_ns += plans[0].time;
    }

    pub(crate) fn split(&mut self, s: &Split, before: f64, after: f64) {
        let text =
            format!("{} transfers in {} pieces: {after:.0} ns instead of {before:.0}", s.transfers, s.pieces);
        self.note("split-transfers", text);
    }

    pub(crate) fn measured(&mut self, candidates: usize, time: f64) {
        self.note("measure", format!("{candidates} programs simulated, the fastest takes {time:.0} ns"));
    }

    pub(crate) fn emitted(&mut self, program: &Program, waits: usize, dropped: usize, forced: u32) {
        self.note("synchronise", format!("{waits} waits, {dropped} implied by others"));
        self.waits = waits as u64;
        self.semaphores = program.semaphores;
        let mut stack: Vec<(usize, std::slice::Iter<'_, MInst>)> =
            program.streams.iter().enumerate().map(|(s, v)| (s, v.iter())).collect();
        while let Some((s, top)) = stack.last_mut() {
            let s = *s;
            match top.next().map(|m| &m.kind) {
                None => {
                    stack.pop();
                }
                Some(MKind::For { body, .. }) => stack.push((s, body.iter())),
                Some(MKind::Dma { .. }) => {
                    self.instructions[s] += 1;
                    self.transfers += 1;
                }
                Some(MKind::Compute { .. }) => self.instructions[s] += 1,
                Some(_) => {}
            }
        }
        let forced = match forced {
            0 => String::new(),
            n => format!(", {n} waits because none was free"),
        };
        self.note("emit", format!("{} semaphores{forced}", self.semaphores));
    }
}

/// The names of the buffers that share a site; of many only the first, since an unrolled kernel has hundreds.
fn abbreviated(names: &str) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = names.split('|').collect();
    match all.len().checked_sub(SHOWN) {
        Some(more) if more > 1 => format!("{} and {more} more", all[..SHOWN].join("|")),
        _ => names.to_string(),
    }
}

impl fmt::Display for CompileReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for n in &self.notes {
            writeln!(f, "{:<12} {}", n.pass, n.note)?;
        }
        for s in &self.sites {
            let depth = if s.depth == 0 { "one by one".to_string() } else { format!("{} buffers", s.depth) };
            let name = abbreviated(&s.name);
            writeln!(f, "{name:<12} {} x {} bytes in {} ({depth})", s.instances, s.bytes, s.space)?;
        }
        for (e, n) in STREAM_ENGINES.iter().zip(self.instructions) {
            writeln!(f, "{:<12} {n} instructions", e.name())?;
        }
        write!(f, "{:<12} {}", "transfers", self.transfers)
    }
}
