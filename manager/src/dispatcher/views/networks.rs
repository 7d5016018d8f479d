//! What nodes are told of a network: first all of it, then which of its blocks
//! changed hands. The first network of five thousand nodes has as many blocks, and
//! as many changes while they start; each told whole would be hundreds of kilobytes
//! to every node.
//!
//! Pure. Who gives out blocks is the planner's.

use ipnet::Ipv4Net;
use skep_types::assignment::AssignmentChange;
use skep_types::{BlockOwner, Meta, Network, NetworkId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most blocks in one change, so that messages stay small: about ten kilobytes.
const BLOCKS_PER_CHANGE: usize = 256;

/// Adds the changes that lead from what was told of a network to what it is.
pub(super) fn changes(
    id: NetworkId,
    before: Option<&Network>,
    after: Option<&Network>,
    changes: &mut Vec<AssignmentChange>,
) {
    let Some(after) = after else {
        return changes.push(AssignmentChange::Network(id, None));
    };
    let none = BTreeMap::new();
    let told = before.filter(|before| before.spec == after.spec && before.subnets == after.subnets);
    let old = match told {
        Some(told) => &told.blocks,
        None => {
            changes.push(AssignmentChange::Network(id, Some(Arc::new(bare(after)))));
            &none
        }
    };
    let freed = old.keys().filter(|block| !after.blocks.contains_key(block));
    let taken = after.blocks.iter();
    let taken = taken.filter(|(block, owner)| old.get(block) != Some(owner));
    let blocks: Vec<(Ipv4Net, Option<BlockOwner>)> = freed
        .map(|block| (*block, None))
        .chain(taken.map(|(block, owner)| (*block, Some(*owner))))
        .collect();
    let parts = blocks.chunks(BLOCKS_PER_CHANGE);
    changes.extend(parts.map(|part| AssignmentChange::Blocks(id, part.iter().copied().collect())));
}

/// Without blocks, and without version and times: those change with each block, and
/// no node asks for them.
fn bare(network: &Network) -> Network {
    Network {
        id: network.id,
        meta: Meta::default(),
        spec: network.spec.clone(),
        subnets: network.subnets.clone(),
        blocks: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatcher::digest::Digest;
    use skep_types::assignment::AssignmentSet;
    use skep_types::{NetworkSpec, NodeId, Version};

    const NODES: u128 = 1000;

    /// A network at this version, of these blocks, each with its node's number.
    fn network(version: u64, blocks: &[(u128, u128)]) -> Network {
        let block = |number: u128| format!("10.1.{}.{}/28", number / 16, number % 16 * 16);
        let blocks = blocks.iter().map(|(number, node)| {
            let owner = BlockOwner::Node(NodeId::from_bits(*node));
            (block(*number).parse().expect("a block"), owner)
        });
        Network {
            id: NetworkId::from_bits(1),
            meta: Meta {
                version: Version(version),
                ..Meta::default()
            },
            spec: NetworkSpec::default(),
            subnets: vec!["10.1.0.0/16".parse().expect("a subnet")],
            blocks: blocks.collect(),
        }
    }

    fn many() -> Vec<(u128, u128)> {
        (0..NODES).map(|number| (number, number)).collect()
    }

    fn tell(told: &mut (AssignmentSet, Digest), before: Option<&Network>, after: Option<&Network>) {
        let mut all = Vec::new();
        changes(NetworkId::from_bits(1), before, after, &mut all);
        for change in all {
            told.1.apply(&change);
            told.0.apply(change);
        }
    }

    #[test]
    fn who_is_told_by_steps_holds_what_who_is_told_anew_does_under_the_same_name() {
        let mut grown = network(9, &many());
        grown.subnets.push("10.2.0.0/16".parse().expect("a subnet"));
        let of = [
            None,
            Some(network(1, &[])),
            Some(network(2, &[(1, 1)])),
            Some(network(3, &[(1, 2), (2, 1)])),
            Some(network(4, &many())),
            Some(grown),
        ];
        for before in of.iter().map(Option::as_ref) {
            for after in of.iter().map(Option::as_ref) {
                let mut stepped = Default::default();
                tell(&mut stepped, None, before);
                tell(&mut stepped, before, after);
                let mut anew = Default::default();
                tell(&mut anew, None, after);
                assert_eq!(stepped.0, anew.0);
                assert_eq!(stepped.1.name(), anew.1.name());
            }
        }
    }

    #[test]
    fn a_block_that_is_taken_is_told_alone() {
        let (before, mut blocks) = (network(1, &many()), many());
        blocks.push((NODES, NODES));
        let after = network(2, &blocks);
        let mut told = Vec::new();
        changes(after.id, Some(&before), Some(&after), &mut told);
        assert!(
            matches!(&told[..], [AssignmentChange::Blocks(_, blocks)] if blocks.len() == 1),
            "{told:?}"
        );
        let mut same = Vec::new();
        changes(
            after.id,
            Some(&after),
            Some(&network(3, &blocks)),
            &mut same,
        );
        assert!(same.is_empty(), "{same:?}");
    }
}
