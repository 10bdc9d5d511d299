//! Instructions made ready to run: operands as byte patterns, and the fast function that serves them, if any.

use super::copy::{self, CopyPlan};
use super::dynamic::{Dynamic, Index};
use super::layout::{Layout, Place};
use super::rows::{self, RowPlan};
use nki_ir::affine::Affine;
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::entity::Entity;
use nki_ir::kernel::{Accumulate, Attr, InstData, Operand};
use nki_ir::op::{Effect, Engine, MatmulPerf, OobMode, Op};
use nki_ir::sem::Span;
use nki_ir::target::{Gen, Target};
use nki_ir::view::{self, Pattern};
use nki_ir::{DType, Inst, Kernel, View};
use smallvec::SmallVec;

/// An operand of a step.
#[derive(Clone, Debug)]
pub enum StepArg {
    None,
    Imm(f32),
    Int(i64),
    Tile(Tile),
    Dynamic(Box<Dynamic>),
    /// The value of a virtual register.
    Register(usize),
    /// A virtual register that takes the result.
    SetRegister(usize),
    /// A position, evaluated by the generated code.
    Index(Affine),
}

/// A tile operand. The byte offset of its first element within its buffer is `base`, evaluated by the generated code.
#[derive(Clone, Debug)]
pub struct Tile {
    pub place: Place,
    /// Byte offset of element 0 from the start of the buffer, affine in loop variables.
    pub base: Affine,
    /// The elements, relative to the lowest byte that the tile touches.
    pub span: Span,
    /// Bytes from the lowest byte touched to element 0 (not 0 only for negative strides).
    pub lead: usize,
    /// Bytes from the lowest byte touched to the end of the highest.
    pub reach: usize,
    pub writable: bool,
}

/// Which native function serves a step.
#[derive(Clone, Debug)]
pub enum Fast {
    /// The reference semantics.
    Reference,
    /// Bytes moved without conversion.
    Copy(CopyPlan),
    /// A plain tile product: `[K, M, N]` and row strides in elements.
    Matmul { dtype: DType, shape: [usize; 3], strides: [usize; 3] },
    /// Rows of numbers where they are.
    Rows(Box<RowPlan>),
}

/// An instruction ready to run.
#[derive(Clone, Debug)]
pub struct Step {
    pub inst: Inst,
    pub op: Op,
    pub engine: Engine,
    pub generation: Gen,
    pub args: SmallVec<[StepArg; 4]>,
    pub attrs: SmallVec<[Attr; 4]>,
    pub accumulate: Accumulate,
    pub fast: Fast,
}

/// One step per instruction of the kernel, in the order of its table.
pub fn lower(kernel: &Kernel, layout: &Layout, target: Target) -> Result<Vec<Step>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut steps = Vec::with_capacity(kernel.insts.len());
    for (inst, data) in kernel.insts.iter() {
        match lower_inst(kernel, layout, target, inst, data) {
            Ok(step) => steps.push(step),
            Err(message) => errors.push(
                Diagnostic::error(Code::Limit, format!("{}: {message}", data.op))
                    .at(&kernel.locs, data.loc)
                    .help("run this kernel in interpreter mode"),
            ),
        }
    }
    if errors.has_errors() { Err(errors) } else { Ok(steps) }
}

fn lower_inst(
    k: &Kernel,
    layout: &Layout,
    target: Target,
    inst: Inst,
    data: &InstData,
) -> Result<Step, String> {
    let row = data.op.row();
    let mut args = SmallVec::new();
    for (spec, operand) in row.operands.iter().zip(&data.operands) {
        args.push(match operand {
            Operand::None => StepArg::None,
            Operand::Imm(x) => StepArg::Imm(*x),
            Operand::Int(i) => StepArg::Int(*i),
            Operand::Reg(r) if spec.effect == Effect::Write => StepArg::SetRegister(r.index()),
            Operand::Reg(r) => StepArg::Register(r.index()),
            Operand::Index(a) => StepArg::Index(a.clone()),
            Operand::View(v) if v.dynamic.is_some() => {
                StepArg::Dynamic(Box::new(dynamic(k, layout, v, data, spec.effect != Effect::Read)?))
            }
            Operand::View(v) => StepArg::Tile(tile(k, layout, v, spec.effect != Effect::Read)?),
        });
    }
    let accumulate = data.attrs.iter().find_map(|a| match a {
        Attr::Accumulate(a) => Some(a.clone()),
        _ => None,
    });
    let engine = data.resolved_engine(k);
    let fast = choose(data, engine, &args);
    Ok(Step {
        inst,
        op: data.op,
        engine,
        generation: target.generation(),
        args,
        attrs: data.attrs.clone(),
        accumulate: accumulate.unwrap_or(Accumulate::Overwrite),
        fast,
    })
}

fn tile(kernel: &Kernel, layout: &Layout, view: &View, writable: bool) -> Result<Tile, String> {
    let pattern = view.pattern(&kernel.bufs[view.buf]).ok_or_else(too_large)?;
    pattern_tile(layout, view, &pattern, writable)
}

fn too_large() -> String {
    "an address leaves 64 bits".to_string()
}

