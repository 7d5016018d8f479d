//! The content of secrets and configs: from a file, a variable, or the stack file itself.

use super::Maker;
use crate::codes;
use crate::model::FileObject;
use crate::room::MOST_TEXT;
use crate::tree::Step;
use skep_types::template::Template;
use std::path::Path;
use std::sync::Arc;

/// The keys that say where the content is, those that `object` has.
fn sources(object: &FileObject) -> Vec<&'static str> {
    let all = [
        ("file", !object.file.is_empty()),
        ("environment", !object.environment.is_empty()),
        ("content", object.content.is_some()),
    ];
    let there = all.into_iter().filter(|(_, there)| *there);
    there.map(|(key, _)| key).collect()
}

impl Maker<'_> {
    /// What somebody else made has no content here.
    pub(super) fn no_content(&mut self, section: &'static str, key: &str, object: &FileObject) {
        // A `file` is read over, as the Docker CLI does it.
        for source in sources(object).into_iter().filter(|key| *key != "file") {
            let path = [Step::Key(section), Step::Key(key), Step::Key(source)];
            let kind = section.trim_end_matches('s');
            let message = format!("an external {kind} cannot have `{source}`");
            let help = "its owner decides that; remove the key, or `external`";
            self.error_help(codes::OTHERS_DECIDE, &path, message, help);
        }
    }

    /// The content of a secret or config, of 1 to `most` bytes.
    pub(super) fn content(
        &mut self,
        section: &'static str,
        key: &str,
        name: &str,
        object: &FileObject,
        most: usize,
    ) -> Arc<[u8]> {
        let base = [Step::Key(section), Step::Key(key)];
        self.check_name(&base, name, 64, true);
        let source = match *sources(object) {
            [] => {
                let (message, help) = match section {
                    "configs" => (
                        "it has neither `file`, `content`, `environment` nor `external`",
                        "name its content with `file: PATH`, or write `external: true`",
                    ),
                    _ => (
                        "it has neither `file`, `environment` nor `external`",
                        "name its content with `file: PATH`, or write `external: true`",
                    ),
                };
                self.error_help(codes::NO_CONTENT, &base, message, help);
                return Arc::default();
            }
            [source] => source,
            [first, second, ..] => {
                let path = [base[0], base[1], Step::Key(second)];
                let message = format!("`{first}` and `{second}` exclude each other");
                let help = "its content comes from one place; a file on top takes the other away \
                            with `!reset`";
                self.error_help(codes::EXCLUSIVE, &path, message, help);
                return Arc::default();
            }
        };
        if self.context.room.contents.is_spent() {
            // It has been said, and there is nothing to read more for.
            return Arc::default();
        }
        let path = [base[0], base[1], Step::Key(source)];
        let (data, what): (Vec<u8>, String) = match source {
            "file" => {
                let file = &object.file;
                match (self.context.read)(Path::new(file)) {
                    Ok(data) => (data, format!("the file {file}")),
                    Err(error) => {
                        let message = format!("the file {file} cannot be read: {error}");
                        let help = "relative paths start at the directory of the first stack file";
                        self.error_help(codes::UNREADABLE, &path, message, help);
                        return Arc::default();
                    }
                }
            }
            "environment" => {
                let name = &object.environment;
                let value = object.value.clone();
                let Some(value) = value.or_else(|| (self.context.env)(name)) else {
                    let message = format!("the variable {name} is not set");
                    let help = format!("set {name} in the environment");
                    self.error_help(codes::REQUIRED_VARIABLE, &path, message, help);
                    return Arc::default();
                };
                (value.into_bytes(), format!("the variable {name}"))
            }
            _ => {
                let content = object.content.clone().unwrap_or_default();
                (content.into_bytes(), "the content".to_owned())
            }
        };
        if data.is_empty() {
            self.error(codes::FILE_SIZE, &path, format!("{what} is empty"));
        } else if data.len() > most {
            let size = data.len();
            let message = format!("{what} has {size} bytes; at most {most} fit");
            self.error(codes::FILE_SIZE, &path, message);
        } else if !self.context.room.contents.take(data.len()) {
            let most = MOST_TEXT >> 20;
            let message = format!("the secrets and configs of the stack have more than {most} MiB");
            let help = "put large data into a volume or the image";
            self.error_help(codes::FILE_SIZE, &path, message, help);
        } else {
            return data.into();
        }
        Arc::default()
    }

    /// The content is filled in for each task.
    pub(super) fn is_template(
        &mut self,
        section: &str,
        key: &str,
        object: &FileObject,
        data: &[u8],
    ) -> bool {
        let at = |last| [Step::Key(section), Step::Key(key), Step::Key(last)];
        match object.template_driver.as_str() {
            "" => return false,
            "golang" => {}
            other => {
                let message = format!("there is no template driver {other}");
                let help = "write golang, or leave it out";
                self.error_help(codes::WORD, &at("template_driver"), message, help);
            }
        }
        if let Err(wrong) = Template::of_content(data) {
            let source = sources(object).first().copied().unwrap_or("file");
            let message = match source {
                "file" => format!("the file {} is not a template: {wrong}", object.file),
                _ => format!("not a template: {wrong}"),
            };
            let help = "write {{`{{`}} for two braces";
            self.error_help(codes::TEMPLATE, &at(source), message, help);
        }
        true
    }
}
