//! Nests in every tiling against the interpreter, bit for bit.

use crate::host::{HostKernel, HostOptions, compile};
use nki_ir::interp::{InterpOptions, run as interpret};
use nki_ir::verify::resolve_and_verify;
use nki_ir::{DType, Target, Tensor, text};

/// Numbers of about one digit in both directions, some of them special if asked for.
fn numbers(dtype: DType, shape: &[usize], salt: u32, special: bool) -> Tensor {
    let mut t = Tensor::zeros(dtype, shape);
    let mut state = salt.wrapping_mul(0x9e37_79b9) | 1;
    for element in t.data.chunks_mut(dtype.bytes()) {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let x = (state >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let x = match state >> 20 {
            0..8 if special => f32::INFINITY,
            8..12 if special => f32::NAN,
            _ => x * 3.0,
        };
        let bits = nki_ir::sem::cast::down(dtype, x).to_le_bytes();
        element.copy_from_slice(&bits[..dtype.bytes()]);
    }
    t
}

/// Runs a kernel natively and interpreted; `products` is how many nests it must have been recognised as.
fn check(text: &str, products: usize) -> HostKernel {
    let kernel = text::parse(text, "nest.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"));
    let verified = resolve_and_verify(kernel, Target::Trn2).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let native = compile(&verified, &HostOptions::default()).unwrap();
    assert_eq!(native.lowered.nests.products.len(), products, "{text}");
    for special in [false, true] {
        let inputs: Vec<Tensor> = verified
            .kernel()
            .inputs()
            .enumerate()
            .map(|(i, (_, b))| {
                let shape: Vec<usize> = b.shape.iter().map(|&d| d as usize).collect();
                numbers(b.dtype, &shape, 7 + i as u32, special)
            })
            .collect();
        let want = interpret(&verified, &inputs, &InterpOptions::default()).unwrap();
        let got = native.run(&inputs).unwrap();
        for (w, g) in want.iter().zip(&got) {
            let at = w.data.iter().zip(&g.data).position(|(a, b)| a != b);
            assert_eq!(at, None, "special {special}, byte {at:?} of {}\n{text}", w.data.len());
        }
    }
    native
}

/// The naive nest: result tiles of `tm` x `tn`, K in steps of `tk`; loops in either order; the rest of K ragged.
fn naive(
    dtype: &str,
    [m, k, n]: [usize; 3],
    [tm, tk, tn]: [usize; 3],
    m_first: bool,
    finish: &str,
) -> String {
    let (loops, rest) = (k / tk, k % tk);
    let outer = if m_first { ["mi", "ni"] } else { ["ni", "mi"] };
    let turns = |v: &str| if v == "mi" { m / tm } else { n / tn };
    let mut body = format!("%acc = alloc psum<f32, [{tm}, {tn}]>\n");
    body += &format!(
        "for %ki in 0..{loops} {{
          %a = alloc sbuf<{dtype}, [{tk}, {tm}]>
          dma_copy %a, %lhs[%ki*{tk} +: {tk}, %mi*{tm} +: {tm}]
          %b = alloc sbuf<{dtype}, [{tk}, {tn}]>
          dma_copy %b, %rhs[%ki*{tk} +: {tk}, %ni*{tn} +: {tn}]
          nc_matmul %acc, %a, %b {{accumulate = unless_first(%ki)}}
        }}\n"
    );
    if rest > 0 {
        let from = loops * tk;
        body += &format!(
            "%a1 = alloc sbuf<{dtype}, [{rest}, {tm}]>
             dma_copy %a1, %lhs[{from}:{k}, %mi*{tm} +: {tm}]
             %b1 = alloc sbuf<{dtype}, [{rest}, {tn}]>
             dma_copy %b1, %rhs[{from}:{k}, %ni*{tn} +: {tn}]
             nc_matmul %acc, %a1, %b1 {{accumulate = add}}\n"
        );
    }
    body += &format!(
        "%y = alloc sbuf<{dtype}, [{tm}, {tn}]>
         {finish}
         dma_copy %out[%mi*{tm} +: {tm}, %ni*{tn} +: {tn}], %y\n"
    );
    format!(
        "nki-ir 1\n\nkernel @k(
  %lhs: in hbm<{dtype}, [{k}, {m}]>,
  %rhs: in hbm<{dtype}, [{k}, {n}]>,
  %out: out hbm<{dtype}, [{m}, {n}]>,
) {{\nfor %{} in 0..{} {{\nfor %{} in 0..{} {{\n{body}}}\n}}\n}}\n",
        outer[0],
        turns(outer[0]),
        outer[1],
        turns(outer[1])
    )
}

