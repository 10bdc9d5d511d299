//! Advice: its gain is what following it gains, found by writing the better program as well. And comparisons.
#![cfg(feature = "json")]

mod common;

use common::*;
use nki_ir::kernel::BufKind;
use nki_ir::op::{DgeMode, Engine};
use nki_ir::{DType, Target};
use nki_sim::program::*;
use nki_sim::report::{Advice, AdviceKind, advise, compare};
use nki_sim::{Mode, SimOptions, SimReport, run, verify};

use DType::{BF16, F32};

fn options() -> SimOptions {
    SimOptions { mode: Mode::TimeOnly, ..SimOptions::default() }
}

fn report(p: &Program) -> SimReport {
    run(&verify(p.clone()).unwrap(), &[], &options()).unwrap().report
}

fn advice(p: &Program) -> Vec<Advice> {
    advise(&verify(p.clone()).unwrap(), &SimOptions::default()).unwrap()
}

/// The advice of one kind at a line.
#[track_caller]
fn of(all: &[Advice], kind: AdviceKind, line: u32) -> &Advice {
    let found = all.iter().find(|a| a.kind == kind && a.at.line == line);
    found.unwrap_or_else(|| panic!("no {} at line {line}: {all:#?}", kind.name()))
}

/// A load of 512 columns of `x`, every `stride`-th.
fn load(from: u64, to: i64, stride: i64) -> MInst {
    let mut x = hbm(F32, from, 128, 512, 8192);
    std::sync::Arc::make_mut(&mut x.dims)[1].stride = stride;
    x.object = Some(0);
    dma(sbuf(F32, 128, to, 512), x, 0, DgeMode::Hwdge).signal(0, 16)
}

fn loads(list: &[(u64, i64, i64)]) -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![tensor("x", BufKind::Input, F32, &[128, 8192], 0)];
    let sync = stream(&mut p, Engine::Sync);
    for (i, &(from, to, stride)) in list.iter().enumerate() {
        sync.push(load(from, to, stride).at(10 + i as u32));
    }
    p
}

#[test]
fn reloads_gain_what_leaving_them_out_gains() {
    let twice = loads(&[(0, 0, 1), (2048, 2048, 1), (0, 4096, 1), (2048, 6144, 1)]);
    let once = loads(&[(0, 0, 1), (2048, 2048, 1)]);
    let all = advice(&twice);
    let (first, second) = (of(&all, AdviceKind::Reload, 12), of(&all, AdviceKind::Reload, 13));
    assert_eq!(first.message, "262.1 kB of the 262.1 kB that are loaded of `x` have been loaded before");
    let gain = report(&twice).kernel_ns - report(&once).kernel_ns;
    // Each alone gains about half; the two lines share what starting and ending costs.
    let sum = first.gain_ns + second.gain_ns;
    assert!(first.gain_ns > 0.0 && (0.7..1.3).contains(&(sum / gain)), "{sum} of {gain}: {all:#?}");
    assert!(!advice(&once).iter().any(|a| a.kind == AdviceKind::Reload));
    // What lies elsewhere is no reload.
    let apart = loads(&[(0, 0, 1), (2048, 2048, 1), (4096, 4096, 1), (6144, 6144, 1)]);
    assert!(!advice(&apart).iter().any(|a| a.kind == AdviceKind::Reload));
}

#[test]
fn small_elements_gain_what_whole_rows_gain() {
    let (strided, whole) = (loads(&[(0, 0, 2)]), loads(&[(0, 0, 1)]));
    let all = advice(&strided);
    let a = of(&all, AdviceKind::SmallElements, 10);
    assert_eq!(a.message, "262.1 kB of `x` move in elements of 4 bytes on average");
    let gain = report(&strided).kernel_ns - report(&whole).kernel_ns;
    assert!((a.gain_ns - gain).abs() < 0.01 * gain, "{} of {gain}", a.gain_ns);
    assert!(!advice(&whole).iter().any(|a| a.kind == AdviceKind::SmallElements));
}

fn products(dtype: DType) -> Program {
    let mut p = program(Target::Trn2);
    let tensor = stream(&mut p, Engine::Tensor);
    for i in 0..64 {
        let (a, b) = (sbuf(dtype, 128, 0, 128), sbuf(dtype, 128, 4096, 512));
        tensor.push(matmul(psum(F32, 128, 2048 * (i % 8), 512), a, b, false).at(20));
    }
    p
}

#[test]
fn products_in_float32_gain_what_bf16_gains() {
    let all = advice(&products(F32));
    let a = of(&all, AdviceKind::Float32, 20);
    assert!(a.message.starts_with("64 products of float32"), "{}", a.message);
    let gain = report(&products(F32)).kernel_ns - report(&products(BF16)).kernel_ns;
    assert!((a.gain_ns - gain).abs() < 0.01 * gain, "{} of {gain}", a.gain_ns);
    assert!(!advice(&products(BF16)).iter().any(|a| a.kind == AdviceKind::Float32));
}

fn copies(partitions: u32, columns: u32) -> Program {
    let mut p = program(Target::Trn2);
    let vector = stream(&mut p, Engine::Vector);
    for _ in 0..16 {
        vector.push(copy(sbuf(F32, partitions, 65_536, columns), sbuf(F32, partitions, 0, columns)).at(30));
    }
    p
}

