//! Explains why streams cannot go on.

use crate::code::{CodeOp, Flat};
use crate::program::{STREAM_ENGINES, Sem};
use nki_ir::diag::{Code, Diagnostic};

/// A wait that is not satisfied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blocked {
    pub inst: u32,
    pub sem: Sem,
    pub at_least: i64,
    /// Value that the semaphore has and will keep.
    pub value: u64,
}

/// The next instruction of `stream`, from `pc` on, that increments `sem`.
fn next_signal(flat: &Flat, stream: usize, pc: usize, sem: Sem) -> Option<u32> {
    // Anything in a loop around `pc` may come again.
    let from = flat.streams[stream][..pc.min(flat.streams[stream].len())]
        .iter()
        .enumerate()
        .filter_map(|(i, c)| match c.op {
            CodeOp::ForEnter { exit } | CodeOp::WhileTest { exit } if exit as usize > pc => Some(i),
            _ => None,
        })
        .next()
        .unwrap_or(pc);
    let signals = |c: &crate::code::Code| {
        matches!(c.op, CodeOp::Inst | CodeOp::Leave)
            && flat.insts[c.inst as usize].signals.iter().any(|s| s.sem == sem)
    };
    flat.streams[stream][from..].iter().find(|c| signals(c)).map(|c| c.inst)
}

/// Names the cycle of waits, or the semaphore that nobody will ever increment enough.
pub(crate) fn report(flat: &Flat, pcs: &[usize], blocked: &[Option<Blocked>]) -> Diagnostic {
    let locs = &flat.header.locs;
    let first = blocked.iter().position(Option::is_some).unwrap_or(0);
    // Follow who waits for whom until a stream repeats or nobody can help.
    let mut path: Vec<(usize, Blocked, Option<u32>)> = Vec::new();
    let mut stream = first;
    let mut cycle = None;
    while let Some(Some(b)) = blocked.get(stream) {
        if let Some(at) = path.iter().position(|p| p.0 == stream) {
            cycle = Some(at);
            break;
        }
        let helper = (0..blocked.len()).find_map(|s| next_signal(flat, s, pcs[s], b.sem).map(|i| (s, i)));
        path.push((stream, *b, helper.map(|h| h.1)));
        match helper {
            Some((s, _)) => stream = s,
            None => break,
        }
    }
    let members = &path[cycle.unwrap_or(path.len().saturating_sub(1))..];
    let names: Vec<&str> = members.iter().map(|m| STREAM_ENGINES[m.0].name()).collect();
    let message = match (cycle, members) {
        (Some(_), [_]) => format!("{} waits for itself", names[0]),
        (Some(_), _) => format!("{} -> {} wait for each other", names.join(" -> "), names[0]),
        (None, [(s, b, _)]) => format!(
            "{} waits for s{} >= {}, which stays at {}: nothing left to run increments it",
            STREAM_ENGINES[*s].name(),
            b.sem.0,
            b.at_least,
            b.value
        ),
        (None, _) => "no stream can go on".into(),
    };
    let mut d = Diagnostic::error(Code::Deadlock, message);
    if let Some((_, b, _)) = members.first() {
        d = d.at(locs, flat.loc(b.inst));
    }
    for (s, b, helper) in members {
        let engine = STREAM_ENGINES[*s].name();
        let wait = format!("{engine} waits here for s{} >= {}; it is {}", b.sem.0, b.at_least, b.value);
        d = d.related(locs, flat.loc(b.inst), wait);
        if let Some(h) = helper {
            d = d.related(locs, flat.loc(*h), format!("s{} would be incremented here", b.sem.0));
        }
    }
    d.help("let each wait ask for a value that is reached before anything that depends on the waiter")
}
