//! Test files with the environment they want.

#![allow(dead_code)]

use skep_stacks::LoadInput;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The folder of all test files.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

type Lookup = dyn Fn(&str) -> Option<String>;

/// A stack file of the tests.
pub struct Case {
    /// Where it is.
    pub path: PathBuf,
    /// Its directory, absolute.
    pub workdir: PathBuf,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// Name (without directory) and text of it and those on top of it.
    pub files: Vec<(String, String)>,
    lookup: Box<Lookup>,
    borrowed: Vec<(&'static str, &'static str)>,
    /// The profiles that are asked for.
    profiles: Vec<&'static str>,
    /// The name of the stack, unless the file gives it.
    stack: Option<&'static str>,
    /// The `.env` files.
    variables: Vec<(&'static str, &'static str)>,
}

impl Case {
    /// Reads a file and its `# env:`, `# env-file:`, `# with:`, `# profile:` and
    /// `# named by itself` lines.
    pub fn read(path: &Path) -> Case {
        let text = |path: &Path| {
            let bytes = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            String::from_utf8(bytes).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        };
        let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
        let workdir = path.parent().unwrap().to_owned();
        let own = text(path);
        let mut env = BTreeMap::new();
        let mut files = Vec::new();
        let mut profiles = Vec::new();
        let mut env_files: Vec<(String, String)> = Vec::new();
        for line in own.lines() {
            if let Some((key, value)) = line.strip_prefix("# env: ").and_then(|l| l.split_once('='))
            {
                env.insert(key.to_owned(), value.to_owned());
            }
            if let Some(other) = line.strip_prefix("# env-file: ") {
                let other = workdir.join(other);
                env_files.push((name(&other), text(&other)));
            }
            if let Some(profile) = line.strip_prefix("# profile: ") {
                profiles.push(profile.to_owned());
            }
            if let Some(other) = line.strip_prefix("# with: ") {
                let other = workdir.join(other);
                files.push((name(&other), text(&other)));
            }
        }
        let named = own.lines().any(|line| line == "# named by itself");
        files.insert(0, (name(path), own));
        let own = env.clone();
        // Leaked on purpose: a test is short, and a case lends its texts.
        let leak = |text: &String| -> &'static str { Box::leak(text.clone().into_boxed_str()) };
        let lend = |all: &[(String, String)]| -> Vec<(&'static str, &'static str)> {
            all.iter().map(|(n, t)| (leak(n), leak(t))).collect()
        };
        Case {
            path: path.to_owned(),
            workdir,
            env,
            lookup: Box::new(move |name| own.get(name).cloned()),
            borrowed: lend(&files),
            profiles: profiles.iter().map(leak).collect(),
            stack: (!named).then_some("st"),
            variables: lend(&env_files),
            files,
        }
    }

    /// What the loader is given. The directory is called `/stack`, so that what
    /// comes out does not depend on where the tests are.
    pub fn input(&self) -> LoadInput<'_> {
        LoadInput {
            files: &self.borrowed,
            stack: self.stack,
            profiles: &self.profiles,
            env: &*self.lookup,
            env_files: &self.variables,
            read: &read,
            workdir: Path::new("/stack"),
        }
    }
}

/// Reads what a stack names: `/stack/x` is `testdata/good/x`, and so is what
/// `../good/x` leads to from there.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let inside = path
        .strip_prefix("/stack")
        .or_else(|_| path.strip_prefix("/good"))
        .map_err(|_| io::Error::from(io::ErrorKind::NotFound))?;
    match fs::read(testdata().join("good").join(inside)) {
        Ok(data) => Ok(data),
        // The same words on every system.
        Err(error) => Err(io::Error::from(error.kind())),
    }
}

/// The cases of a folder, by name. Files named `*.over.yml` go on top of others.
pub fn cases(folder: &str) -> Vec<Case> {
    let folder = testdata().join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
    paths.retain(|p| {
        let name = p.to_string_lossy();
        name.ends_with(".yml") && !name.ends_with(".over.yml")
    });
    paths.sort();
    paths.iter().map(|p| Case::read(p)).collect()
}
