//! Contexts: names for whom commands speak to, and which of them is used. Kept in a folder
//! of the user's, one file each, since a context may hold the key of a client.
//!
//! Leaves what a host is to `host`, and which of several wishes counts to `place`.

use crate::client::{DEFAULT_HOST, Host};
use crate::error::usage;
use crate::kept::write;
use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The context that is always there: the daemon of this machine.
pub const DEFAULT: &str = "default";
/// Names the folder.
pub const FOLDER: &str = "SKEP_CONFIG";
/// The folder in the user's home where nothing else is said.
const HOME_FOLDER: &str = ".skep";
/// In the folder: which context is used.
const SETTINGS: &str = "config.json";
/// In that file.
const CURRENT: &str = "currentContext";
/// In the folder: the contexts.
const CONTEXTS: &str = "contexts";

/// A name for whom commands speak to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// The name.
    pub name: String,
    /// Something said of it.
    pub description: String,
    /// As [`Host::parse`] reads it.
    pub host: String,
    /// The file of a client, where managers are spoken to.
    pub certificate: Option<String>,
}

impl Context {
    /// Whom it names.
    ///
    /// # Errors
    /// If it cannot be spoken to.
    pub fn to_host(&self) -> Result<Host> {
        Host::parse(&self.host, self.certificate.as_deref())
            .with_context(|| format!("context {:?} cannot be used", self.name))
    }

    /// As it is kept in a file.
    pub fn to_text(&self) -> String {
        let Context {
            name,
            description,
            host,
            certificate,
        } = self;
        let object = json!({
            "Name": name,
            "Description": description,
            "Host": host,
            "Certificate": certificate,
        });
        format!("{object:#}\n")
    }

    /// Reads what [`Context::to_text`] wrote.
    ///
    /// # Errors
    /// If it is something else.
    pub fn from_text(text: &str) -> Result<Self> {
        let object: Value = serde_json::from_str(text).context("it is not a context")?;
        let said = |key: &str| match &object[key] {
            Value::String(text) => Ok(Some(text.clone())),
            Value::Null => Ok(None),
            _ => bail!("it is not a context: {key} is not a text"),
        };
        Ok(Context {
            name: said("Name")?.unwrap_or_default(),
            description: said("Description")?.unwrap_or_default(),
            host: said("Host")?.context("it is not a context: it has no Host")?,
            certificate: said("Certificate")?,
        })
    }

    fn default() -> Self {
        Context {
            name: DEFAULT.to_owned(),
            description: "The daemon of this machine".to_owned(),
            host: DEFAULT_HOST.to_owned(),
            certificate: None,
        }
    }
}

/// The folder of contexts.
#[derive(Debug, Clone)]
pub struct Contexts {
    folder: PathBuf,
}

impl Contexts {
    /// In the folder that `SKEP_CONFIG` names, or `~/.skep`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let folder = match (variable(FOLDER), variable("HOME")) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(home)) => Path::new(&home).join(HOME_FOLDER),
            (None, None) => {
                bail!("there is no place for contexts: HOME is not set; name a folder by {FOLDER}")
            }
        };
        Ok(Contexts { folder })
    }

    /// The context of this name.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn find(&self, name: &str) -> Result<Context> {
        if name == DEFAULT {
            return Ok(Context::default());
        }
        let path = self.path(name)?;
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(usage(format!(
                    "context {name:?} does not exist: \"skep context ls\" shows those that do"
                )));
            }
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let context = Context::from_text(&text).with_context(|| {
            format!(
                "{} is damaged; \"skep context rm {name}\" removes it",
                path.display()
            )
        })?;
        let name = name.to_owned();
        Ok(Context { name, ..context })
    }

    /// Whether there is one of this name.
    ///
    /// # Errors
    /// When it cannot be a name.
    pub fn has(&self, name: &str) -> Result<bool> {
        Ok(name == DEFAULT || self.path(name)?.exists())
    }

    /// The names of all, with what can be read of each.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn all(&self) -> Result<Vec<(String, Result<Context>)>> {
        let folder = self.folder.join(CONTEXTS);
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            read => read
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .with_context(|| format!("cannot read {}", folder.display()))?,
        };
        let name = |entry: &fs::DirEntry| {
            let file = entry.file_name().into_string().ok()?;
            let name = file.strip_suffix(".json")?.to_owned();
            is_name(&name).then_some(name)
        };
        let mut names: Vec<String> = entries.iter().filter_map(name).collect();
        names.sort();
        let names = std::iter::once(DEFAULT.to_owned()).chain(names);
        Ok(names.map(|name| (name.clone(), self.find(&name))).collect())
    }

    /// Keeps a context, in place of one of the same name.
    ///
    /// # Errors
    /// When it cannot have that name, or the disk refuses.
    pub fn keep(&self, context: &Context) -> Result<()> {
        if context.name == DEFAULT {
            return Err(usage(
                "\"default\" is the daemon of this machine, and is not to be changed: choose \
                 another name",
            ));
        }
        let path = self.path(&context.name)?;
        write(&path, &context.to_text())
    }

    /// Forgets a context.
    ///
    /// # Errors
    /// When there is none, or the disk refuses.
    pub fn forget(&self, name: &str) -> Result<()> {
        if name == DEFAULT {
            return Err(usage("context \"default\" cannot be removed"));
        }
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(usage(format!("context {name:?} does not exist")))
            }
            removed => removed.with_context(|| format!("cannot remove {}", path.display())),
        }
    }

    /// The name of the context that is used where nothing else is asked for.
    ///
    /// # Errors
    /// When what says so cannot be read.
    pub fn current(&self) -> Result<String> {
        let settings = self.settings()?;
        Ok(match &settings[CURRENT] {
            Value::String(name) if !name.is_empty() => name.clone(),
            _ => DEFAULT.to_owned(),
        })
    }

    /// Uses the context of this name from now on.
    ///
    /// # Errors
    /// When there is none, or the disk refuses.
    pub fn use_from_now(&self, name: &str) -> Result<()> {
        self.find(name)?;
        let mut settings = self.settings()?;
        settings[CURRENT] = match name {
            DEFAULT => json!(""),
            name => json!(name),
        };
        let path = self.folder.join(SETTINGS);
        write(&path, &format!("{settings:#}\n"))
    }

    fn settings(&self) -> Result<Value> {
        let path = self.folder.join(SETTINGS);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(json!({})),
            read => read.with_context(|| format!("cannot read {}", path.display()))?,
        };
        match serde_json::from_str(&text) {
            Ok(settings @ Value::Object(_)) => Ok(settings),
            _ => bail!(
                "{} is damaged: it must be a JSON object; remove it, then choose a context with \
                 \"skep context use\"",
                path.display()
            ),
        }
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        if !is_name(name) {
            return Err(usage(format!(
                "context name {name:?} is invalid: names begin with a letter or a digit, and go \
                 on with a-z, A-Z, 0-9 and _.+-"
            )));
        }
        Ok(self.folder.join(CONTEXTS).join(format!("{name}.json")))
    }
}

