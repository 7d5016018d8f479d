//! Names the part of the assignments that is alike for all nodes by what is in
//! it, however it came about: managers that hold the same name it alike.
//!
//! Against mistakes, not against malice: only managers make it.

use bytes::Bytes;
use ipnet::Ipv4Net;
use prost::Message;
use skep_proto::pb;
use skep_types::assignment::AssignmentChange;
use skep_types::{BlockOwner, NetworkId, NodeId, ServiceId};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Object {
    Network(NetworkId),
    Peer(NodeId),
    Service(ServiceId),
}

/// The sum of all objects' hashes.
#[derive(Default)]
pub(crate) struct Digest {
    sum: u128,
    objects: HashMap<Object, u128>,
    /// Blocks of networks, each on its own: of thousands one changes at a time.
    blocks: HashMap<NetworkId, HashMap<Ipv4Net, u128>>,
}

impl Digest {
    /// Follows a change. What belongs to one node alone does not count.
    pub(crate) fn apply(&mut self, change: &AssignmentChange) {
        let (object, there) = match change {
            AssignmentChange::Network(id, network) => {
                // It is told anew, its blocks with it.
                let gone = self.blocks.remove(id).into_iter().flatten();
                gone.for_each(|(_, old)| self.sum = self.sum.wrapping_sub(old));
                (Object::Network(*id), network.is_some())
            }
            AssignmentChange::Blocks(id, blocks) => return self.apply_blocks(*id, blocks),
            AssignmentChange::Peer(id, peer) => (Object::Peer(*id), peer.is_some()),
            AssignmentChange::Service(id, view) => (Object::Service(*id), view.is_some()),
            AssignmentChange::Task(..)
            | AssignmentChange::Secret(..)
            | AssignmentChange::Config(..)
            | AssignmentChange::Labels(..) => return,
        };
        let old = if there {
            let new = hash(&pb::AssignmentChange::from(change).encode_to_vec());
            self.sum = self.sum.wrapping_add(new);
            self.objects.insert(object, new)
        } else {
            self.objects.remove(&object)
        };
        self.sum = self.sum.wrapping_sub(old.unwrap_or(0));
    }

    fn apply_blocks(&mut self, network: NetworkId, blocks: &BTreeMap<Ipv4Net, Option<BlockOwner>>) {
        let held = self.blocks.entry(network).or_default();
        for (block, owner) in blocks {
            let old = if owner.is_some() {
                let one = AssignmentChange::Blocks(network, [(*block, *owner)].into());
                let new = hash(&pb::AssignmentChange::from(&one).encode_to_vec());
                self.sum = self.sum.wrapping_add(new);
                held.insert(*block, new)
            } else {
                held.remove(block)
            };
            self.sum = self.sum.wrapping_sub(old.unwrap_or(0));
        }
    }

    /// The name.
    pub(crate) fn name(&self) -> Bytes {
        Bytes::copy_from_slice(&self.sum.to_be_bytes())
    }
}

fn hash(bytes: &[u8]) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    (half(0) << 64) | half(1)
}
