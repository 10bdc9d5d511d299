//! DMA transfers (isa.md 9.6).

use super::super::access::Walker;
use super::super::exec::Exec;
use super::super::{Arg, Fault, Rows, Span, fault};
use crate::diag::Code;

/// Elements moved at a time: a buffer of this many float32 stays in the first-level cache.
const CHUNK: usize = 4096;

/// isa.md 9.6.1: both sides are walked in row-major order and paired element by element; raw bytes between equal dtypes,
/// else `down(up(src))`. The whole source is read before the destination is written.
pub(super) fn dma_copy(e: &mut Exec) -> Result<(), Fault> {
    match (e.any("dst")?, e.any("src")?) {
        (Arg::Span(dst), Arg::Span(src)) => {
            if dst.elements() != src.elements() {
                return unequal(dst.elements(), src.elements());
            }
            let chunk = if dst.may_overlap(src) { dst.elements() } else { CHUNK };
            transfer(e, (dst, &mut Walker::all(dst)), (src, &mut Walker::all(src)), dst.elements(), chunk, 0)
        }
        (Arg::Span(dst), Arg::Rows(rows)) => gather(e, dst, rows),
        (Arg::Rows(rows), Arg::Span(src)) => scatter(e, rows, src),
        _ => fault(Code::DynamicIndex, "at most one side of a transfer has rows at run-time positions"),
    }
}

/// Moves the next `count` elements, `chunk` at a time. `first` numbers them for stochastic rounding.
fn transfer(
    e: &mut Exec,
    (dst, to): (&Span, &mut Walker),
    (src, from): (&Span, &mut Walker),
    count: usize,
    chunk: usize,
    first: usize,
) -> Result<(), Fault> {
    let chunk = chunk.min(count).max(1);
    if src.dtype == dst.dtype {
        let width = src.dtype.bytes();
        let mut buffer = vec![0; chunk * width];
        for start in (0..count).step_by(chunk) {
            let buffer = &mut buffer[..chunk.min(count - start) * width];
            from.read_raw(e.mem.bytes(src.mem), width, buffer);
            to.write_raw(e.mem.bytes_mut(dst.mem), width, buffer);
        }
        return Ok(());
    }
    e.castable(&[dst, src])?;
    let mut buffer = vec![0.0; chunk];
    for start in (0..count).step_by(chunk) {
        let buffer = &mut buffer[..chunk.min(count - start)];
        from.read_f32(e.mem.bytes(src.mem), src.dtype, buffer);
        e.store_walk(to, dst, buffer, (first + start) as u64);
    }
    Ok(())
}

/// Row p of `dst` comes from row `index[p]` of the source; rows that are skipped keep their content.
fn gather(e: &mut Exec, dst: &Span, rows: &Rows) -> Result<(), Fault> {
    let n = check_rows(dst, rows)?;
    let staged = dst.mem == rows.row.mem;
    let mut to = Walker::all(dst);
    for (p, start) in rows.starts.iter().enumerate() {
        match start {
            Some(start) => {
                let row = Span { base: *start, ..rows.row.clone() };
                let chunk = if staged { n } else { CHUNK };
                transfer(e, (dst, &mut to), (&row, &mut Walker::all(&row)), n, chunk, p * n)?;
            }
            None => to.skip(n),
        }
    }
    Ok(())
}

/// Row p of `src` goes to row `index[p]`, in ascending p: of repeated rows the last one stays.
fn scatter(e: &mut Exec, rows: &Rows, src: &Span) -> Result<(), Fault> {
    let n = check_rows(src, rows)?;
    let staged = src.mem == rows.row.mem;
    let mut from = Walker::all(src);
    for (p, start) in rows.starts.iter().enumerate() {
        match start {
            Some(start) => {
                let row = Span { base: *start, ..rows.row.clone() };
                let chunk = if staged { n } else { CHUNK };
                transfer(e, (&row, &mut Walker::all(&row)), (src, &mut from), n, chunk, p * n)?;
            }
            None => from.skip(n),
        }
    }
    Ok(())
}

/// Elements of one row; both sides have as many in all.
fn check_rows(other: &Span, rows: &Rows) -> Result<usize, Fault> {
    let n = rows.row.elements();
    if n.checked_mul(rows.starts.len()) != Some(other.elements()) {
        return unequal(n.saturating_mul(rows.starts.len()), other.elements());
    }
    Ok(n)
}

fn unequal<T>(a: usize, b: usize) -> Result<T, Fault> {
    fault(Code::Shape, format!("a transfer between {a} and {b} elements"))
}
