use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let a = nc.load(x);
    let product = nc.sbuf::<f32>([128, 512]);
    nc.nc_matmul(product, a, a);
}

fn main() {}
