//! Data types of the NeuronCore (isa.md section 2.1). Conversions between them are in `sem::cast`.

use std::fmt;
use std::str::FromStr;

/// An element type. Packed `x4` types count as one element per quad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F16,
    BF16,
    F32,
    /// float32 storage of which the tensor engine reads 10 mantissa bits.
    TF32,
    /// "Legacy" FP8: has infinities, largest finite 240.
    F8E4M3,
    F8E5M2,
    /// OCP FP8: no infinities, largest finite 448 (gen4 compute).
    F8E4M3FN,
    /// Power-of-two scale of the MX formats.
    F8E8M0,
    F8E5M2X4,
    F8E4M3FNX4,
    F4E2M1FNX4,
}

/// What kind of number a [`DType`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DKind {
    Bool,
    Unsigned,
    Signed,
    Float,
    /// Power-of-two scale.
    Scale,
    /// Four packed elements.
    Packed,
}

use DKind::*;

/// One row per dtype: type, text name, NKI name, bytes, kind.
const ROWS: &[(DType, &str, &str, u8, DKind)] = &[
    (DType::Bool, "bool", "bool_", 1, Bool),
    (DType::U8, "u8", "uint8", 1, Unsigned),
    (DType::I8, "i8", "int8", 1, Signed),
    (DType::U16, "u16", "uint16", 2, Unsigned),
    (DType::I16, "i16", "int16", 2, Signed),
    (DType::U32, "u32", "uint32", 4, Unsigned),
    (DType::I32, "i32", "int32", 4, Signed),
    (DType::F16, "f16", "float16", 2, Float),
    (DType::BF16, "bf16", "bfloat16", 2, Float),
    (DType::F32, "f32", "float32", 4, Float),
    (DType::TF32, "tf32", "tfloat32", 4, Float),
    (DType::F8E4M3, "f8e4m3", "float8_e4m3", 1, Float),
    (DType::F8E5M2, "f8e5m2", "float8_e5m2", 1, Float),
    (DType::F8E4M3FN, "f8e4m3fn", "float8_e4m3fn", 1, Float),
    (DType::F8E8M0, "f8e8m0", "float8_e8m0fnu", 1, Scale),
    (DType::F8E5M2X4, "f8e5m2_x4", "float8_e5m2_x4", 4, Packed),
    (DType::F8E4M3FNX4, "f8e4m3fn_x4", "float8_e4m3fn_x4", 4, Packed),
    (DType::F4E2M1FNX4, "f4e2m1fn_x4", "float4_e2m1fn_x4", 2, Packed),
];

impl DType {
    /// Every dtype, in the order of isa.md section 2.1.
    pub fn all() -> impl Iterator<Item = DType> {
        ROWS.iter().map(|r| r.0)
    }
    fn row(self) -> &'static (DType, &'static str, &'static str, u8, DKind) {
        &ROWS[self as usize]
    }
    /// Size of one element in bytes.
    pub fn bytes(self) -> usize {
        self.row().3 as usize
    }
    /// Name in the text form and on the command line (`bf16`).
    pub fn name(self) -> &'static str {
        self.row().1
    }
    /// Name in NKI (`bfloat16`).
    pub fn nki_name(self) -> &'static str {
        self.row().2
    }
    /// What kind of number it holds.
    pub fn kind(self) -> DKind {
        self.row().4
    }
    /// Floating point, scales and packed types excluded.
    pub fn is_float(self) -> bool {
        self.kind() == Float
    }
    /// Integer or bool.
    pub fn is_int(self) -> bool {
        matches!(self.kind(), Bool | Unsigned | Signed)
    }
    /// A packed x4 type.
    pub fn is_packed(self) -> bool {
        self.kind() == Packed
    }
    /// 16-bit floating point, which the vector engine's fast modes need.
    pub fn is_float16(self) -> bool {
        matches!(self, DType::F16 | DType::BF16)
    }
    /// An 8-bit float that the tensor engine multiplies.
    pub fn is_float8(self) -> bool {
        matches!(self, DType::F8E4M3 | DType::F8E5M2 | DType::F8E4M3FN)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for DType {
    type Err = ();
    /// Accepts our name or NKI's.
    fn from_str(s: &str) -> Result<Self, ()> {
        ROWS.iter().find(|r| r.1 == s || r.2 == s).map(|r| r.0).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_enum_order_and_names_parse_back() {
        for (i, r) in ROWS.iter().enumerate() {
            assert_eq!(r.0 as usize, i);
            assert_eq!(r.1.parse(), Ok(r.0));
            assert_eq!(r.2.parse(), Ok(r.0));
        }
        assert_eq!("float33".parse::<DType>(), Err(()));
    }
}
