//! Subnets and blocks of networks, and the addresses in them.

use ipnet::Ipv4Net;
use skep_manager_store::{AddressUse, Snapshot, may_run};
use skep_types::{BlockOwner, Network, NetworkId, NodeId, Version};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Length of a block where the subnet is large: 16 addresses.
const BLOCK_LENGTH: u8 = 28;
/// A subnet is cut into at least 2^4 blocks, so that a few nodes do not use
/// up a small one.
const BLOCKS_LOG2: u8 = 4;

/// A network has no address left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exhausted {
    message: String,
}

impl Exhausted {
    pub(crate) fn gone(network: NetworkId) -> Exhausted {
        Exhausted {
            message: format!("network {network} not found"),
        }
    }

    /// For the task's status.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

/// How much of a network was given out at a moment.
pub(super) struct Mark {
    subnets: usize,
    added: usize,
    taken: usize,
}

/// A network in a pass.
pub(super) struct NetworkWork<'a> {
    network: &'a Arc<Network>,
    subnets: Vec<Ipv4Net>,
    added: Vec<Ipv4Net>,
    taken: Vec<(Ipv4Net, BlockOwner)>,
    /// Blocks nobody has, lowest first; made when first needed.
    free: Option<VecDeque<Ipv4Net>>,
    /// Blocks of the snapshot by owner; made when first needed.
    owned: Option<BTreeMap<BlockOwner, Vec<Ipv4Net>>>,
    /// Free addresses of each node asked about so far.
    addresses: BTreeMap<NodeId, VecDeque<Ipv4Addr>>,
    /// Free virtual addresses; made when first needed.
    vips: Option<VecDeque<Ipv4Addr>>,
}

