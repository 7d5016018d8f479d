//! Managers that have applied the same entries have the same state, and a
//! state that is written to a snapshot and read again is the same state.

use super::{Sight, Verdict, digest};
use skep_manager_store::{Snapshot, Store};
use skep_proto::{decode_snapshot, encode_snapshot};
use skep_types::Version;
use std::collections::BTreeMap;

/// States remembered: a manager that lags more is not compared.
const REMEMBERED: usize = 5000;
/// One state of so many is written and read.
const REREAD: u64 = 64;

/// The digest of the state at each version, and who showed it first.
#[derive(Default)]
pub(super) struct Agreed(BTreeMap<Version, (u64, usize)>);

impl Agreed {
    pub(super) fn see(&mut self, sight: &Sight) -> Verdict {
        let (version, digest) = (sight.state.version(), digest(&sight.state));
        if version.0 % REREAD == 0 {
            let dump = sight.state.dump();
            let read = decode_snapshot(&encode_snapshot(&dump)).map_err(|e| e.to_string())?;
            if Store::load(read).state().dump() != dump {
                return Err(format!("the state at {version} reads as another"));
            }
        }
        let (known, first) = *self.0.entry(version).or_insert((digest, sight.host));
        if self.0.len() > REMEMBERED {
            self.0.pop_first();
        }
        if known == digest {
            return Ok(());
        }
        let (a, b) = (first + 1, sight.host + 1);
        Err(format!("n{a} and n{b} differ at version {version}"))
    }
}

/// Once nothing fails any more, all of them have applied all of it.
pub(super) fn all_at(state: &Snapshot, sights: &[Sight]) -> Verdict {
    let version = state.version();
    match sights.iter().find(|sight| sight.state.version() != version) {
        None => Ok(()),
        Some(behind) => Err(format!(
            "n{} is at {}, not {version}",
            behind.host + 1,
            behind.state.version()
        )),
    }
}
