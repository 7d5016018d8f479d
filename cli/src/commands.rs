//! The command tree: one module a command or group of commands.

mod completion;
mod config;
mod content;
mod context;
mod events;
mod image;
mod info;
mod man;
mod network;
mod node;
mod secret;
mod service;
mod stack;
mod swarm;
mod system;
mod version;
mod why;

use crate::args::Cli;
use crate::client::Host;
use crate::place::{Place, variable};
use anyhow::Result;
use clap::Subcommand;

pub use version::version_text;

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, join and leave a swarm
    #[command(subcommand)]
    Swarm(swarm::Command),
    /// The machines of the swarm
    #[command(subcommand)]
    Node(node::Command),
    /// What runs in the swarm
    #[command(subcommand)]
    Service(service::Command),
    /// Services deployed together from a stack file
    #[command(subcommand)]
    Stack(stack::Command),
    /// Networks between the tasks of services
    #[command(subcommand)]
    Network(network::Command),
    /// Files that managers keep sealed and tasks read
    #[command(subcommand)]
    Secret(secret::Command),
    /// Files that managers keep and tasks read
    #[command(subcommand)]
    Config(config::Command),
    /// Names for the swarms and daemons that commands talk to
    #[command(subcommand)]
    Context(context::Command),
    /// Images on this node
    #[command(subcommand)]
    Image(image::Command),
    /// This node and the swarm as a whole
    #[command(subcommand)]
    System(system::Command),
    /// Show what changes in the swarm, as it changes
    Events(events::Args),
    /// Show what this node is and runs on
    Info(info::Args),
    /// Say why a service, stack, node or task is as it is, and what to run next
    Why(why::Args),
    /// Show the versions of this program and of the daemon
    Version(version::Args),
    /// Run this machine's node: its containers, its network and, while it is a
    /// manager, its part in deciding
    Daemon(skep_daemon::DaemonArgs),
    /// Print what makes a shell complete commands
    Completion(completion::Args),
    /// Write the manual pages of all commands
    #[command(hide = true)]
    Man(man::Args),
}

/// Runs one command.
///
/// # Errors
/// What ended it.
pub fn run(cli: Cli) -> Result<()> {
    let command = match cli.command {
        // It has to be possible while the one in use is broken.
        Command::Context(command) => return context::run(command, &cli.place),
        Command::Completion(args) => return completion::run(&args),
        Command::Man(args) => return man::run(&args),
        // It has a runtime of its own, and more threads.
        Command::Daemon(args) => return skep_daemon::run(args),
        command => command,
    };
    let host = cli.place.find(variable)?.stale(cli.stale);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(dispatch(command, &host));
    // Nothing that is left may hold the exit up.
    runtime.shutdown_background();
    done
}

async fn dispatch(command: Command, host: &Host) -> Result<()> {
    match command {
        Command::Swarm(command) => swarm::run(command, host).await,
        Command::Node(command) => node::run(command, host).await,
        Command::Service(command) => service::run(command, host).await,
        Command::Stack(command) => stack::run(command, host).await,
        Command::Network(command) => network::run(command, host).await,
        Command::Secret(command) => secret::run(command, host).await,
        Command::Config(command) => config::run(command, host).await,
        Command::Context(command) => context::run(command, &Place::default()),
        Command::Image(command) => image::run(command, host).await,
        Command::System(command) => system::run(command, host).await,
        Command::Events(args) => events::run(args, host).await,
        Command::Info(args) => info::run(args, host).await,
        Command::Version(args) => version::run(args, host).await,
        Command::Why(args) => why::run(args, host).await,
        Command::Completion(args) => completion::run(&args),
        Command::Man(args) => man::run(&args),
        Command::Daemon(args) => skep_daemon::run(args),
    }
}