impl<'a> NetworkWork<'a> {
    pub(super) fn new(network: &'a Arc<Network>) -> NetworkWork<'a> {
        NetworkWork {
            network,
            subnets: network.subnets.clone(),
            added: Vec::new(),
            taken: Vec::new(),
            free: None,
            owned: None,
            addresses: BTreeMap::new(),
            vips: None,
        }
    }

    /// A new network gets its first subnet, unless the user named some.
    pub(super) fn ensure_subnet(&mut self, snapshot: &Snapshot, pool: &mut SubnetPool) {
        if self.subnets.is_empty() {
            self.grow(snapshot, pool);
        }
    }

    /// An address for a task on a node: one never given before, else the one
    /// free for longest.
    pub(super) fn address(
        &mut self,
        snapshot: &Snapshot,
        node: NodeId,
        pool: &mut SubnetPool,
    ) -> Result<Ipv4Addr, Exhausted> {
        if !self.addresses.contains_key(&node) {
            let blocks = self.blocks_of(BlockOwner::Node(node));
            let free = self.free_addresses(snapshot, &blocks);
            self.addresses.insert(node, free);
        }
        loop {
            if let Some(address) = self.addresses.get_mut(&node).and_then(VecDeque::pop_front) {
                return Ok(address);
            }
            let block = self.take(snapshot, BlockOwner::Node(node), pool)?;
            let free = self.free_addresses(snapshot, &[block]);
            self.addresses.insert(node, free);
        }
    }

    pub(super) fn give_back(&mut self, node: NodeId, address: Ipv4Addr) {
        self.addresses.entry(node).or_default().push_front(address);
    }

    /// What was given out up to now.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            subnets: self.subnets.len(),
            added: self.added.len(),
            taken: self.taken.len(),
        }
    }

    /// Undoes what a node alone was given since; its addresses have come back.
    pub(super) fn take_back(&mut self, node: NodeId, mark: Mark) {
        if self.taken.len() == mark.taken && self.subnets.len() == mark.subnets {
            return;
        }
        // It asked for a block when it had no address left.
        self.addresses.insert(node, VecDeque::new());
        let blocks = self.taken.split_off(mark.taken);
        if self.subnets.len() > mark.subnets {
            // There was no other block left then.
            self.subnets.truncate(mark.subnets);
            self.added.truncate(mark.added);
            self.free = Some(VecDeque::new());
        }
        let subnets = &self.subnets;
        let stays = |block: &Ipv4Net| subnets.iter().any(|subnet| subnet.contains(block));
        if let Some(free) = &mut self.free {
            let blocks = blocks.into_iter().map(|(block, _)| block);
            for block in blocks.filter(stays).rev() {
                free.push_front(block);
            }
        }
    }

    /// A virtual address for a service.
    pub(super) fn vip(
        &mut self,
        snapshot: &Snapshot,
        pool: &mut SubnetPool,
    ) -> Result<Ipv4Addr, Exhausted> {
        if self.vips.is_none() {
            let blocks = self.blocks_of(BlockOwner::Services);
            let mut vips = self.free_addresses(snapshot, &blocks);
            let id = self.network.id;
            vips.retain(|address| snapshot.vip_holder(id, (*address).into()).is_none());
            self.vips = Some(vips);
        }
        loop {
            if let Some(address) = self.vips.as_mut().and_then(VecDeque::pop_front) {
                return Ok(address);
            }
            let block = self.take(snapshot, BlockOwner::Services, pool)?;
            self.vips = Some(self.free_addresses(snapshot, &[block]));
        }
    }

    /// What this pass changed: the version it was planned on, new subnets,
    /// blocks given out.
    pub(super) fn changes(self) -> (Version, Vec<Ipv4Net>, Vec<(Ipv4Net, BlockOwner)>) {
        (self.network.meta.version, self.added, self.taken)
    }

    fn blocks_of(&mut self, owner: BlockOwner) -> Vec<Ipv4Net> {
        let network = self.network;
        let owned = self.owned.get_or_insert_with(|| {
            let mut owned: BTreeMap<BlockOwner, Vec<Ipv4Net>> = BTreeMap::new();
            for (block, owner) in &network.blocks {
                owned.entry(*owner).or_default().push(*block);
            }
            owned
        });
        owned.get(&owner).cloned().unwrap_or_default()
    }

    fn free_addresses(&self, snapshot: &Snapshot, blocks: &[Ipv4Net]) -> VecDeque<Ipv4Addr> {
        let mut fresh = VecDeque::new();
        let mut freed: Vec<(Version, Ipv4Addr)> = Vec::new();
        for block in blocks {
            for address in usable(&self.subnets, *block) {
                match snapshot.address(self.network.id, address) {
                    None => fresh.push_back(address),
                    Some(AddressUse::Freed(at)) => freed.push((at, address)),
                    Some(AddressUse::Held(_)) => {}
                }
            }
        }
        freed.sort_unstable();
        fresh.extend(freed.into_iter().map(|(_, address)| address));
        fresh
    }

    fn take(
        &mut self,
        snapshot: &Snapshot,
        owner: BlockOwner,
        pool: &mut SubnetPool,
    ) -> Result<Ipv4Net, Exhausted> {
        if self.free.is_none() {
            let free = self.subnets.iter().flat_map(|s| self.unowned(*s)).collect();
            self.free = Some(free);
        }
        loop {
            if let Some(block) = self.free.as_mut().and_then(VecDeque::pop_front) {
                self.taken.push((block, owner));
                return Ok(block);
            }
            let Some(subnet) = self.grow(snapshot, pool) else {
                return Err(Exhausted {
                    message: format!(
                        "no address left in network {}: its subnets ({}) are full and the \
                         swarm's address pool has no further one",
                        self.network.spec.name,
                        join(&self.subnets),
                    ),
                });
            };
            self.free = Some(self.unowned(subnet).into());
        }
    }

    fn grow(&mut self, snapshot: &Snapshot, pool: &mut SubnetPool) -> Option<Ipv4Net> {
        let subnet = pool.take(snapshot)?;
        self.subnets.push(subnet);
        self.added.push(subnet);
        Some(subnet)
    }

    /// Blocks of a subnet that nobody has and that hold a usable address.
    fn unowned(&self, subnet: Ipv4Net) -> Vec<Ipv4Net> {
        let length = block_length(subnet);
        let Ok(blocks) = subnet.subnets(length) else {
            return Vec::new();
        };
        let taken: BTreeSet<Ipv4Net> = self.network.blocks.keys().copied().collect();
        blocks
            .filter(|block| {
                let before = taken.range(..=*block).next_back();
                let after = taken.range(*block..).next();
                let hit = before.into_iter().chain(after).any(|o| overlap(*o, *block));
                !hit && usable(&self.subnets, *block).next().is_some()
            })
            .collect()
    }
}

