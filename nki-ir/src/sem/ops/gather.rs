//! GpSimdE: gathers along the free axis (isa.md 9.4.5 and 9.4.6). Bits are moved, whatever they mean.

use super::super::exec::Exec;
use super::super::{Fault, Span, fault};
use crate::diag::Code;
use crate::dtype::DType;

/// Partitions that one processor of GpSimdE works on.
pub(super) const CORE: u32 = 16;

/// isa.md 9.4.5: the 16 partitions of a group share one list of indices, which runs down their rows first:
/// `dst[p, t·e + j] = src_buffer[p, list[t] + j]`.
pub(super) fn local_gather(e: &mut Exec) -> Result<(), Fault> {
    let (dst, src, index) = (e.tile("dst")?, e.tile("src_buffer")?, e.tile("index")?);
    let each = usize::try_from(*e.int_ref("num_elem_per_idx")?).unwrap_or(0);
    let capacity = CORE as usize * index.row_elements();
    let valid = match *e.int_ref("num_valid_indices")? {
        -1 => Some(capacity),
        v => usize::try_from(v).ok().filter(|v| *v <= capacity),
    };
    let Some(valid) = valid else {
        return fault(
            Code::Parameter,
            format!("num_valid_indices exceeds the {capacity} indices of a group"),
        );
    };
    let groups = dst.parts.is_multiple_of(CORE) && src.parts == dst.parts && index.parts == dst.parts;
    if !groups || each == 0 || valid.checked_mul(each) != Some(dst.row_elements()) {
        let got = format!("{valid} indices of {each} elements into ({}, {})", dst.parts, dst.row_elements());
        return fault(Code::Shape, got);
    }
    if src.dtype.bytes() != dst.dtype.bytes() || index.dtype != DType::U16 {
        return fault(Code::Dtype, format!("{} from {} by {}", dst.dtype, src.dtype, index.dtype));
    }
    let (mut indices, mut row, mut out) =
        (vec![0; index.row_elements()], vec![0; src.row_elements()], vec![0; dst.row_elements()]);
    for first in (0..dst.parts).step_by(CORE as usize) {
        let mut list = vec![0usize; capacity];
        for p in 0..CORE {
            e.load_bits(index, first + p, &mut indices);
            for (column, i) in indices.iter().enumerate() {
                list[column * CORE as usize + p as usize] = *i as usize;
            }
        }
        for p in first..first + CORE {
            e.load_bits(src, p, &mut row);
            for (t, block) in out.chunks_exact_mut(each).enumerate() {
                block.copy_from_slice(slice(&row, list[t], each, p)?);
            }
            e.store_bits(dst, p, &out);
        }
    }
    Ok(())
}

/// isa.md 9.4.6: `dst[p, i] = data[p, indices[p, i]]`.
pub(super) fn nc_n_gather(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data, indices) = (e.tile("dst")?, e.tile("data")?, e.tile("indices")?);
    let n = dst.row_elements();
    if data.parts != dst.parts || (indices.parts, indices.row_elements()) != (dst.parts, n) {
        return fault(Code::Shape, format!("({}, {n}) from {} indices", dst.parts, indices.row_elements()));
    }
    if data.dtype.bytes() != dst.dtype.bytes() || indices.dtype != DType::U32 {
        return fault(Code::Dtype, format!("{} from {} by {}", dst.dtype, data.dtype, indices.dtype));
    }
    let (mut list, mut row, mut out) = (vec![0; n], vec![0; data.row_elements()], vec![0; n]);
    for p in 0..dst.parts {
        e.load_bits(indices, p, &mut list);
        e.load_bits(data, p, &mut row);
        for (o, i) in out.iter_mut().zip(&list) {
            *o = slice(&row, *i as usize, 1, p)?[0];
        }
        e.store_bits(dst, p, &out);
    }
    Ok(())
}

/// `row[start..start + len]`; an index beyond the row is an error of the run (isa.md 9.4.5 and 9.4.6).
fn slice(row: &[u32], start: usize, len: usize, p: u32) -> Result<&[u32], Fault> {
    let found = start.checked_add(len).and_then(|end| row.get(start..end));
    let outside = || format!("index {start} in partition {p} is outside the {} elements of a row", row.len());
    found.map_or_else(|| fault(Code::RuntimeIndex, outside()), Ok)
}

/// Row `p` of a span by itself.
pub(in crate::sem) fn one_row(span: &Span, p: u32) -> Span {
    let base = span.base.wrapping_add(u64::from(p).wrapping_mul(span.part_stride));
    Span { base, parts: 1, ..span.clone() }
}
