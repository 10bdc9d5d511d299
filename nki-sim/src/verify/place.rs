//! Where operands are: start partitions, access patterns, bounds at the extremes of the loop counters.

use super::{Checker, form};
use crate::access::{extent, strides};
use crate::program::{Access, DynamicAccess, RegAffine};
use crate::verify::load::tensor_bytes;
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::Space;
use nki_ir::target::{PARTITIONS, PSUM_BYTES_PER_PARTITION};

/// Smallest and largest value over the counters' ranges; `None` if a register can hold anything.
fn bounds(c: &Checker, a: &RegAffine) -> Option<(i128, i128)> {
    let (mut lo, mut hi) = (i128::from(a.constant), i128::from(a.constant));
    for &(r, k) in &a.terms {
        let range = c.range(r)?;
        let (x, y) = (i128::from(range.first) * i128::from(k), i128::from(range.last) * i128::from(k));
        lo += x.min(y);
        hi += x.max(y);
    }
    Some((lo, hi))
}

/// Whether every value is a multiple of `m`.
fn multiple_of(c: &Checker, a: &RegAffine, m: i128) -> bool {
    let mut constant = i128::from(a.constant);
    for &(r, k) in &a.terms {
        let Some(range) = c.range(r) else { return false };
        if range.first != range.last && i128::from(range.step) * i128::from(k) % m != 0 {
            return false;
        }
        constant += i128::from(range.first) * i128::from(k);
    }
    constant % m == 0
}

pub(super) fn access(c: &mut Checker, name: &str, a: &Access, writes: bool, engine: bool) {
    for (r, _) in a.partition.terms.iter().chain(&a.offset.terms) {
        form::register(c, *r);
    }
    if a.partitions == 0 || a.dims.iter().any(|d| d.count == 0) {
        return c.error(Code::Shape, format!("`{name}` has no elements"));
    }
    dynamic(c, name, a, engine);
    if engine {
        pattern(c, name, a);
    }
    if writes && !distinct(a) {
        let d = Diagnostic::error(Code::Overlap, format!("`{name}` writes some elements more than once"));
        c.report(d.note("isa.md section 8, G12"));
    }
    match a.space {
        Space::Hbm => hbm_bounds(c, name, a),
        _ => {
            partitions(c, name, a, engine);
            chip_bounds(c, name, a);
        }
    }
}

fn dynamic(c: &mut Checker, name: &str, a: &Access, engine: bool) {
    let Some(d) = a.dynamic.as_deref() else { return };
    let index = match d {
        DynamicAccess::Register { reg, .. } => return form::register(c, *reg),
        DynamicAccess::Scalar { index, .. } => index,
        DynamicAccess::Vector { index, .. } => {
            if a.space != Space::Hbm {
                c.error(Code::DynamicIndex, format!("`{name}` has a row index but is not in device memory"));
            }
            index
        }
        DynamicAccess::Indirect { index, elements } => {
            if *elements == 0 || a.space == Space::Hbm || index.space != Space::Sbuf {
                c.error(Code::DynamicIndex, format!("`{name}` takes no columns by an index tile"));
            }
            index
        }
    };
    if index.dynamic.is_some() {
        return c.error(Code::DynamicIndex, format!("the index of `{name}` is itself dynamic"));
    }
    let elements =
        index.dims.iter().fold(u64::from(index.partitions), |n, d| n.saturating_mul(d.count.into()));
    if matches!(d, DynamicAccess::Scalar { .. }) && elements != 1 {
        c.error(
            Code::DynamicIndex,
            format!("the index of `{name}` has {elements} elements; it must have one"),
        );
    }
    if index.space == Space::Hbm || !index.dtype.is_int() {
        c.error(Code::DynamicIndex, format!("the index of `{name}` must be integers on chip"));
    }
    access(c, name, index, false, engine);
}

fn pattern(c: &mut Checker, name: &str, a: &Access) {
    let dims = strides(a);
    if dims.len() > 4 {
        let d =
            Diagnostic::error(Code::AccessPattern, format!("`{name}` has {} free dimensions", dims.len()));
        return c.report(d.note("an engine walks at most 4 (isa.md 3.2)"));
    }
    for d in a.dims.iter() {
        let fits = d.count <= u32::from(u16::MAX) && i16::try_from(d.stride).is_ok();
        // A dimension that merges with its neighbour or has one element is not encoded.
        if !fits && d.count != 1 && dims.len() > 1 {
            let d = Diagnostic::error(
                Code::AccessPattern,
                format!("`{name}` has a dimension of {} elements {} apart", d.count, d.stride),
            );
            return c.report(d.note("counts are 16-bit unsigned, strides 16-bit signed (isa.md 3.2)"));
        }
    }
}

