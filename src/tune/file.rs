//! The result of a search, as a file.

use super::search::best;
use super::{Outcome, Space, is_step, schedule_of, tensors};
use crate::check::Problem;
use crate::config::{KernelConfig, SetError};
use crate::{Labelled, Schedule};
use nki_ir::{Code, Diagnostic, Diagnostics, Target};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const SCHEMA: &str = "nki.tune/1";

/// A candidate and what measuring it gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Configuration values, in the order of the axes.
    pub values: Vec<(String, String)>,
    pub outcome: Outcome,
}

/// What was found for one kernel, target and set of argument shapes.
///
/// ```
/// # use nki::prelude::*;
/// # #[derive(Clone, KernelConfig)] struct Tiling { #[config(default = 512)] tile_n: usize }
/// let tuned = nki::tune::Tuned::parse(
///     r#"{ "schema": "nki.tune/1", "kernel": "matmul", "target": "trn2", "tensors": { "x": "bf16[128, 512]" },
///          "given": {}, "baseline_ns": 900.0, "winner": { "values": { "tile_n": "256" }, "simulated_ns": 700.0 },
///          "candidates": [] }"#,
///     "matmul.tune.json",
/// )?;
/// assert_eq!(tuned.config::<Tiling>()?.tile_n, 256);
/// # Ok::<(), nki::ir::Diagnostics>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Tuned {
    pub kernel: String,
    pub target: Target,
    /// Dtype and shape of every tensor argument, by name: `bf16[512, 1024]`.
    pub tensors: BTreeMap<String, String>,
    /// Configuration values that were fixed.
    pub given: BTreeMap<String, String>,
    /// Simulated time with the kernel's own defaults, in nanoseconds.
    pub baseline_ns: f64,
    /// The values that won, and their simulated time. No values: nothing was faster than the defaults.
    pub winner: Vec<(String, String)>,
    pub winner_ns: f64,
    /// Everything that was measured, in the order of the space.
    pub candidates: Vec<Candidate>,
}

impl Tuned {
    pub(super) fn new(problem: &Problem, target: Target, space: &Space, baseline_ns: f64) -> Tuned {
        debug_assert!(space.size() > 0);
        Tuned {
            kernel: problem.kernel.name.to_string(),
            target,
            tensors: tensors(problem),
            given: problem.values.iter().cloned().collect(),
            baseline_ns,
            winner: Vec::new(),
            winner_ns: baseline_ns,
            candidates: Vec::new(),
        }
    }

    pub(super) fn with(mut self, space: &Space, found: &BTreeMap<u64, Outcome>) -> Tuned {
        if let Some((point, ns)) = best(found).filter(|b| b.1 < self.baseline_ns) {
            (self.winner, self.winner_ns) = (space.values(point), ns);
        }
        let candidate = |(&p, o): (&u64, &Outcome)| Candidate { values: space.values(p), outcome: o.clone() };
        self.candidates = found.iter().map(candidate).collect();
        self
    }

    /// Whether the outcomes of `self` hold for what `new` measures: the same problem, and the same time for its defaults. A
    /// compiler or a machine that has changed shows there.
    pub(super) fn continues(&self, new: &Tuned) -> bool {
        self.is_of(new) && self.baseline_ns == new.baseline_ns
    }

    fn is_of(&self, other: &Tuned) -> bool {
        (&self.kernel, self.target, &self.tensors, &self.given)
            == (&other.kernel, other.target, &other.tensors, &other.given)
    }

    /// The outcomes that are points of a space.
    pub(super) fn outcomes(&self, space: &Space) -> BTreeMap<u64, Outcome> {
        let point = |c: &Candidate| Some((space.point(&c.values)?, c.outcome.clone()));
        self.candidates.iter().filter_map(point).collect()
    }

