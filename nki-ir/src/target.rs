//! What each target is: sizes and legality (isa.md section 1). Time is `nki-sim`'s business.

use std::fmt;
use std::str::FromStr;

/// A machine to compile for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    Trn1,
    Inf2,
    Trn2,
    Trn3,
}

/// Generation of the NeuronCore: what is legal depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gen {
    Gen2 = 2,
    Gen3 = 3,
    Gen4 = 4,
}

impl Target {
    /// Every target.
    pub const ALL: [Target; 4] = [Target::Trn1, Target::Inf2, Target::Trn2, Target::Trn3];

    /// NeuronCore generation.
    pub fn generation(self) -> Gen {
        match self {
            Target::Trn1 | Target::Inf2 => Gen::Gen2,
            Target::Trn2 => Gen::Gen3,
            Target::Trn3 => Gen::Gen4,
        }
    }
    /// Command-line and text name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Trn1 => "trn1",
            Target::Inf2 => "inf2",
            Target::Trn2 => "trn2",
            Target::Trn3 => "trn3",
        }
    }
    /// SBUF bytes per partition that kernels may use (isa.md 1.2).
    pub fn sbuf_bytes_per_partition(self) -> u32 {
        match self.generation() {
            Gen::Gen2 => 180_224,
            Gen::Gen3 => 212_984,
            Gen::Gen4 => 245_752,
        }
    }
    /// HBM bytes that one core can reach locally (isa.md 1.2).
    pub fn hbm_bytes(self) -> u64 {
        match self.generation() {
            Gen::Gen2 => 32 << 30,
            Gen::Gen3 => 96 << 30,
            Gen::Gen4 => 144 << 30,
        }
    }
    /// Largest moving free size of a matmul into a destination of `dst_bytes` per element (isa.md 9.1.1 check 3).
    pub fn moving_fmax(self, dst_bytes: usize) -> u32 {
        if self.generation() == Gen::Gen4 {
            (PSUM_BYTES_PER_PARTITION as usize / dst_bytes) as u32
        } else {
            512
        }
    }
}

/// Partitions of SBUF and PSUM.
pub const PARTITIONS: u32 = 128;
/// Bytes per partition of one PSUM bank.
pub const PSUM_BANK_BYTES: u32 = 2048;
/// PSUM banks.
pub const PSUM_BANKS: u32 = 8;
/// PSUM bytes per partition.
pub const PSUM_BYTES_PER_PARTITION: u32 = PSUM_BANK_BYTES * PSUM_BANKS;
/// Largest stationary free size of a matmul.
pub const STATIONARY_FMAX: u32 = 128;

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Target {
    type Err = ();
    fn from_str(s: &str) -> Result<Self, ()> {
        Target::ALL.into_iter().find(|t| t.name() == s).ok_or(())
    }
}
