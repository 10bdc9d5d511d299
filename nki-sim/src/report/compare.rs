//! The difference of two runs, explained: where on the critical path the time went, and what else changed.
//!
//! Works on reports as JSON, so that a run can be compared with one that was kept in a file.

use super::text::{bytes, time};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// A figure of both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub name: String,
    pub before: f64,
    pub after: f64,
}

impl Change {
    fn by(&self) -> f64 {
        self.after - self.before
    }
}

/// Two runs beside each other. Times are simulated, in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Kernel and target of each.
    pub what: [String; 2],
    /// Time of the kernel.
    pub ns: [f64; 2],
    /// What bounds each, and the share of time for which that is busy.
    pub bound: [(String, f64); 2],
    /// Time on the critical path by source line, synchronisation, and what precedes the path; the changes add up to that of
    /// the kernel's time. Largest change first.
    pub critical: Vec<Change>,
    /// Busy and stalled time of each engine, and of the DMA engines.
    pub engines: Vec<Change>,
    /// Bytes, flops, instructions, transfers.
    pub work: Vec<Change>,
}

/// Compares two reports, as [`SimReport::to_json`](super::SimReport::to_json) gives them.
///
/// # Errors
/// The member that is missing or of another type than in a report.
pub fn compare(before: &Value, after: &Value) -> Result<Comparison, String> {
    let (a, b) = (Run::read(before)?, Run::read(after)?);
    let mut critical = changes(&a.critical, &b.critical);
    critical.sort_by(|x, y| y.by().abs().total_cmp(&x.by().abs()).then(x.name.cmp(&y.name)));
    Ok(Comparison {
        ns: [a.ns, b.ns],
        critical,
        engines: changes(&a.engines, &b.engines),
        work: changes(&a.work, &b.work),
        what: [a.what, b.what],
        bound: [a.bound, b.bound],
    })
}

/// Figures by name, in order of appearance.
type Figures = Vec<(String, f64)>;

struct Run {
    what: String,
    ns: f64,
    bound: (String, f64),
    critical: Figures,
    engines: Figures,
    work: Figures,
}

fn number(v: &Value, path: &[&str]) -> Result<f64, String> {
    let found = path.iter().fold(v, |v, key| &v[*key]);
    found.as_f64().ok_or_else(|| format!("no number `{}`", path.join(".")))
}

fn text(v: &Value, path: &[&str]) -> Result<String, String> {
    let found = path.iter().fold(v, |v, key| &v[*key]);
    found.as_str().map(str::to_string).ok_or_else(|| format!("no text `{}`", path.join(".")))
}

fn list<'a>(v: &'a Value, key: &str) -> Result<&'a Vec<Value>, String> {
    v[key].as_array().ok_or_else(|| format!("no list `{key}`"))
}

impl Run {
    fn read(v: &Value) -> Result<Run, String> {
        let ns = number(v, &["kernel_ns"])?;
        let mut lines: BTreeMap<String, f64> = BTreeMap::new();
        for line in list(v, "lines")? {
            let name = format!("{}:{}", text(line, &["at", "file"])?, number(line, &["at", "line"])?);
            *lines.entry(name).or_default() += number(line, &["critical_ns"])?;
        }
        let synchronisation = number(v, &["critical_path", "synchronisation_ns"])?;
        let rest = ns - synchronisation - lines.values().sum::<f64>();
        let mut critical: Figures = lines.into_iter().filter(|l| l.1 > 0.0).collect();
        critical.push(("synchronisation and start-up".into(), synchronisation));
        critical.push(("outside the path".into(), rest));
        let mut engines = Figures::new();
        for e in list(v, "engines")? {
            let name = text(e, &["engine"])?;
            engines.push((format!("{name} busy"), number(e, &["busy_ns"])?));
            engines.push((format!("{name} stalled"), number(e, &["stalled_ns"])?));
        }
        engines.push(("dma active".into(), number(v, &["dma", "active_ns"])?));
        let work = [
            ("HBM bytes read", &["bytes", "hbm_read"][..]),
            ("HBM bytes written", &["bytes", "hbm_written"]),
            ("SBUF bytes of a partition", &["memory", "sbuf_bytes"]),
            ("PSUM bytes of a partition", &["memory", "psum_bytes"]),
            ("useful flops", &["flops", "useful"]),
            ("transposing flops", &["flops", "transposing"]),
            ("transfers", &["dma", "transfers"]),
            ("descriptor elements", &["dma", "elements"]),
            ("instructions", &["instructions"]),
        ];
        let work = work.iter().map(|(name, path)| Ok((name.to_string(), number(v, path)?)));
        Ok(Run {
            what: format!("{} on {}", text(v, &["kernel"])?, text(v, &["target"])?),
            ns,
            bound: (text(v, &["bound", "resource"])?, number(v, &["bound", "share"])?),
            critical,
            engines,
            work: work.collect::<Result<_, String>>()?,
        })
    }
}

