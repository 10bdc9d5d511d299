//! What generated code calls: one function that runs one step on the addresses it is given.

use super::chain::{Chain, Link};
use super::dynamic::{Dynamic, Failure, Index, index_values};
use super::layout::{Layout, Place};
use super::nest::{Addresses, Nest};
use super::step::{Fast, Step, StepArg, Tile};
use nki_ir::diag::Code;
use nki_ir::entity::Entity;
use nki_ir::kernel::{Bound, LoopData};
use nki_ir::print::{self, Printed};
use nki_ir::sem::{self, Arg, Call, Memory, State};
use nki_ir::{Buf, DType, Inst, Kernel, Loc, Loop};
use nki_rt::{Combine, Parallel, Serial, Tier, bf16, f16};
use smallvec::SmallVec;

/// A parameter's bytes. Raw, because several threads may write disjoint parts of one output.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    data: *mut u8,
    len: usize,
    writable: bool,
}

impl Param {
    /// The first byte.
    pub fn address(&self) -> *mut u8 {
        self.data
    }
    /// An input.
    pub fn read_only(bytes: &[u8]) -> Self {
        Param { data: bytes.as_ptr().cast_mut(), len: bytes.len(), writable: false }
    }
    /// An output or inout.
    pub fn writable(bytes: &mut [u8]) -> Self {
        Param { data: bytes.as_mut_ptr(), len: bytes.len(), writable: true }
    }
}

/// Offsets that generated code passes: one per operand, and behind them one per operand's index tile.
pub const OFFSETS: usize = 2 * INDEX_OPERANDS;

/// Most operands of an instruction, and where the offsets of index tiles begin.
pub const INDEX_OPERANDS: usize = 16;

/// What a kernel was compiled to, for the runtime.
#[derive(Clone, Copy)]
pub struct Program<'a> {
    pub kernel: &'a Kernel,
    pub layout: &'a Layout,
    pub steps: &'a [Step],
    pub nests: &'a [Nest],
    pub chains: &'a [Chain],
}

/// One call of a kernel on one thread. Generated code gets its address and reads `registers` only.
#[repr(C)]
pub struct Context<'a> {
    /// Address of the register file: one `i64` per virtual register.
    registers: *mut i64,
    register_file: Vec<i64>,
    program: Program<'a>,
    params: &'a [Param],
    scratch: Param,
    /// Who runs the tasks of a product.
    parallel: &'a dyn Parallel,
    /// Scratch of this thread's turns, and the byte of the kernel's scratch that it begins at.
    private: Option<(Param, usize)>,
    tier: Tier,
    state: State,
    fault: Option<(Loc, Failure)>,
}

