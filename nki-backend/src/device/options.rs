//! What a caller may choose about a compilation, and the passes that can be switched off one at a time.

use std::fmt;
use std::str::FromStr;

macro_rules! passes {
    ($($(#[$doc:meta])* $name:ident, $text:literal;)*) => {
        /// An optional pass. None of them may change a result; each can be switched off to see what it gains.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Pass { $($(#[$doc])* $name,)* }
        impl Pass {
            /// Every optional pass, in the order in which they run.
            pub const ALL: &'static [Pass] = &[$(Pass::$name),*];
            /// Name on the command line and in reports.
            pub fn name(self) -> &'static str {
                match self { $(Pass::$name => $text,)* }
            }
        }
    };
}

passes! {
    /// Merge pairs of element-wise instructions into fused forms with the same bits.
    Fuse, "fuse";
    /// Several turns of a loop on registers at a time, so that they overlap.
    PipelineLoops, "pipeline-loops";
    /// Keep tiles that are loaded again, as far as SBUF allows.
    ReuseLoads, "reuse-loads";
    /// Spread instructions that several engines can run with identical results.
    Balance, "balance";
    /// More than one buffer for tiles that are allocated again in every iteration.
    MultiBuffer, "multi-buffer";
    /// Buffers of one geometry take turns in common slots where SBUF or PSUM is too small for slots of their own.
    ShareBuffers, "share-buffers";
    /// Reorder by the dependence graph; off: program order.
    Schedule, "schedule";
    /// Choose between the schedules of a small program by simulating them; off: by estimated time.
    Measure, "measure";
    /// Issue DMA transfers from several sequencers; off: all from the sync engine.
    SpreadDma, "spread-dma";
    /// Stores wait in line behind loads where few stores keep many loads from coming.
    LateStores, "late-stores";
    /// The first and last transfers of a small program in pieces, as they are used.
    SplitTransfers, "split-transfers";
    /// Drop waits that other waits imply.
    ReduceWaits, "reduce-waits";
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Pass {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Pass::ALL.iter().copied().find(|p| p.name() == s).ok_or(())
    }
}

/// Options of one compilation.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileOptions {
    /// Passes switched off.
    pub disabled: Vec<Pass>,
    /// Largest number of instructions a static loop may unroll to; a larger loop stays a hardware loop.
    pub unroll_budget: u64,
    /// Largest multi-buffering depth chosen without being asked.
    pub max_buffers: u32,
    /// Tiles for which SBUF has no room may wait in device memory; off, that is an error. The kernel comes from
    /// [`nki_ir::verify::verify_spilling`]: the ordinary gate refuses it.
    pub spill: bool,
}

impl Default for CompileOptions {
    /// Every pass on, no spilling.
    fn default() -> Self {
        CompileOptions { disabled: Vec::new(), unroll_budget: 1_000_000, max_buffers: 16, spill: false }
    }
}

impl CompileOptions {
    /// Without one pass.
    pub fn without(mut self, pass: Pass) -> Self {
        if !self.disabled.contains(&pass) {
            self.disabled.push(pass);
        }
        self
    }
    /// Whether a pass runs.
    pub fn runs(&self, pass: Pass) -> bool {
        !self.disabled.contains(&pass)
    }
}
