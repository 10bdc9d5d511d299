//! Random values: numbers, and zeros in place of elements.

use super::record::record;
use crate::elem::{Elem, Float};
use crate::isa::ScalarOrVec;
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::{Tensor, Tile};
use crate::trace::error;
use nki_ir::{AluOp, Code, DType, Op, Operand};
use std::panic::Location;

/// Bits of a random number that float32 holds exactly.
const BITS: u32 = 24;

impl Nc {
    /// A fresh SBUF tile of uniform random numbers in [0, 1), multiples of 2^-24 rounded to `T`. The sequence is the same in
    /// every run and every way of running; [`random_seed`](Nc::random_seed) changes it.
    #[track_caller]
    pub fn rand<T: Float>(self, shape: impl AsRef<[usize]>) -> Tile<T> {
        let place = Location::caller();
        let v = record(self.trace, place, |r| {
            let shape: Vec<u32> =
                shape.as_ref().iter().map(|&n| u32::try_from(n).unwrap_or(u32::MAX)).collect();
            if shape.len() < 2 {
                let d = error(Code::Shape, format!("a tile of shape {shape:?}"));
                r.s.report(place, d.help("give partitions and at least one free dimension"));
                return r.tile("rand", T::DTYPE, &[1, 1]);
            }
            let bits = r.tile("bits", DType::U32, &shape);
            r.inst(Op::Rng, &[bits]);
            let shift = Operand::Int((32 - BITS).into());
            let high = r.tensor_scalar(AluOp::RightShift, bits, shift, false, DType::U32, None);
            let unit = Operand::Imm(1.0 / (1u32 << BITS) as f32);
            r.tensor_scalar(AluOp::Multiply, high, unit, false, T::DTYPE, None)
        });
        Tensor::new(self.trace, v.view)
    }

    /// Seeds the numbers of [`rand`](Nc::rand) and [`dropout`](Tensor::dropout) from here on.
    #[track_caller]
    pub fn random_seed(self, seed: u32) {
        record(self.trace, Location::caller(), |r| {
            let tile = r.tile("seed", DType::U32, &[1, 1]);
            r.memset(tile, f64::from(seed));
            r.inst(Op::SetRngSeed, &[tile]);
        });
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// The tile with elements zeroed at random, each with probability `prob` (a number or a column). Nothing is rescaled.
    #[track_caller]
    pub fn dropout(self, prob: impl ScalarOrVec) -> Tile<T> {
        let place = Location::caller();
        let prob = prob.__operand(crate::isa::Anchor { trace: self.trace, place });
        let v = record(self.trace, place, |r| {
            let x = self.value();
            let shape = r.shape(x);
            let out = r.tile("dropout", T::DTYPE, &shape);
            r.inst(Op::Dropout, &[out, x]).operand("prob", prob);
            out
        });
        Tensor::new(self.trace, v.view)
    }
}
