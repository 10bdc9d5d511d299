//! Tiles as matrices of element bits, placed in memory in random layouts, and one instruction executed on them.

use crate::op::{Engine, Op};
use crate::sem::{Arg, Call, Fault, Memory, Span, State, cast, execute};
use crate::target::Gen;
use crate::{AluOp, Attr, Builder, Code, DType, Loc};
use proptest::prelude::*;

/// `bits[p][f]`: what a model computes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    pub dtype: DType,
    pub bits: Vec<Vec<u32>>,
}

impl Tile {
    pub fn parts(&self) -> usize {
        self.bits.len()
    }
    pub fn n(&self) -> usize {
        self.bits.first().map_or(0, Vec::len)
    }
    /// Widened values.
    pub fn floats(&self) -> Vec<Vec<f32>> {
        self.bits.iter().map(|row| row.iter().map(|&b| cast::up(self.dtype, b)).collect()).collect()
    }
    /// A tile of rounded values.
    pub fn rounded(dtype: DType, values: &[Vec<f32>]) -> Tile {
        let bits = values.iter().map(|row| row.iter().map(|&x| cast::down(dtype, x)).collect()).collect();
        Tile { dtype, bits }
    }
    pub fn filled(dtype: DType, parts: usize, n: usize, bits: u32) -> Tile {
        Tile { dtype, bits: vec![vec![bits; n]; parts] }
    }
    pub fn map(&self, dtype: DType, f: impl Fn(usize, usize, f32) -> f32) -> Tile {
        let rows = self.floats();
        let rows: Vec<Vec<f32>> = rows
            .iter()
            .enumerate()
            .map(|(p, row)| row.iter().enumerate().map(|(i, &x)| f(p, i, x)).collect())
            .collect();
        Tile::rounded(dtype, &rows)
    }
}

/// How a tile lies in memory; every number is reduced to something legal.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub gap: u8,
    pub step: u8,
    pub split: u8,
    pub backwards: bool,
    pub outer_first: bool,
    /// Starts and rows on multiples of 16 bytes.
    pub aligned: bool,
}

/// Elements side by side, rows without gaps.
pub const PLAIN: Layout =
    Layout { gap: 0, step: 1, split: 1, backwards: false, outer_first: true, aligned: false };

pub fn layout() -> impl Strategy<Value = Layout> {
    let odd = (0u8..5, 1u8..4, 1u8..6, any::<bool>(), any::<bool>()).prop_map(
        |(gap, step, split, backwards, outer_first)| Layout {
            gap,
            step,
            split,
            backwards,
            outer_first,
            aligned: false,
        },
    );
    prop_oneof![3 => odd, 1 => Just(Layout { aligned: true, ..PLAIN })]
}

/// Memory 0 holds everything.
#[derive(Debug)]
pub struct Flat(pub Vec<u8>);

impl Memory for Flat {
    fn bytes(&self, mem: u32) -> &[u8] {
        if mem == 0 { &self.0 } else { &[] }
    }
    fn bytes_mut(&mut self, mem: u32) -> &mut [u8] {
        if mem == 0 { &mut self.0 } else { &mut [] }
    }
}

