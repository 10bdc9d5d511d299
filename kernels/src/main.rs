//! The `nki` command with the kernels of this library.

// Links the kernels, which register themselves.
use nki_kernels as _;

fn main() -> std::process::ExitCode {
    nki::cli::main()
}
