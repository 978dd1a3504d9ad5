//! The command line as a whole; each command's own arguments are in its file.

use clap::{Parser, Subcommand};

use crate::output::Output;
use crate::{
    apply, bench, completion, config, dev, gate, holder, init, leader, lease, member, plan, pool,
    region, replay, serve, status, token, watch,
};

/// A national quota of user sessions, shared out fairly between regions.
#[derive(Debug, Parser)]
#[command(
    name = "preau",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Exit codes: 0 ok, 1 the operation failed, 2 usage (flags, files), 3 no node could be reached.
Data goes to stdout and everything else to stderr. NO_COLOR=1 switches colours off."
)]
pub struct Cli {
    /// How to print data.
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "PREAU_OUTPUT",
        value_name = "FORM"
    )]
    pub output: Output,

    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Dev(dev::Args),
    Serve(serve::Args),
    Gate(Box<gate::Args>),
    Config(config::Args),
    Init(init::Args),
    Member(member::Args),
    Leader(leader::Args),
    Pool(pool::Args),
    Region(region::Args),
    Apply(apply::Args),
    Lease(lease::Args),
    Holder(holder::Args),
    Key(token::KeyArgs),
    Ticket(token::TicketArgs),
    Status(status::Args),
    Watch(watch::Args),
    Plan(plan::Args),
    Bench(bench::Args),
    Replay(replay::Args),
    Completion(completion::Args),
}
