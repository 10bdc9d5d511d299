use nki::prelude::*;

#[derive(Clone, Default, KernelConfig)]
struct Config {
    sizes: Vec<usize>,
}

fn main() {}
