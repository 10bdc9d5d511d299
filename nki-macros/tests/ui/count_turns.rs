use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    let mut turns = 0;
    for i in nc.range(4) {
        let _ = nc.load(x.at((i * 128..i * 128 + 128, ..)));
        turns += 1;
    }
    assert_eq!(turns, 4);
}

fn main() {}
