//! The feed-forward layer of a transformer.

use super::plan::Plan;
use crate::strip::{product, strip, transposed};
use nki::prelude::*;

/// The function between the projections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, KernelConfig)]
pub enum Activation {
    Relu,
    /// With the error function.
    Gelu,
    Silu,
}

impl Activation {
    fn function(self) -> Act {
        match self {
            Activation::Relu => Act::Relu,
            Activation::Gelu => Act::Gelu,
            Activation::Silu => Act::Silu,
        }
    }
}

/// What `mlp` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct MlpConfig {
    /// The function of the gate, or of the up projection where there is no gate.
    #[config(default = Activation::Silu)]
    pub activation: Activation,
}

/// `out = (act(x · w_gate + b_gate) ∘ (x · w_up + b_up)) · w_down + b_down`, or `act(x · w_up + b_up) · w_down + b_down`
/// without a gate.
///
/// `x` is `[tokens, hidden]`, `w_gate` and `w_up` are `[hidden, inner]`, `w_down` is `[inner, hidden]`, a bias is `[inner]` or
/// `[hidden]`. Sums are f32; the product of gate and up is rounded to `T` before the down projection.
#[nki::kernel]
#[allow(clippy::too_many_arguments)]
pub fn mlp<T: Float>(
    nc: Nc,
    x: Hbm<T>,
    w_gate: Option<Hbm<T>>,
    w_up: Hbm<T>,
    w_down: Hbm<T>,
    b_gate: Option<Hbm<T>>,
    b_up: Option<Hbm<T>>,
    b_down: Option<Hbm<T>>,
    cfg: MlpConfig,
) -> Hbm<T> {
    let [tokens, hidden] = x.dims();
    let [up_rows, inner] = w_up.dims();
    let down: [usize; 2] = w_down.dims();
    ensure!(nc, up_rows == hidden && down == [inner, hidden]);
    if let Some(w_gate) = w_gate {
        let gate: [usize; 2] = w_gate.dims();
        ensure!(nc, gate == [hidden, inner]);
    }
    ensure!(nc, b_gate.is_none() || w_gate.is_some(), "a bias of the gate needs a gate");
    ensure!(nc, hidden > 0 && inner > 0);
    let Some(plan) = Plan::new(tokens, hidden, inner, size_of::<T>()) else {
        nc.fail(format!("hidden {hidden} and inner {inner} are too wide for SBUF"));
    };
    let out = nc.hbm([tokens, hidden]);
    for t in nc.tiles(tokens, plan.tokens) {
        let x_t = transposed(nc, x.at((t, ..)));
        // The inner activations with `inner` on partitions, which is what the down projection contracts.
        let a_t = nc.sbuf::<T>([inner.min(128), inner.div_ceil(128), t.len()]);
        for block in nc.tiles(inner, plan.inner) {
            let up_strip = strip(nc, w_up.at((.., block)));
            let gate_strip = w_gate.map(|w| strip(nc, w.at((.., block))));
            for i in nc.tiles(block, 128) {
                let a = a_t.at((0..i.len(), block.index() * (plan.inner / 128) + i.index(), ..));
                let up = product(nc, up_strip.at((.., .., i.local())), x_t, hidden);
                let up_bias = b_up.map(|b| column(nc, b, i));
                match gate_strip {
                    Some(gate_strip) => {
                        let gate = product(nc, gate_strip.at((.., .., i.local())), x_t, hidden);
                        let gate_bias = b_gate.map(|b| column(nc, b, i));
                        let acted = nc.sbuf::<f32>([i.len(), t.len()]);
                        activate(nc, acted, cfg.activation, gate, gate_bias);
                        match up_bias {
                            Some(bias) => {
                                nc.scalar_tensor_tensor(a, up, Alu::Add, bias, Alu::Multiply, acted);
                            }
                            None => {
                                nc.tensor_tensor(a, up, acted, Alu::Multiply);
                            }
                        }
                    }
                    None => activate(nc, a, cfg.activation, up, up_bias),
                }
            }
        }
        for h in nc.tiles(hidden, plan.hidden) {
            let down_strip = strip(nc, w_down.at((.., h)));
            let bias =
                b_down.map(|b| nc.load(b.reshape([1, hidden]).at((.., h)).broadcast(0, t.len().min(128))));
            for s in nc.tiles(t, 128) {
                let y = nc.psum([s.len(), h.len()]);
                for i in nc.tiles(inner, 128) {
                    let a = a_t.at((0..i.len(), i.index(), s.local()));
                    nc.nc_matmul(y, a, down_strip.at((0..i.len(), i.index(), ..)));
                }
                let result = nc.sbuf::<T>([s.len(), h.len()]);
                match bias {
                    Some(bias) => {
                        nc.tensor_tensor(result, y, bias.at((0..s.len(), ..)), Alu::Add);
                    }
                    None => {
                        nc.tensor_copy(result, y);
                    }
                }
                nc.store(out.at((s, h)), result);
            }
        }
    }
    out
}

/// Part of a bias with one element per partition.
#[nki::kernel]
fn column<T: Float>(nc: Nc, bias: Hbm<T>, part: Block) -> Tile<f32> {
    let [n] = bias.dims();
    let loaded = nc.load(bias.reshape([n, 1]).at((part, ..)));
    loaded.to::<f32>()
}

/// `dst = activation(src + bias)`.
#[nki::kernel]
fn activate<D: Float>(nc: Nc, dst: Tile<D>, activation: Activation, src: Acc, bias: Option<Tile<f32>>) {
    let instruction = nc.activation(dst, activation.function(), src);
    if let Some(bias) = bias {
        instruction.bias(bias);
    }
}
