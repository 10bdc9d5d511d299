//! The book agrees with the program.

use nki::ir::Code;

#[test]
fn the_chapter_on_codes_has_every_code_and_no_other() {
    let chapter = include_str!("../../docs/src/codes.md");
    let mut named: Vec<Code> = Vec::new();
    for name in chapter.split("`nki::").skip(1) {
        let name = name.split('`').next().unwrap();
        named.push(name.parse().unwrap_or_else(|()| panic!("`nki::{name}` is not a code")));
    }
    for code in Code::ALL {
        assert_eq!(named.iter().filter(|c| *c == code).count(), 1, "{code} in the chapter");
    }
}

#[test]
fn every_chapter_exists_and_is_compiled() {
    let (summary, book) = (include_str!("../../docs/src/SUMMARY.md"), include_str!("../src/book.rs"));
    for link in summary.split("](").skip(1) {
        let file = link.split(')').next().unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src").join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(!text.contains("```rust") || book.contains(file), "the code of {file} is not compiled");
    }
}
