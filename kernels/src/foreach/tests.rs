use super::{Foreach, ForeachConfig, foreach};
use nki::ir::Code;

const NONE: Option<[usize; 1]> = None;

#[test]
fn operands_are_those_of_the_operation() {
    let code = |op, y, z, s| {
        let cfg = ForeachConfig { op, ..ForeachConfig::default() };
        foreach::specialize::<f32>([300], y, z, s, cfg).trace().map_or_else(|e| e.first_code(), |_| None)
    };
    assert_eq!(code(Foreach::Addcmul, Some([300]), Some([300]), Some([1])), None);
    assert_eq!(code(Foreach::Addcmul, Some([300]), NONE, Some([1])), Some(Code::Ensure));
    assert_eq!(code(Foreach::Sqrt, NONE, NONE, Some([1])), Some(Code::Ensure));
    assert_eq!(code(Foreach::Mul, Some([301]), NONE, NONE), Some(Code::Ensure));
    assert_eq!(code(Foreach::AddScalar, NONE, NONE, Some([2])), Some(Code::Ensure));
}
