//! Row instructions straight from and to the memory of their operands. The reference copies each row, works on the copy and
//! copies it back; here the SIMD rows of `nki-rt`, the same ones in the same order, read and write where the operands are.
//! What must be converted passes in strips that stay in the first cache.

use super::runtime::Param;
use super::step::{StepArg, Tile};
use nki_ir::kernel::{Attr, InstData};
use nki_ir::op::{ActFn, AluOp, Engine, Op, ReduceCmd};
use nki_ir::sem::{self, State};
use nki_ir::target::PARTITIONS;
use nki_rt::{Activation, AlignedBuf, Binary, Format, Input, Reduction, Tier};
use smallvec::SmallVec;
use std::cell::RefCell;

/// An instruction on `parts` rows of `n` elements.
#[derive(Clone, Debug)]
pub struct RowPlan {
    parts: usize,
    n: usize,
    dst: Row,
    /// The result goes past the caches: nobody reads it soon.
    pub streams: bool,
    kind: Kind,
}

/// Rows of an operand: partitions `stride` bytes apart.
#[derive(Clone, Copy, Debug)]
struct Row {
    operand: usize,
    stride: usize,
    format: Format,
}

/// One number for each row.
#[derive(Clone, Copy, Debug)]
enum Scalar {
    Number(f32),
    Column(Row),
}

/// What an operation takes beside what came before it.
#[derive(Clone, Copy, Debug)]
enum Other {
    Scalar(Scalar),
    Row(Row),
}

/// One operation on every element.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Binary {
        operation: Binary,
        other: Other,
        reversed: bool,
    },
    /// Two operations in one pass.
    Twice {
        operations: [Binary; 2],
        others: [Other; 2],
    },
    Unary(Activation),
    Affine {
        function: Activation,
        scale: Scalar,
        bias: Scalar,
    },
}

impl Stage {
    /// What it takes beside the data.
    fn others(&self) -> SmallVec<[Other; 2]> {
        match *self {
            Stage::Binary { other, .. } => std::iter::once(other).collect(),
            Stage::Twice { others, .. } => others.into_iter().collect(),
            Stage::Unary(_) | Stage::Affine { .. } => SmallVec::new(),
        }
    }
}

#[derive(Clone, Debug)]
enum Kind {
    /// Stages one after the other, and the sums of their results.
    Map { data: Row, stages: SmallVec<[Stage; 2]>, sums: bool, sum_to: Option<Row> },
    /// Each row of the data to one number.
    Reduce { data: Row, columns: usize, reduction: Reduction, negate: bool },
}

/// The plan for an instruction, if its operands lie as rows of f32, bf16 or f16.
pub fn plan(data: &InstData, engine: Engine, args: &[StepArg]) -> Option<RowPlan> {
    let reader = Reader { data, args };
    let dst = reader.row("dst")?;
    let (parts, n) = reader.extent("dst")?;
    let plain = |stages: &[Stage], from| {
        let stages = match *stages {
            [first, second] => together(first, second).map_or([first, second].into_iter().collect(), one),
            _ => stages.iter().copied().collect(),
        };
        Some(Kind::Map { data: reader.like("dst", from)?, stages, sums: false, sum_to: None })
    };
    let kind = match data.op {
        Op::Activation if engine == Engine::Scalar => reader.activation()?,
        Op::TensorScalar => {
            let mut stages: SmallVec<[Stage; 2]> = SmallVec::new();
            stages.push(reader.stage("op0", "operand0", "reverse0")?);
            if reader.alu("op1")? != AluOp::Bypass {
                stages.push(reader.stage("op1", "operand1", "reverse1")?);
            }
            plain(&stages, "data")?
        }
        Op::TensorTensor => {
            let other = Other::Row(reader.like("dst", "data2")?);
            let operation = sem::alu::row_operation(reader.alu("op")?)?;
            plain(&[Stage::Binary { operation, other, reversed: false }], "data1")?
        }
        Op::ScalarTensorTensor => {
            let other = Other::Row(reader.like("dst", "operand1")?);
            let operation = sem::alu::row_operation(reader.alu("op1")?)?;
            let second = Stage::Binary { operation, other, reversed: reader.flag("reverse1")? };
            plain(&[reader.stage("op0", "operand0", "reverse0")?, second], "data")?
        }
        Op::Reciprocal => plain(&[Stage::Unary(Activation::Reciprocal)], "data")?,
        Op::TensorCopy if reader.row("src")?.format != dst.format => plain(&[], "src")?,
        Op::TensorReduce => reader.reduction()?,
        _ => return None,
    };
    let fits = n > 0 && parts > 0 && parts <= PARTITIONS as usize;
    fits.then_some(RowPlan { parts, n, dst, streams: false, kind })
}

