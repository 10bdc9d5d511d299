use nki::prelude::*;

struct Config {
    n: usize,
}

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>, cfg: Config) {
    let _ = (nc, x.dim(cfg.n));
}

fn main() {}
