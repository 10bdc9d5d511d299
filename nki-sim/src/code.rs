//! The flat form of a program that the executors run: structured nodes become jumps, so that nothing recurses over depth.

use crate::program::{MBound, MInst, MKind, Program, SeqReg};
use nki_ir::loc::Loc;

/// What a sequencer does at one point of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CodeOp {
    /// Data instruction, transfer, `Sync` or register instruction: the whole [`MInst`].
    Inst,
    /// Waits of a structured node.
    Enter,
    /// End of a structured node; its signals.
    Leave,
    /// Sets the counter; without a turn goes to `exit`.
    ForEnter { exit: u32 },
    /// Advances the counter; with another turn goes to `body`.
    ForNext { body: u32 },
    /// Leaves for `exit` when the condition is 0.
    WhileTest { exit: u32 },
    /// Back to the test.
    WhileNext { test: u32 },
    /// Goes to `otherwise` when the condition is 0.
    If { otherwise: u32 },
    /// End of a branch's first body: goes to its `Leave`.
    Else { leave: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code {
    pub op: CodeOp,
    /// Index into [`Flat::insts`].
    pub inst: u32,
}

/// A flattened program. Bodies of structured nodes in `insts` are empty.
#[derive(Clone, Debug)]
pub(crate) struct Flat {
    /// Everything but the streams.
    pub header: Program,
    pub streams: [Vec<Code>; 5],
    pub insts: Vec<MInst>,
}

/// A body being flattened, and what to do at its end.
struct Frame {
    rest: std::vec::IntoIter<MInst>,
    node: u32,
    end: End,
}

enum End {
    Stream,
    For { enter: usize },
    While { test: usize },
    Then { test: usize, otherwise: Vec<MInst> },
    Otherwise { jump: usize },
}

impl Flat {
    /// Flattens a program.
    pub fn new(mut program: Program) -> Flat {
        let bodies = std::mem::take(&mut program.streams);
        let mut flat = Flat { header: program, streams: Default::default(), insts: Vec::new() };
        for (s, body) in bodies.into_iter().enumerate() {
            let mut code = Vec::new();
            flat.stream(body, &mut code);
            flat.streams[s] = code;
        }
        flat
    }

    fn stream(&mut self, body: Vec<MInst>, code: &mut Vec<Code>) {
        let mut stack = vec![Frame { rest: body.into_iter(), node: 0, end: End::Stream }];
        while let Some(frame) = stack.last_mut() {
            match frame.rest.next() {
                Some(inst) => {
                    if let Some(inner) = self.open(inst, code) {
                        stack.push(inner);
                    }
                }
                None => {
                    let frame = stack.pop().expect("the loop runs while there is a frame");
                    if let Some(inner) = self.close(frame, code) {
                        stack.push(inner);
                    }
                }
            }
        }
    }

    /// Emits what comes before a node's body, or the whole of an instruction.
    fn open(&mut self, mut inst: MInst, code: &mut Vec<Code>) -> Option<Frame> {
        let node = self.insts.len() as u32;
        let waits = !inst.waits.is_empty();
        let enter = |code: &mut Vec<Code>, op| {
            if waits {
                code.push(Code { op: CodeOp::Enter, inst: node });
            }
            code.push(Code { op, inst: node });
            code.len() - 1
        };
        let (body, end) = match &mut inst.kind {
            MKind::For { body, .. } => {
                let at = enter(code, CodeOp::ForEnter { exit: 0 });
                (std::mem::take(body), End::For { enter: at })
            }
            MKind::While { body, .. } => {
                let at = enter(code, CodeOp::WhileTest { exit: 0 });
                (std::mem::take(body), End::While { test: at })
            }
            MKind::If { then, otherwise, .. } => {
                let at = enter(code, CodeOp::If { otherwise: 0 });
                (std::mem::take(then), End::Then { test: at, otherwise: std::mem::take(otherwise) })
            }
            _ => {
                code.push(Code { op: CodeOp::Inst, inst: node });
                self.insts.push(inst);
                return None;
            }
        };
        self.insts.push(inst);
        Some(Frame { rest: body.into_iter(), node, end })
    }

    /// Emits what comes after a body.
    fn close(&mut self, frame: Frame, code: &mut Vec<Code>) -> Option<Frame> {
        let node = frame.node;
        match frame.end {
            End::Stream => return None,
            End::For { enter } => {
                code.push(Code { op: CodeOp::ForNext { body: enter as u32 + 1 }, inst: node });
                code[enter].op = CodeOp::ForEnter { exit: code.len() as u32 };
            }
            End::While { test } => {
                code.push(Code { op: CodeOp::WhileNext { test: test as u32 }, inst: node });
                code[test].op = CodeOp::WhileTest { exit: code.len() as u32 };
            }
            End::Then { test, otherwise } => {
                let jump = code.len();
                code.push(Code { op: CodeOp::Else { leave: 0 }, inst: node });
                code[test].op = CodeOp::If { otherwise: code.len() as u32 };
                return Some(Frame { rest: otherwise.into_iter(), node, end: End::Otherwise { jump } });
            }
            End::Otherwise { jump } => code[jump].op = CodeOp::Else { leave: code.len() as u32 },
        }
        code.push(Code { op: CodeOp::Leave, inst: node });
        None
    }

    /// The structured program again.
    pub fn rebuild(&self) -> Program {
        let mut program = self.header.clone();
        for (code, stream) in self.streams.iter().zip(&mut program.streams) {
            // Open bodies; a branch has one or two.
            let mut open: Vec<Vec<MInst>> = vec![Vec::new()];
            for c in code {
                match c.op {
                    CodeOp::Inst => top(&mut open).push(self.insts[c.inst as usize].clone()),
                    CodeOp::ForEnter { .. } | CodeOp::WhileTest { .. } | CodeOp::If { .. } => {
                        open.push(Vec::new())
                    }
                    CodeOp::Else { .. } => open.push(Vec::new()),
                    CodeOp::Enter | CodeOp::ForNext { .. } | CodeOp::WhileNext { .. } => {}
                    CodeOp::Leave => {
                        let mut inst = self.insts[c.inst as usize].clone();
                        let mut take = || open.pop().expect("every node opens its bodies before it is left");
                        match &mut inst.kind {
                            MKind::If { then, otherwise, .. } => {
                                *otherwise = take();
                                *then = take();
                            }
                            MKind::For { body, .. } | MKind::While { body, .. } => *body = take(),
                            _ => {}
                        }
                        top(&mut open).push(inst);
                    }
                }
            }
            *stream = open.pop().unwrap_or_default();
        }
        program
    }

    pub fn loc(&self, inst: u32) -> Loc {
        self.insts[inst as usize].loc
    }
}

fn top(open: &mut [Vec<MInst>]) -> &mut Vec<MInst> {
    open.last_mut().expect("the stream's own body is never closed")
}

/// Registers of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Regs(pub Vec<i64>);

impl Regs {
    pub fn new(n: u32) -> Regs {
        Regs(vec![0; n as usize])
    }
    pub fn get(&self, r: SeqReg) -> i64 {
        self.0.get(r.0 as usize).copied().unwrap_or(0)
    }
    pub fn set(&mut self, r: SeqReg, v: i64) {
        if let Some(x) = self.0.get_mut(r.0 as usize) {
            *x = v;
        }
    }
    /// The bounds of a counted loop.
    ///
    /// # Errors
    /// What is wrong, when an end in a register is beyond `max` or a start in one is negative.
    pub fn bounds(&self, lo: MBound, hi: MBound, max: Option<i64>) -> Result<(i64, i64), String> {
        let (from, to) = (self.bound(lo), self.bound(hi));
        let Some(max) = max else { return Ok((from, to)) };
        if let (MBound::Reg(r), ..0) = (lo, from) {
            return Err(format!("loop start r{} is {from}, but must be at least 0", r.0));
        }
        if let (MBound::Reg(r), true) = (hi, to > max) {
            return Err(format!("loop bound r{} is {to}, but must be at most {max}", r.0));
        }
        Ok((from, to))
    }
    pub fn bound(&self, b: MBound) -> i64 {
        match b {
            MBound::Const(c) => c,
            MBound::Reg(r) => self.get(r),
        }
    }
}
