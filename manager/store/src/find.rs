//! Finding what a user means: a full id, else an exact name, else the
//! beginning of an id.

use crate::snapshot::Snapshot;
use skep_types::{Config, Network, Node, Secret, Service, Task};
use std::fmt::Display;
use std::sync::Arc;

/// Why nothing was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// Nothing fits.
    #[error("{kind} {text} not found")]
    None {
        /// Kind of object.
        kind: &'static str,
        /// What was asked for.
        text: String,
    },
    /// More than one fits.
    #[error("{kind} {text} is ambiguous ({matches} matches found); use more of the id")]
    Ambiguous {
        /// Kind of object.
        kind: &'static str,
        /// What was asked for.
        text: String,
        /// How many fit.
        matches: usize,
    },
}

impl Snapshot {
    /// A node by id, host name or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_node(&self, text: &str) -> Result<Arc<Node>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.node(id));
        find("node", text, exact, self.nodes(), |node| {
            (node.id, &node.description.hostname)
        })
    }

    /// A service by id, name or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_service(&self, text: &str) -> Result<Arc<Service>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.service(id));
        find("service", text, exact, self.services(), |service| {
            (service.id, &service.spec.name)
        })
    }

    /// A network by id, name or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_network(&self, text: &str) -> Result<Arc<Network>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.network(id));
        find("network", text, exact, self.networks(), |network| {
            (network.id, &network.spec.name)
        })
    }

    /// A secret by id, name or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_secret(&self, text: &str) -> Result<Arc<Secret>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.secret(id));
        find("secret", text, exact, self.secrets(), |secret| {
            (secret.id, &secret.spec.name)
        })
    }

    /// A config by id, name or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_config(&self, text: &str) -> Result<Arc<Config>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.config(id));
        find("config", text, exact, self.configs(), |config| {
            (config.id, &config.spec.name)
        })
    }

    /// A task by id or beginning of its id.
    ///
    /// # Errors
    /// None or several fit.
    pub fn find_task(&self, text: &str) -> Result<Arc<Task>, NotFound> {
        let exact = text.parse().ok().and_then(|id| self.task(id));
        find("task", text, exact, self.tasks(), |task| (task.id, ""))
    }
}

fn find<'a, T: 'a, Id: Display>(
    kind: &'static str,
    text: &str,
    exact: Option<&'a Arc<T>>,
    all: impl Iterator<Item = &'a Arc<T>>,
    key: impl Fn(&T) -> (Id, &str),
) -> Result<Arc<T>, NotFound> {
    if let Some(object) = exact {
        return Ok(Arc::clone(object));
    }
    if text.is_empty() {
        return Err(NotFound::None {
            kind,
            text: text.to_owned(),
        });
    }
    let (mut named, mut begun) = (Vec::new(), Vec::new());
    for object in all {
        let (id, name) = key(object);
        if name == text {
            named.push(object);
        } else if id.to_string().starts_with(text) {
            begun.push(object);
        }
    }
    let matches = if named.is_empty() { begun } else { named };
    match matches.as_slice() {
        [] => Err(NotFound::None {
            kind,
            text: text.to_owned(),
        }),
        [one] => Ok(Arc::clone(one)),
        many => Err(NotFound::Ambiguous {
            kind,
            text: text.to_owned(),
            matches: many.len(),
        }),
    }
}
