//! Small enumerations that attributes and engines are made of. Text names are NKI's.

use std::fmt;
use std::str::FromStr;

macro_rules! named_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }
        impl $name {
            /// Every member.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// NKI's name.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
        impl FromStr for $name {
            type Err = ();
            fn from_str(s: &str) -> Result<Self, ()> {
                $name::ALL.iter().copied().find(|x| x.name() == s).ok_or(())
            }
        }
    };
}

named_enum! {
    /// An engine of a NeuronCore (isa.md 0.3 and 1.1).
    Engine {
        /// The compiler chooses.
        Unknown = "unknown",
        Tensor = "tensor",
        Vector = "vector",
        Scalar = "scalar",
        GpSimd = "gpsimd",
        Dma = "dma",
        /// Sequencer only: DMA triggers and control flow.
        Sync = "sync",
    }
}

named_enum! {
    /// An ALU operator (isa.md section 4).
    AluOp {
        Invert = "invert",
        BitwiseAnd = "bitwise_and",
        BitwiseOr = "bitwise_or",
        BitwiseXor = "bitwise_xor",
        LeftShift = "left_shift",
        RightShift = "right_shift",
        Add = "add",
        Subtract = "subtract",
        Multiply = "multiply",
        Maximum = "maximum",
        Minimum = "minimum",
        Equal = "equal",
        NotEqual = "not_equal",
        Less = "less",
        LessEqual = "less_equal",
        Greater = "greater",
        GreaterEqual = "greater_equal",
        LogicalAnd = "logical_and",
        LogicalOr = "logical_or",
        LogicalXor = "logical_xor",
        Power = "power",
        AbsMax = "abs_max",
        AbsMin = "abs_min",
        Abs = "abs",
        Square = "square",
        Relu = "relu",
        Rsqrt = "rsqrt",
        Reciprocal = "reciprocal",
        Average = "average",
        Bypass = "bypass",
    }
}

named_enum! {
    /// An activation function (isa.md section 5).
    ActFn {
        Copy = "copy",
        Square = "square",
        Abs = "abs",
        Sign = "sign",
        Relu = "relu",
        Prelu = "prelu",
        Exp = "exp",
        Log = "log",
        Sqrt = "sqrt",
        Rsqrt = "rsqrt",
        Reciprocal = "reciprocal",
        Sigmoid = "sigmoid",
        Tanh = "tanh",
        Sin = "sin",
        Arctan = "arctan",
        Erf = "erf",
        ErfDx = "erf_dx",
        Softplus = "softplus",
        Mish = "mish",
        Gelu = "gelu",
        GeluDx = "gelu_dx",
        GeluApprxTanh = "gelu_apprx_tanh",
        GeluApprxSigmoid = "gelu_apprx_sigmoid",
        GeluApprxSigmoidDx = "gelu_apprx_sigmoid_dx",
        Silu = "silu",
        SiluDx = "silu_dx",
    }
}

named_enum! {
    /// What an instruction does with its engine's reduce registers (isa.md section 6).
    ReduceCmd {
        Idle = "idle",
        Reset = "reset",
        Reduce = "reduce",
        ResetReduce = "reset_reduce",
        LoadReduce = "load_reduce",
    }
}

named_enum! {
    /// What an out-of-bounds dynamic index does.
    OobMode { Error = "error", Skip = "skip", }
}

named_enum! {
    /// Who builds a transfer's descriptors.
    DgeMode { Unknown = "unknown", Swdge = "swdge", Hwdge = "hwdge", None = "none", }
}

named_enum! {
    /// Performance mode of a matmul.
    MatmulPerf { None = "none", DoubleRow = "double_row", }
}

impl AluOp {
    /// Works on raw bits of integers.
    pub fn is_bitvec(self) -> bool {
        use AluOp::*;
        matches!(self, Invert | BitwiseAnd | BitwiseOr | BitwiseXor | LeftShift | RightShift)
    }
    /// Takes one operand.
    pub fn is_unary(self) -> bool {
        use AluOp::*;
        matches!(self, Invert | Abs | Square | Relu | Rsqrt | Reciprocal)
    }
    /// A comparison.
    pub fn is_comparison(self) -> bool {
        use AluOp::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }
    /// Legal as a reduction (isa.md section 4, column "Reduction legal").
    pub fn is_reduction(self) -> bool {
        use AluOp::*;
        matches!(
            self,
            BitwiseAnd
                | BitwiseOr
                | BitwiseXor
                | Add
                | Subtract
                | Multiply
                | Maximum
                | Minimum
                | LogicalAnd
                | LogicalOr
                | LogicalXor
        )
    }
}
