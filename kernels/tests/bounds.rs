//! How close the library's kernels come to what bounds them, in simulated time. These figures may only improve.

use nki::Specialization;
use nki::backend::device::{CompileOptions, compile};
use nki::check::gate;
use nki::ir::Diagnostics;
use nki::prelude::*;
use nki::sim::{Constants, Mode, SimOptions, SimReport};
use nki_kernels::softmax;
use nki_kernels::{
    activation, add, attention, attention_decode, elementwise, foreach, matmul, mlp, qkv, rmsnorm, rope,
};

fn simulate(kernel: Specialization) -> SimReport {
    let kernel = kernel.trace().unwrap().kernel;
    let verified = gate(kernel, Target::Trn2, &mut Diagnostics::new()).unwrap();
    let program = compile(&verified, &CompileOptions::default()).unwrap().program;
    let program = nki::sim::verify(program).unwrap();
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    nki::sim::run(&program, &[], &options).unwrap().report
}

/// Nanoseconds in which the 16 DMA engines of a Trn2 core can move this much (machine.md 5.2).
fn transfer_time(read: f64, written: f64) -> f64 {
    let k = Constants::of(Target::Trn2).dma;
    (read / k.read_bpns + written / k.write_bpns) / 16.0
}

/// Share of the bound that is reached, in percent.
#[track_caller]
fn at_least(share: f64, report: &SimReport, bound: f64) {
    let reached = bound / report.kernel_ns;
    assert!(reached >= share, "{:.1} % of the bound of {bound:.0} ns", 100.0 * reached);
    assert!(reached <= 1.0, "{:.1} % of the bound: the bound is wrong", 100.0 * reached);
}

/// Elements of a [4096, 4096] matrix.
const SQUARE: f64 = 4096.0 * 4096.0;

fn memory_bound<T: nki::Float + nki::HostElem>() {
    let bytes = SQUARE * size_of::<T>() as f64;
    let shape = [4096usize, 4096];
    let r = simulate(softmax::softmax::specialize::<T>(shape, Default::default()));
    at_least(0.95, &r, transfer_time(bytes, bytes));
    let r = simulate(rmsnorm::rmsnorm::specialize::<T>(shape, [4096usize], Default::default()));
    at_least(0.95, &r, transfer_time(bytes, bytes));
    let r = simulate(add::add::specialize::<T>(shape, shape, Default::default()));
    at_least(0.95, &r, transfer_time(2.0 * bytes, bytes));
}

#[test]
fn row_kernels_run_at_the_speed_of_memory() {
    memory_bound::<f32>();
    memory_bound::<nki::bf16>();
}

#[test]
fn decode_runs_at_the_speed_of_memory() {
    for (tokens, share) in [(1usize, 0.90), (16, 0.88)] {
        let r = simulate(matmul::matmul::specialize::<nki::bf16>(
            [4096usize, tokens],
            [4096usize, 14336],
            Default::default(),
        ));
        at_least(share, &r, transfer_time(2.0 * 4096.0 * 14336.0, 0.0));
    }
}

/// Llama-3-8B: hidden 4096, 32 heads over 8 of 128 elements.
#[test]
fn decode_of_a_layer_runs_at_the_speed_of_memory() {
    for (batch, share) in [(1usize, 0.92), (16, 0.88)] {
        let (none, angles) = (None::<[usize; 1]>, Some([batch, 64]));
        let cfg = qkv::QkvConfig { kv_heads: 8, ..Default::default() };
        let (x, gamma, weight, bias) = ([batch, 4096], Some([4096]), [4096, 48, 128], None::<[usize; 2]>);
        let spec = qkv::qkv::specialize::<nki::bf16>(x, gamma, weight, bias, angles, angles, none, none, cfg);
        at_least(share, &simulate(spec), transfer_time(2.0 * 4096.0 * 48.0 * 128.0, 0.0));
    }
    for (batch, share) in [(1usize, 0.86), (16, 0.97)] {
        let (new, slots) = ([batch, 1, 8, 128], 4096);
        let spec = attention_decode::attention_decode::specialize::<nki::bf16>(
            [batch, 1, 32, 128],
            new,
            new,
            [batch, 8, 128, slots],
            [batch, 8, slots, 128],
            [batch],
            None::<[usize; 1]>,
            Default::default(),
        );
        let bytes = (2 * 2 * batch * 8 * slots * 128) as f64;
        at_least(share, &simulate(spec), transfer_time(bytes, 0.0));
    }
}

