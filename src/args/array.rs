//! What a file holds before a dtype of ours has been chosen for it, and the choice.

use super::element::{from_f64, to_f64};
use nki_ir::{DType, Tensor};
use std::fmt;

/// An element type that a file format knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// One of ours.
    Ours(DType),
    F64,
    I64,
    U64,
    /// Bytes without a meaning.
    Raw(usize),
}

impl Element {
    /// Size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Element::Ours(dtype) => dtype.bytes(),
            Element::F64 | Element::I64 | Element::U64 => 8,
            Element::Raw(n) => n,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Ours(dtype) => write!(f, "{dtype}"),
            Element::F64 => f.write_str("f64"),
            Element::I64 => f.write_str("i64"),
            Element::U64 => f.write_str("u64"),
            Element::Raw(n) => write!(f, "raw {n}-byte elements"),
        }
    }
}

/// The elements of a file, row-major and little-endian.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    pub element: Element,
    pub shape: Vec<usize>,
    pub data: Vec<u8>,
}

impl Array {
    /// The tensor, as it is or as `want`. Two raw bytes are `bf16` unless `want` says otherwise.
    ///
    /// Raw bytes, and unsigned integers asked for as another kind of number of the same size, keep their bits. Numbers are
    /// converted: to floats by rounding to nearest even, to integers only if every value is one that the dtype holds.
    ///
    /// # Errors
    /// A sentence that says why the elements cannot be had as `want`.
    pub fn into_tensor(self, want: Option<DType>) -> Result<Tensor, String> {
        let Array { element, shape, data } = self;
        let natural = match element {
            Element::Ours(dtype) => Some(dtype),
            Element::Raw(2) => Some(DType::BF16),
            _ => None,
        };
        let dtype = match want.or(natural) {
            Some(dtype) => dtype,
            None => {
                return Err(format!("{element} need a dtype; append one, e.g. `:{}`", suggestion(element)));
            }
        };
        let unsigned = matches!(element, Element::Ours(DType::U8 | DType::U16 | DType::U32));
        let keep = natural == Some(dtype)
            || (element.bytes() == dtype.bytes()
                && (matches!(element, Element::Raw(_)) || (unsigned && !dtype.is_int())));
        if keep {
            return Ok(Tensor { dtype, shape, data });
        }
        let values =
            numbers(element, &shape, &data).ok_or_else(|| format!("{element} cannot be read as {dtype}"))?;
        let tensor = from_f64(dtype, &shape, &values)
            .ok_or_else(|| format!("{element} cannot be converted to {dtype}"))?;
        if dtype.is_int() {
            let differs = to_f64(&tensor).iter().zip(&values).position(|(a, b)| a != b);
            if let Some(i) = differs {
                return Err(format!("element {i} is {}, which {dtype} does not hold", values[i]));
            }
        }
        Ok(tensor)
    }
}

fn suggestion(element: Element) -> DType {
    match element {
        Element::I64 => DType::I32,
        Element::U64 => DType::U32,
        Element::Raw(1) => DType::F8E5M2,
        _ => DType::F32,
    }
}

/// The values of elements that are numbers, one each.
fn numbers(element: Element, shape: &[usize], data: &[u8]) -> Option<Vec<f64>> {
    let words = || data.chunks_exact(8).map(|b| b.iter().rev().fold(0u64, |w, &b| w << 8 | u64::from(b)));
    Some(match element {
        Element::Ours(dtype) if dtype.is_packed() => return None,
        Element::Ours(dtype) => to_f64(&Tensor { dtype, shape: shape.to_vec(), data: data.to_vec() }),
        Element::F64 => words().map(f64::from_bits).collect(),
        // Exact below 2^53, and no integer dtype of ours reaches further than 2^32.
        Element::I64 => words().map(|w| w as i64 as f64).collect(),
        Element::U64 => words().map(|w| w as f64).collect(),
        Element::Raw(_) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(element: Element, words: &[u64]) -> Array {
        let data = words.iter().flat_map(|w| w.to_le_bytes()[..element.bytes()].to_vec()).collect();
        Array { element, shape: vec![words.len()], data }
    }

    #[test]
    fn bits_are_kept_where_there_is_no_number_to_convert() {
        let bits = [0x3F80, 0xC000];
        for element in [Element::Raw(2), Element::Ours(DType::U16)] {
            let t = array(element, &bits).into_tensor(Some(DType::BF16)).unwrap();
            assert_eq!(to_f64(&t), [1.0, -2.0]);
        }
        assert_eq!(array(Element::Raw(2), &bits).into_tensor(None).unwrap().dtype, DType::BF16);
        assert_eq!(array(Element::Ours(DType::U16), &bits).into_tensor(None).unwrap().dtype, DType::U16);
        let t = array(Element::Raw(1), &[0x38]).into_tensor(Some(DType::F8E4M3)).unwrap();
        assert_eq!(to_f64(&t), [1.0]);
    }

    #[test]
    fn numbers_are_converted() {
        let t = array(Element::F64, &[1.5f64.to_bits(), 1e300f64.to_bits()])
            .into_tensor(Some(DType::F32))
            .unwrap();
        assert_eq!(to_f64(&t), [1.5, f64::INFINITY]);
        let t = array(Element::I64, &[7, -3i64 as u64]).into_tensor(Some(DType::I32)).unwrap();
        assert_eq!(to_f64(&t), [7.0, -3.0]);
        let t = array(Element::Ours(DType::F32), &[1.003_906_3f32.to_bits().into()])
            .into_tensor(Some(DType::BF16))
            .unwrap();
        assert_eq!(to_f64(&t), [1.0]);
    }

    #[test]
    fn what_cannot_be_had_says_why() {
        let why = |a: Array, want| a.into_tensor(want).unwrap_err();
        assert!(why(array(Element::F64, &[0]), None).contains("append one, e.g. `:f32`"));
        assert!(
            why(array(Element::I64, &[1 << 40]), Some(DType::I32)).contains("element 0 is 1099511627776")
        );
        assert!(why(array(Element::F64, &[0.5f64.to_bits()]), Some(DType::U8)).contains("element 0 is 0.5"));
        assert!(why(array(Element::Raw(2), &[0]), Some(DType::F32)).contains("cannot be read as f32"));
        assert!(
            why(array(Element::Ours(DType::F32), &[0]), Some(DType::F8E5M2X4))
                .contains("cannot be converted")
        );
    }
}
