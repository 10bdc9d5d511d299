//! What the generator knows while it records: tiles in scope, open loops, budgets.

use super::GenOptions;
use super::rng::Rng;
use crate::builder::Builder;
use crate::dtype::{DKind, DType};
use crate::entity::{Buf, Var};
use crate::kernel::{Attr, Bound, BufData, BufKind, InstData, Kernel, Operand, Space};
use crate::loc::{Frame, Loc};
use crate::op::{Engine, Op};
use crate::target::Gen as Generation;

/// Magnitudes above this are clamped.
pub const LARGE: f64 = 4096.0;
/// The same for 8-bit floats.
pub const LARGE_FP8: f64 = 200.0;
/// What clamps leave.
pub const CLAMP: f64 = 32.0;
/// Bound of one-byte integers, which are not clamped.
const SMALL_INTS: f64 = 256.0;
/// PSUM tiles (of at most a bank) in scope at once; the other banks are for the compiler.
const PSUM_TILES: u32 = 6;
/// Bytes per partition of the SBUF tiles in scope at once.
const SBUF_BYTES: u64 = 64 << 10;
/// Elements of an output.
const OUTPUT_ELEMENTS: u64 = 1 << 15;

/// A tile whose every element is written.
#[derive(Clone, Debug)]
pub struct Tile {
    pub buf: Buf,
    pub space: Space,
    pub dtype: DType,
    pub shape: Vec<u32>,
    /// Bound of the magnitude of its elements.
    pub hi: f64,
    /// Whether its latest content was read.
    pub used: bool,
    /// Number of open scopes at its allocation.
    pub level: usize,
}

impl Tile {
    pub fn parts(&self) -> u32 {
        self.shape[0]
    }
    pub fn row(&self) -> u32 {
        self.shape[1..].iter().product()
    }
}

/// An open counted loop: `lo, lo + step, .., last`; `last < lo` if it never runs.
#[derive(Clone, Copy, Debug)]
pub struct OpenLoop {
    pub var: Var,
    pub lo: i64,
    pub hi: i64,
    pub step: i64,
    pub last: i64,
}

pub struct Gen<'o> {
    pub o: &'o GenOptions,
    pub rng: Rng,
    pub b: Builder,
    pub tiles: Vec<Tile>,
    /// Tiles of each open region, outermost first.
    pub scopes: Vec<Vec<usize>>,
    pub loops: Vec<OpenLoop>,
    /// Open regions that may not run, or a number of times that is not known.
    pub conditional: u32,
    /// Inputs that a load may read again.
    pub inputs: Vec<(Buf, DType, Vec<u32>)>,
    names: u32,
    line: u32,
    frame: Frame,
}

impl<'o> Gen<'o> {
    pub fn new(name: &str, rng: Rng, o: &'o GenOptions) -> Self {
        let mut b = Builder::new(name);
        let frame = b.kernel_mut().locs.frame("generated", None);
        Gen {
            o,
            rng,
            b,
            tiles: Vec::new(),
            scopes: vec![Vec::new()],
            loops: Vec::new(),
            conditional: 0,
            inputs: Vec::new(),
            names: 0,
            line: 0,
            frame,
        }
    }

    /// The whole kernel.
    pub fn kernel(mut self) -> Kernel {
        let statements = self.rng.range(1, self.o.statements.max(1));
        for _ in 0..statements {
            self.statement(0);
        }
        if let Some(op) = self.o.focus {
            self.focused(op);
        }
        self.close_scope();
        self.b.finish()
    }

