//! Text to marked tree: anchors expanded within a budget, merge keys applied,
//! keys that are there twice or are no text reported.
//!
//! Owns YAML as such. What keys and values mean is left to `schema` and above.

mod guess;

use crate::codes;
use crate::diagnostic::{Place, Report};
use crate::room::{Cost, Room};
use crate::scalar::{self, Scalar};
use crate::tree::{Entry, Mark, Node, Value};
use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use std::borrow::Cow;
use std::collections::{HashMap, hash_map};

/// Largest file, in bytes.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// Deepest nesting of lists and maps.
const MOST_DEPTH: usize = 100;
/// Longest key: all that is below it is named with it.
const MOST_KEY: usize = 1 << 10;

enum Frame {
    List {
        place: Place,
        mark: Mark,
        anchor: usize,
        before: Cost,
        items: Vec<Node>,
    },
    Map {
        place: Place,
        mark: Mark,
        anchor: usize,
        before: Cost,
        entries: Vec<Entry>,
        /// Keys so far, and their lines.
        seen: HashMap<String, u32>,
        key: Option<Key>,
        merged: Vec<Node>,
    },
}

/// A key that waits for its value.
struct Key {
    name: String,
    place: Place,
    /// It is a list or a map: its value goes nowhere.
    lost: bool,
}

/// Stops the reading of a file; what was wrong is in the report already.
struct Stop;

struct Builder<'r> {
    file: u16,
    report: &'r mut Report,
    stack: Vec<Frame>,
    anchors: HashMap<usize, (Node, Cost)>,
    /// What the copies kept for aliases cost.
    kept: Cost,
    /// What the file costs so far; an alias pays its subtree again.
    cost: Cost,
    /// Most that it may cost.
    most: Cost,
    root: Option<Node>,
}

