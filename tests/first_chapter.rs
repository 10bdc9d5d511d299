//! What the book's first chapter leads a newcomer to: its listing, with its test, and the seven mistakes that are made first.
//! Each is refused under its code, at the line of the kernel, with a help that says what to do. Two of the seven do not
//! compile: `nki-macros/tests/ui/matmul_into_sbuf.rs` and `rebind_in_device_loop.rs`.

use nki::Specialization;
use nki::ir::Code;
use nki::ir::diag::Severity;
use nki::prelude::*;

#[path = "../docs/listings/first_kernel.rs"]
mod listing;

#[test]
fn the_listing_is_short_and_that_of_the_book() {
    let listing = include_str!("../docs/listings/first_kernel.rs");
    assert!(listing.lines().count() < 40, "{} lines", listing.lines().count());
    assert!(include_str!("../docs/src/first-kernel.md").contains(listing));
}

/// Refused with `code` at the line that ends in `// HERE name`; the help contains `advice`.
fn refused(spec: Specialization, code: Code, name: &str, advice: &str) {
    let found = spec.verify(Target::Trn2).expect_err("the kernel is wrong");
    let errors: Vec<_> = found.iter().filter(|d| d.severity == Severity::Error).collect();
    // The first is the mistake; those that follow from it are of the same kind.
    assert!(errors.iter().all(|d| d.code == code), "{found}");
    let mark = format!("// HERE {name}");
    let source = include_str!("first_chapter.rs");
    let line = 1 + source.lines().position(|l| l.ends_with(&mark)).expect("the mark exists");
    let printed = found.to_string();
    assert!(printed.contains(&format!("tests/first_chapter.rs:{line}:")), "not at line {line}: {printed}");
    assert!(printed.contains(code.name()), "{printed}");
    let help = errors[0].help.as_deref().unwrap_or_default();
    assert!(help.contains(advice), "help `{help}` in\n{printed}");
}

macro_rules! mistakes {
    ($($name:ident: $code:ident, [$($shape:expr),*], $advice:literal, |$nc:ident, $x:ident, $out:ident| { $($body:tt)* })*) => {$(
        #[test]
        fn $name() {
            #[nki::kernel]
            fn kernel($nc: Nc, $x: Hbm<f32>) -> Hbm<f32> {
                let $out = $nc.hbm($x.shape());
                $($body)*
                $out
            }
            refused(kernel::specialize([$($shape),*]), Code::$code, stringify!($name), $advice);
        }
    )*};
}

mistakes! {
    shape_mismatch: Shape, [128, 64], "shape", |nc, x, out| {
        let (tile, half) = (nc.load(x), nc.load(x.at((.., 0..32))));
        nc.store(out, tile + half); // HERE shape_mismatch
    }
    tile_of_256_partitions: Partition, [512, 64], "128", |nc, x, out| {
        for r in nc.tiles(512, 256) {
            let tile = nc.load(x.at((r, ..))); // HERE tile_of_256_partitions
            nc.store(out.at((r, ..)), tile);
        }
    }
    slice_out_of_bounds: OutOfBounds, [500, 64], "nc.tiles", |nc, x, out| {
        for i in nc.range(4) {
            let rows = i * 128..(i + 1) * 128;
            let tile = nc.load(x.at((rows.clone(), ..))); // HERE slice_out_of_bounds
            nc.store(out.at((rows, ..)), tile);
        }
    }
    sbuf_overflow: SbufCapacity, [128, 70_000], "smaller", |nc, x, out| {
        let tile = nc.load(x); // HERE sbuf_overflow
        nc.store(out, tile);
    }
    read_before_write: Uninitialized, [128, 8], "fill it with memset", |nc, x, out| {
        let sum = nc.sbuf::<f32>([128, 8]);
        nc.store(out, sum + nc.load(x)); // HERE read_before_write
    }
}
