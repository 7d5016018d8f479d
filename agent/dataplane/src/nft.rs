//! nftables without the nft binary: tables as values, written to the kernel as one transaction.
//!
//! [`Nft`] is the door: it replaces, updates and removes tables in the network namespace it was opened in.
//! What skep's table says is decided in [`crate::ruleset`].

pub(crate) mod batch;
pub(crate) mod expr;
pub(crate) mod table;

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::Error;
use crate::netlink::{NLM_F_ACK, NLM_F_DUMP, Refused, Socket, Writer, attribute};
use batch::{Batch, FAMILY_IPV4};
use table::Table;

#[cfg(test)]
const GET_TABLE: u16 = 10 << 8 | 1;
const GET_CHAIN: u16 = 10 << 8 | 4;
const GET_RULE: u16 = 10 << 8 | 7;
const GET_GENERATION: u16 = 10 << 8 | 16;

/// nftables of one network namespace.
#[derive(Debug)]
pub(crate) struct Nft {
    socket: Socket,
    /// How many transactions were committed here.
    commits: AtomicU32,
}

impl Nft {
    /// Opens nftables of the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        let socket = Socket::open().map_err(|source| Error::OpenNetlink {
            family: "netfilter",
            source,
        })?;
        Ok(Nft {
            socket,
            commits: AtomicU32::new(0),
        })
    }

    /// Writes the whole table; what was there under its name is gone in the same instant.
    pub(crate) fn replace(&self, table: &Table) -> Result<(), Error> {
        self.commit(batch::replace(table))
    }

    /// Brings the table from `old`, as it is in the kernel, to `new`, by its elements where that is enough.
    pub(crate) fn update(&self, old: &Table, new: &Table) -> Result<(), Error> {
        match batch::update(old, new) {
            Some(batch) if batch.is_empty() => Ok(()),
            Some(batch) => self.commit(batch),
            None => self.replace(new),
        }
    }

    /// Removes the table if it is there.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Error> {
        self.commit(batch::remove(name))
    }

    /// Whether a table of this name exists.
    #[cfg(test)]
    pub(crate) fn exists(&self, name: &str) -> Result<bool, Error> {
        let mut writer = Writer::default();
        writer.message(GET_TABLE, NLM_F_ACK, 1, FAMILY_IPV4, 0, |out| {
            out.string(1, name)
        });
        match self.socket.exchange(writer.bytes(), 1) {
            Ok(_) => Ok(true),
            Err(Refused { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(Refused { source, .. }) => Err(Error::WriteRules {
                object: format!("table {name}"),
                source,
            }),
        }
    }

    /// How many of the transactions that the kernel counted were made here. Wraps.
    pub(crate) fn commits(&self) -> u32 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The kernel's count of transactions: it moves by one with every change anybody makes.
    pub(crate) fn generation(&self) -> Result<u32, Error> {
        let mut writer = Writer::default();
        writer.message(GET_GENERATION, NLM_F_ACK, 1, 0, 0, |_| {});
        let failed = |source| Error::WriteRules {
            object: "the generation".to_owned(),
            source,
        };
        let replies = self
            .socket
            .exchange(writer.bytes(), 1)
            .map_err(|refused| failed(refused.source))?;
        replies
            .iter()
            .find_map(|reply| {
                attribute(&reply.body, 1)?
                    .try_into()
                    .ok()
                    .map(u32::from_be_bytes)
            })
            .ok_or_else(|| failed(io::Error::from(io::ErrorKind::InvalidData)))
    }

    /// Handles of the rules of a foreign chain that carry this comment; none if there is no such chain.
    pub(crate) fn rules_with_comment(
        &self,
        table: &str,
        chain: &str,
        comment: &str,
    ) -> Result<Option<Vec<u64>>, Error> {
        let failed = |source| Error::WriteRules {
            object: format!("chain {chain}"),
            source,
        };
        let mut ask = Writer::default();
        ask.message(GET_CHAIN, NLM_F_ACK, 1, FAMILY_IPV4, 0, |out| {
            out.string(1, table);
            out.string(3, chain);
        });
        match self.socket.exchange(ask.bytes(), 1) {
            Ok(_) => {}
            Err(refused) if refused.source.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(refused) => return Err(failed(refused.source)),
        }
        let mut list = Writer::default();
        list.message(GET_RULE, NLM_F_DUMP, 2, FAMILY_IPV4, 0, |out| {
            out.string(1, table);
            out.string(2, chain);
        });
        let rules = self
            .socket
            .exchange(list.bytes(), 2)
            .map_err(|refused| failed(refused.source))?;
        let comment = batch::comment(comment);
        let ours = rules
            .iter()
            .filter(|rule| attribute(&rule.body, 7) == Some(comment.as_slice()));
        let handles = ours.filter_map(|rule| {
            attribute(&rule.body, 3)?
                .try_into()
                .ok()
                .map(u64::from_be_bytes)
        });
        Ok(Some(handles.collect()))
    }

    /// Puts rules at the head of a foreign chain, in this order, with a comment.
    pub(crate) fn insert_rules(
        &self,
        table: &str,
        chain: &str,
        comment: &str,
        rules: &[Vec<expr::Expr>],
    ) -> Result<(), Error> {
        self.commit(batch::insert_rules(table, chain, comment, rules))
    }

    /// Deletes rules of a foreign chain by their handles.
    pub(crate) fn delete_rules(
        &self,
        table: &str,
        chain: &str,
        handles: &[u64],
    ) -> Result<(), Error> {
        self.commit(batch::delete_rules(table, chain, handles))
    }

    fn commit(&self, mut batch: Batch) -> Result<(), Error> {
        let (bytes, last) = batch.finish();
        let bytes = bytes.to_vec();
        self.socket
            .exchange(&bytes, last)
            .map(|_| {
                self.commits.fetch_add(1, Ordering::Relaxed);
            })
            .map_err(|Refused { sequence, source }| Error::WriteRules {
                object: batch.about(sequence).to_owned(),
                source,
            })
    }
}
