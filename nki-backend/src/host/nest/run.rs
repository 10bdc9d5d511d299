//! Makes a product.

use super::{Finish, Nest, Target};
use nki_ir::DType;
use nki_rt::{
    Activation, Binary, Combine, Destination, Element, Format, Gemm, Input, MatMut, Parallel, Side, Tier,
    bf16, f16,
};
use rayon::prelude::*;

/// Tasks on the threads of a rayon pool.
pub struct Rayon<'a> {
    /// The pool; rayon's own if there is none.
    pub pool: Option<&'a rayon::ThreadPool>,
    pub threads: usize,
}

impl Parallel for Rayon<'_> {
    fn width(&self) -> usize {
        self.threads.max(1)
    }

    fn for_each(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        if self.width() == 1 || tasks <= 1 {
            return (0..tasks).for_each(body);
        }
        let all = || (0..tasks).into_par_iter().with_max_len(1).for_each(body);
        match self.pool {
            Some(pool) => pool.install(all),
            None => all(),
        }
    }
}

/// Addresses of the first elements.
#[derive(Clone, Copy)]
pub struct Addresses {
    pub a: *const u8,
    pub b: *const u8,
    pub out: *mut u8,
}

/// An address that tasks share.
struct Shared(*mut u8);

// SAFETY: tasks write disjoint blocks of the result.
unsafe impl Sync for Shared {}

impl Nest {
    /// Makes the product; `false` if an address is not aligned for its numbers, and then nothing was done.
    ///
    /// # Safety
    /// The operands must be readable over their `reach`, the result writable over its own, and no byte of the result may
    /// belong to an operand.
    pub unsafe fn run(&self, tier: Tier, parallel: &dyn Parallel, at: Addresses) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            match self.dtype {
                DType::F32 => self.product::<f32>(tier, parallel, at),
                DType::BF16 => self.product::<bf16>(tier, parallel, at),
                _ => self.product::<f16>(tier, parallel, at),
            }
        }
    }

    /// # Safety
    /// As [`Nest::run`].
    unsafe fn product<T: Element>(&self, tier: Tier, parallel: &dyn Parallel, at: Addresses) -> bool {
        let size = size_of::<T>();
        let (a, b): (*const T, *const T) = (at.a.cast(), at.b.cast());
        let out = &self.out;
        let strides = [out.row, out.row_tile, out.col_tile, at.out as usize];
        let numbers = !out.adds || strides.into_iter().all(|bytes| bytes.is_multiple_of(4));
        if !a.is_aligned() || !b.is_aligned() || !numbers {
            return false;
        }
        let [m, k, n] = self.shape;
        let side = |data, len, s: &super::Source| Side {
            data,
            len,
            along: s.along / size,
            k: s.k / size,
            step: s.step.map(|bytes| bytes / size),
        };
        let plain = self.finish.iter().all(|f| f.dtype == DType::F32);
        let in_rows = (out.row_tile == out.rows * out.row || m == out.rows)
            && (out.col_tile == out.cols * 4 || n == out.cols)
            && out.row.is_multiple_of(4);
        let in_place =
            !out.adds && out.dtype == DType::F32 && plain && in_rows && at.out.cast::<f32>().is_aligned();
        let to = Shared(at.out);
        let to = &to;
        let epilogue = move |corner: [usize; 2], mut block: MatMut<f32>| {
            for r in 0..block.rows() {
                let row = block.row_mut(r);
                finish(tier, &self.finish, row);
                if in_place {
                    nki_ir::sem::cast::canonicalize(row);
                } else {
                    // SAFETY: the row of the block is inside the result, and no other task's.
                    unsafe { store(tier, out, to.0, [corner[0] + r, corner[1]], row) };
                }
            }
        };
        let gemm = Gemm { tier, k_step: self.k_step, fast: false, parallel, epilogue: Some(&epilogue) };
        let destination = match in_place {
            true => {
                Destination::Memory { data: at.out.cast(), stride: out.row / 4, combine: Combine::Overwrite }
            }
            false => Destination::Epilogue,
        };
        // SAFETY: `reach` covers all elements of both sides and of the result.
        unsafe { gemm.run_raw(k, side(a, m, &self.a), side(b, n, &self.b), destination) };
        true
    }
}

fn format(dtype: DType) -> Option<Format> {
    nki_ir::sem::cast::row_format(dtype)
}

/// The steps that follow the sum, on a piece of a row; the last one is rounded when it is stored.
fn finish(tier: Tier, steps: &[Finish], row: &mut [f32]) {
    for (i, step) in steps.iter().enumerate() {
        match step.affine {
            Some(affine) => nki_rt::activate_affine_in_place(tier, step.function, row, affine),
            None if step.function == Activation::Copy => {}
            None => nki_rt::activate_in_place(tier, step.function, row),
        }
        if i + 1 < steps.len() && step.dtype != DType::F32 {
            round(tier, step.dtype, row);
        }
    }
}

/// What storage in `dtype` leaves of a row.
fn round(tier: Tier, dtype: DType, row: &mut [f32]) {
    const PIECE: usize = 256;
    let mut bytes = [0u8; 4 * PIECE];
    let Some(format) = format(dtype) else { return };
    for piece in row.chunks_mut(PIECE) {
        let bytes = &mut bytes[..piece.len() * format.bytes()];
        nki_rt::narrow(tier, format, piece, bytes);
        nki_rt::widen(tier, format, bytes, piece);
    }
}

/// Writes a piece of a row of the result.
///
/// # Safety
/// The piece must lie inside the result, which begins at `to`.
unsafe fn store(tier: Tier, out: &Target, to: *mut u8, [m, n]: [usize; 2], row: &[f32]) {
    let Some(format) = format(out.dtype) else { return };
    let first = m / out.rows * out.row_tile + m % out.rows * out.row;
    let mut done = 0;
    while done < row.len() {
        let col = n + done;
        let count = (out.cols - col % out.cols).min(row.len() - done);
        let at = first + col / out.cols * out.col_tile + col % out.cols * format.bytes();
        // SAFETY: the caller's promise; where the sum is added, `Nest::product` has checked the alignment.
        unsafe {
            if out.adds {
                let sums: *mut f32 = to.add(at).cast();
                let (old, new) = (Input::Row(sums), Input::Row(row.as_ptr().add(done)));
                nki_rt::binary_raw(tier, Binary::Add, old, new, sums, count);
                nki_ir::sem::cast::canonicalize(std::slice::from_raw_parts_mut(sums, count));
            } else {
                nki_rt::narrow_raw(tier, format, row.as_ptr().add(done), to.add(at), count);
            }
        }
        done += count;
    }
}
