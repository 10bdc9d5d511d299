//! When the storage of a private buffer can be given back: after its last use in the region that allocates it.

use crate::entity::{Entity, Region};
use crate::kernel::{Kernel, Node, Operand};
use crate::view::{Dynamic, View};
use crate::{Buf, Loop};

/// For every region, `(position of the last use, buffer)` of the buffers allocated in it, ascending.
pub(super) fn last_uses(kernel: &Kernel) -> Vec<Vec<(usize, Buf)>> {
    let mut places = Places::new(kernel);
    for region in kernel.regions.keys() {
        for (position, node) in kernel.regions[region].nodes.iter().enumerate() {
            if let Node::Inst(i) = node {
                let views =
                    kernel.insts.get(*i).into_iter().flat_map(|i| &i.operands).filter_map(Operand::view);
                for view in views {
                    places.used(view, region, position);
                }
            }
        }
    }
    places.into_last_uses(kernel)
}

struct Places {
    /// The node that owns each region: its own region and position there.
    owner: Vec<Option<(Region, usize)>>,
    /// Region that allocates each buffer, and its last use there so far.
    last: Vec<Option<(Region, usize)>>,
}

impl Places {
    fn new(kernel: &Kernel) -> Places {
        let mut owner = vec![None; kernel.regions.len()];
        let mut last = vec![None; kernel.bufs.len()];
        for region in kernel.regions.keys() {
            for (position, node) in kernel.regions[region].nodes.iter().enumerate() {
                match node {
                    Node::Alloc(b) => {
                        if let Some(slot) = last.get_mut(b.index()) {
                            *slot = Some((region, position));
                        }
                    }
                    Node::Loop(l) => own(kernel, *l, region, position, &mut owner),
                    Node::Inst(_) => {}
                }
            }
        }
        Places { owner, last }
    }

    /// A use of `view` at a position; counts where the allocating region sees it.
    fn used(&mut self, view: &View, region: Region, position: usize) {
        let mut next = Some(view);
        while let Some(view) = next {
            self.used_buf(view.buf, region, position);
            next = match &view.dynamic {
                Some(
                    Dynamic::Scalar { index, .. }
                    | Dynamic::Vector { index }
                    | Dynamic::Indirect { index, .. },
                ) => Some(index),
                Some(Dynamic::Register { .. }) | None => None,
            };
        }
    }

    fn used_buf(&mut self, buf: Buf, region: Region, position: usize) {
        let Some(Some((home, last))) = self.last.get_mut(buf.index()) else { return };
        let mut at = Some((region, position));
        // Regions nest: the climb ends, unless the tables are malformed, and then at the bound.
        for _ in 0..=self.owner.len() {
            match at {
                Some((r, p)) if r == *home => {
                    *last = p.max(*last);
                    return;
                }
                Some((r, _)) => at = self.owner.get(r.index()).copied().flatten(),
                None => return,
            }
        }
    }

    fn into_last_uses(self, kernel: &Kernel) -> Vec<Vec<(usize, Buf)>> {
        let mut out = vec![Vec::new(); kernel.regions.len()];
        for (i, last) in self.last.iter().enumerate() {
            if let Some((region, position)) = last {
                out[region.index()].push((*position, Buf::new(i)));
            }
        }
        out.iter_mut().for_each(|list| list.sort_unstable());
        out
    }
}

fn own(kernel: &Kernel, l: Loop, region: Region, position: usize, owner: &mut [Option<(Region, usize)>]) {
    let regions = kernel.loops.get(l).map(|l| l.regions()).unwrap_or_default();
    for r in regions {
        if let Some(slot) = owner.get_mut(r.index()) {
            *slot = Some((region, position));
        }
    }
}
