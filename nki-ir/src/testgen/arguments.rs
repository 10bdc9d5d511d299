//! Arguments for a generated kernel.

use super::{INPUT_RANGE, Rng};
use crate::dtype::DType;
use crate::entity::Buf;
use crate::kernel::{BufData, Kernel};
use crate::sem::cast::down;
use crate::tensor::Tensor;

/// Tensors for the inputs and inouts of a kernel, in order: floats within [`INPUT_RANGE`], integers of any bits.
/// `specials`: one float in ten is a NaN, an infinity, a zero of either sign, a subnormal or an extreme.
pub fn arguments(kernel: &Kernel, seed: u64, specials: bool) -> Vec<Tensor> {
    let tensor = |(buf, data): (Buf, &BufData)| {
        // Each has a sequence of its own, so that it is the same when another argument goes.
        let rng = &mut Rng::new(seed.rotate_left(32) ^ u64::from(buf.0));
        let (dtype, shape) = (data.dtype, &data.shape);
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let elements = shape.iter().product::<usize>();
        let mut data = Vec::with_capacity(elements * dtype.bytes());
        for _ in 0..elements {
            let bits = element(rng, dtype, specials);
            data.extend_from_slice(&bits.to_le_bytes()[..dtype.bytes()]);
        }
        Tensor { dtype, shape, data }
    };
    kernel.inputs().map(tensor).collect()
}

fn element(rng: &mut Rng, dtype: DType, specials: bool) -> u32 {
    if dtype == DType::Bool {
        return rng.below(2);
    }
    if !dtype.is_float() {
        return rng.bits() as u32;
    }
    let x = if specials && rng.percent(10) {
        let extremes =
            [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 1e-41, f32::MAX, f32::MIN_POSITIVE];
        rng.pick(&extremes)
    } else {
        let unit = (rng.bits() >> 40) as f64 / f64::from(1 << 24);
        ((2.0 * unit - 1.0) * INPUT_RANGE) as f32
    };
    down(dtype, x)
}
