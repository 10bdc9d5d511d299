//! GpSimdE: reductions across partitions and searches (isa.md 9.4.1, 9.4.4, 9.4.7 and 9.4.8).

use super::super::exec::Exec;
use super::super::scratch::scratch;
use super::super::{Fault, Span, alu, cast, fault};
use super::gather::CORE;
use super::reduce::same_width;
use crate::diag::Code;
use crate::dtype::DType;
use crate::op::AluOp;
use std::cmp::Ordering;

/// isa.md 9.4.1: `dst[0, f] = fold of data[p, f]` over ascending p. An average is the float32 sum over P, divided once.
pub(super) fn tensor_partition_reduce(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data, op) = (e.tile("dst")?, e.tile("data")?, e.alu("op")?);
    let n = dst.row_elements();
    if dst.parts != 1 || data.row_elements() != n || data.parts == 0 {
        return fault(Code::Shape, format!("({}, {n}) is not one row of the data", dst.parts));
    }
    if op.is_bitvec() {
        same_width(&[dst, data])?;
        let (mut acc, mut row) = (vec![0; n], vec![0; n]);
        e.load_bits(data, 0, &mut acc);
        for p in 1..data.parts {
            e.load_bits(data, p, &mut row);
            for (a, x) in acc.iter_mut().zip(&row) {
                *a = alu::apply_bits(op, *a, *x, dst.dtype.bytes());
            }
        }
        e.store_bits(dst, 0, &acc);
        return Ok(());
    }
    e.castable(&[dst, data])?;
    let step = if op == AluOp::Average { AluOp::Add } else { op };
    let (mut acc, mut row) = (scratch(n), scratch(n));
    e.load(data, 0, &mut acc);
    for p in 1..data.parts {
        e.load(data, p, &mut row);
        alu::apply_row(step, &mut acc, alu::Other::Row(&row), false);
    }
    if op == AluOp::Average {
        acc.iter_mut().for_each(|x| *x /= data.parts as f32);
    }
    e.store(dst, 0, &acc);
    Ok(())
}

/// isa.md 9.4.4: for each element the first index of its run of equal neighbours and the index behind the run; `(n, -1)`
/// for padding, which is id 0.
pub(super) fn sequence_bounds(e: &mut Exec) -> Result<(), Fault> {
    let (dst, ids) = (e.tile("dst")?, e.tile("segment_ids")?);
    let n = ids.row_elements();
    if (dst.parts, ids.parts) != (1, 1) || dst.row_elements() != 2 * n {
        return fault(Code::Shape, format!("{} bounds of {n} ids", dst.row_elements()));
    }
    if [dst, ids].iter().any(|s| !matches!(s.dtype, DType::F32 | DType::I32)) {
        return fault(Code::Dtype, format!("{} bounds of {} ids", dst.dtype, ids.dtype));
    }
    let mut bits = vec![0; n];
    e.load_bits(ids, 0, &mut bits);
    // Equality of numbers: both zeros are one id, and no NaN continues a run.
    let equal = |a: u32, b: u32| match ids.dtype {
        DType::I32 => a == b,
        _ => f32::from_bits(a) == f32::from_bits(b),
    };
    let mut out = vec![0; 2 * n];
    let mut begin = 0;
    while begin < n {
        let run = 1 + (begin + 1..n).take_while(|&i| equal(bits[i], bits[begin])).count();
        let bounds =
            if equal(bits[begin], 0) { [n as i32, -1] } else { [begin as i32, (begin + run) as i32] };
        for (half, bound) in bounds.into_iter().enumerate() {
            out[half * n + begin..half * n + begin + run].fill(cast::from_int(dst.dtype, bound));
        }
        begin += run;
    }
    e.store_bits(dst, 0, &out);
    Ok(())
}

