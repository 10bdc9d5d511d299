//! A mixture of experts over blocks of tokens.

use crate::activation::GatedConfig;
use crate::mlp::gated;
use nki::ir::op::OobMode;
use nki::prelude::*;

/// `out[t, :] = Σ affinities[t, e] · ((act(x[t] · gate[e] + b_gate[e]) ∘ (x[t] · up[e] + b_up[e])) · down[e] + b_down[e])` over the blocks that
/// token `t` is in.
///
/// `x` is `[tokens, hidden]`. A block is up to 512 tokens for one expert: `ids`, `[blocks, block]`, has their numbers, where a
/// number that is no token, such as -1, is padding; `experts`, `[blocks]`, the expert. No token is twice in a block.
/// `gate` and `up` are `[experts, hidden, inner]`, `down` `[experts, inner, hidden]`, `affinities` `[tokens, experts]`. Without `gate`
/// the inner state is `act(x · up + b_up)`. Biases are `[experts, inner]` and `[experts, hidden]`; limits apply after them. Sums are f32, those over
/// blocks too; `x`, and the inner state, are rounded to `T`.
#[nki::kernel]
#[allow(clippy::too_many_arguments)] // The weights of a layer.
pub fn moe<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    gate: Option<Hbm<T>>,
    up: Hbm<T>,
    down: Hbm<T>,
    b_gate: Option<Hbm<T>>,
    b_up: Option<Hbm<T>>,
    b_down: Option<Hbm<T>>,
    affinities: Hbm<f32>,
    ids: Hbm<i32>,
    experts: Hbm<i32>,
    cfg: GatedConfig,
) -> Hbm<T> {
    let ([tokens, hidden], [count, h, inner]) = (x.dims(), up.dims());
    let (down_shape, table): ([usize; 3], [usize; 2]) = (down.dims(), affinities.dims());
    let ([blocks, block], [named]) = (ids.dims(), experts.dims());
    ensure!(nc, h == hidden && down_shape == [count, inner, hidden]);
    if let Some(gate) = gate {
        let shape: [usize; 3] = gate.dims();
        ensure!(nc, shape == [count, hidden, inner]);
    }
    for bias in [b_gate, b_up].into_iter().flatten() {
        ensure!(nc, bias.shape() == [count, inner], "a bias for each expert and inner element");
    }
    ensure!(nc, b_down.is_none_or(|b| b.shape() == [count, hidden]), "a bias for each expert and element");
    let needs_gate = b_gate.is_some() || cfg.needs_gate();
    ensure!(
        nc,
        gate.is_some() || !needs_gate,
        "bias and limits of the gate, and the offset of up, need a gate"
    );
    ensure!(nc, table == [tokens, count] && named == blocks);
    ensure!(nc, tokens > 0 && hidden > 0 && inner > 0 && blocks > 0);
    ensure!(nc, block > 0 && block <= 512, "one bank of PSUM holds 512 tokens");
    let (out, sums) = (nc.hbm([tokens, hidden]), nc.hbm::<f32>([tokens, hidden]));
    let zeros = nc.zeros::<f32>([tokens.min(128), hidden]);
    for t in nc.tiles(tokens, 128) {
        nc.store(sums.at((t, ..)), zeros.at((0..t.len(), ..)));
    }
    let expert = nc.load(experts.reshape([1, blocks]));
    let expert_of_lane = nc.load(experts.reshape([1, blocks]).broadcast(0, block.min(128))).to::<f32>();
    let numbers = nc.sbuf::<f32>([block.min(128), count]);
    nc.iota(numbers, &[[1, count as i64]]);
    for b in nc.range(blocks) {
        let ids = ids.at((b, ..)).reshape([block, 1]);
        let x_t = gathered(nc, x, ids);
        let biases = [b_gate, b_up, b_down];
        let e = Expert { gate, up, down, biases, index: expert.at((.., b..b + 1)) };
        let state = inner_state(nc, x_t, &e, &cfg);
        let y = project(nc, state, &e);
        for t in nc.tiles(block, 128) {
            let id = nc.load(ids.at((t, ..)));
            let weight = weights(nc, affinities, id, numbers, expert_of_lane.at((0..t.len(), b..b + 1)));
            let (rows, own) = (sums.vector_select(id), y.at((0..t.len(), t.index(), ..)));
            nc.activation(own, Act::Copy, own).scale(weight);
            nc.dma_compute(rows, rows).plus(own).oob_mode(OobMode::Skip);
        }
    }
    for t in nc.tiles(tokens, 128) {
        nc.store(out.at((t, ..)), nc.load(sums.at((t, ..))).to::<T>());
    }
    out
}

/// The affinities of tokens to an expert, which a column names; 0 for padding.
#[nki::kernel]
fn weights(nc: Nc, affinities: Hbm<f32>, id: Tile<i32>, numbers: Tile<f32>, expert: Tile<f32>) -> Tile<f32> {
    let (n, count) = (id.partitions(), numbers.dim(1));
    let rows = nc.zeros::<f32>([n, count]);
    nc.dma_copy(rows, affinities.vector_select(id)).oob_mode(OobMode::Skip);
    let numbers = numbers.at((0..n, ..));
    nc.scalar_tensor_tensor(rows, numbers, Alu::Equal, expert, Alu::Multiply, rows);
    rows.sum()
}

/// The weights, and which of them: an element of a tile.
struct Expert<T: Float> {
    gate: Option<Hbm<T>>,
    up: Hbm<T>,
    down: Hbm<T>,
    /// Of gate, up and down.
    biases: [Option<Hbm<T>>; 3],
    index: Tile<i32>,
}

