//! Rules G1 to G15 for one instruction: what holds for every operation.

use super::bounds::{Residues, Witness, extremes, witness};
use super::context::{Arg, Cx};
use super::rules;
use crate::affine::Affine;
use crate::dtype::DType;
use crate::kernel::{BufData, BufKind, Operand, Space};
use crate::op::{AluOp, AttrKind, Engine, Memories, Op, OperandKind};
use crate::target::{Gen, PARTITIONS};
use crate::view::{Dynamic, Index, View};

/// Checks the generic rules.
pub fn check(cx: &Cx) {
    let runs_here = engine(cx);
    for arg in cx.views() {
        memory(cx, arg, runs_here);
        let engine_operand = arg.space().on_chip() && !is_dma(cx);
        // Too many partitions leave every tile; that is not reported as out of bounds again.
        let too_many = engine_operand && arg.parts() > PARTITIONS;
        if (too_many || bounds(cx, arg.spec.name, arg.view, arg.buf)) && engine_operand {
            partitions(cx, arg);
        }
        if engine_operand {
            pattern(cx, arg);
        }
        dtype(cx, arg);
        dynamic(cx, arg);
        if arg.is_dst() && arg.buf.kind == BufKind::Input {
            cx.fail_arg(&rules::INPUT_WRITE, arg, format!("{} is an input of the kernel", arg.name()))
                .help("write to an output, or declare the argument as inout");
        }
    }
    pairing(cx);
    operators(cx);
}

/// For instructions without rules of their own.
pub fn nothing_more(_: &Cx) {}

fn is_dma(cx: &Cx) -> bool {
    // Sequencers address memory as transfers do: a byte range, from any partition.
    matches!(cx.engine, Engine::Dma | Engine::Sync)
}

/// G8 for the instruction, G14 for the engine asked for. Says whether the engine is one of the row's.
fn engine(cx: &Cx) -> bool {
    let row = cx.row;
    let here: Vec<Engine> = row.engines_on(cx.generation()).collect();
    let list = |engines: &[Engine]| engines.iter().map(|e| e.name()).collect::<Vec<_>>().join(", ");
    if here.is_empty() {
        cx.fail(&rules::TARGET_OP, format!("not available on {}", cx.target))
            .help("choose a later target, or build it from other instructions");
    } else if cx.data.engine != Engine::Unknown && !here.contains(&cx.data.engine) {
        let message = format!("cannot run on {} (on {}: {})", cx.data.engine, cx.target, list(&here));
        cx.fail(&rules::ENGINE, message).help(format!("choose {}, or leave the engine open", here[0]));
        return false;
    }
    true
}

/// G5 and G6: the memories of the row, narrowed by the engine.
fn memory(cx: &Cx, arg: &Arg, runs_here: bool) {
    let space = arg.space();
    if !arg.spec.memories.contains(space) {
        let rule = match (cx.engine, space) {
            (Engine::Tensor | Engine::GpSimd, Space::Sbuf | Space::Psum) => &rules::MEMORY_ENGINE,
            _ => &rules::MEMORY,
        };
        let allowed = spaces(arg.spec.memories);
        let help = match (space, arg.is_dst(), is_dma(cx)) {
            (Space::Hbm, false, _) => "load it into SBUF with dma_copy first",
            (Space::Hbm, true, _) => "write to a tile, then store the tile with dma_copy",
            (Space::Psum, _, true) => "copy between PSUM and SBUF with tensor_copy",
            (Space::Psum, false, _) => "copy it to SBUF with tensor_copy first",
            (Space::Psum, true, _) => "allocate the destination in SBUF",
            (Space::Sbuf, _, _) => "allocate the destination in PSUM",
        };
        let message = format!("{} is in {space}, it must be in {allowed}", arg.name());
        cx.fail_arg(rule, arg, message).help(help);
        return;
    }
    let narrowed = match cx.engine {
        _ if !runs_here => None,
        Engine::GpSimd if space == Space::Psum => {
            Some("run it on another engine, or copy the tile to SBUF first")
        }
        Engine::Tensor if space == Space::Psum && !arg.is_dst() => {
            Some("copy it to SBUF with tensor_copy first")
        }
        Engine::Tensor if space == Space::Sbuf && arg.is_dst() => Some("allocate the destination in PSUM"),
        _ => None,
    };
    if let Some(help) = narrowed {
        let message =
            format!("{} is in {space}, which {} cannot {}", arg.name(), called(cx.engine), verb(arg));
        cx.fail_arg(&rules::MEMORY_ENGINE, arg, message).help(help);
    }
}

