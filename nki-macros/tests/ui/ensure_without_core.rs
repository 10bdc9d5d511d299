use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    ensure!(x.rank() == 2);
}

fn main() {}
