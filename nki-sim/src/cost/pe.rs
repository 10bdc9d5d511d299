//! Tensor engine (machine.md 13.2).

use super::{Cost, Face, Instr, Ps, ps};
use crate::constants::Constants;
use nki_ir::DType;
use nki_ir::kernel::Attr;
use nki_ir::op::{MatmulPerf, TimingClass};

/// The parts of a tensor-engine instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct MatmulCost {
    /// Load-stationary/multiply-moving pairs.
    pub pairs: u32,
    /// Streaming time of all pairs at full rate, and while throttled.
    pub stream: Ps,
    pub stream_throttled: Ps,
    /// Overhead of all pairs, which throttling does not change.
    pub overhead: Ps,
    /// Moves data instead of computing.
    pub transpose: bool,
    /// Contraction rows, stationary columns, moving columns.
    pub k: u32,
    pub m: u32,
    pub n: u64,
    /// First row, first column, rows and columns of the array that it occupies.
    pub tile: [u8; 4],
}

/// Pairs and cycles per moving column.
fn passes(k: &Constants, wide: bool, transpose: bool, onezero: bool) -> (f64, f64) {
    match (wide, transpose, onezero) {
        (false, ..) => (1.0, 1.0),
        (true, true, _) => (k.pe.fp32_transpose_pairs, k.pe.fp32_cyc),
        (true, _, true) => (k.pe.fp32_onezero_pairs, k.pe.fp32_cyc),
        (true, ..) => (k.pe.fp32_pairs, k.pe.fp32_cyc),
    }
}

/// Rows and columns of the array: `tile_position` and `tile_size`, the whole array by default.
fn tile(i: &Instr) -> [u8; 4] {
    let pair = |name| match i.attr(name) {
        Some(Attr::Ints(v)) if v.len() == 2 => Some([v[0].clamp(0, 128) as u8, v[1].clamp(0, 128) as u8]),
        _ => None,
    };
    let ([r, c], [h, w]) = (pair("tile_position").unwrap_or([0, 0]), pair("tile_size").unwrap_or([128, 128]));
    [r, c, h, w]
}

pub(super) fn cost(k: &Constants, i: &Instr) -> Cost {
    let (mm, ii_ns) = parts(k, i);
    let mut cost = Cost::new(ii_ns, ii_ns + k.pe.lat_ovh_ns);
    cost.matmul = Some(mm);
    cost
}

fn parts(k: &Constants, i: &Instr) -> (MatmulCost, f64) {
    let is_transpose_op = i.op.row().timing == TimingClass::Transpose;
    let stationary = if is_transpose_op { i.face("data") } else { i.face("stationary") };
    // nc_transpose has the data stationary and an identity with as many columns as the data has partitions moving.
    let moving = if is_transpose_op { None } else { i.face("moving") };
    let double_row = matches!(i.attr("perf_mode"), Some(Attr::MatmulPerf(MatmulPerf::DoubleRow)));
    let per_row = if double_row { 2 } else { 1 };
    let rows = stationary.as_ref().map_or(0, |f| f.partitions);
    // A packed element is four of the contraction.
    let lanes = if stationary.as_ref().is_some_and(|f| f.dtype.is_packed()) { 4 } else { 1 };
    let m = stationary.as_ref().map_or(0, |f| f.n / per_row);
    let n = if is_transpose_op { rows.into() } else { moving.as_ref().map_or(0, |f| f.n / per_row) };
    let transpose = is_transpose_op || i.flag("is_transpose");
    let wide = stationary.as_ref().is_some_and(|f| f.dtype == DType::F32)
        || moving.as_ref().is_some_and(|f| f.dtype == DType::F32);
    let onezero = i.flag("is_stationary_onezero") || i.flag("is_moving_onezero");
    let (q, c) = passes(k, wide, transpose, onezero);

    let penalty = |f: Option<&Face>| {
        if f.is_some_and(|f| f.penalised(k.stride_limit_bytes)) { k.stride_factor } else { 1.0 }
    };
    let runs = moving.as_ref().map_or(1, Face::runs).max(1);
    let inner_run_cyc = if wide { 0.0 } else { k.pe.inner_run_cyc };
    let fetch = (n as f64 + (runs - 1) as f64 * inner_run_cyc) * penalty(moving.as_ref());
    let comp = c * n as f64;
    let cols_ns = |cyc: f64| cyc / (k.pe.clock_ghz * k.pe.col_rate);
    let ls_rate = if wide { k.pe.ls_cols_per_cyc_fp32 } else { k.pe.ls_cols_per_cyc };
    let t_ls = m as f64 / ls_rate / k.pe.clock_ghz * penalty(stationary.as_ref());
    let pair = |factor: f64| cols_ns(fetch.max(comp / factor).max(k.pe.min_moving_cyc)).max(t_ls);
    let (full, cold) = (q * pair(1.0), q * pair(k.pe.throttle_factor));
    let overhead = q * k.pe.pair_ovh_cyc / k.pe.clock_ghz;
    let mm = MatmulCost {
        pairs: q as u32,
        stream: ps(full),
        stream_throttled: ps(cold),
        overhead: ps(overhead),
        transpose,
        k: rows.saturating_mul(per_row as u32 * lanes),
        m: m.min(u32::MAX.into()) as u32,
        n,
        tile: tile(i),
    };
    (mm, full + overhead)
}
