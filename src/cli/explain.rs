//! `nki explain`: what an error code means.

use super::command::Explain;
use super::context::{Context, Outcome};
use crate::args::did_you_mean;
use nki_ir::{Code, Diagnostic, Diagnostics};
use serde_json::json;

pub fn run(context: &Context, args: &Explain) -> Result<Outcome, Diagnostics> {
    let codes: Vec<Code> = match &args.code {
        None => Code::ALL.to_vec(),
        Some(name) => vec![name.parse().map_err(|()| {
            let hint = did_you_mean(name.trim_start_matches("nki::"), Code::ALL.iter().map(|c| c.name()));
            Diagnostic::error(Code::Usage, format!("no error has the code `{name}`{hint}"))
                .help("`nki explain` lists all codes")
        })?],
    };
    for code in &codes {
        context.say(code.to_string());
    }
    let list: Vec<String> = codes.iter().map(Code::to_string).collect();
    Ok(Outcome::ok(json!({ "schema": "nki.explain/1", "codes": list })))
}
