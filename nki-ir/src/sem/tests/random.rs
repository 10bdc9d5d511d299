//! Random numbers against Marsaglia's definition of XORWOW (isa.md 9.5).

// Indices as in the equations.
#![allow(clippy::needless_range_loop)]

use super::harness::*;
use crate::op::Engine;
use crate::sem::{State, cast};
use crate::target::Gen;
use crate::{Code, DType, Op};
use proptest::prelude::*;

/// The generator as the paper prints it, on `x y z w v d`.
struct Xorwow([u32; 6]);

impl Xorwow {
    fn next(&mut self) -> u32 {
        let [x, y, z, w, v, d] = self.0;
        let t = x ^ (x >> 2);
        let new = (v ^ (v << 4)) ^ (t ^ (t << 1));
        self.0 = [y, z, w, v, new, d.wrapping_add(362437)];
        self.0[5].wrapping_add(new)
    }
}

fn words(parts: usize, n: usize) -> impl Strategy<Value = Tile> {
    prop::collection::vec(prop::collection::vec(any::<u32>(), n), parts)
        .prop_map(|bits| Tile { dtype: DType::U32, bits })
}

fn set(state: &mut State, engine: Engine, seeds: &Tile) {
    let case = Case::new(Op::RandSetState, seeds.clone()).engine(engine).generation(Gen::Gen4);
    case.run_on(state).expect("legal");
}

fn get(state: &mut State, engine: Engine, parts: usize) -> Tile {
    let n = if engine == Engine::Vector { 24 } else { 6 };
    let case = Case::new(Op::RandGetState, Tile::filled(DType::U32, parts, n, 0)).engine(engine);
    case.generation(Gen::Gen4).run_on(state).expect("legal").remove(0)
}

proptest! {
    /// Bits, low ones first to fit the destination, from one generator on GpSimd and from four in turn on gen4's VectorE.
    #[test]
    fn rng_draws_from_the_state(
        (seeds, n) in (1usize..5, 1usize..20, any::<bool>()).prop_flat_map(|(p, n, v)| (words(p, if v { 24 } else { 6 }), Just(n))),
        d in integer_dtype(),
        layouts in five_layouts(),
    ) {
        let (parts, streams) = (seeds.parts(), seeds.n() / 6);
        let engine = if streams == 4 { Engine::Vector } else { Engine::GpSimd };
        let mut state = State::default();
        set(&mut state, engine, &seeds);
        prop_assert_eq!(&get(&mut state, engine, parts), &seeds);
        let mut model: Vec<Vec<Xorwow>> = seeds.bits.iter()
            .map(|row| row.chunks(6).map(|c| Xorwow(c.try_into().expect("six words"))).collect()).collect();
        for _ in 0..2 {
            let case = Case::new(Op::Rng, Tile::filled(d, parts, n, 0)).engine(engine).generation(Gen::Gen4);
            let got = case.layouts(layouts).run_on(&mut state).expect("legal").remove(0);
            let keep = u32::MAX >> (32 - 8 * d.bytes());
            let want: Vec<Vec<u32>> = model.iter_mut()
                .map(|lane| (0..n).map(|k| lane[k % streams].next() & keep).collect()).collect();
            prop_assert_eq!(&got.bits, &want);
        }
        let left: Vec<Vec<u32>> = model.iter().map(|lane| lane.iter().flat_map(|g| g.0).collect()).collect();
        prop_assert_eq!(get(&mut state, engine, parts).bits, left);
    }

    /// isa.md 9.3.16 and `rand2`: the same draws, as fractions.
    #[test]
    fn dropout_and_rand2(
        (seeds, data, prob) in (small_shape(), any_dtype())
            .prop_flat_map(|((p, n), d)| (words(p, 24), tile(d, p, n), prop::collection::vec(-0.5f32..1.5, p))),
        d in any_dtype(),
    ) {
        let (parts, n) = (data.parts(), data.n());
        let draws: Vec<Vec<f64>> = seeds.bits.iter().map(|row| {
            let mut lanes: Vec<Xorwow> = row.chunks(6).map(|c| Xorwow(c.try_into().expect("six words"))).collect();
            (0..n).map(|k| f64::from(lanes[k % 4].next()) / 2f64.powi(32)).collect()
        }).collect();
        let mut state = State::default();
        set(&mut state, Engine::Vector, &seeds);
        let column = |v: &[f32]| Tile::rounded(DType::F32, &v.iter().map(|x| vec![*x]).collect::<Vec<_>>());
        let case = Case::new(Op::Dropout, Tile::filled(data.dtype, parts, n, 1)).operand(&data).operand(&column(&prob));
        let got = case.generation(Gen::Gen4).run_on(&mut state).expect("legal");
        for p in 0..parts {
            for f in 0..n {
                let want = if draws[p][f] < f64::from(prob[p]) { 0 } else { data.bits[p][f] };
                prop_assert_eq!(got[0].bits[p][f], want);
            }
        }
        set(&mut state, Engine::Vector, &seeds);
        let hi: Vec<f32> = prob.iter().map(|x| x + 2.0).collect();
        let case = Case::new(Op::Rand2, Tile::filled(d, parts, n, 1)).operand(&column(&prob)).operand(&column(&hi));
        let got = case.generation(Gen::Gen4).run_on(&mut state).expect("legal");
        for p in 0..parts {
            for f in 0..n {
                let span = (f64::from(hi[p]) - f64::from(prob[p])) as f32;
                let step = (f64::from(span) * f64::from(draws[p][f] as f32)) as f32;
                let want = (f64::from(prob[p]) + f64::from(step)) as f32;
                prop_assert_eq!(got[0].bits[p][f], cast::down(d, want));
            }
        }
    }
}

