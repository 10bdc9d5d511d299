//! Tile IR to native code.
//!
//! Cranelift emits what the kernel's structure is made of: loops, branches and address arithmetic. Each instruction is one
//! call into the runtime (`runtime`), which sweeps a whole tile per call: by SIMD functions of `nki-rt` where there is one,
//! by the reference semantics otherwise. In: a [`Verified`](nki_ir::verify::Verified) kernel. Out: a [`HostKernel`], which is `Send + Sync` and can be
//! called any number of times.
//!
//! With the feature `aot` a kernel becomes an object file and a C header instead ([`object`]); the feature `c-abi` has the
//! functions that such files call ([`c_abi`]).

#[cfg(feature = "c-abi")]
pub mod c_abi;
mod chain;
#[cfg(feature = "jit")]
mod codegen;
mod copy;
mod descriptor;
mod dynamic;
#[cfg(feature = "aot")]
mod elf;
#[cfg(feature = "jit")]
mod jit;
mod layout;
mod nest;
#[cfg(feature = "aot")]
pub mod object;
mod parallel;
mod poison;
mod rows;
mod runtime;
mod segment;
mod step;
#[cfg(all(test, feature = "jit"))]
mod tests;

use layout::Layout;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::BufKind;
use nki_ir::{Kernel, Target, Tensor};
use nki_rt::AlignedBuf;
use rayon::prelude::*;
use runtime::Context;
use segment::{Code as NativeCode, ParallelLoop, Segment};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use step::Step;

/// A kernel made ready: what the runtime works from, and code is generated from.
struct Lowered {
    kernel: Kernel,
    layout: Layout,
    steps: Vec<Step>,
    nests: nest::Nests,
    chains: chain::Chains,
}

impl Lowered {
    /// # Errors
    /// [`Code::Limit`] when an operation has no native form.
    fn new(kernel: Kernel, target: Target) -> Result<Lowered, Diagnostics> {
        let layout = Layout::new(&kernel);
        let steps = step::lower(&kernel, &layout, target)?;
        let nests = nest::Nests::find(&kernel, &layout);
        let chains = chain::Chains::find(&kernel, &layout, &steps, &nests);
        Ok(Lowered { kernel, layout, steps, nests, chains })
    }
}

/// A kernel compiled to native code.
pub struct HostKernel {
    lowered: Lowered,
    code: NativeCode,
    options: HostOptions,
    pool: Option<rayon::ThreadPool>,
    /// Calls being executed.
    running: AtomicUsize,
    /// Scratch memories of finished calls, for the next ones: a call allocates nothing that grows with the program.
    scratch: Mutex<Vec<AlignedBuf>>,
}

/// How a kernel runs natively.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Threads for the independent turns of outer loops; `None`: all cores for one call, one when calls are concurrent. The
    /// result is the same for any number.
    pub threads: Option<usize>,
}

/// Several ranges of turns per thread, so that one late thread does not keep the others waiting.
const CHUNKS_PER_THREAD: u64 = 4;

type Stop = (nki_ir::Loc, (Code, String));

/// Lends a context to the threads of a parallel loop, which only fork it.
struct SharedContext<'a, 'b>(&'a Context<'b>);

impl<'a, 'b> SharedContext<'a, 'b> {
    fn get(&self) -> &'a Context<'b> {
        self.0
    }
}

// SAFETY: forking reads the context's tables and copies its pointers; nothing writes to it while it is lent. The turns that
// the forks run write disjoint bytes of the shared memories (`parallel::is_parallel`).
unsafe impl Sync for SharedContext<'_, '_> {}

/// Compiles a verified kernel to native code.
///
/// # Errors
/// [`Code::Limit`] when this machine has no code generator, or an operation has no native form yet.
#[cfg(feature = "jit")]
pub fn compile(
    verified: &nki_ir::verify::Verified,
    options: &HostOptions,
) -> Result<HostKernel, Diagnostics> {
    compile_kernel(verified.kernel().clone(), verified.target(), options)
}

#[cfg(feature = "jit")]
fn compile_kernel(kernel: Kernel, target: Target, options: &HostOptions) -> Result<HostKernel, Diagnostics> {
    let lowered = Lowered::new(kernel, target)?;
    let code = jit::compile(&lowered)?;
    Ok(HostKernel::new(lowered, code, *options))
}

