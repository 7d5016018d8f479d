//! What clients were told, and whether all of it can be true at once.
//!
//! A client writes growing numbers to a register of its own, one after
//! another; anybody reads at any manager. A read must show what was
//! acknowledged before it began, nothing that was not yet asked for, and never
//! less than a read that ended before. A write whose answer was lost may still be
//! done after later ones, once: it was on its way. Until the next one is
//! acknowledged its number may show.

use std::collections::BTreeSet;
use std::time::Duration;

/// One register.
#[derive(Debug, Clone, Default)]
struct Register {
    /// The last number asked for.
    asked: u64,
    /// The last number acknowledged.
    acknowledged: u64,
    /// The largest number that a finished read has shown.
    shown: u64,
    /// Numbers whose answers were lost and that were not shown since.
    open: BTreeSet<u64>,
    /// One of them that was shown late, and the last number asked for by then.
    late: Option<(u64, u64)>,
}

impl Register {
    /// Whether a number less than it should be can be one that came late.
    fn is_late(&mut self, number: u64) -> bool {
        if self.open.remove(&number) {
            self.late = Some((number, self.asked));
        }
        self.late.is_some_and(|(late, _)| late == number)
    }
}

/// What was asked and answered so far.
#[derive(Debug, Default)]
pub(crate) struct History {
    registers: Vec<Register>,
    /// Acknowledged writes.
    pub(crate) writes: u64,
    /// Finished reads.
    pub(crate) reads: u64,
    /// When the last write was acknowledged, and the longest time between two.
    last_write: Option<Duration>,
    pub(crate) longest_gap: Duration,
}

/// A read on its way: of each register the least that it may show, and what it may
/// show instead.
pub(crate) struct Reading(Vec<(u64, Option<u64>)>);

/// A moment in it: the last number asked for of each register.
pub(crate) struct Mark(Vec<u64>);

impl History {
    pub(crate) fn new(registers: usize) -> History {
        History {
            registers: vec![Register::default(); registers],
            ..History::default()
        }
    }

    /// A write begins: the number to write.
    pub(crate) fn ask(&mut self, register: usize) -> u64 {
        let register = &mut self.registers[register];
        register.asked += 1;
        register.asked
    }

    /// A write was acknowledged.
    pub(crate) fn acknowledge(&mut self, register: usize, number: u64, now: Duration) {
        let register = &mut self.registers[register];
        register.acknowledged = register.acknowledged.max(number);
        if register.late.is_some_and(|(_, asked)| number > asked) {
            register.late = None;
        }
        self.writes += 1;
        if let Some(last) = self.last_write.replace(now) {
            self.longest_gap = self.longest_gap.max(now.saturating_sub(last));
        }
    }

    /// Nobody knows whether a write was done, or will be.
    pub(crate) fn lose(&mut self, register: usize, number: u64) {
        self.registers[register].open.insert(number);
    }

    /// Measures the longest gap anew. What was asked for until now may still be
    /// answered by whoever is about to go.
    pub(crate) fn mark(&mut self) -> Mark {
        self.longest_gap = Duration::ZERO;
        Mark(self.registers.iter().map(|r| r.asked).collect())
    }

    /// Whether a write was acknowledged that was asked for after the mark.
    pub(crate) fn goes_on_since(&self, mark: &Mark) -> bool {
        let mut both = self.registers.iter().zip(&mark.0);
        both.any(|(register, asked)| register.acknowledged > *asked)
    }

    /// A read begins.
    pub(crate) fn read(&self) -> Reading {
        let least = |r: &Register| (r.acknowledged.max(r.shown), r.late.map(|(late, _)| late));
        Reading(self.registers.iter().map(least).collect())
    }

    /// A read ended and showed these numbers.
    ///
    /// # Errors
    /// How it contradicts what else was said.
    pub(crate) fn shown(
        &mut self,
        reading: &Reading,
        numbers: &[Option<u64>],
    ) -> Result<(), String> {
        self.reads += 1;
        for (index, register) in self.registers.iter_mut().enumerate() {
            let (least, late) = reading.0[index];
            let Some(number) = numbers.get(index).copied().flatten() else {
                return Err(format!("register {index} is gone; it held {least}"));
            };
            if number < least && late != Some(number) && !register.is_late(number) {
                return Err(format!(
                    "register {index} shows {number} after {least} was acknowledged or shown"
                ));
            }
            if number > register.asked {
                return Err(format!(
                    "register {index} shows {number}, which nobody wrote"
                ));
            }
            register.shown = register.shown.max(number);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_forgets_an_acknowledged_write_is_found() {
        let mut history = History::new(1);
        assert_eq!(history.ask(0), 1);
        history.acknowledge(0, 1, Duration::ZERO);
        let reading = history.read();
        assert!(history.shown(&reading, &[Some(0)]).is_err());
        assert!(history.shown(&reading, &[None]).is_err());
        assert!(history.shown(&reading, &[Some(2)]).is_err());
        assert!(history.shown(&reading, &[Some(1)]).is_ok());
    }

    #[test]
    fn a_write_whose_answer_was_lost_may_be_done_late_and_once() {
        let mut history = History::new(1);
        let write = |history: &mut History, number| {
            assert_eq!(history.ask(0), number);
            history.acknowledge(0, number, Duration::ZERO);
        };
        assert_eq!(history.ask(0), 1);
        history.lose(0, 1);
        write(&mut history, 2);
        write(&mut history, 3);
        assert!(history.shown(&history.read(), &[Some(2)]).is_err());
        assert!(history.shown(&history.read(), &[Some(1)]).is_ok());
        let during = history.read();
        assert!(history.shown(&history.read(), &[Some(1)]).is_ok());
        write(&mut history, 4);
        assert!(history.shown(&during, &[Some(1)]).is_ok());
        assert!(history.shown(&history.read(), &[Some(1)]).is_err());
        assert!(history.shown(&history.read(), &[Some(4)]).is_ok());
    }

    #[test]
    fn an_answer_that_was_on_its_way_ends_no_gap() {
        let at = Duration::from_millis;
        let mut history = History::new(2);
        history.ask(0);
        history.acknowledge(0, 1, at(100));
        history.ask(0);
        let mark = history.mark();
        history.acknowledge(0, 2, at(110));
        assert!(!history.goes_on_since(&mark));
        history.ask(1);
        history.acknowledge(1, 1, at(710));
        assert!(history.goes_on_since(&mark));
        assert_eq!(history.longest_gap, at(600));
    }

    #[test]
    fn a_write_without_an_answer_may_show_or_not_but_not_vanish_again() {
        let mut history = History::new(1);
        history.ask(0);
        let (before, during) = (history.read(), history.read());
        assert!(history.shown(&before, &[Some(0)]).is_ok());
        assert!(history.shown(&during, &[Some(1)]).is_ok());
        let after = history.read();
        assert!(history.shown(&after, &[Some(0)]).is_err());
    }
}
