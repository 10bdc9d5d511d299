//! The text form on generated kernels: reads back as the same kernel, and no damaged text makes the parser panic.

use nki_ir::testgen::{GenOptions, Rng, generate};
use nki_ir::text;
use nki_ir::*;
use proptest::prelude::*;

mod same;
use same::same;

fn options(seed: u64) -> GenOptions {
    let target = Target::ALL[(seed % 4) as usize];
    GenOptions {
        target,
        statements: 8 + (seed % 16) as u32,
        control: !seed.is_multiple_of(3),
        ..GenOptions::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn printed_kernels_read_back_as_themselves(seed: u64) {
        let kernel = generate(seed, &options(seed));
        let printed = text::print(&kernel);
        let again = text::parse(&printed, "generated.nkir").unwrap_or_else(|e| panic!("{e}\n{printed}"));
        prop_assert_eq!(&text::print(&again), &printed);
        if let Err(difference) = same(&kernel, &again) {
            panic!("{difference}\n{printed}");
        }
    }

    /// Bytes, words and lines of a printed kernel removed, doubled, exchanged or replaced.
    #[test]
    fn damaged_texts_give_errors_not_panics(seed: u64, edits in 1usize..6) {
        let small = GenOptions { statements: 4, ..options(seed) };
        let mut bytes = text::print(&generate(seed, &small)).into_bytes();
        let mut rng = Rng::new(seed);
        for _ in 0..edits {
            damage(&mut bytes, &mut rng);
        }
        let damaged = String::from_utf8_lossy(&bytes).into_owned();
        match text::parse(&damaged, "damaged.nkir") {
            Ok(kernel) => {
                let printed = text::print(&kernel);
                let again = text::parse(&printed, "damaged.nkir").unwrap_or_else(|e| panic!("{e}\n{printed}"));
                prop_assert_eq!(text::print(&again), printed);
            }
            Err(errors) => {
                prop_assert!(errors.has_errors());
                for d in errors.iter() {
                    let at = d.at.as_ref().expect("every error of the parser has a place");
                    let lines = damaged.lines().count() as u32 + 1;
                    prop_assert!((1..=lines).contains(&at.line) && at.column >= 1, "{d} in {lines} lines");
                }
            }
        }
    }
}

/// Words that a damaged text gets: the format's own, and what a careless reader chokes on.
const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "%",
    "@",
    "\"",
    ";",
    "..",
    "+:",
    "-",
    "*",
    ".rows(",
    ".ap(",
    "for",
    "if",
    "else",
    "loc(0:0:0)",
    "loc(",
    "kernel",
    "nki-ir",
    "locations",
    "frame 0 @k loc(0:1:1)",
    "file 0 \"x\"",
    "%?",
    "18446744073709551615",
    "-9223372036854775808",
    "4294967295",
    "1e999",
    "nan(0)",
    "0x",
    "\\u{",
    "\u{0}",
    "\u{feff}",
    "\u{1F600}",
    "_",
    ",",
    "=",
    "alloc sbuf<f32, [0]>",
    "step -1",
    "max 1",
    "drop",
    "\n",
];

fn damage(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let len = bytes.len() as u32;
    let at = rng.below(len) as usize;
    let end = (at + rng.range(1, 30) as usize).min(bytes.len());
    match rng.below(7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            let to = rng.below(len) as usize;
            bytes.splice(to..to, piece);
        }
        3 if !bytes.is_empty() => bytes[at] = rng.bits() as u8,
        4 => {
            // A whole line goes somewhere else.
            let mut lines: Vec<Vec<u8>> = bytes.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            let (a, b) = (rng.below(lines.len() as u32) as usize, rng.below(lines.len() as u32) as usize);
            lines.swap(a, b);
            *bytes = lines.join(&b'\n');
        }
        _ => {
            let word = rng.pick(WORDS);
            bytes.splice(at..if rng.percent(50) { at } else { end }, format!(" {word} ").into_bytes());
        }
    }
}
