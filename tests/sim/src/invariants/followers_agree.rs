//! The same entries give the same state on every manager, and a state that is
//! dumped and loaded is the same state.

use super::Verdict;
use skep_manager_store::Store;

pub(super) fn check(leader: &Store, follower: &Store) -> Verdict {
    let dump = leader.state().dump();
    if dump != follower.state().dump() {
        return Err("leader and follower differ".to_owned());
    }
    if Store::load(dump.clone()).state().dump() != dump {
        return Err("a restored state differs".to_owned());
    }
    Ok(())
}
