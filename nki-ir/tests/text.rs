//! The text form through its front door: kernels and texts in, texts and errors out.

use nki_ir::diag::Code;
use nki_ir::text::{self, PrintOptions, Printer};
use nki_ir::*;

/// Every construct of the format.
const FULL: &str = r#"nki-ir 1

kernel @"my kernel"(
  %x: in hbm<bf16, [512, 1024]> loc(0:3:5),
  %"odd\nname": inout hbm<f32, [4]> loc(?),
  %out: out hbm<f32, [512, 7]> loc(0:3:40 in 1),
) {
  reg %n: i32 loc(0:4:1)
  %acc = alloc psum<f32, [128, 512]> at (0, 2048) loc(0:5:9)
  %s = alloc sbuf<f32, [128, 4, 8]> buffers 2 loc(0:6:9)
  %idx = alloc sbuf<i32, [128, 1]> loc(1:1:1 in 2)
  for %i in 0..8 loc(0:7:9) {
    for %j in -4..%n max 16 step 2 unroll 4 loc(0:8:9) {
      %a = alloc sbuf<bf16, [128, 128]> loc(0:9:9)
      dma_copy %a, %x[%i*64 - %j*3 +: 128, 0:128] {priority = 2, oob_mode = skip} loc(0:10:9)
      dma_copy %a, %x.rows(%idx) {dge_mode = swdge} loc(0:11:9)
      dma_copy %a, %x[:, 5].dynamic(%n, axis 0) loc(0:12:9)
      dma_copy %a, %x.dynamic(%idx[0:1, :], axis 1) loc(0:13:9)
      nc_matmul %acc[:, %i +: 4 step 2], %a, %a {accumulate = unless_first(%i, %j)} loc(0:14:9)
    }
    memset %s[32:64, 1, :], -0.0 loc(0:15:9)
  }
  for %i in 5..2 loc(0:16:9) {
    tensor_copy.gpsimd %s.ap(partitions %i*32 +: 32, offset -%i + 7, [[0, 3], [-1, 8]]).view(u32), %s loc(0:17:9)
  }
  "two words": activation %s, %s, bias: %idx, scale: nan(0xffc00001) {op = exp, reduce_cmd = reduce} loc(0:18:9)
  evict: tensor_scalar %s, %s, operand0: 1e-20, operand1: inf {op0 = add, op1 = multiply, reverse1} loc(0:19:9)
  tensor_tensor _, data2: %s.ap([[1, 1]]).indirect(%idx.rows(%idx), 3) {op = _} loc(0:20:9)
  iota %s, offset: -7 {pattern = [[1, 4], [-8, 8]], channel_multiplier = 3} loc(0:21:9)
  affine_select %s, %s {pattern = [], on_false_value = -3.4028235e38} loc(0:22:9)
  tensor_reduce %s, %s {op = maximum, axis = [1, 2], negate} loc(0:23:9)
  while %n loc(0:24:9) {
    if %n loc(0:25:9) {
      no_reorder loc(0:26:9) {
        reciprocal %s, %s loc(0:27:9)
      }
    } else {
      memset %s, 3 loc(0:28:9)
    }
    if %n loc(0:29:9) {
    }
  }
}

locations {
  file 0 "src/a \"b\".rs"
  file 1 "src/lib.rs"
  frame 0 @"my kernel"
  frame 1 @inner loc(0:40:9)
  frame 2 @inner2 loc(1:50:9 in 1)
}
"#;

fn errors(text: &str) -> Vec<(Code, u32, u32, String)> {
    let errors = text::parse(text, "t.nkir").expect_err("the text is in error");
    let row = |d: &diag::Diagnostic| {
        let at = d.at.as_ref().expect("every error of the parser has a place");
        assert_eq!(at.file, "t.nkir");
        (d.code, at.line, at.column, d.message.clone())
    };
    errors.iter().map(row).collect()
}

fn places(text: &str) -> Vec<(Code, u32, u32)> {
    errors(text).into_iter().map(|(c, l, k, _)| (c, l, k)).collect()
}

