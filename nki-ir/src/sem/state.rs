//! What an instruction reads and writes besides its operands: reduce registers, random numbers and the rounding mode.

use super::random::Random;
use crate::diag::{Code, Diagnostic};
use crate::op::{ActFn, AluOp, Engine, Op};
use crate::target::PARTITIONS;
use crate::tensor::Tensor;

/// Lanes of an engine.
pub const LANES: usize = PARTITIONS as usize;

/// The reduce registers of one engine: one float32 accumulator a lane (isa.md section 6). Lane `p` belongs to partition
/// `p` of an instruction's operands.
#[derive(Clone, Debug, PartialEq)]
pub struct Registers {
    pub values: [f32; LANES],
    /// Whether a lane holds a value that a later instruction may go on with.
    pub defined: [bool; LANES],
}

impl Default for Registers {
    fn default() -> Self {
        Registers { values: [0.0; LANES], defined: [false; LANES] }
    }
}

/// How float destinations round, for a whole run (isa.md 2.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// To nearest, ties to even.
    #[default]
    NearestEven,
    /// Stochastically, with random numbers that depend on this seed, on the instruction's
    /// [`salt`](super::Call::salt) and on the element's position: not on the order of execution.
    Stochastic { seed: u64 },
}

/// The state of a core between instructions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Reduce registers of ScalarE.
    pub scalar: Registers,
    /// Reduce registers of VectorE.
    pub vector: Registers,
    /// Random numbers of VectorE and GpSimdE.
    pub random: Random,
    pub rounding: Rounding,
    /// What the last register instruction wrote to its register: executors take it from here.
    pub register: Option<i64>,
    /// What `device_print` prints: executors take it from here.
    pub printed: Option<Tensor>,
    /// Verify what a matmul claims about its operands: 0/1 content, identity matrices (isa.md 9.1.1).
    pub check_claims: bool,
    /// The first argument of an activation outside the function's valid range: executors take it from here.
    pub outside: Option<Outside>,
}

/// An argument outside what hardware approximates (isa.md section 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outside {
    pub function: ActFn,
    pub argument: f32,
    /// In words.
    pub range: &'static str,
}

impl Outside {
    /// What to tell the author of the instruction.
    pub fn warning(self, op: Op) -> Diagnostic {
        let Outside { function, argument, range } = self;
        let message = format!("{op}: {function} of {argument:?}, which is outside {range}");
        Diagnostic::warning(Code::Parameter, message)
            .note("there the result is exact here and invalid on hardware (isa.md section 5)")
            .help("bring the argument into the range, or compute with the vector engine")
    }
}

impl State {
    /// The registers of `engine`, if it has any.
    pub(crate) fn registers(&mut self, engine: Engine) -> Option<&mut Registers> {
        match engine {
            Engine::Scalar => Some(&mut self.scalar),
            Engine::Vector => Some(&mut self.vector),
            _ => None,
        }
    }
}

/// The value that a reduction by `op` starts from (isa.md section 6).
pub fn identity(op: AluOp) -> f32 {
    match op {
        AluOp::Multiply => 1.0,
        AluOp::Maximum => f32::NEG_INFINITY,
        AluOp::Minimum | AluOp::AbsMin => f32::INFINITY,
        _ => 0.0,
    }
}

/// The rounding of one instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rounder {
    stream: Option<Stream>,
}

/// Random numbers by position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stream(u64);

impl Rounder {
    pub fn new(rounding: Rounding, salt: u64) -> Rounder {
        let stream = match rounding {
            Rounding::NearestEven => None,
            Rounding::Stochastic { seed } => Some(Stream(mix(seed ^ mix(salt)))),
        };
        Rounder { stream }
    }
    pub fn stream(&self) -> Option<Stream> {
        self.stream
    }
}

impl Stream {
    /// The number at `position`.
    pub fn number(self, position: u64) -> u32 {
        (mix(self.0.wrapping_add(position.wrapping_mul(GOLDEN))) >> 32) as u32
    }
}

/// The [`salt`](super::Call::salt) of an instruction of tile IR in one turn of the loops around it (values of the loop
/// variables, outermost first; the number of the turn for a `while` loop). Executors of the same kernel that use this
/// round alike, in whatever order they execute.
pub fn salt(inst: u32, turns: impl IntoIterator<Item = i64>) -> u64 {
    turns.into_iter().fold(mix(inst.into()), |s, t| mix(s ^ t as u64))
}

/// 2^64 divided by the golden ratio: the increment of the SplitMix64 generator, whose output function is [`mix`].
pub(super) const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(GOLDEN);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
