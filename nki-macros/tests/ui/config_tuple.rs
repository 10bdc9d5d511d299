use nki::prelude::*;

#[derive(Clone, Default, KernelConfig)]
struct Config(usize);

fn main() {}
