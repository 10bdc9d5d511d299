//! Random numbers (isa.md 9.3.16 and 9.5). Every lane has a generator of its own, which starts alike in every run: a kernel's
//! numbers are reproducible, and not those of hardware.

use super::{Inst, ScalarOrVec, kinds};
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::OnChip;
use crate::tensor::Tensor;
use nki_ir::Op;
use std::panic::Location;

kinds! {
    /// [`Nc::dropout`].
    Dropout;
    /// [`Nc::rng`].
    Rng;
    /// [`Nc::rand2`].
    Rand2;
    /// [`Nc::rand_set_state`].
    RandSetState;
    /// [`Nc::rand_get_state`].
    RandGetState;
    /// [`Nc::set_rng_seed`].
    SetRngSeed;
}

impl Nc {
    /// Zeroes elements of `data` with probability `prob`, a number or a column, without rescaling (isa.md 9.3.16).
    #[track_caller]
    pub fn dropout<D, T, MD, MT>(
        self,
        dst: Tensor<D, MD>,
        data: Tensor<T, MT>,
        prob: impl ScalarOrVec,
    ) -> Inst<Dropout>
    where
        D: Elem,
        T: Elem,
        MD: OnChip,
        MT: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::Dropout, place);
        let prob = prob.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place))
            .operand("data", data.operand(self.trace, place))
            .operand("prob", prob)
    }

    /// Random bits in an integer tile.
    #[track_caller]
    pub fn rng<D, MD>(self, dst: Tensor<D, MD>) -> Inst<Rng>
    where
        D: Elem,
        MD: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::Rng, place).operand("dst", dst.operand(self.trace, place))
    }

    /// Uniform random numbers between `min` and `max`, on trn3.
    #[track_caller]
    pub fn rand2<D, MD>(self, dst: Tensor<D, MD>, min: impl ScalarOrVec, max: impl ScalarOrVec) -> Inst<Rand2>
    where
        D: Elem,
        MD: OnChip,
    {
        let place = Location::caller();
        let inst = Inst::start(self, Op::Rand2, place);
        let min = min.__operand(inst.anchor(place));
        let max = max.__operand(inst.anchor(place));
        inst.operand("dst", dst.operand(self.trace, place)).operand("min", min).operand("max", max)
    }

    /// Loads the state of each lane's generator: `[P, 6]` words on GpSimd, `[P, 24]` on trn3's vector engine. From trn2 on.
    #[track_caller]
    pub fn rand_set_state<D, MD>(self, src_seeds: Tensor<D, MD>) -> Inst<RandSetState>
    where
        D: Elem,
        MD: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::RandSetState, place).operand("src_seeds", src_seeds.operand(self.trace, place))
    }

    /// Stores the state of each lane's generator, shaped as in [`rand_set_state`](Nc::rand_set_state).
    #[track_caller]
    pub fn rand_get_state<D, MD>(self, dst: Tensor<D, MD>) -> Inst<RandGetState>
    where
        D: Elem,
        MD: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::RandGetState, place).operand("dst", dst.operand(self.trace, place))
    }

    /// Seeds the vector engine's generators from one 32-bit element, `[1, 1]`.
    #[track_caller]
    pub fn set_rng_seed<D, MD>(self, src_seeds: Tensor<D, MD>) -> Inst<SetRngSeed>
    where
        D: Elem,
        MD: OnChip,
    {
        let place = Location::caller();
        Inst::start(self, Op::SetRngSeed, place).operand("src_seeds", src_seeds.operand(self.trace, place))
    }
}
