//! Networks whose subnets meet a route of the node's own: traffic would go the wrong way, so they are not
//! set up there.

use std::fmt;

use ipnet::Ipv4Net;
use skep_types::NetworkId;

use super::Desired;

/// A route of the node that is none of skep's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRoute {
    /// Where it leads.
    pub destination: Ipv4Net,
    /// Through which device.
    pub device: String,
}

/// A subnet that cannot be used on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    /// The network; none for the mesh itself.
    pub network: Option<NetworkId>,
    /// Its name.
    pub name: String,
    /// Its subnet.
    pub subnet: Ipv4Net,
    /// The route in the way.
    pub route: HostRoute,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.network {
            Some(_) => format!("of network {}", self.name),
            None => "of the mesh between the nodes".to_owned(),
        };
        let advice = match self.network {
            Some(_) => "choose another subnet for the network",
            None => "remove the route, or make the swarm with another --mesh-subnet",
        };
        write!(
            f,
            "subnet {} {what} overlaps this node's route to {} through {}: {advice}",
            self.subnet, self.route.destination, self.route.device
        )
    }
}

impl std::error::Error for Clash {}

/// All clashes. A default route clashes with nothing.
pub fn find(desired: &Desired, routes: &[HostRoute]) -> Vec<Clash> {
    let networks = desired.networks.iter().flat_map(|(id, network)| {
        network
            .subnets
            .iter()
            .map(|subnet| (Some(*id), network.name.clone(), *subnet))
    });
    let mesh = [(None, "mesh".to_owned(), desired.mesh.subnet)];
    let mut clashes = Vec::new();
    for (network, name, subnet) in networks.chain(mesh) {
        let meets = |route: &&HostRoute| {
            route.destination.prefix_len() > 0
                && (route.destination.contains(&subnet) || subnet.contains(&route.destination))
        };
        if let Some(route) = routes.iter().find(meets) {
            clashes.push(Clash {
                network,
                name,
                subnet,
                route: route.clone(),
            });
        }
    }
    clashes
}
