//! Views: other ways to look at the same bytes. They compose to hardware access patterns and cost nothing at run time
//! (isa.md section 12). A view that no pattern can express is an error while tracing (`nki::access_pattern`).

mod nki;

use crate::elem::{Elem, Int};
use crate::space::Memory;
use crate::tensor::{Hbm, Tensor, Tile};
use crate::trace::{self, Place, Session, error};
use nki_ir::view::Dynamic;
use nki_ir::{Affine, AxisSlice, BufData, Code, DType, Dim, Index, Pattern, View};
use std::panic::Location;

/// A view as all its dimensions with strides. On chip the first is partitions, whose "stride" is of no meaning.
struct Strided {
    view: View,
    chip: bool,
    /// Dimension 0 stays: it is partitions, or rows that an index tile chooses.
    fixed: bool,
    /// An index tile chooses dimension 0.
    rows: bool,
    pattern: Pattern,
    dims: Vec<Dim>,
}

type Failure = (Code, String, &'static str);

impl Strided {
    fn of(s: &Session, id: u32) -> Result<Strided, Failure> {
        let (view, buf) = (s.view(id).clone(), s.buf_of(id));
        let chip = buf.space.on_chip();
        let pattern = view.pattern(buf).ok_or_else(|| {
            (Code::Limit, format!("the addresses of `{}` leave 64 bits", buf.name), "use smaller strides")
        })?;
        inside(s, &view, buf)?;
        let lead = chip.then_some(Dim { stride: 0, count: pattern.parts });
        let dims = lead.into_iter().chain(pattern.dims.iter().copied()).collect();
        let rows = matches!(view.dynamic, Some(Dynamic::Vector { .. }));
        Ok(Strided { view, chip, fixed: chip || rows, rows, pattern, dims })
    }

    fn finish(mut self) -> View {
        let mut dims = self.dims.into_iter();
        if self.chip {
            self.pattern.parts = dims.next().map_or(1, |d| d.count);
        }
        self.pattern.dims = dims.collect();
        View { index: Index::Pattern(self.pattern), ..self.view }
    }

    fn shape(&self) -> Vec<u32> {
        self.dims.iter().map(|d| d.count).collect()
    }

    fn axis(&self, axis: usize, free_only: bool) -> Result<(), Failure> {
        let shape = self.shape();
        if axis >= self.dims.len() {
            let message = format!("axis {axis} of a view of shape {shape:?}");
            return Err((Code::Shape, message, "axes count from 0"));
        }
        if free_only && self.fixed && axis == 0 {
            let message =
                "dimension 0 of a tile is partitions, which no view can step, split or repeat".to_string();
            return Err((
                Code::AccessPattern,
                message,
                "move data between partitions with DMA, a transpose or a product",
            ));
        }
        Ok(())
    }

    fn split(&mut self, axis: usize, sizes: &[usize]) -> Result<(), Failure> {
        self.axis(axis, false)?;
        let d = self.dims[axis];
        let product = sizes.iter().try_fold(1usize, |n, &k| n.checked_mul(k));
        if product != Some(d.count as usize)
            || (self.fixed && axis == 0 && sizes.len() > 1 && sizes[0] != d.count as usize)
        {
            let message = format!("dimension {axis} of size {} is split into {sizes:?}", d.count);
            return Err((
                Code::Shape,
                message,
                "the sizes multiply to the dimension's; partitions are not split",
            ));
        }
        let mut stride = d.stride;
        let mut parts: Vec<Dim> = Vec::new();
        for &count in sizes.iter().rev() {
            parts.push(Dim { stride, count: count as u32 });
            stride *= count as i64;
        }
        parts.reverse();
        self.dims.splice(axis..=axis, parts);
        Ok(())
    }

    /// Merges `from..to` into one dimension, which must be evenly strided.
    fn merge(&mut self, from: usize, to: usize) -> Result<(), Failure> {
        self.axis(to.saturating_sub(1), false)?;
        if from >= to {
            return Err((
                Code::Shape,
                format!("an empty run of dimensions, {from}..{to}"),
                "name at least one",
            ));
        }
        if self.fixed && from == 0 && self.dims[1..to].iter().any(|d| d.count != 1) {
            let message = "partitions cannot be merged with free dimensions".to_string();
            return Err((Code::AccessPattern, message, "merge free dimensions only"));
        }
        if self.fixed && from == 0 {
            self.dims.drain(1..to);
            return Ok(());
        }
        let mut merged = Dim { stride: 1, count: 1 };
        for d in self.dims[from..to].iter().rev() {
            if d.count == 1 {
                continue;
            }
            if merged.count == 1 {
                merged = *d;
            } else if let Some(both) = outer_with(*d, merged) {
                merged = both;
            } else {
                let message = format!(
                    "dimensions {from}..{to} of shape {:?} do not lie evenly in memory",
                    self.shape()
                );
                return Err((
                    Code::AccessPattern,
                    message,
                    "copy the tensor first, or merge other dimensions",
                ));
            }
        }
        self.dims.splice(from..to, [merged]);
        Ok(())
    }

    fn permute(&mut self, order: &[usize]) -> Result<(), Failure> {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        if sorted != (0..self.dims.len()).collect::<Vec<_>>() {
            let message = format!("{order:?} is no permutation of the dimensions of {:?}", self.shape());
            return Err((Code::Shape, message, "name every dimension once"));
        }
        if self.fixed && order[0] != 0 {
            let message = "a view cannot exchange partitions with free dimensions".to_string();
            return Err((Code::AccessPattern, message, "use `nc.transpose(..)`"));
        }
        self.dims = order.iter().map(|&i| self.dims[i]).collect();
        Ok(())
    }

    fn reshape(&mut self, shape: &[usize]) -> Result<(), Failure> {
        let (old, from) = (self.shape(), usize::from(self.fixed));
        let count = |s: &[usize]| s.iter().try_fold(1usize, |n, &k| n.checked_mul(k));
        let old_usize: Vec<usize> = old.iter().map(|&d| d as usize).collect();
        if count(shape) != count(&old_usize) || (self.fixed && shape.first() != old_usize.first()) {
            let message = format!("a view of shape {old:?} is reshaped to {shape:?}");
            return Err((Code::Shape, message, "keep the number of elements and, on chip, of partitions"));
        }
        let runs = evenly_strided_runs(&self.dims[from..]);
        let dims = regroup(&runs, &shape[from..]).ok_or_else(|| {
            let message = format!("shape {old:?} with these strides cannot be seen as {shape:?}");
            (Code::AccessPattern, message, "copy the tensor first")
        })?;
        self.dims.truncate(from);
        self.dims.extend(dims);
        Ok(())
    }
}

/// A slice that becomes a pattern is checked here: of a pattern, the verifier only knows the linear addresses.
fn inside(s: &Session, view: &View, buf: &BufData) -> Result<(), Failure> {
    let Index::Slice(axes) = &view.index else { return Ok(()) };
    let rows = matches!(view.dynamic, Some(Dynamic::Vector { .. }));
    for (axis, (a, &size)) in axes.iter().zip(&buf.shape).enumerate().skip(rows.into()) {
        let (lo, hi) = s.bounds(&a.start);
        let end = hi + i128::from(a.step) * (i128::from(a.count) - 1) + 1;
        if lo < 0 || (a.count > 0 && end > i128::from(size)) {
            let message = format!("{lo}..{end} leaves axis {axis}, which has {size} elements");
            return Err((Code::OutOfBounds, message, "use `nc.tiles(n, size)`, which ends exactly"));
        }
    }
    Ok(())
}

/// Two adjacent dimensions as one, if they lie evenly in memory.
fn outer_with(outer: Dim, inner: Dim) -> Option<Dim> {
    let even = inner.stride.checked_mul(inner.count.into()) == Some(outer.stride);
    let count = outer.count.checked_mul(inner.count)?;
    even.then_some(Dim { stride: inner.stride, count })
}

/// Adjacent dimensions merged where they lie evenly, outermost first.
fn evenly_strided_runs(dims: &[Dim]) -> Vec<Dim> {
    let mut runs: Vec<Dim> = Vec::new();
    for d in dims.iter().filter(|d| d.count != 1) {
        match runs.last_mut().map(|r| (outer_with(*r, *d), r)) {
            Some((Some(both), r)) => *r = both,
            _ => runs.push(*d),
        }
    }
    runs
}

/// The strides of `shape` over the same elements, if every run is a whole number of its dimensions.
fn regroup(runs: &[Dim], shape: &[usize]) -> Option<Vec<Dim>> {
    let mut out: Vec<Dim> = shape.iter().map(|&n| Dim { stride: 1, count: n as u32 }).collect();
    if shape.contains(&0) {
        return Some(out);
    }
    let mut at = shape.len();
    for run in runs.iter().rev() {
        let (mut left, mut stride) = (run.count as usize, run.stride);
        while left > 1 {
            at = at.checked_sub(1)?;
            let n = shape[at];
            if n == 0 || !left.is_multiple_of(n) {
                return None;
            }
            out[at].stride = stride;
            stride = stride.checked_mul(n as i64)?;
            left /= n;
        }
    }
    shape[..at].iter().all(|&n| n == 1).then_some(out)
}

impl<T: Elem, M: Memory> Tensor<T, M> {
    fn viewed(self, place: Place, f: impl FnOnce(&mut Strided) -> Result<(), Failure>) -> Tensor<T, M> {
        let view = trace::with(self.trace, place, |s| {
            let made = Strided::of(s, self.view).and_then(|mut strided| {
                f(&mut strided)?;
                Ok(strided.finish())
            });
            match made {
                Ok(view) => s.push_view(view),
                Err((code, message, help)) => {
                    let message = format!("view of `{}`: {message}", s.name_of(self.view));
                    s.report(place, error(code, message).help(help));
                    self.view
                }
            }
        });
        Tensor::new(self.trace, view)
    }

    /// Every `step`-th element of dimension `axis`, from the first.
    #[track_caller]
    pub fn step(self, axis: usize, step: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            v.axis(axis, true)?;
            if step == 0 {
                return Err((Code::Parameter, "a step of 0".into(), "use a step of at least 1"));
            }
            let d = &mut v.dims[axis];
            d.count = (d.count as usize).div_ceil(step) as u32;
            d.stride = i64::try_from(step).ok().and_then(|s| d.stride.checked_mul(s)).unwrap_or(i64::MAX);
            Ok(())
        })
    }
    /// Dimension `axis` as several: `[.., 6, ..]` by `&[2, 3]` is `[.., 2, 3, ..]`. On chip not partitions.
    #[track_caller]
    pub fn split(self, axis: usize, sizes: &[usize]) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| v.split(axis, sizes))
    }
    /// Dimensions `from..to` as one; they must lie evenly in memory.
    #[track_caller]
    pub fn merge(self, from: usize, to: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| v.merge(from, to))
    }
    /// Dimensions in another order: dimension `i` of the result is `order[i]`. On chip dimension 0 stays.
    #[track_caller]
    pub fn permute(self, order: &[usize]) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| v.permute(order))
    }
    /// Dimension `axis`, of size 1, repeated `n` times (stride 0). On chip not partitions.
    #[track_caller]
    pub fn broadcast(self, axis: usize, n: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            v.axis(axis, true)?;
            if v.dims[axis].count != 1 {
                let message = format!("dimension {axis} of shape {:?} is repeated", v.shape());
                return Err((Code::Shape, message, "only a dimension of size 1 can be repeated"));
            }
            let count =
                u32::try_from(n).map_err(|_| (Code::Limit, format!("{n} repetitions"), "use fewer"))?;
            v.dims[axis] = Dim { stride: 0, count };
            Ok(())
        })
    }
    /// A further dimension of size 1 before `axis`.
    #[track_caller]
    pub fn expand(self, axis: usize) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| {
            if axis > v.dims.len() || (v.fixed && axis == 0) {
                let message = format!("a dimension inserted at {axis} into shape {:?}", v.shape());
                return Err((
                    Code::Shape,
                    message,
                    "insert between or after existing dimensions; on chip after partitions",
                ));
            }
            v.dims.insert(axis, Dim { stride: 1, count: 1 });
            Ok(())
        })
    }
    /// The same elements in row-major order under another shape. On chip the partitions stay.
    #[track_caller]
    pub fn reshape(self, shape: impl AsRef<[usize]>) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| v.reshape(shape.as_ref()))
    }
    /// Splits, orders and merges in one line, in the notation of einops: `x.rearrange("(t p) d -> p t d", &[("p", 128)])`. The
    /// sizes name what the shape leaves open.
    #[track_caller]
    pub fn rearrange(self, pattern: &str, sizes: &[(&str, usize)]) -> Tensor<T, M> {
        self.viewed(Location::caller(), |v| rearrange(v, pattern, sizes))
    }
    /// The same bytes as dtype `U`; the last dimension, which must be contiguous, scales by the ratio of their sizes.
    #[track_caller]
    pub fn bitcast<U: Elem>(self) -> Tensor<U, M> {
        let view = self.viewed(Location::caller(), |v| bitcast(v, U::DTYPE));
        Tensor::new(view.trace, view.view)
    }
    /// A raw access pattern over the tensor's memory: `[stride, count]` pairs in elements, outermost first, from `offset`
    /// elements after the view's own. On chip the first pair is partitions, its stride that of the tensor itself. The shape
    /// and strides of this view are ignored.
    #[track_caller]
    pub fn ap(self, pattern: &[[i64; 2]], offset: usize) -> Tensor<T, M> {
        let place = Location::caller();
        let row = trace::with(self.trace, place, |s| row_elements(s.buf_of(self.view)));
        self.viewed(place, |v| {
            let mut dims = Vec::new();
            for &[stride, count] in pattern {
                let count = u32::try_from(count).map_err(|_| {
                    (Code::AccessPattern, format!("a count of {count}"), "counts are 0 or more")
                })?;
                dims.push(Dim { stride, count });
            }
            if v.chip && dims.first().is_none_or(|d| d.stride != row && d.count > 1) {
                let message = format!("the first pair of {pattern:?} is not the partitions of the tensor");
                return Err((
                    Code::AccessPattern,
                    message,
                    "on chip start with [elements per partition, partitions]",
                ));
            }
            v.dims = dims;
            let offset = i64::try_from(offset).ok().and_then(|o| v.pattern.offset.add_constant(o));
            v.pattern.offset = offset
                .ok_or_else(|| (Code::Limit, "the offset leaves 64 bits".into(), "use a smaller offset"))?;
            Ok(())
        })
    }
}

