//! Copies of equal dtypes between two patterns, element `i` of one to element `i` of the other in row-major order.

use nki_ir::sem::Span;

/// A nest of loops over runs of `run` contiguous bytes on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyPlan {
    /// `(count, dst stride, src stride)` in bytes, outermost first.
    loops: Vec<(usize, isize, isize)>,
    run: usize,
}

/// The common nest of two patterns, or `None` when dtypes differ or their dimensions do not divide each other.
pub fn plan(dst: &Span, src: &Span) -> Option<CopyPlan> {
    if dst.dtype != src.dtype || dst.elements() != src.elements() {
        return None;
    }
    let size = dst.dtype.bytes();
    let (mut a, mut b) = (dims(dst), dims(src));
    // Innermost first: take the common part of the two innermost dimensions, keep what is left of the larger one.
    let mut loops: Vec<(usize, isize, isize)> = Vec::new();
    while let (Some(x), Some(y)) = (a.last().copied(), b.last().copied()) {
        let n = x.0.min(y.0);
        if x.0 % n != 0 || y.0 % n != 0 {
            return None;
        }
        loops.push((n, x.1, y.1));
        for (list, dim) in [(&mut a, x), (&mut b, y)] {
            list.pop();
            if dim.0 > n {
                list.push((dim.0 / n, dim.1 * n as isize));
            }
        }
    }
    if !a.is_empty() || !b.is_empty() {
        return None;
    }
    let mut run = size;
    while let Some(&(n, x, y)) = loops.first() {
        if x != run as isize || y != run as isize {
            break;
        }
        run *= n;
        loops.remove(0);
    }
    loops.reverse();
    Some(CopyPlan { loops, run })
}

/// All dimensions, partitions first, without counts of 1.
fn dims(s: &Span) -> Vec<(usize, isize)> {
    let parts = std::iter::once((s.parts as usize, s.part_stride as isize));
    let free = s.dims.iter().map(|&(stride, n)| (n as usize, stride as isize));
    parts.chain(free).filter(|d| d.0 != 1).collect()
}

impl CopyPlan {
    /// Copies.
    ///
    /// # Safety
    /// Every run of the nest must be in bounds of its memory on both sides, and no run of one side may overlap a run of the
    /// other unless they are the same run.
    pub unsafe fn run(&self, dst: *mut u8, src: *const u8) {
        let mut index = [0usize; 8];
        debug_assert!(self.loops.len() <= index.len());
        let (inner, outer) = match self.loops.split_last() {
            // SAFETY: the caller's promise.
            None => return unsafe { std::ptr::copy(src, dst, self.run) },
            Some(x) => x,
        };
        let (mut d, mut s) = (dst, src);
        loop {
            // SAFETY: every (d, s) visited is the start of a run of the nest.
            unsafe { self.row(*inner, d, s) };
            let mut level = outer.len();
            loop {
                if level == 0 {
                    return;
                }
                level -= 1;
                let (count, ds, ss) = outer[level];
                index[level] += 1;
                if index[level] < count {
                    d = d.wrapping_offset(ds);
                    s = s.wrapping_offset(ss);
                    break;
                }
                index[level] = 0;
                d = d.wrapping_offset(-ds * (count as isize - 1));
                s = s.wrapping_offset(-ss * (count as isize - 1));
            }
        }
    }

    /// One row of runs.
    ///
    /// # Safety
    /// As [`CopyPlan::run`].
    #[inline]
    unsafe fn row(&self, (count, ds, ss): (usize, isize, isize), d: *mut u8, s: *const u8) {
        macro_rules! elements {
            ($t:ty) => {
                for i in 0..count as isize {
                    // SAFETY: the caller's promise; unaligned accesses because patterns are only byte-aligned here.
                    unsafe {
                        let x = s.wrapping_offset(i * ss).cast::<$t>().read_unaligned();
                        d.wrapping_offset(i * ds).cast::<$t>().write_unaligned(x);
                    }
                }
            };
        }
        match self.run {
            1 => elements!(u8),
            2 => elements!(u16),
            4 => elements!(u32),
            run => {
                for i in 0..count as isize {
                    // SAFETY: the caller's promise; `copy` also allows a run onto itself.
                    unsafe { std::ptr::copy(s.wrapping_offset(i * ss), d.wrapping_offset(i * ds), run) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nki_ir::DType;
    use smallvec::smallvec;

    fn span(parts: u32, part_stride: u64, dims: &[(i64, u32)]) -> Span {
        let dims = dims.iter().copied().collect();
        Span { mem: 0, base: 0, part_stride, parts, dims, dtype: DType::U16 }
    }

    #[test]
    fn whole_rows_are_runs() {
        let dst = span(3, 64, &[(2, 10)]);
        let src = Span { dims: smallvec![(2, 30)], ..span(1, 0, &[]) };
        let plan = plan(&dst, &src).unwrap();
        assert_eq!(plan, CopyPlan { loops: vec![(3, 64, 20)], run: 20 });
        let from: Vec<u8> = (0..60).collect();
        let mut to = vec![255u8; 64 * 3];
        // SAFETY: 3 rows of 20 bytes at stride 64 fit 192 bytes, and at stride 20 fit 60.
        unsafe { plan.run(to.as_mut_ptr(), from.as_ptr()) };
        for (r, row) in to.chunks(64).enumerate() {
            assert_eq!(&row[..20], &from[r * 20..r * 20 + 20]);
            assert!(row[20..].iter().all(|&b| b == 255));
        }
    }

    #[test]
    fn transposed_patterns_visit_every_element_in_order() {
        // dst[2][3][4] dense, src walks a [4][3][2] array with permuted axes.
        let dst = span(2, 24, &[(8, 3), (2, 4)]);
        let src = span(1, 0, &[(2, 2), (4, 3), (12, 4)]);
        let plan = plan(&dst, &src).unwrap();
        let from: Vec<u16> = (0..24).collect();
        let mut to = vec![0u16; 24];
        // SAFETY: both patterns cover exactly 24 elements.
        unsafe { plan.run(to.as_mut_ptr().cast(), from.as_ptr().cast()) };
        let want: Vec<u16> = (0..24).map(|i| (i / 12) + (i / 4 % 3) * 2 + (i % 4) * 6).collect();
        assert_eq!(to, want);
    }

    #[test]
    fn factors_that_do_not_divide_have_no_plan() {
        assert_eq!(plan(&span(2, 8, &[(2, 3)]), &span(3, 8, &[(2, 2)])), None);
    }
}
