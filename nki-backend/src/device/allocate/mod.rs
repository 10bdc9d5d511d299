//! Allocate: SBUF and PSUM addresses for every instance, HBM addresses for tensors.
//!
//! All instances of one source buffer form an *arena* of `d` equal slots that is reserved from the first to the last of
//! them; instances rotate through the slots. The depth comes from how long an instance is busy against how often a new one
//! starts, and shrinks until everything fits. When arenas do not fit at any depth, every instance is placed by its own live
//! range; when that does not fit either, the peak is reported.

mod depth;
mod hbm;
mod place;
mod report;

pub use depth::{Timeline, timeline};

use crate::device::expand::{NONE, Stream};
use crate::device::legalise::{Form, Template};
use crate::device::options::{CompileOptions, Pass};
use nki_ir::entity::Entity;
use nki_ir::op::OperandKind;
use nki_ir::target::{PARTITIONS, PSUM_BANK_BYTES, PSUM_BYTES_PER_PARTITION};
use nki_ir::{Attr, Buf, Code, Diagnostic, Diagnostics, Kernel, Op, Space, Target};
use nki_sim::program::{HbmTensor, Placement};
use place::{Request, Spot, place, rotate_banks};
use smallvec::{SmallVec, smallvec};
use std::collections::HashSet;

/// Where an instance lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub partition: u32,
    /// Byte offset within the partition, or HBM address.
    pub offset: u64,
    /// Index into the placements (on chip) or tensors (HBM).
    pub object: u32,
}

/// What the allocator decided for one source buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct SiteReport {
    pub name: String,
    pub space: Space,
    /// Slots that its instances rotate through; 0 when each instance was placed on its own.
    pub depth: u32,
    pub instances: u32,
    /// Bytes per partition of one slot.
    pub bytes: u32,
}

/// Addresses of everything.
#[derive(Debug, Default)]
pub struct Allocation {
    /// By instance.
    pub places: Vec<Place>,
    pub placements: Vec<Placement>,
    pub tensors: Vec<HbmTensor>,
    pub sites: Vec<SiteReport>,
    /// Highest byte used per partition.
    pub sbuf_peak: u32,
    pub psum_peak: u32,
    /// Percent of the wished buffering beyond the minimum that there was room for, in the tighter memory.
    pub granted: u32,
}

/// A source buffer on chip with its instances, or several that share their slots; `buf` is the first of them.
#[derive(Clone)]
pub(crate) struct Site {
    pub buf: Buf,
    /// Instances that are used, in order of allocation.
    pub instances: Vec<u32>,
    pub partitions: u32,
    /// Bytes per partition of one instance.
    pub bytes: u32,
    pub align: u32,
    pub starts: SmallVec<[u32; 4]>,
    pub fixed: Option<(u32, u32)>,
    /// Smallest depth with which the rotation keeps program order.
    pub min_depth: u32,
    /// Depth asked for, or chosen when there is room.
    pub depth: u32,
    pub asked: bool,
}

/// Assigns addresses.
pub fn allocate(
    kernel: &Kernel,
    target: Target,
    templates: &[Template],
    stream: &Stream,
    timeline: &Timeline,
    options: &CompileOptions,
) -> Result<Allocation, Diagnostics> {
    let mut out = Allocation {
        places: vec![Place::default(); stream.instances.len()],
        granted: 100,
        ..Allocation::default()
    };
    let mut errors = Diagnostics::new();
    if let Err(d) = hbm::allocate(kernel, stream, target, &mut out) {
        errors.extend(d);
    }
    for space in [Space::Sbuf, Space::Psum] {
        let mut sites = sites(kernel, templates, stream, space, &mut errors);
        if errors.has_errors() {
            continue;
        }
        depth::choose(stream, timeline, options, space, &mut sites);
        let shared = options.runs(Pass::ShareBuffers).then(|| share(stream, &sites)).flatten();
        let shared = shared.map(|mut s| {
            depth::choose(stream, timeline, options, space, &mut s);
            s
        });
        let mut pool = Pool { kernel, stream, space, capacity: capacity(space, target), out: &mut out };
        if let Err(d) = pool.fill(&sites, shared) {
            errors.extend(d);
        }
    }
    if errors.has_errors() { Err(errors) } else { Ok(out) }
}

