//! GpSimdE: affine patterns in 32-bit integers (isa.md 9.4).

use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, alu, cast, fault};
use crate::diag::Code;

/// `offset + p · channel_multiplier + Σ digit · step`, the digits of f being mixed-radix over the pattern's counts, outermost
/// first. In int32, wrapping (isa.md 9.4.2).
struct Affine<'a> {
    pattern: &'a [[i64; 2]],
    offset: i32,
    channel_multiplier: i32,
}

impl<'a> Affine<'a> {
    fn new(pattern: &'a [[i64; 2]], offset: i64, channel_multiplier: i64, n: usize) -> Result<Self, Fault> {
        let product = pattern.iter().try_fold(1i64, |x, p| x.checked_mul(p[1]).filter(|_| p[1] >= 0));
        if product != i64::try_from(n).ok() {
            return fault(Code::Shape, format!("the pattern does not have {n} elements per partition"));
        }
        Ok(Affine { pattern, offset: offset as i32, channel_multiplier: channel_multiplier as i32 })
    }
    /// The values of partition `p`.
    fn row(&self, p: u32, out: &mut [i32]) {
        let first = self.offset.wrapping_add(self.channel_multiplier.wrapping_mul(p as i32));
        let Some((inner, outer)) = self.pattern.split_last() else {
            return out.fill(first);
        };
        let mut digits = vec![0i64; outer.len()];
        for run in out.chunks_mut(inner[1].max(1) as usize) {
            let start = outer
                .iter()
                .zip(&digits)
                .fold(first, |x, (pair, d)| x.wrapping_add((pair[0] as i32).wrapping_mul(*d as i32)));
            for (i, o) in run.iter_mut().enumerate() {
                *o = start.wrapping_add((inner[0] as i32).wrapping_mul(i as i32));
            }
            for (d, pair) in digits.iter_mut().zip(outer).rev() {
                *d += 1;
                if *d < pair[1] {
                    break;
                }
                *d = 0;
            }
        }
    }
}

/// isa.md 9.4.2. Results are converted from int32 with one rounding.
pub(super) fn iota(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    e.castable(&[dst])?;
    let n = dst.row_elements();
    let affine =
        Affine::new(e.pairs("pattern")?, e.integer("offset")?, *e.int_ref("channel_multiplier")?, n)?;
    let (mut values, mut bits) = (vec![0; n], vec![0; n]);
    for p in 0..dst.parts {
        affine.row(p, &mut values);
        cast::from_int_row(dst.dtype, &values, &mut bits);
        e.store_bits(dst, p, &bits);
    }
    Ok(())
}

/// isa.md 9.4.3: bit-exact for selected elements of dst's dtype, else through float32.
pub(super) fn affine_select(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let src = e.pair(dst, "on_true_tile")?;
    e.castable(&[dst, src])?;
    let (cmp, otherwise) = (e.alu("cmp_op")?, *e.f32_ref("on_false_value")?);
    if !cmp.is_comparison() {
        return fault(Code::Operator, format!("{cmp} is not a comparison"));
    }
    let n = dst.row_elements();
    let affine =
        Affine::new(e.pairs("pattern")?, e.integer("offset")?, *e.int_ref("channel_multiplier")?, n)?;
    // The outcome depends on the sign alone.
    let outcome = [-1, 0, 1].map(|sign| alu::apply_int(cmp, sign, 0) != 0);
    let keep = |a: i32| outcome[usize::from(a > 0) + usize::from(a >= 0)];
    let mut values = vec![0; n];
    if src.dtype == dst.dtype {
        let (mut row, otherwise) = (vec![0; n], cast::down(dst.dtype, otherwise));
        for p in 0..dst.parts {
            affine.row(p, &mut values);
            e.load_bits(src, p, &mut row);
            row.iter_mut().zip(&values).for_each(|(x, a)| *x = if keep(*a) { *x } else { otherwise });
            e.store_bits(dst, p, &row);
        }
        return Ok(());
    }
    let mut row = scratch(n);
    for p in 0..dst.parts {
        affine.row(p, &mut values);
        e.load(src, p, &mut row);
        row.iter_mut().zip(&values).for_each(|(x, a)| *x = if keep(*a) { *x } else { otherwise });
        e.store(dst, p, &row);
    }
    Ok(())
}
