use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let tile = nc.load(x);
    let _ = x * tile;
}

fn main() {}
