//! Moving data: load, store, copy, cast, fill.

use super::record::record;
use crate::elem::Elem;
use crate::nc::Nc;
use crate::space::{DmaOperand, GpSimdOperand, OnChip};
use crate::tensor::{Hbm, Tensor, Tile};
use crate::trace::{self, error};
use nki_ir::{Code, DType};
use std::panic::Location;

/// Part of a constant that one instruction writes.
struct Piece {
    first: f64,
    len: usize,
    /// Difference of neighbours in a ramp; `None` for equal values.
    step: Option<i64>,
}

/// The longest runs and ramps of a row, from the left.
fn pieces(row: &[f64], dtype: DType) -> Vec<Piece> {
    // Whole numbers that an index pattern gives as a fill would: float32 holds them, and so does an integer dtype.
    let limit = match dtype.bytes() {
        _ if dtype.is_float() => 1 << 24,
        bytes => (1i64 << (8 * bytes - 1)) - 1,
    };
    let whole = |v: f64| {
        let n = v as i64;
        let exact = (n as f64).to_bits() == v.to_bits() && n.abs() <= limit;
        (exact && (n >= 0 || dtype.is_float())).then_some(n)
    };
    let mut out = Vec::new();
    let mut left = row;
    while let Some(&first) = left.first() {
        let run = left.iter().take_while(|v| v.to_bits() == first.to_bits()).count();
        let step = whole(first).zip(left.get(1).and_then(|v| whole(*v))).map(|(a, b)| b - a);
        let ramp = step.map_or(0, |step| {
            let follows = |w: &&[f64]| whole(w[0]).zip(whole(w[1])).is_some_and(|(a, b)| b - a == step);
            1 + left.windows(2).take_while(follows).count()
        });
        let (len, step) = if ramp > run.max(2) { (ramp, step) } else { (run, None) };
        out.push(Piece { first, len, step });
        left = &left[len..];
    }
    out
}

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

    /// A fresh SBUF tile with the transpose of a matrix in HBM: `[rows, columns]` becomes `[columns, rows]` in one transfer
    /// (NKI's `load_transpose2d`, isa.md 9.6.2). Dtypes of 2 or 4 bytes; at most 128 columns.
    #[track_caller]
    pub fn load_transpose2d<T: Elem>(self, src: Hbm<T>) -> Tile<T> {
        let place = Location::caller();
        let mut shape = src.shape_at(place);
        shape.reverse();
        let tile = self.alloc("load_transpose2d", &shape, place);
        self.dma_transpose(tile, src);
        tile
    }

    /// A tensor in HBM that holds `values`, row by row, the same for every program (NKI's `shared_constant`). The kernel writes
    /// it once: an instruction for each run of equal values and for each ramp of whole numbers (`0, 1, 2, ..`, or any other
    /// step), at most 4096 of them; pass tables of other numbers as arguments.
    #[track_caller]
    pub fn shared_constant<T: Elem>(self, shape: impl AsRef<[usize]>, values: &[f64]) -> Hbm<T> {
        /// Most instructions.
        const PIECES: usize = 4096;
        /// Elements that fit a partition of every target beside other tiles.
        const ROW: usize = 4096;
        let place = Location::caller();
        let shape = shape.as_ref();
        let out: Hbm<T> = self.alloc("constant", shape, place);
        let rows: Vec<Vec<Piece>> = values.chunks(ROW).map(|row| pieces(row, T::DTYPE)).collect();
        let count: usize = rows.iter().map(Vec::len).sum();
        let elements = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        if elements != Some(values.len()) || count > PIECES {
            let problem = match elements == Some(values.len()) {
                true => {
                    let n = values.len();
                    let message = format!(
                        "a constant of {n} values takes {count} runs and ramps, more than {PIECES} instructions"
                    );
                    error(Code::Limit, message).help("pass it as an argument of the kernel")
                }
                false => error(Code::Shape, format!("{} values for a constant {shape:?}", values.len()))
                    .help("give as many values as the shape has elements"),
            };
            trace::with(self.trace, place, |s| s.report(place, problem));
            return out;
        }
        let flat = out.reshape([1, values.len()]);
        for (i, row) in rows.iter().enumerate() {
            let columns = ROW.min(values.len() - i * ROW);
            let tile: Tile<T> = self.alloc("constant", &[1, columns], place);
            let mut at = 0;
            for piece in row {
                let part = tile.at((.., at..at + piece.len));
                match piece.step {
                    None => {
                        self.memset(part, piece.first);
                    }
                    Some(step) => {
                        self.iota(part, &[[step, piece.len as i64]]).offset(piece.first as i64);
                    }
                }
                at += piece.len;
            }
            self.dma_copy(flat.at((.., i * ROW..i * ROW + columns)), tile);
        }
        out
    }

    /// A fresh SBUF tile filled with `value`, which an integer dtype must represent exactly.
    #[track_caller]
    pub fn full<T: Elem>(self, shape: impl AsRef<[usize]>, value: f64) -> Tile<T> {
        let tile = self.alloc("full", shape.as_ref(), Location::caller());
        self.memset(tile, value);
        tile
    }
    /// A fresh tensor in HBM filled with `value`, which an integer dtype must represent exactly: NKI's `full`, `zeros` and `ones`
    /// of an HBM buffer. A tile is filled once and copied as often as the tensor needs.
    #[track_caller]
    pub fn hbm_full<T: Elem>(self, shape: impl AsRef<[usize]>, value: f64) -> Hbm<T> {
        /// Elements of a row that make a transfer worth its fixed cost, and those that fit beside other tiles.
        const ROW: std::ops::RangeInclusive<usize> = 512..=4096;
        let place = Location::caller();
        let out: Hbm<T> = self.alloc("full", shape.as_ref(), place);
        // No elements, or more than addresses have: reported where the tensor is allocated.
        let elements = shape.as_ref().iter().try_fold(1usize, |n, d| n.checked_mul(*d));
        let Some(n) = elements.filter(|n| *n > 0) else { return out };
        let row = n.div_ceil(128).clamp(*ROW.start(), *ROW.end()).min(n);
        let rows = (n / row).min(128);
        let tile: Tile<T> = self.alloc("full", &[rows, row], place);
        self.memset(tile, value);
        let flat = out.reshape([1, n]);
        for block in self.tiles(n, rows * row) {
            let part = flat.at((.., block));
            let whole = block.len() / row * row;
            if whole > 0 {
                self.dma_copy(part.at((.., 0..whole)), tile.at((0..whole / row, ..)));
            }
            if block.len() > whole {
                self.dma_copy(part.at((.., whole..block.len())), tile.at((0..1, 0..block.len() - whole)));
            }
        }
        out
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
    /// The elements at `indices`, which count in the flattened free dimensions of each partition: `[P, n]` for `[P, n]` indices
    /// (NKI's `gather_flattened`, isa.md 9.4.6). An index outside ends the run.
    #[track_caller]
    pub fn gather_flattened(self, indices: Tile<u32>) -> Tile<T>
    where
        M: GpSimdOperand,
    {
        let place = Location::caller();
        let nc = Nc::new(self.trace);
        let out = nc.alloc("gathered", &indices.shape_at(place), place);
        nc.nc_n_gather(out, self, indices);
        out
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
