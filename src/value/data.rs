//! Moving data: load, store, copy, cast, fill.

use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::{DmaOperand, OnChip};
use crate::tensor::{Hbm, Tensor, Tile};
use std::panic::Location;

impl Nc {
    /// A fresh SBUF tile with the elements of `src`: dimension 0 becomes partitions (at most 128).
    #[track_caller]
    pub fn load<T: Elem>(self, src: Hbm<T>) -> Tile<T> {
        let place = Location::caller();
        let tile = self.alloc("load", &src.shape_at(place), place);
        self.dma_copy(tile, src);
        tile
    }
    /// Writes a tile to HBM, converting between dtypes. A PSUM accumulator must be copied out first: `acc.to::<T>()`.
    #[track_caller]
    pub fn store<D: Elem, T: Elem, M: DmaOperand>(self, dst: Hbm<D>, src: Tensor<T, M>) {
        self.dma_copy(dst, src);
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// A fresh SBUF tile with the same elements converted to `U`: rounded to nearest even, integers saturated
    /// (isa.md 2.2). The usual way to take a finished sum out of PSUM.
    #[track_caller]
    pub fn to<U: Elem>(self) -> Tile<U> {
        let place = Location::caller();
        let nc = Nc::new(self.trace);
        let out = nc.alloc("copy", &self.shape_at(place), place);
        nc.tensor_copy(out, self);
        out
    }
}
