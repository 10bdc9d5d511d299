//! `nki ir`: a kernel's tile IR.

use super::command::Ir;
use super::context::{Context, Outcome, diagnostics};
use super::subject::load;
use crate::args::write_file;
use nki_ir::Diagnostics;
use nki_ir::text::print;
use serde_json::json;

pub fn run(context: &Context, args: &Ir) -> Result<Outcome, Diagnostics> {
    let loaded = load(&args.subject)?;
    let kernel = loaded.prepared.kernel();
    let text = print(kernel);
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
        "target": args.subject.target.name(),
        "buffers": kernel.bufs.len(),
        "instructions": kernel.insts.len(),
        "loops": kernel.loops.len(),
        "text": text,
        "warnings": diagnostics(&loaded.prepared.warnings),
    })))
}
