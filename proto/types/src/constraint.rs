//! Placement constraints: conditions over what is known of a node. The one grammar, for
//! stack files, the check of a request and the scheduler.
//!
//! ```text
//! node.role==manager          node.labels.zone!=a          equal, or not
//! node.labels.zone in a,b     node.ip notin 10.1.0.0/16    one of them, or none
//! node.labels.slots > 4       node.labels.slots < 8        whole numbers
//! node.labels.gpu exists      node.labels.gpu !exists      set, whatever the value
//! ```
//!
//! Keys are `node.id`, `.hostname`, `.ip`, `.role`, `.platform.os`, `.platform.arch`,
//! `node.labels.NAME` and `engine.labels.NAME`. Values are compared without regard to
//! case; an address also lies in the subnets that are named.

#[cfg(test)]
mod tests;

use crate::node::{Node, Role};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

/// Prefix of keys that name a label of the node object.
pub const NODE_LABEL: &str = "node.labels.";
/// Prefix of keys that name a label of the daemon.
pub const ENGINE_LABEL: &str = "engine.labels.";
/// What constraints can be about, beside labels.
pub const NODE_KEYS: &[&str] = &[
    "node.id",
    "node.hostname",
    "node.ip",
    "node.role",
    "node.platform.os",
    "node.platform.arch",
];

const OPERATORS: &str = "==, !=, in, notin, >, <, exists, !exists";
/// Most values of one constraint.
const VALUES_MAX: usize = 256;

/// A constraint that was read. Printed, it reads back as the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    key: Key,
    /// The key as it was written.
    name: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Equal(String),
    NotEqual(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
    Exists,
    Absent,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id,
    Hostname,
    Ip,
    Role,
    Os,
    Architecture,
    NodeLabel(String),
    EngineLabel(String),
    /// Not known to this release: never holds, whatever the operator.
    Unknown,
}

/// Text that is not a constraint. Printed, it names the whole and the part at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// The whole.
    pub text: String,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a text that should be a constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It has no operator.
    NoOperator,
    /// A key with characters that no key has.
    Key(String),
    /// A value that is empty or has characters that no value has.
    Value(String),
    /// A value after an operator that takes none.
    Surplus(String),
    /// Neither an address nor a subnet, for a key that is an address.
    Address(String),
    /// To be compared with something that is no whole number.
    Number(String),
    /// A key whose values have no order, to be compared.
    Order(String),
    /// So many values.
    TooMany(usize),
}

impl Constraint {
    /// Reads one constraint. Spaces around key, operator and values do not count.
    ///
    /// # Errors
    /// The text has no operator, or a part that no key or value can have.
    pub fn parse(text: &str) -> Result<Constraint, Invalid> {
        Constraint::read(text.trim()).map_err(|fault| Invalid {
            text: text.to_owned(),
            fault,
        })
    }

