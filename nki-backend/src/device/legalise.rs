//! Legalise: every instruction of the kernel becomes a [`Template`] that the machine can run: engine (or the engines among
//! which results are identical), operands as linear access patterns, attributes in the forms the hardware has, descriptor
//! mode of a transfer. Templates are made once per source instruction, however often a loop repeats it.

use crate::device::expand::HardLoop;
use nki_ir::kernel::{Accumulate, Operand};
use nki_ir::op::{DgeMode, Effect, TimingClass};
use nki_ir::target::Gen;
use nki_ir::view::{AxisSlice, Dynamic};
use nki_ir::{
    Affine, AluOp, Attr, Buf, Code, DType, Diagnostic, Diagnostics, Engine, Index, Inst, InstData, Kernel,
    Loc, Op, Reg, Space, Target, View,
};
use nki_sim::program::Dims;
use smallvec::{SmallVec, smallvec};

/// A legalised instruction, before its loop variables have values.
#[derive(Clone, Debug)]
pub struct Template {
    pub inst: Inst,
    pub op: Op,
    /// Engines that compute the same bits, the default first. A transfer has `[Engine::Dma]`.
    pub engines: SmallVec<[Engine; 3]>,
    pub operands: SmallVec<[Form; 4]>,
    pub attrs: SmallVec<[Attr; 4]>,
    pub accumulate: Accumulate,
    pub dma: Option<Transfer>,
    /// Another instruction does its work.
    pub fused: bool,
    pub loc: Loc,
}

/// How a transfer is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    pub dge: DgeMode,
    /// Sequencers that may issue it, preferred first.
    pub issuers: &'static [Engine],
    /// The ring asked for by a schedule.
    pub queue: Option<u8>,
}

/// An operand of a template.
#[derive(Clone, Debug)]
pub enum Form {
    None,
    Imm(f32),
    Int(i64),
    View(Box<ViewForm>),
    Reg(Reg),
    /// A position affine in loop variables.
    Index(Affine),
}

/// A view as a linear pattern.
#[derive(Clone, Debug)]
pub struct ViewForm {
    pub buf: Buf,
    pub space: Space,
    pub dtype: DType,
    /// Reads and writes, with a matmul's accumulation decided per turn.
    pub effect: Effect,
    pub part: Affine,
    pub parts: u32,
    /// In elements of `dtype`.
    pub offset: Affine,
    /// As in the view, for walks that pair elements.
    pub dims: Dims,
    /// Bytes from `offset` to the first and behind the last byte touched.
    pub extent: (i64, i64),
    /// Every byte of `extent` is touched.
    pub dense: bool,
    /// The slice of an HBM tensor, for overlap tests axis by axis.
    pub axes: Option<SmallVec<[AxisSlice; 3]>>,
    pub index: Option<IndexForm>,
}

/// A position found at run time: `index · scale` bytes.
#[derive(Clone, Debug)]
pub struct IndexForm {
    /// The index tile; `None` for a register.
    pub view: Option<Box<ViewForm>>,
    pub scale: i64,
    pub kind: IndexKind,
}

/// Mirrors [`Dynamic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexKind {
    Register(Reg),
    Scalar,
    Vector,
    /// Columns, with how many are chosen.
    Indirect(u32),
}

impl Template {
    /// Views in operand order, each followed by its index.
    pub fn views(&self) -> impl Iterator<Item = &ViewForm> {
        self.operands
            .iter()
            .filter_map(Form::view)
            .flat_map(|v| std::iter::once(v).chain(v.index.as_ref().and_then(|i| i.view.as_deref())))
    }
    /// Whether it is an instruction of the sequencers on a register.
    pub fn is_register(&self) -> bool {
        self.op.row().timing == TimingClass::Register
    }
    /// The registers that it reads or writes.
    pub fn registers(&self) -> impl Iterator<Item = Reg> {
        self.operands.iter().filter_map(|o| match o {
            Form::Reg(r) => Some(*r),
            Form::View(v) => match v.index.as_ref()?.kind {
                IndexKind::Register(r) => Some(r),
                _ => None,
            },
            _ => None,
        })
    }
    /// Whether it is a transfer.
    pub fn is_dma(&self) -> bool {
        self.dma.is_some()
    }
}

impl Form {
    /// The view, if it is one.
    pub fn view(&self) -> Option<&ViewForm> {
        match self {
            Form::View(v) => Some(v),
            _ => None,
        }
    }
}

