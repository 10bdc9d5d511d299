//! Handles of tensors. A handle names a view of a buffer in one trace; it is `Copy`, has no lifetime, and cannot leave the
//! thread that traces.

use crate::elem::Elem;
use crate::space::{self, Memory, OnChip, Psum, Sbuf};
use crate::trace::{self, Place, TraceId, error, fail};
use nki_ir::{Code, Operand, View};
use std::fmt;
use std::marker::PhantomData;
use std::panic::Location;

/// A view of a tensor with elements `T` in memory `M`. Dtype and memory are in the type, the shape is a value known while
/// tracing.
pub struct Tensor<T, M> {
    pub(crate) trace: TraceId,
    pub(crate) view: u32,
    kind: PhantomData<(T, M, *const ())>,
}

/// A tensor in HBM: a kernel's argument or result, or scratch. Any rank; only DMA reaches it.
pub type Hbm<T> = Tensor<T, space::Hbm>;
/// A tile in SBUF. Dimension 0 is partitions, at most 128 of them.
pub type Tile<T> = Tensor<T, Sbuf>;
/// A tile in PSUM, into which the tensor engine writes and adds. Dimension 0 is partitions.
pub type Acc<T = f32> = Tensor<T, Psum>;

impl<T, M> Clone for Tensor<T, M> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T, M> Copy for Tensor<T, M> {}

impl<T: Elem, M: Memory> Tensor<T, M> {
    pub(crate) fn new(trace: TraceId, view: u32) -> Self {
        Tensor { trace, view, kind: PhantomData }
    }

    /// The shape as an array, so that it can be taken apart: `let [rows, columns] = x.dims();`. A tensor of another rank is
    /// an error (`nki::shape`) that ends the trace.
    #[track_caller]
    pub fn dims<const N: usize>(&self) -> [usize; N] {
        let place = Location::caller();
        let shape = self.shape_at(place);
        match <[usize; N]>::try_from(shape.as_slice()) {
            Ok(dims) => dims,
            Err(_) => {
                let name = trace::with(self.trace, place, |s| s.name_of(self.view).to_string());
                let message =
                    format!("`{name}` has {} dimensions, {shape:?}, where {N} are asked for", shape.len());
                fail(
                    self.trace,
                    place,
                    error(Code::Shape, message).help("pass a tensor of that rank, or `reshape` it"),
                )
            }
        }
    }
    /// The shape.
    #[track_caller]
    pub fn shape(&self) -> Vec<usize> {
        self.shape_at(Location::caller())
    }
    /// Size of dimension `axis`; 1 past the last.
    #[track_caller]
    pub fn dim(&self, axis: usize) -> usize {
        self.shape_at(Location::caller()).get(axis).copied().unwrap_or(1)
    }
    /// Number of dimensions.
    #[track_caller]
    pub fn rank(&self) -> usize {
        self.shape_at(Location::caller()).len()
    }
    /// Number of elements.
    #[track_caller]
    pub fn elements(&self) -> usize {
        self.shape_at(Location::caller()).iter().product()
    }

    pub(crate) fn shape_at(&self, place: Place) -> Vec<usize> {
        trace::with(self.trace, place, |s| s.shape(self.view).iter().map(|&d| d as usize).collect())
    }
    pub(crate) fn view_at(&self, place: Place) -> View {
        trace::with(self.trace, place, |s| s.view(self.view).clone())
    }
    pub(crate) fn operand(&self, trace: TraceId, place: Place) -> Operand {
        trace::same(trace, self.trace, place);
        Operand::View(self.view_at(place))
    }
}

impl<T: Elem, M: OnChip> Tensor<T, M> {
    /// Number of partitions: dimension 0.
    #[track_caller]
    pub fn partitions(&self) -> usize {
        self.shape_at(Location::caller()).first().copied().unwrap_or(0)
    }
}

impl<T: Elem, M: Memory> Tensor<T, M> {
    /// The values, in row-major order of the shape, when the body runs on data ([`Mode::Eager`](crate::Mode::Eager)); `None`
    /// while it is only recorded.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// #[nki::kernel]
    /// fn double(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let out = nc.hbm(x.shape());
    ///     let y = nc.load(x) * 2.0;
    ///     if let Some(values) = y.read() {
    ///         assert!(values.iter().all(|v| *v > 0.0), "the test data is positive");
    ///     }
    ///     nc.store(out, y);
    ///     out
    /// }
    /// # fn main() {
    /// let x = nki::ir::Tensor::from_f32(&[1, 3], &[1.0, 2.0, 3.0]).unwrap();
    /// let y = double::specialize(&x).run(nki::Mode::Eager, Target::Trn2).unwrap();
    /// assert_eq!(nki::args::to_f64(&y[0]), [2.0, 4.0, 6.0]);
    /// # }
    /// ```
    #[track_caller]
    pub fn read(&self) -> Option<Vec<f64>> {
        let tensor = trace::with(self.trace, Location::caller(), |s| s.read(self.view))?;
        Some(crate::args::to_f64(&tensor))
    }
}

/// At most this many values are printed by `{:?}`; `{:#?}` prints all.
const PRINTED: usize = 64;

impl<T: Elem, M: Memory> fmt::Debug for Tensor<T, M> {
    /// The name, memory, dtype and shape; in eager mode the values too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = trace::try_with(self.trace, |s| {
            let shape = s.shape(self.view);
            let sizes = shape.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
            let head = format!("{}: {} {}[{sizes}]", s.name_of(self.view), M::SPACE, T::DTYPE);
            (head, shape, s.read(self.view))
        });
        let Some((head, shape, values)) = shown else {
            return f.write_str("<tensor of another trace>");
        };
        f.write_str(&head)?;
        let Some(values) = values.map(|t| crate::args::to_f64(&t)) else { return Ok(()) };
        let row = shape.last().map_or(1, |&n| n as usize).max(1);
        let limit = if f.alternate() { values.len() } else { PRINTED };
        for (i, v) in values.iter().take(limit).enumerate() {
            f.write_str(if i % row == 0 { "\n  " } else { " " })?;
            write!(f, "{v}")?;
        }
        match values.len() > limit {
            true => write!(f, " .. ({} values)", values.len()),
            false => Ok(()),
        }
    }
}
