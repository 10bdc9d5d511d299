//! Relocatable object files: what a code generator's module becomes for a linker. ELF for x86-64, little of which is needed:
//! code, constants, data, symbols and relocations.

#![allow(clippy::result_large_err)] // The errors of a module are Cranelift's.

use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::Signature;
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenError, Context};
use cranelift_module::{
    DataDescription, DataId, FuncId, Init, Linkage, Module, ModuleDeclarations, ModuleError, ModuleReloc,
    ModuleRelocTarget, ModuleResult,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A section's bytes and what the linker fills in.
#[derive(Default)]
struct Section {
    bytes: Vec<u8>,
    relocations: Vec<Relocation>,
}

struct Relocation {
    offset: u64,
    kind: u32,
    name: Name,
    addend: i64,
}

/// A function (0) or data object (1) by its number in the declarations.
type Name = (u32, u32);

impl Section {
    /// Appends aligned bytes; returns where they begin.
    fn append(&mut self, bytes: &[u8], align: u64) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align.max(1) as usize), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        at
    }
}

/// Number of a section in the file.
const TEXT: u16 = 1;
const RODATA: u16 = 2;
const DATA: u16 = 3;

/// A module that becomes an object file.
pub struct ElfModule {
    isa: Arc<dyn TargetIsa>,
    declarations: ModuleDeclarations,
    sections: [Section; 3],
    /// Section, offset and size of what has been defined.
    defined: BTreeMap<Name, (u16, u64, u64)>,
}

fn unsupported<T>(what: String) -> ModuleResult<T> {
    Err(ModuleError::Compilation(CodegenError::Unsupported(what)))
}

impl ElfModule {
    /// A module without content.
    pub fn new(isa: Arc<dyn TargetIsa>) -> ElfModule {
        let (declarations, sections) = (ModuleDeclarations::default(), Default::default());
        ElfModule { isa, declarations, sections, defined: BTreeMap::new() }
    }

    fn define(
        &mut self,
        name: Name,
        section: u16,
        bytes: &[u8],
        align: u64,
        relocations: &[ModuleReloc],
    ) -> ModuleResult<()> {
        let index = usize::from(section - TEXT);
        let at = self.sections[index].append(bytes, align);
        for r in relocations {
            let ModuleRelocTarget::User { namespace, index: number } = r.name else {
                return unsupported(format!("a relocation to {}", r.name));
            };
            // The linker's numbers for them, from the psABI of x86-64.
            let kind = match r.kind {
                Reloc::Abs8 => 1,
                Reloc::X86PCRel4 | Reloc::X86CallPCRel4 => 2,
                Reloc::X86CallPLTRel4 => 4,
                Reloc::X86GOTPCRel4 => 9,
                other => return unsupported(format!("relocation {other}")),
            };
            let (offset, name, addend) = (at + u64::from(r.offset), (namespace, number), r.addend);
            self.sections[index].relocations.push(Relocation { offset, kind, name, addend });
        }
        self.defined.insert(name, (section, at, bytes.len() as u64));
        Ok(())
    }

    /// The object file.
    pub fn finish(self) -> Vec<u8> {
        // Local symbols come before the others.
        let functions = self
            .declarations
            .get_functions()
            .map(|(id, f)| ((0, id.as_u32()), f.linkage_name(id).into_owned(), f.linkage == Linkage::Local));
        let data = self
            .declarations
            .get_data_objects()
            .map(|(id, d)| ((1, id.as_u32()), d.linkage_name(id).into_owned(), d.linkage == Linkage::Local));
        let mut all: Vec<(Name, String, bool)> = functions.chain(data).collect();
        all.sort_by_key(|s| (!s.2, s.0));
        let locals = 1 + all.iter().filter(|s| s.2).count();
        let (mut symbols, mut strings) = (vec![0u8; 24], vec![0u8]);
        let mut numbers: BTreeMap<Name, u64> = BTreeMap::new();
        for (i, (name, text, local)) in all.iter().enumerate() {
            numbers.insert(*name, i as u64 + 1);
            let (section, at, size) = self.defined.get(name).copied().unwrap_or((0, 0, 0));
            // Binding in the upper half: local or global; type in the lower: function, object or, if elsewhere, unknown.
            let kind = if section == 0 { 0 } else { 2 - name.0 as u8 };
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend([u8::from(!local) << 4 | kind.clamp(0, 2), 0]);
            symbols.extend(section.to_le_bytes());
            symbols.extend(at.to_le_bytes());
            symbols.extend(size.to_le_bytes());
            strings.extend(text.as_bytes());
            strings.push(0);
        }
        let relocations = |section: &Section| {
            let mut out = Vec::new();
            for r in &section.relocations {
                let symbol = numbers.get(&r.name).copied().unwrap_or(0);
                out.extend(r.offset.to_le_bytes());
                out.extend((symbol << 32 | u64::from(r.kind)).to_le_bytes());
                out.extend(r.addend.to_le_bytes());
            }
            out
        };
        let [text_relocations, data_relocations] = [&self.sections[0], &self.sections[2]].map(relocations);
        let [text, rodata, data] = self.sections.map(|s| s.bytes);
        let (bits, symtab) = (1, 6);
        let plain = |name, flags, content| Header {
            name,
            kind: bits,
            flags,
            content,
            align: 64,
            ..Header::default()
        };
        let entries = |name, kind, flags, content, link, info| Header {
            name,
            kind,
            flags,
            content,
            link,
            info,
            align: 8,
            entry: 24,
        };
        let table = |name| Header { name, kind: 3, align: 1, ..Header::default() };
        let sections = [
            plain(".text", 2 | 4, text),
            plain(".rodata", 2, rodata),
            plain(".data", 2 | 1, data),
            entries(".rela.text", 4, 0x40, text_relocations, symtab, TEXT.into()),
            entries(".rela.data", 4, 0x40, data_relocations, symtab, DATA.into()),
            entries(".symtab", 2, 0, symbols, 7, locals as u32),
            Header { content: strings, ..table(".strtab") },
            // Empty: the stack need not be executable.
            Header { name: ".note.GNU-stack", kind: bits, align: 1, ..Header::default() },
            table(".shstrtab"),
        ];
        write(sections)
    }
}

