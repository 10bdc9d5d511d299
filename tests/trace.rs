//! Tracing through the front door: what a kernel body records.

use nki::ir::kernel::Node;
use nki::ir::{Code, LoopData, Op};
use nki::prelude::*;

#[derive(Clone, Debug, KernelConfig)]
pub struct MatmulConfig {
    /// Rows of one output tile.
    #[config(default = 128)]
    tile_m: usize,
    /// Columns of one output tile.
    #[config(default = 512)]
    tile_n: usize,
}

/// `out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]`, accumulated in PSUM in f32.
#[nki::kernel]
pub fn matmul<T: Float>(nc: Nc, lhs_t: Hbm<T>, rhs: Hbm<T>, cfg: MatmulConfig) -> Hbm<T> {
    let [k, m] = lhs_t.dims();
    let [k_rhs, n] = rhs.dims();
    ensure!(nc, k == k_rhs);
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, cfg.tile_m) {
        for ni in nc.tiles(n, cfg.tile_n) {
            let acc = nc.psum([mi.len(), ni.len()]);
            for ki in nc.tiles(k, 128) {
                let a = nc.load(lhs_t.at((ki, mi)));
                let b = nc.load(rhs.at((ki, ni)));
                nc.nc_matmul(acc, a, b);
            }
            nc.store(out.at((mi, ni)), acc.to::<T>());
        }
    }
    out
}

#[test]
fn matmul_is_three_loops() {
    let traced =
        matmul::specialize::<bf16>([512, 256], [512, 1024], MatmulConfig::default()).trace().unwrap();
    let k = &traced.kernel;
    assert_eq!((k.loops.len(), k.insts.len()), (3, 5));
    let names: Vec<&str> = k.bufs.values().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["lhs_t", "rhs", "out", "acc", "a", "b", "copy"]);
    let vars: Vec<&str> = k.vars.values().map(|v| v.name.as_str()).collect();
    assert_eq!(vars, ["mi", "ni", "ki"]);
    let trips: Vec<_> = k.loops.values().map(LoopData::trip_count).collect();
    assert_eq!(trips, [Some(2), Some(2), Some(4)]);
    assert_eq!(traced.results, [0]);
}

#[test]
fn ragged_tails_are_peeled() {
    let traced = matmul::specialize::<f32>([130, 129], [130, 513], MatmulConfig::default()).trace().unwrap();
    let k = &traced.kernel;
    // One whole block and one tail in every dimension: no loop, eight bodies.
    assert_eq!(k.loops.len(), 0);
    assert_eq!(k.insts.values().filter(|i| i.op == Op::NcMatmul).count(), 8);
    let shapes: Vec<_> =
        k.bufs.values().filter(|b| b.name.starts_with("acc")).map(|b| b.shape.clone()).collect();
    assert_eq!(shapes, [[128, 512], [128, 1], [1, 512], [1, 1]]);
}

#[test]
fn empty_extents_record_nothing() {
    let traced = matmul::specialize::<f32>([0, 4], [0, 4], MatmulConfig::default()).trace().unwrap();
    assert!(traced.kernel.insts.values().all(|i| i.op != Op::NcMatmul));
}

#[test]
fn positions_are_the_operations_own() {
    let traced = matmul::specialize::<f32>([128, 128], [128, 512], MatmulConfig::default()).trace().unwrap();
    let k = &traced.kernel;
    let at = |op| {
        let inst = k.insts.values().find(|i| i.op == op).unwrap();
        k.locs.resolve(inst.loc).unwrap()
    };
    let line =
        1 + include_str!("trace.rs").lines().position(|l| l.contains("nc.nc_matmul(acc, a, b)")).unwrap();
    let place = at(Op::NcMatmul);
    assert_eq!((place.file.as_str(), place.line as usize, place.column), (file!(), line, 20));
    assert_eq!(place.stack, [("matmul".to_string(), None)]);
}

#[test]
fn ensure_shows_both_sides() {
    let error = matmul::specialize::<f32>([512, 64], [500, 64], MatmulConfig::default()).trace().unwrap_err();
    assert_eq!(error.first_code(), Some(Code::Ensure));
    let text = error.to_string();
    assert!(text.contains("`k == k_rhs` does not hold"), "{text}");
    assert!(text.contains("k = 512") && text.contains("k_rhs = 500"), "{text}");
    assert!(text.contains("tests/trace.rs:"), "{text}");
}