/// The tokens of a block as `[128, ⌈hidden / 128⌉, block]`: element `h` on partition `h % 128`. Padding is 0.
#[nki::kernel]
fn gathered<T: Float>(nc: Nc, x: Hbm<T>, ids: Hbm<i32>) -> Tile<T> {
    let ([_, hidden], [block, _]) = (x.dims(), ids.dims());
    let x_t = nc.sbuf::<T>([hidden.min(128), hidden.div_ceil(128), block]);
    for t in nc.tiles(block, 128) {
        let rows = nc.zeros::<T>([t.len(), hidden]);
        let id = nc.load(ids.at((t, ..)));
        nc.dma_copy(rows, x.vector_select(id)).oob_mode(OobMode::Skip);
        for h in nc.tiles(hidden, 128) {
            let turned = nc.psum_of::<T>([h.len(), t.len()]);
            nc.nc_transpose(turned, rows.at((.., h)));
            nc.tensor_copy(x_t.at((0..h.len(), h.index(), t)), turned);
        }
    }
    x_t
}

/// Columns of the expert's matrix `[rows, ..]` as a strip `[128, ⌈rows / 128⌉, ..]`, in one transfer but for a last part of fewer rows.
#[nki::kernel]
fn columns<T: Float>(nc: Nc, matrix: Hbm<T>, index: Tile<i32>, c: Block) -> Tile<T> {
    let rows = matrix.dim(1);
    let strip = nc.sbuf::<T>([rows.min(128), rows.div_ceil(128), c.len()]);
    let (tiles, rest) = (rows / 128, rows % 128);
    if tiles > 0 {
        let whole = matrix.at((index, 0..tiles * 128, c)).split(0, &[tiles, 128]).permute(&[1, 0, 2]);
        nc.dma_copy(strip.at((.., 0..tiles, ..)), whole);
    }
    if rest > 0 {
        nc.dma_copy(strip.at((0..rest, tiles, ..)), matrix.at((index, tiles * 128..rows, c)));
    }
    strip
}

/// The expert's vector of `[experts, n]` as `[128, ⌈n / 128⌉]` in f32: element `i` is on partition `i % 128`, in column `i / 128`.
#[nki::kernel]
fn lanes<T: Float>(nc: Nc, vectors: Hbm<T>, index: Tile<i32>) -> Tile<f32> {
    let n = vectors.dim(1);
    let (tiles, rest) = (n / 128, n % 128);
    let loaded = nc.zeros::<T>([n.min(128), n.div_ceil(128)]);
    if tiles > 0 {
        let whole = vectors.at((index, 0..tiles * 128)).split(0, &[tiles, 128]).permute(&[1, 0]);
        nc.dma_copy(loaded.at((.., 0..tiles)), whole);
    }
    if rest > 0 {
        nc.dma_copy(loaded.at((0..rest, tiles..)), vectors.at((index, tiles * 128..n)).expand(1));
    }
    loaded.to::<f32>()
}

/// `act(x · gate + b_gate) ∘ (x · up + b_up)`, transposed: `[128, ⌈inner / 128⌉, block]`.
#[nki::kernel]
fn inner_state<T: Float>(nc: Nc, x_t: Tile<T>, e: &Expert<T>, cfg: &GatedConfig) -> Tile<T> {
    let ([_, hidden, inner], block) = (e.up.dims(), x_t.dim(2));
    let [gate_bias, up_bias] = [e.biases[0], e.biases[1]].map(|b| b.map(|b| lanes(nc, b, e.index)));
    let state = nc.sbuf::<T>([inner.min(128), inner.div_ceil(128), block]);
    for wide in nc.tiles(inner, 256) {
        let up = columns(nc, e.up, e.index, wide);
        let gate = e.gate.map(|gate| columns(nc, gate, e.index, wide));
        for i in nc.tiles(wide.len(), 128) {
            let product = |weights: Tile<T>| {
                let acc = nc.psum([i.len(), block]);
                for h in nc.tiles(hidden, 128) {
                    let stationary = weights.at((0..h.len(), h.index(), i));
                    nc.nc_matmul(acc, stationary, x_t.at((0..h.len(), h.index(), ..)));
                }
                acc
            };
            // 256 columns are two rows of the state.
            let row = wide.index() * 2 + i.index();
            let bias = |b: Option<Tile<f32>>| b.map(|b| b.at((0..i.len(), row)));
            let up = product(up);
            let to = state.at((0..i.len(), row, ..));
            gated(nc, to, gate.map(product), up, [bias(gate_bias), bias(up_bias)], cfg);
        }
    }
    state
}

/// `state · down + b_down` as a strip `[128, ⌈block / 128⌉, hidden]`.
#[nki::kernel]
fn project<T: Float>(nc: Nc, state: Tile<T>, e: &Expert<T>) -> Tile<f32> {
    let ([_, inner, hidden], block) = (e.down.dims(), state.dim(2));
    let y = nc.sbuf::<f32>([block.min(128), block.div_ceil(128), hidden]);
    for h in nc.tiles(hidden, 512) {
        let weights = columns(nc, e.down, e.index, h);
        let bias = e.biases[2].map(|b| nc.load(b.at((e.index, h)).expand(0).broadcast(0, block.min(128))));
        for t in nc.tiles(block, 128) {
            let acc = nc.psum([t.len(), h.len()]);
            for i in nc.tiles(inner, 128) {
                let stationary = state.at((0..i.len(), i.index(), t));
                nc.nc_matmul(acc, stationary, weights.at((0..i.len(), i.index(), ..)));
            }
            let to = y.at((0..t.len(), t.index(), h));
            match bias {
                Some(bias) => drop(nc.tensor_tensor(to, acc, bias.at((0..t.len(), ..)), Alu::Add)),
                None => drop(nc.tensor_copy(to, acc)),
            }
        }
    }
    y
}
