//! The memories of a core with their contents, and what instructions do to them.
//!
//! SBUF and PSUM are 128 rows of bytes; every HBM tensor is a memory of its own. A bit per byte tells what has been written,
//! and for PSUM what a matmul has written last.

mod bits;
mod resolve;

use crate::code::{Flat, Regs};
use crate::options::SimOptions;
use crate::program::{HbmTensor, MAccumulate, MKind, MOperand, STREAM_ENGINES};
use crate::verify::tensor_bytes;
use bits::Bits;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::interp::Uninitialized;
use nki_ir::kernel::{BufKind, Space};
use nki_ir::op::{Effect, Engine, Op, OperandSpec};
use nki_ir::print::{self, Printed};
use nki_ir::sem::{Arg, Call, Later, Memory, Rows, Span, State, cast, execute, text_of, used};
use nki_ir::target::{Gen, PARTITIONS, PSUM_BYTES_PER_PARTITION};
use nki_ir::{Tensor, op::TimingClass};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

pub(crate) const SBUF: u32 = 0;
pub(crate) const PSUM: u32 = 1;
/// Memory of HBM tensor 0.
pub(crate) const TENSORS: u32 = 2;

/// Operands that are remembered as written.
const MOST_COMPLETE: usize = 1 << 16;

/// A memory with the bits of what has been written. The bytes of inputs are the caller's.
struct Store<'a> {
    bytes: Cow<'a, [u8]>,
    written: Bits,
}

pub(crate) struct Data<'a> {
    flat: &'a Flat,
    stores: Vec<Store<'a>>,
    /// Operands that are known to be written: what has been written stays so.
    complete: HashSet<Span>,
    /// PSUM bytes that a matmul wrote last.
    accumulating: Bits,
    state: State,
    uninitialized: Uninitialized,
    /// Instructions whose uninitialised reads have been reported.
    reported: BTreeSet<u32>,
    pub warnings: Diagnostics,
    sbuf_row: u64,
    /// Products whose sums are made when somebody looks at PSUM.
    later: Later,
}

impl Memory for Data<'_> {
    fn bytes(&self, mem: u32) -> &[u8] {
        self.stores.get(mem as usize).map_or(&[], |s| &s.bytes)
    }
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8] {
        self.stores.get_mut(mem as usize).map_or(&mut [], |s| s.bytes.to_mut())
    }
    fn later(&mut self) -> Option<&mut Later> {
        Some(&mut self.later)
    }
}

/// A resolved instruction; transfers keep it from trigger to completion.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    args: SmallVec<[Arg; 4]>,
}

impl Resolved {
    /// Bytes within a partition, or within the tensor, at which the rows of an operand start.
    pub fn bases(&self, operand: usize) -> Option<Vec<i64>> {
        match self.args.get(operand)? {
            Arg::Span(s) if s.mem >= TENSORS => Some(vec![s.base as i64]),
            Arg::Span(s) => Some(vec![(s.base % s.part_stride.max(1)) as i64]),
            Arg::Rows(r) => Some(r.starts.iter().flatten().map(|s| *s as i64).collect()),
            _ => None,
        }
    }
}

/// An empty vector with room for `len` bytes.
fn reserve(len: usize, what: &str) -> Result<Vec<u8>, Box<Diagnostic>> {
    let mut bytes = Vec::new();
    if bytes.try_reserve_exact(len).is_err() {
        let d =
            Diagnostic::error(Code::Limit, format!("this machine cannot allocate the {len} bytes of {what}"));
        return Err(Box::new(d.help("run time-only, or with smaller tensors")));
    }
    Ok(bytes)
}

