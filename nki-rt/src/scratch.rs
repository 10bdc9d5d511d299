//! Working memory that a thread keeps from one call to the next, so that hot paths neither allocate nor fault pages.

use crate::AlignedBuf;
use std::cell::RefCell;

/// Aligned memory on loan from this thread; it goes back on drop.
pub(crate) struct Scratch {
    buf: AlignedBuf,
    len: usize,
}

thread_local! {
    static KEPT: RefCell<Vec<AlignedBuf>> = const { RefCell::new(Vec::new()) };
}

/// Most buffers a thread keeps; a product has no more out at a time.
const MOST: usize = 3;

impl Scratch {
    /// Memory for `len` numbers of 4 bytes, of any content.
    pub(crate) fn take(len: usize) -> Scratch {
        let bytes = 4 * len;
        let buf = KEPT.with_borrow_mut(|kept| {
            let fitting = (0..kept.len()).filter(|i| kept[*i].len() >= bytes).min_by_key(|i| kept[*i].len());
            fitting.map(|i| kept.swap_remove(i))
        });
        Scratch { buf: buf.unwrap_or_else(|| AlignedBuf::zeroed(bytes)), len }
    }

    /// Address of the first number.
    pub(crate) fn address(&self) -> *const f32 {
        self.buf.as_bytes().as_ptr().cast()
    }

    /// The numbers.
    pub(crate) fn numbers(&mut self) -> &mut [f32] {
        &mut self.buf.as_mut_slice::<f32>()[..self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buf = std::mem::take(&mut self.buf);
        // A thread that is ending has nowhere to keep it.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            kept.push(buf);
            if kept.len() > MOST {
                // The smallest is the cheapest to make again.
                let smallest = (0..kept.len()).min_by_key(|i| kept[*i].len()).unwrap_or(0);
                kept.swap_remove(smallest);
            }
        });
    }
}
