//! The book's gallery: for every kernel a picture of its simulated run, how busy it keeps the machine, and how far it is from the
//! roofline of each target.

use crate::figures::{Shape, TARGETS, in_parallel, shapes};
use nki::check::Contract;
use nki::ir::op::Engine;
use nki::ir::{Code, Diagnostics, Target};
use nki::sim::{Constants, SimReport};
use std::fmt::Write;

/// A file of the gallery: its path from the book's sources, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: String,
    pub text: String,
}

/// The target of the pictures.
const PICTURED: Target = Target::Trn2;

/// The gallery, simulated anew: `gallery.md`, then a picture for each kernel.
///
/// # Errors
/// What the simulation of a kernel finds, except that its target lacks an instruction.
pub fn gallery() -> Result<Vec<File>, Diagnostics> {
    // Of several shapes of a kernel the last is the largest.
    let mut chosen: Vec<Shape> = shapes();
    chosen.reverse();
    chosen.dedup_by_key(|s| s.kernel);
    chosen.reverse();
    let items: Vec<(&Shape, Target)> = chosen.iter().flat_map(|s| TARGETS.map(|t| (s, t))).collect();
    let reports = in_parallel(&items, |(shape, target)| shape.simulate(*target));
    let (mut page, mut pictures) = (INTRODUCTION.to_string(), Vec::new());
    for (shape, reports) in chosen.iter().zip(reports.chunks(TARGETS.len())) {
        section(&mut page, shape, reports)?;
        if let Some(Ok(report)) = reports.get(TARGETS.iter().position(|t| *t == PICTURED).unwrap_or(0)) {
            pictures.push(File { path: picture_path(shape.kernel), text: picture(report) });
        }
    }
    let mut files = vec![File { path: "gallery.md".into(), text: page }];
    files.append(&mut pictures);
    Ok(files)
}

const INTRODUCTION: &str = "\
# Gallery

Every kernel of the library, simulated: how long it takes on each target, what it is bound by, and how close it is to the roofline. The
pictures show the run on trn2, from left to right: for each engine how busy it is. `nki simulate KERNEL --html FILE` shows any of them
in detail.

- *Busy* is the share of the time that an engine cannot take its next instruction.
- *Roof* is the share of the time that the kernel's products would take at the peak of the tensor engine in bf16, or its transfers to and
  from HBM at the full rate of the 16 DMA engines, whichever is longer. Work of the vector, scalar and GpSimd engines is not counted, so
  that a kernel which they bound stays below its roof.

This page and its pictures are written by `NKI_BLESS=1 cargo test -p nki-kernels --test gallery`; the same test without the variable
compares them with a new simulation.
";

fn picture_path(kernel: &str) -> String {
    format!("gallery/{kernel}.svg")
}

fn section(
    page: &mut String,
    shape: &Shape,
    reports: &[Result<SimReport, Diagnostics>],
) -> Result<(), Diagnostics> {
    let about = shape.contract().map_or(String::new(), |c: &Contract| c.kernel.about());
    // Writing to a string does not fail.
    let _ = write!(page, "\n## {}\n\n{about}\n\n", shape.kernel);
    if reports.iter().zip(TARGETS).any(|(r, t)| t == PICTURED && r.is_ok()) {
        let _ = write!(page, "![{} on {PICTURED}]({})\n\n", shape.kernel, picture_path(shape.kernel));
    }
    let _ = writeln!(page, "`{shape}`\n");
    *page +=
        "| target | simulated µs | tensor | vector | scalar | gpsimd | dma | bound by | flop/byte | roof |\n";
    *page += "|---|---|---|---|---|---|---|---|---|---|\n";
    for (report, target) in reports.iter().zip(TARGETS) {
        match report {
            Ok(r) => row(page, r),
            Err(e) if e.first_code().is_some_and(missing) => {
                let why = e.iter().next().map_or(String::new(), |d| d.message.clone());
                let _ = writeln!(page, "| {target} | – | | | | | | {why} | | |");
            }
            Err(e) => return Err(e.clone()),
        }
    }
    Ok(())
}

/// The target cannot run it: an instruction or a dtype that it lacks, or too little memory.
fn missing(code: Code) -> bool {
    matches!(code, Code::Target | Code::Engine | Code::Dtype | Code::Parameter | Code::SbufCapacity)
}

