//! `.npy` files, versions 1 to 3 (NumPy Enhancement Proposal 1, "A Simple File Format for NumPy Arrays").
//!
//! Read here and not through a crate because the dtype is only known from the file, `bf16` and the 8-bit floats have no
//! NumPy type, and no size that a malformed header claims may be allocated before it is compared with the file's.
//!
//! | our dtype | descriptor written | read back in NumPy |
//! |---|---|---|
//! | `f32`, `f16`, `i8` .. `u32`, `bool` | `<f4`, `<f2`, `\|i1` .. `<u4`, `\|b1` | as it is |
//! | `bf16` | `<V2` | `np.load(f).view(ml_dtypes.bfloat16)`, or `.view(np.uint16)` for the bits |
//! | `tf32` | `<f4` | as it is |
//! | 8-bit floats, scales, packed types | `\|V1`, `<V2`, `<V4` | `.view(..)` of the matching type |
//!
//! `bf16` as `V2` is what NumPy itself writes for an array of `ml_dtypes.bfloat16`.

use super::array::{Array, Element};
use nki_ir::{DType, Tensor};

/// What is wrong with a file, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    pub at: usize,
    pub what: String,
}

fn malformed<T>(at: usize, what: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed { at, what: what.into() })
}

const MAGIC: &[u8] = b"\x93NUMPY";

/// Reads the bytes of a file.
///
/// # Errors
/// The first byte that cannot be right.
pub fn read(bytes: &[u8]) -> Result<Array, Malformed> {
    if !bytes.starts_with(MAGIC) {
        return malformed(0, "not an .npy file: it does not begin with \\x93NUMPY");
    }
    let Some(&[major, _minor]) = bytes.get(6..8) else {
        return malformed(bytes.len(), "ends within the version");
    };
    let length_bytes = match major {
        1 => 2,
        2 | 3 => 4,
        _ => return malformed(6, format!("version {major} of the format is not known")),
    };
    let start = 8 + length_bytes;
    let Some(length) = bytes.get(8..start) else {
        return malformed(bytes.len(), "ends within the header's length");
    };
    let length = length.iter().rev().fold(0usize, |n, &b| n << 8 | usize::from(b));
    let Some(header) = start.checked_add(length).and_then(|end| bytes.get(start..end)) else {
        let have = bytes.len() - start;
        return malformed(8, format!("the header should be {length} bytes long, but {have} follow"));
    };
    let header = Header::parse(header, start)?;
    let body = &bytes[start + length..];
    let count = header.shape.iter().try_fold(header.element.bytes(), |n, &d| n.checked_mul(d));
    if count != Some(body.len()) {
        let shape = &header.shape;
        let want = count.map_or("more than the address space".to_string(), |n| n.to_string());
        let text = format!(
            "{:?} of {} takes {want} bytes, but {} follow the header",
            shape,
            header.element,
            body.len()
        );
        return malformed(start + length, text);
    }
    Ok(header.array(body))
}

/// Writes a tensor.
pub fn write(tensor: &Tensor) -> Vec<u8> {
    let descr = match tensor.dtype {
        DType::F32 | DType::TF32 => "<f4",
        DType::F16 => "<f2",
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::I16 => "<i2",
        DType::I32 => "<i4",
        DType::U8 => "|u1",
        DType::U16 => "<u2",
        DType::U32 => "<u4",
        DType::BF16 | DType::F4E2M1FNX4 => "<V2",
        DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FN | DType::F8E8M0 => "|V1",
        DType::F8E5M2X4 | DType::F8E4M3FNX4 => "<V4",
    };
    let mut dims: Vec<String> = tensor.shape.iter().map(usize::to_string).collect();
    if dims.len() == 1 {
        dims.push(String::new());
    }
    let mut header = format!(
        "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({}), }}",
        dims.join(", ").trim_end()
    );
    // Magic, version, length and header together fill a multiple of 64 bytes, the last of them a line feed.
    let padding = 63 - (10 + header.len()) % 64;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut out = Vec::with_capacity(10 + header.len() + tensor.data.len());
    out.extend(MAGIC);
    out.extend([1, 0]);
    // A shape is at most a few dozen numbers, so the header stays far below 65,536 bytes.
    out.extend((header.len() as u16).to_le_bytes());
    out.extend(header.as_bytes());
    out.extend(&tensor.data);
    out
}

struct Header {
    element: Element,
    big_endian: bool,
    fortran: bool,
    shape: Vec<usize>,
}

