//! What this crate needs from its caller.

use async_trait::async_trait;

use crate::error::TransportError;

/// The replicated state. Every member applies the same entries in the same
/// order, so `apply` must depend on nothing but the state and the entry.
pub trait Machine: Send + Sync + 'static {
    /// Applies one proposal and returns the answer to whoever proposed it.
    /// `index` counts proposals from 1, without gaps. A proposal that the
    /// machine refuses is answered so; it must not panic.
    ///
    /// # Errors
    /// A sentence for the log if the bytes are no proposal it knows; the node
    /// then stops rather than go on with a state that is not the others'.
    fn apply(&self, index: u64, entry: &[u8]) -> Result<Vec<u8>, String>;

    /// The whole state as bytes, as of now.
    fn snapshot(&self) -> Vec<u8>;

    /// Holds on to the state as of now and serialises it when called, on
    /// another thread, while entries go on being applied. Worth overriding
    /// where the state is made of persistent maps; by default the bytes are
    /// made at once.
    fn freeze(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let bytes = self.snapshot();
        Box::new(move || bytes)
    }

    /// Replaces the state by that of a snapshot.
    ///
    /// # Errors
    /// A sentence for the log if the bytes are not a snapshot; the node then
    /// stops rather than go on with a state that is not the others'.
    fn restore(&self, snapshot: &[u8]) -> Result<(), String>;

    /// Whether these bytes, which another member sent, are a snapshot at all: they
    /// are refused otherwise, before anything is given up for them. One of a newer
    /// version is: [`Machine::restore`] says what to do about it.
    ///
    /// # Errors
    /// What is wrong with them.
    fn is_snapshot(&self, bytes: &[u8]) -> Result<(), String> {
        let _ = bytes;
        Ok(())
    }
}

/// Carries messages to other members.
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Delivers `message` to the [`crate::Raft::handle`] of the member at
    /// `address` and returns its answer. Must give up by itself after a while
    /// of silence (a few seconds); messages are below 4 MiB. May be cancelled.
    ///
    /// # Errors
    /// If the peer could not be reached or refused; delivery is then unknown.
    async fn send(
        &self,
        target: u64,
        address: &str,
        message: Vec<u8>,
    ) -> Result<Vec<u8>, TransportError>;
}
