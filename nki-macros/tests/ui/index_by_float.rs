use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let _ = nc.load(x.at((0.5, ..)));
}

fn main() {}