fn bits_of(state: &mut State, generation: Gen) -> Vec<Vec<u32>> {
    let case = Case::new(Op::Rng, Tile::filled(DType::U32, 128, 16, 0)).generation(generation);
    case.run_on(state).expect("legal").remove(0).bits
}

#[test]
fn equal_seeds_give_equal_sequences_and_lanes_differ() {
    let seed = |state: &mut State, x: u32| {
        Case::new(Op::SetRngSeed, Tile::filled(DType::U32, 1, 1, x)).run_on(state).expect("legal");
    };
    for generation in [Gen::Gen2, Gen::Gen3, Gen::Gen4] {
        let mut state = State::default();
        seed(&mut state, 7);
        let first = bits_of(&mut state, generation);
        let second = bits_of(&mut state, generation);
        seed(&mut state, 7);
        assert_eq!(bits_of(&mut state, generation), first);
        seed(&mut state, 8);
        assert_ne!(bits_of(&mut state, generation), first);
        assert_ne!(first, second);
        let lanes: std::collections::BTreeSet<_> = first.iter().collect();
        assert_eq!(lanes.len(), 128, "two lanes draw alike");
        // About half of the bits are set.
        let ones: u32 = first.iter().flatten().map(|w| w.count_ones()).sum();
        assert!((31_000..34_500).contains(&ones), "{ones} of 65536");
    }
    // Without a seed as well.
    assert_eq!(bits_of(&mut State::default(), Gen::Gen3), bits_of(&mut State::default(), Gen::Gen3));
}

#[test]
fn misfits_are_faults() {
    let t = |d, n| Tile::filled(d, 1, n, 0);
    assert_eq!(Case::new(Op::Rng, t(DType::F32, 4)).run(), Err(Code::Dtype));
    assert_eq!(Case::new(Op::RandSetState, t(DType::U32, 5)).run(), Err(Code::Shape));
    assert_eq!(Case::new(Op::SetRngSeed, t(DType::U16, 1)).run(), Err(Code::Shape));
    let rand = |lo: f32, hi: f32| {
        let case = Case::new(Op::Rand2, t(DType::F32, 4)).operand(Operand::Imm(lo)).operand(Operand::Imm(hi));
        case.generation(Gen::Gen4).run().map(|_| ())
    };
    assert_eq!(rand(1.0, 1.0), Err(Code::Parameter));
    assert_eq!(rand(0.0, f32::NAN), Err(Code::Parameter));
    assert_eq!(rand(0.0, 1.0), Ok(()));
}
