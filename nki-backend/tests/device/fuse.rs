//! Pairs of element-wise instructions: what is fused, what is not, and that no bit changes.

use crate::agree::check;
use crate::kernels::compile;
use nki_backend::device::{CompileOptions, Pass};
use nki_ir::testgen::Rng;
use nki_ir::{Kernel, Op, Target};
use nki_sim::program::MKind;

/// `x` and `y` are loaded, `body` makes `%r` of `%a`, `%b` (tiles) and `%v` (a column), `%r` is stored.
fn kernel(dtype: &str, body: &str) -> Kernel {
    wide_kernel(dtype, body, 40)
}

fn wide_kernel(dtype: &str, body: &str, columns: u32) -> Kernel {
    let text = format!(
        "nki-ir 1
kernel @pair(%x: in hbm<{dtype}, [2, 30, 40]>, %w: in hbm<f32, [30, 1]>, %out: out hbm<{dtype}, [30, 40]>) {{
  %a = alloc sbuf<{dtype}, [30, 40]>
  %b = alloc sbuf<{dtype}, [30, 40]>
  %v = alloc sbuf<f32, [30, 1]>
  %t = alloc sbuf<f32, [30, 40]>
  %r = alloc sbuf<{dtype}, [30, 40]>
  dma_copy %a, %x[0, :, :]
  dma_copy %b, %x[1, :, :]
  dma_copy %v, %w
{body}
  dma_copy %out, %r
}}
"
    );
    let text = text.replace(", 40]", &format!(", {columns}]"));
    nki_ir::text::parse(&text, "pair.nkir").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The compute instructions of the compiled kernel.
fn ops(k: &Kernel, target: Target, o: &CompileOptions) -> Vec<Op> {
    let program = compile(k, target, o).unwrap().program;
    let all = program.streams.iter().flatten().filter_map(|i| match &i.kind {
        MKind::Compute { op, .. } => Some(*op),
        _ => None,
    });
    all.collect()
}

const TS: &str = "  tensor_scalar %t, %a, operand0: 3.5 {op0 = multiply}\n";

#[test]
fn pairs_become_the_fused_forms() {
    for (dtype, target, body, fused) in [
        ("f32", Target::Trn2, "  tensor_scalar %r, %t, operand0: %v {op0 = add}", Op::TensorScalar),
        (
            "bf16",
            Target::Trn1,
            "  tensor_scalar %r, %t, operand0: 0.1 {op0 = subtract, reverse0}",
            Op::TensorScalar,
        ),
        ("f32", Target::Trn1, "  tensor_tensor %r, %t, %b {op = add}", Op::ScalarTensorTensor),
        ("bf16", Target::Trn1, "  tensor_tensor %r, %b, %t {op = subtract}", Op::ScalarTensorTensor),
        ("f32", Target::Trn2, "  activation %r, %t, bias: %v {op = tanh}", Op::Activation),
        ("f32", Target::Trn3, "  activation %r, %t {op = exp}", Op::Activation),
        // In place.
        (
            "f32",
            Target::Trn2,
            "  tensor_scalar %a, %t, operand0: 2.0 {op0 = add}\n  dma_copy %r, %a",
            Op::TensorScalar,
        ),
    ] {
        let k = kernel(dtype, &format!("{TS}{body}"));
        let on = CompileOptions::default();
        assert_eq!(ops(&k, target, &on), [fused], "{body}");
        assert_eq!(ops(&k, target, &on.clone().without(Pass::Fuse)).len(), 2, "{body}");
        check(body, &k, target, &on);
        check(body, &k, target, &on.without(Pass::Fuse));
    }
}

#[test]
fn pairs_that_could_change_a_bit_or_take_longer_stay() {
    for (target, dtype, body) in [
        // Read twice, or in part, or written again, or stored.
        (Target::Trn2, "f32", "  tensor_tensor %r, %t, %t {op = add}"),
        (
            Target::Trn2,
            "f32",
            "  tensor_scalar %r, %t, operand0: 1.0 {op0 = add}\n  tensor_tensor %r, %r, %t {op = add}",
        ),
        (
            Target::Trn2,
            "f32",
            "  memset %r, 0.0\n  tensor_scalar %r[:, 0:39], %t[:, 1:40], operand0: 1.0 {op0 = add}",
        ),
        // Another instruction in between.
        (Target::Trn2, "f32", "  memset %r, 0.0\n  tensor_scalar %r, %t, operand0: 1.0 {op0 = add}"),
        // Asked for.
        (Target::Trn2, "f32", "  tensor_scalar.scalar %r, %t, operand0: 1.0 {op0 = add}"),
        // The scale would be applied twice.
        (Target::Trn2, "f32", "  activation %r, %t, scale: 2.0 {op = exp}"),
        // Operators that only one of the forms has.
        (Target::Trn2, "f32", "  tensor_scalar %r, %t, operand0: 1.0 {op0 = greater}"),
    ] {
        let k = kernel(dtype, &format!("{TS}{body}"));
        let on = CompileOptions::default();
        let off = on.clone().without(Pass::Fuse);
        assert_eq!(ops(&k, target, &on).len(), ops(&k, target, &off).len(), "{body}");
        check(body, &k, target, &on);
    }
    // Of long rows, a fused form of two inputs takes longer than both of its parts on this target (machine.md 13.3).
    let sum = format!("{TS}  tensor_tensor %r, %t, %b {{op = add}}");
    assert_eq!(ops(&wide_kernel("f32", &sum, 1000), Target::Trn2, &CompileOptions::default()).len(), 2);
    assert_eq!(ops(&wide_kernel("f32", &sum, 10), Target::Trn2, &CompileOptions::default()).len(), 1);
    // A sum with an addend in front: the activation's own bias of 0 would have made 0 of -0.
    let body = "  tensor_scalar %t, %a, operand0: 1.0 {op0 = add}\n  activation %r, %t {op = copy}";
    assert_eq!(ops(&kernel("f32", body), Target::Trn2, &CompileOptions::default()).len(), 2);
    let body = body.replace("copy", "exp");
    assert_eq!(ops(&kernel("f32", &body), Target::Trn2, &CompileOptions::default()), [Op::Activation]);
}

#[test]
fn chains_of_random_instructions_compute_the_same() {
    let mut fused = 0;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let dtype = rng.pick(&["f32", "bf16", "f16"]);
        let mut body = String::new();
        let steps = rng.range(2, 5);
        let mut from = "%a".to_string();
        for n in 0..steps {
            let to = if n + 1 == steps { "%r".to_string() } else { format!("%s{n}") };
            if n + 1 < steps {
                body +=
                    &format!("  {to} = alloc sbuf<{}, [30, 40]>\n", rng.pick(&["f32", "f32", "f32", "bf16"]));
            }
            let op = rng.pick(&["add", "subtract", "multiply", "maximum", "minimum"]);
            let operand = rng.pick(&["0.3", "-0.0", "%v", "7.25"]);
            let reverse = rng.pick(&["", ", reverse0"]);
            body += &match rng.below(4) {
                0 | 1 => {
                    format!("  tensor_scalar {to}, {from}, operand0: {operand} {{op0 = {op}{reverse}}}\n")
                }
                2 => format!("  tensor_tensor {to}, {from}, %b {{op = {op}}}\n"),
                _ => format!("  activation {to}, {from} {{op = {}}}\n", rng.pick(&["exp", "copy", "tanh"])),
            };
            from = to;
        }
        let k = kernel(dtype, &body);
        let target = rng.pick(&[Target::Trn1, Target::Trn2, Target::Trn3]);
        let on = CompileOptions::default();
        let count = |o: &CompileOptions| ops(&k, target, o).len();
        fused += count(&on.clone().without(Pass::Fuse)) - count(&on);
        check(&format!("seed {seed}\n{body}"), &k, target, &on);
    }
    assert!(fused > 15, "{fused}");
}
