//! Operations of `nki.language` in every mode (isa.md section 10), beside those that the kernels of the library use.

use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Tensor};
use nki::prelude::*;
use nki::{bf16, f8e4m3};

fn numbers(dtype: DType, shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    from_f64(dtype, shape, &(0..n).map(|i| ((i * 7) % 23) as f64 - 9.0).collect::<Vec<_>>()).unwrap()
}

#[nki::kernel]
fn transposed<T: Elem>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([columns, rows]);
    nc.store(out, nc.load_transpose2d(x));
    out
}

#[test]
fn loads_transpose() {
    for (rows, columns) in [(1, 1), (1, 7), (37, 5), (200, 128)] {
        for dtype in [DType::F32, DType::BF16] {
            let x = numbers(dtype, &[rows, columns]);
            let v = to_f64(&x);
            let want: Vec<f64> = (0..rows * columns).map(|i| v[i % rows * columns + i / rows]).collect();
            for mode in Mode::ALL {
                for target in Target::ALL {
                    let got = match dtype {
                        DType::F32 => transposed::specialize::<f32>(&x).run(mode, target),
                        _ => transposed::specialize::<bf16>(&x).run(mode, target),
                    };
                    let got = got.unwrap_or_else(|e| panic!("{mode} {rows} x {columns}: {e}"));
                    assert_eq!(to_f64(&got[0]), want, "{mode}: {rows} x {columns}");
                }
            }
        }
    }
    let refused = transposed::specialize::<f8e4m3>([4, 4]).verify(Target::Trn2).unwrap_err();
    assert!(refused.iter().any(|d| d.code == Code::Dtype), "{refused}");
}

#[nki::kernel]
fn picked(nc: Nc, x: Hbm<bf16>, at: Hbm<u32>) -> Hbm<bf16> {
    let out = nc.hbm(at.shape());
    nc.store(out, nc.load(x).gather_flattened(nc.load(at)));
    out
}

#[test]
fn elements_are_gathered_from_flattened_rows() {
    let (p, n) = (19, 600);
    let x = numbers(DType::BF16, &[p, 4, 6]);
    let cells: Vec<f64> = (0..p * n).map(|i| ((i * 11 + i / n) % 24) as f64).collect();
    let at = from_f64(DType::U32, &[p, n], &cells).unwrap();
    let v = to_f64(&x);
    let want: Vec<f64> = cells.iter().enumerate().map(|(i, c)| v[i / n * 24 + *c as usize]).collect();
    for mode in Mode::ALL {
        let got = picked::specialize(&x, &at).run(mode, Target::Trn2).unwrap();
        assert_eq!(to_f64(&got[0]), want, "{mode}");
    }
    let mut outside = at.clone();
    outside.data[..4].copy_from_slice(&24u32.to_le_bytes());
    for mode in Mode::ALL {
        let error = picked::specialize(&x, &outside).run(mode, Target::Trn2).unwrap_err();
        assert!(error.iter().all(|d| d.code == Code::RuntimeIndex), "{mode}: {error}");
    }
}

/// A table of weights, with long runs, many short ones, and ramps.
#[nki::kernel]
fn weighted(nc: Nc, x: Hbm<f32>, table: Vec<f64>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let weights = nc.shared_constant::<f32>(x.shape(), &table);
    nc.store(out, nc.load(x) * nc.load(weights));
    out
}

#[test]
fn constants_are_what_they_say() {
    let x = numbers(DType::F32, &[3, 50]);
    let table: Vec<f64> = (0..150).map(|i| if i < 70 { 2.0 } else { f64::from(i % 5) }).collect();
    let want: Vec<f64> = to_f64(&x).iter().zip(&table).map(|(x, w)| x * w).collect();
    for mode in Mode::ALL {
        let got = weighted::specialize(&x, table.clone()).run(mode, Target::Trn2).unwrap();
        assert_eq!(to_f64(&got[0]), want, "{mode}");
    }
    let code = |values: Vec<f64>, shape: [usize; 2]| {
        let found = weighted::specialize(shape, values).trace().unwrap_err();
        found.iter().map(|d| d.code).collect::<Vec<_>>()
    };
    assert_eq!(code(vec![1.0; 7], [1, 8]), [Code::Shape]);
    assert_eq!(code((0..5000).map(|i| f64::from(i) + 0.5).collect(), [5, 1000]), [Code::Limit]);
    // Ramps of whole numbers take an instruction each, however long.
    let x = numbers(DType::F32, &[5, 1000]);
    let ramps = |i: i32| {
        f64::from(if i < 3000 {
            i
        } else if i < 3010 {
            7
        } else {
            9000 - 3 * i
        })
    };
    let table: Vec<f64> = (0..5000).map(ramps).collect();
    let want: Vec<f64> =
        to_f64(&x).iter().zip(&table).map(|(x, w)| f64::from(*x as f32 * *w as f32)).collect();
    for mode in Mode::ALL {
        let got = weighted::specialize(&x, table.clone()).run(mode, Target::Trn2).unwrap();
        assert_eq!(to_f64(&got[0]), want, "{mode}");
    }
}

#[nki::kernel]
fn kept_in_order(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let y = nc.load(x);
    nc.no_reorder(|| {
        for _ in nc.range(3) {
            nc.tensor_scalar(y, y, Alu::Add, 1.0);
            nc.tensor_scalar(y, y, Alu::Multiply, 2.0);
        }
    });
    nc.store(out, y);
    out
}

#[test]
fn order_is_kept() {
    let x = numbers(DType::F32, &[5, 9]);
    let want: Vec<f64> = to_f64(&x).iter().map(|v| 8.0 * v + 14.0).collect();
    for mode in Mode::ALL {
        let got = kept_in_order::specialize(&x).run(mode, Target::Trn2).unwrap();
        assert_eq!(to_f64(&got[0]), want, "{mode}");
    }
    let text = nki::ir::text::print(&kept_in_order::specialize(&x).trace().unwrap().kernel);
    assert!(text.contains("no_reorder"), "{text}");
}
