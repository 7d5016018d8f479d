//! Files that stack files name to be read as stack files: for `extends` and `include`.
//!
//! Owns their bounds. A file is read once, however often it is named; what is copied of it is
//! paid for each time.

use crate::codes;
use crate::diagnostic::{Place, Report};
use crate::normal::{Context, Read};
use crate::parse;
use crate::room::{Cost, MOST_TEXT};
use crate::tree::{Entry, Node};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Most files.
const MOST_FILES: usize = 64;
/// Most entries of `include`, those of included files too.
const MOST_INCLUDED: usize = 256;
/// Most files or services that one leads to, one after the other.
pub(crate) const MOST_DEPTH: usize = 20;

/// A file as it was parsed.
#[derive(Clone)]
pub(crate) struct Source {
    /// Absolute; empty for one that the command names.
    pub(crate) path: String,
    /// The directory from which relative paths in it start.
    pub(crate) workdir: PathBuf,
    /// The file as it is named to people.
    pub(crate) shown: PathBuf,
    pub(crate) tree: Node,
    /// Errors were found in it.
    pub(crate) wrong: bool,
    /// Where its services are: each may be asked for by thousands.
    pub(crate) services: OnceCell<HashMap<String, usize>>,
}

impl Source {
    /// A service of it.
    pub(crate) fn service(&self, key: &str) -> Option<&Entry> {
        let all = self.tree.get("services")?.as_map()?;
        let index = self.services.get_or_init(|| {
            let keys = all.iter().map(|entry| entry.key.clone());
            keys.zip(0..).collect()
        });
        all.get(*index.get(key)?)
    }

    /// Its directory, as it is named to people.
    pub(crate) fn shown_dir(&self) -> &Path {
        self.shown.parent().unwrap_or(Path::new(""))
    }
}

/// What files are read with.
pub(crate) struct Reader<'a> {
    pub(crate) interpolate: bool,
    pub(crate) report: &'a mut Report,
    read: Read<'a>,
    /// By absolute path; nothing for one that cannot be read.
    known: BTreeMap<String, Option<Rc<Source>>>,
    included: usize,
    files: usize,
    bytes: usize,
    /// What is copied out of them.
    copied: Cost,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(interpolate: bool, read: Read<'a>, report: &'a mut Report) -> Self {
        Reader {
            interpolate,
            report,
            read,
            known: BTreeMap::new(),
            included: 0,
            files: 0,
            bytes: 0,
            copied: Cost::default(),
        }
    }

    /// The file that a text names. `None`: it cannot be had, which is said.
    pub(crate) fn open(
        &mut self,
        name: &Node,
        path: &str,
        context: &Context<'_>,
    ) -> Option<Rc<Source>> {
        let text = name.as_str().unwrap_or_default();
        let absolute = context.absolute(text);
        if let Some(known) = self.known.get(&absolute) {
            // Another place may name it: what is wrong with it has been said once.
            return known.clone();
        }
        let source = self.parsed(&absolute, text, name.place, path, context);
        let source = source.map(Rc::new);
        self.known.insert(absolute, source.clone());
        source
    }

    fn parsed(
        &mut self,
        absolute: &str,
        name: &str,
        place: Place,
        path: &str,
        context: &Context<'_>,
    ) -> Option<Source> {
        let text = self.text(absolute, place, path, true)?;
        let shown = context.shown.join(name.trim_start_matches("./"));
        let number = self
            .report
            .add_file(shown.display().to_string(), Some(text.clone()));
        let before = self.report.errors();
        let tree = parse::parse(number?, &text, context.room, self.report)?;
        Some(Source {
            workdir: Path::new(absolute).parent()?.to_owned(),
            path: absolute.to_owned(),
            shown,
            tree,
            wrong: self.report.errors() > before,
            services: OnceCell::new(),
        })
    }

    /// The text of a file. `None`: it cannot be had, which is said unless it is missing and
    /// need not be there.
    pub(crate) fn text(
        &mut self,
        absolute: &str,
        place: Place,
        path: &str,
        required: bool,
    ) -> Option<String> {
        let place = Some(place);
        let content = match (self.read)(Path::new(absolute)) {
            Ok(content) => content,
            Err(error) => {
                let absent = [ErrorKind::NotFound, ErrorKind::IsADirectory].contains(&error.kind());
                if required || !absent {
                    let message = format!("the file {absolute} cannot be read: {error}");
                    let help = "relative paths start at the directory of the file that names it";
                    self.report
                        .error_help(codes::UNREADABLE, place, path, message, help);
                }
                return None;
            }
        };
        self.files += 1;
        if self.files > MOST_FILES {
            self.too_many(MOST_FILES, place, path);
            return None;
        }
        self.bytes = self.bytes.saturating_add(content.len());
        if content.len() > parse::MOST_BYTES || self.bytes > MOST_TEXT {
            let most = MOST_TEXT >> 20;
            let message = format!(
                "the file {absolute} is too large; at most {} bytes of one file are read, and \
                 {most} MiB of all",
                parse::MOST_BYTES
            );
            self.report.error(codes::TOO_LARGE, place, path, message);
            return None;
        }
        let text = String::from_utf8(content);
        if text.is_err() {
            let message = format!("the file {absolute} is not UTF-8 text");
            self.report
                .error_help(codes::UNREADABLE, place, path, message, "convert it");
        }
        text.ok()
    }

    fn too_many(&mut self, most: usize, place: Option<Place>, path: &str) {
        let message = format!("more than {most} files are extended and included");
        let help = "join some of them";
        self.report
            .error_help(codes::TOO_LARGE, place, path, message, help);
    }

    /// Whether one more entry may be included; else that is said.
    pub(crate) fn may_include(&mut self, place: Place, path: &str) -> bool {
        self.included += 1;
        if self.included > MOST_INCLUDED {
            self.too_many(MOST_INCLUDED, Some(place), path);
        }
        self.included <= MOST_INCLUDED
    }

    /// How many entries have been included.
    pub(crate) fn entries(&self) -> usize {
        self.included
    }

    /// Whether there is room for a copy of `node`; else that is said.
    pub(crate) fn pay(&mut self, node: &Node, place: Place, path: &str) -> bool {
        self.copied = self.copied.plus(node.cost());
        let fits = self.copied.fits(Cost::MOST);
        if !fits {
            let Cost { values, text } = Cost::MOST;
            let message = format!(
                "what is extended and included has more than {values} values or {} MiB of text",
                text >> 20
            );
            self.report
                .error(codes::TOO_LARGE, Some(place), path, message);
        }
        fits
    }
}
