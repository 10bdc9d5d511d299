//! What a run tells about a kernel.

use crate::code::Flat;
use crate::constants::Constants;
use crate::cost::ns;
use crate::program::STREAM_ENGINES;
use crate::timing::{Info, Stall, Stats};
use nki_ir::Target;
use nki_ir::op::Engine;

/// Time of one engine.
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
}

/// Everything about a run. Times are simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct SimReport {
    pub kernel: String,
    pub target: Target,
    /// First issue to last visible result or completed transfer (machine.md 13.8).
    pub kernel_ns: f64,
    /// What `nki.benchmark` would call `nc_latency`.
    pub nc_latency_ns: f64,
    /// What the profiler would call total time.
    pub profiled_ns: f64,
    pub engines: Vec<EngineReport>,
    /// Instructions executed by all sequencers, control flow included.
    pub instructions: u64,
}

impl SimReport {
    pub(crate) fn new(flat: &Flat, k: &Constants, stats: &Stats, _infos: &[Info]) -> SimReport {
        let first = stats.first.unwrap_or(0);
        let kernel_ns = ns(stats.end.saturating_sub(first));
        let engines = stats.engines.iter().zip(STREAM_ENGINES).map(|(e, engine)| {
            let stalled = e.stalled.iter().enumerate().filter(|(_, t)| **t > 0);
            EngineReport {
                engine,
                instructions: e.instructions,
                busy_ns: ns(e.busy),
                active_ns: ns(e.active),
                instruction_ns: ns(e.instruction),
                stalled: stalled.map(|(i, t)| (Stall::from_index(i), ns(*t))).collect(),
                idle_ns: ns(stats.end.saturating_sub(e.cursor)),
            }
        });
        SimReport {
            kernel: flat.header.name.clone(),
            target: flat.header.target,
            kernel_ns,
            nc_latency_ns: kernel_ns + k.launch.nc_latency_ns,
            profiled_ns: kernel_ns + k.launch.pre_ns + k.launch.post_ns,
            engines: engines.collect(),
            instructions: stats.total,
        }
    }
}
