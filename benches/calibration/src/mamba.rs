//! C8 of calibration.md: the fused Mamba kernel of the tutorial, versions 2 and 3.

use crate::pieces::{load, store};
use nki::prelude::*;

/// Version 2: one sweep over the whole sequence per state.
#[nki::kernel]
pub fn mamba_v2(nc: Nc, delta: Hbm<f32>, u: Hbm<f32>, a: Hbm<f32>, b: Hbm<f32>, c: Hbm<f32>) -> Hbm<f32> {
    let ([channels, l], [states, _]) = (delta.dims(), b.dims());
    let out = nc.hbm([channels, l]);
    let ones = ones(nc);
    for ch in nc.tiles(channels, 128) {
        let (delta, u) = (load(nc, delta.at((ch, ..)), l), load(nc, u.at((ch, ..)), l));
        let product = nc.sbuf::<f32>([128, l]);
        nc.tensor_tensor(product, delta, u, Alu::Multiply).engine(Engine::Vector);
        let total = nc.sbuf::<f32>([128, l]);
        nc.memset(total, 0.0).engine(Engine::GpSimd);
        for s in 0..states {
            let rate = load(nc, a.at((ch, s..s + 1)), 1);
            let (b, c) = (load(nc, b.at((s..s + 1, ..)), l), load(nc, c.at((s..s + 1, ..)), l));
            let scan = scanned(nc, ones, delta, product, rate, b, None);
            added(nc, ones, total, scan, c);
        }
        store(nc, out.at((ch, ..)), total);
    }
    out
}

/// Version 3: the sequence in chunks of 512 inside the loop over states; the last column of a chunk starts the next one.
#[nki::kernel]
pub fn mamba_v3(nc: Nc, delta: Hbm<f32>, u: Hbm<f32>, a: Hbm<f32>, b: Hbm<f32>, c: Hbm<f32>) -> Hbm<f32> {
    let ([channels, l], [states, _]) = (delta.dims(), b.dims());
    let out = nc.hbm([channels, l]);
    let ones = ones(nc);
    for ch in nc.tiles(channels, 128) {
        let (delta, u) = (load(nc, delta.at((ch, ..)), l), load(nc, u.at((ch, ..)), l));
        let product = nc.sbuf::<f32>([128, l]);
        nc.tensor_tensor(product, delta, u, Alu::Multiply).engine(Engine::Vector);
        let total = nc.sbuf::<f32>([128, l]);
        nc.memset(total, 0.0).engine(Engine::GpSimd);
        for s in nc.range(states) {
            let rate = load(nc, a.at((ch, s..s + 1)), 1);
            let mut last: Option<Tile<f32>> = None;
            for chunk in 0..l / 512 {
                let at = chunk * 512..chunk * 512 + 512;
                let row = |x: Hbm<f32>| load(nc, x.at((s..s + 1, at.clone())), 512);
                let part = |x: Tile<f32>| x.at((.., at.clone()));
                let (b, c) = (row(b), row(c));
                let scan = scanned(nc, ones, part(delta), part(product), rate, b, last);
                if chunk + 1 < l / 512 {
                    let end = nc.sbuf::<f32>([128, 1]);
                    nc.tensor_copy(end, scan.at((.., 511..512))).engine(Engine::Vector);
                    last = Some(end);
                }
                added(nc, ones, part(total), scan, c);
            }
        }
        store(nc, out.at((ch, ..)), total);
    }
    out
}

/// A row of ones, which broadcasts another row to all partitions.
fn ones(nc: Nc) -> Tile<f32> {
    let ones = nc.sbuf::<f32>([1, 128]);
    nc.memset(ones, 1.0).engine(Engine::GpSimd);
    ones
}

/// `row` on 128 partitions, left in PSUM.
fn broadcast(nc: Nc, ones: Tile<f32>, row: Tile<f32>) -> Acc<f32> {
    let all = nc.psum([128, row.dim(1)]);
    nc.nc_matmul(all, ones, row).is_stationary_onezero(true);
    all
}

/// The recurrence `h = exp(delta · rate) · h + product · b`, from `before` or 0.
fn scanned(
    nc: Nc,
    ones: Tile<f32>,
    delta: Tile<f32>,
    product: Tile<f32>,
    rate: Tile<f32>,
    b: Tile<f32>,
    before: Option<Tile<f32>>,
) -> Tile<f32> {
    let shape = delta.dims::<2>();
    let decay = nc.sbuf::<f32>(shape);
    nc.activation(decay, Act::Exp, delta).scale(rate);
    let input = nc.sbuf::<f32>(shape);
    nc.tensor_tensor(input, product, broadcast(nc, ones, b), Alu::Multiply).engine(Engine::Vector);
    let scan = nc.sbuf::<f32>(shape);
    match before {
        Some(before) => nc.tensor_tensor_scan(scan, decay, input, before, Alu::Multiply, Alu::Add),
        None => nc.tensor_tensor_scan(scan, decay, input, 0.0, Alu::Multiply, Alu::Add),
    };
    scan
}

/// `total += scan · c`.
fn added(nc: Nc, ones: Tile<f32>, total: Tile<f32>, scan: Tile<f32>, c: Tile<f32>) {
    let output = nc.sbuf::<f32>(total.dims::<2>());
    nc.tensor_tensor(output, scan, broadcast(nc, ones, c), Alu::Multiply).engine(Engine::Vector);
    nc.tensor_tensor(total, total, output, Alu::Add).engine(Engine::Vector);
}
