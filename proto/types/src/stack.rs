//! Stacks: what was deployed together under one name, and what was deployed before.
//! Services of a stack name what they refer to; ids come in when it is deployed.

use crate::container::{FileReference, FileTarget};
use crate::id::{ConfigId, NetworkId, SecretId, ServiceId, StackId};
use crate::meta::{Labels, Meta};
use crate::network::{NetworkAttachmentSpec, NetworkSpec};
use crate::revision::{Revision, RevisionOutcome};
use crate::service::ServiceSpec;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The label that makes an object part of a stack.
pub const STACK_LABEL: &str = "com.docker.stack.namespace";

/// A stack to deploy. Everything is sorted by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StackSpec {
    /// Unique name.
    pub name: String,
    /// Networks that services use.
    pub networks: Vec<StackNetwork>,
    /// Secrets.
    pub secrets: Vec<StackData<SecretId>>,
    /// Configs.
    pub configs: Vec<StackData<ConfigId>>,
    /// Volumes that are declared; nodes make them when a task needs them.
    pub volumes: Vec<StackVolume>,
    /// Services.
    pub services: Vec<Arc<StackService>>,
    /// The files it was read from, merged and in normal form, for people to read.
    pub source: Arc<str>,
}

/// A network of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackNetwork {
    /// Key in the file.
    pub key: String,
    /// Name in the cluster.
    pub name: String,
    /// It must be there already.
    pub external: bool,
    /// What to make; only the name when external.
    pub spec: NetworkSpec,
}

/// A secret or a config of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackData<Id> {
    /// Key in the file.
    pub key: String,
    /// Name in the cluster.
    pub name: String,
    /// Labels; none when external.
    pub labels: Labels,
    /// The content is a template, filled in for each task.
    pub template: bool,
    /// What is in it.
    pub content: Content<Id>,
}

/// Where the content of a secret or a config comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Content<Id> {
    /// Somebody else's: it must be there already, and is used as it is.
    External,
    /// To be deployed. Never in what is kept of a stack.
    Given(Arc<[u8]>),
    /// As it was deployed: that generation.
    Kept(Id),
}

/// Never shows the content.
impl<Id: fmt::Debug> fmt::Debug for Content<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Content::External => f.write_str("External"),
            Content::Given(data) => write!(f, "Given({} bytes)", data.len()),
            Content::Kept(id) => write!(f, "Kept({id:?})"),
        }
    }
}

/// A volume of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StackVolume {
    /// Key in the file.
    pub key: String,
    /// Name on the nodes.
    pub name: String,
    /// Somebody else's: never removed with the stack.
    pub external: bool,
    /// Driver; `local` when empty.
    pub driver: String,
    /// Driver options.
    pub options: Labels,
    /// Labels.
    pub labels: Labels,
}

/// A service of a stack.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StackService {
    /// Key in the file.
    pub key: String,
    /// The spec; its networks, secrets and configs are still empty.
    pub spec: ServiceSpec,
    /// `replicas` is written in the file. When it is not, the spec says 1.
    pub replicas_given: bool,
    /// Networks by name in the cluster, with the aliases on each.
    pub networks: Vec<(String, Vec<String>)>,
    /// Secrets by name in the cluster.
    pub secrets: Vec<(String, FileTarget)>,
    /// Configs by name in the cluster.
    pub configs: Vec<(String, FileTarget)>,
}

/// Ids of what services refer to, by name in the cluster.
#[derive(Debug, Clone, Default)]
pub struct Ids {
    /// Networks.
    pub networks: BTreeMap<String, NetworkId>,
    /// Secrets.
    pub secrets: BTreeMap<String, SecretId>,
    /// Configs.
    pub configs: BTreeMap<String, ConfigId>,
}

/// A service refers to something that the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The service.
    pub service: String,
    /// `network`, `secret` or `config`.
    pub kind: &'static str,
    /// The name that was not found.
    pub name: String,
}

impl std::error::Error for Missing {}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Missing {
            service,
            kind,
            name,
        } = self;
        write!(
            f,
            "service {service} needs the {kind} {name}, which does not exist"
        )
    }
}

