//! Kernels built by hand through the gate. Per-rule cases are filetests (`tests/filetests/verify`).

use super::rules;
use super::*;
use crate::affine::Affine;
use crate::builder::Builder;
use crate::diag::Code;
use crate::dtype::DType;
use crate::entity::{Buf, Loop, Var};
use crate::kernel::{Accumulate, Attr, Bound, BufData, BufKind, Operand, Space};
use crate::loc::Loc;
use crate::view::{AxisSlice, Index, View};
use std::collections::BTreeSet;

/// A builder with short words for tests.
struct K {
    b: Builder,
}

impl K {
    fn new() -> K {
        K { b: Builder::new("k") }
    }
    fn arg(&mut self, name: &str, kind: BufKind, dtype: DType, shape: &[u32]) -> Buf {
        self.b.param(BufData::new(name, Space::Hbm, dtype, shape, kind, Loc(0)))
    }
    fn tile(&mut self, name: &str, space: Space, dtype: DType, shape: &[u32]) -> Buf {
        self.b.alloc(BufData::new(name, space, dtype, shape, BufKind::Private, Loc(0)))
    }
    fn full(&self, buf: Buf) -> View {
        View::full(buf, &self.b.kernel().bufs[buf])
    }
    fn at(&self, buf: Buf, axes: &[(Affine, u32)]) -> View {
        let axes = axes.iter().map(|(s, n)| AxisSlice::range(s.clone(), *n)).collect();
        View { buf, dtype: self.b.kernel().bufs[buf].dtype, index: Index::Slice(axes), dynamic: None }
    }
    fn op(&mut self, op: Op, operands: &[(&str, Operand)], attrs: &[(&str, Attr)]) -> Inst {
        let mut data = Builder::template(op, Loc(0));
        for (name, o) in operands {
            data.operands[op.row().operand(name).unwrap()] = o.clone();
        }
        for (name, a) in attrs {
            data.attrs[op.row().attr(name).unwrap()] = a.clone();
        }
        self.b.inst(data)
    }
    fn copy(&mut self, dst: View, src: View) {
        self.op(Op::DmaCopy, &[("dst", Operand::View(dst)), ("src", Operand::View(src))], &[]);
    }
    fn range(&mut self, name: &str, n: i64) -> (Loop, Var) {
        self.b.begin_for(name, Bound::Const(0), Bound::Const(n), 1, Loc(0))
    }
    fn check(self, target: Target) -> Result<Verified, Diagnostics> {
        verify(self.b.finish(), target)
    }
}

fn tiles(v: Var, n: i64) -> Affine {
    Affine::var(v).scale(n).unwrap()
}

/// `out[m, n] = a[k, m]ᵀ · b[k, n]` in tiles of 128 x 512.
fn matmul(m: u32, k: u32, n: u32) -> K {
    let mut x = K::new();
    let a = x.arg("a", BufKind::Input, DType::BF16, &[k, m]);
    let b = x.arg("b", BufKind::Input, DType::BF16, &[k, n]);
    let out = x.arg("out", BufKind::Output, DType::BF16, &[m, n]);
    let (_, mi) = x.range("mi", (m / 128).into());
    let (_, ni) = x.range("ni", (n / 512).into());
    let acc = x.tile("acc", Space::Psum, DType::F32, &[128, 512]);
    let (_, ki) = x.range("ki", (k / 128).into());
    let at = x.tile("at", Space::Sbuf, DType::BF16, &[128, 128]);
    let bt = x.tile("bt", Space::Sbuf, DType::BF16, &[128, 512]);
    let av = x.at(a, &[(tiles(ki, 128), 128), (tiles(mi, 128), 128)]);
    let bv = x.at(b, &[(tiles(ki, 128), 128), (tiles(ni, 512), 512)]);
    x.copy(x.full(at), av);
    x.copy(x.full(bt), bv);
    let acc_attr = Attr::Accumulate(Accumulate::UnlessFirst([ki].into_iter().collect()));
    let (dst, s, mv) = (x.full(acc), x.full(at), x.full(bt));
    x.op(
        Op::NcMatmul,
        &[("dst", Operand::View(dst)), ("stationary", Operand::View(s)), ("moving", Operand::View(mv))],
        &[("accumulate", acc_attr)],
    );
    x.b.end();
    let res = x.tile("res", Space::Sbuf, DType::BF16, &[128, 512]);
    let (dst, src) = (x.full(res), x.full(acc));
    x.op(Op::TensorCopy, &[("dst", Operand::View(dst)), ("src", Operand::View(src))], &[]);
    let to = x.at(out, &[(tiles(mi, 128), 128), (tiles(ni, 512), 512)]);
    x.copy(to, x.full(res));
    x
}

fn codes(d: &Diagnostics) -> Vec<Code> {
    d.iter().map(|d| d.code).collect()
}

#[test]
fn a_tiled_matmul_is_legal_everywhere() {
    for target in Target::ALL {
        let v = matmul(256, 384, 1024).check(target).unwrap();
        assert!(v.warnings().is_empty(), "{:?}", v.warnings());
    }
}