/// Bytes of SBUF per partition that all buffers ask for when nothing is kept for reuse.
pub fn wish(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    timeline: &Timeline,
    options: &CompileOptions,
) -> u64 {
    // Errors are found again, and reported, by `allocate`.
    let mut sites = sites(kernel, templates, stream, Space::Sbuf, &mut Diagnostics::new());
    depth::choose(stream, timeline, options, Space::Sbuf, &mut sites);
    sites.iter().map(|s| u64::from(s.bytes) * u64::from(s.depth)).sum()
}

fn capacity(space: Space, target: Target) -> u32 {
    if space == Space::Psum { PSUM_BYTES_PER_PARTITION } else { target.sbuf_bytes_per_partition() }
}

/// Collects the used buffers of a memory.
fn sites(
    kernel: &Kernel,
    templates: &[Template],
    stream: &Stream,
    space: Space,
    errors: &mut Diagnostics,
) -> Vec<Site> {
    let mut of_buf = vec![NONE; kernel.bufs.len()];
    let mut sites: Vec<Site> = Vec::new();
    let rows = row_positions(kernel, templates, errors);
    for (i, instance) in stream.instances.iter().enumerate() {
        let data = &kernel.bufs[instance.buf];
        if data.space != space || instance.first == NONE {
            continue;
        }
        let slot = &mut of_buf[instance.buf.index()];
        if *slot == NONE {
            *slot = sites.len() as u32;
            let row = rows[instance.buf.index()];
            let start = row.unwrap_or(0).max(0) as u32;
            sites.push(Site {
                buf: instance.buf,
                instances: Vec::new(),
                partitions: data.partitions(),
                bytes: u32::try_from(data.row_bytes()).unwrap_or(u32::MAX),
                align: (data.dtype.bytes() as u32).max(4),
                starts: starts(data.partitions(), row, start),
                fixed: data.address,
                min_depth: 1,
                depth: data.buffers.unwrap_or(1).max(1),
                asked: data.buffers.is_some(),
            });
        }
        sites[*slot as usize].instances.push(i as u32);
    }
    sites
}

/// Start partitions to try. A buffer that meets PE rows or columns has one; others may stack on top of each other when
/// they cover few partitions, as far as their views still start legally (isa.md 3.1.2).
fn starts(partitions: u32, row: Option<i64>, start: u32) -> SmallVec<[u32; 4]> {
    match (row, partitions) {
        (Some(_), _) => smallvec![start],
        (None, 0..=32) => smallvec![0, 32, 64, 96],
        (None, 33..=64) => smallvec![0, 64],
        _ => smallvec![0],
    }
}

/// The start partition that matmuls demand of each buffer: SBUF partitions feed PE rows one to one, PE columns write PSUM
/// partitions one to one (isa.md 9.1.1).
fn row_positions(kernel: &Kernel, templates: &[Template], errors: &mut Diagnostics) -> Vec<Option<i64>> {
    let mut rows: Vec<Option<i64>> = vec![None; kernel.bufs.len()];
    for t in templates {
        let tensor = t.engines[0] == nki_ir::Engine::Tensor;
        // Data and scales of quantize_mx share their quadrants (isa.md 9.3.13).
        if t.op == Op::QuantizeMx {
            t.views().for_each(|v| _ = rows[v.buf.index()].get_or_insert(0));
            continue;
        }
        if !tensor {
            // A view that starts inside its buffer keeps the buffer at 0, where the gate has checked it.
            for v in t.views().filter(|v| v.space.on_chip()) {
                if v.part.as_constant() != Some(0) {
                    rows[v.buf.index()].get_or_insert(0);
                }
            }
            continue;
        }
        let position = t.op.row().attr("tile_position").and_then(|i| match &t.attrs[i] {
            Attr::Ints(p) if p.len() == 2 => Some((p[0], p[1])),
            _ => None,
        });
        let (row, column) = position.unwrap_or((0, 0));
        for (i, v) in t.operands.iter().enumerate().filter_map(|(i, o)| Some((i, Form::view(o)?))) {
            let mut start = v.part.as_constant().unwrap_or(0);
            // Scales start at an offset in the quadrant of their data.
            if t.op.row().operands[i].kind == OperandKind::Scales {
                start -= start.rem_euclid(32);
            }
            let want = if i == 0 { column } else { row } - start;
            let have = rows[v.buf.index()].get_or_insert(want);
            if *have != want {
                let name = &kernel.bufs[v.buf].name;
                let text =
                    format!("`{name}` would have to start at partition {have} and at partition {want}");
                let d = Diagnostic::error(Code::StartPartition, text).at(&kernel.locs, t.loc);
                errors.push(d.note("SBUF partitions feed PE rows one to one (isa.md 9.1.1)"));
            }
        }
    }
    rows
}

