//! Moving data: load, store, copy, cast, fill.

use super::record::record;
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::{DmaOperand, OnChip};
use crate::tensor::{Hbm, Tensor, Tile};
use crate::trace::{self, error};
use nki_ir::Code;
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

    /// Writes a tile to HBM, converting between dtypes. Shapes agree but for dimensions of size 1. A PSUM accumulator must be
    /// copied out first: `acc.to::<T>()`.
    #[track_caller]
    pub fn store<D: Elem, T: Elem, M: DmaOperand>(self, dst: Hbm<D>, src: Tensor<T, M>) {
        let place = Location::caller();
        let (to, from) = (dst.shape_at(place), src.shape_at(place));
        let long = |shape: &[usize]| shape.iter().copied().filter(|&d| d != 1).collect::<Vec<_>>();
        if long(&to) != long(&from) {
            trace::with(self.trace, place, |s| {
                let (d, t) = (s.name_of(dst.view), s.name_of(src.view));
                let message = format!("`{t}` {from:?} is stored to `{d}` {to:?}");
                s.report(place, error(Code::Shape, message).help("index both to the same shape"));
            });
            return;
        }
        self.dma_copy(dst, src);
    }

    /// A fresh SBUF tile filled with `value`, which an integer dtype must represent exactly.
    #[track_caller]
    pub fn full<T: Elem>(self, shape: impl AsRef<[usize]>, value: f64) -> Tile<T> {
        let tile = self.alloc("full", shape.as_ref(), Location::caller());
        self.memset(tile, value);
        tile
    }
    /// A fresh SBUF tile of zeros.
    #[track_caller]
    pub fn zeros<T: Elem>(self, shape: impl AsRef<[usize]>) -> Tile<T> {
        let tile = self.alloc("zeros", shape.as_ref(), Location::caller());
        self.memset(tile, 0.0);
        tile
    }
    /// A fresh SBUF tile of ones.
    #[track_caller]
    pub fn ones<T: Elem>(self, shape: impl AsRef<[usize]>) -> Tile<T> {
        let tile = self.alloc("ones", shape.as_ref(), Location::caller());
        self.memset(tile, 1.0);
        tile
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// A fresh SBUF tile with the same elements converted to `U`: rounded to nearest even, integers saturated
    /// (isa.md 2.2). The usual way to take a finished sum out of PSUM.
    #[track_caller]
    pub fn to<U: Elem>(self) -> Tile<U> {
        let v = record(self.trace, Location::caller(), |r| r.copy("copy", self.value(), U::DTYPE));
        Tensor::new(self.trace, v.view)
    }
    /// A fresh SBUF tile with the same elements.
    #[track_caller]
    pub fn copy(self) -> Tile<T> {
        let v = record(self.trace, Location::caller(), |r| r.copy("copy", self.value(), T::DTYPE));
        Tensor::new(self.trace, v.view)
    }
    /// A fresh SBUF tile of the same shape and dtype, filled with zeros.
    #[track_caller]
    pub fn zeros_like(self) -> Tile<T> {
        let v = record(self.trace, Location::caller(), |r| {
            let shape = r.shape(self.value());
            let out = r.tile("zeros", T::DTYPE, &shape);
            r.memset(out, 0.0);
            out
        });
        Tensor::new(self.trace, v.view)
    }
    /// A fresh SBUF tile of the same shape and dtype, with undefined content.
    #[track_caller]
    pub fn empty_like(self) -> Tile<T> {
        let v = record(self.trace, Location::caller(), |r| {
            let shape = r.shape(self.value());
            r.tile("empty", T::DTYPE, &shape)
        });
        Tensor::new(self.trace, v.view)
    }
}
