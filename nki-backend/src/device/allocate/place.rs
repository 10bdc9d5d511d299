//! Places live ranges in a memory of 128 partitions: a sweep in program order that gives every request the lowest free
//! offset, keeping apart what is live together (and, with `slack`, what was live shortly before, so that reuse of an
//! address does not serialise neighbours in the schedule).

use nki_ir::target::PSUM_BANK_BYTES;
use smallvec::SmallVec;

/// Something to place.
#[derive(Clone, Debug)]
pub struct Request {
    /// Live from item `first` to item `last`, both included.
    pub first: u32,
    pub last: u32,
    /// Bytes per partition.
    pub bytes: u32,
    pub align: u32,
    pub partitions: u32,
    /// Start partitions to try, in order.
    pub starts: SmallVec<[u32; 4]>,
    /// Must not cross a PSUM bank unless larger than one, and then starts at one.
    pub banked: bool,
    /// A manual address.
    pub fixed: Option<(u32, u32)>,
}

/// Where a request went: start partition and byte offset.
pub type Spot = (u32, u32);

/// Occupied bytes of some partitions.
#[derive(Clone, Copy)]
struct Taken {
    offset: u32,
    end: u32,
    partition: u32,
    partition_end: u32,
    first: u32,
    last: u32,
}

impl Taken {
    fn new(r: &Request, (partition, offset): Spot) -> Self {
        Taken {
            offset,
            end: offset + r.bytes,
            partition,
            partition_end: partition + r.partitions,
            first: r.first,
            last: r.last,
        }
    }
    fn shares_partitions(&self, start: u32, end: u32) -> bool {
        self.partition < end && start < self.partition_end
    }
}

/// Places all requests, or says which one did not fit. Manual requests are obstacles for the others.
pub fn place(requests: &[Request], capacity: u32, slack: u32) -> Result<Vec<Spot>, usize> {
    let mut spots = vec![(0, 0); requests.len()];
    let mut order: Vec<usize> = (0..requests.len()).filter(|&i| requests[i].fixed.is_none()).collect();
    order.sort_by_key(|&i| (requests[i].first, i));
    let mut manual: Vec<Taken> = Vec::new();
    for (i, r) in requests.iter().enumerate() {
        if let Some(spot) = r.fixed {
            spots[i] = spot;
            manual.push(Taken::new(r, spot));
        }
    }
    let mut active: Vec<Taken> = Vec::new();
    for i in order {
        let r = &requests[i];
        active.retain(|t| t.last.saturating_add(slack) >= r.first);
        let spot = find(r, &active, &manual, capacity).ok_or(i)?;
        spots[i] = spot;
        let taken = Taken::new(r, spot);
        let at = active.partition_point(|t| t.offset <= taken.offset);
        active.insert(at, taken);
    }
    Ok(spots)
}

/// Gives every request the whole banks that have been free for longest, so that neighbours in program order get different ones
/// and can overlap. `None` if that does not work out: a request is bound to an address, or too much is live at once.
pub fn rotate_banks(requests: &[Request], capacity: u32) -> Option<Vec<Spot>> {
    // By bank: the last item that uses it, plus one.
    let mut busy = vec![0u64; (capacity / PSUM_BANK_BYTES) as usize];
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|&i| (requests[i].first, i));
    let mut spots = vec![(0, 0); requests.len()];
    for i in order {
        let r = &requests[i];
        let banks = r.bytes.div_ceil(PSUM_BANK_BYTES).max(1) as usize;
        let freed = |window: &[u64]| window.iter().copied().max().unwrap_or(0);
        let windows = busy.windows(banks).map(freed).enumerate();
        let free = windows.filter(|(_, freed)| *freed <= u64::from(r.first));
        let (at, _) = free.min_by_key(|&(at, freed)| (freed, at))?;
        if r.fixed.is_some() {
            return None;
        }
        busy[at..at + banks].fill(u64::from(r.last) + 1);
        spots[i] = (*r.starts.first()?, at as u32 * PSUM_BANK_BYTES);
    }
    Some(spots)
}

