//! `.safetensors` files, through the format's own crate.
//!
//! Dtypes without a name in the format are stored as unsigned integers of their size, and the file's metadata says under
//! [`METADATA`] what they are: `out=f8e4m3,scale=f8e5m2_x4`.

use super::array::{Array, Element};
use super::suggest::did_you_mean;
use nki_ir::{DType, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// Key of the metadata entry with dtypes that the format does not have.
pub const METADATA: &str = "nki.dtypes";

fn stored(dtype: DType) -> Dtype {
    match dtype {
        DType::Bool => Dtype::BOOL,
        DType::U8 => Dtype::U8,
        DType::I8 => Dtype::I8,
        DType::U16 => Dtype::U16,
        DType::I16 => Dtype::I16,
        DType::U32 => Dtype::U32,
        DType::I32 => Dtype::I32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::F32 => Dtype::F32,
        DType::F8E5M2 => Dtype::F8_E5M2,
        // The format's E4M3 is the OCP form without infinities.
        DType::F8E4M3FN => Dtype::F8_E4M3,
        DType::F8E8M0 => Dtype::F8_E8M0,
        DType::F8E4M3 => Dtype::U8,
        DType::F4E2M1FNX4 => Dtype::U16,
        DType::TF32 | DType::F8E5M2X4 | DType::F8E4M3FNX4 => Dtype::U32,
    }
}

fn element(dtype: Dtype) -> Option<Element> {
    Some(match dtype {
        Dtype::F64 => Element::F64,
        Dtype::I64 => Element::I64,
        Dtype::U64 => Element::U64,
        _ => Element::Ours(DType::all().find(|d| stored(*d) == dtype && named(*d))?),
    })
}

/// Whether the format has a name of its own for the dtype.
fn named(dtype: DType) -> bool {
    !matches!(dtype, DType::F8E4M3 | DType::TF32) && !dtype.is_packed()
}

/// Reads one tensor: `name`, else the one called `parameter`, else the only one.
///
/// # Errors
/// A sentence.
pub fn read(bytes: &[u8], name: Option<&str>, parameter: &str) -> Result<Array, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let mut names = file.names();
    names.sort_unstable();
    let list = || names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let name = match (name, names.as_slice()) {
        (Some(name), _) if names.contains(&name) => name,
        (Some(name), _) => {
            let hint = did_you_mean(name, names.iter().copied());
            return Err(format!("has no tensor `{name}`{hint} (it has {})", list()));
        }
        (None, _) if names.contains(&parameter) => parameter,
        (None, [only]) => only,
        (None, _) => return Err(format!("has {} tensors; append `#NAME` ({})", names.len(), list())),
    };
    let view = file.tensor(name).map_err(|e| e.to_string())?;
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let noted = header.metadata().as_ref().and_then(|m| m.get(METADATA)).map_or("", String::as_str);
    let noted = noted.split(',').filter_map(|entry| entry.rsplit_once('='));
    let noted = noted.filter(|(n, _)| *n == name).find_map(|(_, dtype)| dtype.parse::<DType>().ok());
    let element = match noted.filter(|d| stored(*d) == view.dtype()) {
        Some(dtype) => Element::Ours(dtype),
        None => element(view.dtype()).ok_or_else(|| {
            format!("tensor `{name}` has dtype {}, which does not exist here", view.dtype())
        })?,
    };
    Ok(Array { element, shape: view.shape().to_vec(), data: view.data().to_vec() })
}

/// Writes named tensors.
///
/// # Errors
/// A sentence, if the header grows too large.
pub fn write(tensors: &[(&str, &Tensor)]) -> Result<Vec<u8>, String> {
    let mut views = Vec::new();
    let mut notes = Vec::new();
    for &(name, tensor) in tensors {
        let dtype = stored(tensor.dtype);
        let view = TensorView::new(dtype, tensor.shape.clone(), &tensor.data).map_err(|e| e.to_string())?;
        views.push((name, view));
        if !named(tensor.dtype) {
            notes.push(format!("{name}={}", tensor.dtype));
        }
    }
    let metadata = (!notes.is_empty()).then(|| HashMap::from([(METADATA.to_string(), notes.join(","))]));
    safetensors::serialize(views, metadata).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dtype_survives_a_round_trip() {
        let tensors: Vec<(String, Tensor)> = DType::all()
            .map(|dtype| {
                let mut t = Tensor::zeros(dtype, &[3, 1, 2]);
                t.data.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
                (format!("a {dtype}"), t)
            })
            .collect();
        let list: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let bytes = write(&list).unwrap();
        assert_eq!(bytes, write(&list).unwrap());
        for (name, t) in &tensors {
            let a = read(&bytes, Some(name), "").unwrap();
            assert_eq!((a.element, &a.shape, &a.data), (Element::Ours(t.dtype), &t.shape, &t.data));
        }
    }

    #[test]
    fn a_tensor_is_found_by_name_by_parameter_or_alone() {
        let t = Tensor::zeros(DType::F32, &[1]);
        let one = write(&[("weights", &t)]).unwrap();
        let two = write(&[("weights", &t), ("bias", &t)]).unwrap();
        assert!(read(&one, None, "x").is_ok());
        assert!(read(&two, None, "bias").is_ok());
        assert!(
            read(&two, None, "x").unwrap_err().contains("has 2 tensors; append `#NAME` (`bias`, `weights`)")
        );
        assert!(read(&two, Some("weigths"), "x").unwrap_err().contains("did you mean `weights`?"));
    }

    #[test]
    fn truncated_files_are_refused() {
        let bytes = write(&[("a", &Tensor::zeros(DType::F32, &[4]))]).unwrap();
        for n in 0..bytes.len() {
            assert!(read(&bytes[..n], None, "a").is_err(), "{n}");
        }
    }
}
