//! Leave-one-out error: the constants that were inferred from these measurements are fitted again without one case, and
//! predict it. Only well-determined cases are fitted to.
//!
//! The fit is linear in the logarithms: how a latency moves with each constant is measured by simulating with that constant
//! changed, and a least-squares step with a prior on every constant says where the other cases would put them.

use super::{Group, Measurement, latency_ns, simulate};
use nki_ir::Diagnostics;
use nki_sim::Constants;

/// Relative change of a constant when its effect is measured.
const STEP: f64 = 0.05;
/// How uncertain a constant is before the fit, and a simulated latency with the right constants, relative.
const PRIOR: f64 = 0.1;
const NOISE: f64 = 0.02;

/// Accessors of the constants of machine.md section 12 whose gen2 value was inferred from calibration.md.
type Field = fn(&mut Constants) -> &mut f64;
const FITTED: &[(&str, Field)] = &[
    ("pe.col_rate", |k| &mut k.pe.col_rate),
    ("pe.pair_ovh_cyc", |k| &mut k.pe.pair_ovh_cyc),
    ("dve.ovh_cyc", |k| &mut k.dve.ovh_cyc),
    ("dve.ovh2_cyc", |k| &mut k.dve.ovh2_cyc),
    ("dve.recip_cyc_per_elem", |k| &mut k.dve.recip_cyc_per_elem),
    ("act.ovh_cyc", |k| &mut k.act.ovh_cyc),
    ("dma.read_bpns", |k| &mut k.dma.read_bpns),
    ("dma.write_bpns", |k| &mut k.dma.write_bpns),
    ("dma.elem_ovh_ns", |k| &mut k.dma.elem_ovh_ns),
];

/// A case as the others predict it.
#[derive(Clone, Debug, PartialEq)]
pub struct Left {
    pub id: &'static str,
    /// `simulated / measured` with the constants fitted without the case.
    pub ratio: f64,
    /// Constants that the fit moved by more than one percent, and by how much, relative.
    pub moved: Vec<(&'static str, f64)>,
}

/// Leaves each of `all` out once. All are of one target.
///
/// # Errors
/// What the simulator finds.
pub fn leave_one_out(all: &[Measurement]) -> Result<Vec<Left>, Diagnostics> {
    let slopes: Vec<Vec<f64>> = all.iter().map(slopes).collect::<Result<_, _>>()?;
    let errors: Vec<f64> = all.iter().map(|m| m.latency().ratio().ln()).collect();
    let left = |i: usize| {
        // What the original compiler chose says nothing about the constants.
        let determined = |j: usize| all[j].case.group == Group::WellDetermined;
        let others: Vec<usize> = (0..all.len()).filter(|&j| j != i && determined(j)).collect();
        let change = solve(&slopes, &errors, &others);
        let shift: f64 = slopes[i].iter().zip(&change).map(|(s, d)| s * d).sum();
        let moved = FITTED.iter().zip(&change).filter(|(_, d)| d.abs() > 0.01);
        Left {
            id: all[i].case.id,
            ratio: (errors[i] + shift).exp(),
            moved: moved.map(|((name, _), d)| (*name, d.exp() - 1.0)).collect(),
        }
    };
    Ok((0..all.len()).map(left).collect())
}

/// How the logarithm of a latency moves with the logarithm of each constant.
fn slopes(m: &Measurement) -> Result<Vec<f64>, Diagnostics> {
    let base = latency_ns(m.case, &m.report).ln();
    let slope = |(_, field): &(&str, Field)| {
        let mut k = Constants::of(m.case.target);
        *field(&mut k) *= 1.0 + STEP;
        let report = simulate(&m.program, Some(k))?;
        Ok((latency_ns(m.case, &report).ln() - base) / (1.0 + STEP).ln())
    };
    FITTED.iter().map(slope).collect()
}

/// The change of the constants that best explains the errors of `rows`.
fn solve(slopes: &[Vec<f64>], errors: &[f64], rows: &[usize]) -> Vec<f64> {
    let n = FITTED.len();
    let ridge = (NOISE / PRIOR).powi(2);
    let mut a = vec![vec![0.0; n + 1]; n];
    for (c, row) in a.iter_mut().enumerate() {
        for d in 0..n {
            row[d] = rows.iter().map(|&r| slopes[r][c] * slopes[r][d]).sum();
        }
        row[c] += ridge;
        row[n] = -rows.iter().map(|&r| slopes[r][c] * errors[r]).sum::<f64>();
    }
    eliminate(a)
}

/// Solves a positive definite system given with its right-hand side as the last column.
fn eliminate(mut a: Vec<Vec<f64>>) -> Vec<f64> {
    let n = a.len();
    for c in 0..n {
        let pivot = a[c].clone();
        for row in a.iter_mut().skip(c + 1) {
            let f = row[c] / pivot[c];
            for (x, p) in row.iter_mut().zip(&pivot).skip(c) {
                *x -= f * p;
            }
        }
    }
    let mut x = vec![0.0; n];
    for c in (0..n).rev() {
        let known: f64 = (c + 1..n).map(|d| a[c][d] * x[d]).sum();
        x[c] = (a[c][n] - known) / a[c][c];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elimination_solves_a_system_done_by_hand() {
        // 4x + y = 6, x + 3y = 7 has x = 1, y = 2.
        let x = eliminate(vec![vec![4.0, 1.0, 6.0], vec![1.0, 3.0, 7.0]]);
        assert!((x[0] - 1.0).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_fit_explains_an_error_that_one_constant_can_explain() {
        // Two cases that run 4 % long and depend on the second constant alone.
        let mut s = vec![vec![0.0; FITTED.len()]; 2];
        (s[0][1], s[1][1]) = (1.0, 1.0);
        let change = solve(&s, &[0.04, 0.04], &[0, 1]);
        assert!((change[1] + 0.04).abs() < 0.001, "{change:?}");
        assert!(change[0].abs() < 1e-12);
    }
}
