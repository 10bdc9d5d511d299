//! The published figures (calibration.md).

use crate::{attention, lora, mamba, product, vector};
use nki::backend::device::Pass;
use nki::calibrate::Counter::*;
use nki::calibrate::{Case, Clock, Group};
use nki::prelude::*;

/// The same with one buffer of each tile: the original waits for its loads in every turn.
const UNBUFFERED: &[Pass] = &[Pass::ReuseLoads, Pass::Balance, Pass::MultiBuffer];

/// Loads are repeated, and engines chosen, as described.
const AS_WRITTEN: &[Pass] = &[Pass::ReuseLoads, Pass::Balance];

/// And in the order of the source.
const IN_ORDER: &[Pass] = &[Pass::ReuseLoads, Pass::Balance, Pass::Schedule];

macro_rules! cases {
    ($($name:ident = $case:expr;)*) => {$(
        static $name: Case = $case;
        nki::calibration_case!($name);
    )*};
}

cases! {
    C1 = Case {
        id: "C1",
        title: "transpose_matmul, 2048 x 4096 x 10944",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || product::transpose_matmul::specialize([2048, 4096], [2048, 10944]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 9.610,
        run_ms: 9.479,
        active_ms: &[(Engine::Scalar, 0.360), (Engine::Vector, 0.0)],
        counters: &[
            (HbmRead, 392_167_424), (HbmWrite, 179_306_496), (PsumRead, 1_400_832), (PsumWrite, 46_137_344),
            (SbufRead, 236_978_176), (SbufWrite, 393_568_256), (HardwareFlops, 377_957_122_048), (TransposeFlops, 0),
        ],
        remark: "the array's rate and overhead per pair are one fit to C1 and C2; start and drain differ",
    };
    C2 = Case {
        id: "C2",
        title: "add_rmsnorm_matmul, 4096 x 1024 x 2048",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || product::add_rmsnorm_matmul::specialize([4096, 1024], [4096, 1024], [1024], [1024, 2048], [128, 128]),
        without: IN_ORDER,
        clock: Clock::Profiled,
        latency_ms: 1.117,
        run_ms: 1.117,
        active_ms: &[(Engine::Scalar, 0.252), (Engine::Vector, 0.166)],
        counters: &[
            (HbmRead, 42_012_672), (HbmWrite, 33_554_432), (PsumRead, 790_528), (PsumWrite, 5_246_976),
            (SbufRead, 41_292_544), (SbufWrite, 43_065_728), (HardwareFlops, 42_949_935_104),
            (TransposeFlops, 8_589_934_592),
        ],
        remark: "the duration of the run that the counters belong to; the mean of ten others is 0.1 ms longer",
    };
    C4B = Case {
        id: "C4b",
        title: "bmm, 16 x 4096 x 64 x 4096, without spills",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || product::bmm::specialize([16, 4096, 64], [16, 64, 4096], [128, 128], false),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 4.333,
        run_ms: 4.492,
        active_ms: &[(Engine::Scalar, 1.766), (Engine::Vector, 0.0)],
        counters: &[
            (HbmRead, 33_619_968), (HbmWrite, 1_073_741_824), (PsumRead, 8_650_752), (PsumWrite, 17_301_504),
            (SbufRead, 1_095_499_776), (SbufWrite, 42_270_720), (HardwareFlops, 70_866_960_384),
            (TransposeFlops, 2_147_483_648),
        ],
        remark: "measured is what the scalar engine is occupied, as if its copies came back to back; ours come two at a time",
    };
    C6 = Case {
        id: "C6",
        title: "adamw, 10944 x 2048",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || vector::adamw::specialize([10944, 2048], [10944, 2048], [10944, 2048], [10944, 2048]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 2.000,
        run_ms: 2.000,
        active_ms: &[(Engine::Scalar, 1.232), (Engine::Vector, 1.800)],
        counters: &[
            (HbmRead, 358_612_992), (HbmWrite, 89_653_248), (PsumWrite, 2_113_536), (SbufRead, 95_993_856),
            (SbufWrite, 362_840_064),
        ],
        remark: "",
    };
    C7 = Case {
        id: "C7",
        title: "rope, 128 x 262144",
        target: Target::Trn1,
        group: Group::ScheduleDependent,
        kernel: || vector::rope::specialize([128, 262_144], [64, 262_144], [64, 262_144]),
        without: UNBUFFERED,
        clock: Clock::Profiled,
        latency_ms: 4.333,
        run_ms: 4.333,
        active_ms: &[(Engine::Scalar, 0.611), (Engine::Vector, 3.104)],
        counters: &[
            (HbmRead, 268_435_456), (HbmWrite, 134_217_728), (SbufRead, 136_314_880), (SbufWrite, 270_532_608),
        ],
        remark: "the original schedule is not known; ours is one of several, chosen by its times: it cannot confirm the model",
    };
    C9 = Case {
        id: "C9",
        title: "depthwise conv1d, 8 x 512 x 2048, three taps",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || vector::conv1d::specialize([8, 512, 2048], [512, 3]),
        without: AS_WRITTEN,
        clock: Clock::NcLatency,
        latency_ms: 4.955,
        run_ms: 4.955,
        active_ms: &[],
        counters: &[],
        remark: "",
    };
    C10 = Case {
        id: "C10",
        title: "attention of small heads, 4096 x 64",
        target: Target::Trn1,
        group: Group::ScheduleDependent,
        kernel: || attention::small_heads::specialize([4096, 64], [4096, 64], [4096, 64], [128, 128], [128, 128]),
        without: AS_WRITTEN,
        clock: Clock::NcLatency,
        latency_ms: 0.437,
        run_ms: 0.437,
        active_ms: &[],
        counters: &[],
        remark: "published are sums over instructions: 359.4 µs of the scalar engine, 177.2 µs of the vector engine",
    };
    C4 = Case {
        id: "C4",
        title: "bmm as C4b, with 48 buffers saved and 129 read back",
        target: Target::Trn1,
        group: Group::ScheduleDependent,
        kernel: || product::bmm::specialize([16, 4096, 64], [16, 64, 4096], [128, 128], true),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 4.611,
        run_ms: 4.761,
        active_ms: &[(Engine::Scalar, 1.774), (Engine::Vector, 0.0)],
        counters: &[
            (HbmRead, 67_436_544), (HbmWrite, 1_086_324_736), (PsumRead, 8_650_752), (PsumWrite, 17_301_504),
            (SbufRead, 1_108_082_688), (SbufWrite, 76_087_296), (HardwareFlops, 70_866_960_384),
            (TransposeFlops, 2_147_483_648),
        ],
        remark: "which buffers are saved and when was the original compiler's choice",
    };
    C5 = Case {
        id: "C5",
        title: "bmm_softmax, C4 with a softmax over 4096",
        target: Target::Trn1,
        group: Group::ScheduleDependent,
        kernel: || product::bmm_softmax::specialize([16, 4096, 64], [16, 64, 4096], [128, 128]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 12.000,
        run_ms: 11.984,
        active_ms: &[(Engine::Scalar, 5.202), (Engine::Vector, 5.559)],
        counters: &[(HardwareFlops, 70_866_960_384), (TransposeFlops, 2_147_483_648)],
        remark: "which score tiles are saved, and when, is not known; ours are chosen to fit SBUF, and bytes depend on it",
    };
    C8V2 = Case {
        id: "C8 v2",
        title: "fused Mamba version 2, 4096 channels x 512",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || mamba::mamba_v2::specialize([4096, 512], [4096, 512], [4096, 16], [16, 512], [16, 512]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 1.61,
        run_ms: 1.61,
        active_ms: &[(Engine::Vector, 1.57)],
        counters: &[],
        remark: "",
    };
    C8V3 = Case {
        id: "C8 v3",
        title: "fused Mamba version 3, 4096 channels x 8192",
        target: Target::Trn1,
        group: Group::WellDetermined,
        kernel: || mamba::mamba_v3::specialize([4096, 8192], [4096, 8192], [4096, 16], [16, 8192], [16, 8192]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 27.8,
        run_ms: 27.69,
        active_ms: &[(Engine::Vector, 26.26)],
        counters: &[],
        remark: "nothing in the model explains 0.5 ms of vector time beyond the sum of its instructions",
    };
    C3 = Case {
        id: "C3",
        title: "lora, 4096 x 5120 x 12288, rank 128",
        target: Target::Trn1,
        group: Group::ScheduleDependent,
        kernel: || lora::lora::specialize([4096, 5120], [5120, 12_288], [5120, 128], [128, 12_288], [128, 128]),
        without: AS_WRITTEN,
        clock: Clock::Profiled,
        latency_ms: 30.166,
        run_ms: 30.094,
        active_ms: &[(Engine::Scalar, 1.037), (Engine::Vector, 2.951)],
        counters: &[(PsumRead, 4_472_832)],
        remark: "which intermediates leave the chip, and when, was the original compiler's choice; bytes depend on it",
    };
}
