//! The ordered steps from what was found to what is wanted.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Link, Mac, Route, Rule, State, TUNNEL};

/// One step. Each is idempotent: made twice, or made after somebody else made it, it does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Makes a link and sets it up, whichever of the two is still to be done; a veth's other end goes straight
    /// into its container.
    AddLink(String, Link),
    /// Changes the largest packet of a link.
    SetMtu(String, u32),
    /// Removes a link, and with it everything on it.
    RemoveLink(String),
    /// Adds an address to a link.
    AddAddress(String, Ipv4Addr),
    /// Removes an address from a link.
    RemoveAddress(String, Ipv4Addr),
    /// Sets the route of a table to a destination, whatever it was before.
    SetRoute(u32, Ipv4Net, Route),
    /// Removes a route.
    RemoveRoute(u32, Ipv4Net, Route),
    /// Sets the hardware address of a neighbour.
    SetNeighbour(String, Ipv4Addr, Mac),
    /// Forgets a neighbour.
    RemoveNeighbour(String, Ipv4Addr),
    /// Sets where the tunnel sends a hardware address.
    SetForward(Mac, Ipv4Addr),
    /// Forgets a hardware address of the tunnel.
    RemoveForward(Mac, Ipv4Addr),
    /// Adds a policy rule.
    AddRule(Rule),
    /// Removes a policy rule.
    RemoveRule(Rule),
}

/// The steps from what was found to what is wanted: what must make way first, then what is used by others
/// before its users, removals last.
pub fn diff(wanted: &State, found: &State) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut remade = BTreeSet::new();
    for (name, link) in &found.links {
        if wanted.links.get(name).is_some_and(|want| !want.keeps(link)) {
            steps.push(Step::RemoveLink(name.clone()));
            remade.insert(name.as_str());
        }
    }
    // What was on a link that is made anew went with it.
    let lost = |link: Option<&str>| link.is_some_and(|link| remade.contains(link));
    for (name, link) in &wanted.links {
        match found.links.get(name) {
            Some(was) if !remade.contains(name.as_str()) => {
                if was.up != link.up {
                    steps.push(Step::AddLink(name.clone(), *link));
                }
                if was.mtu != link.mtu {
                    steps.push(Step::SetMtu(name.clone(), link.mtu));
                }
            }
            _ => steps.push(Step::AddLink(name.clone(), *link)),
        }
    }
    for (link, address) in &wanted.addresses {
        if !found.addresses.contains(&(link.clone(), *address)) || lost(Some(link)) {
            steps.push(Step::AddAddress(link.clone(), *address));
        }
    }
    for ((link, address), mac) in &wanted.neighbours {
        if found.neighbours.get(&(link.clone(), *address)) != Some(mac) || lost(Some(link)) {
            steps.push(Step::SetNeighbour(link.clone(), *address, *mac));
        }
    }
    for (mac, address) in &wanted.forwards {
        if found.forwards.get(mac) != Some(address) || remade.contains(TUNNEL) {
            steps.push(Step::SetForward(*mac, *address));
        }
    }
    let mut routes: Vec<_> = wanted.routes.iter().collect();
    // A next hop must be reachable before routes use it.
    routes.sort_by_key(|(_, route)| route.gateway.is_some());
    for ((table, to), route) in routes {
        if found.routes.get(&(*table, *to)) != Some(route) || lost(route.link.as_deref()) {
            steps.push(Step::SetRoute(*table, *to, route.clone()));
        }
    }
    steps.extend(
        wanted
            .rules
            .difference(&found.rules)
            .map(|rule| Step::AddRule(*rule)),
    );
    steps.extend(
        found
            .rules
            .difference(&wanted.rules)
            .map(|rule| Step::RemoveRule(*rule)),
    );
    removals(wanted, found, &mut steps);
    steps
}

fn removals(wanted: &State, found: &State, steps: &mut Vec<Step>) {
    // What sits on a link that goes, goes with it.
    let gone = |name: &str| found.links.contains_key(name) && !wanted.links.contains_key(name);
    for ((table, to), route) in &found.routes {
        if !wanted.routes.contains_key(&(*table, *to)) && !route.link.as_deref().is_some_and(gone) {
            steps.push(Step::RemoveRoute(*table, *to, route.clone()));
        }
    }
    for (link, address) in found.neighbours.keys() {
        if !wanted.neighbours.contains_key(&(link.clone(), *address)) && !gone(link) {
            steps.push(Step::RemoveNeighbour(link.clone(), *address));
        }
    }
    for (mac, address) in &found.forwards {
        if !wanted.forwards.contains_key(mac) && !gone(TUNNEL) {
            steps.push(Step::RemoveForward(*mac, *address));
        }
    }
    for (link, address) in found.addresses.difference(&wanted.addresses) {
        if !gone(link) {
            steps.push(Step::RemoveAddress(link.clone(), *address));
        }
    }
    for name in found.links.keys() {
        if !wanted.links.contains_key(name) {
            steps.push(Step::RemoveLink(name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkKind, TABLE_MAIN};
    use super::*;

    fn veth(mac: u8) -> Link {
        Link {
            kind: LinkKind::Veth {
                task: None,
                peer_mac: [1; 6],
            },
            mac: [mac; 6],
            mtu: 1420,
            up: true,
        }
    }

    fn state() -> State {
        let mut state = State::default();
        state.links.insert("skepv1".to_owned(), veth(1));
        let to: Ipv4Net = "10.1.1.2/32".parse().expect("a net");
        let route = Route {
            link: Some("skepv1".to_owned()),
            ..Route::default()
        };
        state.routes.insert((TABLE_MAIN, to), route);
        state
            .neighbours
            .insert(("skepv1".to_owned(), to.addr()), [1; 6]);
        state
    }

    #[test]
    fn nothing_is_done_when_all_is_as_wanted() {
        assert_eq!(diff(&state(), &state()), []);
    }

    #[test]
    fn links_come_before_what_uses_them() {
        let steps = diff(&state(), &State::default());
        assert!(matches!(
            steps.as_slice(),
            [
                Step::AddLink(..),
                Step::SetNeighbour(..),
                Step::SetRoute(..)
            ]
        ));
    }

    #[test]
    fn what_is_on_a_link_goes_with_it() {
        let steps = diff(&State::default(), &state());
        assert_eq!(steps, [Step::RemoveLink("skepv1".to_owned())]);
    }

    #[test]
    fn a_link_that_cannot_be_kept_is_made_anew_with_all_that_is_on_it() {
        let mut wanted = state();
        wanted.links.insert("skepv1".to_owned(), veth(2));
        let steps = diff(&wanted, &state());
        assert!(matches!(
            steps.as_slice(),
            [
                Step::RemoveLink(..),
                Step::AddLink(..),
                Step::SetNeighbour(..),
                Step::SetRoute(..)
            ]
        ));
    }

    #[test]
    fn another_packet_size_does_not_cut_a_link() {
        let mut wanted = state();
        if let Some(link) = wanted.links.get_mut("skepv1") {
            link.mtu = 1300;
        }
        assert_eq!(
            diff(&wanted, &state()),
            [Step::SetMtu("skepv1".to_owned(), 1300)]
        );
    }

    #[test]
    fn a_link_that_is_down_is_set_up_before_what_uses_it() {
        let mut found = state();
        found.routes.clear();
        if let Some(link) = found.links.get_mut("skepv1") {
            link.up = false;
        }
        let steps = diff(&state(), &found);
        assert!(
            matches!(steps.as_slice(), [Step::AddLink(..), Step::SetRoute(..)]),
            "{steps:?}"
        );
    }
}