/// Figures of both by name; one that only one run has is 0 in the other.
fn changes(a: &Figures, b: &Figures) -> Vec<Change> {
    let of = |list: &Figures, name: &str| list.iter().find(|f| f.0 == name).map_or(0.0, |f| f.1);
    let only_b = b.iter().filter(|f| !a.iter().any(|g| g.0 == f.0));
    let names = a.iter().chain(only_b).map(|f| &f.0);
    names.map(|n| Change { name: n.clone(), before: of(a, n), after: of(b, n) }).collect()
}

impl Comparison {
    /// The comparison; times in nanoseconds.
    pub fn to_json(&self) -> Value {
        let list = |changes: &[Change]| {
            let one = |c: &Change| json!({ "name": c.name, "before": c.before, "after": c.after });
            changes.iter().map(one).collect::<Vec<_>>()
        };
        let side = |i: usize| {
            json!({
                "what": self.what[i],
                "kernel_ns": self.ns[i],
                "bound": { "resource": self.bound[i].0, "share": self.bound[i].1 },
            })
        };
        json!({
            "before": side(0),
            "after": side(1),
            "critical_path": list(&self.critical),
            "engines": list(&self.engines),
            "work": list(&self.work),
        })
    }

    fn verdict(&self) -> String {
        let [a, b] = self.ns;
        match b - a {
            0.0 => format!("both take {}", time(a)),
            d if d < 0.0 => format!("{} less: {:.2} times as fast", time(-d), a / b),
            d => format!("{} more: {:.2} times as long", time(d), b / a),
        }
    }
}

/// Lines of the critical path that are shown.
const LINES: usize = 12;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in ["A", "B"].into_iter().enumerate() {
            let (resource, share) = &self.bound[i];
            writeln!(
                f,
                "{name}: {} (simulated) {}, bound by {resource}: busy {:.1}% of the time",
                self.what[i],
                time(self.ns[i]),
                100.0 * share
            )?;
        }
        writeln!(f, "B against A: {}\n", self.verdict())?;
        writeln!(f, "{:<42} {:>11} {:>11} {:>12}", "critical path", "A", "B", "change")?;
        for c in self.critical.iter().filter(|c| c.by() != 0.0).take(LINES) {
            row(f, c, &|x| time(x))?;
        }
        section(f, "engines", &self.engines, &|x| time(x))?;
        section(f, "work", &self.work, &amount)
    }
}

fn amount(n: f64) -> String {
    if n >= 1e4 { bytes(n as u64).trim_end_matches('B').trim_end().to_string() } else { n.to_string() }
}

fn row(f: &mut fmt::Formatter<'_>, c: &Change, show: &dyn Fn(f64) -> String) -> fmt::Result {
    let keep = c.name.chars().count().saturating_sub(42);
    let name: String = c.name.chars().skip(keep).collect();
    let sign = if c.by() < 0.0 { "-" } else { "+" };
    let by = format!("{sign}{}", show(c.by().abs()));
    writeln!(f, "{name:<42} {:>11} {:>11} {by:>12}", show(c.before), show(c.after))
}

/// The figures that differ.
fn section(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    changes: &[Change],
    show: &dyn Fn(f64) -> String,
) -> fmt::Result {
    if changes.iter().all(|c| c.by() == 0.0) {
        return Ok(());
    }
    writeln!(f, "\n{title}")?;
    changes.iter().filter(|c| c.by() != 0.0).try_for_each(|c| row(f, c, show))
}
