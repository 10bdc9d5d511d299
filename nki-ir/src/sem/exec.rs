//! What the functions of the ops work with: the call's operands and attributes by name, and rows of its memories.

use super::access::Walker;
use super::state::Rounder;
use super::{Arg, Call, Fault, Memory, Span, State, cast, fault};
use crate::diag::Code;
use crate::kernel::Attr;
use crate::op::{ActFn, AluOp, ReduceCmd};

/// One execution. Operands have passed `check_operand`.
pub(super) struct Exec<'a> {
    pub call: &'a Call<'a>,
    pub mem: &'a mut dyn Memory,
    pub state: &'a mut State,
    rounder: Rounder,
}

/// A per-partition operand: an immediate or one element a partition.
#[derive(Clone, Copy)]
pub(super) enum Scalars<'a> {
    Absent,
    Imm(f32),
    Int(i64),
    Vec(&'a Span),
}

/// Reads an attribute of one variant by name.
macro_rules! attr {
    ($name:ident, $variant:ident, $ty:ty) => {
        pub fn $name(&self, name: &str) -> Result<$ty, Fault> {
            match self.attr(name)? {
                Attr::$variant(x) => Ok(x),
                _ => fault(Code::Form, format!("attribute {name} of the wrong kind")),
            }
        }
    };
}

impl<'a> Exec<'a> {
    pub fn new(call: &'a Call<'a>, mem: &'a mut dyn Memory, state: &'a mut State) -> Self {
        let rounder = Rounder::new(state.rounding, call.salt);
        Exec { call, mem, state, rounder }
    }