fn one(stage: Stage) -> SmallVec<[Stage; 2]> {
    std::iter::once(stage).collect()
}

/// Two stages as one, if one pass has them.
fn together(first: Stage, second: Stage) -> Option<Stage> {
    let (
        Stage::Binary { operation: a, other, reversed },
        Stage::Binary { operation: b, other: then, reversed: turned },
    ) = (first, second)
    else {
        return None;
    };
    // Sums and products are the same either way.
    let plain = |operation: Binary, reversed: bool| !reversed || operation != Binary::Subtract;
    let fits = nki_rt::has_twice([a, b]) && plain(a, reversed) && plain(b, turned);
    fits.then_some(Stage::Twice { operations: [a, b], others: [other, then] })
}

/// Operands and attributes by name.
struct Reader<'a> {
    data: &'a InstData,
    args: &'a [StepArg],
}

impl Reader<'_> {
    fn attr(&self, name: &str) -> Option<&Attr> {
        self.data.attrs.get(self.data.op.row().attr(name)?)
    }

    fn alu(&self, name: &str) -> Option<AluOp> {
        if let Attr::Alu(op) = self.attr(name)? { Some(*op) } else { None }
    }

    fn flag(&self, name: &str) -> Option<bool> {
        if let Attr::Bool(flag) = self.attr(name)? { Some(*flag) } else { None }
    }

    fn arg(&self, name: &str) -> Option<(usize, &StepArg)> {
        let i = self.data.op.row().operand(name)?;
        Some((i, self.args.get(i)?))
    }

    fn extent(&self, name: &str) -> Option<(usize, usize)> {
        let (_, StepArg::Tile(t)) = self.arg(name)? else { return None };
        Some((t.span.parts as usize, t.span.row_elements()))
    }

    fn row(&self, name: &str) -> Option<Row> {
        let (operand, StepArg::Tile(t)) = self.arg(name)? else { return None };
        let format = sem::cast::row_format(t.span.dtype)?;
        let float = matches!(format, Format::F32 | Format::Bf16 | Format::F16);
        let plain = float && t.lead == 0 && t.span.is_row_contiguous();
        plain.then_some(Row { operand, stride: t.span.part_stride as usize, format })
    }

    /// The rows of an operand that has the extent of another.
    fn like(&self, other: &str, name: &str) -> Option<Row> {
        if self.extent(name)? == self.extent(other)? { self.row(name) } else { None }
    }

    fn column(&self, name: &str) -> Option<Row> {
        if self.extent(name)? == (self.extent("dst")?.0, 1) { self.row(name) } else { None }
    }

    fn scalar(&self, name: &str, absent: Option<f32>) -> Option<Scalar> {
        match self.arg(name)?.1 {
            StepArg::None => absent.map(Scalar::Number),
            StepArg::Imm(x) => Some(Scalar::Number(*x)),
            StepArg::Int(x) => Some(Scalar::Number(*x as f32)),
            StepArg::Tile(_) => self.column(name).map(Scalar::Column),
            _ => None,
        }
    }

    fn stage(&self, op: &str, operand: &str, reverse: &str) -> Option<Stage> {
        let function = match self.alu(op)? {
            AluOp::Abs => Activation::Abs,
            AluOp::Square => Activation::Square,
            AluOp::Relu => Activation::Relu,
            AluOp::Rsqrt => Activation::Rsqrt,
            AluOp::Reciprocal => Activation::Reciprocal,
            op => {
                let other = Other::Scalar(self.scalar(operand, None)?);
                let (operation, reversed) = (sem::alu::row_operation(op)?, self.flag(reverse)?);
                return Some(Stage::Binary { operation, other, reversed });
            }
        };
        Some(Stage::Unary(function))
    }

    fn activation(&self) -> Option<Kind> {
        let Attr::Act(f) = *self.attr("op")? else { return None };
        let Attr::ReduceCmd(cmd) = *self.attr("reduce_cmd")? else { return None };
        let sum_to = match self.arg("reduce_res")?.1 {
            StepArg::None => None,
            _ => Some(self.column("reduce_res")?),
        };
        let sums = match cmd {
            ReduceCmd::Idle if sum_to.is_none() => false,
            ReduceCmd::ResetReduce if self.alu("reduce_op")? == AluOp::Add => true,
            _ => return None,
        };
        if f == ActFn::Prelu {
            return None;
        }
        let (function, scale) = (sem::act::row_function(f)?, self.scalar("scale", Some(1.0))?);
        let stage = Stage::Affine { function, scale, bias: self.scalar("bias", Some(0.0))? };
        let stages = std::iter::once(stage).collect();
        Some(Kind::Map { data: self.like("dst", "data")?, stages, sums, sum_to })
    }

    fn reduction(&self) -> Option<Kind> {
        let (parts, columns) = self.extent("data")?;
        let reduction = match self.alu("op")? {
            AluOp::Add => Reduction::Add,
            AluOp::Multiply => Reduction::Multiply,
            AluOp::Maximum => Reduction::Maximum,
            AluOp::Minimum => Reduction::Minimum,
            _ => return None,
        };
        if self.extent("dst")? != (parts, 1) || columns == 0 {
            return None;
        }
        Some(Kind::Reduce { data: self.row("data")?, columns, reduction, negate: self.flag("negate")? })
    }
}

