//! Cost of the semantics: nanoseconds per element of each kind of row, and the rate of the matrix product.
//!
//! `cargo run --release -p nki-ir --example sem_speed`

use nki_ir::kernel::Attr;
use nki_ir::op::Engine;
use nki_ir::sem::{Arg, Call, Memory, Span, State, execute};
use nki_ir::target::Gen;
use nki_ir::{ActFn, AluOp, Builder, DType, Loc, Op};
use std::time::Instant;

struct Flat(Vec<u8>);

impl Memory for Flat {
    fn bytes(&self, _: u32) -> &[u8] {
        &self.0
    }
    fn bytes_mut(&mut self, _: u32) -> &mut [u8] {
        &mut self.0
    }
}

const PARTS: u32 = 128;
const ROW: u64 = 192 * 1024;

/// A tile of `n` elements a partition at byte `at` of the partitions of an SBUF.
fn tile(at: u64, n: u32, dtype: DType) -> Arg {
    let dims = [(dtype.bytes() as i64, n)].into_iter().filter(|d| d.1 != 1).collect();
    Arg::Span(Span { mem: 0, base: at, part_stride: ROW, parts: PARTS, dims, dtype })
}

fn time(name: &str, mem: &mut Flat, op: Op, args: &[Arg], attrs: &[(&str, Attr)], work: f64, unit: &str) {
    let mut all = Builder::template(op, Loc(0)).attrs;
    for (name, value) in attrs {
        if let Some(i) = op.row().attr(name) {
            all[i] = value.clone();
        }
    }
    let engine = if op == Op::DmaCopy { Engine::Dma } else { op.row().engines[0].0 };
    let call = Call { op, engine, generation: Gen::Gen3, args, attrs: &all, accumulate: false, salt: 0 };
    let mut state = State::default();
    let mut best = f64::MAX;
    for _ in 0..9 {
        let start = Instant::now();
        if let Err(f) = execute(&call, mem, &mut state) {
            println!("{name}: {f}");
            return;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    match unit {
        "ns" => println!("{name:40} {:8.2} ns/element", best * 1e9 / work),
        _ => println!("{name:40} {:8.1} GFLOP/s", work / best / 1e9),
    }
}

fn main() {
    let mut mem = Flat(vec![0; (PARTS as u64 * ROW) as usize]);
    for (i, b) in mem.0.chunks_exact_mut(4).enumerate() {
        let x = (i as u32).wrapping_mul(2_654_435_761);
        b.copy_from_slice(&((x >> 8) as f32 / (1 << 22) as f32 - 2.0).to_le_bytes());
    }
    let n = 512u32;
    let elements = f64::from(PARTS * n);
    let (a, b, d) = (tile(0, n, DType::F32), tile(4096, n, DType::F32), tile(8192, n, DType::F32));
    let vec = tile(16384, 1, DType::F32);
    let alu = |name, op| (name, Attr::Alu(op));
    for dtype in [DType::F32, DType::BF16, DType::F16, DType::F8E4M3, DType::I32, DType::U8] {
        let (src, dst) = (tile(0, n, DType::F32), tile(20000, n, dtype));
        time(
            &format!("tensor_copy f32 -> {dtype}"),
            &mut mem,
            Op::TensorCopy,
            &[dst.clone(), src],
            &[],
            elements,
            "ns",
        );
        let back = tile(30000, n, if dtype == DType::F32 { DType::BF16 } else { DType::F32 });
        time(
            &format!("tensor_copy {dtype} -> other"),
            &mut mem,
            Op::TensorCopy,
            &[back, dst],
            &[],
            elements,
            "ns",
        );
    }
    for op in [AluOp::Add, AluOp::Maximum, AluOp::Less, AluOp::LogicalAnd, AluOp::Power] {
        let args = [d.clone(), a.clone(), b.clone()];
        time(
            &format!("tensor_tensor {op}"),
            &mut mem,
            Op::TensorTensor,
            &args,
            &[alu("op", op)],
            elements,
            "ns",
        );
    }
    for op in [AluOp::Add, AluOp::Maximum, AluOp::Multiply] {
        let (res, args) = (vec.clone(), [alu("op", op)]);
        time(
            &format!("tensor_reduce {op}"),
            &mut mem,
            Op::TensorReduce,
            &[res, a.clone()],
            &args,
            elements,
            "ns",
        );
    }
    let args = [d.clone(), a.clone(), vec.clone(), Arg::Imm(2.0)];
    let attrs = [alu("op0", AluOp::Subtract), alu("op1", AluOp::Multiply)];
    time("tensor_scalar subtract multiply", &mut mem, Op::TensorScalar, &args, &attrs, elements, "ns");
    for f in ActFn::ALL {
        let args = [d.clone(), a.clone(), vec.clone(), Arg::Imm(1.0), Arg::None];
        time(
            &format!("activation {f}"),
            &mut mem,
            Op::Activation,
            &args,
            &[("op", Attr::Act(*f))],
            elements,
            "ns",
        );
    }
    let transposed = Arg::Span(Span {
        mem: 0,
        base: 60000,
        part_stride: ROW,
        parts: 128,
        dims: [(4, 128)].into_iter().collect(),
        dtype: DType::F32,
    });
    time(
        "nc_transpose 128x128",
        &mut mem,
        Op::NcTranspose,
        &[transposed, tile(0, 128, DType::F32)],
        &[],
        128.0 * 128.0,
        "ns",
    );
    time("dma_copy f32", &mut mem, Op::DmaCopy, &[d.clone(), a.clone()], &[], elements, "ns");
    time(
        "dma_copy f32 -> bf16",
        &mut mem,
        Op::DmaCopy,
        &[tile(8192, n, DType::BF16), a.clone()],
        &[],
        elements,
        "ns",
    );
    let pattern = ("pattern", Attr::Pairs(vec![[1, i64::from(n)]]));
    time(
        "iota i32",
        &mut mem,
        Op::Iota,
        &[tile(8192, n, DType::I32), Arg::None],
        std::slice::from_ref(&pattern),
        elements,
        "ns",
    );
    let select = [pattern, ("on_false_value", Attr::F32(-1.0)), alu("cmp_op", AluOp::Greater)];
    time(
        "affine_select f32",
        &mut mem,
        Op::AffineSelect,
        &[d.clone(), a.clone(), Arg::None],
        &select,
        elements,
        "ns",
    );
    for dtype in [DType::F32, DType::BF16, DType::F8E4M3] {
        let args = [d.clone(), tile(0, 128, dtype), tile(4096, n, dtype)];
        let flops = 2.0 * 128.0 * 128.0 * f64::from(n);
        time(&format!("nc_matmul {dtype} 128x128x512"), &mut mem, Op::NcMatmul, &args, &[], flops, "flops");
    }
}