    /// Checks that the file was measured on this kernel, target and these argument shapes.
    ///
    /// # Errors
    /// `nki::config`, with what differs.
    pub fn check(&self, problem: &Problem, target: Target) -> Result<(), Diagnostics> {
        let own = |of: &BTreeMap<String, String>| {
            of.iter().map(|(n, t)| format!("{n}: {t}")).collect::<Vec<_>>().join(", ")
        };
        let pairs = [
            ("kernel", self.kernel.clone(), problem.kernel.name.to_string()),
            ("target", self.target.to_string(), target.to_string()),
            ("arguments", own(&self.tensors), own(&tensors(problem))),
        ];
        match pairs.into_iter().find(|(_, mine, theirs)| mine != theirs) {
            None => Ok(()),
            Some((what, mine, theirs)) => {
                let text = format!("the tuned values were measured on the {what} {mine}, not {theirs}");
                let help = "run `nki tune` with these arguments, or leave the tuned values out";
                Err(Diagnostic::error(Code::Config, text).help(help).into())
            }
        }
    }

    /// The configuration with the winner's values; other fields have their defaults or what was given to the search.
    ///
    /// # Errors
    /// `nki::config`: `C` is not the configuration that was tuned.
    pub fn config<C: KernelConfig>(&self) -> Result<C, Diagnostics> {
        let mut config = C::default();
        let values = self.given.iter().chain(self.winner.iter().map(|(n, v)| (n, v)));
        for (name, text) in values.filter(|(n, _)| !is_step(n)) {
            config.set(name, text).map_err(|e| {
                let why = match e {
                    SetError::Unknown => "there is no such field".to_string(),
                    SetError::Value(why) => why,
                };
                let text = format!("the tuned value {name} = `{text}` does not fit: {why}");
                Diagnostic::error(Code::Config, text)
            })?;
        }
        Ok(config)
    }

    /// The schedule steps of the winner, for a kernel with these labels ([`crate::Specialization::trace`] gives them).
    ///
    /// # Errors
    /// `nki::schedule`: the kernel has no such labels.
    pub fn schedule(&self, labels: &[Labelled]) -> Result<Schedule, Diagnostics> {
        let steps: Vec<_> = self.winner.iter().filter(|(n, _)| is_step(n)).cloned().collect();
        schedule_of(labels, &steps)
    }

    /// The file's text: JSON, one candidate a line, so that a change reads well in a review.
    pub fn to_text(&self) -> String {
        let mut text = String::from("{\n");
        let mut field = |name: &str, value: Value| text += &format!("  {}: {value},\n", json!(name));
        field("schema", json!(SCHEMA));
        field("kernel", json!(self.kernel));
        field("target", json!(self.target.name()));
        field("tensors", json!(self.tensors));
        field("given", json!(self.given));
        field("baseline_ns", json!(self.baseline_ns));
        field("winner", json!({ "values": object(&self.winner), "simulated_ns": self.winner_ns }));
        let lines: Vec<String> = self.candidates.iter().map(|c| format!("\n    {}", c.to_json())).collect();
        text += &format!("  \"candidates\": [{}\n  ]\n}}\n", lines.join(","));
        text
    }

    /// The file as JSON.
    pub fn to_json(&self) -> Value {
        serde_json::from_str(&self.to_text()).expect("the text is written as JSON")
    }

