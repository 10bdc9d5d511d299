//! Which bytes a view touches: partitions times byte runs, for one turn of the loops around it or for all turns.
//!
//! A loop variable that moves a view is one more dimension of its pattern (stride = coefficient · step, count = turns), so
//! that a tile moving over a whole tensor is a single run. Sets too ragged to list become their hull, and say so.

use super::bounds::values;
use crate::affine::Affine;
use crate::entity::Var;
use crate::kernel::{BufData, Kernel};
use crate::view::View;
use std::collections::BTreeMap;

/// More runs than this in one partition become their hull.
const MAX_RUNS: u64 = 8192;

/// Half-open byte ranges within a partition, the same in partitions `parts.0 .. parts.1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boxes {
    pub parts: (u64, u64),
    pub runs: Vec<(u64, u64)>,
}

/// The bytes that a view touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footprint {
    pub boxes: Vec<Boxes>,
    /// Whether `boxes` is the set itself and not a superset.
    pub exact: bool,
}

/// How a footprint treats a loop variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    At(i64),
    /// All values.
    Sweep,
}

/// A dimension of a set of numbers: `stride`, `count`.
type Step = (u64, u64);

/// The footprint of `view` with variables as `pin` says. `None` if the view's loop never runs, or if it leaves its buffer
/// or 64 bits (reported elsewhere).
pub fn footprint(kernel: &Kernel, view: &View, buf: &BufData, pin: &dyn Fn(Var) -> Pin) -> Option<Footprint> {
    let p = view.pattern(buf)?;
    let bytes = view.dtype.bytes() as u64;
    let swept = |a: &Affine| a.terms().iter().any(|t| pin(t.0) == Pin::Sweep && p.part.coefficient(t.0) != 0);
    // A variable that moves partitions and offset together ties the two: only the hull of both is easy.
    let tied = swept(&p.offset);
    let (part, part_steps) = split(kernel, &p.part, pin)?;
    let (offset, mut steps) = split(kernel, &p.offset, pin)?;
    let mut base = i128::from(offset);
    for d in &p.dims {
        if d.count == 0 {
            return Some(Footprint { boxes: Vec::new(), exact: true });
        }
        if d.stride < 0 {
            base += i128::from(d.stride) * i128::from(d.count - 1);
        }
        steps.push((d.stride.unsigned_abs(), d.count.into()));
    }
    let base = u64::try_from(base).ok()?.checked_mul(bytes)?;
    for s in &mut steps {
        s.0 = s.0.checked_mul(bytes)?;
    }
    let (runs, exact_runs) = runs(base, bytes, steps)?;
    let part = u64::try_from(part).ok()?;
    let (parts, exact_parts) = self::runs(part, p.parts.into(), part_steps)?;
    let end = runs.last()?.1;
    if end > buf.row_bytes() || parts.last()?.1 > buf.partitions().max(1).into() {
        return None;
    }
    let boxes = parts.into_iter().map(|parts| Boxes { parts, runs: runs.clone() }).collect();
    Some(Footprint { boxes, exact: exact_runs && exact_parts && !tied })
}

/// All of `buf`.
pub fn whole(buf: &BufData) -> Footprint {
    let parts = (0, buf.partitions().max(1).into());
    Footprint { boxes: vec![Boxes { parts, runs: vec![(0, buf.row_bytes())] }], exact: true }
}

/// Constant part with variables pinned and negative sweeps folded in, and one step per swept variable.
fn split(kernel: &Kernel, a: &Affine, pin: &dyn Fn(Var) -> Pin) -> Option<(i64, Vec<Step>)> {
    let (mut base, mut steps) = (i128::from(a.offset()), Vec::new());
    for &(v, c) in a.terms() {
        let x = values(kernel, v)?;
        match pin(v) {
            Pin::At(value) => base += i128::from(c) * i128::from(value),
            Pin::Sweep => {
                let from = if c < 0 { x.hi() } else { x.lo };
                base += i128::from(c) * i128::from(from);
                steps.push((c.unsigned_abs().checked_mul(x.step.unsigned_abs())?, x.count));
            }
        }
    }
    Some((i64::try_from(base).ok()?, steps))
}

/// The set `base + Σ step`, each number standing for `width` numbers from it on, as disjoint ascending ranges; and whether it is
/// exact. `None` on overflow.
fn runs(base: u64, width: u64, mut steps: Vec<Step>) -> Option<(Vec<(u64, u64)>, bool)> {
    steps.retain(|s| s.0 > 0 && s.1 > 1);
    steps.sort_unstable();
    // Dimensions that close up extend the run; the others are kept, merged where one continues the other.
    let (mut width, mut outer) = (width, Vec::<Step>::new());
    for (stride, count) in steps {
        match outer.last_mut() {
            None if stride <= width => width = width.checked_add(stride.checked_mul(count - 1)?)?,
            Some(last) if last.0.checked_mul(last.1)? == stride => last.1 = last.1.checked_mul(count)?,
            _ => outer.push((stride, count)),
        }
    }
    let mut end = base.checked_add(width)?;
    for s in &outer {
        end = end.checked_add(s.0.checked_mul(s.1 - 1)?)?;
    }
    let number = outer.iter().fold(1u64, |n, s| n.saturating_mul(s.1));
    if number > MAX_RUNS {
        return Some((vec![(base, end)], false));
    }
    let mut starts = vec![base];
    for (stride, count) in outer {
        starts = (0..count).flat_map(|i| starts.iter().map(move |s| s + i * stride)).collect();
    }
    starts.sort_unstable();
    let mut out: Vec<(u64, u64)> = Vec::with_capacity(starts.len());
    for s in starts {
        match out.last_mut() {
            Some(last) if s <= last.1 => last.1 = last.1.max(s + width),
            _ => out.push((s, s + width)),
        }
    }
    Some((out, true))
}

