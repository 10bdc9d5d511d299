//! The reader and the gate on damaged kernels: errors, never panics, and what passes runs or gives an error.
//!
//! `NKI_FUZZ_CASES` sets the number of kernels (200 unless set; long runs take as many as there is time for), `NKI_SEED` the
//! first one. `fuzz/` has the same for cargo-fuzz.

use nki_ir::interp::{self, InterpOptions};
use nki_ir::testgen::{GenOptions, Rng, arguments, generate};
use nki_ir::{Op, Target, text, verify};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Exchanges, drops or repeats words of a line, or changes a number: the text mostly still parses.
fn damage(text: &str, rng: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(String::from).collect();
    let at = rng.below(lines.len() as u32) as usize;
    match rng.below(4) {
        0 => {
            lines.remove(at);
        }
        1 => {
            let other = rng.below(lines.len() as u32) as usize;
            lines.swap(at, other);
        }
        2 => {
            let again = lines[at].clone();
            lines.insert(at, again);
        }
        _ => {
            let digits: Vec<usize> =
                lines[at].char_indices().filter(|c| c.1.is_ascii_digit()).map(|c| c.0).collect();
            if let Some(&d) = digits.get(rng.below(digits.len().max(1) as u32) as usize) {
                let new = rng.pick(&["0", "1", "7", "128", "-1", "65536"]);
                lines[at].replace_range(d..d + 1, new);
            }
        }
    }
    lines.join("\n") + "\n"
}

#[test]
fn damaged_kernels_give_errors_not_panics() {
    let first = number("NKI_SEED", 0);
    let ops: Vec<Op> = Op::all().collect();
    let (mut parsed, mut passed) = (0, 0);
    for seed in first..first + number("NKI_FUZZ_CASES", 200) {
        let target = Target::ALL[(seed % 4) as usize];
        let focus = Some(ops[(seed / 4) as usize % ops.len()]);
        let focus = focus.filter(|op| op.row().engines_on(target.generation()).next().is_some());
        let options = GenOptions { target, focus, statements: 3, max_depth: 1, ..GenOptions::default() };
        let mut source = text::print(&generate(seed, &options));
        let mut rng = Rng::new(seed);
        for _ in 0..rng.range(1, 3) {
            source = damage(&source, &mut rng);
        }
        let Ok(kernel) = text::parse(&source, "damaged.nkir") else { continue };
        parsed += 1;
        let Ok(verified) = verify::resolve_and_verify(kernel, target) else { continue };
        passed += 1;
        let inputs = arguments(verified.kernel(), seed, true);
        // An index out of bounds is an error of the run.
        let _ = interp::run(&verified, &inputs, &InterpOptions::default());
    }
    assert!(parsed > 0 && passed > 0, "{parsed} texts parse, {passed} kernels pass");
}
