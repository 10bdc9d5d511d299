//! HBM addresses: tensors of the signature, then scratch.

use super::{Allocation, Place};
use crate::device::expand::{NONE, Stream};
use nki_ir::entity::Entity;
use nki_ir::{Code, Diagnostic, Diagnostics, Kernel, Space, Target};
use nki_sim::program::HbmTensor;

/// Tensors start at multiples of this: one page of the descriptor addresses.
const ALIGN: u64 = 4096;

/// Gives every HBM instance an address. Instances of one scratch buffer rotate through as many slots as fit a quarter of the
/// memory, but no fewer than live at once.
pub(super) fn allocate(
    kernel: &Kernel,
    stream: &Stream,
    target: Target,
    out: &mut Allocation,
) -> Result<(), Diagnostics> {
    let mut next = 0u64;
    let mut of_buf: Vec<Vec<u32>> = vec![Vec::new(); kernel.bufs.len()];
    for (i, instance) in stream.instances.iter().enumerate() {
        let data = &kernel.bufs[instance.buf];
        if data.space == Space::Hbm && instance.first != NONE {
            of_buf[instance.buf.index()].push(i as u32);
        }
    }
    for (buf, data) in kernel.bufs.iter() {
        let instances = &of_buf[buf.index()];
        let bytes = data.row_bytes();
        let room = (target.hbm_bytes() / 4).checked_div(bytes).unwrap_or(u64::MAX);
        let slots = (instances.len() as u64).min(room).max(1);
        if instances.is_empty() && data.kind == nki_ir::BufKind::Private {
            continue;
        }
        let base = out.tensors.len() as u32;
        for k in 0..slots {
            let name = if slots == 1 { data.name.clone() } else { format!("{}#{k}", data.name) };
            out.tensors.push(HbmTensor {
                name,
                kind: data.kind,
                dtype: data.dtype,
                shape: data.shape.clone(),
                address: next,
            });
            next = next.saturating_add(bytes).saturating_add(ALIGN - 1) / ALIGN * ALIGN;
        }
        for (j, &i) in instances.iter().enumerate() {
            let k = j as u64 % slots;
            let offset = out.tensors[base as usize + k as usize].address;
            out.places[i as usize] = Place { partition: 0, offset, object: base + k as u32 };
        }
    }
    if next > target.hbm_bytes() {
        let text = format!("the tensors need {next} bytes of HBM, {target} has {}", target.hbm_bytes());
        return Err(Diagnostic::error(Code::Limit, text).note("isa.md 1.2").into());
    }
    Ok(())
}
