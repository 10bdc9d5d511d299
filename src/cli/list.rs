//! `nki list`: the kernels that are linked into the program.

use super::command::List;
use super::context::{Context, Outcome};
use crate::args::did_you_mean;
use crate::check::{Contract, TensorRule};
use crate::info::without_links;
use crate::{KernelInfo, ParamKind, kernels};
use nki_ir::{Code, DType, Diagnostic, Diagnostics};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &List) -> Result<Outcome, Diagnostics> {
    let shown = match &args.kernel {
        Some(name) => vec![find(name)?],
        None => listed(),
    };
    match (&args.kernel, shown.as_slice()) {
        (Some(_), [kernel]) => context.say(describe(kernel)),
        _ => context.say(table(&shown)),
    }
    let all: Vec<Value> = shown.iter().map(|k| kernel_json(k)).collect();
    Ok(Outcome::ok(json!({ "schema": "nki.list/1", "kernels": all })))
}

/// Kernels that a command can run: those with a contract, and others that can be launched by name. Parts of kernels that
/// happen to take only tensors in HBM are left out where their crate describes its kernels by contracts.
fn listed() -> Vec<&'static KernelInfo> {
    let described: Vec<&str> = Contract::all().iter().map(|c| crate_of(c.kernel.path)).collect();
    let own = |k: &KernelInfo| Contract::of(k).is_some() || !described.contains(&crate_of(k.path));
    kernels().into_iter().filter(|k| k.launch.is_some() && own(k)).collect()
}

/// A kernel by name, or by path where names repeat.
///
/// # Errors
/// `nki::usage`.
pub fn find(name: &str) -> Result<&'static KernelInfo, Diagnostics> {
    let matching: Vec<_> = kernels().into_iter().filter(|k| k.name == name || k.path == name).collect();
    let listed = listed();
    match matching.as_slice() {
        [] => {
            let hint = did_you_mean(name, listed.iter().map(|k| k.name));
            let text = format!("no kernel is called `{name}`{hint}");
            Err(Diagnostic::error(Code::Usage, text).help("`nki list` shows all kernels").into())
        }
        [one] => Ok(one),
        several => match several.iter().find(|k| Contract::of(k).is_some()) {
            Some(kernel) => Ok(kernel),
            None => {
                let paths: Vec<_> = several.iter().map(|k| format!("`{}`", k.path)).collect();
                let text = format!("several kernels are called `{name}`");
                Err(Diagnostic::error(Code::Usage, text)
                    .help(format!("write one of {}", paths.join(", ")))
                    .into())
            }
        },
    }
}

/// A line a kernel; after the kernels with a contract the others, by crate. Of kernels that share a name only the first is
/// called by it: the others by their paths, as [`find`] takes them.
fn table(shown: &[&'static KernelInfo]) -> String {
    let (library, rest): (Vec<&KernelInfo>, Vec<&KernelInfo>) =
        shown.iter().copied().partition(|k| Contract::of(k).is_some());
    let mut text = String::new();
    for kernel in &library {
        text += &line(kernel.name, kernel);
    }
    let mut crates: Vec<&str> = rest.iter().map(|k| crate_of(k.path)).collect();
    crates.dedup();
    for name in crates {
        text += &format!("\n{name} (without a contract: not part of `nki check --all`)\n");
        for kernel in rest.iter().filter(|k| crate_of(k.path) == name) {
            let shared = shown.iter().any(|k| k.name == kernel.name && k.path != kernel.path);
            text += &line(if shared { kernel.path } else { kernel.name }, kernel);
        }
    }
    text.trim_end().to_string()
}

/// The name, and the first sentence of what it says of itself as far as a line has room.
fn line(name: &str, kernel: &KernelInfo) -> String {
    const WIDTH: usize = 110;
    let doc = kernel.about();
    let doc = doc.split_once(". ").map_or(doc.as_str(), |(first, _)| first).trim_end_matches('.');
    let mut text = format!("{name:23} {doc}");
    if text.chars().count() > WIDTH {
        text = text.chars().take(WIDTH - 2).collect::<String>() + "..";
    }
    text + "\n"
}

fn crate_of(path: &'static str) -> &'static str {
    path.split("::").next().unwrap_or(path)
}

fn describe(kernel: &KernelInfo) -> String {
    let contract = Contract::of(kernel);
    let mut text = format!("{}\n{}\n{}:{}\n", kernel.name, kernel.about(), kernel.file, kernel.line);
    for p in kernel.params {
        match (p.kind, contract.and_then(|c| c.tensor(p.name))) {
            (ParamKind::Tensor { .. }, Some(rule)) => text += &tensor_line(rule),
            (ParamKind::Tensor { optional, inout }, None) => {
                let notes = [(optional, ", optional"), (inout, ", updated")];
                let notes: String = notes.iter().filter(|n| n.0).map(|n| n.1).collect();
                text += &format!("  {:12} {}{notes}\n", p.name, p.ty);
            }
            (ParamKind::Value, _) => {
                for f in (p.fields)(p.name) {
                    let default = if f.default.is_empty() {
                        "required".into()
                    } else {
                        format!("default {}", f.default)
                    };
                    text += &format!("  {:12} {}, {default}: {}\n", f.name, f.ty, without_links(f.doc));
                }
            }
        }
    }
    if let Some(c) = contract {
        let dims: Vec<_> = c.dims.iter().map(|(n, d)| format!("{n}={d}")).collect();
        let dtypes: Vec<_> = c.dtypes.iter().map(DType::to_string).collect();
        text += &format!("dimensions by default: {}; dtypes: {}\n", dims.join(" "), dtypes.join(" "));
    }
    text.trim_end().to_string()
}

fn tensor_line(rule: &TensorRule) -> String {
    let dtype = rule.dtype.map_or(String::new(), |d| format!("{d}"));
    let default = if rule.optional { "optional".to_string() } else { format!("default {}", rule.generator) };
    format!("  {:12} {dtype}[{}], {default}\n", rule.name, rule.shape.join(", "))
}

fn kernel_json(kernel: &KernelInfo) -> Value {
    let contract = Contract::of(kernel);
    let mut tensors = Vec::new();
    let mut values = Vec::new();
    for p in kernel.params {
        let rule = contract.and_then(|c| c.tensor(p.name));
        match p.kind {
            ParamKind::Tensor { optional, inout } => tensors.push(json!({
                "name": p.name,
                "type": p.ty,
                "optional": optional,
                "inout": inout,
                "shape": rule.map(|r| r.shape),
                "dtype": rule.and_then(|r| r.dtype).map(|d| d.to_string()),
                "default": rule.filter(|r| !r.optional).map(|r| r.generator),
            })),
            ParamKind::Value => values.extend(
                (p.fields)(p.name)
                    .into_iter()
                    .map(|f| json!({ "name": f.name, "type": f.ty, "default": f.default, "about": without_links(f.doc) })),
            ),
        }
    }
    json!({
        "name": kernel.name,
        "path": kernel.path,
        "file": kernel.file,
        "line": kernel.line,
        "about": kernel.about(),
        "tensors": tensors,
        "values": values,
        "dims": contract.map(|c| c.dims.iter().map(|(n, d)| json!({ "name": n, "default": d })).collect::<Vec<_>>()),
        "dtypes": contract.map(|c| c.dtypes.iter().map(DType::to_string).collect::<Vec<_>>()),
        "results": contract.map(|c| c.results.iter().map(|r| json!({ "name": r.name, "shape": r.shape })).collect::<Vec<_>>()),
    })
}
