//! `include`: other files whose services, networks, volumes, secrets and configs belong to the
//! stack.
//!
//! Each entry is read as a stack of its own, with its directory and its `.env`, and copied
//! beside what is there. Nothing is merged: what has the same name has to say the same.

use crate::codes;
use crate::normal::Context;
use crate::reading;
use crate::sources::{MOST_DEPTH, Reader, Source};
use crate::tree::{Entry, Node, Value, join};
use crate::variables;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What is copied.
const SECTIONS: [&str; 5] = ["services", "networks", "volumes", "secrets", "configs"];

/// The key of the value of a variable; no file can have it.
const VALUE: &str = "#value";

/// One text, or those of a list.
fn texts(node: Option<&Node>) -> Vec<Node> {
    match node {
        None => Vec::new(),
        Some(node) => node
            .as_list()
            .map_or_else(|| vec![node.clone()], <[_]>::to_vec),
    }
}

impl Reader<'_> {
    /// Copies what a merged tree includes into it. Files that are being included already are
    /// in `chain`.
    pub(crate) fn include(
        &mut self,
        tree: &mut Node,
        context: &Context<'_>,
        chain: &mut Vec<String>,
    ) {
        let Some(list) = tree.take("include") else {
            return;
        };
        for (index, item) in list.as_list().unwrap_or_default().iter().enumerate() {
            let path = format!("include[{index}]");
            if !self.may_include(item.place, &path) {
                break;
            }
            if let Some(found) = self.included(item, &path, context, chain) {
                self.copy(tree, found);
            }
        }
    }

    /// The tree of one entry. `None`: something is wrong with it, which is said.
    fn included(
        &mut self,
        item: &Node,
        path: &str,
        context: &Context<'_>,
        chain: &mut Vec<String>,
    ) -> Option<Node> {
        let long = item.as_map().is_some();
        let (paths, path) = match long {
            true => (texts(item.get("path")), join(path, "path")),
            false => (vec![item.clone()], path.to_owned()),
        };
        let number = self.entries();
        let mut sources: Vec<Rc<Source>> = Vec::with_capacity(paths.len());
        for name in &paths {
            let source = self.open(name, &path, context)?;
            let ring = chain.contains(&source.path);
            if ring || chain.len() >= MOST_DEPTH {
                let shown = source.shown.display();
                let message = match ring {
                    true => format!("{shown} includes itself"),
                    false => format!("more than {MOST_DEPTH} files include each other"),
                };
                let help = "take one of them out of `include`";
                self.report
                    .error_help(codes::LEADS_BACK, Some(name.place), &path, message, help);
                return None;
            }
            if !self.pay(&source.tree, name.place, &path) {
                return None;
            }
            sources.push(source);
        }
        let Some(first) = sources.first() else {
            let message = "an entry of `include` needs a file";
            self.report
                .error(codes::MISSING_KEY, Some(item.place), &path, message);
            return None;
        };
        let directory = item.get("project_directory").and_then(Node::as_str);
        let (workdir, shown) = match directory {
            Some(directory) => (
                PathBuf::from(context.absolute(directory)),
                context.shown.join(directory),
            ),
            None => (first.workdir.clone(), first.shown_dir().to_owned()),
        };
        let variables = self.variables(item, &workdir, &shown, context);
        let env = |name: &str| (context.env)(name).or_else(|| variables.get(name).cloned());
        let inner = Context {
            workdir: &workdir,
            shown: &shown,
            env: &env,
            scope: match variables.is_empty() {
                true => context.scope,
                false => number,
            },
            ..*context
        };
        let depth = chain.len();
        chain.extend(sources.iter().map(|source| source.path.clone()));
        let tree = reading::merged(sources, &inner, self, chain);
        chain.truncate(depth);
        let mut tree = tree?;
        let own = |name: &str| match (context.env)(name) {
            None => variables.get(name),
            Some(_) => None,
        };
        self.keep_values(&mut tree, own).then_some(tree)
    }

    /// Keeps the values of the variables that secrets and configs of an entry are made of, if
    /// they are of its own files: they are not known any more where the content is read. False
    /// when there are too many, which is said.
    fn keep_values<'v>(
        &mut self,
        tree: &mut Node,
        own: impl Fn(&str) -> Option<&'v String>,
    ) -> bool {
        for section in ["secrets", "configs"] {
            let objects = tree.get_mut(section).map(|node| &mut node.value);
            let Some(Value::Map(objects)) = objects else {
                continue;
            };
            for Entry { key, value, .. } in objects {
                let name = value.get("environment");
                let found = name.and_then(|name| Some((name.place, own(name.as_str()?)?)));
                let (Some((place, found)), Value::Map(entries)) = (found, &mut value.value) else {
                    continue;
                };
                let found = Node::str(place, found);
                if !self.pay(&found, place, &format!("{section}.{key}.environment")) {
                    return false;
                }
                entries.push(Entry {
                    key: VALUE.to_owned(),
                    key_place: place,
                    value: found,
                });
            }
        }
        true
    }

    /// The variables of an entry's own files: those it names, else `.env` in its directory.
    fn variables(
        &mut self,
        item: &Node,
        workdir: &Path,
        shown: &Path,
        context: &Context<'_>,
    ) -> BTreeMap<String, String> {
        let named = texts(item.get("env_file"));
        let required = !named.is_empty();
        let names = match required {
            true => named,
            false => vec![Node::str(item.place, ".env")],
        };
        let mut all = BTreeMap::new();
        for name in names {
            let text = name.as_str().unwrap_or_default();
            let (absolute, shown) = match required {
                true => (context.absolute(text), context.shown.join(text)),
                false => (workdir.join(text).display().to_string(), shown.join(text)),
            };
            let content = self.text(&absolute, name.place, "include", required);
            let Some(content) = content else {
                continue;
            };
            let shown = shown.display().to_string();
            // Its lines are not shown: they have passwords.
            let Some(number) = self.report.add_file(shown.clone(), None) else {
                continue;
            };
            let env = |name: &str| (context.env)(name).or_else(|| all.get(name).cloned());
            let files = [(shown.as_str(), content.as_str())];
            let found = variables::read(&files, usize::from(number), &env, self.report);
            all.extend(found);
        }
        all
    }

    /// Puts the sections of `from` beside those of `tree`.
    fn copy(&mut self, tree: &mut Node, mut from: Node) {
        for section in SECTIONS {
            let Some(found) = from.take(section) else {
                continue;
            };
            if tree.get(section).is_none_or(|own| own.as_map().is_none())
                && let Value::Map(entries) = &mut tree.value
            {
                entries.retain(|entry| entry.key != section);
                entries.push(Entry {
                    key: section.to_owned(),
                    key_place: found.place,
                    value: Node::new(found.place, Value::Map(Vec::new())),
                });
            }
            let own = tree.get_mut(section).map(|node| &mut node.value);
            let (Some(Value::Map(own)), Value::Map(more)) = (own, found.value) else {
                continue;
            };
            let known = own.iter().map(|entry| entry.key.clone()).zip(0..);
            let known: BTreeMap<String, usize> = known.collect();
            for entry in more {
                let Some(index) = known.get(&entry.key) else {
                    own.push(entry);
                    continue;
                };
                if own[*index].value.to_yaml() != entry.value.to_yaml() {
                    let kind = section.trim_end_matches('s');
                    let key = &entry.key;
                    let message =
                        format!("there is another {kind} {key}, which says something else");
                    let help = "rename one of them; what is included is not merged, but the files \
                                of one `path` are";
                    let path = join(section, key);
                    let place = Some(entry.key_place);
                    self.report
                        .error_help(codes::INCLUDED_TWICE, place, &path, message, help);
                }
            }
        }
    }
}
