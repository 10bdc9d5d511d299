//! Program order over structured regions, without recursion.

use crate::entity::{Entity, Loop, Region};
use crate::kernel::{Kernel, LoopData, Node};

/// An event of a [`Walk`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A node. A loop's body follows, up to its `End`.
    Node(Node),
    /// The second branch of an `if` starts; absent if that branch is empty.
    Else(Loop),
    /// The end of a loop or branch.
    End(Loop),
}

struct Level {
    region: Region,
    next: usize,
    owner: Option<Loop>,
    otherwise: Option<Region>,
}

/// Visits every node of a kernel in program order. A region that a malformed kernel refers to twice is visited once.
pub struct Walk<'k> {
    kernel: &'k Kernel,
    stack: Vec<Level>,
    seen: Vec<bool>,
}

impl<'k> Walk<'k> {
    /// Starts at the kernel's body.
    pub fn new(kernel: &'k Kernel) -> Self {
        let seen = vec![false; kernel.regions.len()];
        let mut walk = Walk { kernel, stack: Vec::new(), seen };
        if walk.enter(kernel.body) {
            walk.stack.push(Level { region: kernel.body, next: 0, owner: None, otherwise: None });
        }
        walk
    }
    /// Open loops and branches.
    pub fn depth(&self) -> usize {
        self.stack.len()
    }
    fn enter(&mut self, region: Region) -> bool {
        self.seen.get_mut(region.index()).is_some_and(|seen| !std::mem::replace(seen, true))
    }
    fn open(&mut self, owner: Loop) {
        let Some(data) = self.kernel.loops.get(owner) else {
            return;
        };
        let (region, otherwise) = match data {
            LoopData::If { then, otherwise, .. } => (*then, Some(*otherwise)),
            LoopData::For { body, .. } | LoopData::While { body, .. } | LoopData::NoReorder { body, .. } => {
                (*body, None)
            }
        };
        // A body visited before (or not in the table) reads as empty.
        let next = if self.enter(region) { 0 } else { usize::MAX };
        self.stack.push(Level { region, next, owner: Some(owner), otherwise });
    }
}

impl Iterator for Walk<'_> {
    type Item = Step;
    fn next(&mut self) -> Option<Step> {
        let level = self.stack.last_mut()?;
        let nodes = self.kernel.regions.get(level.region).map_or(&[][..], |r| &r.nodes);
        if let Some(node) = nodes.get(level.next) {
            level.next += 1;
            if let Node::Loop(l) = node {
                self.open(*l);
            }
            return Some(Step::Node(*node));
        }
        let owner = level.owner;
        if let (Some(owner), Some(otherwise)) = (owner, level.otherwise.take()) {
            let empty = self.kernel.regions.get(otherwise).is_none_or(|r| r.nodes.is_empty());
            if !empty && self.enter(otherwise) {
                let level = self.stack.last_mut().expect("the level just looked at is still open");
                (level.region, level.next) = (otherwise, 0);
                return Some(Step::Else(owner));
            }
        }
        self.stack.pop();
        owner.map(Step::End)
    }
}
