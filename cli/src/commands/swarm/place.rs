//! Where a node that enters a swarm is reached, and whether tasks may run on it.

use super::Availability;
use crate::flags;

/// Arguments that `init`, `join` and `restore` have in common.
#[derive(Debug, clap::Args)]
pub struct PlaceArgs {
    /// Address other nodes reach this one at, or the interface that has it
    #[arg(
        long,
        value_name = "ADDRESS|INTERFACE[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    pub advertise_addr: String,
    /// Address to listen at; 0.0.0.0:2377, or the one it had, where none is given
    #[arg(
        long,
        value_name = "ADDRESS[:PORT]",
        default_value = "",
        hide_default_value = true
    )]
    pub listen_addr: String,
    /// Label of this node, for constraints on node.labels, e.g. zone=a; repeatable. Who
    /// holds a join token names them as they like: what has to be trusted is set with
    /// `skep node update --label-add`
    #[arg(long, value_name = "KEY=VALUE", value_parser = flags::key_value)]
    pub label: Vec<(String, String)>,
    /// Whether tasks may run on this node
    #[arg(long, value_enum, default_value = "active")]
    pub availability: Availability,
}
