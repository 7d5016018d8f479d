//! Names of images, read exactly as Docker reads them: `redis:alpine` means
//! `docker.io/library/redis:alpine`, and people are shown the short form.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

const HUB: &str = "docker.io";
const LEGACY_HUB: &str = "index.docker.io";
const OFFICIAL: &str = "library";
/// Docker's limit of the length of a repository's name, in bytes.
const NAME_MAX: usize = 255;
/// The limit of the length of a tag, in bytes.
const TAG_MAX: usize = 128;

/// The name of an image: a registry's domain, a repository's path, and a tag,
/// a digest, or both. One of the two is always there (`:latest` by default).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference(Arc<Parts>);

/// Shared, so that a name is cheap to keep in many places, errors among them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Parts {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text is not the name of an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseReferenceError {
    /// Nothing at all, or nothing before the tag.
    #[error("invalid reference format: the name of the image is empty")]
    Empty,
    /// Characters in places where they are not allowed.
    #[error("invalid reference format: {0:?}")]
    Format(String),
    /// Docker refuses capitals in the path.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// Docker refuses a name that looks like an image's id.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    LooksLikeId(String),
    /// The name is longer than any registry takes.
    #[error("repository name must not be more than {NAME_MAX} characters, this one has {0}")]
    TooLong(usize),
    /// What follows the `@` cannot be verified.
    #[error("invalid reference format: {0:?} is not a digest (sha256:<64 hexadecimal digits>)")]
    Digest(String),
}

impl Reference {
    /// The registry's name as it is written in references, such as `docker.io`
    /// or `host:5000`.
    pub fn domain(&self) -> &str {
        &self.0.domain
    }

    /// The repository within the registry, such as `library/redis`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.0.tag.as_deref()
    }

    /// The digest, if there is one. It wins over the tag when pulling.
    pub fn digest(&self) -> Option<&Digest> {
        self.0.digest.as_ref()
    }

    /// Whether the name belongs to Docker Hub, for which mirrors may stand in.
    pub fn is_hub(&self) -> bool {
        self.0.domain == HUB
    }

    /// The name without tag and digest, in full: `docker.io/library/redis`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.0.domain, self.0.path)
    }

    /// The short form of [`Reference::repository`], as people write it:
    /// `redis`, `dockersamples/vote`, `host:5000/x`.
    pub fn familiar_repository(&self) -> String {
        if self.0.domain != HUB {
            return self.repository();
        }
        match self.0.path.strip_prefix("library/") {
            Some(rest) if !rest.contains('/') => rest.to_owned(),
            _ => self.0.path.clone(),
        }
    }

    /// The short form of the whole name, as people write it and as
    /// `image ls` shows it: `redis:alpine`.
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_repository())
    }

    /// The same repository under this digest alone.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference(Arc::new(Parts {
            tag: None,
            digest: Some(digest),
            ..(*self.0).clone()
        }))
    }

    fn with_suffix(&self, mut name: String) -> String {
        if let Some(tag) = &self.0.tag {
            name.push(':');
            name.push_str(tag);
        }
        if let Some(digest) = &self.0.digest {
            name.push('@');
            name.push_str(digest.as_str());
        }
        name
    }
}

impl FromStr for Reference {
    type Err = ParseReferenceError;

    fn from_str(text: &str) -> Result<Reference, ParseReferenceError> {
        use ParseReferenceError as E;
        let format = || E::Format(text.to_owned());
        if text.is_empty() {
            return Err(E::Empty);
        }
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(E::LooksLikeId(text.to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let parsed = digest.parse().map_err(|_| E::Digest(digest.to_owned()))?;
                (rest, Some(parsed))
            }
            None => (text, None),
        };
        // A colon after the last slash starts a tag; one before it, a port.
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
            None => (rest, None),
        };
        if name.is_empty() {
            return Err(E::Empty);
        }
        let (domain, path) = split_domain(name);
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(E::Uppercase(path));
        }
        if !domain_ok(domain) || !path.split('/').all(component_ok) {
            return Err(format());
        }
        if tag.is_some_and(|tag| !tag_ok(tag)) {
            return Err(format());
        }
        if path.len() > NAME_MAX {
            return Err(E::TooLong(path.len()));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Reference(Arc::new(Parts {
            domain: domain.to_owned(),
            path,
            tag,
            digest,
        })))
    }
}