/// Legalises every instruction; the result is indexed by [`Inst`].
pub fn legalise(kernel: &Kernel, target: Target) -> Result<Vec<Template>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut out = Vec::with_capacity(kernel.insts.len());
    for (inst, data) in kernel.insts.iter() {
        match template(kernel, target, inst, data) {
            Ok(t) => out.push(t),
            Err(d) => errors.push(*d),
        }
    }
    if errors.has_errors() { Err(errors) } else { Ok(out) }
}

/// Legalises one instruction.
pub fn template(
    kernel: &Kernel,
    target: Target,
    inst: Inst,
    data: &InstData,
) -> Result<Template, Box<Diagnostic>> {
    let row = data.op.row();
    let mut operands = SmallVec::new();
    for (i, operand) in data.operands.iter().enumerate() {
        operands.push(match operand {
            Operand::None => Form::None,
            Operand::Imm(x) => Form::Imm(*x),
            Operand::Int(x) => Form::Int(*x),
            Operand::Reg(r) => Form::Reg(*r),
            Operand::Index(a) => Form::Index(a.clone()),
            Operand::View(v) => {
                Form::View(Box::new(view_form(kernel, v, row.effect(i, &data.attrs), data.loc)?))
            }
        });
    }
    let accumulate = data.attrs.iter().find_map(|a| match a {
        Attr::Accumulate(a) => Some(a.clone()),
        _ => None,
    });
    let mut t = Template {
        inst,
        op: data.op,
        engines: engines(kernel, target, data, &operands),
        operands,
        attrs: data.attrs.clone(),
        accumulate: accumulate.unwrap_or(Accumulate::Overwrite),
        dma: None,
        fused: false,
        loc: data.loc,
    };
    if t.engines.as_slice() == [Engine::Dma] {
        t.dma = Some(transfer(kernel, target, &t)?);
    }
    if t.op == Op::AffineSelect {
        negate_comparison(&mut t.operands, &mut t.attrs);
    }
    Ok(t)
}

/// A view as a linear pattern. Failures mean that the kernel has not passed the gate.
fn view_form(kernel: &Kernel, v: &View, effect: Effect, loc: Loc) -> Result<ViewForm, Box<Diagnostic>> {
    let buf = &kernel.bufs[v.buf];
    let Some(p) = v.pattern(buf) else {
        let text = format!("the view of `{}` is not a linear pattern of 64-bit offsets", buf.name);
        return Err(Box::new(Diagnostic::error(Code::AccessPattern, text).at(&kernel.locs, loc)));
    };
    let size = v.dtype.bytes() as i64;
    let (lo, hi) = p.extent();
    let bytes = p.elements() as i64 * size;
    let extent = if bytes == 0 { (0, 0) } else { (lo as i64 * size, (hi as i64 + 1) * size) };
    let axes = match &v.index {
        Index::Slice(axes) if buf.space == Space::Hbm => Some(axes.clone()),
        _ => None,
    };
    let index = match &v.dynamic {
        None => None,
        Some(d) => Some(index_form(kernel, v, d, loc)?),
    };
    Ok(ViewForm {
        buf: v.buf,
        space: buf.space,
        dtype: v.dtype,
        effect,
        part: p.part.clone(),
        parts: p.parts,
        offset: p.offset.clone(),
        dense: bytes == extent.1 - extent.0 && p.dims.iter().all(|d| d.stride != 0 || d.count == 1),
        dims: p.dims.as_slice().into(),
        extent,
        axes,
        index,
    })
}

fn index_form(kernel: &Kernel, v: &View, d: &Dynamic, loc: Loc) -> Result<IndexForm, Box<Diagnostic>> {
    let buf = &kernel.bufs[v.buf];
    let below = |axis: usize| -> i64 { buf.shape.iter().skip(axis + 1).map(|&n| i64::from(n)).product() };
    // An index counts in the tensor's own elements, however the view reads them (isa.md 3.5.1).
    let size = buf.dtype.bytes() as i64;
    let (index, scale, kind) = match d {
        Dynamic::Register { reg, axis } => {
            let scale = below(*axis as usize) * size;
            return Ok(IndexForm { view: None, scale, kind: IndexKind::Register(*reg) });
        }
        Dynamic::Scalar { index, axis } => (index, below(*axis as usize) * size, IndexKind::Scalar),
        Dynamic::Vector { index } => (index, below(0) * size, IndexKind::Vector),
        Dynamic::Indirect { index, elements } => (index, size, IndexKind::Indirect(*elements)),
    };
    Ok(IndexForm { view: Some(Box::new(view_form(kernel, index, Effect::Read, loc)?)), scale, kind })
}