impl<'a> Context<'a> {
    /// A context for one call. `params` and `scratch` point to memory that outlives the context.
    pub fn new(
        program: Program<'a>,
        params: &'a [Param],
        scratch: Param,
        parallel: &'a dyn Parallel,
    ) -> Self {
        let mut register_file = vec![0i64; program.kernel.regs.len()];
        Context {
            registers: register_file.as_mut_ptr(),
            register_file,
            program,
            params,
            scratch,
            parallel,
            private: None,
            tier: Tier::best(),
            state: State::default(),
            fault: None,
        }
    }
    /// A context for some turns of a parallel loop on another thread: what the turns allocate, from byte `from` of the
    /// scratch memory on, is in `private`.
    pub fn fork(&self, private: &'a mut [u8], from: usize) -> Context<'a> {
        let mut fork = Context::new(self.program, self.params, self.scratch, &Serial);
        fork.register_file.copy_from_slice(&self.register_file);
        fork.private = Some((Param::writable(private), from));
        fork
    }
    /// The fault that stopped the call.
    pub fn take_fault(&mut self) -> Option<(Loc, Failure)> {
        self.fault.take()
    }

    /// The window of memory that a tile touches when its element 0 is `offset` bytes into its buffer.
    fn window(&self, tile: &Tile, offset: i64) -> Option<Param> {
        let (memory, start) = match tile.place {
            Place::Param(i) => (self.params.get(i)?, 0),
            Place::Scratch(at) => self.scratch_at(at),
        };
        let first = usize::try_from(offset).ok()?.checked_add(start)?.checked_sub(tile.lead)?;
        if first.checked_add(tile.reach)? > memory.len || (tile.writable && !memory.writable) {
            return None;
        }
        // SAFETY: `first <= memory.len`, so the pointer stays inside the memory or one past its end.
        Some(Param { data: unsafe { memory.data.add(first) }, len: tile.reach, writable: tile.writable })
    }

    /// The memory that byte `at` of the scratch is in, and where.
    fn scratch_at(&self, at: usize) -> (&Param, usize) {
        match &self.private {
            Some((memory, from)) if at >= *from => (memory, at - from),
            _ => (&self.scratch, at),
        }
    }

    /// Where `reach` bytes from byte `offset` of a buffer on are.
    fn bytes(&self, place: Place, offset: i64, reach: usize, writable: bool) -> Option<*mut u8> {
        let (memory, start) = match place {
            Place::Param(i) => (self.params.get(i)?, 0),
            Place::Scratch(at) => self.scratch_at(at),
        };
        let first = usize::try_from(offset).ok()?.checked_add(start)?;
        if first.checked_add(reach)? > memory.len || (writable && !memory.writable) {
            return None;
        }
        // SAFETY: `first` is inside the memory.
        Some(unsafe { memory.data.add(first) })
    }

    /// Makes product `index`; `None` if it cannot be made here, and then nothing has happened.
    fn nest(&self, index: usize, offsets: &[i64; 3]) -> Option<()> {
        let nest = self.program.nests.get(index)?;
        let at = Addresses {
            a: self.bytes(nest.a.place, offsets[0], nest.a.reach, false)?,
            b: self.bytes(nest.b.place, offsets[1], nest.b.reach, false)?,
            out: self.bytes(nest.out.place, offsets[2], nest.out.reach, true)?,
        };
        // Waking a thread costs more than a small product.
        const SMALL: usize = 1 << 19;
        let size = nest.shape.iter().fold(1usize, |n, d| n.saturating_mul(*d));
        let parallel: &dyn Parallel = if size <= SMALL { &Serial } else { self.parallel };
        // SAFETY: `bytes` has checked all three; the result is another buffer than the operands, and buffers that live at the
        // same time do not overlap.
        unsafe { nest.run(self.tier, parallel, at) }.then_some(())
    }

    fn step(&mut self, index: usize, offsets: &[i64], accumulate: bool) -> Result<(), Failure> {
        self.run(&self.program.steps[index], offsets, accumulate)
    }

    /// Runs a chain with the offsets of its operands.
    fn chain(&mut self, chain: &'a Chain, offsets: &[i64]) -> Result<(), (Inst, Failure)> {
        for block in 0..i64::from(chain.blocks) {
            self.links(&chain.links, offsets, block)?;
        }
        self.links(&chain.rest, offsets, chain.blocks.into())?;
        if chain.streams {
            nki_rt::stream_fence();
        }
        Ok(())
    }

    fn links(&mut self, links: &'a [Link], offsets: &[i64], block: i64) -> Result<(), (Inst, Failure)> {
        for link in links {
            let mut now = [0i64; OFFSETS];
            for (now, (slot, advance)) in now.iter_mut().zip(&link.operands) {
                *now = offsets.get(*slot).copied().unwrap_or(0) + advance * block;
            }
            self.run(&link.step, &now, false).map_err(|f| (link.step.inst, f))?;
        }
        Ok(())
    }

    fn run(&mut self, step: &'a Step, offsets: &[i64], accumulate: bool) -> Result<(), Failure> {
        let mut windows: SmallVec<[Param; 5]> = SmallVec::new();
        for (arg, &offset) in step.args.iter().zip(offsets) {
            windows.push(match arg {
                StepArg::Dynamic(d) => self.whole(d).ok_or_else(|| {
                    (Code::OutOfBounds, format!("{}: `{}` is not in memory", step.op, d.name))
                })?,
                StepArg::Tile(t) => self.window(t, offset).ok_or_else(|| {
                    (Code::OutOfBounds, format!("{}: an operand leaves its buffer", step.op))
                })?,
                _ => Param { data: std::ptr::null_mut(), len: 0, writable: false },
            });
        }
        match &step.fast {
            Fast::Copy(plan) => {
                // SAFETY: both windows cover all bytes that the plan's patterns touch, `lead` bytes before element 0; the
                // verifier admits overlap of source and destination only for identical views (rule G12).
                unsafe {
                    let dst = windows[0].data.add(lead(step, 0));
                    plan.run(dst, windows[1].data.add(lead(step, 1)));
                }
                Ok(())
            }
            Fast::Matmul { dtype, shape, strides } => {
                let combine = if accumulate { Combine::Add } else { Combine::Overwrite };
                // SAFETY: the windows cover `shape` rows at `strides`; PSUM and SBUF never overlap, and tiles of f32 in
                // scratch start at multiples of 64 bytes.
                unsafe {
                    self.matmul(*dtype, *shape, *strides, &windows, combine);
                    // Memory has one NaN only, and what copies PSUM moves bits.
                    for row in 0..shape[1] {
                        let at = windows[0].data.cast::<f32>().add(row * strides[2]);
                        nki_ir::sem::cast::canonicalize(std::slice::from_raw_parts_mut(at, shape[2]));
                    }
                }
                Ok(())
            }
            Fast::Rows(plan) => {
                // SAFETY: the windows cover all rows of the operands, and the verifier admits overlap for identical views only
                // (rule G12).
                if unsafe { plan.run(self.tier, &mut self.state, &windows) } {
                    return Ok(());
                }
                self.reference(step, &windows, offsets, accumulate)
            }
            Fast::Reference => self.reference(step, &windows, offsets, accumulate),
        }
    }

    /// # Safety
    /// The three windows cover `[K, M, N]` at the given row strides, in elements, and do not overlap.
    unsafe fn matmul(
        &self,
        dtype: DType,
        shape: [usize; 3],
        strides: [usize; 3],
        w: &[Param],
        combine: Combine,
    ) {
        let [sa, sb, sc] = strides;
        macro_rules! product {
            ($t:ty) => {
                // SAFETY: the caller's promise.
                unsafe {
                    nki_rt::matmul_raw::<$t>(
                        self.tier,
                        shape,
                        w[1].data.cast(),
                        sa,
                        w[2].data.cast(),
                        sb,
                        w[0].data.cast(),
                        sc,
                        combine,
                    )
                }
            };
        }
        match dtype {
            DType::F32 => product!(f32),
            DType::BF16 => product!(bf16),
            DType::F16 => product!(f16),
            _ => unreachable!("lowering selects this function for three dtypes only"),
        }
    }

    /// The reference semantics on the operands' windows, one memory per operand.
    fn reference(
        &mut self,
        step: &Step,
        windows: &[Param],
        offsets: &[i64],
        accumulate: bool,
    ) -> Result<(), Failure> {
        let mut args: SmallVec<[Arg; 5]> = SmallVec::new();
        for (i, arg) in step.args.iter().enumerate() {
            args.push(match arg {
                StepArg::None | StepArg::SetRegister(_) => Arg::None,
                StepArg::Index(_) => Arg::Int(offsets[i]),
                StepArg::Imm(x) => Arg::Imm(*x),
                StepArg::Int(x) => Arg::Int(*x),
                StepArg::Register(r) => Arg::Int(self.register_file.get(*r).copied().unwrap_or(0)),
                StepArg::Tile(t) => Arg::Span(sem::Span { mem: i as u32, ..t.span.clone() }),
                StepArg::Dynamic(d) => {
                    let values = self.index(d, offsets.get(INDEX_OPERANDS + i).copied().unwrap_or(0))?;
                    match d.resolve(step.op, i as u32, offsets[i], &values)? {
                        Some(arg) => arg,
                        // Skipped (isa.md 3.5.4).
                        None => return Ok(()),
                    }
                }
            });
        }
        let call = Call {
            op: step.op,
            engine: step.engine,
            generation: step.generation,
            args: &args,
            attrs: &step.attrs,
            accumulate,
            salt: 0,
        };
        let mut memory = Windows(windows);
        sem::execute(&call, &mut memory, &mut self.state).map_err(|f| (f.code, f.message))?;
        if let Some(tensor) = self.state.printed.take() {
            let at = self.program.kernel.locs.resolve(self.program.kernel.insts[step.inst].loc);
            print::emit(Printed { text: sem::text_of(&step.attrs).to_string(), at, tensor });
        }
        if let Some(value) = self.state.register.take() {
            for arg in &step.args {
                if let StepArg::SetRegister(r) = arg {
                    self.register_file[*r] = value;
                }
            }
        }
        Ok(())
    }

    /// Checks what the registers that bound a loop have promised (isa.md 11.3).
    fn check_bounds(&mut self, index: usize, [lo, hi]: [i64; 2]) -> Result<(), Failure> {
        let Some(LoopData::For { lo: from, hi: to, .. }) = self.program.kernel.loops.get(Loop::new(index))
        else {
            return Ok(());
        };
        for (bound, value, start) in [(from, lo, true), (to, hi, false)] {
            let Bound::Reg { reg, max } = bound else { continue };
            let limit = match value {
                ..0 if start => "at least 0".to_string(),
                v if !start && v > *max => format!("at most {max}"),
                _ => continue,
            };
            let name = &self.program.kernel.regs[*reg].name;
            let message = format!("loop bound `{name}` is {value}, but must be {limit}");
            return Err((Code::RuntimeIndex, message));
        }
        Ok(())
    }

    /// The memory of a whole buffer.
    fn whole(&self, d: &Dynamic) -> Option<Param> {
        let (memory, start, len) = match d.place() {
            Place::Param(i) => (self.params.get(i)?, 0, self.params.get(i)?.len),
            Place::Scratch(at) => {
                let (memory, start) = self.scratch_at(at);
                (memory, start, d.row_stride * nki_ir::target::PARTITIONS as usize)
            }
        };
        let len = len.min(memory.len.checked_sub(start)?);
        let writable = d.tile.writable;
        if writable && !memory.writable {
            return None;
        }
        // SAFETY: `start <= memory.len`.
        Some(Param { data: unsafe { memory.data.add(start) }, len, writable })
    }

    /// The values of an operand's index.
    fn index(&self, d: &Dynamic, offset: i64) -> Result<Vec<Option<i64>>, Failure> {
        let tile = match &d.index {
            Index::Register(r) => return Ok(vec![self.register_file.get(*r).copied().filter(|v| *v >= 0)]),
            Index::Scalar(t) | Index::Rows(t) | Index::Columns { tile: t, .. } => t,
        };
        let window = self
            .window(tile, offset)
            .ok_or_else(|| (Code::OutOfBounds, format!("the index of `{}` leaves its buffer", d.name)))?;
        let memory = Windows(std::slice::from_ref(&window));
        let bytes = memory.bytes(0);
        let mut values = Vec::with_capacity(tile.span.elements());
        tile.span.for_each_range(|start, len| {
            let run = bytes.get(start..start + len).unwrap_or(&[]);
            values.extend(run.chunks_exact(tile.span.dtype.bytes()).map(|element| {
                let mut bits = [0; 4];
                bits[..element.len()].copy_from_slice(element);
                u32::from_le_bytes(bits)
            }));
        });
        if let Index::Columns { .. } = d.index {
            return Ok(index_values(tile.span.dtype, values.into_iter()));
        }
        // A list runs down the columns of its tile (isa.md 9.6.2); that of a transpose may be longer than its rows.
        let columns = tile.span.row_elements().max(1);
        let down = (0..columns).flat_map(|c| values.iter().skip(c).step_by(columns).copied());
        let rows = if matches!(d.index, Index::Rows(_)) { d.rows } else { 1 };
        Ok(index_values(tile.span.dtype, down.take(rows)))
    }
}

fn lead(step: &Step, operand: usize) -> usize {
    match &step.args[operand] {
        StepArg::Tile(t) => t.lead,
        _ => 0,
    }
}

/// The operands of one step as memories.
struct Windows<'a>(&'a [Param]);