/// Distances, in items, at which an address may be used again: the largest that fits is taken.
const SLACKS: [u32; 6] = [u32::MAX, 4096, 512, 64, 4, 0];

/// Depths are raised one by one only for programs of up to this many buffers.
const UPGRADED: usize = 64;

/// Slots beyond the minimum that count when two ways of filling a memory are compared: what lies beyond hides little more.
const PIPELINED: u32 = 3;

/// Depths that fit, and where.
struct Fit {
    /// Percent of the wishes that everyone got.
    scale: u32,
    depths: Vec<u32>,
    spots: Vec<Spot>,
    /// Instances, each counted with the share of its site's wish that was granted.
    wealth: f64,
}

/// Joins buffers of one geometry, so that they rotate through common slots.
fn share(stream: &Stream, sites: &[Site]) -> Option<Vec<Site>> {
    let mut out: Vec<Site> = Vec::new();
    for s in sites {
        let free = |s: &Site| s.fixed.is_none() && !s.asked;
        let twin = out.iter_mut().find(|o| {
            free(o)
                && free(s)
                && (o.bytes, o.align, o.partitions) == (s.bytes, s.align, s.partitions)
                && o.starts == s.starts
        });
        match twin {
            Some(o) => o.instances.extend(&s.instances),
            None => out.push(s.clone()),
        }
    }
    if out.len() == sites.len() {
        return None;
    }
    for s in &mut out {
        s.instances.sort_unstable_by_key(|&i| (stream.instances[i as usize].first, i));
    }
    Some(out)
}

/// One memory being filled.
struct Pool<'a> {
    kernel: &'a Kernel,
    stream: &'a Stream,
    space: Space,
    capacity: u32,
    out: &'a mut Allocation,
}

