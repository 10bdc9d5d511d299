//! DMA transfers that do more than copy: dma_transpose and dma_compute (isa.md 9.6.2 and 9.6.3).

use super::super::access::Walker;
use super::super::exec::Exec;
use super::super::{Arg, Fault, Rows, Span, fault};
use crate::diag::Code;
use std::collections::BTreeSet;

/// Elements added at a time: a buffer of this many float32 stays in the first-level cache.
const CHUNK: usize = 4096;
/// Most sources of a dma_compute.
pub const MAX_SOURCES: usize = 16;

/// isa.md 9.6.2: first and last axis change places: `dst[l, m, i] = src[i, m, l]`, `m` being the axes between them. Bits
/// are moved. `rows` is the extent of the first axis, which the flattened operands no longer show; 0 for two axes.
pub(super) fn dma_transpose(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (last, columns) = (dst.parts as usize, dst.row_elements());
    let rows = match *e.int_ref("rows")? {
        0 => columns,
        r => usize::try_from(r).unwrap_or(0),
    };
    if rows == 0 || !columns.is_multiple_of(rows) {
        return fault(Code::Shape, format!("{columns} columns of {rows} rows"));
    }
    let middle = columns / rows;
    let (dtype, sources) = match e.any("src")? {
        Arg::Span(src) if src.elements() == dst.elements() => (src.dtype, None),
        Arg::Rows(r) if r.starts.len() == rows && r.row.elements() == middle * last => (r.row.dtype, Some(r)),
        _ => {
            return fault(
                Code::Shape,
                format!("the source is not {rows} rows of {middle} x {last} elements"),
            );
        }
    };
    if dtype.bytes() != dst.dtype.bytes() {
        return fault(
            Code::Dtype,
            format!("a transpose moves bits, but src is {dtype} and dst {}", dst.dtype),
        );
    }
    let width = dtype.bytes();
    let mut data = vec![0u32; dst.elements()];
    // What rows that are skipped leave alone.
    if let Some(Rows { row, starts }) = sources {
        read_bits(e, dst, &mut data);
        let mut bits = vec![0; middle * last];
        for (i, start) in starts.iter().enumerate() {
            let Some(start) = start else { continue };
            let from = Span { base: *start, ..row.clone() };
            Walker::all(&from).read_bits(e.mem.bytes(from.mem), width, &mut bits);
            for (at, x) in bits.iter().enumerate() {
                data[(at % last) * columns + at / last * rows + i] = *x;
            }
        }
    } else {
        let mut bits = vec![0; dst.elements()];
        read_bits(e, e.tile("src")?, &mut bits);
        for (at, x) in bits.iter().enumerate() {
            let (i, m, l) = (at / (middle * last), at / last % middle, at % last);
            data[l * columns + m * rows + i] = *x;
        }
    }
    Walker::all(dst).write_bits(e.mem.bytes_mut(dst.mem), width, &data);
    Ok(())
}

fn read_bits(e: &Exec, span: &Span, out: &mut [u32]) {
    Walker::all(span).read_bits(e.mem.bytes(span.mem), span.dtype.bytes(), out);
}

/// isa.md 9.6.3: `dst = down(Σ up(srcs[i]))`, summed in float32 in the order of the list. With rows at run-time positions,
/// row after row: a row that occurs twice is added to twice.
pub(super) fn dma_compute(e: &mut Exec) -> Result<(), Fault> {
    let mut sources = Vec::new();
    for name in SOURCES {
        match e.any(name)? {
            Arg::None => {}
            arg => sources.push(arg),
        }
    }
    let dst = e.any("dst")?;
    let all: Vec<&Arg> = std::iter::once(dst).chain(sources.iter().copied()).collect();
    let mut spans = Vec::new();
    for arg in &all {
        spans.push(match arg {
            Arg::Span(s) => s,
            Arg::Rows(r) => &r.row,
            _ => return fault(Code::Form, "an operand is not a tensor"),
        });
    }
    e.castable(&spans)?;
    let rows = all.iter().find_map(|a| if let Arg::Rows(r) = a { Some(r) } else { None });
    let Some(rows) = rows else { return add(e, &all, 0, 1, &spans) };
    if e.state.check_claims && e.flag("unique_indices")? {
        check_unique(rows)?;
    }
    for row in 0..rows.starts.len() {
        if rows.starts[row].is_some() {
            add(e, &all, row, rows.starts.len(), &spans)?;
        }
    }
    Ok(())
}

/// Names of the sources in the op table.
pub const SOURCES: [&str; MAX_SOURCES] = [
    "src0", "src1", "src2", "src3", "src4", "src5", "src6", "src7", "src8", "src9", "src10", "src11",
    "src12", "src13", "src14", "src15",
];

/// Adds row `row` of `of` equal rows of all operands, the first of which is the destination.
fn add(e: &mut Exec, all: &[&Arg], row: usize, of: usize, spans: &[&Span]) -> Result<(), Fault> {
    let mut walks = Vec::with_capacity(all.len());
    let mut n = None;
    for arg in all {
        let (walk, elements) = match arg {
            Arg::Span(s) if s.elements().is_multiple_of(of) => {
                let mut walk = Walker::all(s);
                walk.skip(row * (s.elements() / of));
                (walk, s.elements() / of)
            }
            Arg::Rows(Rows { row: span, starts }) if starts.len() == of => match starts[row] {
                Some(base) => (Walker::all(&Span { base, ..span.clone() }), span.elements()),
                None => return Ok(()),
            },
            _ => return fault(Code::Shape, "operands of different sizes"),
        };
        if *n.get_or_insert(elements) != elements {
            return fault(Code::Shape, format!("a sum of {elements} and {} elements", n.unwrap_or(0)));
        }
        walks.push(walk);
    }
    let n = n.unwrap_or(0);
    let (dst, sources) = (spans[0], &spans[1..]);
    if n > e.mem.bytes(dst.mem).len() {
        return fault(Code::Overlap, "the destination repeats elements");
    }
    // Views that are the same are read as far as they are written; others may overlap anyhow.
    let staged = sources.iter().any(|s| s.mem == dst.mem && *s != dst);
    let chunk = if staged { n.max(1) } else { CHUNK.min(n.max(1)) };
    let (mut sum, mut term) = (vec![0.0; chunk], vec![0.0; chunk]);
    for start in (0..n).step_by(chunk) {
        let len = chunk.min(n - start);
        for (i, (span, walk)) in sources.iter().zip(&mut walks[1..]).enumerate() {
            let out = if i == 0 { &mut sum[..len] } else { &mut term[..len] };
            walk.read_f32(e.mem.bytes(span.mem), span.dtype, out);
            if i > 0 {
                sum.iter_mut().zip(&term[..len]).for_each(|(s, t)| *s += t);
            }
        }
        e.store_walk(&mut walks[0], dst, &sum[..len], (row * n + start) as u64);
    }
    Ok(())
}

/// The promise that no row occurs twice (checked in strict mode).
fn check_unique(rows: &Rows) -> Result<(), Fault> {
    let mut seen = BTreeSet::new();
    match rows.starts.iter().flatten().find(|start| !seen.insert(**start)) {
        Some(_) => fault(Code::RuntimeIndex, "unique_indices, but an index occurs twice"),
        None => Ok(()),
    }
}
