use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let acc = nc.psum([128, 128]);
    nc.nc_matmul(acc, acc, nc.load(x));
}

fn main() {}
