//! Second chances: a group of one out of what is left of a lost group, or out
//! of a backup.
//!
//! Both work on a directory that nobody has open; afterwards [`crate::Raft::open`]
//! finds a member that leads a group of itself.

use crate::config::RaftConfig;
use crate::disk;
use crate::error::OpenError;
use crate::storage;

/// Turns the directory of member `former`, whose group is lost, into a group
/// of `config.raft_id` alone. It keeps everything that this member has,
/// snapshot and log to the last entry: what was not known to be committed may
/// have been acknowledged all the same. `config.raft_id` must never have been
/// used; with it former members have nothing to say to this one.
///
/// A crash leaves either the old group or the new one. If the directory is
/// that of `config.raft_id` already, nothing is done: so who was cut off
/// repeats the call.
///
/// # Errors
/// [`OpenError`]; then nothing has changed, unless it is `Io`, after which
/// the call is to be repeated. `Missing` if `former` never was in a group.
pub async fn reform(config: &RaftConfig, former: u64) -> Result<(), OpenError> {
    if former == config.raft_id {
        let reason = "a group that is made anew needs a raft id that was never used";
        return Err(OpenError::Start(reason.into()));
    }
    let (place, address) = (config.place(), config.address.clone());
    let done = disk::work(&*config.disk, move || {
        storage::reform(&place, former, &address)
    });
    done.await.map_err(|e| OpenError::Start(e.to_string()))?
}

/// Makes a group of `config.raft_id` alone in a directory that holds none.
/// Its machine will be restored from `machine`, bytes of
/// [`crate::Machine::snapshot`], in which proposals up to index `applied` are.
///
/// # Errors
/// [`OpenError`]: `Exists` if there is a log already. After a crash or an
/// error the call is to be repeated.
pub async fn seed(config: &RaftConfig, applied: u64, machine: Vec<u8>) -> Result<(), OpenError> {
    let (place, address) = (config.place(), config.address.clone());
    let done = disk::work(&*config.disk, move || {
        storage::seed(&place, &address, applied, machine)
    });
    done.await.map_err(|e| OpenError::Start(e.to_string()))?
}
