use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for r in nc.tiles(512, 128) {
        if r.len() < 128 {
            continue;
        }
        let _ = nc.load(x.at((r, ..)));
    }
}

fn main() {}
