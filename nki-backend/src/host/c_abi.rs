//! What C calls: kernels in object files ([`super::object`]) come here, and so do the functions of their headers.
//!
//! An object file has the native code of a kernel's structure and its tile IR. The first call reads the IR, puts it through the
//! gate and makes the tables that the code works from, some milliseconds for a kernel of thousands of instructions; later calls
//! find them ready. Every pointer is used for exactly as many bytes as the header says.

use super::descriptor::{ABI, Bytes, Descriptor, VERSION};
use super::segment::Code as NativeCode;
use super::{HostKernel, HostOptions, Lowered, parameters, runtime};
use nki_ir::diag::{Code, Diagnostic, Diagnostics};
use nki_ir::kernel::BufKind;
use nki_ir::verify::verify;
use nki_ir::{Target, text};
use std::cell::RefCell;
use std::ffi::{CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};

/// Threads of a call; 0 for all cores.
static THREADS: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// What went wrong in this thread's last call.
    static ERROR: RefCell<CString> = RefCell::new(CString::default());
}

/// Finished.
const OK: i32 = 0;
/// The kernel stopped: an index at run time, an assertion.
const STOPPED: i32 = 1;
/// The object file does not belong to this library, or a pointer is null.
const REFUSED: i32 = 2;

/// What went wrong in this thread's last call that did not return 0, as text that is valid until its next call.
#[unsafe(no_mangle)]
pub extern "C" fn nki_native_error() -> *const c_char {
    ERROR.with_borrow(|e| e.as_ptr())
}

/// Sets how many threads a call may use: 0, which it is at first, for all cores. Results are the same for any number.
#[unsafe(no_mangle)]
pub extern "C" fn nki_native_threads(threads: u32) {
    THREADS.store(threads, Ordering::Relaxed);
}

/// Runs the kernel of an object file.
///
/// # Safety
/// Called by object files only: `descriptor` is theirs, `pointers` has one address per parameter, inputs and inouts in the
/// order of declaration and then outputs. What they point to must be as large as the header says; outputs overlap nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nki_native_call(descriptor: *const Descriptor, pointers: *const *mut u8) -> i32 {
    // SAFETY: the caller's promise.
    let run = || unsafe { call(&*descriptor, pointers) };
    let (status, errors) = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => return OK,
        Ok(Err(failed)) => failed,
        Err(_) => (STOPPED, Diagnostic::error(Code::Limit, "internal error").into()),
    };
    let text: Vec<u8> = errors.to_string().bytes().filter(|b| *b != 0).collect();
    ERROR.with_borrow_mut(|e| *e = CString::new(text).unwrap_or_default());
    status
}

/// # Safety
/// As [`nki_native_call`].
unsafe fn call(descriptor: &Descriptor, pointers: *const *mut u8) -> Result<(), (i32, Diagnostics)> {
    // SAFETY: the caller's promise.
    let kernel = unsafe { ready(descriptor) }.map_err(|e| (REFUSED, e))?;
    // SAFETY: as above.
    let mut next =
        unsafe { std::slice::from_raw_parts(pointers, parameters(kernel.kernel()).count()) }.iter().copied();
    let mut null = Diagnostics::new();
    let mut take = |name: &str| {
        let pointer = next.next().unwrap_or(std::ptr::null_mut());
        if pointer.is_null() {
            null.push(Diagnostic::error(Code::Argument, format!("`{name}` is a null pointer")));
        }
        pointer
    };
    let (mut inputs, mut inouts) = (Vec::new(), Vec::new());
    for (_, b) in kernel.kernel().inputs() {
        let pointer = take(&b.name);
        if b.kind == BufKind::InOut {
            inouts.push(pointer);
        }
        inputs
            .push((pointer.cast_const(), if b.kind == BufKind::InOut { 0 } else { b.row_bytes() as usize }));
    }
    let (mut outputs, mut inouts) = (Vec::new(), inouts.into_iter());
    for (_, b) in kernel.kernel().outputs() {
        let pointer = match b.kind {
            BufKind::InOut => inouts.next().unwrap_or(std::ptr::null_mut()),
            _ => take(&b.name),
        };
        outputs.push((pointer, b.row_bytes() as usize));
    }
    if null.has_errors() {
        return Err((REFUSED, null));
    }
    // SAFETY: the pointers are not null, and by the caller's promise as many bytes are there, initialised or never read before
    // they are written, and nobody else's during the call.
    let inputs: Vec<&[u8]> =
        inputs.into_iter().map(|(p, len)| unsafe { std::slice::from_raw_parts(p, len) }).collect();
    // SAFETY: as above.
    let mut outputs: Vec<&mut [u8]> =
        outputs.into_iter().map(|(p, len)| unsafe { std::slice::from_raw_parts_mut(p, len) }).collect();
    let threads = match THREADS.load(Ordering::Relaxed) {
        0 => None,
        n => Some(n as usize),
    };
    kernel.run_on(threads, &inputs, &mut outputs).map_err(|e| (STOPPED, e))
}

