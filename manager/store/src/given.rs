//! What nodes have given to tasks that no others may have: generic resources, of kinds that
//! only who set a node up knows, and ports of their own. How many are left, and which a
//! task gets.

use skep_types::{GenericResource, Generics, Protocol, PublishMode, Service};
use std::collections::{BTreeMap, BTreeSet};

/// A port of a node.
pub type HostPort = (Protocol, u16);

/// Host-mode ports with a fixed number: each task of the service takes them.
pub fn host_ports(service: &Service) -> Vec<HostPort> {
    let ports = service.spec.endpoint.ports.iter();
    ports
        .filter(|port| port.mode == PublishMode::Host && port.published != 0)
        .map(|port| (port.protocol, port.published))
        .collect()
}

/// What a node has given away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    by_kind: BTreeMap<String, OfKind>,
    /// With how many tasks have each: what was placed before may have the same.
    ports: BTreeMap<HostPort, u32>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct OfKind {
    amount: u64,
    names: BTreeSet<String>,
}

impl Given {
    /// A task has these ports.
    pub fn open(&mut self, ports: &[HostPort]) {
        for port in ports {
            *self.ports.entry(*port).or_default() += 1;
        }
    }

    /// A task that had these ports has gone.
    pub fn close(&mut self, ports: &[HostPort]) {
        for port in ports {
            match self.ports.get_mut(port) {
                Some(tasks) if *tasks > 1 => *tasks -= 1,
                _ => drop(self.ports.remove(port)),
            }
        }
    }

    /// Whether a task has this port.
    pub fn has_port(&self, port: HostPort) -> bool {
        self.ports.contains_key(&port)
    }

    /// The ports that tasks have.
    pub fn ports(&self) -> impl Iterator<Item = HostPort> + '_ {
        self.ports.keys().copied()
    }

    /// A task has these.
    pub fn add(&mut self, generic: &Generics) {
        for (kind, given) in generic {
            let of_kind = self.by_kind.entry(kind.clone()).or_default();
            of_kind.amount = of_kind.amount.saturating_add(given.amount());
            if let GenericResource::Named(names) = given {
                of_kind.names.extend(names.iter().cloned());
            }
        }
    }

    /// A task that had these has gone.
    pub fn remove(&mut self, generic: &Generics) {
        for (kind, given) in generic {
            let Some(of_kind) = self.by_kind.get_mut(kind) else {
                continue;
            };
            of_kind.amount = of_kind.amount.saturating_sub(given.amount());
            if let GenericResource::Named(names) = given {
                of_kind.names.retain(|name| !names.contains(name));
            }
            if *of_kind == OfKind::default() {
                self.by_kind.remove(kind);
            }
        }
    }

    /// How many of a kind are left. What a node has may have been told anew since: what
    /// it gave away counts all the same.
    pub fn left(&self, has: &Generics, kind: &str) -> u64 {
        let Some(has) = has.get(kind) else { return 0 };
        let Some(given) = self.by_kind.get(kind) else {
            return has.amount();
        };
        let left = has.amount().saturating_sub(given.amount);
        match has {
            GenericResource::Count(_) => left,
            GenericResource::Named(names) => {
                left.min(names.difference(&given.names).count() as u64)
            }
        }
    }

    /// What a task gets of what is left: names in their order.
    pub fn choose(&self, has: &Generics, wanted: &BTreeMap<String, u64>) -> Generics {
        let none = BTreeSet::new();
        let of_kind = |(kind, wanted): (&String, &u64)| {
            let chosen = match has.get(kind)? {
                GenericResource::Count(_) => GenericResource::Count(*wanted),
                GenericResource::Named(names) => {
                    let given = self.by_kind.get(kind).map_or(&none, |given| &given.names);
                    let count = usize::try_from(*wanted).unwrap_or(usize::MAX);
                    let left = names.difference(given).take(count);
                    GenericResource::Named(left.cloned().collect())
                }
            };
            Some((kind.clone(), chosen))
        };
        wanted.iter().filter_map(of_kind).collect()
    }

    /// How many of each kind are given away.
    pub fn amounts(&self) -> BTreeMap<String, u64> {
        let used = self.by_kind.iter().filter(|(_, given)| given.amount > 0);
        used.map(|(kind, given)| (kind.clone(), given.amount))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> GenericResource {
        GenericResource::Named(names.iter().map(|&name| name.to_owned()).collect())
    }

    fn gpu(has: GenericResource) -> Generics {
        Generics::from([("gpu".to_owned(), has)])
    }

    #[test]
    fn what_was_given_counts_though_the_node_says_otherwise_now() {
        let mut given = Given::default();
        given.add(&gpu(named(&["a", "b"])));
        assert_eq!(given.left(&gpu(named(&["a", "b", "c"])), "gpu"), 1);
        assert_eq!(given.left(&gpu(named(&["a"])), "gpu"), 0);
        // Others instead: what is running has to be somewhere.
        assert_eq!(given.left(&gpu(named(&["c", "d", "e"])), "gpu"), 1);
        assert_eq!(given.left(&gpu(GenericResource::Count(5)), "gpu"), 3);
        assert_eq!(given.left(&Generics::new(), "gpu"), 0);
        given.add(&gpu(GenericResource::Count(u64::MAX)));
        assert_eq!(given.left(&gpu(named(&["c"])), "gpu"), 0);
    }

    #[test]
    fn names_come_back() {
        let (mut given, has) = (Given::default(), gpu(named(&["a", "b"])));
        let wanted = BTreeMap::from([("gpu".to_owned(), 1)]);
        let first = given.choose(&has, &wanted);
        assert_eq!(first, gpu(named(&["a"])));
        given.add(&first);
        let second = given.choose(&has, &wanted);
        assert_eq!(second, gpu(named(&["b"])));
        given.add(&second);
        assert_eq!(given.left(&has, "gpu"), 0);
        given.remove(&first);
        assert_eq!(given.choose(&has, &wanted), first);
        assert_eq!(given.amounts(), wanted);
    }
}