fn join(subnets: &[Ipv4Net]) -> String {
    let texts: Vec<String> = subnets.iter().map(Ipv4Net::to_string).collect();
    texts.join(", ")
}

fn block_length(subnet: Ipv4Net) -> u8 {
    (subnet.prefix_len().saturating_add(BLOCKS_LOG2)).clamp(BLOCK_LENGTH, 32)
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// Addresses of a block that may be given out: not those of the subnet with
/// a meaning of their own (its own, the first, by custom the gateway's, and
/// broadcast).
fn usable(subnets: &[Ipv4Net], block: Ipv4Net) -> impl Iterator<Item = Ipv4Addr> {
    let subnet = subnets.iter().copied().find(|s| s.contains(&block));
    let (first, last) = (u32::from(block.network()), u32::from(block.broadcast()));
    (first..=last).map(Ipv4Addr::from).filter(move |address| {
        subnet.is_some_and(|subnet| {
            let own = u32::from(subnet.network());
            let address = u32::from(*address);
            subnet.prefix_len() >= 31
                || (address > own + 1 && address != u32::from(subnet.broadcast()))
        })
    })
}

/// Where new subnets come from.
pub(super) struct SubnetPool {
    pools: Vec<Ipv4Net>,
    length: u8,
    taken: Vec<Ipv4Net>,
    /// Subnets below this one were looked at: pool and place in it.
    cursor: (usize, u32),
    /// Addresses of tasks that still stop, on networks that are gone; looked
    /// for when the first subnet is taken.
    lingering: Option<Vec<Ipv4Addr>>,
}

impl SubnetPool {
    pub(super) fn new(snapshot: &Snapshot) -> SubnetPool {
        let mut taken: Vec<Ipv4Net> = snapshot
            .networks()
            .flat_map(|network| network.subnets.iter().copied())
            .collect();
        let (mut pools, mut length) = (Vec::new(), 24);
        if let Some(cluster) = snapshot.cluster() {
            pools.clone_from(&cluster.spec.address_pools);
            length = cluster.spec.subnet_length.min(32);
            taken.push(cluster.spec.mesh_subnet);
        }
        SubnetPool {
            pools,
            length,
            taken,
            cursor: (0, 0),
            lingering: None,
        }
    }

    /// What was taken up to now.
    pub(super) fn mark(&self) -> ((usize, u32), usize) {
        (self.cursor, self.taken.len())
    }

    /// Undoes what was taken since.
    pub(super) fn take_back(&mut self, (cursor, taken): ((usize, u32), usize)) {
        self.cursor = cursor;
        self.taken.truncate(taken);
    }

    /// The next subnet that overlaps nothing.
    fn take(&mut self, snapshot: &Snapshot) -> Option<Ipv4Net> {
        let lingering = self.lingering.take().unwrap_or_else(|| lingering(snapshot));
        let found = self.next(&lingering);
        self.lingering = Some(lingering);
        self.taken.extend(found);
        found
    }

    fn next(&mut self, lingering: &[Ipv4Addr]) -> Option<Ipv4Net> {
        while let Some(pool) = self.pools.get(self.cursor.0).copied() {
            let length = self.length.max(pool.prefix_len());
            let size = 1_u64 << (32 - length);
            let offset = u64::from(self.cursor.1) * size;
            let address = u64::from(u32::from(pool.network())) + offset;
            if address > u64::from(u32::from(pool.broadcast())) {
                self.cursor = (self.cursor.0 + 1, 0);
                continue;
            }
            self.cursor.1 += 1;
            let address = Ipv4Addr::from(u32::try_from(address).ok()?);
            let subnet = Ipv4Net::new(address, length).ok()?;
            if !self.taken.iter().any(|other| overlap(*other, subnet))
                && !lingering.iter().any(|address| subnet.contains(address))
            {
                return Some(subnet);
            }
        }
        None
    }
}

fn lingering(snapshot: &Snapshot) -> Vec<Ipv4Addr> {
    snapshot
        .tasks()
        .filter(|task| may_run(task))
        .flat_map(|task| &task.attachments)
        .filter(|attachment| snapshot.network(attachment.network).is_none())
        .filter_map(|attachment| match attachment.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect()
}
