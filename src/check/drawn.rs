//! Random shapes that a kernel takes.

use super::contract::{Case, Contract};
use super::harness::AWKWARD;
use super::problem::{Given, Problem};
use super::run::Item;
use crate::args::rng::Stream;
use nki_ir::{Code, DType, Diagnostics};

/// Draws that are refused before giving up on another shape.
const TRIES: u64 = 200;

/// Elements of a drawn problem, all arguments together, so that a sweep over a library ends.
const LARGEST: usize = 300_000;

/// `count` items with drawn sizes and the numbers of `seed`, fewer when the kernel takes hardly anything but its own cases.
///
/// Each is one of the contract's cases with some of its dimensions drawn anew: awkward sizes often, else anything from 1 to 1,000,
/// small sizes as likely as large ones. What the kernel itself refuses (`nki::ensure`, `nki::config`, `nki::argument`) is drawn
/// again, and so is what the contract does not admit; anything else that goes wrong is for the run to find.
pub fn drawn(contract: &'static Contract, dtypes: Option<&[DType]>, seed: u64, count: u64) -> Vec<Item> {
    let cases = (contract.cases)();
    let stream = Stream::new(seed ^ name_seed(contract.kernel.path));
    let mut items: Vec<Item> = Vec::new();
    for n in 0..count * TRIES {
        if items.len() as u64 == count {
            break;
        }
        let Some(item) = draw(contract, &cases, dtypes, stream, n, seed) else { continue };
        let known = |i: &Item| i.given.dims == item.given.dims && i.given.args == item.given.args;
        if !items.iter().any(known) && takes(&item) {
            items.push(item);
        }
    }
    items
}

/// FNV-1a, so that kernels do not all draw the same sizes.
fn name_seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// One draw; `None` when no case is left in the dtypes asked for.
fn draw(
    contract: &'static Contract,
    cases: &[Case],
    dtypes: Option<&[DType]>,
    stream: Stream,
    n: u64,
    seed: u64,
) -> Option<Item> {
    let pick = |purpose: u32, among: usize| stream.words(n, purpose)[0] as usize % among.max(1);
    let case = cases.get(pick(0, cases.len()))?;
    let own = if case.dtypes.is_empty() { contract.dtypes } else { &case.dtypes };
    let own: Vec<DType> = own.iter().copied().filter(|d| dtypes.is_none_or(|c| c.contains(d))).collect();
    let dtype = *own.get(pick(1, own.len()))?;
    let base = |name: &str, default: usize| case.dims.iter().find(|d| d.0 == name).map_or(default, |d| d.1);
    let mut dims = Vec::new();
    for (i, &(name, default)) in contract.dims.iter().enumerate() {
        let before = base(name, default);
        let i = i as u32;
        // Half of the dimensions keep their size: many hang together.
        let size = if pick(10 + i, 2) == 0 { before } else { size(stream, n, 40 + i) };
        dims.push((name.to_string(), size));
    }
    let args = case.args.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
    Some(Item {
        contract,
        given: Given { args, dims, dtype: Some(dtype), seed },
        nan_matches: case.nan_matches,
    })
}

fn size(stream: Stream, n: u64, purpose: u32) -> usize {
    let choice = stream.words(n, purpose)[1] as usize;
    if choice.is_multiple_of(3) {
        return AWKWARD[choice / 3 % AWKWARD.len()];
    }
    1000f64.powf(stream.uniform(n, purpose)).round() as usize
}

/// Whether the kernel does not refuse a problem, and it is not too large.
fn takes(item: &Item) -> bool {
    let problem = match Problem::timed(item.contract.kernel, &item.given) {
        Ok(problem) => problem,
        Err(e) => return !refused(&e),
    };
    let elements: usize = problem.signature.iter().map(|(_, _, shape)| shape.iter().product::<usize>()).sum();
    if elements > LARGEST {
        return false;
    }
    match problem.specialize().and_then(|s| s.trace()) {
        Ok(_) => item.contract.requires.is_none() || admitted(item),
        Err(e) => !refused(&e),
    }
}

fn admitted(item: &Item) -> bool {
    let inputs = Problem::new(item.contract.kernel, &item.given).ok().and_then(|p| p.inputs());
    inputs.is_some_and(|i| item.contract.admit(&i).is_ok())
}

fn refused(errors: &Diagnostics) -> bool {
    matches!(errors.first_code(), Some(Code::Ensure | Code::Config | Code::Argument))
}
