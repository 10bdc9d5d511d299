//! Chains against the interpreter, bit for bit.

use crate::host::{HostOptions, compile};
use nki_ir::interp::{InterpOptions, run as interpret};
use nki_ir::verify::resolve_and_verify;
use nki_ir::{Target, Tensor, text};

/// Runs a kernel both ways; `lengths` are the instructions that are left of the chains
/// that must have been found, without transfers that have become part of others.
fn check(text: &str, lengths: &[usize]) {
    let kernel = text::parse(text, "chain.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"));
    let verified = resolve_and_verify(kernel, Target::Trn2).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let native = compile(&verified, &HostOptions::default()).unwrap();
    let found: Vec<usize> = native.lowered.chains.all.iter().map(|c| c.links.len()).collect();
    assert_eq!(found, lengths, "{text}");
    let inputs: Vec<Tensor> = verified
        .kernel()
        .inputs()
        .map(|(_, b)| {
            let shape: Vec<usize> = b.shape.iter().map(|&d| d as usize).collect();
            let mut t = Tensor::zeros(b.dtype, &shape);
            for (i, element) in t.data.chunks_mut(b.dtype.bytes()).enumerate() {
                let x = (i * 7919 % 1009) as f32 / 200.0 - 2.5;
                let bits = nki_ir::sem::cast::down(b.dtype, x).to_le_bytes();
                element.copy_from_slice(&bits[..b.dtype.bytes()]);
            }
            t
        })
        .collect();
    let want = interpret(&verified, &inputs, &InterpOptions::default()).unwrap();
    assert!(native.run(&inputs).unwrap() == want, "{text}");
}

/// Softmax of rows, a result in bf16; `rows` a tile, two tiles in a loop.
fn softmax(rows: usize, columns: usize) -> String {
    format!(
        "nki-ir 1\n\nkernel @k(
  %x: in hbm<f32, [{all}, {columns}]>,
  %out: out hbm<bf16, [{all}, {columns}]>,
) {{
  for %r in 0..2 {{
    %t = alloc sbuf<f32, [{rows}, {columns}]>
    dma_copy %t, %x[%r*{rows} +: {rows}, :]
    %m = alloc sbuf<f32, [{rows}, 1]>
    tensor_reduce %m, %t {{op = maximum, axis = [1], negate}}
    %s = alloc sbuf<f32, [{rows}, 1]>
    %e = alloc sbuf<f32, [{rows}, {columns}]>
    activation %e, %t, bias: %m, reduce_res: %s {{op = exp, reduce_op = add, reduce_cmd = reset_reduce}}
    %i = alloc sbuf<f32, [{rows}, 1]>
    reciprocal %i, %s
    %y = alloc sbuf<bf16, [{rows}, {columns}]>
    tensor_scalar %y, %e, operand0: %i {{op0 = multiply}}
    dma_copy %out[%r*{rows} +: {rows}, :], %y
  }}
}}\n",
        all = 2 * rows
    )
}

#[test]
fn whole_and_ragged_blocks_of_partitions() {
    for (rows, columns) in [(128, 300), (61, 513), (16, 2000), (17, 1999)] {
        check(&softmax(rows, columns), &[4]);
    }
}

#[test]
fn small_tiles_and_few_partitions_are_not_worth_it() {
    check(&softmax(128, 20), &[]);
    check(&softmax(15, 2000), &[]);
}

/// A tensor that is broadcast over partitions, and columns of a tensor.
#[test]
fn operands_advance_as_their_patterns_do() {
    check(
        "nki-ir 1\n\nkernel @k(
  %x: in hbm<bf16, [64, 1200]>,
  %g: in hbm<bf16, [1, 600]>,
  %out: out hbm<bf16, [64, 600]>,
) {
  %t = alloc sbuf<bf16, [64, 600]>
  dma_copy %t, %x[:, 300 +: 600]
  %b = alloc sbuf<bf16, [64, 600]>
  dma_copy %b, %g.ap([[0, 64], [1, 600]])
  %y = alloc sbuf<f32, [64, 600]>
  tensor_tensor %y, %t, %b {op = multiply}
  %z = alloc sbuf<bf16, [64, 600]>
  tensor_copy %z, %y
  dma_copy %out, %z
}\n",
        &[2],
    );
}

/// A partition that depends on another one ends the chain; so does a tensor that was written before it is read.
#[test]
fn dependences_across_partitions_end_a_chain() {
    check(
        "nki-ir 1\n\nkernel @k(
  %x: in hbm<f32, [64, 1000]>,
  %out: out hbm<f32, [32, 1000]>,
) {
  %t = alloc sbuf<f32, [64, 1000]>
  dma_copy %t, %x
  tensor_scalar %t, %t, operand0: 2.0 {op0 = multiply}
  %y = alloc sbuf<f32, [32, 1000]>
  tensor_copy %y, %t[32:64, :]
  dma_copy %out, %y
}\n",
        &[2, 2],
    );
    check(
        "nki-ir 1\n\nkernel @k(
  %x: in hbm<f32, [64, 1000]>,
  %out: out hbm<f32, [64, 1000]>,
) {
  %h = alloc hbm<f32, [64, 1000]>
  %t = alloc sbuf<f32, [64, 1000]>
  dma_copy %t, %x
  dma_copy %h, %t
  %y = alloc sbuf<f32, [64, 1000]>
  dma_copy %y, %h[0:1, :].ap([[1000, 64], [1, 1000]])
  dma_copy %out, %y
}\n"
        .replace("%h[0:1, :].ap(", "%h.ap(")
        .as_str(),
        &[1, 1],
    );
}
