use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    for r in nc.tiles(512, 128) {
        let tile = nc.load(x.at((r, ..)));
        let _ = tile + 1.0;
    }
}

fn main() {
    let _ = Schedule::new().buffers(kernel::at.tiel, 3);
}