    /// Reads a file; `path` is its name in errors.
    ///
    /// # Errors
    /// `nki::file`: not a file that this version writes.
    pub fn parse(text: &str, path: &str) -> Result<Tuned, Diagnostics> {
        let fail = |what: &str| Diagnostics::from(Diagnostic::error(Code::File, format!("{path}: {what}")));
        let json: Value = serde_json::from_str(text).map_err(|e| fail(&e.to_string()))?;
        if json["schema"] != SCHEMA {
            return Err(fail(&format!("its `schema` is {}, not \"{SCHEMA}\"", json["schema"])));
        }
        let text = |name: &str| {
            json[name].as_str().map(str::to_string).ok_or_else(|| fail(&format!("`{name}` is not a text")))
        };
        let time = |v: &Value, name: &str| {
            let ns = v[name].as_f64().filter(|ns| ns.is_finite() && *ns >= 0.0);
            ns.ok_or_else(|| fail(&format!("`{name}` is not a time in nanoseconds")))
        };
        let pairs = |v: &Value, name: &str| {
            pairs(v).ok_or_else(|| fail(&format!("`{name}` does not map names to texts")))
        };
        let target = text("target")?;
        let candidates = json["candidates"].as_array().ok_or_else(|| fail("`candidates` is not a list"))?;
        let candidate = |c: &Value| {
            let values = pairs(&c["values"], "values")?;
            let outcome = match (c["invalid"].as_str(), c["message"].as_str()) {
                (Some(code), Some(message)) => {
                    Outcome::Invalid { code: code.to_string(), message: message.to_string() }
                }
                _ => Outcome::Time(time(c, "simulated_ns")?),
            };
            Ok(Candidate { values, outcome })
        };
        Ok(Tuned {
            kernel: text("kernel")?,
            target: target.parse().map_err(|()| fail(&format!("`{target}` is not a target")))?,
            tensors: pairs(&json["tensors"], "tensors")?.into_iter().collect(),
            given: pairs(&json["given"], "given")?.into_iter().collect(),
            baseline_ns: time(&json, "baseline_ns")?,
            winner: pairs(&json["winner"]["values"], "winner.values")?,
            winner_ns: time(&json["winner"], "simulated_ns")?,
            candidates: candidates.iter().map(candidate).collect::<Result<_, Diagnostics>>()?,
        })
    }
}

impl Candidate {
    fn to_json(&self) -> Value {
        match &self.outcome {
            Outcome::Time(ns) => json!({ "values": object(&self.values), "simulated_ns": ns }),
            Outcome::Invalid { code, message } => {
                json!({ "values": object(&self.values), "invalid": code, "message": message })
            }
        }
    }
}

fn object(values: &[(String, String)]) -> Value {
    Value::Object(values.iter().map(|(n, v)| (n.clone(), json!(v))).collect::<Map<_, _>>())
}

fn pairs(v: &Value) -> Option<Vec<(String, String)>> {
    let one = |(n, v): (&String, &Value)| Some((n.clone(), v.as_str()?.to_string()));
    v.as_object()?.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuned() -> Tuned {
        let values = |v: &str| vec![("tile \"m\"".to_string(), v.to_string())];
        Tuned {
            kernel: "matmul".into(),
            target: Target::Trn2,
            tensors: [("x".to_string(), "bf16[1, 129]".to_string())].into(),
            given: BTreeMap::new(),
            baseline_ns: 1234.5,
            winner: values("64"),
            winner_ns: 0.1 + 0.2,
            candidates: vec![
                Candidate { values: values("64"), outcome: Outcome::Time(0.1 + 0.2) },
                Candidate {
                    values: values("512"),
                    outcome: Outcome::Invalid { code: "nki::ensure".into(), message: "a\nb \"c\"".into() },
                },
            ],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let all = tuned();
        assert_eq!(Tuned::parse(&all.to_text(), "t").unwrap(), all);
        let none = Tuned { candidates: Vec::new(), ..tuned() };
        assert_eq!(Tuned::parse(&none.to_text(), "t").unwrap(), none);
    }

    #[test]
    fn malformed_files_are_errors_that_name_the_file() {
        let good = tuned().to_text();
        for (from, to) in [
            ("nki.tune/1", "nki.tune/2"),
            ("\"trn2\"", "\"trn9\""),
            ("1234.5", "-1"),
            ("1234.5", "\"x\""),
            ("[\n", "{\n"),
            ("\"kernel\"", "\"kernal\""),
            ("}\n", ""),
            ("\"64\"", "64"),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good, "{from}");
            let e = Tuned::parse(&bad, "matmul.tune.json").unwrap_err();
            assert_eq!(e.first_code(), Some(Code::File), "{from}");
            assert!(e.to_string().contains("matmul.tune.json"), "{e}");
        }
    }
}