impl Memory for Windows<'_> {
    fn bytes(&self, mem: u32) -> &[u8] {
        match self.0.get(mem as usize) {
            // SAFETY: the window lies inside a memory that outlives the call, and the reference semantics holds one slice of
            // a call's memories at a time, so no `&mut` to the same bytes is alive.
            Some(w) if w.len > 0 => unsafe { std::slice::from_raw_parts(w.data, w.len) },
            _ => &[],
        }
    }
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8] {
        match self.0.get(mem as usize) {
            // SAFETY: as `bytes`, and the memory is writable.
            Some(w) if w.len > 0 && w.writable => unsafe { std::slice::from_raw_parts_mut(w.data, w.len) },
            _ => &mut [],
        }
    }
}

/// Runs step `index` with its operands' offsets. Returns 0, or 1 after recording a fault.
///
/// # Safety
/// Called by generated code only: `context` is the address it was given, `offsets` has one value per operand of the step.
pub unsafe extern "C" fn run_step(
    context: *mut Context<'_>,
    index: u32,
    offsets: *const i64,
    accumulate: u32,
) -> i32 {
    // SAFETY: generated code passes on the pointer that `Code::call` made from a unique borrow.
    let context = unsafe { &mut *context };
    let index = index as usize;
    let Some(step) = context.program.steps.get(index) else { return 1 };
    // SAFETY: generated code passes the address of its offsets, of which those that the step needs are stored.
    let offsets = unsafe { std::slice::from_raw_parts(offsets, OFFSETS) };
    let loc = context.program.kernel.insts[step.inst].loc;
    match context.step(index, offsets, accumulate != 0) {
        Ok(()) => 0,
        Err(fault) => {
            context.fault = Some((loc, fault));
            1
        }
    }
}