impl Footprint {
    /// A byte in both sets, as partition and byte offset.
    pub fn common(&self, other: &Footprint) -> Option<(u64, u64)> {
        for a in &self.boxes {
            for b in &other.boxes {
                let part = a.parts.0.max(b.parts.0);
                if part >= a.parts.1.min(b.parts.1) {
                    continue;
                }
                let (mut i, mut j) = (0, 0);
                while let (Some(x), Some(y)) = (a.runs.get(i), b.runs.get(j)) {
                    let from = x.0.max(y.0);
                    if from < x.1.min(y.1) {
                        return Some((part, from));
                    }
                    if x.1 <= y.1 { i += 1 } else { j += 1 }
                }
            }
        }
        None
    }
}

/// A map from the bytes of a buffer to `T`, as bands of partitions with runs of bytes.
#[derive(Clone, Debug)]
pub struct ByteMap<T> {
    bands: Vec<Band<T>>,
}

#[derive(Clone, Debug)]
struct Band<T> {
    parts: (u64, u64),
    /// Start of a run to its end and value; disjoint, neighbours of equal value merged.
    runs: BTreeMap<u64, (u64, T)>,
}

impl<T: Copy + PartialEq> ByteMap<T> {
    /// Every byte of `buf` has `value`.
    pub fn new(buf: &BufData, value: T) -> Self {
        let runs = BTreeMap::from([(0, (buf.row_bytes(), value))]);
        ByteMap { bands: vec![Band { parts: (0, buf.partitions().max(1).into()), runs }] }
    }

    /// Applies `f` to the value of every byte of `area`.
    pub fn update(&mut self, area: &Footprint, f: impl Fn(T) -> T) {
        for b in &area.boxes {
            self.cut(b.parts.0);
            self.cut(b.parts.1);
            for band in self.bands.iter_mut().filter(|x| x.parts.0 >= b.parts.0 && x.parts.1 <= b.parts.1) {
                for run in &b.runs {
                    band.update(*run, &f);
                }
            }
        }
    }

    /// Calls `f` with each run of equal value inside `area`: partitions, bytes, value. Stops when `f` returns `true`.
    pub fn any(&self, area: &Footprint, mut f: impl FnMut((u64, u64), (u64, u64), T) -> bool) -> bool {
        for b in &area.boxes {
            for band in &self.bands {
                let parts = (band.parts.0.max(b.parts.0), band.parts.1.min(b.parts.1));
                if parts.0 >= parts.1 {
                    continue;
                }
                for run in &b.runs {
                    let first = band.runs.range(..=run.0).next_back().map_or(run.0, |r| *r.0);
                    for (from, (to, value)) in band.runs.range(first..run.1) {
                        let bytes = (run.0.max(*from), run.1.min(*to));
                        if bytes.0 < bytes.1 && f(parts, bytes, *value) {
                            return true;
                        }
                    }
                }
            }
        }
        false
    }

    /// Combines two maps of one buffer byte by byte.
    pub fn merge(&mut self, other: &ByteMap<T>, f: impl Fn(T, T) -> T) {
        for band in &other.bands {
            for (from, (to, value)) in &band.runs {
                let boxes = vec![Boxes { parts: band.parts, runs: vec![(*from, *to)] }];
                self.update(&Footprint { boxes, exact: true }, |mine| f(mine, *value));
            }
        }
    }

    /// Makes `part` a boundary between bands.
    fn cut(&mut self, part: u64) {
        if let Some(i) = self.bands.iter().position(|b| b.parts.0 < part && part < b.parts.1) {
            let mut upper = self.bands[i].clone();
            upper.parts.0 = part;
            self.bands[i].parts.1 = part;
            self.bands.insert(i + 1, upper);
        }
    }
}

