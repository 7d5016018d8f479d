//! Tables written as one netlink transaction: all of it happens or nothing.
//!
//! [`replace`] writes a whole table, [`update`] only what changed between two, [`remove`] takes it away.

use std::collections::BTreeMap;

use super::expr::{Expr, write_value};
use super::table::{Base, Chain, Hook, Key, Kind, Set, Table, Type, Value, Values};
use crate::netlink::{Attributes, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, Writer};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DELETE_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DELETE_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;

pub(crate) const FAMILY_IPV4: u8 = 2;

/// Elements a message carries: their list is one attribute, whose length must fit 16 bits.
const ELEMENTS_A_MESSAGE: usize = 400;

/// A transaction under construction, with what each message was about for the error.
#[derive(Debug)]
pub(crate) struct Batch {
    writer: Writer,
    about: Vec<String>,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Batch {
            writer: Writer::default(),
            about: Vec::new(),
        };
        batch.about.push("the transaction".to_owned());
        batch
            .writer
            .message(BATCH_BEGIN, 0, 0, 0, SUBSYSTEM, |_| {});
        batch
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        about: String,
        body: impl FnOnce(&mut Attributes<'_>),
    ) {
        let sequence = self.about.len() as u32;
        self.about.push(about);
        self.writer
            .message(SUBSYSTEM << 8 | kind, flags, sequence, FAMILY_IPV4, 0, body);
    }

    /// Whether the transaction would change nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.about.len() == 1
    }

    /// What the message with this sequence number was about.
    pub(crate) fn about(&self, sequence: u32) -> &str {
        self.about
            .get(sequence as usize)
            .map_or("the transaction", String::as_str)
    }

    /// The bytes to send, and the sequence number of the message whose acknowledgement ends the exchange.
    pub(crate) fn finish(&mut self) -> (&[u8], u32) {
        let last = self.about.len() as u32 - 1;
        self.writer.flag_last(NLM_F_ACK);
        self.writer
            .message(BATCH_END, 0, last + 1, 0, SUBSYSTEM, |_| {});
        (self.writer.bytes(), last)
    }

    fn table(&mut self, kind: u16, name: &str) {
        let flags = if kind == NEW_TABLE { NLM_F_CREATE } else { 0 };
        self.push(kind, flags, format!("table {name}"), |out| {
            out.string(1, name)
        });
    }

    fn chain(&mut self, table: &str, name: &str, chain: &Chain) {
        self.push(NEW_CHAIN, NLM_F_CREATE, format!("chain {name}"), |out| {
            out.string(1, table);
            out.string(3, name);
            if let Some(Base {
                kind,
                hook,
                priority,
            }) = chain.base
            {
                out.nested(4, |out| {
                    out.be32(1, hook_number(hook));
                    out.be32(2, priority as u32);
                });
                out.be32(5, 1);
                out.string(
                    7,
                    match kind {
                        Kind::Filter => "filter",
                        Kind::Nat => "nat",
                        Kind::Route => "route",
                    },
                );
            }
        });
    }

    fn rules(&mut self, table: &str, name: &str, chain: &Chain) {
        for (index, rule) in chain.rules.iter().enumerate() {
            self.push(
                NEW_RULE,
                NLM_F_CREATE | NLM_F_APPEND,
                format!("rule {index} of chain {name}"),
                |out| {
                    out.string(1, table);
                    out.string(2, name);
                    out.nested(4, |out| rule.iter().for_each(|expr| expr.write(out)));
                },
            );
        }
    }

    fn set(&mut self, table: &str, name: &str, id: u32, set: &Set) {
        self.push(NEW_SET, NLM_F_CREATE, format!("set {name}"), |out| {
            let mut flags = 0;
            if set.ranges {
                flags |= 0x4;
            }
            if set.values != Values::None {
                flags |= 0x8;
            }
            if set.key.len() > 1 {
                flags |= 0x80;
            }
            out.string(1, table);
            out.string(2, name);
            out.be32(3, flags);
            out.be32(4, type_number(&set.key));
            out.be32(5, length(&set.key) as u32);
            match &set.values {
                Values::None => {}
                Values::Data(types) => {
                    out.be32(6, type_number(types));
                    out.be32(7, length(types) as u32);
                }
                Values::Verdicts => {
                    out.be32(6, 0xffff_ff00);
                    out.be32(7, 0);
                }
            }
            out.be32(10, id);
            if set.key.len() > 1 {
                out.nested(9, |out| {
                    out.nested(2, |out| {
                        for field in &set.key {
                            out.nested(1, |out| out.be32(1, field.length() as u32));
                        }
                    });
                });
            }
        });
    }

    fn elements<'e>(
        &mut self,
        kind: u16,
        table: &str,
        name: &str,
        set: &Set,
        elements: impl Iterator<Item = (&'e Key, &'e Value)>,
    ) {
        let elements: Vec<_> = elements.collect();
        let flags = if kind == NEW_ELEMENT { NLM_F_CREATE } else { 0 };
        for chunk in elements.chunks(ELEMENTS_A_MESSAGE) {
            self.push(kind, flags, format!("elements of set {name}"), |out| {
                out.string(1, table);
                out.string(2, name);
                out.nested(3, |out| {
                    for (key, value) in chunk {
                        write_element(out, set, key, value);
                    }
                });
            });
        }
    }
}

