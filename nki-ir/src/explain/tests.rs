//! The examples in tile IR do what their pages say.

use super::*;
use crate::diag::Diagnostics;
use crate::interp::{self, InterpOptions};
use crate::{Kernel, Tensor, text, verify};
use std::collections::BTreeSet;

fn gate(source: &str, target: Target) -> Result<verify::Verified, Diagnostics> {
    let kernel: Kernel = text::parse(source, "example.nkir")?;
    verify::resolve_and_verify(kernel, target)
}

/// Passes the gate without a warning, and runs on zeros.
fn whole_way(source: &str, target: Target) -> Result<(), Diagnostics> {
    let verified = gate(source, target)?;
    if !verified.warnings().is_empty() {
        return Err(verified.warnings().clone());
    }
    let zeros = |b: &crate::BufData| {
        let shape: Vec<usize> = b.shape.iter().map(|n| *n as usize).collect();
        Tensor::zeros(b.dtype, &shape)
    };
    let bytes: u64 = verified.kernel().inputs().map(|(_, b)| b.row_bytes()).sum();
    if bytes > 1 << 28 {
        return Ok(());
    }
    let inputs: Vec<Tensor> = verified.kernel().inputs().map(|(_, b)| zeros(b)).collect();
    interp::run(&verified, &inputs, &InterpOptions::default()).map(|_| ())
}

#[test]
fn every_code_has_one_page() {
    let groups = [structure::PAGES, operands::PAGES, memories::PAGES, language::PAGES, running::PAGES];
    let pages: Vec<&Page> = groups.into_iter().flatten().collect();
    assert_eq!(pages.len(), Code::ALL.len());
    let codes: BTreeSet<Code> = pages.iter().map(|p| p.code).collect();
    assert_eq!(codes.len(), pages.len(), "a code with two pages");
    // Machine programs have no text form to write an example in; device assertions are not an operation yet.
    let without: BTreeSet<Code> =
        pages.iter().filter(|p| p.language == Language::None).map(|p| p.code).collect();
    assert!(without.is_subset(&[Code::Race, Code::Deadlock, Code::Semaphore, Code::Load].into()));
    for p in pages {
        assert_eq!(page(p.code).title, p.title);
        assert!(!p.title.ends_with('.') && !p.text.is_empty());
        assert_eq!(p.failing.is_empty(), p.language == Language::None, "{}", p.code);
        assert!(p.failing != p.repaired || p.failing.is_empty(), "{}", p.code);
    }
}

#[test]
fn examples_in_tile_ir_fail_and_are_repaired() {
    let mut seen = 0;
    for code in Code::ALL {
        let p = page(*code);
        if p.language != Language::Nkir {
            continue;
        }
        seen += 1;
        let found = match code {
            Code::RuntimeIndex | Code::Assert => whole_way(p.failing, p.target).unwrap_err(),
            _ => gate(p.failing, p.target)
                .err()
                .unwrap_or_else(|| panic!("{code}: the failing example passes")),
        };
        let codes: BTreeSet<Code> = found.iter().map(|d| d.code).collect();
        assert_eq!(codes, BTreeSet::from([*code]), "{found}");
        assert!(found.iter().all(|d| d.at.is_some()), "{found}");
        if let Err(found) = whole_way(p.repaired, p.target) {
            panic!("{code}: the repaired example does not pass:\n{found}");
        }
    }
    assert!(seen >= 25);
}
