//! `nki explain`: what an error code means.

use super::command::Explain;
use super::context::{Context, Outcome};
use crate::args::did_you_mean;
use nki_ir::explain::{Page, page};
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::{Value, json};

pub fn run(context: &Context, args: &Explain) -> Result<Outcome, Diagnostics> {
    let codes: Vec<Code> = match &args.code {
        None => Code::ALL.to_vec(),
        Some(name) => vec![name.parse().map_err(|()| {
            let hint = did_you_mean(name.trim_start_matches("nki::"), Code::ALL.iter().map(|c| c.name()));
            Diagnostic::error(Code::Usage, format!("no error has the code `{name}`{hint}"))
                .help("`nki explain` lists all codes")
        })?],
    };
    if args.code.is_none() {
        for code in &codes {
            context.say(format!("{:28} {}", code.to_string(), page(*code).title));
        }
    } else {
        codes.iter().for_each(|code| context.say(text(page(*code))));
    }
    let list: Vec<Value> = codes.iter().map(|code| value(page(*code))).collect();
    Ok(Outcome::ok(json!({ "schema": "nki.explain/1", "codes": list })))
}

/// A page for reading: what the code means, a failing example, a repaired one.
fn text(page: &Page) -> String {
    let mut out = format!("{}: {}\n\n{}", page.code, page.title, page.text.trim());
    for (what, example) in [("Fails", page.failing), ("Repaired", page.repaired)] {
        if !example.trim().is_empty() {
            let lines: Vec<String> = example.trim_end().lines().map(|l| format!("    {l}")).collect();
            out.push_str(&format!("\n\n{what}:\n\n{}", lines.join("\n")));
        }
    }
    out
}

fn value(page: &Page) -> Value {
    json!({
        "code": page.code.to_string(),
        "title": page.title,
        "text": page.text,
        "failing": page.failing,
        "repaired": page.repaired,
    })
}
