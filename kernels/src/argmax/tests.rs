use super::{TopKConfig, top_k};
use nki::Mode;
use nki::args::to_f64;
use nki::ir::{Code, Target, Tensor};

/// Equal elements on both sides of a border between partitions.
#[test]
fn equal_elements_come_in_the_order_of_their_columns() {
    let mut x = vec![0.0f32; 1300];
    for column in [5, 63, 64, 65, 640, 1299] {
        x[column] = 2.0;
    }
    let x = Tensor::from_f32(&[1, 1300], &x).unwrap();
    for mode in Mode::ALL {
        let best = top_k::specialize::<f32>(&x, TopKConfig { k: 8 }).run(mode, Target::Trn2).unwrap();
        assert_eq!(to_f64(&best[1]), [5.0, 63.0, 64.0, 65.0, 640.0, 1299.0, 0.0, 1.0], "{mode}");
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    for (columns, k) in [(4, 5), (4, 0), (1000, 513)] {
        let e = top_k::specialize::<f32>([2, columns], TopKConfig { k }).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure));
    }
}
