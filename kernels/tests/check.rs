//! Every kernel's own cases and a drawn shape, every way of running, against its reference.

use nki::check::{Contract, Given, Item, Plan, drawn};
use nki::ir::Code;
use nki_kernels as _;

fn check(name: &str) {
    let contract = Contract::all().into_iter().find(|c| c.kernel.name == name).unwrap();
    let plan = Plan::default();
    let mut bad = Vec::new();
    let drawn = drawn(contract, None, 1, 1);
    assert_eq!(drawn.len(), 1, "{name}: no shape is taken");
    for item in plan.items(contract, &(contract.cases)()).into_iter().chain(drawn) {
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
fn attention_cte() {
    check("attention_cte");
}

#[test]
fn attention_decode() {
    check("attention_decode");
}

#[test]
fn attention_decode_blocks() {
    check("attention_decode_blocks");
}

#[test]
fn attention_decode_blocks_fp8() {
    check("attention_decode_blocks_fp8");
}

#[test]
fn attention_decode_fp8() {
    check("attention_decode_fp8");
}

#[test]
fn attention_decode_masked() {
    check("attention_decode_masked");
}

#[test]
fn attention_decode_rows() {
    check("attention_decode_rows");
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
fn kv_update_blocks_fp8() {
    check("kv_update_blocks_fp8");
}

#[test]
fn kv_update_fp8() {
    check("kv_update_fp8");
}

#[test]
fn kv_update_rows() {
    check("kv_update_rows");
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
fn mlp_fp8() {
    check("mlp_fp8");
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
fn projection_fp8() {
    check("projection_fp8");
}

#[test]
fn projection_transposed() {
    check("projection_transposed");
}

#[test]
fn qkv() {
    check("qkv");
}

#[test]
fn qkv_block() {
    check("qkv_block");
}

#[test]
fn qkv_fp8() {
    check("qkv_fp8");
}

#[test]
fn qkv_update() {
    check("qkv_update");
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
fn router_grouped() {
    check("router_grouped");
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

/// The same seed draws the same problems, another seed others, as many as are asked for and all different.
#[test]
fn draws_come_from_the_seed() {
    let contract = Contract::all().into_iter().find(|c| c.kernel.name == "softmax").unwrap();
    let draw = |seed| -> Vec<_> {
        drawn(contract, None, seed, 5)
            .into_iter()
            .map(|i| (i.given.dims, i.given.args, i.given.dtype))
            .collect()
    };
    let (a, b) = (draw(1), draw(2));
    assert_eq!(a, draw(1));
    assert_ne!(a, b);
    assert_eq!((a.len(), b.len()), (5, 5));
    assert!(a.iter().enumerate().all(|(i, x)| a[..i].iter().all(|y| (&x.0, &x.1) != (&y.0, &y.1))));
}

/// Numbers that point past what they point into are an error that names the first, not a panic of the reference.
#[test]
fn arguments_that_no_reference_takes() {
    let cases = [
        ("embedding", ("vocabulary", 10), "element 0 of `ids` is 507, outside of 0..10"),
        ("kv_update", ("slots", 100), "of `positions` is"),
        ("kv_update", ("tokens", 300), "the new tokens fit into the cache"),
        ("kv_update_blocks", ("tokens", 300), "of `slots` is"),
        ("attention_decode", ("slots", 3), "of `lengths` is"),
        ("attention_decode_blocks", ("n", 2), "of `lengths` is"),
        ("attention_decode_blocks", ("rows", 48), "of `table` is"),
        ("moe", ("experts", 1), "of `experts` is"),
    ];
    for (name, (dim, size), text) in cases {
        let contract = Contract::all().into_iter().find(|c| c.kernel.name == name).unwrap();
        let given = Given { dims: vec![(dim.into(), size)], ..Given::default() };
        let report = Plan::default().run(&Item { contract, given, nan_matches: false });
        let [(None, errors)] = &report.failures[..] else { panic!("{name}: {:?}", report.failures) };
        assert!(matches!(errors.first_code(), Some(Code::Argument | Code::Ensure)), "{errors}");
        assert!(errors.to_string().contains(text), "{name}: {errors}");
    }
    let contract = Contract::all().into_iter().find(|c| c.kernel.name == "moe").unwrap();
    let args = vec![("ids".into(), "full(3)".into())];
    let report = Plan::default().run(&Item {
        contract,
        given: Given { args, ..Given::default() },
        nan_matches: false,
    });
    assert!(report.failures[0].1.to_string().contains("token 3 is twice in a block of `ids`"));
}

#[test]
fn no_kernel_is_forgotten() {
    let names: Vec<&str> = Contract::all().iter().map(|c| c.kernel.name).collect();
    let tested: Vec<&str> =
        include_str!("check.rs").split("    check(\"").skip(1).filter_map(|s| s.split('"').next()).collect();
    assert_eq!(names, tested);
}
