use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let a = nc.load(x);
    let acc = nc.psum([128, 512]);
    nc.nc_matmul(acc, x, a);
}

fn main() {}