    fn read(text: &str) -> Result<Constraint, Fault> {
        let end = text.find(|c: char| !is_word(c) && c != '/');
        let (name, rest) = text.split_at(end.unwrap_or(text.len()));
        let (operator, rest) = operator(rest.trim_start()).ok_or_else(|| {
            // The key goes on where no key does.
            let split = text.split_once("==").or_else(|| text.split_once("!="));
            split.map_or(Fault::NoOperator, |(key, _)| {
                Fault::Key(key.trim().to_owned())
            })
        })?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return Err(Fault::Key(name.to_owned()));
        }
        let key = Key::parse(name);
        let test = match operator {
            "==" => Test::Equal(value(rest, "")?),
            "!=" => Test::NotEqual(value(rest, "")?),
            "in" => Test::In(values(&key, rest)?),
            "notin" => Test::NotIn(values(&key, rest)?),
            ">" => Test::Above(number(&key, name, rest)?),
            "<" => Test::Below(number(&key, name, rest)?),
            "exists" => nothing(rest, Test::Exists)?,
            _ => nothing(rest, Test::Absent)?,
        };
        Ok(Constraint {
            key,
            name: name.to_owned(),
            test,
        })
    }

    /// The key as it was written, if no node has such a property.
    pub fn unknown_key(&self) -> Option<&str> {
        (self.key == Key::Unknown).then_some(self.name.as_str())
    }

    /// Whether a node meets it. A label that is missing counts as an empty one, for all
    /// but `exists`; one that is no whole number is neither above nor below any.
    pub fn holds(&self, node: &Node) -> bool {
        if self.key == Key::Unknown {
            return false;
        }
        let found = self.key.of(node);
        let text = found.as_deref().unwrap_or_default();
        let same = |value: &String| self.key.is_same(text, value);
        let number = || text.trim().parse::<i64>().ok();
        match &self.test {
            Test::Equal(value) => same(value),
            Test::NotEqual(value) => !same(value),
            Test::In(values) => values.iter().any(same),
            Test::NotIn(values) => !values.iter().any(same),
            Test::Above(than) => number().is_some_and(|number| number > *than),
            Test::Below(than) => number().is_some_and(|number| number < *than),
            Test::Exists => found.is_some(),
            Test::Absent => found.is_none(),
        }
    }
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.test {
            Test::Equal(value) => write!(f, "{name}=={value}"),
            Test::NotEqual(value) => write!(f, "{name}!={value}"),
            Test::In(values) => write!(f, "{name} in {}", values.join(",")),
            Test::NotIn(values) => write!(f, "{name} notin {}", values.join(",")),
            Test::Above(number) => write!(f, "{name} > {number}"),
            Test::Below(number) => write!(f, "{name} < {number}"),
            Test::Exists => write!(f, "{name} exists"),
            Test::Absent => write!(f, "{name} !exists"),
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// The operator at the start, and what follows it.
fn operator(text: &str) -> Option<(&'static str, &str)> {
    for sign in ["==", "!=", ">", "<"] {
        if let Some(rest) = text.strip_prefix(sign) {
            return Some((sign, rest.trim()));
        }
    }
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut words = ["in", "notin", "exists", "!exists"].into_iter();
    words
        .find(|known| *known == word)
        .map(|known| (known, rest.trim()))
}

/// A value, without the characters in `but`.
fn value(text: &str, but: &str) -> Result<String, Fault> {
    let fits = |c: char| (is_word(c) || " :/()?+*[]\\^$|@,=".contains(c)) && !but.contains(c);
    if text.is_empty() || !text.chars().all(fits) {
        return Err(Fault::Value(text.to_owned()));
    }
    Ok(text.to_owned())
}

/// Values between commas.
fn values(key: &Key, text: &str) -> Result<Vec<String>, Fault> {
    let count = text.split(',').count();
    if count > VALUES_MAX {
        return Err(Fault::TooMany(count));
    }
    let each = text.split(',').map(|text| {
        let value = value(text.trim(), ",")?;
        let is_address = value.parse::<IpAddr>().is_ok() || value.parse::<IpNet>().is_ok();
        match *key == Key::Ip && !is_address {
            true => Err(Fault::Address(value)),
            false => Ok(value),
        }
    });
    each.collect()
}

fn number(key: &Key, name: &str, text: &str) -> Result<i64, Fault> {
    if !matches!(key, Key::NodeLabel(_) | Key::EngineLabel(_) | Key::Unknown) {
        return Err(Fault::Order(name.to_owned()));
    }
    text.parse().map_err(|_| Fault::Number(text.to_owned()))
}

fn nothing(text: &str, test: Test) -> Result<Test, Fault> {
    match text.is_empty() {
        true => Ok(test),
        false => Err(Fault::Surplus(text.to_owned())),
    }
}

impl Key {
    fn parse(text: &str) -> Key {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "node.id" => return Key::Id,
            "node.hostname" => return Key::Hostname,
            "node.ip" => return Key::Ip,
            "node.role" => return Key::Role,
            "node.platform.os" => return Key::Os,
            "node.platform.arch" => return Key::Architecture,
            _ => {}
        }
        // The label itself keeps its case.
        for (prefix, make) in [
            (NODE_LABEL, Key::NodeLabel as fn(String) -> Key),
            (ENGINE_LABEL, Key::EngineLabel),
        ] {
            if lower.starts_with(prefix) && lower.len() > prefix.len() {
                return make(text[prefix.len()..].to_owned());
            }
        }
        Key::Unknown
    }

    /// What a node has there.
    fn of<'n>(&self, node: &'n Node) -> Option<std::borrow::Cow<'n, str>> {
        let description = &node.description;
        let text = match self {
            Key::Id => return Some(node.id.to_string().into()),
            Key::Ip => return node.status.address.map(|ip| ip.to_string().into()),
            Key::Hostname => &description.hostname,
            Key::Role => match node.role {
                Role::Manager => return Some("manager".into()),
                Role::Worker => return Some("worker".into()),
            },
            Key::Os => &description.platform.os,
            Key::Architecture => &description.platform.architecture,
            Key::NodeLabel(label) => node.spec.labels.get(label)?,
            Key::EngineLabel(label) => description.engine_labels.get(label)?,
            Key::Unknown => return None,
        };
        Some(text.into())
    }

    /// Whether what a node has is what a constraint names.
    fn is_same(&self, found: &str, value: &str) -> bool {
        match self {
            Key::Ip => found
                .parse()
                .is_ok_and(|address: IpAddr| match value.parse::<IpAddr>() {
                    Ok(wanted) => wanted == address,
                    Err(_) => value
                        .parse::<IpNet>()
                        .is_ok_and(|net| net.contains(&address)),
                }),
            Key::Architecture => architecture(found).eq_ignore_ascii_case(architecture(value)),
            _ => found.eq_ignore_ascii_case(value),
        }
    }
}

/// One name for each architecture.
fn architecture(name: &str) -> &str {
    match name {
        _ if name.eq_ignore_ascii_case("x86_64") => "amd64",
        _ if name.eq_ignore_ascii_case("aarch64") => "arm64",
        other => other,
    }
}

impl Invalid {
    /// What may have been meant.
    pub fn help(&self) -> Option<String> {
        match &self.fault {
            Fault::NoOperator => {
                let (key, value) = self.text.split_once('=')?;
                let meant = format!("{}=={}", key.trim(), value.trim());
                Constraint::parse(&meant)
                    .is_ok()
                    .then(|| format!("did you mean {meant}?"))
            }
            Fault::Number(text) if text.starts_with('=') => {
                Some("there are only > and <: for at least 5 write > 4".to_owned())
            }
            _ => None,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "constraint '{}': {}", self.text, self.fault)?;
        match self.help() {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoOperator => write!(f, "expected one operator from {OPERATORS}"),
            Fault::Key(key) => write!(f, "key '{key}' is invalid"),
            Fault::Value(value) if value.is_empty() => f.write_str("a value is missing"),
            Fault::Value(value) => write!(f, "value '{value}' is invalid"),
            Fault::Surplus(value) => write!(f, "exists takes no value, but '{value}' follows it"),
            Fault::Address(value) => write!(f, "'{value}' is neither an address nor a subnet"),
            Fault::Number(value) => write!(f, "'{value}' is not a whole number"),
            Fault::Order(key) => write!(f, "{key} has no order: > and < are for labels"),
            Fault::TooMany(count) => {
                write!(
                    f,
                    "{count} values are too many: it can have {VALUES_MAX} at most"
                )
            }
        }
    }
}
