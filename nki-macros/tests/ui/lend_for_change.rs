use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    fn swap(slot: &mut Tile<f32>, value: Tile<f32>) {
        *slot = value;
    }
    let mut last = nc.load(x.at((0..128, ..)));
    for r in nc.tiles(512, 128) {
        swap(&mut last, nc.load(x.at((r, ..))));
    }
}

fn main() {}
