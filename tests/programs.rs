//! Two programs of a logical core, in every mode (isa.md 9.8 and 11.4).

use nki::args::{from_f64, to_f64};
use nki::ir::{Code, DType, Diagnostics, Tensor};
use nki::prelude::*;
use nki::sim::{self, SimOptions};

const MODES: [Mode; 4] = Mode::ALL;

fn floats(shape: &[usize], first: usize) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|i| ((i + first) % 13) as f64 - 4.0).collect();
    from_f64(DType::F32, shape, &values).unwrap()
}

fn codes(e: Diagnostics) -> Vec<Code> {
    e.iter().map(|d| d.code).collect()
}

/// Each program copies its rows; an odd one is left to the last.
#[nki::kernel]
fn shares(nc: Nc, x: Hbm<f32>) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, columns]);
    let (id, n) = (nc.program_id(0), nc.num_programs());
    let mine = id * (rows / n)..if id + 1 == n { rows } else { (id + 1) * (rows / n) };
    nc.store(out.at((mine.clone(), ..)), nc.load(x.at((mine, ..))) * 2.0);
    out
}

#[test]
fn programs_share_their_results() {
    for rows in [2, 3, 7, 128] {
        let x = floats(&[rows, 5], 0);
        let want: Vec<f64> = to_f64(&x).iter().map(|v| 2.0 * v).collect();
        for mode in MODES {
            for n in [1, 2] {
                let got = shares::specialize(&x).programs(n).run(mode, Target::Trn2);
                let got = got.unwrap_or_else(|e| panic!("{mode} {rows} {n}: {e}"));
                assert_eq!(to_f64(&got[0]), want, "{mode}: {rows} rows, {n} programs");
            }
        }
    }
}

/// The rows' sums, each program summing half of the columns; the other half comes by sendrecv.
#[nki::kernel]
fn halves_of_sums(nc: Nc, x: Hbm<f32>, small: bool) -> Hbm<f32> {
    let [rows, columns] = x.dims();
    let out = nc.hbm([rows, 1]);
    let (me, other) = (nc.program_id(0), 1 - nc.program_id(0));
    let half = columns / 2;
    let part = nc.load(x.at((.., me * half..(me + 1) * half)));
    let (mine, theirs) = (nc.sbuf::<f32>([rows, 1]), nc.sbuf::<f32>([rows, 1]));
    nc.tensor_reduce(mine, Alu::Add, part);
    let exchange = nc.sendrecv(theirs, mine, other, other).pipe_id(3);
    if small {
        exchange.gpsimd_dma();
    } else {
        drop(exchange);
    }
    if me == 0 {
        nc.store(out, mine + theirs);
    }
    out
}

#[test]
fn tiles_are_exchanged() {
    let x = floats(&[37, 10], 3);
    let want: Vec<f64> = to_f64(&x).chunks(10).map(|row| row.iter().sum()).collect();
    for mode in MODES {
        for target in [Target::Trn2, Target::Trn3] {
            for small in [false, true] {
                let got = halves_of_sums::specialize(&x, small).programs(2).run(mode, target);
                let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
                assert_eq!(to_f64(&got[0]), want, "{mode} on {target}");
            }
        }
    }
}

/// Turn by turn each program adds to what the other has written in the turn before.
#[nki::kernel]
fn ping_pong(nc: Nc, x: Hbm<f32>, #[inout] acc: Hbm<f32>, turns: usize) -> Hbm<f32> {
    let me = nc.program_id(0);
    let step = nc.load(x);
    for turn in 0..turns {
        if turn % 2 == me {
            nc.store(acc, nc.load(acc) + step);
        }
        nc.core_barrier(acc);
    }
    let out = nc.hbm(x.shape());
    if me == 1 {
        nc.store(out, nc.load(acc));
    }
    out
}

#[test]
fn barriers_order_what_both_write() {
    let (x, acc) = (floats(&[9, 4], 1), floats(&[9, 4], 5));
    let want: Vec<f64> = to_f64(&x).iter().zip(to_f64(&acc)).map(|(x, a)| 5.0 * x + a).collect();
    for mode in MODES {
        let got = ping_pong::specialize(&x, &acc, 5).programs(2).run(mode, Target::Trn2);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        assert_eq!(to_f64(&got[0]), want, "{mode}: out");
        assert_eq!(to_f64(&got[1]), want, "{mode}: acc");
    }
}

