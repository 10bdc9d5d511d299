//! What the code that `#[nki::kernel]` writes calls. Not a public interface.

use crate::config::{ConfigValue, Field, KernelConfig};
use crate::elem::{Elem, Int};
use crate::idx::{Block, Idx};
use crate::launch::Param;
use crate::loops::loop_of;
use crate::nc::Nc;
use crate::reg::Reg;
use crate::registry::Arguments;
use crate::space::Memory;
use crate::tensor::Tensor;
use crate::trace::{self, Entity, Session, TraceId};
use nki_ir::{Code, Diagnostics};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::panic::Location;

pub use crate::launch::{Handles, Launcher};
pub use inventory;

/// A kernel function being traced; leaving the scope returns to its caller.
pub struct Scope(TraceId);

impl Drop for Scope {
    fn drop(&mut self) {
        trace::try_with(self.0, Session::leave);
    }
}

/// Enters a kernel function.
pub fn enter(nc: Nc, name: &'static str, path: &'static str, call: &'static Location<'static>) -> Scope {
    trace::with(nc.trace, call, |s| s.enter(name, path, call));
    Scope(nc.trace)
}

/// A reference to something that a `let` or a `for` has just bound. Method resolution picks [`Named`] where it applies and
/// [`NotNamed`] otherwise.
pub struct Probe<'a, T>(pub &'a T);