impl Header {
    fn parse(text: &[u8], base: usize) -> Result<Header, Malformed> {
        let mut p = Parser { text, pos: 0, base };
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        p.expect(b'{')?;
        while !p.eat(b'}') {
            let at = p.here();
            let key = p.string()?;
            p.expect(b':')?;
            match key {
                "descr" => descr = Some((p.here(), p.string()?)),
                "fortran_order" => fortran = Some(p.boolean()?),
                "shape" => shape = Some(p.tuple()?),
                _ => return malformed(at, format!("unknown key '{key}'")),
            }
            if !p.eat(b',') {
                p.expect(b'}')?;
                break;
            }
        }
        p.end()?;
        let missing = |key: &str| Malformed { at: base, what: format!("the header has no '{key}'") };
        let (at, descr) = descr.ok_or_else(|| missing("descr"))?;
        let (element, big_endian) = parse_descr(descr).ok_or_else(|| Malformed {
            at,
            what: format!("element type '{descr}' is not a real number, a bool or raw bytes"),
        })?;
        let fortran = fortran.ok_or_else(|| missing("fortran_order"))?;
        Ok(Header { element, big_endian, fortran, shape: shape.ok_or_else(|| missing("shape"))? })
    }

    /// The elements in row-major order and little-endian.
    fn array(self, body: &[u8]) -> Array {
        let size = self.element.bytes();
        let mut data = if self.fortran { transpose(body, &self.shape, size) } else { body.to_vec() };
        if self.big_endian {
            data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        }
        Array { element: self.element, shape: self.shape, data }
    }
}

/// `<f4` and the like: the element, and whether it is big-endian.
fn parse_descr(descr: &str) -> Option<(Element, bool)> {
    let (order, name) = match descr.as_bytes() {
        [order @ (b'<' | b'>' | b'|' | b'='), ..] => (*order, &descr[1..]),
        _ => (b'=', descr),
    };
    let element = match name {
        "f2" => Element::Ours(DType::F16),
        "f4" => Element::Ours(DType::F32),
        "f8" => Element::F64,
        "b1" => Element::Ours(DType::Bool),
        "i1" => Element::Ours(DType::I8),
        "i2" => Element::Ours(DType::I16),
        "i4" => Element::Ours(DType::I32),
        "i8" => Element::I64,
        "u1" => Element::Ours(DType::U8),
        "u2" => Element::Ours(DType::U16),
        "u4" => Element::Ours(DType::U32),
        "u8" => Element::U64,
        "V1" => Element::Raw(1),
        "V2" => Element::Raw(2),
        "V4" => Element::Raw(4),
        _ => return None,
    };
    Some((element, order == b'>' && !matches!(element, Element::Raw(_))))
}

