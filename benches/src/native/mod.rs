//! Native execution beside what a user would pick instead: libraries for products and rows (feature `peers`), and the
//! memory's speed where that is the bound. Results are written where earlier ones were, on all sides: fresh memory would
//! measure the page faults. Everything runs on one thread and on all cores.

#[cfg(feature = "peers")]
mod peers;
mod sources;

use super::measure::{Figure, Measured, Run, beside};
use super::{Size, prepare};
use nki::backend::host::{HostKernel, HostOptions, compile};
use nki::check::Prepared;
use nki::ir::{DType, Diagnostics, Target};
use rayon::prelude::*;

/// M, K, N.
const SHAPES: [[usize; 3]; 7] = [
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [4096, 4096, 4096],
    [128, 4096, 11008],
    [512, 2048, 8192],
];

/// M, K, N: products that read their second operand once.
const DECODE: [[usize; 3]; 2] = [[1, 4096, 4096], [16, 4096, 14336]];

const FLOATS: [DType; 2] = [DType::F32, DType::BF16];

/// A peer and what it is called.
type Peer<'a> = (&'static str, Box<dyn FnMut() + 'a>);

pub fn run(size: &Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        for shape in SHAPES {
            product(size, "matmul", shape, dtype, report)?;
        }
    }
    product(size, "matmul_blocked", [1024; 3], DType::F32, report)?;
    product(size, "matmul_blocked", [250, 1, 250], DType::F32, report)?;
    for dtype in FLOATS {
        for shape in DECODE {
            product(size, "matmul", shape, dtype, report)?;
        }
    }
    for dtype in FLOATS {
        for rows in ROWS {
            self::rows(size, rows, dtype, report)?;
        }
    }
    for dtype in FLOATS {
        mlp(size, dtype, report)?;
        attention(size, dtype, report)?;
    }
    call(size, report)
}

/// A compiled kernel, its arguments and room for its results.
struct Native<'a> {
    kernel: HostKernel,
    inputs: Vec<&'a [u8]>,
    outputs: Vec<Vec<u8>>,
}

impl<'a> Native<'a> {
    fn new(prepared: &'a Prepared, threads: Option<usize>) -> Result<Self, Diagnostics> {
        let kernel = compile(prepared.verified(), &HostOptions { threads })?;
        let outputs = kernel.kernel().outputs().map(|(_, b)| vec![0; b.row_bytes() as usize]).collect();
        let inputs = prepared.inputs().iter().map(|t| t.data.as_slice()).collect();
        Ok(Native { kernel, inputs, outputs })
    }

    fn run(&mut self) -> Result<(), Diagnostics> {
        let mut outputs: Vec<&mut [u8]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        self.kernel.run_bytes(&self.inputs, &mut outputs)
    }
}

/// One thread, and all cores.
const THREADS: [Option<usize>; 2] = [Some(1), None];

/// Measures a kernel beside its peers on one thread and on all cores, if it is among those that were asked for.
fn measure(
    size: &Size,
    name: &str,
    figure: Figure,
    prepared: impl FnOnce() -> Result<Prepared, Diagnostics>,
    peers: impl for<'p> Fn(&'p Prepared, Option<usize>) -> Vec<Peer<'p>>,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    if !name.contains(&size.only) {
        return Ok(());
    }
    let prepared = prepared()?;
    for threads in THREADS {
        let mut native = Native::new(&prepared, threads)?;
        let mut peers: Vec<_> = peers(&prepared, threads)
            .into_iter()
            .map(|(name, mut run)| {
                (name, move || {
                    run();
                    Ok(())
                })
            })
            .collect();
        let mut others: Vec<(&str, Run)> = peers.iter_mut().map(|(name, run)| (*name, run as Run)).collect();
        let cores = if threads.is_some() { "1 thread" } else { "all cores" };
        let mut ours = || native.run();
        report(beside(format!("{name}, {cores}"), figure, size.time, &mut ours, &mut others)?);
    }
    Ok(())
}

