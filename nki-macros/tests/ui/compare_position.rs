use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for i in nc.range(4) {
        let tile = nc.load(x.at((i * 128..i * 128 + 128, ..)));
        if i == 0 {
            let _ = tile + 1.0;
        }
    }
}

fn main() {}
