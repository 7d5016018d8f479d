//! Fills templates in, within a bound of bytes. Says what is missing, never what a
//! value holds: it may be a secret.

use super::{Context, Fault, Field, Function, Kind, Part, Term, fault};
use crate::meta::Labels;
use std::borrow::Cow;
use std::sync::Arc;

/// What the content of a secret or config sees beside itself: what its service uses.
pub trait Files {
    /// The secret with this target.
    fn secret(&self, target: &str) -> Option<Arc<[u8]>>;
    /// The config with this target.
    fn config(&self, target: &str) -> Option<Arc<[u8]>>;
    /// A variable of the service.
    fn env(&self, name: &str) -> Option<String>;
}

/// A spec sees none.
impl Files for () {
    fn secret(&self, _: &str) -> Option<Arc<[u8]>> {
        None
    }
    fn config(&self, _: &str) -> Option<Arc<[u8]>> {
        None
    }
    fn env(&self, _: &str) -> Option<String> {
        None
    }
}

/// Bytes that may be handled for each of the result: what functions make of long
/// values is thrown away.
const WORK_PER_BYTE: usize = 4;

enum Value<'a> {
    Text(Cow<'a, [u8]>),
    Number(i64),
    Truth(bool),
    /// `None`: not known yet, and none is missing.
    Labels(Option<&'a Labels>),
}

struct Renderer<'a> {
    context: &'a Context<'a>,
    files: &'a dyn Files,
    limit: usize,
    work: usize,
    out: Vec<u8>,
}

