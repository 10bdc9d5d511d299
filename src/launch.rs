//! From a kernel function to IR: [`Specialization`] holds the arguments, runs the body once, and finishes the trace.

use crate::elem::Elem;
use crate::info::KernelInfo;
use crate::nc::Nc;
use crate::schedule::{Labelled, Schedule};
use crate::tensor::Hbm;
use crate::trace::{self, Eager, Ended, Place, Session, TraceId, error};
use nki_ir::kernel::Node;
use nki_ir::{Buf, BufKind, Code, DType, Diagnostic, Diagnostics, Kernel, Target, Tensor};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// What describes a tensor argument of dtype `T`: a shape, or an array whose data is kept for running.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe a tensor argument of `{T}`",
    label = "expected a shape such as `[512, 1024]`, or a reference to an array of `{T}`"
)]
pub trait TensorArg<T: Elem> {
    #[doc(hidden)]
    fn __describe(self) -> Described;
}

/// A described tensor argument.
#[doc(hidden)]
#[derive(Clone)]
pub struct Described {
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Option<Tensor>,
}

fn shape_only<T: Elem>(shape: &[usize]) -> Described {
    Described { dtype: T::DTYPE, shape: shape.to_vec(), data: None }
}
impl<T: Elem, const N: usize> TensorArg<T> for [usize; N] {
    fn __describe(self) -> Described {
        shape_only::<T>(&self)
    }
}
impl<T: Elem> TensorArg<T> for &[usize] {
    fn __describe(self) -> Described {
        shape_only::<T>(self)
    }
}
impl<T: Elem> TensorArg<T> for Vec<usize> {
    fn __describe(self) -> Described {
        shape_only::<T>(&self)
    }
}
/// The tensor's dtype must be `T`; another is an error of the trace (`nki::argument`).
impl<T: Elem> TensorArg<T> for &Tensor {
    fn __describe(self) -> Described {
        Described { dtype: self.dtype, shape: self.shape.clone(), data: Some(self.clone()) }
    }
}

/// A value that a kernel takes besides tensors: configuration. A specialisation keeps a copy.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a kernel",
    label = "a kernel keeps a copy of its configuration",
    note = "derive `Clone`, and hold no references and nothing bound to a thread"
)]
pub trait Param: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Param for T {}

/// What a kernel returns to the host: nothing, a tensor in HBM, or a tuple of them.
#[diagnostic::on_unimplemented(
    message = "a kernel cannot return `{Self}` to the host",
    label = "not a tensor in HBM",
    note = "return `Hbm<T>`, a tuple of them, or `()`; store a tile with `nc.store(out, tile)` first"
)]
pub trait Returns {
    #[doc(hidden)]
    fn __views(&self, out: &mut Returned);
}

/// The tensors that a kernel body returned.
#[doc(hidden)]
#[derive(Default)]
pub struct Returned(Vec<(TraceId, u32)>);

impl Returns for () {
    fn __views(&self, _: &mut Returned) {}
}
impl<T: Elem> Returns for Hbm<T> {
    fn __views(&self, out: &mut Returned) {
        out.0.push((self.trace, self.view));
    }
}
impl<R: Returns> Returns for Option<R> {
    fn __views(&self, out: &mut Returned) {
        self.iter().for_each(|r| r.__views(out));
    }
}
impl<R: Returns, const N: usize> Returns for [R; N] {
    fn __views(&self, out: &mut Returned) {
        self.iter().for_each(|r| r.__views(out));
    }
}
impl<R: Returns> Returns for Vec<R> {
    fn __views(&self, out: &mut Returned) {
        self.iter().for_each(|r| r.__views(out));
    }
}
macro_rules! tuples {
    ($($($a:ident $i:tt),*;)*) => {$(
        impl<$($a: Returns),*> Returns for ($($a,)*) {
            fn __views(&self, out: &mut Returned) {
                $(self.$i.__views(out);)*
            }
        }
    )*};
}
tuples! {
    A 0;
    A 0, B 1;
    A 0, B 1, C 2;
    A 0, B 1, C 2, D 3;
    A 0, B 1, C 2, D 3, E 4;
    A 0, B 1, C 2, D 3, E 4, F 5;
}

/// A tensor parameter of a specialisation.
#[derive(Clone)]
pub(crate) struct TensorParam {
    pub name: &'static str,
    /// The dtype that the kernel's signature asks for.
    pub expects: DType,
    pub inout: bool,
    /// `None`: an optional tensor that is absent.
    pub given: Option<Described>,
}

type Body = Arc<dyn Fn(Nc, &mut Handles) -> Returned + Send + Sync>;

