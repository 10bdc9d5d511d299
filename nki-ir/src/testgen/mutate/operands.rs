//! Mistakes in what an operand addresses.

use super::{Edit, constant, on_engine, places, size, slice, slice_mut};
use crate::affine::Affine;
use crate::entity::Entity;
use crate::kernel::{BufData, BufKind, LoopData, Node, Operand, Space};
use crate::op::{Effect, Op, OperandKind};
use crate::view::{AxisSlice, Dim, Dynamic, Index, Pattern, View};
use smallvec::SmallVec;

/// Takes one element off the last axis that has two.
fn shorten(view: &mut View, from: usize) -> Option<()> {
    match &mut view.index {
        Index::Slice(axes) => axes.iter_mut().skip(from).rev().find(|a| a.count > 1)?.count -= 1,
        Index::Pattern(p) => p.dims.iter_mut().rev().find(|d| d.count > 1)?.count -= 1,
    }
    Some(())
}

pub fn short_tile(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, v, b| {
        on_engine(data)
            && spec.kind == OperandKind::Tile
            && spec.effect == Effect::Read
            && size(v, b).1 > 1
            && b.space.on_chip()
    })?;
    shorten(e.view(site)?, 1)
}

pub fn short_transfer(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, v, b| {
        let (parts, n) = size(v, b);
        data.op == Op::DmaCopy
            && spec.effect == Effect::Read
            && u64::from(parts) * n > 1
            && slice(v).is_some()
    })?;
    shorten(e.view(site)?, 0)
}

pub fn short_contraction(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, v, b| {
        data.op == Op::NcMatmul && spec.effect == Effect::Read && size(v, b).0 > 1
    })?;
    match &mut e.view(site)?.index {
        Index::Slice(axes) => axes[0].count -= 1,
        Index::Pattern(p) => p.parts -= 1,
    }
    Some(())
}

pub fn wide_vector(e: &mut Edit) -> Option<()> {
    widen(e, OperandKind::ScalarOrVec, Effect::Read)
}

pub fn wide_sum(e: &mut Edit) -> Option<()> {
    widen(e, OperandKind::Vec, Effect::Write)
}

fn widen(e: &mut Edit, kind: OperandKind, effect: Effect) -> Option<()> {
    let site = e.operand(|_, spec, v, b| {
        (spec.kind, spec.effect) == (kind, effect)
            && b.shape.len() == 2
            && slice(v).is_some_and(|a| a.len() == 2)
    })?;
    let view = e.view(site)?;
    let buf = view.buf;
    let last = &mut slice_mut(view)?[1];
    (last.start, last.count) = (constant(0), 2);
    // A tile of one column gets a second one.
    let columns = &mut e.k.bufs[buf].shape[1];
    *columns = (*columns).max(2);
    Some(())
}

pub fn odd_start(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, _, v, b| on_engine(data) && b.space.on_chip() && size(v, b).0 < 128)?;
    let view = e.view(site)?.clone();
    let parts = size(&view, &e.k.bufs[view.buf]).0;
    let starts: Vec<u32> = [1, 2, 15, 31, 33, 65, 95].into_iter().filter(|s| s + parts <= 128).collect();
    let start = e.rng.choose(&starts)?;
    // The tile grows if it has to: nothing else depends on that.
    let buf = &mut e.k.bufs[view.buf];
    buf.shape[0] = buf.shape[0].max(start + parts);
    match &mut e.view(site)?.index {
        Index::Slice(axes) => axes[0].start = constant(start),
        Index::Pattern(p) => p.part = constant(start),
    }
    Some(())
}

/// An axis of a slice and the size of the buffer along it.
fn axis(e: &mut Edit) -> Option<(&mut AxisSlice, u32)> {
    let site = e.operand(|_, _, v, b| slice(v).is_some() && !b.shape.is_empty())?;
    let shape = {
        let buf = e.view(site)?.buf;
        e.k.bufs[buf].shape.clone()
    };
    let i = e.rng.below(shape.len() as u32) as usize;
    let view = e.view(site)?;
    Some((slice_mut(view)?.get_mut(i)?, shape[i]))
}

pub fn past_end(e: &mut Edit) -> Option<()> {
    let (axis, n) = axis(e)?;
    let reach = i64::from(axis.count - 1) * i64::from(axis.step);
    // Whether the start moves or not, its smallest value is 0 or more.
    axis.start = axis.start.add_constant(i64::from(n) - reach)?;
    Some(())
}

pub fn before_start(e: &mut Edit) -> Option<()> {
    let (axis, _) = axis(e)?;
    axis.start = constant(-1);
    Some(())
}

pub fn pattern_past_end(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, _, v, _| matches!(v.index, Index::Pattern(_)))?;
    let view = e.view(site)?.clone();
    let elements = i64::try_from(e.k.bufs[view.buf].row_elements()).ok()?;
    if let Index::Pattern(p) = &mut e.view(site)?.index {
        p.offset = p.offset.add_constant(elements)?;
    }
    Some(())
}