#[nki::kernel]
fn double<T: Float>(nc: Nc, x: Tile<T>) -> Tile<T> {
    let y = nc.sbuf(x.shape());
    nc.tensor_tensor(y, x, x, Alu::Add);
    y
}

#[nki::kernel]
fn twice(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [r, c] = x.dims();
    let out = nc.hbm([r, c]);
    let tile = nc.load(x);
    let once = double(nc, tile);
    let again = double(nc, once);
    nc.store(out, again);
    out
}

#[test]
fn kernels_call_kernels() {
    let traced = twice::specialize([4, 8]).trace().unwrap();
    let k = &traced.kernel;
    let adds: Vec<_> = k.insts.values().filter(|i| i.op == Op::TensorTensor).collect();
    let stacks: Vec<_> = adds.iter().map(|i| k.locs.resolve(i.loc).unwrap().stack).collect();
    assert_eq!(stacks[0].len(), 2);
    assert_eq!((stacks[0][0].0.as_str(), stacks[0][1].0.as_str()), ("double", "twice"));
    assert_ne!(stacks[0][0].1, stacks[1][0].1, "the two calls differ");
    let names: Vec<&str> = k.bufs.values().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["x", "out", "tile", "y", "y.1"]);
    assert_eq!(k.regions[k.body].nodes.iter().filter(|n| matches!(n, Node::Alloc(_))).count(), 3);
}

#[test]
fn a_panic_of_the_kernel_is_a_diagnostic() {
    #[nki::kernel]
    fn panics(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        let empty: Vec<usize> = Vec::new();
        let out = nc.hbm([empty[x.rank()]]);
        out
    }
    let error = panics::specialize([4, 8]).trace().unwrap_err();
    assert_eq!(error.first_code(), Some(Code::KernelPanic));
    assert!(error.to_string().contains("index out of bounds"), "{error}");
    assert!(error.to_string().contains("tests/trace.rs:"), "{error}");
}

#[test]
fn a_wrong_rank_ends_the_trace() {
    let error = twice::specialize([4, 8, 2]).trace().unwrap_err();
    assert_eq!(error.first_code(), Some(Code::Shape));
}

#[test]
fn kernels_are_listed_and_launched_by_name() {
    let info = nki::kernels().into_iter().find(|k| k.name == "matmul").unwrap();
    assert_eq!(info.doc, "`out[m, n] = lhs_t[k, m]ᵀ · rhs[k, n]`, accumulated in PSUM in f32.");
    let fields = (info.params[2].fields)("cfg");
    assert_eq!((fields[1].name, fields[1].default.as_str()), ("tile_n", "512"));
    let launch = info.launch.unwrap();
    let args = nki::registry::Arguments::new().shape("lhs_t", nki::ir::DType::BF16, &[256, 128]).shape(
        "rhs",
        nki::ir::DType::BF16,
        &[256, 512],
    );
    let traced = launch(&args.clone().value("tile_n", "256")).unwrap().trace().unwrap();
    assert_eq!(traced.kernel.loops.len(), 2);
    assert!(traced.kernel.bufs.values().all(|b| b.name == "acc" || b.dtype == nki::ir::DType::BF16));
    let wrong = launch(&args.clone().value("tile_o", "256")).unwrap_err();
    assert_eq!(wrong.first_code(), Some(Code::Argument));
    let wrong = launch(&args.value("tile_n", "-1")).unwrap_err();
    assert_eq!(wrong.first_code(), Some(Code::Config));
}

#[test]
fn naming_leaves_type_inference_alone() {
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Own(usize);

    #[nki::kernel]
    fn infers(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        let mut list = Vec::new();
        let mut best = None;
        let parsed = "3".parse().unwrap();
        let zero = Default::default();
        let sum = [1, 2].iter().sum();
        let (first, rest) = (list.len(), 2);
        list.push(Own(parsed));
        best = best.or(Some(Own(zero)));
        let numbers: Vec<usize> = vec![sum, first, rest];
        ensure!(nc, list[0] != Own(4) && best == Some(Own(0)) && numbers == [3, 0, 2]);
        let out = nc.hbm(x.shape());
        let optional = Some(nc.load(x));
        let pair = optional.map(|t| (t, t + 1.0));
        let [a, b] = pair.map(|(a, b)| [a, b]).unwrap();
        nc.store(out, a + b);
        out
    }
    let k = infers::specialize([2, 3]).trace().unwrap().kernel;
    let names: Vec<&str> = k.bufs.values().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["x", "out", "optional", "pair", "add"]);
}
