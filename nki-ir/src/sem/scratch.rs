//! Working rows that a thread keeps between instructions.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// Rows kept for reuse; an instruction needs at most four.
const MOST: usize = 8;

/// Numbers of any content, to be overwritten.
pub(super) struct Scratch {
    row: Vec<f32>,
    /// Elements in use; the row may be longer.
    len: usize,
}

/// `len` numbers of any content.
pub(super) fn scratch(len: usize) -> Scratch {
    let mut row = KEPT.with_borrow_mut(|kept| {
        // The best fit, so that a small row does not take the big one.
        let fits = (0..kept.len()).filter(|&i| kept[i].len() >= len).min_by_key(|&i| kept[i].len());
        fits.map(|i| kept.swap_remove(i)).or_else(|| kept.pop()).unwrap_or_default()
    });
    if row.len() < len {
        row.resize(len, 0.0);
    }
    Scratch { row, len }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let row = std::mem::take(&mut self.row);
        KEPT.with_borrow_mut(|kept| {
            if kept.len() < MOST {
                kept.push(row);
            }
        });
    }
}

impl Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.row[..self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.row[..self.len]
    }
}
