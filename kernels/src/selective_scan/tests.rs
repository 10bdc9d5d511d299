use super::{SelectiveScanConfig, selective_scan};
use nki::Mode;
use nki::args::{Generator, to_f64};
use nki::ir::{Code, DType, Target, Tensor};

fn tensor(text: &str) -> Tensor {
    text.parse::<Generator>().unwrap().tensor(DType::F32, &[], 0).unwrap()
}

fn cut(t: &Tensor, rows: usize, range: std::ops::Range<usize>) -> Tensor {
    let all: Vec<f32> = to_f64(t).into_iter().map(|x| x as f32).collect();
    let part: Vec<f32> = all.chunks(all.len() / rows).flat_map(|r| r[range.clone()].to_vec()).collect();
    Tensor::from_f32(&[1, rows, range.len()], &part).unwrap()
}

#[test]
fn a_sequence_can_be_continued() {
    let (x, dt) = (tensor("normal:f32[1,5,40]@1"), tensor("uniform(0,1):f32[1,5,40]@2"));
    let (a, i, o) =
        (tensor("uniform(-1,0):f32[5,3]@3"), tensor("normal:f32[1,3,40]@4"), tensor("normal:f32[1,3,40]@5"));
    let run = |range: std::ops::Range<usize>, initial: Option<&Tensor>, steps| {
        let (x, dt) = (cut(&x, 5, range.clone()), cut(&dt, 5, range.clone()));
        let (i, o) = (cut(&i, 3, range.clone()), cut(&o, 3, range));
        let cfg = SelectiveScanConfig { steps };
        let s = selective_scan::specialize::<f32>(&x, &dt, &a, &i, &o, None::<&Tensor>, initial, cfg);
        s.run(Mode::Host, Target::Trn2).unwrap().into_tensors()
    };
    let whole = run(0..40, None, 512);
    // However it is cut, every bit is the same.
    assert_eq!(run(0..40, None, 7), whole);
    let first = run(0..23, None, 512);
    let second = run(23..40, Some(&first[1]), 512);
    assert_eq!(second[1], whole[1]);
    for (row, (a, b)) in
        to_f64(&whole[0]).chunks(40).zip(to_f64(&first[0]).chunks(23).zip(to_f64(&second[0]).chunks(17)))
    {
        assert_eq!(row, [a, b].concat());
    }
}

#[test]
fn what_it_does_not_take_is_refused() {
    let refused = |dt: [usize; 3], a: [usize; 2], i: [usize; 3], steps| {
        let none = (None::<[usize; 1]>, None::<[usize; 3]>);
        let cfg = SelectiveScanConfig { steps };
        let s = selective_scan::specialize::<f32>([2, 4, 8], dt, a, i, i, none.0, none.1, cfg);
        assert_eq!(s.trace().unwrap_err().first_code(), Some(Code::Ensure));
    };
    let (dt, a, i) = ([2, 4, 8], [4, 3], [2, 3, 8]);
    refused([2, 4, 7], a, i, 512);
    refused(dt, [5, 3], i, 512);
    refused(dt, a, [2, 2, 8], 512);
    refused(dt, [4, 129], [2, 129, 8], 512);
    refused(dt, a, i, 513);
    refused(dt, a, i, 0);
}
