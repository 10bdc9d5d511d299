//! Copies of operands in the order in which register tiles read them.

use super::{Gemm, Side, cut};
use crate::codec::Codec;
use crate::element::Element;
use crate::scratch::Scratch;
use crate::simd::{MAX_LANES, Simd};
use crate::tier::Kernel;
use std::mem::MaybeUninit;
use std::ops::Range;

/// How K is cut.
#[derive(Clone, Copy)]
pub(super) struct Steps {
    pub(super) k: usize,
    /// Rows of a step; the last one may be shorter.
    pub(super) step: usize,
    /// Whether two bf16 numbers that follow each other along K share a word. Then a step's depth is half its rows,
    /// rounded up, and a missing partner is zero.
    pub(super) pairs: bool,
}

/// One step of K.
#[derive(Clone)]
pub(super) struct Step {
    /// Its rows of the operand.
    pub(super) rows: Range<usize>,
    /// Words along K before it.
    pub(super) start: usize,
    /// Words along K in it.
    pub(super) depth: usize,
}

impl Steps {
    /// Words along K of `rows` rows in one step.
    fn words(self, rows: usize) -> usize {
        if self.pairs { rows.div_ceil(2) } else { rows }
    }

    /// Words along K of all steps.
    pub(super) fn depth(self) -> usize {
        self.k / self.step * self.words(self.step) + self.words(self.k % self.step)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Step> {
        cut(0..self.k, self.step).enumerate().map(move |(i, rows)| Step {
            start: i * self.words(self.step),
            depth: self.words(rows.len()),
            rows,
        })
    }
}

/// A packed operand: step after step of K, in each step strip after strip, in each strip `width` words for every
/// word along K, zero beyond the end of the operand.
pub(super) struct Packing {
    steps: Steps,
    /// Rows of `a` or columns of `b`.
    pub(super) len: usize,
    pub(super) width: usize,
    words: Scratch,
}

/// Columns that one packing task takes at least, so that it reads long pieces of rows.
const TASK: usize = 256;

impl Packing {
    /// Room for `len` rows or columns in strips of `width`.
    pub(super) fn new(steps: Steps, len: usize, width: usize) -> Self {
        Packing { steps, len, width, words: Scratch::take(steps.depth() * len.next_multiple_of(width)) }
    }

    fn strips(&self) -> usize {
        self.len.div_ceil(self.width)
    }

    /// Offset of a strip's words in one step.
    pub(super) fn offset(&self, step: &Step, strip: usize) -> usize {
        (step.start * self.strips() + strip * step.depth) * self.width
    }

    /// Where the words start.
    pub(super) fn address(&self) -> *const f32 {
        self.words.address()
    }

    /// Packs the operand, in parallel.
    ///
    /// # Safety
    /// `k` elements of each of the `len` rows or columns must be readable.
    pub(super) unsafe fn fill<T: Element>(&mut self, gemm: &Gemm, from: Side<T>) {
        let words = Address(self.words.numbers().as_mut_ptr());
        let this = &*self;
        let steps: Vec<Step> = self.steps.iter().collect();
        let strips_at_once = TASK.div_ceil(this.width);
        let tasks_a_step = this.strips().div_ceil(strips_at_once);
        gemm.parallel.for_each(steps.len() * tasks_a_step, &|task| {
            let step = &steps[task / tasks_a_step];
            let first = task % tasks_a_step * strips_at_once;
            let last = (first + strips_at_once).min(this.strips());
            let words = &words;
            // SAFETY: the strips of a task are inside the words and nobody else's, as are its columns inside the
            // operand.
            unsafe {
                let columns = first * this.width..(last * this.width).min(this.len);
                T::pack(
                    gemm.tier,
                    PackStrips {
                        from: from.part(columns).at_step(step.rows.start, this.steps.step),
                        step,
                        pairs: this.steps.pairs,
                        width: this.width,
                        to: words.0.add(this.offset(step, first)),
                    },
                );
            }
        });
    }
}

/// An address that tasks share.
struct Address(*mut f32);

// SAFETY: tasks write disjoint parts.
unsafe impl Sync for Address {}

/// Some strips of one step, as a kernel.
pub(crate) struct PackStrips<'a, T> {
    pub(super) from: Side<T>,
    pub(super) step: &'a Step,
    pub(super) pairs: bool,
    pub(super) width: usize,
    /// Strip `s` starts at `s * depth * width`.
    pub(super) to: *mut f32,
}

