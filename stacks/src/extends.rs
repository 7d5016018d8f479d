//! `extends`: a service that begins with another one, of its own file or another.
//!
//! The other one is read as if it stood alone in its file: with the directory of that file,
//! and with what it extends itself. Then the service is put on top, as a later file is.

use crate::codes;
use crate::diagnostic::Place;
use crate::interpolate;
use crate::merge::{self, Path};
use crate::normal::{self, Context};
use crate::schema::{self, nearest};
use crate::sources::{MOST_DEPTH, Reader, Source};
use crate::tree::{Entry, Node, Value, join};
use std::collections::HashMap;
use std::rc::Rc;

/// Whether a service of a file extends another one.
pub(crate) fn is_in(tree: &Node) -> bool {
    let services = tree.get("services").and_then(Node::as_map);
    let mut services = services.unwrap_or_default().iter();
    services.any(|service| service.value.get("extends").is_some())
}

/// A file that has one service only.
fn alone(key: &str, place: Place, service: Node) -> Node {
    let map = |key: &str, value: Node| {
        let entry = Entry {
            key: key.to_owned(),
            key_place: place,
            value,
        };
        Node::new(place, Value::Map(vec![entry]))
    };
    map("services", map(key, service))
}

/// The service of a file that has one only.
fn only(tree: Node) -> Option<Entry> {
    let inner = |node: Node| match node.value {
        Value::Map(mut entries) => entries.pop(),
        _ => None,
    };
    inner(inner(tree)?.value)
}

/// A file and a service of it.
type Link = (String, String);

impl Reader<'_> {
    /// Puts the services of a file that was checked and normalised on those they extend.
    pub(crate) fn extend(
        &mut self,
        tree: &mut Node,
        cleared: &[Path],
        source: &Rc<Source>,
        context: &Context<'_>,
    ) {
        let Some(Value::Map(services)) = tree.get_mut("services").map(|node| &mut node.value)
        else {
            return;
        };
        let mut marks: HashMap<&str, Vec<Path>> = HashMap::new();
        for path in cleared {
            // To mark the whole service is about the files before, not about this.
            if let [_, name, _, ..] = &path[..] {
                marks.entry(name).or_default().push(path.clone());
            }
        }
        for entry in services {
            let cleared = marks.remove(entry.key.as_str()).unwrap_or_default();
            let nothing = Node::new(entry.key_place, Value::Null);
            let service = std::mem::replace(&mut entry.value, nothing);
            let mut chain = vec![(source.path.clone(), entry.key.clone())];
            let names = (entry.key.as_str(), entry.key_place);
            entry.value = self.on_base(names, service, &cleared, source, context, &mut chain);
        }
    }

    /// `service` on top of what it extends, if anything.
    fn on_base(
        &mut self,
        (key, place): (&str, Place),
        mut service: Node,
        cleared: &[Path],
        source: &Rc<Source>,
        context: &Context<'_>,
        chain: &mut Vec<Link>,
    ) -> Node {
        let Some(extends) = service.take("extends") else {
            return service;
        };
        let path = format!("services.{key}.extends");
        let Some(base) = self.base(&extends, &path, source, context, chain) else {
            return service;
        };
        let mut tree = alone(key, place, base);
        merge::files(&mut tree, alone(key, place, service), cleared);
        only(tree).map_or(Node::new(place, Value::Null), |entry| entry.value)
    }

    /// The service that is extended, in normal form.
    fn base(
        &mut self,
        extends: &Node,
        path: &str,
        source: &Rc<Source>,
        context: &Context<'_>,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        let section = path;
        let (name, path) = match extends.get("service") {
            Some(name) => (name, join(section, "service")),
            None => (extends, section.to_owned()),
        };
        let key = name.as_str().unwrap_or_default();
        let from = match extends.get("file") {
            Some(file) => self.open(file, &join(section, "file"), context)?,
            None => Rc::clone(source),
        };
        let link = (from.path.clone(), key.to_owned());
        if chain.contains(&link) || chain.len() > MOST_DEPTH {
            let names = chain.iter().map(|(_, key)| key.as_str());
            let ring: Vec<&str> = names.chain([key]).collect();
            let message = match chain.contains(&link) {
                true => format!("the service extends itself: {}", ring.join(" → ")),
                false => format!("more than {MOST_DEPTH} services extend each other"),
            };
            let help = "write out one of the services";
            self.report
                .error_help(codes::LEADS_BACK, Some(name.place), &path, message, help);
            return None;
        }
        let Some(found) = from.service(key) else {
            let all = from.tree.get("services").and_then(Node::as_map);
            let all = all.unwrap_or_default().iter();
            let message = format!("there is no service {key} in {}", from.shown.display());
            let help = match nearest(key, all.map(|entry| entry.key.as_str())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "name a service of that file".to_owned(),
            };
            self.report
                .error_help(codes::UNDECLARED, Some(name.place), &path, message, help);
            return None;
        };
        if from.wrong || !self.pay(&found.value, name.place, &path) {
            return None;
        }
        let shown = from.shown_dir().to_owned();
        let context = match extends.get("file") {
            Some(_) => Context {
                workdir: &from.workdir,
                shown: &shown,
                ..*context
            },
            None => *context,
        };
        let before = self.report.errors();
        let mut tree = alone(key, found.key_place, found.value.clone());
        if self.interpolate {
            interpolate::tree(&mut tree, context.env, context.room, self.report);
        }
        let mut cleared = merge::take(&mut tree, self.report);
        cleared.retain(|path| path.len() > 2);
        schema::check(&mut tree, self.report);
        if self.report.errors() > before {
            return None;
        }
        normal::file(&mut tree, &context, self.report);
        if !from.path.is_empty() {
            normal::env::absolute(&mut tree, &context);
        }
        let base = only(tree)?;
        let names = (base.key.as_str(), base.key_place);
        chain.push(link);
        let base = self.on_base(names, base.value, &cleared, &from, &context, chain);
        chain.pop();
        Some(base)
    }
}
