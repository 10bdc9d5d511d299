//! Two operations in one pass, selection, clamping.

use super::kernel::{Binary, shape_is};
use crate::share::Share;
use nki::prelude::*;

/// What `fused` computes.
#[derive(Clone, Debug, KernelConfig)]
pub struct FusedConfig {
    /// The first operation, on `x` and `a`; any but `div`.
    #[config(default = Binary::Mul)]
    pub op0: Binary,
    #[config(default = 1.0)]
    pub a: f32,
    /// The second operation, on the result of the first and `y` or `b`; any but `div`.
    #[config(default = Binary::Add)]
    pub op1: Binary,
    /// The second operand where there is no tensor `y`.
    #[config(default = 0.0)]
    pub b: f32,
    /// Exchanges the sides of the first operation.
    #[config(default = false)]
    pub reverse0: bool,
    /// Exchanges the sides of the second operation.
    #[config(default = false)]
    pub reverse1: bool,
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out = (x op0 a) op1 y`, or `(x op0 a) op1 b` without `y`: one instruction, in f32, rounded once.
#[nki::kernel]
pub fn fused<T: Float>(nc: Nc, x: Hbm<T>, y: Option<Hbm<T>>, cfg: FusedConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    shape_is(nc, y, &[rows, columns]);
    let (Some(op0), Some(op1)) = (cfg.op0.alu(), cfg.op1.alu()) else {
        nc.fail("`fused` cannot divide: multiply by the inverse");
    };
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, y, to, rows) = (mine.of(x, 0), y.map(|t| mine.of(t, 0)), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let result = nc.sbuf::<T>([r.len(), c.len()]);
            match y {
                Some(y) => {
                    let y = nc.load(y.at((r, c)));
                    nc.scalar_tensor_tensor(result, tile, op0, cfg.a, op1, y)
                        .reverse0(cfg.reverse0)
                        .reverse1(cfg.reverse1);
                }
                None => {
                    nc.tensor_scalar(result, tile, op0, cfg.a)
                        .then(op1, cfg.b)
                        .reverse0(cfg.reverse0)
                        .reverse1(cfg.reverse1);
                }
            }
            nc.store(to.at((r, c)), result);
        }
    }
    out
}

/// How `select` cuts its work.
#[derive(Clone, Debug, KernelConfig)]
pub struct SelectConfig {
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out = x` where `condition` is not 0, else `y`, bit for bit.
#[nki::kernel]
pub fn select<T: Float>(nc: Nc, condition: Hbm<u8>, x: Hbm<T>, y: Hbm<T>, cfg: SelectConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    shape_is(nc, Some(y), &[rows, columns]);
    shape_is(nc, Some(condition), &[rows, columns]);
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (condition, x, y, to, rows) =
        (mine.of(condition, 0), mine.of(x, 0), mine.of(y, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let predicate = nc.load(condition.at((r, c)));
            // What is loaded for `y` is where the result grows.
            let result = nc.load(y.at((r, c)));
            nc.tensor_copy_predicated(result, nc.load(x.at((r, c))), predicate);
            nc.store(to.at((r, c)), result);
        }
    }
    out
}

/// The limits of `clamp`.
#[derive(Clone, Debug, KernelConfig)]
pub struct ClampConfig {
    #[config(default = None)]
    pub low: Option<f32>,
    #[config(default = None)]
    pub high: Option<f32>,
    /// Columns of one tile.
    #[config(default = 2048)]
    pub columns: usize,
}

/// `out = min(max(x, low), high)`, each limit where it is given. NaN stays NaN.
#[nki::kernel]
pub fn clamp<T: Float>(nc: Nc, x: Hbm<T>, cfg: ClampConfig) -> Hbm<T> {
    let [rows, columns] = x.dims();
    let (low, high) = (cfg.low.unwrap_or(f32::NEG_INFINITY), cfg.high.unwrap_or(f32::INFINITY));
    ensure!(nc, low <= high, "the lower limit is above the upper one");
    let out = nc.hbm([rows, columns]);
    let mine = Share::new(nc, rows, 128);
    let (x, to, rows) = (mine.of(x, 0), mine.of(out, 0), mine.len());
    for r in nc.tiles(rows, 128) {
        for c in nc.tiles(columns, cfg.columns) {
            let tile = nc.load(x.at((r, c)));
            let result = nc.sbuf::<T>([r.len(), c.len()]);
            nc.tensor_scalar(result, tile, Alu::Maximum, low).then(Alu::Minimum, high);
            nc.store(to.at((r, c)), result);
        }
    }
    out
}
