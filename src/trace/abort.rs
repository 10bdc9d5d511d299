//! Leaving a kernel body early: after an error that makes the rest meaningless, or because the body itself panicked.

use super::Place;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

/// The payload with which [`abort`] unwinds. The reason is already among the trace's diagnostics.
pub(crate) struct Abort;

/// Leaves the kernel body without running the panic hook.
pub(crate) fn abort() -> ! {
    panic::resume_unwind(Box::new(Abort))
}

/// A panic of the kernel's own code.
pub(crate) struct UserPanic {
    pub message: String,
    pub file: String,
    pub line: u32,
    pub column: u32,
}

/// How a body ended.
pub(crate) enum Ended<R> {
    Returned(R),
    /// By [`abort`].
    Aborted,
    Panicked(UserPanic),
}

thread_local! {
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    static CAUGHT: RefCell<Option<UserPanic>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// Installs a hook that keeps panics of kernel bodies quiet and remembers where they came from. Panics elsewhere go to the
/// hook that was there before.
fn install_hook() {
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CATCHING.with(Cell::get) == 0 {
                return previous(info);
            }
            let (file, line, column) = info
                .location()
                .map_or((String::from("?"), 0, 0), |l| (l.file().into(), l.line(), l.column()));
            let message = text(info.payload());
            CAUGHT.with(|c| *c.borrow_mut() = Some(UserPanic { message, file, line, column }));
        }));
    });
}

fn text(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(s), _) => (*s).to_string(),
        (_, Some(s)) => s.clone(),
        _ => "a panic without a message".to_string(),
    }
}

/// Runs a kernel body.
pub(crate) fn catch<R>(place: Place, body: impl FnOnce() -> R) -> Ended<R> {
    install_hook();
    CATCHING.with(|c| c.set(c.get() + 1));
    let result = panic::catch_unwind(AssertUnwindSafe(body));
    CATCHING.with(|c| c.set(c.get() - 1));
    match result {
        Ok(r) => Ended::Returned(r),
        Err(payload) if payload.is::<Abort>() => Ended::Aborted,
        Err(payload) => {
            let caught = CAUGHT.with(|c| c.borrow_mut().take());
            // Without a hook's record (a payload resumed by the body itself) the launch is the best place there is.
            Ended::Panicked(caught.unwrap_or_else(|| UserPanic {
                message: text(&*payload),
                file: place.file().into(),
                line: place.line(),
                column: place.column(),
            }))
        }
    }
}