impl Flat {
    /// Appends room for a tile in some layout and returns where it is. Elements are written if `content`.
    pub fn place(&mut self, tile: &Tile, layout: Layout, content: bool) -> Span {
        let (width, n) = (tile.dtype.bytes() as i64, tile.n() as i64);
        let split = i64::from(layout.split);
        let (outer, inner) = if n > 0 && n % split == 0 { (split, n / split) } else { (1, n) };
        let step = width * i64::from(layout.step);
        // Two free dimensions, either of which may be the one with the larger stride.
        let (outer_stride, inner_stride) =
            if layout.outer_first { (step * inner, step) } else { (step, step * outer) };
        let align: usize = if layout.aligned { 16 } else { 1 };
        let row = ((step * n) as usize + usize::from(layout.gap)).next_multiple_of(align) as i64;
        let start = (self.0.len() + usize::from(layout.gap)).next_multiple_of(align);
        self.0.resize(start, 0xa5);
        let start = self.0.len() as i64;
        self.0.resize((start + row * tile.parts() as i64) as usize, 0xa5);
        let (base, sign) =
            if layout.backwards { (start + (inner - 1).max(0) * inner_stride, -1) } else { (start, 1) };
        let dims = [(outer_stride, outer as u32), (sign * inner_stride, inner as u32)];
        let span = Span {
            mem: 0,
            base: base as u64,
            part_stride: row as u64,
            parts: tile.parts() as u32,
            dims: dims.into_iter().filter(|d| d.1 != 1).collect(),
            dtype: tile.dtype,
        };
        if content {
            for (p, bits) in tile.bits.iter().enumerate() {
                for (f, b) in bits.iter().enumerate() {
                    let at = address(&span, p, f);
                    self.0[at..at + width as usize].copy_from_slice(&b.to_le_bytes()[..width as usize]);
                }
            }
        }
        span
    }
    /// The elements of a span.
    pub fn tile(&self, span: &Span) -> Tile {
        let width = span.dtype.bytes();
        let element = |p, f| {
            let at = address(span, p, f);
            self.0[at..at + width].iter().rev().fold(0, |x, b| x << 8 | u32::from(*b))
        };
        let bits =
            (0..span.parts as usize).map(|p| (0..span.row_elements()).map(|f| element(p, f)).collect());
        Tile { dtype: span.dtype, bits: bits.collect() }
    }
    /// All bytes that no element of `span` covers.
    pub fn outside(&self, span: &Span) -> Vec<Option<u8>> {
        let mut out: Vec<Option<u8>> = self.0.iter().copied().map(Some).collect();
        for p in 0..span.parts as usize {
            for f in 0..span.row_elements() {
                let at = address(span, p, f);
                out[at..at + span.dtype.bytes()].fill(None);
            }
        }
        out
    }
}

/// The address by the definition of a span.
pub fn address(span: &Span, p: usize, f: usize) -> usize {
    let (mut rest, mut at) = (f, span.base as i64 + (p as u64 * span.part_stride) as i64);
    for &(stride, count) in span.dims.iter().rev() {
        at += stride * (rest % count as usize) as i64;
        rest /= count as usize;
    }
    at as usize
}

/// An operand in a test.
#[derive(Clone, Debug)]
pub enum Operand {
    Absent,
    Tile(Tile),
    Imm(f32),
    Int(i64),
}

impl From<&Tile> for Operand {
    fn from(t: &Tile) -> Self {
        Operand::Tile(t.clone())
    }
}

/// An instruction under test. `dst` gives the destination's shape, dtype and old content.
pub struct Case<'a> {
    pub op: Op,
    pub engine: Engine,
    pub generation: Gen,
    pub dst: Tile,
    /// Operands after the destination, in the row's order; missing ones are absent.
    pub operands: Vec<Operand>,
    pub attrs: Vec<(&'a str, Attr)>,
    pub accumulate: bool,
    pub layouts: [Layout; 5],
}