/// Half the bytes, half the time: the same with caches and weights of 8-bit floats, as soon as there is enough of them.
#[test]
fn eight_bits_run_at_the_speed_of_memory() {
    let (batch, slots, new) = (16, 4096, [16, 1, 8, 128]);
    let spec = attention_decode::attention_decode_fp8::specialize::<nki::bf16>(
        [batch, 1, 32, 128],
        new,
        new,
        [batch, 8, 128, slots],
        [batch, 8, slots, 128],
        [1],
        [1],
        [batch],
        None::<[usize; 1]>,
        Default::default(),
    );
    at_least(0.92, &simulate(spec), transfer_time((2 * batch * 8 * slots * 128) as f64, 0.0));
    let (up, down, none) = ([4096, 14336], [14336, 4096], None::<[usize; 1]>);
    let cfg = mlp::MlpConfig::default();
    let spec =
        mlp::mlp_fp8::specialize::<nki::bf16>([1, 4096], Some(up), up, down, [3], none, none, none, cfg);
    at_least(0.85, &simulate(spec), transfer_time(3.0 * 4096.0 * 14336.0, 0.0));
}

/// A causal prompt of 4096 tokens, 2 of 8 groups of 4 heads that share keys. The vector engine and the scalar engine share what is
/// done to scores; the busier one decides.
#[test]
fn prefill_attention_keeps_the_busiest_engine_busy() {
    let cfg = attention::AttentionConfig { causal: true, ..Default::default() };
    let (q, keys, values) = ([4096, 8, 128], [2, 128, 4096], [2, 4096, 128]);
    let spec = attention::attention_cached::specialize::<nki::bf16>(q, keys, values, None::<[usize; 1]>, cfg);
    let report = simulate(spec);
    let busiest = report.engines.iter().map(|e| e.busy_ns).fold(0.0, f64::max);
    at_least(0.70, &report, busiest);
}

/// 32 heads of 4,096 tokens: three passes over every element keep the vector engine and GpSimd busy, a fifth longer than memory.
#[test]
fn rotation_keeps_two_engines_busy() {
    let angles = [4096, 64];
    let spec = rope::rope::specialize::<nki::bf16>([32, 4096, 128], angles, angles, Default::default());
    let report = simulate(spec);
    let mut busy: Vec<f64> = report.engines.iter().map(|e| e.busy_ns).collect();
    busy.sort_by(f64::total_cmp);
    at_least(0.94, &report, busy[busy.len() - 2]);
    let bytes = 2.0 * 32.0 * 4096.0 * 128.0;
    at_least(0.80, &report, transfer_time(bytes * (1.0 + 1.0 / 32.0), bytes));
}

#[test]
fn kernels_on_elements_run_at_the_speed_of_memory() {
    type T = nki::bf16;
    let (bytes, shape, none) = (2.0 * SQUARE, [4096usize, 4096], None::<[usize; 1]>);
    let r = simulate(elementwise::elementwise::specialize::<T>(
        shape,
        Some(shape),
        none,
        none,
        Default::default(),
    ));
    at_least(0.95, &r, transfer_time(2.0 * bytes, bytes));
    let r = simulate(elementwise::clamp::specialize::<T>(shape, Default::default()));
    at_least(0.95, &r, transfer_time(bytes, bytes));
    let r =
        simulate(activation::gated::specialize::<T>(shape, shape, Default::default(), Default::default()));
    at_least(0.95, &r, transfer_time(2.0 * bytes, bytes));
    let cfg = foreach::ForeachConfig { op: foreach::Foreach::Add, ..Default::default() };
    let n = [4096 * 4096usize];
    let r = simulate(foreach::foreach::specialize::<T>(n, Some(n), None::<[usize; 1]>, Some([1]), cfg));
    at_least(0.95, &r, transfer_time(2.0 * bytes, bytes));
}

