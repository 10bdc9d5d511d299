use nki::prelude::*;

#[nki::kernel(fast)]
fn kernel(nc: Nc) {}

fn main() {}
