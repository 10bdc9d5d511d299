use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let tile = nc.load(x);
    if tile.greater(0.0) {
        let _ = tile + 1.0;
    }
}

fn main() {}
