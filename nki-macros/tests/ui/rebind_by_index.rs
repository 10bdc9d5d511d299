use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let mut tiles = [nc.zeros::<f32>([128, 4]); 2];
    for r in nc.tiles(512, 128) {
        tiles[0] = nc.load(x.at((r, ..)));
    }
}

fn main() {}
