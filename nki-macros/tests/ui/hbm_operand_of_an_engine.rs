use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let y = nc.sbuf::<f32>([128, 4]);
    nc.activation(y, Act::Exp, x);
}

fn main() {}