impl StackService {
    /// The complete spec, names replaced by ids.
    ///
    /// # Errors
    /// [`Missing`] for the first name that `ids` does not have.
    pub fn resolve(&self, ids: &Ids) -> Result<ServiceSpec, Missing> {
        let missing = |kind: &'static str, name: &str| Missing {
            service: self.spec.name.clone(),
            kind,
            name: name.to_owned(),
        };
        let mut spec = self.spec.clone();
        let task = Arc::make_mut(&mut spec.task);
        for (name, aliases) in &self.networks {
            let id = ids.networks.get(name);
            task.networks.push(NetworkAttachmentSpec {
                network: *id.ok_or_else(|| missing("network", name))?,
                aliases: aliases.clone(),
            });
        }
        for (name, target) in &self.secrets {
            let id = ids.secrets.get(name);
            task.container.secrets.push(FileReference {
                id: *id.ok_or_else(|| missing("secret", name))?,
                name: name.clone(),
                target: target.clone(),
            });
        }
        for (name, target) in &self.configs {
            let id = ids.configs.get(name);
            task.container.configs.push(FileReference {
                id: *id.ok_or_else(|| missing("config", name))?,
                name: name.clone(),
                target: target.clone(),
            });
        }
        Ok(spec)
    }
}

impl StackSpec {
    /// It brings content with it.
    pub fn brings_content(&self) -> bool {
        self.secrets.iter().any(StackData::is_given) || self.configs.iter().any(StackData::is_given)
    }
}

impl<Id: Copy> StackData<Id> {
    /// The generation that it names.
    pub fn kept(&self) -> Option<Id> {
        match self.content {
            Content::Kept(id) => Some(id),
            Content::External | Content::Given(_) => None,
        }
    }

    fn is_given(&self) -> bool {
        matches!(self.content, Content::Given(_))
    }
}

/// A stack as the cluster keeps it: what was deployed last, and before. What its services
/// are by now is theirs to say.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Id.
    pub id: StackId,
    /// Version and times of the last deploy.
    pub meta: Meta,
    /// Which revision it is of. What came of it is told by the services until another
    /// follows.
    pub revision: Revision,
    /// What was deployed.
    pub spec: Arc<StackSpec>,
    /// Earlier ones, oldest first; where it is read by itself, they may have been left
    /// out.
    pub past: Vec<PastStack>,
    /// The revision that each of its services had when it was deployed.
    pub services: BTreeMap<ServiceId, u64>,
    /// Networks that it had before, or that are gone already; the former are removed
    /// once nothing uses them.
    pub leaving: Vec<NetworkId>,
}

/// An earlier revision of a stack.
#[derive(Debug, Clone, PartialEq)]
pub struct PastStack {
    /// Which, and what came of it.
    pub revision: Revision,
    /// What the stack was.
    pub spec: Arc<StackSpec>,
}

impl Stack {
    /// All that is kept of what it was, oldest first, and what it is.
    pub fn specs(&self) -> impl Iterator<Item = &Arc<StackSpec>> {
        self.past.iter().map(|past| &past.spec).chain([&self.spec])
    }

    /// An earlier revision that is kept.
    pub fn past_revision(&self, number: u64) -> Option<&PastStack> {
        self.past.iter().find(|past| past.revision.number == number)
    }

    /// What a rollback returns to unless told otherwise: the newest earlier one that did
    /// not fail, and by which anything would be another than it is. Of a stack whose
    /// revisions name the same generation where they have the same content.
    pub fn before(&self) -> Option<&PastStack> {
        let made = |spec: &StackSpec| StackSpec {
            // How it is written makes nothing.
            source: Arc::default(),
            ..spec.clone()
        };
        let present = made(&self.spec);
        let mut past = self.past.iter().rev();
        past.find(|past| {
            past.revision.outcome != Some(RevisionOutcome::Failed) && made(&past.spec) != present
        })
    }

    /// The newest earlier one that was rolled out whole, and is another than the present
    /// one.
    pub fn last_good(&self) -> Option<&PastStack> {
        let mut past = self.past.iter().rev();
        past.find(|past| {
            past.revision.outcome == Some(RevisionOutcome::Completed) && past.spec != self.spec
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_text_shows_content() {
        let secret = StackData {
            key: "key".to_owned(),
            name: "shop_key".to_owned(),
            labels: Labels::new(),
            template: false,
            content: Content::<SecretId>::Given(b"hush".as_slice().into()),
        };
        let spec = StackSpec {
            secrets: vec![secret],
            ..StackSpec::default()
        };
        let text = format!("{spec:?}");
        assert!(text.contains("Given(4 bytes)"), "{text}");
        assert!(!text.contains("hush") && !text.contains("104"), "{text}");
        assert!(spec.brings_content());
    }
}
