use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, #[inout] n: usize) {}

fn main() {}
