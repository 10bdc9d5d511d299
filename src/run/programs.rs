//! Two program instances of a kernel, run at the same time (isa.md 11.4).

use super::{Executable, How, Mode, Results};
use crate::launch::Specialization;
use crate::trace::error;
use nki_ir::entity::Entity;
use nki_ir::kernel::{BufKind, Kernel};
use nki_ir::peer::{self, Link};
use nki_ir::{Code, Diagnostics, Target, Tensor, print};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Both programs, and where what they share comes from.
pub(super) struct Pair {
    programs: [Executable; 2],
    /// Tensors that both write and that hold an argument at first: buffer and position among the inputs.
    arguments: Vec<(i64, usize)>,
    /// The buffer of each result, by program.
    results: [Vec<i64>; 2],
}

/// Makes both programs ready.
pub(super) fn compile(
    pair: &[Specialization; 2],
    mode: Mode,
    target: Target,
) -> Result<Executable, Diagnostics> {
    let gated = [pair[0].gate(target)?, pair[1].gate(target)?];
    let made = [gated[0].executable(&pair[0], mode)?, gated[1].executable(&pair[1], mode)?];
    let buffers = |i: usize| -> Vec<i64> {
        let outputs: Vec<i64> = gated[i].verified.kernel().outputs().map(|(b, _)| b.index() as i64).collect();
        gated[i].results.iter().map(|&r| outputs[r]).collect()
    };
    let (first, second) = (gated[0].verified.kernel(), gated[1].verified.kernel());
    let results = [buffers(0), buffers(1)];
    let signature = |k: &Kernel, bufs: &[i64]| -> Vec<_> {
        let data = bufs.iter().map(|&b| &k.bufs[nki_ir::Buf::new(b as usize)]);
        data.map(|d| (d.dtype, d.shape.clone(), d.kind)).collect()
    };
    if signature(first, &results[0]) != signature(second, &results[1]) {
        let d = error(Code::Argument, "the two programs return tensors of different dtypes or shapes");
        return Err(d.help("return the same from both; let each write its part").into());
    }
    let inouts = first.inputs().enumerate().filter(|(_, (_, d))| d.kind == BufKind::InOut);
    let arguments = inouts.map(|(i, (b, _))| (b.index() as i64, i)).collect();
    let Executable { names, warnings, .. } = &made[0];
    let (names, mut warnings) = (names.clone(), warnings.clone());
    warnings.extend(made[1].warnings.clone());
    let positions = gated[0].results.clone();
    let how = How::Programs(Box::new(Pair { programs: made, arguments, results }));
    Ok(Executable { how, mode, target, results: positions, names, warnings })
}

impl Pair {
    /// Runs both programs by `run` and merges what they have written. The report is that of the program that ends last.
    pub fn run(
        &self,
        inputs: &[Tensor],
        run: impl Fn(usize, &Executable) -> Result<Results, Diagnostics> + Sync,
    ) -> Result<Results, Diagnostics> {
        let link = Arc::new(Link::default());
        let given = || -> BTreeMap<i64, Vec<u8>> {
            let bytes = |i: usize| inputs.get(i).map(|t| t.data.clone());
            self.arguments.iter().filter_map(|&(b, i)| Some((b, bytes(i)?))).collect()
        };
        let program = |rank: usize| link.run(rank, given(), || run(rank, &self.programs[rank]));
        let ((first, bases), (second, printed)) = std::thread::scope(|scope| {
            let other = scope.spawn(|| print::capture(|| program(1).0));
            let first = program(0);
            match other.join() {
                Ok(second) => (first, second),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        });
        printed.into_iter().for_each(print::emit);
        let (mut first, second) = match (first, second) {
            (Ok(first), Ok(second)) => (first, second),
            // A program waits in vain for one that has failed: the failure is what matters.
            (Err(waiting), Err(failure)) if waiting.iter().all(|d| d.code == Code::Deadlock) => {
                return Err(failure);
            }
            (Err(failure), _) | (_, Err(failure)) => return Err(failure),
        };
        for (i, (mine, theirs)) in first.tensors.iter_mut().zip(&second.tensors).enumerate() {
            let initial = || peer::poisoned(mine.dtype, mine.data.len());
            let base = self.results[0].get(i).and_then(|b| bases.get(b)).cloned().unwrap_or_else(initial);
            if let Some(byte) = peer::merge(&base, &mut mine.data, &theirs.data) {
                let name = first.names.get(i).map_or("", String::as_str);
                let element = byte / mine.dtype.bytes();
                let message = format!("both programs write element {element} of `{name}`, different values");
                let d = error(Code::Race, message).note("isa.md 11.4: programs share HBM without order");
                return Err(d
                    .help("let each program write its own part, or order them by core_barrier")
                    .into());
            }
        }
        let time = |r: &Results| r.report.as_ref().map(|r| r.nc_latency_ns);
        if time(&second).unwrap_or(0.0) > time(&first).unwrap_or(0.0) {
            first.report = second.report;
        }
        first.warnings.extend(second.warnings);
        Ok(first)
    }
}
