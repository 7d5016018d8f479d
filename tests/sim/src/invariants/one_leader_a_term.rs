//! Within a term, leadership only ever passes to a member of a higher id, and
//! terms that a member acts in only rise.
//!
//! openraft orders leaders by term and id: a candidate of a higher id may win
//! a vote that one of a lower id had won in the same term. What it then has to
//! hold is the same as for two terms.

use super::{Sight, Verdict};
use std::collections::BTreeMap;

/// Who was seen to lead each term, last.
#[derive(Default)]
pub(super) struct Terms(BTreeMap<u64, Vec<u64>>);

impl Terms {
    pub(super) fn see(&mut self, sight: &Sight) -> Verdict {
        if !sight.leads {
            return Ok(());
        }
        let leaders = self.0.entry(sight.term).or_default();
        match leaders.last() {
            Some(last) if *last == sight.raft_id => Ok(()),
            // One that was overtaken may not know yet; its entries are refused.
            Some(_) if leaders.contains(&sight.raft_id) => Ok(()),
            Some(last) if *last > sight.raft_id => Err(format!(
                "member {} leads term {} after member {last} did",
                sight.raft_id, sight.term
            )),
            _ => {
                leaders.push(sight.raft_id);
                Ok(())
            }
        }
    }
}
