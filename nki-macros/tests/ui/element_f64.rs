use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let _ = (x, nc.sbuf::<f64>([128, 4]));
}

fn main() {}
