//! Libraries that do the same. Their operands lie as the kernels' do: `a` as `[K, M]`, `b` as `[K, N]`, the result `[M, N]`.
#![allow(unsafe_code, reason = "the interface of crate gemm is unsafe")]

use super::{Peer, Rows};
use half::{bf16, f16};
use nki::ir::{DType, Tensor};
use rayon::prelude::*;
use rten_simd::{SimdOp, SimdUnaryOp};
use std::mem::MaybeUninit;

fn f32s(t: &Tensor) -> Vec<f32> {
    nki::args::to_f64(t).into_iter().map(|x| x as f32).collect()
}

fn halves<T>(t: &Tensor, of: impl Fn(f32) -> T) -> Vec<T> {
    f32s(t).into_iter().map(of).collect()
}

fn gemmkit<'a, T: gemmkit::GemmScalar>(
    (a, b): (Vec<T>, Vec<T>),
    [m, k, n]: [usize; 3],
    [zero, one]: [T; 2],
    threads: Option<usize>,
) -> Box<dyn FnMut() + 'a>
where
    T: 'a,
{
    let mut c = vec![zero; m * n];
    let par = match threads {
        Some(_) => gemmkit::Parallelism::Serial,
        None => gemmkit::Parallelism::Rayon(0),
    };
    Box::new(move || {
        let a = gemmkit::MatRef::new(&a, m, k, 1, m as isize);
        let b = gemmkit::MatRef::from_row_major(&b, k, n);
        gemmkit::gemm(one, a, b, zero, gemmkit::MatMut::from_row_major(&mut c, m, n), par);
        std::hint::black_box(&c);
    })
}

fn gemm<'a, T: Copy + 'static>(
    (a, b): (Vec<T>, Vec<T>),
    [m, k, n]: [usize; 3],
    [zero, one]: [T; 2],
    threads: Option<usize>,
) -> Box<dyn FnMut() + 'a> {
    let mut c = vec![zero; m * n];
    let par = match threads {
        Some(_) => gemm::Parallelism::None,
        None => gemm::Parallelism::Rayon(0),
    };
    Box::new(move || {
        let (row, col) = ((n as isize, m as isize), (1, 1));
        // SAFETY: the three matrices have m·k, k·n and m·n elements at these strides.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                c.as_mut_ptr(),
                col.0,
                row.0,
                false,
                a.as_ptr(),
                row.1,
                col.1,
                b.as_ptr(),
                1,
                row.0,
                zero,
                one,
                false,
                false,
                false,
                par,
            )
        }
        std::hint::black_box(&c);
    })
}

fn faer<'a>(
    a: Vec<f32>,
    b: Vec<f32>,
    [m, k, n]: [usize; 3],
    threads: Option<usize>,
) -> Box<dyn FnMut() + 'a> {
    let mut c = vec![0f32; m * n];
    let par = if threads.is_some() { faer::Par::Seq } else { faer::Par::rayon(0) };
    Box::new(move || {
        let lhs = faer::MatRef::from_row_major_slice(&a, k, m).transpose();
        let rhs = faer::MatRef::from_row_major_slice(&b, k, n);
        let out = faer::MatMut::from_row_major_slice_mut(&mut c, m, n);
        faer::linalg::matmul::matmul(out, faer::Accum::Replace, lhs, rhs, 1.0, par);
        std::hint::black_box(&c);
    })
}

/// Its number of threads is fixed when the process starts, so it is measured on all cores only.
fn ndarray<'a>(a: Vec<f32>, b: Vec<f32>, [m, k, n]: [usize; 3]) -> Box<dyn FnMut() + 'a> {
    let a = ndarray::Array2::from_shape_vec((k, m), a).expect("the operand has this shape");
    let b = ndarray::Array2::from_shape_vec((k, n), b).expect("the operand has this shape");
    let mut c = ndarray::Array2::zeros((m, n));
    Box::new(move || {
        ndarray::linalg::general_mat_mul(1.0, &a.t(), &b, 0.0, &mut c);
        std::hint::black_box(&c);
    })
}

