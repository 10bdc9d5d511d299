//! The page of a run, in headless Chromium where there is one: `.ci/run` installs it.

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
    out
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
    let printed: serde_json::Value = serde_json::from_slice(&o.stdout).unwrap();
    let report = &printed["report"];
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("nc_matmul") && page.contains("let acc = nc.psum"), "no source on the page");
    if let Some(browser) = browser() {
        let dom = dom(&browser, &file, "nc_matmul");
        assert!(dom.contains("data-ready=\"yes\""), "the scripts have not run to their end");
        let us = |v: &serde_json::Value| match v.as_f64().unwrap() {
            ns if ns >= 1e3 => format!("{:.3} µs", ns / 1e3),
            ns if ns.fract() == 0.0 => format!("{ns} ns"),
            ns => format!("{ns:.1} ns"),
        };
        let figures = text(&dom, "figures");
        assert!(figures.contains(&us(&report["kernel_ns"])), "{figures}");
        assert!(
            figures.contains(&format!("{:.1} %", 100.0 * report["metrics"]["mfu"].as_f64().unwrap())),
            "{figures}"
        );
        let lines = text(&dom, "lines");
        for line in report["lines"].as_array().unwrap() {
            let at = format!("{}:{}", line["at"]["file"].as_str().unwrap(), line["at"]["line"]);
            assert!(lines.contains(&at) && lines.contains(&us(&line["busy_ns"])), "{at}: {lines}");
        }
        // The address searches for the products, which are all instructions of the tensor engine.
        let found = text(&dom, "found");
        assert_eq!(found.trim(), format!("{} found", report["engines"][0]["instructions"]));
        assert!(text(&dom, "roofline").contains("of the roof"));
    }
    std::fs::remove_dir_all(dir).unwrap();
}
