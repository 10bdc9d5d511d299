//! The value layer: operations under their `nki.language` names that make their own destination. Each records the
//! instructions of isa.md section 10 at once; there are no other operations in the IR.

mod data;
