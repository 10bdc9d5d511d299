//! TensorE: matrix products and transposes (isa.md 9.1).

use super::super::access::Walker;
use super::super::exec::Exec;
use super::super::later::{Later, Packed};
use super::super::scratch::{Scratch, scratch};
use super::super::{Fault, Span, cast, fault};
use crate::diag::Code;
use crate::dtype::DType;
use crate::op::{Engine, MatmulPerf};
use crate::target::Gen;
use nki_rt::{AlignedBuf, Combine, Element, MatMut, MatRef, Tier, bf16, f16};

/// isa.md 9.1.1: `dst[m, n] (+)= Σ stationary[k, m] · moving[k, n]`: exact products, ascending k, one float32 rounding an
/// addition; PSUM adds the finished sum. In double_row mode the contraction runs over `(j, k)`, j outermost.
pub(super) fn nc_matmul(e: &mut Exec) -> Result<(), Fault> {
    let (dst, stationary, moving) = (e.tile("dst")?, e.tile("stationary")?, e.tile("moving")?);
    let halves = if *e.perf_ref("perf_mode")? == MatmulPerf::DoubleRow { 2 } else { 1 };
    let product = Product::new(dst, stationary, moving, halves)?;
    e.castable(&[dst, stationary, moving])?;
    if e.state.check_claims {
        for (flag, name, span) in
            [("is_stationary_onezero", "stationary", stationary), ("is_moving_onezero", "moving", moving)]
        {
            if e.flag(flag)? {
                check_onezero(e, name, span)?;
            }
        }
    }
    if e.flag("is_transpose")? && e.call.generation >= Gen::Gen3 {
        if product.n != product.k || halves != 1 {
            return fault(Code::Shape, "moving is not square in transpose mode");
        }
        if e.state.check_claims {
            check_identity(e, moving)?;
        }
        return move_transposed(e, dst, stationary);
    }
    let accumulate = e.call.accumulate && !e.flag("is_transpose")?;
    if e.mem.later().is_some_and(|later| later.takes(e.call)) {
        return keep(e, &product, [stationary, moving], halves);
    }
    let [stationary, moving] = [stationary, moving].map(|span| load_halves(e, span, halves));
    product.run(e, &stationary, &moving, accumulate);
    Ok(())
}

/// Leaves a product to be made later.
fn keep(
    e: &mut Exec,
    product: &Product,
    [stationary, moving]: [&Span; 2],
    halves: usize,
) -> Result<(), Fault> {
    let (packed_left, packed_right) =
        (operand(e, stationary, halves, true), operand(e, moving, halves, false));
    let needs_old = e.mem.later().is_some_and(|later| later.needs_old(e.call));
    let mut old = scratch(if needs_old { product.m * product.n } else { 0 });
    if needs_old {
        for (p, row) in old.chunks_exact_mut(product.n).enumerate() {
            e.load(product.dst, p as u32, row);
        }
    }
    let call = e.call;
    if let (Some(later), Packed::Left(left), Packed::Right(right)) =
        (e.mem.later(), packed_left, packed_right)
    {
        later.add(call, left, right, needs_old.then_some(&old));
    }
    Ok(())
}

/// An operand of a product that is made later, packed, perhaps long ago.
fn operand(e: &mut Exec, span: &Span, halves: usize, left: bool) -> Packed {
    if let Some(known) = e.mem.later().and_then(|later| later.recall(span, halves, left)) {
        return known;
    }
    let mut buf = e.mem.later().map(Later::buf).unwrap_or_default();
    let packed = match span.dtype {
        _ if halves != 1 => None,
        DType::BF16 => pack_in_place::<bf16>(e, span, left, &mut buf),
        DType::F16 => pack_in_place::<f16>(e, span, left, &mut buf),
        DType::F32 => pack_in_place::<f32>(e, span, left, &mut buf),
        _ => None,
    };
    let packed = packed.unwrap_or_else(|| {
        let numbers = load_halves(e, span, halves);
        let rows = halves * span.parts as usize;
        Packed::new(MatRef::dense(&numbers, rows, span.row_elements() / halves), left, buf)
    });
    if let Some(later) = e.mem.later() {
        later.remember(span, halves, packed.clone());
    }
    packed
}

