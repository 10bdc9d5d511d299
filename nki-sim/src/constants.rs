//! The constants of the timing model: machine.md section 12 as one table with a column per target.
//!
//! Marks, in the order trn1/inf2, trn2, trn3: D = documented, I = inferred from a published measurement, A = assumed. The tag names
//! the public document (machine.md section 0). D values are moved only with a stated reason; no value depends on a kernel.

use nki_ir::Target;

/// Tensor engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Pe {
    pub clock_ghz: f64,
    /// Moving columns per cycle in steady state.
    pub col_rate: f64,
    /// Cycles per load-stationary/multiply-moving pair.
    pub pair_ovh_cyc: f64,
    /// Result visible after the streaming time.
    pub lat_ovh_ns: f64,
    pub min_moving_cyc: f64,
    /// Stationary columns loaded per cycle, 1-cycle dtypes.
    pub ls_cols_per_cyc: f64,
    /// Stationary columns loaded per cycle, per float32 pair.
    pub ls_cols_per_cyc_fp32: f64,
    /// Load-stationary start until the array is loaded, when nothing hides it.
    pub ls_lat_ns: f64,
    /// Pairs per float32 matmul, and cycles per column of each.
    pub fp32_pairs: f64,
    pub fp32_cyc: f64,
    /// Pairs per float32 transpose.
    pub fp32_transpose_pairs: f64,
    /// Pairs per float32 matmul with an operand of zeros and ones.
    pub fp32_onezero_pairs: f64,
    /// Extra cycles per inner run of the moving operand, 1-cycle dtypes.
    pub inner_run_cyc: f64,
    /// Spacing of starts on disjoint sub-arrays.
    pub subarray_start_cyc: f64,
    /// Factor on the interval of a transpose that overlaps its predecessor; 1 where the hardware has no background transpose.
    pub bg_transpose: f64,
    /// Rate while cold; 1 where the array is not throttled.
    pub throttle_factor: f64,
    pub throttle_window_ns: f64,
    /// Utilisation of a window that makes the next one run at full rate.
    pub throttle_threshold: f64,
}

/// Vector engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Dve {
    pub clock_ghz: f64,
    /// Shortest interval between instructions, overhead included.
    pub min_cyc: f64,
    /// Overhead per instruction at up to 1 cycle per element.
    pub ovh_cyc: f64,
    /// Overhead of classes at 2 cycles per element.
    pub ovh2_cyc: f64,
    pub lat_ovh_cyc: f64,
    /// Latency overhead of classes at 2 cycles per element.
    pub lat_ovh2_cyc: f64,
    /// Elements per cycle of an SBUF interface: 32-bit and other dtypes, 16-bit floats, 8-bit floats.
    pub sbuf_rate_32: f64,
    pub sbuf_rate_16: f64,
    pub sbuf_rate_f8: f64,
    /// Elements per cycle of a PSUM interface.
    pub psum_rate_32: f64,
    pub psum_rate_16: f64,
    /// Two SBUF inputs share one read path.
    pub two_input_shared_port: bool,
    pub scan_cyc_per_elem: f64,
    pub recip_cyc_per_elem: f64,
    /// Elements per cycle of `exponential` and `quantize_mx`.
    pub quad_elems_per_cyc: f64,
    /// Random words per lane and cycle.
    pub random_per_cyc: f64,
    /// Reading a reduce register out.
    pub accum_read_cyc: f64,
}

/// Scalar engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Act {
    pub clock_ghz: f64,
    /// Shortest interval between instructions, overhead included.
    pub min_cyc: f64,
    pub ovh_cyc: f64,
    pub lat_ovh_cyc: f64,
    pub accum_read_cyc: f64,
    pub table_load_ns: f64,
    /// Extra length of the first activation after a table load.
    pub after_table_ns: f64,
    /// Elements per cycle of 16-bit copies and tensor_scalar.
    pub copy16_elems_per_cyc: f64,
}

/// GpSimd engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub clock_ghz: f64,
    pub start_cyc: f64,
    pub lat_ovh_cyc: f64,
}