fn feed_forward(tokens: usize) -> SimReport {
    let (hidden, inner) = (4096usize, 14336usize);
    let (wide, none) = ([hidden, inner], None::<[usize; 1]>);
    simulate(mlp::mlp::specialize::<nki::bf16>(
        [tokens, hidden],
        Some(wide),
        wide,
        [inner, hidden],
        none,
        none,
        none,
        Default::default(),
    ))
}

#[test]
fn the_feed_forward_layer_is_bound_by_memory_for_few_tokens_and_by_the_tensor_engine_for_many() {
    let weights = 3.0 * 4096.0 * 14336.0;
    for tokens in [1, 16] {
        at_least(0.95, &feed_forward(tokens), transfer_time(2.0 * weights, 0.0));
    }
    // A column of 128 x 128 products a cycle, at 2.4 GHz.
    at_least(0.95, &feed_forward(2048), 2048.0 * weights / (128.0 * 128.0) / 2.4);
}

#[test]
fn large_products_keep_the_tensor_engine_busy() {
    let shape = [4096usize, 4096];
    // 128 x 128 x 512 take 512 cycles and 6 of overhead at 2.4 GHz (machine.md 15.1).
    let bound = 32.0 * 32.0 * 8.0 * 518.0 / 2.4;
    let r = simulate(matmul::matmul_blocked::specialize::<nki::bf16>(shape, shape, Default::default()));
    at_least(0.985, &r, bound);
    let r = simulate(matmul::matmul::specialize::<nki::bf16>(shape, shape, Default::default()));
    at_least(0.97, &r, bound);
}

/// The larger of what the tensor engine and what the transfers of `m x k x n` in bf16 take, every operand moved once.
fn roofline(m: usize, k: usize, n: usize) -> f64 {
    let matmuls = (m.div_ceil(128) * k.div_ceil(128) * n.div_ceil(512)) as f64;
    let elements = |a: usize, b: usize| 2.0 * (a * b) as f64;
    (matmuls * 518.0 / 2.4).max(transfer_time(elements(k, m) + elements(k, n), elements(m, n)))
}

#[test]
fn products_come_within_five_percent_of_their_roofline() {
    let product = |m: usize, k: usize, n: usize, cfg| {
        simulate(matmul::matmul_blocked::specialize::<nki::bf16>([k, m], [k, n], cfg))
    };
    let r = product(2048, 5120, 5120, matmul::BlockedConfig::default());
    at_least(0.95, &r, roofline(2048, 5120, 5120));
    // Bound by its stores: what `nki tune` finds.
    let wide = matmul::BlockedConfig { block_n: 4, block_m: 2, ..Default::default() };
    let r = product(4096, 128, 4096, wide);
    at_least(0.95, &r, roofline(4096, 128, 4096));
    // Bound by its loads.
    let (left, right, cfg) = ([4096, 128], [4096, 4096], matmul::ladder::DecodeConfig::default());
    let r = simulate(matmul::ladder::matmul_decode::specialize::<nki::bf16>(left, right, cfg));
    at_least(0.95, &r, roofline(128, 4096, 4096));
}

#[test]
fn attention_keeps_its_bounding_engine_busy() {
    // Two heads: with one, half of the lanes are empty.
    let (query, key) = ([2usize, 4096, 128], [1usize, 4096, 128]);
    let cfg = attention::AttentionConfig { causal: true, ..Default::default() };
    let r = simulate(attention::attention::specialize::<nki::bf16>(query, key, key, None::<[usize; 1]>, cfg));
    let busiest = r.engines.iter().map(|e| e.busy_ns).fold(0.0, f64::max);
    assert!(busiest >= 0.70 * r.kernel_ns, "{:.1} % of {:.0} ns", 100.0 * busiest / r.kernel_ns, r.kernel_ns);
}
