//! Random numbers (isa.md 9.5).

use super::columns::*;

pub(super) const ROWS: &[OpRow] = &[
    OpRow {
        op: Op::Rng,
        name: "rng",
        section: "9.5",
        engines: &[(Engine::Vector, Gen2), (Engine::GpSimd, Gen3)],
        operands: &[dst(SP, Tile)],
        attrs: &[],
        timing: TimingClass::PerElement,
        summary: "random bits",
    },
    OpRow {
        op: Op::Rand2,
        name: "rand2",
        section: "9.5",
        engines: &[(Engine::Vector, Gen4)],
        operands: &[dst(SP, Tile), src("min", SP, ScalarOrVec), src("max", SP, ScalarOrVec)],
        attrs: &[],
        timing: TimingClass::Random,
        summary: "uniform random numbers between two bounds",
    },
    OpRow {
        op: Op::RandSetState,
        name: "rand_set_state",
        section: "9.5",
        engines: &[(Engine::GpSimd, Gen3), (Engine::Vector, Gen4)],
        operands: &[src("src_seeds", S, Free)],
        attrs: &[],
        timing: TimingClass::PerElement,
        summary: "load the state of each lane's random number generator",
    },
    OpRow {
        op: Op::RandGetState,
        name: "rand_get_state",
        section: "9.5",
        engines: &[(Engine::GpSimd, Gen3), (Engine::Vector, Gen4)],
        operands: &[dst(SP, Free)],
        attrs: &[],
        timing: TimingClass::PerElement,
        summary: "store the state of each lane's random number generator",
    },
    OpRow {
        op: Op::SetRngSeed,
        name: "set_rng_seed",
        section: "9.5",
        engines: &[(Engine::Vector, Gen2)],
        operands: &[src("src_seeds", SP, Free)],
        attrs: &[],
        timing: TimingClass::PerElement,
        summary: "seed the vector engine's random numbers",
    },
];
