//! Which manager to ask for a session next, how long it has to answer, and when.
//!
//! Pure: the agent does the asking. Every node prefers the managers in an order of
//! its own, so that the nodes of a swarm are spread evenly over them, and only the
//! nodes concerned move when one comes or goes. A node that lost its manager has two
//! heartbeats to find the next, or the leader gives it up.

use crate::session::Ended;
use skep_types::NodeId;
use std::cmp::Reverse;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// First and longest pause between attempts.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// First and longest time a manager has to open a session: the dead do not answer,
/// and those with much to do answer late.
const LIMIT_MIN: Duration = Duration::from_secs(1);
const LIMIT_MAX: Duration = Duration::from_secs(5);
/// Managers that name each other as leader are not followed without a pause more
/// often than this.
const REDIRECTS_MAX: u32 = 4;

/// A search for a manager.
#[derive(Debug)]
pub(crate) struct Search {
    node: NodeId,
    /// The place in the order to ask next.
    turn: usize,
    pause: Duration,
    limit: Duration,
    /// Attempts in a row that were not answered in time.
    silent: usize,
    /// Redirections in a row.
    redirects: u32,
    /// Who leads, by the word of the manager asked last.
    leader: Option<String>,
    /// Who was asked last, and named nobody else.
    avoid: Option<String>,
}

impl Search {
    pub(crate) fn new(node: NodeId) -> Search {
        Search {
            node,
            turn: 0,
            pause: PAUSE_MIN,
            limit: LIMIT_MIN,
            silent: 0,
            redirects: 0,
            leader: None,
            avoid: None,
        }
    }

    /// The manager that this node had rather talk to than to any other.
    pub(crate) fn preferred(&self, managers: &[String]) -> Option<String> {
        let first = managers.iter().max_by_key(|manager| self.weight(manager));
        first.cloned()
    }

