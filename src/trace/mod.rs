//! The trace: what a running kernel body records into. A stack of sessions lives in a thread-local; handles carry the id of
//! theirs and nothing else, which is why they are `Copy` and cannot leave the thread.

mod abort;
mod eager;
mod names;
mod session;

pub(crate) use abort::{Ended, UserPanic, abort, catch};
pub(crate) use eager::Eager;
pub use session::Entity;
pub use session::Session;

use nki_ir::{Code, Diagnostic};
use std::cell::{Cell, RefCell};
use std::panic::Location;

/// Which trace a handle belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId(u32);

/// A position in a kernel's source.
pub type Place = &'static Location<'static>;

thread_local! {
    static SESSIONS: RefCell<Vec<Session>> = const { RefCell::new(Vec::new()) };
    static NEXT: Cell<u32> = const { Cell::new(1) };
}

/// A fresh id.
pub(crate) fn new_id() -> TraceId {
    NEXT.with(|n| {
        let id = n.get();
        n.set(id.wrapping_add(1));
        TraceId(id)
    })
}

/// Makes `session` the innermost trace of this thread.
pub(crate) fn push(session: Session) {
    SESSIONS.with(|s| s.borrow_mut().push(session));
}

/// Takes the innermost trace of this thread, which must be `id`.
pub(crate) fn pop(id: TraceId) -> Session {
    let session = SESSIONS.with(|s| s.borrow_mut().pop());
    session.filter(|s| s.id == id).expect("traces nest: the one pushed last is popped first")
}

/// Runs `f` on the innermost trace if `id` is it. A handle of another trace is reported there and ends it.
///
/// # Panics
/// When no trace is running: the handle outlived its trace, and there is nowhere to report to.
pub(crate) fn with<R>(id: TraceId, place: Place, f: impl FnOnce(&mut Session) -> R) -> R {
    let result = SESSIONS.with(|sessions| {
        let mut sessions = sessions.borrow_mut();
        match sessions.last_mut() {
            Some(s) if s.id == id && s.failed => None,
            Some(s) if s.id == id => Some(f(s)),
            Some(s) => {
                s.foreign_handle(place);
                None
            }
            None => panic!("a handle was used after its trace had ended"),
        }
    });
    result.unwrap_or_else(|| abort())
}

/// Like [`with`], but `None` when `id` is not the innermost trace; for destructors and `Debug`.
pub(crate) fn try_with<R>(id: TraceId, f: impl FnOnce(&mut Session) -> R) -> Option<R> {
    SESSIONS.with(|sessions| {
        let mut sessions = sessions.try_borrow_mut().ok()?;
        sessions.last_mut().filter(|s| s.id == id).map(f)
    })
}

/// Records an error and ends the trace: what follows would make no sense.
pub(crate) fn fail(id: TraceId, place: Place, diagnostic: Diagnostic) -> ! {
    with(id, place, |s| s.report(place, diagnostic));
    abort()
}

/// Ends the trace `id` with an error unless `other` is the same trace.
pub(crate) fn same(id: TraceId, other: TraceId, place: Place) {
    if id != other {
        with(id, place, |s| s.foreign_handle(place));
        abort();
    }
}

/// An error with a message.
pub(crate) fn error(code: Code, message: impl Into<String>) -> Diagnostic {
    Diagnostic::error(code, message)
}