/// A kernel whose body is `body`, which starts on line 3.
fn with_body(body: &str) -> String {
    format!("nki-ir 1\nkernel @k(%x: in hbm<f32, [4, 4]>) {{\n{body}\n}}\n")
}

#[test]
fn everything_reads_back_as_printed() {
    let kernel = text::parse(FULL, "full.nkir").unwrap();
    let printed = text::print(&kernel);
    // `tensor_tensor _, ..`: a missing operand is not printed, those after it get names.
    let expected = FULL.replace("tensor_tensor _, data2", "tensor_tensor data2").replace(" {op = _}", "");
    assert_eq!(printed, expected);
    assert_eq!(text::print(&text::parse(&printed, "full.nkir").unwrap()), printed);
}

#[test]
fn a_file_without_trailers_gets_its_own_positions() {
    let kernel =
        text::parse(&with_body("  %t = alloc sbuf<f32, [4, 4]>\n  lbl: memset %t, 1.0"), "dir/t.nkir")
            .unwrap();
    let at = |loc| kernel.locs.resolve(loc).unwrap();
    let t = at(kernel.bufs[Buf(1)].loc);
    assert_eq!((t.to_string().as_str(), &t.stack[..]), ("dir/t.nkir:3:3", &[("k".to_string(), None)][..]));
    assert_eq!(at(kernel.insts[Inst(0)].loc).to_string(), "dir/t.nkir:4:8");
    assert_eq!(at(kernel.bufs[Buf(0)].loc).to_string(), "dir/t.nkir:2:11");
    assert_eq!(kernel.insts[Inst(0)].name.as_deref(), Some("lbl"));
}

#[test]
fn call_stacks_read_back() {
    let kernel = text::parse(FULL, "full.nkir").unwrap();
    let idx = kernel.bufs.values().find(|b| b.name == "idx").unwrap();
    let at = kernel.locs.resolve(idx.loc).unwrap();
    assert_eq!(at.to_string(), "src/lib.rs:1:1");
    let call = |file: &str, line| Some((file.to_string(), line, 9));
    let stack = vec![
        ("inner2".to_string(), call("src/lib.rs", 50)),
        ("inner".to_string(), call("src/a \"b\".rs", 40)),
        ("my kernel".to_string(), None),
    ];
    assert_eq!(at.stack, stack);
}

#[test]
fn names_are_made_unique_once() {
    let mut b = Builder::new("k");
    let loc = Loc::UNKNOWN;
    let data = |name: &str| BufData::new(name, Space::Sbuf, DType::F32, &[4, 4], BufKind::Private, loc);
    for name in ["t", "t", "t_1", "t", "i"] {
        b.alloc(data(name));
    }
    for _ in 0..2 {
        b.begin_for("i", kernel::Bound::Const(0), kernel::Bound::Const(2), 1, loc);
        b.begin_for("j", kernel::Bound::Const(0), kernel::Bound::Const(2), 1, loc);
        b.begin_for("j", kernel::Bound::Const(0), kernel::Bound::Const(2), 1, loc);
        b.end();
        b.end();
        b.end();
    }
    let printed = Printer::new(&b.finish(), PrintOptions { locations: false }).kernel();
    for name in ["%t = ", "%t_1 = ", "%t_1_1 = ", "%t_2 = ", "%i = "] {
        assert_eq!(printed.matches(name).count(), 1, "{name} in\n{printed}");
    }
    assert_eq!(printed.matches("for %i_1 in 0..2 {").count(), 2, "{printed}");
    assert_eq!(printed.matches("for %j in 0..2 {").count(), 2, "{printed}");
    assert_eq!(printed.matches("for %j_1 in 0..2 {").count(), 2, "{printed}");
    let again = text::parse(&printed, "t").unwrap();
    assert_eq!(Printer::new(&again, PrintOptions { locations: false }).kernel(), printed);
}

