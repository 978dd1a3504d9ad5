//! The `preau` command.

fn main() -> std::process::ExitCode {
    preau::main()
}
