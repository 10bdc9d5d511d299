//! Maxima and means of windows in `f64` (kernels.md 4.6).

use super::PoolKind;

/// Windows of `height` by `width` elements, `stride` apart, on images with `pad` elements around them.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub kind: PoolKind,
    pub height: usize,
    pub width: usize,
    pub stride: usize,
    pub pad: usize,
}

/// The result of every window of images of `rows` by `columns`.
pub fn pool(x: &[f64], [rows, columns]: [usize; 2], w: &Windows) -> Vec<f64> {
    let mut out = Vec::new();
    let count = |size: usize, window: usize| (size + 2 * w.pad - window) / w.stride + 1;
    for image in x.chunks(rows * columns) {
        for i in 0..count(rows, w.height) {
            for j in 0..count(columns, w.width) {
                out.push(window(image, [rows, columns], [i * w.stride, j * w.stride], w));
            }
        }
    }
    out
}

/// The window whose corner is `top`, `left` of the padded image.
fn window(image: &[f64], [rows, columns]: [usize; 2], [top, left]: [usize; 2], w: &Windows) -> f64 {
    let (mut sum, mut max) = (0.0, f64::NEG_INFINITY);
    for i in top.max(w.pad)..(top + w.height).min(rows + w.pad) {
        for j in left.max(w.pad)..(left + w.width).min(columns + w.pad) {
            let x = image[(i - w.pad) * columns + j - w.pad];
            sum += x;
            max = f64::max(max, x);
        }
    }
    match w.kind {
        PoolKind::Max => max,
        PoolKind::Average => sum / (w.height * w.width) as f64,
    }
}

#[test]
fn by_hand() {
    let x: Vec<f64> = (0..16).map(f64::from).collect();
    let w = Windows { kind: PoolKind::Max, height: 2, width: 2, stride: 2, pad: 0 };
    assert_eq!(pool(&x, [4, 4], &w), [5.0, 7.0, 13.0, 15.0]);
    let w = Windows { kind: PoolKind::Average, pad: 1, ..w };
    // Corners see one element of four, edges two.
    assert_eq!(pool(&x, [4, 4], &w), [0.0, 0.75, 0.75, 3.0, 7.5, 4.5, 3.0, 6.75, 3.75]);
}
