//! Views for operands: of one tile as it comes, or of any tile so that it pairs with others.

use super::state::{CLAMP, Gen, Tile};
use crate::affine::Affine;
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::Space;
use crate::view::{AxisSlice, Dim, Index, Pattern, View};
use smallvec::SmallVec;

/// A view of a tile with its size.
#[derive(Clone, Debug)]
pub struct Sel {
    pub tile: usize,
    pub view: View,
    pub parts: u32,
    /// Free dimensions.
    pub free: Vec<u32>,
    /// No element occurs twice.
    pub distinct: bool,
}

impl Sel {
    pub fn n(&self) -> u32 {
        self.free.iter().product()
    }
}

/// Partitions that an engine reaches from `start`.
pub fn reach(start: u32) -> u32 {
    match start {
        0 => 128,
        64 => 64,
        _ => 32,
    }
}

impl Gen<'_> {
    /// Marks `t` as read and returns its magnitude.
    pub fn read(&mut self, t: usize) -> f64 {
        self.tiles[t].used = true;
        // What comes later in a loop may have changed it in the turn before, up to what clamps leave.
        let hi = self.tiles[t].hi;
        if self.carried_in(t) { hi.max(CLAMP) } else { hi }
    }

    /// A random expression from 0 to `max` in multiples of `unit`; it moves with an open loop if it can.
    pub fn affine_to(&mut self, max: u32, unit: u32) -> Affine {
        let max = i64::from(max / unit);
        let movable: Vec<_> = self.loops.iter().filter(|l| l.last > 0 && l.last <= max).copied().collect();
        let unit = i64::from(unit);
        let value = if let (Some(l), true) = (self.rng.choose(&movable), self.rng.percent(60)) {
            let c = i64::from(self.rng.range(1, (max / l.last) as u32));
            let rest = i64::from(self.rng.below((max - c * l.last) as u32 + 1));
            let var = Affine::var(l.var);
            if self.rng.percent(80) {
                var.scale(c).and_then(|a| a.add_constant(rest))
            } else {
                // Backwards: c·last + rest at 0, rest in the last turn.
                var.scale(-c).and_then(|a| a.add_constant(c * l.last + rest))
            }
        } else {
            Some(Affine::constant(i64::from(self.rng.below(max as u32 + 1))))
        };
        value.and_then(|a| a.scale(unit)).expect("indices of generated tiles are small")
    }

    /// A legal start for `parts` partitions of a tile with `of` partitions.
    fn start_partition(&mut self, parts: u32, of: u32) -> Affine {
        let starts: Vec<u32> =
            [0, 32, 64, 96].into_iter().filter(|&s| parts <= reach(s) && s + parts <= of).collect();
        if starts == [0, 32, 64, 96] && self.rng.percent(50) {
            return self.affine_to(96, 32);
        }
        Affine::constant(self.rng.choose(&starts).unwrap_or(0).into())
    }

    /// A random view of a tile. `whole_rows`: no sub-range of partitions.
    pub fn select(&mut self, tile: usize, whole_rows: bool) -> Sel {
        let Tile { buf, dtype, shape, .. } = self.tiles[tile].clone();
        let parts = match self.rng.percent(70) || whole_rows {
            true => shape[0],
            false => self.rng.range(1, shape[0]),
        };
        let part = self.start_partition(parts, shape[0]);
        if shape.len() == 3 && self.rng.percent(15) {
            return self.permuted(tile, part, parts);
        }
        let mut axes: SmallVec<[AxisSlice; 3]> = SmallVec::from_elem(AxisSlice::range(part, parts), 1);
        let mut free = Vec::new();
        let mut left = shape.len() - 1;
        for &n in &shape[1..] {
            let axis = match self.rng.below(10) {
                0..6 => AxisSlice::range(Affine::constant(0), n),
                6 if left > 1 => {
                    left -= 1;
                    AxisSlice::index(self.affine_to(n - 1, 1))
                }
                7 | 8 => {
                    let count = self.rng.range(1, n);
                    AxisSlice::range(self.affine_to(n - count, 1), count)
                }
                _ => {
                    let step = self.rng.range(1, 3.min(n));
                    let count = self.rng.range(1, (n - 1) / step + 1);
                    let start = self.affine_to(n - 1 - (count - 1) * step, 1);
                    AxisSlice { start, count, step, drop: false }
                }
            };
            if !axis.drop {
                free.push(axis.count);
            }
            axes.push(axis);
        }
        let view = View { buf, dtype, index: Index::Slice(axes), dynamic: None };
        Sel { tile, view, parts, free, distinct: true }
    }

    /// The free axes of a rank-3 tile the other way round, one of them perhaps backwards.
    fn permuted(&mut self, tile: usize, part: Affine, parts: u32) -> Sel {
        let Tile { buf, dtype, shape, .. } = self.tiles[tile].clone();
        let (a, b) = (shape[1], shape[2]);
        let back = self.rng.percent(30);
        let stride = if back { -1 } else { 1 };
        let offset = Affine::constant(if back { i64::from(b) - 1 } else { 0 });
        let dims = SmallVec::from_slice(&[Dim { stride, count: b }, Dim { stride: b.into(), count: a }]);
        let index = Index::Pattern(Pattern { part, parts, offset, dims });
        let view = View { buf, dtype, index, dynamic: None };
        Sel { tile, view, parts, free: vec![b, a], distinct: true }
    }

    /// All of a tile.
    pub fn full(&self, tile: usize) -> Sel {
        let t = &self.tiles[tile];
        let view = View::full(t.buf, &self.b.kernel().bufs[t.buf]);
        Sel { tile, view, parts: t.parts(), free: t.shape[1..].to_vec(), distinct: true }
    }

    /// A view of `tile` with `parts` partitions and `n` elements in each; `distinct`: no broadcast.
    pub fn view_of(&mut self, tile: usize, parts: u32, n: u32, distinct: bool) -> Option<Sel> {
        let Tile { buf, dtype, shape, .. } = self.tiles[tile].clone();
        let row: u32 = shape[1..].iter().product();
        if parts > shape[0] || (distinct && n > row) {
            return None;
        }
        let part = self.start_partition(parts, shape[0]);
        if n == row && self.rng.percent(70) {
            let axes = shape[1..].iter().map(|&m| AxisSlice::range(Affine::constant(0), m));
            let axes = std::iter::once(AxisSlice::range(part, parts)).chain(axes).collect();
            let view = View { buf, dtype, index: Index::Slice(axes), dynamic: None };
            return Some(Sel { tile, view, parts, free: shape[1..].to_vec(), distinct: true });
        }
        if shape.len() == 2 && n <= row && self.rng.percent(60) {
            let step = self.rng.range(1, if n > 1 { (row - 1) / (n - 1) } else { 1 }.min(3));
            let start = self.affine_to(row - 1 - (n - 1) * step, 1);
            let axes = [AxisSlice::range(part, parts), AxisSlice { start, count: n, step, drop: false }];
            let view = View { buf, dtype, index: Index::Slice(axes.into_iter().collect()), dynamic: None };
            return Some(Sel { tile, view, parts, free: vec![n], distinct: true });
        }
        let mut dims = SmallVec::new();
        let mut span = 1;
        let broadcast = n > row || (!distinct && self.rng.percent(20));
        if broadcast {
            // The largest part that the row holds, repeated.
            let inner = (1..=n.min(row)).rev().find(|d| n.is_multiple_of(*d)).unwrap_or(1);
            let inner = if self.rng.percent(50) { inner } else { 1 };
            dims.push(Dim { stride: 0, count: n / inner });
            if inner > 1 {
                dims.push(Dim { stride: 1, count: inner });
            }
            span = inner;
            if self.rng.percent(30) {
                dims.reverse();
            }
        } else {
            dims.push(Dim { stride: 1, count: n });
            span = span.max(n);
        }
        let offset = self.affine_to(row - span, 1);
        let index = Index::Pattern(Pattern { part, parts, offset, dims: dims.clone() });
        let view = View { buf, dtype, index, dynamic: None };
        let free = dims.iter().map(|d| d.count).collect();
        Some(Sel { tile, view, parts, free, distinct: !broadcast })
    }

    /// A readable view that pairs with `parts` and `n`; a new tile if none in scope fits.
    pub fn matching(&mut self, parts: u32, n: u32, ok: impl Fn(&Tile) -> bool) -> Sel {
        let fitting = self.tiles_where(|t| t.parts() >= parts && ok(t));
        if let (Some(t), true) = (self.rng.choose(&fitting), self.rng.percent(85))
            && let Some(sel) = self.view_of(t, parts, n, false)
        {
            return sel;
        }
        let dtype = self.float_dtype();
        let shape = [vec![parts], self.factor(n)].concat();
        let t = self.load_as(dtype, &shape);
        self.full(t)
    }

    /// One float32 value per partition.
    pub fn vector(&mut self, parts: u32) -> Sel {
        let fitting = self.tiles_where(|t| t.parts() >= parts && t.dtype == DType::F32);
        if let (Some(t), true) = (self.rng.choose(&fitting), self.rng.percent(80)) {
            let part = self.start_partition(parts, self.tiles[t].parts());
            let Tile { buf, shape, .. } = self.tiles[t].clone();
            let mut axes: SmallVec<[AxisSlice; 3]> = SmallVec::from_elem(AxisSlice::range(part, parts), 1);
            for &n in &shape[1..] {
                axes.push(AxisSlice::range(self.affine_to(n - 1, 1), 1));
            }
            let view = View { buf, dtype: DType::F32, index: Index::Slice(axes), dynamic: None };
            return Sel { tile: t, view, parts, free: vec![1; shape.len() - 1], distinct: true };
        }
        let t = self.load_as(DType::F32, &[parts, 1]);
        self.full(t)
    }

    /// Where an instruction with `parts` and `n` writes: mostly a new tile, else part of one that was read already and is
    /// not among `sources`.
    pub fn destination(
        &mut self,
        parts: u32,
        free: &[u32],
        dtype: DType,
        psum: bool,
        sources: &[usize],
    ) -> Sel {
        let n: u32 = free.iter().product();
        if self.rng.percent(15) {
            let old = self.tiles_where(|t| {
                t.used && t.dtype == dtype && t.parts() >= parts && (psum || t.space == Space::Sbuf)
            });
            let old: Vec<usize> = old.into_iter().filter(|t| !sources.contains(t)).collect();
            if let Some(t) = self.rng.choose(&old)
                && let Some(sel) = self.view_of(t, parts, n, true)
            {
                return sel;
            }
        }
        let shape = if self.rng.percent(60) { free.to_vec() } else { self.factor(n) };
        if self.rng.percent(8) && n > 1 && self.room() {
            // A part of a larger tile, which is filled first.
            let t = self.alloc(Space::Sbuf, dtype, &[parts, n + 3]);
            self.fill(t);
            if let Some(sel) = self.view_of(t, parts, n, true) {
                return sel;
            }
        }
        let space = match psum && self.psum_room(n, dtype) && self.rng.percent(15) {
            true => Space::Psum,
            false => Space::Sbuf,
        };
        let t = self.alloc(space, dtype, &[vec![parts], shape].concat());
        self.full(t)
    }

    /// A view of an HBM tensor from one slice per axis.
    pub fn hbm(&self, buf: Buf, axes: impl IntoIterator<Item = AxisSlice>) -> View {
        let dtype = self.b.kernel().bufs[buf].dtype;
        View { buf, dtype, index: Index::Slice(axes.into_iter().collect()), dynamic: None }
    }
}
