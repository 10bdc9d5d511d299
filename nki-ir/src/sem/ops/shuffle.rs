//! Moving partitions within quadrants (isa.md 9.3.22).

use super::super::exec::Exec;
use super::super::{Fault, fault};
use crate::diag::Code;
use crate::op::SHUFFLE_KEEP;

/// Partitions of a quadrant.
const QUADRANT: usize = 32;

/// `dst[32q + i] = src[32q + mask[i]]`, or what it was where the mask says so. All of src is read first.
pub(super) fn nc_stream_shuffle(e: &mut Exec) -> Result<(), Fault> {
    let (dst, src) = (e.tile("dst")?, e.tile("src")?);
    let mask = e.ints("shuffle_mask")?;
    if dst.dtype != src.dtype {
        return fault(Code::Dtype, format!("{} into {}", src.dtype, dst.dtype));
    }
    if dst.row_elements() != src.row_elements() {
        let (a, b) = (dst.row_elements(), src.row_elements());
        return fault(Code::Shape, format!("dst has {a} elements per partition, src {b}"));
    }
    if mask.len() != QUADRANT {
        return fault(Code::Parameter, format!("a mask of {} entries", mask.len()));
    }
    let mut rows = vec![vec![0; src.row_elements()]; src.parts as usize];
    for (p, row) in rows.iter_mut().enumerate() {
        e.load_bits(src, p as u32, row);
    }
    for p in 0..dst.parts {
        let from = mask[p as usize % QUADRANT];
        if from == SHUFFLE_KEEP {
            continue;
        }
        let quadrant = p as usize / QUADRANT * QUADRANT;
        let inside = usize::try_from(from).ok().filter(|i| *i < QUADRANT);
        match inside.and_then(|i| rows.get(quadrant + i)) {
            Some(row) => e.store_bits(dst, p, row),
            None => return fault(Code::Parameter, format!("partition {p} would come from entry {from}")),
        }
    }
    Ok(())
}