#[test]
fn unused_partitions_gain_what_using_them_gains() {
    let all = advice(&copies(32, 4096));
    let a = of(&all, AdviceKind::Partitions, 30);
    assert_eq!(a.message, "tensor_copy works on 32 of 128 partitions (16 executed)");
    let gain = report(&copies(32, 4096)).kernel_ns - report(&copies(128, 1024)).kernel_ns;
    assert!((a.gain_ns - gain).abs() < 0.01 * gain, "{} of {gain}", a.gain_ns);
    assert!(advice(&copies(128, 1024)).is_empty());
}

/// Loads one after the other, each when the one before it is there.
fn one_by_one(count: i64, columns: u32) -> Program {
    let mut p = program(Target::Trn2);
    p.tensors = vec![tensor("x", BufKind::Input, F32, &[128, 8192], 0)];
    let sync = stream(&mut p, Engine::Sync);
    for i in 0..count {
        let mut x = hbm(F32, 4 * columns as u64 * i as u64, 128, columns, 8192);
        x.object = Some(0);
        let to = sbuf(F32, 128, 4 * i64::from(columns) * i, columns);
        sync.push(dma(to, x, 0, DgeMode::None).wait(0, 16 * i).signal(0, 16).at(10));
    }
    p
}

#[test]
fn short_transfers_gain_at_most_what_longer_ones_gain() {
    let (short, long) = (one_by_one(16, 128), one_by_one(2, 1024));
    let all = advice(&short);
    let a = of(&all, AdviceKind::ShortTransfers, 10);
    assert_eq!(a.message, "16 transfers of `x` move 65.5 kB each, less than starting them takes");
    let gain = report(&short).kernel_ns - report(&long).kernel_ns;
    // Longer transfers also wait less often, which the advice does not promise.
    assert!(a.gain_ns > 0.5 * gain && a.gain_ns < gain, "{} of {gain}", a.gain_ns);
    assert!(!advice(&long).iter().any(|a| a.kind == AdviceKind::ShortTransfers));
}

fn products_and_transposes(transposes: bool) -> Program {
    let mut p = program(Target::Trn2);
    let tensor = stream(&mut p, Engine::Tensor);
    for i in 0..128 {
        let (a, b) = (sbuf(BF16, 128, 0, 128), sbuf(BF16, 128, 4096, 512));
        if transposes {
            let mut turn = matmul(psum(BF16, 128, 2048 * (i % 4), 128), a.clone(), a.clone(), false).at(21);
            if let MKind::Compute { op, attrs, .. } = &mut turn.kind {
                std::sync::Arc::make_mut(attrs)[op.row().attr("is_transpose").unwrap()] =
                    nki_ir::Attr::Bool(true);
            }
            tensor.push(turn);
        }
        tensor.push(matmul(psum(F32, 128, 8192 + 2048 * (i % 4), 512), a, b, false).at(20));
    }
    p
}

#[test]
fn transposes_on_a_busy_tensor_engine_gain_what_leaving_them_out_gains() {
    let (with, without) = (products_and_transposes(true), products_and_transposes(false));
    let all = advice(&with);
    let a = of(&all, AdviceKind::Transposes, 21);
    assert_eq!(a.message, "128 transposes keep the tensor engine from products");
    let gain = report(&with).kernel_ns - report(&without).kernel_ns;
    assert!((a.gain_ns - gain).abs() < 0.05 * gain, "{} of {gain}", a.gain_ns);
    assert!(!advice(&without).iter().any(|a| a.kind == AdviceKind::Transposes));
}

#[test]
fn engines_that_take_turns_are_a_chain() {
    let mut p = program(Target::Trn2);
    let turns = 24;
    for i in 0..turns {
        let (a, b) = (sbuf(F32, 128, 0, 64), sbuf(F32, 128, 4096, 64));
        let there = copy(b.clone(), a.clone()).wait(1, i).signal(0, 1).at(40);
        stream(&mut p, Engine::Vector).push(there);
        stream(&mut p, Engine::GpSimd).push(copy(a, b).wait(0, i + 1).signal(1, 1).at(41));
    }
    let all = advice(&p);
    let a = of(&all, AdviceKind::Chain, 41);
    assert!(a.gain_ns > 0.1 * report(&p).kernel_ns, "{all:#?}");
    assert!(all.windows(2).all(|w| w[0].gain_ns >= w[1].gain_ns));
}

#[test]
fn an_empty_program_needs_nothing() {
    assert!(advice(&program(Target::Trn3)).is_empty());
}

#[test]
fn changes_of_the_critical_path_add_up() {
    let (a, b) = (report(&loads(&[(0, 0, 2), (2048, 2048, 1)])), report(&loads(&[(0, 0, 1)])));
    let c = compare(&a.to_json(), &b.to_json()).unwrap();
    let sum: f64 = c.critical.iter().map(|c| c.after - c.before).sum();
    assert!((sum - (b.kernel_ns - a.kernel_ns)).abs() < 1e-6, "{c}");
    assert!(
        c.critical.windows(2).all(|w| (w[0].after - w[0].before).abs() >= (w[1].after - w[1].before).abs())
    );
    let text = c.to_string();
    for words in ["B against A: ", "times as fast", "k.rs:10", "HBM bytes read"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let same = compare(&a.to_json(), &a.to_json()).unwrap();
    assert!(same.to_string().contains("both take"), "{same}");
    assert_eq!(c.to_json()["before"]["kernel_ns"], a.kernel_ns);
    assert!(compare(&serde_json::json!({}), &b.to_json()).unwrap_err().contains("kernel_ns"));
}
