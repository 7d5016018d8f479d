//! What a node remembers, as files below its data directory.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const MEMBERSHIP: &str = "swarm.json";
/// Is there while the swarm is being forgotten.
const LEAVING: &str = "leaving";

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
    /// The interface of this machine that had that address, if one did.
    #[serde(default)]
    pub interface: Option<String>,
    /// Managers it knows of.
    pub managers: Vec<String>,
    /// UDP port of WireGuard.
    pub data_path_port: u16,
    /// Its id in the Raft group, while it is a manager.
    pub raft_id: Option<u64>,
    /// Whether that member has had a log: it must not come back without.
    #[serde(default)]
    pub has_log: bool,
    /// The id it is to have in a group made anew, while that is under way.
    #[serde(default)]
    pub reform: Option<u64>,
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

    /// The node's place in its swarm; `None` when it is in none.
    pub(crate) fn load(&self) -> Result<Option<Membership>> {
        let Some(text) = self.read(MEMBERSHIP)? else {
            return Ok(None);
        };
        let membership =
            serde_json::from_slice(&text).with_context(|| self.is_damaged(MEMBERSHIP))?;
        Ok(Some(membership))
    }

    pub(crate) fn save(&self, membership: &Membership) -> Result<()> {
        let text = serde_json::to_vec_pretty(membership).context("cannot write the membership")?;
        self.put(MEMBERSHIP, &text)
    }

    /// The key of this name, made at first use.
    pub(crate) fn key(&self, name: &str) -> Result<[u8; 32]> {
        let Some(text) = self.read(name)? else {
            let key: [u8; 32] = rand::random();
            self.put(name, hex::encode(key).as_bytes())?;
            return Ok(key);
        };
        let mut key = [0; 32];
        hex::decode_to_slice(text.trim_ascii(), &mut key).with_context(|| self.is_damaged(name))?;
        Ok(key)
    }

    /// The node's file of this name; `None` where there is none.
    pub(crate) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let path = self.node().join(name);
        match fs::read(&path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// What is said of the node's file of this name if it makes no sense.
    pub(crate) fn is_damaged(&self, name: &str) -> String {
        format!("{} is damaged", self.node().join(name).display())
    }

    /// Replaces the node's file of this name, at once or not at all.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> Result<()> {
        self.write(&self.node().join(name), content)
    }

    /// Removes the node's file of this name, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.node().join(name);
        let removed = fs::remove_file(&path).and_then(|()| File::open(self.node())?.sync_all());
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
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
            fs::rename(&aside, path)?;
            // The name counts as much as the content: it says which seat is this node's.
            File::open(self.node())?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Forgets the log: the node is no manager any more.
    pub(crate) fn forget_raft(&self) -> Result<()> {
        remove_dir(&self.raft())
    }

    /// Whether a crash cut short that the swarm was forgotten.
    pub(crate) fn is_leaving(&self) -> Result<bool> {
        Ok(self.read(LEAVING)?.is_some())
    }

    /// Forgets the swarm. Once it has begun it is done, by the next daemon if not by
    /// this one.
    pub(crate) fn forget_swarm(&self) -> Result<()> {
        if self.read(MEMBERSHIP)?.is_some() {
            self.put(LEAVING, b"")?;
        }
        self.forget_raft()?;
        self.forget_all_but_leaving()?;
        remove_dir(&self.node())
    }

    /// Empties the node's directory but for the mark: whenever this is cut short, the
    /// next daemon goes on with it. The membership goes first, as without the rest it
    /// would be no member that can start.
    fn forget_all_but_leaving(&self) -> Result<()> {
        self.remove(MEMBERSHIP)?;
        let node = self.node();
        let failed = || format!("cannot empty {}", node.display());
        let entries = match fs::read_dir(&node) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            entries => entries.with_context(failed)?,
        };
        for entry in entries {
            let entry = entry.with_context(failed)?;
            if entry.file_name() == LEAVING {
                continue;
            }
            let removed = match entry.file_type().with_context(failed)?.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            removed.with_context(|| format!("cannot remove {}", entry.path().display()))?;
        }
        // The mark may be gone from the disk before the rest otherwise.
        for dir in [&node, &self.data] {
            File::open(dir)
                .and_then(|dir| dir.sync_all())
                .with_context(failed)?;
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swarm_that_is_half_forgotten_is_forgotten_by_the_next_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path());
        let membership = Membership {
            listen: "0.0.0.0:2377".into(),
            advertise: "10.0.0.1:2377".into(),
            interface: None,
            managers: Vec::new(),
            data_path_port: 51820,
            raft_id: Some(1),
            has_log: true,
            reform: None,
        };
        files.save(&membership).unwrap();
        files.key("wireguard.key").unwrap();
        fs::create_dir_all(files.ledger()).unwrap();
        files.put(LEAVING, b"").unwrap();

        // Whatever is there last, it is the mark.
        files.forget_all_but_leaving().unwrap();
        let left = fs::read_dir(files.node()).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, [LEAVING]);
        assert_eq!(files.load().unwrap(), None);

        // Here the power went.
        assert!(files.is_leaving().unwrap());
        files.forget_swarm().unwrap();
        assert!(!files.node().exists());
        files.forget_swarm().unwrap();
    }
}
