//! Loop nests that are a matrix product, run as one blocked product with the same bits.
//!
//! A nest is a result tile in PSUM, summed over a loop of `nc_matmul`s (and a ragged rest), finished by copies and
//! activations and written out, for every turn of any number of loops around it. Operand tiles may be loaded anywhere in the
//! nest, one by one or as strips; the product then reads them where they come from. [`parse`] finds the tiles, [`shape`] proves
//! that together they are one product, [`run`] makes it. Where anything is unlike this, the nest runs instruction by
//! instruction.

mod access;
mod parse;
mod run;
mod shape;
#[cfg(test)]
mod tests;

pub use run::{Addresses, Rayon};

use super::layout::{Layout, Place};
use nki_ir::affine::Affine;
use nki_ir::kernel::Node;
use nki_ir::{DType, Kernel};
use nki_rt::Activation;
use std::collections::BTreeMap;

/// An operand of a product.
#[derive(Clone, Debug)]
pub struct Source {
    pub place: Place,
    /// Byte of element (0, 0) within its buffer, affine in the loops around the nest.
    pub base: Affine,
    /// Bytes between rows of `a` or columns of `b`; between neighbours along K; between steps of K.
    pub along: usize,
    pub k: usize,
    pub step: Option<usize>,
    /// Bytes from element (0, 0) to the end of the last element.
    pub reach: usize,
}

/// Where the result goes: element (m, n) is at `m / rows · row_tile + m % rows · row + n / cols · col_tile + n % cols · size`.
#[derive(Clone, Debug)]
pub struct Target {
    pub place: Place,
    pub base: Affine,
    pub dtype: DType,
    pub rows: usize,
    pub row: usize,
    pub row_tile: usize,
    pub cols: usize,
    pub col_tile: usize,
    pub reach: usize,
    /// The sum is added to what is there (f32).
    pub adds: bool,
}

/// What happens to a finished sum: `function(x · scale + bias)`, rounded to a dtype.
#[derive(Clone, Copy, Debug)]
pub struct Finish {
    pub function: Activation,
    pub affine: Option<[f32; 2]>,
    pub dtype: DType,
}

/// A product.
#[derive(Clone, Debug)]
pub struct Nest {
    pub dtype: DType,
    /// M, K and N.
    pub shape: [usize; 3],
    /// Rows of K that are summed before they are added to the result.
    pub k_step: usize,
    pub a: Source,
    pub b: Source,
    pub out: Target,
    pub finish: Vec<Finish>,
}

/// Products in place of some nodes of a region.
#[derive(Clone, Debug)]
pub struct Found {
    /// Indices of the products, in order.
    pub products: std::ops::Range<usize>,
    /// How many nodes they stand for, from the key on.
    pub nodes: usize,
}

/// All products of a kernel.
#[derive(Debug, Default)]
pub struct Nests {
    pub products: Vec<Nest>,
    found: BTreeMap<(bool, u32), Found>,
}

fn key(node: Node) -> Option<(bool, u32)> {
    match node {
        Node::Loop(l) => Some((true, l.0)),
        Node::Alloc(b) => Some((false, b.0)),
        Node::Inst(_) => None,
    }
}

impl Nests {
    /// Finds the products of a kernel.
    pub fn find(kernel: &Kernel, layout: &Layout) -> Nests {
        let mut nests = Nests::default();
        let uses = parse::uses(kernel);
        let mut open = vec![kernel.body];
        while let Some(region) = open.pop() {
            let nodes = &kernel.regions[region].nodes;
            let mut at = 0;
            while let Some(&node) = nodes.get(at) {
                if let Some(found) = nests.at(kernel, layout, &uses, &nodes[at..]) {
                    at += found.nodes;
                    if let Some(key) = key(node) {
                        nests.found.insert(key, found);
                    }
                    continue;
                }
                if let Node::Loop(l) = node {
                    open.extend(kernel.loops[l].regions());
                }
                at += 1;
            }
        }
        nests
    }

    fn at(&mut self, kernel: &Kernel, layout: &Layout, uses: &[u32], nodes: &[Node]) -> Option<Found> {
        let (pieces, consumed) = parse::parse(kernel, layout, uses, nodes)?;
        let products: Option<Vec<Nest>> = pieces.iter().map(|p| shape::product(layout, p)).collect();
        let products = products?;
        if !shape::independent(&pieces, &products) {
            return None;
        }
        let first = self.products.len();
        self.products.extend(products);
        Some(Found { products: first..self.products.len(), nodes: consumed })
    }

    /// The products that stand for the nodes from `node` on.
    pub fn get(&self, node: Node) -> Option<&Found> {
        self.found.get(&key(node)?)
    }
}
