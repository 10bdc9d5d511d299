//! [`Nc`]: the NeuronCore as a kernel sees it. Allocation lives here; instructions are in [`crate::isa`], values in
//! [`crate::value`], loops in [`crate::loops`].

use crate::elem::Elem;
use crate::space::Memory;
use crate::tensor::{Acc, Hbm, Tensor, Tile};
use crate::trace::{self, Place, TraceId, error};
use nki_ir::Code;
use std::marker::PhantomData;
use std::panic::Location;

/// The core that a kernel is written for: the first parameter of every kernel. `Copy`; allocates tensors, opens loops and
/// records instructions.
#[derive(Clone, Copy)]
pub struct Nc {
    pub(crate) trace: TraceId,
    not_send: PhantomData<*const ()>,
}

impl Nc {
    pub(crate) fn new(trace: TraceId) -> Nc {
        Nc { trace, not_send: PhantomData }
    }

    /// A tensor in HBM: a result when the kernel returns it, scratch otherwise. Its contents are undefined until written.
    #[track_caller]
    pub fn hbm<T: Elem>(self, shape: impl AsRef<[usize]>) -> Hbm<T> {
        self.alloc("hbm", shape.as_ref(), Location::caller())
    }
    /// A tile in SBUF, `shape[0]` partitions (at most 128). Its contents are undefined until written.
    #[track_caller]
    pub fn sbuf<T: Elem>(self, shape: impl AsRef<[usize]>) -> Tile<T> {
        self.alloc("tile", shape.as_ref(), Location::caller())
    }
    /// A float32 accumulator in PSUM, `shape[0]` partitions (at most 128). The first matmul into it overwrites, later ones add
    /// (isa.md section 13).
    #[track_caller]
    pub fn psum(self, shape: impl AsRef<[usize]>) -> Acc {
        self.alloc("acc", shape.as_ref(), Location::caller())
    }
    /// A tile in PSUM of another dtype: transposes of 16-bit data, and bfloat16 accumulation on trn3.
    #[track_caller]
    pub fn psum_of<T: Elem>(self, shape: impl AsRef<[usize]>) -> Acc<T> {
        self.alloc("acc", shape.as_ref(), Location::caller())
    }

    pub(crate) fn alloc<T: Elem, M: Memory>(self, stem: &str, shape: &[usize], place: Place) -> Tensor<T, M> {
        let shape = self.extents(shape, place);
        let view = trace::with(self.trace, place, |s| {
            if M::SPACE.on_chip() && shape.len() < 2 {
                let message = format!("a tile of shape {shape:?} has no free dimension");
                s.report(
                    place,
                    error(Code::Shape, message)
                        .help("dimension 0 is partitions: use [1, n] for a row, [n, 1] for a column"),
                );
            }
            let padded: Vec<u32> = match shape.len() {
                0 | 1 if M::SPACE.on_chip() => shape.iter().copied().chain([1, 1]).take(2).collect(),
                _ => shape,
            };
            s.alloc(stem, M::SPACE, T::DTYPE, &padded, place)
        });
        Tensor::new(self.trace, view)
    }

    fn extents(self, shape: &[usize], place: Place) -> Vec<u32> {
        let extents: Result<Vec<u32>, _> = shape.iter().map(|&d| u32::try_from(d)).collect();
        extents.unwrap_or_else(|_| {
            let message = format!("a dimension of {shape:?} does not fit 32 bits");
            trace::fail(self.trace, place, error(Code::Limit, message))
        })
    }

    /// Ends the trace with an error of the kernel's own: what [`ensure!`](crate::ensure) does.
    #[track_caller]
    pub fn fail(self, message: impl Into<String>) -> ! {
        trace::fail(self.trace, Location::caller(), error(Code::Ensure, message))
    }
}