/// Docker's rule for what is a registry's name and what is already the path.
fn split_domain(name: &str) -> (&str, String) {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, rest)
        }
        _ => (HUB, name),
    };
    let domain = if domain == LEGACY_HUB { HUB } else { domain };
    if domain == HUB && !path.contains('/') {
        (domain, format!("{OFFICIAL}/{path}"))
    } else {
        (domain, path.to_owned())
    }
}

fn domain_ok(domain: &str) -> bool {
    let (host, port) = if let Some(rest) = domain.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return false;
        };
        let address_ok =
            !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        match after.strip_prefix(':') {
            Some(port) if address_ok => return port_ok(port),
            None => return address_ok && after.is_empty(),
            Some(_) => return false,
        }
    } else {
        match domain.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (domain, None),
        }
    };
    let label_ok = |label: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    host.split('.').all(label_ok) && port.is_none_or(port_ok)
}

fn port_ok(port: &str) -> bool {
    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
}

/// `[a-z0-9]+`, joined by one `.`, one or two `_`, or any number of `-`.
fn component_ok(component: &str) -> bool {
    let bytes = component.as_bytes();
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut at = 0;
    loop {
        let start = at;
        while at < bytes.len() && word(bytes[at]) {
            at += 1;
        }
        if at == start {
            return false;
        }
        if at == bytes.len() {
            return true;
        }
        let separator = at;
        while at < bytes.len() && !word(bytes[at]) {
            at += 1;
        }
        let separator = &bytes[separator..at];
        let ok = matches!(separator, b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-');
        if !ok {
            return false;
        }
    }
}

fn tag_ok(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= TAG_MAX
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

impl fmt::Display for Reference {
    /// The full form, such as `docker.io/library/redis:alpine`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.repository()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Reference {
    type Error = ParseReferenceError;

    fn try_from(text: String) -> Result<Reference, ParseReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUM: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn short_names_mean_what_docker_means() {
        for (text, full, familiar) in [
            ("redis", "docker.io/library/redis:latest", "redis:latest"),
            (
                "redis:alpine",
                "docker.io/library/redis:alpine",
                "redis:alpine",
            ),
            (
                "library/redis",
                "docker.io/library/redis:latest",
                "redis:latest",
            ),
            (
                "docker.io/redis",
                "docker.io/library/redis:latest",
                "redis:latest",
            ),
            ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
            (
                "dockersamples/vote",
                "docker.io/dockersamples/vote:latest",
                "dockersamples/vote:latest",
            ),
            ("localhost/x", "localhost/x:latest", "localhost/x:latest"),
            ("host:5000/x", "host:5000/x:latest", "host:5000/x:latest"),
            ("host:5000", "docker.io/library/host:5000", "host:5000"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("Upper/x", "Upper/x:latest", "Upper/x:latest"),
            (
                "a--b/c__d/e.f:V1.0-rc_1",
                "docker.io/a--b/c__d/e.f:V1.0-rc_1",
                "a--b/c__d/e.f:V1.0-rc_1",
            ),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
            assert_eq!(full.parse::<Reference>().unwrap(), reference);
            assert_eq!(familiar.parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn a_digest_keeps_its_tag_and_gets_none_of_its_own() {
        let both: Reference = format!("redis:alpine@{SUM}").parse().unwrap();
        assert_eq!(both.tag(), Some("alpine"));
        assert_eq!(both.digest().unwrap().as_str(), SUM);
        let one: Reference = format!("host:5000/x@{SUM}").parse().unwrap();
        assert_eq!(one.tag(), None);
        assert_eq!(one.to_string(), format!("host:5000/x@{SUM}"));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for text in [
            "",
            ":tag",
            "@",
            "a@b",
            "a@sha256:00",
            "Redis",
            "a/B",
            "a//b",
            "/a",
            "a/",
            "a:",
            "a:-x",
            "a b",
            "a..b",
            "a___b",
            "-a",
            "a-",
            "a.",
            "host_name.x:5/a",
            "http://host/x",
            "a:b:c",
            "x/../y",
            "[::1/x",
            "host:port/x",
            &"a".repeat(256),
            &format!("a:{}", "t".repeat(129)),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "é",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text} was accepted");
        }
    }
}