/// Replaces the free dimensions of an on-chip view.
fn set_dims(view: &mut View, data: &BufData, dims: &[Dim]) -> Option<()> {
    let old = view.pattern(data)?;
    let dims = dims.iter().copied().collect();
    view.index = Index::Pattern(Pattern { offset: constant(0), dims, ..old });
    Some(())
}

pub fn broadcast_destination(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, v, b| {
        on_engine(data) && spec.effect != Effect::Read && b.space.on_chip() && size(v, b).1 > 1
    })?;
    let view = e.view(site)?.clone();
    let data = e.k.bufs[view.buf].clone();
    // The shape stays: some instructions compare all of it before they look at addresses.
    let dims: Vec<Dim> =
        view.pattern(&data)?.dims.iter().map(|d| Dim { stride: 0, count: d.count }).collect();
    set_dims(e.view(site)?, &data, &dims)
}

pub fn shifted_destination(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, v, b| {
        let dense = |a: &AxisSlice| a.step == 1 && a.start.as_constant() == Some(0) && a.count > 1;
        on_engine(data)
            && spec.name.starts_with("data")
            && spec.kind == OperandKind::Tile
            && b.space == Space::Sbuf
            && b.shape.len() == 2
            && slice(v).is_some_and(|a| a.len() == 2 && dense(&a[1]) && a[1].count < b.shape[1])
    })?;
    let mut view = e.view(site)?.clone();
    slice_mut(&mut view)?[1].start = constant(1);
    e.data(site).operands[0] = Operand::View(view);
    Some(())
}

pub fn five_dimensions(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, spec, _, b| {
        on_engine(data) && spec.effect == Effect::Read && b.space.on_chip() && b.row_elements() >= 3
    })?;
    let view = e.view(site)?.clone();
    let data = e.k.bufs[view.buf].clone();
    let dims = [0, 1, 0, 1, 0].map(|stride| Dim { stride, count: 2 });
    set_dims(e.view(site)?, &data, &dims)
}

pub fn dynamic_operand(e: &mut Edit) -> Option<()> {
    let site = e.operand(|data, _, v, b| {
        on_engine(data) && data.op != Op::TensorCopy && b.space == Space::Sbuf && slice(v).is_some()
    })?;
    let view = e.view(site)?;
    let mut index = view.clone();
    for axis in slice_mut(&mut index)? {
        *axis = AxisSlice::range(constant(0), 1);
    }
    view.dynamic = Some(Dynamic::Scalar { index: Box::new(index), axis: 1 });
    Some(())
}

pub fn extra_axis(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, _, v, _| slice(v).is_some())?;
    if let Index::Slice(axes) = &mut e.view(site)?.index {
        axes.push(AxisSlice::range(constant(0), 1));
    }
    Some(())
}

pub fn fresh_tile(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, spec, _, b| spec.effect == Effect::Read && b.kind == BufKind::Private)?;
    let view = e.view(site)?.clone();
    let mut data = e.k.bufs[view.buf].clone();
    data.name = format!("fresh{}", e.k.bufs.len());
    let buf = e.k.bufs.push(data);
    e.view(site)?.buf = buf;
    let (inst, region) = (e.places[site.place].inst, e.places[site.place].region);
    let nodes = &mut e.k.regions[region].nodes;
    let at = nodes.iter().position(|n| *n == Node::Inst(inst))?;
    nodes.insert(at, Node::Alloc(buf));
    Some(())
}

pub fn foreign_variable(e: &mut Edit) -> Option<()> {
    let vars: Vec<_> = e.k.vars.keys().collect();
    let var = e.rng.choose(&vars)?;
    let owner = e.k.vars[var].owner;
    let inside: Vec<bool> = {
        let mut inside = vec![false; e.k.insts.len()];
        for p in places(&e.k).iter().filter(|p| p.loops.contains(&owner)) {
            inside[p.inst.index()] = true;
        }
        inside
    };
    let outside = |i: usize| !inside[i];
    let candidates: Vec<_> = e.places.iter().map(|p| p.inst).filter(|i| outside(i.index())).collect();
    let inst = e.rng.choose(&candidates)?;
    let views = e.k.insts[inst].operands.iter_mut().filter_map(|o| match o {
        Operand::View(v) => Some(v),
        _ => None,
    });
    let mut views: SmallVec<[&mut View; 4]> = views.collect();
    let i = e.rng.below(views.len() as u32) as usize;
    let start = match &mut views.get_mut(i)?.index {
        Index::Slice(axes) => &mut axes.last_mut()?.start,
        Index::Pattern(p) => &mut p.offset,
    };
    *start = start.add(&Affine::var(var))?;
    matches!(e.k.loops[owner], LoopData::For { .. }).then_some(())
}
