//! What a node remembers, as files below its data directory.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where things are. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Files {
    data: PathBuf,
}

/// The node's place in its swarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Membership {
    /// Where it would listen as a manager.
    pub listen: String,
    /// Where other nodes reach it as a manager.
    pub advertise: String,
    /// Managers it knows of.
    pub managers: Vec<String>,
    /// UDP port of WireGuard.
    pub data_path_port: u16,
    /// Its id in the Raft group, while it is a manager.
    pub raft_id: Option<u64>,
}

impl Files {
    pub(crate) fn new(data: &Path) -> Files {
        Files {
            data: data.to_owned(),
        }
    }

    fn node(&self) -> PathBuf {
        self.data.join("node")
    }

    pub(crate) fn certificates(&self) -> PathBuf {
        self.node().join("certificates")
    }

    pub(crate) fn raft(&self) -> PathBuf {
        self.data.join("raft")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    pub(crate) fn ledger(&self) -> PathBuf {
        self.node().join("tasks")
    }

    fn membership(&self) -> PathBuf {
        self.node().join("swarm.json")
    }

    /// The node's place in its swarm; `None` when it is in none.
    pub(crate) fn load(&self) -> Result<Option<Membership>> {
        let path = self.membership();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let membership = serde_json::from_slice(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        Ok(Some(membership))
    }

    pub(crate) fn save(&self, membership: &Membership) -> Result<()> {
        let text = serde_json::to_vec_pretty(membership).context("cannot write the membership")?;
        self.write(&self.membership(), &text)
    }

    /// The key of this name, made at first use.
    pub(crate) fn key(&self, name: &str) -> Result<[u8; 32]> {
        let path = self.node().join(name);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let mut key = [0; 32];
                hex::decode_to_slice(text.trim(), &mut key)
                    .with_context(|| format!("{} is damaged", path.display()))?;
                Ok(key)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key: [u8; 32] = rand::random();
                self.write(&path, hex::encode(key).as_bytes())?;
                Ok(key)
            }
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let write = || {
            fs::create_dir_all(self.node())?;
            let aside = path.with_extension("new");
            let mut file = OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets the log: the node is no manager any more.
    pub(crate) fn forget_raft(&self) -> Result<()> {
        remove_dir(&self.raft())
    }

    /// Forgets the swarm.
    pub(crate) fn forget_swarm(&self) -> Result<()> {
        self.forget_raft()?;
        remove_dir(&self.node())
    }
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
