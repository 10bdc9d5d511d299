//! Checks of the tensor engine's instructions (isa.md 9.1).

use super::bounds::{Residues, extremes};
use super::context::{Arg, Cx};
use super::generic::{called, start_outside};
use super::rules;
use crate::dtype::DType;
use crate::entity::Var;
use crate::kernel::{Accumulate, Attr, Bound, LoopData, Space};
use crate::op::{Engine, MatmulPerf};
use crate::target::{Gen, PARTITIONS, PSUM_BANK_BYTES, STATIONARY_FMAX};

/// isa.md 9.1.1.
pub fn nc_matmul(cx: &Cx) {
    let (Some(dst), Some(stationary), Some(moving)) = (cx.arg("dst"), cx.arg("stationary"), cx.arg("moving"))
    else {
        return;
    };
    let (rows, cols) = tile(cx);
    if let Some(halves) = double_row(cx, stationary, moving, cols) {
        matmul_shape(cx, dst, stationary, moving, (rows, cols), halves);
    }
    matmul_dtypes(cx, dst, stationary, moving);
    if dst.n <= cx.target.moving_fmax(dst.dtype().bytes()).into() {
        one_bank(cx, dst);
    }
    accumulate(cx);
    if cx.flag("is_transpose") && (moving.n != u64::from(moving.parts())) {
        cx.fail_arg(&rules::MM_IDENTITY, moving, format!("{} is {}, not square", moving.name(), moving.ty()))
            .help("pass an identity matrix with as many columns as partitions");
    }
}

/// Checks 1 to 3. `halves` is 2 in double-row mode, where the first free dimension is part of the contraction.
fn matmul_shape(cx: &Cx, dst: &Arg, stationary: &Arg, moving: &Arg, (rows, cols): (u32, u32), halves: u64) {
    if stationary.parts() != moving.parts() {
        let message = format!(
            "{} has {} partitions, {} has {}",
            stationary.name(),
            stationary.parts(),
            moving.name(),
            moving.parts()
        );
        cx.fail_arg(&rules::MM_K, moving, message)
            .related(stationary.buf.loc, format!("`{}` is allocated here", stationary.buf.name))
            .help("put the contraction dimension of both operands on the partitions, with equal length");
    } else if stationary.parts() > rows {
        let message =
            format!("{} has {} partitions, the row tile {rows}", stationary.name(), stationary.parts());
        cx.fail_arg(&rules::MM_K, stationary, message)
            .help("split the contraction, or use a larger row tile");
    }
    let (m, n) = (stationary.n / halves, moving.n / halves);
    if m > cols.min(STATIONARY_FMAX).into() {
        let message =
            format!("{} has {m} columns, the limit is {}", stationary.name(), cols.min(STATIONARY_FMAX));
        cx.fail_arg(&rules::MM_SHAPE, stationary, message)
            .help("split the columns of the stationary operand, or swap the operands");
    }
    if u64::from(dst.parts()) != m || dst.n != n {
        let message = format!(
            "{} is {}, but {} ({} x {m}) and {} ({} x {n}) give {m} x {n}",
            dst.name(),
            dst.ty(),
            stationary.name(),
            stationary.parts(),
            moving.name(),
            moving.parts()
        );
        cx.fail_arg(&rules::MM_SHAPE, dst, message).help(format!("make the destination [{m}, {n}]"));
    }
    let limit = cx.target.moving_fmax(dst.dtype().bytes());
    if n > limit.into() {
        let message = format!("{} has {n} columns, the limit on {} is {limit}", moving.name(), cx.target);
        cx.fail_arg(&rules::MM_N, moving, message)
            .help(format!("loop over tiles of at most {limit} columns"));
    }
}

/// Checks 5 to 7.
fn matmul_dtypes(cx: &Cx, dst: &Arg, stationary: &Arg, moving: &Arg) {
    let (s, m) = (stationary.dtype(), moving.dtype());
    let gen4 = cx.generation() == Gen::Gen4;
    let takes = |d: DType| d.is_float();
    for arg in [stationary, moving].into_iter().filter(|a| !takes(a.dtype()) && !a.dtype().is_packed()) {
        cx.fail_arg(&rules::MM_INPUT, arg, format!("{} is {}", arg.name(), arg.dtype()))
            .help("convert it with tensor_copy to bfloat16 or float32");
    }
    if !takes(s) || !takes(m) {
        return;
    }
    let wide = |d: DType| matches!(d, DType::F32 | DType::TF32);
    if wide(s) != wide(m) {
        let message = format!("{} is {s}, {} is {m}", stationary.name(), moving.name());
        cx.fail_arg(&rules::MM_FP32, moving, message).help("convert one of them with tensor_copy");
    }
    if gen4 && [s, m].contains(&DType::F8E4M3) && [s, m].contains(&DType::F8E4M3FN) {
        let message = format!("{} is {s}, {} is {m}", stationary.name(), moving.name());
        cx.fail_arg(&rules::MM_FP8, moving, message).help("use the same FP8 format on both sides");
    }
    if cx.flag("is_transpose") && cx.generation() >= Gen::Gen3 {
        let ok = match s.bytes() {
            1 => dst.dtype().bytes() == 2,
            2 => dst.dtype() == s,
            _ => dst.dtype() == DType::F32,
        };
        if !ok {
            let message =
                format!("{} is {}, the transposed {} is {s}", dst.name(), dst.dtype(), stationary.name());
            cx.fail_arg(&rules::MM_TRANSPOSE_DST, dst, message).help(match s.bytes() {
                1 => "allocate the destination with a 2-byte dtype".into(),
                2 => format!("allocate the destination as {s}"),
                _ => "allocate the destination as float32".to_string(),
            });
        }
    } else if dst.dtype() != DType::F32 && !(gen4 && dst.dtype() == DType::BF16) {
        let message = format!("{} is {}", dst.name(), dst.dtype());
        cx.fail_arg(&rules::MM_DST, dst, message)
            .help("accumulate in float32 and convert when copying out of PSUM");
    }
}

