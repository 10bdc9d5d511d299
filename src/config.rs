//! Configuration of kernels: structures whose fields have names, defaults and a text form, so that a command line can list
//! and set them.

/// A structure that configures a kernel. Derived: `#[derive(Clone, KernelConfig)]`.
///
/// ```
/// use nki::config::KernelConfig as _;
/// use nki::prelude::*;
///
/// #[derive(Clone, KernelConfig)]
/// struct Tiling {
///     /// Columns of one tile.
///     #[config(default = 512)]
///     tile_n: usize,
/// }
/// assert_eq!(Tiling::default().tile_n, 512);
/// assert_eq!(Tiling::fields()[0].doc, "Columns of one tile.");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the configuration of a kernel",
    note = "derive it: `#[derive(Clone, KernelConfig)]` on a structure with named fields"
)]
pub trait KernelConfig: Default + Clone + 'static {
    /// The fields, in order.
    fn fields() -> Vec<Field>;
    /// Sets a field from text.
    fn set(&mut self, name: &str, text: &str) -> Result<(), SetError>;
}

/// A field of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: &'static str,
    /// Name of the type, for listings.
    pub ty: &'static str,
    /// The default as text; empty if the value must be given.
    pub default: String,
    /// First paragraph of the documentation.
    pub doc: &'static str,
    /// Values worth trying when the kernel is tuned, as text: `#[config(default = 128, tune = [64, 128])]`.
    pub tune: Vec<String>,
}

/// Why a field could not be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// There is no such field.
    Unknown,
    /// The text is not a value of its type; what was expected.
    Value(String),
}

/// A type that a field of a configuration can have. Derived for field-less enums by `#[derive(KernelConfig)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no text form, so that it cannot be a field of a kernel's configuration",
    note = "use integers, floats, bool, String, Option of these, or derive `KernelConfig` for a field-less enum"
)]
pub trait ConfigValue: Clone + 'static {
    /// Name for listings.
    fn type_name() -> &'static str;
    /// The value that `text` stands for, or what was expected.
    fn parse(text: &str) -> Result<Self, String>;
    /// The text that stands for the value.
    fn show(&self) -> String;
}

macro_rules! values {
    ($($t:ty: $name:literal, $expected:literal;)*) => {$(
        impl ConfigValue for $t {
            fn type_name() -> &'static str {
                $name
            }
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| String::from($expected))
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

values! {
    usize: "usize", "expected a whole number from 0";
    u32: "u32", "expected a whole number from 0 to 4294967295";
    u64: "u64", "expected a whole number from 0";
    i32: "i32", "expected a whole number of 32 bits";
    i64: "i64", "expected a whole number of 64 bits";
    f32: "f32", "expected a number";
    f64: "f64", "expected a number";
    bool: "bool", "expected true or false";
    String: "text", "expected text";
}

/// `none`, or a value.
impl<V: ConfigValue> ConfigValue for Option<V> {
    fn type_name() -> &'static str {
        V::type_name()
    }
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(None),
            _ => V::parse(text).map(Some).map_err(|e| format!("{e}, or none")),
        }
    }
    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "none".to_string(), V::show)
    }
}