impl Pool<'_> {
    /// Bytes of one slot: PSUM slots are whole banks, so that every accumulation group has a bank to itself.
    fn slot_bytes(&self, site: &Site, packed: bool) -> u32 {
        match self.space {
            Space::Psum if !packed && site.fixed.is_none() => site.bytes.next_multiple_of(PSUM_BANK_BYTES),
            _ => site.bytes.next_multiple_of(site.align),
        }
    }

    /// Gives every site its slots. When not everything that was wished for fits, buffers of one geometry may share theirs
    /// (`shared`), if that grants more.
    fn fill(&mut self, sites: &[Site], shared: Option<Vec<Site>>) -> Result<(), Diagnostics> {
        self.check_manual(sites)?;
        let own = self.fit(sites);
        if own.as_ref().is_none_or(|o| o.scale < 100)
            && self.space == Space::Psum
            && sites.iter().all(|s| !s.asked)
            && let Some(spots) = rotate_banks(&self.single(sites, false), self.capacity)
        {
            self.commit_single(sites, &spots);
            return Ok(());
        }
        let other = match (&shared, &own) {
            (Some(sites), Some(own)) if own.scale < 100 => self.fit(sites).filter(|f| f.wealth > own.wealth),
            (Some(sites), None) => self.fit(sites),
            _ => None,
        };
        let best = match (other, own) {
            (Some(f), _) => Some((shared.as_deref().unwrap_or(sites), f)),
            (None, own) => own.map(|f| (sites, f)),
        };
        if let Some((sites, f)) = best {
            self.out.granted = self.out.granted.min(f.scale);
            self.commit_arenas(sites, &f.depths, &f.spots);
            return Ok(());
        }
        if let Some(s) = sites.iter().find(|s| s.asked && s.depth > s.min_depth) {
            return Err(report::buffers_do_not_fit(self.kernel, self.space, self.capacity, s).into());
        }
        for packed in [false, true] {
            let requests = self.single(sites, packed);
            for slack in SLACKS {
                if let Ok(spots) = place(&requests, self.capacity, slack) {
                    self.out.granted = 0;
                    self.commit_single(sites, &spots);
                    return Ok(());
                }
            }
        }
        Err(report::over_capacity(self.kernel, self.stream, self.space, self.capacity, sites).into())
    }

    /// The most generous depths that fit: first the same share of every site's wish, then what is left over goes to one site
    /// after the other, the cheapest first.
    fn fit(&self, sites: &[Site]) -> Option<Fit> {
        let try_depths = |depths: &[u32]| {
            let requests = self.arenas(sites, depths);
            SLACKS.iter().find_map(|&slack| place(&requests, self.capacity, slack).ok())
        };
        let (scale, mut depths, mut spots) =
            [100, 70, 50, 35, 25, 15, 8, 0].into_iter().find_map(|scale| {
                let depths: Vec<u32> = sites.iter().map(|s| scaled(s, scale)).collect();
                let spots = try_depths(&depths)?;
                Some((scale, depths, spots))
            })?;
        if scale < 100 && sites.len() <= UPGRADED {
            let mut order: Vec<usize> = (0..sites.len()).collect();
            order.sort_by_key(|&k| (self.slot_bytes(&sites[k], false), k));
            // A second buffer for everyone matters more than a third for anyone.
            for enough in [2, u32::MAX] {
                for &k in &order {
                    while depths[k] < sites[k].depth.min(enough) {
                        depths[k] += 1;
                        let Some(better) = try_depths(&depths) else {
                            depths[k] -= 1;
                            break;
                        };
                        spots = better;
                    }
                }
            }
        }
        let share = |(s, &d): (&Site, &u32)| {
            let spare = |d: u32| f64::from(d.saturating_sub(s.min_depth).min(PIPELINED) + 1);
            s.instances.len() as f64 * spare(d) / spare(s.depth)
        };
        let wealth = sites.iter().zip(&depths).map(share).sum();
        Some(Fit { scale, depths, spots, wealth })
    }

    /// Manual addresses stay inside the memory and apart from each other while both live.
    fn check_manual(&self, sites: &[Site]) -> Result<(), Diagnostics> {
        let mut errors = Diagnostics::new();
        let manual: Vec<(&Site, u32, u32)> =
            sites.iter().filter_map(|s| s.fixed.map(|(p, o)| (s, p, o))).collect();
        for (k, &(s, p, o)) in manual.iter().enumerate() {
            let bytes = u64::from(s.bytes) * u64::from(s.depth.max(s.min_depth));
            if p + s.partitions > PARTITIONS || u64::from(o) + bytes > u64::from(self.capacity) {
                errors.push(report::manual_outside(self.kernel, self.space, self.capacity, s));
            }
            for &(other, q, r) in &manual[..k] {
                let apart_bytes = o >= r + other.bytes * other.depth || r >= o + s.bytes * s.depth;
                let apart = apart_bytes || p >= q + other.partitions || q >= p + s.partitions;
                if !apart && self.live_together(s, other) {
                    errors.push(report::manual_overlap(self.kernel, s, other));
                }
            }
        }
        if errors.has_errors() { Err(errors) } else { Ok(()) }
    }

    fn live_together(&self, a: &Site, b: &Site) -> bool {
        let (a, b) = (self.range(&a.instances), self.range(&b.instances));
        a.0 <= b.1 && b.0 <= a.1
    }

    /// First and last item of a set of instances.
    fn range(&self, instances: &[u32]) -> (u32, u32) {
        let all = instances.iter().map(|&i| &self.stream.instances[i as usize]);
        all.fold((NONE, 0), |(a, b), i| (a.min(i.first), b.max(i.last)))
    }

    fn arenas(&self, sites: &[Site], depths: &[u32]) -> Vec<Request> {
        let requests = sites.iter().zip(depths).map(|(s, &d)| {
            let (first, last) = self.range(&s.instances);
            self.request(s, first, last, self.slot_bytes(s, false).saturating_mul(d), false)
        });
        requests.collect()
    }

    fn single(&self, sites: &[Site], packed: bool) -> Vec<Request> {
        let mut out = Vec::new();
        for s in sites {
            let (bytes, depth) = (self.slot_bytes(s, packed), s.depth.max(s.min_depth));
            for (&i, k) in s.instances.iter().zip(depth::slots(self.stream, s, depth)) {
                let instance = &self.stream.instances[i as usize];
                let mut r = self.request(s, instance.first, instance.last, bytes, packed);
                // Manual addresses rotate as in an arena.
                r.fixed = s.fixed.map(|(p, o)| (p, o + k * bytes));
                out.push(r);
            }
        }
        out
    }

    fn request(&self, s: &Site, first: u32, last: u32, bytes: u32, packed: bool) -> Request {
        let psum = self.space == Space::Psum;
        Request {
            first,
            last,
            bytes,
            align: if psum && !packed { PSUM_BANK_BYTES } else { s.align },
            partitions: s.partitions,
            starts: s.starts.clone(),
            banked: psum,
            fixed: s.fixed,
        }
    }

    fn commit_arenas(&mut self, sites: &[Site], depths: &[u32], spots: &[Spot]) {
        for ((s, &depth), &(partition, offset)) in sites.iter().zip(depths).zip(spots) {
            let bytes = self.slot_bytes(s, false);
            let name = self.name(s);
            let base = self.out.placements.len() as u32;
            for k in 0..depth {
                self.placement(s, &name, depth, k, partition, offset + k * bytes);
            }
            for (&i, k) in s.instances.iter().zip(depth::slots(self.stream, s, depth)) {
                let offset = u64::from(offset + k * bytes);
                self.out.places[i as usize] = Place { partition, offset, object: base + k };
            }
            self.site_report(s, name, depth);
        }
    }

    fn commit_single(&mut self, sites: &[Site], spots: &[Spot]) {
        let mut spots = spots.iter();
        for s in sites {
            let mut seen: Vec<(Spot, u32)> = Vec::new();
            let name = self.name(s);
            for &i in &s.instances {
                let &spot = spots.next().expect("one spot per request");
                let object = match seen.iter().find(|x| x.0 == spot) {
                    Some(x) => x.1,
                    None => {
                        let object = self.out.placements.len() as u32;
                        self.placement(s, &name, 0, seen.len() as u32, spot.0, spot.1);
                        seen.push((spot, object));
                        object
                    }
                };
                let place = Place { partition: spot.0, offset: u64::from(spot.1), object };
                self.out.places[i as usize] = place;
            }
            self.site_report(s, name, 0);
        }
    }

    fn placement(&mut self, s: &Site, name: &str, depth: u32, slot: u32, start_partition: u32, offset: u32) {
        let data = &self.kernel.bufs[s.buf];
        let name = if depth == 1 { name.to_string() } else { format!("{name}#{slot}") };
        self.out.placements.push(Placement {
            name,
            space: self.space,
            start_partition,
            partitions: s.partitions,
            offset,
            bytes: s.bytes,
            loc: data.loc,
        });
        let peak = if self.space == Space::Psum { &mut self.out.psum_peak } else { &mut self.out.sbuf_peak };
        *peak = (*peak).max(offset + s.bytes);
    }

    /// The buffer's name, or those of all that share the site.
    fn name(&self, s: &Site) -> String {
        let mut names: Vec<&str> = Vec::new();
        // Thousands of buffers may share a site.
        let mut seen: HashSet<&str> = HashSet::new();
        let mut last = None;
        for &i in &s.instances {
            let buf = self.stream.instances[i as usize].buf;
            let name = self.kernel.bufs[buf].name.as_str();
            if last != Some(buf) && seen.insert(name) {
                names.push(name);
            }
            last = Some(buf);
        }
        names.join("|")
    }

    fn site_report(&mut self, s: &Site, name: String, depth: u32) {
        self.out.sites.push(SiteReport {
            name,
            space: self.space,
            depth,
            instances: s.instances.len() as u32,
            bytes: s.bytes,
        });
    }
}

/// The depth of a site when only `scale` percent of the wish beyond the minimum is granted.
fn scaled(s: &Site, scale: u32) -> u32 {
    if s.asked {
        return s.depth.max(s.min_depth);
    }
    let floor = if scale == 0 { s.min_depth } else { s.min_depth.max(s.depth.min(2)) };
    floor.max(s.min_depth + s.depth.saturating_sub(s.min_depth) * scale / 100)
}
