//! The report for a terminal: `Display`.

use super::{LiveBuffer, SimReport};
use crate::program::STREAM_ENGINES;
use crate::timing::Stall;
use std::fmt;

/// A time with a sensible unit.
pub(super) fn time(ns: f64) -> String {
    match ns {
        t if t >= 1e6 => format!("{:.3} ms", t / 1e6),
        t if t >= 1e3 => format!("{:.2} us", t / 1e3),
        t => format!("{t:.0} ns"),
    }
}

pub(super) fn bytes(n: u64) -> String {
    match n as f64 {
        x if x >= 1e9 => format!("{:.2} GB", x / 1e9),
        x if x >= 1e6 => format!("{:.2} MB", x / 1e6),
        x if x >= 1e3 => format!("{:.1} kB", x / 1e3),
        x => format!("{x} B"),
    }
}

fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:.1}%", part / whole * 100.0) } else { "-".into() }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Stall::Engine(e) => STREAM_ENGINES[usize::from(*e).min(4)].name(),
            Stall::Load => "loads",
            Stall::Store => "stores",
            Stall::Port => "port or bank",
            Stall::Ring => "full ring",
            Stall::Table => "table load",
            Stall::Stationary => "stationary load",
            Stall::Sequencer => "sequencer",
            Stall::InFlight => "in-flight limit",
        })
    }
}

/// Shades of a bin, from idle to busy.
const SHADES: [char; 5] = [' ', '\u{2591}', '\u{2592}', '\u{2593}', '\u{2588}'];
/// Columns of the chart.
const COLUMNS: usize = 64;
/// Lines of source shown.
const LINES: usize = 12;

impl fmt::Display for SimReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.head(f)?;
        self.table(f)?;
        self.gantt(f)?;
        self.hot_lines(f)
    }
}

