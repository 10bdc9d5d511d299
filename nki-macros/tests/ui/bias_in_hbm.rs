use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let y = nc.load(x);
    nc.activation(y, Act::Exp, y).bias(x);
}

fn main() {}
