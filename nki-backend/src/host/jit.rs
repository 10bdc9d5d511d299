//! Native code in this process's memory: written first, then executable and no longer writable.

use super::Lowered;
use super::codegen::{emit, flags, limit};
use super::runtime;
use super::segment::{Code, Entry};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::default_libcall_names;
use nki_ir::diag::Diagnostics;

/// Owns the memory of generated code.
struct Memory(Option<JITModule>);

// SAFETY: the module is only kept alive, never used; the code itself is immutable.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(module) = self.0.take() {
            // SAFETY: `Code` owns the memory and lends segments only while it is borrowed, so no code of the module runs any
            // more.
            unsafe { module.free_memory() };
        }
    }
}

/// Compiles a kernel's structure.
///
/// # Errors
/// `nki::limit` when this machine has no code generator.
pub fn compile(lowered: &Lowered) -> Result<Code, Diagnostics> {
    let isa = cranelift_native::builder()
        .map_err(limit)?
        .finish(flags(lowered.steps.len(), false)?)
        .map_err(limit)?;
    let mut builder = JITBuilder::with_isa(isa, default_libcall_names());
    builder.symbol("nki_native_run_step", runtime::run_step as *const u8);
    builder.symbol("nki_native_poison_tile", runtime::poison_tile as *const u8);
    builder.symbol("nki_native_run_nest", runtime::run_nest as *const u8);
    builder.symbol("nki_native_run_chain", runtime::run_chain as *const u8);
    builder.symbol("nki_native_check_bounds", runtime::check_bounds as *const u8);
    let mut module = JITModule::new(builder);
    let functions = emit(&mut module, lowered)?;
    module.finalize_definitions().map_err(limit)?;
    let entries: Vec<Entry> = functions
        .into_iter()
        // SAFETY: the function was declared with exactly this signature.
        .map(|id| unsafe { std::mem::transmute::<*const u8, Entry>(module.get_finalized_function(id)) })
        .collect();
    // SAFETY: the entries are the kernel's, in order.
    Ok(unsafe { Code::new(lowered, entries, Some(Box::new(Memory(Some(module))))) })
}
