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
    REDUCE_RES = "G16", ReduceCmd, "reduce_res is one value per partition";
    REDUCE_UNDEFINED = "G16", ReduceCmd,
        "a running reduction starts with reset_reduce, reset or load_reduce on the same engine";
    UNARY_SCALAR = "G17", Operator, "an operator with one operand takes no scalar";
    UNIQUE_INST = "G19", Duplicate, "names of instructions are unique within a kernel";
    UNINITIALIZED = "G20", Uninitialized, "storage holds undefined data until an instruction or DMA writes it";

    // Memory and dynamic addressing.
    ELEMENTS = "3.2/3", AccessPattern,
        "an engine operand has at most 65536 elements per partition in SBUF and 4096 in PSUM (a matmul on trn3: all of PSUM)";
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
    IND_DTYPE = "3.6/1", Dtype, "offsets of columns are uint16, uint32 or int32";
    IND_INDEX = "3.6/1", Shape,
        "16 partitions (32 for the tensor engine) share a list of offsets that runs down the columns of an SBUF tile with the partitions of the gathered one";
    IND_START = "3.6/3", StartPartition, "a gathered tile starts at the partition of its index, which is a multiple of 32";
    IND_SCATTER = "3.6/4", Memory, "the scalar engine cannot scatter into PSUM";
    IND_MATMUL = "3.6/4", Parameter,
        "a matmul of gathered columns has 16-bit or FP8 operands and the whole array; a transposing one has a direct moving operand";
    IND_MX = "3.6/4", DynamicIndex, "MX data and its scales are gathered by one index, or neither is";
    IND_ACCUMULATE = "3.6/5", Accumulate, "a matmul that scatters says whether it overwrites or adds";
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

    MX_K = "9.1.2/1", Shape, "an MX matmul contracts over 32, 64, 96 or 128 partitions of four lanes each";
    MX_SHAPE = "9.1.2/2", Shape, "the product of stationary (K, M) and moving (K, N) is (M, N) with M even and at most 128";
    MX_N = "9.1.2/3", Shape, "one MX matmul streams at most as many columns as PSUM holds: 4096 float32, 8192 bfloat16";
    MX_DST = "9.1.2/3", Dtype, "an MX matmul accumulates in float32 or bfloat16";
    MX_DATA = "9.1.2/4", Dtype, "MX data is of a packed x4 type, its scales are float8_e8m0fnu or uint8";
    MX_SCALE = "9.1.2/4", Shape,
        "a scale tile has the data's columns and four rows in each quadrant of 32 partitions, one per 8 rows of data";
    MX_SCALE_START = "9.1.2/4", StartPartition,
        "scales start in the data's first quadrant, at offset 0, 4, 8 or 12 of it";
    MX_TILE = "9.1.2/5", Parameter, "an MX matmul takes row tiles of 32, 64 or 128, at multiples of their size, and all columns";

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

    ACTR_OP = "9.2.2/2", Operator, "activation_reduce sums";

    ACT2_PAIR = "9.2.3/1", Operator,
        "activate2 takes multiply then add or subtract, or one of multiply, add and subtract, or neither";
    ACT2_REVERSE = "9.2.3/3", Parameter, "only an operator that is there can be reversed";
    ACT2_IMM = "9.2.3/3", Form, "an operator has its operand, bypass has none";
    ACT2_REDUCE_OP = "9.2.3/4", Operator, "activate2 reduces with add, maximum, minimum, abs_max or abs_min";
    ACT2_REDUCE_CMD = "9.2.3/4", ReduceCmd,
        "activate2 takes idle, reset, reduce and reset_reduce, and a reduction needs reduce_op";

    RED_AXIS = "9.3.1/1", Parameter, "the reduced axes are the last free axes; axis 0 (partitions) is never one of them";
    RED_OP = "9.3.1/2", Operator, "the operator is not a reduction";
    RED_NEGATE = "9.3.1/3", Operator, "negate applies to arithmetic operators";
    RED_SHAPE = "9.3.1/4", Shape, "the result has the partitions of the data and one element for each kept position";

    TT_OPERATOR = "9.3.2/4", Operator, "GpSimd adds, subtracts, multiplies, compares, raises to powers and takes extrema";

    SCAN_OPERATOR = "9.3.3/3", Operator, "a scan takes arithmetic operators with two operands";

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

    CUM_OP0 = "9.3.7/1", Operator, "op0 is an arithmetic operator with two operands";
    CUM_OP1 = "9.3.7/1", Operator, "the running operator is add, subtract, multiply, maximum or minimum";
    CUM_DTYPE = "9.3.7/2", Dtype,
        "tensor_scalar_cumulative takes float32, bfloat16, float16, FP8 and 8 and 16 bit integers";
    CUM_CMD = "9.3.7/3", ReduceCmd,
        "tensor_scalar_cumulative takes reset_reduce, reduce and load_reduce; imm1 belongs to load_reduce";

    TCP_PREDICATE = "9.3.9/1", Dtype, "a predicate is uint8, uint16 or uint32";
    TCP_DTYPE = "9.3.9/2", Dtype, "a predicated copy moves bits and does not convert";

    MEMSET_KIND = "9.3.10/1", Dtype, "integer tiles are filled with an integer, float tiles with a number";
    MEMSET_RANGE = "9.3.10/2", Parameter, "the value must be in the range of the dtype";
    MEMSET_PACKED = "9.3.10/3", Parameter, "packed types can only be filled with 0";

    EXP_RANK = "9.3.11/1", AccessPattern, "exponential takes tiles of rank 4 at most";
    EXP_DTYPE = "9.3.11/3", Dtype,
        "exponential reads float8 (e4m3, e5m2), float16, bfloat16, float32 and integers, and writes the same but uint32, and tfloat32";
    EXP_CMD = "9.3.11/4", ReduceCmd,
        "exponential takes idle, reset_reduce, reduce and load_reduce; reduce_init belongs to load_reduce";

    RS_DTYPE = "9.3.14/1", Dtype, "range_select reads a float tile and float32 bounds";
    RS_OPERATOR = "9.3.14/2", Operator, "a range is tested with equal, less, less_equal, greater or greater_equal";
    RS_FALSE = "9.3.14/3", Parameter, "what is outside the range becomes the smallest float32, -3.4028235e38";
    RS_REDUCE_OP = "9.3.14/4", Operator, "range_select reduces with maximum";
    RS_START = "9.3.14/5", Parameter, "column numbers are float32: they stay within 2^24";
    RS_CMD = "G16", ReduceCmd, "range_select takes reset_reduce and reduce";

    SR_PREDICATE = "9.3.15/1", Dtype, "a predicate is bool, int8, uint8, int16 or uint16";
    SR_DTYPE = "9.3.15/2", Dtype, "select_reduce computes in float32: no tfloat32 and no 32-bit integers";
    SR_RES = "9.3.15/5", Dtype, "a maximum of floats is a float";
    SR_CMD = "9.3.15/7", ReduceCmd, "select_reduce takes idle, reset_reduce and reduce";
    SR_OPERATOR = "4/0", Operator, "select_reduce reduces with maximum";

    DROP_DTYPE = "9.3.16/1", Dtype, "dropout keeps the dtype";
    DROP_PROB = "9.3.16/2", Dtype, "a probability is a float, for integer data float32";

    BNS_COLUMNS = "9.3.17/1", Shape, "bn_stats takes up to 512 columns";
    BNS_DST = "9.3.17/2", Shape, "bn_stats writes 6 columns: count, mean and squared deviations, even and odd";
    BNS_PARTS = "9.3.17/3", Shape, "statistics are per partition";
    BNS_DTYPE = "9.3.17/4", Dtype, "statistics are floats";

    BNA_TRIPLES = "9.3.18/1", Shape, "bn_aggr reads triples: count, mean, squared deviations";
    BNA_DST = "9.3.18/2", Shape, "bn_aggr writes 2 columns: mean and variance";
    BNA_PARTS = "9.3.18/3", Shape, "statistics are per partition";

    MAX8_SIZE = "9.3.19/1", Shape, "max8 searches 8 to 16384 elements";
    MAX8_DST = "9.3.19/2", Shape, "max8 writes a tile [partitions, 8]";
    MAX8_RANK = "9.3.19/3", AccessPattern, "max8 reads a tile of rank 3 at most";

    FIND8_SIZE = "9.3.20/1", Shape, "nc_find_index8 searches 8 to 16384 elements";
    FIND8_EIGHT = "9.3.20/2", Shape, "values are sought eight at a time";
    FIND8_DTYPE = "9.3.20/3", Dtype, "indices are uint16 or uint32";
    FIND8_RANK = "9.3.20/4", AccessPattern, "nc_find_index8 reads a tile of rank 3 at most";

    MATCH8_SIZE = "9.3.21/1", Shape, "nc_match_replace8 searches up to 16384 elements";
    MATCH8_EIGHT = "9.3.21/2", Shape, "values are replaced eight at a time";
    MATCH8_DTYPE = "9.3.21/2", Dtype, "indices are uint16 or uint32";
    MATCH8_SHAPE = "9.3.21/3", Shape, "data and dst have one shape";
    MATCH8_IMM = "9.3.21/4", Parameter, "the replacement must be a value of dst's dtype";

    SHUFFLE_MASK = "9.3.22/1", Parameter, "a shuffle mask has 32 entries, 0 to 31, or 255 to keep a partition";
    SHUFFLE_DTYPE = "9.3.22/2", Dtype, "a shuffle moves bits and does not convert";
    SHUFFLE_SIZE = "9.3.22/3", Shape, "a shuffle moves whole rows";
    SHUFFLE_START = "9.3.22/4", StartPartition,
        "both sides of a shuffle start where a tile of as many quadrants as the larger one may start";
    SHUFFLE_SOURCE = "9.3.22/5", Parameter, "a shuffle reads partitions of its source only";

    RNG_DTYPE = "9.5/1", Dtype, "random bits are integers of 8, 16 or 32 bits";
    RAND_RANGE = "9.5/3", Parameter, "min is smaller than max";
    RAND_DTYPE = "9.5/4", Dtype, "rand2 writes float8 (e4m3, e5m2), float16, bfloat16, float32, tfloat32 and integers";
    SET_STATE_WORDS = "9.5/5", Shape, "a lane's state is 6 words on GpSimd and 24 on the vector engine";
    SET_STATE_FORM = "9.5/6", Dtype, "the state is a two-dimensional tile of uint32";
    GET_STATE_WORDS = "9.5/7", Shape, "a lane's state is 6 words on GpSimd and 24 on the vector engine";
    GET_STATE_FORM = "9.5/7", Dtype, "the state is a two-dimensional tile of uint32";
    SEED_FORM = "9.5/9", Shape, "a seed is one 32-bit element";
    QMX_PARTS = "9.3.13/1", Shape, "quantize_mx works on 32, 64, 96 or 128 partitions: 8 of them share a scale";
    QMX_N = "9.3.13/2", Shape, "quantize_mx packs four consecutive elements into one";
    QMX_DST = "9.3.13/3", Shape, "quantised data has the partitions of the source and a quarter of its columns";
    QMX_SCALE = "9.3.13/4", Shape,
        "a scale tile has the columns of the packed data and four rows in each quadrant of 32 partitions";
    QMX_OFFSET = "9.3.13/5", StartPartition, "scales start at offset 0, 4, 8 or 12 of a quadrant";
    QMX_QUADRANT = "9.3.13/6", StartPartition, "data and scales lie in the same quadrants";
    QMX_DTYPE = "9.3.13/7", Dtype,
        "quantize_mx makes float8_e5m2_x4 or float8_e4m3fn_x4 of 16-bit floats, with float8_e8m0fnu or uint8 scales";

    TPR_OP = "9.4.1/1", Operator, "partitions reduce with add, average, maximum, bitwise_or or bitwise_and";
    TPR_SHAPE = "9.4.1/2", Shape, "a reduction across partitions gives one row with the columns of the data";

    IOTA_SIZE = "9.4.2/1", Shape, "the pattern names every element of a partition: the product of its counts";
    IOTA_PAIRS = "9.4.2/2", Parameter, "a pattern has 1 to 4 [step, count] pairs with counts of at least 1";
    IOTA_RANGE = "9.4.2/3", Parameter, "offset, multiplier and steps are 32-bit integers";

    SELECT_SIZE = "9.4.3/1", Shape, "the pattern names every element of a partition: the product of its counts";
    SELECT_CMP = "9.4.3/2", Operator, "cmp_op is a comparison";

    SEQ_ROW = "9.4.4/1", Shape, "segment ids and their bounds are one row each";
    SEQ_SIZE = "9.4.4/2", Shape, "n ids have n begins and n ends: (1, 2, n)";
    SEQ_DTYPE = "9.4.4/3", Dtype, "segment ids and bounds are float32 or int32";

    LG_PARTS = "9.4.5/1", Shape, "local_gather works on groups of 16 partitions, the same for source, index and destination";
    LG_EACH = "9.4.5/2", Parameter, "an index takes 1, 2, 4, 8, 16 or 32 elements";
    LG_VALID = "9.4.5/3", Parameter, "a group of 16 partitions uses at most 4096 indices, and no more than its index rows hold";
    LG_INDEX = "9.4.5/4", Dtype, "indices of local_gather are uint16";
    LG_DTYPE = "9.4.5/5", Dtype, "a gather keeps the dtype";
    LG_SIZE = "9.4.5/6", Shape, "a row of the destination holds num_valid_indices * num_elem_per_idx elements";

    NG_PARTS = "9.4.6/1", Shape, "data, indices and destination of nc_n_gather have the same partitions";
    NG_SIZE = "9.4.6/2", Shape, "a gather gives one element for each index";
    NG_DTYPE = "9.4.6/3", Dtype, "a gather keeps the dtype";
    NG_INDEX = "9.4.6/4", Dtype, "indices of nc_n_gather are uint32";

    NZ_DTYPE = "9.4.7/1", Dtype, "nonzero_with_count finds positions (int32) in float32 or int32 rows";
    NZ_SIZE = "9.4.7/2", Shape, "a row of n elements has n positions and their count: n + 1 columns";
    NZ_PARTS = "9.4.7/3", Shape, "positions lie in the partitions of the source";
    NZ_RANGE = "9.4.7/4", Parameter, "index_offset and padding_val are 32-bit integers";

    TK_PARTS = "9.4.8/1", Shape, "topk works on groups of 16 partitions, the same for source, values and indices";
    TK_N = "9.4.8/2", Parameter, "topk searches 8 to 65535 elements";
    TK_K = "9.4.8/3", Shape, "topk finds 1 to 32767 elements, no more than it searches";
    TK_SRC = "9.4.8/4", Shape, "16 partitions hold the n elements: ceil(n / 16) columns";
    TK_DTYPE = "9.4.8/5", Dtype, "topk takes bfloat16 and gives bfloat16 values and uint32 indices";

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

    DT_SHAPE = "9.6.2/1", Shape, "the destination has the source's shape with the first and the last axis exchanged";
    DT_AXES = "9.6.2/1", Parameter, "axes are [1, 0], [2, 1, 0] or [3, 1, 2, 0], by the rank of the source";
    DT_DTYPE = "9.6.2/1", Dtype, "a transpose keeps the dtype";
    DT_WIDTH = "9.6.2/2", Dtype, "transfers transpose 2 byte elements; with open descriptors and a direct source also 4 byte elements";
    DT_HWDGE = "9.6.2/3", Parameter,
        "by hardware descriptors a transpose takes a leading size of 16 (of 2 axes) or a power of two up to 16, blocks of 16 rows, and at most 128 columns";
    DT_MODE = "9.6.2/3", Target, "hardware descriptors need trn2 or later";
    DT_INDEX = "9.6.2/4", DynamicIndex,
        "an indirect transpose takes up to 128 columns of a multiple of 16 rows of an HBM tensor, listed down the columns of a uint32 tile";
    DT_INDEX_TARGET = "9.6.2/4", Target, "indirect transposes need trn2 or later";
    DT_SKIP = "9.6.2/5", Parameter, "oob_mode skip needs a dynamic source";

    CB_SHARED = "9.8.1/1", Memory, "a barrier orders the accesses to a whole tensor that both programs see: an output or inout";
    CB_CORES = "9.8.1/2", Parameter, "the cores of a logical core are (0, 1)";
    CB_PROGRAMS = "9.8.1/3", Parameter, "a barrier is between the two programs of a logical core";
    CB_BUFFER = "9.8.1/5", Form, "`buffer` is the number of the barrier's tensor in the kernel";
    SEND_ALIKE = "9.8.2/1", Shape, "what is sent and what is received have one dtype and shape, in SBUF";
    SEND_RANK = "9.8.2/2", Parameter, "the ranks of a logical core are 0 and 1";
    SEND_SIZE = "9.8.2/3", Parameter,
        "GpSimd's own DMA exchanges up to 1024 bytes a partition of 32-bit elements, 512 of 16-bit, 256 of 8-bit";
    SEND_PROGRAMS = "9.8.2/4", Parameter, "tiles are exchanged by the two programs of a logical core";
    DC_COUNT = "9.6.3/1", Shape, "every source of dma_compute has as many elements as the destination";
    DC_OP = "9.6.3/2", Operator, "the DMA engines add";
    DC_SCALES = "9.6.3/2", Parameter, "the DMA engines do not scale: scales is 1.0";
    DC_INDEX = "9.6.3/3", DynamicIndex,
        "with an index tile, dma_compute adds an SBUF tile to rows of an HBM tensor in place, or such rows to a tile in place";
    DC_UNIQUE = "9.6.3/3", Parameter, "rows by index are added with unique_indices";
    DC_STATIC = "9.6.3/4", DynamicIndex, "without an index tile, dma_compute has static addresses";
    DC_SKIP = "9.6.3/5", Parameter, "oob_mode skip needs rows by an index tile";
}