/// The kernel of an object file, made ready by whoever comes first.
///
/// # Safety
/// As [`nki_native_call`].
unsafe fn ready(descriptor: &Descriptor) -> Result<&HostKernel, Diagnostics> {
    let found = descriptor.ready.load(Ordering::Acquire);
    if !found.is_null() {
        // SAFETY: what was published below stays for the rest of the process.
        return Ok(unsafe { &*found });
    }
    // SAFETY: the caller's promise.
    let made = Box::into_raw(Box::new(unsafe { load(descriptor) }?));
    let publish =
        descriptor.ready.compare_exchange(std::ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
    match publish {
        // SAFETY: it was just made, and nobody frees it.
        Ok(_) => Ok(unsafe { &*made }),
        Err(first) => {
            // SAFETY: `made` was not published; `first` was, and stays.
            unsafe {
                drop(Box::from_raw(made));
                Ok(&*first)
            }
        }
    }
}

/// # Safety
/// As [`nki_native_call`].
unsafe fn load(descriptor: &Descriptor) -> Result<HostKernel, Diagnostics> {
    let refuse = |what: String| {
        Err(Diagnostic::error(Code::Argument, what).help("build the object file again").into())
    };
    if descriptor.abi != ABI {
        return refuse(format!("the object file has interface {}, this library {ABI}", descriptor.abi));
    }
    // SAFETY: an object file of this interface holds these bytes.
    let [version, target, source] =
        unsafe { [descriptor.version, descriptor.target, descriptor.text].map(|b| string(b)) };
    if version != VERSION {
        return refuse(format!("the object file was made by version {version}, this library is {VERSION}"));
    }
    let Some(target) = Target::ALL.into_iter().find(|t| t.name() == target) else {
        return refuse(format!("the object file is for `{target}`, which is unknown"));
    };
    let kernel = verify(text::parse(&source, "object file")?, target)?.into_kernel();
    let lowered = Lowered::new(kernel, target)?;
    // SAFETY: as above.
    let entries = unsafe { std::slice::from_raw_parts(descriptor.entries, descriptor.count as usize) };
    // SAFETY: this version generated the code from this text.
    let code = unsafe { NativeCode::new(&lowered, entries.iter().copied(), None) };
    if code.segments().len() != entries.len() {
        return refuse("the object file is damaged".into());
    }
    Ok(HostKernel::new(lowered, code, HostOptions::default()))
}

/// # Safety
/// `len` bytes must be there.
unsafe fn string(bytes: Bytes) -> String {
    // SAFETY: the caller's promise.
    let bytes = unsafe { std::slice::from_raw_parts(bytes.data, bytes.len as usize) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// The functions that generated code calls, under the names by which object files import them.
macro_rules! exports {
    ($( $name:ident = $function:ident ( $($arg:ident: $t:ty),* ) $(-> $r:ty)?; )*) => { $(
        #[doc = concat!("See `", stringify!($function), "` of the runtime.")]
        ///
        /// # Safety
        /// Called by generated code only.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(context: *mut std::ffi::c_void, $($arg: $t),*) $(-> $r)? {
            // SAFETY: generated code passes on the context that it was given.
            unsafe { runtime::$function(context.cast(), $($arg),*) }
        }
    )* };
}

exports! {
    nki_native_run_step = run_step(index: u32, offsets: *const i64, accumulate: u32) -> i32;
    nki_native_poison_tile = poison_tile(buf: u32);
    nki_native_check_bounds = check_bounds(index: u32, lo: i64, hi: i64) -> i32;
    nki_native_run_nest = run_nest(index: u32, offsets: *const i64) -> i32;
    nki_native_run_chain = run_chain(index: u32, offsets: *const i64) -> i32;
}
