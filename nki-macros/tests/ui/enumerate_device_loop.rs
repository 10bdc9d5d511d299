use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for (i, r) in nc.tiles(512, 128).enumerate() {
        let _ = (i, nc.load(x.at((r, ..))));
    }
}

fn main() {}