impl<T: Element> Kernel for PackStrips<'_, T> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: `fill` made the kernel for readable columns and for words of its own.
        unsafe {
            match (self.from.along == 1, self.pairs) {
                (true, false) => pack_rows(s, &self, load_number::<S, T>),
                (true, true) => pack_rows(s, &self, load_pair::<S, T>),
                (false, false) => pack_columns(s, &self),
                (false, true) => pack_column_pairs(s, &self),
            }
        }
    }
}

/// Strips that are written side by side: enough to read rows in long pieces, few enough that their rows, which are
/// often a power of two apart, find room in the first cache.
const SIDE_BY_SIDE: usize = 4;

/// Columns lie side by side: row by row, vector by vector. `load` makes the words of `n` columns of a row.
///
/// # Safety
/// The kernel's addresses must be valid.
#[inline(always)]
unsafe fn pack_rows<S: Simd, T: Element>(
    s: S,
    job: &PackStrips<T>,
    load: impl Fn(S, &PackStrips<T>, usize, usize, usize) -> S::F + Copy,
) {
    let PackStrips { from, step, width, to, .. } = *job;
    let vectors = width.div_ceil(S::LANES);
    for group in (0..from.len).step_by(SIDE_BY_SIDE * width) {
        for row in 0..step.depth {
            for col in (group..from.len.min(group + SIDE_BY_SIDE * width)).step_by(width) {
                let target = to.wrapping_add((col * step.depth) + row * width);
                // Whole vectors may run over the end of a row of the strip: what they spoil there is written
                // afterwards, for it is the next row, which the last row lacks.
                let whole = row + 1 < step.depth && col + vectors * S::LANES <= from.len;
                let mut done = 0;
                while done < width {
                    // SAFETY: the columns that are stored belong to the strip or to its next row.
                    unsafe {
                        if whole {
                            s.store(target.add(done), load(s, job, row, col + done, S::LANES));
                        } else {
                            let room = S::LANES.min(width - done);
                            let there = room.min(from.len.saturating_sub(col + done));
                            s.store_part(target.add(done), load(s, job, row, col + done, there), room);
                        }
                    }
                    done += S::LANES;
                }
            }
        }
    }
}

/// One number a word.
#[inline(always)]
fn load_number<S: Simd, T: Element>(s: S, job: &PackStrips<T>, row: usize, col: usize, n: usize) -> S::F {
    let at = job.from.data.wrapping_add((job.step.rows.start + row) * job.from.k + col).cast();
    // SAFETY: `n` columns from `col` are readable in every row of the step.
    unsafe { if n == S::LANES { T::Codec::load(s, at) } else { T::Codec::load_part(s, at, n) } }
}

/// Two 16-bit numbers a word, the lower one first along K.
#[inline(always)]
fn load_pair<S: Simd, T: Element>(s: S, job: &PackStrips<T>, word: usize, col: usize, n: usize) -> S::F {
    let row = job.step.rows.start + 2 * word;
    let low = s.to_bits(load_number(s, job, 2 * word, col, n));
    if row + 1 == job.step.rows.end {
        return s.of_bits(s.shr::<16>(low));
    }
    // A bf16 number widens to a word whose upper half it is.
    let high = s.to_bits(load_number(s, job, 2 * word + 1, col, n));
    s.of_bits(s.or_i(s.shr::<16>(low), high))
}

/// Any layout: squares of columns by words along K, turned around.
///
/// # Safety
/// The kernel's addresses must be valid.
#[inline(always)]
unsafe fn pack_columns<S: Simd, T: Element>(s: S, job: &PackStrips<T>) {
    let PackStrips { from, step, .. } = *job;
    let first = from.data.wrapping_add(step.rows.start * from.k);
    // SAFETY: the columns are readable over the rows of the step.
    unsafe { turn::<S, T>(s, job, Side { data: first, ..from }, 0..step.depth) }
}

