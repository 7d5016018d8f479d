//! How many files this process may have open: connections of nodes, the log of a
//! manager and the containers' files are all counted as such.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit as far as this process may. Returns what it was, for the
/// programs that it starts: some go through all numbers below it.
pub(crate) fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_what_it_was_is_known() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        // Lower than it is, and enough for the tests beside this one.
        let low = hard.min(900);
        setrlimit(Resource::RLIMIT_NOFILE, low, hard).unwrap();
        assert_eq!(raise(), Ok(low));
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE), Ok((hard, hard)));
    }
}
