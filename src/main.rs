//! The `stockroom` program: the library's command line and an allocator.

use std::process::ExitCode;

/// The C library's allocator is the dearest single part of a small gRPC call.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    stockroom::cli::run()
}
