//! `nki ir`: a kernel's tile IR, or the machine program that it compiles to.

use super::command::Ir;
use super::context::{Context, Outcome, diagnostics};
use super::subject::{FileKind, load_with};
use crate::args::write_file;
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::json;
use std::path::Path;

pub fn run(context: &Context, args: &Ir) -> Result<Outcome, Diagnostics> {
    let kind = args.output.as_deref().map(output_kind).transpose()?;
    if args.machine && kind == Some(FileKind::TileIr) {
        let text = "`--machine` prints a machine program, and a .nkir file holds tile IR";
        return Err(Diagnostic::error(Code::Usage, text).help("write to a .nkim file").into());
    }
    let loaded = load_with(&args.subject, false)?;
    let kernel = loaded.prepared.kernel();
    let machine = args.machine || kind == Some(FileKind::Machine);
    let text = match machine {
        true => nki_sim::text::print(&loaded.prepared.compile()?.program),
        false => nki_ir::text::print(kernel),
    };
    match &args.output {
        Some(path) => {
            write_file(path, text.as_bytes())?;
            context.say(format!("wrote {}", path.display()));
        }
        None => context.say(text.trim_end()),
    }
    context.warn(&loaded.prepared.warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.ir/1",
        "kernel": kernel.name,
        "case": loaded.what,
        "target": args.subject.target().name(),
        "level": if machine { "machine" } else { "tile" },
        "buffers": kernel.bufs.len(),
        "instructions": kernel.insts.len(),
        "loops": kernel.loops.len(),
        "text": text,
        "written": args.output.as_ref().map(|p| p.display().to_string()),
        "warnings": diagnostics(&loaded.prepared.warnings),
    })))
}

/// What a file of this name holds.
///
/// # Errors
/// `nki::usage`.
pub fn output_kind(path: &Path) -> Result<FileKind, Diagnostics> {
    FileKind::of(path).ok_or_else(|| {
        let text = format!("`{}`: not a file name that ends in .nkir or .nkim", path.display());
        Diagnostic::error(Code::Usage, text).help("tile IR goes to .nkir, a machine program to .nkim").into()
    })
}