fn allocate(len: usize, what: &str) -> Result<Vec<u8>, Box<Diagnostic>> {
    let mut bytes = reserve(len, what)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

/// Checks the inputs against the program's signature: inputs and inouts in their order.
pub(crate) fn check_inputs(tensors: &[HbmTensor], inputs: &[Tensor]) -> Result<(), Diagnostics> {
    let wanted: Vec<&HbmTensor> =
        tensors.iter().filter(|t| matches!(t.kind, BufKind::Input | BufKind::InOut)).collect();
    if wanted.len() != inputs.len() {
        let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
        let message = format!(
            "{} tensors are given; the program takes {}: {}",
            inputs.len(),
            wanted.len(),
            names.join(", ")
        );
        return Err(Diagnostic::error(Code::Argument, message).into());
    }
    let mut diags = Diagnostics::new();
    for (t, x) in wanted.iter().zip(inputs) {
        let same = t.dtype == x.dtype && t.shape.iter().map(|&d| d as usize).eq(x.shape.iter().copied());
        if !same || x.data.len() as u64 != tensor_bytes(t).unwrap_or(0) {
            diags.push(Diagnostic::error(
                Code::Argument,
                format!("`{}` is {} {:?}; {} {:?} is given", t.name, t.dtype, t.shape, x.dtype, x.shape),
            ));
        }
    }
    if diags.has_errors() { Err(diags) } else { Ok(()) }
}

impl<'a> Data<'a> {
    /// Loads the inputs; outputs and scratch start poisoned.
    pub fn new(flat: &'a Flat, inputs: &'a [Tensor], options: &SimOptions) -> Result<Data<'a>, Diagnostics> {
        let header = &flat.header;
        check_inputs(&header.tensors, inputs)?;
        let sbuf_row = u64::from(header.target.sbuf_bytes_per_partition());
        let on_chip = |row: u64, what| {
            let len = (row * u64::from(PARTITIONS)) as usize;
            allocate(len, what).map(|bytes| Store { bytes: bytes.into(), written: Bits::none(len) })
        };
        let psum_row = u64::from(PSUM_BYTES_PER_PARTITION);
        let mut stores = vec![on_chip(sbuf_row, "SBUF")?, on_chip(psum_row, "PSUM")?];
        let mut given = inputs.iter();
        for t in &header.tensors {
            let len = usize::try_from(tensor_bytes(t).unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
            let what = format!("tensor `{}`", t.name);
            let input = matches!(t.kind, BufKind::Input | BufKind::InOut).then(|| given.next()).flatten();
            stores.push(match input {
                Some(x) if t.kind == BufKind::Input => {
                    Store { bytes: Cow::Borrowed(&x.data), written: Bits::all() }
                }
                Some(x) => {
                    let mut bytes = reserve(len, &what)?;
                    bytes.extend_from_slice(&x.data);
                    Store { bytes: bytes.into(), written: Bits::all() }
                }
                None => {
                    let mut bytes = allocate(len, &what)?;
                    cast::poison(t.dtype, &mut bytes);
                    Store { bytes: bytes.into(), written: Bits::none(len) }
                }
            });
        }
        let accumulating = Bits::none((psum_row * u64::from(PARTITIONS)) as usize);
        Ok(Data {
            flat,
            stores,
            complete: HashSet::new(),
            accumulating,
            state: State::default(),
            uninitialized: options.uninitialized,
            reported: BTreeSet::new(),
            warnings: Diagnostics::new(),
            sbuf_row,
            later: Later::new(PSUM, options.threads()),
        })
    }

    /// The results: outputs and inouts in their order. Warns of output bytes that were never written.
    pub fn finish(mut self) -> (Vec<Tensor>, Diagnostics) {
        let mut outputs = Vec::new();
        for (i, t) in self.flat.header.tensors.iter().enumerate() {
            if !matches!(t.kind, BufKind::Output | BufKind::InOut) {
                continue;
            }
            let store = &mut self.stores[TENSORS as usize + i];
            let missing = store.written.count_clear(store.bytes.len());
            if missing > 0 {
                self.warnings.push(Diagnostic::warning(
                    Code::OutputNotWritten,
                    format!("{missing} of the {} bytes of `{}` are never written", store.bytes.len(), t.name),
                ));
            }
            let shape = t.shape.iter().map(|&d| d as usize).collect();
            outputs.push(Tensor {
                dtype: t.dtype,
                shape,
                data: std::mem::take(&mut store.bytes).into_owned(),
            });
        }
        (outputs, self.warnings)
    }

    fn at(&self, d: Diagnostic, inst: u32) -> Box<Diagnostic> {
        Box::new(d.at(&self.flat.header.locs, self.flat.loc(inst)))
    }

    /// Resolves an instruction or transfer; `None`: an out-of-bounds index skips it.
    pub fn prepare(&mut self, inst: u32, regs: &Regs) -> Result<Option<Resolved>, Box<Diagnostic>> {
        let flat = self.flat;
        match &flat.insts[inst as usize].kind {
            MKind::Compute { op, operands, attrs, .. } | MKind::Dma { op, operands, attrs, .. } => {
                self.resolve(inst, *op, operands, attrs, regs)
            }
            _ => Ok(None),
        }
    }

    /// Executes a data instruction of `engine`.
    pub fn compute(
        &mut self,
        engine: Engine,
        inst: u32,
        resolved: &Resolved,
        regs: &Regs,
    ) -> Result<(), Box<Diagnostic>> {
        let flat = self.flat;
        let MKind::Compute { op, attrs, accumulate, .. } = &flat.insts[inst as usize].kind else {
            return Ok(());
        };
        let adds = match accumulate {
            MAccumulate::Overwrite => false,
            MAccumulate::Add => true,
            MAccumulate::UnlessFirst(first) => !first.iter().all(|(r, v)| regs.get(*r) == *v),
        };
        self.execute(inst, *op, engine, resolved, attrs, adds)
    }

    /// Executes a transfer when it completes.
    pub fn transfer(&mut self, inst: u32, resolved: &Resolved) -> Result<(), Box<Diagnostic>> {
        let flat = self.flat;
        let MKind::Dma { op, attrs, .. } = &flat.insts[inst as usize].kind else { return Ok(()) };
        self.execute(inst, *op, Engine::Dma, resolved, attrs, false)
    }

    fn execute(
        &mut self,
        inst: u32,
        op: Op,
        engine: Engine,
        resolved: &Resolved,
        attrs: &[nki_ir::Attr],
        accumulate: bool,
    ) -> Result<(), Box<Diagnostic>> {
        let specs = op.row().operands;
        for (i, (spec, arg)) in specs.iter().zip(&resolved.args).enumerate() {
            let effect = op.row().effect(i, attrs);
            let reads = matches!(effect, Effect::Read | Effect::Update)
                || (effect == Effect::ReadWrite && accumulate);
            if accumulate && spec.effect == Effect::ReadWrite {
                self.check_accumulation(inst, arg)?;
            }
            if reads {
                match arg {
                    Arg::Span(span) if effect == Effect::ReadWrite && self.later.holds(span) => {}
                    Arg::Span(span) if spec.kind.is_partial() => {
                        for part in used(spec.kind, span) {
                            self.check_span(inst, spec.name, &part)?;
                        }
                    }
                    _ => self.check_written(inst, spec.name, arg)?,
                }
            }
        }
        let generation = self.flat.header.target.generation();
        let call =
            Call { op, engine, generation, args: &resolved.args, attrs, accumulate, salt: inst.into() };
        self.later.settle_for(&call, self.stores[PSUM as usize].bytes.to_mut());
        // The state moves out so that the memories can be borrowed beside it.
        let mut state = std::mem::take(&mut self.state);
        let result = execute(&call, self, &mut state);
        self.state = state;
        if let Err(fault) = result {
            let d = Diagnostic::error(fault.code, format!("{}: {}", op.name(), fault.message));
            return Err(self.at(d, inst));
        }
        if let Some(tensor) = self.state.printed.take() {
            let at = self.flat.header.locs.resolve(self.flat.loc(inst));
            print::emit(Printed { text: text_of(attrs).to_string(), at, tensor });
        }
        if let Some(outside) = self.state.outside.take()
            && self.reported.insert(inst)
        {
            self.warnings.push(outside.warning(op).at(&self.flat.header.locs, self.flat.loc(inst)));
        }
        let matmul = op.row().timing == TimingClass::Matmul;
        // What a matmul adds to is marked: that has been checked.
        let marked = |spec: &OperandSpec| matmul && accumulate && spec.effect == Effect::ReadWrite;
        for (spec, arg) in specs.iter().zip(&resolved.args) {
            match arg {
                _ if spec.effect == Effect::Read => {}
                Arg::Span(span) if marked(spec) => self.later.written(span),
                Arg::Span(span) if spec.kind.is_partial() => {
                    used(spec.kind, span).iter().for_each(|part| self.mark_span(part, false));
                }
                _ => self.mark(arg, matmul),
            }
        }
        Ok(())
    }

    /// Makes the sums that are left to make.
    fn settle(&mut self) {
        self.later.settle(self.stores[PSUM as usize].bytes.to_mut());
    }

    /// Marks what an instruction has written.
    fn mark(&mut self, arg: &Arg, matmul: bool) {
        match arg {
            Arg::Span(span) => self.mark_span(span, matmul),
            Arg::Columns(columns) => columns.spans().for_each(|span| self.mark_span(&span, matmul)),
            Arg::Rows(rows) => {
                let mut row = rows.row.clone();
                for start in rows.starts.iter().flatten() {
                    row.base = *start;
                    self.mark_span(&row, false);
                }
            }
            _ => {}
        }
    }
    fn mark_span(&mut self, span: &Span, matmul: bool) {
        self.stores[span.mem as usize].written.set(span);
        self.later.written(span);
        if span.mem == PSUM {
            if matmul { self.accumulating.set(span) } else { self.accumulating.clear(span) }
        }
    }

    /// A matmul adds only to what matmuls have put there (isa.md section 13).
    fn check_accumulation(&mut self, inst: u32, arg: &Arg) -> Result<(), Box<Diagnostic>> {
        let span = match arg {
            Arg::Span(span) => span,
            Arg::Columns(columns) => {
                return columns.spans().try_for_each(|s| self.check_accumulation(inst, &Arg::Span(s)));
            }
            _ => return Ok(()),
        };
        if self.later.holds(span) {
            return Ok(());
        }
        let bits = match self.flat.header.target.generation() {
            Gen::Gen4 => &self.stores[PSUM as usize].written,
            _ => &self.accumulating,
        };
        let Some(byte) = bits.first_clear(span) else { return Ok(()) };
        let what = self.place_name(PSUM, byte);
        let written = self.stores[PSUM as usize].written.is_set(byte);
        let why = if written { "was written by something else since" } else { "has never been written" };
        let d = Diagnostic::error(Code::Accumulate, format!("the matmul adds to {what}, which {why}"))
            .help("let the first matmul of the group overwrite")
            .note("isa.md section 13");
        Err(self.at(d, inst))
    }

    /// Reads of bytes never written: an error, or a warning and poison.
    fn check_written(&mut self, inst: u32, operand: &str, arg: &Arg) -> Result<(), Box<Diagnostic>> {
        match arg {
            Arg::Span(span) => self.check_span(inst, operand, span),
            Arg::Columns(columns) => {
                columns.spans().try_for_each(|span| self.check_span(inst, operand, &span))
            }
            Arg::Rows(Rows { row, starts }) => {
                let mut row = row.clone();
                for start in starts.iter().flatten() {
                    row.base = *start;
                    self.check_span(inst, operand, &row)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_span(&mut self, inst: u32, operand: &str, span: &Span) -> Result<(), Box<Diagnostic>> {
        if self.complete.contains(span) {
            return Ok(());
        }
        let store = &self.stores[span.mem as usize];
        let Some(byte) = store.written.first_clear(span) else {
            if self.complete.len() >= MOST_COMPLETE {
                self.complete.clear();
            }
            if span.mem < TENSORS {
                self.complete.insert(span.clone());
            }
            return Ok(());
        };
        let what = self.place_name(span.mem, byte);
        let message = format!("`{operand}` reads {what}, which has never been written");
        let locs = &self.flat.header.locs;
        let mut d = match self.uninitialized {
            Uninitialized::Error => Diagnostic::error(Code::Uninitialized, message),
            Uninitialized::Warn => Diagnostic::warning(Code::Uninitialized, message),
        };
        d = d.at(locs, self.flat.loc(inst));
        if let Some(p) = self.placement(span.mem, byte) {
            d = d.related(locs, p.loc, format!("`{}` is declared here", p.name));
        }
        if self.uninitialized == Uninitialized::Error {
            return Err(Box::new(d));
        }
        if self.reported.insert(inst) {
            self.warnings.push(d);
        }
        self.poison(span);
        Ok(())
    }

    /// Gives unwritten elements of a span the poison of its dtype (isa.md 3.4.4).
    fn poison(&mut self, span: &Span) {
        self.settle();
        self.later.written(span);
        let width = span.dtype.bytes();
        let Store { bytes, written } = &mut self.stores[span.mem as usize];
        let bytes = bytes.to_mut();
        span.for_each_range(|start, len| {
            for (i, element) in bytes[start..start + len].chunks_exact_mut(width).enumerate() {
                if !written.is_set(start + i * width) {
                    cast::poison(span.dtype, element);
                }
            }
        });
    }

    fn row_bytes(&self, mem: u32) -> usize {
        if mem == SBUF { self.sbuf_row as usize } else { PSUM_BYTES_PER_PARTITION as usize }
    }

    /// The placement that covers a byte of a memory; of several, the one declared last.
    fn placement(&self, mem: u32, byte: usize) -> Option<&crate::program::Placement> {
        if mem >= TENSORS {
            return None;
        }
        let space = if mem == SBUF { Space::Sbuf } else { Space::Psum };
        let (part, at) = ((byte / self.row_bytes(mem)) as u64, (byte % self.row_bytes(mem)) as u64);
        let covers = |p: &&crate::program::Placement| {
            let range =
                |start: u32, n: u32, x: u64| x >= u64::from(start) && x < u64::from(start) + u64::from(n);
            p.space == space && range(p.start_partition, p.partitions, part) && range(p.offset, p.bytes, at)
        };
        self.flat.header.placements.iter().rev().find(covers)
    }

    /// A byte in words.
    fn place_name(&self, mem: u32, byte: usize) -> String {
        if mem >= TENSORS {
            let t = &self.flat.header.tensors[(mem - TENSORS) as usize];
            return format!("byte {byte} of `{}`", t.name);
        }
        let row = self.row_bytes(mem);
        let space = if mem == SBUF { "sbuf" } else { "psum" };
        let at = format!("{space} partition {}, byte {}", byte / row, byte % row);
        match self.placement(mem, byte) {
            Some(p) => format!("`{}` ({at})", p.name),
            None => at,
        }
    }

    /// The value that a register takes from memory, or the write of a register.
    pub fn register(&mut self, stream: usize, inst: u32, regs: &mut Regs) -> Result<(), Box<Diagnostic>> {
        let flat = self.flat;
        let (access, store) = match &flat.insts[inst as usize].kind {
            MKind::RegLoad { src, .. } => (src, false),
            MKind::RegStore { dst, .. } => (dst, true),
            _ => return Ok(()),
        };
        debug_assert!(stream < STREAM_ENGINES.len());
        let name = if store { "dst" } else { "src" };
        let operand = MOperand::Access((**access).clone());
        let op = if store { Op::RegisterStore } else { Op::RegisterLoad };
        let Some(arg) = self.arg(inst, op, name, &operand, regs, false)? else { return Ok(()) };
        let Arg::Span(span) = &arg else { return Ok(()) };
        self.settle();
        let (at, width) = (span.base as usize, span.dtype.bytes());
        match &flat.insts[inst as usize].kind {
            MKind::RegLoad { reg, .. } => {
                self.check_written(inst, name, &arg)?;
                let bytes = &self.stores[span.mem as usize].bytes[at..at + width];
                regs.set(*reg, resolve::integer(bytes, span.dtype));
            }
            MKind::RegStore { reg, .. } => {
                let value = regs.get(*reg).to_le_bytes();
                self.bytes_mut(span.mem)[at..at + width].copy_from_slice(&value[..width]);
                self.mark(&arg, false);
            }
            _ => {}
        }
        Ok(())
    }
}
