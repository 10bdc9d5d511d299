use nki::prelude::*;

/// `out[m, n] = max(0, Σ_k a_t[k, m] · b[k, n])`.
#[nki::kernel]
pub fn relu_matmul<T: Float>(nc: Nc, a_t: Hbm<T>, b: Hbm<T>) -> Hbm<T> {
    let ([k, m], [k_of_b, n]) = (a_t.dims(), b.dims());
    ensure!(nc, k == k_of_b);
    let out = nc.hbm([m, n]);
    for mi in nc.tiles(m, 128) {
        for ni in nc.tiles(n, 512) {
            let acc = nc.psum([mi.len(), ni.len()]);
            for ki in nc.tiles(k, 128) {
                nc.nc_matmul(acc, nc.load(a_t.at((ki, mi))), nc.load(b.at((ki, ni))));
            }
            nc.store(out.at((mi, ni)), acc.relu().to::<T>());
        }
    }
    out
}

#[test]
fn agrees_with_the_formula() {
    let (k, m, n) = (200, 130, 515);
    nki::check(relu_matmul::specialize::<f32>([k, m], [k, n]))
        .reference(move |args| {
            let (a_t, b) = (&args["a_t"], &args["b"]);
            let sum = |i, j| (0..k).map(|l| a_t[l * m + i] * b[l * n + j]).sum::<f64>();
            (0..m * n).map(|at| sum(at / n, at % n).max(0.0)).collect::<Vec<_>>()
        })
        .passes();
}
