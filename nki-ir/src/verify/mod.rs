//! The gate: what a kernel must satisfy before anything may run it. Executors take only [`Verified`].
//!
//! # Invariants
//!
//! Structure, checked first; later checks and all executors rely on it:
//!
//! - **S1** Regions, loops and instructions form a tree rooted at the kernel's body; each has one place.
//! - **S2** An instruction has the operands and attributes of its row in the op table, each of a form the row allows.
//! - **S3** Every buffer, variable, register and region referred to exists.
//! - **S4** A buffer is used only after its `Alloc` and inside the region that allocates it; a loop variable only inside
//!   its loop.
//! - **S5** Names of buffers and of instructions are unique.
//! - **S6** No dimension is empty; on-chip tiles have rank 2 or more and at most 128 partitions; arguments are in HBM.
//! - **S7** Loops count up by a positive step between 32-bit bounds.
//! - **S8** A slice has one entry per axis of its buffer; a pattern has no empty dimension.
//!
//! Every instruction, on the target at hand: the generic rules G1 to G17 of isa.md section 8 and the numbered checks of the
//! instruction's own section. Every access stays inside its buffer for all values of the loop variables.
//!
//! The kernel as a whole: a reduce register is folded into only after it was set on every path; a matmul adds only to what a
//! matmul wrote; no read of bytes that nothing can have written; every output is written; tiles live at once fit SBUF, PSUM
//! and HBM.
//!
//! [`rules`] lists all rules with their codes. Nothing is reported that is not certainly wrong, with one exception that is
//! part of the rule itself: a reduce register must be set on *every* path.
//!
//! # Layout
//!
//! `structure` and [`flat`] come first. `context` resolves one instruction; `generic`, `overlap`, and one file per engine
//! check it. `reduce`, `accumulate`, `flow` and `capacity` check the kernel as a whole. `bounds` and `footprint` are the
//! arithmetic they share.

pub mod accumulate;
mod bounds;
mod capacity;
mod columns;
mod context;
mod cores;
mod dma;
pub mod flat;
mod flow;
mod footprint;
mod generic;
mod gpsimd;
mod indirect;
mod mx;
mod overlap;
mod random;
mod reduce;
mod register;
pub mod rules;
mod scalar;
mod search;
mod select;
mod structure;
mod tensor;
#[cfg(test)]
mod tests;
mod transfer;
mod vector;

use crate::diag::{Diagnostic, Diagnostics};
use crate::entity::Inst;
use crate::kernel::Kernel;
use crate::op::{Op, OpRow};
use crate::target::Target;
use context::{Arg, Cx};
use flat::{Flat, Step};
use std::cell::RefCell;
use std::fmt;

/// A kernel that has passed the gate for one target. The only thing that can be executed or compiled.
#[derive(Clone)]
pub struct Verified {
    kernel: Kernel,
    target: Target,
    warnings: Diagnostics,
    flat: Flat,
}

impl Verified {
    /// The kernel.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
    /// The target it is legal on.
    pub fn target(&self) -> Target {
        self.target
    }
    /// What is legal, but probably not meant.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }
    /// Its nodes in program order.
    pub fn flat(&self) -> &Flat {
        &self.flat
    }
    /// The kernel, no longer guarded.
    pub fn into_kernel(self) -> Kernel {
        self.kernel
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verified({} for {})", self.kernel.name, self.target)
    }
}

/// Checks `kernel` for `target`. All errors found are returned, not only the first; if the structure is broken, only that.
pub fn verify(kernel: Kernel, target: Target) -> Result<Verified, Diagnostics> {
    verify_unless(kernel, target, false)
}

/// [`verify`] for a kernel whose tiles may wait in device memory when SBUF has no room: that they do not fit is left to the
/// device compiler, which spills when it is asked to and else reports what is too much.
pub fn verify_spilling(kernel: Kernel, target: Target) -> Result<Verified, Diagnostics> {
    verify_unless(kernel, target, true)
}

fn verify_unless(kernel: Kernel, target: Target, spilled: bool) -> Result<Verified, Diagnostics> {
    let out = RefCell::new(Diagnostics::new());
    let flat = structure::check(&kernel, &out);
    if let Some(flat) = &flat {
        check(&kernel, flat, target, spilled, &out);
    }
    let found = out.into_inner().collapsed();
    match flat {
        Some(flat) if !found.has_errors() => Ok(Verified { kernel, target, warnings: found, flat }),
        _ => Err(found),
    }
}

/// Decides what is still open (automatic accumulation) and verifies: what a finished recording or a `.nkir` file goes through.
pub fn resolve_and_verify(mut kernel: Kernel, target: Target) -> Result<Verified, Diagnostics> {
    let mut found = accumulate::resolve(&mut kernel, target);
    let refused = found.has_errors();
    match verify(kernel, target) {
        Ok(mut verified) => {
            found.extend(std::mem::take(&mut verified.warnings));
            verified.warnings = found;
            Ok(verified)
        }
        Err(errors) => {
            // A matmul that could not be decided has been reported with the reason.
            let again = |d: &Diagnostic| refused && d.rule == Some(&rules::ACC_AUTO);
            errors.into_iter().filter(|d| !again(d)).for_each(|d| found.push(d));
            Err(found)
        }
    }
}

