//! What an object file says about its kernel to the functions that it calls.

use super::HostKernel;
use super::segment::Entry;
use std::sync::atomic::AtomicPtr;

/// Changes when [`Descriptor`], or how generated code calls the runtime, does.
#[cfg(any(feature = "aot", feature = "c-abi"))]
pub const ABI: u64 = 1;

/// The version of this crate. Generated code names instructions, products and chains by number, and another version may
/// number them in another way.
#[cfg(any(feature = "aot", feature = "c-abi"))]
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Bytes of an object file.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    pub data: *const u8,
    pub len: u64,
}

/// An object file's kernel.
#[repr(C)]
#[derive(Debug)]
pub struct Descriptor {
    pub abi: u64,
    pub version: Bytes,
    /// Name of the target that the kernel was verified for.
    pub target: Bytes,
    /// Its tile IR as text.
    pub text: Bytes,
    pub entries: *const Entry,
    pub count: u64,
    /// The kernel made ready by the first call; null until then.
    pub ready: AtomicPtr<HostKernel>,
}

// Objects are written by these offsets.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(std::mem::offset_of!(Descriptor, version) == 8);
    assert!(std::mem::offset_of!(Descriptor, target) == 24);
    assert!(std::mem::offset_of!(Descriptor, text) == 40);
    assert!(std::mem::offset_of!(Descriptor, entries) == 56);
    assert!(std::mem::offset_of!(Descriptor, count) == 64);
    assert!(std::mem::offset_of!(Descriptor, ready) == 72);
    assert!(size_of::<Descriptor>() == 80);
};