impl<T: Elem> Hbm<T> {
    /// The rows that an index tile `[rows, 1]` in SBUF chooses, one for each of its partitions (isa.md 3.5): as a source of
    /// [`dma_copy`](crate::Nc::dma_copy) a gather, as a destination a scatter. All of dimension 0 must be there to choose from. A
    /// row outside the tensor ends the run (`nki::runtime_index`), or is left alone with `oob_mode(OobMode::Skip)`.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// #[nki::kernel]
    /// fn embed(nc: Nc, table: Hbm<f32>, tokens: Hbm<i32>) -> Hbm<f32> {
    ///     let ([_, width], [n, _]) = (table.dims(), tokens.dims());
    ///     let out = nc.hbm([n, width]);
    ///     for r in nc.tiles(n, 128) {
    ///         let index = nc.load(tokens.at((r, ..)));
    ///         nc.store(out.at((r, ..)), nc.load(table.vector_select(index)));
    ///     }
    ///     out
    /// }
    /// assert!(embed::specialize([50, 64], [300, 1]).trace().is_ok());
    /// ```
    #[track_caller]
    pub fn vector_select<I: Int>(self, index: Tile<I>) -> Hbm<T> {
        let place = Location::caller();
        trace::same(self.trace, index.trace, place);
        let view = trace::with(self.trace, place, |s| {
            let rows = s.shape(index.view).first().copied().unwrap_or(0);
            let (mut view, index) = (s.view(self.view).clone(), Box::new(s.view(index.view).clone()));
            match select_rows(&mut view, s.buf_of(self.view), rows) {
                Ok(()) => view.dynamic = Some(Dynamic::Vector { index }),
                Err((code, message, help)) => {
                    let message = format!("view of `{}`: {message}", s.name_of(self.view));
                    s.report(place, error(code, message).help(help));
                }
            }
            s.push_view(view)
        });
        Tensor::new(self.trace, view)
    }
}

