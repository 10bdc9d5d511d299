use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let blocks = nc.tiles(512, 128);
    let mut last = None;
    for r in blocks {
        last = Some(nc.load(x.at((r, ..))));
    }
    let _ = last;
}

fn main() {}
