use super::{CumsumConfig, cumsum};
use nki::Mode;
use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Target};

#[test]
fn differences_give_back_whole_numbers() {
    let x: Vec<f64> = (0..3 * 1000).map(|i| f64::from(i * 37 % 19) - 9.0).collect();
    let tensor = from_f64(DType::F32, &[3, 1000], &x).unwrap();
    let s = cumsum::specialize::<f32>(&tensor, CumsumConfig { columns: 96 });
    let sums = to_f64(&s.run(Mode::Host, Target::Trn2).unwrap()[0]);
    for (row, sums) in x.chunks(1000).zip(sums.chunks(1000)) {
        let before = std::iter::once(0.0).chain(sums.iter().copied());
        assert!(sums.iter().zip(before).map(|(a, b)| a - b).eq(row.iter().copied()));
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    for (shape, columns) in [([0, 4], 4), ([4, 0], 4), ([4, 4], 0)] {
        let e = cumsum::specialize::<f32>(shape, CumsumConfig { columns }).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    }
}
