//! Typed indices of everything a kernel consists of. Their `Display` is the fallback name in the text form.

use std::fmt;
use std::marker::PhantomData;

/// A typed `u32` index into a [`Table`].
pub trait Entity: Copy + Eq + Ord + fmt::Debug {
    /// The entity with index `i`.
    fn new(i: usize) -> Self;
    /// Its index.
    fn index(self) -> usize;
}

macro_rules! entity {
    ($($(#[$doc:meta])* $name:ident, $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
        impl Entity for $name {
            fn new(i: usize) -> Self {
                $name(u32::try_from(i).expect("a kernel has fewer than 2^32 entities of one kind"))
            }
            fn index(self) -> usize {
                self.0 as usize
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

entity! {
    /// A buffer: a tensor in HBM or a tile in SBUF or PSUM.
    Buf, "b";
    /// The induction variable of a loop.
    Var, "i";
    /// A virtual 32-bit sequencer register.
    Reg, "r";
    /// An instruction.
    Inst, "inst";
    /// A loop (counted, `while`) or branch.
    Loop, "loop";
    /// A straight sequence of nodes.
    Region, "region";
}

/// An append-only table of `T` indexed by the entity `K`.
#[derive(Clone, PartialEq)]
pub struct Table<K, T> {
    rows: Vec<T>,
    key: PhantomData<K>,
}

impl<K: Entity, T> Table<K, T> {
    /// Appends a row and returns its entity.
    pub fn push(&mut self, row: T) -> K {
        self.rows.push(row);
        K::new(self.rows.len() - 1)
    }
    /// The row of `k`, if `k` belongs to this table.
    pub fn get(&self, k: K) -> Option<&T> {
        self.rows.get(k.index())
    }
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }
    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
    /// The entity that the next `push` will return.
    pub fn next_key(&self) -> K {
        K::new(self.rows.len())
    }
    /// All entities, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator + use<K, T> {
        (0..self.rows.len()).map(K::new)
    }
    /// All rows with their entities, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (K, &T)> {
        self.rows.iter().enumerate().map(|(i, t)| (K::new(i), t))
    }
    /// All rows, ascending.
    pub fn values(&self) -> std::slice::Iter<'_, T> {
        self.rows.iter()
    }
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Table { rows: Vec::new(), key: PhantomData }
    }
}

impl<K: Entity, T> std::ops::Index<K> for Table<K, T> {
    type Output = T;
    fn index(&self, k: K) -> &T {
        &self.rows[k.index()]
    }
}

impl<K: Entity, T> std::ops::IndexMut<K> for Table<K, T> {
    fn index_mut(&mut self, k: K) -> &mut T {
        &mut self.rows[k.index()]
    }
}

impl<K: Entity, T: fmt::Debug> fmt::Debug for Table<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
