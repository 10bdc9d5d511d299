use super::{Interpolation, ResizeConfig, resize};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target};

#[test]
fn the_same_size_is_the_same_image() {
    let x = "normal:f32[2,33,17]@1".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    for kind in [Interpolation::Nearest, Interpolation::Bilinear] {
        let cfg = ResizeConfig { kind, rows: Some(33), columns: Some(17) };
        let y = resize::specialize::<f32>(&x, cfg).run(Mode::Host, Target::Trn2).unwrap();
        assert_eq!(to_f64(&y[0]), to_f64(&x), "{kind:?}");
    }
}

#[test]
fn an_image_of_one_colour_stays_one() {
    let x = "full(3):f32[1,5,140]".parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap();
    let cfg = ResizeConfig { rows: Some(13), columns: Some(601), ..ResizeConfig::default() };
    let y = resize::specialize::<f32>(&x, cfg).run(Mode::Host, Target::Trn2).unwrap();
    assert!(to_f64(&y[0]).iter().all(|y| (y - 3.0).abs() < 2e-6));
}

#[test]
fn what_it_does_not_take_is_refused() {
    for rows in [0, 1 << 22] {
        let cfg = ResizeConfig { rows: Some(rows), ..ResizeConfig::default() };
        let e = resize::specialize::<f32>([1, 4, 4], cfg).trace().unwrap_err();
        assert_eq!(e.first_code(), Some(Code::Ensure), "{e}");
    }
}
