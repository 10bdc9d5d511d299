use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) -> Tile<f32> {
    nc.load(x)
}

fn main() {
    let _ = kernel::specialize([4, 4]);
}