pub(super) fn render(
    parts: &[Part<'_>],
    context: &Context<'_>,
    files: &dyn Files,
    limit: usize,
) -> Result<Vec<u8>, Fault> {
    let mut renderer = Renderer {
        context,
        files,
        limit,
        work: limit.saturating_mul(WORK_PER_BYTE),
        out: Vec::new(),
    };
    renderer.parts(parts)?;
    Ok(renderer.out)
}

impl<'a> Renderer<'a> {
    fn parts(&mut self, parts: &'a [Part<'a>]) -> Result<(), Fault> {
        for part in parts {
            match part {
                // Text is never longer than the template, which is bounded.
                Part::Text(text) => self.put(text.as_bytes(), 0)?,
                Part::Print(term) => {
                    let value = self.term(term)?;
                    self.put(&shown(&value), term.at)?;
                }
                Part::If(branches, otherwise) => {
                    let mut chosen = otherwise;
                    for (condition, then) in branches {
                        if is_true(&self.term(condition)?) {
                            chosen = then;
                            break;
                        }
                    }
                    self.parts(chosen)?;
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8], at: usize) -> Result<(), Fault> {
        if self.out.len() + bytes.len() > self.limit {
            return fault(at, self.too_long());
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn too_long(&self) -> String {
        format!("the result gets longer than {} bytes", self.limit)
    }

    fn term(&mut self, term: &'a Term<'a>) -> Result<Value<'a>, Fault> {
        let value = match &term.kind {
            Kind::Field(field) => self.field(*field),
            Kind::Label(field, key) => match self.field(*field) {
                Value::Labels(None) => Value::Text(Cow::default()),
                Value::Labels(Some(labels)) => match labels.get(*key) {
                    Some(value) => text(value),
                    None => {
                        let whose = match field {
                            Field::NodeLabels => format!("node {}", self.context.node.hostname),
                            _ => format!("service {}", self.context.service_name),
                        };
                        return fault(term.at, format!("{whose} has no label {key}"));
                    }
                },
                other => other,
            },
            Kind::Text(literal) => text(literal),
            Kind::Number(number) => Value::Number(*number),
            Kind::Truth(truth) => Value::Truth(*truth),
            Kind::Call(function, arguments) => {
                let values = arguments.iter().map(|argument| self.term(argument));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                self.call(term.at, *function, values)?
            }
        };
        if let (Value::Text(bytes), Kind::Call(..)) = (&value, &term.kind) {
            match self.work.checked_sub(bytes.len()) {
                Some(rest) => self.work = rest,
                None => return fault(term.at, self.too_long()),
            }
        }
        Ok(value)
    }

    fn field(&self, field: Field) -> Value<'a> {
        let context = self.context;
        match field {
            Field::ServiceId => text(&context.service_id),
            Field::ServiceName => text(context.service_name),
            Field::ServiceLabels => Value::Labels(Some(context.service_labels)),
            Field::NodeId => Value::Text(Cow::Owned(context.node.id.to_string().into_bytes())),
            Field::NodeHostname => text(context.node.hostname),
            Field::NodeOs => text(context.node.os),
            Field::NodeArchitecture => text(context.node.architecture),
            Field::NodeLabels => Value::Labels(context.node.labels),
            Field::TaskId => text(&context.task_id),
            Field::TaskName => text(&context.task_name),
            Field::TaskSlot => text(&context.task_slot),
        }
    }

    fn call(
        &mut self,
        at: usize,
        function: Function,
        mut values: Vec<Value<'a>>,
    ) -> Result<Value<'a>, Fault> {
        let owned = |bytes: Vec<u8>| Value::Text(Cow::Owned(bytes));
        let first = values.first();
        Ok(match function {
            Function::Index => match (&values[..], key(values.get(1))) {
                ([Value::Labels(None), _], Some(_)) => owned(Vec::new()),
                ([Value::Labels(Some(labels)), _], Some(key)) => {
                    // Go's, too, finds nothing where there is none.
                    text(labels.get(&key).map_or("", String::as_str))
                }
                _ => return fault(at, "index takes labels and the name of one"),
            },
            Function::Join => {
                let separator = first.map(shown).unwrap_or_default();
                owned(self.joined(at, &values[1..], &separator)?)
            }
            Function::Print => owned(self.joined(at, &values, b"")?),
            Function::Printf => self.printf(at, &values)?,
            Function::Len => Value::Number(match first {
                Some(Value::Text(bytes)) => i64::try_from(bytes.len()).unwrap_or(i64::MAX),
                Some(Value::Labels(labels)) => {
                    i64::try_from(labels.map_or(0, Labels::len)).unwrap_or(i64::MAX)
                }
                _ => return fault(at, "len takes a text or labels"),
            }),
            Function::Eq | Function::Ne => {
                let mut same = false;
                for other in values.iter().skip(1) {
                    same |= match (first, other) {
                        (Some(Value::Text(a)), Value::Text(b)) => a == b,
                        (Some(Value::Number(a)), Value::Number(b)) => a == b,
                        (Some(Value::Truth(a)), Value::Truth(b)) => a == b,
                        _ => return fault(at, "only values of one kind can be compared"),
                    };
                }
                Value::Truth(same == (function == Function::Eq))
            }
            Function::Not => Value::Truth(!first.is_some_and(is_true)),
            // The first that decides, or the last, as in Go.
            Function::And | Function::Or => {
                let decides = function == Function::Or;
                let found = values.iter().position(|value| is_true(value) == decides);
                let last = values.len() - 1;
                values.swap_remove(found.unwrap_or(last))
            }
            Function::Env => {
                let value = name(at, first, "env", "a variable")?;
                owned(self.files.env(&value).unwrap_or_default().into_bytes())
            }
            Function::Secret => {
                let target = name(at, first, "secret", "a target")?;
                self.content(at, "secret", self.files.secret(&target))?
            }
            Function::Config => {
                let target = name(at, first, "config", "a target")?;
                self.content(at, "config", self.files.config(&target))?
            }
        })
    }

    /// Asked before it is made; `term` counts it.
    fn may_make(&self, at: usize, bytes: usize) -> Result<(), Fault> {
        match bytes <= self.work {
            true => Ok(()),
            false => fault(at, self.too_long()),
        }
    }

    fn joined(&self, at: usize, values: &[Value<'a>], separator: &[u8]) -> Result<Vec<u8>, Fault> {
        let mut joined = Vec::new();
        for (index, value) in values.iter().enumerate() {
            let shown = shown(value);
            self.may_make(at, joined.len() + separator.len() + shown.len())?;
            if index > 0 {
                joined.extend_from_slice(separator);
            }
            joined.extend_from_slice(&shown);
        }
        Ok(joined)
    }

    /// The target is not named where there is none: it may be made of a secret. The
    /// place says which it is.
    fn content(&self, at: usize, kind: &str, data: Option<Arc<[u8]>>) -> Result<Value<'a>, Fault> {
        let Some(data) = data else {
            return fault(at, format!("the service has no {kind} with this target"));
        };
        self.may_make(at, data.len())?;
        Ok(Value::Text(Cow::Owned(data.to_vec())))
    }

    /// `%s`, `%v`, `%d`, `%q` and `%%`.
    fn printf(&self, at: usize, values: &[Value<'a>]) -> Result<Value<'a>, Fault> {
        let mut values = values.iter();
        let Some(Value::Text(format)) = values.next() else {
            return fault(at, "printf takes a text first");
        };
        let mut out = Vec::new();
        let mut bytes = format.iter();
        while let Some(byte) = bytes.next() {
            if *byte != b'%' {
                out.push(*byte);
                continue;
            }
            let verb = bytes.next();
            if verb == Some(&b'%') {
                out.push(b'%');
                continue;
            }
            let Some(value) = values.next() else {
                return fault(at, "printf has fewer values than its text asks for");
            };
            let shown = shown(value);
            // Escapes are at most six times as long.
            self.may_make(at, out.len() + shown.len().saturating_mul(6))?;
            match (verb, value) {
                (Some(b's' | b'v'), _) | (Some(b'd'), Value::Number(_)) => out.extend(&*shown),
                (Some(b'q'), Value::Text(_)) => {
                    out.extend(format!("{:?}", String::from_utf8_lossy(&shown)).bytes());
                }
                _ => return fault(at, "printf knows %s, %v, %q for texts, %d for numbers, %%"),
            }
        }
        match values.next() {
            Some(_) => fault(at, "printf has more values than its text asks for"),
            None => Ok(Value::Text(Cow::Owned(out))),
        }
    }
}

fn text(text: &str) -> Value<'_> {
    Value::Text(Cow::Borrowed(text.as_bytes()))
}

fn key(value: Option<&Value<'_>>) -> Option<String> {
    match value {
        Some(Value::Text(bytes)) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

fn name(at: usize, value: Option<&Value<'_>>, of: &str, what: &str) -> Result<String, Fault> {
    match key(value) {
        Some(name) => Ok(name),
        None => fault(at, format!("{of} takes the name of {what}")),
    }
}

fn is_true(value: &Value<'_>) -> bool {
    match value {
        Value::Text(bytes) => !bytes.is_empty(),
        Value::Number(number) => *number != 0,
        Value::Truth(truth) => *truth,
        Value::Labels(labels) => labels.is_some_and(|labels| !labels.is_empty()),
    }
}

/// As Go prints it.
fn shown<'v>(value: &'v Value<'_>) -> Cow<'v, [u8]> {
    match value {
        Value::Text(bytes) => Cow::Borrowed(bytes),
        Value::Number(number) => Cow::Owned(number.to_string().into_bytes()),
        Value::Truth(truth) => Cow::Owned(truth.to_string().into_bytes()),
        Value::Labels(labels) => {
            let pairs = labels.iter().flat_map(|labels| labels.iter());
            let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}:{value}")).collect();
            Cow::Owned(format!("map[{}]", pairs.join(" ")).into_bytes())
        }
    }
}
