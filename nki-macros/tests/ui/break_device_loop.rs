use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for r in nc.tiles(512, 128) {
        let tile = nc.load(x.at((r, ..)));
        if tile.partitions() < 128 {
            break;
        }
    }
}

fn main() {}
