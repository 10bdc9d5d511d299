//! Where buffers live on the host: parameters in the caller's memory, everything else in one scratch memory, stacked by
//! scope. A buffer of a loop body is released at the end of the body, so iterations reuse (and keep warm) the same bytes.

use nki_ir::entity::{Entity, Region};
use nki_ir::kernel::{BufKind, Node};
use nki_ir::{Buf, Kernel, Loop};

/// Where a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Index into [`Layout::params`].
    Param(usize),
    /// Byte offset in the scratch memory.
    Scratch(usize),
}

/// Places of all buffers.
#[derive(Debug)]
pub struct Layout {
    places: Vec<Place>,
    strides: Vec<usize>,
    params: Vec<Buf>,
    scratch: usize,
    /// Top of the stack where each loop begins: what its body allocates lies from there on.
    loops: Vec<usize>,
}

/// Scratch tiles start at cache lines, which are also the widest vectors.
const ALIGN: usize = 64;

impl Layout {
    /// Lays out a kernel's buffers.
    pub fn new(kernel: &Kernel) -> Self {
        let strides: Vec<usize> = kernel.bufs.values().map(row_stride).collect();
        let params: Vec<Buf> =
            kernel.bufs.iter().filter(|(_, b)| b.kind != BufKind::Private).map(|(b, _)| b).collect();
        let mut places = vec![Place::Scratch(0); kernel.bufs.len()];
        for (i, b) in params.iter().enumerate() {
            places[b.index()] = Place::Param(i);
        }
        let mut layout = Layout { places, strides, params, scratch: 0, loops: vec![0; kernel.loops.len()] };
        layout.stack(kernel);
        layout
    }

    fn stack(&mut self, kernel: &Kernel) {
        // (region, next node, top of the stack when the region was entered)
        let mut open: Vec<(Region, usize, usize)> = vec![(kernel.body, 0, 0)];
        let mut top = 0usize;
        while let Some((region, next, entry)) = open.pop() {
            let Some(node) = kernel.regions[region].nodes.get(next) else {
                top = entry;
                continue;
            };
            open.push((region, next + 1, entry));
            match *node {
                Node::Alloc(buf) => {
                    self.places[buf.index()] = Place::Scratch(top);
                    let bytes = self.strides[buf.index()] * kernel.bufs[buf].partitions() as usize;
                    top += bytes.next_multiple_of(ALIGN);
                    self.scratch = self.scratch.max(top);
                }
                Node::Inst(_) => {}
                Node::Loop(l) => {
                    self.loops[l.index()] = top;
                    for region in kernel.loops[l].regions() {
                        open.push((region, 0, top));
                    }
                }
            }
        }
    }

    /// Where `buf` is.
    pub fn place(&self, buf: Buf) -> Place {
        self.places[buf.index()]
    }
    /// Bytes from one partition of `buf` to the next.
    pub fn row_stride(&self, buf: Buf) -> usize {
        self.strides[buf.index()]
    }
    /// Buffers that the caller passes, in order.
    pub fn params(&self) -> &[Buf] {
        &self.params
    }
    /// Index of a parameter.
    pub fn param(&self, buf: Buf) -> usize {
        match self.places[buf.index()] {
            Place::Param(i) => i,
            Place::Scratch(_) => unreachable!("only inputs and outputs are parameters"),
        }
    }
    /// Byte of the scratch memory from which on everything belongs to the body of `l` while it runs.
    pub fn loop_scratch(&self, l: Loop) -> usize {
        self.loops[l.index()]
    }
    /// Size of the scratch memory.
    pub fn scratch_bytes(&self) -> usize {
        self.scratch
    }
}

/// Rows of a tile start at cache lines; a multiple of 1 KiB gets one more line, so that the rows of a column do not all fall
/// into the same sets of the first-level cache.
fn row_stride(b: &nki_ir::BufData) -> usize {
    let bytes = b.row_bytes() as usize;
    if !b.space.on_chip() || b.partitions() <= 1 {
        return bytes;
    }
    let padded = bytes.next_multiple_of(ALIGN);
    if padded.is_multiple_of(1024) { padded + ALIGN } else { padded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nki_ir::kernel::{Bound, BufData, Space};
    use nki_ir::{Builder, DType, Loc};

    #[test]
    fn loop_bodies_share_scratch_and_outer_tiles_keep_theirs() {
        let mut b = Builder::new("k");
        let tile = |name: &str, cols| {
            BufData::new(name, Space::Sbuf, DType::F32, &[128, cols], BufKind::Private, Loc(0))
        };
        let outer = b.alloc(tile("outer", 3));
        b.begin_for("i", Bound::Const(0), Bound::Const(2), 1, Loc(0));
        let first = b.alloc(tile("first", 256));
        b.end();
        b.begin_for("j", Bound::Const(0), Bound::Const(2), 1, Loc(0));
        let second = b.alloc(tile("second", 1));
        b.end();
        let layout = Layout::new(&b.finish());
        assert_eq!(layout.row_stride(outer), 64);
        assert_eq!(layout.row_stride(first), 1024 + 64);
        assert_eq!(layout.place(outer), Place::Scratch(0));
        assert_eq!(layout.place(first), layout.place(second));
        assert_eq!(layout.place(first), Place::Scratch(128 * 64));
        assert_eq!(layout.scratch_bytes(), 128 * 64 + 128 * 1088);
    }
}