/// Whether no element is addressed twice.
fn distinct(a: &Access) -> bool {
    let size = a.dtype.bytes() as i64;
    let mut dims = strides(a);
    dims.sort_by_key(|d| d.0.unsigned_abs());
    // Nested dimensions: each stride clears everything inside it.
    let mut reach = size as u128;
    let nested = dims.iter().all(|d| {
        let stride = u128::from(d.0.unsigned_abs());
        let good = stride >= reach;
        reach += stride * (u128::from(d.1) - 1);
        good
    });
    if nested {
        return true;
    }
    // Interleaved: count them, if they are few enough to be worth it.
    let n = dims.iter().fold(1u64, |n, d| n.saturating_mul(d.1.into()));
    if n > 1 << 16 {
        return false;
    }
    let mut at = vec![0i64];
    for (stride, count) in &dims {
        at = at
            .iter()
            .flat_map(|x| (0..i64::from(*count)).map(move |i| x.wrapping_add(i.wrapping_mul(*stride))))
            .collect();
    }
    at.sort_unstable();
    at.windows(2).all(|w| w[1].wrapping_sub(w[0]) >= size)
}

fn partitions(c: &mut Checker, name: &str, a: &Access, engine: bool) {
    let parts = i128::from(a.partitions);
    let Some((lo, hi)) = bounds(c, &a.partition) else {
        return c.error(Code::Partition, format!("the start partition of `{name}` depends on data"));
    };
    if lo < 0 || hi + parts > i128::from(PARTITIONS) {
        let d = Diagnostic::error(
            Code::Partition,
            format!("`{name}` covers partitions {lo}..{} of {PARTITIONS}", hi + parts),
        );
        return c.report(d.note("isa.md section 8, G1"));
    }
    let (unit, legal) = match a.partitions {
        0..=32 => (32, "0, 32, 64 or 96"),
        33..=64 => (64, "0 or 64"),
        _ => (128, "0"),
    };
    if engine && !multiple_of(c, &a.partition, unit) {
        let d = Diagnostic::error(
            Code::StartPartition,
            format!(
                "`{name}` touches {} partitions from partition {lo}; they must start at {legal}",
                a.partitions
            ),
        );
        c.report(d.note("isa.md 3.1.2"));
    }
}

fn chip_bounds(c: &mut Checker, name: &str, a: &Access) {
    // An address that depends on data is checked when it is known.
    let Some((lo, hi)) = bounds(c, &a.offset) else { return };
    let (first, last) = extent(&strides(a), a.dtype.bytes());
    let (lo, hi) = (lo + first, hi + last);
    let limit = match a.space {
        Space::Psum => PSUM_BYTES_PER_PARTITION,
        _ => c.flat.header.target.sbuf_bytes_per_partition(),
    };
    if lo < 0 || hi > i128::from(limit) {
        return c.error(
            Code::OutOfBounds,
            format!("`{name}` covers bytes {lo}..{hi} of a partition; {} has {limit}", a.space),
        );
    }
    object_bounds(c, name, a, lo, hi);
}

/// An access that names its buffer stays inside it.
fn object_bounds(c: &mut Checker, name: &str, a: &Access, lo: i128, hi: i128) {
    let Some(object) = a.object else { return };
    let Some(p) = c.flat.header.placements.get(object as usize) else {
        return c.error(Code::Undefined, format!("`{name}` names placement {object}, which does not exist"));
    };
    let parts = bounds(c, &a.partition).unwrap_or((0, 0));
    let inside = p.space == a.space
        && lo >= i128::from(p.offset)
        && hi <= i128::from(p.offset) + i128::from(p.bytes)
        && parts.0 >= i128::from(p.start_partition)
        && parts.1 + i128::from(a.partitions) <= i128::from(p.start_partition) + i128::from(p.partitions);
    if !inside {
        let what = format!(
            "`{name}` covers {} partitions {}..{}, bytes {lo}..{hi}; `{}` has {} partitions {}..{}, bytes {}..{}",
            a.space,
            parts.0,
            parts.1 + i128::from(a.partitions),
            p.name,
            p.space,
            p.start_partition,
            u64::from(p.start_partition) + u64::from(p.partitions),
            p.offset,
            u64::from(p.offset) + u64::from(p.bytes)
        );
        c.error(Code::OutOfBounds, what);
    }
}

fn hbm_bounds(c: &mut Checker, name: &str, a: &Access) {
    if a.partitions != 1 || a.partition.as_constant() != Some(0) {
        c.error(Code::Form, format!("`{name}` is in device memory, which has no partitions"));
    }
    let Some(t) = a.object.and_then(|o| c.flat.header.tensors.get(o as usize)) else {
        return c.error(Code::Undefined, format!("`{name}` does not name its tensor"));
    };
    if a.dynamic.is_some() {
        return;
    }
    let Some((lo, hi)) = bounds(c, &a.offset) else { return };
    let (first, last) = extent(&strides(a), a.dtype.bytes());
    let (lo, hi) = (lo + first, hi + last);
    let end = u128::from(t.address) + u128::from(tensor_bytes(t).unwrap_or(0));
    if lo < i128::from(t.address) || hi > end as i128 {
        let base = i128::from(t.address);
        let what = format!(
            "`{name}` covers bytes {}..{} of `{}`, which has {}",
            lo - base,
            hi - base,
            t.name,
            end as i128 - base
        );
        c.error(Code::OutOfBounds, what);
    }
}
