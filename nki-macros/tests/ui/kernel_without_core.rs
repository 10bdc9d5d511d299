use nki::prelude::*;

#[nki::kernel]
fn kernel() {}

fn main() {}
