//! Argument values and results as text and files: what `--arg NAME=VALUE` and `-o FILE` understand.
//!
//! A [`Source`] is a file (`x.npy`, `x.npy:bf16`, `w.safetensors#layer.0:f32`) or a generator
//! (`normal:bf16[512,1024]@7`, see [`generate`]); it becomes a [`Tensor`] for one parameter of a kernel. A [`Sink`] is a
//! file that results go to; files appear complete or not at all.

mod array;
mod element;
mod file;
pub mod generate;
pub mod npy;
pub mod rng;
#[cfg(feature = "cli")]
mod safetensors;
mod suggest;

pub use array::{Array, Element};
pub use element::{from_f64, to_f64};
pub use file::{FileWriter, Sink, write_file};
pub use generate::{Generator, parse_dtype};
pub use suggest::{closest, did_you_mean};

use file::FileRef;
use nki_ir::{DType, Diagnostics, Tensor};
use std::str::FromStr;

/// Where a tensor comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    File(FileRef),
    Generator(Generator),
}

impl Source {
    /// The tensor for parameter `name`. `dtype`, `shape` and `seed` fill in what a generator leaves open; a file is what it
    /// is, and whether that suits the kernel is for the caller to check.
    ///
    /// # Errors
    /// `nki::file`: the file cannot be read or is malformed. `nki::argument`: its elements cannot be had as the dtype that
    /// was asked for, or a generator does not exist for the dtype.
    pub fn tensor(
        &self,
        name: &str,
        dtype: DType,
        shape: &[usize],
        seed: u64,
    ) -> Result<Tensor, Diagnostics> {
        match self {
            Source::File(file) => file.read(name),
            Source::Generator(g) => g.tensor(dtype, shape, seed),
        }
    }
}

impl FromStr for Source {
    type Err = Diagnostics;

    /// # Errors
    /// `nki::usage`.
    fn from_str(text: &str) -> Result<Self, Diagnostics> {
        match FileRef::parse(text)? {
            Some(file) => Ok(Source::File(file)),
            None => text.parse().map(Source::Generator),
        }
    }
}
