//! What every kernel costs may only improve: `kernels/ratchet.txt` against a new measurement.
//!
//! `NKI_BLESS=1 cargo test -p nki-kernels --test ratchet` writes the file.

use nki::ir::target::{PARTITIONS, PSUM_BYTES_PER_PARTITION};
use nki_kernels::figures::{Shape, TARGETS, in_parallel, shapes};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

const HEADER: &str = "\
# What the library's kernels cost, by shape and target: instructions, bytes moved to and from HBM, bytes of a partition of SBUF
# and of PSUM in use, nanoseconds of simulated time. A test refuses anything worse, and missing rows; time has 1 % of slack.
# After adding a kernel, or for better figures: NKI_BLESS=1 cargo test -p nki-kernels --test ratchet
";

/// By how much time may grow: the timing of transfers is spread over 16 engines, and a change that is neutral on average moves it
/// by a few nanoseconds.
const SLACK: f64 = 1.01;

/// A row's figures, or the code of why the target does not run the kernel.
#[derive(Clone, Debug, PartialEq)]
enum Cost {
    Figures([u64; 5]),
    Refused(String),
}

const NAMES: [&str; 5] = ["instructions", "HBM bytes", "SBUF bytes", "PSUM bytes", "simulated ns"];

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cost::Figures(all) => f.write_str(&all.map(|n| n.to_string()).join(" ")),
            Cost::Refused(code) => write!(f, "refused {code}"),
        }
    }
}

impl std::str::FromStr for Cost {
    type Err = String;
    fn from_str(text: &str) -> Result<Cost, String> {
        if let Some(code) = text.strip_prefix("refused ") {
            return Ok(Cost::Refused(code.to_string()));
        }
        let all: Result<Vec<u64>, _> = text.split(' ').map(str::parse).collect();
        let all = all.ok().and_then(|v| v.try_into().ok());
        all.map(Cost::Figures).ok_or_else(|| format!("`{text}` is not five numbers"))
    }
}

/// Whether what lives at the peaks fits the memories.
fn held_by_memory(m: &nki::sim::report::MemoryReport, target: nki::prelude::Target) -> bool {
    let fits = |peak: u64, bytes: u32| peak <= u64::from(PARTITIONS) * u64::from(bytes);
    fits(m.sbuf_peak.bytes, target.sbuf_bytes_per_partition())
        && fits(m.psum_peak.bytes, PSUM_BYTES_PER_PARTITION)
}

impl Cost {
    fn of(shape: &Shape, target: nki::prelude::Target) -> Cost {
        match shape.simulate(target) {
            Ok(r) if !held_by_memory(&r.memory, target) => Cost::Refused(format!(
                "more is live than fits: {:?} {:?}",
                r.memory.sbuf_peak, r.memory.psum_peak
            )),
            Ok(r) => Cost::Figures([
                r.instructions,
                r.traffic.hbm(),
                r.memory.sbuf_bytes.into(),
                r.memory.psum_bytes.into(),
                r.kernel_ns.round() as u64,
            ]),
            Err(e) => Cost::Refused(e.first_code().map_or_else(|| e.to_string(), |c| c.to_string())),
        }
    }

    /// What is worse than before, and what is better.
    fn against(&self, before: &Cost) -> (Vec<String>, Vec<String>) {
        let (now, then) = match (self, before) {
            (Cost::Figures(now), Cost::Figures(then)) => (now, then),
            (now, then) if now == then => return Default::default(),
            (Cost::Figures(_), _) => return (vec![], vec!["is no longer refused".to_string()]),
            (now, _) => return (vec![now.to_string()], vec![]),
        };
        let (mut worse, mut better) = (Vec::new(), Vec::new());
        for i in 0..NAMES.len() {
            let slack = if i == 4 { SLACK } else { 1.0 };
            let text = || format!("{} {} -> {}", NAMES[i], then[i], now[i]);
            if now[i] as f64 > then[i] as f64 * slack {
                worse.push(text());
            } else if now[i] < then[i] {
                better.push(text());
            }
        }
        (worse, better)
    }
}

type Rows = BTreeMap<String, Cost>;

fn measured() -> Rows {
    let items: Vec<_> = shapes().into_iter().flat_map(|s| TARGETS.map(|t| (s.clone(), t))).collect();
    let costs = in_parallel(&items, |(shape, target)| Cost::of(shape, *target));
    items.iter().zip(costs).map(|((s, t), cost)| (format!("{s} | {t}"), cost)).collect()
}

fn parsed(text: &str) -> Rows {
    let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty());
    let row = |line: &str| {
        let (key, cost) = line.rsplit_once(" | ").ok_or("no ` | `")?;
        Ok::<_, String>((key.to_string(), cost.parse()?))
    };
    lines.map(|l| row(l).unwrap_or_else(|e| panic!("ratchet.txt: {e}: {l}"))).collect()
}

#[test]
fn no_kernel_costs_more_than_before() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ratchet.txt");
    let now = measured();
    let bless = std::env::var_os("NKI_BLESS").is_some();
    let before =
        if bless { Rows::new() } else { parsed(&std::fs::read_to_string(&path).unwrap_or_default()) };
    if bless {
        let rows: String = now.iter().map(|(key, cost)| format!("{key} | {cost}\n")).collect();
        std::fs::write(&path, format!("{HEADER}{rows}")).unwrap();
        return;
    }
    let mut bad = Vec::new();
    for (key, cost) in &now {
        match before.get(key).map(|b| cost.against(b)) {
            None => bad.push(format!("{key}: no row; it is {cost}")),
            Some((worse, better)) => {
                bad.extend(worse.iter().map(|w| format!("{key}: {w}")));
                better.iter().for_each(|b| eprintln!("better, to be blessed: {key}: {b}"));
            }
        }
    }
    bad.extend(
        before.keys().filter(|k| !now.contains_key(*k)).map(|k| format!("{k}: is not measured any more")),
    );
    assert!(
        bad.is_empty(),
        "{}\n\nNKI_BLESS=1 rewrites ratchet.txt; say in the commit why it is right",
        bad.join("\n")
    );
}

#[test]
fn worse_is_told_from_better() {
    let figures = |i: usize, n: u64| {
        let mut all = [1000; 5];
        all[i] = n;
        Cost::Figures(all)
    };
    let before = figures(0, 1000);
    for i in 0..5 {
        let (worse, better) = figures(i, 1011).against(&before);
        assert!(worse.len() == 1 && better.is_empty(), "{i}");
        let (worse, better) = figures(i, 1001).against(&before);
        assert_eq!((worse.len(), better.len()), (usize::from(i != 4), 0));
        let (worse, better) = figures(i, 999).against(&before);
        assert_eq!((worse.len(), better.len()), (0, 1));
    }
    let refused: Cost = "refused nki::target".parse().unwrap();
    assert_eq!(refused.against(&before).0.len(), 1);
    assert_eq!(before.against(&refused).1.len(), 1);
    assert!(refused.against(&refused).0.is_empty());
    assert!("1 2 3".parse::<Cost>().is_err());
    assert_eq!(
        parsed("# a\nadd f32 rows=1 | trn1 | 1 2 3 4 5\n")["add f32 rows=1 | trn1"],
        Cost::Figures([1, 2, 3, 4, 5])
    );
}
