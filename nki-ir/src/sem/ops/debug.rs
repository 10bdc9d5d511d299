//! Printing and assertions. What is printed is left in [`State::printed`](super::super::State::printed): executors know where the
//! instruction stands.

use super::super::exec::Exec;
use super::super::{Fault, cast, fault};
use crate::diag::Code;
use crate::kernel::Attr;
use crate::tensor::Tensor;

/// The elements of `src`, with the shape that the instruction gives if it fits.
pub(super) fn device_print(e: &mut Exec) -> Result<(), Fault> {
    let src = e.tile("src")?;
    let given = e.call.attrs.iter().find_map(|a| match a {
        Attr::Ints(shape) => shape.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>(),
        _ => None,
    });
    let fits = |shape: &Vec<usize>| {
        !shape.is_empty() && shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)) == Some(src.elements())
    };
    let shape = given.filter(fits).unwrap_or_else(|| vec![src.parts as usize, src.row_elements()]);
    let data = src.read(e.mem.bytes(src.mem));
    e.state.printed = Some(Tensor { dtype: src.dtype, shape, data });
    Ok(())
}

/// Every element is other than 0.
pub(super) fn device_assert(e: &mut Exec) -> Result<(), Fault> {
    let src = e.tile("condition")?;
    let width = src.dtype.bytes();
    let float = src.dtype.is_float() && cast::is_castable(src.dtype);
    let data = src.read(e.mem.bytes(src.mem));
    let zero = |element: &[u8]| {
        let mut bits = [0; 4];
        bits[..width.min(4)].copy_from_slice(&element[..width.min(4)]);
        let bits = u32::from_le_bytes(bits);
        if float { cast::up(src.dtype, bits) == 0.0 } else { bits == 0 }
    };
    match data.chunks_exact(width).position(zero) {
        None => Ok(()),
        Some(i) => fault(Code::Assert, format!("{} (element {i} is 0)", super::super::text_of(e.call.attrs))),
    }
}