impl HostKernel {
    fn new(lowered: Lowered, code: NativeCode, options: HostOptions) -> HostKernel {
        let pool = match options.threads {
            Some(n) if n > 1 => rayon::ThreadPoolBuilder::new().num_threads(n).build().ok(),
            _ => None,
        };
        HostKernel { lowered, code, options, pool, running: AtomicUsize::new(0), scratch: Mutex::default() }
    }

    /// The kernel it was compiled from.
    pub fn kernel(&self) -> &Kernel {
        &self.lowered.kernel
    }

    /// Runs the kernel on its inputs, in the order of declaration; results are the outputs and inouts in theirs.
    ///
    /// # Errors
    /// [`Code::Argument`] when an argument's dtype or shape is not the kernel's; a run-time fault with the place of the
    /// instruction.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, Diagnostics> {
        nki_ir::interp::check_arguments(&self.lowered.kernel, inputs)?;
        let mut outputs: Vec<Tensor> = self
            .lowered
            .kernel
            .outputs()
            .map(|(_, b)| {
                let shape: Vec<usize> = b.shape.iter().map(|&d| d as usize).collect();
                Tensor::zeros(b.dtype, &shape)
            })
            .collect();
        let mut inouts =
            self.lowered.kernel.inputs().enumerate().filter(|(_, (_, b))| b.kind == BufKind::InOut);
        for ((_, b), out) in self.lowered.kernel.outputs().zip(&mut outputs) {
            match b.kind {
                BufKind::InOut => {
                    let (i, _) = inouts.next().expect("an inout is both an input and an output");
                    out.data.copy_from_slice(&inputs[i].data);
                }
                _ => nki_ir::sem::cast::poison(b.dtype, &mut out.data),
            }
        }
        let ins: Vec<&[u8]> = inputs.iter().map(|t| t.data.as_slice()).collect();
        let mut outs: Vec<&mut [u8]> = outputs.iter_mut().map(|t| t.data.as_mut_slice()).collect();
        self.run_bytes(&ins, &mut outs)?;
        Ok(outputs)
    }

    /// Runs the kernel on bytes: `inputs` in the order of [`Kernel::inputs`] (the entry of an inout is not looked at: its old
    /// content is taken from `outputs`), `outputs` in the order of [`Kernel::outputs`], which are written in place.
    ///
    /// # Errors
    /// As [`HostKernel::run`].
    pub fn run_bytes(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<(), Diagnostics> {
        self.run_on(self.options.threads, inputs, outputs)
    }

    fn run_on(
        &self,
        threads: Option<usize>,
        inputs: &[&[u8]],
        outputs: &mut [&mut [u8]],
    ) -> Result<(), Diagnostics> {
        let params = self.bind(inputs, outputs)?;
        let mut scratch = self.take_scratch();
        let running = self.running.fetch_add(1, Ordering::Relaxed);
        let shared = runtime::Param::writable(scratch.as_bytes_mut());
        let threads = match threads {
            Some(n) => n.max(1),
            None if running == 0 => rayon::current_num_threads(),
            None => 1,
        };
        let parallel = nest::Rayon { pool: self.pool.as_ref(), threads };
        let program = runtime::Program {
            kernel: &self.lowered.kernel,
            layout: &self.lowered.layout,
            steps: &self.lowered.steps,
            nests: &self.lowered.nests.products,
            chains: &self.lowered.chains.all,
        };
        let mut context = Context::new(program, &params, shared, &parallel);
        let mut fault = None;
        for segment in self.code.segments() {
            fault = match segment.parallel {
                Some(p) if p.turns > 1 && threads > 1 => self.split(&context, segment, p, threads),
                p => {
                    let stopped = segment.call(&mut context, 0, p.map_or(0, |p| p.turns)) != 0;
                    stopped.then(|| context.take_fault())
                }
            };
            if fault.is_some() {
                break;
            }
        }
        self.running.fetch_sub(1, Ordering::Relaxed);
        drop(context);
        self.give_back(scratch);
        match fault {
            None => Ok(()),
            Some(Some((loc, (code, message)))) => {
                Err(Diagnostic::error(code, message).at(&self.lowered.kernel.locs, loc).into())
            }
            Some(None) => Err(Diagnostic::error(Code::Limit, "native code stopped without a reason").into()),
        }
    }

    /// Runs the turns of a parallel loop on several threads. Returns the fault of the earliest turns that have one.
    fn split(
        &self,
        context: &Context<'_>,
        segment: &Segment,
        p: ParallelLoop,
        threads: usize,
    ) -> Option<Option<Stop>> {
        let chunks = p.turns.min(threads as u64 * CHUNKS_PER_THREAD);
        let context = SharedContext(context);
        let run = |chunk: u64| {
            let mut scratch = self.take_scratch();
            let mut fork = context.get().fork(scratch.as_bytes_mut(), p.scratch_from);
            let (from, to) = (p.turns * chunk / chunks, p.turns * (chunk + 1) / chunks);
            let stopped = segment.call(&mut fork, from, to) != 0;
            let fault = stopped.then(|| fork.take_fault());
            drop(fork);
            self.give_back(scratch);
            fault
        };
        let all = || (0..chunks).into_par_iter().map(run).collect::<Vec<_>>();
        let results = match &self.pool {
            Some(pool) => pool.install(all),
            None => all(),
        };
        results.into_iter().flatten().next()
    }

    fn take_scratch(&self) -> AlignedBuf {
        let scratch = self.scratch.lock().ok().and_then(|mut s| s.pop()).unwrap_or_default();
        if scratch.len() < self.lowered.layout.scratch_bytes() {
            return AlignedBuf::zeroed(self.lowered.layout.scratch_bytes());
        }
        scratch
    }

    fn give_back(&self, scratch: AlignedBuf) {
        if let Ok(mut pool) = self.scratch.lock() {
            pool.push(scratch);
        }
    }

    /// The parameters' bytes in buffer order.
    fn bind(&self, inputs: &[&[u8]], outputs: &mut [&mut [u8]]) -> Result<Vec<runtime::Param>, Diagnostics> {
        let (n_in, n_out) = (self.lowered.kernel.inputs().count(), self.lowered.kernel.outputs().count());
        if inputs.len() != n_in || outputs.len() != n_out {
            let message = format!(
                "got {} inputs and {} outputs, expected {n_in} and {n_out}",
                inputs.len(),
                outputs.len()
            );
            return Err(Diagnostic::error(Code::Argument, message).into());
        }
        let mut params = vec![None; self.lowered.layout.params().len()];
        let mut wrong = Diagnostics::new();
        let mut check = |name: &str, got: usize, want: usize| {
            if got != want {
                wrong.push(Diagnostic::error(
                    Code::Argument,
                    format!("`{name}` has {got} bytes, expected {want}"),
                ));
            }
        };
        for ((buf, data), bytes) in self.lowered.kernel.inputs().zip(inputs) {
            if data.kind == BufKind::Input {
                check(&data.name, bytes.len(), data.row_bytes() as usize);
                params[self.lowered.layout.param(buf)] = Some(runtime::Param::read_only(bytes));
            }
        }
        for ((buf, data), bytes) in self.lowered.kernel.outputs().zip(outputs) {
            check(&data.name, bytes.len(), data.row_bytes() as usize);
            params[self.lowered.layout.param(buf)] = Some(runtime::Param::writable(bytes));
        }
        if wrong.has_errors() {
            return Err(wrong);
        }
        Ok(params.into_iter().map(|p| p.expect("every parameter is an input or an output")).collect())
    }
}

impl std::fmt::Debug for HostKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostKernel")
            .field("kernel", &self.lowered.kernel.name)
            .field("steps", &self.lowered.steps.len())
            .field("products", &self.lowered.nests.products.len())
            .field("scratch_bytes", &self.lowered.layout.scratch_bytes())
            .finish()
    }
}

#[cfg(any(feature = "aot", feature = "c-abi"))]
/// Inputs and inouts in the order of declaration, then outputs.
fn parameters(kernel: &Kernel) -> impl Iterator<Item = &nki_ir::kernel::BufData> {
    let outputs = kernel.outputs().filter(|(_, b)| b.kind == BufKind::Output);
    kernel.inputs().chain(outputs).map(|(_, b)| b)
}
