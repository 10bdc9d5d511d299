use nki::prelude::*;

#[nki::kernel]
fn double<T: Float>(nc: Nc, x: Hbm<T>) -> Hbm<T> {
    let out = nc.hbm(x.shape());
    nc.store(out, nc.load(x) * 2.0);
    out
}

fn main() {
    let _ = double::specialize::<i32>([4, 4]);
}
