use nki::prelude::*;

#[nki::kernel]
fn kernel(nc: Nc, x: Hbm<f32>) {
    std::thread::spawn(move || drop(x));
    let _ = nc;
}

fn main() {}
