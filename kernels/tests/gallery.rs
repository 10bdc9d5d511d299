//! The book's gallery, against a new simulation. `NKI_BLESS=1 cargo test -p nki-kernels --test gallery` writes it.

use nki_kernels::gallery::{File, gallery};
use std::path::{Path, PathBuf};

/// The book's sources; absent in a packaged crate.
fn book() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src");
    path.is_dir().then_some(path)
}

/// Kernel, target and simulated time of each row of the tables.
fn times(page: &str) -> Vec<(String, String, f64)> {
    let (mut kernel, mut all) = (String::new(), Vec::new());
    for line in page.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            kernel = name.to_string();
        }
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() > 3 && cells[1].starts_with("trn") {
            all.push((kernel.clone(), cells[1].to_string(), cells[2].parse().unwrap_or(f64::NAN)));
        }
    }
    all
}

/// Figures may be this far from a new simulation before the page must be written again: the ratchet is what holds them.
const SLACK: f64 = 0.05;

#[test]
fn the_gallery_is_true() {
    let Some(book) = book() else { return };
    let files = gallery().unwrap();
    if std::env::var_os("NKI_BLESS").is_some() {
        std::fs::create_dir_all(book.join("gallery")).unwrap();
        files.iter().for_each(|f| std::fs::write(book.join(&f.path), &f.text).unwrap());
        return;
    }
    let help = "NKI_BLESS=1 cargo test -p nki-kernels --test gallery";
    let now = times(&files[0].text);
    let then = times(&std::fs::read_to_string(book.join("gallery.md")).unwrap());
    assert!(then.len() > 60, "{} rows", then.len());
    for File { path, .. } in &files {
        let kernel = path.trim_start_matches("gallery/").trim_end_matches(".svg");
        let known = !path.ends_with(".svg") || then.iter().any(|row| row.0 == kernel);
        assert!(known, "{kernel} is not in the gallery: {help}");
        assert!(book.join(path).is_file(), "{path} is missing: {help}");
    }
    for (kernel, target, then) in &then {
        let same = now.iter().find(|row| (&row.0, &row.1) == (kernel, target));
        let (_, _, now) = same.unwrap_or_else(|| panic!("{kernel} on {target} is not measured: {help}"));
        let close = (now - then).abs() <= SLACK * then || (now.is_nan() && then.is_nan());
        assert!(close, "{kernel} on {target}: {now} us, and the gallery says {then}: {help}");
    }
}
