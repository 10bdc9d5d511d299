use super::{broadcast_column, interleaved_copy, transpose_blocks, transpose_dma};
use nki::ir::Code;
use nki::prelude::*;

#[nki::kernel]
fn spread(nc: Nc, x: Hbm<f32>, rows: usize) -> Hbm<f32> {
    let [n, _] = x.dims();
    let out = nc.hbm([rows, n]);
    nc.store(out, broadcast_column(nc, nc.load(x), rows));
    out
}

#[test]
fn a_column_becomes_rows() {
    for (n, rows) in [(1, 1), (1, 128), (37, 5), (128, 129 - 1)] {
        nki::check(spread::specialize([n, 1], rows))
            .reference(move |args| args["x"].repeat(rows))
            .tolerance(nki::check::Tolerance::EXACT)
            .passes();
    }
}

#[nki::kernel]
fn copied(nc: Nc, x: Hbm<f32>, columns: usize) -> Hbm<bf16> {
    let out = nc.hbm(x.shape());
    let (tile, copy) = (nc.load(x), nc.sbuf::<bf16>(x.shape()));
    interleaved_copy(nc, copy, tile, columns);
    nc.store(out, copy);
    out
}

#[test]
fn two_engines_copy_in_turns() {
    for columns in [1, 7, 64, 200] {
        nki::check(copied::specialize([5, 129], columns))
            .reference(|args| args["x"].to_vec())
            .tolerance(nki::check::Tolerance::of(nki::ir::DType::BF16))
            .passes();
    }
}

#[test]
fn what_the_engines_cannot_turn_is_refused() {
    let code = |s: nki::Specialization| s.trace().map_or_else(|e| e.first_code(), |_| None);
    assert_eq!(code(transpose_dma::specialize::<f32>([4, 5])), Some(Code::Ensure));
    assert_eq!(code(transpose_dma::specialize::<bf16>([4, 5])), None);
    assert_eq!(code(transpose_blocks::specialize::<f32>([32, 33])), Some(Code::Ensure));
}