/// An operand at a run-time position.
fn dynamic(
    k: &Kernel,
    layout: &Layout,
    view: &View,
    data: &InstData,
    writable: bool,
) -> Result<Dynamic, String> {
    let buf = &k.bufs[view.buf];
    let mut pattern = view.pattern(buf).ok_or_else(too_large)?;
    let rows = pattern.dims.first().map_or(1, |d| d.count as usize);
    let (axis, index) = match view.dynamic.as_ref() {
        Some(view::Dynamic::Register { reg, axis }) => (*axis, Index::Register(reg.index())),
        Some(view::Dynamic::Scalar { index, axis }) => (*axis, Index::Scalar(tile(k, layout, index, false)?)),
        Some(view::Dynamic::Vector { index }) => {
            if pattern.dims.is_empty() {
                return Err("row indices for a view without rows".into());
            }
            pattern.dims.remove(0);
            (0, Index::Rows(tile(k, layout, index, false)?))
        }
        Some(view::Dynamic::Indirect { index, elements }) => {
            (0, Index::Columns { tile: tile(k, layout, index, false)?, elements: *elements })
        }
        None => return Err("a static operand at a run-time position".into()),
    };
    let inner = buf.shape.get(axis as usize + 1..).unwrap_or(&[]);
    let scale = inner.iter().try_fold(buf.dtype.bytes() as i64, |n, &d| n.checked_mul(d.into()));
    let tile = pattern_tile(layout, view, &pattern, writable)?;
    let oob = data.op.row().attr("oob_mode").map(|i| &data.attrs[i]);
    Ok(Dynamic {
        tile,
        index,
        rows,
        scale: scale.ok_or_else(too_large)?,
        name: buf.name.clone(),
        axis,
        size: buf.shape.get(axis as usize).copied().unwrap_or(0),
        row_bytes: buf.row_bytes() as usize,
        row_stride: layout.row_stride(view.buf),
        skip: oob == Some(&Attr::Oob(OobMode::Skip)),
    })
}

fn pattern_tile(layout: &Layout, view: &View, pattern: &Pattern, writable: bool) -> Result<Tile, String> {
    let size = view.dtype.bytes() as i64;
    let row = layout.row_stride(view.buf);
    let base = pattern
        .part
        .scale(row as i64)
        .zip(pattern.offset.scale(size))
        .and_then(|(p, o)| p.add(&o))
        .ok_or_else(too_large)?;
    let (low, high) = pattern.extent();
    let bytes = |elements: i128| usize::try_from(elements * size as i128).map_err(|_| too_large());
    let lead = bytes(-low)?;
    let rows = (pattern.parts.max(1) as usize - 1) * row;
    let reach = lead + bytes(high + 1)? + rows;
    let dims = pattern.merged().iter().map(|d| (d.stride * size, d.count)).collect();
    let part_stride = if pattern.parts > 1 { row as u64 } else { 0 };
    let span = Span { mem: 0, base: lead as u64, part_stride, parts: pattern.parts, dims, dtype: view.dtype };
    Ok(Tile { place: layout.place(view.buf), base, span, lead, reach, writable })
}

/// The fast function for an instruction, if its operands have the form that it needs.
pub fn choose(data: &InstData, engine: Engine, args: &[StepArg]) -> Fast {
    let fast = match (data.op, args) {
        (Op::DmaCopy, [StepArg::Tile(dst), StepArg::Tile(src), ..])
        | (Op::TensorCopy, [StepArg::Tile(dst), StepArg::Tile(src)]) => {
            copy::plan(&dst.span, &src.span).map(Fast::Copy)
        }
        (Op::NcMatmul, [StepArg::Tile(dst), StepArg::Tile(a), StepArg::Tile(b)]) => matmul(data, dst, a, b),
        _ => None,
    };
    let fast = fast.or_else(|| rows::plan(data, engine, args).map(|plan| Fast::Rows(Box::new(plan))));
    fast.unwrap_or(Fast::Reference)
}

fn matmul(data: &InstData, dst: &Tile, a: &Tile, b: &Tile) -> Option<Fast> {
    let plain = data.attrs.iter().all(|attr| match attr {
        // The flags that say "zeros and ones" change no result; transposes move bits.
        Attr::MatmulPerf(mode) => *mode == MatmulPerf::None,
        _ => true,
    });
    let row = data.op.row();
    let transpose = row.attr("is_transpose").map(|i| &data.attrs[i]) == Some(&Attr::Bool(true));
    let dtype = a.span.dtype;
    let typed = matches!(dtype, DType::F32 | DType::BF16 | DType::F16)
        && b.span.dtype == dtype
        && dst.span.dtype == DType::F32;
    let rows = [a, b, dst].iter().all(|t| t.span.is_row_contiguous() && t.lead == 0);
    if !plain || transpose || !typed || !rows {
        return None;
    }
    let shape = [a.span.parts as usize, a.span.row_elements(), b.span.row_elements()];
    let stride = |t: &Tile| t.span.part_stride as usize / t.span.dtype.bytes();
    Some(Fast::Matmul { dtype, shape, strides: [stride(a), stride(b), stride(dst)] })
}