/// An engine in a sentence.
pub fn called(engine: Engine) -> String {
    match engine {
        Engine::GpSimd => "GpSimd".into(),
        Engine::Dma => "DMA".into(),
        e => format!("the {e} engine"),
    }
}

fn verb(arg: &Arg) -> &'static str {
    if arg.is_dst() { "write" } else { "read" }
}

fn spaces(m: Memories) -> String {
    let all = [(m.hbm, "hbm"), (m.sbuf, "sbuf"), (m.psum, "psum")];
    all.iter().filter(|x| x.0).map(|x| x.1).collect::<Vec<_>>().join(" or ")
}

/// G4: stays inside its buffer for every value of the loop variables. Says whether it does.
pub fn bounds(cx: &Cx, operand: &str, view: &View, buf: &BufData) -> bool {
    match &view.index {
        Index::Slice(axes) => {
            let rows_from_index = matches!(view.dynamic, Some(Dynamic::Vector { .. }));
            let mut ok = true;
            for (i, axis) in axes.iter().enumerate().filter(|(i, _)| *i > 0 || !rows_from_index) {
                let reach = i128::from(axis.count - 1) * i128::from(axis.step);
                ok &= inside(cx, operand, buf, &axis.start, reach, buf.shape[i].into(), &format!("axis {i}"));
            }
            ok
        }
        Index::Pattern(p) => {
            let mut ok = true;
            if buf.space.on_chip() {
                let reach = i128::from(p.parts) - 1;
                ok &= inside(cx, operand, buf, &p.part, reach, buf.partitions().into(), "partitions");
            }
            let size = i128::from(buf.row_bytes()) / view.dtype.bytes() as i128;
            let mut free = p.clone();
            if matches!(view.dynamic, Some(Dynamic::Vector { .. })) && !free.dims.is_empty() {
                free.dims.remove(0);
            }
            let (lo, hi) = free.extent();
            let what = if buf.space.on_chip() { "elements of a partition" } else { "elements" };
            if let Some(start) = i64::try_from(lo).ok().and_then(|lo| p.offset.add_constant(lo)) {
                ok &= inside(cx, operand, buf, &start, hi - lo, size, what);
            } else {
                outside(
                    cx,
                    operand,
                    buf,
                    format!("{what}: the addresses leave 64 bits"),
                    &Witness::default(),
                );
                ok = false;
            }
            ok
        }
    }
}

/// Whether `start ..= start + reach` is within `0 .. size`; reports otherwise.
fn inside(
    cx: &Cx,
    operand: &str,
    buf: &BufData,
    start: &Affine,
    reach: i128,
    size: i128,
    what: &str,
) -> bool {
    // A loop without turns accesses nothing.
    let Some((lo, hi)) = extremes(cx.kernel, start) else { return true };
    let (from, w) = if lo < 0 {
        (lo, witness(cx.kernel, start, false))
    } else if hi + reach >= size {
        (hi, witness(cx.kernel, start, true))
    } else {
        return true;
    };
    outside(cx, operand, buf, format!("{what} {from}..{} of {size}", from + reach + 1), &w);
    false
}

fn outside(cx: &Cx, operand: &str, buf: &BufData, what: String, w: &Witness) {
    let message = format!("{operand} `{}` is accessed outside: {what}{}", buf.name, w.text(cx.kernel));
    let help = if w.0.is_empty() {
        "shrink the slice, or enlarge the buffer"
    } else {
        "shorten the loop, or cut the axis with `nc.tiles(n, size)`, whose last block is only as long as what is left"
    };
    cx.fail(&rules::BOUNDS, message).buffer(buf).help(help);
}

