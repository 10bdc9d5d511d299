//! Tensors made on the spot: `normal:bf16[512,1024]@7`.
//!
//! ```text
//! KIND[(a, b)][:DTYPE][[SHAPE]][@SEED]
//! ```
//!
//! What is left out comes from the parameter that the tensor is for. Element `i` (row-major) depends on the kind, the
//! seed and `i` alone; values are computed in `f64` and rounded once to the dtype.
//!
//! | kind | elements |
//! |---|---|
//! | `normal(mean, deviation)` | normal, `(0, 1)` by default; floats only |
//! | `uniform(low, high)` | in `[low, high)`, `[0, 1)` by default; integers: whole numbers, by default of the dtype's whole range |
//! | `zeros`, `ones`, `full(x)` | a constant |
//! | `iota(start, step)` | `start + step * i`, `(0, 1)` by default; integers wrap |
//! | `special` | standard normal with one element in eight replaced by NaN, infinities, zeros of both signs, subnormals or the largest finite values; integers: the whole range with one in eight an extreme, 0, 1 or -1 |

use super::element::{from_f64, to_f64};
use super::rng::Stream;
use super::suggest::did_you_mean;
use nki_ir::dtype::DKind;
use nki_ir::{Code, DType, Diagnostic, Diagnostics, Tensor};
use std::fmt;
use std::str::FromStr;

/// What the elements of a generated tensor are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Normal { mean: f64, deviation: f64 },
    Uniform { range: Option<(f64, f64)> },
    Full(f64),
    Iota { start: f64, step: f64 },
    Special,
}

const KINDS: [&str; 7] = ["normal", "uniform", "zeros", "ones", "full", "iota", "special"];

/// A tensor to be generated; see the [module](self) for its text form.
#[derive(Clone, Debug, PartialEq)]
pub struct Generator {
    pub kind: Kind,
    /// `None`: the parameter's.
    pub dtype: Option<DType>,
    /// `None`: the parameter's.
    pub shape: Option<Vec<usize>>,
    /// `None`: chosen by whoever runs it, 0 unless told.
    pub seed: Option<u64>,
}

/// Largest tensor that is generated or read, in bytes: more is a slip in a shape rather than a wish.
pub const MAX_BYTES: usize = 1 << 34;

impl Generator {
    /// Standard normal for floats, everything else uniform over its whole range.
    pub fn natural(dtype: DType) -> Generator {
        let kind = if dtype.is_float() {
            Kind::Normal { mean: 0.0, deviation: 1.0 }
        } else {
            Kind::Uniform { range: None }
        };
        Generator { kind, dtype: Some(dtype), shape: None, seed: None }
    }
    /// The tensor. `dtype`, `shape` and `seed` apply where the generator leaves them open.
    ///
    /// # Errors
    /// `nki::argument`: the kind does not exist for the dtype, or the tensor would be larger than [`MAX_BYTES`].
    pub fn tensor(&self, dtype: DType, shape: &[usize], seed: u64) -> Result<Tensor, Diagnostics> {
        let dtype = self.dtype.unwrap_or(dtype);
        let shape = self.shape.as_deref().unwrap_or(shape);
        let bytes = shape.iter().try_fold(dtype.bytes(), |n, &d| n.checked_mul(d));
        if bytes.is_none_or(|n| n > MAX_BYTES) {
            let text = format!("`{self}`: a tensor {dtype}{shape:?} has more than {} GiB", MAX_BYTES >> 30);
            return Err(Diagnostic::error(Code::Argument, text).help("give a smaller shape").into());
        }
        let stream = Stream::new(self.seed.unwrap_or(seed));
        let n = shape.iter().product::<usize>() as u64;
        if dtype.is_packed() || dtype == DType::F8E8M0 {
            return self.raw(dtype, shape, stream);
        }
        let values: Vec<f64> = match self.kind {
            Kind::Normal { mean, deviation } if dtype.is_float() => {
                (0..n).map(|i| mean + deviation * stream.normal(i, 0)).collect()
            }
            Kind::Normal { .. } => return Err(self.unfit(dtype, "uniform")),
            Kind::Uniform { range } => {
                let (low, high) = range.unwrap_or_else(|| default_range(dtype));
                let whole = dtype.is_int();
                let draw = |i| low + (high - low) * stream.uniform(i, 0);
                (0..n).map(|i| if whole { draw(i).floor() } else { draw(i) }).collect()
            }
            Kind::Full(x) => vec![x; n as usize],
            Kind::Iota { start, step } => (0..n).map(|i| wrap(dtype, start + step * i as f64)).collect(),
            Kind::Special => (0..n).map(|i| special(dtype, stream, i)).collect(),
        };
        from_f64(dtype, shape, &values).ok_or_else(|| self.unfit(dtype, "zeros"))
    }

