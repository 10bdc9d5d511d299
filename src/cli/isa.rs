//! `nki isa`: the op table.

use super::command::Isa;
use super::context::{Context, Outcome};
use crate::args::did_you_mean;
use nki_ir::op::{Effect, Memories, OpRow, OperandSpec};
use nki_ir::{Code, Diagnostic, Diagnostics, Op};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Isa) -> Result<Outcome, Diagnostics> {
    let Some(name) = &args.instruction else {
        let rows: Vec<&OpRow> = Op::all().map(Op::row).collect();
        for row in &rows {
            context.say(format!("{:26} {:15} {}", row.name, engines(row).join(" "), row.summary));
        }
        let all: Vec<Value> = rows.iter().map(|r| instruction(r)).collect();
        return Ok(Outcome::ok(json!({ "schema": "nki.isa/1", "instructions": all })));
    };
    let row = name.parse::<Op>().map(Op::row).map_err(|()| {
        let hint = did_you_mean(name, Op::all().map(Op::name));
        Diagnostic::error(Code::Usage, format!("no instruction is called `{name}`{hint}"))
            .help("`nki isa` lists all instructions")
    })?;
    context.say(describe(row));
    Ok(Outcome::ok(json!({ "schema": "nki.isa/1", "instructions": [instruction(row)] })))
}

fn engines(row: &OpRow) -> Vec<&'static str> {
    row.engines.iter().map(|(engine, _)| engine.name()).collect()
}

fn memories(m: Memories) -> Vec<&'static str> {
    [(m.hbm, "hbm"), (m.sbuf, "sbuf"), (m.psum, "psum")].into_iter().filter(|x| x.0).map(|x| x.1).collect()
}

fn effect(o: &OperandSpec) -> &'static str {
    match o.effect {
        Effect::Read => "read",
        Effect::Write => "write",
        Effect::ReadWrite => "read and write",
        Effect::Update => "update",
    }
}

fn describe(row: &OpRow) -> String {
    let mut text = format!("{}: {}\n(isa.md {})\n\nengines:\n", row.name, row.summary, row.section);
    for (engine, from) in row.engines {
        text += &format!("  {engine:10} from {from:?}\n");
    }
    text += "operands:\n";
    for o in row.operands {
        let optional = if o.optional { ", optional" } else { "" };
        text += &format!(
            "  {:18} {:?}, {}, {}{optional}\n",
            o.name,
            o.kind,
            effect(o),
            memories(o.memories).join("/")
        );
    }
    if !row.attrs.is_empty() {
        text += "attributes:\n";
    }
    for a in row.attrs {
        let default = a.default.map_or("required".to_string(), |d| format!("default {:?}", d()));
        text += &format!("  {:18} {:?}, {default}\n", a.name, a.kind);
    }
    text.trim_end().to_string()
}

fn instruction(row: &OpRow) -> Value {
    let engine = |(engine, from): &(nki_ir::Engine, nki_ir::target::Gen)| json!({ "engine": engine.name(), "from": format!("{from:?}").to_lowercase() });
    let operand = |o: &OperandSpec| {
        json!({
            "name": o.name,
            "kind": format!("{:?}", o.kind),
            "effect": effect(o),
            "memories": memories(o.memories),
            "optional": o.optional,
        })
    };
    json!({
        "name": row.name,
        "summary": row.summary,
        "section": row.section,
        "engines": row.engines.iter().map(engine).collect::<Vec<_>>(),
        "operands": row.operands.iter().map(operand).collect::<Vec<_>>(),
        "attributes": row.attrs.iter().map(|a| json!({
            "name": a.name,
            "kind": format!("{:?}", a.kind),
            "required": a.default.is_none(),
        })).collect::<Vec<_>>(),
    })
}