/// Makes the first dimension of an HBM view `rows` rows of the tensor.
fn select_rows(view: &mut View, buf: &BufData, rows: u32) -> Result<(), Failure> {
    if view.dynamic.is_some() {
        let message = "a second position that is known only when the kernel runs".to_string();
        return Err((
            Code::DynamicIndex,
            message,
            "copy the part that the first index selects, and index that",
        ));
    }
    let all = match &mut view.index {
        Index::Slice(axes) => axes.first_mut().filter(|a| {
            !a.drop && a.step == 1 && a.start.as_constant() == Some(0) && buf.shape.first() == Some(&a.count)
        }),
        Index::Pattern(_) => None,
    };
    match all {
        Some(axis) => *axis = AxisSlice::range(Affine::constant(0), rows),
        None => {
            let message = "rows are chosen from a part of dimension 0".to_string();
            return Err((Code::DynamicIndex, message, "choose rows first, and view the result otherwise"));
        }
    }
    Ok(())
}

fn row_elements(buf: &BufData) -> i64 {
    i64::try_from(buf.row_elements()).unwrap_or(i64::MAX)
}

fn bitcast(v: &mut Strided, to: DType) -> Result<(), Failure> {
    let (from_bytes, to_bytes) = (v.view.dtype.bytes(), to.bytes());
    let from = v.view.dtype;
    v.view.dtype = to;
    if from_bytes == to_bytes {
        return Ok(());
    }
    let fail = |message: String| {
        Err((Code::AccessPattern, message, "make the last dimension contiguous and divisible"))
    };
    let free = usize::from(v.chip);
    let Some((last, outer)) = v.dims[free..].split_last_mut() else {
        return fail(format!("a view without free dimension seen as {to}"));
    };
    if last.count > 1 && last.stride != 1 {
        return fail(format!("elements of {from} that are {} apart, seen as {to}", last.stride));
    }
    last.stride = 1;
    let scale = |k: i64| match from_bytes > to_bytes {
        true => k.checked_mul((from_bytes / to_bytes) as i64),
        false => (k % (to_bytes / from_bytes) as i64 == 0).then(|| k / (to_bytes / from_bytes) as i64),
    };
    let offset = v.pattern.offset.clone();
    let terms: Option<Vec<_>> = offset.terms().iter().map(|&(var, c)| Some((var, scale(c)?))).collect();
    let (Some(count), Some(constant), Some(terms)) =
        (scale(last.count.into()), scale(offset.offset()), terms)
    else {
        if !(last.count as usize * from_bytes).is_multiple_of(to_bytes) {
            let per = to_bytes / from_bytes;
            let message = format!("the last axis has {} of {from}, and {per} make one {to}", last.count);
            let help =
                "the last axis is cut into new elements: `permute` the axis that holds them to the end";
            return Err((Code::AccessPattern, message, help));
        }
        return fail(format!("an offset that is no whole number of {to} in elements of {from}"));
    };
    last.count = u32::try_from(count).unwrap_or(u32::MAX);
    for d in outer {
        match scale(d.stride) {
            Some(stride) => d.stride = stride,
            None => return fail(format!("rows {} elements of {from} apart, seen as {to}", d.stride)),
        }
    }
    let mut scaled = nki_ir::Affine::constant(constant);
    for (var, c) in terms {
        scaled = (nki_ir::Affine::var(var).scale(c)).and_then(|t| scaled.add(&t)).unwrap_or_default();
    }
    v.pattern.offset = scaled;
    Ok(())
}