impl SimReport {
    fn head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let m = &self.metrics;
        writeln!(
            f,
            "{} on {} (simulated): kernel {}, nc_latency {}, profiled total {}",
            self.kernel,
            self.target,
            time(self.kernel_ns),
            time(self.nc_latency_ns),
            time(self.profiled_ns)
        )?;
        let why = if self.bound.latency { ", so waiting decides" } else { "" };
        writeln!(
            f,
            "bound by {}: busy {} of the time{why}",
            self.bound.resource,
            percent(self.bound.share, 1.0)
        )?;
        writeln!(
            f,
            "MFU {}  HFU {} ({} with fp32 twice)  MBU {}  intensity {:.1} flop/B, ridge {:.1}",
            percent(m.mfu, 1.0),
            percent(m.hfu, 1.0),
            percent(m.hfu_fp32_twice, 1.0),
            percent(m.mbu, 1.0),
            m.intensity,
            m.ridge
        )?;
        writeln!(
            f,
            "HBM read {}, written {}; SBUF {} of {} B, PSUM {} of {} B per partition; {} instructions",
            bytes(self.traffic.hbm_read),
            bytes(self.traffic.hbm_written),
            self.memory.sbuf_bytes,
            self.memory.sbuf_limit,
            self.memory.psum_bytes,
            self.memory.psum_limit,
            self.instructions
        )?;
        for (name, peak) in [("SBUF", &self.memory.sbuf_peak), ("PSUM", &self.memory.psum_peak)] {
            if peak.bytes > 0 {
                let at = time(peak.at_ns);
                writeln!(f, "{name} holds most at {at}, {}: {}", bytes(peak.bytes), live(&peak.live))?;
            }
        }
        Ok(())
    }

    fn table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<8} {:>8} {:>7} {:>7} {:>7} {:>7}  waited for",
            "engine", "instrs", "busy", "active", "stalled", "idle"
        )?;
        for e in &self.engines {
            let of = |t: f64| percent(t, self.kernel_ns);
            let mut reasons = e.stalled.clone();
            reasons.sort_by(|a, b| b.1.total_cmp(&a.1));
            let reasons: Vec<String> =
                reasons.iter().take(3).map(|(s, t)| format!("{s} {}", of(*t))).collect();
            writeln!(
                f,
                "{:<8} {:>8} {:>7} {:>7} {:>7} {:>7}  {}",
                e.engine.name(),
                e.instructions,
                of(e.busy_ns),
                of(e.active_ns),
                of(e.stalled_ns()),
                of(e.idle_ns),
                reasons.join(", ")
            )?;
        }
        let d = &self.dma;
        let of = |t: f64| percent(t, self.kernel_ns);
        let shared = match d.shared_ns > 0.0 {
            true => format!(
                "; both cores want more than their stack of HBM gives for {}, held up for {}",
                of(d.saturated_ns),
                of(d.shared_ns)
            ),
            false => String::new(),
        };
        writeln!(
            f,
            "{:<8} {:>8} {:>7} {:>7}  {} elements, {} queues{shared}",
            "dma",
            d.transfers,
            percent(d.packet_ns / 16.0, self.kernel_ns),
            percent(d.active_ns, self.kernel_ns),
            d.elements,
            d.queues.len()
        )
    }

    fn gantt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bins = self.chart.rows.first().map_or(0, Vec::len);
        if bins == 0 || self.kernel_ns == 0.0 {
            return Ok(());
        }
        writeln!(f, "\n{:<8} 0{:>width$}", "", time(bins as f64 * self.chart.bin_ns), width = COLUMNS)?;
        let names = STREAM_ENGINES.iter().map(|e| e.name()).chain(["dma"]);
        for (name, row) in names.zip(&self.chart.rows) {
            let column = |c: usize| {
                let (from, to) = (c * bins / COLUMNS, ((c + 1) * bins / COLUMNS).max(c * bins / COLUMNS + 1));
                let part = &row[from.min(bins - 1)..to.min(bins)];
                let mean = part.iter().sum::<f64>() / part.len().max(1) as f64;
                let shade = (mean * 4.0).ceil() as usize;
                SHADES[shade.min(4)]
            };
            writeln!(f, "{name:<8}|{}|", (0..COLUMNS).map(column).collect::<String>())?;
        }
        Ok(())
    }

    fn hot_lines(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n{:<32} {:>8} {:>9} {:>10} {:>10}  what",
            "line", "count", "critical", "busy", "stalled"
        )?;
        for l in self.lines.iter().take(LINES) {
            let at = format!("{}:{}", l.at.file, l.at.line);
            let at = shortened(&at, 32);
            let waits = l
                .waits_for
                .first()
                .map_or(String::new(), |(p, t)| format!(", waits for line {} {}", p.line, time(*t)));
            writeln!(
                f,
                "{at:<32} {:>8} {:>9} {:>10} {:>10}  {}{waits}",
                l.count,
                percent(l.critical_ns, self.kernel_ns),
                time(l.busy_ns),
                time(l.stalled_ns),
                l.ops.join(" ")
            )?;
        }
        let whole = if self.critical_complete { "" } else { " (end of the run only)" };
        writeln!(
            f,
            "critical path{whole}: {} of it is synchronisation and start-up",
            percent(self.critical_synchronisation_ns, self.kernel_ns)
        )
    }
}

/// A path without as many of its first folders as do not fit.
fn shortened(path: &str, width: usize) -> &str {
    let mut rest = path;
    while rest.chars().count() > width {
        let Some((_, inner)) = rest.split_once('/') else { break };
        rest = inner;
    }
    rest
}

/// The largest of what is in use: equal names together, as many as fit on a line.
fn live(all: &[LiveBuffer]) -> String {
    let mut by_name: Vec<(&str, u64, usize)> = Vec::new();
    for b in all {
        match by_name.iter_mut().find(|n| n.0 == b.name) {
            Some(known) => (known.1, known.2) = (known.1 + b.bytes, known.2 + 1),
            None => by_name.push((&b.name, b.bytes, 1)),
        }
    }
    by_name.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let mut out = String::new();
    for (i, (name, size, count)) in by_name.iter().enumerate() {
        let times = if *count > 1 { format!(" ({count})") } else { String::new() };
        let item = format!("{name}{times} {}", bytes(*size));
        if out.chars().count() + item.chars().count() > WIDE && i > 0 {
            return format!("{out} and {} more", by_name.len() - i);
        }
        out = if out.is_empty() { item } else { format!("{out}, {item}") };
    }
    out
}

/// Columns for what is in use.
const WIDE: usize = 60;