/// DMA engines and rings.
#[derive(Clone, Debug, PartialEq)]
pub struct Dma {
    pub read_bpns: f64,
    pub write_bpns: f64,
    pub elem_ovh_ns: f64,
    pub elem_min_ns: f64,
    /// Once per engine when a load starts on an idle engine.
    pub first_read_ns: f64,
    /// Extra start-up of the first large read of a kernel.
    pub cold_ramp_ns: f64,
    pub start_load_ns: f64,
    pub start_store_ns: f64,
    /// Engine k starts k times later.
    pub engine_stagger_ns: f64,
    /// Last byte until a waiter may issue.
    pub done_ns: f64,
    pub sem_write_ns: f64,
    /// Arbitration unit of static descriptors.
    pub packet_bytes: u64,
    /// Sequencer busy per trigger.
    pub trig_ns: f64,
    /// Outstanding transfers per ring.
    pub ring_depth: usize,
    /// Fraction of copy rate of a DMA transpose from HBM and from SBUF.
    pub transpose_hbm: f64,
    pub transpose_sbuf: f64,
    /// Fraction of copy rate of a DMA that computes.
    pub compute_factor: f64,
    /// Longer elements are split.
    pub max_element_bytes: u64,
}

/// Descriptor generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Dge {
    pub hw_units: usize,
    pub issue_ns: f64,
    pub elem_ns: f64,
    /// Software gather and scatter, per index.
    pub index_elem_ns: f64,
}

/// Device memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Hbm {
    pub stack_gbps: f64,
    pub cores_per_stack: u32,
    pub remote_ns: f64,
}

/// Semaphores and sequencers.
#[derive(Clone, Debug, PartialEq)]
pub struct Sync {
    /// Producer visible until a waiter on another engine may issue.
    pub hop_ns: f64,
    pub same_engine_ns: f64,
    pub sem_instr_ns: f64,
    /// Semaphores of a core.
    pub semaphores: u32,
    pub seq_alu_ns: f64,
    pub seq_branch_ns: f64,
    pub seq_load_sbuf_ns: f64,
    pub seq_load_hbm_ns: f64,
    /// Registers of a sequencer.
    pub registers: u32,
    /// Instructions in flight per data path.
    pub in_flight: usize,
}

/// Kernel start and end.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    pub pre_ns: f64,
    pub post_ns: f64,
    pub nc_latency_ns: f64,
}

/// Two physical cores as one logical core.
#[derive(Clone, Debug, PartialEq)]
pub struct Lnc {
    pub barrier_ns: f64,
    pub pool_dma_gbps: f64,
}

/// Collectives.
#[derive(Clone, Debug, PartialEq)]
pub struct Collectives {
    pub start_ns: f64,
    pub hop_ns: f64,
    pub node_hop_ns: f64,
}

/// All constants of one target. Take [`Constants::of`] and change fields to explore or calibrate.
#[derive(Clone, Debug, PartialEq)]
pub struct Constants {
    pub pe: Pe,
    pub dve: Dve,
    pub act: Act,
    pub pool: Pool,
    /// An innermost stride beyond this many bytes multiplies an instruction's streaming time by `stride_factor`.
    pub stride_limit_bytes: i64,
    pub stride_factor: f64,
    /// Floor of an instruction with a dynamic address.
    pub dyn_addr_min_cyc: f64,
    pub dma: Dma,
    pub dge: Dge,
    pub hbm: Hbm,
    pub sync: Sync,
    pub launch: Launch,
    pub lnc: Lnc,
    pub cc: Collectives,
    /// DVE and POOL never access SBUF in parallel, nor DVE and ACT PSUM (machine.md 3, gen2).
    pub port_locks: bool,
}

/// DMA engines of a core (D DMAI).
pub const DMA_ENGINES: usize = 16;
/// Rings of a DMA engine (D DMAI).
pub const DMA_RINGS: usize = 16;

impl Constants {
    /// The constants of `target`.
    pub fn of(target: Target) -> Constants {
        column(match target {
            Target::Trn1 | Target::Inf2 => 0,
            Target::Trn2 => 1,
            Target::Trn3 => 2,
        })
    }
    /// Peak bf16 rate of the tensor engine in flop/ns.
    pub fn peak_flops_per_ns(&self) -> f64 {
        2.0 * 128.0 * 128.0 * self.pe.clock_ghz
    }
}

