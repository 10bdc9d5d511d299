//! The `nki` command, as a library function: a crate with kernels of its own gets the same command from
//!
//! ```no_run
//! fn main() -> std::process::ExitCode {
//!     nki::cli::main()
//! }
//! ```
//!
//! Every command prints text for people, or with `--json` one JSON object whose `schema` field names its format (see the
//! book's chapter on the command line). Errors go to standard error. The exit status is 0 for success, 1 when something
//! was found wrong (an error, a mismatch), 2 for misuse of the command line.

mod ablate;
mod bench;
mod build;
mod calibrate;
mod check;
mod command;
mod context;
mod doctor;
mod explain;
mod ir;
mod isa;
mod list;
mod machine;
mod report;
mod run;
mod schedule;
mod simulate;
mod subject;
mod tune;
mod verify;

use clap::Parser;
use command::{Cli, Command};
use context::{Context, Outcome};
use nki_ir::{Code, Diagnostic, Diagnostics};
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command that this process was started with.
pub fn main() -> ExitCode {
    run_with(std::env::args_os())
}

/// Runs a command line; `args` begins with the program's name. Prints to standard output and standard error.
pub fn run_with(args: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
    let json = args.iter().any(|a| a == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // Help and version; failing to print them leaves nothing to say.
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        // No command at all: help, on standard error.
        Err(e) if e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
            return ExitCode::from(2);
        }
        Err(e) => return fail(&Context::new(json), &misuse(&e)),
    };
    let context = Context::new(cli.json);
    match dispatch(&context, &cli.command) {
        Ok(outcome) => {
            context.finish(&outcome);
            if outcome.success { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(errors) => fail(&context, &errors),
    }
}

fn fail(context: &Context, errors: &Diagnostics) -> ExitCode {
    context.fail(errors);
    let misuse = errors.first_code() == Some(Code::Usage);
    ExitCode::from(if misuse { 2 } else { 1 })
}

/// What clap says about a command line, as a finding like any other: message, usage as a note, the way to more help.
fn misuse(e: &clap::Error) -> Diagnostics {
    let text = e.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let mut paragraphs = text.split("\n\n").map(str::trim).filter(|p| !p.is_empty());
    let mut d = Diagnostic::error(Code::Usage, paragraphs.next().unwrap_or("a malformed command line"));
    for p in paragraphs {
        d = match p.strip_prefix("For more information, try ") {
            Some(_) => d.help("`--help` shows what can be given"),
            None => d.note(p.trim_start_matches("tip: ")),
        };
    }
    d.into()
}

fn dispatch(context: &Context, command: &Command) -> Result<Outcome, Diagnostics> {
    match command {
        Command::List(args) => list::run(context, args),
        Command::Run(args) => run::run(context, args),
        Command::Check(args) => check::run(context, args),
        Command::Ir(args) => ir::run(context, args),
        Command::Schedule(args) => schedule::run(context, args),
        Command::Simulate(args) => simulate::simulate(context, args),
        Command::Report(args) => report::run(context, args),
        Command::Trace(args) => simulate::trace(context, args),
        Command::Calibrate(args) => calibrate::run(context, args),
        Command::Bench(args) => bench::run(context, args),
        Command::Build(args) => build::run(context, args),
        Command::Tune(args) => tune::run(context, args),
        Command::Verify(args) => verify::run(context, args),
        Command::Explain(args) => explain::run(context, args),
        Command::Isa(args) => isa::run(context, args),
        Command::Doctor => doctor::run(context),
    }
}