/// The engine that the instruction runs on, and behind it the other engines that compute the same bits.
fn engines(kernel: &Kernel, target: Target, data: &InstData, operands: &[Form]) -> SmallVec<[Engine; 3]> {
    let default = data.resolved_engine(kernel);
    let mut out: SmallVec<[Engine; 3]> = smallvec![default];
    if data.engine != Engine::Unknown || !movable(data, target.generation(), operands) {
        return out;
    }
    let in_psum = operands.iter().filter_map(Form::view).any(|v| v.space == Space::Psum);
    for e in data.op.row().engines_on(target.generation()) {
        let runs = match (data.op, e) {
            // The other operators of GpSimdE's tensor_scalar are its default already (isa.md 9.3.5).
            (Op::TensorScalar, Engine::GpSimd) => false,
            (_, Engine::GpSimd) => !in_psum,
            _ => true,
        };
        if e != default && runs {
            out.push(e);
        }
    }
    out
}

/// Whether every engine of the op computes the same bits: copies and fills do; of tensor_scalar and tensor_tensor, the operators
/// that the other engine has, on floats (isa.md 9.3.5: 32-bit integers are exact on one engine alone).
fn movable(data: &InstData, generation: Gen, operands: &[Form]) -> bool {
    let views = || operands.iter().filter_map(Form::view);
    // Not every engine gathers (isa.md 3.6, 9.3.8).
    let gathers = |v: &ViewForm| v.index.as_ref().is_some_and(|i| matches!(i.kind, IndexKind::Indirect(_)));
    if views().any(gathers) {
        return false;
    }
    match data.op {
        Op::TensorCopy | Op::Memset => true,
        Op::TensorScalar => {
            let op = |name| match Op::TensorScalar.row().attr(name).map(|i| &data.attrs[i]) {
                Some(Attr::Alu(a)) => *a,
                _ => AluOp::Bypass,
            };
            let listed = match (op("op0"), op("op1")) {
                (AluOp::Multiply, AluOp::Add | AluOp::Bypass) | (AluOp::Add, AluOp::Bypass) => true,
                (a, b) => {
                    let any = |a| {
                        use AluOp::*;
                        matches!(a, Add | Subtract | Multiply | Maximum | Minimum)
                    };
                    generation >= Gen::Gen4 && any(a) && (any(b) || b == AluOp::Bypass)
                }
            };
            generation >= Gen::Gen3 && listed && views().all(|v| v.dtype.is_float())
        }
        // On floats GpSimdE computes as the vector engine does (isa.md 9.3.2, rule 4).
        Op::TensorTensor => {
            use AluOp::*;
            let op = Op::TensorTensor.row().attr("op").map(|i| &data.attrs[i]);
            matches!(op, Some(Attr::Alu(Add | Subtract | Multiply | Maximum | Minimum)))
                && views().all(|v| v.dtype.is_float())
        }
        _ => false,
    }
}

/// Descriptor mode and issuers (isa.md 9.6.1, `dge_mode` "unknown"; machine.md 5.3).
fn transfer(kernel: &Kernel, target: Target, t: &Template) -> Result<Transfer, Box<Diagnostic>> {
    let mut mode = DgeMode::Unknown;
    let mut issuer = Engine::Unknown;
    for a in &t.attrs {
        match a {
            Attr::Dge(m) => mode = *m,
            Attr::Engine(e) => issuer = *e,
            _ => {}
        }
    }
    let kinds = || t.operands.iter().filter_map(Form::view).filter_map(|v| v.index.as_ref()).map(|i| i.kind);
    let cast = {
        let mut d = t.operands.iter().filter_map(Form::view).map(|v| v.dtype);
        d.next() != d.next()
    };
    if mode == DgeMode::Unknown {
        let hardware = target.generation() >= Gen::Gen3 && !cast;
        mode = if kinds().any(|k| matches!(k, IndexKind::Vector | IndexKind::Indirect(_))) {
            DgeMode::Swdge
        } else if kinds().next().is_some() {
            if hardware { DgeMode::Hwdge } else { DgeMode::Swdge }
        } else if issuer == Engine::Sync || issuer == Engine::Scalar {
            // An issuing engine is only legal with hwdge (check 7).
            DgeMode::Hwdge
        } else {
            DgeMode::None
        };
    }
    let tiles = || t.operands.iter().filter_map(Form::view).filter(|v| v.space.on_chip());
    let mut queue = None;
    for (v, asked) in tiles().filter_map(|v| Some((v, kernel.bufs[v.buf].queue?))) {
        let name = &kernel.bufs[v.buf].name;
        let problem = match queue {
            _ if asked >= RINGS => format!("`{name}` asks for ring {asked} of {RINGS}"),
            Some(other) if other != asked => {
                format!("`{name}` asks for ring {asked}, and the tile on the other side for ring {other}")
            }
            _ => {
                queue = Some(asked);
                continue;
            }
        };
        let d = Diagnostic::error(Code::Schedule, problem).at(&kernel.locs, t.loc);
        return Err(Box::new(d.note("a DMA engine has rings 0 to 15 (machine.md 5.1)")));
    }
    Ok(Transfer { dge: mode, issuers: issuers(mode, issuer), queue })
}

