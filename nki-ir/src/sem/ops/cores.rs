//! Where the two programs of a logical core meet (isa.md 9.8).

use super::super::exec::Exec;
use super::super::{Fault, fault};
use crate::diag::Code;
use crate::peer::{self, Message};

pub(super) fn core_barrier(e: &mut Exec) -> Result<(), Fault> {
    let data = e.tile("data")?;
    let mut bytes = data.read(e.mem.bytes(data.mem));
    peer::barrier(*e.int_ref("buffer")?, data.dtype, &mut bytes)?;
    data.write(e.mem.bytes_mut(data.mem), &bytes);
    Ok(())
}

pub(super) fn sendrecv(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let src = e.pair(dst, "src")?;
    if src.dtype != dst.dtype {
        return fault(Code::Dtype, format!("{} to {}", src.dtype, dst.dtype));
    }
    let tile = Message::Tile {
        pipe: *e.int_ref("pipe_id")?,
        send_to: *e.int_ref("send_to_rank")?,
        recv_from: *e.int_ref("recv_from_rank")?,
        dtype: src.dtype,
        parts: src.parts,
        row: src.row_elements(),
        bytes: src.read(e.mem.bytes(src.mem)),
    };
    let bytes = peer::exchange(tile)?;
    dst.write(e.mem.bytes_mut(dst.mem), &bytes);
    Ok(())
}
