//! Element types as Rust types: the `T` of [`Hbm<T>`](crate::Hbm), [`Tile<T>`](crate::Tile) and [`Acc<T>`](crate::Acc).

use nki_ir::DType;

pub use half::{bf16, f16};

/// An element type that a tensor can store (isa.md section 2.1).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an element type of the NeuronCore",
    label = "cannot be stored in a tensor",
    note = "use f32, bf16, f16, tf32, an 8-bit float (f8e4m3, f8e5m2, f8e4m3fn), bool, or an integer of at most 32 bits"
)]
pub trait Elem: Copy + 'static {
    /// The type in the IR.
    const DTYPE: DType;
}

/// An element type with which engines compute as a number with a fraction: what a kernel is usually generic over.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a floating-point type of the NeuronCore",
    label = "not a NeuronCore float",
    note = "use f32, bf16 or f16; 64-bit floats do not exist on the NeuronCore",
    note = "in a generic kernel, bound the parameter: `T: Float`"
)]
pub trait Float: Elem {}

/// An integer element type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an integer type of the NeuronCore",
    label = "not a NeuronCore integer",
    note = "use i32, u32, i16, u16, i8 or u8; 64-bit integers do not exist on the NeuronCore"
)]
pub trait Int: Elem {}

/// A packed element type: four lanes of an MX format (trn3).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a packed element type",
    label = "not packed",
    note = "use f8e5m2_x4, f8e4m3fn_x4 or f4e2m1fn_x4; `quantize_mx` makes the first two from bf16 or f16"
)]
pub trait Packed: Elem {}

/// The element type of MX scales: f8e8m0, or u8 with the same bytes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the element type of a scale",
    label = "not a scale",
    note = "use f8e8m0 or u8"
)]
pub trait Scale: Elem {}
impl Scale for u8 {}

/// An element type that is also a Rust type with values: what arrays on the host hold.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no values on the host",
    note = "use f32, bf16, f16, bool, or an integer of at most 32 bits; other types travel as `nki::ir::Tensor`"
)]
pub trait HostElem: Elem {
    /// Appends the little-endian bytes.
    fn write(self, out: &mut Vec<u8>);
    /// The value of little-endian bytes, `DTYPE.bytes()` of them.
    fn read(bytes: &[u8]) -> Self;
}

macro_rules! host_elems {
    ($($t:ty),*) => {$(
        impl HostElem for $t {
            fn write(self, out: &mut Vec<u8>) {
                out.extend(self.to_le_bytes());
            }
            fn read(bytes: &[u8]) -> Self {
                let mut le = [0; size_of::<$t>()];
                le.copy_from_slice(bytes);
                <$t>::from_le_bytes(le)
            }
        }
    )*};
}
host_elems!(f32, bf16, f16, i32, u32, i16, u16, i8, u8);

impl HostElem for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(self.into());
    }
    fn read(bytes: &[u8]) -> Self {
        bytes.iter().any(|&b| b != 0)
    }
}

macro_rules! elems {
    ($($kind:ident: $($t:ty = $d:ident),*;)*) => {$($(
        impl Elem for $t { const DTYPE: DType = DType::$d; }
        elems!(@ $kind $t);
    )*)*};
    (@ float $t:ty) => { impl Float for $t {} };
    (@ int $t:ty) => { impl Int for $t {} };
    (@ packed $t:ty) => { impl Packed for $t {} };
    (@ scale $t:ty) => { impl Scale for $t {} };
    (@ other $t:ty) => {};
}

macro_rules! markers {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {}
    )*};
}

markers! {
    /// 32-bit storage of which the tensor engine reads 10 mantissa bits.
    tf32;
    /// 8-bit float with infinities, largest finite value 240.
    f8e4m3;
    /// 8-bit float with 5 exponent bits.
    f8e5m2;
    /// 8-bit float without infinities, largest finite value 448 (trn3).
    f8e4m3fn;
    /// A power of two, the scale of the MX formats (trn3).
    f8e8m0;
    /// Four f8e5m2 as one element (trn3).
    f8e5m2_x4;
    /// Four f8e4m3fn as one element (trn3).
    f8e4m3fn_x4;
    /// Four 4-bit floats as one element (trn3).
    f4e2m1fn_x4;
}

elems! {
    float: f32 = F32, bf16 = BF16, f16 = F16;
    int: i32 = I32, u32 = U32, i16 = I16, u16 = U16, i8 = I8, u8 = U8;
    other: bool = Bool, tf32 = TF32, f8e4m3 = F8E4M3, f8e5m2 = F8E5M2, f8e4m3fn = F8E4M3FN;
    scale: f8e8m0 = F8E8M0;
    packed: f8e5m2_x4 = F8E5M2X4, f8e4m3fn_x4 = F8E4M3FNX4, f4e2m1fn_x4 = F4E2M1FNX4;
}
