//! Records a [`Kernel`] node by node. Knows no rules: the verifier does.

use crate::dtype::DType;
use crate::entity::{Buf, Inst, Loop, Reg, Region, Var};
use crate::kernel::{
    Attr, Bound, BufData, BufKind, InstData, Kernel, LoopData, Node, Operand, RegData, RegionData, VarData,
};
use crate::loc::Loc;
use crate::op::{Engine, Op};

/// Records a kernel. Nodes go to the innermost open region.
#[derive(Debug)]
pub struct Builder {
    kernel: Kernel,
    open: Vec<Region>,
}

impl Builder {
    /// Starts a kernel.
    pub fn new(name: &str) -> Self {
        let kernel = Kernel::new(name);
        let open = vec![kernel.body];
        Builder { kernel, open }
    }
    /// What has been recorded so far.
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }
    /// Mutable access for names and source positions.
    pub fn kernel_mut(&mut self) -> &mut Kernel {
        &mut self.kernel
    }
    /// The region that nodes go to.
    pub fn current(&self) -> Region {
        *self.open.last().expect("the body region is never closed")
    }
    /// Open regions, outermost first.
    pub fn open_regions(&self) -> &[Region] {
        &self.open
    }
    fn node(&mut self, node: Node) {
        let region = self.current();
        self.kernel.regions[region].nodes.push(node);
    }
    /// Declares an HBM tensor of the signature.
    pub fn param(&mut self, data: BufData) -> Buf {
        self.kernel.bufs.push(data)
    }
    /// Allocates a private buffer here.
    pub fn alloc(&mut self, data: BufData) -> Buf {
        debug_assert_eq!(data.kind, BufKind::Private);
        let buf = self.kernel.bufs.push(data);
        self.node(Node::Alloc(buf));
        buf
    }
    /// Declares a register.
    pub fn reg(&mut self, name: &str, dtype: DType, loc: Loc) -> Reg {
        self.kernel.regs.push(RegData { name: name.into(), dtype, loc })
    }
    /// An instruction with no operands and all attributes at their defaults (`Attr::None` where the row has no default).
    pub fn template(op: Op, loc: Loc) -> InstData {
        let row = op.row();
        InstData {
            op,
            operands: row.operands.iter().map(|_| Operand::None).collect(),
            attrs: row.attrs.iter().map(|a| a.default.map_or(Attr::None, |d| d())).collect(),
            engine: Engine::Unknown,
            name: None,
            loc,
        }
    }
    /// Appends an instruction.
    pub fn inst(&mut self, data: InstData) -> Inst {
        let inst = self.kernel.insts.push(data);
        self.node(Node::Inst(inst));
        inst
    }
    /// Opens `for name in lo..hi step step`.
    pub fn begin_for(&mut self, name: &str, lo: Bound, hi: Bound, step: i64, loc: Loc) -> (Loop, Var) {
        let owner = self.kernel.loops.next_key();
        let var = self.kernel.vars.push(VarData { name: name.into(), owner });
        let body = self.kernel.regions.push(RegionData::default());
        let l = self.kernel.loops.push(LoopData::For { var, lo, hi, step, body, unroll: None, loc });
        self.node(Node::Loop(l));
        self.open.push(body);
        (l, var)
    }
    /// Opens a `while cond != 0`.
    pub fn begin_while(&mut self, cond: Reg, loc: Loc) -> Loop {
        let body = self.kernel.regions.push(RegionData::default());
        self.begin(LoopData::While { cond, body, loc }, body)
    }
    /// Opens an `if cond != 0`; `begin_otherwise` switches to its other branch.
    pub fn begin_if(&mut self, cond: Reg, loc: Loc) -> Loop {
        let then = self.kernel.regions.push(RegionData::default());
        let otherwise = self.kernel.regions.push(RegionData::default());
        self.begin(LoopData::If { cond, then, otherwise, loc }, then)
    }
    /// Closes the first branch of `l` and opens the second.
    pub fn begin_otherwise(&mut self, l: Loop) {
        if let LoopData::If { otherwise, .. } = self.kernel.loops[l] {
            self.end();
            self.open.push(otherwise);
        }
    }
    /// Opens the second branch of `l` again, after both were closed. `false` if `l` is not the last node of this region.
    pub fn reopen_otherwise(&mut self, l: Loop) -> bool {
        let last = self.kernel.regions[self.current()].nodes.last() == Some(&Node::Loop(l));
        if let LoopData::If { otherwise, .. } = self.kernel.loops[l] {
            self.open.push(otherwise);
        }
        last
    }
    /// Opens a region whose instructions keep their order.
    pub fn begin_no_reorder(&mut self, loc: Loc) -> Loop {
        let body = self.kernel.regions.push(RegionData::default());
        self.begin(LoopData::NoReorder { body, loc }, body)
    }
    fn begin(&mut self, data: LoopData, body: Region) -> Loop {
        let l = self.kernel.loops.push(data);
        self.node(Node::Loop(l));
        self.open.push(body);
        l
    }
    /// Closes the innermost open region.
    pub fn end(&mut self) {
        debug_assert!(self.open.len() > 1, "the body region is never closed");
        if self.open.len() > 1 {
            self.open.pop();
        }
    }
    /// The recorded kernel. Open regions are closed.
    pub fn finish(self) -> Kernel {
        self.kernel
    }
}
