//! The book's table of instructions is what the op table says. `NKI_BLESS=1` rewrites it.

use nki_ir::op::OPS;
use nki_ir::target::Gen;
use std::path::Path;

const HEAD: &str = "# Instructions

Every instruction, from the table that drives the builder, the text form, the gate and `nki isa`: the engines that run it on
each generation, its operands (destinations first; optional ones in parentheses), and its attributes. The language has a method
of `Nc` for each, under this name. `nki isa NAME` says more about one.

| Instruction | isa.md | trn1 | trn2 | trn3 | Operands | Attributes | What it does |
|---|---|---|---|---|---|---|---|
";

fn table() -> String {
    let mut rows: Vec<_> = OPS.iter().collect();
    let number = |section: &str| section.split('.').map(|n| n.parse().unwrap_or(0)).collect::<Vec<u32>>();
    rows.sort_by_key(|r| number(r.section));
    let mut text = HEAD.to_string();
    for row in rows {
        let engines = |generation| {
            let names: Vec<&str> = row.engines_on(generation).map(|e| e.name()).collect();
            if names.is_empty() { "–".to_string() } else { names.join(", ") }
        };
        let operand = |o: &nki_ir::op::OperandSpec| match o.optional {
            true => format!("({})", o.name),
            false => o.name.to_string(),
        };
        let operands: Vec<String> = row.operands.iter().map(operand).collect();
        let attrs: Vec<&str> = row.attrs.iter().map(|a| a.name).collect();
        text += &format!(
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |\n",
            row.name,
            row.section,
            engines(Gen::Gen2),
            engines(Gen::Gen3),
            engines(Gen::Gen4),
            operands.join(", "),
            attrs.join(", "),
            row.summary.replace('|', "\\|")
        );
    }
    text
}

#[test]
fn the_book_lists_the_op_table() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/instructions.md");
    let want = table();
    if std::env::var_os("NKI_BLESS").is_some() {
        std::fs::write(&file, &want).expect("the book can be written");
    }
    let found = std::fs::read_to_string(&file).expect("the book has a page of instructions");
    assert!(found == want, "docs/src/instructions.md is out of date: run this test with NKI_BLESS=1");
}
