//! Schedules: how a kernel is to be run, apart from what it computes. A schedule is a value that names things by typed labels,
//! `matmul::at.acc`, and changes no result.

use crate::trace::{Entity, Place, Session, error};
use nki_ir::{Code, Engine, LoopData, Operand};
use std::fmt;
use std::panic::Location;

/// Something that a kernel function binds with `let` or `for`. Made by `#[nki::kernel]`: `matmul::at.acc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label {
    #[doc(hidden)]
    pub path: &'static str,
    #[doc(hidden)]
    pub name: &'static str,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = self.path.rsplit("::").next().unwrap_or(self.path);
        write!(f, "{kernel}::at.{}", self.name)
    }
}

#[derive(Clone, Debug)]
enum What {
    Buffers(u32),
    Place { partition: u32, byte: u32 },
    Unroll(u32),
    Engine(Engine),
}

#[derive(Clone, Debug)]
struct Step {
    what: What,
    label: Label,
    place: Place,
}

/// A list of steps. A step that names nothing in the kernel, or something of the wrong kind, is an error (`nki::schedule`).
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    steps: Vec<Step>,
}

impl Schedule {
    /// The compiler's own choices.
    pub fn new() -> Schedule {
        Schedule::default()
    }
    /// Gives a tile of a loop body `count` copies, so that turns overlap.
    #[track_caller]
    pub fn buffers(self, label: Label, count: u32) -> Self {
        self.step(What::Buffers(count), label, Location::caller())
    }
    /// Puts a tile at a start partition and a byte offset within the partition.
    #[track_caller]
    pub fn place(self, label: Label, partition: u32, byte: u32) -> Self {
        self.step(What::Place { partition, byte }, label, Location::caller())
    }
    /// Unrolls a device loop `count` times.
    #[track_caller]
    pub fn unroll(self, label: Label, count: u32) -> Self {
        self.step(What::Unroll(count), label, Location::caller())
    }
    /// Runs the instructions that write a tile on an engine of choice.
    #[track_caller]
    pub fn engine(self, label: Label, engine: Engine) -> Self {
        self.step(What::Engine(engine), label, Location::caller())
    }
    fn step(mut self, what: What, label: Label, place: Place) -> Self {
        self.steps.push(Step { what, label, place });
        self
    }

    /// Records the steps into the IR.
    pub(crate) fn apply(&self, s: &mut Session) {
        for step in &self.steps {
            match s.labels.get(step.label.path, step.label.name).map(<[Entity]>::to_vec) {
                None => reject(s, step, "names nothing that this specialisation of the kernel made"),
                Some(entities) => entities.into_iter().for_each(|e| apply(s, step, e)),
            }
        }
    }
}

fn apply(s: &mut Session, step: &Step, entity: Entity) {
    let kernel = s.builder.kernel_mut();
    match (&step.what, entity) {
        (What::Buffers(0), _) => reject(s, step, "asks for no buffer at all"),
        (What::Unroll(0), _) => reject(s, step, "unrolls to no turn at all"),
        (What::Buffers(n), Entity::Buf(b)) if kernel.bufs[b].space.on_chip() => {
            kernel.bufs[b].buffers = Some(*n)
        }
        (What::Place { partition, byte }, Entity::Buf(b)) if kernel.bufs[b].space.on_chip() => {
            kernel.bufs[b].address = Some((*partition, *byte));
        }
        (What::Unroll(n), Entity::Loop(l)) => {
            if let LoopData::For { unroll, .. } = &mut kernel.loops[l] {
                *unroll = Some(*n);
            }
        }
        (What::Engine(engine), Entity::Buf(b)) if kernel.bufs[b].space.on_chip() => {
            for i in kernel.insts.keys() {
                if kernel.insts[i].operands.first().and_then(Operand::view).is_some_and(|v| v.buf == b) {
                    kernel.insts[i].engine = *engine;
                }
            }
        }
        // A loop of one turn is not recorded as a loop; unrolling it changes nothing.
        (What::Unroll(_), Entity::Straight) => {}
        (What::Unroll(_), _) => reject(s, step, "unrolls something that is not a device loop"),
        (What::Buffers(_) | What::Place { .. } | What::Engine(_), _) => {
            reject(s, step, "needs a tile in SBUF or PSUM")
        }
    }
}

fn reject(s: &mut Session, step: &Step, why: &str) {
    let what = match step.what {
        What::Buffers(n) => format!("buffers({}, {n})", step.label),
        What::Place { partition, byte } => format!("place({}, {partition}, {byte})", step.label),
        What::Unroll(n) => format!("unroll({}, {n})", step.label),
        What::Engine(engine) => format!("engine({}, {engine})", step.label),
    };
    let d = error(Code::Schedule, format!("the schedule step `{what}` {why}"))
        .help("labels come from the kernel's own `let` and `for`: see `KERNEL::at`");
    s.report(step.place, d);
}