/// Rings of a DMA engine (machine.md 5.1).
const RINGS: u8 = 16;

/// A transfer whose address contains a hardware loop counter cannot have static descriptors.
pub fn descriptors_for_loops(templates: &mut [Template], loops: &[HardLoop], target: Target) {
    for t in templates {
        let moves = |v: &ViewForm| {
            loops.iter().any(|l| v.offset.coefficient(l.var) != 0 || v.part.coefficient(l.var) != 0)
        };
        let moving = t.views().any(moves);
        let Some(dma) = &mut t.dma else { continue };
        if !moving || dma.dge != DgeMode::None {
            continue;
        }
        let mut dtypes = t.operands.iter().filter_map(Form::view).map(|v| v.dtype);
        let cast = dtypes.next() != dtypes.next();
        let hardware = target.generation() >= Gen::Gen3 && !cast;
        dma.dge = if hardware { DgeMode::Hwdge } else { DgeMode::Swdge };
        dma.issuers = issuers(dma.dge, Engine::Unknown);
    }
}

/// Sequencers that may issue a transfer. Static descriptors can be triggered by any; SP does nothing else and comes first.
pub fn issuers(mode: DgeMode, asked: Engine) -> &'static [Engine] {
    match (mode, asked) {
        (_, Engine::Sync) => &[Engine::Sync],
        (_, Engine::Scalar) => &[Engine::Scalar],
        (DgeMode::Hwdge, _) => &[Engine::Sync, Engine::Scalar],
        (DgeMode::Swdge, _) => &[Engine::GpSimd],
        _ => &[Engine::Sync, Engine::GpSimd, Engine::Scalar],
    }
}

/// The comparators of the hardware are `>`, `>=`, `==` and `!=`: `<` and `<=` compare the negated pattern (isa.md 9.4.3).
/// Left alone when negation could wrap, which the 32-bit arithmetic of the pattern would not survive.
fn negate_comparison(operands: &mut [Form], attrs: &mut [Attr]) {
    let row = Op::AffineSelect.row();
    let position = |name| row.attr(name).expect("affine_select has this attribute");
    let cmp = position("cmp_op");
    let flipped = match attrs[cmp] {
        Attr::Alu(AluOp::Less) => AluOp::Greater,
        Attr::Alu(AluOp::LessEqual) => AluOp::GreaterEqual,
        _ => return,
    };
    let (pattern, multiplier) = (position("pattern"), position("channel_multiplier"));
    let offset = row.operand("offset").expect("affine_select has this operand");
    let (Attr::Pairs(pairs), Attr::Int(m)) = (&attrs[pattern], &attrs[multiplier]) else {
        return;
    };
    let o = match operands.get(offset) {
        None | Some(Form::None) => 0,
        Some(Form::Int(o)) => *o,
        // What is in a register is not known here.
        _ => return,
    };
    let reach = pairs.iter().fold(i128::from(*m).abs() * 127 + i128::from(o).abs(), |r, p| {
        r + i128::from(p[0]).abs() * i128::from(p[1] - 1).max(0)
    });
    if reach >= i128::from(i32::MAX) {
        return;
    }
    let (negated, o, m) = (pairs.iter().map(|p| [-p[0], p[1]]).collect(), -o, -m);
    attrs[pattern] = Attr::Pairs(negated);
    if let Some(offset) = operands.get_mut(offset) {
        *offset = Form::Int(o);
    }
    attrs[multiplier] = Attr::Int(m);
    attrs[cmp] = Attr::Alu(flipped);
}
