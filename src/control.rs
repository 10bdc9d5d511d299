//! Control flow on registers (isa.md section 11): loops whose number of turns, and branches whose outcome, are known only when
//! the kernel runs. Their bodies are recorded once; what changes from turn to turn lives in tiles and tensors allocated
//! outside, and in registers.
//!
//! ```
//! # use nki::prelude::*;
//! /// The sum of the first `n` rows of `x`, `n` being data.
//! #[nki::kernel]
//! fn sum_rows(nc: Nc, x: Hbm<f32>, n: Hbm<i32>) -> Hbm<f32> {
//!     let [rows, columns] = x.dims();
//!     let out = nc.hbm([1, columns]);
//!     let sum = nc.zeros::<f32>([1, columns]);
//!     let count = nc.register(n);
//!     for i in nc.range_dyn(count, rows) {
//!         let row = nc.load(x.at((i..i + 1, ..)));
//!         nc.tensor_tensor(sum, sum, row, Alu::Add);
//!     }
//!     nc.store(out, sum);
//!     out
//! }
//! # fn main() {
//! let x = nki::ir::Tensor::from_f32(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
//! let mut n = nki::ir::Tensor::zeros(nki::ir::DType::I32, &[1]);
//! n.data[0] = 2;
//! let y = sum_rows::specialize(&x, &n).run(nki::Mode::Interp, Target::Trn2).unwrap();
//! assert_eq!(nki::args::to_f64(&y[0]), [4.0, 6.0]);
//! # }
//! ```

use crate::elem::Int;
use crate::idx::Idx;
use crate::loops::{RangeIter, Turns};
use crate::nc::Nc;
use crate::reg::{LoopBound, Reg};
use crate::trace::{self, Place, error};
use nki_ir::kernel::Bound;
use nki_ir::{Code, Loop};
use std::panic::Location;

impl Nc {
    /// Keeps the instructions of `body` in the order of the source (NKI's `no_reorder`, isa.md 11.5): each starts when the one
    /// before it is complete. Counted loops may be inside, loops and branches on registers not. Tiles made inside exist only
    /// there.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// # #[nki::kernel]
    /// # fn kept(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    /// # let out = nc.hbm(x.shape());
    /// let y = nc.load(x);
    /// nc.no_reorder(|| {
    ///     nc.tensor_scalar(y, y, Alu::Add, 1.0);
    ///     nc.tensor_scalar(y, y, Alu::Multiply, 2.0);
    /// });
    /// # nc.store(out, y);
    /// # out
    /// # }
    /// # fn main() {
    /// # assert!(kept::specialize([1, 4]).trace().is_ok());
    /// # }
    /// ```
    #[track_caller]
    pub fn no_reorder(self, body: impl FnOnce()) {
        let place = Location::caller();
        let (depth, eager) = trace::with(self.trace, place, |s| {
            s.flush();
            let depth = s.builder.open_regions().len();
            let eager = s.begin_turn();
            if !eager {
                let loc = s.loc(place);
                s.builder.begin_no_reorder(loc);
            }
            (depth, eager)
        });
        body();
        trace::with(self.trace, place, |s| {
            s.flush();
            if eager { s.end_turn(false) } else { s.close_to(depth) }
        });
    }

    /// A device loop of as many turns as register `n` says: `0..n`. `max` is a promise that bounds, memory and time are
    /// checked with; a larger value ends the run (`nki::runtime_index`). No turn if `n` is 0 or negative.
    #[track_caller]
    pub fn range_dyn(self, n: impl LoopBound, max: usize) -> DynamicRange {
        let place = Location::caller();
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        DynamicRange { nc: self, place, lo: Bound::Const(0), hi: n.__bound(self, place, max), step: 1, max }
    }

    /// A device loop that runs while a register is not 0: first `init`, then what the body returns.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// /// Doubles `x` until it is at least 100.
    /// #[nki::kernel]
    /// fn grow(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let out = nc.hbm([1, 1]);
    ///     let value = nc.load(x);
    ///     let small = nc.sbuf::<i32>([1, 1]);
    ///     nc.tensor_scalar(small, value, Alu::Less, 100.0);
    ///     let go_on = nc.register(small);
    ///     nc.while_loop(go_on, || {
    ///         nc.tensor_scalar(value, value, Alu::Multiply, 2.0);
    ///         nc.tensor_scalar(small, value, Alu::Less, 100.0);
    ///         nc.register(small)
    ///     });
    ///     nc.store(out, value);
    ///     out
    /// }
    /// # fn main() {
    /// let x = nki::ir::Tensor::from_f32(&[1, 1], &[3.0]).unwrap();
    /// let y = grow::specialize(&x).run(nki::Mode::Interp, Target::Trn2).unwrap();
    /// assert_eq!(nki::args::to_f64(&y[0]), [192.0]);
    /// # }
    /// ```
    #[track_caller]
    pub fn while_loop<T: Int>(self, init: Reg<T>, mut body: impl FnMut() -> Reg<T>) {
        let place = Location::caller();
        let cond = Reg::<T>::declare(self, place);
        self.register_move_at(cond, init, place);
        let depth = trace::with(self.trace, place, |s| {
            s.flush();
            let depth = s.builder.open_regions().len();
            if s.eager.is_none() {
                let loc = s.loc(place);
                s.builder.begin_while(cond.reg, loc);
            }
            depth
        });
        loop {
            let runs = trace::with(self.trace, place, |s| {
                let runs = s.read_reg(cond.reg).is_none_or(|c| c != 0);
                runs.then(|| s.begin_turn())
            });
            let Some(eager) = runs else { return };
            let next = body();
            self.register_move_at(cond, next, place);
            trace::with(self.trace, place, |s| if eager { s.end_turn(false) } else { s.close_to(depth) });
            if !eager {
                return;
            }
        }
    }

