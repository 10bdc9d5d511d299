//! The test harness: what passes, and that what is wrong does not.

use nki::args::to_f64;
use nki::ir::Code;
use nki::prelude::*;

#[nki::kernel]
fn scale<T: Float>(nc: Nc, x: Hbm<T>, by: f32) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, 512) {
            let tile = nc.load(x.at((r, c)));
            nc.store(out.at((r, c)), tile * by);
        }
    }
    out
}

#[test]
fn right_kernels_pass_in_every_mode() {
    for n in nki::check::AWKWARD {
        nki::check(scale::specialize::<f32>([n, 130], 3.0))
            .reference(|args| args["x"].iter().map(|v| 3.0 * v).collect::<Vec<_>>())
            .passes();
    }
    nki::check(scale::specialize::<bf16>([3, 1025], 0.5)).targets(&Target::ALL).seed(7).passes();
}

#[test]
fn wrong_references_are_found() {
    let found = nki::check(scale::specialize::<f32>([2, 3], 3.0))
        .reference(|args| args["x"].iter().map(|v| 3.001 * v).collect::<Vec<_>>())
        .modes(&[Mode::Interp])
        .fails_with(Code::Mismatch);
    assert!(found.to_string().contains("interp on trn2: `out` is not as the reference"), "{found}");
    let check = nki::check(scale::specialize::<f32>([2, 3], 3.0)).reference(|_| [vec![], vec![]]);
    assert!(check.run().unwrap_err().to_string().contains("has 1 results, the reference 2"));
}

#[test]
fn costs_are_pinned() {
    let check = || nki::check(scale::specialize::<f32>([128, 512], 2.0)).modes(&[Mode::Sim]);
    check().instructions(Engine::Tensor, 0..=0).simulated_ns(1000.0..=100_000.0).passes();
    check().simulated_ns(1.0..=2.0).fails_with(Code::Mismatch);
}

#[test]
fn fills_choose_the_data() {
    nki::check(scale::specialize::<f32>([4, 4], 2.0))
        .fill("x", "full(1.5)")
        .reference(|args| {
            assert_eq!(args.shape("x"), Some(&[4, 4][..]));
            vec![3.0; 16]
        })
        .tolerance(nki::check::Tolerance::EXACT)
        .passes();
    nki::check(scale::specialize::<f32>([4, 4], 2.0)).fill("x", "nonsense").fails_with(Code::Usage);
}

#[test]
fn what_the_gate_finds_has_its_code() {
    #[nki::kernel]
    fn too_many_partitions(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
        let out = nc.hbm(x.shape());
        let tile = nc.load(x);
        nc.store(out, tile);
        out
    }
    let found = nki::check(too_many_partitions::specialize([256, 4])).fails_with(Code::Partition);
    let line =
        1 + include_str!("check.rs").lines().position(|l| l.contains("let tile = nc.load(x);")).unwrap();
    assert!(found.to_string().contains(&format!("tests/check.rs:{line}:")), "{found}");
}

#[test]
#[should_panic(expected = "scale(x: f32[2, 3]) does not pass")]
fn failures_panic_in_tests() {
    nki::check(scale::specialize::<f32>([2, 3], 3.0)).reference(|_| vec![0.0; 6]).passes();
}

#[cfg(feature = "ndarray")]
#[test]
fn arrays_go_in_and_come_out() {
    use ndarray::{Array2, array};
    let x: Array2<f32> = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    // A transposed view: the layout of an array does not matter.
    let got = scale::specialize(&x.t(), 2.0).run(Mode::Interp, Target::Trn2).unwrap();
    assert_eq!(got.array::<f32>(0).unwrap(), array![[2.0, 6.0, 10.0], [4.0, 8.0, 12.0]].into_dyn());
    assert_eq!(got.array::<bf16>(0).unwrap_err().first_code(), Some(Code::Argument));
    assert_eq!(got.array::<f32>(1).unwrap_err().first_code(), Some(Code::Argument));
    let half = x.mapv(bf16::from_f32);
    let exe = scale::specialize::<bf16>([3, 2], 0.5).compile(Mode::Interp, Target::Trn2).unwrap();
    let results = exe.run(&[nki::to_tensor(&half)]).unwrap();
    assert_eq!(to_f64(&results[0]), [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
}

#[test]
fn executables_run_on_other_threads() {
    for mode in Mode::ALL.into_iter().filter(|m| m.is_available()) {
        let exe = scale::specialize::<f32>([2, 2], 2.0).compile(mode, Target::Trn2).unwrap();
        let x = nki::ir::Tensor::from_f32(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        std::thread::scope(|s| {
            let run = || exe.run(std::slice::from_ref(&x)).unwrap()[0].clone();
            let runs = [s.spawn(run), s.spawn(run)].map(|h| h.join().unwrap());
            assert!(runs[0] == runs[1], "{mode}");
            assert_eq!(to_f64(&runs[0]), [2.0, 4.0, 6.0, 8.0]);
        });
    }
}
