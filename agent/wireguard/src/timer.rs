//! The timer thread: what WireGuard does by the clock, five times a second.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use crate::outbox::ROOM;
use crate::shared::Shared;
use crate::sys::wait_readable;

/// How often the peers are looked after. The protocol counts in seconds.
const TICK: Duration = Duration::from_millis(200);

/// The state of the timer thread.
pub(crate) struct Timer {
    scratch: Vec<u8>,
}

impl Timer {
    pub(crate) fn new() -> Self {
        Self {
            scratch: vec![0; ROOM],
        }
    }

    /// One round; false when the engine is to stop.
    pub(crate) fn turn(&mut self, shared: &Shared) -> io::Result<bool> {
        let [stop] = wait_readable([Some(shared.stop.as_fd())], Some(TICK))?;
        if stop {
            return Ok(false);
        }
        shared.gate.reset_count();
        for peer in &shared.table().peers {
            peer.tick(&shared.sockets, &mut self.scratch);
        }
        Ok(true)
    }
}
