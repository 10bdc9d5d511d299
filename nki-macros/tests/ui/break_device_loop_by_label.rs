use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    'rows: for _r in nc.tiles(x.dim(0), 128) {
        for i in 0..4 {
            if i == 2 {
                break 'rows;
            }
        }
    }
}

fn main() {}
