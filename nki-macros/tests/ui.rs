//! What rustc and the macros say to mistakes in kernels: `tests/ui/*.rs` must not compile, with the messages of `*.stderr`.
//! To bless new messages, run with `TRYBUILD=overwrite` and read the difference.
//! They are here and not in `nki` so that they build against it without its default features, a tenth of the tree.

#[test]
fn mistakes_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
