//! Native matrix products, beside a library that a user would pick instead, and rows beside the memory's speed. Results are
//! written where earlier ones were, on both sides: fresh memory would measure the page faults.

use super::measure::{Figure, Measured, alone};
use super::{Size, prepare};
use nki::backend::host::{HostKernel, HostOptions, compile};
use nki::check::Prepared;
use nki::ir::{DType, Diagnostics, Tensor};

/// K, M, N.
const SHAPES: [[usize; 3]; 7] = [
    [256, 256, 256],
    [512, 512, 512],
    [1024, 1024, 1024],
    [2048, 2048, 2048],
    [2816, 512, 1024],
    [4096, 1, 4096],
    [4096, 16, 14336],
];

pub fn run(size: Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    for [k, m, n] in SHAPES.map(|s| s.map(|x| (x / size.divide).max(1))) {
        for (kernel, dtype) in
            [("matmul", DType::F32), ("matmul", DType::BF16), ("matmul_blocked", DType::F32)]
        {
            let prepared = prepare(kernel, dtype, &[("k", k), ("m", m), ("n", n)])?;
            let flops = Figure::Giga(2.0 * (k * m * n) as f64, "GFLOP/s");
            for threads in [Some(1), None] {
                let mut native = Native::new(&prepared, threads)?;
                let cores = if threads.is_some() { "1 thread" } else { "all cores" };
                let name = format!("{kernel} {k}x{m}x{n} {dtype}, {cores}");
                let peer = (prepared.inputs(), [k, m, n], threads);
                product(&name, flops, size, &mut || native.run(), peer, report)?;
            }
        }
    }
    for kernel in ["softmax", "rmsnorm"] {
        for dtype in [DType::F32, DType::BF16] {
            rows(kernel, dtype, size, report)?;
        }
    }
    call(report, size)
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

/// Rows of 4096 numbers: bytes that must move, per second, beside a copy of as many.
fn rows(kernel: &str, dtype: DType, size: Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let (rows, columns) = ((4096 / size.divide).max(1), (4096 / size.divide).max(1));
    let prepared = prepare(kernel, dtype, &[("rows", rows), ("columns", columns)])?;
    let bytes = rows * columns * dtype.bytes();
    let (from, mut to) = (vec![1u8; bytes], vec![0u8; bytes]);
    for threads in [Some(1), None] {
        let mut native = Native::new(&prepared, threads)?;
        let mut copy = || {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&to);
            Ok(())
        };
        let cores = if threads.is_some() { "1 thread" } else { "all cores" };
        let name = format!("{kernel} {rows}x{columns} {dtype}, {cores}");
        let figure = Figure::Giga(2.0 * bytes as f64, "GB/s");
        report(super::measure::beside(
            name,
            figure,
            size.time,
            &mut || native.run(),
            ("a copy, 1 thread", &mut copy),
        )?);
    }
    Ok(())
}

/// What a call costs beyond its work: a product of single numbers.
fn call(report: &mut dyn FnMut(Measured), size: Size) -> Result<(), Diagnostics> {
    let prepared = prepare("matmul", DType::F32, &[("k", 1), ("m", 1), ("n", 1)])?;
    let mut native = Native::new(&prepared, Some(1))?;
    let mut many = || (0..1000).try_for_each(|_| native.run());
    report(alone("1000 calls", Figure::Milliseconds, size.time, &mut many)?);
    Ok(())
}

type Peer<'a> = (&'a [Tensor], [usize; 3], Option<usize>);

#[cfg(not(feature = "peers"))]
fn product(
    name: &str,
    figure: Figure,
    size: Size,
    ours: super::measure::Run<'_>,
    _: Peer<'_>,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    report(alone(name, figure, size.time, ours)?);
    Ok(())
}

/// Beside the same product in f32: the libraries do not take bf16.
#[cfg(feature = "peers")]
fn product(
    name: &str,
    figure: Figure,
    size: Size,
    ours: super::measure::Run<'_>,
    (inputs, [k, m, n], threads): Peer<'_>,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    use super::measure::beside;
    let f32s = |t: &Tensor| nki::args::to_f64(t).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let (a, b) = (f32s(&inputs[0]), f32s(&inputs[1]));
    let par = if threads.is_some() { faer::Par::Seq } else { faer::Par::rayon(0) };
    let lhs = faer::MatRef::from_row_major_slice(&a, k, m).transpose();
    let rhs = faer::MatRef::from_row_major_slice(&b, k, n);
    let mut c = vec![0f32; m * n];
    let mut peer = || {
        let c = faer::MatMut::from_row_major_slice_mut(&mut c, m, n);
        faer::linalg::matmul::matmul(c, faer::Accum::Replace, lhs, rhs, 1.0, par);
        Ok(())
    };
    report(beside(name, figure, size.time, ours, ("faer f32", &mut peer))?);
    let a = ndarray::ArrayView2::from_shape((k, m), &a).expect("the operand has this shape");
    let b = ndarray::ArrayView2::from_shape((k, n), &b).expect("the operand has this shape");
    let mut c = ndarray::Array2::zeros((m, n));
    let mut peer = || {
        ndarray::linalg::general_mat_mul(1.0, &a.t(), &b, 0.0, &mut c);
        Ok(())
    };
    if threads.is_none() {
        report(beside(name, figure, size.time, ours, ("ndarray f32", &mut peer))?);
    }
    Ok(())
}
