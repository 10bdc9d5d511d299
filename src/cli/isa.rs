//! `nki isa`: the op table.

use super::command::Isa;
use super::context::{Context, Outcome};
use crate::args::did_you_mean;
use nki_ir::op::{Effect, Memories, OpRow, OperandSpec};
use nki_ir::target::PARTITIONS;
use nki_ir::verify::rules;
use nki_ir::{Code, Diagnostic, Diagnostics, Engine, Op, Target};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Isa) -> Result<Outcome, Diagnostics> {
    let Some(name) = &args.instruction else {
        let rows: Vec<&OpRow> = Op::all().map(Op::row).collect();
        for row in &rows {
            context.say(format!("{:26} {:15} {}", row.name, engines(row).join(" "), row.summary));
        }
        let all: Vec<Value> = rows.iter().map(|r| instruction(r)).collect();
        let generic: Vec<Value> = rules::generic().map(|r| check(r.id, Some(r))).collect();
        return Ok(Outcome::ok(
            json!({ "schema": "nki.isa/1", "instructions": all, "generic_checks": generic }),
        ));
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
    text += &format!("targets: {}\n", targets(row).join(" "));
    let checks = rules::of_section(row.section);
    if !checks.is_empty() {
        text += "checks:\n";
    }
    for (id, rule) in checks {
        let (code, fact) = match rule {
            Some(r) => (r.code.to_string(), r.fact),
            None => ("-".into(), "by the types of the IR"),
        };
        text += &format!("  {id:10} {code:22} {fact}\n");
    }
    text.trim_end().to_string()
}

/// Targets with an engine that runs it.
fn targets(row: &OpRow) -> Vec<&'static str> {
    let has = |t: &Target| row.engines_on(t.generation()).next().is_some();
    Target::ALL.into_iter().filter(has).map(Target::name).collect()
}

/// A numbered check of isa.md: the code it is reported under, and the limit in words.
fn check(id: &str, rule: Option<&rules::Rule>) -> Value {
    match rule {
        Some(r) => json!({ "id": id, "rule": r.id, "code": r.code.to_string(), "limit": r.fact }),
        None => json!({ "id": id, "rule": null, "code": null, "limit": null }),
    }
}

/// What an operand may be at most: `null` for transfers, whose tensors are limited by their memories alone. A matmul's result
/// on trn3 takes all of PSUM (isa.md 9.1.1 check 3).
fn limits(row: &OpRow) -> Value {
    match row.engines[0].0 {
        Engine::Dma | Engine::Sync => Value::Null,
        Engine::Tensor if row.timing == nki_ir::op::TimingClass::Matmul => json!({
            "partitions": PARTITIONS,
            "free_dimensions": 4,
            "elements_per_partition": { "sbuf": 65536, "psum": 4096, "psum_bfloat16_trn3": 8192 },
        }),
        _ => json!({
            "partitions": PARTITIONS,
            "free_dimensions": 4,
            "elements_per_partition": { "sbuf": 65536, "psum": 4096 },
        }),
    }
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
        "targets": targets(row),
        "timing": format!("{:?}", row.timing),
        "limits": limits(row),
        "checks": rules::of_section(row.section).into_iter().map(|(id, rule)| check(id, rule)).collect::<Vec<_>>(),
        "attributes": row.attrs.iter().map(|a| json!({
            "name": a.name,
            "kind": format!("{:?}", a.kind),
            "required": a.default.is_none(),
        })).collect::<Vec<_>>(),
    })
}
