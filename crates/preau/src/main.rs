//! The `preau` command.

/// A node makes and frees millions of small things a second, and with the C library's allocator spent a quarter of
/// its time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    preau::main()
}
