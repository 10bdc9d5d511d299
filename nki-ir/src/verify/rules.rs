//! The rules of isa.md as data: for each the code it is reported under and the fact behind it, in words for kernel authors.
//!
//! The first text of a row is the rule's number in isa.md (`G7`, `9.1.1/4`; `3.5/1` is item 1 of section 3.5). A rule that
//! needs two codes has two rows. Rules that another rule already covers are in [`COVERED`]; rules about things that the
//! typed IR cannot say, or that only show while running, are in [`NOT_CHECKED`] with the reason. A test holds the three
//! lists against the numbering of isa.md for every operation of the op table.

use crate::diag::Code;

/// A rule of the gate.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// Name in the code.
    pub name: &'static str,
    /// Number in isa.md.
    pub id: &'static str,
    pub code: Code,
    /// Where the limit comes from, for users.
    pub fact: &'static str,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $code:ident, $fact:literal;)*) => {
        $(pub static $name: Rule = Rule { name: stringify!($name), id: $id, code: Code::$code, fact: $fact };)*
        /// Every rule that is checked.
        pub static ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    // Structure of the IR; the numbers are those of `verify`'s own list of invariants.
    TREE = "S1", Form, "regions, loops and instructions form a tree: each has one place in the program";
    TABLE_FORM = "S2", Form, "an instruction has exactly the operands and attributes of its row in the op table";
    ENTITY = "S3", Form, "an instruction refers to buffers, variables and registers of its own kernel";
    UNDEFINED = "S4", Undefined, "a buffer is usable from its allocation onwards";
    ESCAPE = "S4", Escape, "a tile allocated in a loop body or branch exists only there; every turn has a fresh one";
    VAR_SCOPE = "S4", Undefined, "a loop variable has a value only inside its loop";
    UNIQUE_BUF = "S5", Duplicate, "names of buffers are unique within a kernel";
    ZERO_DIM = "S6", Shape, "every dimension has at least one element";
    BUF_RANK = "S6", Shape, "SBUF and PSUM tiles have a partition dimension and at least one free dimension";
    ARG_SPACE = "S6", Memory, "inputs and outputs of a kernel are HBM tensors";
    LOOP_FORM = "S7", Parameter, "loops count up by a positive step between 32-bit bounds";
    VIEW_FORM = "S8", Form, "a slice has one start, count and step for each axis of its buffer";
    REGISTER = "9.7/1", Uninitialized, "a register holds nothing until an instruction writes it";
    REG_DTYPE = "9.7/2", Dtype, "a register holds an integer of at most 32 bits, or a float32, and is set to values of its dtype";
    REG_ELEMENT = "9.7/3", Shape, "a register is loaded from, and stored to, exactly one element";
    REG_VALUE = "9.7/4", Parameter, "a register holds at most 32 bits";
    REG_USE = "9.7/5", Dtype, "loop bounds, conditions and offsets are integers";
    DYNAMIC_ORDER = "11.3/5", ControlFlow, "loops and branches on registers do not fit into a block that keeps its order";

    // Generic rules.
    PARTITIONS = "G1", Partition, "SBUF and PSUM have 128 partitions; dimension 0 of a tile runs over them";
    START_PARTITION = "G2", StartPartition,
        "engines reach 65 to 128 partitions from partition 0, 33 to 64 from 0 or 64, and up to 32 from 0, 32, 64 or 96";
    PAIRING = "G3", Shape,
        "tiles that pair element by element need the same partitions and the same number of elements per partition";
    VEC_SHAPE = "G3", Shape, "a per-partition operand has the partitions of the instruction and one element in each";
    PATTERN = "G4", AccessPattern,
        "an engine reads a tile with at most 4 nested [stride, count] pairs, counts up to 65535 and strides that fit 16 bits";
    BOUNDS = "G4", OutOfBounds, "an access stays inside its buffer for every value of the loop variables";
    MEMORY = "G5", Memory, "compute instructions reach SBUF and PSUM, DMA reaches HBM and SBUF";
    MEMORY_ENGINE = "G6", Memory, "GpSimd cannot reach PSUM; the tensor engine reads SBUF and writes PSUM";
    ONE_PSUM_INPUT = "G7", Memory, "the vector engine streams at most one of its two input tiles from PSUM";
    TARGET_OP = "G8", Target, "the instruction does not exist on this generation";
    TARGET_DTYPE = "G8", Target, "float8_e4m3fn, float8_e8m0fnu and packed types are for NeuronCore-v4 (trn3)";
    TARGET_OPERATOR = "G8", Target, "abs_max, abs_min, square and relu are operators of NeuronCore-v4 (trn3)";
    BITVEC_INTEGER = "G9", Dtype, "bitwise operators and shifts work on integers of one width";
    ONE_FAMILY = "G9", Operator, "one instruction does not mix bitwise and arithmetic operators";
    SCALAR_F32 = "G10", Dtype, "scalar and per-partition operands of arithmetic instructions are float32";
    SCALAR_EXACT = "G10", Parameter, "an integer immediate must be representable in float32 without rounding";
    PACKED = "G11", Dtype, "packed x4 types are for MX matrix products, quantisation, memset(0) and DMA without conversion";
    DST_DISTINCT = "G12", Overlap, "a destination addresses each element at most once";
    DST_INPUT = "G12", Overlap, "a destination may be exactly an input's view, but may not overlap it in part";
    SBUF = "G13", SbufCapacity, "tiles that are live at the same time share one SBUF";
    PSUM = "G13", PsumCapacity, "tiles that are live at the same time share the 8 PSUM banks of 2 KiB per partition";
    PSUM_TILE = "G13", PsumCapacity, "a PSUM tile has at most 16 KiB per partition";
    HBM = "G13", HbmCapacity, "all tensors of a kernel live in the HBM of one device";
    ENGINE = "G14", Engine, "an instruction runs on the engines of its row in the op table";
    INDIRECT = "G15", DynamicIndex,
        "gather and scatter by an index tile exist on NeuronCore-v4 (trn3), for the operands that support it";
    INDIRECT_LIMIT = "G15", Limit, "on-chip gather and scatter operands are not implemented";
    REDUCE_RES = "G16", ReduceCmd, "reduce_res is one value per partition";
    REDUCE_UNDEFINED = "G16", ReduceCmd,
        "a running reduction starts with reset_reduce, reset or load_reduce on the same engine";
    UNARY_SCALAR = "G17", Operator, "an operator with one operand takes no scalar";
    UNIQUE_INST = "G19", Duplicate, "names of instructions are unique within a kernel";
    UNINITIALIZED = "G20", Uninitialized, "storage holds undefined data until an instruction or DMA writes it";

    // Memory and dynamic addressing.
    ELEMENTS = "3.2/3", AccessPattern, "an engine operand has at most 65536 elements per partition in SBUF and 4096 in PSUM";
    PSUM_ADDRESS = "3.3/4", PsumBank, "a placed PSUM tile starts at a bank boundary (a multiple of 2048 bytes)";
    ADDRESS = "3.4/2", OutOfBounds, "a placed tile lies inside its memory";
    INPUT_WRITE = "3.4/3", ReadOnly, "arguments are read-only unless the kernel declares them as inout";
    OUTPUT_WRITE = "3.4/4", OutputNotWritten, "an output starts undefined; every element must be written";
    DYNAMIC_OP = "3.5/5", DynamicIndex, "only dma_copy, tensor_copy and register instructions take a dynamic index";
    DYNAMIC_AXIS = "3.5/0", DynamicIndex, "a dynamic index moves along an axis of its tensor; on chip never along partitions";
    DYNAMIC_TILE = "3.5/0", DynamicIndex, "a dynamic index is a register or one element of an SBUF tile";
    DYNAMIC_NESTED = "3.5/1", DynamicIndex, "a view has at most one dynamic index";
    DYNAMIC_DTYPE = "3.5/2", Dtype, "a dynamic index is uint32 or int32";
    DYNAMIC_MODE = "3.5/3", DynamicIndex, "a transfer with a dynamic index needs descriptors made at run time";
    // Operators.
    UNARY_PLACE = "4/2", Operator, "operators with one operand are accepted only as op0";
    BITVEC_WIDTH = "4/7", Dtype, "all operands of a bitwise instruction have the same width";
    OPERATOR_ENGINE = "4/0", Operator, "power and rsqrt run on GpSimd only; average and bypass are not operators here";

    MM_K = "9.1.1/1", Shape, "stationary and moving have the contraction (K <= 128) on their partitions";
    MM_SHAPE = "9.1.1/2", Shape, "the product of stationary (K, M) and moving (K, N) is (M, N) with M <= 128";
    MM_N = "9.1.1/3", Shape,
        "one matmul streams at most 512 columns; on trn3 as many as PSUM holds (4096 float32, 8192 bfloat16)";
    MM_BANK = "9.1.1/4", PsumBank, "a PSUM bank holds 2 KiB per partition (512 float32); a matmul result lies inside one bank";
    MM_FP32 = "9.1.1/5", Dtype, "float32 and tfloat32 multiply only with each other";
    MM_FP8 = "9.1.1/6", Dtype, "float8_e4m3 and float8_e4m3fn do not meet in one matmul";
    MM_INPUT = "9.1.1/6", Dtype, "the tensor engine multiplies float8, bfloat16, float16, tfloat32 and float32";
    MM_DST = "9.1.1/7", Dtype, "a matmul accumulates in float32 (on trn3 also in bfloat16)";
    MM_TRANSPOSE_DST = "9.1.1/7", Dtype, "a transposing matmul keeps the width of its input";
    MM_DOUBLE_ROW = "9.1.1/8", Parameter,
        "double_row needs trn2 or later, two FP8 operands of shape (K, 2, n), the full column tile and no transpose";
    MM_TILE = "9.1.1/9", Parameter,
        "the array splits into row and column tiles of 128, 64 or 32 (not 32 on trn1) at multiples of their size";
    MM_TILE_START = "9.1.1/9", StartPartition,
        "SBUF partition p feeds row p of the array, and column m of the array writes PSUM partition m";
    MM_ACCUMULATE = "9.1.1/10", Accumulate, "a matmul can add only to what a matmul has written before";
    MM_IDENTITY = "9.1.1/12", Shape, "a transposing matmul takes a square identity as moving operand";
    MM_TRANSPOSE_ADD = "9.1.1/12", Accumulate, "a transposing matmul always overwrites";
    ACC_AUTO = "13/6", Accumulate, "every matmul says whether it overwrites or adds";
    ACC_MIXED = "13/3", Accumulate, "one matmul either overwrites or adds on all of its destination";
    ACC_LOOP = "13/4", Accumulate,
        "over the turns of a loop on registers, every matmul says whether it overwrites or adds";
    ACC_READ = "13/1", Accumulate, "reading a finished tile does not start a new sum";
    ACC_LIMIT = "13/7", Limit, "automatic accumulation is followed for up to 131072 steps per tile";
    ACC_VARS = "13/0", Accumulate, "overwriting in the first turn refers to counted loops around the matmul";

    TR_SIZE = "9.1.3/1", Shape,
        "the tensor engine transposes up to 128 x 128 elements from SBUF to PSUM, the vector engine up to 32 x 32";
    TR_SHAPE = "9.1.3/2", Shape, "the transpose of (P, N) is (N, P)";
    TR_DTYPE = "9.1.3/2", Dtype, "a transpose keeps the dtype";
    TR_FLOAT = "9.1.3/3", Dtype,
        "the tensor engine transposes 2 and 4 byte types (integers from trn2 on), never 1 byte types";

    ACT_FN = "9.2.1/2", Operator, "prelu has a slope, which activation does not take";
    ACT_RECIPROCAL = "9.2.1/2", Target, "on trn1 the reciprocal activation takes no bias";
    ACT_BIAS_SHAPE = "9.2.1/3", Shape, "a bias is one value per partition";
    ACT_BIAS_SCALAR = "9.2.1/3", Target, "an immediate bias needs trn2 or later";
    ACT_BIAS_DTYPE = "9.2.1/3", Dtype, "a bias has any dtype but tfloat32";
    ACT_SCALE = "9.2.1/4", Dtype, "a scale is float32";
    ACT_REDUCE_OP = "9.2.1/5", Operator, "the scalar engine reduces with add";
    ACT_REDUCE_CMD = "9.2.1/5", ReduceCmd, "activation takes idle, reset, reduce and reset_reduce, and a reduction needs reduce_op";

    RED_AXIS = "9.3.1/1", Parameter, "the reduced axes are the last free axes; axis 0 (partitions) is never one of them";
    RED_OP = "9.3.1/2", Operator, "the operator is not a reduction";
    RED_NEGATE = "9.3.1/3", Operator, "negate applies to arithmetic operators";
    RED_SHAPE = "9.3.1/4", Shape, "the result has the partitions of the data and one element for each kept position";

    TT_OPERATOR = "9.3.2/4", Operator, "GpSimd adds, subtracts, multiplies, compares, raises to powers and takes extrema";

    STT_OPERATOR = "9.3.4/3", Operator, "scalar_tensor_tensor takes arithmetic operators with two operands";

    TS_OPERAND = "9.3.5/2", Form, "an operator with two operands has a scalar operand, any other has none";
    TS_ENGINE_FAMILY = "9.3.5/3", Engine, "bitwise operators run on the vector engine";
    TS_ENGINE = "9.3.5/5", Engine,
        "on trn2 the scalar engine takes (multiply, add), multiply or add, on trn3 also subtract and extrema; GpSimd takes rsqrt and power";

    TSR_OP0 = "9.3.6/1", Operator, "op0 is an arithmetic operator";
    TSR_OP = "9.3.6/2", Operator, "the reduction is add, multiply, maximum or minimum";
    TSR_CMD = "9.3.6/3", ReduceCmd,
        "tensor_scalar_reduce takes reset_reduce, reduce and load_reduce; reduce_init belongs to load_reduce";
    TSR_REVERSE = "9.3.6/4", Parameter, "reverse0 is not supported by this instruction";

    MEMSET_KIND = "9.3.10/1", Dtype, "integer tiles are filled with an integer, float tiles with a number";
    MEMSET_RANGE = "9.3.10/2", Parameter, "the value must be in the range of the dtype";
    MEMSET_PACKED = "9.3.10/3", Parameter, "packed types can only be filled with 0";

    IOTA_SIZE = "9.4.2/1", Shape, "the pattern names every element of a partition: the product of its counts";
    IOTA_PAIRS = "9.4.2/2", Parameter, "a pattern has 1 to 4 [step, count] pairs with counts of at least 1";
    IOTA_RANGE = "9.4.2/3", Parameter, "offset, multiplier and steps are 32-bit integers";

    SELECT_SIZE = "9.4.3/1", Shape, "the pattern names every element of a partition: the product of its counts";
    SELECT_CMP = "9.4.3/2", Operator, "cmp_op is a comparison";

    DMA_COUNT = "9.6.1/2", Shape, "source and destination have the same number of elements";
    DMA_CAST = "9.6.1/3", Dtype, "hardware descriptors never convert, and packed types are never converted";
    DMA_VECTOR = "9.6.1/4", DynamicIndex,
        "a row gather or scatter has an HBM tensor and one index per row in an SBUF tile (P, 1), with software descriptors";
    DMA_TWO_VECTORS = "9.6.1/5", DynamicIndex, "one side of a transfer can gather or scatter rows";
    DMA_SKIP = "9.6.1/6", Parameter, "oob_mode skip needs a dynamic index";
    DMA_HWDGE = "9.6.1/7", Target, "hardware descriptors need trn2 or later";
    DMA_ENGINE = "9.6.1/7", Engine, "hardware descriptors are issued by sync or scalar, and only they have an issuing engine";
    DMA_PRIORITY = "9.6.1/8", Parameter, "a priority is 0 (highest) to 3";
    DMA_PRIORITY_TARGET = "9.6.1/8", Target, "transfer priorities need trn3";
}

