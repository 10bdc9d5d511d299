//! What every error code means, with a failing and a repaired example: the content of `nki explain CODE`.
//!
//! The examples are tests: a failing one gives exactly its code, a repaired one passes the gate (and runs, for codes that only
//! show while running). Rust examples are compiled and run by the tests of the crate `nki`.

mod language;
mod memories;
mod operands;
mod running;
mod structure;
#[cfg(test)]
mod tests;

use crate::diag::Code;
use crate::target::Target;

/// The language of a page's examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Tile IR (`.nkir`). The gate finds the error; for `runtime_index` a run on data does.
    Nkir,
    /// A machine program (`.nkim`).
    Nkim,
    /// Rust, with the crate `nki`.
    Rust,
    /// A command line.
    Shell,
    /// No example: the text says all.
    None,
}

/// The explanation of a code.
#[derive(Debug)]
pub struct Page {
    pub code: Code,
    /// One line.
    pub title: &'static str,
    /// Why it is an error and what to do, in paragraphs.
    pub text: &'static str,
    pub language: Language,
    /// The target for which the failing example is illegal.
    pub target: Target,
    /// Empty if there is no example.
    pub failing: &'static str,
    /// What is right instead.
    pub repaired: &'static str,
}

/// The explanation of `code`.
pub fn page(code: Code) -> &'static Page {
    let groups = [structure::PAGES, operands::PAGES, memories::PAGES, language::PAGES, running::PAGES];
    let found = groups.into_iter().flatten().find(|p| p.code == code);
    found.expect("every code has a page; a test counts them")
}

/// A page with examples in tile IR for trn2.
const fn nkir(
    code: Code,
    title: &'static str,
    text: &'static str,
    failing: &'static str,
    repaired: &'static str,
) -> Page {
    Page { code, title, text, language: Language::Nkir, target: Target::Trn2, failing, repaired }
}

/// A page with examples in Rust.
const fn rust(
    code: Code,
    title: &'static str,
    text: &'static str,
    failing: &'static str,
    repaired: &'static str,
) -> Page {
    Page { code, title, text, language: Language::Rust, target: Target::Trn2, failing, repaired }
}

/// A page without examples.
const fn prose(code: Code, title: &'static str, text: &'static str) -> Page {
    Page { code, title, text, language: Language::None, target: Target::Trn2, failing: "", repaired: "" }
}
