//! What an affine expression can be: extremes, residues, and the loop variables' values that lead there.

use crate::affine::Affine;
use crate::entity::Var;
use crate::kernel::{Bound, Kernel, LoopData};

/// The values of a loop variable: `lo, lo + step, ..`, `count` of them. Loops have been checked: `step > 0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    pub lo: i64,
    pub step: i64,
    pub count: u64,
}

impl Values {
    /// The last value.
    pub fn hi(&self) -> i64 {
        self.lo + self.step * (self.count as i64 - 1)
    }
}

/// The values of `var`; `None` if its loop never runs.
pub fn values(kernel: &Kernel, var: Var) -> Option<Values> {
    let (lo, hi) = kernel.var_range(var)?;
    let LoopData::For { lo: start, step, .. } = kernel.loops.get(kernel.vars.get(var)?.owner)? else {
        return None;
    };
    // Steps from a start that is not known reach any value.
    let step = if matches!(start, Bound::Reg { .. }) { 1 } else { *step };
    Some(Values { lo, step, count: ((hi - lo) / step) as u64 + 1 })
}

/// Values of loop variables that show a problem.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness(pub Vec<(Var, i64)>);

impl Witness {
    /// ` when %ki = 15, %mi = 0`, or nothing if no variable matters.
    pub fn text(&self, kernel: &Kernel) -> String {
        let name = |v: Var| kernel.vars.get(v).map_or_else(|| v.to_string(), |d| d.name.clone());
        let parts: Vec<String> = self.0.iter().map(|(v, x)| format!("%{} = {x}", name(*v))).collect();
        if parts.is_empty() { String::new() } else { format!(" when {}", parts.join(", ")) }
    }
}

/// Smallest and largest value; `None` if a loop that owns one of the variables never runs.
pub fn extremes(kernel: &Kernel, a: &Affine) -> Option<(i128, i128)> {
    for (v, _) in a.terms() {
        kernel.var_range(*v)?;
    }
    Some(a.bounds(|v| kernel.var_range(v).unwrap_or((0, 0))))
}

/// Where the largest (`max`) or smallest value is taken.
pub fn witness(kernel: &Kernel, a: &Affine, max: bool) -> Witness {
    let at = |&(v, c): &(Var, i64)| {
        let (lo, hi) = kernel.var_range(v)?;
        Some((v, if (c > 0) == max { hi } else { lo }))
    };
    Witness(a.terms().iter().filter_map(at).collect())
}

/// Every residue modulo `modulus` (at most a few thousand) that the expression takes, exactly: variables are independent,
/// and a variable's multiples repeat after `modulus / gcd(coefficient · step, modulus)` turns.
pub struct Residues {
    modulus: i64,
    /// Reachable residues after the constant and the first `i` terms.
    stages: Vec<Vec<bool>>,
    /// Variable, its values, residue of one turn.
    terms: Vec<(Var, Values, i64)>,
}

impl Residues {
    /// `None` if a loop that owns one of the variables never runs.
    pub fn new(kernel: &Kernel, a: &Affine, modulus: u32) -> Option<Residues> {
        let m = i64::from(modulus);
        let mut start = a.offset().rem_euclid(m);
        let mut terms = Vec::new();
        for &(v, c) in a.terms() {
            let x = values(kernel, v)?;
            let c = c.rem_euclid(m);
            start = (start + c * x.lo.rem_euclid(m)) % m;
            terms.push((v, x, c * x.step.rem_euclid(m) % m));
        }
        let mut first = vec![false; modulus as usize];
        first[start as usize] = true;
        let mut stages = vec![first];
        for (_, x, turn) in &terms {
            let last = &stages[stages.len() - 1];
            let mut next = last.clone();
            for t in 1..x.count.min(modulus.into()) as i64 {
                let shift = turn * t % m;
                if shift == 0 {
                    break;
                }
                for r in (0..m).filter(|r| last[*r as usize]) {
                    next[((r + shift) % m) as usize] = true;
                }
            }
            stages.push(next);
        }
        Some(Residues { modulus: m, stages, terms })
    }

    /// Reachable residues, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let last = &self.stages[self.stages.len() - 1];
        last.iter().enumerate().filter(|(_, r)| **r).map(|(i, _)| i as u32)
    }

    /// Values of the variables that give `residue`.
    pub fn witness(&self, residue: u32) -> Witness {
        let mut r = i64::from(residue);
        let mut out = Vec::new();
        for (i, (v, x, turn)) in self.terms.iter().enumerate().rev() {
            let before = &self.stages[i];
            let from = |t: i64| (r - turn * t % self.modulus).rem_euclid(self.modulus);
            let turns = x.count.min(self.modulus as u64) as i64;
            let t = (0..turns).find(|t| before[from(*t) as usize]).unwrap_or(0);
            out.push((*v, x.lo + x.step * t));
            r = from(t);
        }
        out.reverse();
        Witness(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;
    use crate::loc::Loc;

    fn two_loops() -> (Kernel, Var, Var) {
        let mut b = Builder::new("k");
        let (_, i) = b.begin_for("i", Bound::Const(0), Bound::Const(16), 1, Loc(0));
        let (_, j) = b.begin_for("j", Bound::Const(3), Bound::Const(20), 4, Loc(0));
        (b.finish(), i, j)
    }

    #[test]
    fn extremes_come_with_the_values_that_reach_them() {
        let (k, i, j) = two_loops();
        let a = Affine::var(i).scale(128).unwrap().add(&Affine::var(j).scale(-2).unwrap()).unwrap();
        assert_eq!(values(&k, j), Some(Values { lo: 3, step: 4, count: 5 }));
        assert_eq!(extremes(&k, &a), Some((-38, 15 * 128 - 6)));
        assert_eq!(witness(&k, &a, true).text(&k), " when %i = 15, %j = 3");
        assert_eq!(witness(&k, &a, false), Witness(vec![(i, 0), (j, 19)]));
    }

    #[test]
    fn residues_are_exact() {
        let (k, i, j) = two_loops();
        let a = Affine::var(i).scale(96).unwrap().add(&Affine::var(j)).unwrap().add_constant(5).unwrap();
        let r = Residues::new(&k, &a, 128).unwrap();
        let mut brute: Vec<u32> =
            (0..16i64).flat_map(|x| [3, 7, 11, 15, 19].map(|y| ((96 * x + y + 5) % 128) as u32)).collect();
        brute.sort_unstable();
        brute.dedup();
        assert_eq!(r.iter().collect::<Vec<_>>(), brute);
        for x in brute {
            let w = r.witness(x);
            let at = |v: Var| w.0.iter().find(|p| p.0 == v).unwrap().1;
            assert_eq!(a.eval(at).rem_euclid(128), i64::from(x));
        }
    }

    #[test]
    fn a_loop_without_turns_has_no_extremes() {
        let mut b = Builder::new("k");
        let (_, i) = b.begin_for("i", Bound::Const(4), Bound::Const(4), 1, Loc(0));
        let k = b.finish();
        assert_eq!(extremes(&k, &Affine::var(i)), None);
        assert_eq!(extremes(&k, &Affine::constant(7)), Some((7, 7)));
    }
}
