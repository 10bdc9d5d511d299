//! Random numbers (isa.md 9.3.16 and 9.5); the generator is in `sem::random`.

use super::super::exec::Exec;
use super::super::random::{self, Lanes};
use super::super::scratch::scratch;
use super::super::{Fault, Span, fault};
use crate::diag::Code;
use crate::dtype::DType;
use crate::op::Engine;
use crate::target::Gen;

/// Draws per lane and instruction come from this many generators in turn: four on gen4's VectorE, else one.
fn streams(e: &Exec) -> usize {
    if e.call.engine == Engine::Vector && e.call.generation == Gen::Gen4 { 4 } else { 1 }
}

fn lanes<'a>(e: &'a mut Exec) -> Result<&'a mut Lanes, Fault> {
    let engine = e.call.engine;
    match e.state.random.of(engine) {
        Some(lanes) => Ok(lanes),
        None => fault(Code::Engine, format!("{engine} has no random numbers")),
    }
}

/// One draw per element in ascending order.
fn draws(e: &mut Exec, p: u32, out: &mut [u32]) -> Result<(), Fault> {
    let streams = streams(e);
    lanes(e)?.draw(p as usize, streams, out);
    Ok(())
}

/// isa.md 9.3.16: an element is zeroed if its draw, as a fraction of 2^32, is below `prob`. Others are copied bit by bit.
pub(super) fn dropout(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let data = e.pair(dst, "data")?;
    let prob = e.scalars("prob", dst.parts)?;
    if dst.dtype != data.dtype {
        return fault(Code::Dtype, format!("{} into {}", data.dtype, dst.dtype));
    }
    let n = dst.row_elements();
    let (mut bits, mut drawn) = (vec![0; n], vec![0; n]);
    for p in 0..dst.parts {
        e.load_bits(data, p, &mut bits);
        draws(e, p, &mut drawn)?;
        let prob = f64::from(e.scalar(prob, p, 0.0));
        for (x, d) in bits.iter_mut().zip(&drawn) {
            if random::fraction(*d) < prob {
                *x = 0;
            }
        }
        e.store_bits(dst, p, &bits);
    }
    Ok(())
}

/// 32 random bits per element, of which dst takes the low ones.
pub(super) fn rng(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    if !dst.dtype.is_int() || dst.dtype == DType::Bool {
        return fault(Code::Dtype, format!("random bits of {}", dst.dtype));
    }
    let mut bits = vec![0; dst.row_elements()];
    for p in 0..dst.parts {
        draws(e, p, &mut bits)?;
        e.store_bits(dst, p, &bits);
    }
    Ok(())
}

/// `min + (max - min) · u` in float32, where u is the draw as a fraction of 2^32, rounded to float32.
pub(super) fn rand2(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let (min, max) = (e.scalars("min", dst.parts)?, e.scalars("max", dst.parts)?);
    e.castable(&[dst])?;
    let n = dst.row_elements();
    let (mut bits, mut row) = (vec![0; n], scratch(n));
    for p in 0..dst.parts {
        let (lo, hi) = (e.scalar(min, p, 0.0), e.scalar(max, p, 1.0));
        if lo.is_nan() || hi.is_nan() || lo >= hi {
            return fault(Code::Parameter, format!("min {lo} is not below max {hi} in partition {p}"));
        }
        draws(e, p, &mut bits)?;
        for (x, d) in row.iter_mut().zip(&bits) {
            *x = lo + (hi - lo) * random::fraction(*d) as f32;
        }
        e.store(dst, p, &row);
    }
    Ok(())
}

/// Words of state per lane: six for each generator.
fn state_words(e: &Exec, span: &Span) -> Result<usize, Fault> {
    let words = 6 * if e.call.engine == Engine::Vector { 4 } else { 1 };
    if span.dtype != DType::U32 || span.row_elements() != words {
        let got = format!("{} of {}", span.row_elements(), span.dtype);
        return fault(Code::Shape, format!("the state of a lane is {words} words of u32, not {got}"));
    }
    Ok(words)
}

/// Loads each lane's state.
pub(super) fn rand_set_state(e: &mut Exec) -> Result<(), Fault> {
    let seeds = e.tile("src_seeds")?;
    let mut words = vec![0; state_words(e, seeds)?];
    for p in 0..seeds.parts {
        e.load_bits(seeds, p, &mut words);
        lanes(e)?.set(p as usize, &words);
    }
    Ok(())
}

/// Stores each lane's state.
pub(super) fn rand_get_state(e: &mut Exec) -> Result<(), Fault> {
    let dst = e.tile("dst")?;
    let mut words = vec![0; state_words(e, dst)?];
    for p in 0..dst.parts {
        lanes(e)?.get(p as usize, &mut words);
        e.store_bits(dst, p, &words);
    }
    Ok(())
}

/// Seeds every lane of VectorE from one 32-bit number.
pub(super) fn set_rng_seed(e: &mut Exec) -> Result<(), Fault> {
    let seeds = e.tile("src_seeds")?;
    if seeds.elements() != 1 || seeds.dtype.bytes() != 4 {
        return fault(Code::Shape, "a seed is one 32-bit element");
    }
    let mut seed = [0];
    e.load_bits(seeds, 0, &mut seed);
    *lanes(e)? = Lanes::seeded(seed[0].into());
    Ok(())
}