/// Check 4: a result lies in one bank (trn3: in the partition, which the bounds check covers).
pub fn one_bank(cx: &Cx, dst: &Arg) {
    if cx.generation() == Gen::Gen4 || dst.space() != Space::Psum {
        return;
    }
    // The allocator starts tiles of more than a bank at a bank boundary and puts smaller ones inside a bank.
    if dst.buf.address.is_none() && dst.buf.row_bytes() <= PSUM_BANK_BYTES.into() {
        return;
    }
    let bytes = dst.dtype().bytes() as i64;
    let (lo, hi) = dst.pattern.extent();
    let span = (hi - lo + 1) * i128::from(bytes);
    let base = dst.buf.address.map_or(0, |a| i64::from(a.1));
    let start = i64::try_from(lo)
        .ok()
        .and_then(|lo| dst.pattern.offset.add_constant(lo)?.scale(bytes)?.add_constant(base));
    let Some(start) = start else { return };
    if extremes(cx.kernel, &start).is_none() {
        return;
    }
    let Some(residues) = Residues::new(cx.kernel, &start, PSUM_BANK_BYTES) else { return };
    let bank = i128::from(PSUM_BANK_BYTES);
    if let Some(bad) = residues.iter().find(|r| i128::from(*r) + span > bank) {
        let w = residues.witness(bad).text(cx.kernel);
        let message = format!(
            "{} covers bytes {bad}..{} of a PSUM bank of {bank}{w}",
            dst.name(),
            i128::from(bad) + span
        );
        cx.fail_arg(&rules::MM_BANK, dst, message).help(
            "give each result a bank of its own: slices of at most 2 KiB that start at a multiple of 2 KiB",
        );
    }
}

/// Check 9, and the tile's place: rows of the array are SBUF partitions, columns are PSUM partitions. Returns the tile size.
fn tile(cx: &Cx) -> (u32, u32) {
    let (position, size) = (cx.ints("tile_position"), cx.ints("tile_size"));
    let smallest = if cx.generation() == Gen::Gen2 { 64 } else { 32 };
    let legal = match (position, size) {
        ([], []) => true,
        (&[row, col], &[rows, cols]) => [(row, rows), (col, cols)].iter().all(|&(start, size)| {
            [32, 64, 128].contains(&size)
                && size >= smallest
                && (0..128).contains(&start)
                && start % size == 0
                && start + size <= 128
        }),
        _ => false,
    };
    if !legal {
        let message = format!("tile_position {position:?} with tile_size {size:?}");
        cx.fail(&rules::MM_TILE, message).help(format!(
            "give both as [row, column]: sizes {} to 128, positions at multiples of the size",
            smallest
        ));
        return (PARTITIONS, PARTITIONS);
    }
    let (row, col) = match position {
        &[row, col] => (row as u32, col as u32),
        _ => (0, 0),
    };
    places(cx, row, col);
    match size {
        &[rows, cols] => (rows as u32, cols as u32),
        _ => (PARTITIONS, PARTITIONS),
    }
}

/// Operands lie at the partitions of their tile of the array.
pub fn places(cx: &Cx, row: u32, col: u32) {
    for (name, want, what) in [("stationary", row, "row"), ("moving", row, "row"), ("dst", col, "column")] {
        let Some(arg) = cx.arg(name) else { continue };
        // Starts that no engine accepts are reported once, by the generic rule.
        let elsewhere = start_outside(cx, arg, |s| s == want || !s.is_multiple_of(32));
        if let Some((start, w)) = elsewhere {
            let message = format!(
                "{} starts at partition {start}{}, but the tile starts at {what} {want} of the array",
                arg.name(),
                w.text(cx.kernel)
            );
            cx.fail_arg(&rules::MM_TILE_START, arg, message).help(format!(
                "start the operand at partition {want}, or set tile_position and tile_size to match"
            ));
        }
    }
}

