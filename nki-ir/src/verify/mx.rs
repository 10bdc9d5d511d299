//! Checks of the MX instructions (isa.md 9.1.2 and 9.3.13).

use super::bounds::{Residues, Witness};
use super::context::{Arg, Cx};
use super::generic::start_outside;
use super::rules::{self, Rule};
use super::tensor;
use crate::dtype::DType;
use crate::target::{PARTITIONS, STATIONARY_FMAX};

/// Scales lie in quadrants of this many partitions.
const QUADRANT: u32 = 32;

/// isa.md 9.1.2.
pub fn nc_matmul_mx(cx: &Cx) {
    let (Some(dst), Some(stationary), Some(moving)) = (cx.arg("dst"), cx.arg("stationary"), cx.arg("moving"))
    else {
        return;
    };
    let rows = tile(cx);
    let k = stationary.parts();
    if k != moving.parts() || !k.is_multiple_of(QUADRANT) || k > rows {
        let message = format!(
            "{} has {k} partitions, {} {}, the row tile {rows}",
            stationary.name(),
            moving.name(),
            moving.parts()
        );
        cx.fail_arg(&rules::MX_K, moving, message)
            .help("put the same multiple of 32 rows of packed elements on the partitions of both");
    }
    shape(cx, dst, stationary, moving);
    if !matches!(dst.dtype(), DType::F32 | DType::BF16) {
        cx.fail_arg(&rules::MX_DST, dst, format!("{} is {}", dst.name(), dst.dtype()))
            .help("allocate the destination as float32 or bfloat16");
    }
    for (data, name) in [(stationary, "stationary_scale"), (moving, "moving_scale")] {
        if !data.dtype().is_packed() {
            cx.fail_arg(&rules::MX_DATA, data, format!("{} is {}", data.name(), data.dtype()))
                .help("quantise it with quantize_mx, or multiply with nc_matmul");
        }
        if let Some(scale) = cx.arg(name) {
            if !is_scale(scale.dtype()) {
                cx.fail_arg(&rules::MX_DATA, scale, format!("{} is {}", scale.name(), scale.dtype()))
                    .help("pass the scales that quantize_mx wrote");
            }
            scale_shape(cx, &rules::MX_SCALE, scale, k, data.n);
            offsets(cx, &rules::MX_SCALE_START, scale);
            same_quadrant(cx, &rules::MX_SCALE_START, scale, data);
        }
    }
    tensor::accumulate(cx);
}

/// Checks 2 and 3.
fn shape(cx: &Cx, dst: &Arg, stationary: &Arg, moving: &Arg) {
    let (m, n) = (stationary.n, moving.n);
    if m > STATIONARY_FMAX.into() || m % 2 != 0 {
        let message = format!("{} has {m} columns", stationary.name());
        cx.fail_arg(&rules::MX_SHAPE, stationary, message).help("use an even number of columns up to 128");
    }
    if u64::from(dst.parts()) != m || dst.n != n {
        let message = format!("{} is {}, the product is {m} x {n}", dst.name(), dst.ty());
        cx.fail_arg(&rules::MX_SHAPE, dst, message).help(format!("make the destination [{m}, {n}]"));
    }
    let limit = cx.target.moving_fmax(dst.dtype().bytes());
    if n > limit.into() {
        let message = format!("{} has {n} columns, the limit is {limit}", moving.name());
        cx.fail_arg(&rules::MX_N, moving, message)
            .help(format!("loop over tiles of at most {limit} columns"));
    }
}

/// Check 5. Returns the rows of the tile.
fn tile(cx: &Cx) -> u32 {
    let (position, size) = (cx.ints("tile_position"), cx.ints("tile_size"));
    let (row, rows) = match (position, size) {
        ([], []) => (0, 128),
        (&[row, 0], &[rows @ (32 | 64 | 128), 128])
            if (0..128).contains(&row) && row % rows == 0 && row + rows <= 128 =>
        {
            (row as u32, rows as u32)
        }
        _ => {
            let message = format!("tile_position {position:?} with tile_size {size:?}");
            cx.fail(&rules::MX_TILE, message)
                .help("give both as [row, 0] and [rows, 128]: 32, 64 or 128 rows at a multiple of them");
            return PARTITIONS;
        }
    };
    tensor::places(cx, row, 0);
    rows
}

