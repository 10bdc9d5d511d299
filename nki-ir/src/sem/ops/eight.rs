//! The eight largest values of a partition, where values are, and replacing them (isa.md 9.3.19 to 9.3.21).

use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, Span, fault};
use crate::diag::Code;
use crate::dtype::DType;
use std::cmp::Ordering;

/// What these instructions take at a time.
const EIGHT: usize = 8;

/// isa.md 9.3.19: descending, duplicates kept; NaN below everything, -0 below +0.
pub(super) fn max8(e: &mut Exec) -> Result<(), Fault> {
    let (dst, src) = (e.tile("dst")?, e.tile("src")?);
    eight(dst, src.parts, "dst")?;
    e.castable(&[dst, src])?;
    if src.row_elements() < EIGHT {
        return fault(Code::Shape, format!("{} elements are fewer than 8", src.row_elements()));
    }
    let mut row = scratch(src.row_elements());
    for p in 0..dst.parts {
        e.load(src, p, &mut row);
        row.sort_unstable_by(descending);
        e.store(dst, p, &row[..EIGHT]);
    }
    Ok(())
}

fn descending(a: &f32, b: &f32) -> Ordering {
    a.is_nan().cmp(&b.is_nan()).then_with(|| b.total_cmp(a))
}

/// isa.md 9.3.20: for each value the first position that no earlier equal value has taken, all-ones if there is none. NaN
/// equals nothing.
pub(super) fn nc_find_index8(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data, vals) = (e.tile("dst")?, e.tile("data")?, e.tile("vals")?);
    eight(dst, data.parts, "dst")?;
    eight(vals, data.parts, "vals")?;
    index_dtype(dst)?;
    e.castable(&[data, vals])?;
    let mut row = scratch(data.row_elements());
    let mut wanted = [0.0; EIGHT];
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        e.load(vals, p, &mut wanted);
        let mut found = [u32::MAX; EIGHT];
        for i in 0..EIGHT {
            // Behind the position that the last equal value took.
            let equal = |j: &usize| wanted[*j] == wanted[i];
            let from = match (0..i).rev().find(equal).map(|j| found[j]) {
                Some(u32::MAX) => row.len(),
                Some(j) => j as usize + 1,
                None => 0,
            };
            let at = row[from..].iter().position(|x| *x == wanted[i]);
            found[i] = at.map_or(u32::MAX, |j| (from + j) as u32);
        }
        e.store_bits(dst, p, &found);
    }
    Ok(())
}

/// isa.md 9.3.21: the first free occurrence of each value, the last value first, becomes `imm`.
pub(super) fn nc_match_replace8(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (data, vals) = (e.pair(dst, "data")?, e.tile("vals")?);
    let imm = *e.f32_ref("imm")?;
    eight(vals, dst.parts, "vals")?;
    let dst_idx = match e.any("dst_idx")? {
        super::super::Arg::Span(s) => Some(s),
        _ => None,
    };
    if let Some(span) = dst_idx {
        eight(span, dst.parts, "dst_idx")?;
        index_dtype(span)?;
    }
    e.castable(&[dst, data, vals])?;
    let n = dst.row_elements();
    let (mut row, mut bits) = (scratch(n), vec![0; n]);
    let mut wanted = [0.0; EIGHT];
    for p in 0..dst.parts {
        e.load(data, p, &mut row);
        e.load_bits(data, p, &mut bits);
        e.load(vals, p, &mut wanted);
        let (mut taken, mut found) = (vec![false; n], [u32::MAX; EIGHT]);
        for i in (0..EIGHT).rev() {
            let at = (0..n).find(|&j| !taken[j] && row[j] == wanted[i]);
            if let Some(j) = at {
                taken[j] = true;
                found[i] = j as u32;
            }
        }
        // Elements that stay are copied: between equal dtypes bit by bit.
        if data.dtype == dst.dtype {
            let imm = super::super::cast::down(dst.dtype, imm);
            bits.iter_mut().zip(&taken).filter(|x| *x.1).for_each(|x| *x.0 = imm);
            e.store_bits(dst, p, &bits);
        } else {
            row.iter_mut().zip(&taken).filter(|x| *x.1).for_each(|x| *x.0 = imm);
            e.store(dst, p, &row);
        }
        if let Some(span) = dst_idx {
            e.store_bits(span, p, &found);
        }
    }
    Ok(())
}

fn eight(span: &Span, parts: u32, name: &str) -> Result<(), Fault> {
    if (span.parts, span.row_elements()) != (parts, EIGHT) {
        let got = format!("({}, {})", span.parts, span.row_elements());
        return fault(Code::Shape, format!("{name} is {got}, not ({parts}, 8)"));
    }
    Ok(())
}

fn index_dtype(span: &Span) -> Result<(), Fault> {
    match span.dtype {
        DType::U16 | DType::U32 => Ok(()),
        d => fault(Code::Dtype, format!("indices of {d}")),
    }
}
