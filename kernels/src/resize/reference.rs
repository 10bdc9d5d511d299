//! Images at another size in `f64` (kernels.md 4.6).

use super::Interpolation;

/// Images of `rows` by `columns` at `to_rows` by `to_columns`.
pub fn resize(
    x: &[f64],
    [rows, columns]: [usize; 2],
    [to_rows, to_columns]: [usize; 2],
    kind: Interpolation,
) -> Vec<f64> {
    let mut out = Vec::new();
    for image in x.chunks(rows * columns) {
        for i in 0..to_rows {
            for j in 0..to_columns {
                let at = |r: usize, c: usize| image[r * columns + c];
                out.push(match kind {
                    Interpolation::Nearest => at(i * rows / to_rows, j * columns / to_columns),
                    Interpolation::Bilinear => {
                        let ((r, down), (c, across)) =
                            (source(i, rows, to_rows), source(j, columns, to_columns));
                        let (r2, c2) = ((r + 1).min(rows - 1), (c + 1).min(columns - 1));
                        let row = |r| at(r, c) * (1.0 - across) + at(r, c2) * across;
                        row(r) * (1.0 - down) + row(r2) * down
                    }
                });
            }
        }
    }
    out
}

/// The element before position `o`, and how far it is behind.
fn source(o: usize, from: usize, to: usize) -> (usize, f64) {
    let s = ((o as f64 + 0.5) * from as f64 / to as f64 - 0.5).clamp(0.0, (from - 1) as f64);
    (s as usize, s.fract())
}

#[test]
fn doubled_by_hand() {
    // Weights 9/16, 3/16, 3/16, 1/16 inside, 3/4, 1/4 on edges; corners are copies.
    let y = resize(&[0.0, 16.0, 32.0, 64.0], [2, 2], [4, 4], Interpolation::Bilinear);
    assert_eq!(y[..4], [0.0, 4.0, 12.0, 16.0]);
    assert_eq!(y[5], (3.0 * 16.0 + 3.0 * 32.0 + 64.0) / 16.0);
    assert_eq!(resize(&[1.0, 2.0, 3.0], [1, 3], [1, 5], Interpolation::Nearest), [1.0, 1.0, 2.0, 2.0, 3.0]);
}