fn product(
    size: &Size,
    kernel: &str,
    shape: [usize; 3],
    dtype: DType,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    let [m, k, n] = shape.map(|x| x.div_ceil(size.divide));
    let name = format!("{kernel} {m}x{k}x{n} {dtype}");
    let prepared = || prepare(kernel, dtype, &[("k", k), ("m", m), ("n", n)], &[]);
    // Few rows: what counts is how fast the second operand is read.
    if DECODE.contains(&shape) {
        let figure = Figure::Giga((k * n * dtype.bytes()) as f64, "GB/s");
        return measure(
            size,
            &name,
            figure,
            prepared,
            |p, threads| reading(&p.inputs()[1].data, threads),
            report,
        );
    }
    let figure = Figure::Giga(2.0 * (k * m * n) as f64, "GFLOP/s");
    measure(size, &name, figure, prepared, |p, threads| libraries(p, dtype, [m, k, n], threads), report)
}

#[cfg(feature = "peers")]
fn libraries(p: &Prepared, dtype: DType, shape: [usize; 3], threads: Option<usize>) -> Vec<Peer<'_>> {
    peers::products(&p.inputs()[0], &p.inputs()[1], dtype, shape, threads)
}

#[cfg(not(feature = "peers"))]
fn libraries(_: &Prepared, _: DType, _: [usize; 3], _: Option<usize>) -> Vec<Peer<'_>> {
    Vec::new()
}

/// Reads bytes, and does nothing else with them.
fn reading(bytes: &[u8], threads: Option<usize>) -> Vec<Peer<'_>> {
    fn sum(bytes: &[u8]) -> u64 {
        let mut sums = [0u64; 16];
        for piece in bytes.chunks_exact(128) {
            for (sum, word) in sums.iter_mut().zip(piece.chunks_exact(8)) {
                *sum ^= u64::from_le_bytes(word.try_into().expect("a piece of 8 bytes"));
            }
        }
        sums.into_iter().fold(0, |a, b| a ^ b)
    }
    let read: Box<dyn FnMut()> = match threads {
        Some(_) => Box::new(move || _ = std::hint::black_box(sum(bytes))),
        None => Box::new(move || {
            std::hint::black_box(bytes.par_chunks(1 << 20).map(sum).reduce(|| 0, |a, b| a ^ b));
        }),
    };
    vec![("reading it", read)]
}

/// Kernels that work row by row.
#[derive(Clone, Copy, PartialEq)]
enum Rows {
    Softmax,
    RmsNorm,
    SiluMul,
    Gelu,
    GeluTanh,
}

const ROWS: [Rows; 5] = [Rows::Softmax, Rows::RmsNorm, Rows::SiluMul, Rows::Gelu, Rows::GeluTanh];

impl Rows {
    fn name(self) -> &'static str {
        match self {
            Rows::Softmax => "softmax",
            Rows::RmsNorm => "rmsnorm",
            Rows::SiluMul => "silu(gate)*up",
            Rows::Gelu => "gelu",
            Rows::GeluTanh => "gelu_tanh",
        }
    }

    fn prepare(self, [rows, columns]: [usize; 2], dtype: DType) -> Result<Prepared, Diagnostics> {
        let dims = [("rows", rows), ("columns", columns)];
        match self {
            Rows::Softmax | Rows::RmsNorm => prepare(self.name(), dtype, &dims, &[]),
            Rows::Gelu | Rows::GeluTanh => prepare("activation", dtype, &dims, &[("function", self.name())]),
            Rows::SiluMul => sources::silu_mul([rows, columns], dtype, Target::Trn2),
        }
    }

    /// Tensors of the result's size that are read.
    fn tensors(self) -> usize {
        if self == Rows::SiluMul { 2 } else { 1 }
    }
}

/// Rows of 4096 numbers: bytes that must move, per second, beside a copy of as many.
fn rows(
    size: &Size,
    kernel: Rows,
    dtype: DType,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    let shape = [4096usize.div_ceil(size.divide); 2];
    let name = format!("{} {}x{} {dtype}", kernel.name(), shape[0], shape[1]);
    let bytes = shape[0] * shape[1] * dtype.bytes();
    let figure = Figure::Giga(((kernel.tensors() + 1) * bytes) as f64, "GB/s");
    let half = bytes * (kernel.tensors() + 1) / 2;
    measure(
        size,
        &name,
        figure,
        || kernel.prepare(shape, dtype),
        |p, threads| {
            let mut all: Vec<Peer> = vec![("a copy", copying(half, threads))];
            all.extend(row_library(kernel, p, dtype, shape[1], threads));
            all
        },
        report,
    )
}

