//! Schedules: how a kernel is to be run, apart from what it computes. A schedule is a value that names things by typed labels,
//! `matmul::at.acc`, and changes no result.

use crate::trace::{Entity, Place, Session, error};
use nki_backend::device::{BufferChoice, CompileReport};
use nki_ir::kernel::{Node, RegionData};
use nki_ir::{Buf, Code, Engine, Loop, LoopData, Operand};
use std::collections::BTreeSet;
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

/// The buffers and loops of a kernel that a label stands for: several where tails are peeled or a function is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelled {
    pub label: Label,
    pub bufs: Vec<Buf>,
    pub loops: Vec<Loop>,
}

#[derive(Clone, Debug)]
enum What {
    Buffers(u32),
    Place {
        partition: u32,
        byte: u32,
    },
    Unroll(u32),
    Engine(Engine),
    Queue(u8),
    NoReorder,
    /// After the instructions that write the tile of this label.
    After(Label),
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
    /// Makes a hardware loop of a device loop, with `count` of its turns in each turn; a loop of no more turns is unrolled
    /// whole, and turns that are left over are unrolled behind it.
    #[track_caller]
    pub fn unroll(self, label: Label, count: u32) -> Self {
        self.step(What::Unroll(count), label, Location::caller())
    }
    /// Runs the instructions that write a tile on an engine of choice.
    #[track_caller]
    pub fn engine(self, label: Label, engine: Engine) -> Self {
        self.step(What::Engine(engine), label, Location::caller())
    }
    /// Sends the transfers that fill or empty a tile through a ring of the DMA engines, 0 to 15.
    #[track_caller]
    pub fn queue(self, label: Label, ring: u8) -> Self {
        self.step(What::Queue(ring), label, Location::caller())
    }
    /// Issues what writes tile `then` after everything before it, in the order of the source, that writes tile `first` is
    /// complete.
    #[track_caller]
    pub fn order(self, first: Label, then: Label) -> Self {
        self.step(What::After(first), then, Location::caller())
    }
    /// Keeps the instructions of a device loop in the order of the source.
    #[track_caller]
    pub fn no_reorder(self, label: Label) -> Self {
        self.step(What::NoReorder, label, Location::caller())
    }
    /// What the compiler chose, as far as labels can say it: a schedule to start from, and what it leaves out.
    ///
    /// ```
    /// # use nki::prelude::*;
    /// use nki::backend::device::{CompileOptions, compile};
    /// #[nki::kernel]
    /// fn twice(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    ///     let [rows, columns] = x.dims();
    ///     let out = nc.hbm([rows, columns]);
    ///     for r in nc.tiles(rows, 128) {
    ///         let tile = nc.load(x.at((r, ..)));
    ///         nc.store(out.at((r, ..)), tile * 2.0);
    ///     }
    ///     out
    /// }
    /// let traced = twice::specialize([256, 8]).trace().unwrap();
    /// let verified = nki::ir::verify(traced.kernel, Target::Trn2).unwrap();
    /// let compiled = compile(&verified, &CompileOptions::default()).unwrap();
    /// let (schedule, _) = nki::Schedule::chosen(&traced.labels, &compiled.report);
    /// assert!(schedule.to_string().contains(".buffers(twice::at.tile, 2)"));
    /// ```
    #[track_caller]
    pub fn chosen(labels: &[Labelled], report: &CompileReport) -> (Schedule, Vec<String>) {
        let mut chosen = Chosen { out: Schedule::new(), remarks: Vec::new(), place: Location::caller() };
        let mut seen: BTreeSet<(&[Buf], &[Loop])> = BTreeSet::new();
        // A tile may have got several names on its way through calls; one is enough.
        for row in labels.iter().filter(|row| seen.insert((&row.bufs, &row.loops))) {
            chosen.buffers(row, report);
            chosen.loops(row, report);
        }
        (chosen.out, chosen.remarks)
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
                Some(entities)
                    if matches!(step.what, What::NoReorder)
                        && entities.iter().all(|e| *e == Entity::Straight) =>
                {
                    reject(s, step, "keeps the order of a loop of one turn, which is not recorded as a loop");
                }
                Some(entities) => match step.what {
                    What::After(first) => order(s, step, first, &entities),
                    _ => entities.into_iter().for_each(|e| apply(s, step, e)),
                },
            }
        }
    }
}

impl fmt::Display for Schedule {
    /// As Rust.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule::new()")?;
        self.steps.iter().try_for_each(|s| write!(f, "\n    .{s}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.what {
            What::Buffers(n) => write!(f, "buffers({}, {n})", self.label),
            What::Place { partition, byte } => write!(f, "place({}, {partition}, {byte})", self.label),
            What::Unroll(n) => write!(f, "unroll({}, {n})", self.label),
            What::Engine(engine) => write!(f, "engine({}, Engine::{engine:?})", self.label),
            What::Queue(ring) => write!(f, "queue({}, {ring})", self.label),
            What::NoReorder => write!(f, "no_reorder({})", self.label),
            What::After(first) => write!(f, "order({first}, {})", self.label),
        }
    }
}

/// A schedule in the making from what the compiler chose.
struct Chosen {
    out: Schedule,
    remarks: Vec<String>,
    place: Place,
}

impl Chosen {
    fn say(&mut self, label: Label, what: What) {
        self.out.steps.push(Step { what, label, place: self.place });
    }

