use nki::prelude::*;

struct Model;

impl Model {
    #[nki::kernel]
    fn forward(&self, nc: Nc) {}
}

fn main() {}
