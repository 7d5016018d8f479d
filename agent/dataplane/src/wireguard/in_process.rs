//! WireGuard by the engine in this process.

use skep_agent_wireguard::{Engine, EngineConfig, PeerConfig, PeerStats};

use super::{WireGuard, WireGuardError};

/// The engine, which is configured by calls and ends with this value.
#[derive(Debug)]
pub(super) struct InProcess(Engine);

impl InProcess {
    pub(super) fn open(config: EngineConfig) -> Result<Self, WireGuardError> {
        Ok(Self(Engine::start(config)?))
    }
}

impl WireGuard for InProcess {
    fn name(&self) -> &'static str {
        "in-process"
    }

    fn set_peers(&self, peers: &[PeerConfig]) -> Result<(), WireGuardError> {
        self.0.set_peers(peers).map_err(WireGuardError::Peers)
    }

    fn stats(&self) -> Result<Vec<PeerStats>, WireGuardError> {
        Ok(self.0.stats())
    }

    fn failure(&self) -> Option<String> {
        self.0.failure()
    }
}