#[cfg(feature = "peers")]
fn row_library(
    kernel: Rows,
    p: &Prepared,
    dtype: DType,
    columns: usize,
    threads: Option<usize>,
) -> Option<Peer<'_>> {
    (dtype == DType::F32).then(|| peers::rows(kernel, p.inputs(), columns, threads))
}

#[cfg(not(feature = "peers"))]
fn row_library(_: Rows, _: &Prepared, _: DType, _: usize, _: Option<usize>) -> Option<Peer<'static>> {
    None
}

/// Copies that many bytes.
fn copying<'a>(bytes: usize, threads: Option<usize>) -> Box<dyn FnMut() + 'a> {
    let (from, mut to) = (vec![1u8; bytes], vec![0u8; bytes]);
    let piece = if threads.is_some() { bytes.max(1) } else { 1 << 20 };
    Box::new(move || {
        let pieces = to.par_chunks_mut(piece).zip(from.par_chunks(piece));
        match threads {
            Some(_) => to.copy_from_slice(&from),
            None => pieces.for_each(|(to, from)| to.copy_from_slice(from)),
        }
        std::hint::black_box(&to);
    })
}

/// A SwiGLU layer, beside a composition of products of a library and a loop.
fn mlp(size: &Size, dtype: DType, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let [t, h, i] = [512usize, 2048, 8192].map(|x| x.div_ceil(size.divide));
    let name = format!("mlp {t}x{h}x{i} {dtype}");
    let figure = Figure::Giga(6.0 * (t * h * i) as f64, "GFLOP/s");
    let dims = [("tokens", t), ("hidden", h), ("inner", i)];
    let weight = ("w_gate", "normal(0,0.05)");
    let prepared = || prepare("mlp", dtype, &dims, &[weight]);
    measure(size, &name, figure, prepared, |p, threads| layer_library(p, dtype, [t, h, i], threads), report)
}

#[cfg(feature = "peers")]
fn layer_library(p: &Prepared, dtype: DType, shape: [usize; 3], threads: Option<usize>) -> Vec<Peer<'_>> {
    if dtype == DType::F32 { peers::swiglu(p.inputs(), shape, threads) } else { Vec::new() }
}

#[cfg(not(feature = "peers"))]
fn layer_library(_: &Prepared, _: DType, _: [usize; 3], _: Option<usize>) -> Vec<Peer<'_>> {
    Vec::new()
}

/// Causal attention: operations on what is not masked.
fn attention(size: &Size, dtype: DType, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let (heads, n, d) = (8usize.div_ceil(size.divide), 2048usize.div_ceil(size.divide), 128);
    let name = format!("causal attention {heads}x{n}x{d} {dtype}");
    let figure = Figure::Giga(2.0 * (heads * n * n * d) as f64, "GFLOP/s");
    let dims = [("heads", heads), ("kv_heads", heads), ("queries", n), ("keys", n), ("d", d)];
    let prepared = || prepare("attention", dtype, &dims, &[("causal", "true")]);
    measure(size, &name, figure, prepared, |_, _| Vec::new(), report)
}

/// What a call costs beyond its work: a product of single numbers.
fn call(size: &Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    if !"1000 calls".contains(&size.only) {
        return Ok(());
    }
    let prepared = prepare("matmul", DType::F32, &[("k", 1), ("m", 1), ("n", 1)], &[])?;
    for (threads, cores) in [(Some(1), "1 thread"), (None, "all cores")] {
        let mut native = Native::new(&prepared, threads)?;
        let mut many = || (0..1000).try_for_each(|_| native.run());
        let name = format!("1000 calls, {cores}");
        report(super::measure::alone(name, Figure::Milliseconds, size.time, &mut many)?);
    }
    Ok(())
}