/// Rows whose sums advance side by side.
const BLOCK: usize = 8;

/// Columns of a strip: a few of them fit the first cache.
const STRIP: usize = 1024;

/// Columns of a strip of a block of rows.
const BLOCK_STRIP: usize = 512;

/// Numbers of a strip's room, and of all rooms of a thread.
const ROOM: usize = STRIP;
const ROOMS: usize = BLOCK * BLOCK_STRIP + 3 * ROOM;

thread_local! {
    /// Strips of operands and results that are not computed where they lie.
    static WORK: RefCell<AlignedBuf> = RefCell::new(AlignedBuf::zeroed(ROOMS * 4));
}

impl RowPlan {
    /// Runs the instruction; `false` if an operand is not aligned for its numbers, and then nothing was done.
    ///
    /// # Safety
    /// The windows are those of the instruction's operands: all rows are inside, and what is written overlaps what is read
    /// only where the views are the same.
    pub unsafe fn run(&self, tier: Tier, state: &mut State, w: &[Param]) -> bool {
        let aligned = |row: Row| {
            row.format != Format::F32
                || (w[row.operand].address() as usize).is_multiple_of(4) && row.stride.is_multiple_of(4)
        };
        if !self.rows().into_iter().all(aligned) {
            return false;
        }
        WORK.with_borrow_mut(|work| {
            let job = Job { tier, plan: self, w, work: work.as_bytes_mut().as_mut_ptr().cast() };
            // SAFETY: the caller's promise; `work` has ROOMS numbers.
            unsafe {
                match &self.kind {
                    Kind::Map { data, stages, sums: false, .. } if self.n == 1 => job.columns(*data, stages),
                    Kind::Map { data, stages, sums: false, .. } => job.map(*data, stages),
                    Kind::Map { data, stages, sums: true, sum_to } => {
                        job.sum(state, *data, stages[0], *sum_to)
                    }
                    Kind::Reduce { data, columns, reduction, negate } => {
                        job.reduce(*data, *columns, *reduction, *negate);
                    }
                }
            }
        });
        true
    }

    /// All operands that are rows.
    fn rows(&self) -> SmallVec<[Row; 4]> {
        let mut rows = SmallVec::new();
        rows.push(self.dst);
        match &self.kind {
            Kind::Reduce { data, .. } => rows.push(*data),
            Kind::Map { data, stages, .. } => {
                rows.push(*data);
                rows.extend(stages.iter().flat_map(Stage::others).filter_map(|other| match other {
                    Other::Row(row) => Some(row),
                    Other::Scalar(_) => None,
                }));
            }
        }
        rows
    }

    /// Whether the rows of results are added up.
    pub fn folds(&self) -> bool {
        matches!(
            self.kind,
            Kind::Map { sums: true, .. }
                | Kind::Reduce { reduction: Reduction::Add | Reduction::Multiply, .. }
        )
    }

    /// Whether the result may go past the caches: an operand that is the same storage is read before.
    pub fn can_stream(&self, dst: &Tile) -> bool {
        self.n > 1 && dst.span.row_elements() == self.n
    }
}

/// The numbers that the stages take for one row.
type Numbers = SmallVec<[[f32; 2]; 2]>;

/// One execution. The functions have the contract of [`RowPlan::run`].
struct Job<'a> {
    tier: Tier,
    plan: &'a RowPlan,
    w: &'a [Param],
    work: *mut f32,
}