/// Rules that another rule covers: the rule's number, and the number of the one that reports it.
pub static COVERED: &[(&str, &str)] = &[
    ("9.1.1/11", "G15"),
    ("9.2.1/1", "G3"),
    ("9.2.1/6", "G15"),
    ("9.2.2/1", "9.2.1/2"),
    ("9.2.3/2", "G10"),
    ("9.2.3/5", "G3"),
    ("9.3.2/1", "G3"),
    ("9.3.2/2", "G7"),
    ("9.3.2/3", "G6"),
    ("9.3.2/5", "G15"),
    ("9.3.3/1", "G3"),
    ("9.3.3/2", "G7"),
    ("9.3.3/4", "G10"),
    ("9.3.4/1", "G3"),
    ("9.3.4/2", "G7"),
    ("9.3.4/4", "G3"),
    ("9.3.5/1", "G3"),
    ("9.3.5/4", "G10"),
    ("9.3.5/6", "G15"),
    ("9.3.6/5", "G3"),
    ("9.3.7/4", "G3"),
    ("9.3.8/1", "G3"),
    ("9.3.8/2", "G6"),
    ("9.3.8/3", "G14"),
    ("9.3.8/4", "G15"),
    ("9.3.9/3", "G3"),
    ("9.3.9/4", "G7"),
    ("9.3.9/5", "G15"),
    ("9.3.10/4", "G6"),
    ("9.3.11/2", "G3"),
    ("9.3.11/5", "G15"),
    ("9.3.12/1", "G3"),
    ("9.3.14/6", "G3"),
    ("9.3.15/3", "G10"),
    ("9.3.15/4", "G7"),
    ("9.3.15/6", "G3"),
    ("9.3.16/3", "G3"),
    ("9.5/2", "G6"),
    ("9.5/8", "G6"),
    ("9.1.2/6", "G15"),
    ("9.4.1/3", "G9"),
    ("9.4.2/4", "G6"),
    ("9.4.3/4", "G6"),
    ("9.6.1/1", "G5"),
];

