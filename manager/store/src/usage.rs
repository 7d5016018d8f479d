//! What tasks take of their nodes, summed up as they come and go, so that nobody has to
//! look at all of them for it. What is still free is the scheduler's to say.

use crate::snapshot::may_run;
use skep_types::{ByteCount, NanoCpus, NodeId, Task};

/// What the tasks of a node take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeUsage {
    /// Tasks that may have work left there.
    pub running: u32,
    /// Those of them that are to go on.
    pub live: u32,
    /// Reserved by those that may have work left: what runs takes room until it has
    /// really ended.
    pub cpus: NanoCpus,
    /// Likewise.
    pub memory: ByteCount,
}

impl NodeUsage {
    /// What one task takes, and where; `None` if it takes nothing.
    pub fn of(task: &Task) -> Option<(NodeId, NodeUsage)> {
        let node = task.node.filter(|_| may_run(task))?;
        let usage = NodeUsage {
            running: 1,
            live: u32::from(task.is_live()),
            cpus: task.spec.resources.cpu_reservation,
            memory: task.spec.resources.memory_reservation,
        };
        Some((node, usage))
    }

    /// With that in it, too.
    pub fn plus(self, other: NodeUsage) -> NodeUsage {
        NodeUsage {
            running: self.running.saturating_add(other.running),
            live: self.live.saturating_add(other.live),
            cpus: NanoCpus(self.cpus.0.saturating_add(other.cpus.0)),
            memory: ByteCount(self.memory.0.saturating_add(other.memory.0)),
        }
    }

    /// Without that, which is in it.
    pub fn minus(self, other: NodeUsage) -> NodeUsage {
        NodeUsage {
            running: self.running.saturating_sub(other.running),
            live: self.live.saturating_sub(other.live),
            cpus: NanoCpus(self.cpus.0.saturating_sub(other.cpus.0)),
            memory: ByteCount(self.memory.0.saturating_sub(other.memory.0)),
        }
    }
}