/// One side of a `rearrange` pattern: groups of names.
fn groups(side: &str) -> Option<Vec<Vec<&str>>> {
    let mut out: Vec<Vec<&str>> = Vec::new();
    let mut open = false;
    let spaced = side.replace('(', " ( ").replace(')', " ) ");
    // Names are borrowed from `side`; the spaced copy only tells where groups begin and end.
    let mut rest = side;
    for token in spaced.split_whitespace() {
        let start = rest.find(token)?;
        let here = &rest[start..start + token.len()];
        rest = &rest[start + token.len()..];
        match token {
            "(" if !open => {
                open = true;
                out.push(Vec::new());
            }
            ")" if open => open = false,
            "(" | ")" => return None,
            _ if open => out.last_mut()?.push(here),
            _ => out.push(vec![here]),
        }
    }
    (!open).then_some(out)
}

fn rearrange(v: &mut Strided, pattern: &str, sizes: &[(&str, usize)]) -> Result<(), Failure> {
    const HELP: &str = "write `from -> to` with the same names on both sides: \"(t p) d -> p t d\"";
    let bad = |what: String| (Code::Shape, format!("rearrange \"{pattern}\": {what}"), HELP);
    let sides = pattern.split_once("->").and_then(|(a, b)| Some((groups(a)?, groups(b)?)));
    let (from, to) = sides.ok_or_else(|| bad("the pattern does not parse".into()))?;
    let shape = v.shape();
    if from.len() != shape.len() {
        return Err(bad(format!("it names {} dimensions of shape {shape:?}", from.len())));
    }
    // Split from the last dimension on, so that earlier positions stay.
    for (axis, names) in from.iter().enumerate().rev() {
        let known = |n: &str| sizes.iter().find(|s| s.0 == n).map(|s| s.1);
        // A product that no shape has counts as 0.
        let product =
            names.iter().filter_map(|n| known(n)).fold(1usize, |n, k| n.checked_mul(k).unwrap_or(0));
        let open = names.iter().filter(|n| known(n).is_none()).count();
        let total = shape[axis] as usize;
        if open > 1 || product == 0 || !total.is_multiple_of(product) || (open == 0 && product != total) {
            return Err(bad(format!(
                "dimension {axis} of size {total} does not fit {names:?} with {sizes:?}"
            )));
        }
        let parts: Vec<usize> = names.iter().map(|n| known(n).unwrap_or(total / product)).collect();
        v.split(axis, &parts)?;
    }
    let names: Vec<&str> = from.into_iter().flatten().collect();
    let wanted: Vec<&str> = to.iter().flatten().copied().collect();
    let order: Option<Vec<usize>> = wanted.iter().map(|w| names.iter().position(|n| n == w)).collect();
    match order {
        Some(order) if order.len() == names.len() => v.permute(&order)?,
        _ => return Err(bad("the two sides do not have the same names".into())),
    }
    for (axis, group) in to.iter().enumerate() {
        match group.len() {
            0 => v.dims.insert(axis, Dim { stride: 1, count: 1 }),
            n => v.merge(axis, axis + n)?,
        }
    }
    Ok(())
}