/// A section of the file.
#[derive(Default)]
struct Header {
    name: &'static str,
    kind: u32,
    flags: u64,
    content: Vec<u8>,
    link: u32,
    info: u32,
    align: u64,
    /// Bytes of an entry, if it has entries.
    entry: u64,
}

/// Lays out the file: header, the sections' content, the table of sections. The last section gets the names of all.
fn write<const N: usize>(mut sections: [Header; N]) -> Vec<u8> {
    const HEADER: usize = 64;
    let (mut names, mut starts) = (vec![0u8], Vec::new());
    for s in &sections {
        starts.push(names.len() as u32);
        names.extend(s.name.as_bytes());
        names.push(0);
    }
    if let Some(last) = sections.last_mut() {
        last.content = names;
    }
    let (mut content, mut table) = (vec![0u8; HEADER], vec![0u8; 64]);
    for (s, name) in sections.iter().zip(starts) {
        content.resize(content.len().next_multiple_of(s.align as usize), 0);
        table.extend([name, s.kind].map(u32::to_le_bytes).concat());
        table.extend(
            [s.flags, 0, content.len() as u64, s.content.len() as u64].map(u64::to_le_bytes).concat(),
        );
        table.extend([s.link, s.info].map(u32::to_le_bytes).concat());
        table.extend([s.align, s.entry].map(u64::to_le_bytes).concat());
        content.extend(&s.content);
    }
    content.resize(content.len().next_multiple_of(8), 0);
    // 64 bits, little-endian, version 1; relocatable, x86-64.
    let mut header = vec![0x7F, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header.extend([1u16, 62].map(u16::to_le_bytes).concat());
    header.extend(1u32.to_le_bytes());
    header.extend([0u64, 0, content.len() as u64].map(u64::to_le_bytes).concat());
    header.extend(0u32.to_le_bytes());
    header.extend([HEADER as u16, 0, 0, 64, N as u16 + 1, N as u16].map(u16::to_le_bytes).concat());
    content[..HEADER].copy_from_slice(&header);
    content.extend(table);
    content
}

impl Module for ElfModule {
    fn isa(&self) -> &dyn TargetIsa {
        &*self.isa
    }

    fn declarations(&self) -> &ModuleDeclarations {
        &self.declarations
    }

    fn declare_function(&mut self, name: &str, linkage: Linkage, s: &Signature) -> ModuleResult<FuncId> {
        Ok(self.declarations.declare_function(name, linkage, s)?.0)
    }

    fn declare_anonymous_function(&mut self, signature: &Signature) -> ModuleResult<FuncId> {
        self.declarations.declare_anonymous_function(signature)
    }

    fn declare_data(
        &mut self,
        name: &str,
        linkage: Linkage,
        writable: bool,
        tls: bool,
    ) -> ModuleResult<DataId> {
        Ok(self.declarations.declare_data(name, linkage, writable, tls)?.0)
    }

    fn declare_anonymous_data(&mut self, writable: bool, tls: bool) -> ModuleResult<DataId> {
        self.declarations.declare_anonymous_data(writable, tls)
    }

    fn define_function_with_control_plane(
        &mut self,
        id: FuncId,
        context: &mut Context,
        plane: &mut ControlPlane,
    ) -> ModuleResult<()> {
        context.compile(&*self.isa, plane)?;
        let Some(code) = context.compiled_code() else {
            return unsupported("a function without code".into());
        };
        let reloc = |r| ModuleReloc::from_mach_reloc(r, &context.func, id);
        let relocations: Vec<ModuleReloc> = code.buffer.relocs().iter().map(reloc).collect();
        let align = u64::from(code.buffer.alignment).max(16);
        self.define((0, id.as_u32()), TEXT, code.code_buffer(), align, &relocations)
    }

    fn define_function_bytes(
        &mut self,
        id: FuncId,
        align: u64,
        bytes: &[u8],
        relocations: &[ModuleReloc],
    ) -> ModuleResult<()> {
        self.define((0, id.as_u32()), TEXT, bytes, align, relocations)
    }

    fn define_data(&mut self, id: DataId, data: &DataDescription) -> ModuleResult<()> {
        let zeros;
        let bytes: &[u8] = match &data.init {
            Init::Bytes { contents } => contents,
            Init::Zeros { size } => {
                zeros = vec![0; *size];
                &zeros
            }
            Init::Uninitialized => &[],
        };
        let relocations: Vec<ModuleReloc> = data.all_relocs(Reloc::Abs8).collect();
        let section = if self.declarations.get_data_decl(id).writable { DATA } else { RODATA };
        if section == RODATA && !relocations.is_empty() {
            return unsupported("addresses in constants".into());
        }
        self.define((1, id.as_u32()), section, bytes, data.align.unwrap_or(8), &relocations)
    }
}