impl Job<'_> {
    /// Room for a strip: 0 for what stages leave, 1 for another operand, 2 for rounded results.
    unsafe fn room(&self, i: usize) -> *mut f32 {
        // SAFETY: `work` has ROOMS numbers, and `i` is at most 2.
        unsafe { self.work.add(BLOCK * BLOCK_STRIP + i * ROOM) }
    }

    /// Element `c` of row `p`.
    unsafe fn at(&self, row: Row, p: usize, c: usize) -> *mut u8 {
        // SAFETY: row `p` is inside the operand's window.
        unsafe { self.w[row.operand].address().add(p * row.stride + c * row.format.bytes()) }
    }

    unsafe fn scalar(&self, s: Scalar, p: usize) -> f32 {
        match s {
            Scalar::Number(x) => x,
            Scalar::Column(row) => {
                let mut x = 0.0;
                // SAFETY: the column has one element in each partition.
                unsafe { nki_rt::widen_raw(self.tier, row.format, self.at(row, p, 0), &mut x, 1) };
                x
            }
        }
    }

    unsafe fn numbers(&self, stages: &[Stage], p: usize) -> Numbers {
        let other = |other: Other| match other {
            // SAFETY: the contract.
            Other::Scalar(x) => unsafe { self.scalar(x, p) },
            Other::Row(_) => 0.0,
        };
        let of = |stage: &Stage| match *stage {
            Stage::Binary { other: x, .. } => [other(x), 0.0],
            Stage::Twice { others, .. } => others.map(other),
            // SAFETY: the contract.
            Stage::Affine { scale, bias, .. } => unsafe { [self.scalar(scale, p), self.scalar(bias, p)] },
            Stage::Unary(_) => [0.0; 2],
        };
        stages.iter().map(of).collect()
    }

    /// `len` elements from `c` on of a row as f32: where they are, or widened into `room`.
    unsafe fn read(&self, row: Row, p: usize, [c, len]: [usize; 2], room: *mut f32) -> *const f32 {
        // SAFETY: the contract; `room` has `len` elements.
        unsafe {
            let from = self.at(row, p, c);
            if row.format == Format::F32 {
                return from.cast_const().cast();
            }
            nki_rt::widen_raw(self.tier, row.format, from, room, len);
            room
        }
    }

    /// Whether results are computed where they belong.
    fn in_place(&self) -> bool {
        self.plan.dst.format == Format::F32 && !self.plan.streams
    }

    /// A strip of row `p` through the stages, to `to`, or to where it is anyway; returns where. The last stage `streams`.
    unsafe fn strip(
        &self,
        (data, stages): (Row, &[Stage]),
        p: usize,
        strip: [usize; 2],
        numbers: &Numbers,
        (to, streams): (*mut f32, bool),
    ) -> *const f32 {
        let len = strip[1];
        // SAFETY: the contract. The destination is written by the last stage, when everything else has been read; what
        // comes before it is in a room unless there is one stage, which reads and writes element by element.
        unsafe {
            let within = stages.len() == 1 && !streams && !self.overlaps_another(stages);
            let room = if stages.is_empty() || within { to } else { self.room(0) };
            let mut from = self.read(data, p, strip, room);
            for (i, (stage, &[x, y])) in stages.iter().zip(numbers).enumerate() {
                let last = i + 1 == stages.len();
                let (to, streams) = if last { (to, streams) } else { (self.room(0), false) };
                let input = |other, x, room| match other {
                    Other::Scalar(_) => Input::Scalar(x),
                    Other::Row(row) => Input::Row(self.read(row, p, strip, self.room(room))),
                };
                let activate = if streams { nki_rt::activate_stream_raw } else { nki_rt::activate_raw };
                match *stage {
                    Stage::Unary(f) => activate(self.tier, f, from, to, len, None),
                    Stage::Affine { function, .. } => {
                        activate(self.tier, function, from, to, len, Some([x, y]))
                    }
                    Stage::Binary { operation, other, reversed } => {
                        let other = input(other, x, 1);
                        let (a, b) =
                            if reversed { (other, Input::Row(from)) } else { (Input::Row(from), other) };
                        let binary = if streams { nki_rt::binary_stream_raw } else { nki_rt::binary_raw };
                        binary(self.tier, operation, a, b, to, len);
                    }
                    Stage::Twice { operations, others: [a, b] } => {
                        let others = [input(a, x, 1), input(b, y, 2)];
                        nki_rt::binary_twice_raw(self.tier, operations, from, others, (to, len), streams);
                    }
                }
                from = to;
            }
            from
        }
    }

    /// Whether the destination may be where another operand of the stages is, so that the data must not be widened into it.
    fn overlaps_another(&self, stages: &[Stage]) -> bool {
        self.in_place() && stages.iter().flat_map(Stage::others).any(|o| matches!(o, Other::Row(_)))
    }

    /// Where results are computed: in place, or in `room` until they are rounded.
    unsafe fn target(&self, p: usize, c: usize, room: *mut f32) -> *mut f32 {
        // SAFETY: the contract.
        if self.in_place() { unsafe { self.at(self.plan.dst, p, c).cast() } } else { room }
    }

    /// Rounds the results at `from`, which are in no place of their own.
    unsafe fn finish(&self, p: usize, [c, len]: [usize; 2], from: *const f32) {
        let dst = self.plan.dst;
        // SAFETY: the contract; results are `len` numbers.
        unsafe {
            let to = self.at(dst, p, c);
            match (self.plan.streams, dst.format) {
                (false, Format::F32) => {}
                (true, Format::F32) => nki_rt::stream_raw(self.tier, from.cast(), to, len * 4),
                (false, format) => nki_rt::narrow_raw(self.tier, format, from, to, len),
                (true, format) => {
                    let room: *mut u8 = self.room(2).cast();
                    nki_rt::narrow_raw(self.tier, format, from, room, len);
                    nki_rt::stream_raw(self.tier, room, to, len * format.bytes());
                }
            }
        }
    }

    unsafe fn map(&self, data: Row, stages: &[Stage]) {
        let n = self.plan.n;
        let plain = self.plan.rows().iter().all(|row| row.format == Format::F32);
        // Nothing to convert: one sweep, past the caches if asked for.
        let whole = plain && stages.len() == 1;
        let streams = self.plan.streams && whole;
        let strip = if whole { n } else { STRIP };
        for p in 0..self.plan.parts {
            // SAFETY: the contract.
            unsafe {
                let numbers = self.numbers(stages, p);
                for c in (0..n).step_by(strip) {
                    let piece = [c, strip.min(n - c)];
                    if whole {
                        let to = self.at(self.plan.dst, p, c).cast();
                        self.strip((data, stages), p, piece, &numbers, (to, streams));
                        continue;
                    }
                    let to = self.target(p, c, self.room(0));
                    let from = self.strip((data, stages), p, piece, &numbers, (to, false));
                    self.finish(p, piece, from);
                }
            }
        }
    }

    /// The sums of a function's results. A block of rows at a time, each with its place in `work`.
    unsafe fn sum(&self, state: &mut State, data: Row, stage: Stage, sum_to: Option<Row>) {
        let Stage::Affine { function, .. } = stage else { unreachable!("only activations are summed") };
        let n = self.plan.n;
        let mut totals = [0.0f32; PARTITIONS as usize];
        for first in (0..self.plan.parts).step_by(BLOCK) {
            let count = BLOCK.min(self.plan.parts - first);
            // SAFETY: the contract.
            unsafe {
                let mut numbers = [[1.0, 0.0]; BLOCK];
                for (i, numbers) in numbers.iter_mut().enumerate().take(count) {
                    *numbers = self.numbers(&[stage], first + i)[0];
                }
                let direct = data.format == Format::F32;
                let strip = if direct && self.in_place() { n } else { BLOCK_STRIP };
                for c in (0..n).step_by(strip) {
                    let piece = [c, strip.min(n - c)];
                    let room = |i: usize| self.work.add(i * BLOCK_STRIP);
                    let from = if direct {
                        (self.at(data, first, c).cast_const().cast(), data.stride / 4)
                    } else {
                        (0..count).for_each(|i| _ = self.read(data, first + i, piece, room(i)));
                        (room(0).cast_const(), BLOCK_STRIP)
                    };
                    let to = if self.in_place() {
                        (self.at(self.plan.dst, first, c).cast(), self.plan.dst.stride / 4)
                    } else {
                        (room(0), BLOCK_STRIP)
                    };
                    let (numbers, totals) = (&numbers[..count], &mut totals[first..first + count]);
                    nki_rt::activate_fold_raw(self.tier, function, from, to, piece[1], numbers, totals);
                    if !self.in_place() {
                        (0..count).for_each(|i| self.finish(first + i, piece, room(i)));
                    }
                }
            }
        }
        for (p, total) in totals[..self.plan.parts].iter().enumerate() {
            state.scalar.values[p] = *total;
            state.scalar.defined[p] = true;
            if let Some(row) = sum_to {
                // SAFETY: one element in each partition.
                unsafe { nki_rt::narrow_raw(self.tier, row.format, total, self.at(row, p, 0), 1) };
            }
        }
    }

    unsafe fn reduce(&self, data: Row, n: usize, reduction: Reduction, negate: bool) {
        let direct = data.format == Format::F32;
        let strip = if direct { n } else { BLOCK_STRIP };
        for first in (0..self.plan.parts).step_by(BLOCK) {
            let count = BLOCK.min(self.plan.parts - first);
            let mut totals = [0.0f32; BLOCK];
            let totals = &mut totals[..count];
            // SAFETY: the contract; a row has at least one element.
            unsafe {
                for c in (0..n).step_by(strip) {
                    let len = strip.min(n - c);
                    let room = |i: usize| self.work.add(i * BLOCK_STRIP);
                    let mut rows = room(0).cast_const();
                    for (i, total) in totals.iter_mut().enumerate() {
                        let row = self.read(data, first + i, [c, len], room(i));
                        rows = if i == 0 { row } else { rows };
                        if c == 0 {
                            *total = *row;
                        }
                    }
                    let stride = if direct { data.stride / 4 } else { BLOCK_STRIP };
                    let skip = usize::from(c == 0);
                    nki_rt::fold_rows_raw(self.tier, reduction, rows.add(skip), stride, len - skip, totals);
                }
                for (p, total) in (first..).zip(totals) {
                    let x = if negate { -*total } else { *total };
                    let dst = self.plan.dst;
                    nki_rt::narrow_raw(self.tier, dst.format, &x, self.at(dst, p, 0), 1);
                }
            }
        }
    }

    /// Tiles of one column: the column is a row here.
    unsafe fn columns(&self, data: Row, stages: &[Stage]) {
        let parts = self.plan.parts;
        let gather = |row: Row, room: *mut f32| {
            for p in 0..parts {
                // SAFETY: one element in each partition; a room has more numbers than there are partitions.
                unsafe {
                    match row.format {
                        Format::F32 => *room.add(p) = self.at(row, p, 0).cast::<f32>().read_unaligned(),
                        format => {
                            nki_rt::widen_raw(self.tier, format, self.at(row, p, 0), room.add(p), 1);
                        }
                    }
                }
            }
        };
        let input = |scalar: Scalar, room: *mut f32| match scalar {
            Scalar::Number(x) => Input::Scalar(x),
            Scalar::Column(row) => {
                gather(row, room);
                Input::Row(room)
            }
        };
        // SAFETY: the contract; everything is read before the destination is written.
        unsafe {
            let (x, a, b) = (self.room(0), self.room(1), self.room(2));
            gather(data, x);
            let binary = |operation, other, reversed| {
                let (l, r) = if reversed { (other, Input::Row(x)) } else { (Input::Row(x), other) };
                nki_rt::binary_raw(self.tier, operation, l, r, x, parts);
            };
            for stage in stages {
                match *stage {
                    Stage::Unary(f) => nki_rt::activate_raw(self.tier, f, x, x, parts, None),
                    Stage::Binary { operation, other: Other::Scalar(other), reversed } => {
                        binary(operation, input(other, a), reversed);
                    }
                    Stage::Binary { operation, other: Other::Row(row), reversed } => {
                        gather(row, a);
                        binary(operation, Input::Row(a), reversed);
                    }
                    Stage::Twice { operations, others } => {
                        for (operation, other) in operations.into_iter().zip(others) {
                            let other = match other {
                                Other::Scalar(other) => input(other, a),
                                Other::Row(row) => {
                                    gather(row, a);
                                    Input::Row(a)
                                }
                            };
                            binary(operation, other, false);
                        }
                    }
                    // The same two roundings.
                    Stage::Affine { function, scale, bias } => {
                        binary(Binary::Multiply, input(scale, a), false);
                        binary(Binary::Add, input(bias, b), false);
                        nki_rt::activate_raw(self.tier, function, x, x, parts, None);
                    }
                }
            }
            let dst = self.plan.dst;
            for p in 0..parts {
                nki_rt::narrow_raw(self.tier, dst.format, x.add(p), self.at(dst, p, 0), 1);
            }
        }
    }
}
