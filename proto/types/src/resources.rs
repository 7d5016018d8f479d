//! Amounts of the things a node has and a task takes.

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteCount(pub u64);

/// Billionths of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct NanoCpus(pub u64);

/// Limits and reservations of one task. Zero or `None` means not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// CPU time the container may use.
    pub cpu_limit: NanoCpus,
    /// Memory the container may use.
    pub memory_limit: ByteCount,
    /// Number of processes and threads.
    pub pids_limit: Option<u64>,
    /// CPU kept free for the task by the scheduler.
    pub cpu_reservation: NanoCpus,
    /// Memory kept free for the task by the scheduler.
    pub memory_reservation: ByteCount,
}