    fn buffers(&mut self, row: &Labelled, report: &CompileReport) {
        let label = row.label;
        let of = |b: &Buf| report.buffers.iter().find(|c| c.buf == *b);
        let choices: Vec<&BufferChoice> = row.bufs.iter().filter_map(of).collect();
        let Some(&first) = choices.first() else { return };
        let alike = choices.iter().all(|c| c.plain && c.buffers == first.buffers);
        if alike {
            self.say(label, What::Buffers(first.buffers));
        } else {
            let counts: Vec<String> = choices.iter().map(|c| c.buffers.to_string()).collect();
            let why =
                if choices.iter().all(|c| c.plain) { "" } else { ", some shared or kept for later loads" };
            self.remarks.push(format!("{label}: {} places{why}", counts.join(" and ")));
        }
        if let [only] = choices.as_slice()
            && alike
        {
            let (partition, byte) = only.place;
            self.remarks.push(format!("{label} lies at partition {partition}, byte {byte}"));
        }
        let engines: BTreeSet<Engine> = choices.iter().flat_map(|c| c.engines.iter().copied()).collect();
        let names: Vec<&str> = engines.iter().map(|e| e.name()).collect();
        match engines.first() {
            Some(&engine) if names.len() == 1 => self.say(label, What::Engine(engine)),
            Some(_) => self.remarks.push(format!("{label} is written on {} in turns", names.join(" and "))),
            None => {}
        }
        let queues: BTreeSet<u8> = choices.iter().flat_map(|c| c.queues.iter().copied()).collect();
        match queues.first() {
            Some(&ring) if queues.len() == 1 => self.say(label, What::Queue(ring)),
            Some(_) => self.remarks.push(format!("{label} is filled and emptied through rings {queues:?}")),
            None => {}
        }
    }

    fn loops(&mut self, row: &Labelled, report: &CompileReport) {
        let choices = || report.loops.iter().filter(|c| row.loops.contains(&c.source));
        let Some(most) = choices().map(|c| c.unroll).max() else { return };
        // A loop of fewer turns than are asked for is unrolled whole.
        if choices().all(|c| c.unroll == most.min(c.trip)) {
            self.say(row.label, What::Unroll(u32::try_from(most).unwrap_or(u32::MAX)));
        } else {
            let each: Vec<String> = choices().map(|c| c.unroll.to_string()).collect();
            self.remarks.push(format!("{}: {} turns unrolled", row.label, each.join(" and ")));
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
                // Transfers have no engine of their own: see `queue`.
                if kernel.insts[i].resolved_engine(kernel) == Engine::Dma {
                    continue;
                }
                if kernel.insts[i].operands.first().and_then(Operand::view).is_some_and(|v| v.buf == b) {
                    kernel.insts[i].engine = *engine;
                }
            }
        }
        (What::Queue(ring), _) if *ring >= 16 => reject(s, step, "names a ring beyond 15"),
        (What::Queue(ring), Entity::Buf(b)) if kernel.bufs[b].space.on_chip() => {
            kernel.bufs[b].queue = Some(*ring);
        }
        (What::NoReorder, Entity::Loop(l)) => {
            if let LoopData::For { body, loc, .. } = kernel.loops[l] {
                let nodes = std::mem::take(&mut kernel.regions[body].nodes);
                let inner = kernel.regions.push(RegionData { nodes });
                let kept = kernel.loops.push(LoopData::NoReorder { body: inner, loc });
                kernel.regions[body].nodes.push(Node::Loop(kept));
            }
        }
        // A loop of one turn is not recorded as a loop; unrolling it changes nothing.
        (What::Unroll(_) | What::NoReorder, Entity::Straight) => {}
        (What::NoReorder, _) => reject(s, step, "keeps the order of something that is not a device loop"),
        (What::Unroll(_), _) => reject(s, step, "unrolls something that is not a device loop"),
        (What::Buffers(_) | What::Place { .. } | What::Engine(_) | What::Queue(_) | What::After(_), _) => {
            reject(s, step, "needs a tile in SBUF or PSUM")
        }
    }
}

/// A label may stand for several tiles (tails, further calls): the first comes after the first, and so on.
fn order(s: &mut Session, step: &Step, first: Label, then: &[Entity]) {
    let Some(first) = s.labels.get(first.path, first.name).map(<[Entity]>::to_vec) else {
        return reject(s, step, "names nothing that this specialisation of the kernel made");
    };
    if first.len() != then.len() {
        let why = format!("cannot pair {} tiles with {}", first.len(), then.len());
        return reject(s, step, &why);
    }
    for (&first, &then) in first.iter().zip(then) {
        let (Entity::Buf(first), Entity::Buf(then)) = (first, then) else {
            return reject(s, step, "needs two tiles in SBUF or PSUM");
        };
        let bufs = &mut s.builder.kernel_mut().bufs;
        if !bufs[first].space.on_chip() || !bufs[then].space.on_chip() {
            return reject(s, step, "needs two tiles in SBUF or PSUM");
        }
        if first >= then {
            return reject(s, step, "contradicts the source, where the second comes first");
        }
        bufs[then].after = Some(first);
    }
}

fn reject(s: &mut Session, step: &Step, why: &str) {
    let d = error(Code::Schedule, format!("the schedule step `{step}` {why}"))
        .help("labels come from the kernel's own `let` and `for`: see `KERNEL::at`");
    s.report(step.place, d);
}