/// G1 and G2.
fn partitions(cx: &Cx, arg: &Arg) {
    let parts = arg.parts();
    if parts > PARTITIONS {
        let message = format!("{} touches {parts} partitions, the limit is 128", arg.name());
        cx.fail_arg(&rules::PARTITIONS, arg, message).help("split it into tiles of at most 128 partitions");
        return;
    }
    // Scales have starts of their own (isa.md 9.1.2 and 9.3.13).
    if arg.spec.kind == OperandKind::Scales {
        return;
    }
    if let Some((start, w)) = start_outside(cx, arg, |start| legal_start(start, parts)) {
        let message =
            format!("{} touches {parts} partitions from partition {start}{}", arg.name(), w.text(cx.kernel));
        let help = match parts {
            65.. => "use the tile from partition 0",
            33..=64 => "start at partition 0 or 64, or move the data with dma_copy",
            _ => "start at a multiple of 32, or move the data with dma_copy",
        };
        cx.fail_arg(&rules::START_PARTITION, arg, message).help(help);
    }
}

/// isa.md 3.1 item 2.
pub fn legal_start(start: u32, parts: u32) -> bool {
    match parts {
        65.. => start == 0,
        33..=64 => start.is_multiple_of(64),
        _ => start.is_multiple_of(32),
    }
}

/// A start partition that `legal` refuses, with the variables' values. Tiles without a manual place start at partition 0.
pub fn start_outside(cx: &Cx, arg: &Arg, legal: impl Fn(u32) -> bool) -> Option<(u32, Witness)> {
    let base = arg.buf.address.map_or(0, |a| a.0);
    let part = arg.pattern.part.add_constant(base.into())?;
    // Partitions outside 0..128 are reported as out of bounds.
    let (lo, hi) = extremes(cx.kernel, &part)?;
    if lo < 0 || hi >= PARTITIONS.into() {
        return None;
    }
    let residues = Residues::new(cx.kernel, &part, PARTITIONS)?;
    let bad = residues.iter().find(|start| !legal(*start))?;
    Some((bad, residues.witness(bad)))
}

/// G4 and 3.2: what an engine's access pattern can express.
fn pattern(cx: &Cx, arg: &Arg) {
    let limit = match arg.space() {
        // A result of the third generation's tensor engine takes all of PSUM (isa.md 9.1.1 check 3).
        Space::Psum if cx.engine == Engine::Tensor => {
            cx.target.moving_fmax(arg.dtype().bytes()).max(4096).into()
        }
        Space::Psum => 4096,
        _ => 65536,
    };
    if arg.n > limit {
        let message = format!("{} has {} elements per partition, the limit is {limit}", arg.name(), arg.n);
        cx.fail_arg(&rules::ELEMENTS, arg, message).help("split the free axis into smaller tiles");
        return;
    }
    // Counts have 16 bits: a run of 65536, the longest there is, takes two pairs, the outer one over every second element.
    let pairs = |d: &crate::view::Dim| if d.count > 65535 { 2 } else { 1 };
    let expressible = |dims: &[crate::view::Dim]| {
        let steps = |d: &crate::view::Dim| d.stride.saturating_mul(pairs(d) as i64);
        dims.iter().map(pairs).sum::<usize>() <= 4 && dims.iter().all(|d| i16::try_from(steps(d)).is_ok())
    };
    if !expressible(&arg.pattern.merged()) && !expressible(&arg.pattern.dims) {
        let dims: Vec<String> =
            arg.pattern.merged().iter().map(|d| format!("[{}, {}]", d.stride, d.count)).collect();
        let message = format!("{} needs the pattern {}", arg.name(), dims.join(" "));
        cx.fail_arg(&rules::PATTERN, arg, message)
            .help("split the instruction, or copy the data into a dense tile with dma_copy first");
    }
}

