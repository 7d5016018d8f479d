//! What the kernel still has to send for programs that have ended: it keeps the last bytes of their TCP
//! connections until the other side has them, and drops them with the network namespace.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::netns;

/// The tables of TCP sockets of the calling thread's namespace.
const TABLES: [&str; 2] = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
/// Closed by the program, and the other side has not confirmed all of it: FIN_WAIT1, LAST_ACK, CLOSING
/// (`include/net/tcp_states.h`).
const UNCONFIRMED: [&str; 3] = ["04", "09", "0B"];
/// The kernel tells nobody when such a socket is done.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until nothing is left to send in the namespace mounted at `path`, at most until `limit`: the other
/// side may be gone, too.
pub(crate) async fn sent(path: PathBuf, limit: Duration) -> Result<(), Error> {
    if !netns::exists(&path) {
        return Ok(());
    }
    netns::within(path, move || {
        let begun = Instant::now();
        while TABLES.iter().any(|table| unconfirmed(table)) && begun.elapsed() < limit {
            sleep(PAUSE);
        }
        Ok(())
    })
    .await
}

fn unconfirmed(table: &str) -> bool {
    // A kernel without IPv6 has one table only.
    let text = fs::read_to_string(table).unwrap_or_default();
    let mut states = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(3));
    states.any(|state| UNCONFIRMED.contains(&state))
}
