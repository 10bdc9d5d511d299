use nki::prelude::*;

#[nki::kernel]
fn kernel(x: Hbm<f32>, nc: Nc) {}

fn main() {}
