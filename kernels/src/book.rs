//! The book's Rust code, compiled and run by `cargo test --doc`.

macro_rules! chapters {
    ($($name:ident: $file:literal;)*) => {$(
        #[doc = include_str!(concat!("../../docs/src/", $file))]
        mod $name {}
    )*};
}

chapters! {
    first_kernel: "first-kernel.md";
    language: "language.md";
    control: "control.md";
    memory: "memory.md";
    checking: "checking.md";
    schedule: "schedule.md";
    command_line: "command-line.md";
    formats: "formats.md";
    readme: "../../README.md";
}
