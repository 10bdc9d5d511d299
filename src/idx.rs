//! Positions inside device loops: [`Idx`] and [`Block`]. Both are affine in the loop variables and cannot be compared:
//! the body of a device loop is recorded once, for all turns.

use crate::trace::{self, Place, Session, TraceId, error};
use nki_ir::{Affine, Code};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Add, Mul, Sub};
use std::panic::Location;

/// An integer that depends on device loops: `constant + Σ coefficient · loop variable`.
///
/// `+`, `-` with `usize` or another `Idx`, and `*` with `usize` are what an address can hold. There is no comparison:
/// `if i == 0` does not compile, because the body is recorded once for every turn. Peel the first turn by hand, use a plain
/// `for i in 0..n` (which unrolls), or `nc.when(..)` on a register.
#[derive(Clone, Copy)]
pub struct Idx {
    pub(crate) trace: TraceId,
    pub(crate) expr: u32,
    pub(crate) not_send: PhantomData<*const ()>,
}

/// A run of positions `start .. start + len` along one axis: what [`Nc::tiles`](crate::Nc::tiles) yields. The length is known
/// while tracing, the start is an [`Idx`].
#[derive(Clone, Copy)]
pub struct Block {
    pub(crate) start: Idx,
    pub(crate) local: Idx,
    pub(crate) index: Idx,
    pub(crate) len: usize,
}

impl Idx {
    pub(crate) fn new(trace: TraceId, s: &mut Session, expr: Affine) -> Idx {
        Idx { trace, expr: s.push_expr(expr), not_send: PhantomData }
    }
    pub(crate) fn affine(self, s: &Session) -> Affine {
        s.expr(self.expr).clone()
    }
    fn combine(self, place: Place, f: impl FnOnce(&mut Session, Affine) -> Option<Affine>) -> Idx {
        trace::with(self.trace, place, |s| {
            let a = self.affine(s);
            let sum = f(s, a).unwrap_or_else(|| {
                s.report(place, error(Code::Limit, "an index expression leaves 64 bits"));
                Affine::constant(0)
            });
            Idx::new(self.trace, s, sum)
        })
    }
    fn offset(self, place: Place, k: Option<i64>) -> Idx {
        self.combine(place, |_, a| a.add_constant(k?))
    }
    fn plus(self, place: Place, other: Idx, sign: i64) -> Idx {
        trace::same(self.trace, other.trace, place);
        self.combine(place, |s, a| a.add(&other.affine(s).scale(sign)?))
    }
}

impl Block {
    /// Number of positions, known while tracing.
    #[allow(clippy::len_without_is_empty)] // A block is never empty.
    pub fn len(&self) -> usize {
        self.len
    }
    /// First position.
    pub fn start(&self) -> Idx {
        self.start
    }
    /// Position after the last.
    #[track_caller]
    pub fn end(&self) -> Idx {
        self.start + self.len
    }
    /// Number of the block in its loop, from 0.
    pub fn index(&self) -> Idx {
        self.index
    }
    /// The same block counted from the start of what the loop runs over: differs from `self` when that is itself a block.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// #[nki::kernel]
    /// fn copy(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let [rows, columns] = x.dims();
    ///     let out = nc.hbm([rows, columns]);
    ///     for strip in nc.tiles(columns, 1024) {
    ///         for r in nc.tiles(rows, 128) {
    ///             let tile = nc.load(x.at((r, strip)));
    ///             for c in nc.tiles(strip, 256) {
    ///                 nc.store(out.at((r, c)), tile.at((.., c.local())));
    ///             }
    ///         }
    ///     }
    ///     out
    /// }
    /// assert!(copy::specialize([200, 1500]).trace().is_ok());
    /// ```
    pub fn local(&self) -> Block {
        Block { start: self.local, ..*self }
    }
}

fn constant(k: usize) -> Option<i64> {
    i64::try_from(k).ok()
}

macro_rules! operators {
    ($($trait:ident $method:ident ($left:ty, $right:ty) = |$a:ident, $b:ident, $place:ident| $body:expr;)*) => {$(
        impl $trait<$right> for $left {
            type Output = Idx;
            #[track_caller]
            fn $method(self, $b: $right) -> Idx {
                let ($a, $place) = (self, Location::caller());
                $body
            }
        }
    )*};
}

operators! {
    Add add (Idx, usize) = |a, k, place| a.offset(place, constant(k));
    Add add (usize, Idx) = |k, a, place| a.offset(place, constant(k));
    Sub sub (Idx, usize) = |a, k, place| a.offset(place, constant(k).map(|k| -k));
    Mul mul (Idx, usize) = |a, k, place| a.combine(place, |_, e| e.scale(constant(k)?));
    Mul mul (usize, Idx) = |k, a, place| a.combine(place, |_, e| e.scale(constant(k)?));
    Add add (Idx, Idx) = |a, b, place| a.plus(place, b, 1);
    Sub sub (Idx, Idx) = |a, b, place| a.plus(place, b, -1);
}

impl fmt::Debug for Idx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = trace::try_with(self.trace, |s| {
            let a = self.affine(s);
            let mut text = String::new();
            for &(v, c) in a.terms() {
                let name = &s.builder.kernel().vars[v].name;
                let sign = if text.is_empty() { "" } else { " + " };
                text += &if c == 1 { format!("{sign}{name}") } else { format!("{sign}{c}*{name}") };
            }
            match (text.is_empty(), a.offset()) {
                (true, k) => k.to_string(),
                (false, 0) => text,
                (false, k) => format!("{text} + {k}"),
            }
        });
        f.write_str(text.as_deref().unwrap_or("<index of another trace>"))
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}; {}", self.start, self.len)
    }
}
