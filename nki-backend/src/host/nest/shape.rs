//! Proves that the result tiles of a nest are one product, and finds its strides.

use super::access::{Access, Turns, substitute};
use super::parse::{Piece, Product};
use super::{Nest, Source, Target};
use crate::host::layout::Layout;
use nki_ir::DType;
use nki_ir::affine::Affine;

/// The loops that move one dimension of the result, innermost first, and how many tiles they make.
struct Axis {
    loops: Vec<(Turns, i64)>,
    tiles: u64,
}

impl Axis {
    /// Loops whose turns lie side by side: the innermost moves `of` by `unit` bytes, the next by as much as it has turns.
    fn new(loops: &[Turns], of: &Affine, unit: i64) -> Option<Axis> {
        let mut moving: Vec<(Turns, i64)> = Vec::new();
        for l in loops {
            moving.push((*l, of.coefficient(l.var).checked_mul(l.step)?));
        }
        moving.retain(|m| m.1 != 0);
        moving.sort_by_key(|m| m.1);
        let mut tiles = 1u64;
        for (turns, bytes) in &moving {
            if *bytes != unit.checked_mul(i64::try_from(tiles).ok()?)? {
                return None;
            }
            tiles = tiles.checked_mul(turns.count)?;
        }
        Some(Axis { loops: moving, tiles })
    }

    /// The bytes by which each tile moves `of`, if all do by the same.
    fn step(&self, of: &Affine) -> Option<i64> {
        let mut unit = None;
        let mut tiles = 1i64;
        for (turns, _) in &self.loops {
            let bytes = of.coefficient(turns.var).checked_mul(turns.step)?;
            let one = *unit.get_or_insert(bytes);
            if bytes != one.checked_mul(tiles)? {
                return None;
            }
            tiles = tiles.checked_mul(i64::try_from(turns.count).ok()?)?;
        }
        Some(unit.unwrap_or(0))
    }

    fn contains(&self, t: &Turns) -> bool {
        self.loops.iter().any(|l| l.0.var == t.var)
    }
}

/// How K goes on.
struct Sum {
    /// Rows of a step, all rows, and bytes from step to step in both operands.
    step_rows: u64,
    rows: u64,
    steps: u64,
    a: (Affine, i64),
    b: (Affine, i64),
}

fn sum(products: &[Product]) -> Option<Sum> {
    let first = products.first()?;
    let mut out: Option<Sum> = None;
    for (i, p) in products.iter().enumerate() {
        let same = |x: &Access, y: &Access| {
            (x.buf, x.dtype, x.row, x.col, x.cols) == (y.buf, y.dtype, y.row, y.col, y.cols)
        };
        if !same(&p.a, &first.a) || !same(&p.b, &first.b) {
            return None;
        }
        let (a, b) = (start(&p.a, p.turns)?, start(&p.b, p.turns)?);
        let turns = p.turns.map_or(1, |t| t.count);
        let rows = u64::from(p.a.rows);
        let Some(sum) = &mut out else {
            out = Some(Sum { step_rows: rows, rows: rows * turns, steps: turns, a, b });
            continue;
        };
        // A shorter step is the last one.
        let shorter = rows < sum.step_rows && i + 1 == products.len() && turns == 1;
        if rows != sum.step_rows && !shorter || sum.rows != sum.steps * sum.step_rows {
            return None;
        }
        let steps = i64::try_from(sum.steps).ok()?;
        for (all, one) in [(&mut sum.a, &a), (&mut sum.b, &b)] {
            let distance = one.0.add(&all.0.scale(-1)?)?.as_constant()?;
            if sum.steps == 1 {
                all.1 = distance;
            }
            if distance != all.1.checked_mul(steps)? || turns > 1 && one.1 != all.1 {
                return None;
            }
        }
        sum.rows += rows * turns;
        sum.steps += turns;
    }
    out
}

/// The address of the first turn, and the bytes from turn to turn.
fn start(x: &Access, turns: Option<Turns>) -> Option<(Affine, i64)> {
    let base = x.base()?;
    match turns {
        None => Some((base, 0)),
        Some(t) => {
            let bytes = base.coefficient(t.var).checked_mul(t.step)?;
            Some((substitute(&base, t.var, &Affine::constant(t.lo))?, bytes))
        }
    }
}

