//! Cranelift code for a kernel's structure: loops, branches, the byte offset of every operand, one call per instruction.

use super::Lowered;
use super::chain::Chains;
use super::dynamic::Index;
use super::nest::{Found, Nests};
use super::poison;
use super::runtime::{INDEX_OPERANDS, OFFSETS};
use super::segment::segments;
use super::step::{Step, StepArg};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, Block, FuncRef, Function, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind,
    UserFuncName, Value, types,
};
use cranelift_codegen::settings::{self, Configurable};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_module::{FuncId, Linkage, Module};
use nki_ir::affine::Affine;
use nki_ir::diag::{self, Diagnostic, Diagnostics};
use nki_ir::entity::{Entity, Region};
use nki_ir::kernel::{Accumulate, Bound, LoopData, Node};
use nki_ir::{Kernel, Loop, Reg, Var};

pub fn limit(what: impl std::fmt::Display) -> Diagnostics {
    Diagnostic::error(diag::Code::Limit, format!("native code cannot be generated: {what}"))
        .help("run the kernel in interpreter mode")
        .into()
}

/// Huge unrolled kernels are compiled with the fast register allocator: what they call dominates anyway.
const SINGLE_PASS_FROM: usize = 2_000;

/// How code is generated for a kernel of `steps` instructions.
pub fn flags(steps: usize, position_independent: bool) -> Result<settings::Flags, Diagnostics> {
    let mut flags = settings::builder();
    let mut set = |name: &str, value: &str| flags.set(name, value).map_err(limit);
    set("use_colocated_libcalls", "false")?;
    set("is_pic", if position_independent { "true" } else { "false" })?;
    set("opt_level", "none")?;
    set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
    set("regalloc_algorithm", if steps >= SINGLE_PASS_FROM { "single_pass" } else { "backtracking" })?;
    Ok(settings::Flags::new(flags))
}

/// Compiles a kernel's structure into functions of a module, one for each of its [`segments`].
pub fn emit(module: &mut impl Module, lowered: &Lowered) -> Result<Vec<FuncId>, Diagnostics> {
    let Lowered { kernel, steps, nests, chains, .. } = lowered;
    let pointer = module.target_config().pointer_type();
    let signature = |params: &[types::Type], returns: bool| {
        let mut s = module.make_signature();
        s.params.extend(params.iter().copied().map(AbiParam::new));
        s.returns.extend(returns.then(|| AbiParam::new(types::I32)));
        s
    };
    let imports = [
        ("nki_native_run_step", signature(&[pointer, types::I32, pointer, types::I32], true)),
        ("nki_native_poison_tile", signature(&[pointer, types::I32], false)),
        ("nki_native_check_bounds", signature(&[pointer, types::I32, types::I64, types::I64], true)),
        ("nki_native_run_nest", signature(&[pointer, types::I32, pointer], true)),
        ("nki_native_run_chain", signature(&[pointer, types::I32, pointer], true)),
    ];
    let entry = signature(&[pointer, types::I64, types::I64], true);
    let mut declared = Vec::new();
    for (name, signature) in &imports {
        declared.push(module.declare_function(name, Linkage::Import, signature).map_err(limit)?);
    }

    let mut context = module.make_context();
    let mut builder_context = FunctionBuilderContext::new();
    let mut functions = Vec::new();
    let needs_poison = poison::needed(kernel);
    for (i, (nodes, parallel)) in segments(kernel, nests).into_iter().enumerate() {
        let id = module.declare_function(&format!("segment{i}"), Linkage::Local, &entry).map_err(limit)?;
        context.func = Function::with_name_signature(UserFuncName::user(0, id.as_u32()), entry.clone());
        let callees = std::array::from_fn(|i| module.declare_func_in_func(declared[i], &mut context.func));
        let mut emitter = Emitter::new(
            kernel,
            steps,
            &needs_poison,
            &mut context.func,
            &mut builder_context,
            (nests, chains),
            callees,
        );
        emitter.segment(nodes, parallel);
        emitter.finish(module.target_config());
        module.define_function(id, &mut context).map_err(|e| limit(format!("{e:?}")))?;
        module.clear_context(&mut context);
        functions.push(id);
    }
    Ok(functions)
}

/// A region being emitted: where its next node is, and what follows it.
struct Open<'a> {
    nodes: &'a [Node],
    next: usize,
    close: Close,
    /// Products are not looked for: this is what runs where they cannot be made.
    plain: bool,
}

enum Close {
    Return,
    /// Back edge of a loop: add `step` to `var` and jump to `header`, then go on in `exit`.
    For {
        var: Variable,
        step: i64,
        header: Block,
        exit: Block,
    },
    While {
        header: Block,
        exit: Block,
    },
    /// Go on in the other branch, or behind the branches.
    Branch {
        other: Option<(Region, Block)>,
        exit: Block,
    },
    /// Behind the instructions that stand in for products.
    Join {
        exit: Block,
    },
    Nothing,
}

