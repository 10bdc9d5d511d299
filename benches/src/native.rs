//! Native matrix products, beside libraries that a user would pick instead.

use super::measure::{Figure, Measured};
use super::{Size, prepare};
use nki::ir::{DType, Diagnostics, Tensor};

pub fn run(size: Size, report: &mut dyn FnMut(Measured)) -> Result<(), Diagnostics> {
    let shapes = [[1024, 1024, 1024], [2048, 2048, 2048], [2816, 512, 1024], [1000, 1, 1000]];
    for [k, m, n] in shapes.map(|s| s.map(|x: usize| (x / size.divide).max(1))) {
        for (kernel, dtype) in
            [("matmul", DType::F32), ("matmul_blocked", DType::F32), ("matmul_blocked", DType::BF16)]
        {
            let prepared = prepare(kernel, dtype, &[("k", k), ("m", m), ("n", n)])?;
            let native = prepared.native()?;
            let mut ours = || native.run(prepared.inputs()).map(drop);
            let flops = Figure::Giga(2.0 * (k * m * n) as f64, "GFLOP/s");
            let name = format!("{kernel} {k}x{m}x{n} {dtype}");
            measure(&name, flops, size, &mut ours, (prepared.inputs(), [k, m, n]), report)?;
        }
    }
    Ok(())
}

type Operands<'a> = (&'a [Tensor], [usize; 3]);

#[cfg(not(feature = "peers"))]
fn measure(
    name: &str,
    figure: Figure,
    size: Size,
    ours: super::measure::Run<'_>,
    _: Operands<'_>,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    report(super::measure::alone(name, figure, size.time, ours)?);
    Ok(())
}

/// Beside the same product in f32 by each of the libraries: neither takes bf16.
#[cfg(feature = "peers")]
fn measure(
    name: &str,
    figure: Figure,
    size: Size,
    ours: super::measure::Run<'_>,
    (inputs, [k, m, n]): Operands<'_>,
    report: &mut dyn FnMut(Measured),
) -> Result<(), Diagnostics> {
    use super::measure::beside;
    let f32s = |t: &Tensor| nki::args::to_f64(t).into_iter().map(|x| x as f32).collect::<Vec<f32>>();
    let (a, b) = (f32s(&inputs[0]), f32s(&inputs[1]));
    let peers = [("1 thread", faer::Par::Seq), ("all cores", faer::Par::rayon(0))];
    for (threads, par) in peers {
        let lhs = faer::MatRef::from_row_major_slice(&a, k, m).transpose();
        let rhs = faer::MatRef::from_row_major_slice(&b, k, n);
        let mut c = vec![0f32; m * n];
        let mut peer = || {
            let c = faer::MatMut::from_row_major_slice_mut(&mut c, m, n);
            faer::linalg::matmul::matmul(c, faer::Accum::Replace, lhs, rhs, 1.0, par);
            Ok(())
        };
        let peer_name = format!("faer f32, {threads}");
        report(beside(name, figure, size.time, ours, (&peer_name, &mut peer))?);
    }
    let a = ndarray::ArrayView2::from_shape((k, m), &a).expect("the operand has this shape");
    let b = ndarray::ArrayView2::from_shape((k, n), &b).expect("the operand has this shape");
    let mut peer = || {
        std::hint::black_box(a.t().dot(&b));
        Ok(())
    };
    report(beside(name, figure, size.time, ours, ("ndarray f32, all cores", &mut peer))?);
    Ok(())
}
