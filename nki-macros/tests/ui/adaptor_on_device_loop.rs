use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for (i, r) in nc.tiles(512, 128).enumerate() {
        let _ = (i, nc.load(x.at((r, ..))));
    }
    for (i, r) in (nc.tiles(512, 128).into_iter()).zip(0..4) {
        let _ = (r, nc.load(x.at((i, ..))));
    }
    for r in nc.tiles(512, 128).into_iter().skip(1) {
        let _ = nc.load(x.at((r, ..)));
    }
}

fn main() {}