    /// Codes instead of numbers: packed elements and scales.
    fn raw(&self, dtype: DType, shape: &[usize], stream: Stream) -> Result<Tensor, Diagnostics> {
        let mut tensor = Tensor::zeros(dtype, shape);
        match self.kind {
            Kind::Uniform { range: None } | Kind::Special => {
                for (i, byte) in tensor.data.iter_mut().enumerate() {
                    *byte = stream.words(i as u64, 0)[0] as u8;
                }
                Ok(tensor)
            }
            Kind::Full(0.0) => Ok(tensor),
            _ => Err(self.unfit(dtype, "uniform")),
        }
    }

    fn unfit(&self, dtype: DType, instead: &str) -> Diagnostics {
        Diagnostic::error(Code::Argument, format!("`{self}` does not exist for dtype {dtype}"))
            .help(format!("use `{instead}`"))
            .into()
    }
}

fn default_range(dtype: DType) -> (f64, f64) {
    match dtype.kind() {
        DKind::Bool => (0.0, 2.0),
        DKind::Unsigned => (0.0, f64::from(8 * dtype.bytes() as u32).exp2()),
        DKind::Signed => {
            let half = f64::from(8 * dtype.bytes() as u32 - 1).exp2();
            (-half, half)
        }
        _ => (0.0, 1.0),
    }
}

/// Integers of an iota count on modulo the dtype's range.
fn wrap(dtype: DType, x: f64) -> f64 {
    if !dtype.is_int() {
        return x;
    }
    let (low, high) = default_range(dtype);
    low + (x.round_ties_even() - low).rem_euclid(high - low)
}

/// The element that a position of the `special` kind holds.
fn special(dtype: DType, stream: Stream, i: u64) -> f64 {
    let [which, choice, ..] = stream.words(i, 1);
    if dtype.is_int() {
        let (low, high) = default_range(dtype);
        let odd = [low, high - 1.0, 0.0, 1.0, -1.0];
        return if which % 8 == 0 {
            odd[choice as usize % odd.len()].max(low)
        } else {
            low + ((high - low) * stream.uniform(i, 0)).floor()
        };
    }
    if which % 8 != 0 {
        return stream.normal(i, 0);
    }
    let (smallest, largest_subnormal, largest) = extremes(dtype);
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        -0.0,
        smallest,
        -largest_subnormal,
        largest,
        -largest,
    ];
    odd[choice as usize % odd.len()]
}

/// Smallest and largest subnormal, largest finite value of a float dtype.
fn extremes(dtype: DType) -> (f64, f64, f64) {
    let value = |code: u32| {
        let data = code.to_le_bytes()[..dtype.bytes()].to_vec();
        to_f64(&Tensor { dtype, shape: vec![1], data })[0]
    };
    let (smallest, subnormals, top) = match dtype {
        DType::F16 => (1, 0x3FF, 0x7BFF),
        DType::BF16 => (1, 0x7F, 0x7F7F),
        DType::F8E4M3 => (1, 0x7, 0x77),
        DType::F8E5M2 => (1, 0x3, 0x7B),
        DType::F8E4M3FN => (1, 0x7, 0x7E),
        DType::TF32 => (0x2000, 0x7F_E000, 0x7F7F_E000),
        _ => (1, 0x7F_FFFF, 0x7F7F_FFFF),
    };
    (value(smallest), value(subnormals), value(top))
}

impl fmt::Display for Generator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Normal { mean: 0.0, deviation: 1.0 } => f.write_str("normal")?,
            Kind::Normal { mean, deviation } => write!(f, "normal({mean},{deviation})")?,
            Kind::Uniform { range: None } => f.write_str("uniform")?,
            Kind::Uniform { range: Some((a, b)) } => write!(f, "uniform({a},{b})")?,
            Kind::Full(0.0) => f.write_str("zeros")?,
            Kind::Full(1.0) => f.write_str("ones")?,
            Kind::Full(x) => write!(f, "full({x})")?,
            Kind::Iota { start: 0.0, step: 1.0 } => f.write_str("iota")?,
            Kind::Iota { start, step } => write!(f, "iota({start},{step})")?,
            Kind::Special => f.write_str("special")?,
        }
        if self.dtype.is_some() || self.shape.is_some() {
            f.write_str(":")?;
        }
        if let Some(dtype) = self.dtype {
            write!(f, "{dtype}")?;
        }
        if let Some(shape) = &self.shape {
            let dims: Vec<String> = shape.iter().map(usize::to_string).collect();
            write!(f, "[{}]", dims.join(","))?;
        }
        if let Some(seed) = self.seed {
            write!(f, "@{seed}")?;
        }
        Ok(())
    }
}

