//! The report as JSON. The schema is stable: members are only added, `schema` counts incompatible changes.

use super::{Peak, SimReport};
use crate::program::STREAM_ENGINES;
use nki_ir::loc::SourceLoc;
use serde_json::{Value, json};

fn place(at: &SourceLoc) -> Value {
    json!({ "file": at.file, "line": at.line, "column": at.column })
}

impl SimReport {
    /// The whole report; times in nanoseconds.
    pub fn to_json(&self) -> Value {
        json!({
            "schema": 1,
            "simulated": true,
            "kernel": self.kernel,
            "target": self.target.name(),
            "kernel_ns": self.kernel_ns,
            "nc_latency_ns": self.nc_latency_ns,
            "profiled_ns": self.profiled_ns,
            "instructions": self.instructions,
            "bound": {
                "resource": self.bound.resource,
                "share": self.bound.share,
                "latency": self.bound.latency,
            },
            "engines": self.engines.iter().map(|e| json!({
                "engine": e.engine.name(),
                "instructions": e.instructions,
                "busy_ns": e.busy_ns,
                "active_ns": e.active_ns,
                "instruction_ns": e.instruction_ns,
                "stalled_ns": e.stalled_ns(),
                "idle_ns": e.idle_ns,
                "throttled_ns": e.throttled_ns,
                "stalls": e.stalled.iter().map(|(s, t)| json!({ "waited_for": s.to_string(), "ns": t })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "dma": {
                "transfers": self.dma.transfers,
                "elements": self.dma.elements,
                "active_ns": self.dma.active_ns,
                "packet_ns": self.dma.packet_ns,
                "saturated_ns": self.dma.saturated_ns,
                "shared_ns": self.dma.shared_ns,
                "dge_ns": self.dma.dge_ns,
                "queues": self.dma.queues.iter().map(|q| json!({
                    "queue": q.queue,
                    "transfers": q.transfers,
                    "bytes": q.bytes,
                    "in_flight_ns": q.in_flight_ns,
                })).collect::<Vec<_>>(),
            },
            "metrics": {
                "mfu": self.metrics.mfu,
                "hfu": self.metrics.hfu,
                "hfu_fp32_twice": self.metrics.hfu_fp32_twice,
                "mbu": self.metrics.mbu,
                "intensity": self.metrics.intensity,
                "ridge": self.metrics.ridge,
            },
            "flops": {
                "useful": self.flops.useful,
                "transposing": self.flops.transposing,
                "hardware": self.flops.hardware,
            },
            "bytes": {
                "hbm_read": self.traffic.hbm_read,
                "hbm_written": self.traffic.hbm_written,
                "sbuf_read": self.traffic.sbuf_read,
                "sbuf_written": self.traffic.sbuf_written,
                "psum_read": self.traffic.psum_read,
                "psum_written": self.traffic.psum_written,
            },
            "counters": {
                "hbm_read": self.counters.hbm_read,
                "hbm_write": self.counters.hbm_write,
                "psum_read": self.counters.psum_read,
                "psum_write": self.counters.psum_write,
                "sbuf_read": self.counters.sbuf_read,
                "sbuf_write": self.counters.sbuf_write,
                "hardware_flops": self.counters.hardware_flops,
                "transpose_flops": self.counters.transpose_flops,
            },
            "memory": {
                "sbuf_bytes": self.memory.sbuf_bytes,
                "sbuf_limit": self.memory.sbuf_limit,
                "psum_bytes": self.memory.psum_bytes,
                "psum_limit": self.memory.psum_limit,
                "sbuf_peak": peak(&self.memory.sbuf_peak),
                "psum_peak": peak(&self.memory.psum_peak),
            },
            "lines": self.lines.iter().map(|l| json!({
                "at": place(&l.at),
                "ops": l.ops,
                "count": l.count,
                "busy_ns": l.busy_ns,
                "stalled_ns": l.stalled_ns,
                "critical_ns": l.critical_ns,
                "hbm_bytes": l.hbm_bytes,
                "waits_for": l.waits_for.iter().map(|(at, t)| json!({ "at": place(at), "ns": t })).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "critical_path": {
                "synchronisation_ns": self.critical_synchronisation_ns,
                "complete": self.critical_complete,
            },
            "chart": {
                "bin_ns": self.chart.bin_ns,
                "rows": STREAM_ENGINES.iter().map(|e| e.name()).chain(["dma"]).zip(&self.chart.rows)
                    .map(|(name, bins)| json!({ "name": name, "busy": bins })).collect::<Vec<_>>(),
            },
        })
    }
}

/// Every buffer, so that the bytes add up.
fn peak(p: &Peak) -> Value {
    let live =
        p.live.iter().map(|b| json!({ "name": b.name, "at": b.at.as_ref().map(place), "bytes": b.bytes }));
    json!({ "at_ns": p.at_ns, "bytes": p.bytes, "live": live.collect::<Vec<_>>() })
}
