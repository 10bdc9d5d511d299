use nki::prelude::*;

#[derive(Clone, KernelConfig)]
enum Norm {
    None,
    Rms(f32),
}

fn main() {}
