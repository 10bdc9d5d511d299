//! One mistake in a valid kernel, with the code that the gate must report for it.
//!
//! [`EDITS`] lists the mistakes. An edit picks a random place where it applies; most kernels have one for most edits, and
//! every kernel has one for some. What an edit breaks may break more (a tile that is no longer written in full is also read
//! uninitialised), so the code is among those reported, not the only one.

mod control;
mod instructions;
mod operands;
mod structure;

use super::rng::Rng;
use crate::affine::Affine;
use crate::diag::Code;
use crate::dtype::DType;
use crate::entity::{Buf, Entity, Inst, Loop, Region};
use crate::kernel::{BufData, InstData, Kernel, LoopData, Node, Operand};
use crate::op::{Op, OperandSpec};
use crate::target::{Gen, Target};
use crate::text::{Step, Walk};
use crate::view::{AxisSlice, Dynamic, Index, View};
use control as c;
use instructions as i;
use operands as o;
use structure as s;

/// A kernel with one mistake.
#[derive(Clone, Debug)]
pub struct Mutant {
    pub kernel: Kernel,
    /// Among the codes that `verify` must report.
    pub code: Code,
    /// Name of the edit.
    pub edit: &'static str,
}

/// Makes the mistake at a random place; `None` if the kernel has no place for it.
type Apply = fn(&mut Edit) -> Option<()>;

/// Every mistake: its name, the code, how to make it.
const EDITS: &[(&str, Code, Apply)] = &[
    ("paired tile one element short", Code::Shape, o::short_tile),
    ("transfer one element short", Code::Shape, o::short_transfer),
    ("contraction of unequal length", Code::Shape, o::short_contraction),
    ("vector operand of two columns", Code::Shape, o::wide_vector),
    ("sum of two columns", Code::ReduceCmd, o::wide_sum),
    ("start at an odd partition", Code::StartPartition, o::odd_start),
    ("slice past the end", Code::OutOfBounds, o::past_end),
    ("slice before the start", Code::OutOfBounds, o::before_start),
    ("pattern past the end", Code::OutOfBounds, o::pattern_past_end),
    ("broadcast destination", Code::Overlap, o::broadcast_destination),
    ("destination shifted over its source", Code::Overlap, o::shifted_destination),
    ("five dimensions", Code::AccessPattern, o::five_dimensions),
    ("dynamic operand of a compute instruction", Code::DynamicIndex, o::dynamic_operand),
    ("slice with an axis too many", Code::Form, o::extra_axis),
    ("read of a fresh tile", Code::Uninitialized, o::fresh_tile),
    ("loop variable outside its loop", Code::Undefined, o::foreign_variable),
    ("tile in HBM", Code::Memory, s::tile_in_hbm),
    ("matmul into SBUF", Code::Memory, s::acc_in_sbuf),
    ("transfer of a PSUM tile", Code::Memory, s::dma_from_psum),
    ("129 partitions", Code::Partition, s::many_partitions),
    ("empty dimension", Code::Shape, s::empty_dimension),
    ("tile of rank one", Code::Shape, s::rank_one),
    ("tile larger than SBUF", Code::SbufCapacity, s::huge_tile),
    ("tile larger than PSUM", Code::PsumCapacity, s::huge_acc),
    ("tensor larger than HBM", Code::HbmCapacity, s::huge_tensor),
    ("PSUM tile off its bank", Code::PsumBank, s::unaligned_acc),
    ("matmul across two banks", Code::PsumBank, s::straddling_acc),
    ("store to an input", Code::ReadOnly, s::store_to_input),
    ("output without its store", Code::OutputNotWritten, s::no_store),
    ("tile used after its loop", Code::Escape, s::escape),
    ("use before allocation", Code::Undefined, s::late_alloc),
    ("two buffers of one name", Code::Duplicate, s::duplicate_buffer),
    ("two instructions of one name", Code::Duplicate, s::duplicate_label),
    ("loop that stands still", Code::Parameter, s::zero_step),
    ("bfloat16 times float32", Code::Dtype, i::mixed_matmul),
    ("bfloat16 vector operand", Code::Dtype, i::narrow_vector),
    ("bits of a float", Code::Dtype, i::float_bits),
    ("float into integers", Code::Dtype, i::float_memset),
    ("bfloat16 accumulator", Code::Dtype, i::narrow_acc),
    ("transpose that converts", Code::Dtype, i::converting_transpose),
    ("illegal operator", Code::Operator, i::illegal_operator),
    ("operator of a later target", Code::Target, i::later_operator),
    ("dtype of a later target", Code::Target, i::later_dtype),
    ("illegal engine", Code::Engine, i::illegal_engine),
    ("missing operand", Code::Form, i::missing_operand),
    ("missing attribute", Code::Form, i::missing_attribute),
    ("operand of another kind", Code::Form, i::operand_kind),
    ("parameter out of range", Code::Parameter, i::bad_parameter),
    ("illegal reduce command", Code::ReduceCmd, i::illegal_reduce_cmd),
    ("reduction without a start", Code::ReduceCmd, i::unset_reduce),
    ("undecided accumulation", Code::Accumulate, i::undecided),
    ("accumulation on nothing", Code::Accumulate, i::add_to_nothing),
    ("register that nothing writes", Code::Uninitialized, c::unwritten_register),
    ("constant wider than a register", Code::Parameter, c::wide_constant),
    ("condition that is a float", Code::Dtype, c::float_condition),
    ("loop on registers in an ordered block", Code::ControlFlow, c::ordered_loop),
];

