//! Rule G16: whether a reduce register holds something when an instruction folds into it (isa.md section 6).
//!
//! ScalarE and VectorE each have one accumulator per lane. The state of an engine's file flows through the program; a loop
//! body is seen as the first turn and as a later turn see it.

use super::context::{Report, violation};
use super::flat::{Flat, Step};
use super::rules;
use crate::diag::Diagnostics;
use crate::entity::{Entity, Inst, Loop};
use crate::kernel::{InstData, Kernel, LoopData, Operand};
use crate::op::{Engine, ReduceCmd, reduce_command};
use std::cell::RefCell;

/// Whether a file holds something: on all paths, and why not otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Defined,
    /// Nothing has set it.
    Never,
    /// An idle vector instruction has disturbed it (isa.md 6 item 1).
    Disturbed(Inst),
    /// Set only on some paths.
    Sometimes,
}

impl File {
    fn join(self, other: File) -> File {
        match (self, other) {
            (a, b) if a == b => a,
            (File::Disturbed(i), _) | (_, File::Disturbed(i)) => File::Disturbed(i),
            _ => File::Sometimes,
        }
    }
}

/// States of ScalarE's and VectorE's files.
type Files = [File; 2];

/// Reports every instruction that folds into or reads an undefined file.
pub fn check(kernel: &Kernel, flat: &Flat, out: &RefCell<Diagnostics>) {
    let mut files: Files = [File::Never; 2];
    let mut reported = vec![false; kernel.insts.len()];
    // Open loops and branches: state at entry, state after the first of two branches, and the turn (0 or 1) of a body.
    let mut open: Vec<(Loop, usize, Files, Option<Files>, u8)> = Vec::new();
    let mut at = 0;
    while let Some(step) = flat.steps.get(at) {
        match *step {
            Step::Inst(inst) => apply(kernel, inst, &mut files, &mut reported, out),
            Step::Enter(l, region) => match open.last_mut() {
                // The second branch starts from the state before the first.
                Some((same, _, entry, Some(_), _)) if *same == l => files = *entry,
                // A loop without turns changes nothing.
                _ if kernel.loops[l].trip_count() == Some(0) => {
                    at = flat.span(region).map_or(at, |s| s.leave);
                }
                _ => open.push((l, at, files, None, 0)),
            },
            Step::Leave(l, region) => {
                if let Some((_, start, entry, then, turn)) = open.pop() {
                    match &kernel.loops[l] {
                        LoopData::If { then: first, .. } if *first == region => {
                            open.push((l, start, entry, Some(files), turn));
                        }
                        LoopData::If { .. } => {
                            let other = then.unwrap_or(entry);
                            files = [files[0].join(other[0]), files[1].join(other[1])];
                        }
                        LoopData::NoReorder { .. } => {}
                        data => {
                            // A second look at the body, from the state that a turn leaves behind.
                            let turns = data.trip_count();
                            if turn == 0 && turns != Some(1) && files != entry {
                                open.push((l, start, entry, None, 1));
                                at = start + 1;
                                continue;
                            }
                            if turns.is_none() {
                                files = [files[0].join(entry[0]), files[1].join(entry[1])];
                            }
                        }
                    }
                }
            }
            Step::Alloc(_) => {}
        }
        at += 1;
    }
}

fn apply(kernel: &Kernel, inst: Inst, files: &mut Files, reported: &mut [bool], out: &RefCell<Diagnostics>) {
    let data = &kernel.insts[inst];
    let Some(cmd) = reduce_command(data.op, &data.attrs) else { return };
    let e = data.resolved_engine(kernel);
    let file = match e {
        Engine::Scalar => &mut files[0],
        Engine::Vector => &mut files[1],
        _ => return,
    };
    let reads = cmd == ReduceCmd::Reduce || (cmd == ReduceCmd::Idle && reads_out(data));
    // An idle vector instruction disturbs what it would read out.
    if cmd == ReduceCmd::Idle && e == Engine::Vector {
        *file = File::Disturbed(inst);
    }
    if reads && *file != File::Defined && !std::mem::replace(&mut reported[inst.index()], true) {
        undefined(kernel, data, cmd, e, *file, out);
    }
    match cmd {
        ReduceCmd::Reset | ReduceCmd::ResetReduce | ReduceCmd::LoadReduce => *file = File::Defined,
        // After a report, go on as if the file were defined.
        ReduceCmd::Reduce => *file = File::Defined,
        ReduceCmd::Idle if e == Engine::Vector => *file = File::Disturbed(inst),
        ReduceCmd::Idle => {}
    }
}

fn undefined(
    kernel: &Kernel,
    data: &InstData,
    cmd: ReduceCmd,
    e: Engine,
    file: File,
    out: &RefCell<Diagnostics>,
) {
    let why = match file {
        File::Never | File::Defined => "holds nothing yet",
        File::Disturbed(_) => "was disturbed by an idle instruction",
        File::Sometimes => "is set only on some paths to here",
    };
    let message = format!("{}: reduce_cmd {cmd}, but the {e} engine's reduce register {why}", data.op);
    let d = violation(&rules::REDUCE_UNDEFINED, message).at(&kernel.locs, data.loc);
    let r = Report::new(d, kernel, out).help("start the reduction with reset_reduce");
    if let File::Disturbed(by) = file {
        r.related(kernel.insts[by].loc, "disturbed here");
    }
}

fn reads_out(data: &InstData) -> bool {
    let at = data.op.row().operand("reduce_res");
    at.and_then(|i| data.operands.get(i)).is_some_and(|o| !matches!(o, Operand::None))
}
