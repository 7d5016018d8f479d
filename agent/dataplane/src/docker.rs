//! Living beside a dockerd: its FORWARD policy drops what it does not know, and an accept in our own table
//! cannot overrule that. Where it keeps the chain it offers for such rules, two of ours stand at its head;
//! they are known by their comment, and only they are ever removed.

use skep_agent_planner::network::kernel::PREFIX;

use crate::error::Error;
use crate::nft::Nft;
use crate::nft::expr::{Expr, Meta, Reg, Verdict};

const TABLE: &str = "filter";
const CHAIN: &str = "DOCKER-USER";
const COMMENT: &str = "skep";

/// Lets packets from and to our links pass, if there is such a chain and it does not say so yet.
pub(crate) fn let_through(nft: &Nft) -> Result<(), Error> {
    if nft
        .rules_with_comment(TABLE, CHAIN, COMMENT)?
        .is_none_or(|ours| !ours.is_empty())
    {
        return Ok(());
    }
    let rule = |side| {
        vec![
            Expr::Meta(side, Reg(0)),
            Expr::Equal(Reg(0), PREFIX.as_bytes().to_vec()),
            Expr::Counter,
            Expr::Verdict(Verdict::Accept),
        ]
    };
    nft.insert_rules(
        TABLE,
        CHAIN,
        COMMENT,
        &[rule(Meta::InputName), rule(Meta::OutputName)],
    )
}

/// Takes our rules out of the chain again.
pub(crate) fn take_back(nft: &Nft) -> Result<(), Error> {
    match nft.rules_with_comment(TABLE, CHAIN, COMMENT)? {
        Some(ours) if !ours.is_empty() => nft.delete_rules(TABLE, CHAIN, &ours),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn nft(arguments: &[&str]) -> String {
        let output = Command::new("nft").args(arguments).output().expect("nft");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    #[test]
    fn our_rules_stand_first_in_the_users_chain_once_and_can_be_taken_back() {
        let work = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("needs root");
            let door = Nft::open().expect("a socket");
            let_through(&door).expect("no dockerd is no error");
            nft(&["add table ip filter"]);
            let_through(&door).expect("no chain is no error");
            nft(&["add chain ip filter DOCKER-USER; add rule ip filter DOCKER-USER return"]);
            let before = nft(&["list ruleset"]);
            let_through(&door).expect("the rules are inserted");
            let_through(&door).expect("and are there");
            let with = nft(&["list ruleset"]);
            take_back(&door).expect("the rules are taken back");
            (before, with, nft(&["list ruleset"]))
        };
        let (before, with, after) = std::thread::spawn(work).join().expect("the thread");
        assert_eq!(with.matches("comment \"skep\"").count(), 2, "{with}");
        let (first, last) = (with.find("iifname \"skep*\""), with.find("return"));
        assert!(first.is_some() && first < last, "{with}");
        assert_eq!(before, after);
    }
}