/// The whole table, whatever was there before under its name.
pub(crate) fn replace(table: &Table) -> Batch {
    let mut batch = Batch::new();
    batch.table(NEW_TABLE, &table.name);
    batch.table(DELETE_TABLE, &table.name);
    batch.table(NEW_TABLE, &table.name);
    for (name, chain) in &table.chains {
        batch.chain(&table.name, name, chain);
    }
    for (id, (name, set)) in table.sets.iter().enumerate() {
        batch.set(&table.name, name, id as u32 + 1, set);
        batch.elements(NEW_ELEMENT, &table.name, name, set, set.elements.iter());
    }
    for (name, chain) in &table.chains {
        batch.rules(&table.name, name, chain);
    }
    batch
}

/// Takes the table away; no error if it is not there.
pub(crate) fn remove(name: &str) -> Batch {
    let mut batch = Batch::new();
    batch.table(NEW_TABLE, name);
    batch.table(DELETE_TABLE, name);
    batch
}

/// Only what differs between the table in the kernel and the wanted one: elements, and chains that come or
/// go. None when more than that changed and the table must be written anew.
pub(crate) fn update(old: &Table, new: &Table) -> Option<Batch> {
    let same_sets = old.sets.len() == new.sets.len()
        && new
            .sets
            .iter()
            .all(|(name, set)| old.sets.get(name).is_some_and(|was| was.same_shape(set)));
    let same_chains = new
        .chains
        .iter()
        .all(|(name, chain)| old.chains.get(name).is_none_or(|was| was == chain))
        && old
            .chains
            .iter()
            .all(|(name, chain)| chain.base.is_none() || new.chains.contains_key(name));
    if old.name != new.name || !same_sets || !same_chains {
        return None;
    }
    let mut batch = Batch::new();
    for (name, chain) in missing(&new.chains, &old.chains) {
        batch.chain(&new.name, name, chain);
        batch.rules(&new.name, name, chain);
    }
    for (name, set) in &new.sets {
        let was = &old.sets[name].elements;
        let gone = was
            .iter()
            .filter(|(key, value)| set.elements.get(*key) != Some(*value));
        batch.elements(DELETE_ELEMENT, &new.name, name, set, gone);
        let come = set
            .elements
            .iter()
            .filter(|(key, value)| was.get(*key) != Some(*value));
        batch.elements(NEW_ELEMENT, &new.name, name, set, come);
    }
    for (name, _) in missing(&old.chains, &new.chains) {
        batch.push(DELETE_RULE, 0, format!("rules of chain {name}"), |out| {
            out.string(1, &old.name);
            out.string(2, name);
        });
        batch.push(DELETE_CHAIN, 0, format!("chain {name}"), |out| {
            out.string(1, &old.name);
            out.string(3, name);
        });
    }
    Some(batch)
}