#[test]
fn several_errors_come_at_once_with_witnesses() {
    let mut x = K::new();
    let a = x.arg("a", BufKind::Input, DType::F32, &[1000, 64]);
    let out = x.arg("out", BufKind::Output, DType::F32, &[128, 64]);
    let t = x.tile("t", Space::Sbuf, DType::F32, &[128, 64]);
    let (_, i) = x.range("i", 8);
    let av = x.at(a, &[(tiles(i, 128), 128), (Affine::constant(0), 64)]);
    x.copy(x.full(t), av);
    x.op(
        Op::Reciprocal,
        &[
            ("dst", Operand::View(x.full(t))),
            ("data", Operand::View(x.at(t, &[(Affine::constant(0), 128), (Affine::constant(0), 32)]))),
        ],
        &[],
    );
    x.b.end();
    let d = x.check(Target::Trn2).unwrap_err();
    assert_eq!(codes(&d), [Code::OutOfBounds, Code::Shape, Code::OutputNotWritten], "{d}");
    assert!(d.to_string().contains("axis 0 896..1024 of 1000 when %i = 7"), "{d}");
    let _ = out;
}

/// What one instruction or node too many makes of a legal kernel.
fn broken(change: impl FnOnce(&mut crate::kernel::Kernel)) -> Vec<&'static str> {
    let mut k = matmul(256, 384, 1024).b.finish();
    change(&mut k);
    verify(k, Target::Trn2).unwrap_err().iter().filter_map(|d| d.rule.map(|r| r.name)).collect()
}

#[test]
fn structure_is_checked_before_anything_follows_it() {
    use crate::kernel::{InstData, Node};
    let last = |k: &crate::kernel::Kernel| k.insts.keys().next_back().unwrap();
    let region_of_tile = |k: &crate::kernel::Kernel, name: &str| {
        let buf = k.bufs.iter().find(|b| b.1.name == name).unwrap().0;
        Flat::new(k).unwrap().alloc(buf).unwrap().0
    };
    let add = |k: &mut crate::kernel::Kernel, data: InstData, region| {
        let inst = k.insts.push(data);
        k.regions[region].nodes.push(Node::Inst(inst));
    };
    // A copy of the product after its loop: tiles of the loop are gone.
    assert_eq!(
        broken(|k| {
            let product = k.insts.values().find(|i| i.op == Op::NcMatmul).unwrap().clone();
            let outer = region_of_tile(k, "acc");
            add(k, product, outer);
        }),
        ["ESCAPE", "ESCAPE"]
    );
    // The store after all loops: its tile and its variables are gone.
    assert_eq!(
        broken(|k| {
            let store = k.insts[last(k)].clone();
            let body = k.body;
            add(k, store, body);
        }),
        ["VAR_SCOPE", "VAR_SCOPE", "ESCAPE"]
    );
    // The eviction before the tile it writes.
    assert_eq!(
        broken(|k| {
            let region = region_of_tile(k, "acc");
            let nodes = &mut k.regions[region].nodes;
            let at =
                nodes.iter().position(|n| matches!(n, Node::Alloc(b) if k.bufs[*b].name == "res")).unwrap();
            nodes.swap(at, at + 1);
        }),
        ["UNDEFINED"]
    );
    assert_eq!(
        broken(|k| {
            let body = k.body;
            let again = k.regions[body].nodes[0];
            k.regions[body].nodes.push(again);
        }),
        ["TREE"]
    );
    assert_eq!(
        broken(|k| {
            let i = last(k);
            k.insts[i].operands.pop();
        }),
        ["TABLE_FORM"]
    );
    assert_eq!(
        broken(|k| {
            let i = last(k);
            if let Operand::View(v) = &mut k.insts[i].operands[0] {
                v.buf = Buf(1000);
            }
        }),
        ["ENTITY"]
    );
    assert_eq!(broken(|k| k.bufs[Buf(4)].name = "a".into()), ["UNIQUE_BUF"]);
    assert_eq!(
        broken(|k| {
            let product = k.insts.iter().find(|i| i.1.op == Op::NcMatmul).unwrap().0;
            let at = Op::NcMatmul.row().attr("accumulate").unwrap();
            k.insts[product].attrs[at] = Attr::Accumulate(Accumulate::Auto);
        }),
        ["ACC_AUTO"]
    );
}

#[test]
fn an_unrolled_mistake_is_reported_three_times_with_a_count() {
    let mut x = K::new();
    let frame = x.b.kernel_mut().locs.frame("k", None);
    let loc = x.b.kernel_mut().locs.loc("k.rs", 7, 5, frame);
    let t = x.tile("t", Space::Sbuf, DType::F32, &[128, 64]);
    for _ in 0..50 {
        let (dst, data) = (x.full(t), x.at(t, &[(Affine::constant(0), 128), (Affine::constant(0), 32)]));
        let i = x.op(Op::Reciprocal, &[("dst", Operand::View(dst)), ("data", Operand::View(data))], &[]);
        x.b.kernel_mut().insts[i].loc = loc;
    }
    let found = x.check(Target::Trn2).unwrap_err();
    let shapes: Vec<_> = found.iter().filter(|d| d.code == Code::Shape).collect();
    assert_eq!(shapes.len(), 3, "{found}");
    assert!(shapes[2].notes.iter().any(|n| n.starts_with("and 47 more")), "{found}");
}