fn row(page: &mut String, r: &SimReport) {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let busy = |engine: Engine| {
        let of = r.engines.iter().filter(|e| e.engine == engine).map(|e| e.busy_ns).sum::<f64>();
        percent(of / r.kernel_ns)
    };
    let bound = if r.bound.latency { "waiting".to_string() } else { r.bound.resource.clone() };
    let (side, share) = roof(r);
    let _ = writeln!(
        page,
        "| {} | {:.2} | {} | {} | {} | {} | {} | {bound} | {:.1} | {side}, {} |",
        r.target,
        r.kernel_ns / 1e3,
        busy(Engine::Tensor),
        busy(Engine::Vector),
        busy(Engine::Scalar),
        busy(Engine::GpSimd),
        percent(r.dma.active_ns / r.kernel_ns),
        r.metrics.intensity,
        percent(share),
    );
}

/// Which side of the roofline a run is under, and how close it is to it.
fn roof(r: &SimReport) -> (&'static str, f64) {
    let k = Constants::of(r.target);
    let products = r.flops.useful as f64 / k.peak_flops_per_ns();
    let read = r.traffic.hbm_read as f64 / k.dma.read_bpns;
    let transfers = (read + r.traffic.hbm_written as f64 / k.dma.write_bpns) / 16.0;
    let side = if products > transfers { "compute" } else { "memory" };
    (side, products.max(transfers) / r.kernel_ns)
}

/// Columns of a picture.
const COLUMNS: usize = 96;
const WIDTH: usize = 5;
const HEIGHT: usize = 20;
const LEFT: usize = 64;

/// Rows of a picture, by the report's chart: the engines in the order of its rows, then DMA.
const ROWS: [(&str, &str); 6] = [
    ("tensor", "#4878cf"),
    ("vector", "#6acc65"),
    ("scalar", "#d65f5f"),
    ("gpsimd", "#b47cc7"),
    ("sync", "#8c8c8c"),
    ("dma", "#c4ad66"),
];

/// How busy each engine is over time, as SVG.
fn picture(r: &SimReport) -> String {
    let names = nki::sim::program::STREAM_ENGINES.map(|e| e.name());
    let rows = names.iter().copied().chain(["dma"]).zip(&r.chart.rows);
    let shown: Vec<(&str, &str, &Vec<f64>)> = rows
        .filter_map(|(name, bins)| {
            let (_, colour) = ROWS.iter().find(|row| row.0 == name && name != "sync")?;
            Some((name, *colour, bins))
        })
        .collect();
    let (width, height) = (LEFT + COLUMNS * WIDTH + 4, shown.len() * (HEIGHT + 6) + 22);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#888\">\n"
    );
    for (i, (name, colour, bins)) in shown.iter().enumerate() {
        let bottom = i * (HEIGHT + 6) + HEIGHT;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{name}</text>", bottom - 5);
        let mut path = format!("M{LEFT} {bottom}");
        for share in resampled(bins, r.kernel_ns / r.chart.bin_ns) {
            let top = bottom - (share.clamp(0.0, 1.0) * HEIGHT as f64).round() as usize;
            let _ = write!(path, "V{top}h{WIDTH}");
        }
        let _ = writeln!(svg, "<path fill=\"{colour}\" d=\"{path}V{bottom}Z\"/>");
        let _ = writeln!(svg, "<path stroke=\"#ccc\" d=\"M{LEFT} {bottom}h{}\"/>", COLUMNS * WIDTH);
    }
    let (y, right) = (height - 6, LEFT + COLUMNS * WIDTH);
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{y}\">0</text>");
    let end = format!("{:.1} µs simulated", r.kernel_ns / 1e3);
    let _ = writeln!(svg, "<text x=\"{right}\" y=\"{y}\" text-anchor=\"end\">{end}</text>\n</svg>");
    svg
}

/// The first `used` bins as [`COLUMNS`] columns, each the mean of the bins under it.
fn resampled(bins: &[f64], used: f64) -> Vec<f64> {
    let used = used.min(bins.len() as f64);
    let column = |c: usize| {
        let (from, to) = (used * c as f64 / COLUMNS as f64, used * (c + 1) as f64 / COLUMNS as f64);
        let under = |i: usize| (((i + 1) as f64).min(to) - (i as f64).max(from)).max(0.0);
        let area: f64 = bins.iter().enumerate().map(|(i, x)| x * under(i)).sum();
        if to > from { area / (to - from) } else { 0.0 }
    };
    (0..COLUMNS).map(column).collect()
}

#[test]
fn columns_are_means_of_bins() {
    assert_eq!(resampled(&[1.0; 30], 30.0), [1.0; COLUMNS]);
    let half: Vec<f64> = (0..2 * COLUMNS).map(|i| (i % 2) as f64).collect();
    assert!(resampled(&half, half.len() as f64).iter().all(|x| (x - 0.5).abs() < 1e-12));
    let steps = resampled(&[0.0, 1.0], 2.0);
    assert!(steps[..COLUMNS / 2].iter().all(|x| *x == 0.0) && steps[COLUMNS / 2..].iter().all(|x| *x == 1.0));
}