/// The same for pairs of bf16. Neighbours along K already share a word when they lie side by side.
///
/// # Safety
/// The kernel's addresses must be valid, and `T` have 16 bits.
#[inline(always)]
unsafe fn pack_column_pairs<S: Simd, T: Element>(s: S, job: &PackStrips<T>) {
    let PackStrips { from, step, width, to, .. } = *job;
    let whole = step.rows.len() / 2;
    let first = from.data.wrapping_add(step.rows.start * from.k).cast::<u16>();
    let mut by_hand = 0;
    if from.k == 1 && from.along.is_multiple_of(2) {
        let words =
            Side { data: first.cast::<f32>(), len: from.len, along: from.along / 2, k: 1, step: None };
        // SAFETY: `whole` pairs of every column are readable.
        unsafe { turn::<S, f32>(s, job, words, 0..whole) }
        by_hand = whole;
    }
    for word in by_hand..step.depth {
        for col in 0..from.len.next_multiple_of(width) {
            let at = first.wrapping_add(col * from.along + 2 * word * from.k);
            // SAFETY: the element exists, its partner if the step has one, and the word lies in the strip.
            unsafe {
                let low = if col < from.len { u32::from(at.read()) } else { 0 };
                let high = if col < from.len && word < whole { u32::from(at.add(from.k).read()) } else { 0 };
                let target = to.add((col / width * step.depth + word) * width + col % width);
                target.cast::<u32>().write(low | high << 16);
            }
        }
    }
}

/// Copies the given words along K of all columns into the strips, in squares.
///
/// # Safety
/// Those words of `from` must be readable, the strips of the job writable.
#[inline(always)]
unsafe fn turn<S: Simd, T: Element>(
    s: S,
    job: &PackStrips<impl Element>,
    from: Side<T>,
    words: Range<usize>,
) {
    let (depth, width) = (job.step.depth, job.width);
    for col in (0..from.len.next_multiple_of(width)).step_by(width) {
        let target = job.to.wrapping_add(col * depth);
        for part in (0..width).step_by(S::LANES) {
            let cols = S::LANES.min(width - part);
            for start in words.clone().step_by(S::LANES) {
                let n = S::LANES.min(words.end - start);
                let mut square = [s.splat(0.0); MAX_LANES];
                for (i, x) in
                    square.iter_mut().enumerate().take(cols.min(from.len.saturating_sub(col + part)))
                {
                    let source = from.data.wrapping_add((col + part + i) * from.along + start * from.k);
                    // SAFETY: `n` words from `start` on are readable in an existing column.
                    *x = unsafe { load_strided(s, source, from.k, n) };
                }
                let square = s.transpose(square);
                for (i, x) in square.iter().enumerate().take(n) {
                    // SAFETY: the row of the strip; a whole vector may spoil the beginning of the next row, if that
                    // exists and is written afterwards.
                    unsafe {
                        let row = target.add((start + i) * width + part);
                        let spoils_nothing =
                            part + S::LANES <= width || width <= S::LANES && start + i + 1 < depth;
                        if spoils_nothing { s.store(row, *x) } else { s.store_part(row, *x, cols) }
                    }
                }
            }
        }
    }
}

/// `n` elements at a distance of `stride`, zero in the other lanes.
///
/// # Safety
/// They must be readable.
#[inline(always)]
unsafe fn load_strided<S: Simd, T: Element>(s: S, from: *const T, stride: usize, n: usize) -> S::F {
    // SAFETY: the caller's promise; zero bits are a value of every `Plain` type.
    unsafe {
        if stride == 1 {
            return if n == S::LANES {
                T::Codec::load(s, from.cast())
            } else {
                T::Codec::load_part(s, from.cast(), n)
            };
        }
        let mut gathered = MaybeUninit::<[T; MAX_LANES]>::zeroed();
        for i in 0..n {
            gathered.as_mut_ptr().cast::<T>().add(i).write(from.add(i * stride).read());
        }
        T::Codec::load(s, gathered.as_ptr().cast())
    }
}
