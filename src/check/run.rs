//! Running cases every way and judging the results.

use super::compare::{Bits, Comparison, compare, compare_bits};
use super::contract::{Case, Contract, Inputs};
use super::prepared::{Prepared, Ran};
use super::problem::{Given, Problem};
use crate::Mode;
use nki_ir::{DType, Diagnostics, Target};
use std::time::Duration;

/// What to check, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    pub modes: Vec<Mode>,
    pub target: Target,
    pub seeds: Vec<u64>,
    /// `None`: each case's, or the contract's.
    pub dtypes: Option<Vec<DType>>,
    /// Program instances: 1, or 2 on a logical core of two.
    pub programs: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { modes: available(), target: Target::Trn2, seeds: vec![0], dtypes: None, programs: 1 }
    }
}

/// One case in one dtype with one seed.
#[derive(Clone, Debug)]
pub struct Item {
    pub contract: &'static Contract,
    pub given: Given,
    pub nan_matches: bool,
}

impl Item {
    /// The command line that checks this item alone.
    pub fn command(&self, target: Target, programs: usize) -> String {
        let mut text = format!("nki check {}", self.contract.kernel.name);
        for (name, size) in &self.given.dims {
            text += &format!(" -d {name}={size}");
        }
        for (name, value) in &self.given.args {
            text += &format!(" -a '{name}={value}'");
        }
        if let Some(dtype) = self.given.dtype {
            text += &format!(" --dtype {dtype}");
        }
        if self.given.seed > 0 {
            text += &format!(" --seed {}", self.given.seed);
        }
        if target != Target::Trn2 {
            text += &format!(" --target {target}");
        }
        if programs != 1 {
            text += &format!(" --programs {programs}");
        }
        text
    }
}

/// How one way of running went.
#[derive(Debug)]
pub struct Verdict {
    pub mode: Mode,
    pub took: Duration,
    /// Against the reference, by result.
    pub accuracy: Vec<(String, Comparison)>,
    /// Against the interpreter, by result; empty for the interpreter itself.
    pub bits: Vec<(String, Bits)>,
}

impl Verdict {
    /// Whether the results are right: close enough to the reference, and for all but native code equal to the
    /// interpreter's in every bit.
    pub fn passed(&self) -> bool {
        let exact = self.mode == Mode::Host || self.bits.iter().all(|(_, b)| b.equal());
        exact && self.accuracy.iter().all(|(_, c)| c.passed())
    }
}

/// How an item went.
#[derive(Debug)]
pub struct Report {
    pub kernel: &'static str,
    /// Dtype, dimensions, configuration.
    pub what: String,
    pub seed: u64,
    /// The command that checks this problem alone; `None` where NaN is expected, which no command says.
    pub again: Option<String>,
    pub verdicts: Vec<Verdict>,
    /// What could not be run, and why.
    pub failures: Vec<(Option<Mode>, Diagnostics)>,
}

impl Report {
    /// Whether everything ran and was right.
    pub fn passed(&self) -> bool {
        self.failures.is_empty() && self.verdicts.iter().all(Verdict::passed)
    }
}

impl Plan {
    /// The items of a contract's cases, in order.
    pub fn items(&self, contract: &'static Contract, cases: &[Case]) -> Vec<Item> {
        let mut items = Vec::new();
        for case in cases {
            let own = if case.dtypes.is_empty() { contract.dtypes } else { &case.dtypes };
            let chosen = self.dtypes.as_deref().unwrap_or(own);
            for &dtype in own.iter().filter(|d| chosen.contains(d)) {
                for &seed in &self.seeds {
                    let given = Given {
                        args: case.args.iter().map(|(n, v)| (n.to_string(), v.clone())).collect(),
                        dims: case.dims.iter().map(|(n, d)| (n.to_string(), *d)).collect(),
                        dtype: Some(dtype),
                        seed,
                    };
                    items.push(Item { contract, given, nan_matches: case.nan_matches });
                }
            }
        }
        items
    }

    /// Runs one item every way.
    pub fn run(&self, item: &Item) -> Report {
        let kernel = item.contract.kernel.name;
        let mut report = Report {
            kernel,
            what: String::new(),
            seed: item.given.seed,
            again: (!item.nan_matches).then(|| item.command(self.target, self.programs)),
            verdicts: vec![],
            failures: vec![],
        };
        let problem = match Problem::new(item.contract.kernel, &item.given) {
            Ok(problem) => problem,
            Err(e) => {
                report.failures.push((None, e));
                return report;
            }
        };
        report.what = problem.describe();
        let inputs = problem.inputs().map(|i| i.on(self.target));
        // First whether the kernel takes the shapes at all.
        let prepared = Prepared::of(&problem, self.target)
            .and_then(|p| inputs.as_ref().map_or(Ok(()), |i| item.contract.admit(i)).map(|()| p));
        match prepared {
            Ok(prepared) => self.judge(item, (problem.dtype, inputs), &prepared, &mut report),
            Err(e) => report.failures.push((None, e)),
        }
        report
    }

    fn judge(
        &self,
        item: &Item,
        (dtype, inputs): (DType, Option<Inputs>),
        prepared: &Prepared,
        report: &mut Report,
    ) {
        let want = inputs.as_ref().map(|i| (item.contract.reference)(i)).unwrap_or_default();
        let mut tolerances = inputs.map(|i| item.contract.tolerances(dtype, &i)).unwrap_or_default();
        tolerances.iter_mut().for_each(|t| t.nan_matches |= item.nan_matches);
        // The interpreter comes first: the others are compared with it.
        let mut modes = self.modes.clone();
        modes.sort_by_key(|m| *m != Mode::Interp);
        let mut first: Option<Ran> = None;
        for mode in modes {
            let ran = match prepared.run_on(self.programs, mode) {
                Ok(ran) => ran,
                Err(e) => {
                    report.failures.push((Some(mode), e));
                    continue;
                }
            };
            let accuracy = ran.results.iter().zip(&want).zip(&tolerances);
            let accuracy =
                accuracy.map(|(((n, got), want), t)| (n.clone(), compare(got, want, *t))).collect();
            let bits = first.iter().flat_map(|f| f.results.iter().zip(&ran.results));
            let bits = bits.map(|((n, a), (_, b))| (n.clone(), compare_bits(a, b))).collect();
            report.verdicts.push(Verdict { mode, took: ran.took, accuracy, bits });
            if mode == Mode::Interp {
                first = Some(ran);
            }
        }
    }
}

/// The modes of this build.
fn available() -> Vec<Mode> {
    Mode::ALL.into_iter().filter(|m| m.is_available()).collect()
}
