//! What kernels print while they run (`device_print`): to standard error, at once, in every way of running; or to a list, for
//! tests.

use crate::loc::SourceLoc;
use crate::sem::cast;
use crate::tensor::Tensor;
use std::cell::RefCell;
use std::fmt;

/// One execution of `device_print`.
#[derive(Clone, Debug, PartialEq)]
pub struct Printed {
    pub text: String,
    /// The instruction in the kernel's source.
    pub at: Option<SourceLoc>,
    pub tensor: Tensor,
}

/// Elements shown.
const SHOWN: usize = 1024;

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.tensor;
        write!(f, "{}: {}{:?}", self.text, t.dtype, t.shape)?;
        if let Some(at) = &self.at {
            write!(f, " at {at}")?;
        }
        let width = t.dtype.bytes();
        let row = t.shape.last().copied().unwrap_or(1).max(1);
        for (i, element) in t.data.chunks_exact(width).take(SHOWN).enumerate() {
            f.write_str(if i % row == 0 { "\n  " } else { " " })?;
            let mut bits = [0; 4];
            bits[..width.min(4)].copy_from_slice(&element[..width.min(4)]);
            let bits = u32::from_le_bytes(bits);
            match t.dtype.is_float() && cast::is_castable(t.dtype) {
                true => write!(f, "{}", cast::up(t.dtype, bits))?,
                false => write!(f, "{}", crate::sem::register_value(t.dtype, bits))?,
            }
        }
        match t.elements() {
            n if n > SHOWN => writeln!(f, "\n  .. ({n} elements)"),
            _ => writeln!(f),
        }
    }
}

thread_local! {
    /// The lists that prints go to; the last one, if there is one.
    static LISTS: RefCell<Vec<Vec<Printed>>> = const { RefCell::new(Vec::new()) };
}

/// Prints.
pub fn emit(printed: Printed) {
    let rest = LISTS.with(|lists| match lists.borrow_mut().last_mut() {
        Some(list) => {
            list.push(printed);
            None
        }
        None => Some(printed),
    });
    if let Some(printed) = rest {
        eprint!("{printed}");
    }
}

/// Runs `f`, and returns what kernels print meanwhile on this thread.
pub fn capture<R>(f: impl FnOnce() -> R) -> (R, Vec<Printed>) {
    LISTS.with(|lists| lists.borrow_mut().push(Vec::new()));
    let result = f();
    let printed = LISTS.with(|lists| lists.borrow_mut().pop()).unwrap_or_default();
    (result, printed)
}
