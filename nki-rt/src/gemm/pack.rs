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
                        from: from.part(columns),
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
    from: Side<T>,
    step: &'a Step,
    pairs: bool,
    width: usize,
    /// Strip `s` starts at `s * depth * width`.
    to: *mut f32,
}

impl<T: Element> Kernel for PackStrips<'_, T> {
    type Output = ();
    const TILED: bool = true;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        // SAFETY: `fill` made the kernel for readable columns and for words of its own.
        unsafe {
            match (self.pairs, self.from.along == 1) {
                (false, true) => pack_rows(s, &self),
                (false, false) => pack_columns(s, &self),
                (true, _) => pack_pairs(&self),
            }
        }
    }
}

/// Columns lie side by side: row by row, vector by vector.
///
/// # Safety
/// The kernel's addresses must be valid.
#[inline(always)]
unsafe fn pack_rows<S: Simd, T: Element>(s: S, job: &PackStrips<T>) {
    let PackStrips { from, step, width, to, .. } = *job;
    let last_row = step.depth - 1;
    for row in 0..step.depth {
        let source = from.data.wrapping_add((step.rows.start + row) * from.k);
        let mut col = 0;
        let mut target = to.wrapping_add(row * width);
        while col < from.len {
            // SAFETY: columns below `len` are readable. Whole vectors may run over the end of a row of the strip: what
            // they spoil there is written afterwards, for it is the next row, which the last row lacks.
            unsafe {
                let vectors = width.div_ceil(S::LANES);
                if row != last_row && col + vectors * S::LANES <= from.len {
                    for v in 0..vectors {
                        let x = T::Codec::load(s, source.add(col + v * S::LANES).cast());
                        s.store(target.add(v * S::LANES), x);
                    }
                } else {
                    let mut done = 0;
                    while done < width {
                        let room = S::LANES.min(width - done);
                        let there = room.min(from.len.saturating_sub(col + done));
                        let x = T::Codec::load_part(s, source.wrapping_add(col + done).cast(), there);
                        s.store_part(target.add(done), x, room);
                        done += room;
                    }
                }
            }
            col += width;
            target = target.wrapping_add(step.depth * width);
        }
    }
}

/// Any layout: vectors along K, scattered into the rows of the strip.
///
/// # Safety
/// The kernel's addresses must be valid.
#[inline(always)]
unsafe fn pack_columns<S: Simd, T: Element>(s: S, job: &PackStrips<T>) {
    let PackStrips { from, step, width, to, .. } = *job;
    for col in 0..from.len.next_multiple_of(width) {
        let target = to.wrapping_add(col / width * step.depth * width + col % width);
        let source = from.data.wrapping_add(col * from.along + step.rows.start * from.k);
        let mut row = 0;
        while row < step.depth {
            let n = S::LANES.min(step.depth - row);
            let mut lanes = [0.0f32; MAX_LANES];
            // SAFETY: `n` elements of an existing column are readable; each lands in the strip.
            unsafe {
                if col < from.len {
                    let x = if from.k == 1 && n == S::LANES {
                        T::Codec::load(s, source.add(row).cast())
                    } else {
                        let mut gathered = MaybeUninit::<[T; MAX_LANES]>::zeroed();
                        for i in 0..n {
                            let at = gathered.as_mut_ptr().cast::<T>().add(i);
                            at.write(source.add((row + i) * from.k).read());
                        }
                        T::Codec::load(s, gathered.as_ptr().cast())
                    };
                    s.store(lanes.as_mut_ptr(), x);
                }
                for (i, x) in lanes.iter().enumerate().take(n) {
                    target.add((row + i) * width).write(*x);
                }
            }
            row += n;
        }
    }
}

/// Two 16-bit numbers a word, the lower one first along K.
///
/// # Safety
/// The kernel's addresses must be valid, and `T` have 16 bits.
#[inline(always)]
unsafe fn pack_pairs<T: Element>(job: &PackStrips<T>) {
    let PackStrips { from, step, width, to, .. } = *job;
    let from_half = from.data.cast::<u16>();
    for word in 0..step.depth {
        let row = step.rows.start + 2 * word;
        let has_partner = row + 1 < step.rows.end;
        for col in 0..from.len.next_multiple_of(width) {
            let at = from_half.wrapping_add(col * from.along + row * from.k);
            // SAFETY: the element exists, its partner if the step has one, and the word lies in the strip.
            unsafe {
                let low = if col < from.len { u32::from(at.read()) } else { 0 };
                let high = if col < from.len && has_partner { u32::from(at.add(from.k).read()) } else { 0 };
                let target = to.add((col / width * step.depth + word) * width + col % width);
                target.cast::<u32>().write(low | high << 16);
            }
        }
    }
}
