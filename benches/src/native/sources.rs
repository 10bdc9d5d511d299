//! Kernels that are measured and not in the library.

use nki::check::Prepared;
use nki::ir::{DType, Diagnostics, Target, text};

/// `silu(gate) · up`, 128 rows at a time.
pub fn silu_mul([rows, columns]: [usize; 2], dtype: DType, target: Target) -> Result<Prepared, Diagnostics> {
    let mut body = String::new();
    for (from, count) in [(0, rows / 128), (rows / 128 * 128, usize::from(rows % 128 > 0))] {
        if count == 0 {
            continue;
        }
        let part = if from == 0 && rows >= 128 { 128 } else { rows % 128 };
        let tile = format!("[{part}, {columns}]");
        let at = format!("[%r{from}*128 + {from} +: {part}, :]");
        body += &format!(
            "  for %r{from} in 0..{count} {{
    %gate{from} = alloc sbuf<{dtype}, {tile}>
    dma_copy %gate{from}, %gate{at}
    %up{from} = alloc sbuf<{dtype}, {tile}>
    dma_copy %up{from}, %up{at}
    %act{from} = alloc sbuf<f32, {tile}>
    activation %act{from}, %gate{from} {{op = silu}}
    %y{from} = alloc sbuf<{dtype}, {tile}>
    tensor_tensor %y{from}, %act{from}, %up{from} {{op = multiply}}
    dma_copy %out{at}, %y{from}
  }}\n"
        );
    }
    let source = format!(
        "nki-ir 1\n\nkernel @silu_mul(
  %gate: in hbm<{dtype}, [{rows}, {columns}]>,
  %up: in hbm<{dtype}, [{rows}, {columns}]>,
  %out: out hbm<{dtype}, [{rows}, {columns}]>,
) {{\n{body}}}\n"
    );
    let kernel = text::parse(&source, "silu_mul")?;
    let shape = [rows, columns];
    let input = |seed| "normal".parse::<nki::args::Source>()?.tensor("x", dtype, &shape, seed);
    Prepared::from_ir(kernel, vec![input(1)?, input(2)?], target)
}