/// Exchanges in a loop of the device.
#[nki::kernel]
fn swaps(nc: Nc, x: Hbm<f32>) -> [Hbm<f32>; 2] {
    let out = [nc.hbm(x.shape()), nc.hbm(x.shape())];
    let me = nc.program_id(0);
    let tile = nc.load(x) * (1.0 + me as f32);
    for _ in nc.range(3) {
        let got = nc.sbuf::<f32>(x.shape());
        nc.sendrecv(got, tile, 1 - me, 1 - me);
        nc.tensor_copy(tile, got);
    }
    nc.store(out[me], tile);
    out
}

#[test]
fn loops_exchange_in_every_turn() {
    let x = floats(&[4, 6], 2);
    let scaled = |by: f64| to_f64(&x).iter().map(|v| by * v).collect::<Vec<_>>();
    for mode in MODES {
        let got = swaps::specialize(&x).programs(2).run(mode, Target::Trn2);
        let got = got.unwrap_or_else(|e| panic!("{mode}: {e}"));
        // Three exchanges: each has what the other began with.
        assert_eq!(to_f64(&got[0]), scaled(2.0), "{mode}");
        assert_eq!(to_f64(&got[1]), scaled(1.0), "{mode}");
    }
}

/// Mistakes that show only when both programs run.
#[nki::kernel]
fn mistakes(nc: Nc, x: Hbm<f32>, which: usize) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let me = nc.program_id(0);
    let tile = nc.load(x) + me as f32;
    let got = nc.sbuf::<f32>(x.shape());
    match which {
        // Both write everything.
        0 => nc.store(out, tile),
        // One does not come.
        1 if me == 0 => {
            nc.core_barrier(out);
        }
        // They do different things.
        2 if me == 0 => {
            nc.core_barrier(out);
        }
        2 | 3 => {
            // Both send to program 1.
            nc.sendrecv(got, tile, 1, 1 - me);
        }
        4 => {
            nc.sendrecv(got, tile, 1 - me, 1 - me).pipe_id(me);
        }
        _ => {}
    }
    if which != 0 && me == 1 {
        nc.store(out, tile);
    }
    out
}

#[test]
fn programs_that_do_not_fit_together_are_errors() {
    let x = floats(&[4, 6], 2);
    for mode in MODES {
        for (which, code) in [
            (0, Code::Race),
            (1, Code::Deadlock),
            (2, Code::Deadlock),
            (3, Code::Deadlock),
            (4, Code::Deadlock),
        ] {
            let found = mistakes::specialize(&x, which).programs(2).run(mode, Target::Trn2);
            let found = codes(found.expect_err("the programs do not fit together"));
            assert!(found.contains(&code), "{mode}: mistake {which} gives {found:?}");
        }
    }
}

#[test]
fn one_program_cannot_meet_another() {
    let x = floats(&[4, 6], 2);
    let alone = mistakes::specialize(&x, 1).run(Mode::Interp, Target::Trn2).unwrap_err();
    assert_eq!(codes(alone), [Code::Parameter]);
    let early = shares::specialize(&x).programs(2).run(Mode::Interp, Target::Trn1).unwrap_err();
    assert_eq!(codes(early), [Code::Target]);
}

/// A program waits in simulated time for one that comes later.
#[nki::kernel]
fn late(nc: Nc, x: Hbm<f32>, work: usize) -> Hbm<f32> {
    let out = nc.hbm(x.shape());
    let me = nc.program_id(0);
    let tile = nc.load(x);
    if me == 1 {
        for _ in 0..work {
            nc.tensor_scalar(tile, tile, Alu::Add, 1.0).engine(Engine::Vector);
        }
    }
    let got = nc.sbuf::<f32>(x.shape());
    nc.sendrecv(got, tile, 1 - me, 1 - me);
    if me == 0 {
        nc.store(out, got);
    }
    out
}

#[test]
fn waiting_takes_simulated_time() {
    let x = floats(&[128, 512], 2);
    let time = |work: usize, mode: sim::Mode| {
        let run = late::specialize(&x, work).programs(2).compile(Mode::Sim, Target::Trn2).unwrap();
        let options = SimOptions { mode, ..SimOptions::default() };
        let inputs = if mode == sim::Mode::TimeOnly { vec![] } else { vec![x.clone()] };
        run.simulate(&inputs, &options).unwrap().report.unwrap().nc_latency_ns
    };
    let (short, long) = (time(1, sim::Mode::Full), time(101, sim::Mode::Full));
    // 100 instructions of at least 512 / 4 elements a cycle at 0.96 GHz.
    assert!(long - short > 100.0 * 128.0 / 0.96, "{short} ns, {long} ns");
    assert_eq!(time(101, sim::Mode::TimeOnly), long);
}
