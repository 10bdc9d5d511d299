//! Columns by an index tile (isa.md 3.6): the elements are gathered into tiles of their own before the instruction, which
//! then runs as any other, and written back to their places after it.

use super::access::Walker;
use super::{Arg, Call, Fault, Memory, Span, State, fault};
use crate::diag::Code;
use crate::op::{Effect, Engine, Op};
use smallvec::SmallVec;

/// Columns of a tile chosen by an index tile.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    /// The tile that the offsets count in.
    pub base: Span,
    /// Elements chosen in each partition.
    pub elements: u32,
    /// Offset of each chosen element within its partition, partition by partition.
    pub offsets: Vec<u32>,
}

/// Partitions that share a list of offsets: 32 for operands of the tensor engine, 16 for all others.
pub fn group(op: Op) -> u32 {
    if matches!(op, Op::NcMatmul | Op::NcMatmulMx) { 32 } else { 16 }
}

impl Columns {
    /// The columns of `base` that an index tile of `rows` partitions with `values` (row by row) lists for `op`: offset `i` of
    /// a group of partitions is at `index[i mod group, i div group]`.
    ///
    /// # Errors
    /// [`Code::RuntimeIndex`] for an offset that the base does not have, [`Code::Shape`] for an index that is too small.
    pub fn new(op: Op, base: Span, rows: u32, values: &[i64], elements: u32) -> Result<Columns, Fault> {
        let group = group(op) as usize;
        let (rows, parts) = (rows as usize, base.parts as usize);
        let columns = values.len() / rows.max(1);
        let needed = parts.div_ceil(group) * group;
        if rows < needed || elements as usize > group * columns || elements as usize > super::span::MAX_ROW {
            let message =
                format!("an index of {rows} partitions by {columns} for {parts} by {elements} elements");
            return fault(Code::Shape, message);
        }
        let row = base.row_elements() as i64;
        let mut offsets = Vec::with_capacity(parts * elements as usize);
        for p in 0..parts {
            let first = p / group * group;
            for i in 0..elements as usize {
                let value = values[(first + i % group) * columns + i / group];
                if !(0..row).contains(&value) {
                    let message = format!("offset {value} of partition {p}, which has {row} elements");
                    return fault(Code::RuntimeIndex, message);
                }
                offsets.push(value as u32);
            }
        }
        Ok(Columns { base, elements, offsets })
    }

    /// Each chosen element.
    pub fn spans(&self) -> impl Iterator<Item = Span> + '_ {
        self.offsets.iter().enumerate().map(|(n, &offset)| {
            let part = n as u64 / u64::from(self.elements.max(1));
            let mut rest = i64::from(offset);
            let mut at = self.base.base as i64 + (part * self.base.part_stride) as i64;
            for (stride, count) in self.base.dims.iter().rev() {
                at += rest % i64::from(*count) * stride;
                rest /= i64::from(*count);
            }
            Span { base: at as u64, parts: 1, dims: SmallVec::new(), ..self.base.clone() }
        })
    }

    fn row(&self, p: u32) -> &[u32] {
        let n = self.elements as usize;
        self.offsets.get(p as usize * n..(p as usize + 1) * n).unwrap_or(&[])
    }

    /// The elements as a tile without gaps, and its bytes.
    fn gather(&self, mem: u32, bytes: &[u8]) -> (Span, Vec<u8>) {
        let width = self.base.dtype.bytes();
        let stride = self.elements as usize * width;
        let mut row = vec![0; self.base.row_elements() * width];
        let mut tile = Vec::with_capacity(stride * self.base.parts as usize);
        for p in 0..self.base.parts {
            Walker::row(&self.base, p).read_raw(bytes, width, &mut row);
            for &at in self.row(p) {
                tile.extend_from_slice(&row[at as usize * width..][..width]);
            }
        }
        let mut dims = SmallVec::new();
        if self.elements != 1 {
            dims.push((width as i64, self.elements));
        }
        let span = Span { mem, base: 0, part_stride: stride as u64, dims, ..self.base.clone() };
        (span, tile)
    }

    /// The tile back to where its elements belong; of elements with one place the last stays.
    fn scatter(&self, tile: &[u8], bytes: &mut [u8]) {
        let width = self.base.dtype.bytes();
        let mut row = vec![0; self.base.row_elements() * width];
        for p in 0..self.base.parts {
            Walker::row(&self.base, p).read_raw(bytes, width, &mut row);
            let values = tile[p as usize * self.elements as usize * width..].chunks_exact(width);
            for (&at, value) in self.row(p).iter().zip(values) {
                row[at as usize * width..][..width].copy_from_slice(value);
            }
            Walker::row(&self.base, p).write_raw(bytes, width, &row);
        }
    }
}

/// The call's memories with the gathered tiles behind them.
struct Staged<'m> {
    inner: &'m mut dyn Memory,
    tiles: Vec<Vec<u8>>,
}

/// Number of the first gathered tile.
const FIRST: u32 = 1 << 31;

impl Memory for Staged<'_> {
    fn bytes(&self, mem: u32) -> &[u8] {
        match mem.checked_sub(FIRST) {
            Some(i) => self.tiles.get(i as usize).map_or(&[], |t| t),
            None => self.inner.bytes(mem),
        }
    }
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8] {
        match mem.checked_sub(FIRST) {
            Some(i) => self.tiles.get_mut(i as usize).map_or(&mut [], |t| t),
            None => self.inner.bytes_mut(mem),
        }
    }
}

/// Executes a call with operands of this kind.
pub(super) fn execute(call: &Call, mem: &mut dyn Memory, state: &mut State) -> Result<(), Fault> {
    if matches!(call.engine, Engine::Dma | Engine::Sync) {
        return fault(Code::DynamicIndex, "columns by an index tile exist only for the engines");
    }
    let mut staged = Staged { inner: mem, tiles: Vec::new() };
    let mut args: SmallVec<[Arg; 5]> = SmallVec::new();
    for arg in call.args {
        let Arg::Columns(columns) = arg else {
            args.push(arg.clone());
            continue;
        };
        let bytes = staged.inner.bytes(columns.base.mem);
        columns.base.check(bytes.len())?;
        if columns.offsets.len() != columns.elements as usize * columns.base.parts as usize
            || columns.offsets.iter().any(|&o| o as usize >= columns.base.row_elements())
        {
            return fault(Code::RuntimeIndex, "an offset that its tile does not have");
        }
        let (span, tile) = columns.gather(FIRST + staged.tiles.len() as u32, bytes);
        staged.tiles.push(tile);
        args.push(Arg::Span(span));
    }
    super::execute(&Call { args: &args, ..*call }, &mut staged, state)?;
    let Staged { inner, tiles } = staged;
    let mut tiles = tiles.iter();
    for (arg, spec) in call.args.iter().zip(call.op.row().operands) {
        let Arg::Columns(columns) = arg else { continue };
        if let (Some(tile), true) = (tiles.next(), spec.effect != Effect::Read) {
            columns.scatter(tile, inner.bytes_mut(columns.base.mem));
        }
    }
    Ok(())
}