fn find(r: &Request, active: &[Taken], manual: &[Taken], capacity: u32) -> Option<Spot> {
    for &start in &r.starts {
        let end = start + r.partitions;
        let mut fixed: Vec<&Taken> = manual
            .iter()
            .filter(|t| t.first <= r.last && r.first <= t.last && t.shares_partitions(start, end))
            .collect();
        fixed.sort_by_key(|t| t.offset);
        let mut obstacles = fixed.into_iter().peekable();
        let mut at = 0u32;
        let mut others = active.iter().filter(|t| t.shares_partitions(start, end)).peekable();
        loop {
            let from_manual = match (obstacles.peek(), others.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some(m), Some(o)) => m.offset <= o.offset,
            };
            let next = if from_manual { obstacles.next() } else { others.next() };
            let Some(t) = next else { break };
            if aligned(r, at).is_some_and(|a| u64::from(a) + u64::from(r.bytes) <= u64::from(t.offset)) {
                break;
            }
            at = at.max(t.end);
        }
        if let Some(a) = aligned(r, at)
            && u64::from(a) + u64::from(r.bytes) <= u64::from(capacity)
        {
            return Some((start, a));
        }
    }
    None
}

/// The first legal offset not below `at`.
fn aligned(r: &Request, at: u32) -> Option<u32> {
    let a = at.checked_next_multiple_of(r.align.max(1))?;
    if !r.banked {
        return Some(a);
    }
    let crosses = r.bytes > PSUM_BANK_BYTES || a % PSUM_BANK_BYTES + r.bytes > PSUM_BANK_BYTES;
    if crosses { a.checked_next_multiple_of(PSUM_BANK_BYTES) } else { Some(a) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smallvec::smallvec;

    fn request(first: u32, last: u32, bytes: u32) -> Request {
        Request {
            first,
            last,
            bytes,
            align: 4,
            partitions: 128,
            starts: smallvec![0],
            banked: false,
            fixed: None,
        }
    }

    #[test]
    fn ranges_that_meet_get_different_bytes_and_others_share() {
        let r = [request(0, 5, 100), request(3, 8, 50), request(6, 9, 100)];
        assert_eq!(place(&r, 1000, 0), Ok(vec![(0, 0), (0, 100), (0, 0)]));
        assert_eq!(place(&r, 1000, 1000), Ok(vec![(0, 0), (0, 100), (0, 152)]));
        assert_eq!(place(&r, 149, 0), Err(1));
    }

    #[test]
    fn manual_addresses_are_obstacles() {
        let mut r = [request(0, 5, 100), request(2, 3, 64)];
        r[1].fixed = Some((0, 40));
        assert_eq!(place(&r, 1000, 0), Ok(vec![(0, 104), (0, 40)]));
    }

    #[test]
    fn small_tiles_share_offsets_on_other_partitions() {
        let mut r = [request(0, 5, 100), request(0, 5, 100)];
        for x in &mut r {
            x.partitions = 32;
            x.starts = smallvec![0, 32];
        }
        assert_eq!(place(&r, 100, 0), Ok(vec![(0, 0), (32, 0)]));
    }

    #[test]
    fn banks_rotate_to_the_one_that_is_free_for_longest() {
        let bank = PSUM_BANK_BYTES;
        let r = [(0, 1, bank), (2, 3, 2 * bank), (4, 5, bank), (4, 6, 100), (7, 8, bank), (7, 8, bank)];
        let r: Vec<Request> = r.iter().map(|&(first, last, bytes)| request(first, last, bytes)).collect();
        let banks =
            |n: u32| rotate_banks(&r, n * bank).map(|s| s.iter().map(|s| s.1 / bank).collect::<Vec<_>>());
        assert_eq!(banks(5), Some(vec![0, 1, 3, 4, 0, 1]));
        assert_eq!(banks(4), Some(vec![0, 1, 3, 0, 1, 2]));
        assert_eq!(banks(1), None);
        let mut manual = r.clone();
        manual[3].fixed = Some((0, 0));
        assert_eq!(rotate_banks(&manual, 8 * bank), None);
    }

    #[test]
    fn banks_are_not_crossed() {
        let mut r = [request(0, 9, 1500), request(0, 9, 1500), request(0, 9, 4096)];
        for x in &mut r {
            x.banked = true;
        }
        assert_eq!(place(&r, 16384, 0), Ok(vec![(0, 0), (0, 2048), (0, 4096)]));
    }
}
