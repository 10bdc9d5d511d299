//! `nki build`: a kernel as an object file and a C header.

use super::command::Build;
use super::context::{Context, Outcome};
use nki_ir::Diagnostics;

#[cfg(feature = "aot")]
pub fn run(context: &Context, args: &Build) -> Result<Outcome, Diagnostics> {
    use super::context::diagnostics;
    use crate::args::write_file;
    let loaded = super::subject::load(&args.subject)?;
    let built = nki_backend::host::object::build(loaded.prepared.verified(), args.name.as_deref())?;
    write_file(&args.output, &built.object)?;
    context.say(format!("wrote {} with the function `{}`", args.output.display(), built.symbol));
    if let Some(header) = &args.header {
        write_file(header, built.header.as_bytes())?;
        context.say(format!("wrote {}", header.display()));
    }
    context.say("link with libnki_native.a, which `cargo build --release -p nki-native` makes");
    context.warn(&loaded.prepared.warnings);
    Ok(Outcome::ok(serde_json::json!({
        "schema": "nki.build/1",
        "kernel": loaded.prepared.kernel().name,
        "case": loaded.what,
        "target": args.subject.target().name(),
        "symbol": built.symbol,
        "object": args.output.display().to_string(),
        "object_bytes": built.object.len(),
        "header": args.header.as_ref().map(|p| p.display().to_string()),
        "warnings": diagnostics(&loaded.prepared.warnings),
    })))
}

#[cfg(not(feature = "aot"))]
pub fn run(_: &Context, _: &Build) -> Result<Outcome, Diagnostics> {
    use nki_ir::{Code, Diagnostic};
    Err(Diagnostic::error(Code::Limit, "this build writes no object files")
        .help("enable the feature `aot` of crate `nki`")
        .into())
}