fn usage(text: &str, what: impl fmt::Display) -> Diagnostics {
    Diagnostic::error(Code::Usage, format!("`{text}`: {what}"))
        .help("write KIND:DTYPE[SHAPE]@SEED, e.g. `normal:bf16[512,1024]@7`; kinds: normal, uniform, zeros, ones, full(x), iota, special").into()
}

impl FromStr for Generator {
    type Err = Diagnostics;

    /// # Errors
    /// `nki::usage`, naming the part that is wrong.
    fn from_str(text: &str) -> Result<Self, Diagnostics> {
        let split = |s: &str, at: usize| (s[..at].to_string(), s[at + 1..].to_string());
        let (head, seed) = match text.rfind('@') {
            Some(at) => {
                let (head, seed) = split(text, at);
                (head, Some(seed.trim().parse().map_err(|_| usage(text, format!("`{seed}` is not a seed")))?))
            }
            None => (text.to_string(), None),
        };
        let (head, shape) = match head.find('[') {
            Some(at) => {
                let (rest, dims) = split(&head, at);
                let dims =
                    dims.strip_suffix(']').ok_or_else(|| usage(text, "`[` without `]` after the shape"))?;
                (rest, Some(parse_shape(text, dims)?))
            }
            None => (head, None),
        };
        let (kind, dtype) = match head.find(':') {
            Some(at) => {
                let (kind, dtype) = split(&head, at);
                (kind, Some(dtype).filter(|d| !d.trim().is_empty()))
            }
            None => (head, None),
        };
        let dtype = dtype.map(|d| parse_dtype(d.trim()).map_err(|e| usage(text, e))).transpose()?;
        Ok(Generator { kind: parse_kind(text, kind.trim())?, dtype, shape, seed })
    }
}

fn parse_shape(text: &str, dims: &str) -> Result<Vec<usize>, Diagnostics> {
    if dims.trim().is_empty() {
        return Ok(Vec::new());
    }
    let dim =
        |d: &str| d.trim().parse().map_err(|_| usage(text, format!("`{}` is not a dimension", d.trim())));
    dims.split([',', 'x']).map(dim).collect()
}

/// A dtype by our name or NKI's, or a sentence about what is wrong.
pub fn parse_dtype(name: &str) -> Result<DType, String> {
    let names: Vec<&str> = DType::all().flat_map(|d| [d.name(), d.nki_name()]).collect();
    name.parse().map_err(|()| format!("unknown dtype `{name}`{}", did_you_mean(name, names)))
}

