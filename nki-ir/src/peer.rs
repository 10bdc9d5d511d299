//! The two cores of a logical core (isa.md 9.8 and 11.4): two program instances that run at the same time, each on a thread
//! of its own, and meet in `core_barrier` and `sendrecv`.
//!
//! Each program works on its own copy of the tensors in shared HBM. Where the programs meet, and at their end, the copies are
//! merged byte by byte against what both started from: what one program has changed, both have. Two programs that change the
//! same byte to different values race, and the run ends with `nki::race`. A program that orders its accesses by barriers
//! cannot tell this from one memory.
//!
//! Executors do not know of it: whoever runs a program sets the link of its thread ([`Link::run`]), and the semantics of the
//! two instructions use it.

use crate::diag::Code;
use crate::dtype::DType;
use crate::sem::{Fault, cast};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What one program tells the other where they meet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// `core_barrier`: the bytes of the tensor.
    Barrier { bytes: Vec<u8> },
    /// `sendrecv`.
    Tile { pipe: i64, send_to: i64, recv_from: i64, dtype: DType, parts: u32, row: usize, bytes: Vec<u8> },
}

impl Message {
    fn name(&self) -> &'static str {
        match self {
            Message::Barrier { .. } => "core_barrier",
            Message::Tile { .. } => "sendrecv",
        }
    }
}

#[derive(Default)]
struct Shared {
    /// What each program has sent and the other has not taken.
    sent: [VecDeque<Message>; 2],
    ended: [bool; 2],
}

/// The connection of two programs.
#[derive(Default)]
pub struct Link {
    shared: Mutex<Shared>,
    changed: Condvar,
}

/// A program's end of its link.
struct End {
    link: Arc<Link>,
    rank: usize,
    /// By buffer: what both programs had at their last meeting; at first the argument that they were given.
    bases: BTreeMap<i64, Vec<u8>>,
}

thread_local! {
    static END: RefCell<Option<End>> = const { RefCell::new(None) };
}

/// Tells the other program that this one has ended, whatever way it ends.
struct Ended(Arc<Link>, usize);

