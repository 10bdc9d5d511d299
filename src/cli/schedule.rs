//! `nki schedule`: the engine streams that a kernel compiles to, and what the compiler did.

use super::command::Schedule;
use super::context::{Context, Outcome, diagnostics};
use super::ir::output_kind;
use super::machine::options;
use super::subject::{FileKind, load_for};
use crate::args::write_file;
use nki_backend::device::Compiled;
use nki_ir::{Code, Diagnostic, Diagnostics};
use nki_sim::program::STREAM_ENGINES;
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Schedule) -> Result<Outcome, Diagnostics> {
    if let Some(path) = &args.output
        && output_kind(path)? != FileKind::Machine
    {
        let text = format!("`{}`: a schedule is a machine program", path.display());
        return Err(Diagnostic::error(Code::Usage, text).help("write to a .nkim file").into());
    }
    let loaded = load_for(&args.subject, args.ablate && !args.time_only, args.spill)?;
    let options = options(&args.without, args.spill);
    if args.ablate {
        return super::ablate::run(context, args, &loaded, &options);
    }
    let progress = context.progress(format!("compiling {}", loaded.what));
    let compiled = loaded.prepared.compile_with(&options)?;
    drop(progress);
    if let Some(path) = &args.output {
        write_file(path, nki_sim::text::print(&compiled.program).as_bytes())?;
    }
    context.say(format!("{} on {}\n", loaded.what, args.subject.target()));
    let (chosen, remarks) = crate::Schedule::chosen(&loaded.prepared.labels, &compiled.report);
    if args.show {
        if loaded.prepared.labels.is_empty() {
            context.say("// A kernel from a file has no labels; its text says `buffers`, `queue`, `after` and `unroll`.");
        }
        context.say(chosen.to_string());
        remarks.iter().for_each(|r| context.say(format!("// {r}")));
    } else {
        context.say(compiled.report.to_string());
        context.say(format!("\n{}", compiled.listing(args.limit).trim_end()));
    }
    if let Some(path) = &args.output {
        context.say(format!("\nwrote {}", path.display()));
    }
    context.warn(&loaded.prepared.warnings);
    Ok(Outcome::ok(json!({
        "schema": "nki.schedule/1",
        "kernel": loaded.prepared.kernel().name,
        "case": loaded.what,
        "target": args.subject.target().name(),
        "compiler": compiler(&compiled),
        "schedule": chosen.to_string(),
        "schedule_remarks": remarks,
        "listing": compiled.listing(args.limit),
        "written": args.output.as_ref().map(|p| p.display().to_string()),
        "warnings": diagnostics(&loaded.prepared.warnings),
    })))
}

/// What the compiler did, as JSON.
pub fn compiler(compiled: &Compiled) -> Value {
    let r = &compiled.report;
    let streams = STREAM_ENGINES.iter().zip(r.instructions);
    let sites = r.sites.iter().map(|s| {
        json!({
            "name": s.name,
            "space": s.space.name(),
            "bytes_per_partition": s.bytes,
            "instances": s.instances,
            "buffers": s.depth,
        })
    });
    json!({
        "passes": r.notes.iter().map(|n| json!({ "pass": n.pass, "note": n.note })).collect::<Vec<_>>(),
        "spills": r.spills.iter().map(|s| json!({
            "name": s.name,
            "place": s.place,
            "stores": s.stores,
            "loads": s.loads,
            "bytes_each": s.bytes,
        })).collect::<Vec<_>>(),
        "streams": streams.map(|(e, n)| json!({ "engine": e.name(), "instructions": n })).collect::<Vec<_>>(),
        "transfers": r.transfers,
        "semaphores": r.semaphores,
        "waits": r.waits,
        "sbuf_peak_bytes": r.sbuf_peak,
        "psum_peak_bytes": r.psum_peak,
        "estimate_ns": r.estimate_ns,
        "program_order_ns": r.program_order_ns,
        "tiles": sites.collect::<Vec<_>>(),
    })
}