/// Packs an operand from where it lies, if it lies there as a matrix.
fn pack_in_place<T: Element>(e: &Exec, span: &Span, left: bool, buf: &mut AlignedBuf) -> Option<Packed> {
    let (parts, n, width) = (span.parts as usize, span.row_elements(), span.dtype.bytes());
    let stride = span.part_stride as usize;
    let apart = stride.is_multiple_of(width) && stride >= n * width;
    if !span.is_row_contiguous() || !apart || parts * n == 0 {
        return None;
    }
    let start = span.base as usize;
    let bytes = &e.mem.bytes(span.mem)[start..start + (parts - 1) * stride + n * width];
    let rows = nki_rt::cast_slice::<T>(bytes)?.chunks(stride / width);
    // Partitions lie so far apart that they share cache lines' places; packing takes a few numbers of each in turn.
    let mut side_by_side = scratch((parts * n * width).div_ceil(4));
    let numbers = nki_rt::cast_slice_mut::<T>(nki_rt::as_bytes_mut(&mut side_by_side))?;
    rows.zip(numbers.chunks_exact_mut(n)).for_each(|(from, to)| to.copy_from_slice(&from[..n]));
    Some(Packed::new(MatRef::dense(&numbers[..parts * n], parts, n), left, std::mem::take(buf)))
}

/// isa.md 9.1.3: `dst[f, p] = data[p, f]`, bit for bit, except that TensorE of gen2 multiplies by an identity matrix.
pub(super) fn nc_transpose(e: &mut Exec) -> Result<(), Fault> {
    let (dst, data) = (e.tile("dst")?, e.tile("data")?);
    let (parts, n) = (data.parts as usize, data.row_elements());
    if (dst.parts as usize, dst.row_elements()) != (n, parts) {
        let got = (dst.parts, dst.row_elements());
        return fault(Code::Shape, format!("dst is {} x {}, data {parts} x {n}", got.0, got.1));
    }
    if e.call.engine != Engine::Tensor || e.call.generation >= Gen::Gen3 {
        return move_transposed(e, dst, data);
    }
    e.castable(&[dst, data])?;
    let mut identity = scratch(parts * parts);
    identity.fill(0.0);
    identity.iter_mut().step_by(parts + 1).for_each(|x| *x = 1.0);
    let product = Product { dst, k: parts, m: n, n: parts };
    product.run(e, &load_halves(e, data, 1), &identity, false);
    Ok(())
}

/// The shape of a product and where it goes. `k` counts both halves of a double row, and the lanes of packed elements.
pub(super) struct Product<'a> {
    dst: &'a Span,
    pub k: usize,
    pub m: usize,
    pub n: usize,
}

impl<'a> Product<'a> {
    pub fn new(dst: &'a Span, stationary: &Span, moving: &Span, halves: usize) -> Result<Self, Fault> {
        let (m, n) = (stationary.row_elements() / halves, moving.row_elements() / halves);
        let whole = m * halves == stationary.row_elements() && n * halves == moving.row_elements();
        let fits = (dst.parts as usize, dst.row_elements()) == (m, n);
        if !whole || !fits || stationary.parts != moving.parts {
            let [s, x, d] = [stationary, moving, dst].map(|t| format!("({}, {})", t.parts, t.row_elements()));
            return fault(Code::Shape, format!("stationary {s} and moving {x} do not give dst {d}"));
        }
        Ok(Product { dst, k: halves * stationary.parts as usize, m, n })
    }

    /// `dst (+)= stationaryᵀ · moving`, both row-major `[k, ..]`.
    pub fn run(&self, e: &mut Exec, stationary: &[f32], moving: &[f32], accumulate: bool) {
        let (k, m, n) = (self.k, self.m, self.n);
        let a = MatRef::dense(stationary, k, m);
        let b = MatRef::dense(moving, k, n);
        let combine = if accumulate { Combine::Add } else { Combine::Overwrite };
        if self.in_place(e, |c| nki_rt::matmul(Tier::best(), a, b, c, combine)) {
            return;
        }
        let mut sums = scratch(m * n);
        nki_rt::matmul(Tier::best(), a, b, MatMut::dense(&mut sums, m, n), Combine::Overwrite);
        self.write(e, &mut sums, accumulate);
    }

    /// Writes the sums, row-major `[m, n]`, or adds them to what is there.
    pub fn write(&self, e: &mut Exec, sums: &mut [f32], accumulate: bool) {
        let n = self.n;
        let mut old = scratch(if accumulate { n } else { 0 });
        for (p, row) in sums.chunks_exact_mut(n.max(1)).enumerate() {
            if accumulate {
                e.load(self.dst, p as u32, &mut old);
                row.iter_mut().zip(old.iter()).for_each(|(s, o)| *s += o);
            }
            e.store(self.dst, p as u32, row);
        }
    }