/// Rules at the head of a chain that is not ours, in this order.
pub(crate) fn insert_rules(
    table: &str,
    chain: &str,
    comment_text: &str,
    rules: &[Vec<Expr>],
) -> Batch {
    let mut batch = Batch::new();
    for rule in rules.iter().rev() {
        batch.push(
            NEW_RULE,
            NLM_F_CREATE,
            format!("a rule of chain {chain}"),
            |out| {
                out.string(1, table);
                out.string(2, chain);
                out.nested(4, |out| rule.iter().for_each(|expr| expr.write(out)));
                out.bytes(7, &comment(comment_text));
            },
        );
    }
    batch
}

/// Removes rules of a chain that is not ours.
pub(crate) fn delete_rules(table: &str, chain: &str, handles: &[u64]) -> Batch {
    let mut batch = Batch::new();
    for handle in handles {
        batch.push(
            DELETE_RULE,
            0,
            format!("rule {handle} of chain {chain}"),
            |out| {
                out.string(1, table);
                out.string(2, chain);
                out.bytes(3, &handle.to_be_bytes());
            },
        );
    }
    batch
}

/// A comment as nft stores it with a rule: type 0, length, text with NUL.
pub(crate) fn comment(text: &str) -> Vec<u8> {
    let mut bytes = vec![0, text.len() as u8 + 1];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

fn missing<'a>(
    these: &'a BTreeMap<String, Chain>,
    those: &'a BTreeMap<String, Chain>,
) -> impl Iterator<Item = (&'a String, &'a Chain)> {
    these.iter().filter(|(name, _)| !those.contains_key(*name))
}

fn write_element(out: &mut Attributes<'_>, set: &Set, key: &Key, value: &Value) {
    out.nested(1, |out| {
        write_value(out, 1, &key.start);
        match value {
            Value::None => {}
            Value::Data(data) => write_value(out, 2, data),
            Value::Verdict(verdict) => verdict.write(out, 2),
        }
        if let (Some(end), true) = (&key.end, set.key.len() > 1) {
            write_value(out, 10, end);
        }
    });
    // A range of a single field is two elements: its start, and the first key beyond its end.
    if let (Some(end), 1) = (&key.end, set.key.len())
        && let Some(beyond) = successor(end)
    {
        out.nested(1, |out| {
            write_value(out, 1, &beyond);
            out.be32(3, 1);
        });
    }
}

/// The next number of the same length in network order; none after the last.
fn successor(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut next = bytes.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}

fn hook_number(hook: Hook) -> u32 {
    hook as u32
}

fn type_number(types: &[Type]) -> u32 {
    types
        .iter()
        .fold(0, |number, field| number << 6 | field.number())
}

fn length(types: &[Type]) -> usize {
    match types {
        [one] => one.length(),
        many => many
            .iter()
            .map(|field| field.length().next_multiple_of(4))
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_after_a_range_carries_over() {
        assert_eq!(successor(&[10, 1, 255, 255]), Some(vec![10, 2, 0, 0]));
        assert_eq!(successor(&[255, 255, 255, 255]), None);
    }

    #[test]
    fn fields_are_padded_only_when_joined() {
        assert_eq!(length(&[Type::Ether]), 6);
        assert_eq!(length(&[Type::Protocol, Type::Service, Type::Mark]), 12);
        assert_eq!(length(&[Type::InterfaceName, Type::Ipv4]), 20);
    }

    #[test]
    fn equal_tables_need_no_transaction() {
        let mut table = Table {
            name: "skep".to_owned(),
            ..Table::default()
        };
        table.sets.insert("a".to_owned(), Set::new(&[Type::Ipv4]));
        let batch = update(&table, &table.clone()).expect("same shape");
        assert!(batch.is_empty());
        let mut other = table.clone();
        other.sets.insert("b".to_owned(), Set::new(&[Type::Ipv4]));
        assert!(update(&table, &other).is_none());
    }
}
