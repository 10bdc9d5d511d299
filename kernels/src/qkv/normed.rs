//! Tokens, normalised, with the hidden axis on partitions: what a projection contracts.

use nki::prelude::*;

/// `norm(x)` of at most 128 tokens as `[128, hidden / 128, tokens]`: element `h` of a token is on partition `h / (hidden / 128)`, so
/// that a partition reads neighbouring elements, and the weight neighbouring rows. `hidden` is a multiple of 128.
#[nki::kernel]
pub fn few<T: Float>(nc: Nc, x: Hbm<T>, gamma: Option<Hbm<T>>, eps: f32) -> Tile<T> {
    let [tokens, hidden] = x.dims();
    let per_lane = hidden / 128;
    let loaded = nc.load(x.split(1, &[128, per_lane]).permute(&[1, 0, 2]));
    let x_t = nc.sbuf::<T>([128, per_lane, tokens]);
    let turned = loaded.permute(&[0, 2, 1]);
    let Some(gamma) = gamma else {
        nc.tensor_copy(x_t, turned);
        return x_t;
    };
    let squares = nc.sbuf::<f32>([128, tokens, per_lane]);
    nc.tensor_tensor(squares, loaded, loaded, Alu::Multiply);
    let partial = nc.sbuf::<f32>([128, tokens]);
    nc.tensor_reduce(partial, Alu::Add, squares);
    // A product with ones adds up partitions, and leaves the sum on all of them.
    let ones = nc.ones::<f32>([128, 128]);
    let total = nc.psum([128, tokens]);
    nc.nc_matmul(total, ones, partial);
    let scale = nc.sbuf::<f32>([128, tokens]);
    nc.tensor_scalar(scale, total, Alu::Multiply, 1.0 / hidden as f32).then(Alu::Add, eps);
    nc.activation(scale, Act::Rsqrt, scale);
    let gains = nc.load(gamma.reshape([128, per_lane]));
    let scaled = nc.sbuf::<f32>([128, per_lane, tokens]);
    nc.tensor_tensor(scaled, turned, scale.expand(1).broadcast(1, per_lane), Alu::Multiply);
    nc.tensor_tensor(x_t, scaled, gains.expand(2).broadcast(2, tokens), Alu::Multiply);
    x_t
}

/// `norm(x)` as `[128, ⌈hidden / 128⌉, tokens]`: element `h` of a token is on partition `h % 128`, in row `h / 128`.
#[nki::kernel]
pub fn many<T: Float>(nc: Nc, x: Hbm<T>, gamma: Option<Hbm<T>>, eps: f32) -> Tile<T> {
    let [tokens, hidden] = x.dims();
    let x_t = nc.sbuf::<T>([hidden.min(128), hidden.div_ceil(128), tokens]);
    let gains = gamma.map(|g| nc.load(g.reshape([1, hidden]).broadcast(0, tokens.min(128))));
    // Tiles of a bank that are copied out together.
    let together = 16 / size_of::<T>();
    for t in nc.tiles(tokens, 128) {
        let rows = nc.load(x.at((t, ..)));
        let rows = gains.map_or(rows, |g| normed(nc, rows, g.at((0..t.len(), ..)), eps));
        for h in nc.tiles(hidden / 128, together) {
            let turned = nc.psum_of::<T>([128, h.len(), t.len()]);
            for i in 0..h.len() {
                let at = (h.start() + i) * 128;
                nc.nc_transpose(turned.at((.., i, ..)), rows.at((.., at..at + 128)));
            }
            nc.tensor_copy(x_t.at((.., h, t)), turned);
        }
        let rest = hidden % 128;
        if rest > 0 {
            let turned = nc.psum_of::<T>([rest, t.len()]);
            nc.nc_transpose(turned, rows.at((.., hidden - rest..hidden)));
            nc.tensor_copy(x_t.at((0..rest, hidden / 128, t)), turned);
        }
    }
    x_t
}

/// `x / sqrt(mean(x²) + eps) · gains`, a row a token.
#[nki::kernel]
fn normed<T: Float>(nc: Nc, x: Tile<T>, gains: Tile<T>, eps: f32) -> Tile<T> {
    let [n, hidden] = x.dims();
    let (squares, scale) = (nc.sbuf::<T>([n, hidden]), nc.sbuf::<f32>([n, 1]));
    nc.activation(squares, Act::Square, x).reduce(scale);
    nc.tensor_scalar(scale, scale, Alu::Multiply, 1.0 / hidden as f32).then(Alu::Add, eps);
    nc.activation(scale, Act::Rsqrt, scale);
    let y = nc.sbuf::<T>([n, hidden]);
    nc.scalar_tensor_tensor(y, x, Alu::Multiply, scale, Alu::Multiply, gains);
    y
}
