//! Mistakes in buffers, regions and names.

use super::{Edit, constant, find, on_engine, slice, slice_mut, turning};
use crate::builder::Builder;
use crate::entity::{Buf, Entity};
use crate::kernel::{BufData, BufKind, LoopData, Node, Operand, Space};
use crate::loc::Loc;
use crate::op::{Effect, Op};
use crate::target::Gen;
use crate::view::View;

/// Buffers in `space` that some operand accepted by `ok` is a view of, all of whose views are slices.
fn sliced(e: &mut Edit, space: Space, ok: impl Fn(Op, Effect) -> bool) -> Option<Buf> {
    let (mut fit, mut patterns) = (vec![false; e.k.bufs.len()], vec![false; e.k.bufs.len()]);
    for p in &e.places {
        let data = &e.k.insts[p.inst];
        for (operand, spec) in data.operands.iter().zip(data.op.row().operands) {
            if let Some(v) = operand.view() {
                fit[v.buf.index()] |= p.live && ok(data.op, spec.effect);
                patterns[v.buf.index()] |= slice(v).is_none();
            }
        }
    }
    e.buffer(|_| true)?;
    let all = e.k.bufs.iter().filter(|(b, d)| d.space == space && fit[b.index()] && !patterns[b.index()]);
    let all: Vec<Buf> = all.filter(|(_, d)| d.kind == BufKind::Private).map(|x| x.0).collect();
    e.rng.choose(&all)
}

pub fn tile_in_hbm(e: &mut Edit) -> Option<()> {
    let buf = sliced(e, Space::Sbuf, |op, _| op != Op::DmaCopy)?;
    e.k.bufs[buf].space = Space::Hbm;
    Some(())
}

pub fn acc_in_sbuf(e: &mut Edit) -> Option<()> {
    let buf = sliced(e, Space::Psum, |op, effect| op == Op::NcMatmul && effect != Effect::Read)?;
    e.k.bufs[buf].space = Space::Sbuf;
    Some(())
}

pub fn dma_from_psum(e: &mut Edit) -> Option<()> {
    let buf = sliced(e, Space::Sbuf, |op, _| op == Op::DmaCopy)?;
    e.k.bufs[buf].space = Space::Psum;
    Some(())
}

fn on_chip(e: &mut Edit) -> Option<&mut BufData> {
    let buf = e.buffer(|b| b.space.on_chip())?;
    Some(&mut e.k.bufs[buf])
}

pub fn many_partitions(e: &mut Edit) -> Option<()> {
    on_chip(e)?.shape[0] = 129;
    Some(())
}

pub fn empty_dimension(e: &mut Edit) -> Option<()> {
    let buf = e.buffer(|_| true)?;
    let axis = e.rng.below(e.k.bufs[buf].shape.len() as u32) as usize;
    e.k.bufs[buf].shape[axis] = 0;
    Some(())
}

pub fn rank_one(e: &mut Edit) -> Option<()> {
    on_chip(e)?.shape.truncate(1);
    Some(())
}

/// Widens the rows of a tile of rank 2 to `bytes`.
fn widen(e: &mut Edit, space: Space, bytes: u32) -> Option<()> {
    let buf = e.buffer(|b| b.space == space && b.shape.len() == 2)?;
    let data = &mut e.k.bufs[buf];
    data.shape[1] = bytes / data.dtype.bytes() as u32;
    Some(())
}

pub fn huge_tile(e: &mut Edit) -> Option<()> {
    widen(e, Space::Sbuf, 300_000)
}

pub fn huge_acc(e: &mut Edit) -> Option<()> {
    widen(e, Space::Psum, 20_000)
}

pub fn huge_tensor(e: &mut Edit) -> Option<()> {
    let wide = |d: &BufData| d.shape.len() > 1 && d.row_bytes() / u64::from(d.shape[0].max(1)) >= 64;
    let inputs = e.k.bufs.iter().filter(|(_, d)| d.kind == BufKind::Input && wide(d));
    let inputs: Vec<Buf> = inputs.map(|x| x.0).collect();
    let buf = e.rng.choose(&inputs)?;
    e.k.bufs[buf].shape[0] = u32::MAX;
    Some(())
}