/// Checks the bounds `lo` and `hi` of loop `index`, which are in registers. Returns 0, or 1 after recording a fault.
///
/// # Safety
/// Called by generated code only: `context` is the address it was given.
pub unsafe extern "C" fn check_bounds(context: *mut Context<'_>, index: u32, lo: i64, hi: i64) -> i32 {
    // SAFETY: generated code passes on the pointer that `Code::call` made from a unique borrow.
    let context = unsafe { &mut *context };
    match context.check_bounds(index as usize, [lo, hi]) {
        Ok(()) => 0,
        Err(fault) => {
            let loc = context.program.kernel.loops[Loop::new(index as usize)].loc();
            context.fault = Some((loc, fault));
            1
        }
    }
}

/// Runs chain `index` with the offsets of its instructions' operands. Returns 0, or 1 after recording a fault.
///
/// # Safety
/// Called by generated code only: `context` is the address it was given, `offsets` has the chain's values.
pub unsafe extern "C" fn run_chain(context: *mut Context<'_>, index: u32, offsets: *const i64) -> i32 {
    // SAFETY: generated code passes on the pointer that `Code::call` made from a unique borrow.
    let context = unsafe { &mut *context };
    let Some(chain) = context.program.chains.get(index as usize) else { return 1 };
    // SAFETY: generated code passes the address of as many values.
    let offsets = unsafe { std::slice::from_raw_parts(offsets, chain.offsets.len()) };
    match context.chain(chain, offsets) {
        Ok(()) => 0,
        Err((inst, fault)) => {
            let loc = context.program.kernel.insts[inst].loc;
            context.fault = Some((loc, fault));
            1
        }
    }
}

