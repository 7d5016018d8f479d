//! The packet filter as it was given to the kernel last, and whether anybody changed it since. What it says is
//! decided in [`crate::ruleset`].

use crate::error::Error;
use crate::nft::Nft;
use crate::nft::table::Table;
use crate::{docker, ruleset};

/// The packet filter and what it was given last.
#[derive(Debug)]
pub(super) struct Rules {
    nft: Nft,
    written: Option<Written>,
}

#[derive(Debug)]
struct Written {
    table: Table,
    /// The kernel's count of transactions with this table in it, if nobody else changed anything; none if it
    /// could not be written.
    generation: Option<u32>,
}

impl Rules {
    pub(super) fn new(nft: Nft) -> Self {
        Rules { nft, written: None }
    }

    /// Writes the packet filter: what changed if nobody else touched it since, otherwise all of it.
    ///
    /// # Errors
    /// The kernel's; [`Rules::repair`] tries again then.
    pub(super) fn write(&mut self, table: Table) -> Result<(), Error> {
        let result = self.commit(&table);
        let generation = result.as_ref().ok().copied();
        self.written = Some(Written { table, generation });
        result.map(drop)
    }

    /// Writes all of it anew if it could not be written, or anybody changed anything in nftables since; tells
    /// whether it did.
    pub(super) fn repair(&mut self) -> Result<bool, Error> {
        let Some(written) = &self.written else {
            return Ok(false);
        };
        if written.generation == Some(self.nft.generation()?) {
            return Ok(false);
        }
        let table = written.table.clone();
        self.write(table)?;
        Ok(true)
    }

    /// Removes all of it.
    pub(super) fn remove(&mut self) -> Result<(), Error> {
        self.written = None;
        let docker = docker::take_back(&self.nft);
        self.nft.remove(ruleset::TABLE).and(docker)
    }

    fn commit(&mut self, table: &Table) -> Result<u32, Error> {
        let generation = self.nft.generation()?;
        let before = self.nft.commits();
        match self.written.take() {
            Some(old) if old.generation == Some(generation) => {
                // Somebody may have come in between: then all of it, once.
                if self.nft.update(&old.table, table).is_err() {
                    self.nft.replace(table)?;
                }
            }
            _ => self.nft.replace(table)?,
        }
        docker::let_through(&self.nft)?;
        // Counted, not read: what others change meanwhile must not pass for ours.
        Ok(generation.wrapping_add(self.nft.commits().wrapping_sub(before)))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use crate::nft::expr::{Expr, Verdict};
    use crate::nft::table::{Chain, Set, Type};

    use super::*;

    fn nft(arguments: &str) {
        let output = Command::new("nft").arg(arguments).output().expect("nft");
        assert!(output.status.success(), "{output:?}");
    }

    fn table(address: u8) -> Table {
        let mut set = Set::new(&[Type::Ipv4]);
        set.add(vec![192, 0, 2, address]);
        Table {
            name: ruleset::TABLE.to_owned(),
            sets: [("some".to_owned(), set)].into(),
            ..Table::default()
        }
    }

    #[test]
    fn what_others_change_is_noticed_and_a_failure_is_tried_again() {
        let work = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
            let mut rules = Rules::new(Nft::open().expect("a socket"));
            assert!(!rules.repair().expect("nothing to repair"));
            nft("add table ip filter; add chain ip filter DOCKER-USER");
            // All of it with the rules beside a dockerd, then only an element, then nothing at all.
            for address in [1, 2, 2] {
                rules.write(table(address)).expect("it is written");
                assert!(!rules.repair().expect("nobody else wrote"));
            }
            nft("flush ruleset");
            assert!(rules.repair().expect("it is written anew"));
            assert!(rules.nft.exists(ruleset::TABLE).expect("an answer"));
            assert!(!rules.repair().expect("and that is all"));

            let mut broken = table(3);
            let nowhere = vec![Expr::Verdict(Verdict::Goto("nowhere".to_owned()))];
            let chain = Chain {
                base: None,
                rules: vec![nowhere],
            };
            broken.chains.insert("broken".to_owned(), chain);
            assert!(rules.write(broken).is_err());
            assert!(rules.repair().is_err(), "it is tried again");
            rules.write(table(4)).expect("it is written");
            assert!(!rules.repair().expect("nobody else wrote"));
        };
        std::thread::spawn(work).join().expect("the thread");
    }
}
