//! A function of one matrix times another.

use super::Function;
use crate::share::Share;
use nki::prelude::*;

/// What `gated` computes, and the experts of `moe` between their projections.
#[derive(Clone, Debug, KernelConfig)]
pub struct GatedConfig {
    /// The function of the gate; of the other side where there is no gate.
    #[config(default = Function::Silu)]
    pub function: Function,
    /// Limits of the gate.
    #[config(default = None)]
    pub gate_low: Option<f32>,
    #[config(default = None)]
    pub gate_high: Option<f32>,
    /// Limits of the other side.
    #[config(default = None)]
    pub up_low: Option<f32>,
    #[config(default = None)]
    pub up_high: Option<f32>,
    /// Added to the other side after its limits.
    #[config(default = 0.0)]
    pub up_offset: f32,
}

impl GatedConfig {
    /// The activation of gpt-oss: `g · σ(1.702g) ∘ (u + 1)` with `g ≤ 7` and `-7 ≤ u ≤ 7`.
    pub fn gpt_oss() -> GatedConfig {
        GatedConfig {
            function: Function::GeluSigmoid,
            gate_high: Some(7.0),
            up_low: Some(-7.0),
            up_high: Some(7.0),
            up_offset: 1.0,
            ..GatedConfig::default()
        }
    }
    /// Whether it says something about the gate, or of what is multiplied with it.
    pub(crate) fn needs_gate(&self) -> bool {
        self.gate_low.is_some() || self.gate_high.is_some() || self.up_offset != 0.0
    }
}

/// How `gated` cuts its operands.
#[derive(Clone, Debug, KernelConfig)]
pub struct GatedTiles {
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out = f(limited(gate)) ∘ (limited(up) + offset)`, in f32 and rounded once: SwiGLU and its relatives.
#[nki::kernel]
pub fn gated<T: Float>(nc: Nc, gate: Hbm<T>, up: Hbm<T>, cfg: GatedConfig, tiles: GatedTiles) -> Hbm<T> {
    let [rows, columns] = gate.dims();
    ensure!(nc, up.shape() == [rows, columns]);
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (gate, up, to, rows) = (mine.of(gate, 0), mine.of(up, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, tiles.columns) {
            let g = limited(nc, nc.load(gate.at((r, c))), cfg.gate_low, cfg.gate_high);
            let u = limited(nc, nc.load(up.at((r, c))), cfg.up_low, cfg.up_high);
            let acted = nc.sbuf::<f32>([r.len(), c.len()]);
            nc.activation(acted, cfg.function.of_the_scalar_engine(), g);
            let y = nc.sbuf::<T>([r.len(), c.len()]);
            match cfg.up_offset {
                0.0 => drop(nc.tensor_tensor(y, u, acted, Alu::Multiply)),
                offset => drop(nc.scalar_tensor_tensor(y, u, Alu::Add, offset, Alu::Multiply, acted)),
            }
            nc.store(to.at((r, c)), y);
        }
    }
    out
}

/// `x` between the limits that there are.
#[nki::kernel]
fn limited<T: Float>(nc: Nc, x: Tile<T>, low: Option<f32>, high: Option<f32>) -> Tile<T> {
    if low.is_none() && high.is_none() {
        return x;
    }
    let (low, high) = (low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY));
    nc.tensor_scalar(x, x, Alu::Maximum, low).then(Alu::Minimum, high);
    x
}