    fn attr(&self, name: &str) -> Result<&'a Attr, Fault> {
        let found = self.call.op.row().attr(name).and_then(|i| self.call.attrs.get(i));
        found.map_or_else(|| fault(Code::Form, format!("no attribute {name}")), Ok)
    }
    attr!(alu_ref, Alu, &'a AluOp);
    attr!(act_ref, Act, &'a ActFn);
    attr!(cmd_ref, ReduceCmd, &'a ReduceCmd);
    attr!(flag_ref, Bool, &'a bool);
    attr!(int_ref, Int, &'a i64);
    attr!(f32_ref, F32, &'a f32);
    attr!(ints, Ints, &'a Vec<i64>);
    attr!(pairs, Pairs, &'a Vec<[i64; 2]>);
    attr!(perf_ref, MatmulPerf, &'a crate::op::MatmulPerf);

    pub fn alu(&self, name: &str) -> Result<AluOp, Fault> {
        self.alu_ref(name).copied()
    }
    pub fn flag(&self, name: &str) -> Result<bool, Fault> {
        self.flag_ref(name).copied()
    }

    fn arg(&self, name: &str) -> Result<&'a Arg, Fault> {
        let found = self.call.op.row().operand(name).and_then(|i| self.call.args.get(i));
        found.map_or_else(|| fault(Code::Form, format!("no operand {name}")), Ok)
    }
    /// A tile.
    pub fn tile(&self, name: &str) -> Result<&'a Span, Fault> {
        match self.arg(name)? {
            Arg::Span(s) => Ok(s),
            _ => fault(Code::Form, format!("{name} is not a tile")),
        }
    }
    /// An optional vec with the instruction's `parts`.
    pub fn vec(&self, name: &str, parts: u32) -> Result<Option<&'a Span>, Fault> {
        match self.scalars(name, parts)? {
            Scalars::Absent => Ok(None),
            Scalars::Vec(s) => Ok(Some(s)),
            _ => fault(Code::Form, format!("{name} is not a tile")),
        }
    }
    /// An optional per-partition operand.
    pub fn scalars(&self, name: &str, parts: u32) -> Result<Scalars<'a>, Fault> {
        Ok(match self.arg(name)? {
            Arg::None => Scalars::Absent,
            Arg::Imm(x) => Scalars::Imm(*x),
            Arg::Int(x) => Scalars::Int(*x),
            Arg::Span(s) if s.parts == parts && s.row_elements() == 1 => Scalars::Vec(s),
            Arg::Span(s) => {
                let got = format!("{name} is ({}, {}), not ({parts}, 1)", s.parts, s.row_elements());
                return fault(Code::Shape, got);
            }
            Arg::Rows(_) | Arg::Columns(_) => {
                return fault(Code::Form, format!("{name} is not a scalar or vec"));
            }
        })
    }
    /// An integer operand, 0 if absent.
    pub fn integer(&self, name: &str) -> Result<i64, Fault> {
        match self.arg(name)? {
            Arg::None => Ok(0),
            Arg::Int(x) => Ok(*x),
            _ => fault(Code::Form, format!("{name} is not an integer")),
        }
    }
    /// An operand in any form.
    pub fn any(&self, name: &str) -> Result<&'a Arg, Fault> {
        self.arg(name)
    }

    /// The value of a per-partition operand in partition `p`; `absent` if there is none.
    pub fn scalar(&self, operand: Scalars, p: u32, absent: f32) -> f32 {
        match operand {
            Scalars::Absent => absent,
            Scalars::Imm(x) => x,
            Scalars::Int(x) => x as f32,
            Scalars::Vec(span) => {
                let mut x = [0.0];
                self.load(span, p, &mut x);
                x[0]
            }
        }
    }
    /// Row `p` of a tile, widened.
    pub fn load(&self, span: &Span, p: u32, out: &mut [f32]) {
        Walker::row(span, p).read_f32(self.mem.bytes(span.mem), span.dtype, out);
    }
    /// Rounds `values` into row `p` of a tile.
    pub fn store(&mut self, span: &Span, p: u32, values: &[f32]) {
        let first = u64::from(p) << 32;
        Walker::row(span, p).write_f32(
            self.mem.bytes_mut(span.mem),
            span.dtype,
            values,
            &self.rounder,
            first,
        );
    }
    /// Row `p` of a tile as raw bits, zero-extended.
    pub fn load_bits(&self, span: &Span, p: u32, out: &mut [u32]) {
        Walker::row(span, p).read_bits(self.mem.bytes(span.mem), span.dtype.bytes(), out);
    }
    /// Copies row `p` of `src` to row `p` of `dst`, of the same dtype, through `row`.
    pub fn copy_row(&mut self, src: &Span, dst: &Span, p: u32, row: &mut [u8]) {
        let width = src.dtype.bytes();
        Walker::row(src, p).read_raw(self.mem.bytes(src.mem), width, row);
        Walker::row(dst, p).write_raw(self.mem.bytes_mut(dst.mem), width, row);
    }
    /// Writes the low bytes of `values` to row `p` of a tile.
    pub fn store_bits(&mut self, span: &Span, p: u32, values: &[u32]) {
        let bytes = self.mem.bytes_mut(span.mem);
        Walker::row(span, p).write_bits(bytes, span.dtype.bytes(), values);
    }
    /// Rounds all of `values` into a walk, the first one being number `first` of the instruction.
    pub fn store_walk(&mut self, walk: &mut Walker, span: &Span, values: &[f32], first: u64) {
        walk.write_f32(self.mem.bytes_mut(span.mem), span.dtype, values, &self.rounder, first);
    }

    /// Row `p` of a 32-bit integer tile, exactly.
    pub fn load_int(&self, span: &Span, p: u32, bits: &mut [u32], out: &mut [i64]) {
        self.load_bits(span, p, bits);
        let signed = span.dtype == crate::DType::I32;
        for (o, &b) in out.iter_mut().zip(bits.iter()) {
            *o = if signed { i64::from(b as i32) } else { i64::from(b) };
        }
    }

    /// Checks rule G3 for two tiles that pair element-wise.
    pub fn pair(&self, dst: &Span, name: &str) -> Result<&'a Span, Fault> {
        let src = self.tile(name)?;
        if (src.parts, src.row_elements()) != (dst.parts, dst.row_elements()) {
            let (a, b) = ((src.parts, src.row_elements()), (dst.parts, dst.row_elements()));
            return fault(
                Code::Shape,
                format!("{name} has {} x {} elements, dst {} x {}", a.0, a.1, b.0, b.1),
            );
        }
        Ok(src)
    }
    /// Checks that every tile can be converted to and from float32.
    pub fn castable(&self, spans: &[&Span]) -> Result<(), Fault> {
        match spans.iter().find(|s| !cast::is_castable(s.dtype)) {
            Some(s) => fault(Code::Dtype, format!("{} has no arithmetic", s.dtype)),
            None => Ok(()),
        }
    }
}
