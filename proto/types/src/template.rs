//! Templates in specs, secrets and configs: the part of Go's text/template that
//! Swarm's users write. The one grammar, for stack files, flags, managers and agents.
//!
//! ```text
//! {{.Service.ID}}  {{.Service.Name}}  {{.Service.Labels.tier}}  {{index .Service.Labels "a.b"}}
//! {{.Node.ID}}     {{.Node.Hostname}} {{.Node.Platform.OS}}     {{.Node.Platform.Architecture}}
//! {{.Node.Labels.zone}}               {{.Task.ID}}  {{.Task.Name}}  {{.Task.Slot}}
//! {{join "-" .Service.Name .Task.Slot}}    {{if eq .Task.Slot "1"}}first{{else}}other{{end}}
//! {{secret "password"}}  {{config "/page"}}  {{env "MODE"}}      in secrets and configs only
//! ```
//!
//! Reading finds every unknown field and function; what cannot be known before is
//! found when it is filled in: a label that is missing, an argument of the wrong kind.
//! `parse` reads, `render` fills in, `spec` knows which parts of a spec are templates.

mod parse;
mod render;
mod spec;
#[cfg(test)]
mod tests;

pub use render::Files;
pub use spec::{SpecError, check, expand, is_templated};

use crate::id::{NodeId, ServiceId, TaskId};
use crate::meta::Labels;
use crate::task::Task;
use std::borrow::Cow;
use std::fmt;

/// How deep groups, and conditions, may stand in each other.
const DEPTH_MAX: usize = 32;
/// Most bytes of a part of a spec once it is filled in.
pub const TEXT_MAX_BYTES: usize = 64 * 1024;

/// Where a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the spec of a service.
    Spec,
    /// It is the content of a secret or config, which sees those beside it.
    Content,
}

/// A template that was read. It borrows its text.
#[derive(Debug, Clone, PartialEq)]
pub struct Template<'a> {
    text: &'a str,
    parts: Vec<Part<'a>>,
}

/// Why a template cannot be read or filled in. Never tells what a secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    /// Line of the text, from 1.
    pub line: usize,
    /// Character of the line, from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}", self.column, self.what)
    }
}

impl std::error::Error for TemplateError {}

/// A fault at a byte of a text.
#[derive(Debug)]
struct Fault {
    at: usize,
    what: String,
}

fn fault<T>(at: usize, what: impl Into<String>) -> Result<T, Fault> {
    Err(Fault {
        at,
        what: what.into(),
    })
}

impl Fault {
    fn in_text(self, text: &str) -> TemplateError {
        // A place inside a character counts as that character.
        let mut at = self.at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        let before = &text[..at];
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        TemplateError {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count() + 1,
            what: self.what,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Print(Term<'a>),
    /// Conditions with what follows from each, and what is left otherwise.
    If(Vec<(Term<'a>, Vec<Part<'a>>)>, Vec<Part<'a>>),
}

/// What has a value, and the byte where it begins.
#[derive(Debug, Clone, PartialEq)]
struct Term<'a> {
    at: usize,
    kind: Kind<'a>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind<'a> {
    Field(Field),
    Label(Field, &'a str),
    Text(Cow<'a, str>),
    Number(i64),
    Truth(bool),
    Call(Function, Vec<Term<'a>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    ServiceId,
    ServiceName,
    ServiceLabels,
    NodeId,
    NodeHostname,
    NodeOs,
    NodeArchitecture,
    NodeLabels,
    TaskId,
    TaskName,
    TaskSlot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Index,
    Join,
    Print,
    Printf,
    Len,
    Eq,
    Ne,
    Not,
    And,
    Or,
    Env,
    Secret,
    Config,
}

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// What cannot be read, or stands for nothing, and where.
    pub fn parse(text: &'a str, place: Place) -> Result<Template<'a>, TemplateError> {
        let parts = parse::parse(text, place).map_err(|fault| fault.in_text(text))?;
        Ok(Template { text, parts })
    }

    /// Reads the content of a secret or config.
    ///
    /// # Errors
    /// It is no UTF-8, or what cannot be read in it, and where.
    pub fn of_content(data: &'a [u8]) -> Result<Template<'a>, TemplateError> {
        let text = std::str::from_utf8(data).map_err(|error| {
            let at = error.valid_up_to();
            let good = std::str::from_utf8(&data[..at]).unwrap_or_default();
            let what = "this is no UTF-8 text".to_owned();
            Fault { at, what }.in_text(good)
        })?;
        Template::parse(text, Place::Content)
    }

    /// Fills it in. The result has at most `limit` bytes.
    ///
    /// # Errors
    /// What it asks for and is not there, where it asks, or that it gets too long.
    pub fn render(
        &self,
        context: &Context<'_>,
        files: &dyn Files,
        limit: usize,
    ) -> Result<Vec<u8>, TemplateError> {
        render::render(&self.parts, context, files, limit).map_err(|f| f.in_text(self.text))
    }
}

/// What a template is filled in with.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// Id of the service.
    pub service_id: String,
    /// Its name.
    pub service_name: &'a str,
    /// Its labels.
    pub service_labels: &'a Labels,
    /// The node.
    pub node: NodeContext<'a>,
    /// Id of the task.
    pub task_id: String,
    /// `service.slot.id`, which is also the name of its container.
    pub task_name: String,
    /// Its slot; the id of its node in a global service, as in Swarm.
    pub task_slot: String,
}

/// The node of a task.
#[derive(Debug, Clone, Copy)]
pub struct NodeContext<'a> {
    /// Id.
    pub id: NodeId,
    /// Host name.
    pub hostname: &'a str,
    /// Operating system.
    pub os: &'a str,
    /// Architecture.
    pub architecture: &'a str,
    /// Labels of the node object. `None` where no node is chosen yet: any label is
    /// there then.
    pub labels: Option<&'a Labels>,
}

impl<'a> Context<'a> {
    /// That of a task on its node.
    pub fn of(task: &'a Task, service_labels: &'a Labels, node: NodeContext<'a>) -> Context<'a> {
        Context {
            service_id: task.service.to_string(),
            service_name: &task.service_name,
            service_labels,
            node,
            task_id: task.id.to_string(),
            task_name: format!("{}.{}", task.name(), task.id),
            task_slot: match task.slot.0 {
                0 => node.id.to_string(),
                slot => slot.to_string(),
            },
        }
    }

    /// That of a service none of whose tasks is there yet.
    pub fn before(service_name: &'a str, service_labels: &'a Labels) -> Context<'a> {
        let task = TaskId::from_bits(0);
        Context {
            service_id: ServiceId::from_bits(0).to_string(),
            service_name,
            service_labels,
            node: NodeContext {
                id: NodeId::from_bits(0),
                hostname: "node",
                os: "linux",
                architecture: "x86_64",
                labels: None,
            },
            task_id: task.to_string(),
            task_name: format!("{service_name}.1.{task}"),
            task_slot: "1".to_owned(),
        }
    }
}