/// isa.md 9.4.7: in every sixteenth partition the positions of nonzero elements plus an offset, padding, and the count in
/// the last column. The other partitions take no part.
pub(super) fn nonzero_with_count(e: &mut Exec) -> Result<(), Fault> {
    let (dst, src) = (e.tile("dst")?, e.tile("src")?);
    let n = src.row_elements();
    if dst.parts != src.parts || dst.row_elements() != n + 1 {
        return fault(Code::Shape, format!("{} positions in rows of {n}", dst.row_elements()));
    }
    if dst.dtype != DType::I32 || !matches!(src.dtype, DType::F32 | DType::I32) {
        return fault(Code::Dtype, format!("{} positions in {}", dst.dtype, src.dtype));
    }
    let (offset, padding) = (*e.int_ref("index_offset")? as i32, *e.int_ref("padding_val")? as i32);
    let (mut row, mut out) = (vec![0; n], vec![0; n + 1]);
    for p in (0..src.parts).step_by(CORE as usize) {
        e.load_bits(src, p, &mut row);
        // -0.0 is zero.
        let sign = if src.dtype == DType::F32 { 0x8000_0000 } else { 0 };
        let found = (0..n).filter(|&f| row[f] & !sign != 0).map(|f| offset.wrapping_add(f as i32) as u32);
        let mut count = 0;
        out.fill(padding as u32);
        for position in found {
            out[count] = position;
            count += 1;
        }
        out[n] = count as u32;
        e.store_bits(dst, p, &out);
    }
    Ok(())
}

/// isa.md 9.4.8: the K largest of the n elements that each group of 16 partitions holds, element i in partition `i mod 16`,
/// column `i / 16`. Ascending; ties keep the lower index, NaN is smallest. All 16 rows get the result.
pub(super) fn topk(e: &mut Exec) -> Result<(), Fault> {
    let (values, places, src) = (e.tile("val_dst")?, e.tile("idx_dst")?, e.tile("src")?);
    let (n, k) = (usize::try_from(*e.int_ref("n")?).unwrap_or(0), values.row_elements());
    let fits = places.row_elements() == k
        && places.parts == src.parts
        && values.parts == src.parts
        && src.parts.is_multiple_of(CORE);
    if !fits || k > n || n > src.row_elements().saturating_mul(CORE as usize) {
        let got = format!("{k} of {n} elements in ({}, {})", src.parts, src.row_elements());
        return fault(Code::Shape, got);
    }
    if (values.dtype, places.dtype, src.dtype) != (DType::BF16, DType::U32, DType::BF16) {
        return fault(Code::Dtype, format!("{} and {} of {}", values.dtype, places.dtype, src.dtype));
    }
    let mut row = vec![0; src.row_elements()];
    for first in (0..src.parts).step_by(CORE as usize) {
        let mut snake = vec![0u32; row.len() * CORE as usize];
        for p in 0..CORE {
            e.load_bits(src, first + p, &mut row);
            for (column, x) in row.iter().enumerate() {
                snake[column * CORE as usize + p as usize] = *x;
            }
        }
        let key = |i: u32| cast::up(DType::BF16, snake[i as usize]);
        let mut order: Vec<u32> = (0..n as u32).collect();
        // Stable: equal elements stay in the order of their indices.
        order.sort_by(|&a, &b| ascending(key(b), key(a)));
        order.truncate(k);
        order.sort_by(|&a, &b| ascending(key(a), key(b)).then(a.cmp(&b)));
        let found: Vec<u32> = order.iter().map(|&i| snake[i as usize]).collect();
        for p in first..first + CORE {
            e.store_bits(values, p, &found);
            e.store_bits(places, p, &order);
        }
    }
    Ok(())
}

/// Numbers by value, NaN below all of them.
fn ascending(a: f32, b: f32) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The rows that take part in [`nonzero_with_count`].
pub(in crate::sem) fn every_sixteenth(span: &Span) -> Span {
    let part_stride = span.part_stride.wrapping_mul(CORE.into());
    Span { parts: span.parts.div_ceil(CORE), part_stride, ..span.clone() }
}
