//! `preau completion`: scripts that complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Cli;
use crate::failure::Failure;
use crate::output::print_line;

/// Print a script that completes preau's command line.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  preau completion bash > /etc/bash_completion.d/preau
  preau completion zsh > \"${fpath[1]}/_preau\"
  preau completion fish > ~/.config/fish/completions/preau.fish")]
pub struct Args {
    /// The shell.
    shell: Shell,
}

pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "preau", &mut script);
    print_line(&String::from_utf8_lossy(&script))
}