/// A kernel together with what it is specialised to: shapes, dtypes, configuration, schedule. Made by `KERNEL::specialize(..)`.
#[derive(Clone)]
pub struct Specialization {
    info: &'static KernelInfo,
    params: Vec<TensorParam>,
    body: Body,
    schedule: Schedule,
    program: Option<(usize, usize)>,
    /// Both programs of the grid run.
    together: bool,
    place: Place,
}

/// Collects the arguments of a specialisation, in order.
#[doc(hidden)]
pub struct Launcher {
    info: &'static KernelInfo,
    params: Vec<TensorParam>,
    place: Place,
}

/// Hands the body its tensors, in order.
#[doc(hidden)]
pub struct Handles {
    trace: TraceId,
    views: std::vec::IntoIter<Option<u32>>,
}

impl Launcher {
    #[track_caller]
    pub fn new(info: &'static KernelInfo) -> Self {
        Launcher { info, params: Vec::new(), place: Location::caller() }
    }
    pub fn tensor<T: Elem>(&mut self, name: &'static str, inout: bool, arg: impl TensorArg<T>) {
        let given = Some(arg.__describe());
        self.params.push(TensorParam { name, expects: T::DTYPE, inout, given });
    }
    pub fn optional<T: Elem>(&mut self, name: &'static str, inout: bool, arg: Option<impl TensorArg<T>>) {
        let given = arg.map(TensorArg::__describe);
        self.params.push(TensorParam { name, expects: T::DTYPE, inout, given });
    }
    pub fn finish<R: Returns>(
        self,
        body: impl Fn(Nc, &mut Handles) -> R + Send + Sync + 'static,
    ) -> Specialization {
        let Launcher { info, params, place } = self;
        let body: Body = Arc::new(move |nc, handles| {
            let mut out = Returned::default();
            body(nc, handles).__views(&mut out);
            out
        });
        Specialization {
            info,
            params,
            body,
            schedule: Schedule::default(),
            program: None,
            together: false,
            place,
        }
    }
}

impl Handles {
    pub fn tensor<T: Elem>(&mut self) -> Hbm<T> {
        self.optional().expect("a required tensor is always given")
    }
    pub fn optional<T: Elem>(&mut self) -> Option<Hbm<T>> {
        let view = self.views.next().expect("the body takes as many tensors as were declared");
        view.map(|v| Hbm::new(self.trace, v))
    }
}

/// A recorded kernel: tile IR, and in which order the body returned its results.
#[derive(Debug)]
pub struct Traced {
    pub kernel: Kernel,
    /// For each result of the body, its position among [`Kernel::outputs`].
    pub results: Vec<usize>,
    /// Findings that are no errors.
    pub warnings: Diagnostics,
    /// What each label of a schedule stands for.
    pub labels: Vec<Labelled>,
}