#[test]
fn any_tiling_of_the_naive_nest_is_one_product() {
    let copy = "tensor_copy %y, %acc";
    for dtype in ["f32", "bf16", "f16"] {
        for (shape, tiles) in [
            ([256, 384, 1024], [128, 128, 512]),
            ([6, 35, 26], [3, 16, 13]),
            ([4, 64, 5], [2, 32, 5]),
            ([2, 257, 300], [1, 128, 100]),
        ] {
            for m_first in [true, false] {
                check(&naive(dtype, shape, tiles, m_first, copy), 1);
            }
        }
    }
}

#[test]
fn activations_are_part_of_the_product() {
    let silu = "activation %y, %acc {op = silu}";
    let scaled = "activation %y, %acc, bias: 0.5, scale: 0.125 {op = gelu}";
    let twice = "%t = alloc sbuf<bf16, [3, 13]>\ntensor_copy %t, %acc\nactivation %y, %t {op = exp}";
    for finish in [silu, scaled, twice] {
        for dtype in ["f32", "bf16"] {
            check(&naive(dtype, [6, 35, 26], [3, 16, 13], true, finish), 1);
        }
    }
}

/// Operands as strips that are loaded once for all tiles of a row, or before the nest.
#[test]
fn strips_are_read_where_they_come_from() {
    let kernel = |inside: bool| {
        let strip = "%s = alloc sbuf<f32, [16, 3, 12]>
          for %r in 0..3 { dma_copy %s[:, %r, :], %lhs[%r*16 +: 16, :] }\n";
        let (before, within) = if inside { ("", strip) } else { (strip, "") };
        format!(
            "nki-ir 1\n\nkernel @k(
  %lhs: in hbm<f32, [48, 12]>,
  %rhs: in hbm<f32, [48, 20]>,
  %out: out hbm<f32, [12, 20]>,
) {{
  {before}for %ni in 0..2 {{
    {within}%t = alloc sbuf<f32, [16, 3, 10]>
    for %q in 0..3 {{ dma_copy %t[:, %q, :], %rhs[%q*16 +: 16, %ni*10 +: 10] }}
    for %mi in 0..3 {{
      %acc = alloc psum<f32, [4, 10]>
      for %ki in 0..3 {{
        nc_matmul %acc, %s[:, %ki, %mi*4 +: 4], %t[:, %ki, :] {{accumulate = unless_first(%ki)}}
      }}
      %y = alloc sbuf<f32, [4, 10]>
      tensor_copy %y, %acc
      dma_copy %out[%mi*4 +: 4, %ni*10 +: 10], %y
    }}
  }}
}}\n"
        )
    };
    check(&kernel(false), 1);
    check(&kernel(true), 1);
}

/// A result that stays on chip, in strips.
#[test]
fn results_may_stay_on_chip() {
    check(
        "nki-ir 1\n\nkernel @k(
  %lhs: in hbm<bf16, [32, 12]>,
  %rhs: in hbm<bf16, [32, 10]>,
  %out: out hbm<bf16, [12, 10]>,
) {
  %b = alloc sbuf<bf16, [16, 2, 10]>
  for %q in 0..2 { dma_copy %b[:, %q, :], %rhs[%q*16 +: 16, :] }
  %all = alloc sbuf<bf16, [4, 3, 10]>
  for %mi in 0..3 {
    %a = alloc sbuf<bf16, [16, 2, 4]>
    for %r in 0..2 { dma_copy %a[:, %r, :], %lhs[%r*16 +: 16, %mi*4 +: 4] }
    %acc = alloc psum<f32, [4, 10]>
    for %ki in 0..2 {
      nc_matmul %acc, %a[:, %ki, :], %b[:, %ki, :] {accumulate = unless_first(%ki)}
    }
    activation %all[:, %mi, :], %acc {op = relu}
  }
  for %i in 0..3 { dma_copy %out[%i*4 +: 4, :], %all[:, %i, :] }
}\n",
        1,
    );
}