/// Makes product `index` with the offsets of its operands and result. Returns 0, or 1 if the instructions must run instead.
///
/// # Safety
/// Called by generated code only: `context` is the address it was given, `offsets` has three values.
pub unsafe extern "C" fn run_nest(context: *mut Context<'_>, index: u32, offsets: *const i64) -> i32 {
    // SAFETY: generated code passes on the pointer that `Code::call` made from a unique borrow, and the address of its
    // offsets, of which it has stored three.
    let (context, offsets) = unsafe { (&*context, &*offsets.cast::<[i64; 3]>()) };
    i32::from(context.nest(index as usize, offsets).is_none())
}

/// Fills buffer `buf` with the pattern that storage never written reads as.
///
/// # Safety
/// Called by generated code only: `context` is the address it was given.
pub unsafe extern "C" fn poison_tile(context: *mut Context<'_>, buf: u32) {
    // SAFETY: generated code passes on the pointer that `Code::call` made from a unique borrow.
    let context = unsafe { &mut *context };
    let buf = Buf::new(buf as usize);
    let Some(data) = context.program.kernel.bufs.get(buf) else { return };
    let Place::Scratch(start) = context.program.layout.place(buf) else { return };
    let len = context.program.layout.row_stride(buf) * data.partitions() as usize;
    let (memory, start) = context.scratch_at(start);
    if start + len <= memory.len {
        // SAFETY: in bounds of the memory, and the buffer is allocated by the turn that this context runs.
        let bytes = unsafe { std::slice::from_raw_parts_mut(memory.data.add(start), len) };
        nki_ir::sem::cast::poison(data.dtype, bytes);
    }
}