/// Names of all edits.
pub fn edits() -> impl Iterator<Item = &'static str> {
    EDITS.iter().map(|e| e.0)
}

/// `kernel`, valid on `target`, with one mistake chosen by `seed`.
pub fn mutate(seed: u64, kernel: &Kernel, target: Target) -> Mutant {
    let mut rng = Rng::new(seed);
    let first = rng.below(EDITS.len() as u32) as usize;
    let order = (0..EDITS.len()).map(|i| EDITS[(first + i) % EDITS.len()].0);
    let found = order.into_iter().find_map(|edit| mutate_by(edit, rng.bits(), kernel, target));
    // A parameter or a loop is enough for some edit, and so is an allocation.
    found.unwrap_or_else(|| undeclared(kernel))
}

/// The same by the name of an edit; `None` if the kernel has no place for it (or there is no such edit).
pub fn mutate_by(edit: &str, seed: u64, kernel: &Kernel, target: Target) -> Option<Mutant> {
    let (name, code, apply) = *EDITS.iter().find(|e| e.0 == edit)?;
    let mut e = Edit { k: kernel.clone(), rng: Rng::new(seed), target, places: places(kernel) };
    apply(&mut e)?;
    Some(Mutant { kernel: e.k, code, edit: name })
}

/// For a kernel without anything in it: an output that nothing writes.
fn undeclared(kernel: &Kernel) -> Mutant {
    let mut kernel = kernel.clone();
    let loc = crate::loc::Loc::UNKNOWN;
    let name = format!("out{}", kernel.bufs.len());
    let out =
        BufData::new(&name, crate::kernel::Space::Hbm, DType::F32, &[1], crate::kernel::BufKind::Output, loc);
    kernel.bufs.push(out);
    Mutant { kernel, code: Code::OutputNotWritten, edit: "output that nothing writes" }
}

/// Where an instruction stands.
#[derive(Clone, Debug)]
struct Place {
    inst: Inst,
    region: Region,
    /// Loops around it, outermost first.
    loops: Vec<Loop>,
    /// Whether it ever runs.
    live: bool,
}

/// Every instruction in program order.
fn places(k: &Kernel) -> Vec<Place> {
    let mut owner = vec![k.body; k.insts.len()];
    for (region, data) in k.regions.iter() {
        for node in &data.nodes {
            if let Node::Inst(inst) = node {
                owner[inst.index()] = region;
            }
        }
    }
    let (mut out, mut loops) = (Vec::new(), Vec::new());
    for step in Walk::new(k) {
        match step {
            Step::Node(Node::Loop(l)) => loops.push(l),
            Step::End(_) => drop(loops.pop()),
            Step::Node(Node::Inst(inst)) => {
                let live = loops.iter().all(|&l| k.loops[l].trip_count() != Some(0));
                out.push(Place { inst, region: owner[inst.index()], loops: loops.clone(), live });
            }
            _ => {}
        }
    }
    out
}

/// An operand of an instruction.
#[derive(Clone, Copy, Debug)]
struct Site {
    place: usize,
    slot: usize,
}

struct Edit {
    k: Kernel,
    rng: Rng,
    target: Target,
    places: Vec<Place>,
}

impl Edit {
    /// A live instruction that `ok` accepts.
    fn inst(&mut self, ok: impl Fn(&Kernel, &InstData) -> bool) -> Option<Inst> {
        let all: Vec<Inst> = self.places.iter().filter(|p| p.live).map(|p| p.inst).collect();
        let fit: Vec<Inst> = all.into_iter().filter(|&i| ok(&self.k, &self.k.insts[i])).collect();
        self.rng.choose(&fit)
    }