/// Rules that are not checked here, and why.
pub static NOT_CHECKED: &[(&str, &str)] = &[
    ("G18", "shapes, patterns, axes and tile positions are numbers by the types of the IR"),
    ("9.4.3/3", "on_false_value is a float32 by the type of its attribute"),
    ("9.8.1/4", "where the other program waits shows when both run: nki::deadlock in every mode"),
    ("9.8.2/5", "what the other program sends shows when both run: nki::deadlock in every mode"),
];

/// The numbered checks of a section of isa.md in their order, each with the rule that reports it; `None` for what is not
/// checked here. A check that another rule covers comes with that rule.
pub fn of_section(section: &str) -> Vec<(&'static str, Option<&'static Rule>)> {
    let own = |id: &str| id.strip_prefix(section).is_some_and(|rest| rest.starts_with('/'));
    let mut out: Vec<(&'static str, Option<&'static Rule>)> =
        ALL.iter().filter(|r| own(r.id)).map(|r| (r.id, Some(*r))).collect();
    for (id, by) in COVERED.iter().filter(|c| own(c.0)) {
        out.push((id, ALL.iter().find(|r| r.id == *by).copied()));
    }
    out.extend(NOT_CHECKED.iter().filter(|n| own(n.0)).map(|n| (n.0, None)));
    let number = |id: &str| id.rsplit('/').next().and_then(|n| n.parse::<u32>().ok());
    out.sort_by_key(|x| number(x.0));
    out
}

/// Rules that hold for every instruction: the generic ones, and those on access patterns, dynamic indices and operators.
pub fn generic() -> impl Iterator<Item = &'static Rule> {
    let everywhere = |id: &str| ["G", "3.", "4/"].iter().any(|p| id.starts_with(p));
    ALL.iter().copied().filter(move |r| everywhere(r.id))
}