/// Whether it can be the name of a context, and so of its file.
fn is_name(name: &str) -> bool {
    let other = |c: char| !c.is_ascii_alphanumeric() && !"_.+-".contains(c);
    let begins = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    begins && name.len() <= 128 && !name.contains(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn socket(name: &str, path: &str) -> Context {
        Context {
            name: name.to_owned(),
            description: String::new(),
            host: format!("unix://{path}"),
            certificate: None,
        }
    }

    fn within(folder: &Path) -> Result<Contexts> {
        let folder = folder.join("skep").display().to_string();
        Contexts::of(|name| (name == FOLDER).then(|| folder.clone()))
    }

    #[test]
    fn a_context_is_kept_for_its_owner_alone() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let contexts = within(folder.path())?;
        let context = socket("prod", "/run/prod.sock");
        contexts.keep(&context)?;
        assert_eq!(contexts.find("prod")?, context);
        assert_eq!(contexts.find("prod")?.to_host()?.text(), context.host);
        let mode = |path: &str| -> Result<u32> {
            let metadata = fs::metadata(contexts.folder.join(path))?;
            Ok(metadata.permissions().mode() & 0o777)
        };
        assert_eq!(mode("contexts/prod.json")?, 0o600);
        assert_eq!(mode("contexts")?, 0o700);
        let names: Vec<String> = contexts.all()?.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, [DEFAULT, "prod"]);
        contexts.forget("prod")?;
        assert!(contexts.forget("prod").is_err());
        Ok(())
    }

    #[test]
    fn what_is_used_is_remembered_beside_other_settings() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let contexts = within(folder.path())?;
        assert_eq!(contexts.current()?, DEFAULT);
        contexts.keep(&socket("prod", "/run/prod.sock"))?;
        fs::write(contexts.folder.join(SETTINGS), r#"{"other": 1}"#)?;
        contexts.use_from_now("prod")?;
        assert_eq!(contexts.current()?, "prod");
        assert_eq!(contexts.settings()?["other"], 1);
        contexts.use_from_now(DEFAULT)?;
        assert_eq!(contexts.current()?, DEFAULT);
        Ok(())
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let contexts = within(folder.path())?;
        let said = |done: Result<()>| {
            let error = done.err().context("it was taken")?;
            anyhow::Ok(format!("{error:#}"))
        };
        assert!(said(contexts.use_from_now("prod"))?.contains("does not exist"));
        assert!(said(contexts.keep(&socket("../prod", "/a")))?.contains("is invalid"));
        assert!(said(contexts.keep(&socket(DEFAULT, "/a")))?.contains("another name"));
        assert!(said(contexts.forget(DEFAULT))?.contains("cannot be removed"));

        contexts.keep(&socket("prod", "/a"))?;
        for damaged in ["", "[]", "{}", r#"{"Host": 1}"#] {
            fs::write(contexts.path("prod")?, damaged)?;
            let words = said(contexts.find("prod").map(drop))?;
            assert!(words.contains("skep context rm prod"), "{words}");
        }
        fs::write(contexts.folder.join(SETTINGS), "[]")?;
        assert!(said(contexts.current().map(drop))?.contains("skep context use"));
        assert!(Contexts::of(|_| None).is_err());
        Ok(())
    }
}
