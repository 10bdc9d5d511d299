use nki::prelude::*;

fn size(n: usize) -> Option<usize> {
    n.checked_sub(1)
}

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) -> Option<()> {
    for r in nc.tiles(512, 128) {
        let n = size(r.len())?;
        let _ = nc.load(x.at((r, 0..n)));
    }
    Some(())
}

fn main() {}