/// Column-major elements in row-major order.
fn transpose(body: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &d in shape {
        strides.push(stride);
        stride *= d;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut index = vec![0; shape.len()];
    for _ in 0..body.len() / size {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        out.extend(&body[at * size..(at + 1) * size]);
        for (i, &d) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < d {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// The Python literal of a header.
struct Parser<'a> {
    text: &'a [u8],
    pos: usize,
    /// Offset of `text` in the file.
    base: usize,
}

impl<'a> Parser<'a> {
    fn here(&self) -> usize {
        self.base + self.pos
    }
    fn skip_space(&mut self) {
        while self.text.get(self.pos).is_some_and(u8::is_ascii_whitespace) {
            self.pos += 1;
        }
    }
    fn eat(&mut self, c: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.pos) == Some(&c);
        self.pos += usize::from(found);
        found
    }
    fn expect(&mut self, c: u8) -> Result<(), Malformed> {
        if self.eat(c) {
            Ok(())
        } else {
            malformed(self.here(), format!("expected `{}` in the header", c as char))
        }
    }
    fn end(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.pos == self.text.len() {
            Ok(())
        } else {
            malformed(self.here(), "text after the header's `}`")
        }
    }
    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        self.skip_space();
        let rest = &self.text[self.pos..];
        let n = rest.iter().position(|&c| !belongs(c)).unwrap_or(rest.len());
        self.pos += n;
        std::str::from_utf8(&rest[..n]).unwrap_or("")
    }
    fn string(&mut self) -> Result<&'a str, Malformed> {
        let quote = if self.eat(b'\'') {
            b'\''
        } else if self.eat(b'"') {
            b'"'
        } else {
            return malformed(self.here(), "expected a quoted string in the header");
        };
        let text = self.take(|c| c != quote);
        self.expect(quote)?;
        Ok(text)
    }
    fn boolean(&mut self) -> Result<bool, Malformed> {
        let at = self.here();
        match self.take(|c| c.is_ascii_alphabetic()) {
            "True" => Ok(true),
            "False" => Ok(false),
            _ => malformed(at, "'fortran_order' is neither True nor False"),
        }
    }
    fn tuple(&mut self) -> Result<Vec<usize>, Malformed> {
        self.expect(b'(')?;
        let mut dims = Vec::new();
        while !self.eat(b')') {
            let at = self.here();
            let number = self.take(|c| c.is_ascii_digit());
            // Python 2 wrote long integers with a suffix.
            self.eat(b'L');
            match number.parse() {
                Ok(d) => dims.push(d),
                Err(_) => return malformed(at, "'shape' has an entry that is not a whole number"),
            }
            if dims.len() > 32 {
                return malformed(at, "'shape' has more than 32 dimensions");
            }
            if !self.eat(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(dims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, body: &[u8]) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend([version, 0]);
        match version {
            1 => out.extend((header.len() as u16).to_le_bytes()),
            _ => out.extend((header.len() as u32).to_le_bytes()),
        }
        out.extend(header.as_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn what_is_written_reads_back() {
        for dtype in DType::all() {
            for shape in [&[][..], &[0], &[7], &[1, 1], &[3, 0, 2], &[2, 3, 5]] {
                let mut t = Tensor::zeros(dtype, shape);
                t.data.iter_mut().enumerate().for_each(|(i, b)| *b = i as u8);
                let bytes = write(&t);
                assert_eq!((bytes.len() - t.data.len()) % 64, 0);
                let a = read(&bytes).unwrap();
                assert_eq!((a.shape, a.data), (t.shape, t.data), "{dtype}");
                assert_eq!(a.element.bytes(), dtype.bytes());
            }
        }
    }

    /// The bytes that NumPy 2 writes for `np.save(f, np.arange(6, dtype='>i2').reshape(2, 3, order='F'))`'s header,
    /// followed by that array in column-major order.
    #[test]
    fn big_endian_and_column_major_files_are_turned_round() {
        let header = "{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n";
        let body: Vec<u8> = (0..6i16).flat_map(i16::to_be_bytes).collect();
        let a = read(&file(1, header, &body)).unwrap();
        let values: Vec<i16> = a.data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(values, [0, 2, 4, 1, 3, 5]);
        assert_eq!(a.element, Element::Ours(DType::I16));
        assert!(read(&file(3, header, &body)).is_ok());
    }

    #[test]
    fn every_truncation_is_an_error_with_a_place() {
        let bytes = write(&Tensor::zeros(DType::F32, &[2, 3]));
        for n in 0..bytes.len() {
            let e = read(&bytes[..n]).unwrap_err();
            assert!(e.at <= n, "{n}: {e:?}");
        }
    }

    #[test]
    fn every_changed_byte_is_read_or_refused() {
        let bytes = write(&Tensor::zeros(DType::F16, &[2, 3]));
        for i in 0..bytes.len() {
            for value in [0, b'\'', b'(', b'9', 0xFF] {
                let mut bad = bytes.clone();
                bad[i] = value;
                if let Ok(a) = read(&bad) {
                    assert_eq!(a.data.len(), a.shape.iter().product::<usize>() * a.element.bytes());
                }
            }
        }
    }

    #[test]
    fn malformed_headers_say_what_and_where() {
        let ok = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
        assert!(read(&file(1, ok, &[0; 4])).is_ok());
        for (from, to, part) in [
            ("'<f4'", "'<c8'", "element type '<c8'"),
            ("'<f4'", "'<f16'", "element type '<f16'"),
            ("(1,)", "(99999999999,)", "takes 399999999996 bytes, but 4 follow"),
            ("(1,)", "(9999999999999, 9999999999999)", "more than the address space"),
            ("(1,)", "(-1,)", "not a whole number"),
            ("False", "Maybe", "neither True nor False"),
            ("'shape'", "'shade'", "unknown key 'shade'"),
            ("'shape': (1,), ", "", "no 'shape'"),
            (", }", ", } x", "after the header"),
        ] {
            let e = read(&file(1, &ok.replace(from, to), &[0; 4])).unwrap_err();
            assert!(e.what.contains(part), "{to}: {e:?}");
        }
        assert!(read(&file(4, ok, &[0; 4])).unwrap_err().what.contains("version 4"));
        let mut long = file(2, ok, &[0; 4]);
        long[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&long).unwrap_err().what.contains("4294967295 bytes long"));
    }
}
