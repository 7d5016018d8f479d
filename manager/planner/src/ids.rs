//! Where new ids come from: one stream a kind of object, so that one object
//! more of a kind does not change the ids of the others.

use skep_types::{ClusterId, ConfigId, NetworkId, NodeId, SecretId, ServiceId, StackId, TaskId};

/// A seeded source of ids. A manager seeds it from the system's generator,
/// tests from a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdSource {
    seed: [u64; 2],
    drawn: [u64; 8],
}

impl IdSource {
    /// A source; two with the same seed give the same ids.
    pub fn new(seed: u128) -> IdSource {
        IdSource {
            seed: [(seed >> 64) as u64, seed as u64],
            drawn: [0; 8],
        }
    }

    /// For a task.
    pub fn task(&mut self) -> TaskId {
        TaskId::from_bits(self.draw(0))
    }

    /// For a service.
    pub fn service(&mut self) -> ServiceId {
        ServiceId::from_bits(self.draw(1))
    }

    /// For a network.
    pub fn network(&mut self) -> NetworkId {
        NetworkId::from_bits(self.draw(2))
    }

    /// For a secret.
    pub fn secret(&mut self) -> SecretId {
        SecretId::from_bits(self.draw(3))
    }

    /// For a config.
    pub fn config(&mut self) -> ConfigId {
        ConfigId::from_bits(self.draw(4))
    }

    /// For a node.
    pub fn node(&mut self) -> NodeId {
        NodeId::from_bits(self.draw(5))
    }

    /// For a cluster.
    pub fn cluster(&mut self) -> ClusterId {
        ClusterId::from_bits(self.draw(6))
    }

    /// For a stack.
    pub fn stack(&mut self) -> StackId {
        StackId::from_bits(self.draw(7))
    }

    fn draw(&mut self, kind: usize) -> u128 {
        let count = self.drawn[kind];
        self.drawn[kind] += 1;
        let stream = (kind as u64) << 56;
        let high = mix(self.seed[0] ^ mix(stream | count));
        let low = mix(self.seed[1] ^ mix(!(stream | count)));
        u128::from(high) << 64 | u128::from(low)
    }
}

/// The finaliser of SplitMix64: a bijection, so that one stream never gives
/// the same half twice.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_seed_gives_the_same_ids_and_never_one_twice() {
        let (mut one, mut other) = (IdSource::new(42), IdSource::new(42));
        let first: Vec<TaskId> = (0..1000).map(|_| one.task()).collect();
        // Drawing of another kind in between changes nothing.
        let second: Vec<TaskId> = (0..1000)
            .map(|_| {
                other.node();
                other.task()
            })
            .collect();
        assert_eq!(first, second);
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 1000);
        assert_ne!(IdSource::new(43).task(), first[0]);
    }
}
