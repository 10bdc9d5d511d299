//! Independent models of the semantics, written from isa.md's equations in float64 and exact integers: they share no code
//! with `sem` but its public interface.

mod activation;
mod cast;
mod elementwise;
mod gather;
mod harness;
mod matrix;
mod mx;
mod random;
mod rows;
mod selection;
mod transfer;
mod transpose;
