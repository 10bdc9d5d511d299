//! Accumulation flags of PSUM storage: what a matmul without an explicit `accumulate` does (isa.md section 13).

use crate::kernel::{Attr, InstData};
use crate::op::Op;
use crate::sem::{Arg, Span};
use crate::target::Gen;

/// Never written.
pub(super) const FRESH: u8 = 0;
/// Written last by a matmul.
const MATMUL: u8 = 1;
/// Written last by something else.
pub(super) const OTHER: u8 = 2;
/// Written last by a memset to zero.
const ZERO: u8 = 3;

/// What an automatic matmul does.
pub(super) enum Decision {
    Overwrite,
    Add,
    /// Adds, after the elements at these bytes have been set to the neutral -0.
    Mixed(Vec<usize>),
    /// gen2 and gen3 cannot add to what other instructions wrote.
    Illegal,
}

/// The flags of fresh storage.
pub(super) fn fresh(len: usize) -> Vec<u8> {
    vec![FRESH; len]
}

/// What a write by `inst` leaves behind.
pub(super) fn flag_of(inst: &InstData, args: &[Arg]) -> u8 {
    match inst.op {
        Op::NcMatmul | Op::NcMatmulMx if !is_transpose(inst) => MATMUL,
        Op::Memset => match args.get(1) {
            Some(Arg::Int(0)) => ZERO,
            Some(Arg::Imm(x)) if *x == 0.0 => ZERO,
            _ => OTHER,
        },
        _ => OTHER,
    }
}

/// A matmul in transpose mode, which always overwrites.
pub(super) fn is_transpose(inst: &InstData) -> bool {
    let flag = inst.op.row().attr("is_transpose").and_then(|i| inst.attrs.get(i));
    flag == Some(&Attr::Bool(true))
}

/// Sets the flags of all bytes of `span`.
pub(super) fn mark(flags: &mut [u8], span: &Span, flag: u8) {
    span.for_each_range(|start, len| flags[start..start + len].fill(flag));
}

/// Looks at the flags of a destination.
pub(super) fn decide(flags: &[u8], dst: &Span, generation: Gen) -> Decision {
    if flags.is_empty() {
        return Decision::Overwrite;
    }
    let width = dst.dtype.bytes();
    let (mut adds, mut fresh, mut illegal) = (0usize, Vec::new(), false);
    dst.for_each_range(|start, len| {
        for element in (start..start + len).step_by(width) {
            let flags = &flags[element..element + width];
            let add = match generation {
                // Matmul results and anything else add; only untouched storage does not.
                Gen::Gen4 => flags.iter().all(|f| *f != FRESH),
                _ => flags.iter().all(|f| *f == MATMUL),
            };
            let starts = flags.iter().all(|f| *f == FRESH || *f == ZERO);
            match add {
                true => adds += 1,
                false if starts => fresh.push(element),
                false => illegal = true,
            }
        }
    });
    match (illegal, adds, fresh.is_empty()) {
        (true, ..) => Decision::Illegal,
        (_, 0, _) => Decision::Overwrite,
        (_, _, true) => Decision::Add,
        _ => Decision::Mixed(fresh),
    }
}
