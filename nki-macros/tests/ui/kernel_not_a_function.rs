use nki::prelude::*;

#[nki::kernel]
struct Kernel;

fn main() {}
