//! Kernels compiled ahead of time: an object file for Linux on x86-64, and a C header.
//!
//! The object has the native code of the kernel's structure, for any processor of the architecture, and the kernel's tile IR,
//! from which the functions it calls (`c_abi`, in the static library of crate `nki-native`) make their tables at the first
//! call. They choose the instruction set of the processor that they find.

use super::codegen::{emit, flags, limit};
use super::descriptor::{ABI, Descriptor, VERSION};
use super::elf::ElfModule;
use super::{Lowered, parameters};
use cranelift_codegen::ir::{
    AbiParam, Function, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, UserFuncName, types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use cranelift_module::{DataDescription, DataId, Linkage, Module};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::BufKind;
use nki_ir::verify::{Verified, verify};
use nki_ir::{DType, Kernel, text};
use std::fmt::Write;
use std::mem::offset_of;

/// An object file and its header.
pub struct Object {
    /// The content of the object file.
    pub object: Vec<u8>,
    /// The content of the C header.
    pub header: String,
    /// The function that runs the kernel.
    pub symbol: String,
}

/// Compiles a kernel to an object file that defines the function `symbol`, which is `nki_` and the kernel's name by default.
///
/// # Errors
/// [`Code::Usage`] when `symbol` is not an identifier of C; [`Code::Limit`] when there is no code generator for this machine,
/// or an operation has no native form.
pub fn build(verified: &Verified, symbol: Option<&str>) -> Result<Object, Diagnostics> {
    // The library will read the kernel from its text: its entities get their numbers from there.
    let target = verified.target();
    let source = text::print(verified.kernel());
    let kernel = verify(text::parse(&source, "object file")?, target)?.into_kernel();
    let symbol = symbol.map_or_else(|| default_symbol(&kernel.name), str::to_string);
    if !is_identifier(&symbol) {
        let message = format!("`{symbol}` is not an identifier of C");
        return Err(Diagnostic::error(Code::Usage, message).into());
    }
    let header = header(&kernel, target.name(), &symbol);
    let lowered = Lowered::new(kernel, target)?;
    let isa = cranelift_native::builder_with_options(false)
        .map_err(limit)?
        .finish(flags(lowered.steps.len(), true)?)
        .map_err(limit)?;
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err(limit("object files are written for Linux on x86-64 only"));
    }
    let mut module = ElfModule::new(isa);
    let descriptor = describe(&mut module, &lowered, &source, target.name())?;
    entry(&mut module, &lowered.kernel, &symbol, descriptor)?;
    Ok(Object { object: module.finish(), header, symbol })
}

/// Writes the code and what the library must know about it.
fn describe(
    module: &mut ElfModule,
    lowered: &Lowered,
    source: &str,
    target: &str,
) -> Result<DataId, Diagnostics> {
    let functions = emit(module, lowered)?;
    let mut entries = DataDescription::new();
    entries.define(vec![0; functions.len().max(1) * 8].into());
    entries.set_align(8);
    for (i, id) in functions.iter().enumerate() {
        let function = module.declare_func_in_data(*id, &mut entries);
        entries.write_function_addr(8 * i as u32, function);
    }
    let mut data = DataDescription::new();
    let mut content = vec![0u8; size_of::<Descriptor>()];
    let mut number = |at: usize, x: u64| content[at..at + 8].copy_from_slice(&x.to_ne_bytes());
    number(offset_of!(Descriptor, abi), ABI);
    number(offset_of!(Descriptor, count), functions.len() as u64);
    let strings = [
        ("version", offset_of!(Descriptor, version), VERSION),
        ("target", offset_of!(Descriptor, target), target),
        ("text", offset_of!(Descriptor, text), source),
    ];
    for (_, at, text) in strings {
        number(at + 8, text.len() as u64);
    }
    data.define(content.into());
    data.set_align(8);
    for (name, at, text) in strings {
        let mut bytes = DataDescription::new();
        bytes.define(text.as_bytes().into());
        let id = module.declare_data(name, Linkage::Local, false, false).map_err(limit)?;
        module.define_data(id, &bytes).map_err(limit)?;
        let value = module.declare_data_in_data(id, &mut data);
        data.write_data_addr(at as u32, value, 0);
    }
    let id = module.declare_data("entries", Linkage::Local, true, false).map_err(limit)?;
    module.define_data(id, &entries).map_err(limit)?;
    let value = module.declare_data_in_data(id, &mut data);
    data.write_data_addr(offset_of!(Descriptor, entries) as u32, value, 0);
    let id = module.declare_data("descriptor", Linkage::Local, true, false).map_err(limit)?;
    module.define_data(id, &data).map_err(limit)?;
    Ok(id)
}

