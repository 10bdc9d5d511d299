//! The passes before scheduling: which loads stay, and where everything lives.

use crate::device::allocate::{self, Allocation, Timeline};
use crate::device::cost::DmaCost;
use crate::device::expand::Stream;
use crate::device::legalise::Template;
use crate::device::options::{CompileOptions, Pass};
use crate::device::report::CompileReport;
use crate::device::reuse;
use crate::device::schedule::{self, Costs};
use nki_ir::{Diagnostics, Kernel, Target};

/// What the passes before scheduling share.
pub struct Front<'a> {
    pub kernel: &'a Kernel,
    pub target: Target,
    pub templates: &'a [Template],
    pub costs: &'a Costs,
    pub options: &'a CompileOptions,
}

impl Front<'_> {
    /// Keeps repeated loads as far as there is room beside the buffering that everything else wants, and allocates.
    pub fn allocate(
        &self,
        stream: Stream,
        report: &mut CompileReport,
    ) -> Result<(Stream, Allocation), Diagnostics> {
        let (kernel, templates) = (self.kernel, self.templates);
        let clock = timeline(&stream, templates, self.costs);
        if self.options.runs(Pass::ReuseLoads) {
            let capacity = u64::from(self.target.sbuf_bytes_per_partition());
            let wish = allocate::wish(kernel, templates, &stream, &clock, self.options);
            let mut budget = capacity.saturating_sub(wish + capacity / 32);
            while budget > 0 {
                let Some((kept, reused)) = reuse::reuse_loads(kernel, templates, &stream, budget) else {
                    break;
                };
                let clock = timeline(&kept, templates, self.costs);
                let fits = allocate::allocate(kernel, self.target, templates, &kept, &clock, self.options);
                if let Ok(allocation) = fits
                    && allocation.granted >= ENOUGH
                {
                    report.reused(reused);
                    return Ok((kept, allocation));
                }
                budget /= 2;
            }
        }
        let allocation = allocate::allocate(kernel, self.target, templates, &stream, &clock, self.options)?;
        Ok((stream, allocation))
    }
}

/// Tiles are kept for reuse only if at least this percentage of the wished buffering remains.
const ENOUGH: u32 = 50;

/// The coarse clock that multi-buffering is chosen by.
fn timeline(stream: &Stream, templates: &[Template], costs: &Costs) -> Timeline {
    let engine_time = |t: u32| {
        let cost = &costs.templates[t as usize];
        match &cost.transfer {
            // All 16 engines together.
            Some(c) => (5, (c.service.iter().map(|s| s.1).sum::<f64>() / 16.0).max(c.generate)),
            None => {
                let s = schedule::stream_of(templates[t as usize].engines[0]);
                (s, cost.compute[s].occupancy)
            }
        }
    };
    let fetch = |t: u32| costs.templates[t as usize].transfer.as_ref().map_or(0.0, DmaCost::alone);
    allocate::timeline(stream, templates, engine_time, fetch)
}