impl<'a> Case<'a> {
    pub fn new(op: Op, dst: Tile) -> Case<'a> {
        Case {
            op,
            engine: op.row().engines[0].0,
            generation: Gen::Gen3,
            dst,
            operands: Vec::new(),
            attrs: Vec::new(),
            accumulate: false,
            layouts: [PLAIN; 5],
        }
    }
    pub fn operand(mut self, x: impl Into<Operand>) -> Self {
        self.operands.push(x.into());
        self
    }
    pub fn attr(mut self, name: &'a str, value: Attr) -> Self {
        self.attrs.push((name, value));
        self
    }
    pub fn alu(self, name: &'a str, op: AluOp) -> Self {
        self.attr(name, Attr::Alu(op))
    }
    pub fn flag(self, name: &'a str, on: bool) -> Self {
        self.attr(name, Attr::Bool(on))
    }
    pub fn engine(self, engine: Engine) -> Self {
        Case { engine, ..self }
    }
    pub fn generation(self, generation: Gen) -> Self {
        Case { generation, ..self }
    }
    pub fn layouts(self, layouts: [Layout; 5]) -> Self {
        Case { layouts, ..self }
    }
    /// Executes on a fresh state.
    pub fn run(self) -> Result<Tile, Code> {
        self.run_on(&mut State::default()).map(|mut tiles| tiles.remove(0)).map_err(|f| f.code)
    }
    /// Executes, and returns all tiles afterwards (in operand order). Panics if a byte outside the written operands changes.
    pub fn run_on(self, state: &mut State) -> Result<Vec<Tile>, Fault> {
        let mut mem = Flat(vec![0xa5; 3]);
        let row = self.op.row();
        let template = Builder::template(self.op, Loc(0));
        let mut attrs = template.attrs.to_vec();
        for (name, value) in self.attrs {
            attrs[row.attr(name).expect("an attribute of the row")] = value;
        }
        let mut args = vec![Arg::Span(mem.place(&self.dst, self.layouts[0], true))];
        for i in 1..row.operands.len() {
            args.push(match self.operands.get(i - 1) {
                None | Some(Operand::Absent) => Arg::None,
                Some(Operand::Imm(x)) => Arg::Imm(*x),
                Some(Operand::Int(x)) => Arg::Int(*x),
                Some(Operand::Tile(t)) => Arg::Span(mem.place(t, self.layouts[i % 5], true)),
            });
        }
        let outside = |mem: &Flat| {
            let mut bytes: Vec<Option<u8>> = mem.0.iter().copied().map(Some).collect();
            for (spec, arg) in row.operands.iter().zip(&args) {
                if let (Arg::Span(span), true) = (arg, spec.effect != crate::op::Effect::Read) {
                    for (b, o) in bytes.iter_mut().zip(mem.outside(span)) {
                        *b = b.and(o);
                    }
                }
            }
            bytes
        };
        let before = outside(&mem);
        let call = Call {
            op: self.op,
            engine: self.engine,
            generation: self.generation,
            args: &args,
            attrs: &attrs,
            accumulate: self.accumulate,
            salt: 7,
        };
        execute(&call, &mut mem, state)?;
        assert_eq!(outside(&mem), before, "bytes outside the destinations");
        let spans = args.iter().filter_map(|a| if let Arg::Span(s) = a { Some(s) } else { None });
        Ok(spans.map(|s| mem.tile(s)).collect())
    }
}

/// Bits of `dtype`: anything, with special values in the foreground.
pub fn bits(dtype: DType) -> impl Strategy<Value = u32> {
    let specials: Vec<u32> =
        [0.0, -0.0, 1.0, -1.0, 2.5, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e-40, 3e38, -7.0]
            .map(|x| cast::down(dtype, x))
            .to_vec();
    let mask = u32::MAX >> (32 - 8 * dtype.bytes() as u32);
    let small = (-40i32..40).prop_map(move |x| cast::down(dtype, x as f32 / 4.0));
    prop_oneof![
        2 => prop::sample::select(specials),
        3 => small,
        3 => any::<u32>().prop_map(move |b| b & mask),
    ]
    // A bool is stored as 0 or 1.
    .prop_map(move |b| if dtype == DType::Bool { b & 1 } else { b })
}

/// A tile of random bits.
pub fn tile(dtype: DType, parts: usize, n: usize) -> impl Strategy<Value = Tile> {
    prop::collection::vec(prop::collection::vec(bits(dtype), n), parts)
        .prop_map(move |bits| Tile { dtype, bits })
}

/// Dtypes with arithmetic.
pub fn any_dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(DType::all().filter(|d| cast::is_castable(*d)).collect::<Vec<_>>())
}

pub fn integer_dtype() -> impl Strategy<Value = DType> {
    prop::sample::select(vec![DType::U8, DType::I8, DType::U16, DType::I16, DType::U32, DType::I32])
}

pub fn five_layouts() -> impl Strategy<Value = [Layout; 5]> {
    [layout(), layout(), layout(), layout(), layout()]
}

/// A shape of few partitions and few elements.
pub fn small_shape() -> impl Strategy<Value = (usize, usize)> {
    (1usize..5, 1usize..19)
}