impl Specialization {
    /// The kernel function.
    pub fn info(&self) -> &'static KernelInfo {
        self.info
    }
    /// Specialises the body for program instance `id` of `n` (isa.md 11.4): [`Nc::program_id`] and [`Nc::num_programs`] give
    /// these. One of two programs can be traced, verified and compiled for the device; only both together can run.
    pub fn program(mut self, id: usize, n: usize) -> Self {
        (self.program, self.together) = (Some((id, n)), false);
        self
    }
    /// Launches `n` program instances, 1 or 2 (isa.md 11.4; trn2 and later for 2): two cores that act as one. The body is
    /// specialised for each; they run at the same time, share the tensors of the signature, and meet in
    /// [`Nc::core_barrier`] and [`Nc::sendrecv`]. What either has written of a result is in the result; two programs that
    /// write the same byte differently between two barriers are a race (`nki::race`).
    ///
    /// ```
    /// # use nki::prelude::*;
    /// /// Each program copies its half of the rows.
    /// #[nki::kernel]
    /// fn halves(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let out = nc.hbm(x.shape());
    ///     let rows = x.shape()[0] / nc.num_programs();
    ///     let mine = nc.program_id(0) * rows..(nc.program_id(0) + 1) * rows;
    ///     nc.store(out.at((mine.clone(), ..)), nc.load(x.at((mine, ..))));
    ///     out
    /// }
    /// # fn main() {
    /// let x = nki::ir::Tensor::from_f32(&[4, 1], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    /// let result = halves::specialize(&x).programs(2).run(nki::Mode::Sim, Target::Trn2).unwrap();
    /// assert_eq!(result[0], x);
    /// # }
    /// ```
    pub fn programs(mut self, n: usize) -> Self {
        (self.program, self.together) = (Some((0, n)), true);
        self
    }
    pub(crate) fn grid(&self) -> Option<(usize, usize)> {
        self.program
    }
    /// The specialisations of both programs of a grid that runs.
    pub(crate) fn pair(&self) -> Option<[Specialization; 2]> {
        let both = self.together && self.program == Some((0, 2));
        both.then(|| [self.clone().program(0, 2), self.clone().program(1, 2)])
    }
    /// Applies a schedule.
    pub fn schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }
    /// Dtype and shape of every tensor argument that is present, in order.
    pub fn arguments(&self) -> impl Iterator<Item = (&'static str, DType, &[usize])> {
        self.params.iter().filter_map(|p| p.given.as_ref().map(|d| (p.name, d.dtype, d.shape.as_slice())))
    }

    pub(crate) fn arguments_with_data(
        &self,
    ) -> impl Iterator<Item = (&'static str, DType, &[usize], Option<&Tensor>)> {
        let given = self.params.iter().filter_map(|p| p.given.as_ref().map(|d| (p.name, d)));
        given.map(|(name, d)| (name, d.dtype, d.shape.as_slice(), d.data.as_ref()))
    }
    /// The data of the tensor arguments that were given as arrays, in order; `None` if any was given as a shape.
    pub fn data(&self) -> Option<Vec<&Tensor>> {
        self.params.iter().filter_map(|p| p.given.as_ref()).map(|d| d.data.as_ref()).collect()
    }

    /// Runs the body once and returns what it recorded.
    ///
    /// # Errors
    /// Everything found while recording, each with the position in the kernel's source: wrong ranks (`nki::shape`), failed
    /// `ensure!` (`nki::ensure`), panics of the body (`nki::kernel_panic`), misuse of device loops, handles of other traces.
    pub fn trace(&self) -> Result<Traced, Diagnostics> {
        self.check_arguments()?;
        let (mut session, returned) = self.run_body(|_, _| Ok(()))?;
        let bufs = returned_bufs(&mut session, returned, self.place);
        finish(session, &bufs, &self.schedule)
    }

    /// Runs the body once, after `prepare` has seen the tensors of the signature.
    fn run_body(
        &self,
        prepare: impl FnOnce(&mut Session, &[Buf]) -> Result<(), Diagnostics>,
    ) -> Result<(Session, Returned), Diagnostics> {
        let id = trace::new_id();
        let mut session = Session::new(id, self.info);
        session.set_program(self.program);
        if let Some((id, n)) = self.program.filter(|(id, n)| !(1..=2).contains(n) || id >= n) {
            let d = error(Code::Parameter, format!("program {id} of {n}"));
            return Err(d.help("a grid has 1 or 2 programs, numbered from 0").into());
        }
        let views: Vec<Option<u32>> =
            self.params.iter().map(|p| p.given.as_ref().map(|d| declare(&mut session, p, d))).collect();
        let bufs: Vec<Buf> = views.iter().flatten().map(|&v| session.view(v).buf).collect();
        prepare(&mut session, &bufs)?;
        let mut handles = Handles { trace: id, views: views.into_iter() };
        trace::push(session);
        let ended = trace::catch(self.place, || (self.body)(Nc::new(id), &mut handles));
        let mut session = trace::pop(id);
        session.close_to(1);
        match ended {
            Ended::Returned(returned) if !session.failed => Ok((session, returned)),
            Ended::Returned(_) | Ended::Aborted => Err(session.diagnostics),
            Ended::Panicked(p) => {
                session.diagnostics.push(panic_diagnostic(p));
                Err(session.diagnostics)
            }
        }
    }

    /// Runs the body on data. The kernel has been through the gate.
    pub(crate) fn run_eagerly(&self, target: Target, inputs: &[Tensor]) -> Result<EagerOutcome, Diagnostics> {
        let (mut session, returned) = self.run_body(|session, bufs| {
            if bufs.len() != inputs.len() {
                let message =
                    format!("kernel `{}` takes {} tensors, got {}", self.info.name, bufs.len(), inputs.len());
                return Err(error(Code::Argument, message).into());
            }
            let mut eager = Eager::new(target);
            for (&buf, tensor) in bufs.iter().zip(inputs) {
                eager.bind(session.builder.kernel(), buf, tensor)?;
            }
            session.eager = Some(eager);
            Ok(())
        })?;
        let bufs = returned_bufs(&mut session, returned, self.place);
        let Session { builder, diagnostics, eager, .. } = session;
        if diagnostics.has_errors() {
            return Err(diagnostics);
        }
        let mut eager = eager.expect("the eager store is there until the trace ends");
        let tensors = bufs.iter().map(|&b| eager.finish(builder.kernel(), b)).collect::<Result<_, _>>()?;
        Ok(EagerOutcome { tensors, warnings: eager.warnings() })
    }

    fn check_arguments(&self) -> Result<(), Diagnostics> {
        let mut all = Diagnostics::new();
        for p in &self.params {
            let Some(given) = &p.given else { continue };
            if given.dtype != p.expects {
                let message = format!(
                    "argument `{}` of `{}` is {}, where the kernel takes {}",
                    p.name, self.info.name, given.dtype, p.expects
                );
                all.push(
                    error(Code::Argument, message)
                        .help("convert the array, or specialise the kernel to its dtype"),
                );
            }
            if given.shape.iter().any(|&d| u32::try_from(d).is_err()) {
                let message =
                    format!("a dimension of argument `{}`, {:?}, does not fit 32 bits", p.name, given.shape);
                all.push(error(Code::Limit, message));
            }
        }
        if all.is_empty() { Ok(()) } else { Err(all) }
    }
}

