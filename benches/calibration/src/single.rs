//! Single instructions whose time is published (calibration.md, "Single-instruction figures").

use crate::pieces::{load, store};
use nki::calibrate::{Figure, simulated};
use nki::ir::Diagnostics;
use nki::ir::op::DgeMode;
use nki::prelude::*;
use nki::sim::{SimReport, Stall};

/// `count` activations of one element per partition, each on the result of the one before.
#[nki::kernel]
pub fn scalar_chain(nc: Nc, x: Hbm<f32>, count: usize) -> Hbm<f32> {
    let out = nc.hbm(x.dims::<2>());
    let tile = load(nc, x, 1);
    for _ in 0..count {
        nc.activation(tile, Act::Copy, tile);
    }
    store(nc, out, tile);
    out
}

/// One product of bf16 tiles, `columns` wide, with `stationary` columns.
#[nki::kernel]
pub fn one_product(nc: Nc, w: Hbm<bf16>, x: Hbm<bf16>) -> Hbm<f32> {
    let ([rows, m], [_, n]) = (w.dims(), x.dims());
    let (left, right) = (nc.sbuf::<bf16>([rows, m]), nc.sbuf::<bf16>([rows, n]));
    nc.dma_copy(left, w).dge_mode(DgeMode::None);
    nc.dma_copy(right, x).dge_mode(DgeMode::None);
    let acc = nc.psum([m, n]);
    nc.nc_matmul(acc, left, right);
    let out = nc.hbm([m, n]);
    let rows = nc.sbuf::<f32>([m, n]);
    nc.activation(rows, Act::Copy, acc);
    store(nc, out, rows);
    out
}

/// A load of eight partitions of 4 KiB.
#[nki::kernel]
pub fn one_load(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let out = nc.hbm(x.dims::<2>());
    let tile = load(nc, x, 1024);
    store(nc, out, tile);
    out
}

fn engine(report: &SimReport, engine: Engine) -> &nki::sim::report::EngineReport {
    report.engines.iter().find(|e| e.engine == engine).expect("a report has every engine")
}

fn chain(count: usize) -> Result<SimReport, Diagnostics> {
    simulated(&scalar_chain::specialize([128, 1], count), Target::Trn1)
}

fn product(columns: usize) -> Result<SimReport, Diagnostics> {
    simulated(&one_product::specialize([128, columns], [128, 128]), Target::Trn1)
}

macro_rules! figures {
    ($($name:ident = $figure:expr;)*) => {$(
        static $name: Figure = $figure;
        nki::calibration_figure!($name);
    )*};
}

figures! {
    SCALAR_INTERVAL = Figure {
        id: "S1",
        title: "scalar engine, dependent activations of one element, from one to the next",
        target: Target::Trn1,
        measured_ns: 189.0,
        simulate: || Ok((chain(65)?.kernel_ns - chain(1)?.kernel_ns) / 64.0),
    };
    SCALAR_LENGTH = Figure {
        id: "S2",
        title: "scalar engine, length of such an activation",
        target: Target::Trn1,
        measured_ns: 159.0,
        simulate: || Ok(engine(&chain(1)?, Engine::Scalar).instruction_ns),
    };
    LOAD_STATIONARY = Figure {
        id: "S3",
        title: "tensor engine, load of a stationary bf16 column",
        target: Target::Trn1,
        measured_ns: 67.0,
        simulate: || {
            let report = product(1)?;
            let waits = &engine(&report, Engine::Tensor).stalled;
            Ok(waits.iter().filter(|w| w.0 == Stall::Stationary).map(|w| w.1).sum())
        },
    };
    MULTIPLY_MOVING = Figure {
        id: "S4",
        title: "tensor engine, product with 128 moving bf16 columns, start to end",
        target: Target::Trn1,
        measured_ns: 188.0,
        simulate: || Ok(engine(&product(128)?, Engine::Tensor).instruction_ns),
    };
    TRANSFER = Figure {
        id: "S5",
        title: "DMA engines, 32 KiB in eight pieces of 4 KiB, time of one engine",
        target: Target::Trn1,
        measured_ns: 1810.0,
        // A load and a store, each as long.
        simulate: || {
            Ok(simulated(&one_load::specialize([8, 1024]), Target::Trn1)?.dma.packet_ns / 2.0)
        },
    };
}