    /// One statement; `depth` loops are open.
    pub fn statement(&mut self, depth: u32) {
        if let (Some(op), true) = (self.o.focus, self.o.focus.is_some() && self.rng.percent(50)) {
            return self.focused(op);
        }
        if self.o.control && depth <= self.o.max_depth && self.rng.percent(15) {
            return self.on_register(depth);
        }
        if self.o.indirect && self.room() && self.rng.percent(12) {
            return self.by_index();
        }
        match self.rng.below(100) {
            0..14 => {
                self.load();
            }
            14..17 => {
                self.memset();
            }
            17..21 => {
                self.iota();
            }
            21..65 => self.compute(),
            65..72 => self.matmul(),
            72..75 => self.transpose(),
            75..78 => self.scratch(),
            78..80 => self.no_reorder(depth),
            80..84 if self.loops.is_empty() => self.tiled_map(),
            _ if depth < self.o.max_depth => self.counted_loop(depth),
            _ => self.compute(),
        }
    }

    fn no_reorder(&mut self, depth: u32) {
        let loc = self.loc();
        self.b.begin_no_reorder(loc);
        self.open_scope();
        for _ in 0..self.rng.range(1, 2) {
            self.statement(depth.max(self.o.max_depth));
        }
        self.close_scope();
        self.b.end();
    }

    fn counted_loop(&mut self, depth: u32) {
        let turns = i64::from(self.rng.pick(&[0, 1, 2, 2, 3, 4, 5]));
        let step = i64::from(self.rng.pick(&[1, 1, 1, 2, 3]));
        let lo = i64::from(self.rng.pick(&[0, 0, 0, 1, 2]));
        // The last step may be cut short.
        let slack = if turns > 0 { i64::from(self.rng.below(step as u32)) } else { 0 };
        self.open_loop(lo, lo + turns * step - slack, step);
        for _ in 0..self.rng.range(1, 3) {
            self.statement(depth + 1);
        }
        if self.rng.percent(50) {
            self.carried();
        }
        self.close_loop();
    }

    pub fn open_loop(&mut self, lo: i64, hi: i64, step: i64) -> OpenLoop {
        let loc = self.loc();
        let name = self.rng.pick(&["i", "j", "ki", "mi"]);
        let (_, var) = self.b.begin_for(name, Bound::Const(lo), Bound::Const(hi), step, loc);
        let last = if hi > lo { lo + (hi - 1 - lo) / step * step } else { lo - 1 };
        let open = OpenLoop { var, lo, hi, step, last };
        self.loops.push(open);
        self.open_scope();
        open
    }

    pub fn close_loop(&mut self) {
        self.close_scope();
        self.loops.pop();
        self.b.end();
    }

    pub fn open_scope(&mut self) {
        self.scopes.push(Vec::new());
    }

    /// Stores what nothing has read and forgets the scope's tiles.
    pub fn close_scope(&mut self) {
        let mut i = 0;
        while let Some(t) = self.scopes.last().and_then(|s| s.get(i)).copied() {
            if !self.tiles[t].used {
                self.store(t);
            }
            i += 1;
        }
        self.scopes.pop();
    }

    // ---- places and names

    /// A new position; some lie in a called kernel.
    pub fn loc(&mut self) -> Loc {
        self.line += 1;
        let column = self.rng.range(1, 40);
        let locs = &mut self.b.kernel_mut().locs;
        if self.rng.percent(5) {
            let call = locs.loc("src/generated.rs", self.line, column, self.frame);
            self.frame = match self.rng.below(3) {
                0 => Frame(0),
                1 => locs.frame("inner", Some(call)),
                _ => locs.frame("other", Some(call)),
            };
        }
        let file = if self.frame == Frame(0) { "src/generated.rs" } else { "src/inner.rs" };
        locs.loc(file, self.line, column, self.frame)
    }

    pub fn name(&mut self, stem: &str) -> String {
        self.names += 1;
        // An unusual name now and then, for what prints and parses them.
        let odd = if self.rng.percent(2) { self.rng.pick(&[" ", "-", "\u{e9}", "\"", "\\n\n"]) } else { "" };
        format!("{stem}{odd}{}", self.names)
    }

    // ---- instructions

    pub fn new_inst(&mut self, op: Op) -> InstData {
        let loc = self.loc();
        let mut data = Builder::template(op, loc);
        if self.rng.percent(4) {
            data.name = Some(self.name("op"));
        }
        data
    }