/// Check 8. How many parts of the contraction lie along the first free dimension; `None` if that is wrong.
fn double_row(cx: &Cx, stationary: &Arg, moving: &Arg, cols: u32) -> Option<u64> {
    if *cx.raw("perf_mode") != Attr::MatmulPerf(MatmulPerf::DoubleRow) {
        return Some(1);
    }
    let fail = |message: String, help: &str| {
        cx.fail(&rules::MM_DOUBLE_ROW, format!("double_row: {message}")).help(help);
    };
    if cx.generation() < Gen::Gen3 {
        fail(format!("not available on {}", cx.target), "leave perf_mode at none");
    }
    for arg in [stationary, moving] {
        if !arg.dtype().is_float8() {
            fail(format!("{} is {}", arg.name(), arg.dtype()), "convert both operands to float8");
        }
        if arg.shape.len() < 3 || arg.shape[1] != 2 {
            fail(
                format!("{} is {}, expected (K, 2, n)", arg.name(), arg.ty()),
                "split the contraction into two halves",
            );
        }
    }
    if cols != PARTITIONS {
        fail(format!("the column tile is {cols}"), "use a tile of 128 columns");
    }
    if cx.flag("is_transpose") {
        fail("is_transpose is set".into(), "transpose without perf_mode");
    }
    let halves = [stationary, moving].iter().all(|a| a.shape.len() >= 3 && a.shape[1] == 2);
    halves.then_some(2)
}

/// The form of `accumulate`; what it finds in PSUM is checked by `accumulate`.
pub fn accumulate(cx: &Cx) {
    let Some(acc) = cx.accumulate() else { return };
    if cx.flag("is_transpose") && matches!(acc, Accumulate::Add | Accumulate::UnlessFirst(_)) {
        cx.fail(&rules::MM_TRANSPOSE_ADD, "is_transpose with accumulate")
            .help("transpose into a tile of its own and add it with tensor_tensor");
    }
    match acc {
        Accumulate::Auto => {
            cx.fail(&rules::ACC_AUTO, "accumulate is still open")
                .help("write accumulate explicitly, or let the front end resolve it");
        }
        Accumulate::UnlessFirst(vars) => {
            let counted = |v: Var| {
                let owner = cx.kernel.vars.get(v).map(|d| d.owner);
                let known =
                    |l| matches!(cx.kernel.loops.get(l), Some(LoopData::For { lo: Bound::Const(_), .. }));
                owner.is_some_and(known)
            };
            if vars.is_empty() || !vars.iter().all(|v| counted(*v)) {
                cx.fail(&rules::ACC_VARS, "accumulate names a variable that is no counted loop's")
                    .help("name loops around the matmul");
            }
        }
        _ => {}
    }
}

/// isa.md 9.1.3.
pub fn nc_transpose(cx: &Cx) {
    let (Some(dst), Some(data)) = (cx.arg("dst"), cx.arg("data")) else { return };
    let tensor = cx.engine == Engine::Tensor;
    let limit = if tensor { 128 } else { 32 };
    if data.parts() > limit || data.n > limit.into() {
        let message = format!(
            "{} is {} x {}, {} transposes up to {limit} x {limit}",
            data.name(),
            data.parts(),
            data.n,
            called(cx.engine)
        );
        let help = if tensor {
            "loop over tiles of 128 x 128"
        } else {
            "put the destination in PSUM to transpose on the tensor engine, or loop over tiles of 32 x 32"
        };
        cx.fail_arg(&rules::TR_SIZE, data, message).help(help);
    } else if u64::from(dst.parts()) != data.n || dst.n != u64::from(data.parts()) {
        let message = format!(
            "{} is {}, the transpose of {} is {} x {}",
            dst.name(),
            dst.ty(),
            data.name(),
            data.n,
            data.parts()
        );
        cx.fail_arg(&rules::TR_SHAPE, dst, message).help(format!(
            "make the destination [{}, {}]",
            data.n,
            data.parts()
        ));
    }
    let widened =
        tensor && cx.generation() == Gen::Gen2 && data.dtype().bytes() == 2 && dst.dtype() == DType::F32;
    if dst.dtype() != data.dtype() && !widened {
        let message = format!("{} is {}, {} is {}", dst.name(), dst.dtype(), data.name(), data.dtype());
        cx.fail_arg(&rules::TR_DTYPE, dst, message)
            .help(format!("allocate the destination as {}", data.dtype()));
    }
    if tensor {
        let d = data.dtype();
        if d.bytes() == 1 || (!d.is_float() && cx.generation() == Gen::Gen2) {
            let message = format!("{} is {d} on {}", data.name(), cx.target);
            cx.fail_arg(&rules::TR_FLOAT, data, message)
                .help("convert it with tensor_copy first, or transpose 32 x 32 tiles on the vector engine");
        }
        one_bank(cx, dst);
    }
}