/// What running a body on data gives.
pub(crate) struct EagerOutcome {
    pub tensors: Vec<Tensor>,
    pub warnings: Diagnostics,
}

impl fmt::Debug for Specialization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.info.name)?;
        for (i, (name, dtype, shape)) in self.arguments().enumerate() {
            write!(f, "{}{name}: {dtype}{shape:?}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(")")
    }
}

fn declare(s: &mut Session, p: &TensorParam, d: &Described) -> u32 {
    let shape: Vec<u32> = d.shape.iter().map(|&n| n as u32).collect();
    let kind = if p.inout { BufKind::InOut } else { BufKind::Input };
    s.param(p.name, p.expects, &shape, kind)
}

fn panic_diagnostic(p: trace::UserPanic) -> Diagnostic {
    let at = nki_ir::loc::SourceLoc { file: p.file, line: p.line, column: p.column, stack: Vec::new() };
    error(Code::KernelPanic, format!("the kernel's own code panicked: {}", p.message))
        .at_source(at)
        .help("use `ensure!(nc, condition, ..)` for what a caller can get wrong")
}

/// The buffers of the results: those returned, then the inouts that were not.
fn returned_bufs(s: &mut Session, returned: Returned, place: Place) -> Vec<Buf> {
    let mut bufs: Vec<Buf> = Vec::new();
    for (trace, view) in returned.0 {
        if trace != s.id {
            s.foreign_handle(place);
        } else if let Some(buf) = returned_buf(s, view, &bufs) {
            bufs.push(buf);
        }
    }
    for (buf, data) in s.builder.kernel().outputs() {
        if data.kind == BufKind::InOut && !bufs.contains(&buf) {
            bufs.push(buf);
        }
    }
    bufs
}

/// Turns the returned tensors into outputs.
fn finish(mut s: Session, bufs: &[Buf], schedule: &Schedule) -> Result<Traced, Diagnostics> {
    schedule.apply(&mut s);
    let labels = s.labels.all();
    let Session { builder, mut diagnostics, hbm, .. } = s;
    let mut kernel = builder.finish();
    for (buf, region) in hbm {
        if bufs.contains(&buf) {
            kernel.bufs[buf].kind = BufKind::Output;
            kernel.regions[region].nodes.retain(|n| *n != Node::Alloc(buf));
        }
    }
    let order: Vec<Buf> = kernel.outputs().map(|(b, _)| b).collect();
    let results = bufs.iter().filter_map(|b| order.iter().position(|o| o == b)).collect();
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let warnings = std::mem::take(&mut diagnostics);
    Ok(Traced { kernel, results, warnings, labels })
}

/// The buffer of a returned view, if it can be a result.
fn returned_buf(s: &mut Session, view: u32, before: &[Buf]) -> Option<Buf> {
    let (buf, data) = (s.view(view).buf, s.buf_of(view).clone());
    let whole = *s.view(view) == nki_ir::View::full(buf, &data);
    let problem = if before.contains(&buf) {
        "is returned twice"
    } else if data.kind == BufKind::Input {
        "is an argument, and is returned unchanged"
    } else if !whole {
        "is returned in part"
    } else {
        return Some(buf);
    };
    let d = error(Code::Argument, format!("`{}` {problem}", data.name))
        .help("return a tensor made with `nc.hbm(..)`, whole and once; mark an argument to be updated with `#[inout]`")
        .at(&s.builder.kernel().locs, data.loc);
    s.diagnostics.push(d);
    None
}