/// Running sums over blocks of K: the products of each block are added.
#[test]
fn products_are_added_to_running_sums() {
    check(
        "nki-ir 1\n\nkernel @k(
  %lhs: in hbm<f32, [60, 12]>,
  %rhs: in hbm<f32, [60, 14]>,
  %out: out hbm<f32, [12, 14]>,
) {
  %sums = alloc sbuf<f32, [4, 3, 14]>
  memset %sums, 0.0
  for %kb in 0..2 {
    %s = alloc sbuf<f32, [10, 3, 12]>
    for %r in 0..3 { dma_copy %s[:, %r, :], %lhs[%kb*30 + %r*10 +: 10, :] }
    for %mi in 0..3 {
      for %ni in 0..2 {
        %acc = alloc psum<f32, [4, 7]>
        for %ki in 0..3 {
          %b = alloc sbuf<f32, [10, 7]>
          dma_copy %b, %rhs[%kb*30 + %ki*10 +: 10, %ni*7 +: 7]
          nc_matmul %acc, %s[:, %ki, %mi*4 +: 4], %b {accumulate = unless_first(%ki)}
        }
        tensor_tensor %sums[:, %mi, %ni*7 +: 7], %sums[:, %mi, %ni*7 +: 7], %acc {op = add}
      }
    }
  }
  for %i in 0..3 { dma_copy %out[%i*4 +: 4, :], %sums[:, %i, :] }
}\n",
        1,
    );
}

/// What looks like one product but is not runs as smaller ones, or instruction by instruction.
#[test]
fn other_nests_are_left_alone() {
    // Columns overlap: a later turn overwrites what an earlier one wrote. Each tile is still a product.
    let overlapping = naive("f32", [4, 64, 24], [2, 32, 6], true, "tensor_copy %y, %acc")
        .replace("%out[%mi*2 +: 2, %ni*6 +: 6]", "%out[%mi*2 +: 2, %ni*5 +: 6]")
        .replace("%out: out hbm<f32, [4, 24]>", "%out: out hbm<f32, [4, 21]>");
    assert_eq!(check(&overlapping, 1).lowered.nests.products[0].shape, [2, 64, 6]);
    // The sum is used twice.
    let twice = naive("f32", [4, 64, 24], [2, 32, 6], true, "tensor_copy %y, %acc\ntensor_copy %y, %acc");
    check(&twice, 0);
    // The operand does not advance with K.
    let still = naive("f32", [4, 64, 24], [2, 32, 6], true, "tensor_copy %y, %acc")
        .replace("%lhs[%ki*32 +: 32", "%lhs[0:32");
    assert_eq!(check(&still, 1).lowered.nests.products[0].a.step, Some(0));
}

#[test]
fn threads_do_not_change_the_bytes() {
    let text = naive("f32", [256, 260, 520], [64, 128, 260], true, "tensor_copy %y, %acc");
    let kernel = text::parse(&text, "nest.nkir").unwrap();
    let verified = resolve_and_verify(kernel, Target::Trn2).unwrap();
    let inputs = [numbers(DType::F32, &[260, 256], 1, false), numbers(DType::F32, &[260, 520], 2, false)];
    let run = |threads| {
        let native = compile(&verified, &HostOptions { threads: Some(threads) }).unwrap();
        native.run(&inputs).unwrap()
    };
    let one = run(1);
    for threads in [2, 5] {
        assert_eq!(run(threads), one);
    }
}
