//! `ndarray` arrays as arguments and results.

use crate::elem::HostElem;
use crate::launch::{Described, TensorArg};
use crate::run::Results;
use crate::trace::error;
use ndarray::{ArrayBase, ArrayD, Data, Dimension, IxDyn};
use nki_ir::{Code, Diagnostics, Tensor};

/// The array's elements in row-major order, whatever its layout.
pub fn to_tensor<T: HostElem, S: Data<Elem = T>, D: Dimension>(array: &ArrayBase<S, D>) -> Tensor {
    let mut data = Vec::with_capacity(array.len() * T::DTYPE.bytes());
    array.iter().for_each(|x| x.write(&mut data));
    Tensor { dtype: T::DTYPE, shape: array.shape().to_vec(), data }
}

impl<T: HostElem, S: Data<Elem = T>, D: Dimension> TensorArg<T> for &ArrayBase<S, D> {
    fn __describe(self) -> Described {
        let tensor = to_tensor(self);
        Described { dtype: tensor.dtype, shape: tensor.shape.clone(), data: Some(tensor) }
    }
}

impl Results {
    /// Result `i` as an array of `T`.
    ///
    /// # Errors
    /// `nki::argument` when there is no such result, or it has another dtype.
    pub fn array<T: HostElem>(&self, i: usize) -> Result<ArrayD<T>, Diagnostics> {
        let count = self.tensors.len();
        let tensor = self
            .tensors
            .get(i)
            .ok_or_else(|| error(Code::Argument, format!("result {i} of a kernel that has {count}")))?;
        if tensor.dtype != T::DTYPE {
            let message = format!("result {i} is {}, not {}", tensor.dtype, T::DTYPE);
            return Err(error(Code::Argument, message)
                .help("ask for an array of the result's own dtype")
                .into());
        }
        let values = tensor.data.chunks_exact(T::DTYPE.bytes()).map(T::read).collect();
        let array = ArrayD::from_shape_vec(IxDyn(&tensor.shape), values);
        array.map_err(|e| error(Code::Argument, format!("result {i} is malformed: {e}")).into())
    }
}
