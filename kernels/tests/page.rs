//! The page of a run, in headless Chromium where there is one: `.ci/run` installs it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A browser of the Chromium family; `NKI_BROWSER` names another.
fn browser() -> Option<PathBuf> {
    let named = std::env::var_os("NKI_BROWSER").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.or_else(|| usual.iter().map(PathBuf::from).find(|p| p.exists()))
}

/// The page's elements when its scripts have run.
fn dom(browser: &Path, file: &Path, hash: &str) -> String {
    let profile = file.with_extension("profile");
    let o = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}#{hash}", file.display()))
        .output()
        .unwrap();
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    String::from_utf8(o.stdout).unwrap()
}

/// The text of an element by its id, tags left out.
fn text(dom: &str, id: &str) -> String {
    let from = dom.find(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("no element {id}"));
    let rest = &dom[from..];
    let tag = dom[..from].rfind('<').map(|i| &dom[i + 1..from]).unwrap();
    let tag = tag.split_whitespace().next().unwrap();
    let end = rest.find(&format!("</{tag}>")).unwrap_or(rest.len());
    let mut out = String::new();
    let mut inside = false;
    for c in rest[rest.find('>').unwrap() + 1..end].chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                out.push(' ');
            }
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn number(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("{v} is no number"))
}

/// As the page writes numbers: so many digits behind the point, halves up.
fn fixed(x: f64, digits: usize) -> String {
    let scale = 10f64.powi(digits as i32);
    let tie = (x * scale).fract() == 0.5;
    format!("{:.digits$}", if tie { (x * scale).ceil() / scale } else { x })
}

fn time(v: &Value) -> String {
    match number(v) {
        ns if ns >= 1e6 => format!("{} ms", fixed(ns / 1e6, 3)),
        ns if ns >= 1e3 => format!("{} µs", fixed(ns / 1e3, 3)),
        ns if ns.fract() == 0.0 => format!("{ns} ns"),
        ns => format!("{} ns", fixed(ns, 1)),
    }
}

fn percent(x: f64) -> String {
    format!("{} %", fixed(100.0 * x, 1))
}

/// Four digits and a prefix.
fn amount(n: f64, unit: &str) -> String {
    for (size, prefix) in [(1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")] {
        if n >= size {
            let x = n / size;
            return format!("{} {prefix}{unit}", fixed(x, 3 - x.log10() as usize));
        }
    }
    format!("{n} {unit}")
}

fn grouped(v: &Value) -> String {
    let digits = v.as_u64().unwrap().to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|g| std::str::from_utf8(g).unwrap()).collect();
    groups.join(",")
}

/// Every figure above the timeline, from what `--json` prints.
fn figures_of(r: &Value) -> Vec<(&'static str, String)> {
    let (m, memory) = (&r["metrics"], &r["memory"]);
    let of = |used: &str, limit: &str| {
        format!("{} of {}", amount(number(&memory[used]), "B"), amount(number(&memory[limit]), "B"))
    };
    vec![
        ("kernel time", time(&r["kernel_ns"])),
        ("nc_latency", time(&r["nc_latency_ns"])),
        ("MFU", percent(number(&m["mfu"]))),
        ("MBU", percent(number(&m["mbu"]))),
        ("intensity", format!("{} flop/B", fixed(number(&m["intensity"]), 1))),
        ("useful flops", amount(number(&r["flops"]["useful"]), "flop")),
        ("HBM read", amount(number(&r["bytes"]["hbm_read"]), "B")),
        ("HBM written", amount(number(&r["bytes"]["hbm_written"]), "B")),
        ("SBUF per partition", of("sbuf_bytes", "sbuf_limit")),
        ("SBUF at most", amount(number(&memory["sbuf_peak"]["bytes"]), "B")),
        ("PSUM per partition", of("psum_bytes", "psum_limit")),
        ("instructions", grouped(&r["instructions"])),
    ]
}

#[test]
fn the_page_shows_the_figures_of_the_report() {
    let dir = std::env::temp_dir().join(format!("nki-page-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("run.html");
    let o = Command::new(env!("CARGO_BIN_EXE_nki"))
        .args(["simulate", "matmul", "-d", "m=300", "--json", "--html"])
        .arg(&file)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(o.status.success(), "{}", String::from_utf8_lossy(&o.stderr));
    let printed: Value = serde_json::from_slice(&o.stdout).unwrap();
    let report = &printed["report"];
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("nc_matmul") && page.contains("let acc = nc.psum"), "no source on the page");
    if let Some(browser) = browser() {
        let dom = dom(&browser, &file, "nc_matmul");
        assert!(dom.contains("data-ready=\"yes\""), "the scripts have not run to their end");
        let figures = text(&dom, "figures");
        for (name, value) in figures_of(report) {
            assert!(figures.contains(&format!("{value} {name}")), "{name} is not {value}: {figures}");
        }
        let (lines, kernel) = (text(&dom, "lines"), number(&report["kernel_ns"]));
        let share = |v: &Value| percent(number(v) / kernel);
        for line in report["lines"].as_array().unwrap() {
            let at = format!("{}:{}", line["at"]["file"].as_str().unwrap(), line["at"]["line"]);
            let critical = format!("{} ({})", time(&line["critical_ns"]), share(&line["critical_ns"]));
            let hbm = match number(&line["hbm_bytes"]) {
                0.0 => String::new(),
                bytes => format!("{} ", amount(bytes, "B")),
            };
            let ops: Vec<&str> =
                line["ops"].as_array().unwrap().iter().map(|o| o.as_str().unwrap()).collect();
            let waits = line["waits_for"]
                .as_array()
                .unwrap()
                .first()
                .map_or(String::new(), |w| format!(" line {}, {}", w["at"]["line"], time(&w["ns"])));
            let (busy, stalled) = (time(&line["busy_ns"]), time(&line["stalled_ns"]));
            let count = grouped(&line["count"]);
            let row = format!("{at} {critical} {busy} {stalled} {hbm}{count} {}{waits}", ops.join(" "));
            assert!(lines.contains(row.trim()), "{row}: {lines}");
        }
        let engines = text(&dom, "engines");
        for e in report["engines"].as_array().unwrap() {
            let stalled: f64 = e["stalls"].as_array().unwrap().iter().map(|s| number(&s["ns"])).sum();
            assert!((stalled - number(&e["stalled_ns"])).abs() < 1e-6);
            let shares = ["busy_ns", "active_ns", "stalled_ns", "idle_ns"].map(|name| share(&e[name]));
            let row = format!(
                "{} {} {}",
                e["engine"].as_str().unwrap(),
                grouped(&e["instructions"]),
                shares.join(" ")
            );
            assert!(engines.contains(&row), "{row}: {engines}");
        }
        // Flops per second, and the share of what the lower of the two roofs allows.
        let (m, achieved) = (&report["metrics"], number(&report["flops"]["useful"]) / kernel * 1e9);
        let roof = (number(&m["intensity"]) / number(&m["ridge"])).min(1.0) * achieved / number(&m["mfu"]);
        let label = format!("{}, {} of the roof", amount(achieved, "flop/s"), percent(achieved / roof));
        assert!(text(&dom, "roofline").contains(&label), "{label}: {}", text(&dom, "roofline"));
        // The address searches for the products, which are all instructions of the tensor engine.
        let found = text(&dom, "found");
        assert_eq!(found.trim(), format!("{} found", report["engines"][0]["instructions"]));
    }
    std::fs::remove_dir_all(dir).unwrap();
}