    /// A branch: `then` runs if `cond` is not 0, what follows as [`When::otherwise`] if it is. Both are recorded.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// # #[nki::kernel]
    /// # fn pick(nc: Nc, x: Hbm<f32>, flag: Hbm<i32>) -> Hbm<f32> {
    /// # let out = nc.hbm([1, 4]);
    /// # let y = nc.load(x);
    /// let positive = nc.register(flag);
    /// nc.when(positive, || {
    ///     nc.tensor_scalar(y, y, Alu::Add, 1.0);
    /// })
    /// .otherwise(|| {
    ///     nc.memset(y, 0.0);
    /// });
    /// # nc.store(out, y);
    /// # out
    /// # }
    /// # fn main() {
    /// # assert!(pick::specialize([1, 4], [1]).trace().is_ok());
    /// # }
    /// ```
    #[track_caller]
    pub fn when<T: Int>(self, cond: Reg<T>, then: impl FnOnce()) -> When {
        let place = Location::caller();
        trace::same(self.trace, cond.trace, place);
        let (depth, branch) = trace::with(self.trace, place, |s| {
            s.flush();
            let depth = s.builder.open_regions().len();
            let branch = match s.eager.is_some() {
                true => Branch::Decided(s.read_reg(cond.reg).is_some_and(|c| c != 0)),
                false => {
                    let loc = s.loc(place);
                    Branch::Recorded(s.builder.begin_if(cond.reg, loc))
                }
            };
            (depth, branch)
        });
        let when = When { nc: self, place, depth, branch };
        when.run(branch != Branch::Decided(false), then);
        when
    }
}

/// See [`Nc::range_dyn`].
#[derive(Clone, Copy)]
#[must_use = "a device loop does nothing unless a `for` runs over it"]
pub struct DynamicRange {
    nc: Nc,
    place: Place,
    lo: Bound,
    hi: Bound,
    step: i64,
    max: i64,
}

impl DynamicRange {
    /// Counts from `lo` instead of 0; a register must not be negative (`nki::runtime_index`).
    #[track_caller]
    pub fn from(self, lo: impl LoopBound) -> DynamicRange {
        DynamicRange { lo: lo.__bound(self.nc, Location::caller(), self.max), ..self }
    }
    /// Counts by `step`, which is at least 1.
    pub fn step(self, step: usize) -> DynamicRange {
        if step == 0 {
            let d = error(Code::Parameter, "a device loop with a step of 0").help("count up by at least 1");
            trace::fail(self.nc.trace, self.place, d);
        }
        DynamicRange { step: i64::try_from(step).unwrap_or(i64::MAX), ..self }
    }
}

impl IntoIterator for DynamicRange {
    type Item = Idx;
    type IntoIter = RangeIter;
    fn into_iter(self) -> RangeIter {
        RangeIter(Turns::between(self.nc, self.place, self.lo, self.hi, self.step))
    }
}

/// A branch that may still get its other side; see [`Nc::when`].
pub struct When {
    nc: Nc,
    place: Place,
    /// Regions that are open around it.
    depth: usize,
    branch: Branch,
}

#[derive(Clone, Copy, PartialEq)]
enum Branch {
    Recorded(Loop),
    /// The body runs on data, and the condition was this.
    Decided(bool),
}

impl When {
    fn run(&self, runs: bool, body: impl FnOnce()) {
        if !runs {
            return;
        }
        let eager = trace::with(self.nc.trace, self.place, |s| s.begin_turn());
        body();
        trace::with(self.nc.trace, self.place, |s| {
            if eager { s.end_turn(false) } else { s.close_to(self.depth) }
        });
    }

    /// What runs if the condition is 0.
    #[track_caller]
    pub fn otherwise(self, body: impl FnOnce()) {
        let place = Location::caller();
        let runs = trace::with(self.nc.trace, place, |s| {
            s.flush();
            match self.branch {
                Branch::Decided(c) => !c,
                Branch::Recorded(l) => {
                    if !s.builder.reopen_otherwise(l) {
                        let d = error(Code::ControlFlow, "`otherwise` does not follow its `when`")
                            .note("something was recorded between the two")
                            .help("write `nc.when(..).otherwise(..)` in one statement");
                        s.report(place, d);
                    }
                    true
                }
            }
        });
        self.run(runs, body);
    }
}
