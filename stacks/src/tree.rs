//! The marked tree: a YAML document in which every value knows its place.
//!
//! Owns the tree and how a key path finds a place in it. Making one from text
//! is `parse`; what the values mean is decided further up.

use crate::diagnostic::Place;
use crate::natural;
use crate::room::Cost;
use crate::scalar::float_text;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
    pub(crate) mark: Mark,
}

/// What a file asks of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Mark {
    #[default]
    None,
    /// `!reset`: what they say here is gone, and so is this.
    Reset,
    /// `!override`: what they say here is gone.
    Override,
}

/// A YAML value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key, its place and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

impl Node {
    pub(crate) fn new(place: Place, value: Value) -> Self {
        Node {
            place,
            value,
            mark: Mark::None,
        }
    }

    pub(crate) fn str(place: Place, text: impl Into<String>) -> Self {
        Node::new(place, Value::Str(text.into()))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_map(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|e| e.key == key)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        Some(&self.entry(key)?.value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        match &mut self.value {
            Value::Map(entries) => entries
                .iter_mut()
                .find(|e| e.key == key)
                .map(|e| &mut e.value),
            _ => None,
        }
    }

    /// Takes a key of a map out of it.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let Value::Map(entries) = &mut self.value else {
            return None;
        };
        let index = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(index).value)
    }

    /// Takes away what is at a path of keys, if anything.
    pub(crate) fn remove(&mut self, path: &[String]) {
        let Some((last, above)) = path.split_last() else {
            return;
        };
        let holder = above
            .iter()
            .try_fold(self, |node: &mut Node, key| node.get_mut(key));
        if let Some(Value::Map(entries)) = holder.map(|node| &mut node.value) {
            entries.retain(|entry| entry.key != *last);
        }
    }

    /// The type as a message names it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Str(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a map",
        }
    }

    /// The text of a scalar as Docker puts it where text is wanted; `None` for
    /// null, lists and maps.
    pub(crate) fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(float_text(*value)),
            Value::Str(text) => Some(text.clone()),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The place of what is at `path`, or of as much of it as there is: that of the value
    /// where it is one word or number, otherwise that of its key.
    pub(crate) fn find(&self, path: &[Step<'_>]) -> Place {
        let (place, node) = self.walk(path);
        match node.scalar_text() {
            Some(_) if !path.is_empty() => node.place,
            _ => place,
        }
    }

    /// As [`Node::find`], but always the place of the key.
    pub(crate) fn find_key(&self, path: &[Step<'_>]) -> Place {
        self.walk(path).0
    }

    /// Goes down `path` as far as there is something: the place where that begins, and it.
    fn walk(&self, path: &[Step<'_>]) -> (Place, &Node) {
        let mut node = self;
        let mut place = self.place;
        for step in path {
            let next = match step {
                Step::Key(key) => node.entry(key).map(|e| (e.key_place, &e.value)),
                Step::Index(index) => node
                    .as_list()
                    .and_then(|items| items.get(*index))
                    .map(|n| (n.place, n)),
            };
            match next {
                Some((at, below)) => {
                    place = at;
                    node = below;
                }
                None => break,
            }
        }
        (place, node)
    }

    /// What a copy of the tree costs.
    pub(crate) fn cost(&self) -> Cost {
        let one = |text| Cost { values: 1, text };
        let below = |parts: &mut dyn Iterator<Item = (usize, &Node)>| {
            parts.fold(one(0), |sum, (key, node)| {
                let key = Cost {
                    values: 0,
                    text: key,
                };
                sum.plus(key).plus(node.cost())
            })
        };
        match &self.value {
            Value::Str(text) => one(text.len()),
            Value::List(items) => below(&mut items.iter().map(|item| (0, item))),
            Value::Map(entries) => below(&mut entries.iter().map(|e| (e.key.len(), &e.value))),
            _ => one(0),
        }
    }

    /// The tree without its places, keys in the order of the printer.
    pub(crate) fn to_yaml(&self) -> serde_yaml::Value {
        use serde_yaml::Value as Y;
        match &self.value {
            Value::Null => Y::Null,
            Value::Bool(value) => Y::Bool(*value),
            Value::Int(value) => Y::Number((*value).into()),
            Value::Float(value) => Y::Number((*value).into()),
            Value::Str(text) => Y::String(text.clone()),
            Value::List(items) => Y::Sequence(items.iter().map(Node::to_yaml).collect()),
            Value::Map(entries) => {
                let sorted = natural::sorted(entries.iter().collect(), |e| e.key.as_str());
                let pairs = sorted
                    .into_iter()
                    .map(|e| (Y::String(e.key.clone()), e.value.to_yaml()));
                Y::Mapping(pairs.collect())
            }
        }
    }
}

/// One step of a key path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// `parent.key`, or `key` at the top.
pub(crate) fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}