#[test]
fn many_errors_are_reported_each_at_its_place() {
    let body = "\
  %a = alloc sbuf<f33, [4, 4]>
  memset %a, 1.0
  memset %b, 1.0
  memset %b, 2.0
  tensor_cpy %x, %x
  tensor_copy %x, %x {engine = vector}
  tensor_copy %x, %x, %x
  tensor_copy %x, scr: %x
  for %i in 0..z {
    memset %x[%i, 0:1], 1.0
    memset %x, 1..0
  }
  activation %x, %x {op = expp}
  } else {
";
    let found = places(&with_body(body));
    let expected = [
        (Code::Syntax, 3, 17),
        (Code::Undefined, 5, 10),
        (Code::Undefined, 7, 3),
        (Code::Form, 8, 23),
        (Code::Form, 9, 23),
        (Code::Form, 10, 19),
        (Code::Syntax, 11, 16),
        (Code::Syntax, 13, 17),
        (Code::Syntax, 15, 27),
        (Code::Syntax, 16, 5),
    ];
    assert_eq!(found, expected, "{:#?}", errors(&with_body(body)));
}

#[test]
fn near_misses_are_named() {
    let help = |body: &str| {
        let errors = text::parse(&with_body(body), "t.nkir").unwrap_err();
        errors.iter().next().unwrap().help.clone()
    };
    assert_eq!(help("  tensor_cpy %x, %x").as_deref(), Some("did you mean `tensor_copy`?"));
    assert_eq!(
        help("  %tile = alloc sbuf<f32, [4, 4]>\n  memset %tyle, 0.0").as_deref(),
        Some("did you mean `%tile`?")
    );
    assert_eq!(help("  activation %x, %x {opp = exp}").as_deref(), Some("did you mean `op`?"));
    assert_eq!(help("  activation %x, %x, bais: %x {op = exp}").as_deref(), Some("did you mean `bias`?"));
}

#[test]
fn the_header_is_checked() {
    assert_eq!(places(""), [(Code::Syntax, 1, 1)]);
    assert_eq!(places("kernel @k() {}"), [(Code::Syntax, 1, 1)]);
    assert_eq!(places("nki-ir 2\nkernel @k() {}"), [(Code::Syntax, 1, 8)]);
    assert_eq!(places("nki-ir 1\nkernel @k() {} x"), [(Code::Syntax, 2, 16)]);
    assert_eq!(places("nki-ir 1\nkernel @k() {\n"), [(Code::Syntax, 3, 1)]);
    assert!(text::parse("; a comment\nnki-ir 1\nkernel @k() {}", "t").is_ok());
}

#[test]
fn names_have_scopes() {
    // A loop variable ends with its loop, and may not hide another name.
    let body = "  for %i in 0..2 {\n  }\n  memset %x[%i, 0:1], 0.0\n  for %x in 0..2 {\n  }";
    assert_eq!(places(&with_body(body)), [(Code::Undefined, 5, 13), (Code::Duplicate, 6, 7)]);
    let body = "  %x = alloc sbuf<f32, [4, 4]>\n  %y = alloc sbuf<f32, [4, 4]>\n  for %y in 0..2 {\n  }";
    assert_eq!(places(&with_body(body)), [(Code::Duplicate, 3, 3), (Code::Duplicate, 5, 7)]);
    // A tile is known after its loop: that it must not be used there is for the verifier to say.
    let body = "  for %i in 0..2 {\n    %y = alloc sbuf<f32, [4, 4]>\n  }\n  memset %y, 0.0";
    assert!(text::parse(&with_body(body), "t").is_ok());
    // A kind of value in the wrong place.
    let body = "  reg %r: i32\n  memset %x[%r, 0:1], 0.0\n  while %x {\n  }";
    assert_eq!(places(&with_body(body)), [(Code::Form, 4, 13), (Code::Form, 5, 9)]);
    // A position is an operand of some instructions: that `memset` is none of them is for the verifier to say.
    let body = "  for %i in 0..2 {\n    memset %i, 0.0\n  }";
    let kernel = text::parse(&with_body(body), "t").unwrap();
    let refused = nki_ir::verify::verify(kernel, nki_ir::Target::Trn2).unwrap_err();
    assert_eq!(refused.first_code(), Some(Code::Form));
}

