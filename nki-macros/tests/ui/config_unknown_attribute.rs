use nki::prelude::*;

#[derive(Clone, KernelConfig)]
struct Config {
    #[config(deflaut = 3)]
    n: usize,
}

fn main() {}