/// G3: tiles of kind `Tile` pair with the destination, per-partition operands have its partitions.
fn pairing(cx: &Cx) {
    let Some(lead) = cx.views().find(|a| a.spec.kind == OperandKind::Tile) else {
        return;
    };
    // A tensor in HBM has no partitions to compare; its memory is the error.
    for arg in cx.views().filter(|a| a.space().on_chip() && lead.space().on_chip()) {
        match arg.spec.kind {
            OperandKind::Tile | OperandKind::TileOrScalar
                if (arg.parts(), arg.n) != (lead.parts(), lead.n) =>
            {
                let message = format!(
                    "{} is {} but {} is {}: {} x {} against {} x {} elements",
                    arg.name(),
                    arg.ty(),
                    lead.name(),
                    lead.ty(),
                    arg.parts(),
                    arg.n,
                    lead.parts(),
                    lead.n
                );
                cx.fail_arg(&rules::PAIRING, arg, message).help("slice both to the same size");
            }
            OperandKind::Vec | OperandKind::ScalarOrVec if (arg.parts(), arg.n) != (lead.parts(), 1) => {
                let rule = match (cx.row.op, arg.spec.name) {
                    (Op::Activation | Op::ActivationReduce, "bias") => &rules::ACT_BIAS_SHAPE,
                    (_, "reduce_res") => &rules::REDUCE_RES,
                    _ => &rules::VEC_SHAPE,
                };
                let message = format!("{} is {}, expected [{}, 1]", arg.name(), arg.ty(), lead.parts());
                let help = if arg.n > 1 && !arg.is_dst() {
                    "use tensor_tensor for an operand with more than one element per partition"
                } else {
                    "slice it to the partitions of the instruction"
                };
                cx.fail_arg(rule, arg, message).help(help);
            }
            _ => {}
        }
    }
}

/// G8 and G11: dtypes of the target, packed types.
fn dtype(cx: &Cx, arg: &Arg) {
    let d = arg.dtype();
    let gen4 = d.is_packed() || matches!(d, DType::F8E4M3FN | DType::F8E8M0);
    let moved_only = is_dma(cx) && !d.is_packed() && cx.views().all(|a| a.dtype() == d);
    if gen4 && cx.generation() < Gen::Gen4 && !moved_only {
        let message = format!("{} is {d}, which {} does not have", arg.name(), cx.target);
        cx.fail_arg(&rules::TARGET_DTYPE, arg, message)
            .help("use float8_e4m3 or a wider type, or target trn3");
    } else if d.is_packed() && !holds_packed(cx, arg) {
        let message = format!("{} is {d}", arg.name());
        cx.fail_arg(&rules::PACKED, arg, message)
            .help("convert with quantize_mx, multiply with nc_matmul_mx");
    }
}

/// Where packed types may appear.
fn holds_packed(cx: &Cx, arg: &Arg) -> bool {
    match cx.row.op {
        Op::DmaCopy | Op::DmaTranspose | Op::Memset => true,
        Op::NcMatmulMx => arg.spec.kind == OperandKind::Free && !arg.is_dst(),
        Op::QuantizeMx => arg.spec.name == "dst",
        _ => false,
    }
}

