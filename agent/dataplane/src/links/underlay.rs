//! The routes of the node that are none of ours: what carries the mesh, and what networks must not clash with.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use skep_agent_planner::network::clash::HostRoute;

/// The largest packet in bytes where no route says which link it takes.
const USUAL_MTU: u32 = 1500;

/// The main routing table without our own routes.
#[derive(Debug, Default)]
pub(crate) struct Underlay {
    routes: Vec<(HostRoute, u32)>,
}

impl Underlay {
    /// Adds a route through a device, and the device's largest packet.
    pub(super) fn add(&mut self, destination: Ipv4Net, device: &str, mtu: u32) {
        let route = HostRoute {
            destination,
            device: device.to_owned(),
        };
        self.routes.push((route, mtu));
    }

    /// All routes.
    pub(crate) fn routes(&self) -> Vec<HostRoute> {
        self.routes.iter().map(|(route, _)| route.clone()).collect()
    }

    /// The largest packet that gets to all these addresses in one piece, as far as the node's own links tell;
    /// without addresses, that of the default route.
    pub(crate) fn mtu(&self, towards: impl Iterator<Item = Ipv4Addr>) -> u32 {
        let to_all = towards
            .filter_map(|address| self.mtu_towards(address))
            .min();
        let default = || self.mtu_towards(Ipv4Addr::UNSPECIFIED);
        to_all.or_else(default).unwrap_or(USUAL_MTU)
    }

    fn mtu_towards(&self, address: Ipv4Addr) -> Option<u32> {
        self.routes
            .iter()
            .filter(|(route, _)| route.destination.contains(&address))
            .max_by_key(|(route, _)| route.destination.prefix_len())
            .map(|(_, mtu)| *mtu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_way_decides_and_the_longest_prefix_is_the_way() {
        let mut underlay = Underlay::default();
        let mut add = |to: &str, mtu| underlay.add(to.parse().expect("a net"), "e0", mtu);
        add("0.0.0.0/0", 1500);
        add("10.0.0.0/8", 9000);
        add("10.7.0.0/16", 1400);
        let ask = |towards: &[[u8; 4]]| underlay.mtu(towards.iter().copied().map(Ipv4Addr::from));
        assert_eq!(ask(&[]), 1500);
        assert_eq!(ask(&[[10, 1, 0, 1]]), 9000);
        assert_eq!(ask(&[[10, 1, 0, 1], [10, 7, 0, 1], [192, 0, 2, 1]]), 1400);
        assert_eq!(Underlay::default().mtu(std::iter::empty()), USUAL_MTU);
    }
}