/// The product that a result tile and the loops around it are.
pub fn product(layout: &Layout, piece: &Piece) -> Option<Nest> {
    let sum = sum(&piece.products)?;
    let Product { a, b, .. } = piece.products.first()?;
    if !matches!(a.dtype, DType::F32 | DType::BF16 | DType::F16) || [a.buf, b.buf].contains(&piece.out.buf) {
        return None;
    }
    let (tile_m, tile_n) = (a.cols, b.cols);
    let (mut of_m, mut of_n) = (Vec::new(), Vec::new());
    for l in &piece.loops {
        match (sum.a.0.coefficient(l.var) != 0, sum.b.0.coefficient(l.var) != 0) {
            (true, false) => of_m.push(*l),
            (false, true) => of_n.push(*l),
            _ => return None,
        }
    }
    let m = Axis::new(&of_m, &sum.a.0, a.col.checked_mul(tile_m.into())?)?;
    let n = Axis::new(&of_n, &sum.b.0, b.col.checked_mul(tile_n.into())?)?;
    if !piece.loops.iter().all(|l| m.contains(l) || n.contains(l)) {
        return None;
    }
    let size = a.dtype.bytes() as i64;
    let (rows, cols) = (m.tiles.checked_mul(tile_m.into())?, n.tiles.checked_mul(tile_n.into())?);
    let source = |x: &Access, (base, step): &(Affine, i64), len: u64| {
        let last = (sum.rows - 1) / sum.step_rows;
        let step = (last > 0).then_some(*step);
        // The last step may be shorter than the one before it.
        let rest = sum.rows - last * sum.step_rows;
        let reach =
            |steps: u64, rows: u64| span(&[(len, x.col), (rows, x.row), (steps, step.unwrap_or(0))], size);
        let before = if last > 0 { reach(last, sum.step_rows)? } else { 0 };
        let reach = before.max(reach(last + 1, rest)?);
        let whole = |bytes: i64| usize::try_from(bytes).ok().filter(|_| bytes % size == 0);
        Some(Source {
            place: layout.place(x.buf),
            base: outside(base, &piece.loops)?,
            along: whole(x.col)?,
            k: whole(x.row)?,
            step: match step {
                Some(s) => Some(whole(s)?),
                None => None,
            },
            reach,
        })
    };
    Some(Nest {
        dtype: a.dtype,
        shape: [rows, sum.rows, cols].map(|x| x as usize),
        k_step: sum.step_rows as usize,
        a: source(a, &sum.a, rows)?,
        b: source(b, &sum.b, cols)?,
        out: target(layout, piece, [&m, &n])?,
        finish: piece.finish.clone(),
    })
}

/// Bytes from the first element to the end of the last, of dimensions that count up.
fn span(dims: &[(u64, i64)], size: i64) -> Option<usize> {
    let mut reach = size;
    for &(count, stride) in dims {
        if stride < 0 {
            return None;
        }
        reach = reach.checked_add(stride.checked_mul(i64::try_from(count.checked_sub(1)?).ok()?)?)?;
    }
    usize::try_from(reach).ok()
}

/// An address with the nest's loops at their first turns.
fn outside(base: &Affine, loops: &[Turns]) -> Option<Affine> {
    loops.iter().try_fold(base.clone(), |a, l| substitute(&a, l.var, &Affine::constant(l.lo)))
}

fn target(layout: &Layout, piece: &Piece, [m, n]: [&Axis; 2]) -> Option<Target> {
    let out = &piece.out;
    let base = out.base()?;
    let size = out.dtype.bytes() as i64;
    if out.cols > 1 && out.col != size {
        return None;
    }
    let (row_tile, col_tile) = (m.step(&base)?, n.step(&base)?);
    let dims = [
        (u64::from(out.cols), size),
        (n.tiles, col_tile),
        (u64::from(out.rows), out.row),
        (m.tiles, row_tile),
    ];
    // No element is written twice: sorted by stride, each dimension steps over all before it.
    let mut nested: Vec<(u64, i64)> = dims.iter().copied().filter(|d| d.0 > 1).collect();
    nested.sort_by_key(|d| d.1);
    let mut inner = size;
    for &(count, stride) in &nested {
        if stride < inner {
            return None;
        }
        inner = stride.checked_mul(i64::try_from(count).ok()?)?;
    }
    Some(Target {
        place: layout.place(out.buf),
        base: outside(&base, &piece.loops)?,
        dtype: out.dtype,
        rows: out.rows as usize,
        row: usize::try_from(out.row).ok()?,
        row_tile: usize::try_from(row_tile).ok()?,
        cols: out.cols as usize,
        col_tile: usize::try_from(col_tile).ok()?,
        reach: span(&dims, size)?,
        adds: piece.adds,
    })
}

/// Whether several products may run one after the other, each over all turns of the loops they share: none reads or
/// overwrites what another writes.
pub fn independent(pieces: &[Piece], products: &[Nest]) -> bool {
    if pieces.len() == 1 {
        return true;
    }
    // If a later product cannot be made, all instructions run, and would add again.
    if pieces.iter().any(|p| p.adds) {
        return false;
    }
    pieces.iter().enumerate().all(|(i, p)| {
        pieces.iter().enumerate().all(|(j, q)| {
            let read = q.products.iter().any(|x| [x.a.buf, x.b.buf].contains(&p.out.buf));
            !read
                && (i == j
                    || p.out.buf != q.out.buf
                    || apart(&products[i].out, &products[j].out, products[i].shape, products[j].shape))
        })
    })
}

/// Whether two parts of one row-major tensor share no column or no row.
fn apart(a: &Target, b: &Target, [am, _, an]: [usize; 3], [bm, _, bn]: [usize; 3]) -> bool {
    let size = a.dtype.bytes();
    let linear = |t: &Target, m: usize, n: usize| {
        (t.col_tile == t.cols * size || n == t.cols) && (t.row_tile == t.rows * t.row || m == t.rows)
    };
    let (Some(x), Some(y)) = (a.base.as_constant(), b.base.as_constant()) else { return false };
    if !linear(a, am, an) || !linear(b, bm, bn) || a.row != b.row || a.row == 0 || x < 0 || y < 0 {
        return false;
    }
    let at = |base: i64| (base as usize / a.row, base as usize % a.row);
    let ((ar, ac), (br, bc)) = (at(x), at(y));
    let inside = ac + an * size <= a.row && bc + bn * size <= a.row;
    let columns = ac + an * size <= bc || bc + bn * size <= ac;
    let rows = ar + am <= br || br + bm <= ar;
    inside && (columns || rows)
}
