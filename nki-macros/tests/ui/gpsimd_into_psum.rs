use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let acc = nc.psum([128, 512]);
    nc.iota(acc, &[[1, 512]]);
}

fn main() {}
