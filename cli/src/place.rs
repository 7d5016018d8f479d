//! Whom a command speaks to, out of all that says so. As with the Docker CLI: an option counts
//! for more than a variable, and a variable for more than the context in use.

use crate::client::{DEFAULT_HOST, Host};
use crate::contexts::{Contexts, DEFAULT};
use crate::error::usage;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Variables.
pub const HOST: &str = "SKEP_HOST";
pub const CERT: &str = "SKEP_CERT";
pub const CONTEXT: &str = "SKEP_CONTEXT";

/// What the command line says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Place {
    /// Socket of the daemon to talk to, or a manager: `tcp://HOST[:PORT]`, with --cert
    /// [env: SKEP_HOST] [default: unix:///run/skep/skep.sock]
    #[arg(short = 'H', long, value_name = "HOST")]
    pub host: Option<String>,
    /// Certificate to show to managers, as `skep swarm client create` wrote it [env: SKEP_CERT]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Context to use, see `skep context` [env: SKEP_CONTEXT]
    #[arg(short, long, value_name = "CONTEXT")]
    pub context: Option<String>,
}

/// What says whom a command speaks to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// An address, and the file of a client.
    Host(String, Option<PathBuf>),
    /// The name of a context.
    Context(String),
    /// Nothing does.
    Nothing,
}

impl Place {
    /// Whom the command speaks to.
    ///
    /// # Errors
    /// What is wrong with what says so.
    pub fn find(&self, variable: impl Fn(&str) -> Option<String>) -> Result<Host> {
        match self.said(&variable)? {
            Said::Host(host, file) => Host::parse(&host, read(file.as_deref())?.as_deref()),
            Said::Context(name) => Contexts::of(variable)?.find(&name)?.to_host(),
            Said::Nothing => {
                // Who has no home has no contexts.
                let current = match Contexts::of(&variable) {
                    Ok(contexts) => Some((contexts.current()?, contexts)),
                    Err(_) => None,
                };
                match current {
                    Some((name, contexts)) if name != DEFAULT => {
                        let found = contexts.find(&name).context(
                            "the context in use cannot be used; \"skep context use default\" \
                             goes back to the daemon of this machine",
                        );
                        found?.to_host()
                    }
                    _ => Host::parse(DEFAULT_HOST, None),
                }
            }
        }
    }

    /// The name of the context that this command uses.
    ///
    /// # Errors
    /// As [`Place::find`].
    pub fn context(&self, variable: impl Fn(&str) -> Option<String>) -> Result<String> {
        match self.said(&variable)? {
            Said::Host(..) => Ok(DEFAULT.to_owned()),
            Said::Context(name) => Ok(name),
            Said::Nothing => Contexts::of(variable)?.current(),
        }
    }

    fn said(&self, variable: &impl Fn(&str) -> Option<String>) -> Result<Said> {
        let file = || self.cert.clone().or_else(|| Some(variable(CERT)?.into()));
        match (&self.host, &self.context) {
            (Some(_), Some(_)) => Err(usage(
                "--host and --context both say whom to speak to: give one of them",
            )),
            (None, Some(_)) if self.cert.is_some() => Err(usage(
                "--cert goes with --host: a context has a certificate of its own (\"skep context \
                 update --cert\")",
            )),
            (Some(host), None) => Ok(Said::Host(host.clone(), file())),
            (None, Some(name)) => Ok(Said::Context(name.clone())),
            (None, None) => Ok(match (variable(HOST), variable(CONTEXT)) {
                (Some(host), _) => Said::Host(host, file()),
                (None, Some(name)) => Said::Context(name),
                (None, None) => Said::Nothing,
            }),
        }
    }
}

/// A variable that is set to something.
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The text of a client's file.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: Option<&Path>) -> Result<Option<String>> {
    let read = |path: &Path| {
        let text = fs::read_to_string(path);
        text.with_context(|| format!("cannot read the certificate in {}", path.display()))
    };
    file.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(place: &[&str], variables: &[(&str, &str)]) -> Result<Said> {
        use clap::Parser;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            place: Place,
        }
        let line = Line::try_parse_from(std::iter::once(&"skep").chain(place))?;
        let value = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        line.place.said(&value)
    }

    #[test]
    fn options_count_more_than_variables_and_those_more_than_the_context_in_use() -> Result<()> {
        let host = |text: &str, file: Option<&str>| Said::Host(text.into(), file.map(Into::into));
        let context = |name: &str| Said::Context(name.into());
        let all = [(HOST, "/v"), (CERT, "v.pem"), (CONTEXT, "v")];
        for (line, variables, expected) in [
            (&["-H", "/a"][..], &all[..], host("/a", Some("v.pem"))),
            (
                &["--host=/a", "--cert", "a.pem"],
                &all,
                host("/a", Some("a.pem")),
            ),
            (&["--context", "a"], &all, context("a")),
            (&[], &all, host("/v", Some("v.pem"))),
            (&[], &all[2..], context("v")),
            (&[], &[], Said::Nothing),
        ] {
            assert_eq!(said(line, variables)?, expected, "{line:?} {variables:?}");
        }
        for wrong in [
            &["-H", "/a", "--context", "a"][..],
            &["--cert", "a.pem", "--context", "a"],
        ] {
            assert!(said(wrong, &[]).is_err(), "{wrong:?}");
        }
        Ok(())
    }

    #[test]
    fn the_context_in_use_is_the_one_that_is_spoken_to() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let home = folder.path().display().to_string();
        let of_home = |name: &str| (name == "HOME").then(|| home.clone());
        let place = Place::default();
        assert_eq!(place.find(of_home)?.text(), DEFAULT_HOST);
        assert_eq!(place.find(|_| None)?.text(), DEFAULT_HOST);
        let contexts = Contexts::of(of_home)?;
        contexts.keep(&crate::contexts::Context {
            name: "lab".to_owned(),
            description: String::new(),
            host: "unix:///lab.sock".to_owned(),
            certificate: None,
        })?;
        contexts.use_from_now("lab")?;
        assert_eq!(place.find(of_home)?.text(), "unix:///lab.sock");
        assert_eq!(place.context(of_home)?, "lab");
        contexts.forget("lab")?;
        let refused = place.find(of_home).err().context("taken")?;
        let refused = format!("{refused:#}");
        assert!(refused.contains("skep context use default"), "{refused}");
        Ok(())
    }
}
