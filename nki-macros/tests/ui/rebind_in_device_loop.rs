use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let mut previous = nc.load(x.at((0..128, ..)));
    for r in nc.tiles(512, 128) {
        let current = nc.load(x.at((r, ..)));
        let _change = current - previous;
        previous = current;
    }
}

fn main() {}