/// Values that a name can be given to. Everyday types, which have no use for one, are included: the type of a `let` may be
/// found out only later in the function, and must then not turn out to be without a name.
pub trait Nameable {
    fn __nki_name(&self, name: &'static str);
}

/// Picked where the type is [`Nameable`], or may yet be.
pub trait Named {
    fn __nki_name(&self, name: &'static str);
}
impl<T: Nameable> Named for Probe<'_, T> {
    fn __nki_name(&self, name: &'static str) {
        self.0.__nki_name(name);
    }
}
/// All other values.
pub trait NotNamed {
    fn __nki_name(&self, _: &'static str) {}
}
impl<T> NotNamed for &Probe<'_, T> {}

impl<T: Elem, M: Memory> Nameable for Tensor<T, M> {
    fn __nki_name(&self, name: &'static str) {
        trace::try_with(self.trace, |s| {
            let buf = s.view(self.view).buf;
            s.name(Entity::Buf(buf), name);
        });
    }
}
impl Nameable for Idx {
    fn __nki_name(&self, name: &'static str) {
        trace::try_with(self.trace, |s| {
            let entity = loop_of(s, &self.affine(s)).map_or(Entity::Straight, Entity::Loop);
            s.name(entity, name);
        });
    }
}
impl Nameable for Block {
    fn __nki_name(&self, name: &'static str) {
        self.index.__nki_name(name);
    }
}
impl<T: Int> Nameable for Reg<T> {
    fn __nki_name(&self, name: &'static str) {
        trace::try_with(self.trace, |s| s.name(Entity::Reg(self.reg), name));
    }
}
impl<X: Nameable, const N: usize> Nameable for [X; N] {
    fn __nki_name(&self, name: &'static str) {
        self.iter().for_each(|x| x.__nki_name(name));
    }
}
impl<X: Nameable> Nameable for Option<X> {
    fn __nki_name(&self, name: &'static str) {
        self.iter().for_each(|x| x.__nki_name(name));
    }
}
impl<X: Nameable> Nameable for (X, X) {
    fn __nki_name(&self, name: &'static str) {
        self.0.__nki_name(name);
        self.1.__nki_name(name);
    }
}

macro_rules! nameless {
    ($($t:ty),*) => {$(
        impl Nameable for $t {
            fn __nki_name(&self, _: &'static str) {}
        }
    )*};
}
nameless!((), bool, char, u8, i8, u16, i16, u32, i32, u64, i64, usize, isize, f32, f64, String, &str);

impl<X> Nameable for Vec<X> {
    fn __nki_name(&self, _: &'static str) {}
}

/// What carries its value from turn to turn of a device loop when it is changed in place.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is changed inside a device loop, whose body is recorded only once",
    label = "the new value would not reach the next turn",
    note = "keep what changes from turn to turn in a tile allocated outside the loop (`tile += ..` writes into it)",
    note = "or unroll with a plain `for i in 0..n`"
)]
pub trait InPlace {}
impl<T, M> InPlace for Tensor<T, M> {}

/// Compiles only for what a device loop can change in place.
pub fn in_place<T: InPlace>(_: &T) {}

/// Shows an operand of a failed `ensure!` if it can be shown.
pub trait Shown {
    fn __nki_show(&self) -> String;
}
/// Operands that cannot be shown.
pub trait NotShown {
    fn __nki_show(&self) -> String {
        String::from("?")
    }
}
impl<T: Debug> Shown for Probe<'_, T> {
    fn __nki_show(&self) -> String {
        format!("{:?}", self.0)
    }
}
impl<T> NotShown for &Probe<'_, T> {}

/// Ends the trace because an `ensure!` of the kernel does not hold.
#[track_caller]
pub fn ensure_failed(nc: Nc, condition: &str, values: &[(&str, String)], message: Option<String>) -> ! {
    let mut d = trace::error(Code::Ensure, message.unwrap_or_else(|| format!("`{condition}` does not hold")));
    for (expression, value) in values {
        if expression != value {
            d = d.note(format!("{expression} = {value}"));
        }
    }
    trace::fail(nc.trace, Location::caller(), d)
}

/// Fails to compile, with an explanation, unless `T` can be a parameter of a kernel.
pub fn is_param<T: Param>() {}

/// A parameter of type `T` that is not a tensor. Method resolution finds out whether a host can give it by name.
pub struct Parameter<T>(PhantomData<T>);

impl<T> Parameter<T> {
    #[allow(clippy::new_without_default)] // The macro's spelling.
    pub fn new() -> Self {
        Parameter(PhantomData)
    }
}

/// Parameters that a host can give by name.
pub trait FromArguments<T> {
    fn __nki_get(&self, args: &Arguments, name: &str) -> Result<T, Diagnostics>;
}
/// Parameters that it cannot.
pub trait NotFromArguments<T> {
    fn __nki_get(&self, _: &Arguments, name: &str) -> Result<T, Diagnostics> {
        let d = trace::error(Code::Config, format!("the parameter `{name}` cannot be given by name"));
        Err(d.help("derive `KernelConfig` for its type").into())
    }
}
impl<T: KernelConfig> FromArguments<T> for &&Parameter<T> {
    fn __nki_get(&self, args: &Arguments, name: &str) -> Result<T, Diagnostics> {
        args.config(name)
    }
}
impl<T: ConfigValue> FromArguments<T> for &Parameter<T> {
    fn __nki_get(&self, args: &Arguments, name: &str) -> Result<T, Diagnostics> {
        args.single(name)
    }
}
impl<T> NotFromArguments<T> for Parameter<T> {}

/// Parameters whose fields are known.
pub trait FieldsOf {
    fn __nki_fields(&self, name: &'static str) -> Vec<Field>;
}
/// Parameters without fields that a host can set.
pub trait NoFields {
    fn __nki_fields(&self, _: &'static str) -> Vec<Field> {
        Vec::new()
    }
}
impl<T: KernelConfig> FieldsOf for &&Parameter<T> {
    fn __nki_fields(&self, _: &'static str) -> Vec<Field> {
        T::fields()
    }
}
impl<T: ConfigValue> FieldsOf for &Parameter<T> {
    fn __nki_fields(&self, name: &'static str) -> Vec<Field> {
        vec![Field { name, ty: T::type_name(), default: String::new(), doc: "", tune: Vec::new() }]
    }
}
impl<T> NoFields for Parameter<T> {}