struct Emitter<'a> {
    kernel: &'a Kernel,
    steps: &'a [Step],
    b: FunctionBuilder<'a>,
    run_step: FuncRef,
    pointer: types::Type,
    context: Value,
    registers: Value,
    offsets: StackSlot,
    fault: Block,
    vars: Vec<Option<Variable>>,
    poison: &'a [bool],
    poison_tile: FuncRef,
    check_bounds: FuncRef,
    run_nest: FuncRef,
    nests: &'a Nests,
    run_chain: FuncRef,
    chains: &'a Chains,
    chain_offsets: StackSlot,
    /// The turns that a parallel segment was called for.
    range: (Value, Value),
}

impl<'a> Emitter<'a> {
    fn new(
        kernel: &'a Kernel,
        steps: &'a [Step],
        poison: &'a [bool],
        func: &'a mut Function,
        builder_context: &'a mut FunctionBuilderContext,
        (nests, chains): (&'a Nests, &'a Chains),
        [run_step, poison_tile, check_bounds, run_nest, run_chain]: [FuncRef; 5],
    ) -> Self {
        let mut b = FunctionBuilder::new(func, builder_context);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let [context, from, to] = [0, 1, 2].map(|i| b.block_params(entry)[i]);
        let pointer = b.func.dfg.value_type(context);
        let registers = b.ins().load(types::I64, MemFlagsData::trusted(), context, 0);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, OFFSETS as u32 * 8, 3);
        let offsets = b.create_sized_stack_slot(slot);
        let most = chains.all.iter().map(|c| c.offsets.len()).max().unwrap_or(0);
        let bytes = most.max(1) as u32 * 8;
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, bytes, 3);
        let chain_offsets = b.create_sized_stack_slot(slot);
        let fault = b.create_block();
        let vars = vec![None; kernel.vars.len()];
        let range = (from, to);
        Emitter {
            kernel,
            steps,
            b,
            run_step,
            poison_tile,
            check_bounds,
            run_nest,
            nests,
            run_chain,
            chains,
            chain_offsets,
            pointer,
            context,
            registers,
            offsets,
            fault,
            vars,
            poison,
            range,
        }
    }

    fn finish(mut self, config: cranelift_codegen::isa::TargetFrontendConfig) {
        self.b.switch_to_block(self.fault);
        self.b.set_cold_block(self.fault);
        let one = self.b.ins().iconst(types::I32, 1);
        self.b.ins().return_(&[one]);
        self.b.seal_all_blocks();
        self.b.finalize(config);
    }

    fn segment(&mut self, nodes: &'a [Node], parallel: Option<Loop>) {
        let mut open = vec![Open { nodes, next: 0, close: Close::Return, plain: false }];
        while let Some(top) = open.last_mut() {
            let node = top.nodes.get(top.next).copied();
            let found = if top.plain { None } else { node.and_then(|n| self.nests.get(n)) };
            if let Some(found) = found {
                let nodes = &top.nodes[top.next..top.next + found.nodes];
                top.next += found.nodes;
                let exit = self.products(found);
                open.push(Open { nodes, next: 0, close: Close::Join { exit }, plain: true });
                continue;
            }
            top.next += 1;
            match node {
                Some(Node::Alloc(buf)) => self.alloc(buf.index()),
                Some(Node::Inst(i)) => match self.chains.at(i) {
                    Some((index, chain)) => {
                        let from = top.next;
                        top.next = from - 1 + chain.nodes;
                        let nodes = &top.nodes[from..top.next];
                        self.chain(index, nodes);
                    }
                    None => self.inst(i.index()),
                },
                Some(Node::Loop(l)) => {
                    let range = (parallel == Some(l)).then_some(self.range);
                    let inner = self.enter(l, range);
                    open.push(inner);
                }
                None => {
                    let closed = open.pop().map(|o| o.close);
                    if let Some(next) = closed.and_then(|c| self.close(c)) {
                        open.push(next);
                    }
                }
            }
        }
    }

    fn enter(&mut self, l: Loop, range: Option<(Value, Value)>) -> Open<'a> {
        let kernel = self.kernel;
        match kernel.loops[l] {
            LoopData::For { var, lo, hi, step, body, .. } => {
                let dynamic = kernel.loops[l].is_dynamic();
                let (lo, hi) = range.unwrap_or_else(|| (self.bound(lo), self.bound(hi)));
                if dynamic {
                    self.check_bounds(l, lo, hi);
                }
                let v = self.b.declare_var(types::I64);
                self.vars[var.index()] = Some(v);
                self.b.def_var(v, lo);
                let [header, inside, exit] = [(); 3].map(|()| self.b.create_block());
                self.b.ins().jump(header, &[]);
                self.b.switch_to_block(header);
                let i = self.b.use_var(v);
                let more = self.b.ins().icmp(IntCC::SignedLessThan, i, hi);
                self.b.ins().brif(more, inside, &[], exit, &[]);
                self.b.switch_to_block(inside);
                Open {
                    nodes: self.nodes(body),
                    next: 0,
                    close: Close::For { var: v, step, header, exit },
                    plain: false,
                }
            }
            LoopData::While { cond, body, .. } => {
                let [header, inside, exit] = [(); 3].map(|()| self.b.create_block());
                self.b.ins().jump(header, &[]);
                self.b.switch_to_block(header);
                let c = self.register(cond);
                self.b.ins().brif(c, inside, &[], exit, &[]);
                self.b.switch_to_block(inside);
                Open { nodes: self.nodes(body), next: 0, close: Close::While { header, exit }, plain: false }
            }
            LoopData::If { cond, then, otherwise, .. } => {
                let [yes, no, exit] = [(); 3].map(|()| self.b.create_block());
                let c = self.register(cond);
                self.b.ins().brif(c, yes, &[], no, &[]);
                self.b.switch_to_block(yes);
                Open {
                    nodes: self.nodes(then),
                    next: 0,
                    close: Close::Branch { other: Some((otherwise, no)), exit },
                    plain: false,
                }
            }
            LoopData::NoReorder { body, .. } => {
                Open { nodes: self.nodes(body), next: 0, close: Close::Nothing, plain: false }
            }
        }
    }

    fn close(&mut self, close: Close) -> Option<Open<'a>> {
        match close {
            Close::Return => {
                let zero = self.b.ins().iconst(types::I32, 0);
                self.b.ins().return_(&[zero]);
            }
            Close::For { var, step, header, exit } => {
                let i = self.b.use_var(var);
                let next = self.add_constant(i, step);
                self.b.def_var(var, next);
                self.b.ins().jump(header, &[]);
                self.b.switch_to_block(exit);
            }
            Close::While { header, exit } => {
                self.b.ins().jump(header, &[]);
                self.b.switch_to_block(exit);
            }
            Close::Branch { other, exit } => {
                self.b.ins().jump(exit, &[]);
                if let Some((region, block)) = other {
                    self.b.switch_to_block(block);
                    return Some(Open {
                        nodes: self.nodes(region),
                        next: 0,
                        close: Close::Branch { other: None, exit },
                        plain: false,
                    });
                }
                self.b.switch_to_block(exit);
            }
            Close::Join { exit } => {
                self.b.ins().jump(exit, &[]);
                self.b.switch_to_block(exit);
            }
            Close::Nothing => {}
        }
        None
    }

    fn nodes(&self, region: Region) -> &'a [Node] {
        &self.kernel.regions[region].nodes
    }

    fn bound(&mut self, bound: Bound) -> Value {
        match bound {
            Bound::Const(c) => self.b.ins().iconst(types::I64, c),
            Bound::Reg { reg, .. } => self.register(reg),
        }
    }

    /// Stops unless the bounds of loop `l`, which are in registers, keep their promise.
    fn check_bounds(&mut self, l: Loop, lo: Value, hi: Value) {
        let index = self.b.ins().iconst(types::I32, l.index() as i64);
        let call = self.b.ins().call(self.check_bounds, &[self.context, index, lo, hi]);
        self.stop_on_fault(call);
    }

    /// Goes on behind a call that returned 0.
    fn stop_on_fault(&mut self, call: cranelift_codegen::ir::Inst) {
        let status = self.b.inst_results(call)[0];
        let go_on = self.b.create_block();
        self.b.ins().brif(status, self.fault, &[], go_on, &[]);
        self.b.switch_to_block(go_on);
    }

    fn register(&mut self, reg: Reg) -> Value {
        let at = i32::try_from(reg.index() * 8).expect("registers are few");
        self.b.ins().load(types::I64, MemFlagsData::trusted(), self.registers, at)
    }

    fn add_constant(&mut self, x: Value, c: i64) -> Value {
        if c == 0 {
            return x;
        }
        let c = self.b.ins().iconst(types::I64, c);
        self.b.ins().iadd(x, c)
    }

    fn var(&mut self, v: Var) -> Value {
        match self.vars[v.index()] {
            Some(var) => self.b.use_var(var),
            None => unreachable!("the verifier checks that a loop variable is used inside its loop only"),
        }
    }

    fn affine(&mut self, a: &Affine) -> Value {
        let mut sum: Option<Value> = None;
        for &(v, c) in a.terms() {
            let x = self.var(v);
            let term = if c == 1 {
                x
            } else {
                let c = self.b.ins().iconst(types::I64, c);
                self.b.ins().imul(x, c)
            };
            sum = Some(match sum {
                Some(s) => self.b.ins().iadd(s, term),
                None => term,
            });
        }
        match sum {
            Some(s) => self.add_constant(s, a.offset()),
            None => self.b.ins().iconst(types::I64, a.offset()),
        }
    }

    /// 1 when a matmul adds to its destination in this turn.
    fn accumulate(&mut self, a: &Accumulate) -> Value {
        let Accumulate::UnlessFirst(vars) = a else {
            let adds = *a == Accumulate::Add;
            return self.b.ins().iconst(types::I32, i64::from(adds));
        };
        let mut any = self.b.ins().iconst(types::I64, 0);
        for &v in vars {
            let lo = match self.kernel.loops[self.kernel.vars[v].owner] {
                LoopData::For { lo, .. } => self.bound(lo),
                _ => unreachable!("loop variables belong to counted loops"),
            };
            let x = self.var(v);
            let d = self.b.ins().bxor(x, lo);
            any = self.b.ins().bor(any, d);
        }
        let zero = self.b.ins().iconst(types::I64, 0);
        let later = self.b.ins().icmp(IntCC::NotEqual, any, zero);
        self.b.ins().uextend(types::I32, later)
    }

    fn alloc(&mut self, buf: usize) {
        if self.poison[buf] {
            let index = self.b.ins().iconst(types::I32, buf as i64);
            self.b.ins().call(self.poison_tile, &[self.context, index]);
        }
    }

    /// Runs a chain; `nodes` are those behind its first instruction.
    fn chain(&mut self, index: usize, nodes: &[Node]) {
        for node in nodes {
            if let Node::Alloc(buf) = *node {
                self.alloc(buf.index());
            }
        }
        let chain = &self.chains.all[index];
        for (i, offset) in chain.offsets.iter().enumerate() {
            let offset = self.affine(offset);
            self.b.ins().stack_store(self.pointer, offset, self.chain_offsets, i as i32 * 8);
        }
        let index = self.b.ins().iconst(types::I32, index as i64);
        let offsets = self.b.ins().stack_addr(self.pointer, self.chain_offsets, 0);
        let call = self.b.ins().call(self.run_chain, &[self.context, index, offsets]);
        self.stop_on_fault(call);
    }

    /// Makes the products that were found. What is emitted next runs if one cannot be made; returns the block behind it.
    fn products(&mut self, found: &Found) -> Block {
        let [otherwise, exit] = [(); 2].map(|()| self.b.create_block());
        for index in found.products.clone() {
            let nest = &self.nests.products[index];
            for (slot, base) in [&nest.a.base, &nest.b.base, &nest.out.base].into_iter().enumerate() {
                self.offset(base, slot);
            }
            let index = self.b.ins().iconst(types::I32, index as i64);
            let offsets = self.b.ins().stack_addr(self.pointer, self.offsets, 0);
            let call = self.b.ins().call(self.run_nest, &[self.context, index, offsets]);
            let status = self.b.inst_results(call)[0];
            let next = self.b.create_block();
            self.b.ins().brif(status, otherwise, &[], next, &[]);
            self.b.switch_to_block(next);
        }
        self.b.ins().jump(exit, &[]);
        self.b.switch_to_block(otherwise);
        self.b.set_cold_block(otherwise);
        exit
    }

    /// Stores an operand's offset for the runtime.
    fn offset(&mut self, base: &Affine, slot: usize) {
        let offset = self.affine(base);
        self.b.ins().stack_store(self.pointer, offset, self.offsets, slot as i32 * 8);
    }

    fn inst(&mut self, index: usize) {
        let step = &self.steps[index];
        for (i, arg) in step.args.iter().enumerate() {
            match arg {
                StepArg::Tile(t) => self.offset(&t.base, i),
                StepArg::Dynamic(d) => {
                    self.offset(&d.tile.base, i);
                    if let Index::Scalar(t) | Index::Rows(t) | Index::Columns { tile: t, .. } = &d.index {
                        self.offset(&t.base, INDEX_OPERANDS + i);
                    }
                }
                StepArg::Index(a) => self.offset(a, i),
                StepArg::None | StepArg::Imm(_) | StepArg::Int(_) => {}
                StepArg::Register(_) | StepArg::SetRegister(_) => {}
            }
        }
        let accumulate = self.accumulate(&step.accumulate);
        let index = self.b.ins().iconst(types::I32, index as i64);
        let offsets = self.b.ins().stack_addr(self.pointer, self.offsets, 0);
        let call = self.b.ins().call(self.run_step, &[self.context, index, offsets, accumulate]);
        self.stop_on_fault(call);
    }
}
