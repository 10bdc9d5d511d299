//! The matrix product of NKI's kernel optimisation guide (machine.md's KOPT), rung by rung with the guide's tiles, blocks and
//! transfers: `out[4096, 8192] = lhs_t[8192, 4096]ᵀ · rhs[8192, 8192]` in f32 on trn2. The guide publishes which share of the time
//! its DMA engines, tensor engine and vector engine were active, and machine.md 16.3 the time of the first version.
//!
//! What the last two versions hold on chip (328 and 232 KB per partition) does not fit: here as there the compiler moves tiles
//! out and in again. Which ones the original moved is not known.

use nki::Specialization;
use nki::backend::device::{CompileOptions, Pass, compile};
use nki::ir::op::DgeMode;
use nki::ir::{Diagnostics, accumulate, verify};
use nki::prelude::*;
use nki::sim::{Mode, SimOptions, SimReport};

/// Transfers of one tile each, next to the product that uses them.
#[nki::kernel]
pub fn tiled(nc: Nc, lhs_t: Hbm<f32>, rhs: Hbm<f32>, issuer: Engine) -> Hbm<f32> {
    let ([k, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        for ni in nc.tiles(n, 512) {
            let acc = nc.psum([128, 512]);
            for ki in nc.tiles(k, 128) {
                nc.nc_matmul(acc, bring(nc, issuer, lhs_t.at((ki, mi))), bring(nc, issuer, rhs.at((ki, ni))));
            }
            evict(nc, issuer, out.at((mi, ni)), acc);
        }
    }
    out
}

/// A column of tiles of either operand before the products that use it.
#[nki::kernel]
pub fn hoisted(nc: Nc, lhs_t: Hbm<f32>, rhs: Hbm<f32>, issuer: Engine) -> Hbm<f32> {
    let ([_, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        let left = column(nc, issuer, lhs_t.at((.., mi)));
        for ni in nc.tiles(n, 512) {
            let right = column(nc, issuer, rhs.at((.., ni)));
            products(nc, issuer, out.at((mi, ni)), &left, &right);
        }
    }
    out
}

/// Blocks of 2 x 2 result tiles.
#[nki::kernel]
pub fn blocked_free(nc: Nc, lhs_t: Hbm<f32>, rhs: Hbm<f32>, issuer: Engine) -> Hbm<f32> {
    let ([_, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let out = nc.hbm([m, n]);
    for mb in nc.tiles(m, 256) {
        let left: Vec<_> =
            (0..2).map(|i| column(nc, issuer, lhs_t.at((.., mb)).at((.., i * 128..i * 128 + 128)))).collect();
        for nb in nc.tiles(n, 1024) {
            let right: Vec<_> = (0..2)
                .map(|i| column(nc, issuer, rhs.at((.., nb)).at((.., i * 512..i * 512 + 512))))
                .collect();
            let block = out.at((mb, nb));
            for (i, left) in left.iter().enumerate() {
                for (j, right) in right.iter().enumerate() {
                    products(
                        nc,
                        issuer,
                        block.at((i * 128..i * 128 + 128, j * 512..j * 512 + 512)),
                        left,
                        right,
                    );
                }
            }
        }
    }
    out
}

/// Blocks of 16 x 2 result tiles and 8 tiles of the contraction; sums of blocks in SBUF.
#[nki::kernel]
pub fn blocked(nc: Nc, lhs_t: Hbm<f32>, rhs: Hbm<f32>, issuer: Engine) -> Hbm<f32> {
    let ([k, m], [_, n]) = (lhs_t.dims(), rhs.dims());
    let out = nc.hbm([m, n]);
    for nb in nc.tiles(n, 1024) {
        let sums: Vec<Tile<f32>> = (0..m / 128 * 2).map(|_| nc.sbuf([128, 512])).collect();
        for &sum in &sums {
            nc.memset(sum, 0.0);
        }
        for kb in 0..k / 1024 {
            let rows = |i: usize| kb * 1024 + i * 128..kb * 1024 + i * 128 + 128;
            let right: Vec<Tile<f32>> = (0..8).map(|i| bring(nc, issuer, rhs.at((rows(i), nb)))).collect();
            for mb in 0..m / 2048 {
                let columns = mb * 2048..mb * 2048 + 2048;
                let left: Vec<Tile<f32>> =
                    (0..8).map(|i| bring(nc, issuer, lhs_t.at((rows(i), columns.clone())))).collect();
                for bn in 0..2 {
                    for bm in 0..16 {
                        let acc = nc.psum([128, 512]);
                        for (left, right) in left.iter().zip(&right) {
                            let stationary = left.at((.., bm * 128..bm * 128 + 128));
                            nc.nc_matmul(acc, stationary, right.at((.., bn * 512..bn * 512 + 512)));
                        }
                        let sum = sums[(mb * 16 + bm) * 2 + bn];
                        nc.tensor_tensor(sum, sum, acc, Alu::Add);
                    }
                }
            }
        }
        for (mi, pair) in sums.chunks(2).enumerate() {
            let packed = nc.sbuf::<f32>([128, 1024]);
            for (bn, &sum) in pair.iter().enumerate() {
                nc.tensor_copy(packed.at((.., bn * 512..bn * 512 + 512)), sum);
            }
            save(nc, issuer, out.at((mi * 128..mi * 128 + 128, nb)), packed);
        }
    }
    out
}

/// All rows of a matrix, 128 a tile, a transfer each.
#[nki::kernel]
fn column(nc: Nc, issuer: Engine, matrix: Hbm<f32>) -> Vec<Tile<f32>> {
    let [k, _] = matrix.dims();
    (0..k / 128).map(|i| bring(nc, issuer, matrix.at((i * 128..i * 128 + 128, ..)))).collect()
}

/// One result tile.
#[nki::kernel]
fn products(nc: Nc, issuer: Engine, out: Hbm<f32>, left: &[Tile<f32>], right: &[Tile<f32>]) {
    let acc = nc.psum([128, 512]);
    for (&left, &right) in left.iter().zip(right) {
        nc.nc_matmul(acc, left, right);
    }
    evict(nc, issuer, out, acc);
}

/// PSUM to device memory through SBUF.
#[nki::kernel]
fn evict(nc: Nc, issuer: Engine, out: Hbm<f32>, acc: Acc) {
    let rows = nc.sbuf::<f32>([128, 512]);
    nc.tensor_copy(rows, acc);
    save(nc, issuer, out, rows);
}

/// A load, issued by a sequencer of choice or, with [`Engine::Unknown`], of the compiler's.
#[nki::kernel]
fn bring(nc: Nc, issuer: Engine, src: Hbm<f32>) -> Tile<f32> {
    let tile = nc.sbuf::<f32>(src.shape());
    nc.dma_copy(tile, src).dge_mode(descriptors(issuer)).issue_from(issuer);
    tile
}

/// A store from the same sequencer.
#[nki::kernel]
fn save(nc: Nc, issuer: Engine, dst: Hbm<f32>, src: Tile<f32>) {
    nc.dma_copy(dst, src).dge_mode(descriptors(issuer)).issue_from(issuer);
}

fn descriptors(issuer: Engine) -> DgeMode {
    if issuer == Engine::Unknown { DgeMode::Unknown } else { DgeMode::Hwdge }
}

/// A rung, with the shares of time, in percent, that the guide publishes.
pub struct Rung {
    pub name: &'static str,
    pub kernel: fn() -> Specialization,
    /// The profile's duration, where it is published.
    pub latency_ms: Option<f64>,
    /// At least one DMA engine, the tensor engine and, where it is given, the vector engine were active.
    pub dma: f64,
    pub tensor: f64,
    pub vector: Option<f64>,
}

const LEFT: [usize; 2] = [8192, 4096];
const RIGHT: [usize; 2] = [8192, 8192];

/// Versions 2 to 5 of the guide. The transfers of the first all came from one sequencer with descriptors made by the hardware
/// (machine.md 5.3); of the others that is not said, and the compiler chooses.
pub const RUNGS: [Rung; 4] = [
    Rung {
        name: "tiled",
        kernel: || tiled::specialize(LEFT, RIGHT, Engine::Sync),
        latency_ms: Some(39.89),
        dma: 99.93,
        tensor: 87.28,
        vector: None,
    },
    Rung {
        name: "hoisted",
        kernel: || hoisted::specialize(LEFT, RIGHT, Engine::Unknown),
        latency_ms: None,
        dma: 99.73,
        tensor: 99.85,
        vector: None,
    },
    Rung {
        name: "blocked_free",
        kernel: || blocked_free::specialize(LEFT, RIGHT, Engine::Unknown),
        latency_ms: None,
        dma: 95.70,
        tensor: 99.52,
        vector: None,
    },
    Rung {
        name: "blocked",
        kernel: || blocked::specialize(LEFT, RIGHT, Engine::Unknown),
        latency_ms: None,
        dma: 21.54,
        tensor: 99.50,
        vector: Some(10.55),
    },
];

/// Shares of a run, in percent, as the guide counts them: DMA engines, tensor engine, vector engine.
pub fn active(report: &SimReport) -> [f64; 3] {
    let of = |engine| report.engines.iter().find(|e| e.engine == engine).map_or(0.0, |e| e.active_ns);
    [report.dma.active_ns, of(Engine::Tensor), of(Engine::Vector)].map(|ns| 100.0 * ns / report.profiled_ns)
}

/// Compiles a rung as it is written, spilling what SBUF has no room for, and simulates its time.
///
/// # Errors
/// What the gate, the compiler or the simulator find.
pub fn simulate(rung: &Rung) -> Result<SimReport, Diagnostics> {
    let mut kernel = (rung.kernel)().trace()?.kernel;
    let found = accumulate::resolve(&mut kernel, Target::Trn2);
    if found.has_errors() {
        return Err(found);
    }
    let verified = verify::verify_spilling(kernel, Target::Trn2)?;
    let disabled = vec![Pass::Fuse, Pass::ReuseLoads, Pass::Balance];
    let options = CompileOptions { disabled, spill: true, ..CompileOptions::default() };
    let compiled = compile(&verified, &options)?;
    let program = nki::sim::verify(compiled.program)?;
    let options = SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() };
    Ok(nki::sim::run(&program, &[], &options)?.report)
}
