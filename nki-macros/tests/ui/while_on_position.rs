use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for i in nc.range(4) {
        while i + 1 < 3 {
            let _ = nc.load(x.at((0..128, ..)));
        }
    }
}

fn main() {}
