//! Every kernel's own cases, every way of running, against its reference.

use nki::check::{Contract, Plan};
use nki_kernels as _;

fn check(name: &str) {
    let contract = Contract::all().into_iter().find(|c| c.kernel.name == name).unwrap();
    let plan = Plan::default();
    let mut bad = Vec::new();
    for item in plan.items(contract, &(contract.cases)()) {
        let report = plan.run(&item);
        if !report.passed() {
            for (mode, e) in &report.failures {
                bad.push(format!("{name} {} {mode:?}: {e}", report.what));
            }
            for v in report.verdicts.iter().filter(|v| !v.passed()) {
                bad.push(format!("{name} {} {}: {:?} {:?}", report.what, v.mode, v.accuracy, v.bits));
            }
        }
    }
    assert!(bad.is_empty(), "{} of them\n{}", bad.len(), bad.join("\n"));
}

#[test]
fn activation() {
    check("activation");
}

#[test]
fn activation_sum() {
    check("activation_sum");
}

#[test]
fn adamw() {
    check("adamw");
}

#[test]
fn add() {
    check("add");
}

#[test]
fn add_rmsnorm() {
    check("add_rmsnorm");
}

#[test]
fn argmax() {
    check("argmax");
}

#[test]
fn attention() {
    check("attention");
}

#[test]
fn attention_backward() {
    check("attention_backward");
}

#[test]
fn attention_cached() {
    check("attention_cached");
}

#[test]
fn attention_decode() {
    check("attention_decode");
}

#[test]
fn cast() {
    check("cast");
}

#[test]
fn clamp() {
    check("clamp");
}

#[test]
fn cross_entropy() {
    check("cross_entropy");
}

#[test]
fn cross_entropy_backward() {
    check("cross_entropy_backward");
}

#[test]
fn cumsum() {
    check("cumsum");
}

#[test]
fn depthwise_conv1d() {
    check("depthwise_conv1d");
}

#[test]
fn dropout() {
    check("dropout");
}

#[test]
fn dynamic_add() {
    check("dynamic_add");
}

#[test]
fn elementwise() {
    check("elementwise");
}

#[test]
fn embedding() {
    check("embedding");
}

#[test]
fn foreach() {
    check("foreach");
}

#[test]
fn foreach_norm() {
    check("foreach_norm");
}

#[test]
fn fused() {
    check("fused");
}

#[test]
fn gated() {
    check("gated");
}

#[test]
fn kv_update() {
    check("kv_update");
}

#[test]
fn kv_update_blocks() {
    check("kv_update_blocks");
}

#[test]
fn layernorm() {
    check("layernorm");
}

#[test]
fn lm_head() {
    check("lm_head");
}

#[test]
fn masked_softmax() {
    check("masked_softmax");
}

#[test]
fn matmul() {
    check("matmul");
}

#[test]
fn matmul_basic() {
    check("matmul_basic");
}

#[test]
fn matmul_blocked() {
    check("matmul_blocked");
}

#[test]
fn matmul_blocked_free() {
    check("matmul_blocked_free");
}

#[test]
fn matmul_decode() {
    check("matmul_decode");
}

#[test]
fn matmul_double_row() {
    check("matmul_double_row");
}

#[test]
fn matmul_general() {
    check("matmul_general");
}

#[test]
fn matmul_hoisted() {
    check("matmul_hoisted");
}

#[test]
fn matmul_tiled() {
    check("matmul_tiled");
}

#[test]
fn mlp() {
    check("mlp");
}

#[test]
fn mlp_block() {
    check("mlp_block");
}

#[test]
fn moe() {
    check("moe");
}

#[test]
fn norm_decode() {
    check("norm_decode");
}

#[test]
fn pool() {
    check("pool");
}

#[test]
fn projection() {
    check("projection");
}

#[test]
fn qkv() {
    check("qkv");
}

#[test]
fn reduce() {
    check("reduce");
}

#[test]
fn reduce_columns() {
    check("reduce_columns");
}

#[test]
fn resize() {
    check("resize");
}

#[test]
fn rmsnorm() {
    check("rmsnorm");
}

#[test]
fn rmsnorm_backward() {
    check("rmsnorm_backward");
}

#[test]
fn rmsnorm_quant() {
    check("rmsnorm_quant");
}

#[test]
fn rope() {
    check("rope");
}

#[test]
fn rope_columns() {
    check("rope_columns");
}

#[test]
fn rope_pair() {
    check("rope_pair");
}

#[test]
fn router() {
    check("router");
}

#[test]
fn select() {
    check("select");
}

#[test]
fn selective_scan() {
    check("selective_scan");
}

#[test]
fn softmax() {
    check("softmax");
}

#[test]
fn swap_axes() {
    check("swap_axes");
}

#[test]
fn top_k() {
    check("top_k");
}

#[test]
fn transpose() {
    check("transpose");
}

#[test]
fn transpose_blocks() {
    check("transpose_blocks");
}

#[test]
fn transpose_dma() {
    check("transpose_dma");
}

#[test]
fn transpose_inside() {
    check("transpose_inside");
}

#[test]
fn no_kernel_is_forgotten() {
    let names: Vec<&str> = Contract::all().iter().map(|c| c.kernel.name).collect();
    let tested: Vec<&str> =
        include_str!("check.rs").split("    check(\"").skip(1).filter_map(|s| s.split('"').next()).collect();
    assert_eq!(names, tested);
}
