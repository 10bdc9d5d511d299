//! What is known of a kernel function without running it, and the registry of all kernels linked into a program.

use crate::config::Field;
use crate::launch::Specialization;
use crate::registry::Arguments;
use nki_ir::Diagnostics;

/// A kernel function, as `#[nki::kernel]` describes it.
#[derive(Debug)]
pub struct KernelInfo {
    /// Name of the function.
    pub name: &'static str,
    /// Full path of the function.
    pub path: &'static str,
    pub file: &'static str,
    pub line: u32,
    /// First paragraph of the documentation.
    pub doc: &'static str,
    /// Parameters after `nc`, in order.
    pub params: &'static [ParamInfo],
    /// Specialises the kernel to arguments given by name; `None` for kernels that only other kernels can call.
    pub launch: Option<LaunchByName>,
}

impl KernelInfo {
    /// [`KernelInfo::doc`] as plain text: names in backticks where the documentation has links.
    pub fn about(&self) -> String {
        without_links(self.doc)
    }
}

/// A text of the code's documentation without its links, of the forms ``[`name`]``, ``[`name()`]`` and ``[`name`](target)``.
pub(crate) fn without_links(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        out += before;
        // An index, as in `x[..]`, is no link.
        rest = if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            out += &format!("[`{name}`]");
            after
        } else {
            out += &format!("`{}`", name.trim_end_matches("()"));
            let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
            target.map_or(after, |(_, after)| after)
        };
    }
    out + rest
}

/// Specialises a kernel to arguments given by name.
pub type LaunchByName = fn(&Arguments) -> Result<Specialization, Diagnostics>;

/// A parameter of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct ParamInfo {
    pub name: &'static str,
    /// The type as written.
    pub ty: &'static str,
    pub kind: ParamKind,
    /// The values by which a host sets it, given its name: the fields of a configuration structure, or itself.
    pub fields: fn(&'static str) -> Vec<Field>,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamKind {
    /// A tensor in HBM.
    Tensor { optional: bool, inout: bool },
    /// A value known while tracing.
    Value,
}

inventory::collect!(&'static KernelInfo);

/// Every kernel linked into the program that can be launched by name, by path.
pub fn kernels() -> Vec<&'static KernelInfo> {
    let mut all: Vec<_> = inventory::iter::<&'static KernelInfo>.into_iter().copied().collect();
    all.sort_by_key(|k| (k.name, k.path, k.line));
    all
}

#[test]
fn links_become_their_text() {
    assert_eq!(without_links("a [`b`](fn@c) d [`e()`](f), [1, 2]"), "a `b` d `e`, [1, 2]");
    assert_eq!(
        without_links("x[`i`] stays, [`f()`] and [`g`] do not (h)"),
        "x[`i`] stays, `f` and `g` do not (h)"
    );
    assert_eq!(without_links("open [`b"), "open [`b");
}
