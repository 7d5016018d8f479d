//! What is read here of files that others may have written, for `tests/fuzz`: no
//! part of the interface. Nothing of it may panic, whatever it is given.

use crate::{recover, sealed};

const PASSPHRASE: &str = "fuzz";
/// The least that Argon2 takes: 8 KiB, one pass, one lane.
const CHEAP: [u32; 3] = [8, 1, 1];

/// Backups with these contents, as files.
pub fn backups(contents: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let sealed = contents.iter();
    sealed
        .filter_map(|content| sealed::seal_at(CHEAP, PASSPHRASE, content).ok())
        .collect()
}

/// A backup as a file. One that asks for a costlier key is left alone: that takes
/// its time, and finds nothing.
pub fn backup(bytes: &[u8]) {
    if sealed::cost_of(bytes).is_none_or(|cost| cost <= CHEAP) {
        drop(sealed::open(PASSPHRASE, bytes));
    }
}

/// What is in one.
pub fn backup_contents(bytes: &[u8]) {
    drop(recover::contents(bytes));
}
