//! Registers of the sequencers (isa.md 9.7). A register is no memory: what an instruction writes to one is left in
//! [`State::register`](super::super::State::register), and executors put it there.

use super::super::exec::Exec;
use super::super::{Arg, Fault, Span, fault};
use crate::diag::Code;
use crate::dtype::{DKind, DType};

/// The value of a register that takes an element of `dtype` with these low bits: integers are extended by their sign, floats
/// keep their bits.
pub fn register_value(dtype: DType, bits: u32) -> i64 {
    let unused = 32 - 8 * dtype.bytes().min(4) as u32;
    match dtype.kind() {
        DKind::Signed => i64::from(((bits << unused) as i32) >> unused),
        _ => i64::from((bits << unused) >> unused),
    }
}

/// The one element of an operand.
fn element<'a>(e: &Exec<'a>, name: &str) -> Result<&'a Span, Fault> {
    let span = e.tile(name)?;
    if span.elements() != 1 || span.dtype.bytes() > 4 {
        return fault(Code::Shape, format!("{name} is not one element of at most 32 bits"));
    }
    Ok(span)
}

/// `dst = src`, an integer.
pub(super) fn register_move(e: &mut Exec) -> Result<(), Fault> {
    e.state.register = Some(e.integer("src")?);
    Ok(())
}

/// `dst = src[0]`.
pub(super) fn register_load(e: &mut Exec) -> Result<(), Fault> {
    let src = element(e, "src")?;
    let mut bits = [0];
    e.load_bits(src, 0, &mut bits);
    e.state.register = Some(register_value(src.dtype, bits[0]));
    Ok(())
}

/// `dst[0] = src`, its low bits.
pub(super) fn register_store(e: &mut Exec) -> Result<(), Fault> {
    let dst = element(e, "dst")?;
    let Arg::Int(value) = e.any("src")? else { return fault(Code::Form, "src is not a register") };
    let bits = *value as u32;
    e.store_bits(dst, 0, &[bits]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_extended_by_their_sign() {
        assert_eq!(register_value(DType::I8, 0xff), -1);
        assert_eq!(register_value(DType::U8, 0xff), 255);
        assert_eq!(register_value(DType::I16, 0x8000), -32768);
        assert_eq!(register_value(DType::I32, u32::MAX), -1);
        assert_eq!(register_value(DType::U32, u32::MAX), 4_294_967_295);
        assert_eq!(register_value(DType::F32, 0xbf80_0000), 0xbf80_0000);
    }
}