/// Reads the first document of `text`. `None` means that errors were reported.
pub(crate) fn parse(file: u16, text: &str, room: &Room, report: &mut Report) -> Option<Node> {
    let top = Place {
        file,
        line: 1,
        column: 1,
        width: 1,
    };
    if text.len() > MOST_BYTES {
        let size = text.len();
        let message = format!("the file has {size} bytes; at most {MOST_BYTES} are read");
        report.error(codes::TOO_LARGE, Some(top), "", message);
        return None;
    }
    let mut builder = Builder {
        file,
        report,
        stack: Vec::new(),
        anchors: HashMap::new(),
        kept: Cost::default(),
        cost: Cost::default(),
        most: room.files(),
        root: None,
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut documents = 0;
    while let Some(next) = parser.next_event() {
        match next {
            Ok((Event::DocumentStart(_), span)) => {
                documents += 1;
                if documents > 1 {
                    let place = builder.place(span);
                    let message = "only the first document of a file is read";
                    let help = "remove what follows `---`, or give it as a file of its own";
                    builder
                        .report
                        .warn_help(codes::MORE_DOCUMENTS, Some(place), "", message, help);
                    break;
                }
            }
            Ok((event, span)) => {
                if builder.event(event, span).is_err() {
                    // What was too large is not tried again with the next file.
                    room.read(Cost::MOST);
                    return None;
                }
            }
            Err(error) => {
                let marker = *error.marker();
                let mut place = builder.place(Span::new(marker, marker));
                let (line, column) = guess::place(text, (place.line, place.column));
                (place.line, place.column) = (line, column);
                let message = format!("not YAML: {}", error.info());
                let (code, help) = guess::of(text, line, error.info());
                match help {
                    Some(help) => builder
                        .report
                        .error_help(code, Some(place), "", message, help),
                    None => builder.report.error(code, Some(place), "", message),
                }
                return None;
            }
        }
    }
    room.read(builder.cost);
    let root = builder.root.take();
    Some(root.unwrap_or(Node::new(top, Value::Null)))
}

impl Builder<'_> {
    fn place(&self, span: Span) -> Place {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let width = match span.start.line() == span.end.line() {
            true => span.end.col().saturating_sub(span.start.col()).max(1),
            false => 1,
        };
        Place {
            file: self.file,
            line: number(span.start.line()).max(1),
            column: number(span.start.col()).saturating_add(1),
            width: u16::try_from(width).unwrap_or(u16::MAX),
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        let place = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag, place)
            }
            Event::SequenceStart(anchor, tag) => {
                let mark = self.enter(place, tag)?;
                let before = self.cost;
                self.stack.push(Frame::List {
                    place,
                    mark,
                    anchor,
                    before,
                    items: Vec::new(),
                });
                Ok(())
            }
            Event::MappingStart(anchor, tag) => {
                let mark = self.enter(place, tag)?;
                let before = self.cost;
                self.stack.push(Frame::Map {
                    place,
                    mark,
                    anchor,
                    before,
                    entries: Vec::new(),
                    seen: HashMap::new(),
                    key: None,
                    merged: Vec::new(),
                });
                Ok(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
        }
    }

    fn pay(&mut self, cost: Cost, place: Place) -> Result<(), Stop> {
        self.cost = self.cost.plus(cost);
        self.bound(self.cost, self.most, place)
    }

    fn bound(&mut self, cost: Cost, most: Cost, place: Place) -> Result<(), Stop> {
        if cost.fits(most) {
            return Ok(());
        }
        let message = format!(
            "too large: with aliases written out, the files of the stack have more than {} \
             values or {} MiB",
            Cost::MOST.values,
            Cost::MOST.text >> 20
        );
        let help = "take the aliases of aliases out, or make several stacks of it";
        self.report
            .error_help(codes::TOO_LARGE, Some(place), "", message, help);
        Err(Stop)
    }

    fn enter(&mut self, place: Place, tag: Option<Cow<'_, Tag>>) -> Result<Mark, Stop> {
        let foreign = tag.filter(|tag| !tag.is_yaml_core_schema());
        let mark = foreign.map_or(Mark::None, |tag| self.mark(&tag, place));
        let waits = |frame: &Frame| matches!(frame, Frame::Map { key: None, .. });
        let within = self.stack.iter().rev().take(2).take_while(|f| waits(f));
        // A key within a key has been spoken of: `{{ x }}` is one mistake.
        if within.count() == 1 {
            let message = "a list or map cannot be a key";
            let help = "quote a text that begins with `{` or `[`";
            self.report
                .error_help(codes::KEY_NOT_TEXT, Some(place), "", message, help);
        }
        if self.stack.len() >= MOST_DEPTH {
            let message = format!("nested deeper than {MOST_DEPTH} levels");
            self.report
                .error(codes::TOO_LARGE, Some(place), "", message);
            return Err(Stop);
        }
        self.pay(Cost { values: 1, text: 0 }, place)?;
        Ok(mark)
    }

    fn leave(&mut self) -> Result<(), Stop> {
        let (mut node, mark, anchor, before) = match self.stack.pop() {
            Some(Frame::List {
                place,
                mark,
                anchor,
                before,
                items,
            }) => (Node::new(place, Value::List(items)), mark, anchor, before),
            Some(Frame::Map {
                place,
                mark,
                anchor,
                before,
                mut entries,
                mut seen,
                merged,
                ..
            }) => {
                for source in merged {
                    self.merge(&mut entries, &mut seen, source);
                }
                (Node::new(place, Value::Map(entries)), mark, anchor, before)
            }
            None => return Ok(()),
        };
        node.mark = mark;
        let cost = Cost {
            values: self.cost.values - before.values + 1,
            text: self.cost.text - before.text,
        };
        self.done(node, anchor, cost)
    }

    /// Adds what `<<` names: keys that are there already stay as they are.
    fn merge(&mut self, entries: &mut Vec<Entry>, seen: &mut HashMap<String, u32>, source: Node) {
        match source.value {
            Value::Map(more) => {
                for entry in more {
                    if let hash_map::Entry::Vacant(free) = seen.entry(entry.key.clone()) {
                        free.insert(entry.key_place.line);
                        entries.push(entry);
                    }
                }
            }
            Value::List(items) if items.iter().all(|i| matches!(i.value, Value::Map(_))) => {
                items.into_iter().for_each(|i| self.merge(entries, seen, i))
            }
            _ => {
                let message = "`<<` takes a map or a list of maps";
                self.report
                    .error(codes::BAD_ALIAS, Some(source.place), "", message);
            }
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Stop> {
        let Some((node, cost)) = self.anchors.get(&anchor) else {
            let message = "an anchor cannot contain an alias of itself";
            self.report
                .error(codes::BAD_ALIAS, Some(place), "", message);
            return Err(Stop);
        };
        let cost = *cost;
        // Paid before the copy is made: that is what stops a bomb.
        let paid = self.cost.plus(cost);
        if !paid.fits(self.most) {
            return self.bound(paid, self.most, place);
        }
        let node = node.clone();
        self.cost = paid;
        self.done(node, 0, cost)
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'_, Tag>>,
        place: Place,
    ) -> Result<(), Stop> {
        let cost = Cost {
            values: 1,
            text: text.len(),
        };
        self.pay(cost, place)?;
        let forced = tag.as_ref().filter(|t| t.is_yaml_core_schema());
        let mut mark = Mark::None;
        let value = match forced.map(|t| t.suffix.as_str()) {
            Some("str") => Value::Str(text.to_owned()),
            Some("int" | "float" | "bool" | "null") => plain(text),
            Some(other) => {
                let message = format!("the type `!!{other}` has no meaning in a stack file");
                self.report.error(codes::TAG, Some(place), "", message);
                Value::Str(text.to_owned())
            }
            None => {
                if let Some(tag) = &tag {
                    mark = self.mark(tag, place);
                }
                if style == ScalarStyle::Plain {
                    plain(text)
                } else {
                    Value::Str(text.to_owned())
                }
            }
        };
        let node = Node {
            mark,
            ..Node::new(place, value)
        };
        self.done(node, anchor, cost)
    }

    /// What a tag that is none of YAML's asks for.
    fn mark(&mut self, tag: &Tag, place: Place) -> Mark {
        match tag.to_string().as_str() {
            "!reset" => return Mark::Reset,
            "!override" => return Mark::Override,
            _ => {}
        }
        // `!` alone only says that the value is text or a collection.
        if !tag.suffix.is_empty() {
            let message = format!("the tag `{tag}` is ignored");
            let help = "`!reset` and `!override` are known here";
            self.report
                .warn_help(codes::TAG, Some(place), "", message, help);
        }
        Mark::None
    }

    /// Puts a complete value where it belongs: key, value, item or root.
    fn done(&mut self, node: Node, anchor: usize, cost: Cost) -> Result<(), Stop> {
        if anchor > 0 {
            self.kept = self.kept.plus(cost);
            self.bound(self.kept, Cost::MOST, node.place)?;
            self.anchors.insert(anchor, (node.clone(), cost));
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map {
                entries,
                seen,
                key,
                merged,
                ..
            }) => match key.take() {
                Some(key) if key.lost => {}
                Some(key) if key.name == "<<" => merged.push(node),
                Some(key) => entries.push(Entry {
                    key: key.name,
                    key_place: key.place,
                    value: node,
                }),
                None => *key = Some(read_key(&node, seen, self.report)),
            },
        }
        Ok(())
    }
}

/// Takes a value for a key. What is wrong with it is reported, and it is read on, so that
/// other mistakes are told in the same go.
fn read_key(node: &Node, seen: &mut HashMap<String, u32>, report: &mut Report) -> Key {
    let place = node.place;
    let lost = matches!(node.value, Value::List(_) | Value::Map(_));
    let name = node.scalar_text().unwrap_or_else(|| "null".to_owned());
    let lost = lost || name.len() > MOST_KEY;
    if name.len() > MOST_KEY {
        let size = name.len();
        let message = format!("a key has {size} bytes; at most {MOST_KEY} are read");
        report.error(codes::TOO_LARGE, Some(place), "", message);
    } else if lost {
        // Reported where it began.
    } else if !matches!(node.value, Value::Str(_)) {
        let message = format!("the key {name} is {}, not text", node.kind());
        let help = format!("quote it: \"{name}\":");
        report.error_help(codes::KEY_NOT_TEXT, Some(place), "", message, help);
    } else {
        match seen.entry(name.clone()) {
            hash_map::Entry::Vacant(free) => _ = free.insert(place.line),
            hash_map::Entry::Occupied(first) => {
                let line = first.get();
                let message = format!("the key `{name}` is given twice; first in line {line}");
                let help = "remove one of them, or join their contents";
                report.error_help(codes::DUPLICATE_KEY, Some(place), "", message, help);
            }
        }
    }
    Key { name, place, lost }
}

fn plain(text: &str) -> Value {
    match scalar::resolve(text) {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(value),
        Scalar::Int(value) => Value::Int(value),
        Scalar::Float(value) => Value::Float(value),
        Scalar::Str => Value::Str(text.to_owned()),
    }
}
