//! What the target must be able to hold when the program is loaded.

use super::Checker;
use crate::constants::Constants;
use crate::program::{HbmTensor, STREAM_ENGINES};
use nki_ir::diag::{Code, Diagnostic};
use nki_ir::kernel::Space;
use nki_ir::target::{PARTITIONS, PSUM_BYTES_PER_PARTITION};

/// Bytes of a tensor, if they can be counted.
pub(crate) fn tensor_bytes(t: &HbmTensor) -> Option<u64> {
    t.shape.iter().try_fold(t.dtype.bytes() as u64, |n, &d| n.checked_mul(d.into()))
}

pub(super) fn check(c: &mut Checker) {
    let header = &c.flat.header;
    let k = Constants::of(header.target);
    if header.semaphores > k.sync.semaphores {
        c.report(
            Diagnostic::error(
                Code::Load,
                format!("{} semaphores are used; a core has {}", header.semaphores, k.sync.semaphores),
            )
            .note("machine.md 7 (assumed)")
            .help("reuse counting semaphores: values only grow, so one per producer and purpose is enough"),
        );
    }
    for (engine, &n) in STREAM_ENGINES.iter().zip(&header.registers) {
        if n > k.sync.registers {
            c.report(
                Diagnostic::error(
                    Code::Load,
                    format!("the {engine} stream uses {n} registers; a sequencer has {}", k.sync.registers),
                )
                .note("machine.md 2.1"),
            );
        }
    }
    tensors(c);
    placements(c);
}

fn tensors(c: &mut Checker) {
    let header = &c.flat.header;
    let capacity = header.target.hbm_bytes();
    let mut spans: Vec<(u64, u64, &str)> = Vec::new();
    for t in &header.tensors {
        let end = tensor_bytes(t).and_then(|n| t.address.checked_add(n));
        match end {
            Some(end) if end <= capacity => spans.push((t.address, end, &t.name)),
            _ => c.report(
                Diagnostic::error(
                    Code::Load,
                    format!(
                        "tensor `{}` at {:#x} does not fit the {capacity} bytes of device memory",
                        t.name, t.address
                    ),
                )
                .note("isa.md 1.2"),
            ),
        }
    }
    spans.retain(|s| s.1 > s.0);
    spans.sort_unstable();
    for pair in spans.windows(2) {
        if pair[1].0 < pair[0].1 {
            c.report(Diagnostic::error(
                Code::Load,
                format!("tensors `{}` and `{}` overlap in device memory", pair[0].2, pair[1].2),
            ));
        }
    }
}

fn placements(c: &mut Checker) {
    let header = &c.flat.header;
    for p in &header.placements {
        let (code, limit) = match p.space {
            Space::Hbm => {
                let d = Diagnostic::error(Code::Form, format!("placement `{}` names device memory", p.name));
                c.report(d.at(&header.locs, p.loc).help("device memory is described by tensors"));
                continue;
            }
            Space::Sbuf => (Code::SbufCapacity, header.target.sbuf_bytes_per_partition()),
            Space::Psum => (Code::PsumCapacity, PSUM_BYTES_PER_PARTITION),
        };
        if u64::from(p.start_partition) + u64::from(p.partitions) > u64::from(PARTITIONS) {
            let d = Diagnostic::error(
                Code::Partition,
                format!(
                    "`{}` is placed at partitions {}..{}; there are {PARTITIONS}",
                    p.name,
                    p.start_partition,
                    u64::from(p.start_partition) + u64::from(p.partitions)
                ),
            );
            c.report(d.at(&header.locs, p.loc));
        }
        // The rule is about where tiles lie; a view of a tile of narrow elements may start anywhere in it.
        if p.space == Space::Psum && p.offset % 4 != 0 {
            let d = Diagnostic::error(
                Code::AccessPattern,
                format!("`{}` is placed at byte {} of PSUM, which is not a multiple of 4", p.name, p.offset),
            );
            c.report(d.at(&header.locs, p.loc).note("isa.md 3.3.4"));
        }
        let end = u64::from(p.offset) + u64::from(p.bytes);
        if end > u64::from(limit) {
            let d = Diagnostic::error(
                code,
                format!(
                    "`{}` is placed at bytes {}..{end} of a partition; {} has {limit} on {}",
                    p.name, p.offset, p.space, header.target
                ),
            );
            c.report(d.at(&header.locs, p.loc).note("isa.md 1.2"));
        }
    }
}