fn parse_kind(text: &str, kind: &str) -> Result<Kind, Diagnostics> {
    let (name, numbers) = match kind.split_once('(') {
        Some((name, rest)) => {
            let inner = rest.strip_suffix(')').ok_or_else(|| usage(text, "`(` without `)`"))?;
            let number = |x: &str| match x.trim().parse::<f64>() {
                Ok(x) => Ok(x),
                Err(_) => Err(usage(text, format!("`{}` is not a number", x.trim()))),
            };
            (name, inner.split(',').map(number).collect::<Result<Vec<_>, _>>()?)
        }
        None => (kind, Vec::new()),
    };
    Ok(match (name, numbers.as_slice()) {
        ("normal", []) => Kind::Normal { mean: 0.0, deviation: 1.0 },
        ("normal", &[mean, deviation]) => Kind::Normal { mean, deviation },
        ("uniform", []) => Kind::Uniform { range: None },
        ("uniform", &[low, high]) if low < high => Kind::Uniform { range: Some((low, high)) },
        ("uniform", &[low, high]) => return Err(usage(text, format!("the range {low}..{high} is empty"))),
        ("zeros", []) => Kind::Full(0.0),
        ("ones", []) => Kind::Full(1.0),
        ("full", &[x]) => Kind::Full(x),
        ("iota", []) => Kind::Iota { start: 0.0, step: 1.0 },
        ("iota", &[start]) => Kind::Iota { start, step: 1.0 },
        ("iota", &[start, step]) => Kind::Iota { start, step },
        ("special", []) => Kind::Special,
        (known, got) if KINDS.contains(&known) => {
            return Err(usage(text, format!("`{known}` does not take {} numbers", got.len())));
        }
        (other, _) => {
            return Err(usage(text, format!("unknown generator `{other}`{}", did_you_mean(other, KINDS))));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(text: &str) -> Result<Tensor, Diagnostics> {
        text.parse::<Generator>()?.tensor(DType::F32, &[3, 5], 11)
    }
    fn values(text: &str) -> Vec<f64> {
        to_f64(&make(text).unwrap())
    }

    #[test]
    fn text_parses_and_prints_back() {
        for text in [
            "normal:bf16[512,1024]@7",
            "uniform(-1,1):f32[3]",
            "zeros",
            "full(2.5):i8[]",
            "iota(3,-2):[7]@1",
            "special:f16",
        ] {
            assert_eq!(text.parse::<Generator>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_left_out_comes_from_the_parameter() {
        let t = make("normal@4").unwrap();
        assert_eq!((t.dtype, t.shape.as_slice(), t.data.len()), (DType::F32, &[3, 5][..], 60));
        assert_eq!(t, make("normal:f32[3,5]@4").unwrap());
        assert_ne!(t, make("normal").unwrap());
        assert_eq!(make("normal").unwrap(), make("normal@11").unwrap());
        let long = make("normal[4,5]@4").unwrap();
        assert_eq!(long.data[..60], t.data[..]);
    }

    #[test]
    fn values_are_what_the_table_says() {
        assert_eq!(values("iota:u8[3]"), [0.0, 1.0, 2.0]);
        assert_eq!(values("iota(254):u8[4]"), [254.0, 255.0, 0.0, 1.0]);
        assert_eq!(values("iota(127):i8[2]"), [127.0, -128.0]);
        assert_eq!(values("full(-0.3):bf16[1]"), [-0.30078125]);
        assert!(values("uniform(-2,-1):f16[1000]").iter().all(|x| (-2.0..=-1.0).contains(x)));
        let bytes = values("uniform:i8[4000]");
        assert!(bytes.contains(&-128.0) && bytes.contains(&127.0) && bytes.iter().all(|x| x.fract() == 0.0));
        assert_eq!(values("zeros:f4e2m1fn_x4[2]"), [0.0; 8]);
        assert!(make("ones:f32[0,7]").unwrap().data.is_empty());
    }

    #[test]
    fn special_has_every_odd_value() {
        for dtype in ["f32", "bf16", "f16", "f8e4m3", "f8e5m2"] {
            let xs = values(&format!("special:{dtype}[5000]@1"));
            let dtype: DType = dtype.parse().unwrap();
            let (smallest, subnormal, largest) = extremes(dtype);
            assert!(smallest > 0.0 && smallest < subnormal && largest.is_finite());
            for want in [f64::INFINITY, f64::NEG_INFINITY, 0.0, smallest, -subnormal, largest, -largest] {
                assert!(xs.contains(&want), "{dtype} lacks {want}");
            }
            assert!(xs.iter().any(|x| x.is_nan()) && xs.iter().any(|x| x.to_bits() == (-0.0f64).to_bits()));
            assert!(xs.iter().filter(|x| !x.is_finite()).count() < 1000);
        }
    }

    #[test]
    fn mistakes_name_the_part_that_is_wrong() {
        for (text, part) in [
            ("nromal:f32[3]", "did you mean `normal`?"),
            ("normal:bf17[3]", "did you mean `bf16`?"),
            ("normal:f32[3,x]", "`` is not a dimension"),
            ("normal:f32[3,-1]", "`-1` is not a dimension"),
            ("normal:f32[3", "without `]`"),
            ("normal:f32[3]@x", "`x` is not a seed"),
            ("normal(1):f32[3]", "does not take 1 numbers"),
            ("uniform(2,1)", "2..1 is empty"),
            ("full(abc)", "`abc` is not a number"),
        ] {
            let e = text.parse::<Generator>().unwrap_err();
            assert_eq!(e.first_code(), Some(Code::Usage), "{text}");
            assert!(e.to_string().contains(part), "{text}: {e}");
        }
        for text in [
            "normal:i32[3]",
            "ones:f8e5m2_x4[2]",
            "normal:f32[99999999,99999999,99999999]",
            "zeros:f32[9999999999]",
        ] {
            assert_eq!(make(text).unwrap_err().first_code(), Some(Code::Argument), "{text}");
        }
    }
}