impl<T: Copy + PartialEq> Band<T> {
    fn update(&mut self, run: (u64, u64), f: &impl Fn(T) -> T) {
        self.cut(run.0);
        self.cut(run.1);
        let inside: Vec<u64> = self.runs.range(run.0..run.1).map(|r| *r.0).collect();
        for start in inside {
            if let Some((_, value)) = self.runs.get_mut(&start) {
                *value = f(*value);
            }
            self.join(start);
        }
        self.join(run.1);
    }
    /// Makes `at` a boundary between runs.
    fn cut(&mut self, at: u64) {
        if let Some((&start, &(end, value))) = self.runs.range(..at).next_back()
            && at < end
        {
            self.runs.insert(start, (at, value));
            self.runs.insert(at, (end, value));
        }
    }
    /// Merges the run that starts at `at` into the one before it if their values are equal.
    fn join(&mut self, at: u64) {
        let Some(&(end, value)) = self.runs.get(&at) else { return };
        if let Some((_, before)) = self.runs.range_mut(..at).next_back()
            && before.0 == at
            && before.1 == value
        {
            before.0 = end;
            self.runs.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::dtype::DType;
    use crate::entity::Buf;
    use crate::kernel::{Bound, BufKind, Space};
    use crate::loc::Loc;
    use crate::view::{AxisSlice, Dim, Index, Pattern};
    use proptest::prelude::*;
    use smallvec::smallvec;

    #[test]
    fn a_tile_that_moves_over_a_tensor_is_one_run() {
        let mut b = Builder::new("k");
        let (_, mi) = b.begin_for("mi", Bound::Const(0), Bound::Const(2048), 128, Loc(0));
        let (_, ni) = b.begin_for("ni", Bound::Const(0), Bound::Const(4), 1, Loc(0));
        let x = BufData::new("x", Space::Hbm, DType::BF16, &[2048, 2048], BufKind::Output, Loc(0));
        let view = View {
            buf: Buf(0),
            dtype: DType::BF16,
            index: Index::Slice(smallvec![
                AxisSlice::range(Affine::var(mi), 128),
                AxisSlice::range(Affine::var(ni).scale(512).unwrap(), 512),
            ]),
            dynamic: None,
        };
        let k = b.finish();
        let all = footprint(&k, &view, &x, &|_| Pin::Sweep).unwrap();
        assert_eq!(all, Footprint { boxes: whole(&x).boxes, exact: true });
        let one = footprint(&k, &view, &x, &|v| Pin::At(if v == mi { 128 } else { 1 })).unwrap();
        assert_eq!(one.boxes[0].runs.len(), 128);
        assert_eq!(one.boxes[0].runs[0], (128 * 4096 + 1024, 128 * 4096 + 2048));
    }

    proptest! {
        /// Runs against the plain enumeration of a pattern.
        #[test]
        fn runs_equal_brute_force(
            offset in 0i64..40,
            dims in prop::collection::vec((-3i64..9, 1u32..5), 0..4),
        ) {
            let k = Kernel::new("k");
            let x = BufData::new("x", Space::Hbm, DType::U16, &[400], BufKind::Private, Loc(0));
            let dims: smallvec::SmallVec<[Dim; 4]> =
                dims.into_iter().map(|(stride, count)| Dim { stride, count }).collect();
            let mut brute = vec![offset];
            for d in &dims {
                brute = brute.iter().flat_map(|b| (0..d.count as i64).map(move |i| b + i * d.stride)).collect();
            }
            let (part, parts) = (Affine::constant(0), 1);
            let p = Pattern { part, parts, offset: Affine::constant(offset), dims };
            let view = View { buf: Buf(0), dtype: DType::U16, index: Index::Pattern(p), dynamic: None };
            let got = footprint(&k, &view, &x, &|_| Pin::Sweep);
            if brute.iter().any(|b| *b < 0) {
                prop_assert_eq!(got, None);
            } else {
                let mut want = vec![false; 800];
                brute.iter().for_each(|b| want[*b as usize * 2..][..2].fill(true));
                let mut have = vec![false; 800];
                let got = got.unwrap();
                prop_assert!(got.exact);
                got.boxes[0].runs.iter().for_each(|r| have[r.0 as usize..r.1 as usize].fill(true));
                prop_assert_eq!(want, have);
            }
        }

        /// A byte map against an array.
        #[test]
        fn byte_maps_equal_an_array(
            areas in prop::collection::vec((0u64..8, 1u64..8, 0u64..60, 1u64..20, 1u64..9), 0..12),
        ) {
            let x = BufData::new("x", Space::Sbuf, DType::U8, &[16, 80], BufKind::Private, Loc(0));
            let mut map = ByteMap::new(&x, 0u64);
            let mut array = vec![[0u64; 80]; 16];
            for (p, np, b, nb, add) in areas {
                let boxes = vec![Boxes { parts: (p, p + np), runs: vec![(b, b + nb)] }];
                map.update(&Footprint { boxes, exact: true }, |v| (v + add) % 5);
                for row in &mut array[p as usize..(p + np) as usize] {
                    row[b as usize..(b + nb) as usize].iter_mut().for_each(|v| *v = (*v + add) % 5);
                }
            }
            let mut seen = vec![[9u64; 80]; 16];
            map.any(&whole(&x), |parts, bytes, v| {
                for row in &mut seen[parts.0 as usize..parts.1 as usize] {
                    row[bytes.0 as usize..bytes.1 as usize].fill(v);
                }
                false
            });
            prop_assert_eq!(array, seen);
        }
    }
}
