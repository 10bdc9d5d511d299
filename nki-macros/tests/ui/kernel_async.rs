use nki::prelude::*;

#[nki::kernel]
async fn kernel(nc: Nc) {}

fn main() {}
