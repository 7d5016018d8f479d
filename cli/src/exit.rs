//! The exit codes of all commands: one table, for the program, its help and its manual pages.

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It failed.
    Failed,
    /// What was asked for makes no sense, so nothing was done.
    Usage,
    /// Something would change, says a plan.
    Changes,
    /// Services are again what they were before.
    RolledBack,
    /// The time there was is over.
    TimedOut,
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number. Of a plan 2 says that something would change and nothing else, so that
    /// scripts can rely on it.
    pub fn code(self, of_plan: bool) -> u8 {
        match self {
            Exit::Failed => 1,
            Exit::Usage if of_plan => 1,
            Exit::Usage | Exit::Changes => 2,
            Exit::RolledBack => 3,
            Exit::TimedOut => 4,
            Exit::Interrupted => 130,
        }
    }
}

/// Every code with what it means, in order.
pub const CODES: [(u8, &str); 6] = [
    (
        0,
        "Done. Commands that wait for services: they have converged. Of `plan`: nothing would \
         change.",
    ),
    (
        1,
        "Failed; of several things at least one. Standard error says why.",
    ),
    (
        2,
        "The command line or a file it names makes no sense; nothing was done. Of `plan`: \
         something would change, and what makes no sense is 1.",
    ),
    (
        3,
        "Rolled back: a service failed with what was asked for, and went back to what it ran \
         before.",
    ),
    (
        4,
        "Timed out: `--timeout` is over; the work goes on in background.",
    ),
    (
        130,
        "Interrupted by Ctrl-C; what was asked for already goes on in background.",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_is_in_the_table() {
        use Exit::*;
        for exit in [Failed, Usage, Changes, RolledBack, TimedOut, Interrupted] {
            for of_plan in [false, true] {
                let code = exit.code(of_plan);
                assert!(CODES.iter().any(|(known, _)| *known == code), "{exit:?}");
            }
        }
        assert!(CODES.is_sorted_by_key(|(code, _)| *code));
    }

    #[test]
    fn changes_alone_are_a_2_of_a_plan() {
        assert_eq!((Exit::Usage.code(true), Exit::Changes.code(true)), (1, 2));
        assert_eq!(Exit::Usage.code(false), 2);
    }
}
