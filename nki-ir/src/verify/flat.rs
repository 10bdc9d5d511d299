//! A kernel's nodes in program order as one list, so that no check recurses over regions.

use crate::entity::{Buf, Entity, Inst, Loop, Region, Var};
use crate::kernel::{Kernel, LoopData, Node};

/// A node, or the start or end of a region of a loop, in program order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Alloc(Buf),
    Inst(Inst),
    /// Start of a region of a loop or branch.
    Enter(Loop, Region),
    /// Its end.
    Leave(Loop, Region),
}

/// Where a region is.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The loop that owns it; `None` for the body of the kernel.
    pub owner: Option<Loop>,
    /// The region that contains the owner.
    pub parent: Option<Region>,
    /// Positions of its `Enter` and `Leave` in [`Flat::steps`]; the body of the kernel spans everything.
    pub enter: usize,
    pub leave: usize,
}

/// A kernel in program order. Nodes that no region reaches are not part of the program.
#[derive(Clone, Debug)]
pub struct Flat {
    pub steps: Vec<Step>,
    /// Indexed by region; `None` for regions that are not part of the program.
    spans: Vec<Option<Span>>,
    /// The region that allocates each buffer, and the position of its `Alloc`.
    allocs: Vec<Option<(Region, usize)>>,
    /// The region that holds each instruction, and its position.
    insts: Vec<Option<(Region, usize)>>,
}

/// Why the regions of a kernel are not a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Region(Region),
    Loop(Loop),
    Inst(Inst),
    Buf(Buf),
}

impl Flat {
    /// Walks the regions. Fails when a node refers to something that does not exist or is in the tree twice.
    pub fn new(kernel: &Kernel) -> Result<Flat, Malformed> {
        let mut flat = Flat {
            steps: Vec::new(),
            spans: vec![None; kernel.regions.len()],
            allocs: vec![None; kernel.bufs.len()],
            insts: vec![None; kernel.insts.len()],
        };
        let mut loops = vec![false; kernel.loops.len()];
        // Work still to do, last first: a node of a region, or one of its ends.
        enum Work {
            Enter(Option<Loop>, Region, Option<Region>),
            Leave(Loop, Region),
            Node(Node, Region),
        }
        let mut work = vec![Work::Enter(None, kernel.body, None)];
        while let Some(next) = work.pop() {
            match next {
                Work::Enter(owner, region, parent) => {
                    let data = kernel.regions.get(region).ok_or(Malformed::Region(region))?;
                    let enter = flat.steps.len();
                    let span = Span { owner, parent, enter, leave: usize::MAX };
                    if flat.spans[region.index()].replace(span).is_some() {
                        return Err(Malformed::Region(region));
                    }
                    if let Some(owner) = owner {
                        flat.steps.push(Step::Enter(owner, region));
                        work.push(Work::Leave(owner, region));
                    }
                    work.extend(data.nodes.iter().rev().map(|n| Work::Node(*n, region)));
                }
                Work::Leave(owner, region) => {
                    let leave = flat.steps.len();
                    if let Some(span) = &mut flat.spans[region.index()] {
                        span.leave = leave;
                    }
                    flat.steps.push(Step::Leave(owner, region));
                }
                Work::Node(Node::Alloc(buf), region) => {
                    let place = (region, flat.steps.len());
                    let slot = flat.allocs.get_mut(buf.index()).ok_or(Malformed::Buf(buf))?;
                    if slot.replace(place).is_some() {
                        return Err(Malformed::Buf(buf));
                    }
                    flat.steps.push(Step::Alloc(buf));
                }
                Work::Node(Node::Inst(inst), region) => {
                    let place = (region, flat.steps.len());
                    let slot = flat.insts.get_mut(inst.index()).ok_or(Malformed::Inst(inst))?;
                    if slot.replace(place).is_some() {
                        return Err(Malformed::Inst(inst));
                    }
                    flat.steps.push(Step::Inst(inst));
                }
                Work::Node(Node::Loop(l), region) => {
                    let data = kernel.loops.get(l).ok_or(Malformed::Loop(l))?;
                    if std::mem::replace(&mut loops[l.index()], true) {
                        return Err(Malformed::Loop(l));
                    }
                    let regions = data.regions();
                    work.extend(regions.iter().rev().map(|r| Work::Enter(Some(l), *r, Some(region))));
                }
            }
        }
        if let Some(span) = &mut flat.spans[kernel.body.index()] {
            span.leave = flat.steps.len();
        }
        Ok(flat)
    }