pub fn unaligned_acc(e: &mut Edit) -> Option<()> {
    let buf = e.buffer(|b| b.space == Space::Psum)?;
    e.k.bufs[buf].address = Some((0, 4));
    Some(())
}

pub fn straddling_acc(e: &mut Edit) -> Option<()> {
    if e.generation() == Gen::Gen4 {
        return None;
    }
    let site = e.operand(|data, spec, v, b| {
        data.op == Op::NcMatmul
            && spec.name == "dst"
            && b.dtype.bytes() == 4
            && b.shape.len() == 2
            && slice(v).is_some_and(|a| a.len() == 2 && a[1].count > 1 && a[1].step == 1)
    })?;
    let view = e.view(site)?;
    let buf = view.buf;
    let last = &mut slice_mut(view)?[1];
    last.start = constant(512 - i64::from(last.count) / 2);
    e.k.bufs[buf].shape[1] = 1024;
    Some(())
}

pub fn store_to_input(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, spec, _, b| spec.effect != Effect::Read && b.kind != BufKind::Private)?;
    let buf = e.view(site)?.buf;
    e.k.bufs[buf].kind = BufKind::Input;
    Some(())
}

pub fn no_store(e: &mut Edit) -> Option<()> {
    let site = e.operand(|_, spec, _, b| spec.effect != Effect::Read && b.kind == BufKind::Output)?;
    let buf = e.view(site)?.buf;
    let of = |o: &Operand| o.view().is_some_and(|v| v.buf == buf);
    let stores = e.places.iter().filter(|p| e.k.insts[p.inst].operands.iter().any(of)).count();
    if stores > 1 {
        return None;
    }
    let (region, at) = find(&e.k, Node::Inst(e.places[site.place].inst))?;
    e.k.regions[region].nodes.remove(at);
    Some(())
}

pub fn escape(e: &mut Edit) -> Option<()> {
    let turning = turning(&e.k);
    let l = e.rng.choose(&turning)?;
    let body = e.k.loops[l].regions()[0];
    let tiles = e.k.regions[body].nodes.iter().filter_map(|n| match n {
        Node::Alloc(b) if e.k.bufs[*b].space.on_chip() => Some(*b),
        _ => None,
    });
    let tiles: Vec<Buf> = tiles.collect();
    let buf = e.rng.choose(&tiles)?;
    let mut data = Builder::template(Op::Memset, Loc::UNKNOWN);
    let value = if e.k.bufs[buf].dtype.is_int() { Operand::Int(0) } else { Operand::Imm(0.0) };
    data.operands = [Operand::View(View::full(buf, &e.k.bufs[buf])), value].into_iter().collect();
    let inst = e.k.insts.push(data);
    let (region, at) = find(&e.k, Node::Loop(l))?;
    e.k.regions[region].nodes.insert(at + 1, Node::Inst(inst));
    Some(())
}

pub fn late_alloc(e: &mut Edit) -> Option<()> {
    let buf = e.buffer(|_| true)?;
    let (region, at) = find(&e.k, Node::Alloc(buf))?;
    let nodes = &mut e.k.regions[region].nodes;
    let node = nodes.remove(at);
    nodes.push(node);
    Some(())
}

pub fn duplicate_buffer(e: &mut Edit) -> Option<()> {
    let all: Vec<Buf> = e.k.bufs.keys().collect();
    let (a, b) = (e.rng.choose(&all)?, e.rng.choose(&all)?);
    if a == b {
        return None;
    }
    e.k.bufs[a].name = e.k.bufs[b].name.clone();
    Some(())
}

pub fn duplicate_label(e: &mut Edit) -> Option<()> {
    let (a, b) = (e.inst(|_, _| true)?, e.inst(|_, d| on_engine(d))?);
    if a == b {
        return None;
    }
    for inst in [a, b] {
        e.k.insts[inst].name = Some("twice".into());
    }
    Some(())
}

pub fn zero_step(e: &mut Edit) -> Option<()> {
    let all: Vec<_> =
        e.k.loops.iter().filter(|(_, d)| matches!(d, LoopData::For { .. })).map(|x| x.0).collect();
    let l = e.rng.choose(&all)?;
    let bad = e.rng.pick(&[0, -1]);
    if let LoopData::For { step, .. } = &mut e.k.loops[l] {
        *step = bad;
    }
    Some(())
}