/// G8, G9, G10, G17: operators and the scalars that go with them.
fn operators(cx: &Cx) {
    let ops: Vec<(&'static str, AluOp)> = cx
        .row
        .attrs
        .iter()
        .filter(|a| a.kind == AttrKind::Alu)
        .map(|a| (a.name, cx.alu(a.name)))
        .filter(|(_, op)| *op != AluOp::Bypass)
        .collect();
    for (name, op) in &ops {
        let gen4 = matches!(op, AluOp::AbsMax | AluOp::AbsMin | AluOp::Square | AluOp::Relu);
        if gen4 && cx.generation() < Gen::Gen4 {
            cx.fail(&rules::TARGET_OPERATOR, format!("{name} is {op}, which {} does not have", cx.target))
                .help("build it from multiply, maximum and minimum, or use an activation");
        }
    }
    // Other instructions take no bitwise operators at all: their own checks say so.
    let takes_bits = matches!(
        cx.row.op,
        Op::TensorTensor | Op::TensorScalar | Op::TensorReduce | Op::TensorPartitionReduce
    );
    if takes_bits && ops.iter().any(|o| o.1.is_bitvec()) {
        bitvec(cx, &ops);
    } else {
        scalars(cx);
    }
    for (op, operand) in [("op0", "operand0"), ("op1", "operand1")] {
        let alu = cx.alu(op);
        if !alu.is_unary() {
            continue;
        }
        let absent = match cx.operand(operand) {
            Operand::None => true,
            Operand::Imm(x) => *x == 0.0,
            Operand::Int(x) => *x == 0,
            _ => false,
        };
        if cx.row.operand(operand).is_some() && !absent && cx.row.op != Op::ScalarTensorTensor {
            cx.fail_on(&rules::UNARY_SCALAR, operand, format!("{op} is {alu}, but {operand} is given"))
                .help(format!("drop {operand}"));
        }
    }
}

fn bitvec(cx: &Cx, ops: &[(&'static str, AluOp)]) {
    if let Some((name, op)) = ops.iter().find(|o| !o.1.is_bitvec()) {
        // Other instructions take no bitwise operators at all.
        if cx.row.op != Op::TensorScalar {
            return;
        }
        let (other, bits) = ops.iter().find(|o| o.1.is_bitvec()).unwrap_or(&ops[0]);
        cx.fail(&rules::ONE_FAMILY, format!("{name} is {op} (arithmetic), {other} is {bits} (bitwise)"))
            .help("use two instructions");
        return;
    }
    let mut width = None;
    for arg in cx.views() {
        if !arg.dtype().is_int() {
            let message = format!("{} is {}, but {} works on bits", arg.name(), arg.dtype(), ops[0].1);
            cx.fail_arg(&rules::BITVEC_INTEGER, arg, message)
                .help("view the tile as an integer type of its width");
            continue;
        }
        let first = *width.get_or_insert(arg.dtype().bytes());
        if arg.dtype().bytes() != first {
            let message = format!("{} has {} bytes, others have {first}", arg.name(), arg.dtype().bytes());
            cx.fail_arg(&rules::BITVEC_WIDTH, arg, message).help("convert with tensor_copy first");
        }
    }
    for (operand, spec) in cx.data.operands.iter().zip(cx.row.operands) {
        let bits = 8 * width.unwrap_or(4) as u32;
        match operand {
            Operand::Imm(x) => {
                cx.fail(
                    &rules::BITVEC_INTEGER,
                    format!("{} is the float {x}, but {} works on bits", spec.name, ops[0].1),
                )
                .help("write an integer");
            }
            Operand::Int(x) if *x >= 1 << bits || *x < -(1 << (bits - 1)) => {
                cx.fail(&rules::BITVEC_WIDTH, format!("{} {x} does not fit {bits} bits", spec.name))
                    .help("use a smaller constant or a wider dtype");
            }
            _ => {}
        }
    }
}

/// G10: scalar and per-partition inputs are float32, integers are exact in it.
fn scalars(cx: &Cx) {
    for (i, (operand, spec)) in cx.data.operands.iter().zip(cx.row.operands).enumerate() {
        if spec.kind != OperandKind::ScalarOrVec {
            continue;
        }
        match operand {
            Operand::Int(x) if (*x as f32) as i128 != i128::from(*x) && !integer_form(cx) => {
                cx.fail(&rules::SCALAR_EXACT, format!("{} {x} is not a float32", spec.name))
                    .help("write the float32 value you mean");
            }
            Operand::View(_) if !matches!(spec.name, "bias" | "prob") => {
                if let Some(arg) = cx.args[i].as_ref().filter(|a| a.dtype() != DType::F32) {
                    let rule = if spec.name == "scale" { &rules::ACT_SCALE } else { &rules::SCALAR_F32 };
                    let message = format!("{} is {}, expected f32", arg.name(), arg.dtype());
                    cx.fail_arg(rule, arg, message).help("convert it with tensor_copy into a float32 tile");
                }
            }
            _ => {}
        }
    }
}

/// The integer form of tensor_scalar: 32-bit integer tiles with integer immediates, exact modulo 2^32 (isa.md 9.3.5).
pub fn integer_form(cx: &Cx) -> bool {
    use AluOp::*;
    cx.row.op == Op::TensorScalar
        && cx.engine == Engine::Vector
        && ["op0", "op1"].iter().all(|o| matches!(cx.alu(o), Add | Subtract | Multiply | Bypass))
        && cx.views().all(|a| matches!(a.dtype(), DType::I32 | DType::U32))
        && ["operand0", "operand1"].iter().all(|o| matches!(cx.operand(o), Operand::None | Operand::Int(_)))
}

/// G15 and 3.5: form and place of a dynamic index.
fn dynamic(cx: &Cx, arg: &Arg) {
    let Some(dynamic) = &arg.view.dynamic else { return };
    let on_chip = arg.space().on_chip();
    let copy = is_dma(cx) || cx.row.op == Op::TensorCopy;
    match dynamic {
        Dynamic::Indirect { index, elements } => super::indirect::check(cx, arg, index, *elements),
        Dynamic::Vector { index } => {
            let rows = arg.shape.first().copied().unwrap_or(0);
            // The index tile of a transpose has a layout of its own (isa.md 9.6.2).
            let fits = index_arg(cx, arg, index).is_some_and(|(space, parts, n)| {
                let listed = parts == rows && n == 1 || cx.row.op == Op::DmaTranspose;
                space == Space::Sbuf && listed
            });
            if cx.engine != Engine::Dma || on_chip || !fits {
                let message = format!("{} ({rows} rows) takes its rows from an index tile", arg.name());
                cx.fail_arg(&rules::DMA_VECTOR, arg, message)
                    .help("gather from an HBM tensor with dma_copy and an index tile [rows, 1] in SBUF");
            }
        }
        Dynamic::Register { axis, .. } | Dynamic::Scalar { axis, .. } => {
            if !copy {
                let message = format!("{} has a dynamic index", arg.name());
                cx.fail_arg(&rules::DYNAMIC_OP, arg, message)
                    .help("copy the part with tensor_copy or dma_copy first");
            }
            if *axis as usize >= arg.buf.shape.len() || (on_chip && *axis == 0) {
                let message = format!("{}: the dynamic index is on axis {axis}", arg.name());
                cx.fail_arg(&rules::DYNAMIC_AXIS, arg, message).help(if on_chip {
                    "index a free axis"
                } else {
                    "index an axis of the tensor"
                });
            }
            if let Dynamic::Scalar { index, .. } = dynamic {
                let one = index_arg(cx, arg, index);
                if one.is_some_and(|x| x != (Space::Sbuf, 1, 1)) {
                    cx.fail_arg(
                        &rules::DYNAMIC_TILE,
                        arg,
                        format!("{}: the index is not one element in SBUF", arg.name()),
                    )
                    .help("slice the index tile to [1, 1]");
                }
            }
        }
    }
}

/// Memory, partitions and elements per partition of an index tile, after checking its bounds and dtype.
fn index_arg(cx: &Cx, arg: &Arg, index: &View) -> Option<(Space, u32, u64)> {
    let buf = cx.kernel.bufs.get(index.buf)?;
    if !matches!(index.dtype, DType::I32 | DType::U32) {
        let message = format!("{}: the index `{}` is {}", arg.name(), buf.name, index.dtype);
        cx.fail(&rules::DYNAMIC_DTYPE, message)
            .buffer(buf)
            .help("convert the index to int32 with tensor_copy");
    }
    bounds(cx, "index", index, buf);
    let p = index.pattern(buf)?;
    Some((buf.space, p.parts, p.elements()))
}