/// Everything after structure.
fn check(kernel: &Kernel, flat: &Flat, target: Target, spilled: bool, out: &RefCell<Diagnostics>) {
    for step in &flat.steps {
        if let Step::Inst(inst) = step {
            one(kernel, *inst, target, out);
        }
    }
    register::check_kernel(kernel, flat, out);
    reduce::check(kernel, flat, out);
    accumulate::check(kernel, flat, target, out);
    flow::check(kernel, flat, out);
    capacity::check(kernel, flat, target, spilled, out);
}

/// Checks one instruction by itself: form, generic rules and its own numbered checks. What depends on other instructions
/// (scopes, initialisation, capacity) is left to [`verify`].
pub fn check_inst(kernel: &Kernel, inst: Inst, target: Target) -> Vec<Diagnostic> {
    let out = RefCell::new(Diagnostics::new());
    if structure::check_inst(kernel, inst, &out) {
        one(kernel, inst, target, &out);
    }
    out.into_inner().into_iter().collect()
}

/// Checks one well-formed instruction.
fn one(kernel: &Kernel, inst: Inst, target: Target, out: &RefCell<Diagnostics>) {
    let data = &kernel.insts[inst];
    let row: &'static OpRow = data.op.row();
    let mut cx =
        Cx { kernel, target, data, row, engine: data.resolved_engine(kernel), args: Default::default(), out };
    for (operand, spec) in data.operands.iter().zip(row.operands) {
        let resolved = operand.view().map(|view| {
            let buf = &kernel.bufs[view.buf];
            (view, buf, view.pattern(buf))
        });
        cx.args.push(match resolved {
            None => None,
            Some((_, buf, None)) => {
                let message = format!("{} `{}`: its addresses leave 64 bits", spec.name, buf.name);
                cx.fail(&rules::BOUNDS, message).buffer(buf).help("use a smaller buffer or a smaller start");
                return;
            }
            Some((view, buf, Some(pattern))) => {
                let (shape, n) = (view.shape(buf.space), view.row_elements(&pattern));
                Some(Arg { spec, view, buf, pattern, shape, n })
            }
        });
    }
    let before = out.borrow().len();
    generic::check(&cx);
    rules_of(data.op)(&cx);
    // Operands of the wrong shape overlap anyhow.
    if out.borrow().len() == before {
        overlap::check(&cx);
    }
}

/// The numbered checks of an instruction's own section, in the order of [`Op`]: a file per engine.
fn rules_of(op: Op) -> fn(&Cx) {
    match op {
        Op::NcMatmul => tensor::nc_matmul,
        Op::NcTranspose => tensor::nc_transpose,

        // scalar.rs
        Op::Activation => scalar::activation,
        Op::ActivationReduce => scalar::activation_reduce,
        Op::Activate2 => scalar::activate2,

        // vector.rs, select.rs, columns.rs
        Op::TensorReduce => vector::tensor_reduce,
        Op::TensorTensor => vector::tensor_tensor,
        Op::TensorTensorScan => vector::tensor_tensor_scan,
        Op::ScalarTensorTensor => vector::scalar_tensor_tensor,
        Op::TensorScalar => vector::tensor_scalar,
        Op::TensorScalarReduce => vector::tensor_scalar_reduce,
        Op::TensorScalarCumulative => vector::tensor_scalar_cumulative,
        Op::TensorCopy => generic::nothing_more,
        Op::TensorCopyPredicated => select::tensor_copy_predicated,
        Op::Memset => vector::memset,
        Op::Exponential => vector::exponential,
        Op::Reciprocal => generic::nothing_more,
        Op::RangeSelect => select::range_select,
        Op::SelectReduce => select::select_reduce,
        Op::Dropout => random::dropout,
        Op::BnStats => columns::bn_stats,
        Op::BnAggr => columns::bn_aggr,
        Op::Max8 => columns::max8,
        Op::NcFindIndex8 => columns::nc_find_index8,
        Op::NcMatchReplace8 => columns::nc_match_replace8,
        Op::NcStreamShuffle => columns::nc_stream_shuffle,

        // random.rs
        Op::Rng => random::rng,
        Op::Rand2 => random::rand2,
        Op::RandSetState => random::rand_set_state,
        Op::RandGetState => random::rand_get_state,
        Op::SetRngSeed => random::set_rng_seed,

        // gpsimd.rs and search.rs
        Op::TensorPartitionReduce => search::tensor_partition_reduce,
        Op::Iota => gpsimd::iota,
        Op::AffineSelect => gpsimd::affine_select,
        Op::SequenceBounds => search::sequence_bounds,
        Op::LocalGather => search::local_gather,
        Op::NcNGather => search::nc_n_gather,
        Op::NonzeroWithCount => search::nonzero_with_count,
        Op::Topk => search::topk,

        // dma.rs and transfer.rs
        Op::DmaCopy => dma::dma_copy,
        Op::DmaTranspose => transfer::dma_transpose,
        Op::DmaCompute => transfer::dma_compute,

        // mx.rs
        Op::NcMatmulMx => mx::nc_matmul_mx,
        Op::QuantizeMx => mx::quantize_mx,

        // register.rs
        Op::RegisterMove | Op::RegisterLoad | Op::RegisterStore => register::check,

        // debug.rs
        Op::DevicePrint | Op::DeviceAssert => generic::nothing_more,

        // cores.rs
        Op::CoreBarrier => cores::core_barrier,
        Op::Sendrecv => cores::sendrecv,
    }
}
