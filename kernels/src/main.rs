//! The `nki` command with the kernels of this library.

// Links the kernels and the measured cases of `nki calibrate`, which register themselves.
use nki_calibration as _;
use nki_kernels as _;

fn main() -> std::process::ExitCode {
    nki::cli::main()
}