/// The product in the same dtype.
pub fn products<'a>(
    a: &Tensor,
    b: &Tensor,
    dtype: DType,
    shape: [usize; 3],
    threads: Option<usize>,
) -> Vec<Peer<'a>> {
    let both = || (f32s(a), f32s(b));
    match dtype {
        DType::BF16 => {
            let both = (halves(a, bf16::from_f32), halves(b, bf16::from_f32));
            vec![("gemmkit", gemmkit(both, shape, [bf16::ZERO, bf16::ONE], threads))]
        }
        DType::F16 => {
            let both = (halves(a, f16::from_f32), halves(b, f16::from_f32));
            vec![
                ("gemmkit", gemmkit(both.clone(), shape, [f16::ZERO, f16::ONE], threads)),
                ("gemm", gemm(both, shape, [f16::ZERO, f16::ONE], threads)),
            ]
        }
        _ => {
            let mut all: Vec<Peer> = vec![
                ("gemm", gemm(both(), shape, [0.0, 1.0], threads)),
                ("gemmkit", gemmkit(both(), shape, [0.0, 1.0], threads)),
                ("faer", faer(both().0, both().1, shape, threads)),
            ];
            if threads.is_none() {
                all.push(("ndarray", ndarray(both().0, both().1, shape)));
            }
            all
        }
    }
}

/// A layer of three products by gemmkit, and `silu(gate) · up` by rten-vecmath's silu and a loop.
pub fn swiglu<'a>(inputs: &[Tensor], [t, h, i]: [usize; 3], threads: Option<usize>) -> Vec<Peer<'a>> {
    let [x, w_gate, w_up, w_down] = [0, 1, 2, 3].map(|n| f32s(&inputs[n]));
    let (mut gate, mut up, mut out) = (vec![0f32; t * i], vec![0f32; t * i], vec![0f32; t * h]);
    let par = match threads {
        Some(_) => gemmkit::Parallelism::Serial,
        None => gemmkit::Parallelism::Rayon(0),
    };
    let product = move |a: &[f32], b: &[f32], c: &mut [f32], [m, k, n]: [usize; 3]| {
        let (a, b) = (gemmkit::MatRef::from_row_major(a, m, k), gemmkit::MatRef::from_row_major(b, k, n));
        gemmkit::gemm(1.0, a, b, 0.0, gemmkit::MatMut::from_row_major(c, m, n), par);
    };
    let layer = move || {
        product(&x, &w_gate, &mut gate, [t, h, i]);
        product(&x, &w_up, &mut up, [t, h, i]);
        let rows = |(gate, up): (&mut [f32], &[f32])| {
            rten_vecmath::Silu {}.map_mut(gate);
            gate.iter_mut().zip(up).for_each(|(g, u)| *g *= u);
        };
        match threads {
            Some(_) => gate.chunks_mut(i).zip(up.chunks(i)).for_each(rows),
            None => gate.par_chunks_mut(i).zip(up.par_chunks(i)).for_each(rows),
        }
        product(&gate, &w_down, &mut out, [t, i, h]);
        std::hint::black_box(&out);
    };
    vec![("gemmkit + rten-vecmath", Box::new(layer))]
}

/// The rows by rten-vecmath.
pub fn rows<'a>(kernel: Rows, inputs: &[Tensor], columns: usize, threads: Option<usize>) -> Peer<'a> {
    let x = f32s(&inputs[0]);
    let other = inputs.get(1).map(f32s).unwrap_or_default();
    let mut out = vec![MaybeUninit::new(0f32); x.len()];
    let row = move |(r, (x, out)): (usize, (&[f32], &mut [MaybeUninit<f32>]))| match kernel {
        Rows::Softmax => {
            rten_vecmath::Softmax::new(x, out).dispatch();
        }
        Rows::RmsNorm => {
            let squares = rten_vecmath::SumSquare::new(x).dispatch();
            let scale = 1.0 / (squares / x.len() as f32 + 1e-6).sqrt();
            let options =
                rten_vecmath::NormalizeOptions { scale, element_scale: Some(&other), ..Default::default() };
            rten_vecmath::Normalize::new(x, out, options).dispatch();
        }
        Rows::SiluMul => {
            let out = rten_vecmath::Silu {}.map(x, out);
            out.iter_mut().zip(&other[r * columns..]).for_each(|(y, u)| *y *= u);
        }
        Rows::Gelu => drop(rten_vecmath::Gelu {}.map(x, out).len()),
        Rows::GeluTanh => drop(rten_vecmath::ApproxGelu {}.map(x, out).len()),
    };
    let all = move || {
        match threads {
            Some(_) => x.chunks(columns).zip(out.chunks_mut(columns)).enumerate().for_each(&row),
            None => x.par_chunks(columns).zip(out.par_chunks_mut(columns)).enumerate().for_each(&row),
        }
        std::hint::black_box(&out);
    };
    ("rten-vecmath", Box::new(all))
}