    /// Calls `f` with the destination itself if that is a float32 matrix as it lies in memory; `false` if it is not.
    fn in_place(&self, e: &mut Exec, f: impl FnOnce(MatMut<f32>)) -> bool {
        let (dst, stride) = (self.dst, self.dst.part_stride as usize);
        let dense = dst.dtype == DType::F32 && dst.is_row_contiguous();
        if !dense || self.m * self.n == 0 || !stride.is_multiple_of(4) || stride / 4 < self.n {
            return false;
        }
        let range = dst.base as usize..dst.base as usize + (self.m - 1) * stride + self.n * 4;
        let Some(c) = nki_rt::cast_slice_mut::<f32>(&mut e.mem.bytes_mut(dst.mem)[range]) else {
            return false;
        };
        f(MatMut::new(c, self.m, self.n, stride / 4));
        for row in c.chunks_mut(stride / 4) {
            cast::canonicalize(&mut row[..self.n]);
        }
        true
    }
}

/// An operand of a product as a dense `[halves · parts, elements / halves]` matrix: all partitions of the first half, then
/// of the second.
fn load_halves(e: &Exec, span: &Span, halves: usize) -> Scratch {
    let (parts, n) = (span.parts as usize, span.row_elements());
    let mut out = scratch(parts * n);
    if halves == 1 {
        for (p, row) in out.chunks_exact_mut(n.max(1)).enumerate() {
            e.load(span, p as u32, row);
        }
        return out;
    }
    let (mut row, width) = (scratch(n), n / halves);
    for p in 0..parts {
        e.load(span, p as u32, &mut row);
        for (j, half) in row.chunks_exact(width.max(1)).enumerate() {
            out[(j * parts + p) * width..][..width].copy_from_slice(half);
        }
    }
    out
}

/// Moves bits: row f of `dst` becomes column f of `data`. A destination of wider elements gets zero upper bytes (FP8 in
/// 16-bit PSUM slots).
fn move_transposed(e: &mut Exec, dst: &Span, data: &Span) -> Result<(), Fault> {
    let (parts, n) = (data.parts as usize, data.row_elements());
    let widens_fp8 = data.dtype.bytes() == 1 && dst.dtype.bytes() == 2;
    if data.dtype.bytes() != dst.dtype.bytes() && !widens_fp8 {
        return fault(
            Code::Dtype,
            format!("a transpose moves bits, but data is {} and dst {}", data.dtype, dst.dtype),
        );
    }
    let mut bits = vec![0u32; parts * n];
    for (p, row) in bits.chunks_exact_mut(n.max(1)).enumerate() {
        e.load_bits(data, p as u32, row);
    }
    let mut column = vec![0u32; parts];
    for f in 0..n {
        for (p, x) in column.iter_mut().enumerate() {
            *x = bits[p * n + f];
        }
        e.store_bits(dst, f as u32, &column);
    }
    Ok(())
}

/// The hint that a matrix holds only zeros and ones (checked in strict mode).
fn check_onezero(e: &Exec, name: &str, span: &Span) -> Result<(), Fault> {
    let mut row = scratch(span.row_elements());
    for p in 0..span.parts {
        e.load(span, p, &mut row);
        if let Some(f) = row.iter().position(|&x| x != 0.0 && x != 1.0) {
            let x = row[f];
            return fault(Code::Parameter, format!("{name} is declared 0/1 but element ({p}, {f}) is {x}"));
        }
    }
    Ok(())
}

/// The moving operand of a transpose is an identity matrix (checked in strict mode).
fn check_identity(e: &Exec, moving: &Span) -> Result<(), Fault> {
    let mut row = scratch(moving.row_elements());
    let mut walk = Walker::all(moving);
    for p in 0..moving.parts as usize {
        walk.read_f32(e.mem.bytes(moving.mem), moving.dtype, &mut row);
        if let Some(f) = (0..row.len()).find(|&f| row[f] != f32::from(u8::from(f == p))) {
            return fault(
                Code::Parameter,
                format!("moving is no identity matrix: element ({p}, {f}) is {}", row[f]),
            );
        }
    }
    Ok(())
}