/// The function that C calls: its parameters, side by side in memory, for `nki_native_call`.
fn entry(
    module: &mut ElfModule,
    kernel: &Kernel,
    symbol: &str,
    descriptor: DataId,
) -> Result<(), Diagnostics> {
    let pointer = module.target_config().pointer_type();
    let count = parameters(kernel).count();
    let mut call = module.make_signature();
    call.params = vec![AbiParam::new(pointer); 2];
    call.returns = vec![AbiParam::new(types::I32)];
    let call = module.declare_function("nki_native_call", Linkage::Import, &call).map_err(limit)?;
    let mut signature = module.make_signature();
    signature.params = vec![AbiParam::new(pointer); count];
    signature.returns = vec![AbiParam::new(types::I32)];
    let id = module.declare_function(symbol, Linkage::Export, &signature).map_err(limit)?;
    let mut context = module.make_context();
    context.func = Function::with_name_signature(UserFuncName::user(1, 0), signature);
    let call = module.declare_func_in_func(call, &mut context.func);
    let descriptor = module.declare_data_in_func(descriptor, &mut context.func);
    let mut functions = FunctionBuilderContext::new();
    let mut b = FunctionBuilder::new(&mut context.func, &mut functions);
    let block = b.create_block();
    b.append_block_params_for_function_params(block);
    b.switch_to_block(block);
    let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 8 * count.max(1) as u32, 3);
    let slot = b.create_sized_stack_slot(slot);
    let address = b.ins().stack_addr(pointer, slot, 0);
    for i in 0..count {
        let value = b.block_params(block)[i];
        b.ins().store(MemFlagsData::trusted(), value, address, 8 * i as i32);
    }
    let descriptor = b.ins().symbol_value(pointer, descriptor);
    let call = b.ins().call(call, &[descriptor, address]);
    let status = b.inst_results(call)[0];
    b.ins().return_(&[status]);
    b.seal_all_blocks();
    b.finalize(module.target_config());
    module.define_function(id, &mut context).map_err(|e| limit(format!("{e:?}")))?;
    Ok(())
}

fn header(kernel: &Kernel, target: &str, symbol: &str) -> String {
    let guard = format!("{}_H", symbol.to_uppercase());
    let mut names: Vec<String> = Vec::new();
    let mut lines = String::new();
    let mut declared = Vec::new();
    for b in parameters(kernel) {
        let mut name = identifier(&b.name);
        while names.contains(&name) {
            name.push('_');
        }
        let (constant, role) = match b.kind {
            BufKind::Input => ("const ", "read"),
            BufKind::InOut => ("", "read and written"),
            _ => ("", "written"),
        };
        let shape: Vec<String> = b.shape.iter().map(u32::to_string).collect();
        let (shape, bytes) = (shape.join(", "), b.row_bytes());
        let _ = writeln!(lines, " *   {name}: {} [{shape}], {bytes} bytes, {role}", b.dtype);
        declared.push(format!("{constant}{} *{name}", c_type(b.dtype)));
        names.push(name);
    }
    let declared = if declared.is_empty() { "void".to_string() } else { declared.join(", ") };
    format!(
        "/* Kernel `{kernel}`, checked for {target}, compiled ahead of time by nki {VERSION}.
 * Link with the object file and with the static library of crate nki-native of the same version. */
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {{
#endif

/* Tensors are dense and row-major; what is written overlaps nothing else. bf16 and f16 are the bits of the number. Any alignment
 * works, 64 bytes is the fastest. May be called from several threads at once.
{lines} * Returns 0; 1 if the kernel stopped; 2 if a pointer is null or the library is of another version. */
int32_t {symbol}({declared});

/* What went wrong in this thread's last call that did not return 0; valid until its next call. */
const char *nki_native_error(void);

/* Threads that a call may use; 0, which it is at first, for all cores. Results are the same for any number. */
void nki_native_threads(uint32_t threads);

#ifdef __cplusplus
}}
#endif

#endif /* {guard} */
",
        kernel = kernel.name
    )
}

fn c_type(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::TF32 => "float",
        DType::I8 => "int8_t",
        DType::I16 => "int16_t",
        DType::I32 => "int32_t",
        other => match other.bytes() {
            1 => "uint8_t",
            2 => "uint16_t",
            _ => "uint32_t",
        },
    }
}

fn default_symbol(kernel: &str) -> String {
    format!("nki_{}", identifier(kernel))
}

/// A name as an identifier of C.
fn identifier(name: &str) -> String {
    const RESERVED: [&str; 44] = [
        "auto", "break", "case", "char", "class", "const", "continue", "default", "delete", "do", "double",
        "else", "enum", "extern", "float", "for", "goto", "if", "inline", "int", "long", "new", "operator",
        "private", "public", "register", "restrict", "return", "short", "signed", "sizeof", "static",
        "struct", "switch", "template", "this", "typedef", "union", "unsigned", "using", "virtual", "void",
        "volatile", "while",
    ];
    let mut out: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if out.starts_with(|c: char| c.is_ascii_digit()) || out.is_empty() {
        out.insert(0, '_');
    }
    if RESERVED.contains(&out.as_str()) {
        out.push('_');
    }
    out
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && identifier(name) == name
}
