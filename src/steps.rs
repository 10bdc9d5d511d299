//! Schedule steps as text: the setting `buffers(matmul::at.acc)` with a value `1`, `2`, .. or `own`, the compiler's choice.

use crate::{Labelled, Schedule};
use nki_ir::{Code, Diagnostic, Diagnostics, Engine};

/// The compiler's own choice.
pub const OWN: &str = "own";

/// Whether a setting is a schedule step rather than a configuration value: it names a label in parentheses.
pub fn is_step(name: &str) -> bool {
    name.contains('(')
}

/// The schedule that some settings describe, for a kernel with these labels.
///
/// # Errors
/// `nki::schedule`: a label that the kernel does not have, an unknown step, a value that is none.
pub fn schedule_of(labels: &[Labelled], settings: &[(String, String)]) -> Result<Schedule, Diagnostics> {
    settings.iter().filter(|(_, value)| value != OWN).try_fold(Schedule::new(), |schedule, (name, value)| {
        let fail = |why: &str| {
            let text = format!("the schedule step {name} = `{value}` cannot be applied: {why}");
            Diagnostics::from(Diagnostic::error(Code::Schedule, text))
        };
        let (step, label) = name
            .split_once('(')
            .and_then(|(step, rest)| Some((step, rest.strip_suffix(')')?)))
            .ok_or_else(|| fail("a step is written `buffers(kernel::at.tile)`"))?;
        let label = labels
            .iter()
            .map(|row| row.label)
            .find(|l| l.to_string() == label)
            .ok_or_else(|| fail("the kernel has no such label"))?;
        let count = || value.parse::<u32>().map_err(|_| fail("it takes a number"));
        Ok(match step {
            "buffers" => schedule.buffers(label, count()?),
            "unroll" => schedule.unroll(label, count()?),
            "queue" => schedule.queue(label, value.parse().map_err(|_| fail("it takes a ring, 0 to 15"))?),
            "engine" => {
                let engines = [Engine::Tensor, Engine::Vector, Engine::Scalar, Engine::GpSimd];
                let engine = engines.into_iter().find(|e| e.name() == value);
                schedule.engine(label, engine.ok_or_else(|| fail("there is no such engine"))?)
            }
            _ => return Err(fail("the steps that can be searched are buffers, engine, queue and unroll")),
        })
    })
}