/// Rules that another rule covers: the rule's number, and the number of the one that reports it.
pub static COVERED: &[(&str, &str)] = &[
    ("9.1.1/11", "G15"),
    ("9.2.1/1", "G3"),
    ("9.2.1/6", "G15"),
    ("9.3.2/1", "G3"),
    ("9.3.2/2", "G7"),
    ("9.3.2/3", "G6"),
    ("9.3.2/5", "G15"),
    ("9.3.4/1", "G3"),
    ("9.3.4/2", "G7"),
    ("9.3.4/4", "G3"),
    ("9.3.5/1", "G3"),
    ("9.3.5/4", "G10"),
    ("9.3.5/6", "G15"),
    ("9.3.6/5", "G3"),
    ("9.3.8/1", "G3"),
    ("9.3.8/2", "G6"),
    ("9.3.8/3", "G14"),
    ("9.3.8/4", "G15"),
    ("9.3.10/4", "G6"),
    ("9.3.12/1", "G3"),
    ("9.4.2/4", "G6"),
    ("9.4.3/4", "G6"),
    ("9.6.1/1", "G5"),
];

/// Rules that are not checked here, and why.
pub static NOT_CHECKED: &[(&str, &str)] = &[
    ("G18", "shapes, patterns, axes and tile positions are numbers by the types of the IR"),
    ("9.4.3/3", "on_false_value is a float32 by the type of its attribute"),
];
