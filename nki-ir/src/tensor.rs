//! A tensor outside a kernel: the neutral form in which arguments and results travel between ways of running.

use crate::dtype::DType;

/// A dense row-major tensor of little-endian elements.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    pub dtype: DType,
    pub shape: Vec<usize>,
    /// `elements · dtype.bytes()` bytes.
    pub data: Vec<u8>,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Self {
        let n: usize = shape.iter().product();
        Tensor { dtype, shape: shape.to_vec(), data: vec![0; n * dtype.bytes()] }
    }
    /// A float32 tensor. `data.len()` must be the product of `shape`.
    pub fn from_f32(shape: &[usize], data: &[f32]) -> Option<Self> {
        (shape.iter().product::<usize>() == data.len()).then(|| Tensor {
            dtype: DType::F32,
            shape: shape.to_vec(),
            data: data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        })
    }
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor<{}, {:?}>", self.dtype, self.shape)
    }
}