    /// Sets the engine in half of the cases.
    pub fn ask(&mut self, data: &mut InstData, engines: &[Engine]) {
        if self.rng.percent(50) {
            data.engine = self.rng.choose(engines).unwrap_or(Engine::Unknown);
        }
    }

    /// Immediates on ScalarE, and other things that came with NeuronCore-v3.
    pub fn gen3(&self) -> bool {
        self.o.target.generation() >= Generation::Gen3
    }

    // ---- tiles

    /// Bytes per partition of the tiles in scope, and how many are in PSUM.
    fn in_use(&self) -> (u64, u32) {
        let mut sum = (0, 0);
        for t in self.scopes.iter().flatten().map(|&t| &self.tiles[t]) {
            match t.space {
                Space::Sbuf => sum.0 += u64::from(t.row()) * t.dtype.bytes() as u64,
                _ => sum.1 += 1,
            }
        }
        sum
    }
    pub fn room(&self) -> bool {
        self.in_use().0 < SBUF_BYTES
    }
    /// Whether another PSUM tile of `row` elements fits.
    pub fn psum_room(&self, row: u32, dtype: DType) -> bool {
        self.in_use().1 < PSUM_TILES && row as usize * dtype.bytes() <= 2048
    }

    /// Allocates a tile; the caller writes all of it.
    pub fn alloc(&mut self, space: Space, dtype: DType, shape: &[u32]) -> usize {
        let loc = self.loc();
        let name = self.name(if space == Space::Psum { "acc" } else { "t" });
        let data = BufData::new(&name, space, dtype, shape, BufKind::Private, loc);
        let buf = self.b.alloc(data);
        let level = self.scopes.len();
        self.tiles.push(Tile { buf, space, dtype, shape: shape.to_vec(), hi: 0.0, used: true, level });
        let t = self.tiles.len() - 1;
        self.scopes.last_mut().expect("the body's scope is open while recording").push(t);
        t
    }

    pub fn input(&mut self, dtype: DType, shape: &[u32]) -> Buf {
        let loc = self.loc();
        let name = self.name("in");
        let kind = if self.rng.percent(10) { BufKind::InOut } else { BufKind::Input };
        let buf = self.b.param(BufData::new(&name, Space::Hbm, dtype, shape, kind, loc));
        self.inputs.push((buf, dtype, shape.to_vec()));
        buf
    }

    /// An output of `shape` behind one axis for each open loop, if that is not too large; and the starts in those axes. A
    /// loop that may leave elements unwritten makes it an inout.
    pub fn output(&mut self, dtype: DType, shape: &[u32]) -> (Buf, Vec<crate::affine::Affine>) {
        let elements: u64 = shape.iter().map(|&n| u64::from(n)).product();
        let turns: Vec<u32> = self.loops.iter().map(|l| (l.hi - l.lo).max(1) as u32).collect();
        let all = turns.iter().fold(elements, |n, &t| n.saturating_mul(t.into()));
        let indexed = all <= OUTPUT_ELEMENTS && self.rng.percent(90);
        let whole =
            self.conditional == 0 && self.loops.iter().all(|l| l.last >= l.lo && (!indexed || l.step == 1));
        let kind = if whole { BufKind::Output } else { BufKind::InOut };
        let (loc, name) = (self.loc(), self.name("out"));
        let lead = if indexed { turns } else { Vec::new() };
        let full: Vec<u32> = lead.iter().chain(shape).copied().collect();
        let buf = self.b.param(BufData::new(&name, Space::Hbm, dtype, &full, kind, loc));
        let starts = self.loops.iter().take(lead.len());
        let starts = starts.map(|l| {
            let start = crate::affine::Affine::var(l.var).add_constant(-l.lo);
            start.expect("bounds of generated loops are small")
        });
        (buf, starts.collect())
    }