#[test]
fn one_instruction_can_be_checked_by_itself() {
    let mut x = K::new();
    let t = x.tile("t", Space::Sbuf, DType::F32, &[128, 64]);
    let half = x.at(t, &[(Affine::constant(0), 128), (Affine::constant(0), 32)]);
    let good =
        x.op(Op::Reciprocal, &[("dst", Operand::View(x.full(t))), ("data", Operand::View(x.full(t)))], &[]);
    let bad = x.op(Op::Reciprocal, &[("dst", Operand::View(x.full(t))), ("data", Operand::View(half))], &[]);
    let kernel = x.b.finish();
    assert_eq!(check_inst(&kernel, good, Target::Trn2), []);
    let found = check_inst(&kernel, bad, Target::Trn2);
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::Shape]);
    let missing = check_inst(&kernel, Inst(99), Target::Trn2);
    assert_eq!(missing.iter().map(|d| d.code).collect::<Vec<_>>(), [Code::Form]);
}

#[test]
fn ids_are_those_of_the_specification() {
    // Checks numbered in isa.md, by section.
    let counts = [
        ("9.1.1", 12),
        ("9.1.2", 6),
        ("9.1.3", 3),
        ("9.2.1", 6),
        ("9.2.2", 2),
        ("9.2.3", 5),
        ("9.3.1", 4),
        ("9.3.2", 5),
        ("9.3.3", 4),
        ("9.3.4", 4),
        ("9.3.5", 6),
        ("9.3.6", 5),
        ("9.3.7", 4),
        ("9.3.8", 4),
        ("9.3.9", 5),
        ("9.3.10", 4),
        ("9.3.11", 5),
        ("9.3.12", 1),
        ("9.3.14", 6),
        ("9.3.15", 7),
        ("9.3.16", 3),
        ("9.3.17", 4),
        ("9.3.18", 3),
        ("9.3.19", 3),
        ("9.3.20", 4),
        ("9.3.21", 4),
        ("9.3.22", 5),
        // In the order of its table: rng 1 and 2, rand2 3 and 4, rand_set_state 5 and 6, rand_get_state 7 and 8, set_rng_seed 9.
        ("9.5", 9),
        ("9.3.13", 7),
        ("9.4.1", 3),
        ("9.4.2", 4),
        ("9.4.3", 4),
        ("9.4.4", 3),
        ("9.4.5", 6),
        ("9.4.6", 4),
        ("9.4.7", 4),
        ("9.4.8", 5),
        ("9.6.1", 8),
        ("9.7", 0),
        ("9.6.2", 5),
        ("9.6.3", 5),
        ("10", 0),
        // One more than isa.md: the number of the barrier's tensor, which is ours.
        ("9.8.1", 5),
        ("9.8.2", 5),
    ];
    let sections: BTreeSet<&str> = crate::op::OPS.iter().map(|r| r.section).collect();
    assert_eq!(sections, counts.iter().map(|c| c.0).collect(), "a section without its number of checks");
    let mut wanted: BTreeSet<String> = (1..=20).map(|i| format!("G{i}")).collect();
    for (section, n) in counts {
        wanted.extend((1..=n).map(|i| format!("{section}/{i}")));
    }
    let checked: BTreeSet<&str> = rules::ALL.iter().map(|r| r.id).collect();
    let mut known: BTreeSet<String> = checked.iter().map(|s| s.to_string()).collect();
    for (id, by) in rules::COVERED {
        assert!(checked.contains(by), "{id} is covered by {by}, which is not checked");
        assert!(known.insert(id.to_string()), "{id} is both checked and covered");
    }
    for (id, why) in rules::NOT_CHECKED {
        assert!(!why.is_empty() && known.insert(id.to_string()), "{id} twice");
    }
    let missing: Vec<_> = wanted.difference(&known).collect();
    assert!(missing.is_empty(), "rules of isa.md that nothing maps: {missing:?}");
    // The listing of a section names its checks in order.
    for (section, n) in counts.into_iter().filter(|c| c.1 > 0) {
        let mut listed: Vec<&str> = rules::of_section(section).iter().map(|c| c.0).collect();
        listed.dedup();
        let wanted: Vec<String> = (1..=n).map(|i| format!("{section}/{i}")).collect();
        assert_eq!(listed, wanted);
    }
    let numbered = |id: &&String| id.starts_with('G') || id.starts_with("9.") && !id.starts_with("9.7");
    let extra: Vec<_> = known.iter().filter(numbered).filter(|k| !wanted.contains(*k)).collect();
    assert!(extra.is_empty(), "rules that isa.md does not number: {extra:?}");
}