/// isa.md 9.3.13.
pub fn quantize_mx(cx: &Cx) {
    let (Some(dst), Some(src), Some(scale)) = (cx.arg("dst"), cx.arg("src"), cx.arg("dst_scale")) else {
        return;
    };
    let parts = src.parts();
    if !parts.is_multiple_of(QUADRANT) {
        let message = format!("{} has {parts} partitions", src.name());
        cx.fail_arg(&rules::QMX_PARTS, src, message).help("pad the source to a multiple of 32 partitions");
    }
    if src.n % 4 != 0 {
        let message = format!("{} has {} elements per partition", src.name(), src.n);
        cx.fail_arg(&rules::QMX_N, src, message).help("pad the source to a multiple of 4 columns");
    } else if dst.parts() != parts || dst.n != src.n / 4 {
        let message =
            format!("{} is {}, {} packs into [{parts}, {}]", dst.name(), dst.ty(), src.name(), src.n / 4);
        cx.fail_arg(&rules::QMX_DST, dst, message).help("make the destination a quarter as wide");
    }
    scale_shape(cx, &rules::QMX_SCALE, scale, parts, src.n / 4);
    offsets(cx, &rules::QMX_OFFSET, scale);
    same_quadrant(cx, &rules::QMX_QUADRANT, scale, dst);
    let packed = matches!(dst.dtype(), DType::F8E5M2X4 | DType::F8E4M3FNX4);
    if !packed || !src.dtype().is_float16() || !is_scale(scale.dtype()) {
        let message = format!(
            "{} is {}, {} is {}, {} is {}",
            dst.name(),
            dst.dtype(),
            src.name(),
            src.dtype(),
            scale.name(),
            scale.dtype()
        );
        cx.fail_arg(&rules::QMX_DTYPE, dst, message)
            .help("quantise bfloat16 or float16 to float8_e5m2_x4 or float8_e4m3fn_x4");
    }
}

fn is_scale(d: DType) -> bool {
    matches!(d, DType::F8E8M0 | DType::U8)
}

/// A scale's view reaches the last row of scales, and not beyond the data's partitions.
fn scale_shape(cx: &Cx, rule: &'static Rule, scale: &Arg, parts: u32, columns: u64) {
    let least = parts.saturating_sub(QUADRANT - 4);
    if scale.n != columns || !(least..=parts).contains(&scale.parts()) {
        let message = format!(
            "{} is {}, {parts} rows of {columns} packed elements need [{least}..={parts}, {columns}]",
            scale.name(),
            scale.ty()
        );
        cx.fail_arg(rule, scale, message).help(if parts > QUADRANT {
            "allocate the scales with the data's partitions; four rows in each 32 are used"
        } else {
            "allocate four rows of scales"
        });
    }
}

/// Scales start at row 0, 4, 8 or 12 of a quadrant.
fn offsets(cx: &Cx, rule: &'static Rule, scale: &Arg) {
    let legal = |start: u32| matches!(start % QUADRANT, 0 | 4 | 8 | 12);
    if let Some((start, w)) = start_outside(cx, scale, legal) {
        let message = format!("{} starts at partition {start}{}", scale.name(), w.text(cx.kernel));
        cx.fail_arg(rule, scale, message).help("start at 0, 4, 8 or 12 rows behind a multiple of 32");
    }
}

/// Scales and data start in one quadrant, for all values of the loop variables.
fn same_quadrant(cx: &Cx, rule: &'static Rule, scale: &Arg, data: &Arg) {
    let start = |arg: &Arg| -> Option<Vec<(u32, Witness)>> {
        let base = arg.buf.address.map_or(0, |a| a.0);
        let part = arg.pattern.part.add_constant(base.into())?;
        let found = Residues::new(cx.kernel, &part, PARTITIONS)?;
        Some(found.iter().map(|r| (r, found.witness(r))).collect())
    };
    // Starts that move with loops are compared only where both stand still or both move alike.
    let terms = |a: &Arg| a.pattern.part.terms().to_vec();
    if terms(scale) != terms(data) {
        return;
    }
    let (Some(s), Some(d)) = (start(scale), start(data)) else { return };
    if let ([(s, _)], [(d, w)]) = (s.as_slice(), d.as_slice())
        && s / QUADRANT != d / QUADRANT
    {
        let message = format!(
            "{} starts at partition {s}, {} at partition {d}{}",
            scale.name(),
            data.name(),
            w.text(cx.kernel)
        );
        cx.fail_arg(rule, scale, message).help("put the scales into the quadrants of their data");
    }
}