    /// By the highest weight wins: the same for the same two, and alike for nobody.
    fn weight(&self, manager: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.node, manager).hash(&mut hasher);
        hasher.finish()
    }

    /// Whom to ask: the leader if somebody named it, or else each in turn, beginning
    /// with the preferred one, but not the same one twice running. `None` when there
    /// is nobody.
    pub(crate) fn next(&mut self, managers: &[String]) -> Option<String> {
        if let Some(leader) = self.leader.take() {
            return Some(leader);
        }
        let mut order: Vec<&String> = managers.iter().collect();
        order.sort_by_cached_key(|manager| Reverse(self.weight(manager)));
        let mut turn = || {
            let place = self.turn.checked_rem(order.len())?;
            self.turn += 1;
            Some(order[place].clone())
        };
        let next = turn()?;
        match self.avoid.as_ref() == Some(&next) {
            true => turn(),
            false => Some(next),
        }
    }

    /// How long the manager has to open a session.
    pub(crate) fn limit(&self) -> Duration {
        self.limit
    }

    /// Takes note of what came of asking `address`, one of so many managers. The
    /// pause before the next attempt; none when it is known whom to ask.
    pub(crate) fn ended(&mut self, address: &str, ended: &Ended, managers: usize) -> Duration {
        if ended.opened {
            (self.pause, self.limit) = (PAUSE_MIN, LIMIT_MIN);
            (self.silent, self.redirects, self.turn) = (0, 0, 0);
        }
        if ended.silent {
            self.silent += 1;
            // One may be dead; all of them are rather busy.
            if self.silent.is_multiple_of(managers.max(1)) {
                self.limit = (self.limit * 2).min(LIMIT_MAX);
            }
        }
        self.leader = ended.leader.clone().filter(|leader| leader != address);
        self.avoid = Some(address.to_owned());
        if self.leader.is_some() && self.redirects < REDIRECTS_MAX {
            self.redirects += 1;
            return Duration::ZERO;
        }
        self.redirects = 0;
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::from_bits(1);

    fn ended(opened: bool, silent: bool, leader: Option<&str>) -> Ended {
        Ended {
            reason: String::new(),
            leader: leader.map(str::to_owned),
            opened,
            silent,
        }
    }

    fn managers() -> Vec<String> {
        ["a", "b", "c"].map(str::to_owned).to_vec()
    }

    #[test]
    fn a_manager_that_was_lost_or_is_silent_is_not_asked_again_at_once() {
        for how in [ended(true, false, None), ended(false, true, None)] {
            let mut search = Search::new(NODE);
            for _ in 0..20 {
                let asked = search.next(&managers()).unwrap();
                search.ended(&asked, &how, 3);
                assert_ne!(search.next(&managers()), Some(asked));
            }
        }
        // Where there is no other it is.
        let (mut search, alone) = (Search::new(NODE), ["a".to_owned()]);
        search.ended("a", &ended(true, false, None), 1);
        assert_eq!(search.next(&alone).as_deref(), Some("a"));
        assert_eq!(search.next(&[]), None);
    }

    #[test]
    fn all_managers_are_asked_in_turn_whichever_was_lost() {
        for count in 2..=7 {
            let managers: Vec<String> = (0..count).map(|n| n.to_string()).collect();
            for lost in &managers {
                let mut search = Search::new(NODE);
                search.ended(lost, &ended(true, false, None), count);
                let mut asked = std::collections::BTreeSet::new();
                for _ in 0..count {
                    let next = search.next(&managers).unwrap();
                    search.ended(&next, &ended(false, false, None), count);
                    asked.insert(next);
                }
                // The one that was lost comes last.
                assert!(asked.len() >= count - 1, "{count}, {lost}: {asked:?}");
                let rest = search.next(&managers).unwrap();
                search.ended(&rest, &ended(false, true, None), count);
                asked.insert(rest);
                assert_eq!(asked.len(), count, "{count}, {lost}: {asked:?}");
            }
        }
    }

    #[test]
    fn nodes_are_spread_over_the_managers_and_few_move_when_one_comes() {
        let mut managers: Vec<String> = (1..=3).map(|n| format!("10.0.0.{n}:2377")).collect();
        let choose = |managers: &[String]| -> Vec<String> {
            let nodes = (0..3000).map(NodeId::from_bits);
            let search = nodes.map(|node| Search::new(node).preferred(managers).unwrap());
            search.collect()
        };
        let before = choose(&managers);
        for manager in &managers {
            let count = before.iter().filter(|chosen| *chosen == manager).count();
            assert!((900..1100).contains(&count), "{manager} has {count}");
        }
        managers.push("10.0.0.4:2377".to_owned());
        let after = choose(&managers);
        let moved = |(before, after): &(&String, &String)| before != after;
        let moved: Vec<_> = before.iter().zip(&after).filter(moved).collect();
        assert!((650..850).contains(&moved.len()), "{} moved", moved.len());
        assert!(moved.iter().all(|(_, to)| **to == managers[3]));
    }

    #[test]
    fn the_preferred_manager_is_asked_first_and_again_after_a_session() {
        let mut search = Search::new(NODE);
        let first = search.preferred(&managers()).unwrap();
        assert_eq!(search.next(&managers()).as_ref(), Some(&first));
        search.ended(&first, &ended(false, true, None), 3);
        let second = search.next(&managers()).unwrap();
        search.ended(&second, &ended(true, false, None), 3);
        assert_eq!(search.next(&managers()), Some(first));
    }

    #[test]
    fn a_leader_that_is_named_is_asked_without_a_pause_but_not_for_ever() {
        let mut search = Search::new(NODE);
        for (asked, named) in [("a", "b"), ("b", "a"), ("a", "b"), ("b", "a")] {
            let pause = search.ended(asked, &ended(false, false, Some(named)), 3);
            assert_eq!(pause, Duration::ZERO);
            assert_eq!(search.next(&managers()).as_deref(), Some(named));
        }
        let fifth = search.ended("a", &ended(false, false, Some("b")), 3);
        assert_eq!(fifth, PAUSE_MIN);
        // One that names itself says nothing new.
        let mut search = Search::new(NODE);
        let pause = search.ended("a", &ended(false, false, Some("a")), 3);
        assert_eq!(pause, PAUSE_MIN);
        assert_ne!(search.next(&managers()).as_deref(), Some("a"));
    }

    #[test]
    fn one_dead_manager_costs_a_second_and_busy_ones_get_more_time() {
        let mut search = Search::new(NODE);
        let silent = ended(false, true, None);
        search.ended("a", &silent, 3);
        search.ended("b", &ended(false, false, None), 3);
        assert_eq!(search.limit(), LIMIT_MIN);
        search.ended("b", &silent, 3);
        search.ended("c", &silent, 3);
        assert_eq!(search.limit(), LIMIT_MIN * 2);
        for _ in 0..30 {
            search.ended("a", &silent, 3);
        }
        assert_eq!(search.limit(), LIMIT_MAX);
        assert_eq!(search.ended("a", &silent, 3), PAUSE_MAX);
        search.ended("a", &ended(true, false, None), 3);
        assert_eq!(search.limit(), LIMIT_MIN);
    }
}
