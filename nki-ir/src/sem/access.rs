//! Reading and writing the elements of spans: rows of float32, rows of raw bits, and flat walks for transfers.
//!
//! Every span has been checked against its memory before these are called ([`Span::check`]).

use super::cast::{self, down_row, up_row};
use super::span::Span;
use super::state::Rounder;
use crate::dtype::DType;
use smallvec::SmallVec;

/// `count` elements, `stride` bytes apart, the first at byte `offset`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Run {
    pub offset: i64,
    pub stride: i64,
    pub count: usize,
}

impl Run {
    /// The bytes that hold the run's elements of `width` bytes.
    fn range(&self, width: usize) -> std::ops::Range<usize> {
        let last =
            if self.count == 1 { self.offset } else { self.offset + self.stride * (self.count as i64 - 1) };
        self.offset.min(last) as usize..self.offset.max(last) as usize + width
    }
    /// Where the first element lies in the `len` bytes of the run's range.
    fn first(&self, len: usize, width: usize) -> i64 {
        if self.stride < 0 { (len - width) as i64 } else { 0 }
    }
}

/// Walks the elements of a span in row-major order, a run of the innermost dimension at a time. Resumable.
pub(crate) struct Walker {
    /// Outermost first; the last is the innermost.
    dims: SmallVec<[(i64, u32); 5]>,
    index: SmallVec<[u32; 5]>,
    offset: i64,
    left: usize,
}

