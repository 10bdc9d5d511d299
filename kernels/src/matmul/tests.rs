use super::{BlockedConfig, MatmulConfig, matmul, matmul_blocked};
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Diagnostics, Target, Tensor};
use nki::{Mode, Specialization, bf16};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn code(s: Specialization) -> Option<Code> {
    s.verify(Target::Trn2).map_or_else(|e: Diagnostics| e.first_code(), |_| None)
}

#[test]
fn a_selection_matrix_selects_rows_exactly() {
    // lhs_t[k, m] is 1 where k = 2 m: the product is every other row of rhs, bit for bit.
    let (k, m, n) = (140, 70, 513);
    let mut ones = vec![0.0f32; k * m];
    (0..m).for_each(|i| ones[2 * i * m + i] = 1.0);
    let lhs_t = Tensor::from_f32(&[k, m], &ones).unwrap();
    let rhs = tensor("normal:f32[140,513]@3");
    let want: Vec<f64> = to_f64(&rhs).chunks(n).step_by(2).flatten().copied().collect();
    for mode in [Mode::Interp, Mode::Host, Mode::Sim] {
        let naive = matmul::specialize::<f32>(&lhs_t, &rhs, MatmulConfig::default());
        let blocked = matmul_blocked::specialize::<f32>(&lhs_t, &rhs, BlockedConfig::default());
        for s in [naive, blocked] {
            assert_eq!(to_f64(&s.run(mode, Target::Trn2).unwrap()[0]), want, "{mode}");
        }
    }
}

/// 2,048 ones sum to 2,048; a sum kept in bf16 would stop growing at 256.
#[test]
fn running_sums_are_kept_in_f32() {
    let (lhs_t, rhs) = (tensor("ones:bf16[2048,3]"), tensor("ones:bf16[2048,5]"));
    let cfg = BlockedConfig { block_k: Some(1), ..BlockedConfig::default() };
    let out = matmul_blocked::specialize::<bf16>(&lhs_t, &rhs, cfg).run(Mode::Sim, Target::Trn2).unwrap();
    assert!(to_f64(&out[0]).iter().all(|&x| x == 2048.0));
}

#[test]
fn what_the_machine_cannot_do_is_refused() {
    let tiles = |tile_m, tile_n| MatmulConfig { tile_m, tile_n };
    let whole = |cfg| matmul::specialize::<bf16>([256, 256], [256, 1024], cfg);
    assert_eq!(code(whole(tiles(128, 512))), None);
    assert_eq!(code(whole(tiles(129, 512))), Some(Code::Partition));
    assert!(matches!(code(whole(tiles(128, 513))), Some(Code::PsumBank | Code::Shape)));
    assert_eq!(code(whole(tiles(0, 512))), Some(Code::Parameter));
    assert_eq!(code(matmul::specialize::<bf16>([256, 3], [255, 3], tiles(128, 512))), Some(Code::Ensure));
    let none = BlockedConfig { block_k: Some(0), ..BlockedConfig::default() };
    assert_eq!(code(matmul_blocked::specialize::<bf16>([256, 3], [256, 3], none)), Some(Code::Ensure));
}

#[test]
fn blocks_that_do_not_fit_are_refused_when_compiled() {
    let huge = BlockedConfig { block_m: 64, block_n: 32, block_k: Some(32) };
    let s = matmul_blocked::specialize::<bf16>([8192, 8192], [8192, 16384], huge);
    let e = s.compile(Mode::Sim, Target::Trn2).unwrap_err();
    assert_eq!(e.first_code(), Some(Code::SbufCapacity), "{e}");
}
