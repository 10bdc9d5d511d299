use super::{EmbeddingConfig, embedding};
use nki::Mode;
use nki::args::from_f64;
use nki::ir::{Code, DType, Target, Tensor};

#[test]
fn a_number_outside_the_table_ends_the_run() {
    let table = Tensor::zeros(DType::F32, &[5, 3]);
    for id in [-1.0, 5.0, 1e9] {
        let ids = from_f64(DType::I32, &[2], &[0.0, id]).unwrap();
        let spec = embedding::specialize::<f32>(&table, &ids, EmbeddingConfig::default());
        for mode in Mode::ALL {
            let e = spec.run(mode, Target::Trn2).unwrap_err();
            assert_eq!(e.first_code(), Some(Code::RuntimeIndex), "{mode} {id}: {e}");
        }
    }
}

#[test]
fn an_empty_table_is_refused() {
    let e = embedding::specialize::<f32>([0, 3], [2], EmbeddingConfig::default()).trace().unwrap_err();
    assert_eq!(e.first_code(), Some(Code::Ensure));
}