impl Walker {
    /// All partitions, partition being the outermost dimension.
    pub fn all(span: &Span) -> Walker {
        let mut dims: SmallVec<[(i64, u32); 5]> = SmallVec::new();
        if span.parts != 1 {
            dims.push((span.part_stride as i64, span.parts));
        }
        for &d in &span.dims {
            match dims.last_mut() {
                // Rows that follow each other without a gap are one longer row.
                Some(o) if d.0.checked_mul(d.1.into()) == Some(o.0) => match o.1.checked_mul(d.1) {
                    Some(count) => *o = (d.0, count),
                    None => dims.push(d),
                },
                _ => dims.push(d),
            }
        }
        Walker::new(dims, span.base as i64, span.elements(), span.dtype)
    }
    /// Partition `p`.
    pub fn row(span: &Span, p: u32) -> Walker {
        // Wrapping: an operand without elements has any address.
        let offset = (span.base as i64).wrapping_add(i64::from(p).wrapping_mul(span.part_stride as i64));
        Walker::new(span.dims.iter().copied().collect(), offset, span.row_elements(), span.dtype)
    }
    fn new(mut dims: SmallVec<[(i64, u32); 5]>, offset: i64, left: usize, dtype: DType) -> Walker {
        if dims.is_empty() {
            dims.push((dtype.bytes() as i64, 1));
        }
        let index = dims.iter().map(|_| 0).collect();
        Walker { dims, index, offset, left }
    }
    /// The next elements, at most `most` of them, all in the innermost dimension; `None` at the end.
    pub fn next_run(&mut self, most: usize) -> Option<Run> {
        if self.left == 0 || most == 0 {
            return None;
        }
        let inner = self.dims.len() - 1;
        let (stride, extent) = self.dims[inner];
        let count = ((extent - self.index[inner]) as usize).min(most);
        let run = Run { offset: self.offset, stride, count };
        self.left -= count;
        self.index[inner] += count as u32;
        // Wrapping: the step behind the last element of a dimension may leave 64 bits, and is taken back.
        self.offset = self.offset.wrapping_add(stride.wrapping_mul(count as i64));
        // Carry.
        for d in (0..=inner).rev() {
            let (stride, extent) = self.dims[d];
            if self.index[d] < extent || d == 0 {
                break;
            }
            self.index[d] = 0;
            self.offset = self.offset.wrapping_sub(stride.wrapping_mul(extent.into()));
            self.index[d - 1] += 1;
            self.offset = self.offset.wrapping_add(self.dims[d - 1].0);
        }
        Some(run)
    }
    /// Passes over the next `count` elements.
    pub fn skip(&mut self, count: usize) {
        let mut left = count;
        while let Some(run) = self.next_run(left) {
            left -= run.count;
        }
    }
    /// Copies the raw bytes of the next elements into `out`.
    pub fn read_raw(&mut self, bytes: &[u8], width: usize, out: &mut [u8]) {
        let mut done = 0;
        while let Some(run) = self.next_run((out.len() - done) / width) {
            let from = &bytes[run.range(width)];
            let to = &mut out[done..done + run.count * width];
            if run.stride == width as i64 || run.count == 1 {
                to.copy_from_slice(from);
            } else {
                let first = run.first(from.len(), width);
                for (i, element) in to.chunks_exact_mut(width).enumerate() {
                    let at = (first + i as i64 * run.stride) as usize;
                    element.copy_from_slice(&from[at..at + width]);
                }
            }
            done += run.count * width;
        }
    }
    /// Copies `data` into the bytes of the next elements.
    pub fn write_raw(&mut self, bytes: &mut [u8], width: usize, data: &[u8]) {
        let mut done = 0;
        while let Some(run) = self.next_run((data.len() - done) / width) {
            let to = &mut bytes[run.range(width)];
            let from = &data[done..done + run.count * width];
            if run.stride == width as i64 || run.count == 1 {
                to.copy_from_slice(from);
            } else {
                let first = run.first(to.len(), width);
                for (i, element) in from.chunks_exact(width).enumerate() {
                    let at = (first + i as i64 * run.stride) as usize;
                    to[at..at + width].copy_from_slice(element);
                }
            }
            done += run.count * width;
        }
    }
    /// Widens the next elements.
    pub fn read_f32(&mut self, bytes: &[u8], dtype: DType, out: &mut [f32]) {
        let mut done = 0;
        while let Some(run) = self.next_run(out.len() - done) {
            up_row(dtype, &bytes[run.range(dtype.bytes())], run.stride, &mut out[done..done + run.count]);
            done += run.count;
        }
    }
    /// Rounds `values` into the next elements. `first` numbers the first of them for stochastic rounding.
    pub fn write_f32(
        &mut self,
        bytes: &mut [u8],
        dtype: DType,
        values: &[f32],
        rounder: &Rounder,
        first: u64,
    ) {
        if let (true, Some(stream)) = (cast::rounds_stochastically(dtype), rounder.stream()) {
            let numbered = values.iter().enumerate();
            let bits =
                numbered.map(|(i, &x)| cast::down_stochastic(dtype, x, stream.number(first + i as u64)));
            return self.write_bits(bytes, dtype.bytes(), &bits.collect::<Vec<_>>());
        }
        let mut done = 0;
        while let Some(run) = self.next_run(values.len() - done) {
            down_row(
                dtype,
                &values[done..done + run.count],
                &mut bytes[run.range(dtype.bytes())],
                run.stride,
            );
            done += run.count;
        }
    }
    /// The bits of the next elements, zero-extended.
    pub fn read_bits(&mut self, bytes: &[u8], width: usize, out: &mut [u32]) {
        let mut done = 0;
        while let Some(run) = self.next_run(out.len() - done) {
            let (from, to) = (&bytes[run.range(width)], &mut out[done..done + run.count]);
            match width {
                1 => each::<1>(from, run, |i, b| to[i] = b[0].into()),
                2 => each::<2>(from, run, |i, b| to[i] = u16::from_le_bytes(b).into()),
                _ => each::<4>(from, run, |i, b| to[i] = u32::from_le_bytes(b)),
            }
            done += run.count;
        }
    }
    /// Writes the low bytes of `values` to the next elements.
    pub fn write_bits(&mut self, bytes: &mut [u8], width: usize, values: &[u32]) {
        let mut done = 0;
        while let Some(run) = self.next_run(values.len() - done) {
            let (to, from) = (&mut bytes[run.range(width)], &values[done..done + run.count]);
            match width {
                1 => put(to, run, from, |x| [x as u8]),
                2 => put(to, run, from, |x| (x as u16).to_le_bytes()),
                _ => put(to, run, from, u32::to_le_bytes),
            }
            done += run.count;
        }
    }
}

/// Writes the elements of a run, `bytes` being the run's range.
#[inline(always)]
fn put<const W: usize>(bytes: &mut [u8], run: Run, values: &[u32], f: impl Fn(u32) -> [u8; W]) {
    if run.stride == W as i64 {
        bytes.as_chunks_mut::<W>().0.iter_mut().zip(values).for_each(|(b, x)| *b = f(*x));
        return;
    }
    let mut at = run.first(bytes.len(), W);
    for x in values {
        bytes[at as usize..at as usize + W].copy_from_slice(&f(*x));
        at += run.stride;
    }
}

/// Calls `f(i, element)` for the elements of a run, `bytes` being the run's range.
#[inline(always)]
fn each<const W: usize>(bytes: &[u8], run: Run, mut f: impl FnMut(usize, [u8; W])) {
    if run.stride == W as i64 {
        bytes.as_chunks::<W>().0.iter().enumerate().for_each(|(i, b)| f(i, *b));
        return;
    }
    let first = run.first(bytes.len(), W);
    for i in 0..run.count {
        let at = (first + i as i64 * run.stride) as usize;
        let mut element = [0; W];
        element.copy_from_slice(&bytes[at..at + W]);
        f(i, element);
    }
}