#[test]
fn location_numbers_are_checked() {
    let text = |loc: &str, section: &str| {
        format!("nki-ir 1\nkernel @k() {{\n  reg %r: i32 loc({loc})\n}}\n{section}")
    };
    assert_eq!(places(&text("0:1:1", "")), [(Code::Undefined, 3, 15)]);
    assert_eq!(places(&text("0:1:1 in 1", "locations { file 0 \"a\" }")), [(Code::Undefined, 3, 15)]);
    assert_eq!(places(&text("?", "locations { file 1 \"a\" }")), [(Code::Syntax, 5, 13)]);
    let cycle = "locations { file 0 \"a\"\n frame 0 @k loc(0:1:1 in 0) }";
    assert_eq!(places(&text("?", cycle)), [(Code::Syntax, 6, 2)]);
}

#[test]
fn limits_are_errors() {
    let dims = |n: usize| format!("  %y = alloc hbm<f32, [{}]>", vec!["1"; n].join(", "));
    assert!(text::parse(&with_body(&dims(text::MAX_RANK)), "t").is_ok());
    assert_eq!(errors(&with_body(&dims(text::MAX_RANK + 1)))[0].0, Code::Limit);
    let ints =
        |n: usize| format!("  tensor_reduce %x, %x {{op = add, axis = [{}]}}", vec!["1"; n].join(", "));
    assert!(text::parse(&with_body(&ints(text::MAX_LIST)), "t").is_ok());
    assert_eq!(errors(&with_body(&ints(text::MAX_LIST + 1)))[0].0, Code::Limit);
    let nest = |n: usize| "no_reorder {\n".repeat(n) + &"}\n".repeat(n);
    assert!(text::parse(&with_body(&nest(text::MAX_DEPTH)), "t").is_ok());
    assert_eq!(errors(&with_body(&nest(100_000)))[0].0, Code::Limit);
    let rows = |n: usize| format!("  dma_copy %x, %x{}{}", ".rows(%x".repeat(n), ")".repeat(n));
    assert!(text::parse(&with_body(&rows(4)), "t").is_ok());
    assert_eq!(errors(&with_body(&rows(100_000)))[0].0, Code::Limit);
    for number in ["memset %x, 9223372036854775808", "memset %x[4294967296:4294967297, 0 +: 4294967296], 0"] {
        assert_eq!(errors(&with_body(number))[0].0, Code::Limit, "{number}");
    }
    let body = "for %i in 0..2 {\n  memset %x[9223372036854775807*%i + %i, 0], 0\n}";
    assert_eq!(errors(&with_body(body))[0].0, Code::Limit);
    assert_eq!(errors(&with_body(&"bad line\n".repeat(10_000))).len(), text::MAX_ERRORS);
    assert_eq!(errors(&with_body(&"memset %x, 0.0\n".repeat(text::MAX_ENTITIES + 1))).len(), 1);
}

#[test]
fn floats_read_back_bit_for_bit() {
    let bits =
        [0, 0x8000_0000, 1, 0x807f_ffff, 0x7f7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000, 0xffc0_0000];
    let more = [0x7f80_0001u32, 0x3f80_0000, 0x5015_02f9, 0x3dcc_cccd, 0x4b7f_ffff, 0x1e3c_e508];
    for bits in bits.into_iter().chain(more) {
        let body = with_body(&format!("  memset %x, {}", text::float(f32::from_bits(bits))));
        let kernel = text::parse(&body, "t").unwrap_or_else(|e| panic!("{body}\n{e}"));
        let Operand::Imm(x) = kernel.insts[Inst(0)].operands[1] else {
            panic!("not an immediate: {body}");
        };
        assert_eq!(x.to_bits(), bits, "{body}");
    }
}
