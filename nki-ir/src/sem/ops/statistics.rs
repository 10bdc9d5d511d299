//! Mean and variance (isa.md 9.3.17 and 9.3.18), in float32 with sums in ascending order.

use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, Span, fault};
use crate::diag::Code;

/// isa.md 9.3.17: count, mean and sum of squared deviations of the even columns, then of the odd ones.
pub(super) fn bn_stats(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data) = (e.tile("dst")?, e.tile("data")?);
    fits(dst, data, 6)?;
    e.castable(&[dst, data])?;
    let mut row = scratch(data.row_elements());
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        let [a, b] = [0, 1].map(|first| half(row.iter().skip(first).step_by(2)));
        e.store(dst, p, &[a[0], a[1], a[2], b[0], b[1], b[2]]);
    }
    Ok(())
}

/// Count, mean and sum of squared deviations, in two passes; zeros of nothing.
fn half<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> [f32; 3] {
    let n = values.clone().count() as f32;
    if n == 0.0 {
        return [0.0; 3];
    }
    let mean = values.clone().fold(0.0, |s, x| s + x) / n;
    let deviations = values.fold(0.0, |s, x| s + (x - mean) * (x - mean));
    [n, mean, deviations]
}

/// isa.md 9.3.18: the mean and population variance of triples of count, mean and sum of squared deviations.
pub(super) fn bn_aggr(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data) = (e.tile("dst")?, e.tile("data")?);
    fits(dst, data, 2)?;
    e.castable(&[dst, data])?;
    let n = data.row_elements();
    if n == 0 || !n.is_multiple_of(3) {
        return fault(Code::Shape, format!("data has {n} columns, not triples"));
    }
    let mut row = scratch(n);
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        e.store(dst, p, &merge(row.as_chunks::<3>().0));
    }
    Ok(())
}

/// Mean and population variance; zeros of nothing.
fn merge(triples: &[[f32; 3]]) -> [f32; 2] {
    let sum = |f: &dyn Fn(&[f32; 3]) -> f32| triples.iter().fold(0.0f32, |s, t| s + f(t));
    let n = sum(&|t| t[0]);
    if n == 0.0 {
        return [0.0; 2];
    }
    let mean = sum(&|t| t[0] * t[1]) / n;
    let within = sum(&|t| t[2]);
    let between = sum(&|t| t[0] * ((t[1] - mean) * (t[1] - mean)));
    [mean, (within + between) / n]
}

fn fits(dst: &Span, data: &Span, columns: usize) -> Result<(), Fault> {
    if dst.parts != data.parts || dst.row_elements() != columns {
        let got = format!("({}, {})", dst.parts, dst.row_elements());
        return fault(Code::Shape, format!("dst is {got}, not ({}, {columns})", data.parts));
    }
    Ok(())
}