    /// Tiles in scope that satisfy `ok`.
    pub fn tiles_where(&self, ok: impl Fn(&Tile) -> bool) -> Vec<usize> {
        self.scopes.iter().flatten().copied().filter(|&t| ok(&self.tiles[t])).collect()
    }

    /// Whether `t` is from outside the innermost scope, which may run many times or not at all.
    pub fn carried_in(&self, t: usize) -> bool {
        self.tiles[t].level < self.scopes.len()
    }

    /// Records that `t` was written (partly, if not all of it) with values of magnitude up to `hi`. What is carried through
    /// a loop is clamped by `tame` at once.
    pub fn wrote(&mut self, t: usize, hi: f64) {
        let bound = range_of(self.tiles[t].dtype);
        let hi = if self.carried_in(t) { hi.max(CLAMP).min(CLAMP.max(SMALL_INTS)) } else { hi };
        let tile = &mut self.tiles[t];
        tile.hi = tile.hi.max(hi.min(bound));
        tile.used = false;
    }

    // ---- draws

    pub fn float_dtype(&mut self) -> DType {
        self.rng.pick(&[DType::F32, DType::F32, DType::F32, DType::BF16, DType::BF16, DType::F16])
    }
    /// A float dtype that holds magnitudes up to `hi`.
    pub fn float_dtype_for(&mut self, hi: f64) -> DType {
        let dtype = self.float_dtype();
        if dtype == DType::F16 && hi > 60_000.0 { DType::F32 } else { dtype }
    }
    pub fn int_dtype(&mut self) -> DType {
        self.rng.pick(&[DType::I32, DType::I32, DType::U32, DType::U8, DType::I8, DType::U16, DType::I16])
    }
    /// Mostly floats.
    pub fn dtype(&mut self) -> DType {
        match self.rng.below(20) {
            0..16 => self.float_dtype(),
            16..19 => self.int_dtype(),
            _ => self.rng.pick(&[DType::F8E4M3, DType::F8E5M2]),
        }
    }
    pub fn parts(&mut self) -> u32 {
        let n = self.rng.pick(&[1, 2, 3, 7, 31, 32, 33, 61, 64, 65, 96, 97, 127, 128, 128]);
        n.min(self.o.max_partitions.clamp(1, 128))
    }
    pub fn free(&mut self) -> u32 {
        let n = self.rng.pick(&[1, 1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 32, 33, 37, 40, 64, 97, 128, 129, 200]);
        n.min(self.o.max_free.max(1))
    }
    /// A shape of a tile with `n` elements per partition.
    pub fn factor(&mut self, n: u32) -> Vec<u32> {
        let divisors: Vec<u32> = (1..=n).filter(|d| n.is_multiple_of(*d)).collect();
        if self.rng.percent(75) {
            return vec![n];
        }
        let d = self.rng.pick(&divisors);
        vec![d, n / d]
    }
    /// A small immediate that bfloat16 holds exactly.
    pub fn imm(&mut self) -> f32 {
        self.rng.pick(&[0.0, 1.0, -1.0, 0.5, -0.25, 2.0, 3.0, -1.5, 0.0625, 1.25])
    }
}

/// Largest magnitude of an integer dtype, infinity for floats.
pub fn range_of(d: DType) -> f64 {
    match d.kind() {
        DKind::Bool => 1.0,
        DKind::Unsigned | DKind::Signed => 2f64.powi(8 * d.bytes() as i32),
        _ => f64::INFINITY,
    }
}

/// Sets an operand by name.
pub fn set(data: &mut InstData, name: &str, operand: Operand) {
    let slot = data.op.row().operand(name).expect("the generator uses names of the op table");
    data.operands[slot] = operand;
}

/// Sets an attribute by name.
pub fn attr(data: &mut InstData, name: &str, value: Attr) {
    let slot = data.op.row().attr(name).expect("the generator uses names of the op table");
    data.attrs[slot] = value;
}