    /// A view among the operands of live instructions that `ok` accepts.
    fn operand(&mut self, ok: impl Fn(&InstData, &OperandSpec, &View, &BufData) -> bool) -> Option<Site> {
        let mut fit = Vec::new();
        for (place, p) in self.places.iter().enumerate().filter(|(_, p)| p.live) {
            let data = &self.k.insts[p.inst];
            for (slot, (operand, spec)) in data.operands.iter().zip(data.op.row().operands).enumerate() {
                if let Some(view) = operand.view()
                    && view.dynamic.is_none()
                    && ok(data, spec, view, &self.k.bufs[view.buf])
                {
                    fit.push(Site { place, slot });
                }
            }
        }
        self.rng.choose(&fit)
    }

    fn data(&mut self, site: Site) -> &mut InstData {
        &mut self.k.insts[self.places[site.place].inst]
    }

    fn view(&mut self, site: Site) -> Option<&mut View> {
        match &mut self.data(site).operands[site.slot] {
            Operand::View(v) => Some(v),
            _ => None,
        }
    }

    /// A private buffer that live instructions use and `ok` accepts.
    fn buffer(&mut self, ok: impl Fn(&BufData) -> bool) -> Option<Buf> {
        let mut used = vec![false; self.k.bufs.len()];
        for p in self.places.iter().filter(|p| p.live) {
            for v in self.k.insts[p.inst].operands.iter().filter_map(Operand::view) {
                used[v.buf.index()] = true;
            }
        }
        let private = |b: &BufData| b.kind == crate::kernel::BufKind::Private;
        let fit = self.k.bufs.iter().filter(|(b, d)| used[b.index()] && private(d) && ok(d));
        let fit: Vec<Buf> = fit.map(|x| x.0).collect();
        self.rng.choose(&fit)
    }

    /// Calls `f` on every view of `buf`.
    fn views_of(&mut self, buf: Buf, mut f: impl FnMut(&mut View)) {
        for p in &self.places {
            for operand in &mut self.k.insts[p.inst].operands {
                let Operand::View(v) = operand else { continue };
                if v.buf == buf {
                    f(v);
                }
                if let Some(Dynamic::Scalar { index, .. } | Dynamic::Vector { index }) = &mut v.dynamic
                    && index.buf == buf
                {
                    f(index);
                }
            }
        }
    }

    /// Gives `buf` and all its views another dtype.
    fn set_dtype(&mut self, buf: Buf, dtype: DType) {
        self.k.bufs[buf].dtype = dtype;
        self.views_of(buf, |v| v.dtype = dtype);
    }

    fn generation(&self) -> Gen {
        self.target.generation()
    }
}

/// Instructions other than DMA.
fn on_engine(data: &InstData) -> bool {
    // Registers (isa.md 9.7) are loaded and stored by descriptors, from any partition and by dynamic indices.
    data.op != Op::DmaCopy && data.op.row().section != "9.7"
}

/// The axes of a slice.
fn slice(view: &View) -> Option<&[AxisSlice]> {
    match &view.index {
        Index::Slice(axes) => Some(axes),
        Index::Pattern(_) => None,
    }
}

fn slice_mut(view: &mut View) -> Option<&mut [AxisSlice]> {
    match &mut view.index {
        Index::Slice(axes) => Some(axes),
        Index::Pattern(_) => None,
    }
}

/// Partitions and elements per partition of a view.
fn size(view: &View, buf: &BufData) -> (u32, u64) {
    view.pattern(buf).map_or((0, 0), |p| (p.parts, p.elements()))
}

fn constant(c: impl Into<i64>) -> Affine {
    Affine::constant(c.into())
}

/// Position of a node in the region that holds it.
fn find(k: &Kernel, node: Node) -> Option<(Region, usize)> {
    let in_region = |(r, data): (Region, &crate::kernel::RegionData)| {
        data.nodes.iter().position(|n| *n == node).map(|i| (r, i))
    };
    k.regions.iter().find_map(in_region)
}

/// Counted loops with at least one turn.
fn turning(k: &Kernel) -> Vec<Loop> {
    let turns = |d: &LoopData| d.trip_count().is_some_and(|n| n > 0);
    k.loops.iter().filter(|(_, d)| turns(d)).map(|x| x.0).collect()
}