impl Drop for Ended {
    fn drop(&mut self) {
        END.with(|end| end.borrow_mut().take());
        self.0.lock().ended[self.1] = true;
        self.0.changed.notify_all();
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `program` as program `rank` (0 or 1) of two on this thread. `arguments` has the content of tensors that programs
    /// also write, by buffer; they come back as both programs had them at their last meeting, with those that have met since.
    pub fn run<R>(
        self: &Arc<Link>,
        rank: usize,
        arguments: BTreeMap<i64, Vec<u8>>,
        program: impl FnOnce() -> R,
    ) -> (R, BTreeMap<i64, Vec<u8>>) {
        let end = End { link: self.clone(), rank: rank.min(1), bases: arguments };
        END.with(|slot| *slot.borrow_mut() = Some(end));
        let _ended = Ended(self.clone(), rank.min(1));
        let result = program();
        let bases = END.with(|slot| slot.borrow_mut().as_mut().map(|e| std::mem::take(&mut e.bases)));
        (result, bases.unwrap_or_default())
    }

    /// Sends, and waits for what the other program sends in turn.
    fn meet(&self, rank: usize, message: Message) -> Result<Message, Fault> {
        let what = message.name();
        let mut shared = self.lock();
        shared.sent[rank].push_back(message);
        self.changed.notify_all();
        loop {
            if let Some(got) = shared.sent[1 - rank].pop_front() {
                return Ok(got);
            }
            if shared.ended[1 - rank] {
                let message = format!("program {rank} waits in {what}, and program {} has ended", 1 - rank);
                return fault(message);
            }
            shared = self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn fault<T>(message: String) -> Result<T, Fault> {
    Err(Fault { code: Code::Deadlock, message, operand: None })
}

fn with_end<R>(what: &str, f: impl FnOnce(&mut End) -> Result<R, Fault>) -> Result<R, Fault> {
    END.with(|end| match end.borrow_mut().as_mut() {
        Some(end) => f(end),
        None => Err(Fault {
            code: Code::Argument,
            message: format!("{what} needs two programs that run together"),
            operand: None,
        }),
    })
}

/// The other program's bytes of a tensor go to where this program has not changed it (isa.md 9.8.1).
pub(crate) fn barrier(buffer: i64, dtype: DType, bytes: &mut [u8]) -> Result<(), Fault> {
    with_end("core_barrier", |end| {
        let got = end.link.meet(end.rank, Message::Barrier { bytes: bytes.to_vec() })?;
        let Message::Barrier { bytes: theirs } = got else {
            return fault(format!("one program is in core_barrier, the other in {}", got.name()));
        };
        let base = end.bases.entry(buffer).or_insert_with(|| poisoned(dtype, bytes.len()));
        if theirs.len() != bytes.len() || base.len() != bytes.len() {
            return fault("the programs are in core_barriers of different tensors".into());
        }
        match merge(base, bytes, &theirs) {
            Some(at) => Err(Fault {
                code: Code::Race,
                message: format!("both programs have changed byte {at} of the tensor, to different values"),
                operand: None,
            }),
            None => {
                base.copy_from_slice(bytes);
                Ok(())
            }
        }
    })
}

/// A tile of this program for one of the other, or of itself (isa.md 9.8.2).
pub(crate) fn exchange(tile: Message) -> Result<Vec<u8>, Fault> {
    with_end("sendrecv", |end| {
        let got = end.link.meet(end.rank, tile.clone())?;
        let (
            Message::Tile { pipe, send_to, recv_from, dtype, parts, row, bytes },
            Message::Tile {
                pipe: their_pipe,
                send_to: theirs_to,
                recv_from: theirs_from,
                dtype: their_dtype,
                parts: their_parts,
                row: their_row,
                bytes: their_bytes,
            },
        ) = (tile, got)
        else {
            return fault("one program is in sendrecv, the other in core_barrier".into());
        };
        if pipe != their_pipe {
            return fault(format!("pipe {pipe} of program {} meets pipe {their_pipe}", end.rank));
        }
        let (me, other) = (end.rank as i64, 1 - end.rank as i64);
        // Who gets my tile must want it, and whose tile I want must send it.
        let sent = if send_to == me { recv_from == me } else { theirs_from == me };
        let received = if recv_from == me { send_to == me } else { theirs_to == me };
        if !sent || !received {
            return fault(format!(
                "program {me} sends to {send_to} and receives from {recv_from}, program {other} sends to                  {theirs_to} and receives from {theirs_from}"
            ));
        }
        if (dtype, parts, row) != (their_dtype, their_parts, their_row) {
            return fault(format!(
                "a tile {dtype}[{parts}, {row}] meets a tile {their_dtype}[{their_parts}, {their_row}]"
            ));
        }
        Ok(if recv_from == me { bytes } else { their_bytes })
    })
}

/// What storage never written holds.
pub fn poisoned(dtype: DType, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    cast::poison(dtype, &mut bytes);
    bytes
}

/// Takes over what `theirs` has changed of `base`; the first byte that both have changed differently, if there is one.
pub fn merge(base: &[u8], mine: &mut [u8], theirs: &[u8]) -> Option<usize> {
    for (i, ((mine, theirs), base)) in mine.iter_mut().zip(theirs).zip(base).enumerate() {
        match (*mine == *base, *theirs == *base) {
            (true, false) => *mine = *theirs,
            (false, false) if *mine != *theirs => return Some(i),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_takes_both_changes_and_finds_races() {
        let mut mine = [1, 9, 3, 4];
        assert_eq!(merge(&[1, 2, 3, 4], &mut mine, &[1, 2, 8, 4]), None);
        assert_eq!(mine, [1, 9, 8, 4]);
        assert_eq!(merge(&[1, 2, 3, 4], &mut [5, 2, 3, 4], &[6, 2, 3, 4]), Some(0));
        assert_eq!(merge(&[1, 2, 3, 4], &mut [5, 2, 3, 4], &[5, 2, 3, 4]), None);
    }

    #[test]
    fn a_program_that_waits_alone_is_a_deadlock() {
        let link = Arc::new(Link::default());
        link.run(1, BTreeMap::new(), || ());
        let alone = link.run(0, BTreeMap::new(), || barrier(0, DType::U8, &mut [0; 4])).0;
        assert_eq!(alone.unwrap_err().code, Code::Deadlock);
        assert_eq!(barrier(0, DType::U8, &mut [0; 4]).unwrap_err().code, Code::Argument);
    }
}
