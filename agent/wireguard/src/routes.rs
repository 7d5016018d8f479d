//! Which peer an address belongs to: longest prefix first.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Networks and what they map to. Nodes have few prefix lengths (a host route and a block), so one
/// hash map per length, longest first, beats a tree: two look-ups however many networks there are.
#[derive(Debug)]
pub(crate) struct Routes<T> {
    v4: Family<T>,
    v6: Family<T>,
}

/// One address family; addresses are left-aligned in 128 bits so that both share the code.
#[derive(Debug)]
struct Family<T> {
    /// Longest prefix first.
    by_length: Vec<(u8, HashMap<u128, T>)>,
}

impl<T: Copy> Family<T> {
    fn insert(&mut self, bits: u128, length: u8, value: T) {
        let at = match self
            .by_length
            .binary_search_by(|(other, _)| length.cmp(other))
        {
            Ok(at) => at,
            Err(at) => {
                self.by_length.insert(at, (length, HashMap::new()));
                at
            }
        };
        self.by_length[at].1.insert(bits & mask(length), value);
    }

    fn get(&self, bits: u128) -> Option<T> {
        self.by_length
            .iter()
            .find_map(|(length, nets)| nets.get(&(bits & mask(*length))).copied())
    }
}

/// The leading `length` bits set.
fn mask(length: u8) -> u128 {
    match length {
        0 => 0,
        length => u128::MAX << (128 - u32::from(length.min(128))),
    }
}

fn left_aligned(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl<T: Copy> Routes<T> {
    pub(crate) fn new() -> Self {
        Self {
            v4: Family {
                by_length: Vec::new(),
            },
            v6: Family {
                by_length: Vec::new(),
            },
        }
    }

    /// Maps `net` to `value`; an equal network that was there before is replaced.
    pub(crate) fn insert(&mut self, net: IpNet, value: T) {
        let family = match net {
            IpNet::V4(_) => &mut self.v4,
            IpNet::V6(_) => &mut self.v6,
        };
        family.insert(left_aligned(net.addr()), net.prefix_len(), value);
    }

    /// The value of the longest network that holds `address`.
    pub(crate) fn get(&self, address: IpAddr) -> Option<T> {
        let family = match address {
            IpAddr::V4(_) => &self.v4,
            IpAddr::V6(_) => &self.v6,
        };
        family.get(left_aligned(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(nets: &[(&str, u32)]) -> Routes<u32> {
        let mut routes = Routes::new();
        for (net, value) in nets {
            routes.insert(net.parse().expect("a network"), *value);
        }
        routes
    }

    fn get(routes: &Routes<u32>, address: &str) -> Option<u32> {
        routes.get(address.parse().expect("an address"))
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let nets = [
            ("10.0.0.0/8", 1),
            ("10.1.2.0/24", 2),
            ("10.1.2.3/32", 3),
            ("0.0.0.0/0", 4),
        ];
        let mut reversed = nets;
        reversed.reverse();
        for routes in [routes(&nets), routes(&reversed)] {
            assert_eq!(get(&routes, "10.1.2.3"), Some(3));
            assert_eq!(get(&routes, "10.1.2.4"), Some(2));
            assert_eq!(get(&routes, "10.9.9.9"), Some(1));
            assert_eq!(get(&routes, "192.0.2.1"), Some(4));
            assert_eq!(get(&routes, "fd00::1"), None);
        }
    }

    #[test]
    fn ipv6_and_ipv4_never_answer_for_each_other() {
        let routes = routes(&[("::/0", 6), ("fd00:1::/64", 7), ("fd00:1::5/128", 8)]);
        assert_eq!(get(&routes, "fd00:1::5"), Some(8));
        assert_eq!(get(&routes, "fd00:1::6"), Some(7));
        assert_eq!(get(&routes, "fd00:2::6"), Some(6));
        assert_eq!(get(&routes, "10.0.0.1"), None);
    }

    #[test]
    fn host_bits_of_a_network_do_not_matter() {
        let routes = routes(&[("10.1.2.99/24", 1)]);
        assert_eq!(get(&routes, "10.1.2.1"), Some(1));
        assert_eq!(get(&routes, "10.1.3.1"), None);
    }
}
