use super::{PoolConfig, PoolKind, pool};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target};

#[test]
fn windows_of_whole_numbers_are_exact() {
    let x = "iota:f32[2,6,6]".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    let cfg = PoolConfig { kind: PoolKind::Average, ..PoolConfig::default() };
    let y = to_f64(&pool::specialize::<f32>(&x, cfg).run(Mode::Host, Target::Trn2).unwrap()[0]);
    let corner = |i: usize| f64::from(u8::try_from(i / 9 * 36 + i % 9 / 3 * 12 + i % 3 * 2).unwrap());
    assert!(y.iter().enumerate().all(|(i, y)| *y == corner(i) + 3.5), "{y:?}");
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |cfg: PoolConfig| {
        let e = pool::specialize::<f32>([2, 4, 5], cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    };
    let cfg = PoolConfig::default;
    refused(PoolConfig { height: 0, ..cfg() });
    refused(PoolConfig { height: 3, ..cfg() });
    refused(PoolConfig { stride: Some(0), ..cfg() });
    refused(PoolConfig { pad: 2, ..cfg() });
    refused(PoolConfig { height: 5, width: 5, ..cfg() });
}