/// Column `t` of machine.md section 12: trn1/inf2, trn2, trn3.
#[rustfmt::skip]
fn column(t: usize) -> Constants {
    Constants {
        pe: Pe {
            clock_ghz:            [2.8, 2.4, 2.4][t],       // D A2 / D A3 / D A4
            col_rate:             [0.89, 1.0, 1.0][t],      // I CAL C1, C2 / I KOPT / A
            pair_ovh_cyc:         [20.0, 6.0, 6.0][t],      // I CAL C1, C2 / I KOPT, CS149 (5-7) / A
            lat_ovh_ns:           [145.0, 175.0, 175.0][t], // I PERF / I KOPT, NEX, CS149 (172-180) / A
            min_moving_cyc:       [64.0, 64.0, 64.0][t],    // D A2 / A / A
            ls_cols_per_cyc:      [4.0, 4.0, 4.0][t],       // D A2
            ls_cols_per_cyc_fp32: [1.0, 1.0, 1.0][t],       // A (bounded by NEX)
            ls_lat_ns:            [67.0, 150.0, 150.0][t],  // I PERF / I NEX (145-155; fp32 195 KOPT) / A
            fp32_pairs:           [2.0, 2.0, 2.0][t],       // D A2 (4x), I KOPT (two pairs)
            fp32_cyc:             [2.0, 2.0, 2.0][t],       // D A2, I KOPT
            fp32_transpose_pairs: [2.0, 1.0, 1.0][t],       // I CAL C2 / D A3 / D A4
            fp32_onezero_pairs:   [1.0, 1.0, 1.0][t],       // D ISA26
            inner_run_cyc:        [0.0, 1.0, 1.0][t],       // A / I CS149 low confidence / A
            subarray_start_cyc:   [64.0, 16.0, 16.0][t],    // A
            bg_transpose:         [1.0, 1.0, 0.55][t],      // - / - / I A4 ("close to double")
            throttle_factor:      [1.0, 0.5, 0.5][t],       // A / D NEX, I CS149 / D NEX
            throttle_window_ns:   [3000.0, 3000.0, 3000.0][t], // - / D NEX / D NEX
            throttle_threshold:   [0.5, 0.5, 0.5][t],       // - / D NEX / D NEX
        },
        dve: Dve {
            clock_ghz:             [1.12, 0.96, 1.2][t],    // D
            min_cyc:               [64.0, 76.0, 76.0][t],   // D ISA26, I CAL C9 (65.6 with 3 elements) / A (64 + ovh) / A
            ovh_cyc:               [62.0, 12.0, 12.0][t],   // I CAL C6, C8, C9 / A (as ACT) / A
            ovh2_cyc:              [100.0, 12.0, 12.0][t],  // I CAL C7, C8 / A / A
            lat_ovh_cyc:           [220.0, 158.0, 158.0][t], // A / I CS149, KOPT (160-172 ns) / A
            lat_ovh2_cyc:          [390.0, 158.0, 158.0][t], // I PERF (339-358 ns) / I CS149, KOPT / A
            sbuf_rate_32:          [1.0, 2.0, 2.0][t],      // D A2 / D A3, I KOPT, CS149 / D A4
            sbuf_rate_16:          [1.0, 4.0, 4.0][t],      // D A2 / D A3 / D A4
            sbuf_rate_f8:          [1.0, 2.0, 4.0][t],      // D A2 / D A3 / D A4
            psum_rate_32:          [1.0, 1.0, 1.0][t],      // D A2 / D A3, I KOPT / D A4
            psum_rate_16:          [1.0, 2.0, 2.0][t],      // D A2 / D A3 / D A4
            two_input_shared_port: [true, false, false][t], // D ISA26 / I CS149 / A
            scan_cyc_per_elem:     [2.0, 2.0, 2.0][t],      // D ISA26 / A / A
            recip_cyc_per_elem:    [2.4, 2.4, 2.4][t],      // I CAL C6 (ISA26 prints 8) / A / A
            quad_elems_per_cyc:    [1.0, 1.0, 4.0][t],      // - / - / D A4
            random_per_cyc:        [1.0, 1.0, 4.0][t],      // A / A / D A4
            accum_read_cyc:        [64.0, 64.0, 64.0][t],   // D ISA26 (tensor_scalar_reduce + 64)
        },
        act: Act {
            clock_ghz:            [1.4, 1.2, 1.2][t],       // D
            min_cyc:              [64.0, 72.0, 72.0][t],    // D ISA26, as DVE / A (64 + ovh) / A
            ovh_cyc:              [62.0, 8.0, 8.0][t],      // I CAL C4b / I CS149 (128 columns every 113 ns) / A
            lat_ovh_cyc:          [222.0, 204.0, 204.0][t], // I PERF (159 ns at N = 1) / I CS149, DMAI / A
            accum_read_cyc:       [64.0, 64.0, 64.0][t],    // D A2
            table_load_ns:        [368.0, 1280.0, 1280.0][t], // I PERF / I DMAI / A
            after_table_ns:       [0.0, 120.0, 120.0][t],   // I PERF / I DMAI / A
            copy16_elems_per_cyc: [1.0, 1.0, 2.0][t],       // D A4
        },
        pool: Pool {
            clock_ghz:   [1.4, 1.2, 1.2][t],                // D
            start_cyc:   [150.0, 150.0, 150.0][t],          // D ISA26 / A / A
            lat_ovh_cyc: [100.0, 100.0, 100.0][t],          // A
        },
        stride_limit_bytes: 16,                             // D A2 / A / A
        stride_factor: 2.0,                                 // D A2 / A / A
        dyn_addr_min_cyc: 600.0,                            // D ISA26 / A / A
        dma: Dma {
            read_bpns:         [20.8, 26.6, 35.0][t],       // I CAL C4b, PERF / I CS149 / A (guideline 33 D)
            write_bpns:        [20.8, 24.5, 33.0][t],       // I CAL C4b, PERF / I CS149 / A (guideline 33 D)
            elem_ovh_ns:       [47.0, 1.0, 1.0][t],         // I CAL C4b, PERF / I CS149 / A
            elem_min_ns:       [0.0, 10.0, 10.0][t],        // A / I CS149 / A
            first_read_ns:     [0.0, 180.0, 180.0][t],      // A / I DMAI / A
            cold_ramp_ns:      [0.0, 0.0, 0.0][t],          // A / I CS149 (600 seen) / A
            start_load_ns:     [940.0, 900.0, 900.0][t],    // A from D BWG / I DMAI, CS149 / A
            start_store_ns:    [800.0, 770.0, 770.0][t],    // A from D BWG / I DMAI, CS149 / A
            engine_stagger_ns: [0.0, 15.0, 15.0][t],        // A / I DMAI, CS149 (20-30, irregular) / A
            done_ns:           [360.0, 360.0, 360.0][t],    // A / I DMAI, CS149 / A
            sem_write_ns:      [7.0, 13.0, 13.0][t],        // I PERF / I DMAI / A
            packet_bytes:      4096,                        // D RT
            trig_ns:           [45.0, 90.0, 90.0][t],       // I PERF / I CS149 / A
            ring_depth:        64,                          // A
            transpose_hbm:     [0.10, 0.9, 0.9][t],         // A (element-wise) / D A3 / A
            transpose_sbuf:    [0.10, 0.5, 0.5][t],         // A (element-wise) / D A3 / A
            compute_factor:    [0.5, 0.5, 1.0][t],          // D A4
            max_element_bytes: 65_536,                      // A
        },
        dge: Dge {
            hw_units:      [0, 2, 2][t],                    // D A3 / D A3 / A
            issue_ns:      [1000.0, 485.0, 485.0][t],       // A / I CS149 (D A3: about 600) / A
            elem_ns:       [5.0, 0.9, 0.9][t],              // A / I CS149 / A
            index_elem_ns: [15.0, 15.0, 15.0][t],           // A
        },
        hbm: Hbm {
            stack_gbps:      [410.0, 716.0, 1200.0][t],     // I PERF, D HW / I CS149, D LNC / D HW
            cores_per_stack: [1, 2, 2][t],                  // D HW / D LNC / D HW
            remote_ns:       100.0,                         // A
        },
        sync: Sync {
            hop_ns:           [30.0, 25.0, 25.0][t],        // A / I CS149 / A
            same_engine_ns:   [30.0, 10.0, 10.0][t],        // I PERF / I CS149 / A
            sem_instr_ns:     [9.0, 15.0, 15.0][t],         // I PERF / I KOPT (up to 58 on PE) / A
            semaphores:       256,                          // A
            seq_alu_ns:       10.0,                         // A
            seq_branch_ns:    50.0,                         // A
            seq_load_sbuf_ns: 200.0,                        // A
            seq_load_hbm_ns:  1500.0,                       // A
            registers:        64,                           // D A2
            in_flight:        8,                            // A
        },
        launch: Launch {
            pre_ns:        [12500.0, 13100.0, 13000.0][t],  // I PERF, CAL / I CS149 / A
            post_ns:       [5000.0, 2200.0, 2000.0][t],     // I CAL, PERF / I CS149 / A
            nc_latency_ns: [11000.0, 11000.0, 11000.0][t],  // I CAL C9 / I CS149 / A
        },
        lnc: Lnc {
            barrier_ns:    1000.0,                          // - / A / A
            pool_dma_gbps: [0.0, 153.0, 153.0][t],          // - / D A3 / A
        },
        cc: Collectives {
            start_ns:    6000.0,                            // I NCCOM
            hop_ns:      1500.0,                            // D RT
            node_hop_ns: 15_000.0,                          // D RT
        },
        port_locks: [true, false, false][t],                // D A2 / D A3 / D A3
    }
}