    /// Where a region is, if it is part of the program.
    pub fn span(&self, region: Region) -> Option<&Span> {
        self.spans.get(region.index())?.as_ref()
    }
    /// The region that allocates `buf` and the position; `None` for arguments and for buffers without an `Alloc`.
    pub fn alloc(&self, buf: Buf) -> Option<(Region, usize)> {
        *self.allocs.get(buf.index())?
    }
    /// The region that holds `inst` and its position.
    pub fn inst(&self, inst: Inst) -> Option<(Region, usize)> {
        *self.insts.get(inst.index())?
    }
    /// Regions from `region` outwards.
    pub fn ancestors(&self, region: Region) -> impl Iterator<Item = Region> + '_ {
        std::iter::successors(Some(region), |r| self.span(*r)?.parent)
    }
    /// Whether `inner` is `outer` or inside it.
    pub fn contains(&self, outer: Region, inner: Region) -> bool {
        match (self.span(outer), self.span(inner)) {
            (Some(o), Some(i)) => o.enter <= i.enter && i.leave <= o.leave,
            _ => false,
        }
    }
    /// Loops and branches around `region`, innermost first, with the region each of them holds it in.
    pub fn enclosing(&self, region: Region) -> impl Iterator<Item = (Loop, Region)> + '_ {
        self.ancestors(region).filter_map(|r| Some((self.span(r)?.owner?, r)))
    }
    /// Whether `var` has a value inside `region`.
    pub fn var_in_scope(&self, kernel: &Kernel, var: Var, region: Region) -> bool {
        let Some(owner) = kernel.vars.get(var).map(|v| v.owner) else { return false };
        self.enclosing(region).any(|(l, _)| l == owner)
    }
    /// Whether nothing in `region` ever runs, because a counted loop around it has no turns.
    pub fn is_dead(&self, kernel: &Kernel, region: Region) -> bool {
        self.enclosing(region).any(|(l, _)| match &kernel.loops[l] {
            LoopData::For { var, .. } => kernel.var_range(*var).is_none(),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::kernel::Bound;
    use crate::loc::Loc;

    #[test]
    fn program_order_follows_regions_without_recursion() {
        let mut b = Builder::new("deep");
        let depth = 10_000;
        let mut last = None;
        for i in 0..depth {
            last = Some(b.begin_for(&format!("i{i}"), Bound::Const(0), Bound::Const(2), 1, Loc(0)).1);
        }
        let inner = b.current();
        let k = b.finish();
        let flat = Flat::new(&k).unwrap();
        assert_eq!(flat.steps.len(), 2 * depth);
        assert!(flat.contains(k.body, inner));
        assert!(!flat.contains(inner, k.body));
        assert!(flat.var_in_scope(&k, last.unwrap(), inner));
        assert!(!flat.var_in_scope(&k, last.unwrap(), k.body));
        assert_eq!(flat.enclosing(inner).count(), depth);
    }

    #[test]
    fn a_loop_that_contains_itself_is_reported() {
        let mut b = Builder::new("knot");
        let (l, _) = b.begin_for("i", Bound::Const(0), Bound::Const(2), 1, Loc(0));
        let inner = b.current();
        let mut k = b.finish();
        k.regions[inner].nodes.push(Node::Loop(l));
        assert_eq!(Flat::new(&k).err(), Some(Malformed::Loop(l)));
    }
}
