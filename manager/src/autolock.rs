//! Has the keys on this manager's disk follow the swarm's unlock key.
//!
//! What the keys are sealed with, and how, is the daemon's ([`KeyKeeper`]). Here
//! is when: as soon as the key in force differs, and never on the word of an
//! old entry. A manager that starts goes through what was agreed on long ago;
//! it must not unseal its keys because autolock was off then.

use crate::machine::State;
use skep_manager_raft::Raft;
use skep_types::UnlockKey;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Pause after a step that failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long the others may take to say what is in force.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);

/// A disk that a manager's keys are on.
pub trait KeyKeeper: Send + Sync {
    /// Whether anything is left to do for keys sealed under this unlock key,
    /// or in the clear without one.
    fn is_kept(&self, unlock: Option<&UnlockKey>) -> bool;

    /// Seals the keys under this unlock key, or under none. Returns the key that
    /// the log is to be written under, where that is a new one; the one before
    /// is kept until [`KeyKeeper::rewritten`].
    ///
    /// # Errors
    /// If the disk refuses, in words.
    fn keep(&self, unlock: Option<&UnlockKey>) -> Result<Option<[u8; 32]>, String>;

    /// Nothing on the disk needs another data key than this any more.
    ///
    /// # Errors
    /// If the disk refuses, in words.
    fn rewritten(&self, data_key: [u8; 32]) -> Result<(), String>;
}

/// Works until the manager stops.
pub(crate) async fn follow(
    state: Arc<State>,
    raft: Raft,
    keeper: Arc<dyn KeyKeeper>,
    mut stopping: watch::Receiver<bool>,
) {
    let work =
        async {
            let mut changes = state.changes();
            loop {
                changes.borrow_and_update();
                let done = step(&state, &raft, &*keeper).await.unwrap_or_else(|reason| {
                tracing::warn!(%reason, "this manager's keys do not follow the unlock key yet");
                false
            });
                if !done {
                    tokio::time::sleep(RETRY).await;
                } else if changes.changed().await.is_err() {
                    return;
                }
            }
        };
    tokio::select! {
        () = work => {}
        // An error means that the manager is gone: the same.
        _ = stopping.wait_for(|stop| *stop) => {}
    }
}

/// Whether nothing is left to do; if not, it is to be tried again.
async fn step(state: &State, raft: &Raft, keeper: &dyn KeyKeeper) -> Result<bool, String> {
    let known = |state: &State| {
        let snapshot = state.snapshot();
        snapshot.cluster().map(|cluster| cluster.unlock_key.clone())
    };
    match known(state) {
        Some(key) if !keeper.is_kept(key.as_ref()) => {}
        _ => return Ok(true),
    }
    // Without a leader it stays as it is.
    let confirmed = tokio::time::timeout(CONFIRM_TIMEOUT, raft.read_barrier()).await;
    let Ok(Ok(_)) = confirmed else {
        return Ok(false);
    };
    let Some(key) = known(state) else {
        return Ok(true);
    };
    if keeper.is_kept(key.as_ref()) {
        return Ok(true);
    }
    if let Some(data_key) = keeper.keep(key.as_ref())? {
        let rewritten = raft.rotate_data_key(data_key).await;
        rewritten.map_err(|error| skep_types::chain(&error))?;
        keeper.rewritten(data_key)?;
    }
    match key {
        Some(_) => tracing::info!("this manager's keys are sealed under the swarm's unlock key"),
        None => tracing::info!("this manager's keys are not sealed any more: autolock is off"),
    }
    Ok(true)
}
