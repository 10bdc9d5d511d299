use nki::ir::DType;
use nki::prelude::*;
use nki::registry::Arguments;

#[derive(Clone, KernelConfig)]
pub struct Tiling {
    /// Columns of one tile.
    #[config(default = 512)]
    columns: usize,
}

#[nki::kernel]
fn copy(nc: Nc, x: Hbm<f32>, cfg: Tiling) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    for c in nc.tiles(columns, cfg.columns) {
        nc.store(out.at((.., c)), nc.load(x.at((.., c))));
    }
    out
}

pub fn run() -> Result<nki::ir::Diagnostics, nki::ir::Diagnostics> {
    let args = Arguments::new().shape("x", DType::F32, &[128, 2048]).value("columns", "1024");
    let launch = copy::INFO.launch.expect("all of the kernel's arguments have names");
    Ok(launch(&args)?.trace()?.warnings)
}
